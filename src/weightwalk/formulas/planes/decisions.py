"""Where which output of a net is the greatest, or the least: its regions divided further along the ties."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations

import numpy as np

from weightwalk.errors import UsageError
from weightwalk.formulas.planes.partition import Box, Partition
from weightwalk.formulas.planes.rings import Rings, pack
from weightwalk.formulas.planes.subdivide import Table, divide
from weightwalk.formulas.planes.unite import SIDE, unite

TIE = -3
"""An edge on the tie of pair p bears the label TIE - p."""


@dataclass(frozen=True, eq=False)
class Decisions:
    """The regions of a plane, each cut where another output takes the lead.

    Polygon r is ``vertices[ring[start[r]:start[r + 1]]]``, counterclockwise, a part of region ``region[r]`` of the
    partition, in which output ``winner[r]`` leads.

    Attributes:
        partition: What was divided.
        least: Whether the least output leads, not the greatest.
        vertices: (V, 2).
        infinite: (V,) bool; see `Partition`.
        ring: (E,) vertex numbers.
        start: (R + 1,) where each ring starts.
        edge: (E,) as in `Partition`; `TIE` - p where outputs ``pairs[p]`` are equal.
        pairs: (P, 2).
        region: (R,).
        winner: (R,) of two that tie all over a polygon, the first.
        values: (V, outputs).
    """

    partition: Partition
    least: bool
    vertices: np.ndarray
    infinite: np.ndarray
    ring: np.ndarray
    start: np.ndarray
    edge: np.ndarray
    pairs: np.ndarray
    region: np.ndarray
    winner: np.ndarray
    values: np.ndarray

    @property
    def box(self) -> Box | None:
        """The rectangle; None for the whole plane."""
        return self.partition.box

    @property
    def areas(self) -> np.ndarray:
        """(R,) area of each polygon; nan for one that reaches infinity."""
        cells = Rings(self.ring, self.ring, np.diff(self.start))
        at = self.vertices[self.ring]
        from_first = at - at[self.start[:-1]][cells.owner]
        x, y = from_first.T
        out = np.add.reduceat(x * cells.following(y) - cells.following(x) * y, self.start[:-1]) / 2
        out[cells.owner[self.infinite[self.ring]]] = np.nan
        return out

    @property
    def shares(self) -> np.ndarray:
        """(outputs,) the part of the box in which each output leads; nan in the whole plane."""
        areas = self.areas
        return np.bincount(self.winner, areas, minlength=self.values.shape[1]) / areas.sum()

    def polygon(self, number: int) -> np.ndarray:
        """(k, 2) vertices of one polygon, counterclockwise."""
        return self.vertices[self.ring[self.start[number] : self.start[number + 1]]]


def decisions(partition: Partition, least: bool = False, memory: int = 2 << 30) -> Decisions:
    """Every region divided by which output is the greatest.

    On a region the outputs are affine, so the greatest is the upper envelope of planes, and each output leads in a
    convex polygon (or nowhere). An output that leads at all vertices of a region leads all over it; only the others
    are cut, along the lines on which two outputs that may lead are equal, and what has one winner is made one again.

    Args:
        partition: The regions.
        least: Ask for the least output instead, as the ACAS Xu controllers do.
        memory: Bytes that the differences of the outputs may take.

    Raises:
        UsageError: For a net of one output, or more bytes than `memory`.

    Example:
        >>> import numpy as np
        >>> from weightwalk.formulas.piecewise import mlp
        >>> from weightwalk.formulas.planes.plane import partition
        >>> found = decisions(partition(mlp([np.eye(2)], [np.zeros(2)])))  # is s or t the greater?
        >>> found.winner.tolist(), found.areas.tolist()
        ([0, 1], [2.0, 2.0])
    """
    y = -partition.values if least else partition.values
    outputs = y.shape[1]
    if outputs < 2:
        raise UsageError(f"a decision is between outputs, and this net has {outputs}; give a net of two or more.")
    cells = _numbered(partition)
    may = _candidates(y, cells)
    pairs = np.array([(i, j) for i, j in combinations(range(outputs), 2) if (may[:, i] & may[:, j]).any()])
    pairs = pairs.reshape(-1, 2).astype(np.int64)
    needed = len(y) * len(pairs) * 8 * 3
    if needed > memory:
        raise UsageError(
            f"the differences of {outputs} outputs at {len(y):,} vertices take {needed / 2**20:,.0f} MiB, more than "
            f"the {memory / 2**20:,.0f} MiB allowed; choose a smaller box or fewer outputs, or more --memory."
        )
    coords = partition.vertices
    if partition.box is None:
        coords = np.concatenate([coords, ~partition.infinite[:, None]], axis=1)
        length = np.linalg.norm(coords, axis=1)[:, None]
        coords, y = coords / length, y / length
    apart = y[:, pairs[:, 0]] - y[:, pairs[:, 1]]
    limit = np.maximum(partition.tolerance * np.abs(y).max(), 1e-300)
    table = Table(
        np.concatenate([coords, y, apart], axis=1), len(pairs), np.full(len(pairs), limit), coords.shape[1] == 3
    )
    label = np.zeros(int(cells.edge.max()) + 1, np.int64)
    label[cells.edge] = partition.edge
    both = pack(may[:, pairs[:, 0]] & may[:, pairs[:, 1]])
    cut = divide(table, cells, label, TIE - np.arange(len(pairs)), only=both)
    return _united(partition, least, table, cut.cells, cut.parent, pairs, float(limit))


def _numbered(partition: Partition) -> Rings:
    """The rings with their undirected edges numbered."""
    following = partition.ring[partition.following]
    key = np.minimum(partition.ring, following) * len(partition.vertices) + np.maximum(partition.ring, following)
    edge = np.unique(key, return_inverse=True)[1]
    return Rings(partition.ring, edge, np.diff(partition.start))


def _candidates(y: np.ndarray, cells: Rings) -> np.ndarray:
    """(R, outputs) the outputs that may lead somewhere in a region; none where one leads at all vertices."""
    top = y >= y.max(axis=1)[:, None]
    everywhere = np.minimum.reduceat(top[cells.ring], cells.start).any(axis=1)
    most = np.maximum.reduceat(y[cells.ring], cells.start)
    surely = np.minimum.reduceat(y[cells.ring], cells.start).max(axis=1, keepdims=True)  # one is never below that
    return (most >= surely) & np.logical_not(everywhere)[:, None]


def _united(
    partition: Partition, least: bool, table: Table, cells: Rings, parent: np.ndarray, pairs: np.ndarray, limit: float
) -> Decisions:
    """The pieces of one region in which the same output leads, made one polygon."""
    at, outputs = table.first - partition.values.shape[1], partition.values.shape[1]
    coords, y = table.rows[:, :at].copy(), table.rows[:, at : table.first].copy()
    mean = np.add.reduceat(y[cells.ring], cells.start) / cells.size[:, None]
    winner = (mean >= mean.max(axis=1)[:, None] - limit).argmax(axis=1)
    infinite = np.zeros(len(coords), bool)
    if at == 3:
        infinite = coords[:, 2] == 0.0
        w = np.where(infinite, 1.0, coords[:, 2])[:, None]
        coords, y = coords[:, :2] / w, y / w
    _, group = np.unique(parent * outputs + winner, return_inverse=True)
    one = unite(cells, table.label, group, coords, infinite, np.flatnonzero(infinite))
    return Decisions(
        partition=partition, least=least, vertices=coords[one.kept], infinite=infinite[one.kept], ring=one.cells.ring,
        start=np.append(one.cells.start, len(one.cells.ring)), edge=one.label[one.cells.edge], pairs=pairs,
        region=parent[one.first], winner=winner[one.first], values=(-y if least else y)[one.kept],
    )  # fmt: skip


@dataclass(frozen=True, eq=False)
class Outlines:
    """The edges between polygons of different labels.

    Attributes:
        ends: (S, 2) vertex numbers.
        sides: (S, 2) the labels on the left and on the right of the way from the first end to the second; -1 for what
            lies outside the box.
    """

    ends: np.ndarray
    sides: np.ndarray


def outlines(found: Partition | Decisions, labels: np.ndarray, sides: bool = False) -> Outlines:
    """Where one label ends and another begins, for drawing.

    Args:
        found: Polygons.
        labels: (R,) a whole number >= 0 for each: ``found.affine``, or ``found.winner``.
        sides: Whether to give the sides of the box too.
    """
    labels, size = np.asarray(labels), np.diff(found.start)
    if labels.shape != size.shape:
        raise UsageError(f"{len(labels):,} labels were given for {len(size):,} polygons; give one for each.")
    cells = Rings(found.ring, found.ring, size)
    following = cells.following(found.ring)
    key = np.minimum(found.ring, following) * len(found.vertices) + np.maximum(found.ring, following)
    _, first, edge = np.unique(key, return_index=True, return_inverse=True)
    forward = found.ring < following
    beside = np.full((len(first), 2), SIDE)
    beside[edge[forward], 0] = labels[cells.owner[forward]]
    beside[edge[~forward], 1] = labels[cells.owner[~forward]]
    ends = np.sort(np.stack([found.ring, following], axis=1)[first], axis=1)
    chosen = beside[:, 0] != beside[:, 1]
    if not sides:
        chosen &= (beside >= 0).all(axis=1)
    return Outlines(ends[chosen], beside[chosen])
