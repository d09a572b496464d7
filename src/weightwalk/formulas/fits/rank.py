"""Which inputs matter: at one input, by a finite move, over the whole box; each ranking beside what chance gives."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from weightwalk.errors import UsageError
from weightwalk.formulas.certificate import Certificate, Check
from weightwalk.formulas.fits import basis
from weightwalk.formulas.fits.basis import Sides
from weightwalk.formulas.fits.rankings import Ranking, chance, chance_correlation, ignored, in_order, rank_correlation
from weightwalk.formulas.fits.scores import Function, checked_data, input_names, values
from weightwalk.formulas.fits.sobol import IGNORED, One, permutation_ranking, sobol_rankings

AGREE = 1e-5
"""Greatest difference of the exact gradient and central differences, relative to the greatest slope."""

MEMORY = 2**30
"""Bytes that the moved points may take."""


@dataclass(frozen=True, eq=False)
class Sensitivity:
    """What `sensitivity` found. Every ranking is of one output.

    Attributes:
        inputs: Names of the n inputs.
        output: Which output.
        box: ((least, greatest) of each input).
        point: (n,) where gradient and perturbation were taken.
        value: The output there.
        gradient: (n,) the exact gradient as given; None if it was not.
        differences: (n,) central differences.
        step: Their step, as a share of each input's range.
        disagreement: Greatest |gradient - differences| over the greatest |gradient|; nan if no gradient was given.
        kinks: Inputs along which the slopes ahead and behind differ within a step of the point: no gradient there.
        share: Of its range by which each input was moved.
        rankings: By ``"gradient"``, ``"perturbation"``, ``"first-order"``, ``"total"``, ``"permutation"``; those made.
        agreement_by_chance: 95 % quantile of the rank correlation of two rankings that have nothing to do with each
            other.
        same_by_chance: Probability that two such rankings are equal, 1 / n!.
        evaluations: Points at which the function was run.
        seed: Of everything random.
        certificate: The gradient against differences, and what the indices add up to.
    """

    inputs: tuple[str, ...]
    output: int
    box: Sides
    point: np.ndarray
    value: float
    gradient: np.ndarray | None
    differences: np.ndarray
    step: float
    disagreement: float
    kinks: tuple[int, ...]
    share: float
    rankings: tuple[Ranking, ...]
    agreement_by_chance: float
    same_by_chance: float
    evaluations: int
    seed: int
    certificate: Certificate = field(repr=False)

    def __getitem__(self, measure: str) -> Ranking:
        """The ranking by one measure.

        Raises:
            KeyError: It was not made.
        """
        for ranking in self.rankings:
            if ranking.measure == measure:
                return ranking
        raise KeyError(measure)

    def order(self, measure: str) -> tuple[str, ...]:
        """Names of the inputs by one measure, greatest first."""
        return tuple(self.inputs[i] for i in self[measure].order)

    def agreement(self, a: str, b: str) -> float:
        """Spearman's rank correlation of two of the rankings."""
        return rank_correlation(self[a].sizes, self[b].sizes)


def sensitivity(
    f: Function,
    box: Sequence[Sequence[float]],
    *,
    x: np.ndarray | Sequence[float] | None = None,
    output: int = 0,
    gradient: np.ndarray | None = None,
    share: float = 0.1,
    step: float | None = None,
    samples: int = 1024,
    seed: int = 0,
    repeats: int = 200,
    data: tuple[np.ndarray, np.ndarray] | None = None,
    names: Sequence[str] | None = None,
) -> Sensitivity:
    """Rank the inputs of a function, four ways, each beside what it gives where there is nothing to find.

    - ``"gradient"``: ``|df/dx_i| (b_i - a_i)`` at x. The range makes inputs of different units comparable.
    - ``"perturbation"``: greatest ``|f(x + d) - f(x)|`` for a move d of input i alone by a `share` of its range, up or
      down; a move that would leave the box is not made. Where f is affine on the way, it is the gradient's size times
      `share`.
    - ``"first-order"`` and ``"total"`` Sobol' indices over the box, by SALib, with its 95 % confidence intervals.
    - ``"permutation"``, if data is given: how much the mean squared error grows when a column is shuffled.

    Beside each stand two baselines.

    *An ignored input*: the same measure of an input that is appended and not read. For a function that always gives
    the same result it is exactly 0, in Saltelli's design too. It shows the noise of f: dropout left on, or rounding.

    *Chance*. At one point: moves of the same length (in units of the ranges) in random directions. An input stands
    above chance if its own direction does more than 95 % of them do: it is special then, not merely alive. With one
    input there is one direction, and no such baseline. First order, and permutation: the outputs are permuted over the
    points; in 95 % of the repeats the greatest index of any input is below the quantile, and an input stands above if
    its index less its confidence is. Total: permuted outputs are pure noise, of which every input's total index is 1.
    That is how noise looks, and no hurdle; an input stands above if its index less its confidence exceeds that of the
    ignored input.

    What a *ranking* is worth: the second seed gives it again (`Ranking.stable`, `Ranking.agreement`), and two rankings
    of n inputs agree by chance with probability 1 / n!.

    Args:
        f: From points (N, n) to outputs (N, outputs) or (N,); should be float64 throughout.
        box: (least, greatest) of each input.
        x: (n,) where gradient and perturbation are taken; the middle of the box by default.
        output: Which output.
        gradient: (n,) or (outputs, n), exact, to be ranked and held against central differences.
        share: Of its range by which each input is moved, up to 0.5.
        step: Of the central differences, as a share of the range; by default 1e-5, or 4e-3 if the outputs are float32.
        samples: N of the Sobol' indices, rounded up to a power of two; they take 2 N (n + 3) runs. 0 leaves them out.
        seed: Of everything random; the second run of the indices takes seed + 1.
        repeats: Of the baselines.
        data: (x, y) for permutation importance.
        names: Of the inputs.

    Raises:
        UsageError: An empty box, a point or a gradient of another size, a function that is not finite, too many inputs
            for Sobol' indices, or no SALib.

    Example:
        >>> found = sensitivity(lambda x: 2 * x[:, 0] - x[:, 1], ((0, 1), (0, 1), (0, 1)), names=("a", "b", "c"))
        >>> found.order("total"), found["total"].above
        (('a', 'b', 'c'), (True, True, False))
        >>> found["first-order"].values.round(2).tolist()
        [0.8, 0.2, 0.0]
    """
    sides = basis.sides(box)
    labels = input_names(names, len(sides))
    given = checked_data(data, len(sides))
    at = _point(x, sides)
    _numbers(share, step, samples, seed, repeats)
    evaluations = 0

    def one(points: np.ndarray) -> np.ndarray:
        nonlocal evaluations
        evaluations += len(points)
        y = values(f, points, labels)
        if not -y.shape[1] <= output < y.shape[1]:
            raise UsageError(f"There is no output {output}: the function has {y.shape[1]}.")
        return y[:, output]

    if 40 * len(sides) ** 2 > MEMORY:
        raise UsageError(
            f"Moving each of {len(sides):,} inputs by itself would take {40 * len(sides) ** 2 / 2**30:,.1f} GiB: rank "
            "fewer of them, with the others fixed."
        )
    exact = _gradient(gradient, output, len(sides))
    local = _Local(one, sides, at, step)
    slopes = local.differences if exact is None else exact
    rankings = [local.by_gradient(slopes, seed, repeats), local.by_moves(share, seed, repeats)]
    if samples:
        rankings += sobol_rankings(one, sides, samples, seed, repeats)
    if given is not None:
        rankings.append(permutation_ranking(one, given[0], _column(given[1], output), seed, repeats))
    off = math.nan if exact is None else _relative(exact, local.differences)
    alike, same = chance_correlation(len(sides), seed)
    return Sensitivity(
        inputs=labels, output=output, box=sides, point=at, value=local.value, gradient=exact,
        differences=local.differences, step=local.step, disagreement=off, kinks=local.kinks, share=share,
        rankings=tuple(rankings), agreement_by_chance=alike, same_by_chance=same, evaluations=evaluations, seed=seed,
        certificate=Certificate(_checks(off, rankings), seed),
    )  # fmt: skip


