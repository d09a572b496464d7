"""Learning curves: laws that are known are found again."""

from __future__ import annotations

import numpy as np
import pytest

from weightwalk.errors import UsageError
from weightwalk.learning.fitting.data import bent_law, fit_data

SIZES = np.array([8, 16, 32, 64, 128, 256, 512, 1024])


def noisy(means: np.ndarray, seeds: int = 8) -> np.ndarray:
    return means * np.exp(0.05 * np.random.default_rng(0).standard_normal((seeds, len(means))))


def test_a_power_law_is_found_with_its_slope_in_the_interval() -> None:
    law, after, _ = bent_law(SIZES, noisy(5.0 * SIZES**-0.7))
    assert after is None and law.low == 8 and law.high == 1024
    assert law.interval[0] < -0.7 < law.interval[1] and law.slope == pytest.approx(-0.7, abs=0.03)
    assert law.scale * 100**law.slope == pytest.approx(5 * 100**-0.7, rel=0.05)


def test_a_floor_bends_it_where_it_begins() -> None:
    law, after, gain = bent_law(SIZES, noisy(np.where(SIZES < 128, 5.0 / SIZES, 5.0 / 128)))
    assert after is not None and gain > 0.9
    assert (law.low, law.high, after.low, after.high) == (8, 128, 128, 1024)
    assert law.slope == pytest.approx(-1, abs=0.05) and after.slope == pytest.approx(0, abs=0.05)
    assert law.scale * 128**law.slope == pytest.approx(after.scale * 128**after.slope, rel=1e-6), "they meet"


def test_a_net_that_diverged_is_left_out_of_the_mean() -> None:
    held = np.tile(3.0 / SIZES, (4, 1))
    held[1, 2] = np.nan
    law, after, _ = bent_law(SIZES, held)
    assert law.slope == pytest.approx(-1) and after is None


def test_more_examples_lower_the_held_out_loss_and_raise_the_training_loss() -> None:
    found = fit_data(sizes=(8, 32, 128, 512), widths=(32,), seeds=range(3), updates=250)
    curve = found.curves[0]
    held, train = curve.held.mean(axis=0), curve.train.mean(axis=0)
    assert (np.diff(held) < 0).all() and train[0] < found.noise < held[0]
    assert train[-1] > train[0] and curve.law.interval[1] < 0
    assert curve.flops[0] == 6 * curve.parameters * 8 * 250 and curve.flops[-1] == 6 * curve.parameters * 512 * 31


def test_the_frame_has_a_row_per_width_size_and_seed() -> None:
    pytest.importorskip("pandas")
    assert len(fit_data(sizes=(2, 4, 8), widths=(2, 3), seeds=(0, 1), updates=2).frame()) == 12


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"sizes": (1, 2)}, "three numbers of examples"),
        ({"sizes": (0, 1, 2)}, "three numbers of examples"),
        ({"widths": ()}, "widths none"),
        ({"noise": -1.0}, "noise is 0 or more"),
        ({"updates": 0}, "updates and batch 1 or more"),
    ],
)
def test_what_makes_no_sense_is_refused(settings: dict, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        fit_data(**settings)


def test_the_interval_holds_the_slope_about_as_often_as_it_says() -> None:
    """Of 100 draws 95 held it when this was written; below 16 of 20 it comes with probability 0.003 at most."""
    held = [5.0 * SIZES**-0.7 * np.exp(0.05 * np.random.default_rng(i).standard_normal((8, 8))) for i in range(20)]
    laws = [bent_law(SIZES, h) for h in held]
    assert sum(law.interval[0] < -0.7 < law.interval[1] for law, _, _ in laws) >= 16
    assert all(after is None for _, after, _ in laws), "no bend is seen where there is none"
