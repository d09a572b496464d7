"""What the pieces of a formula add up to: range, mean, variance, slopes, sensitivities; exact, not sampled.

A piecewise-affine function f over a box is cut into *cells*: the pieces of a line, or the triangles of each region's
fan. On a cell of dimension d with vertex values f_0 .. f_d, and x uniform on it::

    E[f] = (f_0 + ... + f_d) / (d + 1),      E[f^2] = ((f_0 + ... + f_d)^2 + f_0^2 + ... + f_d^2) / ((d + 1)(d + 2))

so that every expectation over the box is a sum over cells, weighted by length or area. The variance is the second
moment of f - E[f], a sum of terms that are never negative, so that nothing cancels.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from weightwalk.errors import UsageError
from weightwalk.formulas.certificate import LIMIT, Certificate, Check
from weightwalk.formulas.piecewise import PiecewiseNet
from weightwalk.formulas.planes.partition import Partition

if TYPE_CHECKING:
    from weightwalk.formulas.lines.line import Line

FALSE_ALARM = 1e-9
"""Probability with which fresh points fail an exact mean or variance: the bound behind those checks is Hoeffding's."""


@dataclass(frozen=True, eq=False)
class Cells:
    """Simplices that tile a box, with a function that is affine on each.

    Attributes:
        net: The function: a net of d numbers.
        box: ((least, greatest) of each coordinate), d of them.
        corners: (T, d + 1, d) vertices of each cell.
        values: (T, d + 1, outputs) of the function there.
        measures: (T,) length (d = 1) or area (d = 2).
        piece: (T,) the region, or the piece of the line, to which each cell belongs.
        slopes: (R, outputs, d) of each piece.
        merged: (R,) the maximal affine piece to which each piece belongs.
        certificate: Of the partition or the line.
    """

    net: PiecewiseNet
    box: tuple[tuple[float, float], ...]
    corners: np.ndarray
    values: np.ndarray
    measures: np.ndarray
    piece: np.ndarray
    slopes: np.ndarray
    merged: np.ndarray
    certificate: Certificate

    @cached_property
    def total(self) -> float:
        """Length or area of all cells together."""
        return math.fsum(self.measures)

    @cached_property
    def volume(self) -> float:
        """Length or area of the box."""
        return math.prod(hi - lo for lo, hi in self.box)

    @cached_property
    def weights(self) -> np.ndarray:
        """(T,) share of each cell."""
        return self.measures / self.total

    @cached_property
    def shares(self) -> np.ndarray:
        """(R,) share of each piece."""
        return np.bincount(self.piece, self.weights, len(self.slopes))


def cells(of: Partition | Line) -> Cells:
    """The cells of a partition (its regions, each cut into a fan of triangles) or of a line (its pieces).

    Raises:
        UsageError: The partition is of the whole plane, the line is infinite, or the partition has no maps.
    """
    return _triangles(of) if isinstance(of, Partition) else _segments(of)


def _triangles(of: Partition) -> Cells:
    if of.box is None:
        raise UsageError(
            "These are the regions of the whole plane, where a mean has no meaning: enumerate them in a box, "
            "such as box=((-1, 1), (-1, 1))."
        )
    if len(of.slopes) != of.activation_regions:
        raise UsageError("These regions were enumerated without their affine maps: ask for them with maps=True.")
    sizes = np.diff(of.start)
    # triangle (first, i, i + 1) for i = 1 .. size - 2 of each ring
    middle = np.ones(len(of.ring), bool)
    middle[of.start[:-1][sizes > 0]] = False
    middle[of.start[1:][sizes > 0] - 1] = False
    at = np.flatnonzero(middle)
    piece = of.region[at]
    rings = of.ring[np.stack([of.start[piece], at, at + 1], 1)]
    corners = of.vertices[rings]
    a, b = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    areas = (a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]) / 2
    return Cells(of.net, of.box, corners, of.values[rings], areas, piece, of.slopes, of.affine, of.certificate)


