"""The affine map at one input, and the polytope on which it holds."""
