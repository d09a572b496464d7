"""Training in the open: one small training function, and what grows from it."""
