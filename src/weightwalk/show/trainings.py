"""A training on the terminal: how the loss fell, whether it still falls, and what the net answers now."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from rich.text import Text

from weightwalk.show.formula_layout import count
from weightwalk.show.formulas_line import curve_lines
from weightwalk.show.layout import columns, short, wrapped

DIGITS = 6


def training_lines(training: Any, width: int) -> Iterator[Text]:
    """A `Training`."""
    history = training.history
    yield Text(f"{training.net}: {training.description}", style="bold")
    yield from wrapped(recipe(training), width, "  ", "dim")
    yield Text("")
    yield from _curve(history, width)
    yield Text("")
    yield from _losses(training, width)
    yield Text("")
    yield from wrapped(verdict(training.plateau), width, "  ")
    yield from _events(history.events, width)
    if training.answers is not None:
        yield from _answers(training, width)
    if history.run is not None:
        yield Text("")
        yield from wrapped(_run(history), width, "  ")


def recipe(training: Any) -> str:
    """``47 parameters, 6 examples; adam at rate 0.05 ...``, in a sentence."""
    history = training.history
    settings = history.settings
    shape = ", ".join(f"{name}={value}" for name, value in training.shape.items())
    more = [f"{name} {settings[name]}" for name in ("schedule", "clip", "patience") if name in settings]
    more += [f"{n}={v}" for n, v in settings.get("settings", {}).items()]
    halved = sum(event.kind == "rollback" for event in history.events)
    if halved:
        more.insert(0, f"halved {halved} times to {settings['lr'] / 2**halved:g}")
    rest = f", {', '.join(more)}" if more else ""
    rows = count(history.rows, "example")
    per_epoch = f"{history.kind}: {count(history.updates_per_epoch, 'update')} per epoch"
    return (
        f"{count(training.parameters, 'parameter')}{f' ({shape})' if shape else ''}, {rows}; loss {settings['loss']}, "
        f"{settings['optimizer']} at rate {settings['lr']:g}{rest}, seed {history.seed}; {per_epoch}"
    )


def _curve(history: Any, width: int) -> Iterator[Text]:
    """The loss in dots, logarithmic where it falls far."""
    losses = np.array([*history.losses, history.final], dtype=float)
    if len(losses) < 3:
        return
    logs = bool((losses > 0).all()) and losses.max() > 20 * losses.min()
    values = np.log10(losses) if logs else losses

    def at(places: np.ndarray) -> np.ndarray:
        return np.interp(places, np.arange(len(values)), values)

    name = "log10 of the loss" if logs else "loss"
    yield Text(f"  {name} by epoch", style="italic")
    yield from curve_lines(at, (0.0, float(len(values) - 1)), width, {})


def _losses(training: Any, width: int) -> Iterator[Text]:
    history, constant = training.history, training.constant
    losses = history.losses
    has_held = bool(history.held_losses)

    def held(epoch: int) -> str:
        return _told(history.held_losses[epoch]) if epoch < len(history.held_losses) else ""

    rows: list[tuple[object, ...]] = []
    if losses:
        least = int(np.argmin(losses))
        rows.append(("first", "in epoch 0", _told(losses[0]), held(0)))
        rows.append(("least", f"in epoch {least}", _told(losses[least]), held(least)))
    ended = history.best if history.best is not None else history.epochs
    rows.append(("at the end", f"after {count(ended, 'epoch')}", _told(history.final), held(ended)))
    if constant is not None:
        rows.append(("one answer for all", "the best such", _told(constant), ""))
    heads = ("loss", "", "training", "held out") if has_held else ("loss", "", "training")
    yield from columns(heads, [row[: len(heads)] for row in rows], width)


def verdict(plateau: Any) -> str:
    """The verdict on the curve, in a sentence that says what it does not say."""
    over = f"over the last {plateau.window:,} epochs"
    if plateau.verdict == "too short":
        return f"fewer than {plateau.window} epochs: too short to say whether the loss has flattened"
    change = f"by {abs(plateau.change):.2%} of its mean {over}"
    if plateau.verdict == "flat":
        since = f"flat from epoch {plateau.since:,} on" if plateau.since else "flat from the start"
        how = "changed " + change if plateau.change else f"did not change {over}"
        return (
            f"{since}: the loss {how}. That says that it stopped improving, not why: weightwalk diagnose asks "
            "the Hessian whether this is a minimum, a saddle or a plain"
        )
    if plateau.verdict == "zero":
        return "as good as zero: so far below the loss at the start that rounding decides whether it rises or falls"
    if plateau.verdict == "falling":
        return f"still falling: {change}; it had not flattened when the training ended"
    return f"rising: {change}; a lower learning rate is the first thing to try"


def _events(events: Sequence[Any], width: int) -> Iterator[Text]:
    for event in events:
        style = "" if event.kind in ("resumed", "early stop") else "yellow"
        yield from wrapped(f"{event.kind}: {event.text}", width, "  ", style)


def _answers(training: Any, width: int) -> Iterator[Text]:
    answers, held = training.answers, training.held
    yield Text("")
    if answers.rows:
        classes = answers.rows[0].probability is not None
        heads = (
            ("example", "answer", "target", "p(target)", "") if classes else ("example", "answer", "target", "error")
        )
        rows = [
            (a.name, a.given, a.wanted, f"{a.probability:.4f}", "right" if a.right else "wrong") if classes
            else (a.name, a.given, a.wanted, short(a.error, 3))
            for a in answers.rows
        ]  # fmt: skip
        yield from columns(heads, rows, width)
        if answers.total > len(answers.rows):
            yield from wrapped(f"not shown: {answers.total - len(answers.rows):,} more", width, "  ", "dim")
    yield from wrapped(
        "; ".join(_score(a, what) for a, what in ((answers, "training"), (held, "held out")) if a), width
    )


def _score(answers: Any, what: str) -> str:
    if answers.right is not None:
        return f"{what}: {answers.right:,} of {answers.total:,} right"
    return f"{what}: root mean square error {_told(answers.rmse)} over {count(answers.total, 'example')}"


def _run(history: Any) -> str:
    again = f"weightwalk train --resume {history.run}"
    if history.stopped_by == "interrupt":
        return f"{history.run} holds its checkpoints; go on with {again}"
    return f"{history.run} holds its checkpoints and the trained net, weights.safetensors"


def history_lines(history: Any, width: int) -> Iterator[Text]:
    """A `History` by itself."""
    name = type(history.module).__name__ if history.module is not None else "a net"
    yield Text(
        f"training of {name}: {count(history.epochs, 'epoch')}, {count(history.updates, 'update')}", style="bold"
    )
    yield from _curve(history, width)
    for what, values in (("loss", history.losses), ("held-out loss", history.held_losses)):
        if values:
            yield Text(f"  {what}: {_told(values[0])} first, {_told(min(values))} least, {_told(values[-1])} last")
    yield Text(f"  loss at the end: {_told(history.final)}")
    yield from _events(history.events, width)


def trainings_lines(trainings: Any, width: int) -> Iterator[Text]:
    """Several rates side by side: `Trainings`."""
    first = trainings.runs[0]
    yield Text(f"{first.net}: {first.description}", style="bold")
    text = f"the same training at {count(len(trainings.rates), 'learning rate')}, all from the same weights (seed "
    yield from wrapped(f"{text}{first.history.seed}); {first.history.kind}", width, "  ", "dim")
    yield Text("")
    rows = []
    for run, rate, why in zip(trainings.runs, trainings.rates, trainings.broke, strict=True):
        history = run.history
        losses = np.array(history.losses, dtype=float)
        rose = int((np.diff(losses) > 0).sum())
        end = f"broke off after {count(history.updates, 'update')}" if why else _told(history.final)
        start = _told(losses[0]) if len(losses) else ""
        rows.append((f"{rate:g}", start, _told(float(losses.min())) if len(losses) else "", end,
                     f"{rose:,} of {max(len(losses) - 1, 0):,}", "" if why else run.plateau.verdict))  # fmt: skip
    yield from columns(("rate", "first loss", "least", "at the end", "epochs in which it rose", "curve"), rows, width)
    yield Text("")
    for rate, why in zip(trainings.rates, trainings.broke, strict=True):
        if why:
            yield from wrapped(f"rate {rate:g}: {why}", width, "  ", "yellow")
    said = "A step against the gradient lowers the loss only if it is short enough: nothing guarantees that it does."
    yield from wrapped(said, width, "  ")


def _told(value: float) -> str:
    return short(value, DIGITS) if math.isfinite(value) else str(value)
