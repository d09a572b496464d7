"""Exact Sobol' indices against closed forms, a fine grid and SALib."""

from __future__ import annotations

import dataclasses
import re

import numpy as np
import pytest
from slowplane import partition

from weightwalk.cli.formula_jobs import _shares
from weightwalk.errors import UsageError
from weightwalk.formulas.fits.rank import sensitivity
from weightwalk.formulas.integrals.decomposition import indices
from weightwalk.formulas.lines.line import line
from weightwalk.formulas.piecewise import mlp
from weightwalk.formulas.planes.plane import partition as enumerate_plane
from weightwalk.show.terminal import plain

BOX = ((-1.0, 2.0), (0.0, 0.5))


def random_net(seed: int, *widths: int):
    draw = np.random.default_rng(seed)
    sizes = list(zip(widths[1:], widths[:-1], strict=True))
    return [draw.normal(size=size) for size in sizes], [draw.normal(size=rows) for rows, _ in sizes]


def test_an_absolute_value_of_a_sum() -> None:
    """|x + y| on [-1, 1]^2: E[f | x] = (x^2 + 1) / 2 has variance 1/45, f has 2/9: S = 1/10, interaction 8/10."""
    found = indices(partition([np.array([[1.0, 1], [-1, -1]]), np.ones((1, 2))], [np.zeros(2), np.zeros(1)]))
    np.testing.assert_allclose(found.first, [[0.1, 0.1]], rtol=1e-14)
    np.testing.assert_allclose(found.total, [[0.9, 0.9]], rtol=1e-14)
    np.testing.assert_allclose(found.interaction, [0.8], rtol=1e-14)
    np.testing.assert_allclose(found.variance, [2 / 9], rtol=1e-14)
    assert found.certificate.ok, found.certificate


def test_a_sum_of_two_functions_has_no_interaction_and_a_plane_its_squares() -> None:
    """|x| + 2 |y| on [-1, 1]^2: variances 1/12 and 4/12. 3 x - y on [-1, 2] x [0, 1/2]: 81/12 and 1/48."""
    found = indices(
        partition(
            [np.array([[1.0, 0], [-1, 0], [0, 1], [0, -1]]), np.array([[1.0, 1, 2, 2]])], [np.zeros(4), np.zeros(1)]
        )
    )
    np.testing.assert_allclose(found.first, [[0.2, 0.8]], rtol=1e-14)
    np.testing.assert_allclose(found.interaction, [0.0], atol=1e-14)
    plane = indices(partition([np.array([[3.0, -1.0]])], [np.array([7.0])], box=BOX))
    np.testing.assert_allclose(plane.first, [[324 / 325, 1 / 325]], rtol=1e-12)


@pytest.mark.parametrize("seed", range(3))
def test_a_fine_grid_agrees(seed: int) -> None:
    """The oracle runs the net on 1,500 x 1,500 midpoints; on a grid of step h its indices are off by about h^2."""
    weights, biases = random_net(seed, 2, 6, 5, 2)
    found = indices(partition(weights, biases, box=BOX))
    assert found.certificate.ok, found.certificate
    axes = [lo + (hi - lo) * (np.arange(1500) + 0.5) / 1500 for lo, hi in BOX]
    net = mlp(weights, biases)
    y = np.stack([net(np.stack([np.full(1500, s), axes[1]], 1)) for s in axes[0]])  # (s, t, outputs)
    for out in range(2):
        alone = [y[..., out].mean(1).var(), y[..., out].mean(0).var()]
        np.testing.assert_allclose(found.first[out], np.array(alone) / y[..., out].var(), atol=1e-5)


def test_salib_agrees_on_an_enumerated_net() -> None:
    """Within three times SALib's 95 % confidence: a false alarm in one of four has a probability below 1e-7."""
    net = mlp(*random_net(5, 2, 24, 24, 1))
    exact = indices(enumerate_plane(net, BOX))
    sampled = sensitivity(net, BOX, samples=1024)
    for measure, values in (("first-order", exact.first[0]), ("total", exact.total[0])):
        ranking = sampled[measure]
        assert ranking.confidence is not None
        assert (np.abs(ranking.values - values) <= 3 * ranking.confidence).all()


def test_near_vertical_edges_and_thin_gaps_cost_no_digits() -> None:
    """Kinks at x = 1e-9 y, and at x = 1e-13: close to |x|, whose one index is 1."""
    weights = [np.array([[1.0, -1e-9], [-1.0, 1e-9], [1.0, 0.0]]), np.array([[1.0, 1.0, 1e-3]])]
    found = indices(enumerate_plane(mlp(weights, [np.array([0.0, 0.0, -1e-13]), np.zeros(1)])))
    np.testing.assert_allclose(found.first, [[1.0, 0.0]], atol=1e-13)
    assert found.certificate.ok


def test_it_is_done_in_pieces_of_bounded_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    of = enumerate_plane(mlp(*random_net(6, 2, 12, 12, 1)))
    whole = indices(of)
    monkeypatch.setattr("weightwalk.formulas.integrals.decomposition.PAIRS", 50)
    np.testing.assert_allclose(indices(of).first, whole.first, rtol=1e-12)


def test_a_wrong_map_fails_the_check() -> None:
    of = partition(*random_net(1, 2, 5, 1))
    wrong = dataclasses.replace(of, offsets=of.offsets + 0.01)
    assert [c.name[:12] for c in indices(wrong).certificate.failures] == ["|mean of the"]


def test_a_constant_has_no_indices() -> None:
    assert np.isnan(indices(partition([np.zeros((1, 2))], [np.array([3.0])])).first).all()


def test_what_has_no_indices_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match="A line has one coordinate, which explains all of the variance"):
        indices(line(mlp([np.ones((1, 1))], [np.zeros(1)]), 0.0, 1.0))  # pyright: ignore[reportArgumentType]
    monkeypatch.setattr("weightwalk.formulas.integrals.decomposition.MOST", 10)
    with pytest.raises(UsageError, match=r"would sum \d+ crossings, more than 10: take a smaller box"):
        indices(partition(*random_net(1, 2, 5, 1)))


def test_how_it_reads() -> None:
    kinks = np.array([[1.0, 1], [-1, -1]])
    text = plain(indices(partition([kinks, np.ones((1, 2))], [np.zeros(2), np.zeros(1)])))
    assert "Sobol' indices: shares of the variance, exactly" in text
    assert [line.split()[-2:] for line in text.splitlines() if line.strip().startswith("x[")] == [["0.1", "0.9"]] * 2
    assert re.search("both together +0.8", text)


def test_the_command_leaves_out_what_would_take_minutes(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("weightwalk.formulas.integrals.decomposition.MOST", 10)
    assert _shares(partition(*random_net(1, 2, 5, 1))) == []
    assert "crossings, more than 10: take a smaller box" in capsys.readouterr().err
