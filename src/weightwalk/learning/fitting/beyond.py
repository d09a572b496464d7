"""A net of the square root outside its examples, beside Newton's iteration; and what each of the two guarantees.

A net of ReLUs is straight beyond its last kink, whatever it has learned, and the root is not: far out its error grows
without bound. Newton's iteration ``g <- (g + x / g) / 2`` knows what a root is and has no range. It has a guarantee,
too: with e = g - √x, the next error is exactly ``e² / (2 g)``, so that after the first step no guess lies below the
root and each is nearer than the one before. Gradient descent on a net has no such guarantee.
"""

from __future__ import annotations

import decimal
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn

from weightwalk.errors import UsageError
from weightwalk.formulas.newton import iterates
from weightwalk.learning.fitting.stacks import Progress, Stack, fit_many
from weightwalk.learning.fitting.tables import frame
from weightwalk.learning.tasks import Task, task_of

if TYPE_CHECKING:
    import pandas

DIGITS = 120
"""Decimal digits that Newton's trace is computed with."""


@dataclass(frozen=True, slots=True, eq=False)
class Guess:
    """One of Newton's guesses.

    Attributes:
        step: 0 for the start.
        value: The guess, in decimals of 120 digits.
        error: guess - root, from decimals.
        digits: Correct significant digits, -log10(|error| / root); infinite where there is no error left.
        in_float64: The same guess computed in float64, minus the root as float64 has it.
        kept: Whether the guarantee held to the last digit: in fractions, this guess's square exceeds x by exactly
            the square of ``(g² - x) / (2 g)`` of the guess before. None for the start, or fractions too long.
    """

    step: int
    value: Decimal
    error: float
    digits: float
    in_float64: float
    kept: bool | None


@dataclass(frozen=True, slots=True, eq=False)
class Place:
    """One number, its root, what the nets say and what Newton's iteration says.

    Attributes:
        x: The number.
        root: Its square root.
        where: ``"inside"`` the examples' range or ``"outside"``.
        said: (S,) the nets' answers.
        newton: Newton's answer in float64, from 1.
        steps: Its steps until it stays within two units in the last place.
        path: (steps + 1,) relative errors of its guesses, from the start on.
    """

    x: float
    root: float
    where: str
    said: np.ndarray
    newton: float
    steps: int
    path: np.ndarray = field(repr=False)


@dataclass(frozen=True, slots=True, eq=False)
class Tail:
    """The exact straight line that a net follows beyond its last kink, from its formula.

    Attributes:
        seed: Of the net.
        kink: The last one.
        slope: Beyond it.
        intercept: Of that line.
        certified: Whether the formula passed its checks.
    """

    seed: int
    kink: float
    slope: float
    intercept: float
    certified: bool


@dataclass(frozen=True, slots=True, eq=False)
class Rate:
    """Gradient descent on the same nets and data, at one learning rate.

    Attributes:
        lr: Learning rate.
        curve: (S, steps + 1) loss before each step, and after the last; not finite once a net has diverged.
        rises: Steps, over all seeds, after which the loss was greater than before.
        taken: Steps over all seeds with a finite loss before them.
        diverged: Seeds whose loss left the floating-point numbers.
        stalled: Seeds that end with no unit on at any example: a constant that no step will ever move.
        worst: (seed, step, loss before, loss after) of the greatest rise; None if the loss never rose.
    """

    lr: float
    curve: np.ndarray = field(repr=False)
    rises: int
    taken: int
    diverged: int
    stalled: int
    worst: tuple[int, int, float, float] | None


