"""Curves through points: errors at the points and at points left out, by independent loops."""

from __future__ import annotations

import numpy as np
import pytest

from weightwalk.errors import UsageError
from weightwalk.learning.fitting.points import SIX, fit_points, name_of
from weightwalk.learning.fitting.stacks import fit_many, started


def test_the_chain_foresees_by_its_neighbours() -> None:
    """Of equally spaced points on a parabola: the ends by the line through the next two, the others by the middle."""
    x = np.arange(5.0)
    found = fit_points(np.column_stack([x, x**2]), degrees=(2,), widths=())
    errors = [0 - (1 - 3), 1 - 2, 4 - 5, 9 - 10, 16 - (9 + 5)]
    assert found.curves[0].loo == pytest.approx(np.sqrt(np.mean(np.square(errors))))
    assert found.curves[0].rmse == 0 and found.best == "polynomial 2"


def test_nets_are_really_fitted_without_each_point() -> None:
    found = fit_points(widths=(3,), degrees=(1,), seeds=(5,), epochs=40)
    net = found.curves[-1]
    points = np.array(SIX)
    errors = []
    for i in range(6):
        rest = np.delete(points, i, axis=0)
        mean, scale = rest.mean(axis=0), rest.std(axis=0)
        rows = (rest - mean) / scale
        stack = fit_many(started((1, 3, 1), [5]), rows[:, :1], rows[:, 1:], lr=0.02, epochs=40, decay=True)
        said = stack((points[i : i + 1, :1] - mean[0]) / scale[0])[0, 0, 0] * scale[1] + mean[1]
        errors.append(said - points[i, 1])
    assert net.loo == pytest.approx(np.sqrt(np.mean(np.square(errors))), rel=1e-4)
    assert net.parameters == 10


def test_a_wide_net_goes_through_all_points_and_foresees_worse_than_the_line() -> None:
    found = fit_points(widths=(64,), seeds=(0, 1), epochs=900)
    by_name = {name_of(c): c for c in found.curves}
    wide, line = by_name["net 64"], by_name["polynomial 1"]
    assert wide.rmse < 0.1 and line.rmse > 23
    assert wide.loo > 1.5 * line.loo and found.best == "polynomial 1"
    assert set(found.passing) == {"chain", "polynomial 5", "net 64"}


def test_the_order_of_the_points_does_not_matter() -> None:
    here, there = (fit_points(p, widths=(2,), seeds=(0,), epochs=10) for p in (SIX, SIX[::-1]))
    for a, b in zip(here.curves, there.curves, strict=True):
        assert (a.rmse, a.loo) == pytest.approx((b.rmse, b.loo), nan_ok=True)


def test_many_points_are_left_out_in_groups() -> None:
    x = np.linspace(0, 1, 45)
    found = fit_points(np.column_stack([x, x]), degrees=(1,), widths=(2,), seeds=(0,), epochs=3)
    assert found.groups == 20 and np.isfinite(found.curves[-1].loo)


def test_the_frame_has_a_row_per_curve() -> None:
    pytest.importorskip("pandas")
    table = fit_points(widths=()).frame()
    assert table.kind.tolist() == ["chain", *["polynomial"] * 6] and table.leave_one_out.isna().tolist()[-1]


@pytest.mark.parametrize(
    ("points", "message"),
    [
        ([(0, 1), (0, 2), (0, 3)], "here are 1"),
        ([(0, 1), (1, 2)], "here are 2"),
        ([(0, 1, 2), (1, 2, 3), (2, 3, 4)], "got shape (3, 3)"),
        ([(0, "a")], "pairs of numbers"),
        ([(0, 1), (1, np.nan), (2, 3)], "Point 1"),
        ([], "got shape (0,)"),
    ],
)
def test_what_is_no_set_of_points_is_refused(points: list, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        fit_points(points)
    assert message in str(caught.value)
