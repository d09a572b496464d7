"""Nets of the square root beside Newton's iteration, as a picture."""

from __future__ import annotations

from typing import Any

import numpy as np

from weightwalk.show.drawing import INK
from weightwalk.show.fitting_figures import BLUE, GREY, LIGHT, RED, heading, powers


def beyond_drawing(make: Any, found: Any) -> Any:
    """Errors by x, errors by operations; below, the loss at every step for several rates, on common axes."""
    rates = found.rates
    figure = make(figsize=(10.2, 6.4 if rates else 3.8), layout="constrained")
    grid = figure.add_gridspec(2 if rates else 1, 1)
    upper = grid[0].subgridspec(1, 2)
    _range(figure.add_subplot(upper[0]), found)
    _operations(figure.add_subplot(upper[1]), found)
    if rates:
        lower = grid[1].subgridspec(1, len(rates))
        first = None
        for i, rate in enumerate(rates):
            axes = figure.add_subplot(lower[i], sharex=first, sharey=first)
            first = first or axes
            _descent(axes, rate, i == 0)
        powers(first.yaxis) if first is not None else None
    heading(
        figure, "The square root: what nets have learned between 0 and 10, and what Newton's iteration knows anywhere",
        f"Above left, a line per net ({len(found.seeds)} seeds); above right, the same nets at single numbers, and "
        "Newton's guesses from 1, errors below 1e-16 drawn there. Below, a line per seed: the loss before every step "
        "of plain gradient descent on the same fresh nets; a line that ends has left the floating-point numbers. Not "
        "drawn: negative numbers, which have no root, though the nets answer them all the same.", 165,
    )  # fmt: skip
    return figure


def _range(axes: Any, found: Any) -> None:
    axes.axvspan(max(found.low, found.far[0]), found.high, color=LIGHT, zorder=0)
    axes.annotate("examples", (found.high, 0.03), xycoords=axes.get_xaxis_transform(), xytext=(-4, 0),
                  textcoords="offset points", ha="right", fontsize=7.5, color=GREY)  # fmt: skip
    for line in found.errors:
        axes.plot(found.far, np.abs(line), color=RED, linewidth=0.9, alpha=0.8)
    axes.set(xscale="log", yscale="log", xlabel="x", ylabel="|answer / root - 1|", title="nets, by x")
    powers(axes.xaxis)
    powers(axes.yaxis)


def _operations(axes: Any, found: Any) -> None:
    styles = ("-", (0, (5, 2)), (0, (2, 1.5)), (0, (6, 2, 1, 2)), (0, (1, 1)), (0, (8, 3)))
    for place, style in zip(found.places, styles, strict=False):
        errors = np.maximum(np.abs(place.path), 1e-16)
        axes.plot(3 * np.arange(len(errors)), errors, color=BLUE, linestyle=style, linewidth=1.2)
        off = np.abs(place.said / place.root - 1)
        axes.plot(np.full(len(off), found.operations), off, "o", markersize=3, color=RED, alpha=0.6,
                  markerfacecolor=RED if place.where == "outside" else "white")  # fmt: skip
        same = [p for p in found.places if p.steps == place.steps]
        words = ", ".join(f"{p.x:g}" for p in same) if place is same[0] else ""
        axes.annotate(words, (3 * (len(errors) - 1), errors[-1]), xytext=(0, -4), textcoords="offset points",
                      fontsize=7, color=BLUE, ha="center", va="top", rotation=90)  # fmt: skip
    axes.annotate("nets\nfilled: outside\nempty: inside", (found.operations, 1e-6), xytext=(5, 0), fontsize=7.5,
                  color=RED, textcoords="offset points", va="top", annotation_clip=False)  # fmt: skip
    axes.annotate("Newton, at each x", (0, 1e-13), fontsize=7.5, color=BLUE)
    axes.set(yscale="log", xlabel="operations", ylabel="|answer / root - 1|", title="both, by operations")
    axes.set_xlim(-2, found.operations * 1.28)
    axes.set_ylim(bottom=1e-21)
    powers(axes.yaxis)


def _descent(axes: Any, rate: Any, labelled: bool) -> None:
    for line in rate.curve:
        ends = np.flatnonzero(~np.isfinite(line))
        stop = ends[0] if len(ends) else len(line)
        axes.plot(np.arange(stop), line[:stop], color=INK, linewidth=0.7, alpha=0.75)
    rose = f"{rate.rises:,} of {rate.taken:,} steps up"
    axes.set(yscale="log", xlabel="step", title=f"rate {rate.lr:g}\n{rose}")
    axes.tick_params(labelleft=labelled)
    if labelled:
        axes.set_ylabel("loss")
