"""Numbers, affine maps and headings as text, LaTeX and Python: what all written formulas are made of.

A float is written as the shortest decimal that reads back as the same float64, a fraction as a fraction. Only `digits`
rounds, and then the heading says so.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from fractions import Fraction
from typing import Any, Literal

import numpy as np

from weightwalk.formulas.certificate import Certificate

Style = Literal["text", "latex", "python"]
Number = float | Fraction

WIDTH = 120
"""Columns of written code."""


def number(x: Number, digits: int | None = None, style: Style = "text") -> str:
    r"""A number, such that it reads back as the same number unless `digits` are given.

    Example:
        >>> number(0.1), number(2.0), number(2.0, style="python"), number(Fraction(13, 8)), number(1 / 3, 4)
        ('0.1', '2', '2.0', '13/8', '0.3333')
        >>> print(number(-2.5e-07, style="latex"), number(Fraction(-13, 8), style="latex"))
        -2.5 \cdot 10^{-7} -\frac{13}{8}
    """
    if isinstance(x, Fraction) and digits is None:
        return _fraction(x, style)
    x = float(x)
    if not math.isfinite(x):
        word = {"text": "inf", "latex": "\\infty", "python": "float('inf')"}[style]
        return "nan" if math.isnan(x) else ("-" if x < 0 else "") + word
    if style == "python":
        return repr(x) if digits is None else repr(float(f"{x:.{digits}g}"))
    said = repr(x) if digits is None else f"{x:.{digits}g}"
    said = re.sub(r"\.0$", "", said)
    if style == "latex" and "e" in said:
        mantissa, power = said.split("e")
        ten = f"10^{{{int(power)}}}"
        return {"1": ten, "-1": f"-{ten}"}.get(mantissa, f"{mantissa} \\cdot {ten}")
    return said


def _fraction(x: Fraction, style: Style) -> str:
    if style == "text" or (x.denominator == 1 and style == "latex"):
        return str(x)
    if style == "python":
        return f"Fraction({x.numerator}, {x.denominator})"
    return f"{'-' if x < 0 else ''}\\frac{{{abs(x.numerator)}}}{{{x.denominator}}}"


def affine(
    slopes: Sequence[Number] | np.ndarray,
    constant: Number,
    names: Sequence[str],
    digits: int | None = None,
    style: Style = "text",
) -> str:
    """``2 x + 3``: terms that are zero are left out, a factor of one too.

    Example:
        >>> affine([2.0, 0.0, -1.0], -3.5, ["x[0]", "x[1]", "x[2]"])
        '2 x[0] - x[2] - 3.5'
        >>> affine([2.0, -1.0], 0.25, ["s", "t"], style="python")
        '2.0 * s - t + 0.25'
        >>> affine([0.0], 0.0, ["x"])
        '0'
    """
    terms = [(a, name) for a, name in zip(slopes, names, strict=True) if a != 0]
    if constant != 0 or not terms:
        terms.append((constant, ""))
    return total([(a, symbol(name, style)) for a, name in terms], digits, style)


def total(terms: Sequence[tuple[Number, str]], digits: int | None = None, style: Style = "text") -> str:
    """A sum of numbers times what is written after them; ``""`` for a constant."""
    out = ""
    for i, (a, what) in enumerate(terms):
        size = number(abs(a), digits, style)
        one = what and size in ("1", "1.0")
        between = " * " if style == "python" else " "
        said = what if one else size + (between + what if what else "")
        negative = a < 0 or (a == 0 and math.copysign(1.0, a) < 0)
        out += ("-" if negative else "") + said if i == 0 else (" - " if negative else " + ") + said
    return out or "0"


def symbol(name: str, style: Style = "text") -> str:
    r"""A name as it is written: ``x[0]`` is ``x_{0}`` in LaTeX.

    Example:
        >>> print(symbol("embed[0, 1]", "latex"), symbol("x", "latex"), symbol("fc_2", "latex"))
        \mathrm{embed}_{0,1} x \mathrm{fc\_2}
    """
    if style != "latex" or not name:
        return name
    match = re.fullmatch(r"([^\[\]]*)(?:\[([^\]]*)\])?", name)
    base, index = (match[1], match[2]) if match else (name, None)
    plain = re.sub(
        r"([\\{}_$#%&^~])", lambda m: {"\\": "/", "^": "\\wedge ", "~": "\\sim "}.get(m[1], "\\" + m[1]), base
    )
    said = plain if len(base) == 1 else f"\\mathrm{{{plain}}}"
    return said + (f"_{{{re.sub(r', *', ',', index)}}}" if index else "")


def coordinate(inputs: Sequence[str], letters: Sequence[str]) -> tuple[str, ...]:
    """The inputs' names where they are plain words, else letters for them."""
    if all(name.isidentifier() for name in inputs) and len(set(inputs)) == len(inputs):
        return tuple(inputs)
    return tuple(letters)


