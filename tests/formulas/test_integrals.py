"""Exact integrals against closed forms, rational arithmetic, SciPy's quadrature and random points."""

from __future__ import annotations

import dataclasses
import math
from fractions import Fraction

import numpy as np
import pytest
from scipy import integrate
from slowplane import ABSOLUTE, exact_pieces, moments, partition, random_net

from weightwalk.errors import UsageError
from weightwalk.formulas.certificate import Certificate
from weightwalk.formulas.integrals.summary import cells, summary
from weightwalk.formulas.lines.line import line
from weightwalk.formulas.piecewise import mlp
from weightwalk.formulas.planes.plane import partition as enumerate_plane


def test_absolute_values_on_a_square_have_their_closed_forms() -> None:
    found = summary(partition(*ABSOLUTE, box=((-1.0, 1.0), (-1.0, 1.0))))
    assert found.certificate.ok, found.certificate
    assert (found.least[0], found.greatest[0]) == (0.0, 2.0)
    assert found.least_at.tolist() == [[0.0, 0.0]]
    assert np.abs(found.greatest_at).tolist() == [[1.0, 1.0]]
    # E|x| = 1/2, Var|x| = 1/3 - 1/4, twice
    np.testing.assert_allclose(found.mean, [1.0], rtol=1e-15)
    np.testing.assert_allclose(found.variance, [1 / 6], rtol=1e-15)
    np.testing.assert_allclose(found.deviation, [math.sqrt(1 / 6)], rtol=1e-15)
    np.testing.assert_allclose(found.lipschitz, [math.sqrt(2)], rtol=1e-15)
    assert found.steepest.tolist() == [[1.0, 1.0]]
    assert found.slope_mean.tolist() == [[0.0, 0.0]]
    assert found.slope_size.tolist() == [[1.0, 1.0]]
    assert found.slope_square.tolist() == [[1.0, 1.0]]
    np.testing.assert_allclose(found.shares, [0.25] * 4)
    assert found.pieces == 4 and len(found.merged_shares) == 4
    # nu width^2 / (pi^2 Var) = 4 x 6 / pi^2, above the total index 1/2 as it must be
    np.testing.assert_allclose(found.total_bounds, [[24 / math.pi**2] * 2])


def test_a_tent_and_its_slopes() -> None:
    """relu(1 - |x|) on [-1, 2] x [0, 1]: mean 1/3, second moment (2/3)/3, nu_x = 2/3, E df/dx = 0."""
    weights = [np.array([[1.0, 0], [1.0, 0], [1.0, 0]]), np.array([[1.0, -2.0, 1.0]])]
    found = summary(partition(weights, [np.array([1.0, 0.0, -1.0]), np.zeros(1)], box=((-1.0, 2.0), (0.0, 1.0))))
    np.testing.assert_allclose(found.mean, [1 / 3], rtol=1e-15)
    np.testing.assert_allclose(found.variance, [2 / 9 - 1 / 9], rtol=1e-15)
    np.testing.assert_allclose(found.slope_square, [[2 / 3, 0.0]], atol=1e-16)
    np.testing.assert_allclose(found.slope_size, [[2 / 3, 0.0]], atol=1e-16)
    np.testing.assert_allclose(found.slope_mean, [[0.0, 0.0]], atol=1e-16)
    assert found.least.tolist() == [0.0] and found.greatest.tolist() == [1.0]
    assert found.greatest_at[0, 0] == 0.0


