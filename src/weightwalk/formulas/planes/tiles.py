"""Some of the polygons at a time, where all at once would take too much memory.

A tile is a run of polygons that are carried through the remaining layers by themselves. Where two tiles meet, both put
the same vertices on their common edges, in the same order; they are made one afterwards by their place along the edge.
A polygon that is too large by itself is cut along a seam first; regions on both sides of a seam are made one again by
their pattern (`weightwalk.formulas.planes.unite`).
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from weightwalk.errors import UsageError
from weightwalk.formulas.piecewise import PiecewiseNet
from weightwalk.formulas.planes.layerwise import Level, Stage
from weightwalk.formulas.planes.rings import Rings
from weightwalk.formulas.planes.subdivide import Table, divide

SEAM = -2
"""Label of edges that were only drawn to have smaller polygons to start with."""


_SAMPLE = 4_096


def seam(stage: Stage, number: int, cell: int) -> Stage:
    """All polygons cut along one line through the middle of one, in a direction that no kink is likely to have."""
    middle = stage.coords[stage.cells.take(np.array([cell])).ring].mean(axis=0)
    angle = 1.0 + 2.399963229728653 * number
    normal = np.array([np.cos(angle), np.sin(angle), 0.0][: stage.coords.shape[1]])
    w = middle[2] if len(middle) == 3 else 1.0
    far = -(normal @ middle) / w
    distance = stage.coords @ normal + far * (stage.coords[:, 2] if len(middle) == 3 else 1.0)
    carried = [s for s in stage.sources if s is not None]
    rows = np.concatenate([stage.coords, *carried, distance[:, None]], axis=1)
    table = Table(rows, 1, np.array([1e-12 * np.abs(distance).max()]), len(middle) == 3)
    cut = divide(table, stage.cells, stage.label, np.array([SEAM]))
    at, sources = len(middle), list(stage.sources)
    for j, s in enumerate(stage.sources):
        if s is not None:
            sources[j] = table.rows[:, at : at + s.shape[1]].copy()
            at += s.shape[1]
    levels = stage.levels
    if levels:
        last = levels[-1]
        parent = cut.parent if last.parent is None else last.parent[cut.parent]
        levels = (*levels[:-1], Level(parent, None if last.after is None else last.after[cut.parent], last.limit))
    return replace(
        stage, cells=cut.cells, label=table.label, coords=table.rows[:, : len(middle)].copy(), sources=tuple(sources),
        levels=levels,
    )  # fmt: skip


def look_ahead(net: PiecewiseNet, k: int, stage: Stage) -> Stage:
    """The stage with the span of every unit from layer k on, so that all tiles mean the same by a unit's size.

    Spans are those at the present vertices, or at some thousands of them.
    """
    step = max(1, len(stage.coords) // _SAMPLE)
    coords = stage.coords[::step]
    scale = coords[:, 2:] if coords.shape[1] == 3 else 1.0
    sources = [coords[:, :2], *(None if s is None else s[::step] for s in stage.sources[1:])]
    spans = dict(stage.spans)
    for j in range(k, len(net.layers) + 1):
        layer = net.layers[j - 1]
        z = layer.affine(sources, scale)
        spans.setdefault(j, (z.min(axis=0), z.max(axis=0)))
        sources.append(layer.activation(z, scale))
    return replace(stage, spans=spans)


def _code(stage: Stage) -> int:
    """While tiles are worked on, edge e between them bears the label `_code` - e; tiles of tiles go on below."""
    return min(int(stage.label.min()), SEAM) - 1


def split(stage: Stage, low: int, high: int, edges: np.ndarray) -> tuple[Stage, np.ndarray]:
    """Polygons low ... high - 1 as a stage of their own, and the former numbers of its vertices.

    Args:
        stage: All of them.
        low: The first.
        high: One behind the last.
        edges: (edges,) whether an edge lies between tiles.
    """
    cells = stage.cells.take(np.arange(low, high))
    vertices, ring = np.unique(cells.ring, return_inverse=True)
    used, edge = np.unique(cells.edge, return_inverse=True)
    label = np.where(edges[used], _code(stage) - used, stage.label[used])
    sources = tuple(None if s is None else s[vertices] for s in stage.sources)
    part = replace(
        stage, cells=Rings(ring, edge, cells.size), label=label, coords=stage.coords[vertices], sources=sources,
        levels=(), snapped=0,
    )  # fmt: skip
    return part, vertices


def between(stage: Stage, bounds: np.ndarray) -> np.ndarray:
    """(edges,) whether an edge has polygons of two tiles beside it; tile i begins at polygon bounds[i]."""
    tile = np.searchsorted(bounds, stage.cells.owner, side="right")
    least, greatest = np.full(len(stage.label), len(bounds) + 1), np.zeros(len(stage.label), np.int64)
    np.minimum.at(least, stage.cells.edge, tile)
    np.maximum.at(greatest, stage.cells.edge, tile)
    return least < greatest


def join(stage: Stage, parts: list[tuple[Stage, np.ndarray]]) -> Stage:
    """The finished tiles as one stage; gives each its former vertices back, and one vertex for two where tiles meet."""
    number, code = len(stage.coords), _code(stage)
    rings, labels, coords, outputs = [], [], [stage.coords], [np.zeros((number, parts[0][0].outputs.shape[1]))]
    key = np.zeros(0, np.int64)
    known = np.zeros(0, np.int64)
    for part, old in parts:
        edge, place, vertex = _along(part, old, code)
        own = edge * (1 << 31) + place
        at = np.minimum(np.searchsorted(key, own), max(len(key) - 1, 0))
        met = key[at] == own if len(key) else np.zeros(len(own), bool)
        numbers = np.full(len(part.coords), -1)
        numbers[: len(old)] = old
        numbers[vertex[met]] = known[at[met]]
        _same_place(stage, part, vertex[met], np.concatenate(coords) if met.any() else coords[0], known[at[met]])
        fresh = np.flatnonzero(numbers < 0)
        numbers[fresh] = number + np.arange(len(fresh))
        number += len(fresh)
        outputs[0][old] = part.outputs[: len(old)]
        coords.append(part.coords[fresh])
        outputs.append(part.outputs[fresh])
        key, known = np.concatenate([key, own[~met]]), np.concatenate([known, numbers[vertex[~met]]])
        order = np.argsort(key)
        key, known = key[order], known[order]
        rings.append(Rings(numbers[part.cells.ring], part.cells.edge, part.cells.size))
        coded = part.label <= code
        labels.append(np.where(coded, stage.label[np.where(coded, code - part.label, 0)], part.label)[part.cells.edge])
    ring, size = np.concatenate([r.ring for r in rings]), np.concatenate([r.size for r in rings])
    bare = Rings(ring, ring, size)
    following = bare.following(ring)
    _, first, edge = np.unique(
        np.minimum(ring, following) * number + np.maximum(ring, following), return_index=True, return_inverse=True
    )
    return replace(
        stage, cells=Rings(ring, edge, size), label=np.concatenate(labels)[first], coords=np.concatenate(coords),
        outputs=np.concatenate(outputs), levels=(*stage.levels, *_levels([p for p, _ in parts])),
        snapped=stage.snapped + sum(p.snapped for p, _ in parts), sizes=parts[0][0].sizes, errors=parts[0][0].errors,
    )  # fmt: skip


def _along(part: Stage, old: np.ndarray, code: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The new vertices on edges between tiles: number of the edge, place along it from its lesser end, vertex."""
    cells = part.cells
    coded = np.flatnonzero(part.label[cells.edge] <= code)
    edge = code - part.label[cells.edge[coded]]
    begin, end = cells.ring[coded], cells.following(cells.ring)[coded]
    span = len(part.coords)
    order = np.argsort(edge * span + begin)
    keys = (edge * span + begin)[order]
    here = np.flatnonzero(begin < len(old))  # each edge is entered at one of its former ends
    entered, start = edge[here], old[begin[here]]
    walked: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
    row = np.arange(len(here))
    while len(here):
        inside = end[here] >= len(old)
        here, row = here[inside], row[inside]
        walked.append((row, np.full(len(row), len(walked)), end[here]))
        if len(here):
            here = order[np.searchsorted(keys, edge[here] * span + end[here])]
    if not walked:
        none = np.zeros(0, np.int64)
        return none, none, none
    row, place, vertex = (np.concatenate(x) for x in zip(*walked, strict=True))
    count = np.bincount(row, minlength=len(entered))
    last = np.zeros(len(entered), np.int64)
    final = place == count[row] - 1
    beyond = order[np.searchsorted(keys, entered[row[final]] * span + vertex[final])]  # after an edge's last new vertex
    last[row[final]] = old[end[beyond]]
    backwards = start[row] > last[row]
    return entered[row], np.where(backwards, count[row] - 1 - place, place), vertex


