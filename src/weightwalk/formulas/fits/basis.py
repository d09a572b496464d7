"""Polynomials on a box: Legendre's, which are orthonormal there, and plain powers, which people read.

On one side [a, b] of the box, with u = (2 x - a - b) / (b - a)::

    phi_k(x) = sqrt(2 k + 1) P_k(u),      E[phi_j phi_k] = 1 if j = k else 0,   x uniform on [a, b]

and a term of n inputs is a product of n of them. Because the terms are orthonormal, a mean of squares is a sum of
squared coefficients, and a least-squares fit over points spread evenly is well conditioned.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction
from typing import Literal

import numpy as np

from weightwalk.errors import UsageError

Kind = Literal["total", "per-input"]
Sides = tuple[tuple[float, float], ...]

DEGREE = 128
"""Greatest degree that is fitted."""


def terms(n: int, degree: int, kind: Kind) -> int:
    """Number of terms: C(n + degree, n) of that total degree, (degree + 1)^n of that degree in each input.

    Example:
        >>> terms(2, 8, "total"), terms(2, 8, "per-input")
        (45, 81)
    """
    return math.comb(n + degree, n) if kind == "total" else (degree + 1) ** n


def exponents(n: int, degree: int, kind: Kind) -> np.ndarray:
    """(T, n) degree of each input in each term, by total degree, earlier inputs first.

    Example:
        >>> exponents(2, 2, "total").tolist()
        [[0, 0], [1, 0], [0, 1], [2, 0], [1, 1], [0, 2]]
    """
    rows = np.zeros((1, 0), np.int64)
    for _ in range(n):
        count = len(rows)
        rows = np.column_stack([np.repeat(rows, degree + 1, 0), np.tile(np.arange(degree + 1), count)])
        if kind == "total":
            rows = rows[rows.sum(1) <= degree]
    return rows[np.lexsort((*(-rows[:, i] for i in reversed(range(n))), rows.sum(1)))]


def checked(degree: int, kind: str, n: int, memory: int, rows: int = 1) -> int:
    """The number of terms, once they are known to be sensible.

    Args:
        degree: Greatest degree.
        kind: ``"total"`` or ``"per-input"``.
        n: Number of inputs.
        memory: Bytes that the fit may take.
        rows: Least number of points per term.

    Raises:
        UsageError: A negative degree, an unknown kind, or more terms than `memory` holds.
    """
    if isinstance(degree, bool) or not isinstance(degree, (int, np.integer)) or degree < 0:
        raise UsageError(f"The degree is {degree!r}, but a polynomial has a whole degree of 0 or more: try degree=3.")
    if kind not in ("total", "per-input"):
        raise UsageError(f"The kind is {kind!r}, but terms are counted by 'total' degree or by degree 'per-input'.")
    if degree > DEGREE:
        raise UsageError(f"The degree is {degree}, but beyond {DEGREE} a polynomial is no formula: take a lower one.")
    count = terms(n, degree, kind)
    if count * count * rows * 16 > memory:
        lower = next((d for d in range(degree - 1, 0, -1) if terms(n, d, "total") ** 2 * rows * 16 <= memory), None)
        cure = f"degree={lower}, kind='total' has {terms(n, lower, 'total'):,}" if lower else "fix most of the inputs"
        raise UsageError(
            f"A polynomial of {n} inputs of {kind} degree {degree} has {count:,} terms, and fitting them would take "
            f"about {count * count * rows * 16 / 2**30:,.1f} GiB of the {memory / 2**30:,.1f} allowed: {cure}, or "
            "raise memory=."
        )
    return count


def checked_seed(seed: int) -> None:
    """Refuse a negative seed."""
    if seed < 0:
        raise UsageError(f"seed={seed}, but a seed is 0 or more.")


def sides(box: Sequence[Sequence[float]]) -> Sides:
    """A box as pairs of floats.

    Raises:
        UsageError: It has no sides, or one that is not (least, greatest), finite, least < greatest.
    """
    try:
        pairs = tuple((float(lo), float(hi)) for lo, hi in box)
    except (TypeError, ValueError):
        raise UsageError(f"The box is {box!r}; it takes one (least, greatest) per input: ((-1, 1), (0, 5)).") from None
    if not pairs:
        raise UsageError("The box has no sides: give one (least, greatest) per input, such as ((-1, 1), (0, 5)).")
    for i, (lo, hi) in enumerate(pairs):
        if not (math.isfinite(lo) and math.isfinite(hi) and lo < hi):
            raise UsageError(f"Side {i} of the box runs from {lo:g} to {hi:g}: it is empty; give (least, greatest).")
    return pairs


def spread(n: int, count: int, seed: int | np.random.Generator, latin: bool = False) -> np.ndarray:
    """Points spread evenly over the unit cube: scrambled Sobol' points, or a Latin hypercube.

    Sobol' points come in powers of two, at which they are balanced; there may be more of them than asked for. Beyond
    SciPy's 21,201 dimensions of them it is a Latin hypercube.
    """
    try:
        from scipy.stats import qmc
    except ImportError as error:
        raise UsageError("Evenly spread points need SciPy: pip install 'weightwalk[formulas]'.") from error
    if latin or n > qmc.Sobol.MAXDIM:
        return qmc.LatinHypercube(n, seed=seed).random(count)  # pyright: ignore[reportCallIssue] - SciPy before 1.15
    return qmc.Sobol(n, scramble=True, seed=seed).random_base2((count - 1).bit_length())  # pyright: ignore[reportCallIssue]


def legendre(u: np.ndarray, degree: int) -> np.ndarray:
    """phi_0 .. phi_degree at u in [-1, 1]: (degree + 1, N), by Bonnet's recurrence."""
    out = np.empty((degree + 1, *u.shape))
    out[0] = 1.0
    if degree:
        out[1] = u
    for k in range(1, degree):
        np.multiply(u, out[k], out=out[k + 1])
        out[k + 1] *= (2 * k + 1) / (k + 1)
        out[k + 1] -= out[k - 1] * (k / (k + 1))
    out *= np.sqrt(2 * np.arange(degree + 1) + 1.0).reshape(-1, *[1] * u.ndim)
    return out


