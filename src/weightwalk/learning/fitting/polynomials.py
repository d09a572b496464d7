"""Least-squares polynomials, and what they would have said of each point had they not seen it."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.polynomial import Chebyshev

from weightwalk.errors import UsageError

FULL = 1e-10
"""A leverage nearer to 1 than this is 1: the curve goes through that point whatever its y."""


@dataclass(frozen=True, slots=True, eq=False)
class PolynomialFit:
    """A polynomial of some degree, fitted to points by least squares.

    Attributes:
        degree: Its degree; it has one coefficient more.
        rmse: Root mean squared error at the points.
        loo: Leave-one-out error: the root mean square, over the points, of the error at each point of the polynomial
            fitted to all the others. NaN where some point decides the curve's course at itself (leverage 1), as every
            point does when there are as many coefficients as points: without it there is no one polynomial.
        left_out: (N,) those errors, y - prediction.
        leverages: (N,) the diagonal of the hat matrix, between 0 and 1: how far each fitted value follows its own y.
            They add up to the number of coefficients.
        condition: Condition number of the least-squares problem in the Chebyshev basis of the points' own range.
        plain_condition: The same with powers of x as they stand, which is why those are not used.
        curve: The polynomial, a function of x.
    """

    degree: int
    rmse: float
    loo: float
    left_out: np.ndarray
    leverages: np.ndarray
    condition: float
    plain_condition: float
    curve: Chebyshev = field(repr=False)


def fit_polynomial(x: np.ndarray, y: np.ndarray, degree: int) -> PolynomialFit:
    """The polynomial of that degree with the least sum of squared errors.

    With H = V V⁺ the hat matrix of the basis V, the fit is Hy and the error of the fit without point i at point i is
    ``(y_i - ŷ_i) / (1 - H_ii)`` (Allen 1974), so that leaving each point out costs no further fit.

    Args:
        x: (N,) places.
        y: (N,) values.
        degree: 0 or more; less than the number of different places.

    Raises:
        UsageError: Fewer different places than coefficients, or numbers that are not finite.

    Example:
        >>> found = fit_polynomial(np.arange(5.0), np.array([0.0, 1, 4, 9, 16]), 2)
        >>> found.rmse < 1e-12, round(float(found.curve(10)), 9)
        (True, 100.0)
    """
    x, y = checked(x, y)
    places = len(np.unique(x))
    if not 0 <= degree < places:
        raise UsageError(
            f"A polynomial of degree {degree} has {degree + 1} coefficients, and there are {places} different x: "
            f"ask for degrees up to {places - 1}."
        )
    low, high = float(x.min()), float(x.max())
    domain = [low, high] if high > low else [low - 1, low + 1]
    t = (2 * x - domain[0] - domain[1]) / (domain[1] - domain[0])
    basis = np.polynomial.chebyshev.chebvander(t, degree)
    q, r = np.linalg.qr(basis)
    coefficients = np.linalg.solve(r, q.T @ y)
    leverages = np.clip((q * q).sum(axis=1), 0.0, 1.0)
    errors = y - q @ (q.T @ y)
    decided = 1 - leverages < FULL
    left_out = np.where(decided, np.nan, errors / np.where(decided, 1.0, 1 - leverages))
    rmse = float(np.sqrt(np.mean(np.square(errors))))
    with np.errstate(over="ignore", invalid="ignore"):
        plain = np.vander(x, degree + 1)
        wild = float(np.linalg.cond(plain)) if np.isfinite(plain).all() else float("inf")
    loo = float(np.sqrt(np.mean(np.square(left_out))))
    return PolynomialFit(
        degree, rmse, loo, left_out, leverages, float(np.linalg.cond(basis)), wild, Chebyshev(coefficients, domain)
    )


def checked(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Points as two float64 arrays.

    Raises:
        UsageError: They are no points, or not finite.
    """
    x, y = np.asarray(x, np.float64).reshape(-1), np.asarray(y, np.float64).reshape(-1)
    if len(x) != len(y) or len(x) == 0:
        raise UsageError(f"Points need as many x as y, and at least one; there are {len(x)} x and {len(y)} y.")
    bad = ~(np.isfinite(x) & np.isfinite(y))
    if bad.any():
        i = int(np.flatnonzero(bad)[0])
        raise UsageError(f"Point {i} is ({x[i]}, {y[i]}), and a curve is fitted to finite numbers: leave it out.")
    if max(np.abs(x).max(), np.abs(y).max()) > 1e100:
        raise UsageError("The points hold numbers above 1e100, whose squares leave float64: use another unit.")
    return x, y
