"""Regions: distances by walking to the border, accuracy and abstaining by slow loops."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.spatial import cKDTree

from weightwalk.errors import UsageError
from weightwalk.learning.fitting.regions import (
    CORNERS,
    Width,
    _calibration,
    _covered,
    _monotone,
    _threshold,
    border_distance,
    fit_regions,
)
from weightwalk.learning.train import train
from weightwalk.nets import tasks


def test_the_corners_are_those_of_the_task() -> None:
    assert CORNERS == tasks.CORNERS


def test_distance_to_the_border_is_the_radius_of_the_greatest_ball_that_changes_nothing() -> None:
    points = np.random.default_rng(0).uniform(0, 1, (60, 2))
    found = border_distance(points)
    angles = np.linspace(0, 2 * np.pi, 2000, endpoint=False)
    circle = np.column_stack([np.cos(angles), np.sin(angles)])
    tree = cKDTree(CORNERS)
    for point, radius in zip(points, found, strict=True):
        own = tree.query(point)[1]
        assert (tree.query(point + 0.999 * radius * circle)[1] == own).all()
        assert (tree.query(point + (radius + 1e-3) * circle)[1] != own).any()


P = np.array([[0.9, 0.4, 0.8, 0.6], [0.5, 0.99, 0.7, 0.95]])
RIGHT = np.array([[True, False, True, True], [False, True, True, True]])


def test_abstaining_by_a_slow_loop() -> None:
    coverage, covered = _covered(P, RIGHT)
    for s in range(2):
        for share, accuracy in zip(coverage, covered[s], strict=True):
            some = sorted(range(4), key=lambda i: -P[s, i])[: round(4 * share)]
            assert accuracy == pytest.approx(np.mean([RIGHT[s, i] for i in some]))
    assert coverage[-1] == 1.0 and covered[0, -1] == 0.75


def test_the_threshold_is_the_least_that_keeps_the_promise() -> None:
    assert _threshold(P, RIGHT, 0.999) == (0.6, 6 / 8)  # 0.5 and 0.4 are wrong
    assert np.isnan(_threshold(P, ~RIGHT, 0.999)).all()
    assert _threshold(P, RIGHT | True, 0.999) == (0.4, 1.0)


def test_calibration_adds_up() -> None:
    bins, error = _calibration(P, RIGHT)
    assert bins[:, 2].sum() == pytest.approx(1)
    assert (bins[:, 0] * bins[:, 2]).sum() == pytest.approx(P.mean())
    assert (bins[:, 1] * bins[:, 2]).sum() == pytest.approx(RIGHT.mean())
    assert error == pytest.approx(np.sum(bins[:, 2] * np.abs(bins[:, 0] - bins[:, 1])))


@pytest.mark.parametrize(
    ("gains", "verdict"),
    [([(0.1, 0.2)], "yes"), ([(0.1, 0.2), (-0.1, 0.2)], "not refuted"), ([(-0.2, -0.1), (0.1, 0.2)], "no")],
)
def test_larger_is_better_only_if_every_step_is(gains: list, verdict: str) -> None:
    widths = [Width(1, 9, np.zeros(2), 0.5, (0.4, 0.6), gain) for gain in [None, *gains]]
    assert _monotone(widths) == verdict


def test_accuracy_is_that_of_the_nets_trained_alone() -> None:
    found = fit_regions(widths=(4,), seeds=(3,), epochs=60, rows=80)
    task = tasks.TASKS["nearest"](width=4, points=80)
    history = train(task, seed=3, epochs=60)
    ticks = (np.arange(200) + 0.5) / 200
    grid = np.stack(np.meshgrid(ticks, ticks, indexing="ij"), axis=-1).reshape(-1, 2)
    nearest = cKDTree(CORNERS).query(grid)[1]
    assert history.module is not None
    with torch.no_grad():
        said = history.module(torch.from_numpy(grid).float()).argmax(dim=1).numpy()
    assert found.widths[0].accuracy[0] == pytest.approx((said == nearest).mean(), abs=2e-3)
    assert (found.truth.reshape(-1) != nearest).sum() <= 5, "but for points on a border"
    assert found.maps[0].shape == (200, 200)


def test_errors_lie_at_the_border() -> None:
    found = fit_regions(widths=(2, 16), seeds=range(4), epochs=250)
    assert found.widths[1].mean > 0.95 > found.widths[0].mean
    near, far = found.belts[0], found.belts[-1]
    assert near.error > 0.1 and far.error < 0.01 and near.confidence < far.confidence
    assert sum(b.share for b in found.belts) == pytest.approx(1)
    assert sum(b.wrong for b in found.belts) == pytest.approx(1)
    everywhere = sum(b.error * b.share for b in found.belts)
    assert everywhere == pytest.approx(1 - found.widths[1].mean, rel=1e-9)
    assert (found.covered[:, 49] >= found.covered[:, -1]).all(), "the surer half is no worse than the whole"


def test_what_makes_no_sense_is_refused() -> None:
    for settings in ({"widths": ()}, {"widths": (0,)}, {"rows": 0}):
        with pytest.raises(UsageError, match="a width and a row"):
            fit_regions(**settings)
