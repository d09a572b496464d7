"""How large rounding errors are to be expected, so that a number that ought to be zero is known as one."""

from __future__ import annotations

import numpy as np

from weightwalk.formulas.piecewise import Activation, Affine, Matrix

UNIT = 2.0**-53
PROBES = 16
SURE = 8.0
"""Expected errors within which a number is held to be zero."""


def squares(matrix: Matrix, numbers: np.ndarray) -> np.ndarray:
    """``sum_j W_ij^2 v_j``; for a linear operator, which has no entries to square, its estimate from random signs."""
    if isinstance(matrix, np.ndarray):
        return (matrix * matrix) @ numbers
    if hasattr(matrix, "multiply"):
        return np.asarray(matrix.multiply(matrix) @ numbers).ravel()
    signs = np.random.default_rng(0).choice((-1.0, 1.0), (len(numbers), PROBES))
    return (np.asarray(matrix @ (signs * np.sqrt(numbers)[:, None])) ** 2).mean(axis=1)


def noise(affine: Affine, sizes: list[np.ndarray], errors: list[np.ndarray]) -> np.ndarray:
    """Error to be expected of z, (n,): what the sources bring, and what the sum adds by rounding.

    Errors are taken to be independent: a bound that holds for certain would grow with every layer by far more than any
    error does. The tolerance leaves room for that.

    Args:
        affine: z of the sources.
        sizes: Greatest |h_j| of each unit of each source.
        errors: Error to be expected of each.
    """
    terms = 1 + sum(len(sizes[j]) for j in affine.reads())
    own = UNIT * (np.sqrt(terms) + 2.0)
    total = (own * affine.bias) ** 2
    for j, matrix in affine.terms:
        total = total + squares(matrix, errors[j] ** 2 + (own * sizes[j]) ** 2)
    return np.sqrt(total)


def size_after(activation: Activation, least: np.ndarray, greatest: np.ndarray) -> np.ndarray:
    """Greatest |phi(z)| of units whose z lies between two bounds: at one of them, or at a kink between."""
    z = np.stack(
        [least, greatest, *(np.clip(activation.kinks[:, p], least, greatest) for p in range(activation.count))]
    )
    return np.abs(activation(z)).max(axis=0)
