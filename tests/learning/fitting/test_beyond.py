"""Beyond the examples: Newton's digits against integer roots, last lines against the nets, steps against `train`."""

from __future__ import annotations

from decimal import Decimal, getcontext, localcontext
from itertools import pairwise
from math import isqrt

import numpy as np
import pytest

from weightwalk.errors import UsageError
from weightwalk.learning.fitting.beyond import fit_beyond, newton_trace
from weightwalk.learning.tasks import task_of
from weightwalk.learning.train import train


def test_the_root_of_eight_from_four() -> None:
    trace = newton_trace(8, 4)
    said = [f"{g.value:.10f}" for g in trace[1:5]]
    assert said == ["3.0000000000", "2.8333333333", "2.8284313725", "2.8284271247"]
    assert abs(trace[5].in_float64) == pytest.approx(4e-16, abs=1e-16), "five steps"
    assert [g.kept for g in trace] == [None, *[True] * (len(trace) - 1)]
    ratios = [b.digits / a.digits for a, b in pairwise(trace[2:8])]
    assert all(1.9 < r < 2.2 for r in ratios), "digits double"


@pytest.fixture(autouse=True)
def own_decimals():
    with localcontext():
        yield


@pytest.mark.parametrize(("x", "start"), [(8, 4), (2, 1), (0.25, 3), (1e-6, 1), (123456.75, 10)])
def test_digits_are_those_of_the_integer_root(x: float, start: float) -> None:
    """isqrt gives the digits of √x with no division and no iteration of ours."""
    getcontext().prec = 300
    places = 100
    scaled = Decimal(x) * Decimal(10) ** (2 * places)
    root = isqrt(int(scaled))
    for guess in newton_trace(x, start, most=30):
        error = guess.value * Decimal(10) ** places - root
        relative = abs(float(error / Decimal(root)))
        if relative > 1e-90:
            assert guess.digits == pytest.approx(-np.log10(relative), abs=1e-6)
        assert guess.kept is not False
        if guess.step:
            assert error > -2, "no guess after the first lies below the root"


def test_a_number_that_is_its_own_root_needs_no_step() -> None:
    assert [g.step for g in newton_trace(1, 1)] == [0]


@pytest.fixture(scope="module")
def found():
    return fit_beyond(seeds=(2, 6), rates=(0.01, 0.1), steps=25, numbers=(8.0, 100.0, 1e4))


def test_far_out_a_net_is_its_last_line(found) -> None:
    for i, tail in enumerate(found.tails):
        assert tail.certified
        for place in found.places:
            if place.x > tail.kink:
                assert place.said[i] == pytest.approx(tail.slope * place.x + tail.intercept, rel=1e-5)
    assert all(abs(place.said / place.root - 1).min() > 0.5 for place in found.places if place.x >= 100)
    assert (np.abs(found.places[0].said - np.sqrt(8)) < 0.1).all()
    assert all(abs(place.newton - place.root) <= 2 * np.spacing(place.root) for place in found.places)


def test_the_nets_are_those_of_the_task(found) -> None:
    history = train("sqrt", seed=6)
    assert found.at_examples[1] == pytest.approx(np.sqrt(history.final), rel=2e-3)
    assert found.between[1] == pytest.approx(np.sqrt(history.held_losses[-1]), rel=2e-3)


def test_steps_that_rise_are_counted_as_train_meets_them(found) -> None:
    task = task_of("sqrt")
    for rate in found.rates:
        rises = 0
        for seed in found.seeds:
            history = train(task, seed=seed, optimizer="sgd", lr=rate.lr, epochs=25)
            losses = [*history.losses, history.final]
            rises += sum(b > a for a, b in pairwise(losses))
        assert abs(rate.rises - rises) <= 1, "float32 decides a tie its own way"
    calm, wild = found.rates
    assert calm.rises == 0 and calm.worst is None and wild.rises > 0
    seed, step, before, after = wild.worst
    history = train(task, seed=seed, optimizer="sgd", lr=0.1, epochs=25)
    assert history.losses[step] == pytest.approx(before, rel=1e-2) and after > before


def test_dead_nets_are_counted() -> None:
    """At rate 0.3 seven of ten seeds lose all units; a net without a unit answers one number everywhere."""
    found = fit_beyond(seeds=range(4), rates=(0.3,), steps=60, numbers=(2.0,), epochs=5)
    rate = found.rates[0]
    ends = rate.curve[:, -1]
    constant = task_of("sqrt").data.targets.var(correction=0).item()
    assert 0 < rate.stalled <= int((np.abs(ends - constant) < 1e-3).sum()) < 4


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"numbers": (0.0,)}, "positive number"),
        ({"numbers": (float("inf"),)}, "positive number"),
        ({"traced": -1.0}, "positive number"),
        ({"start": 0.0}, "positive start"),
        ({"rates": (0.0,)}, "Rates are positive"),
        ({"steps": 0}, "at least one step"),
    ],
)
def test_what_has_no_root_is_refused(settings: dict, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        fit_beyond(**settings)
