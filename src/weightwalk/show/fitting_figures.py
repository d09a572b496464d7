"""Pictures of fitting and generalising: which drawing belongs to which facts, and curves through points."""

from __future__ import annotations

import textwrap
from importlib import import_module
from pathlib import Path
from typing import IO, Any

import numpy as np

from weightwalk.show.drawing import INK, save
from weightwalk.show.fittings import figure as digits

GREY, FAINT, LIGHT = "#5b6673", "#b8bec5", "#e4e7ea"

# Okabe and Ito's colours, told apart by colour-blind eyes; each series has a marker or a line style of its own, too.
BLUE, RED, GREEN, ORANGE, SKY = "#0072b2", "#d55e00", "#009e73", "#e69f00", "#56b4e9"

SETTINGS = {
    "axes.edgecolor": GREY,
    "axes.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.labelsize": 8.5,
    "axes.titlesize": 9,
    "axes.titlelocation": "left",
    "xtick.color": GREY,
    "ytick.color": GREY,
    "xtick.labelsize": 7.5,
    "ytick.labelsize": 7.5,
    "legend.fontsize": 7.5,
    "legend.frameon": False,
    "text.parse_math": False,
    "axes.formatter.use_mathtext": False,
}

_DRAWINGS = {
    "PointsFit": ("weightwalk.show.fitting_figures", "points_drawing"),
    "LabelsFit": ("weightwalk.show.fittings_labels", "labels_drawing"),
    "CapacityFit": ("weightwalk.show.fitting_figures_capacity", "capacity_drawing"),
    "DataFit": ("weightwalk.show.fittings_data", "data_drawing"),
    "BeyondFit": ("weightwalk.show.fitting_figures_beyond", "beyond_drawing"),
    "EpochsFit": ("weightwalk.show.fittings_epochs", "epochs_drawing"),
    "RegionsFit": ("weightwalk.show.fitting_figures_regions", "regions_drawing"),
}


def fitting_figure(facts: Any, path: Path | str | IO[bytes]) -> None:
    """Draw facts of `weightwalk.learning.fitting` to a file; its ending says the kind (.svg, .png, .pdf).

    Raises:
        UsageError: matplotlib is not installed.
    """
    module, name = _DRAWINGS[type(facts).__name__]
    draw = getattr(import_module(module), name)
    save(lambda make: draw(make, facts), path, SETTINGS)


def heading(figure: Any, text: str, note: str, width: int = 120) -> None:
    """What the figure says, above it; what is seen and what is not, below it."""
    figure.suptitle(text, fontsize=10.5, x=0.01, ha="left", fontweight="bold")
    lines = "\n".join(textwrap.wrap(note, width, break_on_hyphens=False))
    figure.supxlabel(lines, fontsize=7.5, color=GREY, x=0.01, ha="left", linespacing=1.35)


def counted(axis: Any, ticks: Any) -> None:
    """A logarithmic axis with the sizes that were tried as its ticks, and no others."""
    from matplotlib.ticker import NullFormatter, NullLocator

    axis.set_ticks(ticks, [f"{t:,}" for t in ticks])
    axis.set_minor_locator(NullLocator())
    axis.set_minor_formatter(NullFormatter())


def powers(axis: Any) -> None:
    """Plain numbers at the powers of ten of a logarithmic axis; where there are fewer than two, at 1, 2 and 5, too."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    low, high = sorted(axis.get_view_interval())
    axis.set_major_locator(LogLocator(subs=(1.0,) if high > 30 * low else (1.0, 2.0, 5.0)))
    axis.set_major_formatter(FuncFormatter(lambda v, _: f"{v:g}"))
    axis.set_minor_formatter(NullFormatter())


def points_drawing(make: Any, found: Any) -> Any:
    """A panel per curve, on common axes; below the name its two errors."""
    curves = found.curves
    across = min(4, len(curves))
    down = -(-len(curves) // across)
    figure = make(figsize=(2.45 * across + 0.5, 1.95 * down + 1.1), layout="constrained")
    panels = figure.subplots(down, across, sharex=True, sharey=True, squeeze=False).reshape(-1)
    room = 0.35 * float(np.ptp(found.y)) or 1.0
    for panel, curve in zip(panels, curves, strict=False):
        colour = {"chain": GREY, "polynomial": BLUE, "net": RED}[curve.kind]
        for line in curve.drawn:
            panel.plot(found.grid, line, color=colour, linewidth=1.5 if len(curve.drawn) == 1 else 0.9, zorder=2,
                       alpha=1 if len(curve.drawn) == 1 else 0.75)  # fmt: skip
        panel.plot(found.x, found.y, "o", color=INK, markersize=4 if len(found.x) < 60 else 1.5, zorder=3)
        panel.set_ylim(found.y.min() - room, found.y.max() + room)
        name = {"chain": "point to point", "polynomial": f"degree {curve.size}",
                "net": f"net, {curve.size} unit{'s' * (curve.size != 1)}"}[curve.kind]  # fmt: skip
        best = found.best == (curve.kind if curve.kind == "chain" else f"{curve.kind} {curve.size}")
        panel.set_title(f"{name}{'  ← foresees best' if best else ''}\nat points {digits(curve.rmse, 3)}, "
                        f"left out {digits(curve.loo, 3)}", fontweight="bold" if best else "normal")  # fmt: skip
    for panel in panels[len(curves) :]:
        panel.set_visible(False)
    for panel in panels[max(0, len(curves) - across) : len(curves)]:
        panel.tick_params(labelbottom=True)
    nets = f" A line per seed ({len(found.seeds)}); their errors are medians." if found.recipe else ""
    heading(
        figure, f"{len(found.x):,} points: who passes through them, and who would have foreseen them",
        "Errors are root mean squares in the unit of y, at the points and at a point left out of the fit (— where no "
        f"curve is determined without it).{nets} The curves drawn are those fitted to all points; those fitted without "
        "one are not drawn, nor is what leaves the frame.", 38 * across,
    )  # fmt: skip
    return figure
