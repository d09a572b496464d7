"""Which piece of every unit is taken at one input, also where units are exactly at a kink.

Away from all kinks there is one answer. On a kink several formulas meet, and the pattern that `PiecewiseNet.pattern`
gives (the piece before) may hold at that one point only: for |x| = relu(x) + relu(-x) at 0 it gives slope 0, which is
the slope on neither side. So here a unit at its kink takes the piece that is in force a step further in a direction,
and where that direction runs along the kink, a step further in a second, random one. The pattern found so is that of a
full-dimensional region which has x on its boundary.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from weightwalk.formulas.piecewise import Layer, PiecewiseNet
from weightwalk.formulas.points.frozen import Frozen
from weightwalk.formulas.points.matrices import term_sizes

TOLERANCE = 1e-12
"""A unit is held to be at its kink if z is nearer to it than this fraction of the size of the terms that z sums."""

_CRUDE = 1e-6
"""Units farther from a kink than this fraction of the layer's largest numbers are not looked at closely."""


@dataclass(frozen=True, eq=False)
class Settled:
    """The pattern taken at x.

    Attributes:
        frozen: The net with that pattern.
        y: (outputs,) the net's output, as the net computes it.
        z: Per layer (n_k,); exactly the kink where a unit is held to be at it.
        at_kink: (units through all layers) at a kink that is crossed here.
        kinks: Which kink each of them is at.
        still: Units at a kink that stay there in the whole region (their z does not depend on x there): no boundary.
        inward: (n,) a direction along which the pattern comes into force; None where no unit is at its kink.
    """

    frozen: Frozen
    y: np.ndarray
    z: list[np.ndarray]
    at_kink: np.ndarray
    kinks: np.ndarray
    still: np.ndarray
    inward: np.ndarray | None


def settle(net: PiecewiseNet, x: np.ndarray, direction: np.ndarray | None, seed: int | None) -> Settled:
    """The pattern at x, (n,), on the side of `direction` where x is on a kink; without one, on a random side."""
    y, kept = net.run(x[None], keep=True)
    z = [values[0] for values in kept]
    none = np.zeros(0, np.int64)
    if not any(len(near) for near in _candidates(net, x, z)):
        pieces = tuple(la.activation.pieces(v[None])[0] for la, v in zip(net.layers, z, strict=True))
        return Settled(Frozen(net, pieces), y[0], z, none, none, none, None)
    rng = np.random.default_rng(seed)
    other = rng.standard_normal(net.n)
    first = rng.standard_normal(net.n) if direction is None else direction
    first = first / np.linalg.norm(first)
    settled = _decide(net, np.stack([x, first, other / np.linalg.norm(other)]))
    z, pieces, crossed, at, still = settled
    numbers = np.concatenate([np.zeros(0, np.int64), *crossed])
    return Settled(
        Frozen(net, tuple(pieces)),
        y[0],
        z,
        numbers,
        np.concatenate([none, *at]),
        np.concatenate([none, *still]),
        first if len(numbers) else None,
    )


def _candidates(net: PiecewiseNet, x: np.ndarray, z: list[np.ndarray]) -> list[np.ndarray]:
    """Units per layer that may be at a kink: the cheap test, which leaves out nearly all of them."""
    largest = [_top(x)]
    found = []
    for layer, values in zip(net.layers, z, strict=True):
        largest.append(_top(layer.activation(values[None])))
        read = max((largest[j] for j in layer.affine.reads()), default=0.0)
        scale = _CRUDE * (_top(values) + _top(layer.affine.bias) + read)
        found.append(np.flatnonzero(_gap(layer, values)[0] <= scale))
    return found


def _decide(
    net: PiecewiseNet, start: np.ndarray
) -> tuple[list[np.ndarray], list[np.ndarray], list[np.ndarray], list[np.ndarray], list[np.ndarray]]:
    """One pass of x and of two directions together, (3, n), in which units near a kink are put on it.

    Returns:
        Per layer: z, pieces, the numbers of the units that cross a kink, which kink, and the units that stay on one.
    """
    sources: list[np.ndarray | None] = [start]
    scale = np.array([[1.0], [0.0], [0.0]])
    all_z, all_pieces, crossed, at, still = [], [], [], [], []
    first = 0
    for k, layer in enumerate(net.layers, 1):
        z = layer.affine(sources, scale)  # type: ignore[arg-type]
        pieces = layer.activation.pieces(z[:1])[0]
        near, which = _near(layer, z[0], sources)
        if len(near):
            sizes = term_sizes(layer.affine, near, sources)[1:]
            moves = np.where(np.abs(z[1:, near]) > TOLERANCE * sizes, z[1:, near], 0.0)  # (2, near)
            sense = np.where(moves[0] != 0.0, moves[0], moves[1])
            pieces[near] = which + (sense > 0)
            z[0, near] = layer.activation.kinks[near, which]
            z[1:, near] = moves
            moving = sense != 0.0
            crossed.append(first + near[moving])
            at.append(which[moving])
            still.append(first + near[~moving])
        slopes, offsets = layer.activation.of(pieces)
        h = z * slopes
        h[0] += offsets
        all_z.append(z[0])
        all_pieces.append(pieces)
        sources.append(h)
        for j in range(k):
            if net.last_read[j] <= k:
                sources[j] = None
        first += layer.size
    return all_z, all_pieces, crossed, at, still


def _near(layer: Layer, z: np.ndarray, sources: list[np.ndarray | None]) -> tuple[np.ndarray, np.ndarray]:
    """Units of a layer that are at a kink within the tolerance, and at which kink."""
    if not layer.activation.count:
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    read = max((_top(sources[j][0]) for j in layer.affine.reads()), default=0.0)  # type: ignore[index]
    gap, which = _gap(layer, z)
    some = np.flatnonzero(gap <= _CRUDE * (_top(z) + _top(layer.affine.bias) + read))
    point = [None if s is None else s[:1] for s in sources]
    sizes = term_sizes(layer.affine, some, point)[0] + np.abs(layer.affine.bias[some])
    some = some[gap[some] <= TOLERANCE * sizes]
    return some, which[some]


def _gap(layer: Layer, z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The distance of every z to its nearest kink, and which kink that is."""
    if not layer.activation.count:
        return np.full(len(z), np.inf), np.zeros(len(z), np.int64)
    gaps = np.abs(z[:, None] - layer.activation.kinks)
    which = gaps.argmin(axis=1)
    return gaps[np.arange(len(z)), which], which


def _top(values: np.ndarray | None) -> float:
    return 0.0 if values is None else float(np.abs(values).max(initial=0.0))
