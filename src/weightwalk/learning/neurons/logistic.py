"""A single logistic neuron that learns one example: the exact trace.

``z = w · x + b``, ``p = 1 / (1 + e^-z)``, loss ``-t ln p - (1 - t) ln(1 - p)``. Its slope at z is ``p - t``, so that
one step of gradient descent adds ``lr (t - p) x`` to the weights and ``lr (t - p)`` to the bias, and z moves by
``lr (‖x‖² + 1) (t - p)``. For t = 1 that goes on for ever: z grows like ``ln(lr (‖x‖² + 1) · steps)``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from weightwalk.errors import UsageError
from weightwalk.learning.frames import needs_pandas

if TYPE_CHECKING:
    from pandas import DataFrame

LEVELS = (0.90, 0.95, 0.99)
TOLD = (0, 1, 2, 3, 4, 5, 10, 20, 50, 100, 200, 500, 1000, 10_000, 100_000, 1_000_000)
LONGEST = 10_000_000


@dataclass(frozen=True, slots=True)
class Moment:
    """The neuron after so many steps, and what the next step will do.

    Attributes:
        step: Steps taken so far; 0 is the untrained neuron.
        z: ``w · x + b``.
        p: Its prediction.
        loss: Cross-entropy, natural logarithm.
        slope: ``∂loss/∂z = p - t``; times an input, the slope at that input's weight.
        gradient: ``∂loss/∂w`` for each weight, then ``∂loss/∂b``.
        weights: The weights.
        bias: The bias.
        dz: How far the next step moves z.
        norm: Euclidean norm of the weights.
        flow: z by the differential equation that the steps approximate; None where the target is not 1.
    """

    step: int
    z: float
    p: float
    loss: float
    slope: float
    gradient: tuple[float, ...]
    weights: tuple[float, ...]
    bias: float
    dz: float
    norm: float
    flow: float | None


@dataclass(frozen=True, slots=True)
class LogisticNeuron:
    """The trace of one logistic neuron on one example.

    Attributes:
        inputs: The example.
        target: What it should say, 0 to 1.
        lr: Learning rate.
        start: What was said about the first weights.
        factor: ``lr (‖x‖² + 1)``: z moves by this times ``t - p``.
        moments: Some of the steps: the first ones, and then ever rarer.
        reached: Level -> the first step at which p is there; None where it was not reached.
        elsewhere: What it says of inputs that it was never shown, after the last step: (input, p).
        p: p after every step, shape (steps + 1,).
        norms: Norm of the weights after every step, shape (steps + 1,).
    """

    inputs: tuple[float, ...]
    target: float
    lr: float
    start: str
    factor: float
    moments: tuple[Moment, ...]
    reached: dict[float, int | None]
    elsewhere: tuple[tuple[tuple[float, ...], float], ...]
    p: np.ndarray = field(repr=False)
    norms: np.ndarray = field(repr=False)

    def frame(self) -> DataFrame:
        """The moments told of as a table of pandas."""
        pandas = needs_pandas()

        names = [f"w{i + 1}" for i in range(len(self.inputs))]
        rows = [[m.step, m.p, m.loss, m.slope, *m.gradient, *m.weights, m.bias, m.dz, m.norm] for m in self.moments]
        heads = ["step", "p", "loss", "slope", *(f"gradient_{n}" for n in (*names, "b")), *names, "b", "dz", "norm"]
        return pandas.DataFrame(rows, columns=heads)


def probability(z: float) -> float:
    """The logistic function, without overflow.

    >>> probability(0.0), probability(-1000.0), probability(1000.0)
    (0.5, 0.0, 1.0)
    """
    return 1 / (1 + math.exp(-z)) if z >= 0 else math.exp(max(z, -745.2)) / (1 + math.exp(max(z, -745.2)))


def cross_entropy(z: float, target: float) -> float:
    """``-t ln p - (1 - t) ln(1 - p)`` with p the logistic function of z, without loss of digits at either end.

    >>> round(cross_entropy(0.0, 1.0), 4), round(cross_entropy(800.0, 0.0), 4)
    (0.6931, 800.0)
    """
    return max(z, 0.0) - z * target + math.log1p(math.exp(-abs(z)))


def start_of(start: str | Sequence[float], inputs: int, seed: int) -> tuple[list[float], float, str]:
    """First weights, bias, and how to call them.

    Raises:
        UsageError: It says nothing of that kind.
    """
    if start == "random":
        drawn = np.random.default_rng(seed).uniform(-0.5, 0.5, inputs + 1).tolist()
        return drawn[:-1], drawn[-1], f"drawn between -0.5 and 0.5 with seed {seed}"
    numbers = [0.0] if start == "zero" else list(start) if not isinstance(start, str) else None
    if numbers is None or len(numbers) not in (1, inputs + 1) or not all(map(math.isfinite, numbers)):
        raise UsageError(
            f"The first weights are zero, random, one number for all, or {inputs + 1} numbers (weights, then the "
            f"bias); got {start!r}."
        )
    if len(numbers) == 1:
        return numbers * inputs, numbers[0], f"all {numbers[0]:g}"
    return numbers[:-1], numbers[-1], "as given"


def logistic_neuron(
    inputs: Sequence[float] = (1.0, 0.5),
    target: float = 1.0,
    *,
    lr: float = 0.1,
    start: str | Sequence[float] = "zero",
    steps: int = 1000,
    seed: int = 0,
    levels: Sequence[float] = LEVELS,
) -> LogisticNeuron:
    """Train one logistic neuron on one example, and write down every step.

    Args:
        inputs: The example.
        target: What it should say, 0 to 1.
        lr: Learning rate.
        start: ``"zero"``, ``"random"`` (uniform between -0.5 and 0.5), one number for all, or weights and bias.
        steps: How many.
        seed: Of random first weights.
        levels: Predictions whose first step is looked for.

    Raises:
        UsageError: Numbers that make no neuron.

    Example:
        >>> neuron = logistic_neuron()
        >>> [round(float(neuron.p[t]), 4) for t in (0, 1, 10, 100)]
        [0.5, 0.5281, 0.7081, 0.954]
        >>> neuron.reached
        {0.9: 45, 0.95: 92, 0.99: 455}
    """
    x = [float(v) for v in inputs]
    if not x or not all(map(math.isfinite, x)) or not 0 <= target <= 1:
        raise UsageError(f"A neuron needs finite inputs and a target between 0 and 1; got {x} and {target}.")
    if not (lr > 0 and math.isfinite(lr)) or not 0 <= steps <= LONGEST:
        raise UsageError(f"The rate is positive and steps are 0 to {LONGEST:,}; got lr={lr}, steps={steps}.")
    w, b, said = start_of(start, len(x), seed)
    factor = lr * (sum(v * v for v in x) + 1)
    first = sum(a * v for a, v in zip(w, x, strict=True)) + b
    if not (abs(first) < 1e150 and factor < 1e150):  # a NaN, too
        raise UsageError("A sum or a step of this neuron is too large for a float64; give smaller numbers.")
    told = {*TOLD, steps}
    p, norms = np.empty(steps + 1), np.empty(steps + 1)
    moments = []
    for step in range(steps + 1):
        z = sum(a * v for a, v in zip(w, x, strict=True)) + b
        p[step] = probability(z)
        norms[step] = math.sqrt(sum(a * a for a in w))
        slope = p[step].item() - target
        if step in told:
            gradient = (*(slope * v for v in x), slope)
            flow = _flow(first, factor * step) if target == 1 else None
            moments.append(Moment(step, z, p[step].item(), cross_entropy(z, target), slope, gradient, tuple(w), b,
                                  -factor * slope, norms[step].item(), flow))  # fmt: skip
        w = [a - lr * slope * v for a, v in zip(w, x, strict=True)]
        b -= lr * slope
    last = moments[-1]
    others = [tuple(0.0 for _ in x), tuple(-v for v in x), *(tuple(v * (i == k) for i, v in enumerate(x))
              for k in range(len(x)) if len(x) > 1)]  # fmt: skip
    elsewhere = tuple((o, probability(sum(a * v for a, v in zip(last.weights, o, strict=True)) + last.bias))
                      for o in others)  # fmt: skip
    reached = {level: (int(np.argmax(p >= level)) if (p >= level).any() else None) for level in levels}
    return LogisticNeuron(tuple(x), float(target), lr, said, factor, tuple(moments), reached, elsewhere, p, norms)


def _flow(first: float, time: float) -> float:
    """Where ``z' = 1 / (1 + e^z)`` arrives from `first` after so much time: ``z + e^z`` grows by the time.

    Newton's method on a convex increasing function, from a point to the right of the root.
    """
    if first > 700 or time == 0:
        return first + time * math.exp(-first) if time else first
    goal = first + math.exp(first) + time
    z = math.log(goal) if goal > 2 else goal
    for _ in range(200):
        move = (z + math.exp(z) - goal) / (1 + math.exp(z))
        z -= move
        if abs(move) <= 1e-15 * max(1.0, abs(z)):
            break
    return z
