"""The square root three ways: by a net's formula, by definition, and by Newton's iteration.

The net has learned from examples between 0 and 10 and is straight between its kinks; beyond them it goes straight on.
Newton's iteration for the root of a, ``r <- (r + a / r) / 2``, is made from what a root is: from any r > 0 it converges
for any a > 0, and near the root it doubles its correct digits with every step.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from weightwalk.errors import UsageError
from weightwalk.formulas.lines.line import Line

MOST = 64


@dataclass(frozen=True, slots=True)
class Root:
    """The root of one number.

    Attributes:
        x: The number.
        root: Its square root, correctly rounded.
        net: The net's answer, by its formula.
        iterates: Newton's, from 1 on; the last one repeats or returns to one before it.
        seen: Whether x lies where the net was trained.
    """

    x: float
    root: float
    net: float
    iterates: tuple[float, ...]
    seen: bool

    @property
    def error(self) -> float:
        """Of the net: net - root."""
        return self.net - self.root

    @property
    def errors(self) -> tuple[float, ...]:
        """Of Newton's iterates."""
        return tuple(r - self.root for r in self.iterates)

    @property
    def steps(self) -> int:
        """Newton's steps until the iterate stays within two units in the last place of the root."""
        close = [abs(e) <= 2 * math.ulp(self.root) for e in self.errors]
        return len(close) - next((i for i, ok in enumerate(reversed(close)) if not ok), len(close))


@dataclass(frozen=True, slots=True)
class Roots:
    """Roots of some numbers, and how wrong the net is where it was trained.

    Attributes:
        rows: One per number.
        trained: (least, greatest) number of the training data.
        worst_at: Where |net - root| is greatest between them.
        worst: net - root there. On each piece the difference of a line and a root is greatest at an end or where the
            slopes agree, so that this is exact.
    """

    rows: tuple[Root, ...]
    trained: tuple[float, float]
    worst_at: float
    worst: float


def iterates(a: float, start: float = 1.0) -> tuple[float, ...]:
    """Newton's iterates for the square root of a, from `start` until one repeats.

    Raises:
        UsageError: a or the start is not positive and finite.

    Example:
        >>> [round(r, 6) for r in iterates(2.0)][:5]
        [1.0, 1.5, 1.416667, 1.414216, 1.414214]
    """
    if not (0 < a < math.inf and 0 < start < math.inf):
        raise UsageError(f"Newton's iteration takes a positive number and a positive start; received {a!r}, {start!r}.")
    found = [start]
    while len(found) < 3 or (found[-1] not in found[:-1] and len(found) < MOST):
        found.append((found[-1] + a / found[-1]) / 2)
    return tuple(found)


def roots(line: Line, numbers: tuple[float, ...], trained: tuple[float, float] = (0.0, 10.0), output: int = 0) -> Roots:
    """A net's formula beside the root and Newton's iterates.

    Args:
        line: The formula of a net of one number, which holds at all of these numbers.
        numbers: Positive numbers.
        trained: (least, greatest) number of the training data.
        output: Which output of the net.

    Raises:
        UsageError: A number is not positive, or the formula does not hold there.
    """
    low, high = trained
    rows = tuple(
        Root(x, math.sqrt(x), float(line(x)[output]), iterates(x), low <= x <= high) for x in map(float, numbers)
    )
    at = _worst(line, low, high, output)
    return Roots(rows, (float(low), float(high)), at, float(line(at)[output]) - math.sqrt(at))


def _worst(line: Line, low: float, high: float, output: int) -> float:
    """Where |line - root| is greatest from low to high: an end of a piece, or where the slope is 1 / (2 sqrt x)."""
    inside = line.kinks[(line.kinks > low) & (line.kinks < high)]
    ends = np.concatenate([[low], inside, [high]])
    slopes = line.slopes[np.searchsorted(line.kinks, ends[1:]), output]
    with np.errstate(divide="ignore", over="ignore"):
        level = np.where(slopes > 0, 1 / (4 * slopes**2), np.nan)
    tried = np.concatenate([ends, level[(level > ends[:-1]) & (level < ends[1:])]])
    return float(tried[np.abs(line(tried)[:, output] - np.sqrt(tried)).argmax()])
