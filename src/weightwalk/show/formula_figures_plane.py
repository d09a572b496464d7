"""Pictures of a plane: its regions coloured by value, slope or decision, and the kink lines between them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from weightwalk.show.drawing import INK
from weightwalk.show.formula_figures import FAINT, GREY, LABELS, SERIES, caption, legend_name, titled
from weightwalk.show.formula_layout import count, listed, told
from weightwalk.show.formulas_line import flat_words
from weightwalk.show.formulas_plane import grid, plane_title, view
from weightwalk.show.layout import shown

COLOURS = ("value", "slope", "decision", "least")

RASTER = 600
"""Points across and up at which a net's own numbers colour the picture."""

CHUNK = 2**22
"""Numbers that are laid out at once to colour it, per unit of the widest layer."""

MANY = 20_000
"""Polygons or lines beyond which they are drawn as pixels, also in SVG and PDF."""

LEGEND = 20
"""Outputs in the legend of a decision."""

FAR = 20.0
"""How far an unbounded region is drawn, in sizes of the picture."""


@dataclass(frozen=True)
class Kinks:
    """The lines on which units switch, each once.

    Attributes:
        ends: (L, 2, 2) points.
        unit: (L,) counted through all layers.
        layer: (L,).
        silent: (L,) bool: the map is the same on both sides.
    """

    ends: np.ndarray
    unit: np.ndarray
    layer: np.ndarray
    silent: np.ndarray


def plane_drawing(make: Any, found: Any, colour: str, data: Any, output: int) -> Any:
    """One picture: colours, kink lines, labels, points, caption."""
    plane = found.facts
    sides = view(plane)
    (a, b), (c, d) = sides
    tall = (d - c) / (b - a)
    tall = tall if 0.5 <= tall <= 1.5 else 0.82  # sides as unlike as these are in units of their own
    figure = make(figsize=(7.4, 6.2 * tall + 0.6))
    axes = figure.add_subplot()
    said = _PAINTERS[colour](axes, plane, sides, output)
    kinks = kink_lines(plane, sides)
    _draw_kinks(axes, kinks, len(plane.net.layers))
    named = _name_units(axes, plane, kinks, sides)
    points = _draw_points(axes, data, sides)
    axes.set_xlim(a, b)
    axes.set_ylim(c, d)
    axes.set_box_aspect(tall)
    axes.set_xlabel(plane.net.inputs[0], fontsize=9)
    axes.set_ylabel(plane.net.inputs[1], fontsize=9)
    axes.tick_params(labelsize=8)
    titled(axes, found, f"{found.name}: {plane_title(plane)}")
    caption(axes, _caption(found, said, kinks, named, points, sides), 38, width=104)
    return figure


# Colours ------------------------------------------------------------------------------------------------------------


def _numbers(plane: Any, sides: Any) -> np.ndarray:
    """(side, side, outputs) the net at the middles of the pixels, in pieces that fit into memory."""
    side = raster(plane)
    points = grid(sides, side, side)
    widest = max([layer.size for layer in plane.net.layers], default=1)
    step = max(1, CHUNK // max(widest, 1))
    parts = [plane.net(points[i : i + step]) for i in range(0, len(points), step)]
    return np.concatenate(parts).reshape(side, side, -1)


def raster(plane: Any) -> int:
    """Points across and up: fewer for a net that takes long."""
    return RASTER if plane.net.units < 400 else RASTER // 2


def _paint_value(axes: Any, plane: Any, sides: Any, output: int) -> str:
    name = plane.net.outputs[output]
    values = _numbers(plane, sides)[..., output]
    image = axes.imshow(values, extent=(*sides[0], *sides[1]), cmap="viridis", aspect="auto", zorder=0)
    bar = axes.figure.colorbar(image, ax=axes, fraction=0.045, pad=0.02)
    bar.ax.tick_params(labelsize=8)
    bar.outline.set_visible(False)
    bar.set_label(name, fontsize=9)
    return f"Colour: {name}, at {raster(plane)} x {raster(plane)} points{_others(plane)}."


def _others(plane: Any) -> str:
    rest = len(plane.net.outputs) - 1
    return f"; {count(rest, 'other output')} not drawn" if rest else ""


def _paint_slope(axes: Any, plane: Any, sides: Any, output: int) -> str:
    """Each region in one colour: a map has one gradient."""
    from matplotlib.collections import PolyCollection

    slopes = plane.slopes[:, output]
    size = np.hypot(*slopes.T)
    most = float(size.max(initial=0.0)) or 1.0
    colours = _wheel(np.arctan2(slopes[:, 1], slopes[:, 0]), size / most)
    shapes = PolyCollection(polygons(plane, sides), facecolors=colours, edgecolors="face", linewidths=0.3, zorder=0)
    shapes.set_rasterized(plane.activation_regions > MANY)
    axes.add_collection(shapes, autolim=False)
    _wheel_legend(axes, most)
    how = ", drawn as pixels because of their number" if plane.activation_regions > MANY else ""
    name = plane.net.outputs[output]
    return f"Colour of a region{how}: the slope of {name}, hue its direction, strength its size{_others(plane)}."


def _wheel(angle: np.ndarray, strength: np.ndarray) -> np.ndarray:
    """RGB: hue by angle, white where the strength is 0.

    Hues of Oklab (Ottosson, 2020), darker downwards, so that lightness helps eyes that miss some hues.
    """
    full = np.clip(strength, 0, 1) ** 0.7
    light = 1 - full * (0.37 - 0.12 * np.sin(angle))
    a, b = 0.13 * full * np.cos(angle), 0.13 * full * np.sin(angle)
    cones = np.stack([
        light + 0.3963377774 * a + 0.2158037573 * b,
        light - 0.1055613458 * a - 0.0638541728 * b,
        light - 0.0894841775 * a - 1.2914855480 * b,
    ], axis=-1) ** 3  # fmt: skip
    linear = np.clip(cones @ np.array([
        [4.0767416621, -1.2684380046, -0.0041960863],
        [-3.3077115913, 2.6097574011, -0.7034186147],
        [0.2309699292, -0.3413193965, 1.7076147010],
    ]), 0, 1)  # fmt: skip
    return np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)


