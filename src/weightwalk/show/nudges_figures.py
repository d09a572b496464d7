"""The blame as a picture: each parameter tensor a matrix, blue and orange for sign, the guiltiest weights framed."""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import Any

from weightwalk.show.drawing import INK, save

SAID = 14  # cells across up to which the number itself is written
MOST_LABELS = 20


def draw(picture: Any, path: Path) -> None:
    """Draw the picture to a file; its ending says the kind (.svg, .png, .pdf).

    Raises:
        UsageError: matplotlib is not installed.
    """
    save(lambda make: _drawing(make, picture), path)


# Inches: width of a panel, of the space before it (names of rows), of the heading of a row, of the title
WIDE, BEFORE, HEAD, TITLE = 3.3, 0.75, 0.42, 0.95


def _drawing(make: Any, picture: Any) -> Any:
    columns = min(3, max(1, len(picture.panels)))
    lines = [picture.panels[i : i + columns] for i in range(0, len(picture.panels), columns)]
    heights = [max(_height(p) for p in line) + HEAD for line in lines]
    width, height = max(columns * (WIDE + BEFORE), 7.0) + 1.1, sum(heights) + TITLE + 0.2
    figure = make(figsize=(width, height))
    image, top = None, height - TITLE
    for line, room in zip(lines, heights, strict=True):
        for c, panel in enumerate(line):
            tall = _height(panel)
            place = (c * (WIDE + BEFORE) + BEFORE, top - HEAD - tall, WIDE, tall)
            axes = figure.add_axes(_share(place, width, height))
            image = _panel(axes, panel, picture)
        top -= room
    if image is not None:
        tall = min(3.0, sum(heights) - HEAD)
        place = (columns * (WIDE + BEFORE) + 0.2, height - TITLE - HEAD - tall, 0.15, tall)
        bar = figure.colorbar(image, cax=figure.add_axes(_share(place, width, height)))
        bar.set_label("∂loss/∂w: + lower it, - raise it", fontsize=8)
        bar.ax.tick_params(labelsize=7)
    said = f"{_plain(picture.title)}\n{_caption(picture)}"
    figure.text(0.15 / width, 1 - 0.08 / height, said, fontsize=9, ha="left", va="top")
    return figure


def _share(place: tuple[float, ...], width: float, height: float) -> tuple[float, ...]:
    """Inches as shares of the figure."""
    return place[0] / width, place[1] / height, place[2] / width, place[3] / height


def _height(panel: Any) -> float:
    rows = panel.gradient.shape[0]
    return min(3.0, max(0.3, 0.28 * rows if rows <= SAID else 0.06 * rows))


def _panel(axes: Any, panel: Any, picture: Any) -> Any:
    from matplotlib.patches import Rectangle

    size = picture.largest or 1.0
    image = axes.imshow(panel.gradient, cmap="PuOr", vmin=-size, vmax=size, aspect="auto", interpolation="nearest")
    rows, cols = panel.gradient.shape
    for i in range(rows):
        for j in range(cols):
            value = panel.gradient[i, j]
            if cols <= SAID and rows <= SAID:
                axes.text(j, i, _short(value), ha="center", va="center", fontsize=6.5 if cols > 4 else 7.5,
                          color="white" if abs(value) > 0.6 * size else INK)  # fmt: skip
            if panel.guilty[i, j]:
                for color, line in (("white", 3.0), (INK, 1.4)):
                    width = line if cols <= SAID else line / 2
                    place = (j - 0.47, i - 0.46)
                    axes.add_patch(Rectangle(place, 0.94, 0.92, fill=False, edgecolor=color, linewidth=width))
    shape = "×".join(map(str, panel.shape)) or "1"
    block = "" if panel.block == (1, 1) else f", a cell is the largest of {panel.block[0]}×{panel.block[1]}"
    named = textwrap.wrap(f"{_plain(panel.name)} ({shape}{block})", 46)
    axes.set_title("\n".join(named), fontsize=8, loc="left")
    axes.set_xticks([])
    if panel.rows and rows <= MOST_LABELS:
        axes.set_yticks(range(rows), [_plain(name) for name in panel.rows], fontsize=7)
    else:
        axes.set_yticks([])
    return image


def _short(value: float) -> str:
    return "0" if value == 0 else f"{value:+.2g}"


def _caption(picture: Any) -> str:
    text = (
        f"Framed: the {picture.top} of {picture.weights:,} weights with the greatest |∂loss/∂w|, from "
        f"{picture.threshold:.3g} up; {100 * picture.share:.1f} % of Σ|∂loss/∂w|. Weights are marked, not neurons. "
        "Not shown: the weights themselves, how far the optimizer moves them, and the loss anywhere but here."
    )
    if picture.omitted:
        text += f" {picture.omitted} tensors with less blame are not drawn."
    return "\n".join(textwrap.wrap(text, 120 if len(picture.panels) > 1 else 95))


def _plain(text: str) -> str:
    return text.replace("$", r"\$")
