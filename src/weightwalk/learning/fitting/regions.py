"""Which of three points is nearest: nets of growing size against the exact borders, and what they are unsure of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import torch

from weightwalk.errors import UsageError
from weightwalk.learning.fitting.stacks import Progress, Stack, fit_many, started
from weightwalk.learning.fitting.tables import frame, mean_interval
from weightwalk.learning.tasks import task_of

if TYPE_CHECKING:
    import pandas

CORNERS = ((0.2, 0.3), (0.8, 0.35), (0.45, 0.85))
"""The three points of the task ``nearest``."""

TICKS = 200
"""Points of the grid along each side of the unit square; centres of so many equal cells."""

BELTS = (0.0, 0.01, 0.02, 0.05, 0.1, 0.2, np.inf)
"""Distances from the border between which errors are counted."""

COVERAGES = np.linspace(0.01, 1.0, 100)


@dataclass(frozen=True, slots=True, eq=False)
class Width:
    """Nets of one width.

    Attributes:
        width: Units of the hidden layer.
        parameters: Numbers in a net.
        accuracy: (S,) share of the grid on which each net says the nearest point.
        mean: Of these.
        interval: Student's 95 % interval of that mean, cut at 0 and 1.
        better_than_before: 95 % interval of the mean difference to the width before, seed by seed; None for the first.
    """

    width: int
    parameters: int
    accuracy: np.ndarray
    mean: float
    interval: tuple[float, float]
    better_than_before: tuple[float, float] | None


@dataclass(frozen=True, slots=True, eq=False)
class Belt:
    """Grid points at some distance from the nearest border.

    Attributes:
        low: Least distance.
        high: Greatest distance; infinite for the last.
        share: Of the grid.
        error: Share of them told wrong, mean over seeds.
        interval: Student's 95 % interval over seeds, cut at 0 and 1.
        wrong: Share of all errors that lie here.
        confidence: Mean greatest probability there.
    """

    low: float
    high: float
    share: float
    error: float
    interval: tuple[float, float]
    wrong: float
    confidence: float


@dataclass(frozen=True, slots=True, eq=False)
class RegionsFit:
    """Regions, learned.

    Attributes:
        corners: The three points.
        rows: Training rows.
        seeds: Of the initial weights; the rows are the same.
        recipe: How the nets were trained.
        widths: From the smallest on.
        monotone: Whether no width's mean is below that of the one before by more than the interval allows: ``"yes"``
            where each step up is a gain, ``"not refuted"`` where some may be none, ``"no"`` where one is a loss.
        judged: The width that all that follows is told of: the widest.
        belts: Its errors by distance from the border.
        coverage: (C,) shares of the grid that are answered, the surest first.
        covered: (S, C) accuracy on these.
        bins: (B, 3) calibration: mean greatest probability, share right, share of the grid, over all seeds.
        calibration_error: Mean of |probability - share right|, weighted by share of the grid.
        threshold: Greatest probability below which the nets abstain so as to be right on 99.9 % of what they answer.
        answered: Share of the grid that is then answered; NaN where no threshold is enough.
        unsure: (TICKS, TICKS) greatest probability, mean over seeds; first index the first coordinate.
        wrong: (TICKS, TICKS) share of the seeds that are wrong.
        truth: (TICKS, TICKS) number of the nearest point.
        maps: For each width, (TICKS, TICKS) what the seed with the median accuracy says.
    """

    corners: tuple[tuple[float, float], ...]
    rows: int
    seeds: tuple[int, ...]
    recipe: str
    widths: tuple[Width, ...]
    monotone: str
    judged: int
    belts: tuple[Belt, ...]
    coverage: np.ndarray
    covered: np.ndarray
    bins: np.ndarray
    calibration_error: float
    threshold: float
    answered: float
    unsure: np.ndarray = field(repr=False)
    wrong: np.ndarray = field(repr=False)
    truth: np.ndarray = field(repr=False)
    maps: tuple[np.ndarray, ...] = field(repr=False)

    def frame(self) -> pandas.DataFrame:
        """One row per width and seed."""
        return frame(
            {"width": w.width, "parameters": w.parameters, "seed": seed, "accuracy": w.accuracy[i]}
            for w in self.widths
            for i, seed in enumerate(self.seeds)
        )


def fit_regions(
    *,
    widths: Sequence[int] = (1, 2, 4, 8, 32),
    rows: int = 300,
    seeds: Sequence[int] = range(10),
    epochs: int | None = None,
    progress: Progress | None = None,
) -> RegionsFit:
    """Train nets of growing width to say which of three points is nearest, and hold them to the exact regions.

    Args:
        widths: Units of the one hidden layer.
        rows: Training rows, evenly drawn from the unit square.
        seeds: As many nets of each width.
        epochs: Full-batch updates; the task's own unless said.
        progress: Called with (done, in all).

    Raises:
        UsageError: No width, or no row.

    Example:
        >>> found = fit_regions(widths=(1, 8), seeds=range(3), epochs=100)
        >>> found.widths[1].mean > found.widths[0].mean, found.monotone
        (True, 'yes')
    """
    if not widths or min(widths) < 1 or rows < 1:
        raise UsageError(f"Regions need a width and a row at least; got widths {tuple(widths)} and {rows} rows.")
    chosen = [int(s) for s in seeds]
    task = task_of("nearest").of(points=int(rows))
    grid, truth = task.data.held_inputs, task.data.held_targets
    assert grid is not None and truth is not None
    epochs = task.epochs if epochs is None else epochs
    wanted = sorted(set(widths))
    found: list[Width] = []
    maps: list[np.ndarray] = []
    p = np.zeros(0)
    right = np.zeros(0, bool)
    for i, width in enumerate(wanted):
        tell = None if progress is None else lambda d, n, i=i: progress(i * n + d, len(wanted) * n)
        stack = fit_many(
            started((2, width, 3), chosen), task.data.inputs, task.data.targets, loss="cross_entropy",
            optimizer=task.optimizer, lr=task.lr, epochs=epochs, progress=tell,
        )  # fmt: skip
        said, p = _surest(stack, grid)
        right = said == truth.numpy()
        accuracy = right.mean(axis=1)
        gain = None
        if found:
            gain = mean_interval(accuracy - found[-1].accuracy)[1:]
        mean, low, high = mean_interval(accuracy)
        found.append(Width(width, stack.parameters, accuracy, mean, (max(low, 0.0), min(high, 1.0)), gain))
        maps.append(said[np.argsort(accuracy)[len(accuracy) // 2]].reshape(TICKS, TICKS))
    away = border_distance(grid.double().numpy())
    coverage, covered = _covered(p, right)
    threshold, answered = _threshold(p, right, 0.999)
    bins, error = _calibration(p, right)
    recipe = f"{task.optimizer}, lr {task.lr:g}, {epochs:,} full-batch updates"
    return RegionsFit(
        CORNERS, int(rows), tuple(chosen), recipe, tuple(found), _monotone(found), wanted[-1], _belts(away, p, right),
        coverage, covered, bins, error, threshold, answered, p.mean(axis=0).reshape(TICKS, TICKS),
        1 - right.mean(axis=0).reshape(TICKS, TICKS), truth.numpy().reshape(TICKS, TICKS), tuple(maps),
    )  # fmt: skip


def border_distance(points: np.ndarray) -> np.ndarray:
    """Distance of each point to the nearest border between two regions: (N, 2) -> (N,).

    A point p that is nearest to a comes to the border with b along the line from a to b: the perpendicular bisector of
    a and b is ``(|p - b|² - |p - a|²) / (2 |a - b|)`` away. The least of these is the distance to the border, since the
    region is where all of them are positive, and it is convex.

    >>> border_distance(np.array([[0.2, 0.3]])).round(4)
    array([0.301])
    """
    corners = np.array(CORNERS)
    squares = np.sum((points[:, None] - corners) ** 2, axis=2)
    near = squares.argmin(axis=1)
    span = np.linalg.norm(corners[near][:, None] - corners, axis=2)
    span[np.arange(len(points)), near] = np.nan
    gaps = (squares - squares[np.arange(len(points)), near][:, None]) / (2 * span)
    return np.nanmin(gaps, axis=1)


def _surest(stack: Stack, grid: torch.Tensor) -> tuple[np.ndarray, np.ndarray]:
    """What each net says at each point, and the probability it gives that: (S, M) twice."""
    logits = stack(grid)
    top = logits.max(axis=2)
    return logits.argmax(axis=2), 1 / np.exp(logits - top[:, :, None]).sum(axis=2)


def _monotone(widths: Sequence[Width]) -> str:
    gains = [w.better_than_before for w in widths if w.better_than_before is not None]
    if any(high < 0 for _, high in gains):
        return "no"
    return "yes" if all(low > 0 for low, _ in gains) else "not refuted"


def _belts(away: np.ndarray, p: np.ndarray, right: np.ndarray) -> tuple[Belt, ...]:
    out = []
    wrong = max(int((~right).sum()), 1)
    for low, high in pairwise(BELTS):
        here = (away >= low) & (away < high)
        if not here.any():
            continue
        mean, least, most = mean_interval(1 - right[:, here].mean(axis=1))
        ends = (max(0.0, least), min(1.0, most))
        share = float((~right[:, here]).sum() / wrong)
        out.append(Belt(float(low), float(high), float(here.mean()), mean, ends, share, float(p[:, here].mean())))
    return tuple(out)


def _covered(p: np.ndarray, right: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Accuracy of each net on the share of the grid that it is surest of."""
    order = np.argsort(-p, axis=1, kind="stable")
    hits = np.cumsum(np.take_along_axis(right, order, axis=1), axis=1)
    counts = np.maximum(1, np.rint(COVERAGES * p.shape[1]).astype(int))
    return counts / p.shape[1], hits[:, counts - 1] / counts


def _threshold(p: np.ndarray, right: np.ndarray, wish: float) -> tuple[float, float]:
    """The least probability from which on, over all seeds, the wished share is right; and the share answered."""
    order = np.argsort(-p.reshape(-1), kind="stable")
    sure = np.cumsum(right.reshape(-1)[order]) / np.arange(1, p.size + 1)
    last = np.flatnonzero(sure >= wish)
    if not len(last):
        return float("nan"), float("nan")
    return float(p.reshape(-1)[order[last[-1]]]), float((last[-1] + 1) / p.size)


def _calibration(p: np.ndarray, right: np.ndarray) -> tuple[np.ndarray, float]:
    """Ten bins of probability from 1/3 to 1: mean probability, share right, share of all; and the mean gap."""
    which = np.clip(((p - 1 / 3) / (2 / 3) * 10).astype(int), 0, 9).reshape(-1)
    count = np.bincount(which, minlength=10)
    used = count > 0
    mean = np.bincount(which, p.reshape(-1), 10)[used] / count[used]
    hits = np.bincount(which, right.reshape(-1).astype(float), 10)[used] / count[used]
    share = count[used] / count.sum()
    return np.column_stack([mean, hits, share]), float(np.sum(share * np.abs(mean - hits)))
