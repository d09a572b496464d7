"""Nets that say which of three points is nearest, as pictures: maps above, accuracy and abstaining below."""

from __future__ import annotations

from typing import Any

import numpy as np

from weightwalk.show.drawing import INK
from weightwalk.show.fitting_figures import BLUE, GREY, RED, heading
from weightwalk.show.fittings import percent

PALE = ("#9ec9e2", "#f3c29b", "#a8d8c5")
"""Three regions; their brightness differs, too."""


def regions_drawing(make: Any, found: Any) -> Any:
    """What nets of each width say; where they are unsure; accuracy, errors at the border, abstaining, calibration."""
    shown = found.widths[-5:]
    maps = found.maps[-5:]
    across = len(shown) + 1
    figure = make(figsize=(max(9.6, 1.95 * across), 5.6), layout="constrained")
    rows = figure.add_gridspec(2, 1, height_ratios=(1, 1.12))
    upper = rows[0].subgridspec(1, across)
    for i, (w, said) in enumerate(zip(shown, maps, strict=True)):
        axes = figure.add_subplot(upper[i])
        _map(axes, found, said)
        axes.set_title(f"{w.width} unit{'s' * (w.width != 1)}: {percent(float(np.median(w.accuracy)))}")
    axes = figure.add_subplot(upper[-1])
    image = axes.imshow(found.unsure.T, origin="lower", extent=(0, 1, 0, 1), cmap="cividis", vmin=1 / 3, vmax=1)
    _border(axes, found, "white")
    axes.set_title(f"how sure, {found.judged} units")
    figure.colorbar(image, ax=axes, shrink=0.8, ticks=[0.4, 0.6, 0.8, 1.0])
    lower = rows[1].subgridspec(1, 4)
    _accuracy(figure.add_subplot(lower[0]), found)
    _belts(figure.add_subplot(lower[1]), found)
    _coverage(figure.add_subplot(lower[2]), found)
    _calibration(figure.add_subplot(lower[3]), found)
    heading(
        figure, "Which of three points is nearest: learned regions against the exact borders",
        f"Above, the seed with the median accuracy of each width, exact borders in black; rightmost, the greatest "
        f"probability, mean of {len(found.seeds)} seeds. Below, all seeds: dots are single nets, bars 95 % intervals. "
        "Not drawn: everything outside the unit square, where no example is, and what the other seeds say where.", 165,
    )  # fmt: skip
    return figure


def _border(axes: Any, found: Any, colour: str = INK) -> None:
    ticks = (np.arange(len(found.truth)) + 0.5) / len(found.truth)
    for region in range(3):
        axes.contour(ticks, ticks, (found.truth == region).T.astype(float), [0.5], colors=[colour], linewidths=0.8)
    axes.set_xticks([])
    axes.set_yticks([])
    for side in ("left", "bottom"):
        axes.spines[side].set_visible(False)


def _map(axes: Any, found: Any, said: np.ndarray) -> None:
    from matplotlib.colors import ListedColormap

    axes.imshow(said.T, origin="lower", extent=(0, 1, 0, 1), cmap=ListedColormap(PALE), vmin=0, vmax=2,
                interpolation="nearest")  # fmt: skip
    _border(axes, found)
    for name, corner in zip("ABC", found.corners, strict=True):
        axes.plot(*corner, "o", color=INK, markersize=3)
        axes.annotate(name, corner, xytext=(3, 2), textcoords="offset points", fontsize=7.5, color=INK)


def _accuracy(axes: Any, found: Any) -> None:
    places = np.arange(len(found.widths))
    for i, w in enumerate(found.widths):
        axes.plot(np.full(len(w.accuracy), i), w.accuracy, "o", color=BLUE, markersize=3, alpha=0.5, markeredgewidth=0)
    means = np.array([w.mean for w in found.widths])
    ends = np.array([w.interval for w in found.widths])
    bars = np.nan_to_num(np.abs(ends - means[:, None]).T)
    axes.errorbar(places, means, bars, color=INK, marker="D", markersize=3.5, linewidth=1.2, capsize=2)
    axes.set(xlabel="units", ylabel="share of the square told right", title="accuracy by width", ylim=(0.3, 1.02))
    axes.set_xticks(places, [str(w.width) for w in found.widths])


def _belts(axes: Any, found: Any) -> None:
    places = np.arange(len(found.belts))
    errors = np.array([b.error for b in found.belts])
    ends = np.array([b.interval for b in found.belts])
    axes.bar(places, errors, color=RED, width=0.7)
    axes.errorbar(places, errors, np.nan_to_num(np.abs(ends - errors[:, None]).T), color=INK, linewidth=0,
                  elinewidth=1.2, capsize=2)  # fmt: skip
    names = [f"{b.low:g}–{b.high:g}" if np.isfinite(b.high) else f"{b.low:g} +" for b in found.belts]
    axes.set_xticks(places, names, rotation=40, ha="right")
    axes.set(xlabel="distance from the border", ylabel="share told wrong", title=f"errors, {found.judged} units")


def _coverage(axes: Any, found: Any) -> None:
    for line in found.covered:
        axes.plot(found.coverage, line, color=BLUE, linewidth=0.7, alpha=0.5)
    axes.plot(found.coverage, found.covered.mean(axis=0), color=BLUE, linewidth=1.8)
    if np.isfinite(found.answered):
        axes.axvline(found.answered, color=GREY, linewidth=1, linestyle=":")
        axes.annotate(f"99.9 % right:\nanswer {percent(found.answered)}", (found.answered, 0.05), fontsize=7.5,
                      color=GREY, xycoords=axes.get_xaxis_transform(), xytext=(-4, 0), textcoords="offset points",
                      ha="right")  # fmt: skip
    axes.set(xlabel="share answered, the surest first", ylabel="right of these", title="abstaining when unsure",
             xlim=(0.5, 1.0))  # fmt: skip
    axes.set_ylim(min(0.97, float(found.covered[:, found.coverage >= 0.5].min())) - 0.005, 1.002)


def _calibration(axes: Any, found: Any) -> None:
    axes.plot([1 / 3, 1], [1 / 3, 1], color=GREY, linewidth=1, linestyle=":")
    axes.plot(found.bins[:, 0], found.bins[:, 1], color=BLUE, linewidth=1.2)
    axes.scatter(found.bins[:, 0], found.bins[:, 1], s=6 + 70 * np.sqrt(found.bins[:, 2]), color=BLUE, zorder=3)
    axes.set(xlabel="probability it gives", ylabel="share right", title="calibration (size: share)")
