"""The line between two nets, and numbers that slide down a bowl, on the terminal."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from rich.text import Text

from weightwalk.show.formula_layout import count, digits_of, told
from weightwalk.show.formulas_line import curve_lines
from weightwalk.show.landscapes import ROWS, paths_table, shaded, thinned
from weightwalk.show.landscapes_words import eigenvalue_words, scale_words
from weightwalk.show.layout import columns, wrapped


def between_lines(found: Any, width: int, top: int = ROWS) -> Iterator[Text]:
    """The losses from one net to the other, the barrier, and what a straight line does not say."""
    a, b = found.labels
    yield from wrapped(f"{found.loss} on the straight line from {a} (t = 0) to {b} (t = 1)", width, "", "bold")
    yield Text("")
    if found.not_finite:
        text = (
            f"no graph: {count(found.not_finite, 'place')} of the line {'has' if found.not_finite == 1 else 'have'} no "
        )
        yield from wrapped(text + "finite loss", width, "  ", "yellow")
    else:
        marks = {"┴": np.array([0.0, 1.0])}
        t, y = found.ts, found.losses
        yield from curve_lines(lambda x: np.interp(x, t, y), (float(t[0]), float(t[-1])), width, marks)
        text = f"{found.loss} against t, at {count(len(t), 'place')}, joined; ┴ marks the two nets"
        yield from wrapped(text, width, "  ", "dim")
    yield Text("")
    held = found.held_losses is not None
    picked = thinned(len(found.ts), int(np.abs(found.ts).argmin()), top + 1)
    rows = [
        (digits_of(found.ts[i], 4), digits_of(found.losses[i], 6),
         *([digits_of(found.held_losses[i], 6)] if held else []), _name(found, i))
        for i in sorted({*picked.tolist(), *np.flatnonzero((found.ts == 0) | (found.ts == 1)).tolist()})
    ]  # fmt: skip
    yield from columns(("t", "loss", *(["held-out loss"] if held else []), ""), rows, width)
    yield Text("")
    for sentence in line_sentences(found):
        yield from wrapped(sentence, width, "  ")


def _name(found: Any, i: int) -> str:
    return {0.0: found.labels[0], 1.0: found.labels[1]}.get(float(found.ts[i]), "")


def line_sentences(found: Any) -> list[str]:
    """Barrier, course, distance; and what the line leaves out."""
    if found.barrier > 0:
        text = f"Barrier: {told(found.barrier, 4)} above the straight interpolation of the ends, at t = "
        text += f"{told(found.barrier_at, 3)}."
    else:
        text = "No barrier: nowhere between them does the loss exceed the straight interpolation of the ends."
    course = {"falls": "falls all the way", "rises": "rises all the way", "level": "stays the same"}.get(
        found.course, f"goes up in {found.rises:,} of {found.steps:,} steps and down or level in the others"
    )
    return [
        text,
        f"From {found.labels[0]} to {found.labels[1]} the loss {course}. Both ends are the nets themselves: "
        f"{told(found.ends[0], 6)} and {told(found.ends[1], 6)}, {found.data}.",
        f"They are {told(found.distance, 4)} apart in weight space, {told(found.relative, 3)} times their mean length.",
        *(f"Hessian at {label}: {eigenvalue_words(s)}." for label, s in zip(found.labels, found.spectra, strict=False)),
        *found.notes,
    ]


def slide_lines(found: Any, width: int) -> Iterator[Text]:
    """A bowl, and gradient descent on it below and above 2/λmax."""
    bowl = found.bowl
    x, y = bowl.names
    h = bowl.hessian
    formula = f"{told(h[0, 0] / 2, 4)} {x}² + {told(h[0, 1], 4)} {x} {y} + {told(h[1, 1] / 2, 4)} {y}²"
    yield from wrapped(f"the bowl {formula}", width, "", "bold")
    values = ", ".join(told(v, 5) for v in bowl.eigenvalues.tolist())
    text = f"its Hessian has the eigenvalues {values}; gradient descent converges below the rate 2/λmax = "
    yield from wrapped(f"{text}{told(bowl.critical_rate, 5)} and diverges above it", width, "  ", "dim")
    yield Text("")
    i, j = (thinned(len(axis), len(axis) // 2) for axis in (found.first, found.second))
    high = float(found.losses.max())
    scale = (high * 1e-3, high)
    marks = {"+": bowl.minimum[None], **{chr(ord("a") + k): p.points for k, p in enumerate(found.paths)}}
    losses = np.maximum(found.losses[np.ix_(i, j)], scale[0])
    yield from shaded(losses, found.first[i], found.second[j], scale, True, marks)
    text = f"{x} across, {y} up; {scale_words(scale, True)}; + is the minimum; the letters are the paths of the table"
    yield from wrapped(text, width, "  ", "dim")
    yield Text("")
    yield from paths_table(found.paths, 2, width)
    yield Text("")
    text = "This is the whole loss: it has two numbers, and nothing is left out. A net's loss is no such bowl."
    yield from wrapped(text, width, "  ")
