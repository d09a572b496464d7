"""The formula on a plane, on the terminal: the two counts, the largest regions with their maps, a picture in cells."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from rich.text import Text

from weightwalk.show.formula_layout import count, digits_of, fitted, listed, short, told
from weightwalk.show.layout import wrapped

OUTPUTS = 3
"""Outputs whose maps are listed."""

VIEW = 0.75
"""Of the whole plane, what is drawn reaches beyond four fifths of the vertices by this part of their span."""

# Nine colours of viridis (matplotlib, CC0): even in lightness, and told apart by colour-blind eyes.
VIRIDIS = ("#440154", "#472d7b", "#3b528b", "#2c728e", "#21918c", "#28ae80", "#5ec962", "#addc30", "#fde725")


SHADES = " ░▒▓█"
"""From least to greatest, where there are no colours."""


def plane_title(plane: Any) -> str:
    """``153 activation regions, 151 maximal affine regions, on [-1, 1] x [-1, 1]``."""
    both = count(plane.activation_regions, "activation region"), count(plane.affine_regions, "maximal affine region")
    return f"{', '.join(both)}, {box_words(plane.box)}"


def box_words(box: Any) -> str:
    """Where a plane's formula holds, in words."""
    return "on the whole plane" if box is None else "on " + " x ".join(f"[{told(a)}, {told(b)}]" for a, b in box)


def plane_lines(plane: Any, width: int, top: int | None, exact: Any = None, picture: str = "") -> Iterator[Text]:
    """Definitions, picture, largest regions, kinks, fractions."""
    for text in (
        f"{count(plane.activation_regions, 'activation region')}: polygons on which every unit keeps to one of its "
        "pieces",
        f"{count(plane.affine_regions, 'maximal affine region')}: neighbours with the same map are counted as one",
    ):
        yield from wrapped(text, width, "  ", "dim")
    if picture in ("colours", "shades"):
        yield Text("")
        yield from picture_lines(plane, width, colours=picture == "colours")
    yield Text("")
    yield from region_lines(plane, width, top)
    yield from _smallest(plane, width)
    if plane.snapped and exact is None:
        yield from wrapped(_snapped(plane), width, "  ", "dim")
    if exact is not None:
        text = f"in fractions, nothing rounded: {count(exact.activation_regions, 'activation region')}, "
        yield from wrapped(text + count(exact.affine_regions, "maximal affine region"), width, "  ", "dim")


def region_lines(plane: Any, width: int, top: int | None) -> Iterator[Text]:
    """The largest maximal affine regions and the map on each."""
    areas = plane.affine_areas
    size = np.where(np.isnan(areas), np.inf, areas)
    order = np.argsort(-size, kind="stable")
    most = len(order) if top is None else min(top, len(order))
    some = order[:most]
    first = first_of(plane.affine, plane.affine_regions)[some]
    members = np.bincount(plane.affine, minlength=plane.affine_regions)[some]
    names, outputs = plane.net.inputs, plane.net.outputs[:OUTPUTS]
    whole = None if plane.box is None else np.prod([b - a for a, b in plane.box])

    def rows(digits: int) -> list[tuple[object, ...]]:
        made: list[tuple[object, ...]] = []
        for region, area, joined in zip(first, areas[some], members, strict=True):
            share = "unbounded" if np.isnan(area) else short(area) if whole is None else f"{100 * area / whole:.3g} %"
            for o, name in enumerate(outputs):
                numbers = (*plane.slopes[region, o], plane.offsets[region, o])
                head = (share, f"{joined:,}") if o == 0 else ("", "")
                which = () if len(outputs) == 1 else (name,)
                made.append((*head, *which, *(digits_of(v, digits) for v in numbers)))
        return made

    which = () if len(outputs) == 1 else ("output",)
    size_head = "area" if whole is None else "area of the box"
    heads = (size_head, "patterns", *which, f"slope in {names[0]}", f"slope in {names[1]}", "constant")
    yield from fitted(heads, rows, width)
    if len(order) > most:
        more = "smaller region" if whole is not None else "region"
        text = f"not shown: {count(len(order) - most, more)}{'' if whole is not None else ' more'}"
        yield from wrapped(text, width, "  ", "dim")
    if len(plane.net.outputs) > OUTPUTS:
        rest = plane.net.outputs[OUTPUTS:]
        yield from wrapped(
            f"not shown: the maps of {count(len(rest), 'output')} more ({listed(rest)})", width, "  ", "dim"
        )


def first_of(label: np.ndarray, labels: int) -> np.ndarray:
    """For each label its first place."""
    found = np.zeros(labels, int)
    found[label[::-1]] = np.arange(len(label))[::-1]
    return found


def _smallest(plane: Any, width: int) -> Iterator[Text]:
    areas = plane.areas[~np.isnan(plane.areas)]
    if len(areas):
        text = f"smallest activation region: area {short(areas.min())}; largest: {short(areas.max())}"
        yield from wrapped(text, width, "  ", "dim")


def _snapped(plane: Any) -> str:
    """What the counts rest on where kinks meet in one point, or nearly do."""
    return (
        f"{count(plane.snapped, 'vertex', 'vertices')} held to be on further kinks, by the tolerance of "
        f"{short(plane.tolerance)} of a unit's size: regions finer than that are not told apart; --exact settles it in "
        f"fractions, for a small net"
    )


# The picture --------------------------------------------------------------------------------------------------------


