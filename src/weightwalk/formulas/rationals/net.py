"""A net in whole numbers, for formulas without rounding.

A float64 is a whole number over a power of two. So is every sum of products of them: with one power of two per layer
(its *scale*), all layers are whole-number arithmetic and nothing is ever rounded or reduced. Division comes in only
where a kink is solved for. This is the referee of `line` and of `plane`; it shares no code with them and prefers the
plainest loop.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from operator import mul

import numpy as np

from weightwalk.errors import UsageError
from weightwalk.formulas.piecewise import Activation, Affine, Matrix, PiecewiseNet

WORK = 50_000_000
"""Multiplications of whole numbers that are done before a net is said to be too large: some ten seconds."""

ENTRIES = 4_000_000
"""Weights that are turned into whole numbers before a net is said to be too large."""

Columns = tuple[list[int], ...]
"""An affine map for each unit of a layer, by coordinate: slopes first, the constant last."""


@dataclass(frozen=True)
class WholeAffine:
    """``z = bias + sum_j W_j h_j``, times the scale of z.

    Attributes:
        terms: (j, rows of W_j), already brought to the scale of z.
        bias: One per row.
        scale: A power of two.
        weights: Number of products in one evaluation.
    """

    terms: tuple[tuple[int, list[list[int]]], ...]
    bias: list[int]
    scale: int
    weights: int

    def __call__(self, sources: Sequence[Columns]) -> Columns:
        """z of affine maps."""
        width = len(sources[0])
        out = []
        for c in range(width):
            z = list(self.bias) if c == width - 1 else [0] * len(self.bias)
            for j, rows in self.terms:
                h = sources[j][c]
                if any(h):
                    z = [total + sum(map(mul, row, h)) for total, row in zip(z, rows, strict=True)]
            out.append(z)
        return tuple(out)


@dataclass(frozen=True)
class WholeLayer:
    """A layer in whole numbers.

    Attributes:
        affine: z.
        kinks: Per unit its kinks, times the scale of z.
        slopes: Per unit its slopes, times a scale of their own.
        offsets: Per unit its offsets, times the scale of phi(z).
    """

    affine: WholeAffine
    kinks: list[list[int]]
    slopes: list[list[int]]
    offsets: list[list[int]]

    def apply(self, z: Columns, pieces: Sequence[int]) -> Columns:
        """phi of z with given pieces."""
        slopes = [row[p] for row, p in zip(self.slopes, pieces, strict=True)]
        out = [list(map(mul, slopes, column)) for column in z]
        out[-1] = [b + row[p] for b, row, p in zip(out[-1], self.offsets, pieces, strict=True)]
        return tuple(out)


@dataclass
class WholeNet:
    """A net in whole numbers, and the work that was done with it."""

    layers: tuple[WholeLayer, ...]
    output: WholeAffine
    work: int = 0

    def spend(self, regions: int, layer: int, what: str) -> None:
        """Count the multiplications of one layer over all regions.

        Raises:
            UsageError: They are too many.
        """
        affine = self.layers[layer].affine if layer < len(self.layers) else self.output
        self.work += regions * affine.weights * 3
        if self.work > WORK:
            raise UsageError(
                f"Exact fractions are for small nets: {regions:,} {what} times {affine.weights:,} weights at layer "
                f"{layer + 1} of {len(self.layers) + 1} would pass {WORK:,} multiplications; "
                "leave out the exact check, or give a smaller net or a shorter range."
            )


def whole_net(net: PiecewiseNet) -> WholeNet:
    """The net in whole numbers.

    Raises:
        UsageError: Its entries are not those of the original net (`PiecewiseNet.inexact`), not finite, or too many.
    """
    if net.inexact:
        raise UsageError(
            f"Exact fractions mean nothing here, because {net.inexact.rstrip('.')}; use the formula in float64, which "
            "has its own certificate."
        )
    entries = sum(m.shape[0] * m.shape[1] for a in (*(x.affine for x in net.layers), net.output) for _, m in a.terms)
    if entries > ENTRIES:
        raise UsageError(
            f"Exact fractions are for small nets: this one has {entries:,} weights, and the limit is {ENTRIES:,}; "
            "use the formula in float64, which has its own certificate."
        )
    scales, layers = [1], []
    for layer in net.layers:
        affine = _affine(layer.affine, scales, _over(layer.activation.kinks)[1], layer.name)
        whole = _layer(layer.activation, affine)
        layers.append(whole[0])
        scales.append(whole[1])
    return WholeNet(tuple(layers), _affine(net.output, scales, 1, "the output"))


def _affine(affine: Affine, scales: Sequence[int], least: int, name: str) -> WholeAffine:
    parts = [(j, _dense(m), scales[j]) for j, m in affine.terms]
    if not all(np.isfinite(a).all() for a in (affine.bias, *(m for _, m, _ in parts))):
        raise UsageError(f"The weights of {name} are not all finite numbers: a net that diverged has no formula.")
    over = [(j, *_over(m), scale) for j, m, scale in parts]
    bias, under = _over(affine.bias)
    scale = max([least, under, *(d * s for _, _, d, s in over)])
    terms = tuple((j, _times(rows, scale // (d * s))) for j, rows, d, s in over)
    weights = max(sum(m.size for _, m, _ in parts), affine.size)
    return WholeAffine(terms, _times([bias], scale // under)[0], scale, weights)


def _layer(act: Activation, affine: WholeAffine) -> tuple[WholeLayer, int]:
    """The layer and the scale of its phi(z)."""
    kinks, under = _over(act.kinks)
    slopes, steep = _over(act.slopes)
    offsets, shift = _over(act.offsets)
    scale = max(affine.scale * steep, shift)
    slopes = _times(slopes, scale // (affine.scale * steep))
    layer = WholeLayer(affine, _times(kinks, affine.scale // under), slopes, _times(offsets, scale // shift))
    return layer, scale


def _over(array: np.ndarray) -> tuple[list, int]:
    """The array as (nested) lists of whole numbers over one power of two.

    Example:
        >>> _over(np.array([1.5, -0.25]))
        ([6, -1], 4)
    """
    flat = [x.as_integer_ratio() for x in np.asarray(array, np.float64).ravel().tolist()]
    under = max([1, *(d for _, d in flat)])
    whole = [n * (under // d) for n, d in flat]
    if array.ndim == 1:
        return whole, under
    width = array.shape[1]
    return [whole[i * width : (i + 1) * width] for i in range(array.shape[0])], under


def _times(rows: list[list[int]], factor: int) -> list[list[int]]:
    return [[x * factor for x in row] for row in rows]


def _dense(matrix: Matrix) -> np.ndarray:
    """The entries of a matrix of any kind; an operator is read column by column, which rounds nothing."""
    if isinstance(matrix, np.ndarray):
        return matrix
    if hasattr(matrix, "toarray"):
        return matrix.toarray()
    return np.asarray(matrix @ np.eye(matrix.shape[1]))


def fraction(number: float | Fraction) -> Fraction:
    """A number as a fraction, without rounding."""
    return number if isinstance(number, Fraction) else Fraction(float(number))
