"""Facts as tables: what every data frame of this room is made by; and means with their intervals."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from weightwalk.errors import UsageError
from weightwalk.learning.frames import needs_pandas

if TYPE_CHECKING:
    import pandas


def frame(rows: Iterable[Mapping[str, Any]]) -> pandas.DataFrame:
    """A data frame of rows that name their columns.

    Raises:
        UsageError: pandas is not installed.
    """
    return needs_pandas().DataFrame(list(rows))


def mean_interval(values: np.ndarray) -> tuple[float, float, float]:
    """Mean, and the ends of Student's 95 % interval for it; both NaN from a single value.

    >>> [round(v, 3) for v in mean_interval(np.array([1.0, 2.0, 3.0]))]
    [2.0, -0.484, 4.484]
    """
    values = np.asarray(values, np.float64)
    mean, n = float(values.mean()), len(values)
    if n < 2:
        return mean, float("nan"), float("nan")
    from scipy.stats import t

    half = float(t.ppf(0.975, n - 1) * values.std(ddof=1) / np.sqrt(n))
    return mean, mean - half, mean + half


def quartiles(values: np.ndarray) -> tuple[float, float, float]:
    """Lower quartile, median, upper quartile; infinities count as large."""
    values = np.where(np.isnan(values), np.inf, np.asarray(values, np.float64))
    low, middle, high = np.quantile(values, [0.25, 0.5, 0.75], method="inverted_cdf")
    return float(low), float(middle), float(high)


def numbers(text: str | Sequence[int], what: str, least: int = 0, most: int = 100_000) -> tuple[int, ...]:
    """``"1,2,4"`` or ``"0-5"`` as increasing whole numbers, each once.

    Raises:
        UsageError: Something else, or none.
    """
    if not isinstance(text, str):
        found = [int(v) for v in text]
    else:
        found = []
        for word in text.replace(" ", "").split(","):
            first, dash, last = word.partition("-")
            if not first.isdecimal() or (dash and not last.isdecimal()):
                raise UsageError(f"{what} are whole numbers, such as 1,2,4 or 0-5; {text!r} is not that.")
            low, high = int(first), int(last) if dash else int(first)
            if high - low > 10_000:
                raise UsageError(f"{what}: {word!r} is {high - low + 1:,} numbers; name at most 10,000.")
            found += range(low, high + 1)
    if not found or min(found) < least or max(found) > most:
        raise UsageError(f"{what} are whole numbers from {least:,} to {most:,}, at least one; {text!r} is not that.")
    return tuple(sorted(set(found)))
