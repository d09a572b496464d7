"""From the rounds to the figures: medians of the ratios of each round."""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

CLOCKS = {"cpu": 0, "wall": 1}


@dataclass(frozen=True)
class Figure:
    """A median and the quartiles around it."""

    median: float
    low: float
    high: float


def figure(numbers: list[float]) -> Figure:
    """Median and quartiles of `numbers`."""
    if len(numbers) == 1:
        return Figure(numbers[0], numbers[0], numbers[0])
    low, median, high = statistics.quantiles(numbers, n=4, method="inclusive")
    return Figure(median, low, high)


def ratio(row: Mapping[str, Any], clock: str = "cpu") -> Figure:
    """A contender's time as a multiple of the bare forward that ran just before it."""
    i = CLOCKS[clock]
    return figure([r[2 + i] / r[i] for r in row["rounds"]])


def seconds(row: Mapping[str, Any], clock: str = "cpu") -> Figure:
    """A contender's own time."""
    return figure([r[2 + CLOCKS[clock]] for r in row["rounds"]])


def against(row: Mapping[str, Any], other: Mapping[str, Any], clock: str = "cpu") -> Figure:
    """A contender's time as a multiple of another's in the same round."""
    i = 2 + CLOCKS[clock]
    return figure([a[i] / b[i] for a, b in zip(row["rounds"], other["rounds"], strict=False)])
