"""Two curves to know by heart: what cross-entropy makes of a probability, and where gradient descent leaves a bowl."""

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

PROBABILITIES = (0.01, 0.02, 0.05, 0.10, 0.20, 0.30, 0.50, 0.70, 0.90, 0.95, 0.99, 1.00)
BANDS = ((0.2, "below 0.2"), (0.5, "0.2 to 0.5"), (0.9, "0.5 to 0.9"), (math.inf, "0.9 and up"))
RATES = (0.1, 0.5, 0.9, 0.95, 0.97, 1.0)


@dataclass(frozen=True, slots=True)
class Surprise:
    """What one probability of the right answer costs.

    Attributes:
        p: The probability.
        loss: ``-ln p``, in nats.
        bits: ``-log2 p``.
        slope: ``∂loss/∂p = -1/p``.
        at_logit: ``∂loss/∂logit = p - 1`` through softmax or the logistic function.
        band: Of four, by p.
    """

    p: float
    loss: float
    bits: float
    slope: float
    at_logit: float
    band: str


@dataclass(frozen=True, slots=True)
class CrossEntropy:
    """``-ln p`` at several probabilities.

    Attributes:
        rows: One for each.
    """

    rows: tuple[Surprise, ...]

    def frame(self) -> DataFrame:
        """As a table of pandas."""
        pandas = needs_pandas()

        names = ("p", "loss", "bits", "slope", "at_logit", "band")
        return pandas.DataFrame([[getattr(r, n) for n in names] for r in self.rows], columns=list(names))


def cross_entropies(probabilities: Sequence[float] = PROBABILITIES) -> CrossEntropy:
    """The loss ``-ln p`` of giving the right answer the probability p.

    Args:
        probabilities: Those to tell, each above 0 and at most 1.

    Raises:
        UsageError: Something that is no probability above 0.

    Example:
        >>> [round(r.loss, 3) for r in cross_entropies((0.01, 0.02, 0.1, 0.5, 0.9, 0.99)).rows]
        [4.605, 3.912, 2.303, 0.693, 0.105, 0.01]
    """
    for p in probabilities:
        if not 0 < p <= 1:
            raise UsageError(f"A probability of the right answer is above 0 and at most 1; got {p:g}.")
    rows = (
        Surprise(p, -math.log(p) + 0.0, -math.log2(p) + 0.0, -1 / p, p - 1, next(n for top, n in BANDS if p < top))
        for p in probabilities
    )
    return CrossEntropy(tuple(rows))


@dataclass(frozen=True, slots=True)
class Descent:
    """Gradient descent in the bowl at one rate.

    Attributes:
        lr: The rate.
        heights: The loss at the start and after each step.
        path: Where it was, shape (steps + 1, 2).
        falls: Whether the loss fell at every step.
        worst: The largest ``|1 - lr λ|``: what one step makes of the slowest direction's distance, in the long run.
        outcome: ``"converges"``, ``"diverges"`` or, at the limit itself, ``"neither"``.
    """

    lr: float
    heights: np.ndarray
    path: np.ndarray
    falls: bool
    worst: float
    outcome: str


@dataclass(frozen=True, slots=True)
class Bowl:
    """``½ wᵀ H w`` with a fixed H, and gradient descent in it.

    Attributes:
        formula: The loss as a person writes it.
        hessian: H, shape (2, 2).
        eigenvalues: Its two eigenvalues, ascending.
        limit: ``2 / λmax``: above it gradient descent diverges, from almost every start.
        start: Where it starts.
        steps: How many steps.
        descents: One per rate.
    """

    formula: str
    hessian: np.ndarray
    eigenvalues: tuple[float, float]
    limit: float
    start: tuple[float, float]
    steps: int
    descents: tuple[Descent, ...] = field(repr=True)

    def frame(self) -> DataFrame:
        """The loss after every step, a column for each rate."""
        pandas = needs_pandas()

        return pandas.DataFrame({f"lr={d.lr:g}": d.heights for d in self.descents})


def bowl(rates: Sequence[float] = RATES, *, start: tuple[float, float] = (2.0, 2.0), steps: int = 100) -> Bowl:
    """Gradient descent in ``0.5 x² + y² + 0.3 x y`` at several rates.

    One step multiplies the distance along an eigenvector of the Hessian by ``1 - lr λ``: it shrinks as long as
    ``lr < 2 / λ``. The steepest direction decides.

    Args:
        rates: Learning rates.
        start: Where the descent begins.
        steps: How many at most.

    Raises:
        UsageError: A rate that is not positive, or no steps.

    Example:
        >>> found = bowl((0.95, 0.97))
        >>> round(found.limit, 4), [d.outcome for d in found.descents]
        (0.9601, ['converges', 'diverges'])
    """
    if steps < 1 or not rates or not all(lr > 0 and math.isfinite(lr) for lr in rates):
        raise UsageError(f"Rates are positive and there is at least one step; got {list(rates)} and {steps} steps.")
    if not all(map(math.isfinite, start)):
        raise UsageError(f"The start must be two finite numbers; got {start}.")
    hessian = np.array([[1.0, 0.3], [0.3, 2.0]])
    low, high = np.linalg.eigvalsh(hessian).tolist()
    descents = tuple(_descent(hessian, (low, high), lr, start, steps) for lr in rates)
    return Bowl("0.5 x² + y² + 0.3 x y", hessian, (low, high), 2 / high, start, steps, descents)


def _descent(
    hessian: np.ndarray, eigenvalues: tuple[float, float], lr: float, start: tuple[float, float], steps: int
) -> Descent:
    path = np.empty((steps + 1, 2))
    path[0] = start
    with np.errstate(all="ignore"):
        for t in range(steps):
            path[t + 1] = path[t] - lr * (hessian @ path[t])
        heights = 0.5 * np.einsum("ti,ij,tj->t", path, hessian, path)
        falls = bool((np.diff(heights) < 0).all())
    worst = max(abs(1 - lr * value) for value in eigenvalues)
    outcome = "converges" if worst < 1 else "diverges" if worst > 1 else "neither"
    return Descent(lr, heights, path, falls, worst, outcome)
