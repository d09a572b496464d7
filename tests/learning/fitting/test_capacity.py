"""Capacity: the best line in closed form, chains that exist, and when a curve is called U-shaped."""

from __future__ import annotations

import numpy as np
import pytest

from weightwalk.errors import UsageError
from weightwalk.learning.fitting.capacity import FUNCTIONS, Size, _swept, _Truth, fit_capacity
from weightwalk.nets import tasks


def test_every_function_of_the_task_is_known() -> None:
    assert set(FUNCTIONS) == set(tasks.FUNCTIONS)


def test_the_best_line_through_the_root_is_the_closed_form() -> None:
    """Of √x on [0, 1] the best line is 4/15 + 4x/5 with squared error 1/450; [0, 10] scales it by √10."""
    assert _Truth("sqrt").best_line() == pytest.approx(np.sqrt(10 / 450), rel=1e-4)


def test_a_net_without_activations_is_that_line() -> None:
    found = fit_capacity(widths=(1,), degrees=(1, 3), seeds=range(2), epochs=400)
    np.testing.assert_allclose(found.linear, 0.149, atol=0.001)
    assert (found.linear >= found.line - 1e-6).all(), "no line is better than the best"


@pytest.mark.parametrize("target", FUNCTIONS)
def test_chains_come_as_near_as_one_likes(target: str) -> None:
    truth = _Truth(target)
    errors = [truth.chain(w) for w in (1, 2, 4, 8, 16, 32)]
    assert errors[0] == pytest.approx(truth.best_line(), rel=1e-6)
    assert errors[-1] < 2e-3 * truth.spread
    if target != "abs":  # two pieces are enough for that, to the places at which it is known
        slope = np.polyfit(np.log([4, 8, 16, 32]), np.log(errors[2:]), 1)[0]
        assert -2.3 < slope < -1.6, "the error of straight pieces falls with the square of their number"


def sizes(*held: list[float]) -> list[Size]:
    return [Size(i, i + 1, np.zeros(len(h)), np.array(h)) for i, h in enumerate(held)]


def test_u_shaped_is_what_both_ends_are_worse_by_the_seeds() -> None:
    ten = np.ones(10)
    clear = _swept("net", sizes([*3 * ten], [*ten], [*2 * ten]))
    assert (clear.best, clear.worse_below, clear.worse_above, clear.u_shaped) == (1, 10, 10, True)
    mixed = _swept("net", sizes([*3 * ten], [*ten], [*(ten + ([0.5] * 7 + [-0.5] * 3))]))
    assert mixed.worse_above == 7 and not mixed.u_shaped and mixed.p_above == pytest.approx(0.171875)
    falling = _swept("net", sizes([*3 * ten], [*2 * ten], [*ten]))
    assert falling.best == 2 and not falling.u_shaped


def test_polynomials_of_noisy_rows_are_u_shaped() -> None:
    found = fit_capacity(widths=(2,), seeds=range(8), epochs=3, degrees=(0, 2, 3, 12))
    assert found.polynomials.u_shaped and found.polynomials.best in (2, 3)
    medians = [np.median(s.train) for s in found.polynomials.sizes]
    assert medians == sorted(medians, reverse=True), "at the rows themselves, larger is always better"


def test_errors_are_against_the_truth() -> None:
    """A line fitted to noiseless rows of x² is judged against x² itself, by numpy's own fit."""
    found = fit_capacity("square", widths=(1,), degrees=(1,), noise=0.0, rows=9, seeds=(4,), epochs=1)
    x = np.random.default_rng([4, 9]).choice(2001, 9, replace=False) / 1000 - 1
    line = np.polyfit(x, x**2, 1)
    at = np.linspace(-1, 1, 2001)
    between = (at[1:] + at[:-1]) / 2
    expected = np.sqrt(np.mean((np.polyval(line, between) - between**2) ** 2))
    assert found.polynomials.sizes[0].held[0] == pytest.approx(expected, rel=1e-5)


@pytest.mark.slow
def test_every_function_is_learned_better_than_by_a_line() -> None:
    found = fit_capacity(widths=(1,), degrees=(1,), seeds=range(3), epochs=250, functions=True)
    assert [f.target for f in found.functions] == list(FUNCTIONS)
    worst = max((f.trained.min() / f.line, f.target) for f in found.functions)
    assert worst[0] < 0.85, worst


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"rows": 2}, "Use 3 to 2001 rows"),
        ({"rows": 5, "degrees": (5,)}, "degrees below their number"),
        ({"noise": float("nan")}, "standard deviation"),
        ({"target": "gamma"}, "There is no function 'gamma'"),
    ],
)
def test_what_makes_no_sense_is_refused(settings: dict, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        fit_capacity(**settings)