@pytest.mark.parametrize("seed", range(4))
def test_moments_equal_those_in_fractions(seed: int) -> None:
    """The oracle integrates 1, x, ..., yy over each polygon by Green's theorem, in rational arithmetic."""
    weights, biases = random_net(seed, 2, 5, 4, 2)
    box = ((-1.0, 2.0), (-0.5, 1.0))
    found = summary(partition(weights, biases, box=box))
    assert found.certificate.ok, found.certificate
    pieces = [(moments(p.polygon), p.maps) for p in exact_pieces(weights, biases, box)]
    whole = sum((m["1"] for m, _ in pieces), Fraction(0))
    assert whole == Fraction(9, 2)
    for out in range(2):
        first, second, nu, size, mean_slope = (
            Fraction(0),
            Fraction(0),
            [Fraction(0)] * 2,
            [Fraction(0)] * 2,
            [Fraction(0)] * 2,
        )
        for m, maps in pieces:
            a, b, c = maps[out]
            first += a * m["x"] + b * m["y"] + c * m["1"]
            second += (
                a * a * m["xx"]
                + b * b * m["yy"]
                + c * c * m["1"]
                + 2 * (a * b * m["xy"] + a * c * m["x"] + b * c * m["y"])
            )
            nu = [n + s * s * m["1"] for n, s in zip(nu, (a, b), strict=True)]
            size = [n + abs(s) * m["1"] for n, s in zip(size, (a, b), strict=True)]
            mean_slope = [n + s * m["1"] for n, s in zip(mean_slope, (a, b), strict=True)]
        np.testing.assert_allclose(found.mean[out], float(first / whole), rtol=1e-13)
        np.testing.assert_allclose(found.variance[out], float(second / whole - (first / whole) ** 2), rtol=1e-13)
        np.testing.assert_allclose(found.slope_square[out], [float(n / whole) for n in nu], rtol=1e-13)
        np.testing.assert_allclose(found.slope_size[out], [float(n / whole) for n in size], rtol=1e-13)
        np.testing.assert_allclose(
            found.slope_mean[out], [float(n / whole) for n in mean_slope], rtol=1e-12, atol=1e-15
        )
        steep = max(float(maps[out][0] ** 2 + maps[out][1] ** 2) for _, maps in pieces)
        np.testing.assert_allclose(found.lipschitz[out] ** 2, steep, rtol=1e-13)


def test_a_far_away_offset_costs_no_digits_of_the_variance() -> None:
    """f + 10^6: E[f^2] - E[f]^2 would lose twelve digits; the second moment about the mean keeps all that f has."""
    weights, biases = random_net(5, 2, 6, 1)
    plain = summary(partition(weights, biases))
    moved = summary(partition(weights, [biases[0], biases[1] + 1e6]))
    np.testing.assert_allclose(moved.variance, plain.variance, rtol=1e-9)
    np.testing.assert_allclose(moved.mean, plain.mean + 1e6, rtol=1e-15)


def test_mean_slope_is_a_difference_of_means_on_opposite_sides() -> None:
    """E[df/dx] = (mean of f at x = b - mean of f at x = a) / (b - a), here by SciPy's quadrature of the net itself."""
    weights, biases = random_net(7, 2, 6, 5, 1)
    of = partition(weights, biases)
    kinks = sorted({float(y) for x, y in of.vertices if abs(x) == 1})
    ends = [
        integrate.quad(lambda t, s=s: of.net(np.array([[s, t]]))[0, 0], -1, 1, points=kinks[1:-1], limit=200)[0] / 2
        for s in (-1, 1)
    ]
    np.testing.assert_allclose(summary(of).slope_mean[0, 0], (ends[1] - ends[0]) / 2, atol=1e-9)


@pytest.mark.slow
def test_scipy_double_integral_of_the_net() -> None:
    weights, biases = random_net(8, 2, 4, 3, 1)
    of = partition(weights, biases)
    found = summary(of)
    options = {"limit": 400, "epsabs": 1e-5, "epsrel": 1e-5}
    value, square = (
        integrate.nquad(lambda t, s, k=k: of.net(np.array([[s, t]]))[0, 0] ** k, [(-1, 1)] * 2, opts=options)[0] / 4
        for k in (1, 2)
    )
    np.testing.assert_allclose(found.mean[0], value, atol=1e-5)
    np.testing.assert_allclose(found.variance[0], square - value**2, atol=2e-5)


