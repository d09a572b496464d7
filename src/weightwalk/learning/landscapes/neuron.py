"""The loss of one linear neuron over its two weights: the one landscape whose picture leaves nothing out.

``output = w1 x1 + w2 x2 + bias``; the inputs and the bias stay, the weights vary, and the height is the loss: the
mean of ``(output - target)²``. In the weights this is a quadratic with the Hessian ``2/N XᵀX``. Of one sample it has
rank 1: a straight trough, level along its bottom. Of samples in two directions both eigenvalues are positive: a bowl
with one minimum, which least squares finds. It has no hills and no second valley, whatever the data.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from weightwalk.errors import UsageError
from weightwalk.learning.frames import needs_pandas
from weightwalk.learning.landscapes.bowls import Bowl, Path, descent, driven
from weightwalk.learning.sampling import orders

STEPS = 60
"""Updates of a path."""


@dataclass(frozen=True, slots=True)
class Shape:
    """What a grid of losses looks like, counted over its interior places.

    Attributes:
        dips: Places lower than all their eight neighbours. Not each is a valley: a grid makes a row of dips of a
            straight trough that crosses it at a slant.
        hills: Places higher than all their eight neighbours.
        bent: Share of places that lie above the middle of two opposite neighbours, which on a bowl or a trough none
            does: three losses in a line, and so a proof that the surface is not convex.
    """

    dips: int
    hills: int
    bent: float


def shape_of(losses: np.ndarray) -> Shape:
    """Count the dips and hills of a grid, and where it cannot be convex. A grid that is not finite has none.

    >>> x = np.linspace(-1, 1, 9)
    >>> shape_of(x[:, None] ** 2 + x**2), shape_of(np.cos(2 * x[:, None]) * np.cos(2 * x)).hills
    (Shape(dips=1, hills=0, bent=0.0), 1)
    """
    if min(losses.shape) < 3 or not np.isfinite(losses).all():
        return Shape(0, 0, 0.0)
    inner = losses[1:-1, 1:-1]
    ways = ((1, 0), (0, 1), (1, 1), (1, -1))
    pairs = [(_moved(losses, i, j), _moved(losses, -i, -j)) for i, j in ways]
    around = [part for pair in pairs for part in pair]
    rounding = 64 * np.finfo(float).eps * np.abs(losses).max()
    bent = np.any([inner - (a + b) / 2 > rounding for a, b in pairs], axis=0)
    dips = np.all([inner < other for other in around], axis=0)
    hills = np.all([inner > other for other in around], axis=0)
    return Shape(int(dips.sum()), int(hills.sum()), float(bent.mean()))


def _moved(losses: np.ndarray, i: int, j: int) -> np.ndarray:
    """The interior's neighbours that way."""
    rows, columns = losses.shape
    return losses[1 + i : rows - 1 + i, 1 + j : columns - 1 + j]


@dataclass(frozen=True, eq=False)
class NeuronView:
    """The loss over the two weights, of one sample or of all.

    Attributes:
        samples: How many.
        bowl: The loss as a formula: Hessian, its eigenvalues, the analytic minimum.
        losses: On the grid, shape (first axis, second axis), each computed from outputs and targets.
        grid_minimum: The place of the least of them.
        grid_loss: The loss there.
        shape: Dips and hills of the grid.
        formula_gap: Greatest difference between the losses and the formula, over the greatest loss.
    """

    samples: int
    bowl: Bowl
    losses: np.ndarray = field(repr=False)
    grid_minimum: np.ndarray
    grid_loss: float
    shape: Shape
    formula_gap: float


@dataclass(frozen=True, eq=False)
class Neuron:
    """One linear neuron, its data, and its loss over its two weights.

    Attributes:
        inputs: Shape (N, 2).
        targets: Shape (N,).
        bias: What is held fixed: a number, or one for each sample.
        names: What the weights are called.
        first: Values of the first weight on the grid.
        second: Of the second.
        row: The sample of the one-sample view.
        one: That view.
        every: The view of all samples.
        paths: Where optimizers went on the loss of all samples.
        source: What the data are.
        at: Weights of which the loss is told: those the data were made with, or the trained net's.
        at_loss: The loss of all samples there.
        deep: A slice of a net of several layers on the same data, for comparison; see `deep.Deep`.
    """

    inputs: np.ndarray = field(repr=False)
    targets: np.ndarray = field(repr=False)
    bias: np.ndarray
    names: tuple[str, str]
    first: np.ndarray = field(repr=False)
    second: np.ndarray = field(repr=False)
    row: int
    one: NeuronView
    every: NeuronView
    paths: tuple[Path, ...] = ()
    source: str = ""
    at: np.ndarray = field(default_factory=lambda: np.zeros(2))
    at_loss: float = math.nan
    deep: Any = None

    def frame(self) -> Any:
        """A row for each place of the grid: both weights, the loss of the one sample and of all; a data frame."""
        pd = needs_pandas()

        w1, w2 = np.meshgrid(self.first, self.second, indexing="ij")
        parts = {self.names[0]: w1, self.names[1]: w2, "loss_of_one": self.one.losses, "loss_of_all": self.every.losses}
        return pd.DataFrame({name: part.ravel() for name, part in parts.items()})

    def outputs(self, weights: np.ndarray) -> np.ndarray:
        """The neuron's output for each sample, shape (N,): the numbers that the loss is made of, not the height."""
        return self.inputs @ np.asarray(weights, float) + self.bias


