"""What the formula at one input is held to."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from weightwalk.formulas.certificate import LIMIT, Certificate, Check, agreement
from weightwalk.formulas.points.facets import Region, flips
from weightwalk.formulas.points.facts import Local
from weightwalk.formulas.rounding import SURE, UNIT, noise

POINTS = 256
"""Fresh points, fewer for nets of more than 10 million multiplications."""


def certify(local: Local, oracle: Callable[[np.ndarray], np.ndarray], seed: int | None) -> Certificate:
    """Every check of a `Local`: values, domain, what lies beyond the nearest kink, and the facets."""
    region = local.region
    points = fresh_points(region, local.inside, seed)
    truth = np.asarray(oracle(points))
    found = points @ local.A.T + local.b
    at_x = float(np.abs(local.A @ local.x + local.b - np.asarray(oracle(local.x[None]))[0]).max(initial=0.0))
    error, size = (float(np.abs(v).max(initial=0.0)) for v in (found - truth, truth))
    told = [
        agreement("x", at_x, max(size, float(np.abs(local.y).max(initial=0.0)))),
        agreement(f"{len(points):,} fresh points inside the region", error, size),
    ]
    if not all(check.ok for check in told):
        told = [_or_noise(check, noise_of(local, points)) for check in told]
    checks = [*told, *_domain(local, points)]
    if len(local.at_kink):
        checks.append(Check("units whose kink x is on: it has more formulas than this one", len(local.at_kink)))
    if local.nearest is not None and local.nearest.beyond is not None:
        checks.append(_beyond(local))
    if local.rays is not None:
        tallies = [t for t in (local.rays, local.minimal) if t is not None]
        crossed, flipped = (sum(getattr(t, name) for t in tallies) for name in ("crossed", "flipped"))
        name = f"of {crossed:,} facets stepped over, those that do not flip their unit alone"
        checks.append(Check(name, crossed - flipped, "= 0", crossed == flipped))
    if local.minimal is not None and local.minimal.chebyshev.centre is not None:
        checks.append(_ball(local))
    return Certificate(tuple(checks), 0 if seed is None else seed)


def _or_noise(check: Check, floor: float) -> Check:
    """Where the terms of y cancel, the net's own y is off by its rounding, and a formula may differ by as much."""
    if check.ok or not check.found <= floor:
        return check
    return replace(check, limit=f"<= {floor:.3g}, the rounding error of the net itself", ok=True)


def noise_of(local: Local, points: np.ndarray) -> float:
    """Rounding error to be expected of the net and of A x + b at some points, see `weightwalk.formulas.rounding`."""
    net, frozen = local.net, local.frozen
    step = local.region.step()
    sizes, errors = [np.abs(points).max(axis=0)], [np.zeros(net.n)]
    tops = [np.zeros(la.size) for la in net.layers]
    for low in range(0, len(points), step):
        for top, z in zip(tops, net.run(points[low : low + step], keep=True)[1], strict=True):
            np.maximum(top, np.abs(z).max(axis=0), out=top)
    for layer, top, slopes, offsets in zip(net.layers, tops, frozen.slopes, frozen.offsets, strict=True):
        errors.append(np.abs(layer.activation.slopes).max(axis=1) * noise(layer.affine, sizes, errors))
        sizes.append(np.abs(slopes) * top + np.abs(offsets))
    own = UNIT * (np.sqrt(net.n + 1) + 2) * np.sqrt((local.A**2) @ sizes[0] ** 2 + local.b**2)
    return SURE * float((noise(net.output, sizes, errors) + own).max(initial=0.0))


