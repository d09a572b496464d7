"""The picture of the loss along one weight: a chain of parabolas, drawn as such."""

from __future__ import annotations

from typing import Any

import numpy as np

from weightwalk.show.drawing import INK
from weightwalk.show.formula_figures import FAINT, SERIES, caption, titled
from weightwalk.show.formula_layout import count, told
from weightwalk.show.formulas_loss import loss_span, loss_title
from weightwalk.show.formulas_loss_plane import loss_plane_title

PLACES = 101
"""Places along each of two weights; odd, so that the weights as they are stand in the middle."""

RUG = 4000
"""Kinks beyond which they are not marked one by one."""


def loss_drawing(make: Any, loss: Any) -> Any:
    """The curve, the weight as it is, the minima, a tick at every kink."""
    from matplotlib.patches import PathPatch

    figure = make(figsize=(7.6, 4.6))
    axes = figure.add_subplot()
    low, high = loss_span(loss)
    path, top = parabolas(loss, low, high)
    axes.add_patch(PathPatch(path, facecolor="none", edgecolor=SERIES[0], linewidth=1.8, zorder=3))
    inside = loss.kinks[(loss.kinks >= low) & (loss.kinks <= high)]
    if len(inside) <= RUG:
        axes.plot(inside, np.zeros(len(inside)), "|", color=FAINT, markersize=9, markeredgewidth=0.6, zorder=1,
                  transform=axes.get_xaxis_transform(), clip_on=False)  # fmt: skip
    within = [m for m in loss.minima if low <= m.at <= high]
    green = SERIES[2]
    for m in within:
        axes.plot([m.low, m.high], [m.loss, m.loss], color=green, linewidth=3.0, solid_capstyle="butt", zorder=4)
    others = [m for m in within if m is not loss.minimum]
    said = count(len(others), "other local minimum", "other local minima") if others else "_"
    axes.plot([m.at for m in others], [m.loss for m in others], "v", color=green, markersize=5, zorder=5, label=said)
    least = loss.minimum
    axes.plot(least.at, least.loss, "v", color=green, markersize=9, markeredgecolor="white", zorder=6,
              label=f"least: {told(least.loss, 5)} at {told(least.at, 5)}")  # fmt: skip
    axes.plot(loss.at, loss.loss, "o", color=SERIES[1], markersize=8, markeredgecolor="white", zorder=7,
              label=f"as it is: {told(loss.loss, 5)} at {told(loss.at, 5)}")  # fmt: skip
    axes.set_xlim(low, high)
    bottom = min([m.loss for m in within], default=least.loss)
    room = (top - bottom) * 0.06 or max(abs(top), 1.0) * 0.06
    axes.set_ylim(bottom - 2 * room, top + room)
    axes.set_xlabel(loss.name, fontsize=9)
    axes.set_ylabel("mean squared error", fontsize=9)
    axes.tick_params(labelsize=8)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(fontsize=8, frameon=False, loc="best", labelcolor=INK)
    titled(axes, loss, loss_title(loss))
    caption(axes, _caption(loss, len(inside), len(within)), 38)
    return figure


def loss_map(make: Any, loss: Any) -> Any:
    """Over two weights: the loss at a grid of places, the kinks of the samples, the weights as they are."""
    from matplotlib.collections import LineCollection
    from matplotlib.colors import LogNorm

    from weightwalk.show.formula_figures_plane import kink_lines

    figure = make(figsize=(7.4, 6.6))
    axes = figure.add_subplot()
    first, second, values = loss.grid(PLACES)
    least, greatest = float(values.min()), float(values.max())
    wide = least > 0 and greatest > 10 * least
    shades = axes.pcolormesh(first, second, values.T, cmap="viridis", shading="nearest", rasterized=True,
                             norm=LogNorm(least, greatest) if wide else None)  # fmt: skip
    bar = figure.colorbar(shades, ax=axes, fraction=0.045, pad=0.02)
    bar.outline.set_visible(False)
    bar.ax.tick_params(labelsize=8)
    bar.set_label("mean squared error" + (", logarithmic" if wide else ""), fontsize=9)
    drawn, total = [], 0
    for found in loss.partitions:
        lines = kink_lines(found, found.box).ends
        total += len(lines)
        if sum(map(len, drawn)) + len(lines) <= RUG:
            drawn.append(lines + np.array(loss.at))
    some = np.concatenate(drawn) if drawn else np.zeros((0, 2, 2))
    axes.add_collection(LineCollection(list(some), colors="white", linewidths=0.4, alpha=0.6), autolim=False)
    axes.plot(*loss.at, "o", color=SERIES[1], markersize=8, markeredgecolor="white", label="as they are")
    axes.set_xlim(first[0], first[-1])
    axes.set_ylim(second[0], second[-1])
    axes.set_xlabel(loss.names[0], fontsize=9)
    axes.set_ylabel(loss.names[1], fontsize=9)
    axes.tick_params(labelsize=8)
    axes.legend(fontsize=8, loc="upper right")
    titled(axes, loss, loss_plane_title(loss))
    text = f"Colour: the loss by the formula at {PLACES} x {PLACES} places. White: {len(some):,} kink segments of the "
    text += "samples, "
    text += f"exact; {count(total - len(some), 'more is', 'more are')} not drawn. " if total > len(some) else "exact. "
    caption(axes, text + "All other weights stay as they are: two directions of many.", 38)
    return figure


def parabolas(loss: Any, low: float, high: float) -> tuple[Any, float]:
    """The pieces as quadratic Bezier arcs, which parabolas are; and the greatest loss at their ends."""
    from matplotlib.path import Path

    inner = loss.steps[(loss.kinks > low) & (loss.kinks < high)]
    ends = np.concatenate([[low - loss.at], inner, [high - loss.at]])
    piece = np.searchsorted(loss.steps, ends[:-1], side="right")
    start, end = ends[:-1], ends[1:]
    at_start, at_end = loss.on(piece, start), loss.on(piece, end)
    middle = at_start + loss.rise(piece, start) * (end - start) / 2
    points = np.empty((1 + 2 * len(start), 2))
    points[0] = (start[0], at_start[0])
    points[1::2] = np.stack([(start + end) / 2, middle], 1)
    points[2::2] = np.stack([end, at_end], 1)
    points[:, 0] += loss.at
    codes = np.full(len(points), Path.CURVE3, Path.code_type)
    codes[0] = Path.MOVETO
    return Path(points, codes), float(max(at_start.max(), at_end.max()))


def _caption(loss: Any, inside: int, minima: int) -> str:
    parts = [
        f"Mean squared error over {count(loss.samples, 'sample')} as one weight moves and all others stay: one "
        "direction of many. Between kinks the curve is a parabola and is drawn as one; nothing is sampled."
    ]
    if inside:
        parts.append(f"Ticks below: the {inside:,} kinks." if inside <= RUG else f"{inside:,} kinks are not marked.")
    left = [count(len(loss.steps) - inside, "kink")] if len(loss.steps) > inside else []
    if len(loss.minima) > minima:
        left.append(count(len(loss.minima) - minima, "local minimum", "local minima"))
    if left:
        parts.append(f"Outside of the picture: {' and '.join(left)}.")
    return " ".join(parts)
