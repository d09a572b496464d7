"""A polynomial in place of a net, fitted by least squares, and how far it may be believed.

Any function of numbers has such a surrogate; only its scores tell whether it is worth anything. They are always taken
at fresh points, inside the fitted box and outside it, because a polynomial that fits inside says nothing of outside.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from weightwalk.errors import UsageError
from weightwalk.formulas.certificate import Certificate, Check
from weightwalk.formulas.fits import basis
from weightwalk.formulas.fits.basis import Kind, Sides
from weightwalk.formulas.fits.scores import (
    Function,
    Score,
    checked_data,
    data_scores,
    enlarged,
    input_names,
    net_scores,
    values,
)

MEMORY = 2**30
CHUNK = 2**22
"""Numbers of the design matrix that are laid out at once when a surrogate is evaluated: 32 MiB."""


@dataclass(frozen=True, eq=False)
class Surrogate:
    """A polynomial ``p(x) = sum_t coefficients[t] prod_i x_i^exponents[t, i]`` in place of a net.

    Attributes:
        inputs: Names of the n inputs.
        outputs: Names of the outputs.
        box: ((least, greatest) of each input) on which it was fitted.
        outside_box: The larger box whose points outside `box` count as outside.
        degree: Greatest degree.
        kind: Of the ``"total"`` degree, or of the degree ``"per-input"``.
        exponents: (T, n).
        coefficients: (T, outputs) of plain powers of x.
        legendre: (T, outputs) of orthonormal Legendre terms; these are fitted, and these are evaluated.
        plain_error: Greatest |plain - Legendre| at points of the box over the greatest |p|: a box far from 0, or a high
            degree, makes plain coefficients cancel.
        points: Where it was fitted, in words.
        condition: Ratio of greatest to least singular value of the (weighted) design matrix in the Legendre basis: 1 is
            best; the fit loses about log10 of it in digits.
        scores: Against the net, inside and outside; against the data, if given, inside and outside.
        net_scores: The net itself against the data, if given.
        certificate: Condition and plain coefficients.
    """

    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    box: Sides
    outside_box: Sides
    degree: int
    kind: Kind
    exponents: np.ndarray
    coefficients: np.ndarray
    legendre: np.ndarray
    plain_error: float
    points: str
    condition: float
    scores: tuple[Score, ...]
    net_scores: tuple[Score, ...]
    certificate: Certificate = field(repr=False)

    @property
    def terms(self) -> int:
        """Number of terms, T."""
        return len(self.exponents)

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """p at points (N, n): (N, outputs); through the Legendre terms."""
        return evaluate(np.asarray(x, np.float64), self.box, self.exponents, self.legendre)

    def score(self, against: str = "net", where: str = "inside") -> Score:
        """One of `scores`.

        Raises:
            KeyError: It was not taken.
        """
        for score in self.scores:
            if (score.against, score.where) == (against, where):
                return score
        raise KeyError((against, where))

    def __str__(self) -> str:
        from weightwalk.show.terminal import plain

        return plain(self)


def surrogate(
    f: Function,
    box: Sequence[Sequence[float]],
    degree: int,
    *,
    kind: Kind = "total",
    points: Literal["auto", "gauss", "sobol", "latin"] | np.ndarray = "auto",
    samples: int | None = None,
    seed: int = 0,
    data: tuple[np.ndarray, np.ndarray] | None = None,
    outside: Sequence[Sequence[float]] | None = None,
    names: Sequence[str] | None = None,
    outputs: Sequence[str] | None = None,
    memory: int = MEMORY,
) -> Surrogate:
    """Fit a polynomial to a function by least squares in the orthonormal Legendre basis, and score it honestly.

    What is minimised is the mean of (p - f)^2 over the box, x uniform: with ``"gauss"`` points by their quadrature
    weights (condition 1), with Sobol' or Latin points by equal weights. Given points are weighted equally too: they
    choose another polynomial. For sqrt(x) on [0, 10], degree 3, the 101 points 0, 0.1, ..., 10 give
    .364 + .630 x - .0656 x^2 + .0031 x^3, with RMSE .049 at those points and .037 over the interval, because they count
    the end 0, where sqrt is steep, too much; the best polynomial over the interval is
    .402 + .602 x - .0602 x^2 + .0028 x^3, with RMSE .035.

    Args:
        f: The net, from points (N, n) to outputs (N, outputs) or (N,).
        box: (least, greatest) of each input.
        degree: Greatest degree.
        kind: ``"total"``: exponents that add up to `degree` at most; ``"per-input"``: each exponent at most `degree`.
        points: Where to fit. ``"auto"`` is a Gauss grid for up to three inputs and scrambled Sobol' points for more;
            or an array (N, n).
        samples: How many points at least; by default 1,024 or eight per term, whichever is more. Sobol' points come in
            powers of two.
        seed: Of the Sobol' or Latin points; the fresh points are drawn with it too, from another stream.
        data: (x, y) to score against, which the fit does not see.
        outside: The larger box for the scores outside; by default `box` with each side doubled about its middle.
        names: Of the inputs.
        outputs: Names of the outputs.
        memory: Bytes that the design matrix and its factor may take.

    Raises:
        UsageError: An empty box, a negative degree, too many terms, fewer points than terms, points that do not
            determine the terms, or a function that is not finite in the box.

    Example:
        >>> import numpy as np
        >>> p = surrogate(lambda x: 1 + 2 * x[:, 0] * x[:, 1], ((0, 1), (0, 3)), 2)
        >>> p.exponents.tolist()
        [[0, 0], [1, 0], [0, 1], [2, 0], [1, 1], [0, 2]]
        >>> (p.coefficients[:, 0].round(9) + 0.0).tolist()
        [1.0, 0.0, 0.0, 0.0, 2.0, 0.0]
    """
    basis.checked_seed(seed)
    sides = basis.sides(box)
    points = points if isinstance(points, str) else np.asarray(points, np.float64)
    around = basis.sides(outside) if outside is not None else enlarged(sides)
    inputs = input_names(names, len(sides))
    given = checked_data(data, len(sides))
    count = basis.checked(degree, kind, len(sides), memory, rows=1 if samples else 8)
    wanted = len(points) if isinstance(points, np.ndarray) else samples or max(1024, 8 * count)
    if wanted < count:
        raise UsageError(f"{wanted:,} points cannot determine {count:,} terms: give at least {2 * count:,}.")
    if wanted * count * 16 > memory:
        raise UsageError(
            f"{wanted:,} points times {count:,} terms would take {wanted * count * 16 / 2**30:,.1f} GiB of the "
            f"{memory / 2**30:,.1f} allowed: take fewer points, a lower degree, or raise memory=."
        )
    x, weights, words = _fitting_points(points, sides, degree, wanted, seed)
    y = values(f, x, inputs)
    powers = basis.exponents(len(sides), degree, kind)
    found, condition = _least_squares(basis.design(x, sides, powers), y, weights, words)
    labels = tuple(outputs) if outputs is not None else tuple(f"y[{i}]" for i in range(y.shape[1]))
    if len(labels) != y.shape[1]:
        raise UsageError(f"There are {len(labels)} output names for {y.shape[1]} outputs.")
    p = lambda at: evaluate(at, sides, powers, found)  # noqa: E731
    scores = net_scores(f, p, sides, around, seed)
    direct: tuple[Score, ...] = ()
    if given is not None:
        scores += data_scores(p, given, sides)
        direct = data_scores(lambda at: values(f, at, None), given, sides)
    coefficients = basis.plain(sides, powers, found)
    error = plain_error(sides, powers, coefficients, found, seed)
    return Surrogate(
        inputs=inputs, outputs=labels, box=sides, outside_box=around, degree=degree, kind=kind, exponents=powers,
        coefficients=coefficients, legendre=found, plain_error=error, points=words, condition=condition, scores=scores,
        net_scores=direct, certificate=Certificate(_checks(condition, error), seed),
    )  # fmt: skip


def evaluate(x: np.ndarray, box: Sides, powers: np.ndarray, legendre: np.ndarray) -> np.ndarray:
    """The polynomial of Legendre coefficients (T, outputs) at points (N, n), in chunks of bounded memory."""
    step = max(1, CHUNK // len(powers))
    parts = [basis.design(x[i : i + step], box, powers) @ legendre for i in range(0, len(x), step)]
    return np.concatenate(parts) if parts else np.zeros((0, legendre.shape[1]))


def plain_error(box: Sides, powers: np.ndarray, plain: np.ndarray, legendre: np.ndarray, seed: int) -> float:
    """Greatest |plain - Legendre| over the greatest |Legendre|, at points of the box."""
    low, high = np.array(box).T
    step = max(64, min(1024, CHUNK // len(powers)))
    x = low + (high - low) * np.random.default_rng([seed, 2]).random((step, len(box)))
    exact = basis.design(x, box, powers) @ legendre
    with np.errstate(over="ignore", invalid="ignore"):
        off = float(np.abs(basis.powers_of(x, powers) @ plain - exact).max() / max(np.abs(exact).max(), 1e-300))
    return off if math.isfinite(off) else math.inf


def _checks(condition: float, error: float) -> tuple[Check, ...]:
    return (
        Check("condition of the fit", condition, "<= 1e8", condition <= 1e8),
        Check("greatest |plain coefficients - Legendre| in the box, relative", error, "<= 1e-6", error <= 1e-6),
    )


def _fitting_points(
    points: str | np.ndarray, box: Sides, degree: int, samples: int, seed: int
) -> tuple[np.ndarray, np.ndarray, str]:
    """Points (N, n), their weights (N,) with mean 1, and words for them."""
    n = len(box)
    low, high = np.array(box).T
    if isinstance(points, np.ndarray):
        x = points.astype(np.float64).reshape(len(points), -1)
        if x.shape[1] != n or not np.isfinite(x).all():
            raise UsageError(f"The points have shape {points.shape}; expected finite numbers in {n} columns.")
        return x, np.ones(len(x)), f"{len(x):,} given points, equal weights"
    if points == "auto":
        points = "gauss" if n <= 3 else "sobol"
    if points == "gauss":
        # panels of at least degree + 1 points a side: as well conditioned as one rule, better with kinks
        side = math.ceil(samples ** (1 / n) - 1e-9)
        panel = max(degree + 1, min(side, 16))
        panels = -(-side // panel)
        nodes, weights = np.polynomial.legendre.leggauss(panel)
        nodes = ((nodes + 1) / 2 + np.arange(panels)[:, None]).ravel() / panels
        weights = np.tile(weights / 2, panels) * panel
        grid = np.stack(np.meshgrid(*[nodes] * n, indexing="ij"), -1).reshape(-1, n)
        product = np.stack(np.meshgrid(*[weights] * n, indexing="ij"), -1).reshape(-1, n).prod(1)
        return low + (high - low) * grid, product, f"{' x '.join([str(len(nodes))] * n)} Gauss points"
    if points == "sobol":
        x = basis.spread(n, samples, seed)
        words = f"{len(x):,} scrambled Sobol' points, seed {seed}"
    elif points == "latin":
        x = basis.spread(n, samples, seed, latin=True)
        words = f"{samples:,} Latin-hypercube points, seed {seed}"
    else:
        raise UsageError(f"points={points!r} is not known: 'auto', 'gauss', 'sobol', 'latin' or an array of points.")
    return low + (high - low) * x, np.ones(len(x)), words


def _least_squares(a: np.ndarray, y: np.ndarray, weights: np.ndarray, words: str) -> tuple[np.ndarray, float]:
    """Coefficients (T, outputs) of the weighted fit by QR, and the condition number of what was factored."""
    root = np.sqrt(weights)[:, None]
    a *= root
    q, r = np.linalg.qr(a)
    scale = np.linalg.svd(r, compute_uv=False)
    condition = float(scale[0] / scale[-1]) if scale[-1] > 0 else np.inf
    if condition > 1e12:
        raise UsageError(
            f"{words[0].upper() + words[1:]} do not determine {a.shape[1]:,} terms (condition {condition:.1g}): spread "
            "them over the whole box, or lower the degree."
        )
    return np.linalg.solve(r, q.T @ (root * y)), condition
