"""The formula along a line as text, LaTeX and Python."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from weightwalk.formulas.certificate import Certificate
from weightwalk.formulas.lines.line import Line
from weightwalk.formulas.rationals.line import ExactLine
from weightwalk.formulas.writing.words import (
    Number,
    Style,
    affine,
    array_source,
    assigned,
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

ROWS = 60
"""Pieces that are written before the rest is counted."""


@dataclass(frozen=True)
class Row:
    """One piece as it is written: where, and one map per output; the ends are None at infinity."""

    start: Number | None
    end: Number | None
    slopes: Sequence[Number]
    intercepts: Sequence[Number]


def rows(found: Line | ExactLine) -> list[Row]:
    """The largest pieces of one affine map."""
    if isinstance(found, Line):
        return [Row(_finite(p.start), _finite(p.end), p.slope.tolist(), p.intercept.tolist()) for p in found.pieces]
    bends = [i for i, bent in enumerate(found.bends) if bent]
    ends = [found.start, *(found.kinks[i] for i in bends), found.end]
    first = [0, *(i + 1 for i in bends)]
    return [Row(ends[i], ends[i + 1], found.slopes[k], found.intercepts[k]) for i, k in enumerate(first)]


def _finite(x: float) -> float | None:
    return x if math.isfinite(x) else None


def domain(found: Line | ExactLine, name: str, digits: int | None = None) -> str:
    """``for every x``, ``for -1 <= x <= 1``."""
    start, end = (None if x is None or not math.isfinite(x) else number(x, digits) for x in (found.start, found.end))
    if end is None:
        return f"for every {name}" if start is None else f"for {name} >= {start}"
    return "for " + (f"{start} <= " if start else "") + name + (f" <= {end}" if end else "")


def heading(
    found: Line | ExactLine, name: str, digits: int | None, title: str, certificate: Certificate | None
) -> list[str]:
    """What the formula is, where it holds, and what may be claimed."""
    net, count = found.net, len(rows(found))
    what = f"{title or 'y'} as a function of {name}, {domain(found, name, digits)}: "
    lines = [what + (f"{count:,} pieces." if count > 1 else "one piece.")]
    if net.inputs[0] != name:
        lines.append(f"{name} is {net.inputs[0]}.")
    if len(net.outputs) > 1:
        lines.append(f"The outputs are {', '.join(net.outputs)}, in this order.")
    return lines + standing(found, isinstance(found, ExactLine), certificate, digits)


def text(
    found: Line | ExactLine,
    *,
    digits: int | None = None,
    limit: int = ROWS,
    title: str = "",
    certificate: Certificate | None = None,
) -> str:
    """The pieces as lines of text: ``y = 2 x + 3   for 1 < x <= 2``.

    Args:
        found: The formula.
        digits: To round to; None writes every number in full.
        limit: Pieces to write before the rest is counted.
        title: What y is called in the heading.
        certificate: Instead of the formula's own.
    """
    (name,) = coordinate(found.net.inputs, "x")
    some = rows(found)
    lines = heading(found, name, digits, title, certificate)
    for o, output in enumerate(results(found.net.outputs)):
        maps = [f"{output} = {affine([r.slopes[o]], r.intercepts[o], [name], digits)}" for r in some[:limit]]
        width = max(map(len, maps))
        lines.append("")
        lines += [
            f"{said:<{width}}   {_where(r, i, name, digits, 'text')}".rstrip()
            for i, (said, r) in enumerate(zip(maps, some, strict=False))
        ]
        lines += left_out(len(some), limit, "pieces")
    return "\n".join(lines) + "\n"


def latex(
    found: Line | ExactLine,
    *,
    digits: int | None = None,
    limit: int = ROWS,
    title: str = "",
    certificate: Certificate | None = None,
) -> str:
    """The pieces as LaTeX cases, for amsmath; see `text`."""
    (name,) = coordinate(found.net.inputs, "x")
    some, x = rows(found), symbol(name, "latex")
    lines = [f"% {line}" for line in heading(found, name, digits, title, certificate)]
    for o, output in enumerate(results(found.net.outputs)):
        maps = [affine([r.slopes[o]], r.intercepts[o], [name], digits, "latex") for r in some[:limit]]
        left = f"{symbol(output, 'latex')}({x})"
        if len(some) == 1:
            where = _where(some[0], 0, x, digits, "latex")
            lines += ["\\[", f"  {left} = {maps[0]}" + (f" \\qquad \\text{{for }} {where}" if where else ""), "\\]"]
            continue
        told = [f"{m} & {_where(r, i, x, digits, 'latex')}" for i, (m, r) in enumerate(zip(maps, some, strict=False))]
        lines += cases(left, told + left_out_latex(len(some), limit, "pieces"))
    return "\n".join(lines) + "\n"


def _where(row: Row, place: int, name: str, digits: int | None, style: Style) -> str:
    """Where a piece holds; its last kink belongs to it, its first to the piece before."""
    least = "\\le" if style == "latex" else "<="
    word = "" if style == "latex" else "for "
    start = "" if row.start is None else f"{number(row.start, digits, style)} {least if place == 0 else '<'} "
    end = "" if row.end is None else f" {least} {number(row.end, digits, style)}"
    if not start and not end:
        return ""
    if start and not end:
        greater = ">" if place else "\\ge" if style == "latex" else ">="
        return f"{word}{name} {greater} {number(row.start or 0, digits, style)}"
    return f"{word}{start}{name}{end}"


# -- code -------------------------------------------------------------------------------------------------------------


def python(
    found: Line | ExactLine,
    *,
    numpy: bool = True,
    digits: int | None = None,
    title: str = "",
    certificate: Certificate | None = None,
    name: str = "f",
) -> str:
    """Source of a function that computes the formula.

    Without `digits` it gives the same bits as the `Line` itself. A fraction stays a fraction.

    Args:
        found: The formula.
        numpy: Whether it takes arrays, by NumPy; otherwise one number, by the standard library.
        digits: To round to; None writes every number in full.
        title: What y is called in the docstring.
        certificate: Instead of the formula's own.
        name: Of the function.
    """
    (x,) = coordinate(found.net.inputs, "x")
    some = rows(found)
    exact = isinstance(found, ExactLine)
    lines = docstring([*heading(found, x, digits, title, certificate), "", "At a kink the piece before it is used."])
    if exact:
        return "\n".join([*lines, *_fraction_code(some, x, name)]) + "\n"
    slopes, intercepts = np.array([r.slopes for r in some]), np.array([r.intercepts for r in some])
    several = slopes.shape[1] > 1
    if not several:
        slopes, intercepts = slopes[:, 0], intercepts[:, 0]
    kinks = np.array([r.end for r in some[:-1]], np.float64)
    write = _numpy_code if numpy else _plain_code
    return "\n".join([*lines, *write(found, kinks, slopes, intercepts, x, name, digits, several)]) + "\n"


def _numpy_code(found: Line, kinks: np.ndarray, slopes: np.ndarray, intercepts: np.ndarray, x: str, name: str,
                digits: int | None, several: bool) -> list[str]:  # fmt: skip
    low, high = (_bound(v, digits).replace("float('inf')", "np.inf") for v in (found.start, found.end))
    spread = f"{x}[..., None]" if several else x
    return [
        "",
        "import numpy as np",
        "",
        f"START, END = {low}, {high}",
        *array_source("KINKS", kinks, digits),
        *array_source("SLOPES", slopes, digits, "one per piece" + (", and one per output" if several else "")),
        *array_source("INTERCEPTS", intercepts, digits),
        "",
        "",
        f"def {name}({x}):",
        f'    """y at a number or an array {x}{"; the outputs are the last axis" if several else ""}."""',
        f"    {x} = np.asarray({x}, dtype=np.float64)",
        f"    if not (({x} >= START) & ({x} <= END)).all():",
        f'        raise ValueError(f"the formula holds from {{START}} to {{END}}")',  # noqa: F541
        f"    i = np.searchsorted(KINKS, {x})",
        f"    return SLOPES[i] * {spread} + INTERCEPTS[i]",
    ]


def _bound(x: float, digits: int | None) -> str:
    return number(x, digits, "python")


def _plain_code(found: Line, kinks: np.ndarray, slopes: np.ndarray, intercepts: np.ndarray, x: str, name: str,
                digits: int | None, several: bool) -> list[str]:  # fmt: skip
    value = f"SLOPES[i] * {x} + INTERCEPTS[i]"
    if several:
        value = f"[a * {x} + b for a, b in zip(SLOPES[i], INTERCEPTS[i])]"

    return [
        "",
        "from bisect import bisect_left",
        "",
        f"START, END = {_bound(found.start, digits)}, {_bound(found.end, digits)}",
        *assigned("KINKS", kinks, digits),
        *assigned("SLOPES", slopes, digits),
        *assigned("INTERCEPTS", intercepts, digits),
        "",
        "",
        f"def {name}({x}):",
        f'    """y at a number {x}{"; a list of the outputs" if several else ""}."""',
        f"    if not START <= {x} <= END:",
        f'        raise ValueError(f"the formula holds from {{START}} to {{END}}, not at {{{x}}}")',
        f"    i = bisect_left(KINKS, {x})",
        f"    return {value}",
    ]


def _fraction_code(some: Sequence[Row], x: str, name: str) -> list[str]:
    several = len(some[0].slopes) > 1

    def listed(values: Sequence[Number]) -> str:
        return ", ".join(number(Fraction(v), style="python") for v in values)

    def table(what: str, key: str) -> list[str]:
        return [f"{what} = [", *(f"    [{listed(getattr(r, key))}]," for r in some), "]"]

    start, end = some[0].start, some[-1].end
    checks = [f"{x} < {number(Fraction(start), style='python')}"] if start is not None else []
    checks += [f"{x} > {number(Fraction(end), style='python')}"] if end is not None else []
    refuse = [f"    if {' or '.join(checks)}:", '        raise ValueError("outside of where the formula holds")']
    return [
        "",
        "from bisect import bisect_left",
        "from fractions import Fraction",
        "",
        "KINKS = [",
        *(f"    {number(Fraction(r.end), style='python')}," for r in some[:-1] if r.end is not None),
        "]",
        *table("SLOPES", "slopes"),
        *table("INTERCEPTS", "intercepts"),
        "",
        "",
        f"def {name}({x}):",
        f'    """y at a number {x}, as {"a list of fractions" if several else "a fraction"}."""',
        f"    {x} = Fraction({x})",
        *(refuse if checks else []),
        f"    i = bisect_left(KINKS, {x})",
        f"    y = [a * {x} + b for a, b in zip(SLOPES[i], INTERCEPTS[i])]",
        "    return y" if several else "    return y[0]",
    ]
