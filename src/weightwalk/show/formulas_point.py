"""The formula at one input, on the terminal: the map, and how far it holds."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
from rich.text import Text

from weightwalk.show.formula_layout import (
    affine_terms,
    count,
    digits_of,
    equation_lines,
    fitted,
    listed,
    place,
    short,
    told,
)
from weightwalk.show.layout import columns, shown, wrapped

OUTPUTS = 6
SHORT = 6
"""Inputs, and outputs, up to which the map is written as equations."""


def point_lines(local: Any, width: int, top: int | None) -> Iterator[Text]:
    """Where, what, how far, and what bounds it."""
    yield from wrapped(f"at x = {place(local.x)}", width, "  ", "bold")
    yield from _kink_warning(local, width)
    yield from _map(local, width, top)
    yield Text("")
    yield from reach_lines(local, width, top)
    yield from polytope_lines(local, width)
    if local.note:
        yield from wrapped(local.note, width, "  ", "yellow")


def _kink_warning(local: Any, width: int) -> Iterator[Text]:
    if len(local.at_kink):
        units = listed([local.unit_name(int(n)) for n in local.at_kink], 4)
        text = (
            f"x lies on {count(len(local.at_kink), 'kink')} ({units}): several formulas meet here, and this is one of "
        )
        text += f"them, on the side of the direction {place(local.inward, most=4)}"
        yield from wrapped(text, width, "  ", "bold yellow")


def _map(local: Any, width: int, top: int | None) -> Iterator[Text]:
    """y, then A and b: as equations, or as the greatest contributions of each output."""
    names, outputs = local.net.inputs, local.net.outputs
    if len(names) <= SHORT and len(outputs) <= SHORT:
        for o, output in enumerate(outputs):
            terms = affine_terms(local.A[o], names, local.b[o])
            yield from equation_lines(output, terms, width, style="bold green")
            yield from wrapped(f"= {told(local.y[o])} here", width, "    ", "dim")
        return
    order = np.argsort(-local.y, kind="stable")[:OUTPUTS]
    for o in order:
        yield from _contributions(local, int(o), width, top)
    if len(outputs) > OUTPUTS:
        text = f"not shown: {count(len(outputs) - OUTPUTS, 'output')} more, all smaller; choose with select"
        yield from wrapped(text, width, "  ", "dim")


def _contributions(local: Any, o: int, width: int, top: int | None) -> Iterator[Text]:
    """``y = sum_i A_i x_i + b``, the greatest terms first; the others as one row, so that the rows add up."""
    names, terms = local.net.inputs, local.A[o] * local.x
    order = np.argsort(-np.abs(terms), kind="stable")
    most = len(order) if top is None else min(top, len(order))
    some, rest = order[:most], order[most:]
    yield Text(f"  {shown(local.net.outputs[o])} = {told(local.y[o])}", style="bold cyan")

    def rows(digits: int) -> list[tuple[object, ...]]:
        made: list[tuple[object, ...]] = [
            (names[i], *(digits_of(v, digits) for v in (terms[i], local.A[o, i], local.x[i]))) for i in some
        ]
        if len(rest):
            made.append((f"the other {len(rest):,} inputs", digits_of(math.fsum(terms[rest]), digits), None, None))
        made.append(("constant b", digits_of(local.b[o], digits), None, None))
        return made

    yield from fitted(("input", "contribution A x", "slope A", "x"), rows, width)


def reach_lines(local: Any, width: int, top: int | None) -> Iterator[Text]:
    """How far from x the map holds."""
    near = local.nearest
    yield Text("  how far it holds", style="bold")
    if near is None:
        yield from wrapped("everywhere: no kink bounds it", width, "    ")
        return
    others = f" (and {count(len(near.shared), 'other unit')} on the same hyperplane)" if len(near.shared) else ""
    text = (
        f"nearest kink: {near.unit}{others}, at distance {told(near.distance, 9)}; within that distance of x the map "
    )
    yield from wrapped(text + "is the one above, whichever way one goes", width, "    ")
    rows = [
        (a.name, a.distance if math.isinf(a.distance) else digits_of(a.distance, 9), a.unit or "none is met")
        for a in local.along
    ]
    most = len(rows) if top is None else top
    if rows:
        yield from columns(("along", "distance to the first kink", "unit"), rows[:most], width, "    ")
        if len(rows) > most:
            yield from wrapped(f"not shown: {count(len(rows) - most, 'direction')} more", width, "    ", "dim")


def polytope_lines(local: Any, width: int) -> Iterator[Text]:
    """The region as half-spaces, facets, and its greatest ball."""
    rows = len(local.slack)
    n = local.net.n
    text = f"the region is a polytope of {count(rows, 'half-space')} in {count(n, 'dimension')}, one per kink of a unit"
    if len(local.still):
        text += f"; {count(len(local.still), 'unit')} at a kink throughout bound nothing"
    if local.box is not None:
        text += ", within the box"
    yield from wrapped(text, width, "    ")
    if local.facets is not None:
        found = int(np.count_nonzero(local.facets))
        known = local.minimal is not None and local.minimal.complete
        names = listed([local.side(int(r)) for r in np.flatnonzero(local.facets)], 4)
        if known:
            text = f"{count(found, 'facet')}, the minimal description: {names}; redundant: {rows - found:,} more"
        else:
            text = f"{count(found, 'facet')} certain: {names}; undecided: {rows - found:,} more"
        yield from wrapped(text, width, "    ")
    if local.rays is not None:
        text = f"{count(local.rays.rays, 'ray')} shot, {count(local.rays.crossed, 'facet')} stepped over, and behind "
        text += f"{local.rays.flipped:,} of them exactly the expected units had switched"
        yield from wrapped(text, width, "    ", "dim")
    ball = local.chebyshev
    if ball is not None:
        radius = "of any size" if math.isinf(ball.radius) else f"of radius {short(ball.radius, 6)}"
        where = f" around {place(ball.centre)}" if ball.centre is not None else ""
        yield from wrapped(f"greatest ball inside: {radius}{where} ({ball.status})", width, "    ")
    if local.spread:
        exact = count(int(local.exact.sum()), "exact one")
        text = f"distances are estimates to {100 * local.spread:.2g} %, but for {exact}"
        yield from wrapped(text, width, "    ", "yellow")
