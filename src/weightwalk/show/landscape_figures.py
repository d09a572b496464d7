"""Pictures of the loss over two directions, each with what it leaves out written into it."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np

from weightwalk.show.drawing import INK, save
from weightwalk.show.formula_figures import GREY, SERIES, SETTINGS
from weightwalk.show.landscapes import as_picture, logarithmic
from weightwalk.show.landscapes_words import hidden_sentences, settings_words, title

COLOURS = "cividis_r"
"""Light is low; told apart by colour-blind eyes, and in grey."""

BANDS = 24
"""Bands of colour between the least loss and the greatest."""

PANELS = 9
"""Surfaces in one figure, at most."""

STYLES = ("-", "--", "-.", ":", (0, (5, 1)), (0, (3, 1, 1, 1)), (0, (1, 1)), (0, (6, 2, 1, 2)))
MARKS = ("o", "s", "^", "D", "v", "P", "X", "*")
INKS = ("#d55e00", "#000000", "#cc79a7", "#ffffff", "#009e73", "#56b4e9", "#e69f00", "#0072b2")
"""A path has a colour, a dash and a mark of its own, so that grey tells it too."""


def landscape_figure(found: Any, path: Path | str | IO[bytes], *, surface3d: bool = False) -> None:
    """Draw a landscape to a file; its ending says the kind (.svg, .png, .pdf). The same facts give the same bytes.

    Args:
        found: A `Picture`, a `Line` between nets, a `Neuron` or a `Slide`.
        path: The file; or an open one, which becomes a PNG.
        surface3d: As a surface in three dimensions, with paths at their true losses.

    Raises:
        UsageError: matplotlib is not installed, or the facts have no such picture.
    """
    from weightwalk.errors import UsageError
    from weightwalk.show import landscape_figures_flat as flat

    kind = type(found).__name__
    if kind == "Landscape":
        found, kind = as_picture(found), "Picture"
    if surface3d:
        from weightwalk.show.landscape_figures_3d import solid

        if kind == "Line" or (kind == "Picture" and found.surfaces[0].shown == 1):
            raise UsageError("A line has no surface to be drawn in three dimensions; leave --surface3d out.")
        save(lambda make: solid(make, found), path, SETTINGS)
        return
    if kind == "Picture" and found.trajectory is not None:
        from weightwalk.show.landscape_figures_path import trajectory_drawing

        save(lambda make: trajectory_drawing(make, found), path, SETTINGS)
        return
    draw = {"Neuron": flat.neuron_drawing, "Slide": flat.slide_drawing, "Line": flat.line_drawing}.get(kind)
    if draw is None:
        draw = flat.surface_line if found.surfaces[0].shown == 1 else flat.maps
    save(lambda make: draw(make, found), path, SETTINGS)


# What all of them share ---------------------------------------------------------------------------------------------


def norm(low: float, high: float) -> tuple[Any, np.ndarray]:
    """The scale of colours, and the borders of its bands."""
    from matplotlib.colors import BoundaryNorm

    if not high > low:
        low, high = low - 0.5 * (abs(low) or 1.0), low + 0.5 * (abs(low) or 1.0)
    steep = logarithmic(low, high)
    borders = np.geomspace(low, high, BANDS + 1) if steep else np.linspace(low, high, BANDS + 1)
    return BoundaryNorm(borders, 256), borders


def heights(axes: Any, a: np.ndarray, b: np.ndarray, losses: np.ndarray, scale: tuple[float, float]) -> Any:
    """Bands of colour with thin borders; what has no finite loss is hatched."""
    shades, borders = norm(*scale)
    shown = np.ma.masked_invalid(np.clip(losses, borders[0], borders[-1]))
    axes.set_facecolor("#d9d9d9")
    drawn = axes.contourf(a, b, shown.T, levels=borders, norm=shades, cmap=COLOURS, extend="neither")
    axes.contour(a, b, shown.T, levels=borders[::3], colors="white", linewidths=0.45, alpha=0.75)
    if not np.isfinite(losses).all():
        bad = (~np.isfinite(losses)).astype(float)
        axes.contourf(a, b, bad.T, levels=[0.5, 1.5], colors="none", hatches=["xxx"])
    axes.set_xlim(a[0], a[-1])
    axes.set_ylim(b[0], b[-1])
    axes.tick_params(labelsize=7.5)
    return drawn


def bar(figure: Any, drawn: Any, where: Any, text: str, scale: tuple[float, float]) -> None:
    """The scale of colours, with numbers that can be read."""
    made = figure.colorbar(drawn, ax=where, fraction=0.046, pad=0.03)
    made.outline.set_visible(False)
    _, borders = norm(*scale)
    ticks = borders[:: BANDS // 6]
    made.set_ticks(list(ticks), labels=[f"{v:.3g}" for v in ticks])
    made.ax.tick_params(labelsize=7.5, length=2)
    made.ax.minorticks_off()
    made.set_label(text + (", logarithmic" if logarithmic(*scale) else ""), fontsize=8.5)


def paths_on(axes: Any, paths: Sequence[Any]) -> None:
    """Each path with its start marked, and a name in the legend."""
    for i, path in enumerate(paths):
        ink, dash, mark = INKS[i % len(INKS)], STYLES[i % len(STYLES)], MARKS[i % len(MARKS)]
        x, y = path.points.T
        axes.plot(x, y, color=INK, linewidth=2.6, linestyle="-", alpha=0.55, zorder=4, scalex=False, scaley=False)
        axes.plot(x, y, color=ink, linewidth=1.4, linestyle=dash, marker=mark, markersize=3.4,
                  markevery=max(1, len(x) // 25), markeredgecolor=INK, markeredgewidth=0.4, zorder=5, label=said(path),
                  scalex=False, scaley=False)  # fmt: skip
    if paths:
        axes.plot(*paths[0].points[0], "s", color="white", markersize=7, markeredgecolor=INK, zorder=6)


def said(path: Any) -> str:
    """A path in a legend."""
    end = "diverged" if path.diverged else f"ends at {path.final:.3g}"
    share = f", {100 * path.shown:.1f} % of it seen" if path.shown < 0.9995 else ""
    return f"{path.name}: {end}{share}"


def legend(figure: Any, axes: Any, x: float, y: float) -> None:
    """The names of the paths, on grey, so that a white one is seen."""
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(handles, labels, loc="upper left", bbox_to_anchor=(x, y), fontsize=7.6, handlelength=3.4,
                  labelspacing=0.25, frameon=True, facecolor="#dde1e6", edgecolor="none", borderaxespad=0)  # fmt: skip


def legend_room(paths: Sequence[Any]) -> float:
    """Inches that `legend` takes."""
    return 0.152 * len(paths) + 0.2 if paths else 0.0


def plain_ticks(axis: Any) -> None:
    """Numbers as they are written, on a logarithmic axis too, and enough of them where it spans few decades."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    low, high = axis.get_view_interval()
    if axis.get_scale() == "log" and low > 0 and high < 300 * low:
        axis.set_major_locator(LogLocator(base=10, subs=(1.0, 2.0, 5.0)))
    axis.set_major_formatter(FuncFormatter(lambda v, _: f"{v:g}"))
    axis.set_minor_formatter(NullFormatter())