def view(plane: Any) -> tuple[tuple[float, float], tuple[float, float]]:
    """What is drawn: the box; of the whole plane a rectangle around the vertices, but for a few that lie far out."""
    if plane.box is not None:
        return plane.box
    points = plane.vertices[~plane.infinite]
    if not len(points):
        return ((-1.0, 1.0), (-1.0, 1.0))
    inner = np.quantile(points, (0.1, 0.9), axis=0)
    margin = VIEW * float((inner[1] - inner[0]).max()) or float(np.ptp(points, axis=0).max()) or 1.0
    low = np.maximum(inner[0] - margin, points.min(0) - margin / 2)
    high = np.minimum(inner[1] + margin, points.max(0) + margin / 2)
    return ((float(low[0]), float(high[0])), (float(low[1]), float(high[1])))


def grid(sides: Sequence[Sequence[float]], across: int, down: int) -> np.ndarray:
    """(down x across, 2) middles of equal cells, row by row from the top."""
    (a, b), (c, d) = sides
    s = a + (np.arange(across) + 0.5) / across * (b - a)
    t = d - (np.arange(down) + 0.5) / down * (d - c)
    return np.stack(np.meshgrid(s, t), axis=-1).reshape(-1, 2)


def picture_lines(plane: Any, width: int, output: int = 0, across: int = 64, colours: bool = True) -> Iterator[Text]:
    """One output over the plane: in half-block cells of true colour, or in five shades where there are no colours."""
    sides = view(plane)
    (a, b), (c, d) = sides
    bottom, top = told(c, 3), told(d, 3)
    margin = max(len(bottom), len(top)) + 3
    across = max(16, min(across, width - margin - 2))
    rows = max(4, min(40, round(across * (d - c) / (b - a) / 2)))
    down = 2 * rows if colours else rows
    values = plane.net(grid(sides, across, down))[:, output].reshape(down, across)
    least, greatest = float(values.min()), float(values.max())
    level = (values - least) / (greatest - least) if greatest > least else np.full_like(values, 0.5)
    for i, cells in enumerate(_coloured(level) if colours else _shaded(level)):
        label = top if i == 0 else bottom if i == rows - 1 else ""
        yield Text(f"{label:>{margin}} ", style="dim").append_text(cells)
    left, right = told(a, 3), told(b, 3)
    yield Text(f"{' ' * margin} {left}{' ' * max(1, across - len(left) - len(right))}{right}", style="dim")
    yield _legend(least, greatest, margin, colours)
    s, t = plane.net.inputs
    text = f"{plane.net.outputs[output]} over {s} (across) and {t} (up): a sample at {across} x {down} points"
    text += "" if colours else ", in five shades"
    text += ". Regions smaller than a cell cannot be seen here; the counts and maps are of all of them."
    if len(plane.net.outputs) > 1:
        text += f" Not drawn: {count(len(plane.net.outputs) - 1, 'other output')}."
    yield from wrapped(text, width, "  ", "dim")


def _coloured(level: np.ndarray) -> Iterator[Text]:
    """Two rows of points to a line: the upper half of a cell and the lower."""
    colours = [[ramp(v) for v in row] for row in level.tolist()]
    for over, under in zip(colours[::2], colours[1::2], strict=True):
        line = Text()
        for upper, lower in zip(over, under, strict=True):
            line.append("▀", style=f"not dim {upper} on {lower}")
        yield line


def _shaded(level: np.ndarray) -> Iterator[Text]:
    for row in np.minimum((level * len(SHADES)).astype(int), len(SHADES) - 1).tolist():
        yield Text("".join(SHADES[v] for v in row), style="not dim")


def shaded_picture(values: np.ndarray, sides: Sequence[Sequence[float]], logarithmic: bool = False) -> Iterator[Text]:
    """Numbers in rows from the top, each two cells wide, in five shades; with the ends of the axes and a legend."""
    (a, b), (c, d) = sides
    bottom, top = told(c, 3), told(d, 3)
    margin = max(len(bottom), len(top)) + 3
    least, greatest = float(values.min()), float(values.max())
    scaled = np.log(values) if logarithmic else values
    spread = float(np.ptp(scaled))
    level = (scaled - scaled.min()) / spread if spread else np.full_like(values, 0.5)
    rows, across = len(values), 2 * values.shape[1]
    for i, cells in enumerate(_shaded(np.repeat(level, 2, axis=1))):
        label = top if i == 0 else bottom if i == rows - 1 else ""
        yield Text(f"{label:>{margin}} ", style="dim").append_text(cells)
    left, right = told(a, 3), told(b, 3)
    yield Text(f"{' ' * margin} {left}{' ' * max(1, across - len(left) - len(right))}{right}", style="dim")
    yield _legend(least, greatest, margin, colours=False)


def _legend(least: float, greatest: float, margin: int, colours: bool) -> Text:
    """From the least value to the greatest."""
    legend = Text(f"{' ' * margin} {told(least, 4)} ", style="dim")
    for i in range(15):
        style = f"not dim {ramp(i / 14)}" if colours else "not dim"
        legend.append("█" if colours else SHADES[i * len(SHADES) // 15], style=style)
    return legend.append(f" {told(greatest, 4)}")


def ramp(level: float) -> str:
    """A colour for 0 to 1.

    >>> ramp(0.0), ramp(1.0), ramp(0.5)
    ('#440154', '#fde725', '#21918c')
    """
    place = min(max(level, 0.0), 1.0) * (len(VIRIDIS) - 1)
    i = min(int(place), len(VIRIDIS) - 2)
    mix = place - i
    low, high = (tuple(int(VIRIDIS[k][p : p + 2], 16) for p in (1, 3, 5)) for k in (i, i + 1))
    return "#" + "".join(f"{round(a + mix * (b - a)):02x}" for a, b in zip(low, high, strict=True))
