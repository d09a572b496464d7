"""Pictures of formulas with matplotlib: kinks and regions where they are, and under each picture what it leaves out."""

from __future__ import annotations

import math
import textwrap
from pathlib import Path
from typing import IO, Any

import numpy as np

from weightwalk.errors import UsageError
from weightwalk.show.drawing import INK, save
from weightwalk.show.formula_layout import count, is_exact, listed, told
from weightwalk.show.formulas_line import flat_words, line_title, span

GREY, FAINT = "#5b6673", "#b8bec5"

SETTINGS = {
    "axes.edgecolor": GREY,
    "axes.labelcolor": INK,
    "xtick.color": GREY,
    "ytick.color": GREY,
    "text.parse_math": False,
    "agg.path.chunksize": 20000,
}

# Okabe and Ito's colours, told apart by colour-blind eyes.
SERIES = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000", "#f0e442")

DOTS = 150
"""Kinks up to which each is a dot."""

LABELS = 16
"""Kinks, or units, that are labelled at most."""


def formula_figure(
    found: Any,
    path: Path | str | IO[bytes],
    *,
    colour: str = "value",
    data: Any = None,
    target: Any = None,
    output: int = 0,
    data_name: str = "data",
    target_name: str = "target",
) -> None:
    """Draw a formula to a file; its ending says the kind (.svg, .png, .pdf). The same formula gives the same bytes.

    Args:
        found: A `Formula` along a line or on a plane, or one affine map of one input; or a loss.
        path: The file; or an open one, which becomes a PNG.
        colour: Of a plane: ``"value"``, ``"slope"`` (hue its direction, strength its size), ``"decision"`` (which
            output is greatest) or ``"least"`` (which is least).
        data: Points to draw on top: (x, y) for a line; for a plane (N, 2) coordinates, or a pair of them and a value
            (or a name, which is written beside it) each.
        target: For a line: a function from x (N,) to y (N,) to draw beside it.
        output: Which output a plane shows; and whose slope.
        data_name: What the points are called in the legend.
        target_name: What the function is called in the legend.

    Raises:
        UsageError: matplotlib is not installed, or there is no picture of that formula.
    """
    from weightwalk.show import formula_figures_plane as planes

    if hasattr(found, "minima") or hasattr(found, "partitions"):
        loss_figure(found, path)
        return
    if found.kind == "line" or (found.kind == "affine" and len(found.inputs) == 1):
        draw = lambda make: line_drawing(make, found, data, target, data_name, target_name)  # noqa: E731
    elif found.kind == "plane":
        if colour not in planes.COLOURS:
            raise UsageError(f"A plane is coloured by {', '.join(planes.COLOURS)}; received {colour!r}.")
        draw = lambda make: planes.plane_drawing(make, found, colour, data, output)  # noqa: E731
    else:
        raise UsageError(
            f"There is no picture of {'one affine map' if found.kind == 'affine' else 'the formula around one input'} "
            f"in {len(found.inputs):,} dimensions: draw it along a line (--line) or on a plane (--plane)."
        )
    save(draw, path, SETTINGS)


def loss_figure(loss: Any, path: Path | str | IO[bytes]) -> None:
    """Draw a loss: along one weight parabola after parabola, exactly, with its minima; over two weights as a map.

    Raises:
        UsageError: matplotlib is not installed.
    """
    from weightwalk.show.formula_figures_loss import loss_drawing, loss_map

    save(lambda make: (loss_map if hasattr(loss, "partitions") else loss_drawing)(make, loss), path, SETTINGS)


def caption(axes: Any, text: str, below: float, width: int = 105, x: float = 0.0) -> None:
    """What is seen and what is not, under the picture."""
    axes.annotate(
        "\n".join(textwrap.wrap(text, width, break_on_hyphens=False)), (x, 0), (0, -below), xycoords="axes fraction",
        textcoords="offset points", fontsize=7.5, color=GREY, va="top", annotation_clip=False, linespacing=1.35,
    )  # fmt: skip


def legend_name(name: str) -> str:
    """A name for a legend, which leaves out what begins with an underscore."""
    return f" {name}" if name.startswith("_") else name


def titled(axes: Any, found: Any, text: str) -> None:
    """The heading; a formula that failed its certificate says so here too."""
    title = "\n".join(textwrap.wrap(text, 96, break_on_hyphens=False))
    if is_exact(found.certificate):
        axes.set_title(title, fontsize=10, loc="left", pad=12)
    else:
        axes.set_title(f"NOT EXACT: a check of its certificate failed\n{title}", fontsize=10, loc="left", pad=12,
                       color="#b3261e")  # fmt: skip


# A line -------------------------------------------------------------------------------------------------------------