def _same_place(stage: Stage, part: Stage, mine: np.ndarray, coords: np.ndarray, theirs: np.ndarray) -> None:
    """Refuse tiles that disagree about a common edge, which rounding could bring about only at a kink's tolerance."""
    size = np.abs(stage.coords).max()
    if len(mine) and np.abs(part.coords[mine] - coords[theirs]).max() > 1e-6 * size:
        raise UsageError(
            "two tiles of the plane disagree by rounding about their common edge; give more memory (--memory), so that "
            "no tiles are needed, or move the box a little."
        )


def _levels(parts: list[Stage]) -> list[Level]:
    """The levels of all tiles, one after another."""
    out: list[Level] = []
    counts = np.array([0, *np.cumsum([_before(p) for p in parts])])
    for levels in zip(*(p.levels for p in parts), strict=True):
        if levels[0].parent is None:
            out.append(levels[0])
            continue
        parents = [level.parent for level in levels if level.parent is not None]
        after = None if levels[0].after is None else np.concatenate([x.after for x in levels if x.after is not None])
        shifted = [p + shift for p, shift in zip(parents, counts, strict=False)]
        out.append(Level(np.concatenate(shifted), after, levels[0].limit))
        counts = np.array([0, *np.cumsum([len(p) for p in parents])])
    return out


def _before(part: Stage) -> int:
    """Polygons of a tile before its first cut."""
    for level in part.levels:
        if level.parent is not None:
            return int(level.parent[-1]) + 1
    return part.cells.count


def bounds(weight: np.ndarray, most: float) -> np.ndarray:
    """Where tiles begin, so that the weights of each add up to no more than `most`, but for a single heavy polygon."""
    total, begins, held = np.cumsum(weight), [0], 0.0
    while True:
        end = int(np.searchsorted(total, held + most, side="right"))
        end = max(end, begins[-1] + 1)
        if end >= len(weight):
            return np.array(begins)
        begins.append(end)
        held = float(total[end - 1])
