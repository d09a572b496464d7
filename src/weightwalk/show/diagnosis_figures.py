"""A diagnosis as a picture: the loss, the gradients along the way, units by inputs, and the eigenvalues."""

from __future__ import annotations

import math
import textwrap
from pathlib import Path
from typing import IO, Any

import numpy as np

from weightwalk.show.drawing import INK, save
from weightwalk.show.formula_figures import GREY, SERIES

STYLES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1)), (0, (1, 1)), (0, (8, 2)))
MOST = 7
"""Layers with a line of their own."""
ROWS = 40
"""Units with a row of their own in the map."""


def draw(facts: Any, path: Path | str | IO[bytes]) -> None:
    """Draw a `Diagnosis`.

    Raises:
        UsageError: matplotlib is not installed.
    """
    save(lambda make: _figure(make, facts), path)


def _figure(make: Any, facts: Any) -> Any:
    figure = make(figsize=(10.4, 8.2))
    grid = figure.add_gridspec(2, 2, hspace=0.42, wspace=0.3, top=0.86, bottom=0.09)
    panels = [figure.add_subplot(cell) for cell in grid]
    for axes in panels:
        axes.spines[["top", "right"]].set_visible(False)
        axes.tick_params(labelsize=7.5)
    _loss(panels[0], facts)
    _gradients(panels[1], facts)
    _map(panels[2], facts)
    _spectrum(panels[3], facts)
    figure.text(0.06, 0.985, f"{facts.net}: diagnosis", fontsize=12, fontweight="bold", va="top")
    verdict = textwrap.fill(facts.verdict, 150)
    figure.text(0.06, 0.955, verdict, fontsize=8.5, va="top", color=INK)
    figure.text(0.06, 0.005, textwrap.fill(_hidden(facts), 165), fontsize=7, va="bottom", color=GREY)
    return figure


def _hidden(facts: Any) -> str:
    """What the picture does not show."""
    told = f"Units and gradients over {facts.used:,} of {facts.rows:,} rows."
    if facts.point is not None:
        s = facts.point.spectrum
        told += f" Eigenvalues: {'all' if s.all is not None else 'the ends'} of {s.n:,}, at one point of weight space"
        told += f" and over {facts.point.rows:,} rows: a Hessian says nothing of what lies farther away."
    return told


def _empty(axes: Any, text: str) -> None:
    axes.set_axis_off()
    axes.text(0.5, 0.5, textwrap.fill(text, 44), transform=axes.transAxes, ha="center", va="center", fontsize=8,
              color=GREY)  # fmt: skip


def _title(axes: Any, text: str) -> None:
    axes.set_title(textwrap.fill(text, 62), fontsize=9, loc="left", pad=8, color=INK)


def _loss(axes: Any, facts: Any) -> None:
    curve = facts.curve
    if curve is None or len(curve.losses) < 2:
        _empty(axes, "no loss curve: the net was diagnosed as it is")
        return
    losses = np.array(curve.losses, dtype=float)
    for a, b, _ in curve.plateaus:
        axes.axvspan(a, b, color="#d9d9d9", linewidth=0, zorder=0)
    axes.plot(losses, color=SERIES[0], linewidth=1.5, zorder=3)
    if facts.baseline is not None:
        axes.axhline(facts.baseline, color=GREY, linewidth=0.9, linestyle=":", zorder=2)
        axes.annotate(f"best constant answer: {facts.baseline:.4g}", (1, facts.baseline), (0, 3), fontsize=6.5,
                      xycoords=("axes fraction", "data"), textcoords="offset points", ha="right",
                      color=GREY)  # fmt: skip
    for death in facts.deaths[:6]:
        if death.known and death.before is not None:
            axes.axvline(death.after, color=SERIES[1], linewidth=0.9, linestyle="--", zorder=2)
            axes.annotate(f"{death.unit} dies", (death.after, 1), (2, -2), xycoords=("data", "axes fraction"), va="top",
                          textcoords="offset points", rotation=90, fontsize=6.5, color=INK)  # fmt: skip
    good = losses[np.isfinite(losses)]
    if len(good) and (good > 0).all() and good.max() > 20 * good.min():
        axes.set_yscale("log")
    axes.margins(x=0.01)
    axes.set_xlabel("epoch", fontsize=8)
    axes.set_ylabel(f"loss ({facts.loss_name})", fontsize=8)
    grey = "; grey: a plateau" if curve.plateaus else ""
    _title(axes, f"loss by epoch{grey}")