def test_random_points_agree() -> None:
    """200,000 points: each of five statistics within 6 standard errors; false alarm < 5 x 2e-9."""
    weights, biases = random_net(9, 2, 8, 8, 1)
    of = partition(weights, biases)
    found = summary(of)
    x = np.random.default_rng(0).uniform(-1, 1, (200_000, 2))
    y = of.net(x)[:, 0]
    slopes = of.net.maps(list(of.net.pattern(x)))[0][:, 0]
    for sample, exact in (
        (y, found.mean[0]),
        ((y - found.mean[0]) ** 2, found.variance[0]),
        (slopes[:, 0] ** 2, found.slope_square[0, 0]),
        (slopes[:, 1] ** 2, found.slope_square[0, 1]),
        (np.abs(slopes[:, 1]), found.slope_size[0, 1]),
    ):
        assert abs(sample.mean() - exact) < 6 * sample.std() / math.sqrt(len(sample))
    assert found.least[0] - 1e-12 <= y.min() and y.max() <= found.greatest[0] + 1e-12
    assert np.sqrt((slopes**2).sum(1)).max() <= found.lipschitz[0] * (1 + 1e-12)


def test_a_sliver_without_area_is_no_slope() -> None:
    """A region that rounding closed to a segment may carry any map: it must not be the Lipschitz constant."""
    of = partition(*ABSOLUTE)
    corner = of.ring[of.start[0] : of.start[1]]
    thin = dataclasses.replace(
        of,
        ring=np.concatenate([of.ring, corner[[0, 1, 0]]]),
        start=np.append(of.start, of.start[-1] + 3),
        slopes=np.concatenate([of.slopes, [[[1e9, 0.0]]]]),
        offsets=np.concatenate([of.offsets, [[0.0]]]),
        affine=np.append(of.affine, 4),
    )
    np.testing.assert_allclose(summary(thin).lipschitz, [math.sqrt(2)])
    assert summary(thin).merged_shares[4] == 0


def test_a_wrong_partition_fails_its_checks() -> None:
    of = partition(*ABSOLUTE)
    hole = dataclasses.replace(
        of, ring=of.ring[of.start[1] :], start=of.start[1:] - of.start[1], slopes=of.slopes[1:], affine=of.affine[1:],
        offsets=of.offsets[1:],
    )  # fmt: skip
    assert not summary(hole).certificate.ok
    wrong = dataclasses.replace(of, values=of.values * 1.2)
    assert [c.name.partition(" ")[0] for c in summary(wrong).certificate.failures] == ["mean"]
    flat = dataclasses.replace(of, values=of.values * 0.5)
    assert "farthest" in str(summary(flat).certificate.failures)
    assert len(summary(flat, points=0).certificate.checks) == 1


def test_the_whole_plane_has_no_mean() -> None:
    of = dataclasses.replace(partition(*ABSOLUTE), box=None)
    with pytest.raises(UsageError, match="whole plane, where a mean has no meaning: enumerate them in a box"):
        cells(of)


def test_no_area_is_refused() -> None:
    of = partition(*ABSOLUTE)
    flat = dataclasses.replace(of, vertices=of.vertices * [1.0, 0.0])
    with pytest.raises(UsageError, match="total size of 0"):
        summary(flat)


def test_the_certificate_of_the_partition_is_passed_on() -> None:
    of = dataclasses.replace(partition(*ABSOLUTE), certificate=Certificate((), 3))
    assert summary(of, seed=5).certificate.seed == 5


def test_constant_output_has_no_bounds_and_no_variance() -> None:
    of = partition([np.ones((2, 2)), np.zeros((1, 2))], [np.zeros(2), np.array([3.0])])
    found = summary(of)
    assert found.variance.tolist() == [0.0] and found.mean.tolist() == [3.0]
    assert np.isnan(found.total_bounds).all()
    assert found.certificate.ok, found.certificate


def test_net_without_layers_is_one_cell_pair() -> None:
    net = mlp([np.array([[2.0, -1.0]])], [np.array([0.5])])
    of = partition([np.array([[2.0, -1.0]])], [np.array([0.5])], net=net)
    found = summary(of)
    np.testing.assert_allclose(found.variance, [(4 + 1) / 3])
    np.testing.assert_allclose(found.lipschitz, [math.sqrt(5)])