def _segments(of: Line) -> Cells:
    if not (math.isfinite(of.start) and math.isfinite(of.end)):
        raise UsageError(
            f"The line runs from {of.start:g} to {of.end:g}, where a mean has no meaning: give it two finite ends."
        )
    at, y = of.extremes
    slopes = of.slopes[..., None]
    return Cells(
        net=of.net,
        box=((float(of.start), float(of.end)),),
        corners=np.stack([at[:-1], at[1:]], 1)[..., None],
        values=np.stack([y[:-1], y[1:]], 1),
        measures=np.diff(at),
        piece=np.arange(len(slopes)),
        slopes=slopes,
        merged=np.concatenate([[0], np.cumsum(of.bends)]),
        certificate=of.certificate,
    )


@dataclass(frozen=True, eq=False)
class Summary:
    """What a piecewise-affine function does over a box, x uniform; exact up to rounding. Arrays are per output.

    Attributes:
        inputs: Names of the d coordinates.
        outputs: Names of the outputs.
        box: ((least, greatest) of each coordinate).
        pieces: Regions, or pieces of the line.
        least: (outputs,) least value. A piecewise-affine function attains it at a vertex.
        least_at: (outputs, d) such a vertex.
        greatest: (outputs,) greatest value.
        greatest_at: (outputs, d) such a vertex.
        mean: (outputs,).
        variance: (outputs,).
        lipschitz: (outputs,) greatest Euclidean length of the slope: the least L with |f(x) - f(x')| <= L |x - x'| in
            the box, because the straight way between two points of a box stays in it.
        lipschitz_piece: (outputs,) a piece with that slope.
        steepest: (outputs, d) greatest |df/dx_i|.
        steepest_piece: (outputs, d) a piece with it.
        slope_mean: (outputs, d) E[df/dx_i].
        slope_size: (outputs, d) E|df/dx_i|.
        slope_square: (outputs, d) nu_i = E[(df/dx_i)^2], the derivative-based global sensitivity measure.
        shares: (R,) share of the box on which each piece holds.
        merged_shares: (M,) the same of each maximal affine piece.
        certificate: The checks of the partition or the line, and those of this summary.
    """

    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    box: tuple[tuple[float, float], ...]
    pieces: int
    least: np.ndarray
    least_at: np.ndarray
    greatest: np.ndarray
    greatest_at: np.ndarray
    mean: np.ndarray
    variance: np.ndarray
    lipschitz: np.ndarray
    lipschitz_piece: np.ndarray
    steepest: np.ndarray
    steepest_piece: np.ndarray
    slope_mean: np.ndarray
    slope_size: np.ndarray
    slope_square: np.ndarray
    shares: np.ndarray = field(repr=False)
    merged_shares: np.ndarray = field(repr=False)
    certificate: Certificate = field(repr=False)

    @property
    def deviation(self) -> np.ndarray:
        """(outputs,) standard deviation."""
        return np.sqrt(self.variance)

    @property
    def total_bounds(self) -> np.ndarray:
        """(outputs, d) upper bounds of the total Sobol' indices, ``nu_i (b_i - a_i)^2 / (pi^2 Var)``.

        Poincare's inequality on an interval (Sobol' and Kucherenko, 2009, doi:10.1016/j.matcom.2009.01.023). An input
        whose bound is small does not matter; a bound above 1 says nothing. nan for a constant output.
        """
        widths = np.array([hi - lo for lo, hi in self.box])
        with np.errstate(invalid="ignore", divide="ignore"):
            return self.slope_square * widths**2 / (np.pi**2 * self.variance[:, None])


