"""The formula along a line on the terminal: its pieces and kinks as a table, and its graph in dots."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from fractions import Fraction
from typing import Any

import numpy as np
from rich.text import Text

from weightwalk.show.formula_layout import count, digits_of, fitted, listed, place, told
from weightwalk.show.layout import columns, shown, wrapped

PLOT = (64, 12)
"""Cells of the graph, across and down."""

BOTH = "◆"
"""Where two marks fall into one cell of the axis."""

TABLES = 4
"""Outputs that get a table of their own."""


def domain(line: Any, name: str = "") -> str:
    """Where a line's formula holds, in words."""
    low, high = line.start, line.end
    if math.isinf(low) and math.isinf(high):
        return "on the whole real line"
    if math.isinf(low):
        return f"up to {name + ' = ' if name else ''}{told(high)}"
    if math.isinf(high):
        return f"from {name + ' = ' if name else ''}{told(low)} on"
    return f"for {told(low)} <= {name or 'x'} <= {told(high)}"


def line_title(line: Any, name: str) -> str:
    """``13 kinks, 14 pieces, on the whole real line``."""
    bends = int(np.count_nonzero(line.bends))
    return f"{count(bends, 'kink')}, {count(len(line.pieces), 'piece')}, {domain(line, name)}"


def line_lines(
    line: Any, name: str, width: int, top: int | None, exact: Any = None, graph: bool = True
) -> Iterator[Text]:
    """Graph, pieces, silent switches, fractions.

    Args:
        line: A `Line`.
        name: Of its coordinate.
        width: Cells per line.
        top: Pieces to show; None for all.
        exact: The same in fractions, an `ExactLine`, or None.
        graph: Whether it is drawn, too.
    """
    outputs = line.net.outputs
    if graph:
        yield from graph_lines(line, name, width)
        yield Text("")
    for o, output in enumerate(outputs[:TABLES]):
        if len(outputs) > 1:
            yield Text(f"  {shown(output)}", style="bold cyan")
        yield from piece_lines(line, o, name, width, top)
    if len(outputs) > TABLES:
        rest = len(outputs) - TABLES
        yield from wrapped(f"not shown: {count(rest, 'output')} more ({listed(outputs[TABLES:])})", width, "  ", "dim")
    yield from silent_lines(line, name, width, top)
    if exact is not None:
        yield Text("")
        yield from fraction_lines(exact, name, width, top)


def ending_units(line: Any) -> list[str]:
    """For each piece, the units whose kink ends it; ``""`` for the last."""
    return [*(listed(line.units[k], 4) for k in np.flatnonzero(line.bends)), ""]


def piece_lines(line: Any, output: int, name: str, width: int, top: int | None) -> Iterator[Text]:
    """The table of one output."""
    pieces, units = line.pieces, ending_units(line)
    some = pieces if top is None else pieces[:top]

    def rows(digits: int) -> list[tuple[object, ...]]:
        return [
            (*(digits_of(v, digits) for v in (p.start, p.end, p.slope[output], p.intercept[output])), u)
            for p, u in zip(some, units, strict=False)
        ]

    heads = (f"from {name} =", f"to {name} =", "slope", "intercept", "ends at the kink of")
    yield from fitted(heads, rows, width)
    if len(pieces) > len(some):
        rest = pieces[len(some) :]
        text = f"not shown: {count(len(rest), 'piece')} more, from {told(rest[0].start, 6)} to {told(rest[-1].end, 6)}"
        yield from wrapped(text, width, "  ", "dim")


def silent_lines(line: Any, name: str, width: int, top: int | None) -> Iterator[Text]:
    """Kinks where a unit switches and no slope of y changes."""
    silent = np.flatnonzero(~line.bends)
    if not len(silent):
        return
    most = len(silent) if top is None else top
    some = "; ".join(f"{listed(line.units[k], 4)} at {name} = {told(line.kinks[k], 6)}" for k in silent[:most])
    more = f"; and {len(silent) - most:,} more" if len(silent) > most else ""
    what = f"{count(len(silent), 'place')} where units switch without effect on y"
    yield from wrapped(f"{what}: {some}{more}", width, "  ", "dim")


