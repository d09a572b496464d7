"""What is known of one training step: plain frozen facts, in the order in which the step happens."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from weightwalk.learning.frames import needs_pandas
from weightwalk.readings.narrate_facts import Sum

if TYPE_CHECKING:
    from pandas import DataFrame

    from weightwalk.readings.account import Account
    from weightwalk.walks.walk import Walk


@dataclass(frozen=True, slots=True)
class Error:
    """How far off one output was, by four quantities that are not the same thing.

    Attributes:
        row: The example, and which of its outputs.
        said: What the net said: the output itself, or the probability that it gives to the target.
        wanted: The target; 1 for a probability.
        residual: ``said - wanted``. It has a sign and no minimum: a residual is not a loss.
        absolute: ``|said - wanted|``.
        squared: ``(said - wanted)²``.
        cross_entropy: ``-ln p(target)``, natural logarithm; None where outputs are numbers, not probabilities.
        slope: ``∂loss/∂output`` as backpropagation found it, of the output (the target's logit); None where the record
            does not have it.
    """

    row: str
    said: float
    wanted: float
    residual: float
    absolute: float
    squared: float
    cross_entropy: float | None
    slope: float | None


@dataclass(frozen=True, slots=True)
class Compared:
    """What the net said against what was wanted.

    Attributes:
        kind: ``"numbers"``, ``"classes"``, ``"bits"``; ``"unknown"`` for a loss whose outputs and targets cannot be
            paired, of which there are then no errors.
        errors: One for each output, the first of them where there are many.
        omitted: How many more there are; the means count them too.
        mean: Of each quantity, over all outputs.
        trained: Which of the quantities is the loss; ``""`` for a function of the user's own.
        loss: The loss as it was recorded.
    """

    kind: str
    errors: tuple[Error, ...]
    omitted: int
    mean: Mapping[str, float]
    trained: str
    loss: float


@dataclass(frozen=True, slots=True)
class Blame:
    """One weight, what backpropagation says of it, and what the optimizer then did.

    Attributes:
        address: Where the walk has it, ``"fc1.weight[0, 1]"``.
        label: The same with names in place of numbers, where an axis has names.
        value: The weight before the step.
        gradient: ``∂loss/∂w``, as recorded.
        nudge: What was added to it.
        after: The weight after the step.
        promised: ``gradient * nudge``: what this nudge alone changes in the loss, to first order.
    """

    address: str
    label: str
    value: float
    gradient: float
    nudge: float
    after: float
    promised: float


@dataclass(frozen=True, slots=True)
class Tensor:
    """One parameter tensor as a whole.

    Attributes:
        name: Its name.
        shape: Its shape.
        size: How many weights it holds.
        norm: Euclidean norm of the weights before the step.
        gradient: Euclidean norm of its gradient; None where no gradient reached it.
        nudge: Euclidean norm of what was added.
        share: Its share of the sum of ``|∂loss/∂w|`` over all weights.
        zeros: Weights whose gradient is exactly 0.
    """

    name: str
    shape: tuple[int, ...]
    size: int
    norm: float
    gradient: float | None
    nudge: float
    share: float
    zeros: int


@dataclass(frozen=True, slots=True)
class Check:
    """One line of arithmetic against the record.

    Attributes:
        name: What the line computes.
        value: The line in float64, from recorded numbers.
        recorded: What the record has.
        deviation: How far apart they are.
        bound: How far apart rounding in the recorded dtype may put them.
        ok: Whether the deviation is within the bound.
    """

    name: str
    value: float
    recorded: float
    deviation: float
    bound: float
    ok: bool


@dataclass(frozen=True, slots=True)
class Quotient:
    """``name = top / bottom``, a line of arithmetic that is no sum.

    Attributes:
        name: What it is.
        formula: In symbols.
        numbers: The same with its numbers.
        value: What comes out.
    """

    name: str
    formula: str
    numbers: str
    value: float


@dataclass(frozen=True, slots=True)
class Arithmetic:
    """The optimizer's arithmetic for one weight, line by line.

    Attributes:
        address: The weight.
        lines: Sums that close as printed, and quotients between them.
        checks: Each line that the record has a number for.
    """

    address: str
    lines: tuple[Sum | Quotient, ...]
    checks: tuple[Check, ...]


@dataclass(frozen=True, slots=True)
class Movement:
    """All weights move at once, each by an amount of its own.

    Attributes:
        weights: How many there are.
        moved: How many changed.
        raised: How many of them grew.
        lowered: How many of them shrank.
        distinct: How many different amounts there are among the moved; None where there are too many to count.
        without_gradient: Weights whose gradient is exactly 0.
        resting: Weights without a gradient that did not move.
        swallowed: Weights with a gradient that did not move: their nudge was less than half the spacing of floats
            there, or weight decay undid it.
    """

    weights: int
    moved: int
    raised: int
    lowered: int
    distinct: int | None
    without_gradient: int
    resting: int
    swallowed: int


@dataclass(frozen=True, slots=True)
class Promise:
    """What the gradient promised of the loss, and what happened.

    Attributes:
        before: The loss on these examples at the old weights.
        after: At the new weights, computed.
        changed: ``after - before``.
        first: ``Σ ∂loss/∂w · Δw``: what the gradient promises.
        second: ``½ Δwᵀ H Δw``: what the curvature adds along this step; None where it could not be had.
        told: The promise as a sum over the weights shown and the rest.
        precision: In which the losses were computed.
        note: A remark; ``""`` mostly.
    """

    before: float
    after: float
    changed: float
    first: float
    second: float | None
    told: Sum
    precision: str
    note: str = ""

    @property
    def gap(self) -> float:
        """What the first order did not foresee: ``changed - first``."""
        return self.changed - self.first

    @property
    def beyond(self) -> float | None:
        """What the second order did not foresee either."""
        return None if self.second is None else self.gap - self.second


@dataclass(frozen=True, slots=True)
class Difference:
    """One derivative by backpropagation and by central differences.

    Attributes:
        address: The weight.
        recorded: ``∂loss/∂w`` in the walk.
        exact: Backpropagation once more, in float64.
        central: ``(loss(w + h) - loss(w - h)) / 2h`` in float64.
        step: The h used.
        relative: ``|exact - central|`` in units of the larger of the two.
        left: Derivative from below, at a kink; None elsewhere.
        right: Derivative from above, at a kink.
        verdict: ``"agrees"``, ``"kink"`` (two one-sided derivatives, the gradient between them) or ``"WRONG"``.
    """

    address: str
    recorded: float
    exact: float
    central: float
    step: float
    relative: float
    left: float | None
    right: float | None
    verdict: str


@dataclass(frozen=True, slots=True)
class GradientCheck:
    """Gradients held to central differences.

    Attributes:
        checked: How many weights were.
        weights: Of how many.
        agree: How many agree.
        kinks: How many stand at a kink.
        wrong: How many are wrong.
        worst: The differences of greatest relative error, wrong ones first.
        rounding: Greatest distance of a recorded gradient from that in float64, in units of its tensor's greatest.
        precision: ``"float64"``, or the net's own dtype where it does not run in float64.
    """

    checked: int
    weights: int
    agree: int
    kinks: int
    wrong: int
    worst: tuple[Difference, ...]
    rounding: float
    precision: str

    @property
    def ok(self) -> bool:
        """Whether none is wrong."""
        return self.wrong == 0


@dataclass(frozen=True, slots=True)
class Rival:
    """What another optimizer makes of the same gradients.

    Attributes:
        optimizer: Its name.
        nudges: Its nudge of each weight shown, in their order.
        norm: Euclidean norm of its whole step.
        cosine: Cosine of the angle between its step and minus the gradient.
        first: What the gradient promises of this step.
        after: The loss after it.
        changed: That less the loss before.
    """

    optimizer: str
    nudges: tuple[float, ...]
    norm: float
    cosine: float
    first: float
    after: float
    changed: float


@dataclass(frozen=True, slots=True)
class Nudge:
    """One training step, walked.

    Attributes:
        net: What was trained.
        loss: Name of the loss.
        optimizer: Name of the optimizer.
        lr: Learning rate.
        settings: The optimizer's other settings, as torch ran it.
        step: Which update this was, 1 for the first: so many the optimizer's averages have seen.
        seed: Of the initial weights, the choice of rows and random layers.
        rows: Names of the examples in the batch, the first of them where there are many.
        batch: How many examples are in the batch.
        examples: Of how many.
        compared: The loss, and what it is made of.
        blames: The weights of greatest ``|∂loss/∂w|``, ranked.
        share: Their share of the sum of ``|∂loss/∂w|`` over all weights.
        rest: Euclidean norm of the gradient of all other weights.
        tensors: Every parameter tensor.
        arithmetic: The optimizer's arithmetic for the first of the weights shown.
        movement: How many moved, and which way.
        promise: What became of the loss.
        verified: What `walk.verify()` said, in a sentence; ``""`` where it was not asked.
        ok: Whether all that was checked is right: the walk, the arithmetic, the gradients.
        gradients: Gradients against central differences, where asked for.
        rivals: Other optimizers on the same gradients, where asked for.
        accounts: Gradients as sums of what made them, where asked for.
        phases: Steps of the walk by phase, in the order in which they ran.
        unused: Parameters that nothing in the step read; they are counted nowhere.
        walk: The record itself.
    """

    net: str
    loss: str
    optimizer: str
    lr: float
    settings: Mapping[str, Any]
    step: int
    seed: int
    rows: tuple[str, ...]
    batch: int
    examples: int
    compared: Compared
    blames: tuple[Blame, ...]
    share: float
    rest: float
    tensors: tuple[Tensor, ...]
    arithmetic: tuple[Arithmetic, ...]
    movement: Movement
    promise: Promise
    verified: str
    ok: bool
    gradients: GradientCheck | None = None
    rivals: tuple[Rival, ...] = ()
    accounts: tuple[Account, ...] = ()
    phases: Mapping[str, int] = field(default_factory=dict)
    unused: tuple[str, ...] = ()
    walk: Walk | None = field(default=None, repr=False, compare=False)

    def frame(self) -> DataFrame:
        """The weights shown as a table of pandas: address, value, gradient, nudge, after, promised."""
        pandas = needs_pandas()

        names = ("address", "value", "gradient", "nudge", "after", "promised")
        return pandas.DataFrame([[getattr(b, n) for n in names] for b in self.blames], columns=list(names))

    def __str__(self) -> str:
        from weightwalk.show.terminal import plain  # printed, it reads like the command's output

        return plain(self)
