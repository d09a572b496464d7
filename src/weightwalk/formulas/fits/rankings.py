"""Inputs in the order of their influence, and what chance alone would give."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

Measure = Literal["gradient", "perturbation", "first-order", "total", "permutation"]


@dataclass(frozen=True, slots=True)
class Baseline:
    """The size that a measure takes where there is nothing to find.

    Attributes:
        name: ``"ignored input"``: an input is appended that the function does not read. ``"chance"``: what is measured
            is arranged at random; `how` says what.
        how: In a sentence.
        mean: Mean size over the repeats.
        quantile: 95 % of the repeats stay below. Where a repeat has one size per input, its greatest counts, so that
            the chance that any input at all passes is 5 %.
        repeats: How many.
    """

    name: Literal["ignored input", "chance"]
    how: str
    mean: float
    quantile: float
    repeats: int


@dataclass(frozen=True, eq=False)
class Ranking:
    """Every input's influence by one measure.

    Attributes:
        measure: Which.
        how: What the sizes are, in a sentence.
        values: (n,) as measured, with sign.
        sizes: (n,) what is ranked.
        confidence: (n,) half the width of the 95 % confidence interval of `values`; None for what is not sampled.
        order: Inputs by size, greatest first.
        baselines: What is held beside it.
        above: (n,) whether an input stands above every baseline that is a hurdle; the docstring of `sensitivity` says
            which are.
        again: (n,) sizes by a second seed, of which nothing else is used; None for what is not sampled.
    """

    measure: Measure
    how: str
    values: np.ndarray
    sizes: np.ndarray
    confidence: np.ndarray | None
    order: tuple[int, ...]
    baselines: tuple[Baseline, ...]
    above: tuple[bool, ...]
    again: np.ndarray | None = field(default=None, repr=False)

    @property
    def agreement(self) -> float:
        """Spearman's rank correlation with the ranking by the second seed; nan where there is none."""
        return math.nan if self.again is None else rank_correlation(self.sizes, self.again)

    @property
    def stable(self) -> bool:
        """Whether both seeds give the same order, or nothing was sampled."""
        return self.again is None or in_order(self.again) == self.order

    def baseline(self, name: str) -> Baseline:
        """One of `baselines`.

        Raises:
            KeyError: There is none of that name.
        """
        for one in self.baselines:
            if one.name == name:
                return one
        raise KeyError(name)


def in_order(sizes: np.ndarray) -> tuple[int, ...]:
    """Inputs by size, greatest first; earlier inputs first among equals."""
    return tuple(int(i) for i in np.argsort(-sizes, kind="stable"))


def rank_correlation(a: np.ndarray, b: np.ndarray) -> float:
    """Spearman's: the correlation of the ranks, equals sharing their mean rank; nan if there is nothing to rank.

    Example:
        >>> import numpy as np
        >>> rank_correlation(np.array([3.0, 2.0, 1.0]), np.array([10.0, 5.0, 0.0]))
        1.0
    """
    ranks = [_ranks(v) - (len(v) - 1) / 2 for v in (a, b)]
    size = math.sqrt(float((ranks[0] ** 2).sum() * (ranks[1] ** 2).sum()))
    return float(ranks[0] @ ranks[1]) / size if size > 0 else math.nan


def chance_correlation(n: int, seed: int = 0, repeats: int = 2000) -> tuple[float, float]:
    """What two rankings of n inputs that have nothing to do with each other give.

    Returns:
        The 95 % quantile of their rank correlation (over all orders up to seven inputs, else over random ones), and the
        probability 1 / n! that they are equal. Two inputs are ranked alike by chance every second time.

    Example:
        >>> chance_correlation(2)
        (1.0, 0.5)
    """
    if n < 2:
        return math.nan, 1.0
    straight = np.arange(n) - (n - 1) / 2
    if n <= 7:
        orders = np.array(list(itertools.permutations(range(n))))
    else:
        draw = np.random.default_rng([seed, 3])
        orders = draw.permuted(np.tile(np.arange(n), (repeats, 1)), axis=1)
    found = (straight[orders] @ straight) / float(straight @ straight)
    return float(np.quantile(found, 0.95, method="higher")), 1 / math.factorial(n) if n < 150 else 0.0


def chance(how: str, sizes: np.ndarray) -> Baseline:
    """A baseline from the sizes of each repeat: (repeats,) or (repeats, n)."""
    greatest = sizes if sizes.ndim == 1 else sizes.max(1)
    return Baseline("chance", how, float(sizes.mean()), float(np.quantile(greatest, 0.95, method="higher")), len(sizes))


def ignored(how: str, sizes: np.ndarray) -> Baseline:
    """A baseline from the sizes (repeats,) of an input that is not read."""
    return Baseline("ignored input", how, float(np.mean(sizes)), float(np.max(sizes)), len(sizes))


def _ranks(values: np.ndarray) -> np.ndarray:
    _, back, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return ((last - counts + last - 1) / 2)[back.ravel()]
