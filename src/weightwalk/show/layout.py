"""Laying out numbers and tables as lines of styled text: aligned at the decimal point, never cut inside a number."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from decimal import Decimal

from rich.cells import cell_len
from rich.text import Text

Number = Decimal | float | int


def number(value: Number, *, signed: bool = False, smallest: int = -8) -> str:
    """A number as text: plain where it is of ordinary size, else with an exponent; NaN and inf by name.

    >>> number(Decimal("0.00000000")), number(Decimal("2"), signed=True), number(Decimal("1.5E-30"))
    ('0', '+2', '1.5e-30')
    >>> number(float("nan")), number(float("-inf"))
    ('NaN', '-inf')
    """
    d = value if isinstance(value, Decimal) else Decimal(repr(value))
    if d.is_nan():
        return "NaN"
    if d.is_infinite():
        return "-inf" if d < 0 else ("+inf" if signed else "inf")
    sign = "+" if signed else "-"
    if d == 0:
        return "0"
    return format(d, sign + "f") if smallest <= d.adjusted() < 15 else format(d, sign + "e").replace("e+", "e")


def short(value: float, digits: int = 3) -> str:
    """A measured figure to a few digits: ``0.0213``, ``1.2e-08``."""
    return f"{value:.{digits}g}"


def aligned(texts: Sequence[str]) -> list[str]:
    """Numbers as texts, padded so that their decimal points stand under each other; other texts flush right."""
    parts = [_split(t) for t in texts]
    left, right = max((cell_len(a) for a, _ in parts), default=0), max((len(b) for _, b in parts), default=0)
    return [" " * (left - cell_len(a)) + a + b + " " * (right - len(b)) for a, b in parts]


def _split(text: str) -> tuple[str, str]:
    head, point, tail = text.partition(".")
    return (head, point + tail) if point and head.lstrip("+-").isdigit() else (text, "")


def shown(text: str) -> str:
    """A text with its control characters made visible, so that a token's newline cannot break a table."""
    return "".join(c if c.isprintable() or c == " " else c.encode("unicode_escape").decode() for c in text)


def pad(text: str, width: int) -> str:
    """`text` filled with spaces to so many terminal cells."""
    return text + " " * (width - cell_len(text))


def columns(
    heads: Sequence[str], rows: Sequence[Sequence[object]], width: int, indent: str = "  ", total: str = ""
) -> Iterator[Text]:
    """A table as lines: a dim heading, numbers aligned at the point, texts wrapped where the width asks for it.

    Args:
        heads: Column headings.
        rows: Numbers, texts or None.
        width: Cells per line.
        indent: In front of every line.
        total: The first cell of rows that are printed bold, with a rule above.
    """
    count = len(heads)
    cells = [[_cell(row[i]) for i in range(count)] for row in rows]
    is_number = [
        any(_numeric(r[i]) for r in rows) and all(_numeric(r[i]) or r[i] is None for r in rows) for i in range(count)
    ]
    for i in range(count):
        if any(_numeric(r[i]) for r in rows):
            for row, text in zip(cells, aligned([row[i] for row in cells]), strict=True):
                row[i] = text
    titles = [shown(h) for h in heads]
    widths = [max([cell_len(titles[i]), *(cell_len(row[i]) for row in cells)]) for i in range(count)]
    widths = _fit(widths, [not n for n in is_number], width - cell_len(indent) - 2 * (count - 1))
    if any(titles):
        yield from _line(titles, widths, is_number, indent, ["dim"] * count)
    for row, facts in zip(cells, rows, strict=True):
        bold = bool(total) and facts[0] == total
        if bold:
            rule = "  ".join(("─" if n else " ") * w for w, n in zip(widths, is_number, strict=True))
            yield Text((indent + rule).rstrip(), style="dim")
        yield from _line(row, widths, is_number, indent, [_style(f, i, bold) for i, f in enumerate(facts)])


def _numeric(value: object) -> bool:
    return isinstance(value, (Decimal, float, int)) and not isinstance(value, bool)


def _cell(value: object) -> str:
    if value is None:
        return ""
    return (
        number(value) if isinstance(value, (Decimal, float, int)) and not isinstance(value, bool) else shown(str(value))
    )


def _style(value: object, column: int, bold: bool) -> str:
    if bold:
        return "bold"
    if (isinstance(value, str) and value.startswith("off")) or value == "masked":
        return "dim"
    if value in ("largest", "on"):
        return "green"
    return "cyan" if column == 0 else ""


def _fit(widths: list[int], text: list[bool], room: int) -> list[int]:
    """Narrow the widest text columns until the line fits; numbers keep their width."""
    widths = list(widths)
    while sum(widths) > room:
        wide = [i for i, w in enumerate(widths) if text[i] and w > 14]
        if not wide:
            break
        widest = max(wide, key=lambda i: widths[i])
        next_widest = max((widths[i] for i in wide if i != widest), default=14)
        widths[widest] = max(14, widths[widest] - (sum(widths) - room), next_widest - 1)
    return widths


def _line(
    texts: Sequence[str], widths: Sequence[int], numeric: Sequence[bool], indent: str, styles: Sequence[str]
) -> Iterator[Text]:
    """One row, on as many lines as its wrapped cells need."""
    wrapped = [
        textwrap.wrap(t, w, break_on_hyphens=False) or [""] if cell_len(t) > w and not n else [t]
        for t, w, n in zip(texts, widths, numeric, strict=True)
    ]
    for k in range(max(len(w) for w in wrapped)):
        line = Text(indent)
        for i, (w, parts, n, style) in enumerate(zip(widths, wrapped, numeric, styles, strict=True)):
            part = parts[k] if k < len(parts) else ""
            gap = " " * (w - cell_len(part))
            line.append(("  " if i else "") + (gap + part if n else part), style=style or None)
            if not n:
                line.append(gap)
        line.rstrip()
        yield line


def wrapped(text: str, width: int, indent: str = "  ", style: str = "") -> Iterator[Text]:
    """A sentence on lines of the given width."""
    for line in textwrap.wrap(shown(text), max(width - cell_len(indent), 20), break_on_hyphens=False) or [""]:
        yield Text(indent + line, style=style)
