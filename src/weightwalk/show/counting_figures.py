"""The picture of a counted text: what follows what, and how well each order predicts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from weightwalk.show.drawing import INK, save


def draw(facts: Any, path: Path | str) -> None:
    """A heat map of pairs beside the curve of bits by order."""
    save(lambda make: _drawing(make, facts), path)


def _drawing(make: Any, facts: Any) -> Any:
    figure = make(figsize=(11.5, 5.6))
    left, right = figure.subplots(1, 2, gridspec_kw={"width_ratios": [1.15, 1], "wspace": 0.28})
    names = [_name(t) for t in facts.paired]
    one = facts.unit.removesuffix("s")
    image = left.imshow(facts.pairs, cmap="cividis", vmin=0, vmax=max(float(facts.pairs.max()), 1e-9))
    left.set_xticks(range(len(names)), names, fontsize=6.5, rotation=90 if facts.unit == "words" else 0)
    left.set_yticks(range(len(names)), names, fontsize=6.5)
    left.set_xlabel(f"next {one}", fontsize=9)
    left.set_ylabel(one, fontsize=9)
    left.set_title(f"share of what comes next, after each {one}\n(each row adds up to 1 over all {one}s)", fontsize=9)
    bar = figure.colorbar(image, ax=left, fraction=0.046, pad=0.03)
    bar.ax.tick_params(labelsize=7)
    orders = [s.order for s in facts.scores]
    right.plot(orders, [s.learned for s in facts.scores], "s--", color="#0072B2", label="text that it was counted on")
    right.plot(orders, [s.held for s in facts.scores], "o-", color="#D55E00", label="held-out text")
    best = facts.best
    right.annotate(
        f"{best.held:.3f} bits",
        (best.order, best.held),
        xytext=(0, 10),
        textcoords="offset points",
        ha="center",
        fontsize=8,
    )
    right.set_xticks(orders)
    right.set_ylim(bottom=0)
    right.set_xlabel(f"order ({one}s counted together)", fontsize=9)
    right.set_ylabel(f"bits per {one}", fontsize=9)
    right.legend(fontsize=8, frameon=False, labelcolor=INK)
    right.spines[["top", "right"]].set_visible(False)
    right.tick_params(labelsize=8)
    shown = (
        f"the {len(names)} most frequent of {len(facts.vocabulary):,} {one}s"
        if len(names) < len(facts.vocabulary)
        else f"all {one}s"
    )
    figure.suptitle(
        f"{facts.name}: {facts.tokens:,} {facts.unit}, the last {facts.held:,} held out; {shown} on the left; "
        f"{facts.smoothing} smoothing", fontsize=9, color=INK
    )  # fmt: skip
    return figure


def _name(token: str) -> str:
    return {" ": "␣", "\n": "⏎", "\t": "⇥", "$": r"\$"}.get(token, token)
