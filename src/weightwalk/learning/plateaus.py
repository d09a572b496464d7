"""Whether a loss curve still falls: a rule that gives the same verdict for the same numbers, and a mark to judge it by.

A flat curve says that the training has stopped improving, not why: whether it stands in a minimum, at a saddle or on a
plain is for the Hessian to say (``weightwalk diagnose``).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from weightwalk.errors import UsageError

EPSILON = 0.01
LEAST = 10
ROUNDING = 1e-12


@dataclass(frozen=True, slots=True)
class Plateau:
    """How a loss curve ends.

    Attributes:
        verdict: ``"falling"``, ``"flat"``, ``"rising"``; ``"zero"`` where the window's mean is below `ROUNDING` of the
            greatest loss, so that rounding decides whether it rises; ``"too short"`` for fewer numbers than the window.
        change: The straight line of least squares through the last `window` losses: its rise over the window, as a
            share of their mean. NaN where it is too short.
        window: How many losses that line goes through.
        epsilon: It is flat where ``|change| < epsilon``.
        since: Epoch from which on every window is flat; None where the last is not.
        first: Loss of the first epoch.
        last: Of the last.
    """

    verdict: str
    change: float
    window: int
    epsilon: float
    since: int | None
    first: float
    last: float


def plateau(losses: Sequence[float], window: int | None = None, epsilon: float = EPSILON) -> Plateau:
    """The verdict on a loss curve.

    Args:
        losses: One per epoch.
        window: How many of the last to judge by; a tenth of them, and at least 10, unless said.
        epsilon: Relative change over the window below which it is flat.

    Raises:
        UsageError: A window below 2 or an epsilon that is not positive.

    Example:
        >>> curve = [2.0**-e for e in range(10)] + [0.001] * 30
        >>> found = plateau(curve)
        >>> found.verdict, found.since, plateau(curve[:10]).verdict
        ('flat', 10, 'falling')
    """
    if (window is not None and window < 2) or not epsilon > 0:
        raise UsageError(
            f"A plateau is judged over a window of 2 or more, and epsilon > 0; got {window} and {epsilon}."
        )
    numbers = np.asarray(losses, dtype=np.float64)
    size = window or max(LEAST, len(numbers) // 10)
    first, last = (float(numbers[0]), float(numbers[-1])) if len(numbers) else (math.nan, math.nan)
    if len(numbers) < size:
        return Plateau("too short", math.nan, size, epsilon, None, first, last)
    rises, means = windows(numbers, size)
    with np.errstate(divide="ignore", invalid="ignore"):
        changes = np.where(rises == 0, 0.0, rises / np.abs(means))
    change = float(changes[-1])
    if means[-1] <= ROUNDING * numbers.max():
        return Plateau("zero", change, size, epsilon, None, first, last)
    if abs(change) >= epsilon or math.isnan(change):
        return Plateau("falling" if change < 0 else "rising", change, size, epsilon, None, first, last)
    moving = np.flatnonzero(np.abs(changes) >= epsilon)
    since = int(moving[-1]) + 1 if len(moving) else 0
    return Plateau("flat", change, size, epsilon, since, first, last)


def windows(numbers: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    """For each window of `size` numbers, the rise of its line of least squares over the window, and its mean."""
    views = np.lib.stride_tricks.sliding_window_view(numbers, size)
    steps = np.arange(size) - (size - 1) / 2
    means = views.mean(axis=1)
    slopes = ((views - means[:, None]) @ steps) / (steps @ steps)
    return slopes * (size - 1), means


def constant_loss(targets: Tensor, loss: str) -> float | None:
    """The least loss of an answer that is the same for every input: the mark that a net must get below to have learned.

    The mean for squares (per output), the median for absolute errors, the frequencies for cross-entropy. None for a
    loss that has no name.

    Example:
        >>> constant_loss(torch.tensor([[0.0], [2.0]]), "mse")
        1.0
    """
    with torch.no_grad():
        if loss == "cross_entropy":
            shares = torch.bincount(targets.flatten()).double() / targets.numel()
            return float(torch.special.entr(shares).sum())
        if loss not in ("mse", "mae", "bce"):
            return None
        numbers = targets.double().reshape(len(targets), -1)
        if loss == "mse":
            return float((numbers - numbers.mean(0)).square().mean())
        if loss == "mae":
            return float((numbers - numbers.median(0).values).abs().mean())
        mean = numbers.mean(0)
        return float((torch.special.entr(mean) + torch.special.entr(1 - mean)).mean())
