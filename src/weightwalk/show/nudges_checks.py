"""Gradients against central differences, gradients accounted for, and other optimizers on the same gradients."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from rich.text import Text

from weightwalk.readings.narrate_decimals import decimal
from weightwalk.show.accounts import account_lines
from weightwalk.show.layout import columns, wrapped


def _d(value: float | None, digits: int = 6) -> Any:
    return None if value is None else decimal(value, digits)


def check_lines(check: Any, width: int) -> Iterator[Text]:
    """What the central differences say."""
    yield Text("")
    which = f"all {check.weights:,}" if check.checked == check.weights else f"{check.checked:,} of {check.weights:,}"
    text = f"checked: {which} gradients against central differences (loss(w+h) - loss(w-h)) / 2h"
    yield from wrapped(text, width, "  ", "bold")
    rows: list[Sequence[object]] = [
        (d.address, _d(d.exact), _d(d.central), _d(d.relative, 2), _d(d.step, 2), d.verdict) for d in check.worst[:5]
    ]
    yield from columns(("least well agreeing", "∂loss/∂w", "difference", "relative", "h", ""), rows, width)
    for d in check.worst:
        if d.left is not None:
            yield from wrapped(
                f"{d.address} stands at a kink: the slope is {d.left:.6g} to the left and {d.right:.6g} to the right, "
                f"and backpropagation {'takes ' if d.verdict == 'kink' else 'says '}{d.exact:.6g}.",
                width, "  ", "yellow",
            )  # fmt: skip
    kinks = f", {check.kinks} at a kink (two one-sided slopes, both right)" if check.kinks else ""
    text = f"{check.agree:,} agree{kinks}, {check.wrong or 'none'} wrong; in {check.precision}."
    yield from wrapped(text, width, "  ", "bold red" if check.wrong else "green")
    if check.checked < check.weights:
        yield from wrapped(
            "The weights told of above and a seeded sample of the others; not all were tried.", width, "  ", "dim"
        )
    text = f"The recorded gradients are within {check.rounding:.2g} of those in {check.precision}, as a share of their "
    text += "tensor's largest."
    yield from wrapped(text, width, "  ", "dim")


def account_section(account: Any, width: int) -> Iterator[Text]:
    """The paths that make up one gradient."""
    yield Text("")
    if account.cut == "∂loss/∂output":
        said = "each row is ∂loss/∂output times ∂output/∂w: all paths from one output of one example to this weight"
        yield from wrapped(said, width, "  ", "dim")
    yield from account_lines(account, width)


def rival_lines(nudge: Any, width: int, most: int = 6) -> Iterator[Text]:
    """One gradient, many optimizers."""
    yield Text("")
    yield Text("  same gradients, other optimizers: how far each would move a weight", style="bold")
    names = [r.optimizer for r in nudge.rivals]
    rows: list[Sequence[object]] = [
        (b.label, _d(b.gradient, 4), *(_d(r.nudges[i], 4) for r in nudge.rivals))
        for i, b in enumerate(nudge.blames[:most])
    ]
    yield from columns(("weight", "∂loss/∂w", *names), rows, width)
    yield Text("")
    steps = [(r.optimizer, _d(r.norm, 4), _d(r.cosine, 4), _d(r.first, 4), _d(r.changed, 4), _d(r.after, 6))
             for r in nudge.rivals]  # fmt: skip
    heads = ("optimizer", "length of step", "cosine to -gradient", "promised", "loss changed", "loss after")
    yield from columns(heads, steps, width)
    which = "this gradient" if nudge.step == 1 else f"the {nudge.step:,} gradients of this training"
    text = f"Each was shown {which} and took its step from the same weights, lr = {nudge.lr:g}. A longer step is no "
    text += "better optimizer: rates are not comparable between them."
    yield from wrapped(text, width, "  ", "dim")
