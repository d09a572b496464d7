"""One neuron as a picture: its learning curve, the cost of a probability, paths in a bowl."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from weightwalk.show.drawing import INK, save

BLUE, ORANGE, GREEN, RED, PURPLE, SKY = "#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9"  # Okabe-Ito
QUIET = "#5b6673"


def draw(facts: Any, path: Path) -> None:
    """Draw the trace of a logistic neuron, cross-entropy, or a bowl.

    Raises:
        UsageError: matplotlib is not installed.
    """
    drawing = {"LogisticNeuron": _logistic, "CrossEntropy": _cost, "Bowl": _bowl}[type(facts).__name__]
    save(lambda make: drawing(make, facts), path)


def _logistic(make: Any, neuron: Any) -> Any:
    figure = make(figsize=(9.6, 4.2), layout="constrained")
    left, right = figure.subplots(1, 2)
    steps = range(len(neuron.p))
    left.plot(steps, neuron.p, color=BLUE, linewidth=1.8)
    left.set_xscale("symlog", linthresh=1)
    for level, step in neuron.reached.items():
        if step is not None:
            left.plot([step], [neuron.p[step]], "o", color=RED, markersize=5)
            left.annotate(f"p ≥ {level:.2f}: step {step:,}", (step, neuron.p[step]), xytext=(7, -9),
                          textcoords="offset points", fontsize=7, linespacing=0.95)  # fmt: skip
    left.set_ylim(0, 1.05)
    left.axhline(neuron.target, color=QUIET, linewidth=0.8, linestyle=":")
    _axes(left, "p, its prediction", "steps taken (logarithmic from 1)", "p")
    right.plot(steps, neuron.norms, color=BLUE, linewidth=1.8)
    right.set_xscale("symlog", linthresh=1)
    _axes(right, "‖w‖, the size of its weights", "steps taken (logarithmic from 1)", "‖w‖")
    said = ", ".join(f"{x:g}" for x in neuron.inputs)
    figure.suptitle(
        f"One logistic neuron, one example ({said}) → {neuron.target:g}, lr = {neuron.lr:g}, first weights "
        f"{neuron.start}\nA straight line on the right means growth like the logarithm of the steps. Not shown: any "
        "other example; it has seen none.",
        fontsize=9, x=0.01, ha="left",
    )  # fmt: skip
    return figure


def _cost(make: Any, found: Any) -> Any:
    figure = make(figsize=(6.4, 4.4), layout="constrained")
    axes = figure.add_subplot()
    shades = ("#e8e8e8", "#f0f0f0", "#f7f7f7", "#ffffff")
    for (low, high, name), shade in zip(
        ((0, 0.2, "below 0.2"), (0.2, 0.5, "0.2 to 0.5"), (0.5, 0.9, "0.5 to 0.9"), (0.9, 1, "0.9 and up")), shades,
        strict=True,
    ):  # fmt: skip
        axes.axvspan(low, high, color=shade, zorder=0)
        axes.text((low + high) / 2, 4.95, name, ha="center", va="top", fontsize=7, color=QUIET,
                  rotation=90 if high - low < 0.15 else 0)  # fmt: skip
    ps = [i / 1000 for i in range(5, 1001)]
    axes.plot(ps, [-math.log(p) for p in ps], color=BLUE, linewidth=1.8)
    for row in found.rows:
        axes.plot([row.p], [row.loss], "o", color=RED, markersize=4.5)
        if row.p in (0.01, 0.02, 0.1, 0.5, 0.7, 0.9):
            axes.annotate(f"{row.p:g}: {row.loss:.3f}", (row.p, row.loss), xytext=(7, 3), textcoords="offset points",
                          fontsize=7.5)  # fmt: skip
    axes.set_xlim(0, 1.01)
    axes.set_ylim(0, 5.1)
    _axes(axes, "cross-entropy: what a probability of the right answer costs", "p", "-ln p, natural logarithm")
    figure.supxlabel("Not shown: below p = 0.005 the curve goes on up without bound. The slope at the logit is p - 1.",
                     fontsize=7.5, color=QUIET)  # fmt: skip
    return figure


def _bowl(make: Any, found: Any) -> Any:
    figure = make(figsize=(9.6, 4.6), layout="constrained")
    left, right = figure.subplots(1, 2)
    reach = 1.35 * max(abs(v) for v in found.start) or 1.0
    ticks = [reach * (i / 60 - 1) for i in range(121)]
    h = found.hessian
    heights = [[0.5 * (h[0, 0] * x * x + 2 * h[0, 1] * x * y + h[1, 1] * y * y) for x in ticks] for y in ticks]
    top = max(map(max, heights))
    left.contour(
        ticks, ticks, heights, levels=[top * (i / 12) ** 2 for i in range(1, 12)], cmap="Greys_r", linewidths=0.7
    )
    styles = list(
        zip((BLUE, GREEN, SKY, ORANGE, RED, PURPLE), ("-", "--", "-.", ":", "-", "--"), "osD^vx", strict=True)
    )
    for i, d in enumerate(found.descents[:6]):
        color, line, mark = styles[i]
        inside = [tuple(p) for p in d.path[:15] if max(abs(p[0]), abs(p[1])) <= reach]
        left.plot(*zip(*inside, strict=True), linestyle=line, marker=mark, color=color, markersize=3, linewidth=1)
        drawn = [v if 1e-12 < v < 1e12 else math.nan for v in d.heights]
        right.plot(
            range(len(drawn)), drawn, linestyle=line, color=color, linewidth=1.5, label=f"lr {d.lr:g}: {d.outcome}"
        )
    right.set_yscale("log")
    right.legend(fontsize=7.5, frameon=False)
    _axes(left, "the first 14 steps, as long as they stay in the frame", "x", "y")
    left.set_aspect("equal")
    _axes(right, "the loss after every step", "step", "loss (logarithmic)")
    figure.suptitle(
        f"Gradient descent in {found.formula}: it converges for lr < 2/λmax = {found.limit:.4f}\n"
        "Not shown: anything but this bowl; real losses are bowls only near a minimum. Heights outside 1e-12 to 1e12 "
        "are left out.",
        fontsize=9, x=0.01, ha="left",
    )  # fmt: skip
    return figure


def _axes(axes: Any, title: str, x: str, y: str) -> None:
    axes.set_title(title, fontsize=9, loc="left")
    axes.set_xlabel(x, fontsize=8)
    axes.set_ylabel(y, fontsize=8)
    axes.tick_params(labelsize=7, colors=INK)
    axes.spines[["top", "right"]].set_visible(False)
