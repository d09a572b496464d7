"""The regions of a plane in fractions: the referee of `weightwalk.formulas.planes.plane`.

Every point is three whole numbers (X, Y, W), W > 0 and without a common divisor, for (X / W, Y / W): two points are the
same if and only if their numbers are. Each polygon is cut by one unit after another. Nothing is rounded, so that there
is no tolerance.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from math import gcd

import numpy as np

from weightwalk.errors import UsageError
from weightwalk.formulas.certificate import Check
from weightwalk.formulas.piecewise import PiecewiseNet
from weightwalk.formulas.planes.partition import Box, Partition
from weightwalk.formulas.rationals.net import Columns, WholeLayer, fraction, whole_net

Point = tuple[int, int, int]
Ring = tuple[Point, ...]


@dataclass(frozen=True)
class ExactPartition:
    """Every activation region of a net of two numbers in a box, nothing rounded.

    Attributes:
        net: The net of (s, t).
        box: The rectangle.
        polygons: Per region its vertices, counterclockwise; neighbours share vertices.
        patterns: Per region and layer, the piece of every unit.
        slopes: Per region and output, A of ``y = A (s, t) + b``.
        offsets: Per region and output, b.
        affine: Per region, the maximal affine region to which it belongs.
    """

    net: PiecewiseNet
    box: Box
    polygons: tuple[tuple[tuple[Fraction, Fraction], ...], ...]
    patterns: tuple[tuple[tuple[int, ...], ...], ...]
    slopes: tuple[tuple[tuple[Fraction, Fraction], ...], ...]
    offsets: tuple[tuple[Fraction, ...], ...]
    affine: tuple[int, ...]

    @property
    def activation_regions(self) -> int:
        """Regions of one activation pattern each."""
        return len(self.polygons)

    @property
    def affine_regions(self) -> int:
        """Maximal connected sets of one affine map; regions are connected where they share an edge."""
        return max(self.affine) + 1

    @cached_property
    def areas(self) -> tuple[Fraction, ...]:
        """Area of each region; they sum to that of the box."""
        return tuple(
            sum((x * v - u * y for (x, y), (u, v) in zip(p, (*p[1:], p[0]), strict=True)), Fraction(0)) / 2
            for p in self.polygons
        )


@dataclass(frozen=True)
class _Region:
    """A polygon after some layers."""

    ring: Ring
    sources: tuple[Columns, ...]
    pattern: tuple[tuple[int, ...], ...]


def partition_exact(net: PiecewiseNet, box: Box | None) -> ExactPartition:
    """All regions of a small net of two numbers in a box, in fractions.

    Args:
        net: A net with two inputs, whose entries are those of the original net.
        box: The rectangle. The whole plane, None, is for float64 only.

    Raises:
        UsageError: The net has not two inputs, is not exact, or is too large; the box is empty.
    """
    if net.n != 2:
        raise UsageError(f"A plane needs a net of two numbers, and this one has {net.n} inputs.")
    if box is None:
        raise UsageError("Exact fractions need a bounded box: give ((least s, greatest s), (least t, greatest t)).")
    (a, b), (c, d) = ((fraction(low), fraction(high)) for low, high in box)
    if a >= b or c >= d:
        raise UsageError(f"The box {box} is empty; give ((least s, greatest s), (least t, greatest t)).")
    whole = whole_net(net)
    corners = tuple(_point(x, y) for x, y in ((a, c), (b, c), (b, d), (a, d)))
    regions = [_Region(corners, (([1, 0], [0, 1], [0, 0]),), ())]
    for k, layer in enumerate(whole.layers):
        whole.spend(len(regions), k, "regions")
        regions = [part for region in regions for part in _cut(region, layer)]
    whole.spend(len(regions), len(whole.layers), "regions")
    maps = [whole.output(region.sources) for region in regions]
    under = whole.output.scale
    return ExactPartition(
        net=net,
        box=box,
        polygons=tuple(tuple((Fraction(x, w), Fraction(y, w)) for x, y, w in r.ring) for r in regions),
        patterns=tuple(r.pattern for r in regions),
        slopes=tuple(
            tuple((Fraction(s, under), Fraction(t, under)) for s, t in zip(m[0], m[1], strict=True)) for m in maps
        ),
        offsets=tuple(tuple(Fraction(x, under) for x in m[2]) for m in maps),
        affine=_merged([r.ring for r in regions], maps),
    )


def _point(x: Fraction, y: Fraction) -> Point:
    w = x.denominator * y.denominator
    return _reduced(x.numerator * y.denominator, y.numerator * x.denominator, w)


def _reduced(x: int, y: int, w: int) -> Point:
    common = gcd(x, y, w)
    return x // common, y // common, w // common


def _cut(region: _Region, layer: WholeLayer) -> list[_Region]:
    """The region, cut along every kink of every unit that passes through it."""
    z = layer.affine(region.sources)
    parts: list[tuple[Ring, list[int]]] = [(region.ring, [])]
    for a, b, c, kinks in zip(*z, layer.kinks, strict=True):
        parts = [(ring, [*pieces, 0]) for ring, pieces in parts]
        for kink in kinks:
            parts = _cut_by((a, b, c - kink), region.ring, parts)
    return [
        _Region(ring, (*region.sources, layer.apply(z, pieces)), (*region.pattern, tuple(pieces)))
        for ring, pieces in parts
    ]


def _cut_by(
    form: tuple[int, int, int], whole: Ring, parts: list[tuple[Ring, list[int]]]
) -> list[tuple[Ring, list[int]]]:
    """Each part cut by ``form = 0``; the last piece of those where the form is positive is one higher."""
    values = [_value(form, p) for p in whole]
    if min(values) >= 0 or max(values) <= 0:  # it passes by the whole region, so by every part
        above = max(values) > 0
        return [(ring, [*pieces[:-1], pieces[-1] + above]) for ring, pieces in parts]
    out = []
    for ring, pieces in parts:
        below, above = _halves(form, ring)
        if below:
            out.append((below, pieces))
        if above:
            out.append((above, [*pieces[:-1], pieces[-1] + 1]))
    return out


def _value(form: tuple[int, int, int], p: Point) -> int:
    return form[0] * p[0] + form[1] * p[1] + form[2] * p[2]


def _halves(form: tuple[int, int, int], ring: Ring) -> tuple[Ring, Ring]:
    """The parts of a convex ring where the form is negative and positive; () where it is nowhere so.

    A ring on which the form is zero throughout counts as negative.
    """
    values = [_value(form, p) for p in ring]
    if max(values) <= 0:
        return ring, ()
    if min(values) >= 0:
        return (), ring
    below, above = [], []
    for i, (p, d) in enumerate(zip(ring, values, strict=True)):
        if d <= 0:
            below.append(p)
        if d >= 0:
            above.append(p)
        q, e = ring[i - len(ring) + 1], values[i - len(ring) + 1]
        if (d < 0 < e) or (e < 0 < d):
            f, g = abs(e), abs(d)
            new = _reduced(f * p[0] + g * q[0], f * p[1] + g * q[1], f * p[2] + g * q[2])
            below.append(new)
            above.append(new)
    return tuple(below), tuple(above)


def _merged(rings: Sequence[Ring], maps: Sequence[Columns]) -> tuple[int, ...]:
    """The maximal affine region of each region: joined where they share an edge and have equal maps."""
    return _united(len(rings), [(r, n) for r, n in _neighbours(rings) if maps[r] == maps[n]])


def _neighbours(rings: Sequence[Sequence[tuple]]) -> list[tuple[int, int]]:
    """Regions that share an edge of positive length; edges match end for end, since neighbours share vertices."""
    region = {
        (p, q): r for r, ring in enumerate(rings) for p, q in zip(ring, (*ring[1:], ring[0]), strict=True) if p != q
    }
    return [(r, region[q, p]) for (p, q), r in region.items() if p < q and (q, p) in region]


def _united(count: int, pairs: Sequence[tuple[int, int]]) -> tuple[int, ...]:
    """Groups of what is connected by pairs, numbered from 0."""
    root = list(range(count))

    def find(r: int) -> int:
        while root[r] != r:
            root[r] = root[root[r]]
            r = root[r]
        return r

    for a, b in pairs:
        root[find(a)] = find(b)
    names: dict[int, int] = {}
    return tuple(names.setdefault(find(r), len(names)) for r in range(count))


def check_partition(partition: Partition, exact: ExactPartition, limit: float = 1e-12) -> tuple[Check, ...]:
    """A partition in float64 against the same in fractions: both counts, patterns, areas, maps.

    Regions are matched by their patterns, each of which is that of one region only. Areas are compared relative to
    that of the box, coefficients relative to the greatest of their kind. Regions in fractions that are narrower than
    float64 can hold need not be found, and the piece of a unit that is 1e-17 on a whole region may be the other one;
    how many such regions there are is told. Weights such as 0.1 are not tenths, so that lines which were meant to
    coincide lie 1e-17 apart.
    """
    found = [bytes(row) for row in _rows(partition)]
    bent = [k for k, layer in enumerate(exact.net.layers) if layer.activation.count]
    wanted = {bytes(piece for k in bent for piece in p[k]): r for r, p in enumerate(exact.patterns)}
    narrow = {row for row, r in wanted.items() if _narrow(exact, r, limit)} - set(found)
    renamed = _same_places(partition, exact, [(row, r) for r, row in enumerate(found) if row not in wanted], limit)
    missed = {wanted[row] for row in set(wanted) - narrow - set(found)} - set(renamed.values())
    strange = len(set(found) - set(wanted) - set(renamed)) + len(missed)
    wanted.update(renamed)
    counts = (
        ("activation regions, against fractions", partition.activation_regions, exact.activation_regions - len(narrow)),
        ("activation patterns that only one of the two has", strange, 0),
    )
    checks = [Check(name, n, f"= {m}", n == m) for name, n, m in counts]
    checks.append(_affine_regions(partition.affine_regions, exact, {wanted[row] for row in narrow}, limit))
    if narrow or renamed:
        checks.append(Check("regions in fractions that are too fine for float64", len(narrow) + len(renamed)))
    if strange or partition.activation_regions != len(set(found)):
        return tuple(checks)
    order = [wanted[row] for row in found]
    (a, b), (c, d) = exact.box
    area = (fraction(b) - fraction(a)) * (fraction(d) - fraction(c))
    for name, some, true, size in (
        ("areas", partition.areas, exact.areas, area),
        ("slopes", partition.slopes, exact.slopes, None),
        ("offsets", partition.offsets, exact.offsets, None),
    ):
        whole = np.array(true, dtype=object)[order]
        error = np.abs(whole - _fractions(some).reshape(whole.shape)).max()
        size = size if size is not None else np.abs(whole).max()
        checks.append(
            Check(
                f"greatest distance of {name} from the fractions",
                float(error),
                f"<= {limit:g} x {float(size):.3g}",
                bool(error <= fraction(limit) * size),
            )
        )
    return tuple(checks)


def _same_places(
    partition: Partition, exact: ExactPartition, strange: Sequence[tuple[bytes, int]], limit: float
) -> dict[bytes, int]:
    """For regions whose pattern is unknown, those in fractions that are the same polygon with the same map."""
    box, steep = partition.areas.sum(), np.abs(partition.slopes).max()
    out = {}
    for row, r in strange[:100]:
        centre = partition.polygon(r).mean(axis=0)
        for e, ring in enumerate(exact.polygons):
            p = np.array(ring, float)
            side, way = centre - p, np.roll(p, -1, axis=0) - p
            inside = (way[:, 0] * side[:, 1] >= way[:, 1] * side[:, 0]).all()
            if not inside or abs(partition.areas[r] - float(exact.areas[e])) > limit * box:
                continue
            if np.abs(np.array(exact.slopes[e], float) - partition.slopes[r]).max() <= limit * steep:
                out[row] = e
    return out


def _affine_regions(found: int, exact: ExactPartition, narrow: set[int], limit: float) -> Check:
    """The count of maximal affine regions; where maps differ by less than float64 can hold, one or two is right."""
    name = "maximal affine regions, against fractions"
    strict = len({group for r, group in enumerate(exact.affine) if r not in narrow})
    if found == strict:
        return Check(name, found, f"= {strict}")
    rows = np.concatenate(
        [np.array(exact.slopes, float).reshape(len(exact.affine), -1), np.array(exact.offsets, float)], 1
    )
    near = _neighbours(exact.polygons)
    beside: dict[int, list[int]] = {r: [] for r in narrow}  # those on both sides of a narrow one are neighbours as well
    for a, b in (*near, *((b, a) for a, b in near)):
        if a in narrow:
            beside[a].append(b)
    near += [(a, b) for some in beside.values() for a in some for b in some if a < b]
    same = [(a, b) for a, b in near if np.abs(rows[a] - rows[b]).max() <= limit * np.abs(rows).max()]
    least = len({group for r, group in enumerate(_united(len(rows), same)) if r not in narrow})
    return Check(name, found, f"from {least} to {strict}", least <= found <= strict)


def _narrow(exact: ExactPartition, r: int, limit: float) -> bool:
    """Whether a region's width, which is at most four areas over its perimeter, is lost in the size of the box."""
    sides = [abs(float(v)) for side in exact.box for v in side]
    ring = np.array(exact.polygons[r], float)
    around = np.abs(ring - np.roll(ring, 1, axis=0)).sum()
    return around <= limit * max(sides) or 4 * float(exact.areas[r]) <= limit * max(sides) * around


def _rows(partition: Partition) -> np.ndarray:
    """(R, units) uint8, all layers with kinks beside each other: one of the two nets may have more of the others."""
    layers = zip(partition.net.layers, partition.pattern, strict=True)
    rows = [np.asarray(pattern).astype(np.uint8) for layer, pattern in layers if layer.activation.count]
    return np.concatenate([np.zeros((partition.activation_regions, 0), np.uint8), *rows], axis=1)


def _fractions(array: np.ndarray) -> np.ndarray:
    return np.array([fraction(x) for x in array.ravel().tolist()], dtype=object)