class _Local:
    """What is measured around one point."""

    def __init__(self, f: One, box: Sides, at: np.ndarray, step: float | None) -> None:
        self.f, self.box, self.at = f, box, at
        self.low, self.high = np.array(box).T
        self.width = self.high - self.low
        n = len(box)
        eye = np.concatenate([np.eye(n), -np.eye(n)])
        for self.step in (step,) if step else (1e-5, 4e-3):
            moves = np.concatenate([eye, 2 * eye, np.zeros((3, n))]) * self.step * self.width
            y = f(at + moves)
            single = bool((y == y.astype(np.float32)).all() and (y != y[-1]).any())
            if not single:
                break  # else it computes in float32, and its rounding would drown the small step
        self.value = float(y[-1])
        self.noise = np.abs(y[4 * n :] - y[-1])
        taken = np.abs((at + moves) - at).reshape(-1, n)[: 4 * n].max(1).reshape(2, 2, n)  # after rounding
        ahead, behind = (y[: 4 * n].reshape(2, 2, n) - self.value).swapaxes(0, 1) / taken.swapaxes(0, 1)
        self.differences = (y[:n] - y[n : 2 * n]) / (taken[0, 0] + taken[0, 1])
        # where f is smooth, the jump of the slope doubles with the step; at a kink it stays
        near, far = np.abs(ahead + behind)
        size = max(float(np.abs([ahead, behind]).max()), 1e-300)
        real = near * taken[0, 0] > (1e-5 if single else 1e-12) * np.abs(y).max()
        self.kinks = tuple(int(i) for i in np.flatnonzero(real & (near > 1e-2 * size) & (far < 1.5 * near)))

    def by_gradient(self, slopes: np.ndarray, seed: int, repeats: int) -> Ranking:
        """|df/dx_i| (b_i - a_i); chance: the same of random directions."""
        sizes = np.abs(slopes) * self.width
        random = np.abs(self.directions(seed, repeats) @ (slopes * self.width))
        baselines = [ignored(IGNORED, self.noise / (2 * self.step))]
        if len(self.box) > 1:
            baselines.append(chance("slope along random directions, in units of the ranges", random))
        return self.ranking("gradient", "|df/dx_i| times the input's range, at the point", slopes, sizes, baselines)

    def by_moves(self, share: float, seed: int, repeats: int) -> Ranking:
        """Greatest |f(x + d) - f(x)|; chance: moves of the same length in random directions."""
        n = len(self.box)
        moves = np.concatenate([np.eye(n), -np.eye(n)]) * share * self.width
        rows = self.at + moves
        # a little slack, so that a point of the box is not pushed off its side by rounding
        fine = ((rows >= self.low - 1e-9 * self.width) & (rows <= self.high + 1e-9 * self.width)).all(1)
        effects = np.full(2 * n, np.nan)
        effects[fine] = self.f(rows[fine]) - self.value
        sizes = np.abs(np.where(fine, effects, 0.0)).reshape(2, n)
        chosen = effects.reshape(2, n)[sizes.argmax(0), np.arange(n)]
        baselines = [ignored(IGNORED, self.noise)]
        if n > 1:
            way = self.directions(seed, repeats) * share * self.width
            rows = self.at + way
            way = np.where((rows < self.low) | (rows > self.high), -way, way)  # stay in the box
            random = np.abs(self.f(self.at + way) - self.value)
            baselines.append(chance("moves of the same length in random directions", random))
        how = f"greatest change of the output when the input moves by {share:g} of its range, up or down"
        return self.ranking("perturbation", how, chosen, sizes.max(0), baselines)

    def directions(self, seed: int, repeats: int) -> np.ndarray:
        """(repeats, n) of length 1, uniform on the sphere."""
        way = np.random.default_rng([seed, 6]).normal(size=(repeats, len(self.box)))
        return way / np.sqrt((way**2).sum(1, keepdims=True))

    def ranking(self, measure, how: str, raw: np.ndarray, sizes: np.ndarray, baselines: list) -> Ranking:
        hurdle = max(one.quantile for one in baselines)
        above = tuple(bool(v) for v in sizes > hurdle)
        return Ranking(measure, how, raw, sizes, None, in_order(sizes), tuple(baselines), above)


def _point(x: np.ndarray | Sequence[float] | None, box: Sides) -> np.ndarray:
    if x is None:
        return np.array(box).mean(1)
    at = np.asarray(x, np.float64).ravel()
    if at.shape != (len(box),) or not np.isfinite(at).all():
        raise UsageError(f"The point has {at.size} numbers; expected {len(box)}, finite, one per side of the box.")
    for i, (v, (lo, hi)) in enumerate(zip(at, box, strict=True)):
        if not lo <= v <= hi:
            raise UsageError(f"The point's input {i} is {v:g}, outside of its side of the box, {lo:g} to {hi:g}.")
    return at


def _numbers(share: float, step: float | None, samples: int, seed: int, repeats: int) -> None:
    if not 0 < share <= 0.5:
        raise UsageError(f"share={share:g}, but each input is moved by more than 0 and at most 0.5 of its range.")
    if step is not None and not 0 < step <= 0.1:
        raise UsageError(f"step={step:g}, but central differences take a share of the range above 0, at most 0.1.")
    if samples < 0 or 0 < samples < 16:
        raise UsageError(f"samples={samples}: Sobol' indices take at least 16, better 1,024; 0 leaves them out.")
    basis.checked_seed(seed)
    if repeats < 20:
        raise UsageError(f"repeats={repeats}: a 95 % quantile takes at least 20.")


def _column(y: np.ndarray, output: int) -> np.ndarray:
    """What the data says of one output; a single column is of whichever was asked for."""
    columns = y.shape[1]
    if columns > 1 and not -columns <= output < columns:
        raise UsageError(f"The data has {columns} columns of y, but output {output} was asked for.")
    return y[:, output if columns > 1 else 0]


def _gradient(gradient: np.ndarray | None, output: int, n: int) -> np.ndarray | None:
    if gradient is None:
        return None
    found = np.asarray(gradient, np.float64)
    row = found[output] if found.ndim == 2 and len(found) > output else found
    if row.shape != (n,):
        raise UsageError(f"The gradient has shape {found.shape}; expected ({n},) or (outputs, {n}).")
    return row


def _relative(exact: np.ndarray, other: np.ndarray) -> float:
    """Greatest difference over the greatest slope; 0 where both are zero."""
    off = float(np.abs(exact - other).max())
    return off / max(float(np.abs(exact).max()), 1e-300) if off else 0.0


def _checks(off: float, rankings: Sequence[Ranking]) -> tuple[Check, ...]:
    found = []
    if not math.isnan(off):
        found.append(Check("gradient against central differences, relative", off, f"<= {AGREE:g}", off <= AGREE))
    for ranking in rankings:
        if ranking.measure == "first-order" and ranking.confidence is not None:
            total, slack = float(ranking.values.sum()), float(ranking.confidence.sum())
            found.append(
                Check(
                    "sum of the first-order indices", total, f"<= 1 + {slack:.2g}, their confidence", total <= 1 + slack
                )
            )
    return tuple(found)