def results(outputs: Sequence[str]) -> Sequence[str]:
    """The outputs' names; ``y`` where there is one."""
    return outputs if len(outputs) > 1 else ("y",)


def standing(found: Any, fractions: bool, certificate: Certificate | None, digits: int | None) -> list[str]:
    """What may be claimed: that the formula is certified, or why it is not exact; and whether digits were cut."""
    held = certificate if certificate is not None else getattr(found, "certificate", None)
    lines = []
    if held is None or (fractions and held.ok):
        lines.append("In fractions: nothing was rounded.")
    elif not held.ok:
        for check in held.failures:
            lines.append(f"NOT EXACT: {check.name} is {check.found:.3g}, held to {check.limit}.")
    elif held.checks:
        first = held.checks[0]
        lines.append(f"Certified: {first.name} is {first.found:.3g}, held to {first.limit}.")
    if digits is not None:
        lines.append(f"ROUNDED here to {digits} digits; the formula itself has more.")
    return lines


def array_source(name: str, array: np.ndarray, digits: int | None = None, note: str = "") -> list[str]:
    """``NAME = np.array([...])``, in lines of at most 120 columns; every number reads back as the same."""
    return [*(["# " + note] if note else []), *assigned(name, array, digits, "np.array(", ")")]


def assigned(name: str, array: np.ndarray, digits: int | None, before: str = "", after: str = "") -> list[str]:
    """``NAME = [...]`` on one line if it fits, else over several."""
    lines = list_source(array, digits)
    short = f"{name} = {before}{lines[0].strip()}{after}"
    if len(lines) == 1 and len(short) <= WIDTH:
        return [short]
    return [f"{name} = {before or '('}", *lines, after or ")"]


def list_source(array: np.ndarray, digits: int | None = None, depth: int = 1) -> list[str]:
    """Nested lists of numbers, indented."""
    indent = "    " * depth
    if array.size == 0:
        return [f"{indent}[]{'' if depth == 1 else ','}"]
    comma = "" if depth == 1 else ","
    if array.ndim == 0:
        return [indent + _literal(array.item(), digits)]
    if array.ndim > 1:
        rows = [line for row in array for line in list_source(row, digits, depth + 1)]
        return [f"{indent}[", *rows, f"{indent}]{comma}"]
    words = [_literal(x, digits) for x in array.tolist()]
    flat = f"{indent}[{', '.join(words)}]{comma}"
    if len(flat) <= WIDTH:
        return [flat]
    lines, line = [], ""
    for word in words:
        if line and len(indent) + 4 + len(line) + len(word) + 2 > WIDTH:
            lines.append(f"{indent}    {line.rstrip()}")
            line = ""
        line += f"{word}, "
    return [f"{indent}[", *lines, f"{indent}    {line.rstrip()}", f"{indent}]{comma}"]


def _literal(x: float | int, digits: int | None) -> str:
    if isinstance(x, int):
        return repr(x)
    return number(x, digits, "python").replace("float('inf')", "np.inf")


def docstring(lines: Sequence[str]) -> list[str]:
    """Lines as a docstring; no sequence of characters in them can end it."""
    safe = [line.replace("\\", "\\\\").replace('"""', "'''") for line in lines]
    return [f'"""{safe[0]}', *safe[1:], '"""'] if len(safe) > 1 else [f'"""{safe[0]}"""']


def left_out(rows: int, limit: int, what: str) -> list[str]:
    """The line that tells of rows that were left out, if any were."""
    if rows <= limit:
        return []
    return [f"(and {rows - limit:,} more {what}, not written here: ask for the Python code, or a greater limit)"]


def left_out_latex(rows: int, limit: int, what: str, between: str = "&") -> list[str]:
    """The row that tells of rows that were left out, if any were."""
    return [f"\\vdots {between} \\text{{and {rows - limit:,} more {what}, not written}}"] if rows > limit else []


def cases(left: str, rows: Sequence[str]) -> list[str]:
    """A displayed equation whose right side is one of several."""
    broken = [*(f"    {row} \\\\" for row in rows[:-1]), f"    {rows[-1]}"]
    return ["\\[", f"  {left} = \\begin{{cases}}", *broken, "  \\end{cases}", "\\]"]


def listed(words: Sequence[str], count: int) -> list[str]:
    """Some words, and how many more there are of `count`."""
    return [*words, *([f"and {count - len(words):,} more"] if count > len(words) else [])]
