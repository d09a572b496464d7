"""Polygons that belong together, made one."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from weightwalk.formulas.planes.merge import connected, neighbours
from weightwalk.formulas.planes.rings import Rings

SIDE = -1
"""Label of edges on the sides of the box, or at infinity."""


@dataclass(frozen=True, eq=False)
class United:
    """Polygons after some of them were made one.

    Attributes:
        cells: One polygon per group.
        label: (edges,) as before.
        first: (R,) the first polygon of each group.
        kept: (V,) the former number of each vertex that is left.
    """

    cells: Rings
    label: np.ndarray
    first: np.ndarray
    kept: np.ndarray


def unite(
    cells: Rings, label: np.ndarray, group: np.ndarray, vertices: np.ndarray, infinite: np.ndarray,
    stay: np.ndarray | None = None,
) -> United:  # fmt: skip
    """Drop the edges between polygons of one group, and the vertices that nothing but these edges needed.

    The union of each group must be convex. A vertex at which two edges of one kink are left goes. Of a kink line that
    runs from infinity to infinity one vertex stays, for two directions alone do not say where a line lies.

    Args:
        cells: The polygons.
        label: (edges,) of every edge; those on sides are told from one another by their coordinates.
        group: (R,) numbers 0, 1, ..., each used.
        vertices: (V, 2).
        infinite: (V,) whether a vertex is a direction.
        stay: Vertices that are kept whatever they lie on.
    """
    a, b, shared = neighbours(cells, len(label))
    dropped = np.zeros(len(label), bool)
    dropped[shared[group[a] == group[b]]] = True
    entry, size = _walk(cells, ~dropped[cells.edge], group)
    ring, edge = cells.ring[entry], cells.edge[entry]
    gone = _needless(cells, label, ~dropped, vertices, infinite)
    if stay is not None:
        gone[stay] = False
    stays = ~gone[ring]
    size = np.add.reduceat(stays, np.cumsum(size) - size).astype(np.int64)
    ring, edge = ring[stays], edge[stays]
    kept, ring = np.unique(ring, return_inverse=True)
    bare = Rings(ring, edge, size)
    following = bare.following(ring)
    key = np.minimum(ring, following) * len(kept) + np.maximum(ring, following)
    _, at, number = np.unique(key, return_index=True, return_inverse=True)
    first = np.unique(group, return_index=True)[1]
    return United(Rings(ring, number, size), label[edge[at]], first, kept)


def _walk(cells: Rings, stays: np.ndarray, group: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The ring entries around each group, one after another, and their number per group.

    The edge after one that ends at vertex v is that of the same group which starts at v; all groups are walked around
    at once.
    """
    entry = np.flatnonzero(stays)
    of, span = group[cells.owner[entry]], int(cells.ring.max()) + 1
    begin, end = of * span + cells.ring[entry], of * span + cells.following(cells.ring)[entry]
    order = np.argsort(begin, kind="stable")
    after = order[np.searchsorted(begin[order], end)]
    here = np.unique(of, return_index=True)[1]
    start, groups = here, np.arange(len(here))
    steps: list[np.ndarray] = []
    owners: list[np.ndarray] = []
    while len(here):
        steps.append(here)
        owners.append(groups)
        here = after[here]
        on = here != start
        here, start, groups = here[on], start[on], groups[on]
        if len(steps) > len(entry):
            raise AssertionError("the outline of a group of polygons does not close")
    owner = np.concatenate(owners)
    by_group = np.argsort(owner, kind="stable")
    return entry[np.concatenate(steps)[by_group]], np.bincount(owner)


def _needless(
    cells: Rings, label: np.ndarray, stays: np.ndarray, vertices: np.ndarray, infinite: np.ndarray
) -> np.ndarray:
    """(V,) the vertices at which two edges are left, parts of one straight line."""
    following, count = cells.following(cells.ring), len(vertices)
    a, b = np.zeros(len(label), np.int64), np.zeros(len(label), np.int64)
    a[cells.edge], b[cells.edge] = cells.ring, following
    left = np.flatnonzero(stays)
    at, other, name = np.concatenate([a[left], b[left]]), np.concatenate([b[left], a[left]]), label[left]
    name = np.concatenate([name, name])
    touched = np.bincount(at, minlength=count) == 2
    some = np.flatnonzero(touched[at])
    some = some[np.argsort(at[some], kind="stable")]
    at, other, name = at[some][::2], other[some].reshape(-1, 2), name[some].reshape(-1, 2)
    level = (vertices[other] == vertices[at][:, None]).all(axis=1).any(axis=1)  # both on the same side of the box
    level |= infinite[at]  # and at infinity all is one side
    straight = (name[:, 0] == name[:, 1]) & ((name[:, 0] != SIDE) | level)
    at, other = at[straight], other[straight]
    gone = np.zeros(count, bool)
    gone[at] = True
    return _but_one(gone, at, other, infinite)


def _but_one(gone: np.ndarray, at: np.ndarray, other: np.ndarray, infinite: np.ndarray) -> np.ndarray:
    """Keep one of those that lie on a line from infinity to infinity with nothing else on it."""
    rows = np.repeat(np.arange(len(at)), 2)
    place = np.full(len(gone), -1)
    place[at] = np.arange(len(at))
    ends = other.ravel()
    inner = gone[ends]
    line = connected(len(at), rows[inner], place[ends[inner]])
    open_ends = np.bincount(line[rows[infinite[ends] & ~infinite[at[rows]]]], minlength=len(at))
    lines, first = np.unique(line, return_index=True)
    gone[at[first[open_ends[lines] == 2]]] = False
    return gone