def example_data(samples: int = 40, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Data of a neuron with the weights (2, -1) and the bias 0.5; the first sample is (3, 4) and has no noise.

    >>> x, y = example_data()
    >>> x[0].tolist(), float(y[0])
    ([3.0, 4.0], 2.5)
    """
    generator = np.random.default_rng(seed)
    x = generator.normal(0.5, 1.5, (samples, 2))
    x[:, 1] += 0.5 * x[:, 0]
    y = x @ [2.0, -1.0] + 0.5 + generator.normal(0, 0.5, samples)
    x[0], y[0] = (3.0, 4.0), 2.5
    return x, y


def neuron_bowl(
    inputs: np.ndarray, targets: np.ndarray, bias: float | np.ndarray = 0.0, names: tuple[str, str] = ("w1", "w2")
) -> Bowl:
    """The loss of a linear neuron as a formula: ``H = 2/N XᵀX``, its minimum by least squares.

    >>> trough = neuron_bowl(np.array([[3.0, 4.0]]), np.array([2.5]), 0.5)
    >>> trough.eigenvalues.tolist(), trough.minimum.round(4).tolist()
    ([50.0, 0.0], [0.24, 0.32])
    """
    rest = targets - bias
    minimum = np.linalg.lstsq(inputs, rest, rcond=None)[0]
    floor = float(np.mean((inputs @ minimum - rest) ** 2))
    return Bowl(2 / len(inputs) * inputs.T @ inputs, minimum, floor, names)


def neuron(
    inputs: np.ndarray | None = None,
    targets: np.ndarray | None = None,
    *,
    bias: float | np.ndarray = 0.5,
    row: int = 0,
    grid: int = 41,
    span: float | None = None,
    at: np.ndarray | tuple[float, float] | None = None,
    names: tuple[str, str] = ("w1", "w2"),
    source: str = "",
) -> Neuron:
    """The loss of one linear neuron over its two weights, of one sample beside that of all.

    Args:
        inputs: Shape (N, 2); None for `example_data`.
        targets: Shape (N,).
        bias: Held fixed. A sum of more terms, such as the other inputs of a real neuron, may differ for each sample.
        row: The one sample.
        grid: Places along each weight, odd, so that the least-squares minimum is one of them.
        span: From the middle to each side, in units of a weight; None for 4.
        at: Weights to tell the loss of; None for (2, -1), or for the minimum where data are given.
        names: What the weights are called.
        source: What the data are, in words.

    Raises:
        UsageError: Data that are no such pair, a row that is not there, an even grid.
    """
    if inputs is None or targets is None:
        inputs, targets = example_data()
        at = (2.0, -1.0) if at is None else at
        source = source or "40 samples of y = 2 x1 - x2 + 0.5 + noise of 0.5; the first is (3, 4) -> 2.5, without noise"
    x, y, fixed = _checked(inputs, targets, bias)
    if not 0 <= row < len(x):
        raise UsageError(f"There is no sample {row}; the data have {len(x)}, counted from 0.")
    if grid < 3 or grid % 2 == 0:
        raise UsageError(f"A grid needs an odd number of places, 3 or more, so that one is its middle; got {grid}.")
    if span is not None and not (span > 0 and math.isfinite(span)):
        raise UsageError(f"--span must be a positive number; got {span}.")
    whole = neuron_bowl(x, y, fixed, names)
    middle = np.asarray(whole.minimum if whole.rank == 2 or at is None else at, float)
    away = (np.arange(grid) - grid // 2) / (grid // 2) * (4.0 if span is None else span)
    axes = middle[0] + away, middle[1] + away
    told = whole.minimum if at is None else np.asarray(at, float)
    return Neuron(
        x, y, fixed, names, *axes, row,
        _view(x[row : row + 1], y[row : row + 1], fixed[row : row + 1], axes, names),
        _view(x, y, fixed, axes, names),
        source=source or f"{len(x)} samples", at=told, at_loss=float(np.mean((x @ told + fixed - y) ** 2)),
    )  # fmt: skip


def _view(
    x: np.ndarray, y: np.ndarray, bias: np.ndarray, axes: tuple[np.ndarray, np.ndarray], names: tuple[str, str]
) -> NeuronView:
    places = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1)
    losses = np.mean((places @ x.T + bias - y) ** 2, axis=-1)
    bowl = neuron_bowl(x, y, bias, names)
    i, j = np.unravel_index(int(losses.argmin()), losses.shape)
    gap = float(np.abs(bowl(places) - losses).max() / max(float(losses.max()), 1e-300))
    return NeuronView(len(x), bowl, losses, places[i, j], float(losses[i, j]), shape_of(losses), gap)


def _checked(inputs: np.ndarray, targets: np.ndarray, bias: float | np.ndarray) -> tuple[np.ndarray, ...]:
    x, y = np.asarray(inputs, float), np.asarray(targets, float)
    y = y.reshape(-1)
    if x.ndim != 2 or x.shape[1] != 2:
        raise UsageError(f"A neuron of two weights takes two inputs, a row for each sample; got shape {x.shape}.")
    if len(x) != len(y) or not len(x):
        raise UsageError(f"There are {len(x)} inputs and {len(y)} targets; a target for each input is needed.")
    fixed = np.broadcast_to(np.asarray(bias, float), (len(x),)).copy()
    if not all(np.isfinite(part).all() for part in (x, y, fixed)):
        raise UsageError("The data or the bias hold a value that is not finite, of which no loss can be drawn.")
    return x, y, fixed


# Paths --------------------------------------------------------------------------------------------------------------


def start_of(found: Neuron | Bowl) -> np.ndarray:
    """Where paths begin: at a corner of the picture, three quarters of the way; on a bare bowl at (-1.5, 1)."""
    if isinstance(found, Bowl):
        return found.minimum + np.array([-1.5, 1.0])
    low = np.array([found.first[0], found.second[0]])
    high = np.array([found.first[-1], found.second[-1]])
    return low + (high - low) * [0.12, 0.9]


def optimizer_paths(found: Neuron, steps: int = STEPS, seed: int = 0) -> tuple[Path, ...]:
    """The same neuron trained in eight ways from the same start, each switch by itself: they part, and end apart.

    The rate of plain descent is ``0.5 / lambda_max``, half of what is best for the steepest direction; Adam's is in
    units of a weight, a twentieth of the picture's width.
    """
    x, y, bias = (torch.from_numpy(part) for part in (found.inputs, found.targets, found.bias))
    bowl, start, rows = found.every.bowl, start_of(found), len(found.inputs)
    if not bowl.rank:
        raise UsageError("All inputs are 0, so that no weight matters and no optimizer moves.")
    rate = 0.25 * bowl.critical_rate
    size = float(found.first[-1] - found.first[0]) / 20
    visits = np.concatenate([orders([seed], epoch, rows)[0] for epoch in range(steps // rows + 1)])

    def whole(w: torch.Tensor, _: int) -> torch.Tensor:
        return ((x @ w + bias - y) ** 2).mean()

    def single(w: torch.Tensor, step: int) -> torch.Tensor:
        i = int(visits[step])
        return (x[i] @ w + bias[i] - y[i]) ** 2

    def fading(step: int) -> float:
        return (1 + math.cos(math.pi * step / steps)) / 2

    spread = found.inputs.std(axis=0)
    spread = np.where(spread > 0, spread, 1.0)
    scaled = found.inputs / spread
    even = 0.5 / float(np.linalg.eigvalsh(2 / rows * scaled.T @ scaled)[-1])
    made = [
        driven(whole, bowl, start, kind, size if kind.startswith("adam") else rate, steps, name=name)
        for kind, name in (("sgd", "gradient descent"), ("momentum", "with momentum 0.9"),
                           ("nesterov", "Nesterov's momentum"), ("adam", "Adam"), ("adamw", "AdamW"))
    ]  # fmt: skip
    made.append(driven(single, bowl, start, "sgd", rate / 4, steps, name="one sample at a time, rate / 4"))
    made.append(driven(whole, bowl, start, "sgd", rate, steps, name="rate fading to 0 (cosine)", schedule=fading))
    made.append(driven(whole, bowl, start, "sgd", even, steps, name="inputs scaled to equal spread", back=1 / spread))
    return tuple(made)


def rate_paths(bowl: Bowl, multiples: tuple[float, ...], start: np.ndarray, steps: int = STEPS) -> tuple[Path, ...]:
    """Gradient descent at multiples of ``2 / lambda_max``: below 1 it converges, above it diverges.

    >>> from weightwalk.learning.landscapes.bowls import SIBLING
    >>> [path.diverged for path in rate_paths(SIBLING, (0.5, 0.9, 1.1), np.array([-1.5, 1.0]))]
    [False, False, True]
    """
    if not bowl.rank:
        raise UsageError("The loss is level, so that no learning rate is too large and no path moves.")
    return tuple(descent(bowl, start, m * bowl.critical_rate, steps) for m in multiples)
