"""Patterns and affine maps of polygons that were cut layer by layer."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from weightwalk.formulas.piecewise import Layer, PiecewiseNet
from weightwalk.formulas.planes.layerwise import Level
from weightwalk.formulas.planes.rings import unpack
from weightwalk.formulas.rounding import UNIT, squares

CHUNK = 2**21
"""Numbers per layer that are worked on at a time: few enough to stay in the cache."""


def pieces(layer: Layer, level: Level, chosen: np.ndarray | slice, count: int) -> np.ndarray:
    """The piece of every unit in some of the polygons after a layer, (count, n) int8."""
    if level.after is None:
        return np.zeros((count, layer.size), np.int8)
    kinks = layer.activation.count
    bits = unpack(level.after[chosen], kinks * layer.size)
    if kinks == 1:
        return bits.view(np.int8)
    return bits.reshape(count, kinks, layer.size).sum(axis=1, dtype=np.int8)


def patterns(net: PiecewiseNet, levels: Sequence[Level], count: int) -> tuple[np.ndarray, ...]:
    """The piece of every unit in the last polygons, (R, n_k) per layer."""
    out: list[np.ndarray] = []
    ancestor: np.ndarray | slice = slice(None)
    for layer, level in zip(reversed(net.layers), reversed(levels), strict=True):
        out.append(pieces(layer, level, ancestor, count))
        if level.parent is not None:
            ancestor = level.parent[ancestor]
    return tuple(reversed(out))


def maps(net: PiecewiseNet, levels: Sequence[Level], count: int) -> tuple[np.ndarray, np.ndarray]:
    """The affine map of every polygon, as `PiecewiseNet.maps` gives it: A (R, outputs, 2), b (R, outputs).

    The matrix of a layer is multiplied only once for all polygons that a later layer cuts from one.
    """
    slopes = np.empty((count, net.output.size, 2))
    offsets = np.empty((count, net.output.size))
    widest = max([net.output.size, *(layer.size for layer in net.layers)])
    step = max(64, CHUNK // (3 * widest))
    for low in range(0, count, step):
        high = min(low + step, count)
        y = _some(net, levels, low, high)  # (R, 3, outputs): along s, along t, constant
        slopes[low:high] = y[:, :2].transpose(0, 2, 1)
        offsets[low:high] = y[:, 2]
    return slopes, offsets


def _some(net: PiecewiseNet, levels: Sequence[Level], low: int, high: int) -> np.ndarray:
    """The maps of the polygons low ... high - 1, from their ancestors' down, which lie beside each other too."""
    spans = [(low, high)]
    for level in reversed(levels):
        if level.parent is not None:
            low, high = int(level.parent[low]), int(level.parent[high - 1]) + 1
        spans.append((low, high))
    spans.reverse()
    count = spans[0][1] - spans[0][0]
    sources: list[np.ndarray | None] = [np.tile(np.eye(3, 2), (count, 1))]
    for k, (layer, level) in enumerate(zip(net.layers, levels, strict=True), 1):
        z = layer.affine(sources, np.tile([[0.0], [0.0], [1.0]], (count, 1))).reshape(count, 3, layer.size)
        for j in range(k):
            if net.last_read[j] <= k:
                sources[j] = None
        (before, _), (low, high) = spans[k - 1 : k + 1]
        if level.parent is not None:
            parent = level.parent[low:high] - before
            z = z[parent]
            sources = [None if s is None else _descend(s, count, parent) for s in sources]
            count = high - low
        sources.append(_apply(layer, z, pieces(layer, level, slice(low, high), count)).reshape(3 * count, -1))
    return net.output(sources, np.tile([[0.0], [0.0], [1.0]], (count, 1))).reshape(count, 3, -1)


def _descend(source: np.ndarray, count: int, parent: np.ndarray) -> np.ndarray:
    """A source's maps for the children."""
    return source.reshape(count, 3, -1)[parent].reshape(3 * len(parent), -1)


def _apply(layer: Layer, z: np.ndarray, piece: np.ndarray) -> np.ndarray:
    """phi of affine maps (R, 3, n), with given pieces; may overwrite z."""
    act = layer.activation
    if act.is_relu:
        return np.multiply(z, piece[:, None, :].astype(np.float64), out=z)
    slopes, offsets = act.of(piece)
    z = z * slopes[:, None, :]
    z[:, 2] += offsets
    return z


def map_noise(net: PiecewiseNet) -> np.ndarray:
    """(outputs,) the rounding error to be expected of a slope, from the sizes of what is added up on the way to it."""
    square: list[np.ndarray] = [np.ones(net.n)]
    for layer in net.layers:
        z = sum((squares(m, square[j]) for j, m in layer.affine.terms), np.zeros(layer.size))
        square.append(z * (layer.activation.slopes**2).max(axis=1, initial=0.0))
    total = sum((squares(m, square[j]) for j, m in net.output.terms), np.zeros(net.output.size))
    return 64 * UNIT * np.sqrt(total)
