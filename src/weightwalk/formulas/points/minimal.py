"""Which rows of a polytope are needed, and its greatest ball, by linear programming (SciPy's HiGHS).

Row i is redundant if no point satisfies the other rows and violates it. It is enough to ask this against the facets
that are already known (Clarkson 1994, "More output-sensitive geometric algorithms"): if even these imply the row, it is
redundant; if not, the program's solution lies outside the region, and the ray to it from inside meets a facet, perhaps
one not known so far. So each program is as small as the answer, and every facet is certified by a ray.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np
from scipy.optimize import linprog

from weightwalk.formulas.points.facets import Facets, Region, Shots

SLACK = 1e-9
"""A row is redundant if it cannot be exceeded by more than this, in units of the point's size (the program's own
tolerance)."""

_OPTIONS = {"primal_feasibility_tolerance": 1e-10, "dual_feasibility_tolerance": 1e-10}


@dataclass(frozen=True, eq=False)
class Chebyshev:
    """The greatest ball inside the region (and its box).

    Attributes:
        centre: (n,), or None where there is none.
        radius: Its radius; inf for a region that holds balls of any size; nan where the program did not finish.
        status: ``"optimal"``, ``"unbounded: give a box"``, or why it did not finish.
        seconds: Of the program.
    """

    centre: np.ndarray | None
    radius: float
    status: str
    seconds: float


@dataclass(frozen=True, eq=False)
class Minimal:
    """What the linear programs decided.

    Attributes:
        facets: (m,) bool, rows that are certainly facets, those met by rays included.
        decided: Rows that are known to be facets or redundant.
        of: Rows in all, m.
        complete: Whether all rows are decided: then the facets are the minimal description.
        programs: Linear programs solved.
        crossed: Facets stepped over here.
        flipped: Of these, where the pattern changed in exactly the units of that facet.
        seconds: Taken by them.
        status: ``"complete"``, or ``"stopped after N of M rows: ..."`` and why.
        chebyshev: The greatest ball.
    """

    facets: np.ndarray
    decided: int
    of: int
    complete: bool
    programs: int
    crossed: int
    flipped: int
    seconds: float
    status: str
    chebyshev: Chebyshev


def chebyshev(region: Region, inside: np.ndarray, firsts: np.ndarray, seconds: float) -> Chebyshev:
    """The greatest ball: maximise r so that ``G c + r ||row|| <= g``; c is sought from the point `inside`."""
    start = time.perf_counter()
    norms = region.norms[firsts, None]
    matrix = np.hstack([region.normals(firsts) / norms, np.ones((len(firsts), 1))])
    limit = region.slack(inside[None])[0, firsts] / norms[:, 0]
    bounds = np.tile([-np.inf, np.inf], (region.n + 1, 1))
    bounds[-1, 0] = 0.0
    if region.box is not None:
        unit = np.eye(region.n)
        sides = np.vstack([np.hstack([unit, np.ones((region.n, 1))]), np.hstack([-unit, np.ones((region.n, 1))])])
        matrix = np.vstack([matrix, sides])
        limit = np.concatenate([limit, region.box[1] - inside, inside - region.box[0]])
    if not len(matrix):
        return Chebyshev(None, float("inf"), "unbounded: give a box", 0.0)
    aim = np.zeros(region.n + 1)
    aim[-1] = -1.0
    found = linprog(aim, matrix, limit, bounds=bounds, method="highs", options={"time_limit": seconds, **_OPTIONS})
    took = time.perf_counter() - start
    if found.status == 0:
        return Chebyshev(inside + found.x[:-1], float(found.x[-1]), "optimal", took)
    if found.status in (3, 4):  # HiGHS may only say "unbounded or infeasible"; with a point inside it is not infeasible
        return Chebyshev(None, float("inf"), "unbounded: give a box", took)
    why = f"not finished within {seconds:.3g} s" if found.status == 1 else str(found.message)
    return Chebyshev(None, float("nan"), why, took)


def minimal_rows(
    region: Region, inside: np.ndarray, rays: Facets, still: np.ndarray, budget: float, seed: int | None
) -> Minimal:
    """Decide every row that the rays left undecided, within `budget` seconds.

    Args:
        region: The polytope.
        inside: (n,) a point strictly inside.
        rays: What the rays met.
        still: Units at a kink throughout the region.
        budget: Seconds, Chebyshev ball included.
        seed: Of the points from which ties are looked at again.
    """
    start = time.perf_counter()
    shots = Shots(region, rays.same, still)
    shots.found |= rays.found
    ball = chebyshev(region, inside, shots.firsts, budget)
    base = inside if ball.centre is None or ball.radius <= 0 else (inside + ball.centre) / 2
    work = _Programs(region, shots, base, seed)
    redundant = np.ones(len(region.rows), bool)
    redundant[shots.firsts] = False
    stopped = ""
    for row in shots.firsts:
        while not (shots.found[row] or redundant[row]):
            left = budget - (time.perf_counter() - start)
            verdict = work.decide(int(row), left) if left > 0 else "time"
            redundant[row] = verdict == "redundant"
            if verdict in ("time", "unclear"):
                stopped = stopped or (
                    f"the budget of {budget:g} s was spent" if verdict == "time" else "a program's verdict was unclear"
                )
                break
        if stopped.startswith("the budget"):
            break
    decided = int((shots.found | redundant).sum())
    total = len(region.rows)
    complete = decided == total
    status = "complete" if complete else f"stopped after {decided:,} of {total:,} rows: {stopped}"
    took = time.perf_counter() - start
    return Minimal(shots.found, decided, total, complete, work.count, shots.crossed, shots.flipped, took, status, ball)


class _Programs:
    """The programs of one region, in coordinates around a point inside and with rows of unit length."""

    def __init__(self, region: Region, shots: Shots, base: np.ndarray, seed: int | None) -> None:
        self.region, self.shots, self.base, self.count = region, shots, base, 0
        self.slack = region.slack(base[None])[0]
        norms = np.where(region.norms > 0, region.norms, 1.0)
        self.normals = region.normals(np.arange(len(norms))) / norms[:, None]
        self.limit = self.slack / norms
        self.rng = np.random.default_rng(seed)
        box = region.box
        self.bounds = np.tile([-np.inf, np.inf], (region.n, 1)) if box is None else (box - base).T

    def decide(self, row: int, seconds: float) -> str:
        """One program: ``"redundant"``, ``"facet"`` (some new facet was found), ``"time"`` or ``"unclear"``."""
        self.count += 1
        known = np.flatnonzero(self.shots.found)
        matrix = np.vstack([self.normals[known], self.normals[row]])
        room = 1.0 + abs(self.limit[row])
        limit = np.append(self.limit[known], self.limit[row] + room)
        found = linprog(
            -self.normals[row], matrix, limit, bounds=self.bounds, method="highs",
            options={"time_limit": max(seconds, 1e-3), **_OPTIONS},
        )  # fmt: skip
        if found.status == 1:
            return "time"
        if found.status != 0:
            return "unclear"
        if -found.fun <= self.limit[row] + SLACK * room:
            return "redundant"
        before = int(self.shots.found.sum())
        for attempt in range(4):
            self._aim(found.x, attempt)
            if int(self.shots.found.sum()) > before:
                return "facet"
        return "unclear"

    def _aim(self, target: np.ndarray, attempt: int) -> None:
        """Rays towards a point outside; after a tie, from another point inside and to the side."""
        shift = np.zeros(self.region.n)
        if attempt:
            shift = self.rng.standard_normal(self.region.n)
            shift *= 0.1**attempt * float(self.limit[self.shots.firsts].min()) / np.linalg.norm(shift)
        start = self.base + shift
        slack = self.slack if not attempt else self.region.slack(start[None])[0]
        self.shots.shoot(start, slack, (target - shift)[None])