def line_drawing(make: Any, found: Any, data: Any, target: Any, data_name: str, target_name: str) -> Any:
    """The graph, straight from kink to kink, each kink a dot with its unit's name."""
    figure = make(figsize=(7.6, 4.6))
    axes = figure.add_subplot()
    line, name = found.facts, "x" if found.flat is None else found.flat.names[0]
    low, high = _view(found, data)
    kinks = np.zeros(0) if found.kind == "affine" else line.kinks[line.bends]
    inside = kinks[(kinks > low) & (kinks < high)]
    corners = np.concatenate([[low], inside, [high]])
    y = line(corners[:, None]) if found.kind == "affine" else line(corners)
    outputs = min(len(found.outputs), len(SERIES))
    for o in range(outputs):
        axes.plot(corners, y[:, o], color=SERIES[o], linewidth=1.8, zorder=3, label=legend_name(found.outputs[o]))
        if len(inside) <= DOTS:
            axes.plot(inside, y[1:-1, o], "o", color=SERIES[o], markersize=4, markeredgecolor="white",
                      markeredgewidth=0.7, zorder=4)  # fmt: skip
    shown = _name_kinks(axes, line, low, high) if len(inside) else 0
    if target is not None:
        t = np.linspace(low, high, 600)
        with np.errstate(all="ignore"):
            axes.plot(t, np.asarray(target(t), float), color=GREY, linewidth=1.2, linestyle=(0, (4, 3)), zorder=2,
                      label=target_name)  # fmt: skip
    points = _points(axes, data, low, high, data_name)
    if outputs > 1 or target is not None or points:
        axes.legend(fontsize=8, frameon=False, loc="best")
    axes.set_xlim(low, high)
    axes.margins(y=0.08)
    axes.set_xlabel(
        f"{name} = {found.inputs[0]}" if found.flat is None and found.inputs[0] != name else name, fontsize=9
    )
    axes.set_ylabel(found.outputs[0] if outputs == 1 else "outputs", fontsize=9)
    axes.tick_params(labelsize=8)
    axes.spines[["top", "right"]].set_visible(False)
    said = "one affine map, for every input" if found.kind == "affine" else line_title(line, name)
    titled(axes, found, f"{found.name}: {said}")
    caption(axes, _line_caption(found, kinks, inside, shown, outputs, low, high), 38)
    return figure


def _view(found: Any, data: Any) -> tuple[float, float]:
    """Where it is drawn: all of it if it is finite; else the kinks, or the data if there are any."""
    if found.kind != "affine":
        line = found.facts
        if data is not None and (math.isinf(line.start) or math.isinf(line.end)):
            x = np.asarray(data[0], float).reshape(-1)
            margin = 0.08 * (x.max() - x.min()) or 1.0
            return max(line.start, float(x.min() - margin)), min(line.end, float(x.max() + margin))
        return span(line)
    if data is not None:
        x = np.asarray(data[0], float).reshape(-1)
        return float(x.min()), float(x.max()) if x.max() > x.min() else float(x.min()) + 1
    return -3.0, 3.0


def _points(axes: Any, data: Any, low: float, high: float, name: str) -> int:
    if data is None:
        return 0
    x, y = (np.asarray(part, float).reshape(-1) for part in data)
    inside = (x >= low) & (x <= high)
    axes.plot(x[inside], y[inside], ".", color="#8a939c", markersize=4, zorder=1, label=name)
    return len(x)


def _name_kinks(axes: Any, line: Any, low: float, high: float) -> int:
    """A thin line down from each kink with its unit's name; where they would overlap, those that bend most."""
    places = np.flatnonzero(line.bends)
    places = places[(line.kinks[places] > low) & (line.kinks[places] < high)]
    bend = np.abs(line.slopes[places + 1] - line.slopes[places]).max(axis=1)
    room = (high - low) / 44
    taken: list[float] = []
    for i in np.argsort(-bend, kind="stable"):
        at = float(line.kinks[places[i]])
        if len(taken) >= LABELS or any(abs(at - other) < room for other in taken):
            continue
        taken.append(at)
        axes.axvline(at, color=FAINT, linewidth=0.6, zorder=0)
        axes.annotate(listed(line.units[places[i]], 1), (at, 0), (-1.5, 4), xycoords=axes.get_xaxis_transform(),
                      textcoords="offset points", rotation=90, fontsize=6.5, color=GREY, ha="right", va="bottom",
                      zorder=5)  # fmt: skip
    return len(taken)


def _line_caption(
    found: Any, kinks: np.ndarray, inside: np.ndarray, named: int, outputs: int, low: float, high: float
) -> str:
    parts = []
    if found.flat is not None:
        words = flat_words(found.flat, found.lifted.net.inputs)
        n = found.flat.directions.shape[1]
        parts.append(f"{words[0].upper()}{words[1:]}: one direction of {n:,}; nothing is said of the others.")
    if len(inside):
        parts.append(
            f"Straight between the {count(len(inside), 'kink')} drawn, which lie where the formula has them, nothing "
            f"is sampled; {named:,} of them {'are' if named != 1 else 'is'} named by unit."
            + ("" if len(inside) <= DOTS else " They are too many to be dotted.")
        )
    left = [f"{count(len(kinks) - len(inside), 'kink')} outside"] if len(kinks) > len(inside) else []
    if found.kind == "affine":
        left.append(f"all beyond {told(low, 4)} and {told(high, 4)}")
    else:
        silent = int(np.count_nonzero(~found.facts.bends))
        left += [f"{count(silent, 'place')} where units switch without effect"] if silent else []
        if math.isinf(found.facts.start) or math.isinf(found.facts.end):
            left.append(f"the line beyond {told(low, 4)} and {told(high, 4)}")
    left += [f"{count(len(found.outputs) - outputs, 'output')} more"] if len(found.outputs) > outputs else []
    if left:
        parts.append(f"Not drawn: {'; '.join(left)}.")
    return " ".join(parts)
