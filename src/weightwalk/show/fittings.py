"""What fits and what generalises, on the terminal: points and labels."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

from rich.text import Text

from weightwalk.show.layout import aligned, columns, wrapped


def figure(value: float, digits: int = 4) -> str:
    """A measured number as a cell: four digits, and a dash where there is none.

    >>> figure(23.6509), figure(float("nan")), figure(0.0), figure(521.19)
    ('23.65', '—', '0', '521.2')
    """
    if math.isnan(value):
        return "—"
    if math.isinf(value):
        return "inf" if value > 0 else "-inf"
    return f"{value:.{digits}g}" if value == 0 or 1e-3 <= abs(value) < 1e6 else f"{value:.2g}"


def between(ends: Sequence[float], digits: int = 3) -> str:
    """``0.12 to 0.34``; one number where both are the same."""
    low, high = (figure(v, digits) for v in ends)
    return low if low == high else f"{low} to {high}"


def percent(share: float) -> str:
    """``93.4 %``; never 100 or 0 of what is not all or none.

    >>> percent(1.0), percent(0.9999), percent(0.0001), percent(0.5)
    ('100 %', '>99.9 %', '<0.1 %', '50.0 %')
    """
    if share in (0.0, 1.0):
        return f"{100 * share:.0f} %"
    return ">99.9 %" if share > 0.9995 else "<0.1 %" if share < 0.0005 else f"{100 * share:.1f} %"


def table(heads: Sequence[str], rows: Sequence[Sequence[object]], width: int) -> Iterator[Text]:
    """A table whose cells are texts already: numbers to the right, words to the left."""
    cells = [[str(cell) for cell in row] for row in rows]
    right = [i > 0 and any(c and (c[0].isdigit() or c[0] in "-—<>") for c in (r[i] for r in cells))
             for i in range(len(heads))]  # fmt: skip
    for i in (i for i, r in enumerate(right) if r):
        for row, text in zip(cells, aligned([r[i] for r in cells]), strict=True):
            row[i] = text
    wide = [max(len(h), *(len(r[i]) for r in cells)) for i, h in enumerate(heads)] if cells else [len(h) for h in heads]

    def line(texts: Sequence[str]) -> str:
        parts = (t.rjust(w) if r else t.ljust(w) for t, w, r in zip(texts, wide, right, strict=True))
        return ("  " + "  ".join(parts)).rstrip()

    if 2 + sum(wide) + 2 * (len(wide) - 1) > width:
        yield from columns(heads, rows, width)
        return
    yield Text(line(heads), style="dim")
    for row in cells:
        text = Text(line(row))
        text.stylize("cyan", 2, 2 + len(row[0]))
        yield text


def sentence(text: str, width: int, style: str = "") -> Iterator[Text]:
    """A sentence, indented."""
    yield from wrapped(text, width, "  ", style)


def title(text: str) -> Text:
    """A heading."""
    return Text(text, style="bold")


# Points --------------------------------------------------------------------------------------------------------------


def curve_name(curve: Any) -> str:
    """``polynomial, degree 4``; ``net, 16 units``."""
    return {
        "chain": "from point to point",
        "polynomial": f"polynomial, degree {curve.size}",
        "net": f"net, {curve.size} unit{'s' * (curve.size != 1)}",
    }[curve.kind]


def points_lines(found: Any, width: int) -> Iterator[Text]:
    """Every curve with its two errors."""
    yield title(f"curves through {len(found.x):,} points: their error at the points, and at a point left out")
    yield Text("")
    rows = []
    for c in found.curves:
        seeds = c.kind == "net" and len(found.seeds) > 1
        rows.append(
            (
                curve_name(c),
                c.parameters,
                figure(c.rmse),
                between(c.rmse_range) if seeds else "",
                figure(c.loo),
                between(c.loo_range) if seeds else "",
            )
        )
    heads = ("curve", "numbers", "at the points", "of seeds", "at one left out", "of seeds")
    if not found.seeds or all(c.kind != "net" for c in found.curves):
        heads, rows = tuple(heads[i] for i in (0, 1, 2, 4)), [tuple(r[i] for i in (0, 1, 2, 4)) for r in rows]
    yield from table(heads, rows, width)
    yield Text("")
    yield from _points_verdict(found, width)


def _points_verdict(found: Any, width: int) -> Iterator[Text]:
    named = {_name(c): c for c in found.curves}
    best = named[found.best]
    through = [named[n] for n in found.passing]
    text = f"Least error at a point left out: {_said(best)}, {figure(best.loo)}"
    text += f", beside {figure(best.rmse)} at the points." if best.rmse < best.loo else "."
    yield from sentence(text, width, "green")
    if through:
        some = "; ".join(f"{_said(c)}: {figure(c.loo)}" for c in through if not math.isnan(c.loo))
        text = f"Through every point {'go' if len(through) > 1 else 'goes'} {', '.join(_said(c) for c in through)}."
        yield from sentence(text + (f" At a point left out they miss by: {some}." if some else ""), width)
    if any(math.isnan(c.loo) for c in found.curves):
        text = (
            "—: without one of its points the curve is not determined, so that there is no error to tell: its "
            "error at the points is 0 for whatever y they have."
        )
        yield from sentence(text, width, "dim")
    yield from sentence(
        "Errors are root mean squares in the unit of y. Of polynomials the error at a point left out is exact, from "
        "the hat matrix" + (
            f"; nets are trained again without the point: {found.recipe}; medians over seeds ({len(found.seeds)})."
            if found.recipe else "."
        ), width, "dim"
    )  # fmt: skip
    if found.recipe and found.groups < len(found.x):
        text = f"For nets the rows were left out in {found.groups} groups, not one by one."
        yield from sentence(text, width, "dim")
    worst = max((c.condition for c in found.curves if c.kind == "polynomial"), default=float("nan"))
    if worst > 1e8:
        text = f"The least-squares problem of the highest degree has condition {worst:.1e}: its digits are few."
        yield from sentence(text, width, "yellow")


def _name(curve: Any) -> str:
    return curve.kind if curve.kind == "chain" else f"{curve.kind} {curve.size}"


def _said(curve: Any) -> str:
    return {
        "chain": "the chain of straight lines",
        "polynomial": f"degree {curve.size}",
        "net": f"the net of {curve.size} unit{'s' * (curve.size != 1)}",
    }[curve.kind]
