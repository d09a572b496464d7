"""Polygons carried through a net, layer by layer."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from weightwalk.formulas.piecewise import Layer, PiecewiseNet
from weightwalk.formulas.planes.rings import Rings, members, pack
from weightwalk.formulas.planes.subdivide import Table, divide, snapped
from weightwalk.formulas.rounding import SURE, noise, size_after

GROWTH = 2.5
"""Bytes held at the worst moment per byte of the final table: it is copied when it grows."""


@dataclass(frozen=True, eq=False)
class Level:
    """What one layer did to the polygons.

    Attributes:
        parent: (R,) the polygon before the layer that each polygon was cut from, ascending; None where it cuts nothing.
        after: (R, W) bits of the units above their kinks; bit p n + i for kink p of unit i of n.
        limit: (kinks, n) within which a unit was held to be at its kink.
    """

    parent: np.ndarray | None
    after: np.ndarray | None
    limit: np.ndarray


@dataclass(frozen=True, eq=False)
class Stage:
    """The polygons after some layers.

    Attributes:
        cells: The polygons.
        label: (edges,) what each edge lies on, see `Partition.edge`.
        coords: (V, 2), or homogeneous (V, 3).
        sources: h_j at the vertices, (V, n_j), where it is still read; the first place stands for `coords`.
        sizes: Greatest |h_j| of each unit.
        errors: Rounding error to be expected of it.
        levels: One per layer.
        snapped: See `Partition`.
        spans: Least and greatest z of each unit by layer, where that is prescribed; else it is taken at the vertices.
        outputs: y at the vertices, after the last layer.
    """

    cells: Rings
    label: np.ndarray
    coords: np.ndarray
    sources: tuple[np.ndarray | None, ...]
    sizes: tuple[np.ndarray, ...]
    errors: tuple[np.ndarray, ...]
    levels: tuple[Level, ...] = ()
    snapped: int = 0
    spans: Mapping[int, tuple[np.ndarray, np.ndarray]] = field(default_factory=dict)
    outputs: np.ndarray = field(default_factory=lambda: np.zeros((0, 0)))

    @property
    def scale(self) -> np.ndarray | float:
        """What biases are multiplied by."""
        return self.coords[:, 2:] if self.coords.shape[1] == 3 else 1.0

    @property
    def bytes(self) -> int:
        """What its numbers and rings occupy."""
        arrays = (self.cells.ring, self.cells.edge, self.label, self.coords, *self.sources)
        return sum(a.nbytes for a in arrays if a is not None)

    @property
    def inputs(self) -> list[np.ndarray | None]:
        """What an `Affine` reads."""
        return [self.coords[:, :2], *self.sources[1:]]


def begin(cells: Rings, label: np.ndarray, coords: np.ndarray) -> Stage:
    """Polygons that no layer has divided yet."""
    size = np.abs(coords[:, :2]).max(axis=0)
    return Stage(cells, label, coords, (None,), (size,), (np.zeros(2),))


def finish(net: PiecewiseNet, stage: Stage) -> Stage:
    """The stage after the last layer, with y at the vertices and nothing that only a next layer would need."""
    return replace(stage, outputs=net.output(stage.inputs, stage.scale), sources=(None,) * len(stage.sources))


def width(net: PiecewiseNet, k: int, stage: Stage) -> tuple[int, int]:
    """Columns that are carried while layer k (from 1) cuts: floats, and units among them."""
    layer = net.layers[k - 1]
    kept = sum(s.shape[1] for j, s in enumerate(stage.sources) if s is not None and net.last_read[j] > k)
    units = layer.size * layer.activation.count
    return stage.coords.shape[1] + kept + units, units


def estimate(net: PiecewiseNet, k: int, stage: Stage, vertices: int = 1) -> int:
    """Bytes that are needed to cut along layer k (from 1), for so many vertices in all."""
    columns, units = width(net, k, stage)
    return int(GROWTH * vertices * (8 * columns + 16 * -(-units // 64)))


class TooLargeError(Exception):
    """A layer may need more bytes than there are.

    Attributes:
        stage: The polygons before it.
        layer: Which (from 1).
        weight: (R,) what each polygon may need of them.
    """

    def __init__(self, stage: Stage, layer: int, weight: np.ndarray) -> None:
        super().__init__(f"layer {layer} may need {weight.sum():,} bytes")
        self.stage, self.layer, self.weight = stage, layer, weight


def through(
    net: PiecewiseNet, k: int, stage: Stage, tolerance: float, memory: int, told: Callable[[int, int], None]
) -> Stage:
    """The polygons after layer k (from 1).

    Args:
        net: The net.
        k: The layer.
        stage: After the layers before it.
        tolerance: Fraction of a unit's greatest size within which it is held to be at its kink.
        memory: Bytes that it may need.
        told: Called with the layer and the polygons known so far; may raise.

    Raises:
        TooLargeError: If it might need more.
    """
    layer = net.layers[k - 1]
    each = estimate(net, k, stage)
    if each * len(stage.coords) > memory:
        raise TooLargeError(stage, k, each * _weight(layer, stage, max(1, memory // each)))
    z = layer.affine(stage.inputs, stage.scale)
    error = noise(layer.affine, list(stage.sizes), list(stage.errors))
    least, greatest = stage.spans[k] if k in stage.spans else (z.min(axis=0), z.max(axis=0))
    sizes = (*stage.sizes, size_after(layer.activation, least, greatest))
    errors = (*stage.errors, error * np.abs(layer.activation.slopes).max(axis=1, initial=0.0))
    limit = _limits(layer, least, greatest, error, tolerance)
    before, stage = stage, replace(stage, sizes=sizes, errors=errors)
    kept = [j for j, s in enumerate(stage.sources) if s is not None and net.last_read[j] > k]
    if not layer.activation.count:
        h = layer.activation(z, stage.scale)
        sources = tuple(s if j in kept else None for j, s in enumerate(stage.sources))
        return replace(stage, sources=(*sources, h), levels=(*stage.levels, Level(None, None, limit)))
    table = _table(layer, stage, z, kept, limit)
    del z
    crossing = _crossing(stage.cells, table.above, table.below)
    vertices = _new_vertices(crossing)
    told(k, stage.cells.count + int(crossing.sum()))
    if each * (len(stage.coords) + vertices.sum()) > memory:
        raise TooLargeError(before, k, each * (stage.cells.size + vertices))
    first = sum(la.size for la in net.layers[: k - 1])
    names = first + np.tile(np.arange(layer.size), layer.activation.count)
    cut = divide(table, stage.cells, stage.label, names, lambda count: told(k, count))
    return _collect(layer, stage, table, kept, cut.cells, Level(cut.parent, cut.after, limit), cut.repaired)


def _limits(layer: Layer, least: np.ndarray, greatest: np.ndarray, error: np.ndarray, tolerance: float) -> np.ndarray:
    """(kinks, n) within which a unit is held to be at its kink."""
    kinks = layer.activation.kinks.T
    size = np.maximum(np.abs(least - kinks), np.abs(greatest - kinks))
    return np.maximum(np.maximum(tolerance * size, SURE * (error + 2.0**-53 * np.abs(kinks))), 1e-300)


def _table(layer: Layer, stage: Stage, z: np.ndarray, kept: list[int], limit: np.ndarray) -> Table:
    """Coordinates, what later layers still read, and every unit's distance from each of its kinks."""
    kinks = layer.activation.kinks
    moved = [z - kinks[:, p] * stage.scale if kinks[:, p].any() else z for p in range(layer.activation.count)]
    carried = [s for j in kept if (s := stage.sources[j]) is not None]
    rows = np.concatenate([stage.coords, *carried, *moved], axis=1)
    return Table(rows, limit.size, limit.ravel(), stage.coords.shape[1] == 3)