def _gradients(axes: Any, facts: Any) -> None:
    names = [layer.name for layer in facts.layers]
    few = list(range(len(names)))[:MOST]
    more = f", first {MOST} of {len(names)} layers" if len(names) > MOST else ""
    if len(facts.moments) < 2:
        values = [facts.layers[i].rms for i in few]
        axes.barh(range(len(few)), [max(v, 1e-300) for v in values], color=SERIES[0], height=0.6)
        axes.set_yticks(range(len(few)), [names[i] for i in few])
        axes.invert_yaxis()
        if any(v > 0 for v in values):
            axes.set_xscale("log")
            low = min(v for v in values if v > 0)
            axes.set_xlim(low / 10, max(values) * 3)
        axes.set_xlabel("root mean square of the gradient", fontsize=8)
        zero = [names[i] for i in few if facts.layers[i].rms == 0]
        _title(axes, f"gradient by layer{more}{'; exactly 0: ' + ', '.join(zero) if zero else ''}")
        return
    epochs = [m.epoch for m in facts.moments]
    zero = []
    for k, i in enumerate(few):
        values = np.array([m.rms[i] for m in facts.moments])
        if not values.any():
            zero.append(names[i])
            continue
        axes.plot(epochs, np.where(values > 0, values, np.nan), color=SERIES[k % len(SERIES)], linewidth=1.4,
                  linestyle=STYLES[k % len(STYLES)], label=names[i])  # fmt: skip
    if len(zero) < len(few):
        axes.set_yscale("log")
        axes.legend(fontsize=7, frameon=False, labelcolor=INK)
    axes.set_xlabel("epoch", fontsize=8)
    axes.set_ylabel("root mean square of the gradient", fontsize=8)
    ends = any(m.rms[i] == 0 for m in facts.moments for i in few if names[i] not in zero)
    told = f"; exactly 0 throughout: {', '.join(zero)}" if zero else ""
    told += "; where a line ends, it is exactly 0" if ends else ""
    _title(axes, f"gradient by layer{more}{told}")


def _map(axes: Any, facts: Any) -> None:
    if not facts.units:
        _empty(axes, "no activation function was seen, so there is no unit to be dead")
        return
    parts = [u.map.T for u in facts.units if len(u.map)]
    names = [f"{u.name}[{i}]" for u in facts.units for i in range(u.count)]
    if parts and len({p.shape[1] for p in parts}) == 1 and len(names) <= ROWS:
        table = np.concatenate(parts)
        axes.imshow(table, aspect="auto", cmap="cividis", vmin=0, vmax=1, interpolation="nearest")
        axes.set_yticks(range(len(names)), names, fontsize=7 if len(names) < 20 else 5)
        if facts.names and table.shape[1] <= 16:
            axes.set_xticks(range(table.shape[1]), facts.names, rotation=40, ha="right", fontsize=6.5)
        else:
            axes.set_xlabel("row", fontsize=8)
        for r in range(table.shape[0]) if table.size <= 240 else ():
            for c in range(table.shape[1]):
                word = "on" if table[r, c] == 1 else "off" if table[r, c] == 0 else f"{table[r, c]:.2f}"
                axes.text(c, r, word, ha="center", va="center", fontsize=6.5,
                          color="white" if table[r, c] < 0.5 else "black")  # fmt: skip
        dead = f"; dead: {', '.join(facts.dead)}" if facts.dead else "; none is dead"
        _title(axes, f"units by inputs{dead}")
        return
    off = np.concatenate([u.off for u in facts.units])
    axes.hist(off, bins=np.linspace(0, 1, 41), color=SERIES[0], edgecolor="white", linewidth=0.4)
    axes.set_xlabel("share of inputs on which a unit is off", fontsize=8)
    axes.set_ylabel("units", fontsize=8)
    _title(axes, f"{len(off):,} units by how often they are off; {len(facts.dead):,} are dead")


def _spectrum(axes: Any, facts: Any) -> None:
    point = facts.point
    if point is None:
        _empty(axes, "no Hessian: see the notes")
        return
    spectrum = point.spectrum
    size = spectrum.tolerance or 1e-12
    if spectrum.all is not None:
        values, ranks = spectrum.all, np.arange(1, spectrum.n + 1)
        counts = f"{spectrum.negative} negative, {spectrum.flat} zero, {spectrum.positive} positive"
        what = f"all {spectrum.n} eigenvalues: {counts}"
    else:
        low = spectrum.smallest if spectrum.smallest is not None else np.zeros(0)
        values = np.concatenate([low, spectrum.largest[::-1]])
        ranks = np.concatenate([np.arange(1, len(low) + 1), spectrum.n - np.arange(len(spectrum.largest))[::-1]])
        what = f"eigenvalues at both ends, of {spectrum.n:,}"
    for mask, mark, colour, label in (
        (values > size, "o", SERIES[0], "positive"),
        (np.abs(values) <= size, "|", GREY, f"zero (within ±{size:.1g})"),
        (values < -size, "v", SERIES[1], "negative"),
    ):
        if mask.any():
            axes.plot(
                ranks[mask], values[mask], mark, color=colour, markersize=4.5, label=f"{label}: {int(mask.sum())}"
            )
    axes.axhline(0, color=GREY, linewidth=0.7)
    top, bottom = float(values.max(initial=0.0)), float(values.min(initial=0.0))
    axes.set_yscale("symlog", linthresh=size * 10)
    axes.set_ylim(3 * bottom if bottom < -size else -20 * size, 5 * top if top > size else 20 * size)
    least = math.ceil(math.log10(30 * size))
    ticks = [10.0**k for k in range(least, math.floor(math.log10(max(top, 1e-300))) + 1)]
    below = [-(10.0**k) for k in range(least, math.floor(math.log10(max(-bottom, 1e-300))) + 1)]
    axes.set_yticks([*below[:: max(1, len(below) // 6)], 0.0, *ticks[:: max(1, len(ticks) // 6)]])
    axes.minorticks_off()
    axes.set_xlabel("rank, from the smallest", fontsize=8)
    axes.set_ylabel("eigenvalue of the Hessian", fontsize=8)
    axes.legend(fontsize=7, frameon=False, labelcolor=INK, loc="upper left")
    _title(axes, f"{what}; |g| = {spectrum.gradient_norm:.2g} ({point.kind})")
