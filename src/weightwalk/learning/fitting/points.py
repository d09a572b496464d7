"""A handful of points: who goes through them, and who would have foreseen them.

A curve that passes through all points has learned nothing by that. What tells memorising from generalising is the error
at a point that the curve has not seen: leave each point out in turn, fit to the others, and look.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from weightwalk.errors import UsageError
from weightwalk.learning.fitting.polynomials import checked, fit_polynomial
from weightwalk.learning.fitting.stacks import Progress, fit_many, started
from weightwalk.learning.fitting.tables import frame

if TYPE_CHECKING:
    import pandas

SIX = ((20.0, 200.0), (80.0, 150.0), (150.0, 180.0), (220.0, 100.0), (300.0, 120.0), (380.0, 40.0))
"""Six points, in pixels of a canvas, through which a web page on memorising draws its curves by hand."""

GROUPS = 20
"""Nets are fitted once per group of left-out rows: one row each up to so many rows, then so many groups."""


@dataclass(frozen=True, slots=True, eq=False)
class Curve:
    """One way to draw a curve through the points.

    Attributes:
        kind: ``"polynomial"``, ``"net"`` or ``"chain"`` (straight from each point to the next).
        size: Degree, or hidden units; 0 for the chain.
        parameters: Numbers that are fitted.
        rmse: Root mean squared error at the points; of nets, the median over seeds.
        rmse_range: (least, greatest) over seeds.
        loo: Leave-one-out error, root mean square over the points; of nets, the median over seeds. NaN where there is
            none.
        loo_range: (least, greatest) over seeds.
        condition: Of the least-squares problem; NaN for others.
        drawn: (curves, len(grid)) the curve of each seed.
    """

    kind: str
    size: int
    parameters: int
    rmse: float
    rmse_range: tuple[float, float]
    loo: float
    loo_range: tuple[float, float]
    condition: float
    drawn: np.ndarray = field(repr=False)


@dataclass(frozen=True, slots=True, eq=False)
class PointsFit:
    """Curves through points, by what they make of the points that they see and of those that they do not.

    Attributes:
        x: (N,) places, in increasing order.
        y: (N,) values.
        curves: Chain, polynomials, nets.
        grid: (G,) places at which the curves are drawn.
        groups: Groups of rows that were left out for nets; N where each row was one.
        seeds: Of the nets.
        recipe: How the nets were trained.
        passing: Curves with an error of less than a thousandth of y's standard deviation, as ``"polynomial 5"``.
        best: The curve with the least leave-one-out error.
    """

    x: np.ndarray
    y: np.ndarray
    curves: tuple[Curve, ...]
    grid: np.ndarray = field(repr=False)
    groups: int
    seeds: tuple[int, ...]
    recipe: str
    passing: tuple[str, ...]
    best: str

    def frame(self) -> pandas.DataFrame:
        """One row per curve."""
        return frame(
            {
                "kind": c.kind,
                "size": c.size,
                "parameters": c.parameters,
                "rmse": c.rmse,
                "rmse_least": c.rmse_range[0],
                "rmse_greatest": c.rmse_range[1],
                "leave_one_out": c.loo,
                "leave_one_out_least": c.loo_range[0],
                "leave_one_out_greatest": c.loo_range[1],
                "condition": c.condition,
            }
            for c in self.curves
        )


def name_of(curve: Curve) -> str:
    """``polynomial 4``, ``net 16``, ``chain``."""
    return curve.kind if curve.kind == "chain" else f"{curve.kind} {curve.size}"


def fit_points(
    points: Any = SIX,
    *,
    degrees: Sequence[int] | None = None,
    widths: Sequence[int] = (1, 4, 16, 64),
    seeds: Sequence[int] = range(5),
    epochs: int = 1500,
    lr: float = 0.02,
    progress: Progress | None = None,
) -> PointsFit:
    """Fit polynomials and nets to points, with the error at the points and the leave-one-out error.

    Args:
        points: (N, 2) or N pairs (x, y).
        degrees: Of polynomials; 0 to 5, as far as the points allow, unless said.
        widths: ReLU units of nets with one hidden layer; empty for none.
        seeds: Of the nets' initial weights.
        epochs: Full-batch updates of a net, by Adam, with its rate falling to 0 along half a cosine. Each net sees its
            training rows scaled to mean 0 and standard deviation 1.
        lr: Learning rate at the start.
        progress: Called with (done, in all).

    Raises:
        UsageError: Fewer than three points, numbers that are not finite, or a degree that the points cannot decide.

    Example:
        >>> found = fit_points(degrees=(1, 4, 5), widths=())
        >>> for curve in found.curves:
        ...     print(f"{name_of(curve)}: {curve.rmse:.2f} at the points, {curve.loo:.1f} at a point left out")
        chain: 0.00 at the points, 65.4 at a point left out
        polynomial 1: 23.65 at the points, 34.5 at a point left out
        polynomial 4: 21.02 at the points, 521.2 at a point left out
        polynomial 5: 0.00 at the points, nan at a point left out
        >>> found.best
        'polynomial 1'
    """
    x, y = _pairs(points)
    if len(np.unique(x)) < 3:
        raise UsageError(f"Leaving points out takes three points at different x, and here are {len(np.unique(x))}.")
    places = len(np.unique(x))
    wanted = tuple(range(min(6, places))) if degrees is None else tuple(degrees)
    margin = 0.04 * (x[-1] - x[0])
    grid = np.linspace(x[0] - margin, x[-1] + margin, 400)
    curves = [_chain(x, y, grid)]
    for degree in wanted:
        fit = fit_polynomial(x, y, degree)
        loo = fit.loo
        curves.append(
            Curve("polynomial", degree, degree + 1, fit.rmse, (fit.rmse, fit.rmse), loo, (loo, loo), fit.condition,
                  fit.curve(grid)[None])
        )  # fmt: skip
    group = np.arange(len(x)) % min(len(x), GROUPS)
    steps = len(widths)
    for i, width in enumerate(widths):
        tell = None if progress is None else lambda d, n, i=i: progress(i * n + d, steps * n)
        curves.append(_net(x, y, grid, width, list(seeds), group, epochs, lr, tell))
    spread = float(y.std()) or 1.0
    judged = [c for c in curves if np.isfinite(c.loo)]
    recipe = f"adam, lr {lr:g} falling to 0, {epochs:,} full-batch updates, rows scaled to mean 0 and deviation 1"
    return PointsFit(
        x, y, tuple(curves), grid, int(group.max()) + 1, tuple(int(s) for s in seeds), recipe if widths else "",
        tuple(name_of(c) for c in curves if c.rmse < 1e-3 * spread), name_of(min(judged, key=lambda c: c.loo)),
    )  # fmt: skip


def _pairs(points: Any) -> tuple[np.ndarray, np.ndarray]:
    try:
        table = np.asarray(points, np.float64)
    except (TypeError, ValueError):
        raise UsageError("Points are pairs of numbers, x and y.") from None
    if table.ndim != 2 or table.shape[1] != 2:
        raise UsageError(f"Points are pairs of numbers, of shape (N, 2); got shape {table.shape}.")
    x, y = checked(table[:, 0], table[:, 1])
    order = np.argsort(x, kind="stable")
    return x[order], y[order]


def _chain(x: np.ndarray, y: np.ndarray, grid: np.ndarray) -> Curve:
    """Straight from each point to the next; a left-out end is foreseen by the line through its two neighbours."""
    places, row = np.unique(x, return_inverse=True)
    count = np.bincount(row)
    level = np.bincount(row, y) / count
    errors = y - level[row]
    left_out = np.empty(len(x))
    for i in range(len(x)):
        rest = np.arange(len(x)) != i
        left_out[i] = y[i] - _along(x[rest], y[rest], x[i : i + 1])[0]
    loo = float(np.sqrt(np.mean(left_out**2)))
    rmse = float(np.sqrt(np.mean(errors**2)))
    return Curve("chain", 0, 2 * len(places), rmse, (rmse, rmse), loo, (loo, loo), np.nan, _along(x, y, grid)[None])


def _along(x: np.ndarray, y: np.ndarray, at: np.ndarray) -> np.ndarray:
    """The chain at some places, its end pieces prolonged; equal x are one point at their mean."""
    places, row = np.unique(x, return_inverse=True)
    level = np.bincount(row, y) / np.bincount(row)
    if len(places) == 1:
        return np.full(len(at), level[0])
    i = np.clip(np.searchsorted(places, at) - 1, 0, len(places) - 2)
    share = (at - places[i]) / (places[i + 1] - places[i])
    return level[i] + share * (level[i + 1] - level[i])


def _net(
    x: np.ndarray, y: np.ndarray, grid: np.ndarray, width: int, seeds: list[int], group: np.ndarray, epochs: int,
    lr: float, progress: Progress | None,
) -> Curve:  # fmt: skip
    """Nets of one width: on all rows, and without each group of rows."""
    sizes = (1, width, 1)
    full = _predict(x, y, [np.ones(len(x), bool)], [np.concatenate([x, grid])], sizes, seeds, epochs, lr, None)[0]
    rmse = np.sqrt(np.mean((full[:, : len(x)] - y) ** 2, axis=1))
    errors = np.empty((len(seeds), len(x)))
    groups = int(group.max()) + 1
    for size in sorted({int((group == g).sum()) for g in range(groups)}):  # groups of one size make one stack
        some = [g for g in range(groups) if (group == g).sum() == size]
        kept = [group != g for g in some]
        found = _predict(x, y, kept, [x[~k] for k in kept], sizes, seeds, epochs, lr, progress)
        for k, predicted in zip(kept, found, strict=True):
            errors[:, ~k] = predicted - y[~k]
    loo = np.sqrt(np.mean(errors**2, axis=1))
    return Curve(
        "net", width, 3 * width + 1, float(np.median(rmse)), (float(rmse.min()), float(rmse.max())),
        float(np.median(loo)), (float(loo.min()), float(loo.max())), np.nan, full[:, len(x) :],
    )  # fmt: skip


def _predict(
    x: np.ndarray, y: np.ndarray, kept: list[np.ndarray], at: list[np.ndarray], sizes: tuple[int, ...],
    seeds: list[int], epochs: int, lr: float, progress: Progress | None,
) -> list[np.ndarray]:  # fmt: skip
    """What nets say at some places, trained on some rows: for each set of rows (seeds, places)."""
    means = np.array([[x[k].mean(), y[k].mean()] for k in kept])
    scales = np.array([[x[k].std() or 1.0, y[k].std() or 1.0] for k in kept])

    def scaled(values: list[np.ndarray], column: int) -> np.ndarray:
        """(sets x seeds, rows, 1)."""
        rows = np.stack([(v - m) / s for v, m, s in zip(values, means[:, column], scales[:, column], strict=True)])
        return np.repeat(rows, len(seeds), axis=0)[:, :, None]

    nets = started(sizes, seeds) * len(kept)
    stack = fit_many(
        nets, scaled([x[k] for k in kept], 0), scaled([y[k] for k in kept], 1), lr=lr, epochs=epochs, decay=True,
        progress=progress,
    )  # fmt: skip
    said = stack(scaled(at, 0))[:, :, 0].reshape(len(kept), len(seeds), -1)
    return [said[i] * scales[i, 1] + means[i, 1] for i in range(len(kept))]