def _crossing(cells: Rings, above: np.ndarray, below: np.ndarray) -> np.ndarray:
    """(R,) the number of units that cross each polygon; it is cut into at least one more piece for each."""
    return np.bincount(members(cells.either(above) & cells.either(below))[0], minlength=cells.count)


def _new_vertices(crossing: np.ndarray) -> np.ndarray:
    """(R,) new vertices at most in and around each polygon: k units meet its edges in 2 k, and one another within."""
    return 2 * crossing + crossing * (crossing - 1) // 2


def _weight(layer: Layer, stage: Stage, step: int) -> np.ndarray:
    """(R,) vertices that each polygon may have after a layer, found without holding all of z."""
    kinks, above, below = layer.activation.kinks, [], []
    for i in range(0, len(stage.coords), step):
        rows = slice(i, i + step)
        scale = stage.coords[rows, 2:] if stage.coords.shape[1] == 3 else 1.0
        z = layer.affine([None if s is None else s[rows] for s in stage.inputs], scale)
        apart = (
            np.concatenate([z - kinks[:, p] * scale for p in range(kinks.shape[1])], axis=1) if kinks.size else z[:, :0]
        )
        above.append(pack(apart > 0))
        below.append(pack(apart < 0))
    return stage.cells.size + _new_vertices(_crossing(stage.cells, np.concatenate(above), np.concatenate(below)))


def _collect(
    layer: Layer, stage: Stage, table: Table, kept: list[int], cells: Rings, level: Level, repaired: int
) -> Stage:
    """The stage after the cut: what was carried, and the layer's own output at all vertices."""
    rows, at = table.rows, stage.coords.shape[1]
    coords = rows[:, :at].copy()
    sources: list[np.ndarray | None] = [None] * (len(stage.sources) + 1)
    for j in kept:
        source = stage.sources[j]
        if source is not None:
            sources[j] = rows[:, at : at + source.shape[1]].copy()
            at += source.shape[1]
    scale = coords[:, 2:] if coords.shape[1] == 3 else 1.0
    z = rows[:, at : at + layer.size]
    if layer.activation.kinks[:, 0].any():
        z = z + layer.activation.kinks[:, 0] * scale
    sources[-1] = layer.activation(z, scale)
    return replace(
        stage, cells=cells, label=table.label, coords=coords, sources=tuple(sources),
        levels=(*stage.levels, level), snapped=stage.snapped + snapped(table) + repaired,
    )  # fmt: skip
