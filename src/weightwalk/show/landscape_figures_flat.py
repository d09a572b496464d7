"""Landscapes as maps and lines: contours, several seeds with one scale, a neuron, a bowl, the way between two nets."""

from __future__ import annotations

import math
from typing import Any

from weightwalk.errors import UsageError
from weightwalk.show.drawing import INK
from weightwalk.show.formula_figures import GREY, SERIES
from weightwalk.show.formula_layout import told
from weightwalk.show.landscape_figures import (
    PANELS,
    bar,
    centre,
    heading,
    heights,
    legend,
    legend_room,
    notes,
    paths_on,
    room,
    short_axis,
)
from weightwalk.show.landscapes_lines import line_sentences
from weightwalk.show.landscapes_neuron import neuron_sentences
from weightwalk.show.landscapes_words import hidden_sentences


def maps(make: Any, found: Any) -> Any:
    """The surfaces side by side, all in one scale of colours; paths on the first."""
    many = len(found.surfaces)
    if many > PANELS:
        raise UsageError(f"A figure holds {PANELS} surfaces, and there are {many}: ask for fewer (--seeds).")
    across = min(many, 3)
    down = math.ceil(many / across)
    wide = 7.4 if many == 1 else 2.9 * across + 1.6
    words = round(wide * 18.2)
    sentences = hidden_sentences(found)
    named = legend_room(found.paths)
    under = room(["+", *sentences], words) + named + 0.72
    tall = (5.2 if many == 1 else 3.1) * down
    figure = make(figsize=(wide, tall + under + 0.85))
    high = figure.get_figheight()
    panels = figure.subplots(down, across, squeeze=False)
    figure.subplots_adjust(left=0.62 / wide, right=1 - 0.25 / wide, top=1 - 0.95 / high, bottom=under / high,
                           wspace=0.32, hspace=0.38)  # fmt: skip
    drawn = None
    for k, axes in enumerate(panels.flat):
        if k >= many:
            axes.set_visible(False)
            continue
        surface = found.surfaces[k]
        drawn = heights(axes, surface.alphas, surface.betas, surface.losses, found.scale)
        centre(axes)
        _named(axes, surface)
        if many > 1:
            axes.set_title(f"{found.names[k]}: centre {surface.centre_loss:.4g}", fontsize=8.2, loc="left")
            axes.set_xlabel("direction 1", fontsize=8)
            axes.set_ylabel("direction 2", fontsize=8)
        else:
            axes.set_xlabel(short_axis(surface.labels[0]), fontsize=8.5)
            axes.set_ylabel(short_axis(surface.labels[1]), fontsize=8.5)
    bar(figure, drawn, list(panels.flat), found.surfaces[0].loss, found.scale)
    if found.paths:
        paths_on(panels.flat[0], found.paths)
        legend(figure, panels.flat[0], 0.015, (under - 0.6) / high)
    heading(figure, found, words)
    notes(figure, ["+ is the net itself.", *sentences], words, (under - 0.6 - named) / high)
    return figure


def _named(axes: Any, surface: Any) -> None:
    """Other nets in the plane."""
    for name, a, b in surface.points:
        axes.plot(a, b, "o", color="white", markersize=6, markeredgecolor=INK, zorder=6)
        box = {"boxstyle": "round,pad=0.2", "facecolor": "white", "edgecolor": "none", "alpha": 0.8}
        axes.annotate(name, (a, b), (6, 6), textcoords="offset points", fontsize=8, zorder=9, bbox=box)


def surface_line(make: Any, found: Any) -> Any:
    """A plane of one dimension: the loss along it."""
    surface = found.surfaces[0]
    sentences = hidden_sentences(found)
    under = room(sentences, 134) + 0.7
    figure = make(figsize=(7.4, 4.6 + under))
    high = figure.get_figheight()
    axes = figure.add_axes((0.1, under / high, 0.86, 3.7 / high))
    for k, each in enumerate(found.surfaces):
        axes.plot(each.alphas, each.losses[:, 0], color=SERIES[k % len(SERIES)], linewidth=1.8)
    axes.plot(
        0, surface.centre_loss, "o", color=SERIES[1], markersize=8, markeredgecolor="white", label="the net itself"
    )
    axes.set_xlabel(surface.labels[0], fontsize=9)
    axes.set_ylabel(surface.loss, fontsize=9)
    _plain(axes)
    heading(figure, found, 134)
    notes(figure, sentences, 134, (under - 0.58) / high)
    return figure