def _wheel_legend(axes: Any, most: float) -> None:
    inset = axes.inset_axes((1.03, 0.74, 0.2, 0.24))
    x, y = np.meshgrid(np.linspace(-1, 1, 121), np.linspace(1, -1, 121))
    radius = np.hypot(x, y)
    colours = np.dstack([_wheel(np.arctan2(y, x), radius), (radius <= 1).astype(float)])
    inset.imshow(colours, extent=(-1, 1, -1, 1))
    inset.set_axis_off()
    inset.text(0, -1.12, f"slope: direction\nof increase; rim\nsize {told(most, 3)}", ha="center", va="top", fontsize=7,
               color=GREY)  # fmt: skip


def _paint_decision(axes: Any, plane: Any, sides: Any, output: int, least: bool = False) -> str:
    """Which output leads where; the borders lie where two outputs are equal, also inside of regions."""
    from matplotlib import colormaps
    from matplotlib.collections import LineCollection, PolyCollection
    from matplotlib.colors import to_rgb
    from matplotlib.patches import Patch

    from weightwalk.formulas.planes.decisions import decisions, outlines

    found = decisions(plane, least)
    names, word = plane.net.outputs, "least" if least else "greatest"
    led = np.bincount(found.winner, minlength=len(names))
    here = [w for w in np.argsort(-led, kind="stable").tolist() if led[w]]
    table = np.zeros((len(names), 3))
    for i, w in enumerate(here):
        table[w] = to_rgb(SERIES[i]) if len(here) <= len(SERIES) else colormaps["tab20"](i % 20)[:3]
    table = 0.3 + 0.7 * table
    shapes = PolyCollection(polygons(found, sides), facecolors=table[found.winner], edgecolors="face", linewidths=0.3,
                            zorder=0)  # fmt: skip
    shapes.set_rasterized(len(found.winner) > MANY)
    axes.add_collection(shapes, autolim=False)
    borders = outlines(found, found.winner).ends
    lines = np.stack(_far_ends(found.vertices, found.infinite, borders[:, 0], borders[:, 1], sides), 1)
    axes.add_collection(
        LineCollection(list(lines), colors=INK, linewidths=1.5, capstyle="round", zorder=2), autolim=False
    )
    patches = [
        Patch(facecolor=tuple(table[w].tolist()), edgecolor=GREY, label=legend_name(names[w])) for w in here[:LEGEND]
    ]
    axes.legend(handles=patches, fontsize=7.5, frameon=False, loc="upper left", bbox_to_anchor=(1.01, 1.0),
                title=f"{word} output", title_fontsize=8)  # fmt: skip
    never = len(names) - len(here)
    text = f"Colour: which output is {word}, in {count(len(found.winner), 'polygon')}, exact; black: where it changes"
    text += f"; {count(never, 'output')} nowhere {word}" if never else ""
    text += f"; {len(here) - LEGEND:,} more are not in the legend" if len(here) > LEGEND else ""
    return text + "."


def _paint_least(axes: Any, plane: Any, sides: Any, output: int) -> str:
    return _paint_decision(axes, plane, sides, output, least=True)


_PAINTERS = {"value": _paint_value, "slope": _paint_slope, "decision": _paint_decision, "least": _paint_least}


