"""The same surfaces in three dimensions. Paths stand at their true losses, which need not lie on the surface."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import numpy as np

from weightwalk.errors import UsageError
from weightwalk.show.drawing import INK
from weightwalk.show.formula_figures import GREY
from weightwalk.show.landscape_figures import COLOURS, INKS, PANELS, heading, notes, room
from weightwalk.show.landscapes import logarithmic
from weightwalk.show.landscapes_neuron import neuron_sentences
from weightwalk.show.landscapes_words import hidden_sentences, title


def solid(make: Any, found: Any) -> Any:
    """One surface or several, with one scale of heights and colours."""
    views, scale, paths = _views(found)
    if len(views) > PANELS:
        raise UsageError(f"A figure holds {PANELS} surfaces, and there are {len(views)}: ask for fewer (--seeds).")
    steep = logarithmic(*scale)
    across = min(len(views), 3)
    down = math.ceil(len(views) / across)
    wide = 7.4 if across == 1 else 3.7 * across
    words = round(wide * 18.2)
    sentences = _sentences(found, steep, bool(paths))
    under = room(sentences, words) + 0.15
    tall = 5.4 if across == 1 else 3.6 * down
    figure = make(figsize=(wide, tall + under + 0.75))
    high = figure.get_figheight()
    for k, (name, a, b, losses, labels) in enumerate(views):
        row, column = divmod(k, across)
        spot = (
            column / across + 0.01,
            (under + tall * (down - 1 - row) / down) / high,
            0.9 / across,
            tall / down / high,
        )
        axes = figure.add_axes(spot, projection="3d")
        _one(axes, a, b, _height(losses, steep), _height(np.array(scale), steep), labels, steep, len(views) == 1)
        if name:
            axes.set_title(name, fontsize=8.5, y=0.97)
        if k == 0:
            _paths(axes, paths, a, b, steep, scale)
    if hasattr(found, "surfaces"):
        heading(figure, found, words)
    else:
        text = "One linear neuron: its loss over its two weights" if hasattr(found, "one") else "A bowl of two numbers"
        figure.text(0.01, 0.985, text, fontsize=10.5, va="top", weight="bold")
    notes(figure, sentences, words, (under - 0.05) / high)
    return figure


def _views(found: Any) -> tuple[list[tuple[Any, ...]], tuple[float, float], tuple[Any, ...]]:
    """(name, a, b, losses, axis labels) of each, the ends of the scale, and paths over the first."""
    kind = type(found).__name__
    if hasattr(found, "surfaces"):
        many = len(found.surfaces) > 1
        views = [
            (n if many else "", s.alphas, s.betas, s.losses, ("direction 1", "direction 2") if many else s.labels)
            for s, n in zip(found.surfaces, found.names, strict=True)
        ]
        path = found.trajectory
        if path is not None:  # as a path that stands at its true losses
            return views, found.scale, (SimpleNamespace(points=path.coordinates, losses=path.true), *found.paths)
        return views, found.scale, found.paths
    if kind == "Neuron":
        both = [(f"all {found.every.samples} samples", found.every), (f"sample {found.row} alone", found.one)]
        views = [(n, found.first, found.second, v.losses, found.names) for n, v in both]
        high = max(float(v.losses.max()) for _, v in both)
        return views, (0.0, high), found.paths
    return (
        [("", found.first, found.second, found.losses, found.bowl.names)],
        (0.0, float(found.losses.max())),
        found.paths,
    )


def _height(losses: np.ndarray, steep: bool) -> np.ndarray:
    with np.errstate(all="ignore"):
        return np.log10(losses) if steep else np.asarray(losses, float)


def _one(
    axes: Any, a: np.ndarray, b: np.ndarray, z: np.ndarray, ends: np.ndarray, labels: Any, steep: bool, large: bool
) -> None:
    x, y = np.meshgrid(a, b, indexing="ij")
    axes.computed_zorder = False  # so that a path is seen where it runs below the surface, too
    axes.plot_surface(x, y, np.where(np.isfinite(z), z, np.nan), cmap=COLOURS, vmin=ends[0], vmax=ends[1], rcount=60,
                      ccount=60, linewidth=0.15, edgecolor="#ffffff55", antialiased=True)  # fmt: skip
    axes.set_zlim(ends[0], ends[1] if ends[1] > ends[0] else ends[0] + 1)
    size = 8 if large else 7
    axes.set_xlabel(_clipped(labels[0]), fontsize=size, labelpad=2)
    axes.set_ylabel(_clipped(labels[1]), fontsize=size, labelpad=2)
    axes.set_zlabel("log10 of the loss" if steep else "loss", fontsize=size, labelpad=2)
    axes.tick_params(labelsize=size - 1, pad=0, colors=GREY)
    axes.view_init(elev=38, azim=-58)
    for axis in (axes.xaxis, axes.yaxis, axes.zaxis):
        axis.pane.set_alpha(0.06)
    axes.set_box_aspect((1, 1, 0.72), zoom=0.86)


def _clipped(label: str) -> str:
    """A long label without what stands in brackets, as a number that is cut short is another number."""
    short = label if len(label) <= 44 else label.rpartition(" (")[0] or label
    return short if len(short) <= 44 else f"{short[:42]}..."


def _paths(axes: Any, paths: Any, a: np.ndarray, b: np.ndarray, steep: bool, scale: tuple[float, float]) -> None:
    """Each path at the true losses of its points; what runs out of the picture is left out."""
    for i, path in enumerate(paths):
        x, y = path.points.T
        z = _height(np.clip(path.losses, *scale) if steep else path.losses, steep)
        top = _height(np.array(scale), steep)[1]
        inside = (x >= a[0]) & (x <= a[-1]) & (y >= b[0]) & (y <= b[-1]) & np.isfinite(z) & (z <= top)
        last = int((~inside).argmax()) if not inside.all() else len(x)
        axes.plot(x[:last], y[:last], z[:last], color=INKS[i % len(INKS)], linewidth=1.6, marker=".", markersize=4,
                  zorder=10, markeredgecolor=INK, markeredgewidth=0.3)  # fmt: skip


def _sentences(found: Any, steep: bool, paths: bool) -> list[str]:
    made = []
    if hasattr(found, "surfaces"):
        made += hidden_sentences(found)
    elif hasattr(found, "one"):
        made += [
            f"Shown: both dimensions; held fixed: inputs and bias ({found.source}).",
            *neuron_sentences(found)[:-1],
        ]
    else:
        values = " and ".join(f"{v:.4g}" for v in found.bowl.eigenvalues.tolist())
        made.append(f"Shown: both dimensions that there are. Hessian's eigenvalues: {values}.")
    made.append("What lies behind a slope cannot be seen; the map (without --surface3d) hides nothing of the grid.")
    if paths:
        made.append("Paths stand at their true losses, and need not lie on the surface; they are seen through it.")
    return made


__all__ = ["solid", "title"]
