"""The loss as a function of the weights, along lines and planes of weight space; and what such a picture hides."""
