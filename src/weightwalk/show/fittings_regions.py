"""Nets that say which of three points is nearest, on the terminal."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import numpy as np
from rich.text import Text

from weightwalk.show.fittings import percent, sentence, table, title

ANSWERED = (1.0, 0.95, 0.9, 0.8, 0.5)


def regions_lines(found: Any, width: int) -> Iterator[Text]:
    """Accuracy by width, errors by distance from the border, and abstaining."""
    n = len(found.seeds)
    examples, seeds = f"{found.rows:,} example{'s' * (found.rows != 1)}", f"{n} seed{'s' * (n != 1)}"
    yield title(f"which of three points is nearest: {examples}, {seeds} of each width")
    yield Text("")
    yield from _widths(found, width)
    yield Text("")
    yield Text(f"  where nets of {_words(found.judged)} are wrong", style="italic")
    rows = [
        (
            f"{b.low:g} to {b.high:g}" if math.isfinite(b.high) else f"{b.low:g} or more", percent(b.share),
            percent(b.error), _ends(b.interval), percent(b.wrong), f"{b.confidence:.3f}",
        )
        for b in found.belts
    ]  # fmt: skip
    heads = ("from the border", "of the square", "wrong", "95 % interval", "of all errors", "mean probability")
    yield from table(heads, rows, width)
    near = [b for b in found.belts if b.high <= 0.02]
    if near and sum(b.wrong for b in near) > 2 * sum(b.share for b in near):
        text = (
            f"{percent(sum(b.wrong for b in near))} of the errors lie within {near[-1].high:g} of a border, on "
            f"{percent(sum(b.share for b in near))} of the square: there the nets cannot make up their mind."
        )
        yield from sentence(text, width, "green")
    yield Text("")
    yield from _abstaining(found, width)
    yield Text("")
    yield from sentence(
        "Right and wrong are exact, by the three distances, at the centres of 200 x 200 equal cells of the unit "
        f"square. Nets: one hidden layer of ReLUs, {found.recipe}; all seeds of all widths learn from the same "
        f"{found.rows:,} points, so that other points are not in these intervals. Probability: the greatest "
        "of the softmax.",
        width, "dim"
    )  # fmt: skip


def _ends(interval: tuple[float, float]) -> str:
    """``98.3 to 98.5``, in percent."""
    if interval == (0.0, 0.0):
        return "none seen"
    return "—" if math.isnan(interval[0]) else f"{100 * interval[0]:.1f} to {100 * interval[1]:.1f}"


def _units(w: Any) -> str:
    return _words(w.width)


def _words(width: int) -> str:
    return f"{width} unit{'s' * (width != 1)}"


def _widths(found: Any, width: int) -> Iterator[Text]:
    rows = []
    for w in found.widths:
        gain = w.better_than_before
        step = "" if gain is None else "—" if math.isnan(gain[0]) else f"{100 * gain[0]:+.2f} to {100 * gain[1]:+.2f}"
        rows.append((w.width, w.parameters, percent(w.mean), _ends(w.interval), percent(float(w.accuracy.min())),
                     percent(float(w.accuracy.max())), step))  # fmt: skip
    heads = ("units", "numbers", "right: mean", "95 % interval", "worst seed", "best seed", "gain on the width before")
    yield from table(heads, rows, width)
    if len(rows) < 2:
        return
    means = [w.mean for w in found.widths]
    rising = all(b >= a for a, b in pairwise(means))
    text = f"Larger nets do better: the means {'rise' if rising else 'do not rise'} with every width. "
    text += {
        "yes": "Each step is a gain, by its 95 % interval (seed by seed).",
        "not refuted": "Of some steps the 95 % interval (seed by seed) includes 0, so that they may be none.",
        "no": "At least one step is a loss, by its 95 % interval (seed by seed).",
    }[found.monotone]
    pairs = [
        (a, b) for i, a in enumerate(found.widths) for b in found.widths[i + 1 :] if a.accuracy.max() > b.accuracy.min()
    ]
    if pairs:
        a, b = max(pairs, key=lambda p: p[0].accuracy.max() - p[1].accuracy.min())
        text += (
            f" Of single nets it is not true: one with {_units(a)} is right on {percent(float(a.accuracy.max()))}, "
            f"one with {_units(b)} on {percent(float(b.accuracy.min()))}."
        )
    yield from sentence(text, width, "green" if found.monotone == "yes" else "yellow")


def _abstaining(found: Any, width: int) -> Iterator[Text]:
    yield Text(
        f"  what is left to answer when nets of {_words(found.judged)} abstain where they are unsure", style="italic"
    )
    rows = []
    for share in ANSWERED:
        i = int(np.argmin(np.abs(found.coverage - share)))
        accuracy = found.covered[:, i]
        rows.append(
            (percent(float(found.coverage[i])), percent(float(accuracy.mean())), percent(float(accuracy.min())))
        )
    yield from table(("answered", "right of these: mean", "worst seed"), rows, width)
    if math.isnan(found.threshold):
        yield from sentence("No threshold makes them right on 99.9 % of what they answer.", width, "yellow")
    else:
        yield from sentence(
            f"To be right on 99.9 % of what they answer, they abstain below a probability of {found.threshold:.3f} and "
            f"answer {percent(found.answered)}. That threshold was found on the same grid, and holds for this square "
            "and these nets.", width, "green"
        )  # fmt: skip
    worst = max(found.bins, key=lambda b: abs(b[0] - b[1]) * (b[2] > 0.001))
    side = "more often right than it says" if worst[1] > worst[0] else "less often right than it says"
    yield from sentence(
        f"Calibration: probability and share right differ by {100 * found.calibration_error:.2g} points on average; "
        f"most where the nets say {worst[0]:.2f}, {side} ({worst[1]:.2f}), on {percent(float(worst[2]))} of "
        "the square.", width
    )  # fmt: skip
