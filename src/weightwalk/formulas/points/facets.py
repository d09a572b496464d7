"""Which rows of a pattern's polytope are its facets, by shooting rays from inside.

The first row that a ray meets is certainly a facet, if it is met alone: a whole neighbourhood of rays meets it first.
So what is found is a certified part of the facets; a row that was never met may be a small facet or redundant. Rows of
duplicated units lie on one hyperplane and are counted once, as the first of them.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from weightwalk.formulas.points.frozen import Frozen, Rows

TIE = 1e-9
"""Two rows met within this fraction of the way are met together."""

CLEAR = 1e-11
"""A point is clearly on one side of a row if it is farther away than this fraction of its own size."""

_PARALLEL = 1e-12
_BATCH = 64 << 20


@dataclass(frozen=True, eq=False)
class Region:
    """The polytope of a pattern, ``{x : G x <= g}``, with or without G in memory.

    Attributes:
        frozen: The net with its pattern.
        rows: The half-spaces, m.
        norms: (m,) ||row||; 0 for rows that are constant, which bound nothing.
        G: (m, n) or None.
        g: (m,).
        box: (2, n) least and greatest inputs, or None.
    """

    frozen: Frozen
    rows: Rows
    norms: np.ndarray
    G: np.ndarray | None
    g: np.ndarray
    box: np.ndarray | None = None

    @property
    def n(self) -> int:
        """Number of inputs."""
        return self.frozen.net.n

    def slack(self, points: np.ndarray) -> np.ndarray:
        """``g - G x``, (N, m), at points (N, n)."""
        if not len(self.rows):
            return np.zeros((len(points), 0))
        if self.G is not None and self.G.size <= self.frozen.work:
            return self.g - points @ self.G.T
        return self.rows.sign * self.rows.level - self.rows.of(self.frozen.run(points)[1])

    def rise(self, directions: np.ndarray) -> np.ndarray:
        """``G d``, (N, m), for directions (N, n)."""
        if not len(self.rows):
            return np.zeros((len(directions), 0))
        if self.G is not None and self.G.size <= self.frozen.work:
            return directions @ self.G.T
        return self.rows.of(self.frozen.run(directions, 0.0)[1])

    def normals(self, rows: np.ndarray) -> np.ndarray:
        """``G[rows]``, from the store or by reverse sweeps."""
        if self.G is not None:
            return self.G[rows]
        out = np.empty((len(rows), self.n))
        for layer in np.unique(self.rows.layer[rows]):
            mine = np.flatnonzero(self.rows.layer[rows] == layer)
            out[mine] = self.frozen.rows(int(layer), self.rows.index[rows[mine]])
        out *= self.rows.sign[rows, None]
        out[self.norms[rows] == 0] = 0.0
        return out

    def times(self, slack: np.ndarray, directions: np.ndarray) -> np.ndarray:
        """t > 0 at which ``x + t d`` meets each row, (N, m), from the slack (m,) at x; inf where it never does."""
        return self.met(slack, self.rise(directions), directions)

    def met(self, slack: np.ndarray, rise: np.ndarray, directions: np.ndarray) -> np.ndarray:
        """The same from the rise along each direction, (N, m)."""
        lengths = np.sqrt(np.einsum("ij,ij->i", directions, directions))
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            met = np.maximum(slack, 0.0) / rise
        met[rise <= _PARALLEL * self.norms * lengths[:, None]] = np.inf
        met[:, self.norms == 0] = np.inf
        return met

    def leaves_box(self, point: np.ndarray, directions: np.ndarray) -> np.ndarray:
        """t at which ``x + t d`` leaves the box, (N,); inf without one."""
        if self.box is None:
            return np.full(len(directions), np.inf)
        with np.errstate(divide="ignore", invalid="ignore"):
            t = (np.where(directions > 0, self.box[1], self.box[0]) - point) / directions
        t[directions == 0] = np.inf
        return np.maximum(t, 0.0).min(axis=1)

    def step(self) -> int:
        """How many rays to treat at a time."""
        return max(1, _BATCH // (8 * max(1, len(self.rows), self.frozen.width, self.n)))


@dataclass(frozen=True, eq=False)
class Facets:
    """What the rays met.

    Attributes:
        found: (m,) bool, rows that are certainly facets.
        same: (m,) the first row on the same hyperplane (itself, nearly always).
        rays: Rays shot.
        crossed: Facets that were stepped over.
        flipped: Of these, where the pattern changed in exactly the units of that facet.
    """

    found: np.ndarray
    same: np.ndarray
    rays: int
    crossed: int
    flipped: int


@dataclass
class Shots:
    """Rays' tally while they are shot."""

    region: Region
    same: np.ndarray
    still: np.ndarray
    firsts: np.ndarray = field(init=False)
    found: np.ndarray = field(init=False)
    rays: int = 0
    crossed: int = 0
    flipped: int = 0

    def __post_init__(self) -> None:
        self.firsts = np.flatnonzero((self.same == np.arange(len(self.same))) & (self.region.norms > 0))
        self.found = np.zeros(len(self.same), bool)

    def shoot(self, base: np.ndarray, slack: np.ndarray, directions: np.ndarray) -> np.ndarray:
        """One batch of rays from one point; how far each stays inside, (N,)."""
        self.rays += len(directions)
        edge = self.region.leaves_box(base, directions)
        if not len(self.firsts):
            return edge
        met = self.region.times(slack, directions)
        if len(self.firsts) < met.shape[1]:
            met = met[:, self.firsts]
        which = met.argmin(axis=1)
        every = np.arange(len(met))
        first = met[every, which]
        met[every, which] = np.inf
        second = np.minimum(met.min(axis=1), edge)
        alone = np.isfinite(first) & (second > first * (1 + TIE))
        hits = self.firsts[which]
        fresh = np.flatnonzero(alone & (first > 0) & ~self.found[hits])
        steep = slack[hits[fresh]] / first[fresh] / self.region.norms[hits[fresh]]
        gap = second[fresh] - first[fresh]
        fresh = fresh[np.lexsort((-gap * steep, hits[fresh]))]  # the widest gap of each row first
        rows, place = np.unique(hits[fresh], return_index=True)
        if len(rows):
            rays = fresh[place]
            self._cross(base, slack, rows, first[rays], directions[rays])
        return np.minimum(first, edge)

    def _cross(self, base: np.ndarray, slack: np.ndarray, rows: np.ndarray, t: np.ndarray, ways: np.ndarray) -> None:
        """Step over each row where it is met, and note it as a facet where rounding leaves no doubt."""
        way = slack[rows] / self.region.norms[rows]
        met = base + t[:, None] * ways
        over = overstep(self.region, self.same, rows, met, way)
        sure = over > 0
        rows, beyond = rows[sure], met[sure] + (over * t / way)[sure, None] * ways[sure]
        self.crossed += len(rows)
        self.flipped += int(flips(self.region, self.same, self.still, rows, beyond).sum())
        self.found[rows] = True


