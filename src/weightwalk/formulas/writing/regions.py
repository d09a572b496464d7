"""The regions of a plane as text, LaTeX and Python."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from weightwalk.errors import UsageError
from weightwalk.formulas.certificate import Certificate
from weightwalk.formulas.planes.partition import Partition
from weightwalk.formulas.rationals.plane import ExactPartition
from weightwalk.formulas.writing.words import (
    Number,
    Style,
    affine,
    array_source,
    cases,
    coordinate,
    docstring,
    left_out,
    left_out_latex,
    number,
    results,
    standing,
    symbol,
)

ROWS = 24
"""Regions that are written before the rest is counted."""

CODE = 20_000
"""Regions that are written as code: some ten megabytes of numbers."""

SHORT = 1e-12
"""An edge shorter than this fraction of the box has no direction worth writing."""


def heading(
    found: Partition | ExactPartition,
    names: Sequence[str],
    digits: int | None,
    title: str,
    certificate: Certificate | None,
) -> list[str]:
    """What the formula is, where it holds, and what may be claimed."""
    s, t = names
    where = "everywhere"
    if found.box is not None:
        (a, b), (c, d) = ([number(v, digits) for v in side] for side in found.box)
        where = f"for {a} <= {s} <= {b}, {c} <= {t} <= {d}"
    lines = [
        f"{title or 'y'} as a function of {s} and {t}, {where}: {found.activation_regions:,} activation regions, "
        f"{found.affine_regions:,} maximal affine regions."
    ]
    if tuple(names) != tuple(found.net.inputs):
        lines.append(f"{s} is {found.net.inputs[0]}, {t} is {found.net.inputs[1]}.")
    if len(found.net.outputs) > 1:
        lines.append(f"The outputs are {', '.join(found.net.outputs)}, in this order.")
    return lines + standing(found, isinstance(found, ExactPartition), certificate, digits)


def text(
    found: Partition | ExactPartition,
    *,
    digits: int | None = None,
    limit: int = ROWS,
    title: str = "",
    certificate: Certificate | None = None,
) -> str:
    """One paragraph per region: its map, and the corners of its polygon; see `.lines.text`."""
    names = coordinate(found.net.inputs, "st")
    lines = heading(found, names, digits, title, certificate)
    outputs = results(found.net.outputs)
    for r in range(min(limit, found.activation_regions)):
        lines.append("")
        lines += [f"{y} = {m}" for y, m in zip(outputs, _maps(found, r, names, digits, "text"), strict=True)]
        lines.append(f"    on the polygon {_corners(found, r, digits, 'text')}")
    if more := left_out(found.activation_regions, limit, "regions"):
        lines += ["", *more]
    return "\n".join(lines) + "\n"


def latex(
    found: Partition | ExactPartition,
    *,
    digits: int | None = None,
    limit: int = ROWS,
    title: str = "",
    certificate: Certificate | None = None,
) -> str:
    """Cases over convex hulls of corners, for amsmath; see `text`."""
    names = coordinate(found.net.inputs, "st")
    x = ", ".join(symbol(n, "latex") for n in names)
    lines = [f"% {line}" for line in heading(found, names, digits, title, certificate)]
    shown = range(min(limit, found.activation_regions))
    more = left_out_latex(found.activation_regions, limit, "regions")
    maps = [_maps(found, r, names, digits, "latex") for r in shown]
    for o, output in enumerate(results(found.net.outputs)):
        told = [f"{maps[r][o]} & ({x}) \\in {_corners(found, r, digits, 'latex')}" for r in shown]
        lines += cases(f"{symbol(output, 'latex')}({x})", told + more)
    return "\n".join(lines) + "\n"


def _maps(
    found: Partition | ExactPartition, r: int, names: Sequence[str], digits: int | None, style: Style
) -> list[str]:
    """The region's map, per output."""
    rows = zip(found.slopes[r], found.offsets[r], strict=True)
    return [affine(list(slope), offset, names, digits, style) for slope, offset in rows]


def _corners(found: Partition | ExactPartition, r: int, digits: int | None, style: Style) -> str:
    """The corners of a region; one at infinity is told as a direction."""
    points: list[tuple[Sequence[Number], bool]]
    if isinstance(found, Partition):
        ring = found.ring[found.start[r] : found.start[r + 1]]
        points = [(found.vertices[v].tolist(), bool(found.infinite[v])) for v in ring]
    else:
        points = [(p, False) for p in found.polygons[r]]
    near, far = (
        ", ".join(f"({', '.join(number(v, digits, style) for v in p)})" for p, infinite in points if infinite == which)
        for which in (False, True)
    )
    if style == "latex":
        return f"\\operatorname{{conv}}\\{{{near}\\}}" + (f" + \\operatorname{{cone}}\\{{{far}\\}}" if far else "")
    return near + (f", and from there without end along {far}" if far else "")


# -- code -------------------------------------------------------------------------------------------------------------


