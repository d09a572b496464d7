"""The optimizer's arithmetic for one weight, as a bookkeeper writes it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from rich.text import Text

from weightwalk.readings.narrate_decimals import decimal
from weightwalk.readings.narrate_facts import Sum
from weightwalk.show.layout import number, shown
from weightwalk.show.stories import sum_lines


def sheet_lines(sheet: Any, label: str, width: int) -> Iterator[Text]:
    """Sums, and the quotients between them."""
    yield Text(f"  {shown(label)}, line by line", style="bold")
    before: object = None
    for line in sheet.lines:
        if isinstance(line, Sum):
            if before is not None:
                yield Text("")
            yield from sum_lines(line, width, "  ")
        else:
            if isinstance(before, Sum):
                yield Text("")
            yield _quotient(line)
        before = line


def _quotient(line: Any) -> Text:
    text = Text("    ")
    text.append(line.name, style="bold cyan")
    text.append(f" = {line.formula} = {line.numbers} = ")
    text.append(number(decimal(line.value)), style="bold")
    return text
