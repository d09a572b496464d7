"""What a census found, as plain facts."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from weightwalk.errors import UsageError
from weightwalk.learning.censuses.rules import OTHER, Rule
from weightwalk.learning.censuses.settings import Axis
from weightwalk.learning.censuses.wilson import Gap, Odds, Share
from weightwalk.learning.frames import needs_pandas

if TYPE_CHECKING:
    import pandas as pd

    from weightwalk.learning.tasks import Task


@dataclass(frozen=True)
class Spread:
    """How a measure is spread over the seeds, those of which it is unknown (NaN) left out.

    Attributes:
        least: Smallest value.
        lower: Lower quartile.
        median: The middle one.
        upper: Upper quartile.
        greatest: Largest value.
        known: Seeds that have a value.
    """

    least: float
    lower: float
    median: float
    upper: float
    greatest: float
    known: int


@dataclass(frozen=True)
class DeadTable:
    """Failures among the nets with a ReLU unit that is off for every training input, and among the others.

    Attributes:
        moment: ``"start"`` or ``"end"`` of the training.
        with_dead: Failures among nets that have such a unit.
        without: Failures among nets that have none.
        gap: Share with minus share without, with Newcombe's interval.
        odds: Odds of failing with, over odds of failing without.
    """

    moment: str
    with_dead: Share
    without: Share
    gap: Gap
    odds: Odds


@dataclass(frozen=True)
class Located:
    """Where a value lies among the seeds' values of a measure.

    Attributes:
        measure: Its name.
        value: The value.
        below: Seeds whose value is smaller.
        equal: Seeds whose value is the same when written with as many digits as the value.
    """

    measure: str
    value: float
    below: Share
    equal: int


@dataclass(frozen=True)
class Cell:
    """All seeds under one combination of settings.

    Attributes:
        settings: What is varied, with this cell's values.
        parameters: Numbers that are trained.
        outcomes: Outcome -> share of the seeds, in the order of the rules; they add up to all.
        also: What is yes or no and goes beside the outcomes.
        loops: For text nets: loop -> share of the seeds in which some token leads into it.
        right: For few rows: rows answered right -> share of the seeds.
        spreads: Measure -> how it is spread.
        dead: Failures with and without dead units, at the start and at the end; empty for a net without ReLU.
        located: Where given values lie.
        seeds: The seeds, (S,).
        outcome: Number of each seed's outcome, (S,).
        measures: Measure -> value of each seed, (S,).
        outputs: Answers to the training inputs, (S, N, ...), where they are few enough to be kept.
    """

    settings: Mapping[str, Any]
    parameters: int
    outcomes: Mapping[str, Share]
    also: Mapping[str, Share]
    loops: Mapping[str, Share]
    right: Mapping[str, Share]
    spreads: Mapping[str, Spread]
    dead: tuple[DeadTable, ...]
    located: tuple[Located, ...]
    seeds: np.ndarray = field(repr=False)
    outcome: np.ndarray = field(repr=False)
    measures: Mapping[str, np.ndarray] = field(repr=False)
    outputs: np.ndarray | None = field(default=None, repr=False)

    @property
    def name(self) -> str:
        """``"width 4, optimizer adam"``."""
        return ", ".join(f"{n} {said(v)}" for n, v in self.settings.items())

    def seeds_with(self, outcome: str) -> np.ndarray:
        """Seeds of that outcome, in order.

        Raises:
            UsageError: There is no such outcome.
        """
        names = list(self.outcomes)
        if outcome not in names:
            raise UsageError(f"There is no outcome {outcome!r}; there are {', '.join(names)}.")
        return self.seeds[self.outcome == names.index(outcome)]


@dataclass(frozen=True)
class Contrast:
    """Two cells that differ in one axis: does it help?

    Attributes:
        axis: What differs.
        held: The other settings, the same in both.
        first: Value in the first cell.
        second: Value in the second.
        outcome: What is counted: the first rule's.
        before: Share in the first.
        after: Share in the second.
        gap: Second minus first, with Newcombe's interval.
        gained: Seeds that have the outcome in the second only.
        lost: Seeds that have it in the first only.
        apart: Greatest difference between two answers of the same seed; None for nets of different outputs, or where
            they were too many to be kept.
        typical: The greatest difference within one seed, median over the seeds.
    """

    axis: str
    held: Mapping[str, Any]
    first: str
    second: str
    outcome: str
    before: Share
    after: Share
    gap: Gap
    gained: int
    lost: int
    apart: float | None
    typical: float | None


@dataclass(frozen=True)
class Rows:
    """What is learned, looked at before any training.

    Attributes:
        rows: Training rows.
        held: Held-out rows.
        duplicates: Rows that repeat an earlier row, input and target.
        contradictions: Rows that repeat an earlier row's input with another target.
        targets: For classes: how often each is the target.
        guess: For classes: rows right if the most frequent target is always guessed.
        line: For one number: error (rmse) of the regression line, on the held-out rows where there are any.
    """

    rows: int
    held: int
    duplicates: int
    contradictions: int
    targets: Mapping[str, int]
    guess: int | None
    line: float | None


@dataclass(frozen=True)
class Census:
    """Many trainings, counted by outcome.

    Attributes:
        task: Name of what was trained.
        description: In one line.
        settings: What all trainings share.
        seeds: How many seeds each cell has.
        first_seed: The first of them.
        last_seed: The last.
        confidence: Of all intervals, such as 0.95.
        rules: Outcomes and when they are that; the first is called success.
        axes: What is varied.
        rows: The data.
        cells: One per combination of settings.
        contrasts: Each value of an axis against its first, all else the same.
        unmatched: Rules that no seed of any cell matched.
    """

    task: str
    description: str
    settings: Mapping[str, Any]
    seeds: int
    first_seed: int
    last_seed: int
    confidence: float
    rules: tuple[Rule, ...]
    axes: tuple[Axis, ...]
    rows: Rows
    cells: tuple[Cell, ...]
    contrasts: tuple[Contrast, ...]
    unmatched: tuple[str, ...]
    source: Task = field(repr=False, compare=False)
    seconds: float = field(default=0.0, repr=False, compare=False)

    @property
    def success(self) -> str:
        """The first rule's outcome."""
        return self.rules[0].name if self.rules else OTHER

    def cell(self, **settings: Any) -> Cell:
        """The cell of these settings; without any, the only one.

        Raises:
            UsageError: None, or more than one.
        """
        found = [c for c in self.cells if all(said(c.settings.get(n)) == said(v) for n, v in settings.items())]
        if len(found) == 1:
            return found[0]
        what = ", ".join(f"{n}={said(v)}" for n, v in settings.items()) or "no settings"
        names = "; ".join(c.name for c in self.cells[:8])
        raise UsageError(f"{what} names {len(found) or 'none'} of the {len(self.cells)} cells: {names}.")

    def frame(self, by: str = "seed") -> pd.DataFrame:
        """A data frame with a row per seed and cell, or (``by="cell"``) per cell.

        Raises:
            UsageError: Neither of these.
        """
        pd = needs_pandas()

        if by not in {"seed", "cell"}:
            raise UsageError(f"A frame goes by seed or by cell; got {by!r}.")
        if by == "cell":
            return pd.DataFrame([_row(c) for c in self.cells])
        parts = []
        for cell in self.cells:
            names = np.array(list(cell.outcomes), dtype=object)
            columns = {"seed": cell.seeds, "outcome": names[cell.outcome], **cell.measures}
            settings = {f"setting {n}" if n in columns else n: said(v) for n, v in cell.settings.items()}
            part = pd.DataFrame({**{n: [v] * len(cell.seeds) for n, v in settings.items()}, **columns})
            parts.append(part)
        return pd.concat(parts, ignore_index=True)

    def __str__(self) -> str:
        from weightwalk.show.terminal import plain

        return plain(self)