def python(
    found: Partition | ExactPartition,
    *,
    digits: int | None = None,
    title: str = "",
    certificate: Certificate | None = None,
    name: str = "f",
    limit: int = CODE,
) -> str:
    """Source of a NumPy function that finds the region of each point by its edges, and applies the region's map.

    Args:
        found: The formula.
        digits: To round to; None writes every number in full.
        title: What y is called in the docstring.
        certificate: Instead of the formula's own.
        name: Of the function.
        limit: More regions than this are refused.

    Raises:
        UsageError: There are more regions than `limit`, or maps were not computed.
    """
    if found.activation_regions > limit:
        raise UsageError(
            f"The formula has {found.activation_regions:,} regions, and code is written for {limit:,} at most; "
            "give a smaller box, or a greater limit."
        )
    names = coordinate(found.net.inputs, "st")
    edges, start = half_planes(found)
    slopes, offsets = (np.array(some, np.float64) for some in (found.slopes, found.offsets))
    several = offsets.shape[1] > 1
    (a, b), (c, d) = found.box if found.box is not None else ((-np.inf, np.inf), (-np.inf, np.inf))
    about = "Region r is where all its EDGES (a, b, c) have a s + b t + c >= 0; on an edge both neighbours give one y."
    head = docstring([*heading(found, names, digits, title, certificate), "", about])
    body = [
        "",
        "import numpy as np",
        "",
        *array_source("LOW", np.array([a, c], np.float64), digits),
        *array_source("HIGH", np.array([b, d], np.float64), digits),
        *array_source("EDGES", edges, digits, "a, b, c"),
        *array_source("START", start, None, "the first edge of each region"),
        *array_source("SLOPES", slopes, digits, f"per region and output, by {names[0]} and {names[1]}"),
        *array_source("OFFSETS", offsets, digits),
        "",
        "",
        f"def {name}(points):",
        f'    """y at points (..., 2){": the outputs are the last axis" if several else ""}."""',
        "    points = np.asarray(points, dtype=np.float64)",
        "    if not ((points >= LOW) & (points <= HIGH)).all():",
        '        raise ValueError(f"the formula holds from {LOW} to {HIGH}")',
        "    flat = points.reshape(-1, 2)",
        "    y = np.empty((len(flat), OFFSETS.shape[1]))",
        "    many = max(1, 4_000_000 // len(EDGES))  # points at a time: 32 MB",
        "    for i in range(0, len(flat), many):",
        "        some = flat[i : i + many]",
        "        inside = some[:, :1] * EDGES[:, 0] + some[:, 1:] * EDGES[:, 1] + EDGES[:, 2]",
        "        region = np.minimum.reduceat(inside, START, axis=1).argmax(axis=1)",
        "        y[i : i + many] = (SLOPES[region] * some[:, None]).sum(axis=2) + OFFSETS[region]",
        f"    return y.reshape(points.shape[:-1]{' + (-1,)' if several else ''})",
    ]
    return "\n".join([*head, *body]) + "\n"


def half_planes(found: Partition | ExactPartition) -> tuple[np.ndarray, np.ndarray]:
    """Every edge as (a, b, c) with a s + b t + c >= 0 inside and a, b of length 1, (E, 3); and where regions start.

    The line through two points (x, y, w) is their cross product; w = 0 stands for a direction, so that this is right
    for edges that reach infinity too. An edge at infinity, and one too short to have a direction, bounds nothing.
    """
    if isinstance(found, Partition):
        points = np.column_stack([found.vertices, ~found.infinite])
        here, there = points[found.ring], points[found.ring[found.following]]
        starts = found.start
    else:
        rings = [np.array([[float(x), float(y), 1.0] for x, y in p]) for p in found.polygons]
        here = np.concatenate(rings)
        there = np.concatenate([np.roll(p, -1, axis=0) for p in rings])
        starts = np.concatenate([[0], np.cumsum([len(p) for p in rings])])
    finite = here[here[:, 2] > 0]
    size = float(np.ptp(finite[:, :2], axis=0).max()) or 1.0
    both = (here[:, 2] > 0) & (there[:, 2] > 0)
    long = np.where(
        both, np.linalg.norm(there[:, :2] - here[:, :2], axis=1) > SHORT * size, here[:, 2] + there[:, 2] > 0
    )
    near = np.where(here[:, 2:] > 0, here, there)  # a finite end: the constant is taken there, where it cancels least
    way = np.where(both[:, None], there - here, np.where(here[:, 2:] > 0, there, -here))[:, :2]
    with np.errstate(all="ignore"):
        normal = np.column_stack([-way[:, 1], way[:, 0]]) / np.linalg.norm(way, axis=1)[:, None]
    lines = np.column_stack([normal, -(normal * near[:, :2]).sum(axis=1)])
    region = np.repeat(np.arange(len(starts) - 1), np.diff(starts))
    first = np.zeros(len(region), bool)
    first[starts[:-1]] = np.bincount(region, weights=long) == 0  # a region of short edges only: no point is in it
    lines[first] = (0.0, 0.0, -1.0)
    keep = long | first
    count = np.bincount(region[keep], minlength=len(starts) - 1)
    return lines[keep], np.cumsum(count) - count
