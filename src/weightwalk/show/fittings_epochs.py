"""A text net trained too long, on the terminal and as a picture."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
from rich.text import Text

from weightwalk.show.fittings import figure, sentence, table, title


def epochs_lines(found: Any, width: int) -> Iterator[Text]:
    """Losses by epoch, what is known by heart, and bits per character of every model."""
    learned, choosing, judging = found.lines
    yield title(f"trained too long: {found.source}, {learned} lines learned")
    yield Text("")
    yield from sentence(
        f"{found.tokens:,} characters, line ends included, make {found.pairs:,} pairs of a prefix and the "
        f"character that follows: one less for each of the {learned} lines, and no label is needed. {choosing} "
        f"lines are to choose the epoch by, {judging} judge.", width
    )  # fmt: skip
    yield Text("")
    yield from _by_epoch(found, width)
    yield Text("")
    yield from _by_heart(found, width)
    yield Text("")
    yield from _models(found, width)
    yield Text("")
    yield from sentence(
        f"Net: embeddings of the last {found.context} characters, one hidden layer, {found.parameters:,} numbers; "
        f"{found.recipe}; a training takes 6 x {found.parameters:,} x {found.pairs:,} x epochs = {found.flops:.2g} "
        f"FLOP. Means of {len(found.seeds)} seed{'s' * (len(found.seeds) != 1)}. n-grams: {found.recipe_ngrams}. "
        "Intervals: draws of the judging lines with repetition, 95 %. A line's first character is given, "
        "never foreseen.", width, "dim"
    )  # fmt: skip


def _by_epoch(found: Any, width: int) -> Iterator[Text]:
    last = found.train.shape[1] - 1
    some = sorted({0, 1, 2, *found.least.tolist(), *found.stopped.tolist(), last // 2, last})
    rows = [
        (e, figure(float(found.train[:, e].mean())), figure(float(found.choosing[:, e].mean())),
         figure(float(found.judging[:, e].mean())))
        for e in some if e <= last
    ]  # fmt: skip
    yield from table(("epoch", "lines learned", "lines to choose by", "lines that judge"), rows, width)
    yield from sentence("Loss in nats per character.", width, "dim")
    turned = found.least < last
    ends = (
        f"{found.least.min()}"
        if found.least.min() == found.least.max()
        else f"{found.least.min()} to {found.least.max()}"
    )
    if turned.all() and (found.rise > 0).all():
        worst = float(found.judging[:, -1].mean())
        text = (
            f"The held-out loss has its least at epoch {ends} and rises by {figure(float(found.rise.mean()), 3)} "
            f"nats to epoch {last}; the loss on the lines learned falls meanwhile, from "
            f"{figure(found.moments[0].train, 3)} to {figure(found.moments[1].train, 3)}. Waiting {found.patience} "
            f"epochs for a new least stops at epoch {found.stopped.min()}"
        )
        text += f" to {found.stopped.max()}." if found.stopped.max() > found.stopped.min() else "."
        blind = math.log(found.vocabulary)
        if worst > blind:
            text += (
                f" In the end the net does worse on lines never seen ({worst:.2f}) than giving each of "
                f"{found.vocabulary} characters the same probability ({blind:.2f})."
            )
        yield from sentence(text, width, "green")
    else:
        yield from sentence(
            f"The held-out loss still falls at epoch {last} for {int((~turned).sum())} of {len(found.seeds)} seeds: "
            "not trained too long; give more --epochs.", width, "yellow"
        )  # fmt: skip


def _by_heart(found: Any, width: int) -> Iterator[Text]:
    yield Text("  what is known by heart", style="italic")
    rows = [
        (
            {"chosen": "at the least held-out loss", "last": "at the end"}[m.name], figure(m.train), figure(m.judged),
            figure(m.gap, 3), f"{m.recalled} of {m.recalled_of}", f"{m.recalled_unseen} of {m.recalled_unseen_of}",
        )
        for m in found.moments
    ]  # fmt: skip
    heads = ("epoch", "learned", "never seen", "gap, nats", "recalled: learned", "never seen")
    yield from table(heads, rows, width)
    yield from sentence(
        "gap: the memorisation score, nats per character. recalled: lines that the net, given their first 16 "
        "characters, goes on with to the letter, over all seeds.", width, "dim"
    )  # fmt: skip


def _models(found: Any, width: int) -> Iterator[Text]:
    yield Text("  bits per character on the lines that judge", style="italic")
    rows = [
        (
            m.name, f"{m.numbers:,}", f"{m.train_bits:.3f}", f"{m.bits:.3f}",
            f"{m.interval[0]:.2f} to {m.interval[1]:.2f}",
            "" if math.isnan(m.gain) else f"{m.gain:+.3f}",
            "" if math.isnan(m.gain) else f"{m.gain_interval[0]:+.2f} to {m.gain_interval[1]:+.2f}",
        )
        for m in found.models
    ]  # fmt: skip
    heads = ("model", "numbers", "learned", "judged", "95 % interval", "saved", "95 % interval")
    yield from table(heads, rows, width)
    losers = [m for m in found.models[1:] if not m.gain > 0]
    best = min(found.models, key=lambda m: m.bits)
    if not losers:
        yield from sentence("Each model needs fewer bits than the one above it.", width, "green")
    else:
        names = ", ".join(m.name for m in losers)
        yield from sentence(
            f"They do not drop all the way down the list: {names} needs more bits than the one above. The least has "
            f"{best.name}, {best.bits:.3f}. Who wins depends on how much there is to learn from and how "
            "large the model is.", width,
            "yellow"
        )  # fmt: skip


def epochs_drawing(make: Any, found: Any) -> Any:
    """Losses by epoch; bits per character of every model."""
    from weightwalk.show.drawing import INK
    from weightwalk.show.fitting_figures import BLUE, GREEN, GREY, RED, heading

    figure_ = make(figsize=(9.6, 4.3), layout="constrained")
    left, right = figure_.subplots(1, 2, width_ratios=(1.35, 1))
    epochs = np.arange(found.train.shape[1])
    kinds = (
        (found.train, RED, (0, (3, 2)), "lines learned"),
        (found.choosing, GREEN, (0, (6, 2, 1, 2)), "lines to choose by"),
        (found.judging, BLUE, "-", "lines that judge"),
    )
    for values, colour, style, name in kinds:
        for line in values:
            left.plot(epochs, line, color=colour, linewidth=0.5, alpha=0.4)
        left.plot(epochs, values.mean(axis=0), color=colour, linestyle=style, linewidth=1.8, label=name)
    blind = math.log(found.vocabulary)
    left.axhline(blind, color=GREY, linewidth=1, linestyle=":")
    left.annotate("every character alike", (1, blind), xycoords=left.get_yaxis_transform(), xytext=(0, 2), ha="right",
                  textcoords="offset points", fontsize=7.5, color=GREY)  # fmt: skip
    for i, (least, stopped) in enumerate(zip(found.least, found.stopped, strict=True)):
        left.plot(least, found.choosing[i, least], "v", color=INK, markersize=5, label=None if i else "its least")
        left.plot(stopped, found.choosing[i, stopped], "s", color=INK, markersize=4, markerfacecolor="white",
                  label=None if i else f"stopped, after {found.patience} without a new least")  # fmt: skip
    left.set(xlabel="epoch", ylabel="loss, nats per character", title="by epoch", ylim=(0, None))
    left.legend(loc="center right")
    places = np.arange(len(found.models))[::-1]
    bits = np.array([m.bits for m in found.models])
    ends = np.clip(np.array([(m.bits - m.interval[0], m.interval[1] - m.bits) for m in found.models]).T, 0, None)
    colours = {"uniform": GREY, "net": RED}
    right.barh(places, bits, color=[colours.get(m.name, BLUE) for m in found.models], height=0.62)
    right.errorbar(bits, places, xerr=ends, color=INK, linewidth=0, elinewidth=1.1, capsize=2)
    right.plot([m.train_bits for m in found.models], places, "D", color="white", markeredgecolor=INK, markersize=4.5,
               label="on the lines learned")  # fmt: skip
    for place, m in zip(places, found.models, strict=True):
        right.annotate(f"{m.bits:.2f}", (m.interval[1], place), xytext=(4, 0), textcoords="offset points", fontsize=7.5,
                       va="center", color=INK)  # fmt: skip
    right.set_yticks(places, [m.name for m in found.models])
    right.set(xlabel="bits per character", title="on the lines that judge; the net at its chosen epoch",
              xlim=(0, max(m.interval[1] for m in found.models) * 1.13))  # fmt: skip
    right.legend(loc="lower right", bbox_to_anchor=(1.0, 0.2))
    heading(
        figure_, "Trained too long: the loss on lines never seen turns, and rises",
        f"{found.lines[0]} lines learned, {found.lines[1]} to choose the epoch by, {found.lines[2]} that judge; "
        f"{len(found.seeds)} seeds (thin) and their means. Bars: 95 % intervals over draws of the judging lines. "
        "Not drawn: other texts, other sizes of the net; the order of the models depends on both.", 168,
    )  # fmt: skip
    return figure_
