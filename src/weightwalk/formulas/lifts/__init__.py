"""From a walk to its piecewise-affine form."""