def _plain(axes: Any) -> None:
    axes.tick_params(labelsize=8)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(fontsize=8, frameon=False, loc="best", labelcolor=INK)


def line_drawing(make: Any, found: Any) -> Any:
    """The loss on the straight line between two nets, its barrier, and the held-out loss."""
    sentences = line_sentences(found)
    under = room(sentences, 134) + 0.7
    figure = make(figsize=(7.4, 4.3 + under))
    high = figure.get_figheight()
    axes = figure.add_axes((0.1, under / high, 0.86, 3.7 / high))
    t = found.ts
    axes.plot(t, found.losses, color=SERIES[0], linewidth=1.9, marker=".", markersize=4, label=found.loss, zorder=3)
    if found.held_losses is not None:
        axes.plot(t, found.held_losses, color=SERIES[1], linewidth=1.3, linestyle="--", label="held-out data", zorder=2)
    axes.plot([0, 1], found.ends, color=GREY, linewidth=0.9, linestyle=":", label="straight interpolation of the ends")
    axes.plot([0, 1], found.ends, "o", color=SERIES[2], markersize=8, markeredgecolor="white", zorder=5,
              label="the nets themselves")  # fmt: skip
    if found.barrier > 0:
        x = found.barrier_at
        base = (1 - x) * found.ends[0] + x * found.ends[1]
        axes.annotate(
            "", (x, base + found.barrier), (x, base), arrowprops={"arrowstyle": "<->", "color": INK}, zorder=4
        )
        axes.annotate(f"barrier {told(found.barrier, 3)}", (x, base + 0.25 * found.barrier),
                      (-6 if x > 0.5 else 6, 0), textcoords="offset points", fontsize=8.5, va="center", zorder=6,
                      ha="right" if x > 0.5 else "left",
                      bbox={"facecolor": "white", "edgecolor": "none", "pad": 1.5, "alpha": 0.85})  # fmt: skip
    for x, name in zip((0, 1), found.labels, strict=True):
        axes.axvline(x, color="#b8bec5", linewidth=0.7, zorder=0)
        axes.annotate(name, (x, 1), (3, -2), xycoords=axes.get_xaxis_transform(), textcoords="offset points",
                      fontsize=8.5, va="top", color=GREY)  # fmt: skip
    axes.set_xlabel(f"t: from {found.labels[0]} to {found.labels[1]}", fontsize=9)
    axes.set_ylabel(found.loss, fontsize=9)
    _plain(axes)
    figure.text(0.01, 0.985, f"{found.loss} on the straight line from {found.labels[0]} to {found.labels[1]}",
                fontsize=10.5, va="top", weight="bold")  # fmt: skip
    notes(figure, sentences, 134, (under - 0.55) / high)
    return figure


# Two numbers, and nothing left out ----------------------------------------------------------------------------------


