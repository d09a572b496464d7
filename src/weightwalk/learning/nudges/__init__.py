"""One training step, read out of its walk: the loss, the blame by backpropagation, the nudge of an optimizer."""