def unit(x: np.ndarray, box: Sides) -> np.ndarray:
    """Points of the box, (N, n), as points of [-1, 1]^n."""
    low, high = np.array(box).T
    return (2 * x - (low + high)) / (high - low)


def design(x: np.ndarray, box: Sides, powers: np.ndarray) -> np.ndarray:
    """(N, T) every term at points x, (N, n)."""
    u = unit(x, box)
    out = np.ones((len(x), len(powers)))
    for i in range(len(box)):
        table = legendre(u[:, i], int(powers[:, i].max()))
        out *= table[powers[:, i]].T
    return out


def plain(box: Sides, powers: np.ndarray, coefficients: np.ndarray) -> np.ndarray:
    """Coefficients of x_0^e0 x_1^e1 ..., (T, outputs), from those of the Legendre terms.

    The change of basis is computed in rational arithmetic for each input and rounded once. A box so small that its
    powers leave the range of float64 gives coefficients that are not finite.
    """
    change = np.ones((len(powers), len(powers)))
    with np.errstate(over="ignore", invalid="ignore"):
        for i, side in enumerate(box):
            change *= _powers(side, int(powers[:, i].max()))[np.ix_(powers[:, i], powers[:, i])]
        return change.T @ coefficients


def powers_of(x: np.ndarray, powers: np.ndarray) -> np.ndarray:
    """(N, T) the plain terms at points x, (N, n)."""
    out = np.ones((len(x), len(powers)))
    for i in range(x.shape[1]):
        table = x[:, i, None] ** np.arange(int(powers[:, i].max()) + 1)
        out *= table[:, powers[:, i]]
    return out


def _powers(side: tuple[float, float], degree: int) -> np.ndarray:
    """(degree + 1, degree + 1): row k has the coefficients of phi_k in powers of x."""
    a, b = Fraction(side[0]), Fraction(side[1])
    scale, shift = 2 / (b - a), -(a + b) / (b - a)
    rows: list[list[Fraction]] = [[Fraction(1)], [shift, scale]]
    for k in range(1, degree):
        last = [*rows[k], Fraction(0)]
        moved = [shift * v + scale * w for v, w in zip(last, [Fraction(0), *rows[k]], strict=True)]
        before = [*rows[k - 1], Fraction(0), Fraction(0)]
        rows.append([((2 * k + 1) * v - k * w) / (k + 1) for v, w in zip(moved, before, strict=True)])
    out = np.zeros((degree + 1, degree + 1))
    for k in range(degree + 1):
        out[k, : k + 1] = [_float(v) * math.sqrt(2 * k + 1) for v in rows[k]]
    return out


def _float(value: Fraction) -> float:
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf
