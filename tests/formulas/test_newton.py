"""Square roots three ways: against integer arithmetic, dense sampling, and the iteration done by hand."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest

from weightwalk.errors import UsageError
from weightwalk.formulas.lines.line import Line, line
from weightwalk.formulas.newton import iterates, roots
from weightwalk.formulas.piecewise import mlp


def bent() -> Line:
    """y = 0.2 + 0.5 x - 0.25 relu(x - 1), a poor square root."""
    return line(
        mlp([np.array([[1.0], [1.0]]), np.array([[0.5, -0.25]])], [np.array([0.0, -1.0]), np.array([0.2])]), 0.0
    )


@pytest.mark.parametrize("a", [0.01, 0.5, 2.0, 9.0, 100.0, 1e12])
def test_newton_is_newton_and_ends_at_the_root(a: float) -> None:
    found = iterates(a)
    exact = [Fraction(1)]
    for _ in range(3):
        exact.append((exact[-1] + Fraction(a) / exact[-1]) / 2)
    assert found[:4] == pytest.approx([float(r) for r in exact], rel=1e-15)
    assert abs(found[-1] - math.sqrt(a)) <= math.ulp(math.sqrt(a))


def test_steps_are_counted_from_the_first_that_is_right_and_stays_so() -> None:
    (row,) = roots(bent(), (100.0,)).rows
    assert row.root == 10.0
    assert all(abs(e) <= 2 * math.ulp(10.0) for e in row.errors[row.steps :])
    assert abs(row.errors[row.steps - 1]) > 2 * math.ulp(10.0)
    assert not row.seen


def test_the_net_s_worst_error_is_that_of_dense_sampling() -> None:
    found = roots(bent(), (4.0,))
    assert found.rows[0].net == pytest.approx(0.2 + 2.0 - 0.75, rel=1e-15)
    x = np.linspace(0, 10, 1_000_001)
    error = np.abs(0.2 + 0.5 * x - 0.25 * np.maximum(x - 1, 0) - np.sqrt(x))
    assert abs(found.worst) == pytest.approx(error.max(), rel=1e-9)
    assert found.worst_at == pytest.approx(x[error.argmax()], abs=1e-4)
    inner = roots(bent(), (4.0,), (0.3, 0.99))  # the greatest error is where the slopes agree, at x = 1
    x = np.linspace(0.3, 0.99, 100_001)
    assert abs(inner.worst) == pytest.approx(np.abs(0.2 + 0.5 * x - np.sqrt(x)).max(), rel=1e-9)


@pytest.mark.parametrize("a", [0.0, -1.0, math.inf, math.nan])
def test_only_positive_numbers_have_such_a_root(a: float) -> None:
    with pytest.raises(UsageError, match="takes a positive number"):
        iterates(a)