# Regions and kinks --------------------------------------------------------------------------------------------------


def _after(found: Any) -> np.ndarray:
    """(E,) for each ring entry, the place of the next one in its ring."""
    after = np.arange(1, len(found.ring) + 1)
    after[found.start[1:] - 1] = found.start[:-1]
    return after


def _far_ends(
    vertices: np.ndarray, infinite: np.ndarray, first: np.ndarray, last: np.ndarray, sides: Any
) -> tuple[np.ndarray, np.ndarray]:
    """(E, 2) start and end of edges between vertices; of one at infinity, a place far out of the picture."""
    starts, ends = vertices[first], vertices[last]
    if not infinite.any():
        return starts, ends
    far = FAR * max(b - a for a, b in sides)
    at, after = infinite[first], infinite[last]
    return (
        np.where((at & ~after)[:, None], vertices[last] + far * vertices[first], starts),
        np.where((after & ~at)[:, None], vertices[first] + far * vertices[last], ends),
    )


def polygons(found: Any, sides: Any) -> list[np.ndarray]:
    """The corners of every polygon of a partition or of decisions; an unbounded one reaches far out of the picture."""
    if not found.infinite.any():
        return np.split(found.vertices[found.ring], found.start[1:-1])
    after = found.ring[_after(found)]
    pairs = np.stack(_far_ends(found.vertices, found.infinite, found.ring, after, sides), 1)
    bounded = ~(found.infinite[found.ring] & found.infinite[after])
    places = zip(found.start[:-1], found.start[1:], strict=True)
    return [pairs[a:b][bounded[a:b]].reshape(-1, 2) for a, b in places]


def kink_lines(plane: Any, sides: Any) -> Kinks:
    """Each edge between two regions once, with its unit; sides of the box and seams are left out."""
    after = plane.ring[_after(plane)]
    at_infinity = plane.infinite[plane.ring] & plane.infinite[after]
    keep = np.flatnonzero((plane.edge >= 0) & ~at_infinity)
    low, high = np.minimum(plane.ring[keep], after[keep]), np.maximum(plane.ring[keep], after[keep])
    order = keep[np.lexsort((high, low))]
    pair = np.stack([np.minimum(plane.ring[order], after[order]), np.maximum(plane.ring[order], after[order])], 1)
    again = np.concatenate([[False], (pair[1:] == pair[:-1]).all(1)]) if len(order) else np.zeros(0, bool)
    first = np.flatnonzero(~again)
    last = np.append(first[1:], len(order))[: len(first)] - 1
    label = plane.affine[plane.region[order]]
    silent = (label[first] == label[last]) & (last > first)
    starts, ends = _far_ends(plane.vertices, plane.infinite, plane.ring, after, sides)
    chosen = order[first]
    sizes = np.cumsum([layer.size for layer in plane.net.layers])
    unit = plane.edge[chosen]
    return Kinks(np.stack([starts[chosen], ends[chosen]], 1), unit, np.searchsorted(sizes, unit, "right"), silent)


def _draw_kinks(axes: Any, kinks: Kinks, layers: int) -> None:
    """Thick in the first layer, thin in the last; dashed where the switch changes nothing."""
    from matplotlib.collections import PathCollection
    from matplotlib.path import Path

    crowded, alpha = (1.0, 0.85) if len(kinks.ends) < 3000 else (0.55, 0.8) if len(kinks.ends) < MANY else (0.4, 0.45)
    for layer in np.unique(kinks.layer):
        width = 1.5 - 1.0 * layer / max(layers - 1, 1) if layers > 1 else 1.1
        for silent, style in ((False, "solid"), (True, (0, (2, 2)))):
            some = kinks.ends[(kinks.layer == layer) & (kinks.silent == silent)]
            if not len(some):
                continue
            codes = np.tile([Path.MOVETO, Path.LINETO], len(some)).astype(Path.code_type)
            shape = PathCollection([Path(some.reshape(-1, 2), codes)], facecolors="none", edgecolors="white",
                                   linewidths=max(width * crowded, 0.3), linestyles=[style], alpha=alpha, zorder=1,
                                   capstyle="round")  # fmt: skip
            shape.set_rasterized(len(kinks.ends) > MANY)
            axes.add_collection(shape, autolim=False)


