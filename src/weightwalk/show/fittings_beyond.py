"""Nets of the square root beside Newton's iteration, on the terminal."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
from rich.text import Text

from weightwalk.show.fittings import figure, sentence, table, title


def beyond_lines(found: Any, width: int) -> Iterator[Text]:
    """Newton's trace, both at some numbers, the nets' last lines, and what is guaranteed."""
    yield title(f"the square root: nets that have seen {found.low:g} to {found.high:g}, and Newton's iteration")
    yield Text("")
    yield from _trace(found, width)
    yield Text("")
    yield from _places(found, width)
    yield Text("")
    yield from _tails(found, width)
    if found.rates:
        yield Text("")
        yield from _rates(found, width)
    yield Text("")
    yield from sentence(
        f"Nets: the gallery's sqrt, 1-8-1, {found.recipe}, seeds {found.seeds[0]} to {found.seeds[-1]}. An answer of a "
        f"net takes {found.operations} multiplications, additions and maxima; a step of Newton's takes 3 operations.",
        width, "dim"
    )  # fmt: skip


def _trace(found: Any, width: int) -> Iterator[Text]:
    x = f"{found.traced:g}"
    yield Text(f"  Newton's iteration for the root of {x}: g <- (g + {x} / g) / 2", style="italic")
    rows = []
    for g in found.trace:
        shown = min(34, max(3, math.ceil(g.digits) + 2)) if math.isfinite(g.digits) else 34
        kept = {True: "yes", False: "NO", None: ""}[g.kept]
        rows.append((g.step, f"{g.value:.{shown}g}", digits(g.digits), f"{g.error:.1e}", f"{g.in_float64:.1e}", kept))
    yield from table(("step", "guess", "correct digits", "error", "in float64", "as guaranteed"), rows, width)
    checked = [g for g in found.trace if g.kept is not None]
    kept = all(g.kept for g in checked)
    text = (
        "The guarantee: the next error is exactly e² / (2 g), so that every guess after the first lies above the root "
        "and is nearer than the one before, and near the root the correct digits double. "
    )
    text += f"Held in fractions, nothing rounded: {'yes' if kept else 'NO'}, for the first {len(checked)} steps."
    yield from sentence(text, width, "green" if kept else "bold red")


def digits(value: float) -> str:
    """Correct digits as a cell; a guess that is wrong in the first has none.

    >>> digits(5.82), digits(float("inf")), digits(-0.3)
    ('5.8', 'all of 100', '0')
    """
    return "all of 100" if math.isinf(value) else f"{max(value, 0.0):.1f}" if value > 0 else "0"


def _places(found: Any, width: int) -> Iterator[Text]:
    yield Text(f"  the nets' answers, {len(found.seeds)} seeds, and Newton's from 1", style="italic")
    rows = []
    for p in found.places:
        rows.append(
            (
                f"{p.x:g}",
                p.where,
                f"{p.root:.7g}",
                figure(float(np.median(p.said))),
                f"{figure(float(p.said.min()))} to {figure(float(p.said.max()))}",
                f"{100 * float(np.median(np.abs(p.said / p.root - 1))):.3g} %",
                f"{p.newton - p.root:.1e}" if p.newton != p.root else "0",
                3 * p.steps,
            )
        )
    heads = ("x", "examples", "root", "nets: median", "of seeds", "off by", "Newton - root", "operations")
    yield from table(heads, rows, width)
    between, at = float(np.median(found.between)), float(np.median(found.at_examples))
    text = (
        f"Inside, between the examples, the error is {figure(between, 3)}, at them {figure(at, 3)} (root mean square, "
        "medians)"
    )
    if between <= at:
        yield from sentence(text + ": the nets are no table of their examples.", width, "green")
    else:
        yield from sentence(text + ".", width)


def _tails(found: Any, width: int) -> Iterator[Text]:
    yield Text("  beyond its last kink a net is one straight line, read off its exact formula", style="italic")
    rows = [
        (t.seed, f"{t.kink:.4g}", f"y = {t.slope:.6g} x {'-' if t.intercept < 0 else '+'} {abs(t.intercept):.6g}",
         "yes" if t.certified else "NO")
        for t in found.tails[:10]
    ]  # fmt: skip
    yield from table(("seed", "last kink", "from there on", "certified"), rows, width)
    if len(found.tails) > 10:
        yield from sentence(f"not shown: {len(found.tails) - 10:,} seeds more", width, "dim")
    slopes = [t.slope for t in found.tails]
    yield from sentence(
        f"Slopes from {min(slopes):.3g} to {max(slopes):.3g}: so fast their answers grow, while the root grows slower "
        "and slower. No net of ReLUs can follow it: straight, it must leave any curve that is not.", width
    )  # fmt: skip


def _rates(found: Any, width: int) -> Iterator[Text]:
    yield Text(f"  does every step get closer? plain gradient descent, {found.steps} steps, {len(found.seeds)} seeds",
               style="italic")  # fmt: skip
    rows = []
    for r in found.rates:
        ends = r.curve[:, -1]
        ends = ends[np.isfinite(ends)]
        last = figure(float(np.median(ends)), 3) if len(ends) else "—"
        rows.append((f"{r.lr:g}", f"{r.rises:,} of {r.taken:,}", r.diverged, r.stalled, last))
    yield from table(("rate", "steps that made the loss greater", "diverged", "all units dead", "loss at the end"),
                     rows, width)  # fmt: skip
    worst = max((r for r in found.rates if r.worst), key=lambda r: r.worst[3] - r.worst[2], default=None)
    if worst is None:
        yield from sentence("No step made the loss greater: that was not found here, and is not ruled out.", width)
        return
    seed, step, before, after = worst.worst
    yield from sentence(
        f"No. The greatest rise: rate {worst.lr:g}, seed {seed}, step {step + 1}: from {figure(before)} to "
        f"{figure(after)}. Following the gradient promises a smaller loss for a step that is small enough, "
        "and no step size here is known to be. Newton's iteration for the root has the guarantee above.", width, "green"
    )  # fmt: skip
