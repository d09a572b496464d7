"""Best polynomials of exact pieces: closed forms, rational moments by Green's theorem, and dense grids."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from numpy.polynomial import legendre as reference
from slowplane import ABSOLUTE, Point, exact_pieces, partition, random_net

from weightwalk.errors import UsageError
from weightwalk.formulas.fits import basis
from weightwalk.formulas.fits.legendre import bending, enclose, halved, legendre_surrogate, rule
from weightwalk.formulas.fits.surrogates import surrogate
from weightwalk.formulas.integrals.summary import cells
from weightwalk.formulas.lines.line import line
from weightwalk.formulas.piecewise import mlp


def times(p: list[Fraction], q: list[Fraction]) -> list[Fraction]:
    out = [Fraction(0)] * (len(p) + len(q) - 1)
    for i, a in enumerate(p):
        for j, b in enumerate(q):
            out[i + j] += a * b
    return out


def moment(polygon: list[Point], a: int, b: int) -> Fraction:
    """Integral of x^a y^b over a polygon: the sum over edges of that of x^(a+1) y^b / (a + 1) dy."""
    total = Fraction(0)
    for (x, y), (u, v) in zip(polygon, [*polygon[1:], polygon[0]], strict=True):
        along = [v - y]
        for _ in range(a + 1):
            along = times(along, [x, u - x])
        for _ in range(b):
            along = times(along, [y, v - y])
        total += sum((c / (k + 1) for k, c in enumerate(along)), Fraction(0)) / (a + 1)
    return total


@pytest.mark.parametrize("kind", ["total", "per-input"])
def test_coefficients_equal_those_of_rational_moments(kind) -> None:
    weights, biases = random_net(3, 2, 3, 3, 2)
    box = ((-1.0, 1.0), (-1.0, 1.0))
    p = legendre_surrogate(partition(weights, biases, box=box), 3, kind)
    assert p.certificate.ok, p.certificate
    pieces = exact_pieces(weights, biases, box)
    powers = [
        reference.leg2poly(np.eye(4)[k])[: k + 1] * math.sqrt(2 * k + 1) for k in range(4)
    ]  # phi_k in powers of x, on [-1, 1]
    table = {
        (i, j): [
            float(sum((m[0] * moment(q.polygon, i + 1, j) + m[1] * moment(q.polygon, i, j + 1)
                       + m[2] * moment(q.polygon, i, j) for q in pieces for m in [q.maps[out]]), Fraction(0)))
            for out in range(2)
        ]
        for i in range(4) for j in range(4)
    }  # fmt: skip
    for (k, n), c in zip(p.exponents.tolist(), p.legendre, strict=True):
        wanted = sum(
            np.array(table[i, j]) * a * b for i, a in enumerate(powers[k]) for j, b in enumerate(powers[n])
        ) / 4  # fmt: skip
        np.testing.assert_allclose(c, wanted, atol=1e-14)


def test_the_best_parabola_for_an_absolute_value() -> None:
    """|x| on [-1, 1]: (3 + 15 x^2) / 16, mean squared error 1/192, R^2 15/16, worst error 3/16 at 0."""
    net = mlp([np.array([[1.0], [-1.0]]), np.array([[1.0, 1.0]])], [np.zeros(2), np.zeros(1)])
    p = legendre_surrogate(line(net, -1.0, 1.0), 2)
    np.testing.assert_allclose(p.coefficients[:, 0], [3 / 16, 0, 15 / 16], atol=1e-15)
    score = p.score()
    np.testing.assert_allclose([score.r2[0], score.rmse[0] ** 2], [15 / 16, 1 / 192], rtol=1e-13)
    np.testing.assert_allclose(score.worst, [3 / 16], rtol=1e-13)
    assert score.worst_at.tolist() == [[0.0]]
    assert score.bound is not None and 3 / 16 <= score.bound[0] <= 1.01 * 3 / 16
    assert p.certificate.ok, p.certificate
    assert p.score("net", "outside").points == 4096


def test_the_best_paraboloid_for_two_absolute_values() -> None:
    p = legendre_surrogate(partition(*ABSOLUTE), 2)
    wanted = {(0, 0): 3 / 8, (2, 0): 15 / 16, (0, 2): 15 / 16}
    np.testing.assert_allclose(
        p.coefficients[:, 0], [wanted.get(tuple(e), 0.0) for e in p.exponents.tolist()], atol=1e-15
    )
    np.testing.assert_allclose(p.score().r2, [15 / 16])
    np.testing.assert_allclose(p.score().worst, [3 / 8])
    assert p.condition == 1.0 and p.points == "exact integrals over 4 pieces"


@pytest.mark.parametrize("seed", range(3))
def test_the_worst_error_is_enclosed(seed: int) -> None:
    """No point of a dense grid has an error above the bound, and what was found occurs."""
    weights, biases = random_net(seed, 2, 6, 5, 1)
    of = partition(weights, biases, box=((-1.0, 3.0), (0.0, 1.0)))
    axis = [np.linspace(lo, hi, 301) for lo, hi in ((-1, 3), (0, 1))]
    x = np.stack(np.meshgrid(*axis), -1).reshape(-1, 2)
    for degree in (0, 1, 5):
        p = legendre_surrogate(of, degree)
        score = p.score()
        off = np.abs(p(x) - of.net(x)).max()
        assert score.bound is not None
        assert off <= score.bound[0] <= 1.0101 * score.worst[0]
        assert off >= 0.98 * score.worst[0]
        at = score.worst_at
        np.testing.assert_allclose(np.abs(p(at) - of.net(at))[0], score.worst, rtol=1e-9)


@pytest.mark.parametrize("d", [1, 2])
def test_the_bound_of_the_second_derivative_holds_and_is_close(d: int) -> None:
    draw = np.random.default_rng(d)
    box = ((-1.0, 2.0), (0.0, 0.5))[:d]
    powers = basis.exponents(d, 6, "total")
    c = draw.normal(size=len(powers))
    x = np.stack(np.meshgrid(*[np.linspace(lo, hi, 401 if d == 1 else 81) for lo, hi in box]), -1).reshape(-1, d)
    way = draw.normal(size=(100, d))
    way /= np.sqrt((way**2).sum(1, keepdims=True))
    h, stencil = 1e-4, ((-1, 1), (0, -2), (1, 1))
    most = max(
        float(np.abs(sum(w * basis.design(x + k * h * v, box, powers) @ c for k, w in stencil)).max())
        for v in way
    ) / h**2  # fmt: skip
    assert most <= bending(box, powers, c) * (1 + 1e-4)
    assert bending(box, powers, c) <= 1.2 * most


@pytest.mark.parametrize("d, degree", [(1, 5), (2, 4), (2, 9)])
def test_the_rule_is_exact_on_the_simplex(d: int, degree: int) -> None:
    """Mean of l_1^a l_2^b over a triangle: 2 a! b! / (a + b + 2)!; of l_1^a over a segment: 1 / (a + 1)."""
    points, weights = rule(d, degree)
    for a in range(degree + 1):
        for b in range(degree + 1 - a if d == 2 else 1):
            wanted = 2 * math.factorial(a) * math.factorial(b) / math.factorial(a + b + 2) if d == 2 else 1 / (a + 1)
            found = (weights * points[:, 1] ** a * (points[:, 2] ** b if d == 2 else 1)).sum()
            assert found == pytest.approx(wanted, rel=1e-13)


def test_least_squares_on_a_fine_grid_agree() -> None:
    weights, biases = random_net(11, 2, 8, 1)
    of = partition(weights, biases)
    exact = legendre_surrogate(of, 4)
    fitted = surrogate(of.net, of.box, 4, points="gauss", samples=300**2)
    np.testing.assert_allclose(fitted.legendre, exact.legendre, atol=1e-4)
    np.testing.assert_allclose(fitted.score().r2, exact.score().r2, atol=1e-3)
    assert fitted.exponents.tolist() == exact.exponents.tolist()


def test_an_affine_net_is_its_own_best_line_however_far_from_zero() -> None:
    weights, biases = [np.array([[2.0, -1.0]])], [np.array([1e6])]
    p = legendre_surrogate(partition(weights, biases), 1)
    np.testing.assert_allclose(p.coefficients[:, 0], [1e6, 2.0, -1.0], rtol=1e-14)
    assert p.score().r2[0] == pytest.approx(1.0, abs=1e-12)
    assert p.certificate.ok, p.certificate


def test_a_constant_net_has_no_r2() -> None:
    p = legendre_surrogate(partition([np.array([[0.0, 0.0]])], [np.array([2.0])]), 2)
    assert np.isnan(p.score().r2[0]) and p.score().rmse[0] == 0.0


def test_it_is_done_in_pieces_of_bounded_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    of = partition(*random_net(2, 2, 6, 5, 2))
    whole = legendre_surrogate(of, 4).legendre
    monkeypatch.setattr("weightwalk.formulas.fits.legendre.CHUNK", 500)
    np.testing.assert_allclose(legendre_surrogate(of, 4).legendre, whole, atol=1e-15)


def test_what_cannot_be_fitted_is_refused() -> None:
    of = partition(*ABSOLUTE)
    with pytest.raises(UsageError, match="The degree is -1"):
        legendre_surrogate(of, -1)
    with pytest.raises(UsageError, match="The kind is 'both'"):
        legendre_surrogate(of, 2, "both")
    with pytest.raises(UsageError, match="of 2 inputs of per-input degree 120 has 14,641 terms"):
        legendre_surrogate(of, 120, "per-input")
    with pytest.raises(UsageError, match="The line runs from -inf to inf, where a mean has no meaning"):
        legendre_surrogate(line(mlp([np.ones((1, 1))], [np.zeros(1)]), -math.inf, math.inf), 2)


@pytest.mark.parametrize("d", [1, 2])
@pytest.mark.parametrize("seed", range(8))
def test_a_polynomial_that_bends_within_one_cell_is_enclosed(d: int, seed: int) -> None:
    """f = 0 in one piece: the corners of the box say nothing of the greatest |p|. The oracle is a dense grid."""
    box = ((-1.0, 2.0), (0.0, 0.5))[:d]
    zero = [np.zeros((1, d))], [np.zeros(1)]
    of = partition(*zero, box=box) if d == 2 else line(mlp(*zero), *box[0])
    powers = basis.exponents(d, 5, "total")
    c = np.random.default_rng(seed).normal(size=(len(powers), 1))
    parts = cells(of)
    start = (basis.design(parts.corners.reshape(-1, d), box, powers) @ c).reshape(parts.corners.shape[:2])
    found = enclose(parts, powers, c, start, 0)
    x = np.stack(np.meshgrid(*[np.linspace(lo, hi, 100_001 if d == 1 else 401) for lo, hi in box]), -1).reshape(-1, d)
    most = np.abs(basis.design(x, box, powers) @ c).max()
    assert most * (1 - 1e-9) <= found.bound <= 1.0101 * found.found
    assert 0.99 * most <= found.found
    np.testing.assert_allclose(np.abs(basis.design(found.at[None], box, powers) @ c)[0, 0], found.found, rtol=1e-12)


def test_cells_are_cut_into_parts_that_tile_them() -> None:
    corners = np.random.default_rng(0).normal(size=(5, 3, 2))
    values = corners @ np.array([2.0, -1.0]) + 3
    parts, heights, _ = halved(corners, values, values, lambda x, y: y)
    np.testing.assert_allclose(heights, parts @ np.array([2.0, -1.0]) + 3)
    sides = [(c[:, 1] - c[:, 0], c[:, 2] - c[:, 0]) for c in (parts, corners)]
    small, large = (a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0] for a, b in sides)
    np.testing.assert_allclose(small.reshape(5, 4), np.tile(large[:, None] / 4, 4))  # the same turn, so none overlap
    assert len({tuple(c.round(9)) for c in parts[:4].mean(1)}) == 4
