"""Neighbours, and polygons that belong together."""

from __future__ import annotations

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from weightwalk.formulas.planes.rings import Rings

SAME = 1e-13
"""Slopes whose difference is below this fraction of the greatest slope are held to be equal."""


def neighbours(cells: Rings, edges: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Every pair of polygons with a common edge, and the number of that edge."""
    following = cells.following(cells.ring)
    forward = cells.ring < following
    left, right = np.full(edges, -1), np.full(edges, -1)
    left[cells.edge[forward]] = cells.owner[forward]
    right[cells.edge[~forward]] = cells.owner[~forward]
    shared = np.flatnonzero((left >= 0) & (right >= 0))
    return left[shared], right[shared], shared


def connected(count: int, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """(count,) the connected component of each polygon, numbered in order of appearance."""
    graph = coo_array((np.ones(len(a), bool), (a, b)), shape=(count, count))
    return connected_components(graph, directed=False)[1].astype(np.int64)


def equal_maps(slopes: np.ndarray, a: np.ndarray, b: np.ndarray, noise: np.ndarray) -> np.ndarray:
    """Whether the maps of neighbours a and b are equal.

    They agree along the common edge, so only the jump of the gradient matters: at most `SAME` of the greatest slope of
    that output anywhere, or the rounding error of a slope where that is more.
    """
    if not len(a):
        return np.zeros(0, bool)
    limit = np.maximum(SAME * np.abs(slopes).max(axis=(0, 2)), noise)
    out = np.ones(len(a), bool)
    step = max(1, 2**20 // max(1, slopes.shape[1]))
    for i in range(0, len(a), step):
        jump = np.abs(slopes[a[i : i + step]] - slopes[b[i : i + step]])
        out[i : i + step] = (jump <= limit[:, None]).all(axis=(1, 2))
    return out
