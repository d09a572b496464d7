"""What the tour prints between its stories: headings, and how a training went."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from rich.text import Text

from weightwalk.show.formula_layout import told
from weightwalk.show.layout import columns, short, wrapped


def heading(number: int, title: str, width: int) -> Iterator[Text]:
    """The title of a part, with a rule."""
    yield Text("")
    yield Text("━" * width, style="blue")
    yield Text(f"{number}  {title}", style="bold")
    yield Text("")


def training_lines(net: Any, width: int) -> Iterator[Text]:
    """What was trained or built, how, and what came of every seed that was tried."""
    made = net.provenance
    if net.history is None:
        yield from wrapped(f"built: {net.description}; {made.get('recipe', '')}, seed {made.get('seed', 0)}", width, "")
        return
    recipe, history = made["recipe"], net.history
    verb = "remembered" if net.remembered else "trained just now"
    text = (
        f"{verb}: {history.epochs:,} epochs of {recipe['optimizer']} at learning rate {recipe['lr']}, "
        f"seed {history.seed}; loss {short(history.losses[0])} → {short(history.final)}"
    )
    yield from wrapped(text, width, "")
    tried = made.get("tried", [])
    if len(tried) > 1:
        yield from wrapped(_tried(tried, history.seed), width, "", "dim")


def _tried(tried: list[dict[str, Any]], chosen: int) -> str:
    if "rmse" in tried[0]:
        errors = sorted(t["rmse"] for t in tried)
        return (
            f"{len(tried)} seeds were trained and the best on points it never saw was kept (seed {chosen}); "
            f"their errors there run from {short(errors[0])} to {short(errors[-1])}"
        )
    solved = sum(bool(t.get("solved")) for t in tried)
    stuck = len(tried) - solved
    return (
        f"{len(tried)} seeds were trained: {solved} learned all pairs, {stuck} got stuck; "
        f"the first that learned them was kept (seed {chosen})"
    )


NEWTON = (2, 4, 6)
"""Newton's steps whose errors are shown."""


def root_lines(found: Any, width: int) -> Iterator[Text]:
    """The square root three ways: the net's formula, the root, Newton's iteration."""
    low, high = (told(v) for v in found.trained)
    rows = [
        (
            told(row.x),
            "" if row.seen else "never seen",
            _fixed(row.root),
            _fixed(row.net),
            f"{row.error:+.1e}",
            *(f"{row.errors[min(n, len(row.errors) - 1)]:+.1e}" for n in NEWTON),
            f"{row.steps} steps",
        )
        for row in found.rows
    ]
    yield from columns(("x", "", "√x", "net", "off by", *(f"Newton {n}" for n in NEWTON), "right after"), rows, width)
    text = f"Between {low} and {high}, where it was trained, the net is never off by more than "
    text += f"{short(abs(found.worst))}, at x = {short(found.worst_at, 4)}. Beyond, its last pieces go straight on. "
    text += "Newton's iteration, r ← (r + x / r) / 2 from r = 1, needs no examples: beside the net, how far it is off "
    text += (
        f"after {NEWTON[0]}, {NEWTON[1]} and {NEWTON[2]} steps, and when it is right to the last digits of a float64."
    )
    yield from wrapped(text, width, "  ", "dim")


def _fixed(value: float) -> str:
    return f"{value:.6f}"
