"""What the tour prints between its stories: headings, and how a training went."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from rich.text import Text

from weightwalk.show.layout import short, wrapped


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
        yield from wrapped(_tried(tried, recipe, history.seed), width, "", "dim")


def _tried(tried: list[dict[str, Any]], recipe: dict[str, Any], chosen: int) -> str:
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
