"""The best polynomial in place of a piecewise-affine function: no sampling, and a worst error that is proven.

In the orthonormal Legendre basis the polynomial that minimises the mean of (p - f)^2 over the box has the coefficients
``c_t = E[f phi_t]``. On a cell of the exact formula f is affine and phi_t a polynomial, so that a Gauss rule of enough
points gives each integral without error; and by Parseval ``E[(p - f)^2] = Var f - sum of c_t^2``, t = 0 left out.

The worst error is enclosed from both sides. The greatest |p - f| at corners of cells is one that occurs. Within a cell
with corners v_i and x = sum l_i v_i, only p bends, so that p - f is off the interpolation of its corner values by ::

    M / 2 sum_i l_i |x - v_i|^2 = M / 2 sum_(i < j) l_i l_j |v_i - v_j|^2 <= M L^2 / 8 (segment), M L^2 / 6 (triangle)

at most, with L the longest edge and M the greatest second derivative of p in any direction. Cells for which that is
too coarse are cut into smaller ones. M in its turn is bounded by its values at Chebyshev nodes: a polynomial of degree
n is nowhere larger than its greatest value at the N > n zeros of T_N, over cos(n pi / 2N) (Ehlich and Zeller, 1964,
doi:10.1007/BF01111276).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.polynomial import legendre as series

from weightwalk.formulas.certificate import LIMIT, Certificate, Check
from weightwalk.formulas.fits import basis
from weightwalk.formulas.fits.basis import Kind
from weightwalk.formulas.fits.scores import FRESH, Score, enlarged, net_scores, score
from weightwalk.formulas.fits.surrogates import CHUNK, MEMORY, Surrogate, evaluate, plain_error
from weightwalk.formulas.integrals.summary import FALSE_ALARM, Cells, Summary, cells, summary
from weightwalk.formulas.planes.partition import Partition

if TYPE_CHECKING:
    from weightwalk.formulas.lines.line import Line

CLOSE = 1.01
"""The proven bound is refined until it is this close to the worst error found."""

ROUNDS = 24
GROWTH = 2**18
"""Refinement stops when it would need more cells than this: the bound is then as it is."""


@dataclass(frozen=True, eq=False)
class Enclosure:
    """Where the greatest |p - f| of one output lies.

    Attributes:
        found: The greatest that was found.
        at: (d,) there.
        bound: What it is proven not to exceed.
    """

    found: float
    at: np.ndarray
    bound: float


def legendre_surrogate(
    of: Partition | Line, degree: int, kind: Kind = "total", *, seed: int = 0, memory: int = MEMORY
) -> Surrogate:
    """The polynomial of least mean squared error over the box, exactly.

    Its score inside is exact too: R^2 and RMSE by Parseval, the worst error as found and as proven. R^2 is exact to
    about 1e-15, so that an RMSE below 1e-8 standard deviations is not told from zero. The score outside is taken at
    fresh points, as for any surrogate. `condition` is 1: nothing is solved for.

    Args:
        of: A partition of a box, or a line.
        degree: Greatest degree.
        kind: ``"total"`` or ``"per-input"``.
        seed: Of the fresh points.
        memory: Bytes that the change to plain coefficients may take.

    Raises:
        UsageError: The whole plane or an infinite line, a negative degree, or too many terms.
    """
    basis.checked_seed(seed)
    parts = cells(of)
    d = len(parts.box)
    basis.checked(degree, kind, d, memory)
    moments = summary(of, points=0)
    powers = basis.exponents(d, degree, kind)
    found = project(parts, powers, moments.mean)
    exact = _exact_score(parts, moments, powers, found)
    p = lambda x: evaluate(x, parts.box, powers, found)  # noqa: E731
    _, outer = net_scores(parts.net, p, parts.box, enlarged(parts.box), seed)
    # points drawn independently of each other, as Hoeffding's bound wants them; evenly spread ones are not
    low, high = np.array(parts.box).T
    x = low + (high - low) * np.random.default_rng([seed, 7]).random((FRESH, d))
    fresh = score(p, x, parts.net(x), "net", "inside", f"{FRESH:,} fresh points")
    size = float(max(np.abs(moments.least).max(), np.abs(moments.greatest).max(), 1e-300))
    coefficients = basis.plain(parts.box, powers, found)
    error = plain_error(parts.box, powers, coefficients, found, seed)
    return Surrogate(
        inputs=parts.net.inputs,
        outputs=parts.net.outputs,
        box=parts.box,
        outside_box=enlarged(parts.box),
        degree=degree,
        kind=kind,
        exponents=powers,
        coefficients=coefficients,
        legendre=found,
        plain_error=error,
        points=f"exact integrals over {moments.pieces:,} pieces",
        condition=1.0,
        scores=(exact, outer),
        net_scores=(),
        certificate=Certificate((*moments.certificate.checks, *_checks(exact, fresh, error, size)), seed),
    )


def _exact_score(parts: Cells, moments: Summary, powers: np.ndarray, found: np.ndarray) -> Score:
    """R^2 and RMSE inside by Parseval, the worst error as found and as proven."""
    residual = np.maximum(moments.variance - (found[1:] ** 2).sum(0), 0.0)
    with np.errstate(divide="ignore", invalid="ignore"):
        r2 = np.where(moments.variance > 0, 1 - residual / moments.variance, np.nan)
    corners = parts.corners.reshape(-1, len(parts.box))
    start = evaluate(corners, parts.box, powers, found).reshape(parts.values.shape)
    worst = [enclose(parts, powers, found[:, [o]], start[..., o], o) for o in range(found.shape[1])]
    return Score(
        against="net",
        where="inside",
        how=f"exactly, from {moments.pieces:,} pieces",
        points=0,
        undefined=0,
        r2=r2,
        rmse=np.sqrt(residual),
        worst=np.array([w.found for w in worst]),
        worst_at=np.stack([w.at for w in worst]),
        bound=np.array([w.bound for w in worst]),
    )


def project(parts: Cells, powers: np.ndarray, mean: np.ndarray) -> np.ndarray:
    """(T, outputs) ``E[f phi_t]``, with f - mean integrated, because the mean is orthogonal to all terms but one."""
    d, outputs = len(parts.box), len(mean)
    degree = int(powers.max())
    corner, weight = rule(d, int(powers.sum(1).max()) + 1)  # (Q, d + 1) barycentric, (Q,)
    step = max(1, CHUNK // (len(weight) * (degree + 2) * d))
    sums = np.zeros((outputs, *[degree + 1] * d))
    for i in range(0, len(parts.weights), step):
        some = slice(i, i + step)
        x = (corner @ parts.corners[some]).reshape(-1, d)
        y = (corner @ (parts.values[some] - mean)).reshape(len(x), outputs)
        y *= (parts.weights[some, None] * weight).reshape(-1, 1)
        u = basis.unit(x, parts.box)
        first = basis.legendre(u[:, 0], degree)
        last = basis.legendre(u[:, 1], degree) if d == 2 else None
        for o in range(outputs):
            sums[o] += first @ y[:, o] if last is None else (first * y[:, o]) @ last.T
    found = np.stack([sums[o][tuple(powers.T)] for o in range(outputs)], 1)
    found[0] += mean
    return found


def rule(d: int, degree: int) -> tuple[np.ndarray, np.ndarray]:
    """Barycentric points (Q, d + 1) and weights (Q,) whose sum is the mean over a simplex, exact for that degree.

    On the triangle it is the product rule that collapses a square: ``x = v_0 + s ((1 - t)(v_1 - v_0) + t (v_2 - v_0))``
    has the Jacobian s, for which Gauss-Jacobi's rule in s is made.
    """
    count = degree // 2 + 1
    nodes, weights = series.leggauss(count)
    t, wt = (nodes + 1) / 2, weights / 2
    if d == 1:
        return np.stack([1 - t, t], 1), wt
    from scipy.special import roots_jacobi

    nodes, weights = roots_jacobi(count, 0.0, 1.0)
    s, ws = (nodes + 1) / 2, weights / 2
    s, t = (grid.ravel() for grid in np.meshgrid(s, t, indexing="ij"))
    return np.stack([1 - s, s * (1 - t), s * t], 1), np.outer(ws, wt).ravel()


def bending(box: basis.Sides, powers: np.ndarray, coefficients: np.ndarray) -> float:
    """A bound of the second derivative of p in any direction, anywhere in the box; coefficients (T,)."""
    degree, d = int(powers.max()), len(box)
    if degree == 0:
        return 0.0
    count = max(16, 8 * degree) if d == 1 else max(16, 6 * degree)
    nodes = np.cos(np.pi * (np.arange(count) + 0.5) / count)
    norms = np.sqrt(2 * np.arange(degree + 1) + 1.0)
    table = [series.legval(nodes, series.legder(np.diag(norms), k)) if k <= degree else 0 * nodes for k in range(3)]
    tables = [np.zeros((degree + 1, count)) + part for part in table]  # (degree + 1, count): each derivative of phi
    scale = [2 / (hi - lo) for lo, hi in box]
    c = np.zeros([degree + 1] * d)
    c[tuple(powers.T)] = coefficients
    reach = 1 / math.cos(degree * math.pi / (2 * count)) ** d
    if d == 1:
        return reach * float(np.abs(c @ tables[2]).max()) * scale[0] ** 2
    xx, xy, yy = (tables[i].T @ c @ tables[2 - i] * scale[0] ** i * scale[1] ** (2 - i) for i in (2, 1, 0))
    size = np.abs(xx + yy) / 2 + np.hypot((xx - yy) / 2, xy)  # the greatest |eigenvalue|
    return reach * float(size.max())


def enclose(parts: Cells, powers: np.ndarray, coefficients: np.ndarray, start: np.ndarray, output: int) -> Enclosure:
    """The greatest |p - f| of one output, found and proven.

    Args:
        parts: The cells of f.
        powers: (T, d) exponents of p.
        coefficients: (T, 1) of p.
        start: (cells, d + 1) p at the corners.
        output: Which output of f.
    """
    m = bending(parts.box, powers, coefficients[:, 0])
    real = parts.measures > 0
    corners, values = parts.corners[real], parts.values[real, :, output]
    d = corners.shape[2]

    def error(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        return np.abs(evaluate(x.reshape(-1, d), parts.box, powers, coefficients)[:, 0].reshape(y.shape) - y)

    off = np.abs(start[real] - values)
    found, at, settled = -1.0, corners[0, 0], 0.0
    for step in range(ROUNDS + 1):
        best = np.unravel_index(off.argmax(), off.shape)
        if off[best] > found:
            found, at = float(off[best]), corners[best]
        bounds = off.max(1) + m * _longest(corners) ** 2 / (8 if d == 1 else 6)
        coarse = bounds > CLOSE * found
        settled = max(settled, float(bounds[~coarse].max(initial=0.0)))
        last = step == ROUNDS or coarse.sum() * 2**d > GROWTH
        if last or not coarse.any():
            return Enclosure(found, at, max(settled, float(bounds[coarse].max(initial=0.0))))
        corners, values, off = halved(corners[coarse], values[coarse], off[coarse], error)
    raise AssertionError("the last round returns")


def _longest(corners: np.ndarray) -> np.ndarray:
    """(T,) longest edge of each cell."""
    edges = corners - np.roll(corners, 1, axis=1)
    return np.sqrt((edges**2).sum(2).max(1))


def halved(corners: np.ndarray, values: np.ndarray, off: np.ndarray, error) -> tuple[np.ndarray, ...]:
    """Each cell cut at the middles of its edges, into 2 segments or 4 triangles, with values and errors there."""
    other = np.roll(np.arange(corners.shape[1]), -1)
    if corners.shape[1] == 2:
        middle, between = corners.mean(1, keepdims=True), values.mean(1, keepdims=True)
        pick = [[0, 2], [2, 1]]
    else:
        middle, between = (corners + corners[:, other]) / 2, (values + values[:, other]) / 2
        pick = [[0, 3, 5], [3, 1, 4], [5, 4, 2], [3, 4, 5]]
    parts = (
        np.concatenate([old, new], 1)[:, pick]
        for old, new in ((corners, middle), (values, between), (off, error(middle, between)))
    )
    return tuple(part.reshape(-1, *part.shape[2:]) for part in parts)


def _checks(exact: Score, fresh: Score, error: float, size: float) -> tuple[Check, ...]:
    """The exact score against fresh points, by Hoeffding's bound, and the plain coefficients; `size` is max |f|."""
    assert exact.bound is not None
    over = max(float((fresh.worst - exact.bound).max()), 0.0)
    slack = math.sqrt(math.log(2 * len(exact.r2) / FALSE_ALARM) / (2 * FRESH)) * exact.bound**2 + (LIMIT * size) ** 2
    ratio = float((np.abs(fresh.rmse**2 - exact.rmse**2) / slack).max())
    return (
        Check(f"excess of the error at {fresh.points:,} fresh points over the proven bound", over,
              f"<= {LIMIT:g} x {size:.3g}", over <= LIMIT * size),
        Check(f"mean squared error at {fresh.points:,} fresh points, over Hoeffding's bound", ratio,
              f"<= 1 (false alarm {FALSE_ALARM:g})", ratio <= 1),
        Check("greatest |plain coefficients - Legendre| in the box, relative", error, "<= 1e-6", error <= 1e-6),
    )  # fmt: skip
