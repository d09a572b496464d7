"""What the regions of a plane are held to."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from weightwalk.formulas.certificate import Certificate, Check, agreement
from weightwalk.formulas.piecewise import PiecewiseNet
from weightwalk.formulas.planes.layerwise import Level
from weightwalk.formulas.planes.partition import Partition
from weightwalk.formulas.planes.rings import pack

FRESH = 1_000
"""Random points on which the formula is compared with the net."""

MOST = 10_000
"""Vertices at which it is."""

FLAT = 1e-9
"""How far a corner may lie inside the polygon's hull, as a fraction of the box."""


def certify(
    found: Partition, levels: Sequence[Level], bits: np.ndarray, floor: float, seed: int, oracle: Callable | None
) -> Partition:
    """The partition with its certificate.

    Args:
        found: The partition.
        levels: What every layer did.
        bits: The regions' patterns, see `words`.
        floor: Rounding error to be expected of the net itself: where all numbers are noise, no formula can do better.
        seed: Of the fresh points.
        oracle: See `weightwalk.formulas.planes.plane.partition`.

    The areas are summed over rings that share their vertices, and so add up to the box exactly but for rounding, unless
    polygons overlap or are missing: hence a limit of 1e-12. V - E + F is 1 for a disc. Each inner vertex at which four
    or more edges meet keeps the mean number of vertices per region at or below 4.
    """
    truth = oracle if oracle is not None else found.net
    checks = [*_fresh(found, levels, bits, seed, truth, floor), *_corners(found, truth, floor), *_shape(found)]
    checks += [
        Check("tolerance, as a fraction of a unit's greatest size in the box", found.tolerance),
        Check("vertices held to be at a kink that were not made as one", found.snapped),
    ]
    return replace(found, certificate=Certificate(tuple(checks), seed))


def words(levels: Sequence[Level], count: int) -> np.ndarray:
    """(R, words) the pattern of each region as bits, over all layers."""
    out: list[np.ndarray] = []
    ancestor: np.ndarray | slice = slice(None)
    for level in reversed(levels):
        if level.after is not None and level.parent is not None:
            out.append(level.after[ancestor])
            ancestor = level.parent[ancestor]
    return np.concatenate(out, axis=1) if out else np.zeros((count, 0), np.uint64)


def words_at(net: PiecewiseNet, levels: Sequence[Level], points: np.ndarray) -> np.ndarray:
    """The same for points: which units are above their kinks by more than the tolerance."""
    out = []
    for layer, level, z in zip(net.layers, levels, net.run(points, keep=True)[1], strict=True):
        if level.after is not None:
            kinks = layer.activation.kinks
            out.append(pack(np.concatenate([z - kinks[:, p] > level.limit[p] for p in range(kinks.shape[1])], axis=1)))
    return np.concatenate(out[::-1], axis=1) if out else np.zeros((len(points), 0), np.uint64)


def locate(of_regions: np.ndarray, of_points: np.ndarray) -> np.ndarray:
    """(N,) the region with the pattern of each point, -1 where there is none."""
    regions, points = _hashed(of_regions), _hashed(of_points)
    order = np.argsort(regions, kind="stable")
    at = order[np.minimum(np.searchsorted(regions[order], points), len(order) - 1)]
    return np.where((of_regions[at] == of_points).all(axis=1), at, -1)


def _hashed(words: np.ndarray) -> np.ndarray:
    """(N,) one number per row. High bits are folded down first: a product alone would lose them modulo 2**64."""
    odd = np.random.default_rng(0).integers(0, 2**63, words.shape[1], dtype=np.uint64) * np.uint64(2) + np.uint64(1)
    mixed = (words ^ (words >> np.uint64(32))) * odd
    return ((mixed ^ (mixed >> np.uint64(29))) * odd[::-1]).sum(axis=1, dtype=np.uint64)


def _fresh(
    found: Partition, levels: Sequence[Level], bits: np.ndarray, seed: int, truth: Callable, floor: float
) -> list[Check]:
    """The formula against the net at random points, each in the region that its pattern names."""
    points = _points(found, np.random.default_rng(seed))
    region = locate(bits, words_at(found.net, levels, points))
    lost = int((region < 0).sum())
    known = Check(f"patterns of {FRESH:,} fresh points that no region has", lost, "= 0", lost == 0)
    if not len(found.slopes):
        return [known]
    points, region = points[region >= 0], region[region >= 0]
    exact = np.asarray(truth(points), np.float64).reshape(len(points), found.net.output.size)
    formula = np.einsum("roi,ri->ro", found.slopes[region], points) + found.offsets[region]
    error, size = np.abs(formula - exact).max(initial=0.0), np.abs(exact).max(initial=0.0)
    return [_agree(f"{FRESH:,} fresh points", float(error), float(size), floor), known]


def _agree(what: str, error: float, size: float, floor: float) -> Check:
    """The check of an error; a net that is zero by cancellation is noise, and its formula may differ by as much."""
    told = agreement(what, error, size)
    if told.ok or error > floor:
        return told
    return replace(told, limit=f"<= {floor:.3g}, the rounding error of the net itself", ok=True)