def fraction_lines(exact: Any, name: str, width: int, top: int | None) -> Iterator[Text]:
    """The same in rational arithmetic: kinks, slopes and intercepts as fractions, one row per piece."""
    bends = [k for k, bent in enumerate(exact.bends) if bent]
    starts: list[Fraction | None] = [exact.start, *(exact.kinks[k] for k in bends)]
    first = [0, *(k + 1 for k in bends)]
    most = len(first) if top is None else top
    for o, output in enumerate(exact.net.outputs[:TABLES]):
        title = "the same in fractions, nothing rounded" + (f": {output}" if len(exact.net.outputs) > 1 else "")
        yield from wrapped(title, width, "  ", "italic")
        rows = [
            ("-inf" if at is None else str(at), str(exact.slopes[i][o]), str(exact.intercepts[i][o]))
            for at, i in list(zip(starts, first, strict=True))[:most]
        ]
        yield from columns((f"from {name} =", "slope", "intercept"), rows, width)
    if len(first) > most:
        yield from wrapped(f"not shown: {count(len(first) - most, 'piece')} more", width, "  ", "dim")


# The graph ----------------------------------------------------------------------------------------------------------


def span(line: Any) -> tuple[float, float]:
    """Where a graph is drawn: the interval; of a ray or the whole line, the kinks and a third of their span beyond.

    A few kinks far away from all others would leave the rest in one dot; they are not drawn, and that is said.
    """
    kinks = line.kinks[line.bends] if line.bends.any() else line.kinks
    if len(kinks) > 4 and (math.isinf(line.start) or math.isinf(line.end)):
        few = len(kinks) // 5
        inner = kinks[few : len(kinks) - few]
        reach = 4 * (inner[-1] - inner[0])
        kinks = kinks[(kinks >= inner[0] - reach) & (kinks <= inner[-1] + reach)]
    ends = [float(v) for v in (line.start, line.end) if math.isfinite(v)]
    known = [*ends, *([float(kinks[0]), float(kinks[-1])] if len(kinks) else [])] or [0.0]
    low, high = min(known), max(known)
    margin = (high - low) / 3 or 1.0
    return (
        low if math.isfinite(line.start) else low - margin,
        high if math.isfinite(line.end) else high + margin,
    )


def graph_lines(line: Any, name: str, width: int, output: int = 0) -> Iterator[Text]:
    """The graph of one output in braille dots, its kinks marked on the axis."""
    low, high = span(line)
    kinks = line.kinks[line.bends]
    inside = kinks[(kinks >= low) & (kinks <= high)]
    made = list(curve_lines(lambda t: line(t)[:, output], (low, high), width, {"┴": inside}))
    yield from made
    if not made:
        return
    marks, across = made[-2].plain.count("┴"), len(made[-2].plain.split("└")[1])
    outside = [float(k) for k in kinks if not low <= k <= high]
    note = _graph_note(line, name, output, len(inside), marks, outside, across)
    yield from wrapped(note, width, "  ", "dim")


def curve_lines(f: Any, sides: tuple[float, float], width: int, marks: dict[str, np.ndarray]) -> Iterator[Text]:
    """A function's graph in braille dots over an axis with marks; nothing where it is not finite.

    Args:
        f: Of an array of places.
        sides: From where to where.
        width: Cells per line.
        marks: A character, and the places where it stands on the axis.
    """
    low, high = sides
    with np.errstate(all="ignore"):
        y = f(np.linspace(low, high, 2 * PLOT[0]))
    if not np.isfinite(y).all():
        return
    labels = [told(v, 4) for v in (y.max(), y.min())]
    margin = max(map(len, labels)) + 1
    across = max(16, min(PLOT[0], width - margin - 4))
    dots = braille(f(np.linspace(low, high, 2 * across)), across, PLOT[1])
    for i, row in enumerate(dots):
        label = labels[0] if i == 0 else labels[1] if i == len(dots) - 1 else ""
        text = Text(f"  {label:>{margin}} ", style="dim")
        text.append("│", style="dim")
        yield text.append(row, style="not dim cyan")
    axis = ["─"] * across
    for mark, places in marks.items():
        for i in np.clip(((places - low) / (high - low) * across).astype(int), 0, across - 1).tolist():
            axis[i] = mark if axis[i] in ("─", mark) else BOTH
    yield Text(f"  {' ' * margin} └{''.join(axis)}", style="dim")
    left, right = told(low, 4), told(high, 4)
    gap = across - len(left) - len(right)
    yield Text(f"  {' ' * (margin + 2)}{left}{' ' * max(gap, 1)}{right}", style="dim")


