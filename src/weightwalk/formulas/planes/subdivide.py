"""Polygons cut along the kinks of many units at once.

Each unit is affine on each polygon, so it is known by its numbers at the vertices, of which only the sign matters:
below, at (within a tolerance) or above its kink. Every edge is subdivided once, when it comes into being, at all units
that change sign along it; both polygons beside it then have the same vertices, whatever is done to either later. So no
T-junction can arise, each polygon can be cut without looking at its neighbours, and all polygons are cut in step: in
each round every polygon that still has units to cut along is cut along one of them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from weightwalk.formulas.planes.rings import Rings, lowest, members, pack, rank, single, together, unpack

_CHUNK = 2**16
"""Numbers that are interpolated at a time."""


class Table:
    """The vertices, with all numbers that are carried along, and the signs of the units.

    Columns are what is only carried (coordinates first), then one per unit: its distance from its kink. In homogeneous
    coordinates (s, t, w) every new row is divided by the length of (s, t, w).

    Args:
        rows: (V, C) to start with.
        units: The last so many columns are units.
        limit: (units,) within which a unit is held to be at its kink.
        homogeneous: The first three columns are s, t, w.
    """

    def __init__(self, rows: np.ndarray, units: int, limit: np.ndarray, homogeneous: bool = False) -> None:
        self._rows = rows
        self.count, self.first = len(rows), rows.shape[1] - units
        self.limit, self.homogeneous = limit, homogeneous
        self._above, self._below = self.signs(rows)
        self.labels: list[np.ndarray] = []
        self.edges = 0

    def signs(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The units above and those below their kinks, as bits."""
        v = rows[:, self.first :]
        return pack(v > self.limit), pack(v < -self.limit)

    @property
    def rows(self) -> np.ndarray:
        """(V, C)."""
        return self._rows[: self.count]

    @property
    def above(self) -> np.ndarray:
        """(V, W) bits."""
        return self._above[: self.count]

    @property
    def below(self) -> np.ndarray:
        """(V, W) bits."""
        return self._below[: self.count]

    @property
    def bytes(self) -> int:
        """What it occupies."""
        return self._rows.nbytes + self._above.nbytes + self._below.nbytes

    def between(self, a: np.ndarray, b: np.ndarray, t: np.ndarray, unit: np.ndarray) -> None:
        """Write new rows behind the last, ``(1 - t) a + t b``, each exactly on the kink of its unit.

        They count only when `keep` says so. A few at a time, so that they stay in the cache from pass to pass.
        """
        end = self.count + len(a)
        if end > len(self._rows):
            self._grow(max(end, self.count + self.count // 2 + 64))
        held, step = self._rows, max(16, _CHUNK // self._rows.shape[1])
        for i in range(0, len(a), step):
            part, out = slice(i, i + step), slice(self.count + i, min(self.count + i + step, end))
            rows, start = held[out], held[a[part]]
            np.subtract(held[b[part]], start, out=rows)
            rows *= t[part, None]
            rows += start
            if self.homogeneous:
                rows /= np.linalg.norm(rows[:, :3], axis=1)[:, None]
            rows[np.arange(len(rows)), self.first + unit[part]] = 0.0
            self._above[out], self._below[out] = self.signs(rows)

    def written(self, count: int) -> tuple[np.ndarray, np.ndarray]:
        """The bits of the rows that were just written, to be changed in place."""
        new = slice(self.count, self.count + count)
        return self._above[new], self._below[new]

    def keep(self, count: int, chosen: np.ndarray | None) -> np.ndarray:
        """Make vertices of the rows that were just written, or of some; gives their numbers."""
        new = slice(self.count, self.count + count)
        if chosen is not None:
            count = len(chosen)
            for held in (self._rows, self._above, self._below):
                held[self.count : self.count + count] = held[new][chosen]
        self.count += count
        return np.arange(self.count - count, self.count)

    def _grow(self, capacity: int) -> None:
        for name in ("_rows", "_above", "_below"):
            old = getattr(self, name)
            new = np.empty((capacity, old.shape[1]), old.dtype)
            new[: self.count] = old[: self.count]
            setattr(self, name, new)

    def add_edges(self, labels: np.ndarray) -> None:
        """New undirected edges, numbered after those that are there."""
        self.labels.append(labels)
        self.edges += len(labels)

    @property
    def label(self) -> np.ndarray:
        """(edges,) the label of each."""
        self.labels = [np.concatenate(self.labels)] if self.labels else [np.zeros(0, np.int64)]
        return self.labels[0]


@dataclass(frozen=True, eq=False)
class Chains:
    """New vertices on edges: those of edge e are ``vertex[first[e]:first[e] + count[e]]``, in order from its start."""

    vertex: np.ndarray
    first: np.ndarray
    count: np.ndarray


@dataclass(frozen=True, eq=False)
class Divided:
    """What came of it.

    Attributes:
        cells: The polygons, those of one parent beside each other.
        parent: (R,) the polygon that each was cut from.
        after: (R, W) bits: the units above their kink there.
        repaired: Polygons whose signs changed more than twice around them.
    """

    cells: Rings
    parent: np.ndarray
    after: np.ndarray
    repaired: int


def on_edges(table: Table, a: np.ndarray, b: np.ndarray, cross: np.ndarray) -> Chains:
    """Put a vertex on the edges a -> b wherever one of the units in the bit sets `cross` is at its kink."""
    edge, unit = members(cross)
    if not len(edge):
        return Chains(np.zeros(0, np.int64), np.zeros(len(a), np.int64), np.zeros(len(a), np.int64))
    held = table.rows
    va, vb = held[a[edge], table.first + unit], held[b[edge], table.first + unit]
    t = va / (va - vb)
    count, first = rank(edge, len(a))
    if count.max() > 1:
        order = np.lexsort((t, edge))
        edge, unit, t, va, vb = edge[order], unit[order], t[order], va[order], vb[order]
    table.between(a[edge], b[edge], t, unit)
    kept = None
    if count.max() > 1:
        kept = _apart(edge, unit, np.abs(vb - va) / table.limit[unit], *table.written(len(edge)))
    vertex = table.keep(len(edge), kept)
    if kept is not None:
        count, first = rank(edge[kept], len(a))
    return Chains(vertex, first, count)


def _apart(
    edge: np.ndarray, unit: np.ndarray, steep: np.ndarray, above: np.ndarray, below: np.ndarray
) -> np.ndarray | None:
    """Which of the new vertices to keep, None for all: units that meet on an edge share one vertex.

    Two neighbours on an edge meet where either unit is at its kink at the other's vertex. Of those that meet, the
    steepest unit's vertex is kept, and all of them are at their kinks there.
    """
    known = above | below
    near = np.zeros(len(edge), bool)  # meets the one before it
    same = np.flatnonzero(edge[1:] == edge[:-1])
    zero = ~(_bit(known, same, unit[same + 1]) & _bit(known, same + 1, unit[same]))
    near[same[zero] + 1] = True
    if not near.any():
        return None
    group = np.cumsum(~near) - 1
    order = np.lexsort((-steep, group))
    keep = np.sort(order[np.concatenate([[True], group[order][1:] != group[order][:-1]])])
    # every unit of the group is at its kink at the vertex that is kept
    bits = ~single(unit, known.shape[1])
    np.bitwise_and.at(above, keep[group], bits)
    np.bitwise_and.at(below, keep[group], bits)
    return keep


def _bit(words: np.ndarray, row: np.ndarray, column: np.ndarray) -> np.ndarray:
    """Whether a bit is set."""
    return (words[row, column >> 6] >> (column & 63).astype(np.uint64)) & np.uint64(1) != 0


def changes(table: Table, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """(M, W) the units that are on opposite sides of their kinks at the two ends of edges."""
    above, below = table.above, table.below
    return (above[a] & below[b]) | (below[a] & above[b])


def edge_ends(cells: Rings, edges: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The ends of each undirected edge, the lesser vertex number first, and which ring entries run that way."""
    following = cells.following(cells.ring)
    forward = cells.ring < following
    a, b = np.zeros(edges, np.int64), np.zeros(edges, np.int64)
    a[cells.edge], b[cells.edge] = np.minimum(cells.ring, following), np.maximum(cells.ring, following)
    return a, b, forward


def divide(
    table: Table, cells: Rings, label: np.ndarray, names: np.ndarray, told: Callable[[int], None] | None = None,
    only: np.ndarray | None = None,
) -> Divided:  # fmt: skip
    """Cut all polygons along the kinks of all units of a table.

    Args:
        table: Vertices and units; grows.
        cells: The polygons.
        label: (edges,) labels of the present edges; pieces of an edge inherit them.
        names: (units,) labels for the edges that come to lie on the units' kinks.
        told: Called in each round with the number of polygons so far; may raise.
        only: (R, W) bits of the units along which each polygon is to be cut; all of them by default.

    Returns:
        The pieces. A unit that is at its kink all over a polygon counts as below it.
    """
    cells = _edges_first(table, cells, label)
    above = cells.either(table.above)
    todo, after, parent = above & cells.either(table.below), above, np.arange(cells.count)
    if only is not None:
        todo &= only
    done: list[Rings] = []
    found: list[tuple[np.ndarray, np.ndarray]] = []
    count, repaired = 0, 0
    while cells.count:
        ready = ~todo.any(axis=1)
        if ready.any():
            chosen = np.flatnonzero(ready)
            done.append(cells.take(chosen))
            found.append((parent[chosen], after[chosen]))
            count += len(chosen)
            rest = np.flatnonzero(~ready)
            cells, todo, after, parent = cells.take(rest), todo[rest], after[rest], parent[rest]
        if told is not None:
            told(count + cells.count)
        if cells.count:
            cells, todo, after, parent, odd = _cut(table, cells, todo, after, parent, names)
            repaired += odd
    pieces = together(done)
    parent, after = (np.concatenate(x) for x in zip(*found, strict=True))
    order = np.argsort(parent, kind="stable")
    return Divided(pieces.take(order), parent[order], after[order], repaired)


def _edges_first(table: Table, cells: Rings, label: np.ndarray) -> Rings:
    """The polygons with vertices put on their edges wherever a unit changes sign."""
    a, b, forward = edge_ends(cells, len(label))
    chains = on_edges(table, a, b, changes(table, a, b))
    parts = chains.count + 1
    table.add_edges(np.repeat(label, parts))  # the parts of edge e are numbered in order from a to b
    begin = np.cumsum(parts) - parts
    here = parts[cells.edge]
    size = np.add.reduceat(here, cells.start) if cells.count else cells.size
    at = np.repeat(np.arange(len(here)), here)  # the old entry of each new one
    k = np.arange(len(at)) - np.repeat(np.cumsum(here) - here, here)
    old, along = cells.edge[at], forward[at]
    edge = begin[old] + np.where(along, k, parts[old] - 1 - k)
    ring = cells.ring[at]
    new = np.flatnonzero(k)
    old = old[new]
    place = np.where(along[new], k[new] - 1, chains.count[old] - k[new])
    ring[new] = chains.vertex[chains.first[old] + place]
    return Rings(ring, edge, size)


def _cut(
    table: Table, cells: Rings, todo: np.ndarray, after: np.ndarray, parent: np.ndarray, names: np.ndarray
) -> tuple[Rings, np.ndarray, np.ndarray, np.ndarray, int]:
    """Each polygon in two, along the first unit that it still has to be cut along."""
    unit = lowest(todo)
    word, shift = unit >> 6, (unit & 63).astype(np.uint64)
    which, by = word[cells.owner], shift[cells.owner]
    one = np.uint64(1)
    plus = (table.above[cells.ring, which] >> by) & one != 0
    minus = (table.below[cells.ring, which] >> by) & one != 0
    first, last, is_plus, odd = _gates(table, cells, unit, plus, minus)
    bits = single(unit, todo.shape[1])
    whole = np.flatnonzero(first < 0)
    if len(whole):  # nothing of the polygon can be cut off: it is on the side of its farthest vertex
        todo[whole] &= ~bits[whole]
        after[whole] = (after[whole] & ~bits[whole]) | np.where(is_plus[whole, None], bits[whole], np.uint64(0))
        return cells, todo, after, parent, odd
    a, b = cells.ring[first], cells.ring[last]
    chord = on_edges(table, a, b, changes(table, a, b) & todo & ~bits)
    pieces = _two(table, cells, first, last, chord, names[unit])
    bits, before = np.concatenate([bits, bits]), np.concatenate([todo, todo])
    above = pieces.either(table.above)
    open_ = before & ~bits
    side = np.concatenate([is_plus, ~is_plus])
    after = (np.concatenate([after, after]) & ~before) | (above & open_) | np.where(side[:, None], bits, np.uint64(0))
    todo = open_ & above & pieces.either(table.below)
    return pieces, todo, after, np.concatenate([parent, parent]), odd


def _gates(
    table: Table, cells: Rings, unit: np.ndarray, plus: np.ndarray, minus: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, int]:
    """Where to cut: the entries at a unit's kink before and after the one run of entries on one side of it.

    Returns:
        Entry before the run (-1: the polygon is not to be cut), entry after it, whether the run is above the kink, and
        in how many polygons the signs changed more than twice.
    """
    zero = ~(plus | minus)
    enter = np.flatnonzero(zero & cells.following(plus))
    leave = np.flatnonzero(zero & cells.preceding(plus))
    if len(enter) == cells.count == len(leave) and (cells.owner[enter] == np.arange(cells.count)).all():
        return enter, leave, np.ones(cells.count, bool), 0
    first, last, above = (np.zeros(cells.count, t) for t in (np.int64, np.int64, bool))
    clean = np.bincount(cells.owner[enter], minlength=cells.count) == 1
    clean &= np.bincount(cells.owner[leave], minlength=cells.count) == 1
    first[cells.owner[enter]], last[cells.owner[leave]], above[:] = enter, leave, True
    for c in np.flatnonzero(~clean):
        span = slice(cells.start[c], cells.start[c] + cells.size[c])
        sign = plus[span].astype(int) - minus[span]
        value = np.abs(table.rows[cells.ring[span], table.first + unit[c]])
        before, behind, above[c] = _main_run(sign, value)
        first[c], last[c] = (cells.start[c] + before, cells.start[c] + behind) if before >= 0 else (-1, -1)
    return first, last, above, int((~clean).sum())


def _main_run(sign: np.ndarray, value: np.ndarray) -> tuple[int, int, bool]:
    """The entries around the run of one sign that is to be cut off: the only one of its sign, or else the greatest.

    Rounding can leave a ring on which the signs change more than twice, as + 0 + 0 - 0. All but one run of either sign
    are then noise about zero, and stay with what surrounds them. (-1, -1, side) where one part would be empty.
    """
    n, runs = len(sign), []
    for s in (1, -1):
        starts = [i for i in range(len(sign)) if sign[i] == s and sign[i - 1] != s]
        for i in starts:
            k = i
            while sign[(k + 1) % len(sign)] == s:
                k += 1
            inside = [j % len(sign) for j in range(i, k + 1)]
            if len(inside) <= n - 3:
                runs.append((len(starts) == 1, float(value[inside].max()), (i - 1) % n, (k + 1) % n, s > 0))
    if not runs:
        return -1, -1, bool(sign[value.argmax()] > 0)
    _, _, before, behind, above = max(runs)
    return before, behind, above


def _two(table: Table, cells: Rings, first: np.ndarray, last: np.ndarray, chord: Chains, names: np.ndarray) -> Rings:
    """Both pieces of every polygon: first ... last closed by the chord, and last ... first; all of the former first."""
    count = cells.count
    arc = (last - first) % cells.size  # edges of the first piece that are not on the chord
    begin = np.concatenate([first, last])
    arcs = np.concatenate([arc, cells.size - arc])
    inner = np.concatenate([chord.count, chord.count])
    size = arcs + 1 + inner
    parts = chord.count + 1
    base = table.edges + np.cumsum(parts) - parts
    table.add_edges(np.repeat(names, parts))
    owner = np.repeat(np.arange(2 * count), size)
    j = np.arange(len(owner)) - (np.cumsum(size) - size)[owner]
    source = begin[owner] + j
    end = np.concatenate([cells.start + cells.size] * 2)[owner]
    source -= np.where(source >= end, np.concatenate([cells.size] * 2)[owner], 0)
    k = j - arcs[owner]  # 0 at the end of the arc, then along the chord
    source[k > 0] = 0
    ring, edge = cells.ring[source], cells.edge[source]
    on = np.flatnonzero(k >= 0)
    who, k = owner[on], k[on]
    back = who < count  # the first piece runs along the chord from its end, the second from its start
    cell = np.where(back, who, who - count)
    edge[on] = base[cell] + np.where(back, chord.count[cell] - k, k)
    inside = k > 0
    on, cell, k, back = on[inside], cell[inside], k[inside], back[inside]
    ring[on] = chord.vertex[chord.first[cell] + np.where(back, chord.count[cell] - k, k - 1)]
    return Rings(ring, edge, size)


def snapped(table: Table) -> int:
    """Vertices at which some unit is held to be at its kink without being exactly there."""
    v = table.rows[:, table.first :]
    held = v.shape[1] - unpack(table.above | table.below, v.shape[1]).sum(axis=1, dtype=np.int64)
    return int((held > v.shape[1] - np.count_nonzero(v, axis=1)).sum())
