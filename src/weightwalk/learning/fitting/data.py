"""More data, lower loss: held-out loss by the number of examples, its power law, and where that ends."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.stats import t as t_distribution

from weightwalk.errors import UsageError
from weightwalk.learning.fitting.stacks import Progress, fit_many, started
from weightwalk.learning.fitting.tables import frame

if TYPE_CHECKING:
    import pandas

UNSEEN = 1000
"""Points that no net sees, the same for all."""

DRAWS = 400
"""Draws of seeds, with repetition, that the intervals are made from."""


@dataclass(frozen=True, slots=True, eq=False)
class Law:
    """``loss = scale * examples ** slope`` over a range of sizes.

    Attributes:
        low: Fewest examples that it was fitted to.
        high: Most.
        slope: Of ln loss against ln examples, by least squares on the means.
        interval: 95 %: Student's, with the standard error over draws of the seeds with repetition.
        scale: So that the law gives the loss itself.
    """

    low: int
    high: int
    slope: float
    interval: tuple[float, float]
    scale: float


@dataclass(frozen=True, slots=True, eq=False)
class Learning:
    """The learning curve of nets of one width.

    Attributes:
        width: Units of each of the two hidden layers.
        parameters: Numbers in a net.
        train: (S, K) mean squared error at the noisy examples.
        held: (S, K) mean squared error against the function, at points never seen: without the noise.
        flops: (K,) operations of one training: 6 x parameters x rows processed.
        law: Up to the bend; over all sizes where there is none.
        after: Behind the bend; None where the curve does not bend.
        gain: Share of the squared error of one straight line, in logarithms, that the best bend takes away.
    """

    width: int
    parameters: int
    train: np.ndarray
    held: np.ndarray
    flops: np.ndarray
    law: Law
    after: Law | None
    gain: float


@dataclass(frozen=True, slots=True, eq=False)
class DataFit:
    """Learning curves.

    Attributes:
        sizes: (K,) numbers of training examples.
        curves: One per width.
        noise: Variance of the noise on the examples: a training loss below it has memorised some.
        constant: Mean squared error of the best constant: what a net has that learned nothing.
        seeds: Each draws its examples, its noise and its initial weights.
        recipe: How the nets were trained.
        unseen: Points never seen.
    """

    sizes: np.ndarray
    curves: tuple[Learning, ...]
    noise: float
    constant: float
    seeds: tuple[int, ...]
    recipe: str
    unseen: int

    def frame(self) -> pandas.DataFrame:
        """One row per width, size and seed."""
        return frame(
            {
                "width": c.width,
                "parameters": c.parameters,
                "examples": int(n),
                "seed": seed,
                "train_loss": c.train[i, k],
                "held_loss": c.held[i, k],
                "flops": float(c.flops[k]),
            }
            for c in self.curves
            for k, n in enumerate(self.sizes)
            for i, seed in enumerate(self.seeds)
        )


def surface(points: np.ndarray) -> np.ndarray:
    """The function to be learned, ``sin(4 a) cos(4 b)`` of points (a, b): (..., 2) -> (...)."""
    return np.sin(4 * points[..., 0]) * np.cos(4 * points[..., 1])


def fit_data(
    *,
    sizes: Sequence[int] = (8, 16, 32, 64, 128, 256, 512, 1024, 2048),
    widths: Sequence[int] = (8, 64),
    noise: float = 0.1,
    seeds: Sequence[int] = range(5),
    updates: int = 600,
    batch: int = 64,
    lr: float = 0.01,
    progress: Progress | None = None,
) -> DataFit:
    """Train nets on more and more examples of ``sin(4a) cos(4b)``, -1 <= a, b <= 1.

    Every net gets the same number of updates, by Adam with its rate falling to 0, so that more examples do not also
    mean more training.

    Args:
        sizes: Numbers of examples; three or more.
        widths: Units of each of the two hidden layers of ReLUs.
        noise: Standard deviation of the noise on the examples.
        seeds: As many nets for each size and width.
        updates: Of each net.
        batch: Examples per update at most.
        lr: Learning rate at the start.
        progress: Called with (done, in all).

    Raises:
        UsageError: Fewer than three sizes, or a setting that makes no sense.

    Example:
        >>> found = fit_data(sizes=(8, 32, 128), widths=(16,), seeds=range(3), updates=150)
        >>> held = found.curves[0].held.mean(axis=0)
        >>> bool(held[2] < held[0]), found.curves[0].law.slope < 0
        (True, True)
    """
    chosen, counts = [int(s) for s in seeds], sorted(set(sizes))
    if len(counts) < 3 or counts[0] < 1 or not widths or min(widths) < 1:
        raise UsageError(
            "A learning curve takes three numbers of examples or more, each at least 1, and a width; got sizes "
            f"{', '.join(map(str, counts)) or 'none'} and widths {', '.join(map(str, widths)) or 'none'}."
        )
    if not 0 <= noise < 1e6 or updates < 1 or batch < 1:
        raise UsageError(f"noise is 0 or more, updates and batch 1 or more; got {noise}, {updates} and {batch}.")
    drawn = [_draw(s, counts[-1], noise) for s in chosen]
    x, y = (np.stack([d[i] for d in drawn]) for i in (0, 1))
    unseen = np.random.default_rng(2**40).uniform(-1, 1, (UNSEEN, 2))
    truth = surface(unseen)
    jobs = len(counts) * len(widths)
    curves: list[Learning] = []
    for width in sorted(set(widths)):
        train, held = np.empty((len(chosen), len(counts))), np.empty((len(chosen), len(counts)))
        flops, parameters = np.empty(len(counts)), 0
        for k, n in enumerate(counts):
            epochs, done = max(1, updates // -(-n // batch)), len(curves) * len(counts) + k
            tell = None if progress is None else lambda d, m, i=done: progress(i * m + d, jobs * m)
            stack = fit_many(
                started((2, width, width, 1), chosen), x[:, :n], y[:, :n, None], lr=lr, epochs=epochs, batch=batch,
                seeds=chosen, decay=True, progress=tell,
            )  # fmt: skip
            train[:, k], parameters = stack.losses, stack.parameters
            held[:, k] = np.mean((stack(unseen)[:, :, 0] - truth) ** 2, axis=1)
            flops[k] = 6.0 * parameters * n * epochs
        curves.append(Learning(width, parameters, train, held, flops, *bent_law(np.array(counts), held)))
    recipe = f"adam, lr {lr:g} falling to 0, {updates:,} updates of up to {batch} examples"
    return DataFit(
        np.array(counts), tuple(curves), noise**2, float(truth.var()), tuple(chosen), recipe, UNSEEN
    )  # fmt: skip


def _draw(seed: int, rows: int, noise: float) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng([seed, 2])
    x = rng.uniform(-1, 1, (rows, 2))
    return x, surface(x) + noise * rng.standard_normal(rows)


def bent_law(sizes: np.ndarray, held: np.ndarray) -> tuple[Law, Law | None, float]:
    """The power law of a learning curve, and the one behind its bend if it has one.

    The means are fitted by one straight line in logarithms, and by two that meet at one of the sizes. The bend is
    believed if it lowers the Bayesian information criterion, ``K ln(error / K) + p ln K`` with p = 2 numbers against 4,
    if the slopes differ by 0.2 or more, and if their intervals do not overlap.

    Args:
        sizes: (K,) numbers of examples, increasing.
        held: (S, K) losses.

    Raises:
        UsageError: Fewer than two sizes with a net that did not diverge.

    Returns:
        The law, the law behind the bend or None, and which share of the squared error the best bend takes away.

    >>> sizes = np.array([8, 16, 32, 64, 128, 256, 512])
    >>> law, after, _ = bent_law(sizes, np.tile(3.0 / sizes, (4, 1)))
    >>> round(law.slope, 6), after
    (-1.0, None)
    """
    sound = np.isfinite(held) & (held > 0)
    some = sound.any(axis=0)
    sizes, held, sound = sizes[some], held[:, some], sound[:, some]
    if len(sizes) < 2:
        raise UsageError("Every net diverged at all sizes but one: there is no curve; lower the learning rate.")
    t = np.log(sizes)
    means = _log_means(held, sound, None)
    rng = np.random.default_rng(0)
    resampled = []
    for _ in range(DRAWS):
        pick = rng.integers(len(held), size=len(held))
        resampled.append(_log_means(held[pick], sound[pick], means))
    one = _line(t, means, None)
    straight = float(np.sum((means - one[0] - one[1] * t) ** 2))
    whole = _law(sizes, one, [_line(t, r, None)[1] for r in resampled], len(held), 0, len(sizes) - 1)
    least, bend = min(((_misfit(t, means, k), k) for k in range(1, len(sizes) - 1)), default=(straight, 0))
    gain = min(1 - least / straight, 1 - 1e-12) if straight > 1e-20 else 0.0
    if len(sizes) < 5 or straight < 1e-20 or len(sizes) * np.log(1 - gain) + 2 * np.log(len(sizes)) > 0:
        return whole, None, gain
    first, second = _line(t, means, bend), [_line(t, r, bend) for r in resampled]
    before = _law(sizes, first[:2], [r[1] for r in second], len(held), 0, bend)
    join = first[0] + first[1] * t[bend]
    behind = (join - first[2] * t[bend], first[2])
    after = _law(sizes, behind, [r[2] for r in second], len(held), bend, len(sizes) - 1)
    if abs(before.slope - after.slope) < 0.2:
        return whole, None, gain
    apart = before.interval[1] < after.interval[0] or after.interval[1] < before.interval[0]
    return (before, after, gain) if apart else (whole, None, gain)


def _log_means(held: np.ndarray, sound: np.ndarray, otherwise: np.ndarray | None) -> np.ndarray:
    """ln of the mean over the nets that did not diverge; `otherwise` where a draw has none of them."""
    count = sound.sum(axis=0)
    total = np.where(sound, held, 0.0).sum(axis=0)
    made = np.log(np.where(count > 0, total, 1.0) / np.maximum(count, 1))
    return made if otherwise is None else np.where(count > 0, made, otherwise)


def _line(t: np.ndarray, y: np.ndarray, bend: int | None) -> tuple[float, ...]:
    """Intercept and slope; with a bend, the slope behind it as well: two lines that meet there."""
    low = t if bend is None else np.minimum(t, t[bend])
    columns = [np.ones(len(t)), low] if bend is None else [np.ones(len(t)), low, t - low]
    return tuple(float(v) for v in np.linalg.lstsq(np.column_stack(columns), y, rcond=None)[0])


def _misfit(t: np.ndarray, y: np.ndarray, bend: int) -> float:
    a, b, c = _line(t, y, bend)
    low = np.minimum(t, t[bend])
    return float(np.sum((y - a - b * low - c * (t - low)) ** 2))


def _law(
    sizes: np.ndarray, line: Sequence[float], slopes: Sequence[float], seeds: int, first: int, last: int
) -> Law:  # fmt: skip
    """A law with its interval: NaN from a single seed, of which nothing can be drawn."""
    half = math.nan
    if seeds > 1:
        half = float(t_distribution.ppf(0.975, seeds - 1) * np.std(slopes) * math.sqrt(seeds / (seeds - 1)))
    return Law(
        int(sizes[first]), int(sizes[last]), line[1], (line[1] - half, line[1] + half), float(np.exp(line[0]))
    )  # fmt: skip
