"""Intervals against SciPy's, and numbers as people write them."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from weightwalk.errors import UsageError
from weightwalk.learning.fitting.capacity import _tail
from weightwalk.learning.fitting.tables import mean_interval, numbers, quartiles


def test_the_interval_of_a_mean_is_students() -> None:
    values = np.array([0.1, 0.5, 0.2, 0.9])
    theirs = stats.ttest_1samp(values, 0.0).confidence_interval()
    assert mean_interval(values) == pytest.approx((values.mean(), theirs.low, theirs.high))
    assert np.isnan(mean_interval(np.array([1.0]))[1:]).all()


@pytest.mark.parametrize("hits", [0, 3, 9, 10])
def test_the_sign_test_is_the_binomial(hits: int) -> None:
    assert _tail(hits, 10) == pytest.approx(stats.binom.sf(hits - 1, 10, 0.5))


def test_what_diverged_counts_as_large() -> None:
    assert quartiles(np.array([1.0, np.nan, 2.0, np.inf])) == (1.0, 2.0, np.inf)


def test_numbers() -> None:
    assert numbers("0-3, 8,2", "n") == (0, 1, 2, 3, 8)
    for text in ("", "1,,2", "a", "-1", "5-", "1.5", "3-1", "0-20000"):
        with pytest.raises(UsageError, match=r"n are whole numbers|name at most"):
            numbers(text, "n")
    with pytest.raises(UsageError, match="from 1 to 9"):
        numbers("0,1", "n", 1, 9)
