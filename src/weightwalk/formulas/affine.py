"""The one affine map of a net without kinks, however many layers it has."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from weightwalk.errors import UsageError
from weightwalk.formulas.certificate import Certificate, agreement
from weightwalk.formulas.oracle import Oracle
from weightwalk.formulas.piecewise import PiecewiseNet

POINTS = 256
EXACT_WORK = 2_000_000
"""Products of fractions up to which the map is computed in rational arithmetic."""


@dataclass(frozen=True, eq=False)
class AffineMap:
    """``y = A x + b``, for every x.

    Attributes:
        net: Whose map it is.
        A: (outputs, n) float64.
        b: (outputs,) float64.
        fractions: The same as exact fractions, (A, b), where they were asked for.
        certificate: What it was held to.
    """

    net: PiecewiseNet
    A: np.ndarray
    b: np.ndarray
    fractions: tuple[list[list[Fraction]], list[Fraction]] | None
    certificate: Certificate

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """y, (N, outputs), at inputs (N, n)."""
        return np.asarray(x, np.float64) @ self.A.T + self.b


def affine_map(net: PiecewiseNet, *, oracle: Oracle | None = None, exact: bool = False, seed: int = 0) -> AffineMap:
    """The map of a net that has no kinks.

    Args:
        net: Without kinks.
        oracle: The net, computed independently; ``net`` itself if None.
        exact: Also in rational arithmetic (float weights are binary fractions, so nothing is rounded).
        seed: Of the fresh points.

    Raises:
        UsageError: Rational arithmetic was asked for and cannot be had.

    Example:
        >>> from weightwalk.formulas.piecewise import mlp
        >>> found = affine_map(mlp([np.array([[2.0]])], [np.array([3.0])]))
        >>> found.A.item(), found.b.item(), found.certificate.ok
        (2.0, 3.0, True)
    """
    assert not net.units
    A, b = (part[0] for part in net.maps([np.zeros((1, layer.size), np.int8) for layer in net.layers]))
    points = np.random.default_rng(seed).uniform(-10, 10, (POINTS, net.n))
    wanted = (oracle or net)(points)
    size = float(np.abs(wanted).max(initial=0.0))
    error = float(np.abs(points @ A.T + b - wanted).max(initial=0.0))
    check = agreement(f"{POINTS} fresh points of [-10, 10]^{net.n}", error, size)
    return AffineMap(net, A, b, _fractions(net) if exact else None, Certificate((check,), seed))


def _fractions(net: PiecewiseNet) -> tuple[list[list[Fraction]], list[Fraction]]:
    if net.inexact:
        raise UsageError(f"--exact needs weights that stand in the net as they are, and here {net.inexact}.")
    work = net.n * sum(layer.size for layer in net.layers) * max((la.size for la in net.layers), default=1)
    if work > EXACT_WORK:
        raise UsageError(
            f"--exact would take about {work:,} products of fractions, more than {EXACT_WORK:,}: leave it out, or take "
            f"a smaller net."
        )
    unit = [[Fraction(int(i == j)) for j in range(net.n + 1)] for i in range(net.n)]
    sources = [unit]
    for affine in (*(layer.affine for layer in net.layers), net.output):
        rows = [[Fraction(0)] * net.n + [Fraction(float(c))] for c in affine.bias]
        for j, matrix in affine.terms:
            dense = np.asarray(matrix if isinstance(matrix, np.ndarray) else matrix @ np.eye(matrix.shape[1]))
            for i, k in zip(*np.nonzero(dense), strict=True):
                weight = Fraction(float(dense[i, k]))
                rows[i] = [r + weight * s for r, s in zip(rows[i], sources[j][k], strict=True)]
        sources.append(rows)
    return [row[:-1] for row in sources[-1]], [row[-1] for row in sources[-1]]
