"""Shares and their intervals, held to SciPy, to the equation that they solve, to published examples, to simulation."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import binomtest
from scipy.stats.contingency import odds_ratio as scipy_odds

from weightwalk.errors import UsageError
from weightwalk.learning.censuses.wilson import deviate, newcombe, odds_ratio, wilson


@pytest.mark.parametrize("confidence", [0.5, 0.9, 0.95, 0.999])
@pytest.mark.parametrize(("count", "total"), [(0, 1), (1, 1), (0, 10), (3, 10), (10, 10), (312, 1000), (9999, 10000)])
def test_intervals_are_scipys(count: int, total: int, confidence: float) -> None:
    share = wilson(count, total, confidence)
    theirs = binomtest(count, total).proportion_ci(confidence, method="wilson")
    assert (share.low, share.high) == pytest.approx((theirs.low, theirs.high), abs=1e-12)
    assert 0 <= share.low <= share.share <= share.high <= 1


def test_ends_solve_the_equation_that_defines_them() -> None:
    """(p̂ - p)² n = z² p (1 - p) at both ends."""
    share, z = wilson(37, 120, 0.95), deviate(0.95)
    for p in (share.low, share.high):
        assert (37 / 120 - p) ** 2 * 120 == pytest.approx(z * z * p * (1 - p), rel=1e-12)


def test_intervals_hold_the_truth_as_often_as_they_say() -> None:
    """Of 4,000 experiments at p = 0.2, n = 100, the exact coverage is near 95 %; a false alarm has odds below 1e-6."""
    counts = np.random.default_rng(0).binomial(100, 0.2, 4000)
    held = np.mean([wilson(int(c), 100).low <= 0.2 <= wilson(int(c), 100).high for c in counts])
    assert 0.93 < held < 0.965


def test_nothing_of_none() -> None:
    share = wilson(0, 0)
    assert math.isnan(share.share) and math.isnan(share.low) and math.isnan(share.high)


@pytest.mark.parametrize(
    ("first", "second", "low", "high"),
    [  # Newcombe 1998, table II, method 10: p1 - p2
        ((56, 70), (48, 80), 0.0524, 0.3339),
        ((9, 10), (3, 10), 0.1705, 0.8090),
        ((5, 56), (0, 29), -0.0381, 0.1926),
        ((0, 10), (0, 10), -0.2775, 0.2775),
        ((10, 10), (0, 10), 0.6075, 1.0),
    ],
)
def test_differences_are_newcombes(first: tuple[int, int], second: tuple[int, int], low: float, high: float) -> None:
    gap = newcombe(wilson(*second), wilson(*first))
    assert gap.difference == pytest.approx(first[0] / first[1] - second[0] / second[1])
    assert (gap.low, gap.high) == pytest.approx((low, high), abs=1e-4)
    assert gap.shown == (low > 0)


def test_odds_are_near_scipys_for_large_counts() -> None:
    ours = odds_ratio(wilson(300, 400), wilson(200, 600))
    theirs = scipy_odds([[300, 100], [200, 400]], kind="sample")
    interval = theirs.confidence_interval(0.95)
    assert (ours.ratio, ours.low, ours.high) == pytest.approx((theirs.statistic, interval.low, interval.high), rel=0.01)
    assert math.isfinite(odds_ratio(wilson(5, 5), wilson(0, 5)).high)


@pytest.mark.parametrize("confidence", [0, 1, -0.5, 95, math.nan])
def test_what_is_no_confidence_is_refused(confidence: float) -> None:
    with pytest.raises(UsageError, match="between 0 and 1"):
        wilson(1, 2, confidence)


def test_more_than_there_are_is_refused() -> None:
    with pytest.raises(UsageError, match="so many of so many"):
        wilson(3, 2)
