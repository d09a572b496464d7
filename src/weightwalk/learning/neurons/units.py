"""Neurons to look at: a linear one, one with a threshold, and the rule that trains the second."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from weightwalk.errors import UsageError
from weightwalk.learning.frames import needs_pandas
from weightwalk.readings.narrate_decimals import closed, decimal, product
from weightwalk.readings.narrate_facts import Sum, Term

if TYPE_CHECKING:
    from pandas import DataFrame

ROWS = ((0, 0), (0, 1), (1, 0), (1, 1))
GATES: dict[str, tuple[int, ...]] = {"and": (0, 0, 0, 1), "or": (0, 1, 1, 1), "nand": (1, 1, 1, 0),
                                     "nor": (1, 0, 0, 0), "xor": (0, 1, 1, 0), "xnor": (1, 0, 0, 1)}  # fmt: skip
UNITS: dict[str, tuple[float, float, float]] = {"and": (1, 1, -1.5), "or": (1, 1, -0.5), "nand": (-1, -1, 1.5),
                                                "nor": (-1, -1, 0.5)}  # fmt: skip
"""Weights and bias of a threshold unit for each of the gates that one unit can compute."""


@dataclass(frozen=True, slots=True)
class Scored:
    """One output against one target.

    Attributes:
        output: What was said.
        target: What was wanted.
        residual: ``output - target``: signed, and no loss.
        absolute: Its size.
        squared: Its square.
        slope: ``∂squared/∂output = 2 · residual``.
    """

    output: float
    target: float
    residual: float
    absolute: float
    squared: float
    slope: float


@dataclass(frozen=True, slots=True)
class LinearNeuron:
    """``z = w · x + b`` with its numbers.

    Attributes:
        sum: The output as a sum that closes.
        connections: One per input.
        parameters: Weights and the bias.
        here: The output against the target.
        gradient: ``∂squared/∂w`` for each weight, then for the bias.
        mirrored: Errors of one size and opposite sign: equal loss, opposite slope.
        outputs: Ever lower outputs: the residual has no least value, the others have.
    """

    sum: Sum
    connections: int
    parameters: int
    here: Scored
    gradient: tuple[float, ...]
    mirrored: tuple[Scored, Scored]
    outputs: tuple[Scored, ...]


def scored(output: float, target: float) -> Scored:
    """Residual, absolute and squared error, kept apart."""
    e = output - target
    return Scored(output, target, e, abs(e), e * e, 2 * e)


def linear_neuron(
    weights: Sequence[float] = (2.0, -1.0),
    bias: float = 0.5,
    inputs: Sequence[float] = (3.0, 4.0),
    target: float = 4.0,
) -> LinearNeuron:
    """A linear neuron on one input.

    Args:
        weights: One per input.
        bias: Added to the sum.
        inputs: As many numbers as weights.
        target: What it should say.

    Raises:
        UsageError: Not as many weights as inputs, or numbers that are not finite.

    Example:
        >>> neuron = linear_neuron()
        >>> neuron.sum.total, neuron.connections, neuron.parameters
        (Decimal('2.5'), 2, 3)
        >>> [s.squared for s in neuron.mirrored], [s.slope for s in neuron.mirrored]
        ([2.25, 2.25], [-3.0, 3.0])
    """
    if len(weights) != len(inputs) or not weights:
        raise UsageError(f"A neuron has one weight per input; got {len(weights)} weights and {len(inputs)} inputs.")
    if not all(map(math.isfinite, (*weights, bias, *inputs, target))):
        raise UsageError("Weights, bias, inputs and target must be finite numbers.")
    z = sum((w * x for w, x in zip(weights, inputs, strict=True)), bias)
    if not abs(z - target) < 1e150:  # a NaN, too
        raise UsageError("The sum, or the square of its error, is too large for a float64; give smaller numbers.")
    z = math.fsum([*(w * x for w, x in zip(weights, inputs, strict=True)), bias])
    terms = []
    for i, (w, x) in enumerate(zip(weights, inputs, strict=True)):
        factors = (decimal(np.float64(w)), decimal(np.float64(x)))
        terms.append(Term(f"x{i + 1}", product(factors), factors))
    terms.append(Term("bias", decimal(np.float64(bias)), kind="bias"))
    here = scored(z, target)
    size = abs(here.residual) or 1.0
    mirrored = (scored(target - size, target), scored(target + size, target))
    outputs = tuple(
        scored(v, target) for v in (target + 100, target + 1, target, target - 1, target - 100, target - 1e4)
    )
    gradient = (*(here.slope * x for x in inputs), here.slope)
    return LinearNeuron(closed("z", terms, decimal(np.float64(z))), len(inputs), len(inputs) + 1, here, gradient,
                        mirrored, outputs)  # fmt: skip


# Thresholds ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ThresholdUnit:
    """A unit that says 1 where ``w · x + b > 0``, else 0.

    Attributes:
        name: The gate, or ``"given"``.
        weights: Its weights.
        bias: Its bias.
        table: (x1, x2, z, what it says, what the gate says) for the four inputs; the last is None without a gate.
        right: Whether it computes the gate; None without one.
        computes: The gate that it computes, ``""`` where that has no name here.
    """

    name: str
    weights: tuple[float, float]
    bias: float
    table: tuple[tuple[int, int, float, int, int | None], ...]
    right: bool | None
    computes: str


def threshold_unit(gate: str | Sequence[float] = "and") -> ThresholdUnit:
    """The truth table of a threshold unit.

    Args:
        gate: The name of a gate (``"and"``, ``"or"``), or two weights and a bias.

    Raises:
        UsageError: No such gate, or one that no single unit computes.

    Example:
        >>> [row[3] for row in threshold_unit("or").table]
        [0, 1, 1, 1]
    """
    if isinstance(gate, str):
        if gate in ("xor", "xnor"):
            raise UsageError(
                f"No threshold unit computes {gate}: its four inequalities contradict one another "
                f"(`weightwalk neuron --perceptron {gate}` shows the rule going in circles); it takes a hidden layer."
            )
        if gate not in UNITS:
            raise UsageError(f"There is no gate {gate!r}; there are {', '.join(UNITS)}, or give w1,w2,b.")
        w1, w2, b = UNITS[gate]
    else:
        if len(gate) != 3 or not all(map(math.isfinite, gate)):
            raise UsageError(f"A threshold unit of two inputs is w1,w2,b; got {','.join(map(str, gate))}.")
        w1, w2, b = (float(v) for v in gate)
    wanted = GATES[gate] if isinstance(gate, str) else (None,) * 4
    table = tuple((x1, x2, w1 * x1 + w2 * x2 + b, int(w1 * x1 + w2 * x2 + b > 0), t)
                  for (x1, x2), t in zip(ROWS, wanted, strict=True))  # fmt: skip
    said = tuple(row[3] for row in table)
    computes = next((name for name, outputs in GATES.items() if outputs == said), "")
    right = said == GATES[gate] if isinstance(gate, str) else None
    return ThresholdUnit(gate if isinstance(gate, str) else "given", (w1, w2), b, table, right, computes)


@dataclass(frozen=True, slots=True)
class Correction:
    """One example met by the rule.

    Attributes:
        epoch: Which pass, from 1.
        inputs: The two bits.
        target: The third.
        output: What the unit said.
        error: ``target - output``.
        update: ``lr · error · (x1, x2, 1)``: zero where the error is zero.
        weights: Weights and bias afterwards.
    """

    epoch: int
    inputs: tuple[int, int]
    target: int
    output: float
    error: float
    update: tuple[float, float, float]
    weights: tuple[float, float, float]


@dataclass(frozen=True, slots=True)
class Corrections:
    """A unit trained by correcting its errors.

    Attributes:
        gate: What it was to learn.
        rule: ``"perceptron"`` (the output is 0 or 1) or ``"delta"`` (the output is ``w · x + b``).
        lr: Learning rate.
        met: Every example met.
        epochs: Passes made.
        learned: The pass that met no error; None where none did.
        circles: (epoch, earlier epoch) after which the weights were the same: from there on it repeats itself for ever.
        right: How many of the four the unit gets right in the end (for the delta rule, on the right side of a half).
    """

    gate: str
    rule: str
    lr: float
    met: tuple[Correction, ...]
    epochs: int
    learned: int | None
    circles: tuple[int, int] | None
    right: int

    def frame(self) -> DataFrame:
        """Every example met, as a table of pandas."""
        pandas = needs_pandas()

        heads = ["epoch", "x1", "x2", "target", "output", "error", "dw1", "dw2", "db", "w1", "w2", "b"]
        rows = [[m.epoch, *m.inputs, m.target, m.output, m.error, *m.update, *m.weights] for m in self.met]
        return pandas.DataFrame(rows, columns=heads)


def corrected(gate: str = "and", rule: str = "perceptron", *, lr: float | None = None, epochs: int = 50) -> Corrections:
    """Train a unit by ``update = lr · error · input``, from zero weights, on the four rows of a gate in order.

    Args:
        gate: A name in `GATES`.
        rule: ``"perceptron"`` (Rosenblatt 1958) or ``"delta"`` (Widrow and Hoff 1960).
        lr: Learning rate; 1 for the perceptron, whose numbers then stay whole, and 0.1 for the delta rule.
        epochs: Passes at most.

    Raises:
        UsageError: No such gate or rule, or a rate that is not positive.

    Example:
        >>> corrected("and").learned, corrected("xor").learned
        (6, None)
    """
    if gate not in GATES or rule not in ("perceptron", "delta"):
        raise UsageError(f"Gates are {', '.join(GATES)} and rules perceptron, delta; got {gate!r} and {rule!r}.")
    lr = (1.0 if rule == "perceptron" else 0.1) if lr is None else lr
    if not (lr > 0 and math.isfinite(lr)) or epochs < 1:
        raise UsageError(f"The rate is positive and there is at least one pass; got lr={lr}, epochs={epochs}.")
    w = (0.0, 0.0, 0.0)
    met: list[Correction] = []
    seen = {w: 0}
    learned = circles = None
    for epoch in range(1, epochs + 1):
        wrong = False
        for (x1, x2), target in zip(ROWS, GATES[gate], strict=True):
            z = w[0] * x1 + w[1] * x2 + w[2]
            output = float(z > 0) if rule == "perceptron" else z
            error = target - output
            update = (lr * error * x1, lr * error * x2, lr * error)
            w = (w[0] + update[0], w[1] + update[1], w[2] + update[2])
            wrong = wrong or error != 0
            met.append(Correction(epoch, (x1, x2), target, output, error, update, w))
        if not all(map(math.isfinite, w)):
            break
        if not wrong:
            learned = epoch
            break
        if w in seen:
            circles = (epoch, seen[w])
            break
        seen[w] = epoch
    middle = 0.0 if rule == "perceptron" else 0.5
    right = sum(
        (w[0] * x1 + w[1] * x2 + w[2] > middle) == bool(t) for (x1, x2), t in zip(ROWS, GATES[gate], strict=True)
    )
    return Corrections(gate, rule, lr, tuple(met), met[-1].epoch, learned, circles, right)
