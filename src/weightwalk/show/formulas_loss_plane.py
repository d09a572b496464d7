"""The loss over two weights on the terminal."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from rich.text import Text

from weightwalk.show.formula_layout import certificate_lines, count, digits_of, is_exact, refusal_lines
from weightwalk.show.formulas_plane import shaded_picture
from weightwalk.show.layout import columns, wrapped

GRID = 33
"""Places along each weight of the picture: odd, so that the middle one is the net as it is."""


def loss_plane_title(loss: Any) -> str:
    """``loss over fc1.weight[0, 0] and fc1.weight[0, 1]: 101 samples, 412 quadratic pieces in all``."""
    word = "" if is_exact(loss.certificate) else "approximate "
    pieces = int(loss.counts.sum())
    return (
        f"{word}loss over {loss.names[0]} and {loss.names[1]}: {count(loss.samples, 'sample')}, "
        f"{count(pieces, 'quadratic piece')} in all"
    )


def loss_plane_table(loss: Any, width: int, every: bool = False) -> Iterator[Text]:
    """What it is made of, a picture in shades, where the net stands."""
    yield from refusal_lines(loss.certificate, width)
    yield from wrapped(loss_plane_title(loss), width, "", "bold")
    least, most = int(loss.counts.min()), int(loss.counts.max())
    regions = count(most, "region") if least == most else f"{least:,} to {most:,} regions"
    text = f"each sample has {regions} of its own, on each of which its "
    text += "squared error is one quadratic; the loss is the mean of them; all other weights as they are"
    yield from wrapped(text, width, "  ", "dim")
    yield Text("")
    first, second, values = loss.grid(GRID)
    low = np.unravel_index(int(values.argmin()), values.shape)
    sides = ((float(first[0]), float(first[-1])), (float(second[0]), float(second[-1])))
    even = values.min() > 0 and values.max() > 10 * values.min()
    yield from shaded_picture(values.T[::-1], sides, logarithmic=even)
    text = (
        f"the loss over {loss.names[0]} (across) and {loss.names[1]} (up), by the formula at {GRID} x {GRID} places, "
    )
    text += (
        f"in five shades{', even steps of its logarithm' if even else ''}; what lies between these places is not seen"
    )
    yield from wrapped(text, width, "  ", "dim")
    yield Text("")
    rows = [
        ("as they are", *(digits_of(v, 9) for v in loss.at), digits_of(float(loss(np.array(loss.at))), 9)),
        ("least of these places", *(digits_of(v, 9) for v in (first[low[0]], second[low[1]], values[low]))),
    ]
    yield from columns(("", *loss.names, "loss"), rows, width)
    yield from wrapped("the least loss of the whole box is not computed, only that of these places", width, "  ", "dim")
    yield Text("")
    yield from certificate_lines(loss.certificate, width, every)