def _name_units(axes: Any, plane: Any, kinks: Kinks, sides: Any) -> int:
    """The units with the longest kinks, each at the middle of its longest edge."""
    low, high = np.array(sides).T
    ends = clipped(kinks.ends, low, high)
    lengths = np.hypot(*((ends[:, 1] - ends[:, 0]) / (high - low)).T)
    if not len(lengths):
        return 0
    units, place = np.unique(kinks.unit, return_inverse=True)
    total = np.bincount(place, lengths)
    taken: list[np.ndarray] = []
    most = LABELS if len(kinks.ends) < MANY else LABELS // 3
    for i in np.argsort(-total, kind="stable")[: 3 * LABELS]:
        mine = np.flatnonzero(place == i)
        for edge in mine[np.argsort(-lengths[mine], kind="stable")][:4]:
            middle = (ends[edge].mean(0) - low) / (high - low)
            if ((middle < 0.02) | (middle > 0.98)).any() or any(np.abs(middle - t).max() < 0.055 for t in taken):
                continue
            taken.append(middle)
            at = low + middle * (high - low)
            axes.text(*at, plane.unit(int(units[i])), fontsize=6, color=INK, ha="center", va="center", zorder=4,
                      bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 0.8})  # fmt: skip
            break
        if len(taken) >= most:
            break
    return len(taken)


def clipped(ends: np.ndarray, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """Segments (L, 2, 2) cut at the sides of the picture; of length 0 where nothing is inside (Liang and Barsky)."""
    start, way = ends[:, 0], ends[:, 1] - ends[:, 0]
    with np.errstate(divide="ignore", invalid="ignore"):
        reach = np.stack([(low - start) / way, (high - start) / way])
    outside = (way == 0) & ((start < low) | (start > high))
    enter = np.where(way == 0, 0.0, reach.min(0)).max(1, initial=0.0)
    leave = np.where(way == 0, 1.0, reach.max(0)).min(1, initial=1.0)
    enter = np.where((leave < enter) | outside.any(1), leave, enter)
    return np.stack([start + enter[:, None] * way, start + leave[:, None] * way], 1)


def _draw_points(axes: Any, data: Any, sides: Any) -> tuple[int, int]:
    """Points on top; (how many, how many of them outside)."""
    if data is None:
        return 0, 0
    points = np.asarray(data[0] if isinstance(data, (tuple, list)) else data, float)
    (a, b), (c, d) = sides
    inside = (points[:, 0] >= a) & (points[:, 0] <= b) & (points[:, 1] >= c) & (points[:, 1] <= d)
    size, rim = (9, 0.4) if inside.sum() < 300 else (2, 0.0)
    axes.scatter(*points[inside, :2].T, s=size, c="#d55e00", edgecolors="white", linewidths=rim, zorder=3)
    names: Any = data[1] if isinstance(data, tuple) else ()
    for i in np.flatnonzero(inside).tolist() if len(names) and isinstance(names[0], str) else ():
        axes.annotate(shown(names[i]), points[i, :2], (4, 4), textcoords="offset points", fontsize=8, zorder=4,
                      bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.75, "pad": 0.8})  # fmt: skip
    return len(points), int((~inside).sum())


def _caption(found: Any, said: str, kinks: Kinks, named: int, points: tuple[int, int], sides: Any) -> str:
    plane = found.facts
    parts = []
    if found.flat is not None:
        words = flat_words(found.flat, found.lifted.net.inputs)
        if len(found.lifted.net.inputs) > 2:
            parts.append(f"A slice: {words}. Nothing is said of inputs off this plane.")
        else:
            parts.append(f"{words[:1].upper()}{words[1:]}.")
    parts.append(said)
    if len(kinks.ends):
        units = len(np.unique(kinks.unit))
        how = ", drawn as pixels because of their number" if len(kinks.ends) > MANY else ""
        thin = ", thinner from layer to layer" if len(plane.net.layers) > 1 else ""
        line = f"White: {count(len(kinks.ends), 'kink segment')} of {count(units, 'unit')}, exact{thin}{how}"
        silent = int(np.count_nonzero(kinks.silent))
        line += f"; dashed: {silent:,} that change nothing" if silent else ""
        rest = units - named
        line += f"; the {named:,} with the longest kinks are named, the other {rest:,} are not" if rest else ""
        parts.append(line + ".")
    left = []
    if plane.box is None:
        (a, b), (c, d) = sides
        points_at = plane.vertices[~plane.infinite]
        outside = int((~((points_at >= (a, c)) & (points_at <= (b, d))).all(1)).sum())
        corners = (
            f", where {count(outside, 'corner')} of regions {'lie' if outside != 1 else 'lies'}" if outside else ""
        )
        left.append(f"the plane beyond [{told(a, 3)}, {told(b, 3)}] x [{told(c, 3)}, {told(d, 3)}]{corners}")
    if points[1]:
        left.append(f"{count(points[1], 'point')} of the data outside")
    if points[0]:
        parts.append(f"Orange: {count(points[0] - points[1], 'data point')}.")
    if left:
        parts.append(f"Not drawn: {listed(left)}.")
    return " ".join(parts)


__all__ = ["COLOURS", "FAINT", "kink_lines", "plane_drawing", "polygons"]
