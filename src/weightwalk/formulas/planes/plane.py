"""Every activation region of a net of two numbers, exactly.

The polygons are cut layer by layer (`weightwalk.formulas.planes.layerwise`), all units of a layer at once
(`weightwalk.formulas.planes.subdivide`). Cost grows as regions x width, and as vertices x width^2 for each matrix.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from weightwalk.errors import UsageError
from weightwalk.formulas.certificate import Certificate
from weightwalk.formulas.piecewise import PiecewiseNet
from weightwalk.formulas.planes.carry import Job
from weightwalk.formulas.planes.checks import certify, words
from weightwalk.formulas.planes.layerwise import Stage, begin
from weightwalk.formulas.planes.maps import map_noise, maps, patterns
from weightwalk.formulas.planes.merge import connected, equal_maps, neighbours
from weightwalk.formulas.planes.partition import Box, Partition
from weightwalk.formulas.planes.rings import Rings
from weightwalk.formulas.planes.tiles import SEAM
from weightwalk.formulas.planes.unite import SIDE, unite
from weightwalk.formulas.rounding import SURE, noise

Oracle = Callable[[np.ndarray], np.ndarray]
"""From points (N, 2) of the plane to the net's outputs (N, outputs), computed in another way than by the formula."""

NARROWEST, WIDEST = 1e-100, 1e100
"""Widths of a box whose cells have areas in float64."""


def partition(
    net: PiecewiseNet, box: Box | None = ((-1.0, 1.0), (-1.0, 1.0)), *, max_regions: int = 2_000_000,
    memory: int = 2 << 30, tolerance: float = 1e-12, seed: int = 0, oracle: Oracle | None = None, maps: bool = True,
    progress: Callable[[int, int], None] | None = None,
) -> Partition:  # fmt: skip
    """Every activation region of a net of two numbers in a rectangle, or in the whole plane.

    Args:
        net: Of two inputs; see `PiecewiseNet.restrict` for a plane through the inputs of a larger one.
        box: ((least s, greatest s), (least t, greatest t)); None for the whole plane.
        max_regions: More than so many are refused, at the layer that would make them.
        memory: Bytes that one layer may need while it is cut; polygons are worked on in tiles where it would be
            more. The result may take as many again, and is refused beyond.
        tolerance: Fraction of a unit's greatest size in the box within which it is held to be at its kink.
        seed: Of the fresh points on which the formula is compared with the net.
        oracle: The net, computed independently; without it, `net` itself.
        maps: Whether to give the affine maps, and with them the maximal affine regions; without,
            `slopes`, `offsets` and `affine` are empty.
        progress: Called with the units done and the number of units.

    Raises:
        UsageError: For a net of other than two inputs, weights that are not finite, an empty box, more than
            `max_regions` regions, or more bytes than `memory`.

    Example:
        >>> import numpy as np
        >>> from weightwalk.formulas.piecewise import mlp
        >>> net = mlp([np.eye(2), np.array([[1.0, 1.0]])], [np.zeros(2), np.zeros(1)])  # relu(s) + relu(t)
        >>> found = partition(net)
        >>> found.activation_regions, found.affine_regions, found.areas.tolist()
        (4, 4, [1.0, 1.0, 1.0, 1.0])
    """
    check_net(net)
    box = check_box(box)
    job = Job(net, tolerance, max_regions, memory, progress)
    found = _finish(net, box, job.carry(1, _start(box)), tolerance, seed, oracle, wanted=maps)
    job.check(len(net.layers), found.activation_regions)
    return found


def _finish(
    net: PiecewiseNet, box: Box | None, stage: Stage, tolerance: float, seed: int, oracle: Oracle | None, wanted: bool
) -> Partition:
    """The facts of the last stage."""
    cells, label, count = stage.cells, stage.label, stage.cells.count
    bits, pattern = words(stage.levels, count), patterns(net, stage.levels, count)
    y = stage.outputs
    slopes, offsets = maps(net, stage.levels, count) if wanted else _no_maps(net)
    points, infinite = stage.coords, np.zeros(len(stage.coords), bool)
    if box is None:
        points, infinite, y = _finite(points, y)
    if (label == SEAM).any():
        stay = np.arange(1, 4) if box is None else None  # the directions that were begun with
        one = unite(cells, label, _across_seams(cells, label, bits), points, infinite, stay)
        cells, label = one.cells, one.label
        points, infinite, y = points[one.kept], infinite[one.kept], y[one.kept]
        bits, pattern = bits[one.first], tuple(p[one.first] for p in pattern)
        slopes, offsets = (slopes[one.first], offsets[one.first]) if wanted else (slopes, offsets)
    affine = np.zeros(0, np.int64)
    if wanted:
        a, b, _ = neighbours(cells, len(label))
        same = equal_maps(slopes, a, b, map_noise(net))
        affine = connected(cells.count, a[same], b[same])
    found = Partition(
        net=net, box=box, vertices=points, infinite=infinite, ring=cells.ring,
        start=np.append(cells.start, len(cells.ring)), edge=label[cells.edge], pattern=pattern, slopes=slopes,
        offsets=offsets, values=y, affine=affine, tolerance=tolerance, snapped=stage.snapped,
        certificate=Certificate((), seed),
    )  # fmt: skip
    floor = SURE * float(noise(net.output, list(stage.sizes), list(stage.errors)).max(initial=0.0))
    return certify(found, stage.levels, bits, floor, seed, oracle)