def said(value: Any) -> str:
    """A setting as a person writes it."""
    if value is None:
        return "all"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:g}" if isinstance(value, float) else str(value)


def _row(cell: Cell) -> dict[str, Any]:
    row: dict[str, Any] = {**{n: said(v) for n, v in cell.settings.items()}, "parameters": cell.parameters}
    for name, share in {**cell.outcomes, **cell.also, **cell.loops}.items():
        row |= {name: share.count, f"{name} share": share.share, f"{name} low": share.low, f"{name} high": share.high}
    for name, spread in cell.spreads.items():
        row |= {f"{name} {k}": getattr(spread, k) for k in ("least", "median", "greatest")}
    return row


def spread_of(values: np.ndarray) -> Spread:
    """Least, quartiles and greatest of what is known."""
    known = np.sort(values[~np.isnan(values)])
    if not len(known):
        return Spread(math.nan, math.nan, math.nan, math.nan, math.nan, 0)
    last = len(known) - 1
    with np.errstate(invalid="ignore"):  # between two infinities
        quarters = [(known[k // 4] + known[-(-k // 4)]) / 2 for k in (last, 2 * last, 3 * last)]
    lower, median, upper = (float(q) for q in quarters)
    return Spread(float(known[0]), lower, median, upper, float(known[-1]), len(known))