def neuron_drawing(make: Any, found: Any) -> Any:
    """A trough, a bowl, and (not of the neuron) a slice of a deep net."""
    panels = 2 if found.deep is None else 3
    wide = 3.95 * panels
    words = round(wide * 18.4)
    sentences = neuron_sentences(found)
    shown = "Shown: both dimensions that there are"
    fixed = f"{shown}, {found.names[0]} and {found.names[1]}; held fixed: inputs and bias ({found.source})."
    sentences = [fixed, *sentences]
    named = legend_room(found.paths)
    under = room(sentences, words) + named + 0.62
    figure = make(figsize=(wide, 4.05 + under))
    high = figure.get_figheight()
    top = max(float(v.losses.max()) for v in (found.one, found.every))
    low = min(float(v.losses.min()) for v in (found.one, found.every))
    scale = (max(low, 1e-4 * top), top)
    spots = [((0.62 + 3.95 * k) / wide, under / high, 2.75 / wide, 3.05 / high) for k in range(panels)]
    for spot, name, view in zip(spots, (f"sample {found.row} alone", f"all {found.every.samples} samples"),
                                (found.one, found.every), strict=False):  # fmt: skip
        axes = figure.add_axes(spot)
        drawn = heights(axes, found.first, found.second, view.losses, scale)
        centre(axes, view.bowl.minimum)
        values = " and ".join(f"{v:.4g}" for v in view.bowl.eigenvalues.tolist())
        what = "a bowl" if view.bowl.rank == 2 else "a trough" if view.bowl.rank == 1 else "level"
        text = f"{name}: {what}\nHessian's eigenvalues {values}\nleast {view.bowl.floor:.4g} at +"
        axes.set_title(text, fontsize=8.2, loc="left")
        axes.set_xlabel(found.names[0], fontsize=8.5)
        axes.set_ylabel(found.names[1], fontsize=8.5)
        bar(figure, drawn, axes, "loss", scale)
        if view is found.every and found.paths:
            paths_on(axes, found.paths)
            legend(figure, axes, 0.015, (under - 0.5) / high)
    if found.deep is not None:
        _deep(figure, spots[2], found.deep)
    text = f"One linear neuron, {found.names[0]} x1 + {found.names[1]} x2 + bias: its loss over its two weights"
    figure.text(0.01, 0.985, text, fontsize=10.5, va="top", weight="bold")
    notes(figure, sentences, words, (under - 0.5 - named) / high)
    return figure


def _deep(figure: Any, spot: Any, deep: Any) -> None:
    surface = deep.surface
    scale = (float(surface.losses.min()), float(surface.losses.max()))
    axes = figure.add_axes(spot)
    drawn = heights(axes, surface.alphas, surface.betas, surface.losses, scale)
    centre(axes)
    sizes = "-".join(map(str, deep.sizes))
    text = f"not the neuron: a {sizes} net\n2 of {surface.n_parameters} dimensions, the others held\n"
    axes.set_title(f"{text}{deep.shape.hills} hills, {deep.shape.dips} dips; the net is at +", fontsize=8.2, loc="left")
    axes.set_xlabel(f"change of weight [{deep.unit}, 0] of layer 1", fontsize=8.5)
    axes.set_ylabel(f"change of weight [{deep.unit}, 1]", fontsize=8.5)
    bar(figure, drawn, axes, "loss", scale)


def slide_drawing(make: Any, found: Any) -> Any:
    """A bowl with gradient descent below and above 2/λmax."""
    bowl = found.bowl
    x, y = bowl.names
    rate = told(bowl.critical_rate, 4)
    values = " and ".join(told(v, 4) for v in bowl.eigenvalues.tolist())
    sentences = [
        f"Shown: both dimensions that there are. Hessian's eigenvalues {values}, none negative: 2/λmax = {rate}.",
        "The first step of each path starts at the white square. What lies outside the picture is not drawn.",
        "This is a quadratic. A net's loss is none: above 2/λmax a net may leave for a place with less curvature.",
    ]
    named = legend_room(found.paths)
    under = room(sentences, 120) + named + 0.55
    figure = make(figsize=(6.8, 5.0 + under))
    high = figure.get_figheight()
    axes = figure.add_axes((0.09, under / high, 0.76, 4.4 / high))
    top = float(found.losses.max())
    scale = (1e-3 * top, top)
    drawn = heights(axes, found.first, found.second, found.losses, scale)
    centre(axes, bowl.minimum)
    paths_on(axes, found.paths)
    axes.set_xlabel(x, fontsize=8.5)
    axes.set_ylabel(y, fontsize=8.5)
    bar(figure, drawn, axes, "loss", scale)
    legend(figure, axes, 0.015, (under - 0.45) / high)
    figure.text(0.01, 0.985, f"Gradient descent on a bowl, below and above 2/λmax = {rate}", fontsize=10.5, va="top",
                weight="bold")  # fmt: skip
    notes(figure, sentences, 120, (under - 0.45 - named) / high)
    return figure
