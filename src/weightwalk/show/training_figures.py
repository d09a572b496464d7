"""The loss curve as a picture."""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import IO, Any

import numpy as np

from weightwalk.show.drawing import INK, save
from weightwalk.show.formula_figures import GREY, SERIES, caption
from weightwalk.show.formula_layout import count
from weightwalk.show.trainings import recipe

STYLES = ("-", "--", "-.", ":")


def draw(facts: Any, path: Path | str | IO[bytes]) -> None:
    """Draw a `Training`, or several in one picture.

    Raises:
        UsageError: matplotlib is not installed.
    """
    several = type(facts).__name__ == "Trainings"
    save(lambda make: (_rates if several else _curve)(make, facts), path)


def _axes(make: Any, training: Any) -> tuple[Any, Any]:
    figure = make(figsize=(7.6, 4.4))
    axes = figure.add_subplot()
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=8)
    axes.set_xlabel("epoch", fontsize=9)
    axes.set_ylabel(f"loss ({training.history.settings['loss']})", fontsize=9)
    return figure, axes


def _logarithmic(axes: Any, series: list[np.ndarray]) -> str:
    """A logarithmic axis where the loss spans a factor of 20."""
    numbers = np.concatenate(series)
    numbers = numbers[np.isfinite(numbers)]
    if len(numbers) and (numbers > 0).all() and numbers.max() > 20 * numbers.min():
        axes.set_yscale("log")
        return ", on a logarithmic axis"
    return ""


def _curve(make: Any, training: Any) -> Any:
    history = training.history
    figure, axes = _axes(make, training)
    losses = np.array([*history.losses, history.final] if history.best is None else history.losses, dtype=float)
    seen = [losses]
    axes.plot(np.arange(len(losses)), losses, color=SERIES[0], linewidth=1.6, label="training", zorder=3)
    if history.held_losses:
        held = np.array(history.held_losses, dtype=float)
        seen.append(held)
        axes.plot(
            np.arange(len(held)), held, color=SERIES[1], linewidth=1.4, linestyle="--", label="held out", zorder=4
        )
    if training.constant is not None:
        axes.axhline(training.constant, color=GREY, linewidth=0.9, linestyle=":", zorder=1,
                     label=f"one answer for all: {training.constant:.4g}")  # fmt: skip
    if history.best is not None:
        loss = history.watched[history.best]
        axes.plot(history.best, loss, "o", color=SERIES[2], markersize=8, markeredgecolor="white", zorder=6,
                  label=f"kept: epoch {history.best}, {loss:.4g}")  # fmt: skip
    back = [event.epoch for event in history.events if event.kind == "rollback"]
    if back:
        axes.plot(back, [0.0] * len(back), "^", color=SERIES[3], markersize=8, clip_on=False, zorder=6,
                  transform=axes.get_xaxis_transform(), label=f"gone back to, rate halved {len(back)}x")  # fmt: skip
    logs = _logarithmic(axes, seen)
    axes.margins(x=0.01)
    axes.legend(fontsize=8, frameon=False, labelcolor=INK)
    axes.set_title(_title(f"{training.net}: loss by epoch{logs}"), fontsize=10, loc="left", pad=12)
    when = "before its update" if history.updates_per_epoch <= 1 else "before each of its updates, averaged"
    end = "; the last point is after the last update" if history.best is None else ""
    text = (
        f"{recipe(training)}. Drawn: the loss met in each epoch, {when}{end}. "
        f"One number per epoch: it does not show where among {training.parameters:,} weights the net is, nor why a "
        "flat curve is flat."
    )
    caption(axes, text, 38)
    return figure


def _rates(make: Any, trainings: Any) -> Any:
    first = trainings.runs[0]
    figure, axes = _axes(make, first)
    seen: list[np.ndarray] = []
    for i, (run, rate, why) in enumerate(zip(trainings.runs, trainings.rates, trainings.broke, strict=True)):
        losses = np.array(run.history.losses if why else [*run.history.losses, run.history.final], dtype=float)
        seen.append(losses)
        end = f"broke off after {count(run.history.updates, 'update')}" if why else f"ends at {run.history.final:.4g}"
        axes.plot(np.arange(len(losses)), losses, color=SERIES[i % len(SERIES)], linestyle=STYLES[i % len(STYLES)],
                  linewidth=1.5, label=f"rate {rate:g}: {end}")  # fmt: skip
        if why and len(losses):
            axes.plot(len(losses) - 1, losses[-1], "x", color=SERIES[i % len(SERIES)], markersize=9, markeredgewidth=2)
    logs = _logarithmic(axes, [s for s in seen if len(s)])
    axes.margins(x=0.01)
    axes.legend(fontsize=8, frameon=False, labelcolor=INK)
    cross = "x: a number was not finite, and the training stopped. " if any(trainings.broke) else ""
    axes.set_title(_title(f"{first.net}: the same training at several rates{logs}"), fontsize=10, loc="left", pad=12)
    text = (
        f"All from the same weights (seed {first.history.seed}), {first.history.settings['optimizer']}, "
        f"{first.history.kind}. {cross}Short enough steps lower the loss; longer ones need not. One seed of many: "
        "another start may give another order."
    )
    caption(axes, text, 38)
    return figure


def _title(text: str) -> str:
    return "\n".join(textwrap.wrap(text, 96))
