"""Exact formulas of piecewise-affine networks, and honest surrogates of the others."""