def test_a_partition_without_maps_is_refused() -> None:
    of = partition(*ABSOLUTE)
    with pytest.raises(UsageError, match="without their affine maps: ask for them with maps=True"):
        summary(dataclasses.replace(of, slopes=of.slopes[:0], offsets=of.offsets[:0]))


def test_a_line_has_the_closed_forms_of_its_pieces() -> None:
    """|t| and relu(t - 1) on [-1, 3]: means 5/4 and 1/2, second moments 7/3 and 2/3."""
    net = mlp(
        [np.array([[1.0], [-1.0], [1.0]]), np.array([[1.0, 1.0, 0.0], [0.0, 0.0, 1.0]])],
        [np.array([0.0, 0.0, -1.0]), np.zeros(2)],
    )
    found = summary(line(net, -1.0, 3.0))
    assert found.certificate.ok, found.certificate
    np.testing.assert_allclose(found.mean, [5 / 4, 1 / 2], rtol=1e-15)
    np.testing.assert_allclose(found.variance, [7 / 3 - 25 / 16, 2 / 3 - 1 / 4], rtol=1e-14)
    assert found.least.tolist() == [0, 0] and found.greatest.tolist() == [3, 2]
    assert found.least_at[0].tolist() == [0.0] and found.greatest_at.tolist() == [[3.0], [3.0]]
    np.testing.assert_allclose(found.slope_mean, [[1 / 2], [1 / 2]])
    np.testing.assert_allclose(found.slope_size, [[1], [1 / 2]])
    np.testing.assert_allclose(found.slope_square, [[1], [1 / 2]])
    assert found.lipschitz.tolist() == [1, 1]
    np.testing.assert_allclose(found.shares, [1 / 4, 1 / 4, 1 / 2])
    assert found.box == ((-1.0, 3.0),)


def test_an_infinite_line_has_no_mean() -> None:
    net = mlp([np.ones((1, 1))], [np.zeros(1)])
    with pytest.raises(UsageError, match="The line runs from 0 to inf, where a mean has no meaning"):
        summary(line(net, 0.0, math.inf))


def test_units_that_switch_without_effect_are_one_merged_piece() -> None:
    net = mlp([np.array([[1.0], [1.0]]), np.array([[1.0, 0.0]])], [np.array([0.0, -0.5]), np.zeros(1)])
    found = summary(line(net, -1.0, 1.0))
    assert found.pieces == 3
    np.testing.assert_allclose(found.merged_shares, [1 / 2, 1 / 2])


@pytest.mark.parametrize("seed", range(3))
def test_an_enumerated_net_and_the_rational_one_agree(seed: int) -> None:
    weights, biases = random_net(20 + seed, 2, 6, 6, 2)
    box = ((-1.0, 2.0), (-0.5, 1.0))
    slow = summary(partition(weights, biases, box=box))
    fast = summary(enumerate_plane(mlp(weights, biases), box))
    assert fast.certificate.ok, fast.certificate
    for name in (
        "least",
        "greatest",
        "mean",
        "variance",
        "lipschitz",
        "steepest",
        "slope_mean",
        "slope_size",
        "slope_square",
    ):
        np.testing.assert_allclose(getattr(fast, name), getattr(slow, name), rtol=1e-12, atol=1e-14, err_msg=name)


def test_weights_that_are_not_generic() -> None:
    """Small integers and halves: many lines through one point, units that copy each other."""
    draw = np.random.default_rng(0)
    for _ in range(10):
        weights = [draw.integers(-2, 3, size).astype(float) for size in ((5, 2), (4, 5), (1, 4))]
        biases = [draw.integers(-2, 3, size) / 2 for size in (5, 4, 1)]
        slow, fast = summary(partition(weights, biases)), summary(enumerate_plane(mlp(weights, biases)))
        assert fast.certificate.ok, fast.certificate
        for name in ("least", "greatest", "mean", "variance", "lipschitz", "slope_square"):
            np.testing.assert_allclose(getattr(fast, name), getattr(slow, name), rtol=1e-12, atol=1e-13)
