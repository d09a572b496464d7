"""Two walks held side by side, on the terminal."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from rich.text import Text

from weightwalk.show.layout import columns, short, shown, wrapped

HEADS = ("value", "shape", "greatest difference", "relative", "changed")


def comparison_lines(found: Any, width: int, top: int = 12) -> Iterator[Text]:
    """Where they part, why, and what it does to the output."""
    if found.same:
        yield Text(f"the same: all {found.compared:,} values are equal, bit for bit", style="bold green")
        return
    yield Text(f"{found.compared - found.equal:,} of {found.compared:,} values differ", style="bold")
    if found.causes:
        yield Text("")
        yield from _table("what came from outside and differs", found.causes, width, top)
    if found.first is not None:
        yield Text("")
        yield from wrapped(f"they first part at {found.first.address}", width, "  ", "bold yellow")
    inner = [d for d in found.differences if d.step is not None]
    if inner:
        yield from _table("in the order of the walk", inner, width, top)
    if found.outputs:
        yield Text("")
        yield from _table("the outputs", found.outputs, width, top)
    for word, names in (("first", found.only_a), ("second", found.only_b)):
        if names:
            listed = ", ".join(shown(n) for n in names[:5]) + (" ..." if len(names) > 5 else "")
            yield from wrapped(f"only in the {word} walk: {len(names):,} values ({listed})", width, "  ", "yellow")
    if found.unread:
        yield from wrapped(
            f"{len(found.unread):,} values could not be compared: their numbers were not kept", width, "  ", "dim"
        )


def _table(caption: str, differences: Any, width: int, top: int) -> Iterator[Text]:
    yield from wrapped(caption, width, "  ", "italic")
    rows = [
        (
            d.address,
            "×".join(map(str, d.shape)) or "1",
            short(d.greatest),
            short(d.relative),
            f"{100 * d.changed:.3g} %" + (f" ({d.note})" if d.note else ""),
        )
        for d in differences[:top]
    ]
    yield from columns(HEADS, rows, width)
    if len(differences) > top:
        yield from wrapped(f"not shown: {len(differences) - top:,} more", width, "  ", "dim")
