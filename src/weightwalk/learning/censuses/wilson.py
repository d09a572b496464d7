"""Shares of a count, with intervals that stay honest near 0 and 1 and for few trials."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist

from weightwalk.errors import UsageError


@dataclass(frozen=True, slots=True)
class Share:
    """How many of how many, and the interval in which the true share lies at the stated confidence.

    Attributes:
        count: How many it was.
        total: Of how many.
        low: Lower end of Wilson's interval, 0 to 1; NaN where `total` is 0.
        high: Upper end.
    """

    count: int
    total: int
    low: float
    high: float

    @property
    def share(self) -> float:
        """``count / total``; NaN of none."""
        return self.count / self.total if self.total else math.nan


@dataclass(frozen=True, slots=True)
class Gap:
    """The difference of two shares, second minus first, with Newcombe's interval.

    Attributes:
        difference: Between -1 and 1.
        low: Lower end of the interval.
        high: Upper end.
    """

    difference: float
    low: float
    high: float

    @property
    def shown(self) -> bool:
        """Whether the interval leaves 0 out, so that chance alone is no good explanation."""
        return self.low > 0 or self.high < 0


def deviate(confidence: float) -> float:
    """How many standard deviations hold `confidence` of a normal distribution: 1.96 for 0.95.

    Raises:
        UsageError: Not between 0 and 1.
    """
    if not 0 < confidence < 1:
        raise UsageError(f"A confidence lies between 0 and 1, such as 0.95; got {confidence:g}.")
    return NormalDist().inv_cdf((1 + confidence) / 2)


def wilson(count: int, total: int, confidence: float = 0.95) -> Share:
    """Wilson's score interval: all shares p that ``count`` lies within z standard deviations of.

    The ends are the roots p of ``(count/n - p)² = z² p (1 - p) / n`` (Wilson 1927). Unlike count/n ± z s it never
    leaves [0, 1], and says something where the count is 0.

    Raises:
        UsageError: A confidence that is not between 0 and 1, or more than there are.

    >>> s = wilson(312, 1000)
    >>> round(s.low, 4), round(s.high, 4)
    (0.284, 0.3414)
    """
    z = deviate(confidence)
    if not 0 <= count <= total:
        raise UsageError(f"A share is so many of so many; got {count} of {total}.")
    if total == 0:
        return Share(0, 0, math.nan, math.nan)
    p, w = count / total, z * z / total
    middle, reach = p + w / 2, math.sqrt(p * (1 - p) * w + w * w / 4)
    low = 0.0 if count == 0 else (middle - reach) / (1 + w)
    high = 1.0 if count == total else (middle + reach) / (1 + w)
    return Share(count, total, low, high)


def newcombe(first: Share, second: Share) -> Gap:
    """Difference of two shares with the interval of Newcombe (1998, method 10), from their Wilson intervals.

    The two are taken as independent. Where the same seeds were trained in two ways they mostly agree, and the interval
    is then wider than it had to be.

    >>> gap = newcombe(wilson(56, 70), wilson(48, 80))
    >>> [round(x, 4) for x in (gap.difference, gap.low, gap.high)]
    [-0.2, -0.3339, -0.0524]
    """
    p, q = first.share, second.share
    below = math.hypot(q - second.low, first.high - p)
    above = math.hypot(second.high - q, p - first.low)
    return Gap(q - p, q - p - below, q - p + above)


@dataclass(frozen=True, slots=True)
class Odds:
    """How many times greater the odds are in one group than in the other, with an interval.

    Attributes:
        ratio: Odds ratio, half a case added to each of the four counts (Haldane, Anscombe) so that no zero spoils it.
        low: Lower end, from the normal approximation of its logarithm (Woolf 1955).
        high: Upper end.
    """

    ratio: float
    low: float
    high: float


def odds_ratio(first: Share, second: Share, confidence: float = 0.95) -> Odds:
    """Odds of `first` over those of `second`.

    >>> odds = odds_ratio(wilson(30, 40), wilson(20, 60))
    >>> round(odds.ratio, 2), odds.low > 1
    (5.74, True)
    """
    cells = [n + 0.5 for s in (first, second) for n in (s.count, s.total - s.count)]
    log = math.log(cells[0] / cells[1]) - math.log(cells[2] / cells[3])
    reach = deviate(confidence) * math.sqrt(sum(1 / n for n in cells))
    return Odds(math.exp(log), math.exp(log - reach), math.exp(log + reach))
