"""Too small, right, too large: error by the size of a model; and what a size can do beside what training finds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from weightwalk.errors import UsageError
from weightwalk.learning.fitting.polynomials import fit_polynomial
from weightwalk.learning.fitting.stacks import Progress, Stack, fit_many, started
from weightwalk.learning.fitting.tables import frame, quartiles
from weightwalk.learning.tasks import task_of

if TYPE_CHECKING:
    import pandas

DENSE = 2001
"""Places at which the function is known; its values at those and between them are what truth is here."""

FUNCTIONS = ("sqrt", "square", "log", "exp", "sin", "tan", "abs")
"""What the task ``sqrt`` can be of, each on an interval of its own."""


@dataclass(frozen=True, slots=True, eq=False)
class Size:
    """Models of one size, on noisy rows, one per seed.

    Attributes:
        size: Degree of a polynomial; units of a net, 0 for the straight line.
        parameters: Numbers that are fitted.
        train: (S,) root mean squared error at the noisy rows.
        held: (S,) root mean squared error against the function itself, between the rows: the noise is not in it.
    """

    size: int
    parameters: int
    train: np.ndarray
    held: np.ndarray


@dataclass(frozen=True, slots=True, eq=False)
class Sweep:
    """A family of models by size.

    Attributes:
        family: ``"polynomial"`` or ``"net"``.
        sizes: From the smallest on.
        best: The size with the least median held-out error.
        worse_below: Seeds for which the smallest size is worse than the best one.
        worse_above: Seeds for which the largest size is.
        p_below: Probability of so many seeds or more if either were as likely to be worse (sign test, one-sided).
        p_above: The same for the largest.
        u_shaped: Whether both are below 0.05 and the best size is neither the smallest nor the largest.
    """

    family: str
    sizes: tuple[Size, ...]
    best: int
    worse_below: int
    worse_above: int
    p_below: float
    p_above: float
    u_shaped: bool


@dataclass(frozen=True, slots=True, eq=False)
class Reach:
    """What nets of one width do without noise, on many rows.

    Attributes:
        width: ReLU units of the one hidden layer.
        parameters: Numbers in the net.
        exists: Least error known of a net of that width: its kinks placed by computation, or the best of `trained`.
        trained: (S,) error of each seed after training.
    """

    width: int
    parameters: int
    exists: float
    trained: np.ndarray


@dataclass(frozen=True, slots=True, eq=False)
class Learned:
    """A function learned on an interval by nets of 8 units (1-8-1), without noise, from 201 rows.

    Attributes:
        target: Its name.
        low: Left end of the interval.
        high: Right end.
        spread: Its standard deviation there: the error of the best constant.
        line: Error of the best straight line.
        trained: (S,) error of each seed, between the rows.
        train: (S,) error at the rows.
    """

    target: str
    low: float
    high: float
    spread: float
    line: float
    trained: np.ndarray
    train: np.ndarray


@dataclass(frozen=True, slots=True, eq=False)
class CapacityFit:
    """Error by size.

    Attributes:
        target: The function.
        low: Left end of the interval; nothing is said of what lies outside.
        high: Right end.
        rows: Noisy training rows.
        noise: Standard deviation of the noise.
        seeds: Each draws its rows, its noise and the initial weights.
        recipe: How the nets were trained.
        polynomials: Sweep of degrees.
        nets: Sweep of widths.
        reach: Without noise.
        slope: How the error of `exists` falls with the width, a power: d ln error / d ln width.
        line: Error of the best straight line on the interval.
        linear: (S,) error of deep nets without activations, trained on the same rows as `reach`.
        linear_sizes: Their layers.
        functions: Several functions learned by nets of 8 units without noise; none unless asked for.
        drawn_at: (G,) places of the curves.
        drawn: For the smallest, best and largest size of both sweeps: (family, size, curve of the first seed).
        sample: (rows, 2) the first seed's noisy rows.
        truth: (G,) the function there.
    """

    target: str
    low: float
    high: float
    rows: int
    noise: float
    seeds: tuple[int, ...]
    recipe: str
    polynomials: Sweep
    nets: Sweep
    reach: tuple[Reach, ...]
    slope: float
    line: float
    linear: np.ndarray
    linear_sizes: tuple[int, ...]
    functions: tuple[Learned, ...]
    drawn_at: np.ndarray = field(repr=False)
    drawn: tuple[tuple[str, int, np.ndarray], ...] = field(repr=False)
    sample: np.ndarray = field(repr=False)
    truth: np.ndarray = field(repr=False)

    def frame(self) -> pandas.DataFrame:
        """One row per family, size and seed; ``"noise-free"`` nets and ``"linear"`` ones included."""
        rows = []
        for sweep in (self.polynomials, self.nets):
            for s in sweep.sizes:
                for i, seed in enumerate(self.seeds):
                    rows.append((sweep.family, s.size, s.parameters, seed, s.train[i], s.held[i]))
        for r in self.reach:
            rows += [
                ("noise-free net", r.width, r.parameters, s, np.nan, r.trained[i]) for i, s in enumerate(self.seeds)
            ]
        rows += [("linear net", 0, 2, s, np.nan, self.linear[i]) for i, s in enumerate(self.seeds)]
        names = ("family", "size", "parameters", "seed", "train_rmse", "held_rmse")
        return frame(dict(zip(names, row, strict=True)) for row in rows)


def fit_capacity(
    target: str = "sqrt",
    *,
    widths: Sequence[int] = (0, 1, 2, 4, 16, 64),
    degrees: Sequence[int] = (0, 1, 2, 3, 4, 6, 8, 10, 12),
    rows: int = 25,
    noise: float | None = None,
    seeds: Sequence[int] = range(10),
    epochs: int = 1000,
    lr: float = 0.02,
    functions: bool = False,
    progress: Progress | None = None,
) -> CapacityFit:
    """Sweep the size of polynomials and nets on noisy rows of a function, and of nets without noise.

    Args:
        target: A function that the task ``sqrt`` knows: sqrt, square, log, exp, sin, tan, abs.
        widths: ReLU units of nets with one hidden layer; 0 is the straight line.
        degrees: Of polynomials, less than `rows`.
        rows: Noisy training rows, at random places.
        noise: Standard deviation of the noise; a quarter of the function's own on the interval unless said.
        seeds: As many draws and nets of each size.
        epochs: Full-batch updates by Adam, its rate falling to 0.
        lr: Learning rate at the start.
        functions: Learn every function that is known, too, with nets of 8 units.
        progress: Called with (done, in all).

    Raises:
        UsageError: A function that is not known, or sizes that the rows cannot decide.

    Example:
        >>> found = fit_capacity(widths=(1,), degrees=(1, 4, 12), seeds=range(5), epochs=50)
        >>> round(found.line, 3), found.polynomials.best, found.polynomials.worse_above
        (0.149, 4, 5)
    """
    truth = _Truth(target)
    if rows < 3 or rows > DENSE or max(degrees) >= rows:
        raise UsageError(f"Use 3 to {DENSE} rows and degrees below their number; got {rows} rows, degrees {degrees}.")
    chosen = [int(s) for s in seeds]
    sigma = truth.spread / 4 if noise is None else noise
    if not 0 <= sigma < 1e6:
        raise UsageError(f"The noise is a standard deviation, 0 or more; got {sigma}.")
    hidden = sorted({w for w in widths if w > 0})
    others = FUNCTIONS if functions else ()
    train = _Trainer(chosen, lr, epochs, len(set(widths)) + len(hidden) + 1 + len(others), progress)
    grid = np.linspace(truth.low, truth.high, 300)
    x, y = truth.noisy(chosen, rows, sigma)
    polynomials, curves = _polynomials(truth, x, y, sorted(set(degrees)), grid)
    found: list[Size] = []
    for width in sorted(set(widths)):
        stack = train(truth, (1, width, 1) if width else (1, 1), "relu", x, y)
        fitted = truth.said(stack, x)
        curves["net", width] = truth.said(stack, grid)[0]
        errors = np.sqrt(np.mean((fitted - y) ** 2, axis=1))
        found.append(Size(width, stack.parameters, errors, truth.error(stack)))
    nets = _swept("net", found)
    reach: list[Reach] = []
    for width in hidden:
        stack = train(truth, (1, width, 1), "relu", *truth.clean)
        error = truth.error(stack)
        reach.append(Reach(width, stack.parameters, min(truth.chain(width), float(error.min())), error))
    linear_sizes = (1, 16, 16, 1)
    linear = truth.error(train(truth, linear_sizes, "identity", *truth.clean))
    several = [r for r in reach if r.exists > 1e-7 * truth.spread and r.width > 1]
    slope = float("nan")
    if len(several) > 1:
        slope = float(np.polyfit(np.log([r.width for r in several]), np.log([r.exists for r in several]), 1)[0])
    drawn = tuple(
        (sweep.family, size, curves[sweep.family, size])
        for sweep in (polynomials, nets)
        for size in (sweep.sizes[0].size, sweep.best, sweep.sizes[-1].size)
    )
    return CapacityFit(
        target, truth.low, truth.high, rows, float(sigma), tuple(chosen),
        f"adam, lr {lr:g} falling to 0, {epochs:,} full-batch updates", polynomials, nets, tuple(reach), slope,
        truth.best_line(), linear, linear_sizes, tuple(_learn(name, train) for name in others), grid, drawn,
        np.column_stack([x[0], y[0]]), np.interp(grid, truth.x, truth.y),
    )  # fmt: skip


class _Trainer:
    """Trains a net per seed on rows of a function, and counts how many such trainings are done."""

    def __init__(self, seeds: list[int], lr: float, epochs: int, jobs: int, progress: Progress | None) -> None:
        self.seeds, self.lr, self.epochs, self.jobs, self.progress, self.done = seeds, lr, epochs, jobs, progress, 0

    def __call__(self, truth: _Truth, sizes: tuple[int, ...], activation: str, x: np.ndarray, y: np.ndarray) -> Stack:
        i, jobs, progress = self.done, self.jobs, self.progress
        self.done += 1
        tell = None if progress is None else lambda d, n: progress(i * n + d, jobs * n)
        nets = started(sizes, self.seeds, activation)
        a, b = truth.scaled(x)[..., None], ((y - truth.mean) / truth.spread)[..., None]
        return fit_many(
            nets, a, b, activation=activation, lr=self.lr, epochs=self.epochs, decay=True, progress=tell
        )  # fmt: skip


def _learn(target: str, train: _Trainer) -> Learned:
    truth = _Truth(target)
    x, y = truth.clean
    stack = train(truth, (1, 8, 1), "relu", x, y)
    at_rows = np.sqrt(np.mean((truth.said(stack, x) - y) ** 2, axis=1))
    return Learned(target, truth.low, truth.high, truth.spread, truth.best_line(), truth.error(stack), at_rows)


class _Truth:
    """A function at many places, and between them."""

    def __init__(self, target: str) -> None:
        data = task_of("sqrt").of(target=target, points=DENSE).data
        assert data.held_inputs is not None and data.held_targets is not None
        # the task's tensors are float32; the places are evenly spaced, and known better than that
        self.low, self.high = float(data.inputs[0, 0]), float(data.inputs[-1, 0])
        self.x, self.y = data.inputs[:, 0].double().numpy(), data.targets[:, 0].double().numpy()
        self.held_x, self.held_y = data.held_inputs[:, 0].double().numpy(), data.held_targets[:, 0].double().numpy()
        self.mean, self.spread = float(self.held_y.mean()), float(self.held_y.std())

    def scaled(self, x: np.ndarray) -> np.ndarray:
        """The interval as -1.7 to 1.7, whose standard deviation is 1."""
        return (2 * x - self.low - self.high) / (self.high - self.low) * 3**0.5

    def noisy(self, seeds: Sequence[int], rows: int, sigma: float) -> tuple[np.ndarray, np.ndarray]:
        """(S, rows) places and noisy values."""
        x, y = np.empty((len(seeds), rows)), np.empty((len(seeds), rows))
        for i, seed in enumerate(seeds):
            rng = np.random.default_rng([seed, rows])
            some = np.sort(rng.choice(DENSE, rows, replace=False))
            x[i], y[i] = self.x[some], self.y[some] + sigma * rng.standard_normal(rows)
        return x, y

    @property
    def clean(self) -> tuple[np.ndarray, np.ndarray]:
        """201 rows without noise."""
        some = slice(None, None, (DENSE - 1) // 200)
        return self.x[some], self.y[some]

    def said(self, stack: Stack, x: np.ndarray) -> np.ndarray:
        """What each net says at x, in the unit of y: (S, places)."""
        return stack(self.scaled(x)[..., None])[:, :, 0] * self.spread + self.mean

    def error(self, stack: Stack) -> np.ndarray:
        """(S,) root mean squared error between the rows."""
        return np.sqrt(np.mean((self.said(stack, self.held_x) - self.held_y) ** 2, axis=1))

    def best_line(self) -> float:
        """The least error of any straight line."""
        line = np.polynomial.Polynomial.fit(self.held_x, self.held_y, 1)
        return float(np.sqrt(np.mean((line(self.held_x) - self.held_y) ** 2)))

    def chain(self, width: int) -> float:
        """Error of a net whose `width` units make `width` straight pieces, with the kinks where the curve bends.

        For the least squared error, kinks lie such that each piece has the same share of the integral of |f''|^(2/5)
        (de Boor 1973); heights then follow by least squares. One unit is on everywhere and carries the first slope.
        """
        bend = np.abs(np.gradient(np.gradient(self.y, self.x), self.x)) ** 0.4
        share = np.concatenate([[0.0], np.cumsum((bend[1:] + bend[:-1]) / 2 * np.diff(self.x))])
        share = share + 1e-9 * (self.x - self.low) * (share[-1] or 1.0)
        kinks = np.interp(np.arange(width) / width * share[-1], share, self.x)
        units = np.maximum(self.held_x[:, None] - kinks, 0.0)
        basis = np.column_stack([np.ones(len(units)), units])
        heights = np.linalg.lstsq(basis, self.held_y, rcond=None)[0]
        return float(np.sqrt(np.mean((basis @ heights - self.held_y) ** 2)))


def _polynomials(
    truth: _Truth, x: np.ndarray, y: np.ndarray, degrees: Sequence[int], grid: np.ndarray
) -> tuple[Sweep, dict[tuple[str, int], np.ndarray]]:
    """The sweep, and the first seed's curves."""
    found: list[Size] = []
    curves: dict[tuple[str, int], np.ndarray] = {}
    for degree in degrees:
        fits = [fit_polynomial(a, b, degree) for a, b in zip(x, y, strict=True)]
        held = np.array([np.sqrt(np.mean((f.curve(truth.held_x) - truth.held_y) ** 2)) for f in fits])
        curves["polynomial", degree] = fits[0].curve(grid)
        found.append(Size(degree, degree + 1, np.array([f.rmse for f in fits]), held))
    return _swept("polynomial", found), curves


def _swept(family: str, sizes: Sequence[Size]) -> Sweep:
    """Which size is best, and whether the ends are worse, by the seeds."""
    best = min(sizes, key=lambda s: quartiles(s.held)[1])
    n = len(best.held)
    below, above = (int((s.held > best.held).sum()) for s in (sizes[0], sizes[-1]))
    p = [_tail(k, n) for k in (below, above)]
    inner = best is not sizes[0] and best is not sizes[-1]
    return Sweep(family, tuple(sizes), best.size, below, above, p[0], p[1], inner and max(p) < 0.05)


def _tail(hits: int, trials: int) -> float:
    """P(at least so many heads) of a fair coin.

    >>> _tail(10, 10), _tail(0, 10)
    (0.0009765625, 1.0)
    """
    from math import comb

    return sum(comb(trials, k) for k in range(hits, trials + 1)) / 2**trials