def summary(of: Partition | Line, *, points: int = 4096, seed: int = 0) -> Summary:
    """Range, mean, variance, steepest slopes and sensitivities of a function given by its exact pieces.

    The slopes are those of pieces that have a length or an area: what holds only on a sliver that rounding closed is no
    slope of the function.

    Args:
        of: A partition of a box, or a line.
        points: Fresh points, drawn uniformly, at which the net itself is run to check range, mean and variance: no
            value may leave the range, and mean and variance must lie within Hoeffding's bound for a false alarm of
            1e-9. 0 leaves these checks out.
        seed: Of the fresh points.

    Raises:
        UsageError: The partition is of the whole plane, the line is infinite, or the pieces have no size.

    Example:
        >>> from weightwalk.formulas.lines.line import line
        >>> from weightwalk.formulas.piecewise import mlp
        >>> size = mlp([np.array([[1.0], [-1.0]]), np.array([[1.0, 1.0]])], [np.zeros(2), np.zeros(1)])  # |x|
        >>> found = summary(line(size, -1.0, 1.0))
        >>> found.mean.tolist(), found.lipschitz.tolist(), found.certificate.ok
        ([0.5], [1.0], True)
    """
    parts = cells(of)
    if not parts.total > 0:
        raise UsageError(f"The pieces have a total size of {parts.total:g}: there is nothing to integrate over.")
    w, slopes = parts.shares, parts.slopes
    mean = _expect(parts.weights, parts.values.mean(1))
    away = parts.values - mean
    corners = away.shape[1]
    variance = _expect(parts.weights, (away.sum(1) ** 2 + (away**2).sum(1)) / (corners * (corners + 1)))
    lengths = np.where((w > 0)[:, None], np.sqrt((slopes**2).sum(2)), -1.0)
    sizes = np.where((w > 0)[:, None, None], np.abs(slopes), -1.0)
    values, places = parts.values.reshape(-1, parts.values.shape[2]), parts.corners.reshape(-1, parts.corners.shape[2])
    low, high = values.argmin(0), values.argmax(0)
    outputs = np.arange(values.shape[1])
    least, greatest = values[low, outputs], values[high, outputs]
    return Summary(
        inputs=parts.net.inputs,
        outputs=parts.net.outputs,
        box=parts.box,
        pieces=len(slopes),
        least=least,
        least_at=places[low],
        greatest=greatest,
        greatest_at=places[high],
        mean=mean,
        variance=variance,
        lipschitz=lengths.max(0),
        lipschitz_piece=lengths.argmax(0),
        steepest=sizes.max(0),
        steepest_piece=sizes.argmax(0),
        slope_mean=_expect(w, slopes),
        slope_size=_expect(w, np.abs(slopes)),
        slope_square=_expect(w, slopes**2),
        shares=w,
        merged_shares=np.bincount(parts.merged, w),
        certificate=Certificate(
            (*parts.certificate.checks, *_checks(parts, points, seed, least, greatest, mean, variance)), seed
        ),
    )


def _expect(weights: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Sum of w_k v_k over the first axis; pairwise, which NumPy does along contiguous memory only."""
    terms = np.ascontiguousarray((values.reshape(len(values), -1) * weights[:, None]).T)
    return terms.sum(1).reshape(values.shape[1:])


def _checks(
    parts: Cells,
    points: int,
    seed: int,
    least: np.ndarray,
    greatest: np.ndarray,
    mean: np.ndarray,
    variance: np.ndarray,
) -> list[Check]:
    """The sizes of all cells against the box, and fresh points against range, mean and variance."""
    gap = abs(parts.total - parts.volume) / parts.volume
    found = [Check("size of all pieces against the box, relative", gap, "<= 1e-9", gap <= 1e-9)]
    if not points:
        return found
    low, high = np.array(parts.box).T
    y = parts.net(low + (high - low) * np.random.default_rng(seed).random((points, len(low))))
    size = max(np.abs(least).max(), np.abs(greatest).max(), 1e-300)
    outside = float(max((least - y).max(), (y - greatest).max(), 0.0))
    found.append(
        Check(f"farthest of {points:,} fresh points outside the range", outside, f"<= {LIMIT:g} x {size:.3g}",
              outside <= LIMIT * size)
    )  # fmt: skip
    # Hoeffding: P(|sample mean - mean| >= t) <= 2 exp(-2 N t^2 / width^2); shared out over the outputs and two checks
    each = math.sqrt(math.log(4 * len(mean) / FALSE_ALARM) / (2 * points))
    slack = LIMIT * size
    for what, sample, exact, width in (
        ("mean", y.mean(0), mean, greatest - least),
        ("variance", ((y - mean) ** 2).mean(0), variance, np.maximum(greatest - mean, mean - least) ** 2),
    ):
        bound = each * width + slack * np.maximum(1.0, width)
        ratio = float((np.abs(sample - exact) / bound).max())
        found.append(
            Check(f"{what} against {points:,} fresh points, over Hoeffding's bound", ratio,
                  f"<= 1 (false alarm {FALSE_ALARM:g})", ratio <= 1)
        )  # fmt: skip
    return found