def fresh_points(region: Region, inside: np.ndarray, seed: int | None) -> np.ndarray:
    """(N, n) points of the region: on random rays from a point strictly inside, at random fractions of the way out.

    A ray that never leaves the region (and the box) is followed for ten times the size of the point.
    """
    rng = np.random.default_rng(None if seed is None else seed + 1)
    count = int(np.clip(POINTS * 10_000_000 // max(1, region.frozen.work), 8, POINTS))
    count = min(count, max(8, region.step()))
    directions = rng.standard_normal((count, region.n))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    slack = region.slack(inside[None])[0]
    way = region.times(slack, directions).min(axis=1, initial=np.inf)
    way = np.minimum(way, region.leaves_box(inside, directions))
    way = np.minimum(way, 10 * (1 + np.linalg.norm(inside)))
    return inside + (0.999 * rng.uniform(size=count) * way)[:, None] * directions


def _domain(local: Local, points: np.ndarray) -> list[Check]:
    """The points satisfy the rows, as G or as the passes have them, and the net's own pattern there is that of x."""
    region, rows = local.region, local.rows
    checks = []
    if local.G is not None and len(rows):
        room = local.g - points @ local.G.T
        size = float(np.abs(local.g).max() + (np.abs(points) @ np.abs(local.G).T).max())
        over = float(-room.min(initial=0.0))
        checks.append(
            Check("greatest G x - g at those points", over, f"<= {LIMIT:g} x {size:.3g}", over <= LIMIT * size)
        )
        gap = _against_passes(local, points, room)
        name = "greatest |g - G x - way of z to its kink| there"
        checks.append(Check(name, gap, f"<= {LIMIT:g} x {size:.3g}, the greatest terms", gap <= LIMIT * size))
    free = np.concatenate([np.zeros(0, bool), *(np.ones(la.size, bool) for la in local.net.layers)])
    free[rows.unit[region.norms > 0]] = False
    free[local.still] = True
    other = 0
    for low in range(0, len(points), region.step()):
        patterns = local.net.pattern(points[low : low + region.step()])
        for k, (found, pieces) in enumerate(zip(patterns, local.frozen.pieces, strict=True)):
            first = sum(la.size for la in local.net.layers[:k])
            other += int(((found != pieces) & ~free[first : first + len(pieces)]).sum())
    checks.append(Check("units in another piece at those points", other, "= 0", other == 0))
    return checks


def _against_passes(local: Local, points: np.ndarray, room: np.ndarray) -> float:
    """Greatest difference between ``g - G x`` and how far the net's own z is from its kink, for rows that move."""
    rows, region = local.rows, local.region
    gap = 0.0
    for low in range(0, len(points), region.step()):
        z = local.net.run(points[low : low + region.step()], keep=True)[1]
        way = rows.sign * rows.level - rows.of(z)
        gap = max(gap, float(np.abs(way - room[low : low + len(way)])[:, region.norms > 0].max(initial=0.0)))
    return gap


def _beyond(local: Local) -> Check:
    """Just beyond the nearest kink the pattern differs in the unit named, and in no other."""
    nearest = local.nearest
    assert nearest is not None and nearest.beyond is not None
    same = np.arange(len(local.rows))
    same[nearest.shared] = nearest.row
    right = flips(local.region, same, local.still, np.array([nearest.row]), nearest.beyond[None])[0]
    name = f"just beyond the nearest kink, units other than {nearest.unit} that flip, or it does not"
    return Check(name, int(not right), "= 0", bool(right))


def _ball(local: Local) -> Check:
    """The Chebyshev centre has the radius as its distance to the nearest row or side of the box."""
    ball = local.minimal.chebyshev if local.minimal is not None else None
    assert ball is not None and ball.centre is not None
    region = local.region
    slack = region.slack(ball.centre[None])[0]
    moving = region.norms > 0
    nearest = float((slack[moving] / region.norms[moving]).min(initial=np.inf))
    if region.box is not None:
        nearest = min(nearest, float((region.box[1] - ball.centre).min()), float((ball.centre - region.box[0]).min()))
    gap = abs(nearest - ball.radius) / max(ball.radius, 1e-300)
    return Check(
        "Chebyshev ball: its distance to the nearest row against its radius, relative", gap, "<= 1e-6", gap <= 1e-6
    )
