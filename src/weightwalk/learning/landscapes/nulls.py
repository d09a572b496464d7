"""What a random walk would show: how much of a path's variance two directions hold when no loss has shaped the path.

Principal components of a path look impressive by themselves: of a random walk of many steps in many dimensions the
first holds 60.8 % of the variance and the second 15.2 %. A share is worth a remark only beside that.

With independent steps in d -> infinity dimensions the Gram matrix of the steps is diagonal, so that the shares are the
eigenvalues of a matrix of the number of points: in closed form for steps of equal length (Antognini and Sohl-Dickstein
2018, with the finite sums corrected), by an eigenvalue solver for any lengths.
"""

from __future__ import annotations

import numpy as np

TOP = 5
"""Components that are told."""


def limit_shares(top: int = TOP) -> np.ndarray:
    """Shares of the first components for infinitely many steps in infinitely many dimensions: ``6 / (pi k)²``.

    >>> limit_shares(3).round(4).tolist()
    [0.6079, 0.152, 0.0675]
    """
    return 6 / (np.pi * np.arange(1, top + 1)) ** 2


def walk_shares(points: int, top: int = TOP, *, anchored: bool = False) -> np.ndarray:
    """Shares for `points` points (one more than steps of equal length), in infinitely many dimensions.

    Centred on the mean, component k has the eigenvalue ``1 / (2 - 2 cos(k pi / T))``, T points, of a trace of
    ``(T² - 1) / 6``. Anchored at the end of the walk (nothing is centred, and the end is the origin) it has
    ``1 / (2 - 2 cos((2k - 1) pi / (2T - 1)))`` of ``T (T - 1) / 2``: 81.1 % and 9.0 % in the limit, still more.

    Args:
        points: T, 2 or more; fewer have no variance, and all shares are 0.
        top: How many shares.
        anchored: Whether the last point is the origin instead of the mean.

    Returns:
        Shares, shape (top,); 0 where there are fewer components.

    >>> walk_shares(61, 2).round(4).tolist(), walk_shares(61, 2, anchored=True).round(4).tolist()
    ([0.6082, 0.1522], [0.8107, 0.0901])
    """
    k = np.arange(1, points)
    if anchored:
        values = 1 / (2 * np.sin((2 * k - 1) * np.pi / (4 * points - 2))) ** 2  # 2 - 2 cos x = 4 sin²(x / 2)
        trace = points * (points - 1) / 2
    else:
        values = 1 / (2 * np.sin(k * np.pi / (2 * max(points, 1)))) ** 2
        trace = (points**2 - 1) / 6
    return _first(values / trace if len(k) else values, top)


def shares_of_steps(lengths: np.ndarray, top: int = TOP, *, anchored: bool = False) -> np.ndarray:
    """Shares of a walk whose steps have these lengths and independent directions, in infinitely many dimensions.

    A training takes great steps first and small ones later; a walk of such steps is the fairer comparison.

    >>> bool(np.allclose(shares_of_steps(np.ones(60)), walk_shares(61)))
    True
    """
    return shares_of_gram(np.diag(np.asarray(lengths, float) ** 2), top, anchored=anchored)


def simulated_shares(
    points: int,
    dimensions: int,
    *,
    lengths: np.ndarray | None = None,
    seed: int = 0,
    repeats: int = 100,
    top: int = TOP,
    anchored: bool = False,
) -> np.ndarray:
    """Shares of Gaussian random walks in so many dimensions, one row for each of `repeats` walks.

    Only the Gram matrix of the steps matters. It is a Wishart matrix, drawn by Bartlett's decomposition, so that ten
    million dimensions cost no more than a hundred.

    Args:
        points: T.
        dimensions: d.
        lengths: Root mean square length of each of the T - 1 steps; None for equal ones.
        seed: Of NumPy's generator.
        repeats: Number of walks.
        top: How many shares of each.
        anchored: See `walk_shares`.

    Returns:
        Shape (repeats, top).
    """
    steps = points - 1
    if steps < 1 or dimensions < 1:
        return np.zeros((repeats, top))
    size = np.ones(steps) if lengths is None else np.asarray(lengths, float)
    generator = np.random.default_rng(seed)
    rows = []
    for _ in range(repeats):
        if dimensions > steps:
            half = np.tril(generator.standard_normal((steps, steps)), -1)
            half[np.diag_indices(steps)] = np.sqrt(generator.chisquare(dimensions - np.arange(steps)))
        else:
            half = generator.standard_normal((steps, dimensions))
        half = half * size[:, None]
        rows.append(shares_of_gram(half @ half.T, top, anchored=anchored))
    return np.array(rows)


def shares_of_gram(gram: np.ndarray, top: int = TOP, *, anchored: bool = False) -> np.ndarray:
    """Shares of a path from the inner products of its steps, shape (T - 1, T - 1), whatever the dimension."""
    steps = len(gram)
    sums = np.tril(np.ones((steps + 1, steps)), -1)  # point t is the sum of the steps before it
    sums = sums - (sums[-1] if anchored else sums.mean(axis=0))
    values = np.linalg.eigvalsh(sums @ gram @ sums.T)[::-1].clip(min=0)
    total = values.sum()
    return _first(values / total if total > 0 else values, top)


def _first(values: np.ndarray, top: int) -> np.ndarray:
    made = np.zeros(top)
    made[: min(top, len(values))] = values[:top]
    return made
