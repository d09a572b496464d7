"""One neuron, in float64 and by hand: what it computes, how it learns, and what its loss looks like."""
