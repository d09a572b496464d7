"""Which rows of a pattern's polytope are its facets, by shooting rays from inside.

The first row that a ray meets is certainly a facet, if it is met alone: a whole neighbourhood of rays meets it first.
So what is found is a certified part of the facets; a row that was never met may be a small facet or redundant. Rows of
duplicated units lie on one hyperplane and are counted once, as the first of them.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from weightwalk.formulas.frozen import Frozen, Rows

TIE = 1e-9
"""Two rows met within this fraction of the way are met together."""

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
        over = overstep(base, directions, first, second)
        alone = np.isfinite(first) & (second > first * (1 + TIE)) & (over > 0)
        hits = self.firsts[which]
        fresh = np.flatnonzero(alone & ~self.found[hits])
        fresh = fresh[np.lexsort((-over[fresh] / first[fresh], hits[fresh]))]
        rows, place = np.unique(hits[fresh], return_index=True)
        if len(rows):
            rays = fresh[place]
            beyond = base + (first + over)[rays, None] * directions[rays]
            self.crossed += len(rows)
            self.flipped += int(flips(self.region, self.same, self.still, rows, beyond).sum())
            self.found[rows] = True
        return np.minimum(first, edge)


def overstep(base: np.ndarray, directions: np.ndarray, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """How far to go beyond the first kink on a ray and stay before the second; 0 where rounding could not tell.

    1e-6 of the way, but at least 1e-10 of the point's own size, and at most half of the way to the second kink.
    """
    lengths = np.sqrt(np.einsum("ij,ij->i", directions, directions))
    with np.errstate(invalid="ignore"):
        reach = np.where(np.isfinite(first), first, 0.0)
        size = np.linalg.norm(base) / lengths + reach
        over = np.minimum(np.maximum(1e-6 * reach, 1e-10 * size), (second - reach) / 2)
    return np.where(over > 1e-11 * size, over, 0.0)


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


def _aimed(region: Region, firsts: np.ndarray, slack: np.ndarray) -> np.ndarray | None:
    """A direction for each row that climbs it and keeps away from the others, (len(firsts), n).

    It is the steepest climb in the metric of the logarithmic barrier, ``sum_j G_j^T G_j / slack_j^2`` (Dikin's
    ellipsoid, a picture of the region from inside). Where the rows are independent, as they may be with more inputs
    than rows, it climbs that row alone. None where G is not stored or too large.
    """
    count = len(firsts)
    if region.G is None or not count or min(count, region.n) > 2000 or count * region.n > 1 << 24:
        return None
    rows = region.G[firsts] / slack[firsts, None]
    small = count <= region.n  # (R^T R + e)^-1 R^T = R^T (R R^T + e)^-1
    metric = rows @ rows.T if small else rows.T @ rows
    metric[np.diag_indices(len(metric))] += 1e-12 * np.trace(metric)
    return np.linalg.solve(metric, rows) if small else np.linalg.solve(metric, rows.T).T


def shoot(region: Region, base: np.ndarray, same: np.ndarray, still: np.ndarray, rays: int, seed: int | None) -> Facets:
    """Shoot `rays` random rays, and two at each row (of the nearest, at most as many): along its normal, and aimed.

    The first ray batch starts at `base`; each later one starts half-way along a ray of the batch before, so that facets
    hidden from one point are met from another.
    """
    rng = np.random.default_rng(seed)
    shots = Shots(region, same, still)
    slack = region.slack(base[None])[0]
    firsts = shots.firsts
    step = region.step()
    nearest = firsts[np.argsort(slack[firsts] / region.norms[firsts], kind="stable")]
    for low in range(0, min(len(firsts), rays), step):
        some = nearest[low : min(low + step, rays)]
        shots.shoot(base, slack, region.normals(some) / region.norms[some, None])
    aimed = _aimed(region, nearest[:rays], slack)
    if aimed is not None:
        aimed /= np.linalg.norm(aimed, axis=1, keepdims=True)
        for low in range(0, len(aimed), step):
            shots.shoot(base, slack, aimed[low : low + step])
    step = max(1, min(step, -(-rays // 4)))
    for low in range(0, rays, step):
        directions = rng.standard_normal((min(step, rays - low), region.n), np.float32).astype(np.float64)
        inside = shots.shoot(base, slack, directions)
        chosen = int(rng.integers(len(directions)))
        reach = min(inside[chosen], 1.0 + float(np.abs(base).max(initial=0.0)))
        base = base + 0.5 * reach * directions[chosen]
        slack = region.slack(base[None])[0]
        if len(firsts) and slack[firsts].min() <= 0:
            break
    return Facets(shots.found, same, shots.rays, shots.crossed, shots.flipped)
