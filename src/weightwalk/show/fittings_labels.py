"""Random labels beside true ones, on the terminal and as a picture."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from rich.text import Text

from weightwalk.show.fittings import figure, percent, sentence, table, title


def labels_lines(found: Any, width: int) -> Iterator[Text]:
    """A table for each kind of labels, and what follows."""
    n = len(found.seeds)
    yield title(f"labels drawn by lot, and labels that follow a rule: {found.rows:,} rows, {found.classes} classes")
    for kind, words in (("random", "labels drawn by lot"), ("true", "labels that follow a rule")):
        yield Text("")
        yield Text(f"  {words}", style="italic")
        heads = ("units", "numbers", "train loss", f"memorised, of {n}", "never seen: right", "95 % interval",
                 "loss", "gap, nats")  # fmt: skip
        rows = [
            (
                f.width, f.parameters, figure(float(np.median(f.losses)), 3), f.memorised, percent(f.accuracy),
                f"{100 * f.interval[0]:.1f} to {100 * f.interval[1]:.1f}", figure(float(np.median(f.held_losses)), 3),
                figure(f.gap, 3),
            )
            for f in found.found if f.labels == kind
        ]  # fmt: skip
        yield from table(heads, rows, width)
    yield Text("")
    yield from _verdict(found, width)


def _verdict(found: Any, width: int) -> Iterator[Text]:
    lots = [f for f in found.found if f.labels == "random"]
    n = len(found.seeds)
    some = [f for f in lots if f.memorised]
    if some:
        most = max(some, key=lambda f: (f.memorised, f.width))
        low, high = most.interval
        inside = low <= found.chance <= high
        yield from sentence(
            f"With {most.width} units {most.memorised} of {n} nets know the labels drawn by lot by heart (loss below "
            f"0.01 nats), and of rows never seen they tell {percent(most.accuracy)} right; guessing gives "
            f"{percent(found.chance)}, which is {'inside' if inside else 'OUTSIDE'} the interval.", width, "green"
        )  # fmt: skip
        true = next(f for f in found.found if f.labels == "true" and f.width == most.width)
        yield from sentence(
            f"The same nets with labels that follow a rule tell {percent(true.accuracy)} right, from a training loss "
            f"of {figure(float(np.median(true.losses)), 2)} against {figure(float(np.median(most.losses)), 2)}: the "
            "training loss does not tell the two apart.", width
        )  # fmt: skip
        yield from sentence(
            f"Memorisation score: {figure(most.gap, 3)} nats for lots, {figure(true.gap, 3)} for the rule: so much "
            "likelier the net finds the label of a row that it was trained on than of one never seen.", width
        )  # fmt: skip
    yield from sentence(_limit(found, lots), width)
    yield from sentence(
        f"Rows: {found.inputs} standard normal numbers; the rule: the greatest of {found.classes} linear functions of "
        f"them. Guessing costs ln {found.classes} = {found.chance_loss:.3f} nats. Losses are medians of the "
        f"{n} seeds, {found.recipe}; rows never seen: {lots[0].trials:,} over all seeds.", width, "dim"
    )  # fmt: skip


def _limit(found: Any, lots: Any) -> str:
    """From which size on labels drawn by lot can be memorised."""
    sizes = [f.width for f in lots]
    steps = found.recipe.split(", ")[-1]
    if found.enough is None:
        return f"No width up to {sizes[-1]} was enough for every seed within {steps}."
    if found.too_small is None:
        return f"Every width from {found.enough} on was enough for every seed, and at none did all fail."
    return (
        f"Up to {found.too_small} units no seed memorised them, from {found.enough} on every seed did, within {steps}: "
        "a count of what training found, not a proof that no weights would do."
    )


def labels_drawing(make: Any, found: Any) -> Any:
    """Accuracy by width for both kinds; loss curves of the widest net."""
    from weightwalk.show.fitting_figures import BLUE, GREY, RED, counted, heading, powers

    figure_ = make(figsize=(9.4, 3.9), layout="constrained")
    by_width, *panels = figure_.subplots(1, 3, width_ratios=(1.25, 1, 1))
    for kind, colour, marker, words in (("random", RED, "s", "drawn by lot"), ("true", BLUE, "o", "by the rule")):
        some = [f for f in found.found if f.labels == kind]
        widths = [f.width for f in some]
        by_width.plot(
            widths,
            [f.train_accuracy.mean() for f in some],
            color=colour,
            marker=marker,
            markersize=4,
            linestyle=(0, (3, 2)),
            linewidth=1.2,
            markerfacecolor="white",
            label=f"training rows, {words}",
        )
        middle = np.array([f.accuracy for f in some])
        ends = np.array([f.interval for f in some]).T
        by_width.errorbar(
            widths,
            middle,
            np.clip([middle - ends[0], ends[1] - middle], 0, None),
            color=colour,
            marker=marker,
            markersize=4,
            linewidth=1.6,
            capsize=2,
            label=f"never seen, {words}",
        )
    by_width.axhline(found.chance, color=GREY, linewidth=1, linestyle=":")
    by_width.annotate("guessing", (0.99, found.chance), xycoords=by_width.get_yaxis_transform(), fontsize=7.5,
                      color=GREY, ha="right", va="top", xytext=(0, -2), textcoords="offset points")  # fmt: skip
    by_width.set_xscale("log", base=2)
    counted(by_width.xaxis, [f.width for f in found.found if f.labels == "true"])
    by_width.set(xlabel="units of the hidden layer", ylabel="share told right", ylim=(0, 1.03), title="by width")
    by_width.legend(loc="center right", bbox_to_anchor=(1.03, 0.41), fontsize=7)
    widest = max(f.width for f in found.found)
    low, high = 1e9, 0.0
    for panel, kind, words in zip(panels, ("random", "true"), ("drawn by lot", "by the rule"), strict=True):
        which = next(i for i, f in enumerate(found.found) if f.labels == kind and f.width == widest)
        colour = RED if kind == "random" else BLUE
        for k, (style, name) in enumerate((((0, (3, 2)), "training rows"), ("-", "never seen"))):
            curves = found.curves[which][:, :, k]
            middle = np.median(curves, axis=0)
            panel.plot(found.epochs, middle, color=colour, linestyle=style, linewidth=1.6, label=name)
            panel.fill_between(found.epochs, curves.min(axis=0), curves.max(axis=0), color=colour, alpha=0.15, lw=0)
            low, high = min(low, float(curves.min())), max(high, float(curves.max()))
        panel.axhline(found.chance_loss, color=GREY, linewidth=1, linestyle=":")
        panel.set(yscale="log", xlabel="updates", title=f"{words}, {widest} units")
        panel.legend(loc="center right")
    for panel in panels:
        panel.set_ylim(low / 1.5, high * 1.5)
        powers(panel.yaxis)
    panels[0].set_ylabel("loss, nats")
    heading(
        figure_, "Labels drawn by lot are learned by heart, and teach nothing about any other row",
        f"{found.rows:,} training rows of {found.inputs} numbers, {found.classes} classes, {len(found.seeds)} seeds. "
        "Left: means, with 95 % intervals for rows never seen. Right: medians and the range of all seeds; dotted: what "
        "guessing costs. The narrower nets' curves are not drawn.", 165,
    )  # fmt: skip
    return figure_
