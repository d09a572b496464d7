"""How much of an output's variance each input explains: Sobol' indices by SALib, and permutation importance on data.

With x uniform on the box, ``S_i = Var(E[f | x_i]) / Var f`` is the share that x_i explains alone (first order), and
``T_i = E[Var(f | all but x_i)] / Var f`` the share that would be left if only x_i were unknown (total). Both are
estimated from N pairs of points A, B and, for each input, A with that input taken from B (Saltelli et al., 2010,
doi:10.1016/j.cpc.2009.09.018).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from weightwalk.errors import UsageError
from weightwalk.formulas.fits.basis import Sides
from weightwalk.formulas.fits.rankings import Measure, Ranking, chance, ignored, in_order

IGNORED = "an input that is appended and not read: 0, unless the function itself is noisy"

NUMBERS = 20_000_000
"""SALib lays its sample out one number at a time, in Python: more than this takes too long."""

ROWS = 4096
"""Rows of the data that permutation importance uses at most."""

SHUFFLES = 20
"""How often each column of the data is shuffled."""

One = Callable[[np.ndarray], np.ndarray]
"""One output at points (N, n): (N,), finite or refused."""


def sobol_rankings(f: One, box: Sides, samples: int, seed: int, repeats: int) -> tuple[Ranking, ...]:
    """First-order and total indices by two seeds, with their baselines.

    Raises:
        UsageError: SALib is not installed, or the sample would be too large.
    """
    size = 1 << max(1, samples - 1).bit_length()
    n = len(box)
    if size * (n + 3) * (n + 1) > NUMBERS:
        fits = int((NUMBERS / size) ** 0.5) - 2
        raise UsageError(
            f"Sobol' indices of {n:,} inputs by {size:,} samples each would take {2 * size * (n + 3):,} runs, laid out "
            f"by SALib number by number; {size:,} samples serve up to {max(fits, 0):,} inputs: take fewer samples, fix "
            "some inputs, or leave the indices out with samples=0."
        )
    runs = [_run(f, box, size, seed + k) for k in (0, 1)]
    first, second = (found for found, _ in runs)
    y = runs[0][1]
    random = _permuted(y, size, n, repeats, seed)
    words = f"{size:,} pairs of points, seeds {seed} and {seed + 1}"
    rankings: list[Ranking] = []
    kinds: tuple[tuple[Measure, str, str], ...] = (
        ("first-order", "S1", f"share of the variance that the input explains alone ({words})"),
        ("total", "ST", f"share of the variance that is left if only this input is unknown ({words})"),
    )
    for measure, key, how in kinds:
        values, confidence = first[key][:n], first[key + "_conf"][:n]
        dummy = ignored(IGNORED, np.abs([run[key][n] for run in (first, second)]))
        noise = chance("the outputs permuted over all points" if key == "S1" else
                       "the outputs permuted over all points; the total index of pure noise is 1, so that this is a "
                       "ceiling and no hurdle", random[key])  # fmt: skip
        hurdle = max(dummy.quantile, noise.quantile) if key == "S1" else dummy.quantile
        rankings.append(
            Ranking(
                measure=measure,
                how=how,
                values=values,
                sizes=values,
                confidence=confidence,
                order=in_order(values),
                baselines=(dummy, noise),
                above=tuple(bool(v) for v in values - confidence > hurdle),
                again=second[key][:n],
            )
        )
    return tuple(rankings)


def permutation_ranking(f: One, x: np.ndarray, y: np.ndarray, seed: int, repeats: int) -> Ranking:
    """By how much the mean squared error against data grows when one column of the data is shuffled.

    Breiman's permutation importance, of the given function on the given data. Chance: the same, with y permuted.
    """
    draw = np.random.default_rng([seed, 4])
    rows = np.sort(draw.permutation(len(x))[:ROWS])
    x, y = x[rows], y[rows]
    plain = f(x)
    targets = np.concatenate([draw.permuted(np.tile(y, (repeats, 1)), axis=1), y[None]])  # the last is y as it is
    n = x.shape[1]
    growth = np.zeros((2, SHUFFLES, n, len(targets)))
    for run, k, i in np.ndindex(2, SHUFFLES, n):
        moved = x.copy()
        moved[:, i] = draw.permutation(moved[:, i])
        new = f(moved)
        # (new - y)^2 - (plain - y)^2 = (new - plain)(new + plain - 2 y)
        growth[run, k, i] = ((new - plain) @ (new + plain) - 2 * targets @ (new - plain)) / len(x)
    growth, second = growth[0], growth[1, ..., -1].mean(0)
    mean, spread = growth[..., -1].mean(0), growth[..., -1].std(0, ddof=1)
    confidence = 1.96 * spread / np.sqrt(SHUFFLES)
    noise = chance("y permuted over the data", growth[..., :-1].mean(0).T)
    dummy = ignored(IGNORED, np.abs(((f(x) - y) ** 2).mean(keepdims=True) - ((plain - y) ** 2).mean()))
    return Ranking(
        measure="permutation",
        how=f"growth of the mean squared error on {len(x):,} points of the data when the input's column is shuffled "
        f"({SHUFFLES} times; for the second seed, {SHUFFLES} times more)",
        values=mean,
        sizes=mean,
        confidence=confidence,
        order=in_order(mean),
        baselines=(dummy, noise),
        above=tuple(bool(v) for v in mean - confidence > max(dummy.quantile, noise.quantile)),
        again=second,
    )


def salib() -> tuple[Any, Any]:
    """SALib's modules (sample.sobol, analyze.sobol), imported when they are first needed.

    Raises:
        UsageError: It is not installed.
    """
    try:
        from SALib.analyze import sobol as analyze
        from SALib.sample import sobol as sample
    except ImportError as error:
        raise UsageError(
            "Sobol' indices need SALib, which is not installed: pip install 'weightwalk[formulas]' (in Python, "
            "samples=0 leaves them out)."
        ) from error
    return sample, analyze


def _run(f: One, box: Sides, size: int, seed: int) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """SALib's indices of the n inputs and of an appended one that f does not read; and y at all points."""
    sample, analyze = salib()
    n = len(box)
    problem = {
        "num_vars": n + 1,
        "names": [f"x{i}" for i in range(n + 1)],
        "bounds": [*map(list, box), [0.0, 1.0]],
    }
    x = sample.sample(problem, size, calc_second_order=False, seed=seed)
    y = f(np.ascontiguousarray(x[:, :n]))
    if _constant(y):  # SALib would divide by its deviation
        nothing = np.zeros(n + 1)
        return dict.fromkeys(("S1", "S1_conf", "ST", "ST_conf"), nothing), y
    # seed 0 would make SALib fall back on NumPy's global state
    found = analyze.analyze(problem, y, calc_second_order=False, seed=seed + 1, print_to_console=False)
    return {key: np.asarray(found[key]) for key in ("S1", "S1_conf", "ST", "ST_conf")}, y


def _permuted(y: np.ndarray, size: int, n: int, repeats: int, seed: int) -> dict[str, np.ndarray]:
    """Both indices, (repeats, n) each, of outputs permuted over all points; by the estimators that SALib uses."""
    draw = np.random.default_rng([seed, 5])
    out = {"S1": np.zeros((repeats, n)), "ST": np.zeros((repeats, n))}
    if _constant(y):
        return out
    z = (y - y.mean()) / y.std()
    for k in range(repeats):
        table = draw.permutation(z).reshape(size, n + 3)
        a, b, mixed = table[:, :1], table[:, -1:], table[:, 1 : n + 1]
        variance = np.concatenate([a, b]).var()
        out["S1"][k] = (b * (mixed - a)).mean(0) / variance
        out["ST"][k] = ((a - mixed) ** 2).mean(0) / (2 * variance)
    return out


def _constant(y: np.ndarray) -> bool:
    """Whether outputs differ by no more than rounding."""
    return not y.std() > 1e-14 * float(np.abs(y).max())