def _points(found: Partition, rng: np.random.Generator) -> np.ndarray:
    """Random points: even over the box, or as far out in the plane as the vertices lie."""
    if found.box is not None:
        low, high = np.transpose(found.box)
        return low + (high - low) * rng.random((FRESH, 2))
    finite = found.vertices[~found.infinite]
    reach = np.hypot(*finite.T) if len(finite) else np.ones(1)
    return rng.standard_normal((FRESH, 2)) * np.maximum(rng.choice(reach, FRESH), 1e-3)[:, None]


def _corners(found: Partition, truth: Callable, floor: float) -> list[Check]:
    """The carried values against the net at the vertices, and each region's map against them at its corners."""
    finite = np.flatnonzero(~found.infinite)
    chosen = finite[:: max(1, -(-len(finite) // MOST))]
    what = f"{len(chosen):,} vertices" + ("" if len(chosen) == len(finite) else f" (of {len(finite):,})")
    exact = np.asarray(truth(found.vertices[chosen]), np.float64).reshape(len(chosen), found.net.output.size)
    size = np.abs(exact).max(initial=0.0)
    checks = [_agree(what, float(np.abs(found.values[chosen] - exact).max(initial=0.0)), float(size), floor)]
    if not len(found.slopes):
        return checks
    size = float(np.abs(found.values).max(initial=0.0))
    jump, step = 0.0, max(1, 2**20 // max(1, found.offsets.shape[1]))
    for i in range(0, len(found.ring), step):
        at, region = found.ring[i : i + step], found.region[i : i + step]
        x, a = found.vertices[at], found.slopes[region]
        error = a[:, :, 0] * x[:, :1] + a[:, :, 1] * x[:, 1:] - found.values[at]
        error += found.offsets[region] * ~found.infinite[at, None]
        jump = max(jump, float(np.abs(error).max(initial=0.0)))
    told = _agree("the corners of every region", jump, size, floor)
    return [*checks, replace(told, name="greatest |formula - value carried to it| at the corners of every region")]


def _shape(found: Partition) -> list[Check]:
    """Areas, counts and corners of the polygons."""
    count, corners = found.activation_regions, len(found.ring)
    following = found.ring[found.following]
    low, high = np.minimum(found.ring, following), np.maximum(found.ring, following)
    key = np.sort(low * len(found.vertices) + high)
    inner = int((key[1:] == key[:-1]).sum())
    edges = corners - inner
    euler = len(found.vertices) - edges + count
    checks = [Check("Euler characteristic, V - E + F", euler, "= 1", euler == 1)]
    if found.box is not None:
        checks = [*_area(found), *checks, _mean(found, key)]
    return [*checks, _convex(found)]


def _area(found: Partition) -> list[Check]:
    assert found.box is not None
    (s0, s1), (t0, t1) = found.box
    whole = (s1 - s0) * (t1 - t0)
    off = abs(float(found.areas.sum()) - whole) / whole
    least = float(found.areas.min())
    return [
        Check("|sum of areas - area of the box|, as a fraction of it", off, "<= 1e-12", off <= 1e-12),
        Check("smallest area of a region", least, ">= 0, but for rounding", least >= -1e-15 * whole),
    ]


def _mean(found: Partition, key: np.ndarray) -> Check:
    """Mean vertices per region."""
    mean = len(found.ring) / found.activation_regions
    inner = np.ones(len(found.vertices), bool)
    once = np.ones(len(key), bool)
    once[1:] &= key[1:] != key[:-1]
    once[:-1] &= key[1:] != key[:-1]
    sides = key[once]
    inner[sides // len(found.vertices)] = inner[sides % len(found.vertices)] = False
    entries = np.bincount(found.ring, minlength=len(found.vertices))  # = edges, at an inner vertex
    three = int((inner & (entries < 4)).sum())
    ends = f" where four edges or more meet at every inner vertex; at {three:,} they do not" if three else ""
    return Check("mean vertices per region", mean, f"<= 4{ends}", three > 0 or mean <= 4 + 1e-12)


def _convex(found: Partition) -> Check:
    """How far the worst corner lies on the wrong side of the line through its neighbours, as a fraction of the box."""
    finite = ~found.infinite[found.ring]
    n = found.following
    before = np.empty_like(n)
    before[n] = np.arange(len(n))
    x = found.vertices[found.ring]
    ahead, back = x[n] - x, x - x[before]
    cross = back[:, 0] * ahead[:, 1] - back[:, 1] * ahead[:, 0]
    span = np.hypot(*(ahead + back).T)
    depth = np.where(finite & finite[n] & finite[before], -cross / np.maximum(span, 1e-300), 0.0)
    size = np.ptp(found.vertices[~found.infinite], axis=0).max(initial=0.0) if not found.infinite.all() else 0.0
    worst = max(0.0, float(depth.max(initial=0.0))) / (size or 1.0)
    return Check("deepest corner that turns inwards, as a fraction of the box", worst, f"<= {FLAT:g}", worst <= FLAT)
