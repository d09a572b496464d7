"""An account on the terminal: contributions that add up, what was frozen, and the proof that it closes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from rich.text import Text

from weightwalk.readings.narrate_account import account_sum
from weightwalk.show.layout import aligned, number, pad, short, shown, wrapped

BAR = 16


def account_lines(account: Any, width: int, top: int | None = 12) -> Iterator[Text]:
    """The whole account: heading, rows, remainder, total, notes."""
    told = account_sum(account, top)
    rows = account.rows if top is None else account.top(top)
    yield Text(f"account of {shown(account.address)}, cut at {account.cut}", style="bold")
    total = number(told.total, smallest=-15)
    values = aligned([*(number(t.value, signed=True, smallest=-15) for t in told.terms), total])
    wide = len(values[-1])
    # nothing has no sign: 0 over a negative total is -0.0, and -0.0 + 0.0 is 0.0
    shares = [f"{100 * r.share + 0.0:+.2f} %" if r.share is not None else "" for r in rows]
    for i, term in enumerate(told.terms):
        line = Text("    ")
        minus = values[i].lstrip().startswith("-")
        line.append(values[i], style="red" if minus else "")
        if i < len(rows):
            line.append(f"  {shares[i]:>10}  ", style="dim")
            line.append(pad(_bar(rows[i].weight), BAR), style="red" if minus else "blue")
            line.append(f"  {shown(term.label)}", style=STYLES.get(term.kind, "cyan"))
        else:
            line.append(" " * (16 + BAR) + "remainder of rounding", style="dim")
        yield line
    yield Text("    " + "─" * wide, style="dim")
    end = Text("  = ")
    end.append(values[-1], style="bold")
    end.append(" " * (16 + BAR) + shown(account.address), style="bold cyan")
    yield end
    yield from closing_lines(account, width)


STYLES = {"rest": "italic", "constant": "dim", "rule": "yellow", "opaque": "yellow"}


def closing_lines(account: Any, width: int) -> Iterator[Text]:
    """How well it closes, what was held fixed, and what could not be seen through."""
    rows = f"{len(account.rows):,} contribution{'s' * (len(account.rows) != 1)}"
    text = f"closes: {rows} + remainder {short(account.remainder)} = the stored number"
    text += f"; relative residual {short(account.relative_residual)}"
    yield from wrapped(text, width, "  ", "green")
    worst = account.worst
    if worst is not None:
        steps = len(account.residuals)
        text = f"conserved at each of {steps:,} steps; " if steps > 1 else "conserved at its one step; "
        text += f"worst at {worst.address}, {short(worst.relative)} of what flowed"
        yield from wrapped(text, width, "  ", "dim")
    for frozen in account.frozen:
        yield from wrapped(
            f"held fixed: {frozen.text} ({frozen.count} step{'s' * (frozen.count != 1)})", width, "  ", "dim"
        )
    if account.opaque:
        listed = ", ".join(r.label for r in account.opaque[:4])
        yield from wrapped(f"not seen through: {listed}", width, "  ", "yellow")
    if account.unchecked:
        yield from wrapped(
            f"{account.unchecked:,} steps could not be checked: their numbers were not kept", width, "  ", "yellow"
        )
    for note in account.notes:
        yield from wrapped(note, width, "  ", "dim")


def _bar(weight: float) -> str:
    return "▇" * round(BAR * weight) if 0 <= weight <= 1 else ""
