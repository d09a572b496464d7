"""Pictures of a census: every share with its interval, and under them what they do not say."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any

from weightwalk.show.censuses import percent, said, settings_words
from weightwalk.show.drawing import INK, save

GREY, FAINT = "#5b6673", "#dfe3e7"

# Okabe and Ito's colours, from dark to light so that they differ in grey too; and a shape for each.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#000000", "#999999")
SHAPES = ("o", "s", "D", "^", "v", "P", "X", "*")

SETTINGS = {"axes.edgecolor": GREY, "axes.labelcolor": INK, "xtick.color": GREY, "ytick.color": INK,
            "text.parse_math": False}  # fmt: skip

MOST_ROWS = 48
"""Cells that are drawn at most."""


def census_figure(census: Any, path: Path | str | IO[bytes]) -> None:
    """Draw the shares of the outcomes with their intervals: by cell, or by outcome where there is one cell.

    Args:
        census: A `Census`.
        path: The file (.svg, .png, .pdf); or an open one, which becomes a PNG.

    Raises:
        UsageError: matplotlib is not installed.
    """
    save(lambda make: (_one if len(census.cells) == 1 else _many)(make, census), path, SETTINGS)


def _one(make: Any, census: Any) -> Any:
    """Bars, one per outcome."""
    cell = census.cells[0]
    shares = {n: s for n, s in cell.outcomes.items() if s.count or n == census.success}
    figure = make(figsize=(7.2, 1.5 + 0.42 * len(shares)))
    axes = figure.add_subplot()
    for k, share in enumerate(shares.values()):
        value = 100 * share.share
        axes.barh(k, value, height=0.62, color=COLOURS[0] if k == 0 else "#a9c6da", edgecolor=INK, linewidth=0.6)
        _whisker(axes, k, share, INK)
        axes.annotate(f"{percent(share)}  ({share.count:,})", (100 * share.high, k), (7, 0), fontsize=8.5,
                      textcoords="offset points", va="center")  # fmt: skip
    axes.set_yticks(range(len(shares)), list(shares), fontsize=9)
    axes.set_ylim(len(shares) - 0.4, -0.6)
    greatest = max(s.high for s in shares.values())
    axes.set_xlim(0, min(100, 100 * greatest) * 1.22)
    _finish(axes, census, f"{census.task}: outcome of {census.seeds:,} trainings")
    return figure


def _many(make: Any, census: Any) -> Any:
    """A row per cell, a mark per outcome."""
    cells = census.cells[:MOST_ROWS]
    met = [n for n in census.cells[0].outcomes if n == census.success or any(c.outcomes[n].count for c in cells)]
    met = met[: len(COLOURS)]
    step = 0.84 / len(met)
    figure = make(figsize=(7.6, 1.7 + len(cells) * max(0.34, 0.125 * len(met))))
    axes = figure.add_subplot()
    for k, cell in enumerate(cells):
        if k % 2 == 0:
            axes.axhspan(k - 0.5, k + 0.5, color="#f4f6f8", zorder=0, linewidth=0)
        for j, name in enumerate(met):
            share, at = cell.outcomes[name], k + (j - (len(met) - 1) / 2) * step
            _whisker(axes, at, share, COLOURS[j], 1.3)
            axes.plot(100 * share.share, at, SHAPES[j], color=COLOURS[j], markersize=6.5 if j == 0 else 5,
                      markerfacecolor=COLOURS[j] if j == 0 else "white", markeredgewidth=1.3, zorder=4,
                      clip_on=False, label=name if k == 0 else None)  # fmt: skip
    names = [n for a in census.axes for n in a.names]
    axes.set_yticks(range(len(cells)), [_label(c, names) for c in cells], fontsize=8.5)
    axes.set_ylabel(", ".join(names), fontsize=9)
    axes.set_ylim(len(cells) - 0.5, -0.5)
    axes.set_xlim(0, 100)
    axes.legend(fontsize=8.5, frameon=False, ncols=min(len(met), 5), loc="lower left", bbox_to_anchor=(0, 1.0),
                borderaxespad=0.2, handletextpad=0.3, columnspacing=1.4)  # fmt: skip
    _finish(axes, census, f"{census.task}: outcomes of {census.seeds:,} trainings in each row", 24)
    return figure


def _label(cell: Any, names: Sequence[str]) -> str:
    return ", ".join(said(cell.settings[n]) for n in names)


def _whisker(axes: Any, at: float, share: Any, colour: str, width: float = 1.1) -> None:
    low, high = 100 * share.low, 100 * share.high
    axes.plot([low, high], [at, at], color=colour, linewidth=width, zorder=3, clip_on=False, solid_capstyle="butt")
    for end in (low, high):
        axes.plot(end, at, "|", color=colour, markersize=5, markeredgewidth=width, zorder=3, clip_on=False)


def _finish(axes: Any, census: Any, title: str, pad: float = 8) -> None:
    axes.set_title(title, fontsize=10.5, loc="left", pad=pad)
    axes.set_xlabel("share of the seeds, %", fontsize=9)
    axes.tick_params(axis="x", labelsize=8.5)
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x", color=FAINT, linewidth=0.7, zorder=0)
    axes.set_axisbelow(True)
    axes.spines[["top", "right", "left"]].set_visible(False)
    met = [r for r in census.rules if r.name == census.success or r.name not in census.unmatched]
    rules = "; ".join(f"{r.name}: {r.text}" for r in met)
    parts = [
        f"{settings_words(census)}.",
        f"Outcomes (the first that holds): {rules}; else other. Bars with ends: {100 * census.confidence:g} % Wilson "
        "intervals, for further seeds under this very recipe.",
        "Not shown: how near a seed came to another outcome, and what other recipes would do.",
    ]
    if len(census.cells) > MOST_ROWS:
        parts.append(f"Not drawn: {len(census.cells) - MOST_ROWS} more combinations.")
    axes.annotate("\n".join(line for p in parts for line in textwrap.wrap(p, 108, break_on_hyphens=False)), (0, 0),
                  (0, -34), xycoords="axes fraction", textcoords="offset points", fontsize=7.5, color=GREY, va="top",
                  annotation_clip=False, linespacing=1.35)  # fmt: skip
