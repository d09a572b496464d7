"""Error by the size of a model, as a picture: two sweeps, what exists against what is found, and the curves."""

from __future__ import annotations

from typing import Any

import numpy as np

from weightwalk.show.drawing import INK
from weightwalk.show.fitting_figures import BLUE, GREEN, GREY, RED, counted, heading, powers
from weightwalk.show.fittings_capacity import NAMES, size_name


def capacity_drawing(make: Any, found: Any) -> Any:
    """Three panels by size above, six panels of curves below."""
    figure = make(figsize=(10.6, 6.3), layout="constrained")
    grid = figure.add_gridspec(2, 6, height_ratios=(1.45, 1))
    left = figure.add_subplot(grid[0, :2])
    middle = figure.add_subplot(grid[0, 2:4], sharey=left)
    right = figure.add_subplot(grid[0, 4:])
    _sweep(left, found.polynomials, BLUE, "degree of the polynomial")
    _sweep(middle, found.nets, RED, "units of the net (0: the straight line)")
    left.set_ylabel("root mean squared error")
    powers(left.yaxis)
    _reach(right, found)
    _curves(figure, grid, found)
    name = NAMES.get(found.target, found.target)
    heading(
        figure, f"Too small, right, too large: {name} from {found.rows} noisy rows",
        f"Medians and quartiles of {len(found.seeds)} seeds, for {found.low:g} <= x <= {found.high:g}; noise of "
        f"deviation {found.noise:.3g} on the left and in the middle, none on the right. Below, the first seed "
        "alone: its rows, the function (dashed) and the curves of the smallest, the best and the largest size. "
        "Not drawn: the other seeds' curves, and all x outside the interval.", 185,
    )  # fmt: skip
    return figure


def _band(axes: Any, x: Any, values: list[Any], colour: str, **style: Any) -> None:
    low, half, high = np.array([np.quantile(v, [0.25, 0.5, 0.75], method="inverted_cdf") for v in values]).T
    axes.fill_between(x, low, high, color=colour, alpha=0.16, lw=0)
    axes.plot(x, half, color=colour, **style)


def _sweep(axes: Any, sweep: Any, colour: str, label: str) -> None:
    places = np.arange(len(sweep.sizes))
    _band(axes, places, [s.train for s in sweep.sizes], GREY, marker="s", markersize=3.5, linestyle=(0, (3, 2)),
          linewidth=1.2, markerfacecolor="white", label="at the noisy rows")  # fmt: skip
    _band(axes, places, [s.held for s in sweep.sizes], colour, marker="o", markersize=4, linewidth=1.7,
          label="against the truth")  # fmt: skip
    best = next(i for i, s in enumerate(sweep.sizes) if s.size == sweep.best)
    axes.axvline(best, color=INK, linewidth=0.8, linestyle=":")
    axes.set(yscale="log", xlabel=label, title="U-shaped" if sweep.u_shaped else "not shown to be U-shaped")
    axes.set_xticks(places, [str(s.size) for s in sweep.sizes])
    axes.legend(loc="upper center")


def _reach(axes: Any, found: Any) -> None:
    widths = [r.width for r in found.reach]
    if widths:
        _band(axes, widths, [r.trained for r in found.reach], RED, marker="o", markersize=4, linewidth=1.7,
              label="trained")  # fmt: skip
        axes.plot(widths, [r.exists for r in found.reach], color=GREEN, marker="^", markersize=4, linewidth=1.4,
                  linestyle=(0, (5, 2)), label="exists")  # fmt: skip
    axes.axhline(found.line, color=GREY, linewidth=1, linestyle=":", label="best straight line")
    axes.set(xscale="log", yscale="log", xlabel="units of the net", title="without noise: exists, and is found")
    if widths:
        counted(axes.xaxis, widths)
    powers(axes.yaxis)
    axes.legend(loc="lower left")


def _curves(figure: Any, grid: Any, found: Any) -> None:
    first = None
    words = ("smallest", "best", "largest")
    room = 0.45 * float(np.ptp(found.truth)) or 1.0
    for i, (family, size, curve) in enumerate(found.drawn):
        axes = figure.add_subplot(grid[1, i], sharex=first, sharey=first)
        first = first or axes
        axes.plot(found.drawn_at, found.truth, color=GREY, linewidth=1, linestyle=(0, (4, 3)), zorder=1)
        axes.plot(found.sample[:, 0], found.sample[:, 1], "o", color=INK, markersize=2, zorder=2)
        axes.plot(found.drawn_at, curve, color=BLUE if family == "polynomial" else RED, linewidth=1.5, zorder=3)
        axes.set_ylim(found.truth.min() - room, found.truth.max() + room)
        axes.set_title(f"{words[i % 3]}: {size_name(family, size).removeprefix('net, ')}")
        axes.tick_params(labelleft=i == 0)