def centre(axes: Any, at: Sequence[float] = (0.0, 0.0), label: str = "") -> None:
    """The place of the net itself."""
    axes.plot(*at, "+", color="white", markersize=12, markeredgewidth=3.4, zorder=7)
    axes.plot(*at, "+", color=INK, markersize=11, markeredgewidth=1.4, zorder=8, label=label or None)


def heading(figure: Any, found: Any, width: int, y: float = 0.985) -> None:
    """Title, and under it how the net came to be."""
    figure.text(0.01, y, title(found), fontsize=10.5, va="top", ha="left", weight="bold")
    if not found.settings:
        return
    words = "\n".join(textwrap.wrap(settings_words(found), width, break_on_hyphens=False))
    figure.text(0.01, y - 0.30 / figure.get_figheight(), words, fontsize=7.8, va="top", ha="left", color=GREY)


def notes(figure: Any, sentences: Sequence[str], width: int, y: float, x: float = 0.01) -> None:
    """What the picture leaves out, inside it: a line or two for each sentence."""
    lines = [
        part if k == 0 else f"   {part}"
        for s in sentences
        for k, part in enumerate(textwrap.wrap(f"• {s}", width, break_on_hyphens=False))
    ]
    figure.text(x, y, "\n".join(lines), fontsize=7.6, color=GREY, va="top", ha="left", linespacing=1.4)


def room(sentences: Sequence[str], width: int) -> float:
    """Inches that `notes` takes."""
    lines = sum(len(textwrap.wrap(f"• {s}", width, break_on_hyphens=False)) for s in sentences)
    return 0.152 * lines + 0.12


def short_axis(label: str) -> str:
    """An axis label on two lines at most."""
    return "\n".join(textwrap.wrap(label, 46, break_on_hyphens=False)[:2])


__all__ = ["SERIES", "hidden_sentences", "landscape_figure"]
