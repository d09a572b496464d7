"""One linear neuron on the terminal: a trough, a bowl, and next to them a slice of a deep net."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from rich.text import Text

from weightwalk.show.formula_layout import told
from weightwalk.show.landscapes import beside, cells_for, paths_table, shaded, surface_map, thinned
from weightwalk.show.landscapes_words import scale_words
from weightwalk.show.layout import columns, wrapped


def neuron_lines(found: Any, width: int) -> Iterator[Text]:
    """One sample beside all: a trough and a bowl, on the same axes."""
    w1, w2 = found.names
    yield from wrapped(f"one linear neuron, {w1} x1 + {w2} x2 + bias: its loss over its two weights", width, "", "bold")
    yield from wrapped(f"inputs and bias ({_bias(found)}) stay; {found.source}", width, "  ", "dim")
    everything = [view.losses for view in (found.one, found.every)]
    scale = (float(min(v.min() for v in everything)), float(max(v.max() for v in everything)))
    floor = max(scale[0], scale[1] * 1e-4)
    cells = cells_for(2 if found.deep is None else 3)
    across, up = (thinned(len(axis), len(axis) // 2, cells) for axis in (found.first, found.second))
    blocks = []
    for name, view in ((f"sample {found.row} alone", found.one), (f"all {found.every.samples} samples", found.every)):
        marks = {"+": view.bowl.minimum[None]}
        if view is found.every:
            marks |= {chr(ord("a") + i): p.points for i, p in enumerate(found.paths)}
        losses = np.maximum(view.losses[np.ix_(across, up)], floor)
        lines = shaded(losses, found.first[across], found.second[up], (floor, scale[1]), True, marks)
        blocks.append((name, list(lines)))
    if found.deep is not None:
        drawn = found.deep.surface
        ends = float(drawn.losses.min()), float(drawn.losses.max())
        name = f"two of {drawn.n_parameters} weights of a deep net"
        blocks.append((name, list(surface_map(drawn, ends, True, {}, cells))))
    yield Text("")
    yield from beside(blocks, width)
    text = f"{w1} across, {w2} up; the height is the loss, mean (output - target)², not the output; "
    yield from wrapped(
        f"{text}{scale_words((floor, scale[1]), True)}; + is the least-squares minimum", width, "  ", "dim"
    )
    yield Text("")
    rows = []
    for words, get in (
        ("Hessian's eigenvalues", lambda v: ", ".join(told(x, 5) for x in v.bowl.eigenvalues.tolist())),
        ("its rank", lambda v: v.bowl.rank),
        ("minimum by least squares", lambda v: _pair(v.bowl.minimum)),
        ("loss there", lambda v: told(v.bowl.floor, 6)),
        ("least place of the grid", lambda v: _pair(v.grid_minimum)),
        ("loss there ", lambda v: told(v.grid_loss, 6)),
        ("dips of the grid", lambda v: v.shape.dips),
        ("hills of the grid", lambda v: v.shape.hills),
        ("2/λmax", lambda v: told(v.bowl.critical_rate, 5)),
    ):
        rows.append((words, str(get(found.one)), str(get(found.every))))
    yield from columns(("", f"sample {found.row}", f"all {found.every.samples}"), rows, width)
    yield Text("")
    for sentence in neuron_sentences(found):
        yield from wrapped(sentence, width, "  ")
    if found.paths:
        yield Text("")
        yield from paths_table(found.paths, 2, width)


def _pair(point: np.ndarray) -> str:
    return f"({', '.join(told(v, 5) for v in np.asarray(point).tolist())})"


def _bias(found: Any) -> str:
    same = bool((found.bias == found.bias[0]).all())
    return told(float(found.bias[0]), 5) if same else "another number for each sample"


def neuron_sentences(found: Any) -> list[str]:
    """What the two pictures mean."""
    trough = found.one.bowl.trough()
    made = []
    if trough is not None:
        text = (
            f"One sample fixes one direction only: along {_pair(trough)} its loss does not change, a straight trough."
        )
        if found.one.shape.dips > 1:
            text += f" The {found.one.shape.dips} dips of its grid are the grid's, not the surface's."
        made.append(text)
    if found.every.bowl.rank == 2:
        made.append("All samples together make a bowl with one minimum: both eigenvalues are positive.")
    elif found.every.bowl.rank == 1:
        made.append("All samples lie in one direction, so that even together they make a trough.")
    made.append(
        "A linear neuron with a squared loss has no hills and no second valley, whatever the data: its loss is a "
        "quadratic, and its Hessian has no negative eigenvalue. The hilly pictures are slices of deep nets."
    )
    if found.deep is not None:
        made.append(deep_words(found.deep))
    made.append(
        f"At {_pair(found.at)} the loss of all samples is {told(found.at_loss, 6)}; sample {found.row} has the output "
        f"{told(float(found.outputs(found.at)[found.row]), 6)} there, which is another number."
    )
    made.append("The bias would need a fourth dimension: another --bias is another picture.")
    return made


def deep_words(deep: Any) -> str:
    """What the slice beside the neuron is."""
    shape, n = deep.shape, deep.surface.n_parameters
    hills = f"{shape.hills} hill{'' if shape.hills == 1 else 's'} and {shape.dips} dip{'' if shape.dips == 1 else 's'}"
    sizes = "-".join(str(size) for size in deep.sizes)
    return (
        f"On the right, in shades of its own, a {sizes} net with tanh, trained on the same data: its loss over the two "
        f"weights of neuron {deep.unit} of its first layer, 2 of {n} dimensions, has {hills}; "
        f"{100 * shape.bent:.0f} % of its places are arched along a line, as none of a bowl is. (Of its "
        f"{len(deep.hills)} neurons it is the one with the most hills; they have {', '.join(map(str, deep.hills))}.)"
    )
