"""Polynomials in place of a net, and which inputs matter."""
