"""One affine map, and the map at one input with its polytope, as text, LaTeX and Python."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from weightwalk.formulas.certificate import Certificate
from weightwalk.formulas.writing.words import (
    Number,
    Style,
    affine,
    array_source,
    docstring,
    left_out,
    left_out_latex,
    number,
    results,
    standing,
    symbol,
    total,
)

ROWS = 24
"""Outputs, and half-spaces, that are written before the rest is counted."""

CODE = 1_000_000
"""Numbers of half-spaces that are written as code: some twenty megabytes."""


def text(
    found: Any, *, digits: int | None = None, limit: int = ROWS, title: str = "", certificate: Certificate | None = None
) -> str:
    """``y = A x + b``, one equation per output; of a `Local` also ``where G x <= g``, one line per unit.

    Args:
        found: An `AffineMap` or a `Local`.
        digits: To round to; None writes every number in full.
        limit: Outputs and half-spaces to write before the rest is counted.
        title: What y is called in the heading.
        certificate: Instead of the formula's own.
    """
    lines = [*heading(found, digits, title, certificate), ""]
    lines += [f"{y} = {m}" for y, m in equations(found, digits, "text", limit)]
    lines += left_out(len(found.net.outputs), limit, "outputs")
    rows = conditions(found)
    if rows:
        lines += ["", "where"]
        lines += [f"    {_condition(found, r, digits, 'text')}" for r in rows[:limit]]
        lines += [f"    {line}" for line in left_out(len(rows), limit, "half-spaces")]
    return "\n".join(lines) + "\n"


def latex(
    found: Any, *, digits: int | None = None, limit: int = ROWS, title: str = "", certificate: Certificate | None = None
) -> str:
    """The same as aligned equations, for amsmath; see `text`."""
    lines = [f"% {line}" for line in heading(found, digits, title, certificate)]
    rows = [f"{symbol(y, 'latex')} &= {m}" for y, m in equations(found, digits, "latex", limit)]
    lines += _aligned(rows + left_out_latex(len(found.net.outputs), limit, "outputs", "& \\quad"))
    if where := conditions(found):
        rows = [_condition(found, r, digits, "latex") for r in where[:limit]]
        lines += ["where", *_aligned(rows + left_out_latex(len(where), limit, "half-spaces", "& \\quad"))]
    return "\n".join(lines) + "\n"


def _aligned(rows: Sequence[str]) -> list[str]:
    return ["\\begin{align*}", *(f"  {row} \\\\" for row in rows[:-1]), f"  {rows[-1]}", "\\end{align*}"]


def heading(found: Any, digits: int | None, title: str, certificate: Certificate | None) -> list[str]:
    """What the formula is, where it holds, and what may be claimed."""
    net = found.net
    title = title or "y"
    if not local(found):
        lines = [f"{title} = A x + b for every input: one affine map of {_count(net.n, 'input')}."]
    else:
        rows = conditions(found)
        lines = [f"{title} = A x + b around x = {_point(found.x, digits)}."]
        if rows:
            lines.append(f"It holds where all of {_count(len(rows), 'half-space')} do.")
        elif found.G is None:
            lines.append(f"It holds at least within {number(reach(found), digits)} of that x. {found.note}".rstrip())
        else:
            lines.append("It holds everywhere: no unit can switch.")
    exact = getattr(found, "fractions", None) is not None
    return lines + standing(found, exact, certificate, digits)


def _count(n: int, what: str) -> str:
    return f"{n:,} {what}{'' if n == 1 else 's'}"


def _point(x: np.ndarray, digits: int | None) -> str:
    some = ", ".join(number(v, digits) for v in x[:8].tolist())
    return f"({some}{f', and {len(x) - 8:,} more' if len(x) > 8 else ''})"


def local(found: Any) -> bool:
    """Whether it is a map around one input."""
    return hasattr(found, "region") or hasattr(found, "G")


def reach(found: Any) -> float:
    """How far from x the map holds for certain."""
    return float(found.nearest.distance) if found.nearest is not None else float("inf")


def equations(found: Any, digits: int | None, style: Style, limit: int) -> list[tuple[str, str]]:
    """(output, its affine map), in fractions where there are any."""
    fractions = getattr(found, "fractions", None)
    A, b = fractions if fractions is not None else (found.A.tolist(), found.b.tolist())
    names = _names(found.net.inputs)
    whole = zip(results(found.net.outputs), A, b, strict=True)
    return [(y, affine(a, c, names, digits, style)) for y, a, c in list(whole)[:limit]]


def _names(inputs: Sequence[str]) -> Sequence[str]:
    return inputs if len(inputs) > 1 or inputs[0].isidentifier() else ("x",)


def conditions(found: Any) -> list[int]:
    """Rows of ``G x <= g`` that bound the region: known facets where all are known, and none that is constant."""
    if not local(found) or found.G is None:
        return []
    rows = np.asarray(found.G).any(axis=1)
    if getattr(found, "facets", None) is not None and getattr(found.minimal, "complete", False):
        rows &= found.facets
    return np.flatnonzero(rows).tolist()


def _condition(found: Any, r: int, digits: int | None, style: Style) -> str:
    terms: list[tuple[Number, str]] = [
        (a, symbol(n, style)) for a, n in zip(found.G[r].tolist(), _names(found.net.inputs), strict=True) if a
    ]
    left, right = total(terms, digits, style), number(found.g[r].item(), digits, style)
    if style == "latex":
        return f"{left} &\\le {right} && \\text{{{_plain(found.unit(r))}}}"
    return f"{left} <= {right}    ({found.unit(r)})"


def _plain(name: str) -> str:
    return name.replace("_", "\\_")


# -- code -------------------------------------------------------------------------------------------------------------


def python(
    found: Any,
    *,
    digits: int | None = None,
    title: str = "",
    certificate: Certificate | None = None,
    name: str = "f",
) -> str:
    """Source of a NumPy function that computes the map, and refuses inputs for which it does not hold.

    Args:
        found: An `AffineMap` or a `Local`.
        digits: To round to; None writes every number in full.
        title: What y is called in the docstring.
        certificate: Instead of the formula's own.
        name: Of the function.
    """
    lines = docstring([*heading(found, digits, title, certificate), "", *_key(found.net.inputs, "Inputs"),
                       *_key(found.net.outputs, "Outputs")])  # fmt: skip
    fractions = getattr(found, "fractions", None)
    A, b = (np.array(part, np.float64) for part in fractions) if fractions is not None else (found.A, found.b)
    lines += ["", "import numpy as np", "", *array_source("A", A, digits), *array_source("B", b, digits)]
    holds = _holds(found, digits) if local(found) else []
    lines += holds
    refuse = [
        "    if not np.all(holds(x)):",
        '        raise ValueError("outside of the region on which this formula holds")',
    ]
    lines += [
        "",
        "",
        f"def {name}(x):",
        '    """y, (..., outputs), at inputs (..., n)."""',
        "    x = np.asarray(x, dtype=np.float64)",
        *(refuse if holds else []),
        "    return x @ A.T + B",
    ]
    return "\n".join(lines) + "\n"


def _key(names: Sequence[str], what: str) -> list[str]:
    shown = ", ".join(names[:12])
    return [f"{what}, in order: {shown}{f', and {len(names) - 12:,} more' if len(names) > 12 else ''}."]


def _holds(found: Any, digits: int | None) -> list[str]:
    """The region as code: its half-spaces, or the ball in which the map certainly holds where those are too many."""
    rows = conditions(found)
    if found.G is not None and not rows:
        return []
    if rows and len(rows) * found.net.n <= CODE:
        return [
            *array_source("G", np.asarray(found.G)[rows], digits, "the region: G x <= LEVEL"),
            *array_source("LEVEL", found.g[rows], digits),
            "",
            "",
            "def holds(x):",
            '    """Whether the formula holds at inputs (..., n), to rounding."""',
            "    x = np.asarray(x, dtype=np.float64)",
            "    return (x @ G.T <= LEVEL + 1e-12 * (abs(x) @ abs(G).T + abs(LEVEL))).all(axis=-1)",
        ]
    return [
        *array_source("X", found.x, digits, "the input; the formula is known to hold within DISTANCE of it"),
        f"DISTANCE = {number(reach(found), digits, 'python')}".replace("float('inf')", "np.inf"),
        "",
        "",
        "def holds(x):",
        '    """Whether inputs (..., n) are near enough for the formula to hold for certain."""',
        "    return np.linalg.norm(np.asarray(x, dtype=np.float64) - X, axis=-1) <= DISTANCE",
    ]
