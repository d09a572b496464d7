"""Learning curves by the number of examples, on the terminal and as a picture."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from rich.text import Text

from weightwalk.show.fittings import between, figure, sentence, table, title


def data_lines(found: Any, width: int) -> Iterator[Text]:
    """A table per width, and the power law with its end."""
    yield title("held-out loss by the number of examples: sin(4a) cos(4b) with noise")
    for c in found.curves:
        yield Text("")
        yield Text(f"  two hidden layers of {c.width} units, {c.parameters:,} numbers", style="italic")
        rows = [
            (
                f"{n:,}", figure(float(c.train[:, k].mean()), 3), figure(float(c.held[:, k].mean()), 3),
                between((c.held[:, k].min(), c.held[:, k].max())), f"{c.flops[k]:.1e}",
            )
            for k, n in enumerate(found.sizes)
        ]  # fmt: skip
        heads = ("examples", "training loss", "held-out loss", "of seeds", "FLOP of a training")
        yield from table(heads, rows, width)
        yield from sentence(_law(c, len(found.seeds)), width, "green" if c.law.interval[1] < 0 else "yellow")
        yield from sentence(_training(c, found), width)
    yield Text("")
    yield from sentence(
        f"Losses are mean squares, means of {len(found.seeds)} seeds. Training loss: at the noisy examples (variance "
        f"of the noise {found.noise:g}). Held-out loss: against the function itself at {found.unseen:,} points never "
        f"seen; the best constant has {found.constant:.3g}. Nets: {found.recipe}. FLOP: 6 x numbers x rows "
        "processed.", width,
        "dim"
    )  # fmt: skip


def _law(c: Any, seeds: int) -> str:
    text = f"Held-out loss ~ examples^{c.law.slope:.2f}"
    if seeds > 1:
        text += f" (95 % interval {c.law.interval[0]:.2f} to {c.law.interval[1]:.2f})"
    text += f" from {c.law.low:,} to {c.law.high:,} examples"
    if c.after is None:
        return text + "; no bend is seen up to there."
    tail = f"; there the curve bends, and goes on as examples^{c.after.slope:.2f}"
    if seeds > 1:
        tail += f" ({c.after.interval[0]:.2f} to {c.after.interval[1]:.2f})"
    if c.after.slope > c.law.slope and c.after.interval[1] > -0.05:
        tail += ": more examples do not help this net any more"
    return text + tail + "."


def _training(c: Any, found: Any) -> str:
    means = c.train.mean(axis=0)
    rises = means[-1] > means[0]
    first, last = figure(float(means[0]), 2), figure(float(means[-1]), 2)
    text = f"The training loss {'rises' if rises else 'falls'} from {first} to {last}"
    below = [int(n) for n, loss in zip(found.sizes, means, strict=True) if loss < found.noise]
    if below:
        text += f"; below {found.noise:g}, as up to {max(below):,} examples, it has learned noise by heart"
    return text + "."


def data_drawing(make: Any, found: Any) -> Any:
    """A panel per width on common axes: training and held-out loss, every seed a dot, and the laws as lines."""
    from weightwalk.show.drawing import INK
    from weightwalk.show.fitting_figures import BLUE, GREY, RED, counted, heading, powers

    across = len(found.curves)
    figure_ = make(figsize=(max(7.2, 4.6 * across), 4.5), layout="constrained")
    panels = figure_.subplots(1, across, sharex=True, sharey=True, squeeze=False)[0]
    for panel, c in zip(panels, found.curves, strict=True):
        for values, colour, marker, name in ((c.train, RED, "s", "training"), (c.held, BLUE, "o", "held-out")):
            panel.plot(np.repeat(found.sizes[None], len(values), 0).T, values.T, marker, color=colour, markersize=2.5,
                       alpha=0.45, markeredgewidth=0)  # fmt: skip
            style = (0, (3, 2)) if name == "training" else "-"
            panel.plot(found.sizes, values.mean(axis=0), color=colour, marker=marker, markersize=4.5, linewidth=1.5,
                       linestyle=style, label=f"{name} loss")  # fmt: skip
        for law in (c.law, c.after):
            if law is not None:
                ends = np.array([law.low, law.high])
                panel.plot(ends, law.scale * ends**law.slope, color=INK, linewidth=1, linestyle=(0, (6, 2, 1, 2)),
                           label=f"examples^{law.slope:.2f}")  # fmt: skip
        panel.axhline(found.constant, color=GREY, linewidth=0.9, linestyle=":")
        if found.noise:
            panel.axhline(found.noise, color=GREY, linewidth=0.9, linestyle=(0, (1, 3)))
        panel.set(xscale="log", yscale="log", xlabel="examples", title=f"2 x {c.width} units, {c.parameters:,} numbers")
        counted(panel.xaxis, found.sizes)
        panel.legend(loc="upper right")
    panels[0].set_ylabel("mean squared error")
    floor = min(float(min(c.held.min(), c.train.mean(axis=0).min())) for c in found.curves)
    panels[0].set_ylim(bottom=floor / 3 if floor > 0 else None)
    powers(panels[0].yaxis)
    for value, name in ((found.constant, "best constant"), (found.noise, "noise")):
        if value:
            panels[-1].annotate(name, (1, value), xycoords=panels[-1].get_yaxis_transform(), xytext=(0, 2), ha="right",
                                textcoords="offset points", fontsize=7.5, color=GREY)  # fmt: skip
    heading(
        figure_, "More data, lower held-out loss: a power law, and where it ends",
        f"Dots: {len(found.seeds)} seeds; lines through them: their means. Training loss at the noisy examples, "
        f"held-out loss against the function itself at {found.unseen:,} points never seen. Each net has the same "
        "number of updates. Not drawn: training losses below the frame. The slopes are those of this "
        "task.", 74 * max(across, 2),
    )  # fmt: skip
    return figure_
