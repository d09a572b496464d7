"""Which output leads where on a plane, on the terminal."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from rich.text import Text

from weightwalk.show.formula_layout import count
from weightwalk.show.layout import columns, wrapped


def decision_lines(found: Any, width: int = 100, top: int | None = 12) -> Iterator[Text]:
    """A row per output: in how many polygons it leads, and in what part of the box."""
    word = "least" if found.least else "greatest"
    outputs = found.partition.net.outputs
    yield from wrapped(f"which of {count(len(outputs), 'output')} is {word}, where", width, "", "bold")
    polygons = np.bincount(found.winner, minlength=len(outputs))
    shares = found.shares
    bounded = found.box is not None
    order = sorted(range(len(outputs)), key=lambda k: (-shares[k] if bounded else -polygons[k], k))
    most = len(order) if top is None else min(top, len(order))
    heads = ("output", "polygons", "part of the box") if bounded else ("output", "polygons")
    rows = [
        (outputs[k], int(polygons[k]), *([f"{100 * shares[k]:.6g} %" if polygons[k] else "nowhere"] * bounded))
        for k in order[:most]
    ]
    yield from columns(heads, rows, width)
    if len(order) > most:
        yield from wrapped(f"not shown: {len(order) - most:,} outputs more", width, "  ", "dim")
    note = f"{count(len(found.winner), 'polygon')}: each region of the formula, cut where two outputs are equal"
    yield from wrapped(note, width, "  ", "dim")