@dataclass(frozen=True, slots=True, eq=False)
class BeyondFit:
    """Inside the examples, outside, and what is guaranteed.

    Attributes:
        low: Least example.
        high: Greatest example.
        seeds: Of the nets.
        recipe: How they were trained.
        at_examples: (S,) root mean squared error at the examples.
        between: (S,) root mean squared error between them: numbers that were never seen, inside the range.
        places: Numbers inside and outside.
        tails: Per seed.
        traced: The number whose root Newton's trace is of.
        trace: Its guesses.
        operations: Multiplications, additions and maxima of one answer of a net.
        rates: Gradient descent at several rates.
        steps: Of each.
        start_loss: (S,) loss of the untrained nets.
        far: (G,) numbers on a logarithmic scale.
        errors: (S, G) relative errors of the nets there.
    """

    low: float
    high: float
    seeds: tuple[int, ...]
    recipe: str
    at_examples: np.ndarray
    between: np.ndarray
    places: tuple[Place, ...]
    tails: tuple[Tail, ...]
    traced: float
    trace: tuple[Guess, ...]
    operations: int
    rates: tuple[Rate, ...]
    steps: int
    start_loss: np.ndarray = field(repr=False)
    far: np.ndarray = field(repr=False)
    errors: np.ndarray = field(repr=False)

    def frame(self) -> pandas.DataFrame:
        """One row per number and seed, and per number Newton's."""
        names = ("x", "root", "where", "who", "seed", "answer", "error")
        rows = []
        for p in self.places:
            rows += [(p.x, p.root, p.where, "net", s, v, v - p.root) for s, v in zip(self.seeds, p.said, strict=True)]
            rows.append((p.x, p.root, p.where, "newton", -1, p.newton, p.newton - p.root))
        return frame(dict(zip(names, row, strict=True)) for row in rows)


def fit_beyond(
    *,
    numbers: Sequence[float] = (2.0, 5.05, 8.0, 20.0, 100.0, 10_000.0),
    traced: float = 8.0,
    start: float = 4.0,
    seeds: Sequence[int] = range(10),
    rates: Sequence[float] = (0.001, 0.01, 0.03, 0.1, 0.3),
    steps: int = 300,
    epochs: int | None = None,
    progress: Progress | None = None,
) -> BeyondFit:
    """Train nets of the square root on [0, 10], and ask them inside and outside; beside Newton's iteration.

    Args:
        numbers: To take the root of; positive.
        traced: The number that Newton's iteration is traced for.
        start: Its first guess.
        seeds: Of the nets, trained as the gallery's ``sqrt`` is (1-8-1).
        rates: Learning rates at which the same fresh nets are moved by plain gradient descent, full batch.
        steps: Of each of these.
        epochs: Updates of the trained nets; the task's own unless said.
        progress: Called with (done, in all).

    Raises:
        UsageError: A number or a rate that is not positive and finite.

    Example:
        >>> found = fit_beyond(seeds=range(2), rates=(0.1,), steps=20)
        >>> [f"{guess.value:.10f}" for guess in found.trace[1:5]]
        ['3.0000000000', '2.8333333333', '2.8284313725', '2.8284271247']
        >>> abs(found.trace[5].in_float64) < 5e-16
        True
    """
    if steps < 1 or not all(0 < r < 1e6 for r in rates):
        raise UsageError(f"Rates are positive numbers, and there is at least one step; got {tuple(rates)}, {steps}.")
    task = task_of("sqrt")
    low, high = float(task.data.inputs.min()), float(task.data.inputs.max())
    trace = newton_trace(traced, start)
    newton = [iterates(float(v)) for v in numbers]  # refuses numbers that have no root
    chosen = [int(s) for s in seeds]
    nets = [task.module(s) for s in chosen]
    epochs = task.epochs if epochs is None else epochs
    jobs = epochs + steps * len(rates)

    def tell(before: int) -> Progress | None:
        return None if progress is None else (lambda d, n, report=progress: report(before + d, jobs))

    stack = fit_many(
        nets, task.data.inputs, task.data.targets, lr=task.lr, epochs=epochs, optimizer=task.optimizer,
        progress=tell(0),
    )  # fmt: skip
    held = task.data.held_out
    assert held is not None
    between = np.sqrt(np.mean((stack(held[0]) - held[1].double().numpy()) ** 2, axis=(1, 2)))
    places = []
    for number, guesses in zip(map(float, numbers), newton, strict=True):
        root = float(np.sqrt(number))
        close = [abs(g - root) <= 2 * np.spacing(root) for g in guesses]
        taken = len(close) - next((i for i, ok in enumerate(reversed(close)) if not ok), len(close))
        where = "inside" if low <= number <= high else "outside"
        said = stack(np.array([[number]]))[:, 0, 0]
        last = min(taken, len(guesses) - 1)
        path = np.array(guesses[: last + 1]) / root - 1
        places.append(Place(number, root, where, said, guesses[last], taken, path))
    far = np.geomspace(0.01, 1e5, 300)
    moved = tuple(_descend(nets, task, rate, steps, chosen, tell(epochs + i * steps)) for i, rate in enumerate(rates))
    width = stack.biases[0].shape[-1]
    return BeyondFit(
        low, high, tuple(chosen), f"{task.optimizer}, lr {task.lr:g}, {epochs:,} full-batch updates",
        np.sqrt(stack.losses), between, tuple(places), tuple(_tail(s, n, stack, i) for i, (s, n) in
        enumerate(zip(chosen, nets, strict=True))), float(traced), trace, 5 * width, moved, steps,
        moved[0].curve[:, 0] if moved else np.zeros(0), far, stack(far[:, None])[:, :, 0] / np.sqrt(far) - 1,
    )  # fmt: skip