def _graph_note(
    line: Any, name: str, output: int, kinks: int, marks: int, outside: Sequence[float], across: int
) -> str:
    said = f"{line.net.outputs[output]} against {name}, by the formula, at {2 * across} places"
    if kinks:
        some = f"{count(kinks, 'kink')}, some too close to tell apart"
        said += "; ┴ marks " + ("a kink" if kinks == marks == 1 else "the kinks" if kinks == marks else some)
    if outside:
        at = ", ".join(told(k, 4) for k in outside[:4]) + (", ..." if len(outside) > 4 else "")
        said += f"; not drawn: {count(len(outside), 'kink')} farther out, at {name} = {at}"
    elif math.isinf(line.start) or math.isinf(line.end):
        said += "; straight on beyond the graph"
    if len(line.net.outputs) > 1:
        said += f"; not drawn: {count(len(line.net.outputs) - 1, 'other output')}"
    return said


def braille(y: np.ndarray, across: int, down: int) -> list[str]:
    """A curve, two values per cell across, as `down` rows of braille cells; joined where it is steep.

    >>> braille(np.array([0.0, 1.0, 2.0, 3.0]), 2, 1)
    ['⡠⠊']
    """
    least, greatest = float(y.min()), float(y.max())
    height = 4 * down
    scale = (height - 1) / (greatest - least) if greatest > least else 0.0
    level = np.rint((y - least) * scale).astype(int) if scale else np.full(len(y), height // 2)
    filled = np.zeros((height, 2 * across), bool)
    before = np.concatenate([level[:1], level[:-1]])
    reach = np.where(level > before, before + 1, np.where(level < before, before - 1, level))
    for i, (a, b) in enumerate(zip(np.minimum(level, reach), np.maximum(level, reach), strict=True)):
        filled[a : b + 1, i] = True
    picture = filled[::-1].reshape(down, 4, across, 2)
    bits = np.array([[0x01, 0x08], [0x02, 0x10], [0x04, 0x20], [0x40, 0x80]])
    codes = (picture * bits[None, :, None, :]).sum(axis=(1, 3))
    return ["".join(chr(0x2800 + int(c)) for c in row) for row in codes]


def flat_words(flat: Any, names: Sequence[str]) -> str:
    """The line or plane in input space, in a sentence."""
    letters = ("A", "B - A") if len(flat.directions) == 1 else ("origin", "U", "V")
    vectors = (flat.origin, *flat.directions)
    if len(flat.directions) == 1:
        words = f"x = A + {flat.names[0]} (B - A)"
        points = f"A = {place(flat.origin)}, B = {place(flat.origin + flat.directions[0])}"
        return f"along {words}, {points}, in {len(names):,} dimensions"
    axes = [i for i, name in enumerate(names) if name in flat.names]
    if len(axes) == 2 and tuple(names[i] for i in axes) in (tuple(flat.names), tuple(flat.names)[::-1]):
        held = [i for i in range(len(names)) if i not in axes]
        values = ", ".join(f"{names[i]} = {told(flat.origin[i], 4)}" for i in held[:6])
        more = f" and {len(held) - 6:,} more" if len(held) > 6 else ""
        rest = f"; the other {count(len(held), 'input is', 'inputs are')} held at {values}{more}" if held else ""
        within = f", in {len(names):,} dimensions{rest}" if held else ""
        return f"the plane of {flat.names[0]} and {flat.names[1]}{within}"
    said = ", ".join(f"{letter} = {place(v)}" for letter, v in zip(letters, vectors, strict=True))
    rest = f"; the other {len(names) - 2:,} directions are held" if len(names) > 2 else ""
    return f"the plane x = origin + s U + t V in {len(names):,} dimensions, {said}{rest}"


__all__ = ["domain", "flat_words", "graph_lines", "line_lines", "line_title", "span"]