def _finite(points: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """From (s, t, w) to points (s / w, t / w); those with w = 0 are directions, and y the rate along them."""
    infinite = points[:, 2] == 0.0
    w = np.where(infinite, 1.0, points[:, 2])[:, None]
    return points[:, :2] / w, infinite, y / w


def _across_seams(cells: Rings, label: np.ndarray, bits: np.ndarray) -> np.ndarray:
    """(R,) one number for all polygons of one pattern: a seam has cut them, for a region is convex."""
    a, b, shared = neighbours(cells, len(label))
    same = (label[shared] == SEAM) & (bits[a] == bits[b]).all(axis=1)
    return connected(cells.count, a[same], b[same])


def check_net(net: PiecewiseNet) -> None:
    """Refuse what has no plane, or no numbers."""
    if net.n != 2:
        raise UsageError(
            f"the regions of a plane were asked of a net of {net.n} input{'s' if net.n != 1 else ''}; it takes a net "
            "of two, or a plane through the input space of a larger one (--plane)."
        )
    for name, affine in (*((layer.name, layer.affine) for layer in net.layers), ("the output", net.output)):
        parts = [affine.bias, *(m for _, m in affine.terms)]
        for part in parts:
            data = part if isinstance(part, np.ndarray) else getattr(part, "data", None)
            if isinstance(data, np.ndarray) and not np.isfinite(data).all():
                raise UsageError(
                    f"{name} has weights that are not finite (NaN or infinite), so its kinks lie nowhere; "
                    "look for the training step that overflowed."
                )


def check_box(box: Box | None) -> Box | None:
    """The box in floats, or one sentence."""
    if box is None:
        return None
    try:
        sides = np.array(box, np.float64)
    except (TypeError, ValueError):
        sides = np.zeros(0)
    if sides.shape != (2, 2):
        raise UsageError(
            f"the box {box!r} is not ((least s, greatest s), (least t, greatest t)); write ((-1, 1), (-1, 1))."
        )
    s0, s1, t0, t1 = (float(side) for side in sides.ravel())
    for name, low, high in (("s", s0, s1), ("t", t0, t1)):
        if not np.isfinite([low, high]).all():
            raise UsageError(
                f"the box runs from {low:g} to {high:g} along {name}, which is not finite; give numbers, or box=None "
                "for the whole plane."
            )
        if low == high:
            raise UsageError(f"the box is empty: along {name} it runs from {low:g} to {high:g}; give it a width.")
        if low > high:
            raise UsageError(
                f"the box runs backwards along {name}, from {low:g} to {high:g}; give the lesser number first."
            )
        if not NARROWEST <= high - low <= WIDEST:
            raise UsageError(
                f"along {name} the box is {high - low:.3g} wide, and areas of such polygons are no float64 numbers; "
                f"give it a width from {NARROWEST:g} to {WIDEST:g}."
            )
    return (s0, s1), (t0, t1)


def _start(box: Box | None) -> Stage:
    """The rectangle; or the whole plane in three cones, with seams at angles that no kink is likely to have."""
    if box is None:
        angles = 0.5772156649 + 2 * np.pi / 3 * np.arange(3)
        around = np.stack([np.cos(angles), np.sin(angles), np.zeros(3)], axis=1)
        cones = Rings(np.array([0, 1, 2, 0, 2, 3, 0, 3, 1]), np.array([0, 3, 1, 1, 4, 2, 2, 5, 0]), np.full(3, 3))
        return begin(cones, np.array([SEAM] * 3 + [SIDE] * 3), np.concatenate([[[0.0, 0.0, 1.0]], around]))
    (s0, s1), (t0, t1) = box
    corners = np.array([[s0, t0], [s1, t0], [s1, t1], [s0, t1]])
    return begin(Rings(np.arange(4), np.arange(4), np.array([4])), np.full(4, SIDE), corners)


def _no_maps(net: PiecewiseNet) -> tuple[np.ndarray, np.ndarray]:
    """None computed."""
    return np.zeros((0, net.output.size, 2)), np.zeros((0, net.output.size))
