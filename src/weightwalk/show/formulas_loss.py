"""The loss along weights on the terminal: where the net stands, where the loss is least, and the pieces between."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
from rich.text import Text

from weightwalk.show.formula_layout import (
    certificate_lines,
    count,
    digits_of,
    fitted,
    is_exact,
    refusal_lines,
    told,
)
from weightwalk.show.formulas_line import BOTH, curve_lines
from weightwalk.show.layout import columns, wrapped


def loss_table(loss: Any, width: int, top: int | None, every: bool = False) -> Iterator[Text]:
    """A `LossLine`."""
    yield from refusal_lines(loss.certificate, width)
    yield from _along(loss, width, top)
    yield Text("")
    yield from certificate_lines(loss.certificate, width, every)


def loss_title(loss: Any) -> str:
    """``loss along fc2.weight[0, 1]: 57 kinks, 58 quadratic pieces``."""
    word = "" if is_exact(loss.certificate) else "approximate "
    return (
        f"{word}loss along {loss.name}: {count(len(loss.steps), 'kink')}, {count(loss.pieces, 'quadratic piece')}, "
        f"{_span_words(loss)}"
    )


def _span_words(loss: Any) -> str:
    if math.isinf(loss.start) and math.isinf(loss.end):
        return "for every value of the weight"
    return f"from {told(loss.start, 6)} to {told(loss.end, 6)}"


def _along(loss: Any, width: int, top: int | None) -> Iterator[Text]:
    yield from wrapped(loss_title(loss), width, "", "bold")
    yield from wrapped(
        f"mean squared error over {count(loss.samples, 'sample')}; all other weights as they are", width, "  ", "dim"
    )
    yield Text("")
    yield from _graph(loss, width)
    yield Text("")
    yield from _places(loss, width, top)
    yield Text("")
    yield from piece_rows(loss, width, top)


def _places(loss: Any, width: int, top: int | None) -> Iterator[Text]:
    """Where the weight is, and where the loss has its minima."""
    least = loss.minimum
    rows: list[tuple[object, ...]] = [("as it is", digits_of(loss.at), digits_of(loss.loss), "")]
    others = [m for m in loss.minima if m is not least]
    rows.append(("least", digits_of(least.at), digits_of(least.loss), _floor(least)))
    most = len(others) if top is None else top
    rows += [("local minimum", digits_of(m.at), digits_of(m.loss), _floor(m)) for m in others[:most]]
    yield from columns(("", loss.name, "loss", ""), rows, width)
    if len(others) > most:
        yield from wrapped(
            f"not shown: {count(len(others) - most, 'local minimum', 'local minima')} more", width, "  ", "dim"
        )
    left, right = loss.derivative
    text = f"derivative of the loss at the weight as it is: {told(left, 9)}"
    if left != right:
        text = f"derivative at the weight as it is: {told(left, 9)} from the left, {told(right, 9)} from the right"
    yield from wrapped(text, width, "  ")


def _floor(minimum: Any) -> str:
    if minimum.low == minimum.high:
        return ""
    return f"flat from {told(minimum.low, 6)} to {told(minimum.high, 6)}"


def piece_rows(loss: Any, width: int, top: int | None) -> Iterator[Text]:
    """The pieces nearest to the weight as it is."""
    begins, ends = loss.ends()
    here = int(np.searchsorted(loss.steps, 0.0))
    most = loss.pieces if top is None else min(top, loss.pieces)
    first = min(max(0, here - most // 2), loss.pieces - most)
    some = range(first, first + most)

    def rows(digits: int) -> list[tuple[object, ...]]:
        return [
            (*(digits_of(loss.at + float(v[i]), digits) for v in (begins, ends)),
             *(digits_of(v, digits) for v in loss.coefficients[i]), digits_of(loss.at + float(loss.centres[i]), digits),
             "here" if i == here else "")
            for i in some
        ]  # fmt: skip

    text = "loss = a d² + b d + c on each piece, with d = weight - centre"
    yield from wrapped(text, width, "  ", "italic")
    yield from fitted(("from", "to", "a", "b", "c", "centre", ""), rows, width)
    if loss.pieces > most:
        text = f"not shown: {first:,} pieces below and {loss.pieces - first - most:,} above"
        yield from wrapped(text, width, "  ", "dim")


def loss_span(loss: Any) -> tuple[float, float]:
    """What is drawn: the span, or around the weight, its minimum and the kinks nearest to them."""
    at, least = loss.at, loss.minimum.at
    known = [v for v in (at, least, loss.start, loss.end) if math.isfinite(v)]
    near = loss.kinks[np.argsort(np.abs(loss.steps), kind="stable")[:8]]
    if math.isinf(loss.start) or math.isinf(loss.end):
        known += near.tolist()
    low, high = min(known), max(known)
    margin = (high - low) / 5 or max(abs(at), 1.0)
    return (
        loss.start if math.isfinite(loss.start) else low - margin,
        loss.end if math.isfinite(loss.end) else high + margin,
    )


def _graph(loss: Any, width: int) -> Iterator[Text]:
    low, high = loss_span(loss)
    yield from curve_lines(loss, (low, high), width, {"▲": np.array([loss.at]), "▽": np.array([loss.minimum.at])})
    inside = int(((loss.kinks >= low) & (loss.kinks <= high)).sum())
    text = f"the loss by the formula, from {told(low, 4)} to {told(high, 4)}; ▲ the weight as it is, ▽ where the loss "
    text += f"is least, {BOTH} both; {count(inside, 'kink')} within, not marked"
    if len(loss.steps) > inside:
        text += f"; not drawn: {count(len(loss.steps) - inside, 'kink')} outside"
    yield from wrapped(text, width, "  ", "dim")


__all__ = ["loss_span", "loss_table", "loss_title"]
