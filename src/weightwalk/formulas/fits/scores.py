"""How far a surrogate is from what it stands for: always at fresh points, inside the fitted box and outside it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from weightwalk.errors import UsageError
from weightwalk.formulas.fits import basis
from weightwalk.formulas.fits.basis import Sides

Function = Callable[[np.ndarray], np.ndarray]
"""Takes points (N, n) in float64, gives outputs (N, outputs) or (N,)."""

FRESH = 4096
"""Points at which a surrogate is held against the net, inside and outside each."""


@dataclass(frozen=True, eq=False)
class Score:
    """How far a surrogate is from what it stands for. Arrays are per output.

    Attributes:
        against: ``"net"``, or ``"data"`` for given (x, y).
        where: ``"inside"`` the fitted box, or ``"outside"``.
        how: Where it was measured, in words.
        points: Number of points; 0 for an exact integral, and where the data has none.
        undefined: Points left out because the net is not finite there.
        r2: ``1 - sum (p - f)^2 / sum (f - mean f)^2``; negative if a constant is better; nan if f is constant there.
        rmse: Root of the mean of (p - f)^2.
        worst: Greatest |p - f| that was found.
        worst_at: (outputs, n) where.
        bound: What |p - f| is proven not to exceed; None if nothing is proven.
    """

    against: Literal["net", "data"]
    where: Literal["inside", "outside"]
    how: str
    points: int
    undefined: int
    r2: np.ndarray
    rmse: np.ndarray
    worst: np.ndarray
    worst_at: np.ndarray = field(repr=False)
    bound: np.ndarray | None = None


def values(f: Function, x: np.ndarray, names: Sequence[str] | None) -> np.ndarray:
    """f at points, (N, outputs) float64; with `names`, refused where not finite.

    Raises:
        UsageError: The shape is wrong, or a value is not finite.
    """
    y = np.asarray(f(x), np.float64)
    if y.ndim == 1:
        y = y[:, None]
    if y.ndim != 2 or len(y) != len(x):
        raise UsageError(f"The function gave shape {y.shape} for {len(x):,} points; expected ({len(x):,}, outputs).")
    if names is not None and not np.isfinite(y).all():
        row, column = np.argwhere(~np.isfinite(y))[0]
        place = ", ".join(f"{name} = {v:.17g}" for name, v in zip(names, x[row], strict=True))
        raise UsageError(
            f"The function is {y[row, column]} at {place} (output {column}): choose a box where it is finite."
        )
    return y


def input_names(names: Sequence[str] | None, n: int) -> tuple[str, ...]:
    """Given names of n inputs, or ``x[0]``, ``x[1]`` ..."""
    if names is None:
        return tuple(f"x[{i}]" for i in range(n))
    if len(names) != n:
        raise UsageError(f"There are {len(names)} names for the {n} sides of the box: give one name per input.")
    return tuple(names)


def checked_data(data: tuple[np.ndarray, np.ndarray] | None, n: int) -> tuple[np.ndarray, np.ndarray] | None:
    """Data as float64 arrays (N, n) and (N, outputs)."""
    if data is None:
        return None
    try:
        x, y = (np.atleast_1d(np.asarray(part, np.float64)) for part in data)
    except (TypeError, ValueError):
        raise UsageError("The data is not a pair (x, y) of arrays of numbers.") from None
    x, y = x.reshape(len(x), -1), y.reshape(len(y), -1)
    if len(x) != len(y) or x.shape[1] != n:
        raise UsageError(
            f"The data has x of shape {x.shape} and y of shape {y.shape}; expected as many rows in both, and {n} "
            "columns of x, one per side of the box."
        )
    if not (np.isfinite(x).all() and np.isfinite(y).all()):
        raise UsageError("The data has numbers that are not finite: leave those rows out.")
    return x, y


def enlarged(box: Sides, factor: float = 2.0) -> Sides:
    """The box with each side `factor` times as long, about the same middle."""
    return tuple(((lo + hi - factor * (hi - lo)) / 2, (lo + hi + factor * (hi - lo)) / 2) for lo, hi in box)


def inside(x: np.ndarray, box: Sides) -> np.ndarray:
    """(N,) whether each point lies in the box."""
    low, high = np.array(box).T
    return ((x >= low) & (x <= high)).all(1)


def net_scores(f: Function, p: Function, box: Sides, around: Sides, seed: int) -> tuple[Score, ...]:
    """Scores against the net at fresh points, inside and outside."""
    draw = np.random.default_rng([seed, 1])
    low, high = np.array(box).T
    within = low + (high - low) * basis.spread(len(box), FRESH, draw)
    beyond = outer_points(box, around, draw)
    y = values(f, beyond, None)
    fine = np.isfinite(y).all(1)
    where = " x ".join(f"[{lo:g}, {hi:g}]" for lo, hi in around)
    return (
        score(p, within, values(f, within, input_names(None, len(box))), "net", "inside",
              f"{FRESH:,} fresh points, evenly spread"),
        score(p, beyond[fine], y[fine], "net", "outside",
              f"{FRESH:,} fresh points of {where} outside the box", int((~fine).sum())),
    )  # fmt: skip


def outer_points(box: Sides, around: Sides, draw: np.random.Generator) -> np.ndarray:
    """Points of the larger box, uniform, that are not in the smaller one."""
    low, high = np.array(around).T
    kept: list[np.ndarray] = []
    for _ in range(64):
        x = low + (high - low) * draw.random((2 * FRESH, len(box)))
        kept.append(x[~inside(x, box)])
        if sum(map(len, kept)) >= FRESH:
            break
    else:
        raise UsageError(f"The box for points outside, {around}, has next to nothing outside the fitted box, {box}.")
    return np.concatenate(kept)[:FRESH]


def score(
    p: Function, x: np.ndarray, y: np.ndarray, against: Literal["net", "data"], where: Literal["inside", "outside"],
    how: str, undefined: int = 0,
) -> Score:  # fmt: skip
    """p held against given values."""
    outputs, n = y.shape[1], x.shape[1]
    if not len(x):
        nothing = np.full(outputs, np.nan)
        return Score(against, where, how, 0, undefined, nothing, nothing, nothing, np.full((outputs, n), np.nan))
    error = np.abs(p(x) - y)
    square = (error**2).mean(0)
    spread = ((y - y.mean(0)) ** 2).mean(0)
    r2 = np.where(spread > 0, 1 - square / np.where(spread > 0, spread, 1.0), np.nan)
    worst = error.argmax(0)
    return Score(
        against, where, how, len(x), undefined, r2, np.sqrt(square), error[worst, np.arange(outputs)], x[worst]
    )  # fmt: skip


def data_scores(p: Function, data: tuple[np.ndarray, np.ndarray], box: Sides) -> tuple[Score, ...]:
    """Scores against data, inside the box and outside it."""
    x, y = data
    where = inside(x, box)
    count = f"{len(x):,} points of the data"
    return (
        score(p, x[where], y[where], "data", "inside", f"{int(where.sum()):,} of {count}"),
        score(p, x[~where], y[~where], "data", "outside", f"{int((~where).sum()):,} of {count}"),
    )