def newton_trace(x: float, start: float, most: int = 8) -> tuple[Guess, ...]:
    """Newton's guesses for the root of x, digit by digit.

    Args:
        x: Positive.
        start: First guess, positive.
        most: Steps at most; it ends earlier when nothing of 100 digits changes any more.

    Raises:
        UsageError: Either is not positive and finite.

    Example:
        >>> [round(guess.digits, 1) for guess in newton_trace(8, 4)[:6]]
        [0.4, 1.2, 2.8, 5.8, 11.9, 24.2]
    """
    plain = iterates(float(x), float(start))
    with decimal.localcontext() as context:
        context.prec = DIGITS
        number, guess = Decimal(float(x)), Decimal(float(start))
        exact, square = Fraction(float(start)), Fraction(float(x))
        root = number.sqrt()
        found: list[Guess] = []
        kept: bool | None = None
        for step in range(most + 1):
            error = guess - root
            relative = abs(error / root)
            digits = float("inf") if relative < Decimal(10) ** -100 else float(-relative.log10())
            near = plain[min(step, len(plain) - 1)]
            found.append(Guess(step, guess, float(error), digits, near - math.sqrt(x), kept))
            if digits == float("inf"):
                break
            guess = (guess + number / guess) / 2
            kept = None
            if exact.denominator.bit_length() < 4000:
                after = (exact + square / exact) / 2
                kept = after**2 - square == ((exact**2 - square) / (2 * exact)) ** 2
                exact = after
    return tuple(found)


def _tail(seed: int, fresh: nn.Module, stack: Stack, i: int) -> Tail:
    """The last piece of one net, by `weightwalk.formula`."""
    from weightwalk.formulas.formula import formula

    layers = [m for m in fresh.modules() if isinstance(m, nn.Linear)]
    with torch.no_grad():
        for layer, weight, bias in zip(layers, stack.weights, stack.biases, strict=True):
            layer.weight.copy_(weight[i].T)
            layer.bias.copy_(bias[i, 0])
    found = formula(fresh)
    if found.kind != "line":  # every unit dead, or the net one affine map: no kink at all
        return Tail(seed, float("-inf"), float(found.facts.A[0, 0]), float(found.facts.b[0]), found.certified)
    last = found.facts.pieces[-1]
    return Tail(seed, float(last.start), float(last.slope[0]), float(last.intercept[0]), found.certified)


def _descend(
    nets: list[nn.Module], task: Task, rate: float, steps: int, seeds: list[int], progress: Progress | None
) -> Rate:
    """Plain gradient descent from the same fresh nets, its loss noted at every step."""
    stack = fit_many(
        nets, task.data.inputs, task.data.targets, optimizer="sgd", lr=rate, epochs=steps, every=1, progress=progress
    )
    curve = stack.curve
    before, after = curve[:, :-1], curve[:, 1:]
    with np.errstate(invalid="ignore"):
        known = np.isfinite(before)
        rose = known & ~(after <= before)
        finite = rose & np.isfinite(after)
        heights = np.where(finite, after - before, -np.inf)
    worst = None
    if finite.any():
        s, k = (int(v) for v in np.unravel_index(heights.argmax(), heights.shape))
        worst = (seeds[s], k, float(before[s, k]), float(after[s, k]))
    hidden = torch.baddbmm(stack.biases[0], task.data.inputs.expand(len(nets), -1, -1), stack.weights[0])
    off = ((hidden <= 0) & torch.isfinite(hidden)).flatten(1).all(dim=1).numpy()
    ended = np.isfinite(curve[:, -1])
    return Rate(
        float(rate), curve, int(rose.sum()), int(known.sum()), int((~ended).sum()), int((off & ended).sum()), worst
    )
