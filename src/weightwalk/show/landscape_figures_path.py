"""A training on the plane of its principal components, beside what that plane gets wrong: true and drawn losses."""

from __future__ import annotations

from typing import Any

import numpy as np

from weightwalk.show.drawing import INK
from weightwalk.show.formula_figures import GREY, SERIES
from weightwalk.show.landscape_figures import bar, centre, heading, heights, notes, paths_on, plain_ticks, room
from weightwalk.show.landscapes import chosen
from weightwalk.show.landscapes_words import hidden_sentences

STRIP = 9
"""Checkpoints in the strip of numbers."""


def trajectory_drawing(make: Any, found: Any) -> Any:
    """The map with the path; the losses, true and drawn; the distance from the plane; a strip of numbers."""
    path, surface = found.trajectory, found.surfaces[0]
    sentences = hidden_sentences(found)
    words = 186
    under = room(sentences, words) + 1.42
    figure = make(figsize=(10.2, 5.35 + under))
    high = figure.get_figheight()
    axes = figure.add_axes((0.065, under / high, 0.43, 4.5 / high))
    drawn = heights(axes, surface.alphas, surface.betas, surface.losses, found.scale)
    _way(axes, path)
    if found.paths:
        paths_on(axes, found.paths)
    centre(axes)
    axes.set_xlabel(f"first principal direction: {100 * path.centred.path[0]:.1f} % of the variance", fontsize=8.5)
    axes.set_ylabel(f"second: {100 * path.centred.path[1]:.1f} %", fontsize=8.5)
    bar(figure, drawn, axes, surface.loss, found.scale)
    _losses(figure.add_axes((0.65, (under + 2.2) / high, 0.34, 2.3 / high)), path, surface.loss)
    _shares(figure.add_axes((0.65, under / high, 0.34, 1.4 / high)), path)
    figure.text(
        0.01, (under - 0.62) / high, strip(path), fontsize=7.2, family="DejaVu Sans Mono", va="top", linespacing=1.5
    )
    heading(figure, found, words)
    notes(figure, sentences, words, (under - 1.42) / high)
    return figure


def _way(axes: Any, path: Any) -> None:
    x, y = path.coordinates.T
    axes.plot(x, y, color=INK, linewidth=2.4, alpha=0.5, zorder=4)
    axes.plot(x, y, color=SERIES[1], linewidth=1.2, marker="o", markersize=3.6, markeredgecolor=INK,
              markeredgewidth=0.4, zorder=5)  # fmt: skip
    axes.plot(x[0], y[0], "s", color="white", markersize=7, markeredgecolor=INK, zorder=6)
    axes.annotate("untrained", (x[0], y[0]), (5, 7), textcoords="offset points", fontsize=7.5, zorder=9,
                  bbox={"facecolor": "white", "edgecolor": "none", "pad": 1.2, "alpha": 0.8})  # fmt: skip


def _losses(axes: Any, path: Any, name: str) -> None:
    """True and drawn loss of each checkpoint: where they part, the picture is wrong."""
    good = np.isfinite(path.true) & np.isfinite(path.drawn)
    epochs = path.epochs
    axes.plot(epochs, path.drawn, color=SERIES[1], linestyle="--", marker="s", markersize=3, linewidth=1.2,
              label="drawn: at the nearest point of the plane")  # fmt: skip
    axes.plot(
        epochs, path.true, color=SERIES[0], marker="o", markersize=3, linewidth=1.6, label="true: of the checkpoint"
    )
    axes.fill_between(epochs, path.true, path.drawn, color="#b8bec5", alpha=0.5, linewidth=0, zorder=0)
    if good.any() and min(path.true[good].min(), path.drawn[good].min()) > 0:
        axes.set_yscale("log")
        plain_ticks(axes.yaxis)
    _epochs(axes, epochs)
    axes.set_ylabel(name, fontsize=8.5)
    axes.legend(fontsize=7.4, frameon=True, framealpha=0.85, edgecolor="none", loc="best", labelcolor=INK)
    w = path.worst
    text = f"worst at epoch {path.epochs[w]:,}: {path.drawn[w]:.3g} drawn, {path.true[w]:.3g} true"
    axes.set_title(text, fontsize=8.5, loc="left")
    axes.tick_params(labelsize=7.5, labelbottom=False)


def _epochs(axes: Any, epochs: np.ndarray) -> None:
    step = int(epochs[1] - epochs[0]) if len(epochs) > 1 else 1
    if len(epochs) > 12:
        axes.set_xscale("symlog", linthresh=max(1, step))
        plain_ticks(axes.xaxis)
    axes.set_xlim(epochs[0] - 0.15 * step, epochs[-1] * 1.1 + 0.1)
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=7.5)


def _shares(axes: Any, path: Any) -> None:
    """Distance of each checkpoint from the plane, over its way to the end."""
    axes.plot(path.epochs, path.relative_off, color=SERIES[2], marker="^", markersize=3, linewidth=1.2)
    _epochs(axes, path.epochs)
    axes.set_ylim(0, max(1.0, float(path.relative_off.max())) * 1.05)
    axes.set_xlabel("epoch", fontsize=8.5)
    axes.set_ylabel("off the plane,\nover way to the end", fontsize=7.8)
    facts = path.centred
    two = {kind: 100 * float(getattr(facts, kind)[:2].sum()) for kind in ("path", "simulated", "walk")}
    text = f"variance in the plane: {two['path']:.1f} %; in that of a random walk with\n"
    text += f"these step lengths {two['simulated']:.1f} %, with equal ones {two['walk']:.1f} %, in the limit 76.0 %"
    axes.set_title(text, fontsize=7.6, loc="left", color=GREY)


def strip(path: Any) -> str:
    """Some checkpoints as numbers: epoch, true loss, drawn loss, distance."""
    some = chosen(path, STRIP)
    rows = (
        ("epoch", [f"{path.epochs[i]:,}" for i in some]),
        ("true loss", [f"{path.true[i]:.3g}" for i in some]),
        ("drawn loss", [f"{path.drawn[i]:.3g}" for i in some]),
        ("off the plane", [f"{path.off[i]:.2g}" for i in some]),
    )
    return "\n".join(f"{name:<14}" + "".join(f"{cell:>11}" for cell in cells) for name, cells in rows)