def overstep(region: Region, same: np.ndarray, rows: np.ndarray, met: np.ndarray, way: np.ndarray) -> np.ndarray:
    """How far beyond a row's hyperplane to go, (N,); 0 where rounding could not tell the sides of it or of another row.

    1e-6 of the way that led there, but at least 1e-10 of the point's own size. Beyond the row those of later layers are
    bent: so it is at most a thousandth of the distance to any other row.

    Args:
        region: The polytope.
        same: (m,) the first row on the same hyperplane.
        rows: (N,) the rows that are met.
        met: (N, n) where.
        way: (N,) distance of each row from where the way began.
    """
    room = region.slack(met) / np.where(region.norms > 0, region.norms, 1.0)
    room[(same[rows][:, None] == same) | (region.norms == 0)] = np.inf
    size = np.linalg.norm(met, axis=1)
    over = np.minimum(np.maximum(1e-6 * way, 1e-10 * size), 1e-3 * room.min(axis=1, initial=np.inf))
    return np.where(over > CLEAR * size, over, 0.0)


def flips(region: Region, same: np.ndarray, still: np.ndarray, rows: np.ndarray, beyond: np.ndarray) -> np.ndarray:
    """Whether the net's own pattern just beyond a kink differs in the units of that hyperplane and in no others.

    Of units that share a hyperplane the first must flip; a later one may bend back (|z| of the first, say). Units that
    are constant in this region bound nothing, and may begin to move beyond it.

    Args:
        region: The region that is left.
        same: (m,) the first row on the same hyperplane.
        still: Units at a kink throughout the region.
        rows: (N,) the row that is crossed, the first of its hyperplane.
        beyond: (N, n) a point beyond it.

    Returns:
        (N,) bool.
    """
    net, layers = region.frozen.net, region.rows
    ok = np.empty(len(rows), bool)
    total = sum(la.size for la in net.layers)
    moving = np.zeros(total, bool)
    moving[layers.unit[region.norms > 0]] = True
    moving[still] = False
    allowed = np.unique(same * total + layers.unit)
    before = np.concatenate([np.zeros(0, np.int8), *region.frozen.pieces])
    for low in range(0, len(rows), region.step()):
        here = rows[low : low + region.step()]
        after = np.concatenate(net.pattern(beyond[low : low + len(here)]), axis=1)
        ray, unit = np.nonzero((after != before) & moving)
        wrong = ray[~np.isin(here[ray] * total + unit, allowed)]
        good = after[np.arange(len(here)), layers.unit[here]] != before[layers.unit[here]]
        good[wrong] = False
        ok[low : low + len(here)] = good
    return ok


def coincident(region: Region, base_slack: np.ndarray) -> np.ndarray:
    """For each row the first row on the same hyperplane, (m,), from the slack at a point strictly inside.

    Rows are compared only where their distances agree and their slopes in a random direction too: on a plain background
    all units of a feature map are equally far, and yet no two of them the same.
    """
    same = np.arange(len(base_slack))
    moving = np.flatnonzero(region.norms > 0)
    if not len(moving):
        return same
    far, lean = base_slack[moving] / region.norms[moving], _lean(region)[moving]
    order = np.argsort(far, kind="stable")
    band = np.concatenate([[0], np.cumsum(np.diff(far[order]) > TIE * far[order][1:])])
    order = order[np.lexsort((lean[order], band))]  # bands stay where they are, each sorted within
    near = (np.diff(lean[order]) <= TIE) & (np.diff(band) == 0)
    edges = np.flatnonzero(np.diff(np.concatenate([[False], near, [False]]).astype(np.int8)))
    for low, high in edges.reshape(-1, 2):
        _match(region, np.sort(moving[order[low : high + 1]]), same)
    return same


