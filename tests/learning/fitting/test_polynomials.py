"""Polynomials: the numbers of the six points, and the hat matrix against really leaving points out."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from weightwalk.errors import UsageError
from weightwalk.learning.fitting.points import SIX
from weightwalk.learning.fitting.polynomials import fit_polynomial

X, Y = np.array(SIX).T


@pytest.mark.parametrize(
    ("degree", "rmse", "loo"), [(0, 53.05, 63.66), (1, 23.65, 34.5), (4, 21.0, 521.0), (5, 0.0, np.nan)]
)
def test_the_six_points(degree: int, rmse: float, loo: float) -> None:
    found = fit_polynomial(X, Y, degree)
    assert found.rmse == pytest.approx(rmse, abs=0.05)
    assert found.loo == pytest.approx(loo, abs=0.5, nan_ok=True)


def refitted(x: np.ndarray, y: np.ndarray, degree: int) -> np.ndarray:
    """Each point's error of the polynomial of all the others, fitted anew by numpy in powers of a scaled x."""
    t = (x - x.mean()) / (np.abs(x - x.mean()).max() or 1.0)
    rest = [np.arange(len(x)) != i for i in range(len(x))]
    return np.array([y[i] - np.polyval(np.polyfit(t[r], y[r], degree), t[i]) for i, r in enumerate(rest)])


@pytest.mark.parametrize("degree", [0, 1, 2, 3, 4])
def test_leaving_out_by_the_hat_matrix_is_leaving_out_by_fitting_again(degree: int) -> None:
    found = fit_polynomial(X, Y, degree)
    again = refitted(X, Y, degree)
    np.testing.assert_allclose(found.left_out, again, rtol=1e-8)
    assert found.loo == pytest.approx(np.sqrt(np.mean(again**2)), rel=1e-8)


@given(st.integers(0, 2**30), st.integers(0, 3), st.integers(7, 30))
def test_the_same_of_any_points(seed: int, degree: int, n: int) -> None:
    rng = np.random.default_rng(seed)
    x = np.round(rng.uniform(-3, 5, n), 1)  # some x repeat
    if len(np.unique(x)) < degree + 3:
        return
    y = rng.standard_normal(n) * 10
    found = fit_polynomial(x, y, degree)
    np.testing.assert_allclose(found.left_out, refitted(x, y, degree), rtol=1e-6, atol=1e-6)
    assert found.leverages.sum() == pytest.approx(degree + 1)
    np.testing.assert_allclose(found.rmse, np.sqrt(np.mean((found.curve(x) - y) ** 2)), rtol=1e-9)


def test_a_point_that_decides_the_curve_has_no_error_when_left_out() -> None:
    """Five points at x = 0 and one at x = 1: the slope of a line is decided by the last alone."""
    found = fit_polynomial(np.array([0.0] * 5 + [1.0]), np.array([0.0, 1, 2, 3, 4, 9]), 1)
    assert np.isnan(found.left_out[5]) and np.isfinite(found.left_out[:5]).all() and np.isnan(found.loo)


def test_the_unit_does_not_matter() -> None:
    here = fit_polynomial(X, Y, 3)
    there = fit_polynomial(1e6 * X + 5e9, 1e-6 * Y, 3)
    assert there.loo == pytest.approx(1e-6 * here.loo, rel=1e-4)
    assert there.condition == pytest.approx(here.condition, rel=1e-4) and there.plain_condition > 1e12


@pytest.mark.parametrize(
    ("x", "y", "degree", "message"),
    [
        ([1, 2, 3], [1, 2, 3], 3, "ask for degrees up to 2"),
        ([1, 1, 1], [1, 2, 3], 1, "there are 1 different x"),
        ([1, 2, 3], [1, np.nan, 3], 1, "Point 1 is (2.0, nan)"),
        ([1, 2, np.inf], [1, 2, 3], 1, "Point 2 is (inf, 3.0)"),
        ([], [], 0, "at least one"),
        ([1, 2], [1], 0, "2 x and 1 y"),
        ([1, 2], [1, 1e200], 0, "another unit"),
    ],
)
def test_what_cannot_be_fitted_is_refused(x: list, y: list, degree: int, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        fit_polynomial(np.array(x, float), np.array(y, float), degree)
    assert message in str(caught.value)