def on_one_plane(region: Region, row: int, others: np.ndarray) -> np.ndarray:
    """Those of `others`, rows that pass through one point of `row`'s hyperplane, which lie on all of it; ascending."""
    lean = _lean(region)
    others = others[(np.abs(lean[others] - lean[row]) <= TIE) & (region.norms[others] > 0)]
    if not len(others):
        return others
    normal = region.normals(np.array([row]))[0]
    normals = region.normals(others)
    lengths = np.linalg.norm(normals, axis=1, keepdims=True)
    return np.sort(others[np.abs(normals / lengths - normal / np.linalg.norm(normal)).max(axis=1) <= TIE])


def _lean(region: Region) -> np.ndarray:
    """(m,) the slope of every row of unit length in one random direction."""
    direction = np.random.default_rng(0).standard_normal((1, region.n))
    return region.rise(direction)[0] / np.where(region.norms > 0, region.norms, 1.0)


def _match(region: Region, rows: np.ndarray, same: np.ndarray) -> None:
    """Among rows at one distance, in ascending order: those with one normal take the first one's number."""
    normals = region.normals(rows)
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    while len(rows):
        equal = np.abs(normals - normals[0]).max(axis=1) <= TIE
        same[rows[equal]] = rows[0]
        rows, normals = rows[~equal], normals[~equal]


def _aimed(region: Region, firsts: np.ndarray, slack: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """A direction for each wanted row that climbs it and keeps away from the others, (wanted, n).

    It is the steepest climb in the metric of the logarithmic barrier, ``sum_j G_j^T G_j / slack_j^2`` (Dikin's
    ellipsoid, a picture of the region from inside). Where the rows are independent, as they may be with more inputs
    than rows, it climbs that row alone. None are given where G is not stored or too large.

    Args:
        region: The polytope.
        firsts: Its rows, one per hyperplane.
        slack: (m,) at a point inside.
        wanted: Places in `firsts`.
    """
    count = len(firsts)
    if region.G is None or not len(wanted) or min(count, region.n) > 2000 or count * region.n > 1 << 24:
        return np.zeros((0, region.n))
    room = np.maximum(slack[firsts], 1e-12 * slack[firsts].max())
    rows = region.G[firsts] / room[:, None]
    small = count <= region.n  # (R^T R + e)^-1 R^T = R^T (R R^T + e)^-1
    metric = rows @ rows.T if small else rows.T @ rows
    metric[np.diag_indices(len(metric))] += 1e-12 * np.trace(metric)
    if small:
        aimed = np.linalg.solve(metric, np.eye(count)[:, wanted]).T @ rows
    else:
        aimed = np.linalg.solve(metric, rows[wanted].T).T
    return aimed / np.linalg.norm(aimed, axis=1, keepdims=True)


def shoot(region: Region, base: np.ndarray, same: np.ndarray, still: np.ndarray, rays: int, seed: int | None) -> Facets:
    """Shoot `rays` random rays, and others at the rows (the nearest, at most `rays`): along their normals, and aimed.

    The first rays start at `base`. After each quarter of the random ones the start moves half-way along one of them,
    and rows not met so far are aimed at again: a facet hidden from one point is met from another.
    """
    rng = np.random.default_rng(seed)
    shots = Shots(region, same, still)
    slack, step, firsts = region.slack(base[None])[0], region.step(), shots.firsts
    nearest = np.argsort(slack[firsts] / region.norms[firsts], kind="stable")[:rays]
    for low in range(0, len(nearest), step):
        some = firsts[nearest[low : low + step]]
        shots.shoot(base, slack, region.normals(some) / region.norms[some, None])
    quarter = -(-rays // 4)
    for start in range(0, rays, quarter):
        aimed = _aimed(region, firsts, slack, nearest[~shots.found[firsts[nearest]]])
        for low in range(0, len(aimed), step):
            shots.shoot(base, slack, aimed[low : low + step])
        for low in range(start, min(start + quarter, rays), step):
            count = min(step, start + quarter - low, rays - low)
            directions = rng.standard_normal((count, region.n), np.float32).astype(np.float64)
            inside = shots.shoot(base, slack, directions)
        chosen = int(rng.integers(len(directions)))
        reach = min(inside[chosen], 1.0 + float(np.abs(base).max(initial=0.0)))
        moved = base + 0.5 * reach * directions[chosen]
        room = region.slack(moved[None])[0]
        if not len(firsts) or room[firsts].min() > 0:
            base, slack = moved, room
    return Facets(shots.found, same, shots.rays, shots.crossed, shots.flipped)
