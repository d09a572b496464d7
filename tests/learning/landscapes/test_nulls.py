"""The random walk's shares: closed forms against an SVD of walks that were really walked."""

from __future__ import annotations

import numpy as np
import pytest

from weightwalk.learning.landscapes.nulls import limit_shares, shares_of_steps, simulated_shares, walk_shares


def shares(points: np.ndarray, anchored: bool) -> np.ndarray:
    """By definition: squared singular values of the points around their mean, or around the last."""
    around = points - (points[-1] if anchored else points.mean(axis=0))
    values = np.linalg.svd(around, compute_uv=False) ** 2
    return values / values.sum()


def walked(lengths: np.ndarray, dimensions: int, seed: int) -> np.ndarray:
    steps = np.random.default_rng(seed).standard_normal((len(lengths), dimensions)) / np.sqrt(dimensions)
    return np.concatenate([np.zeros((1, dimensions)), (steps * lengths[:, None]).cumsum(axis=0)])


def test_the_limit_is_that_of_antognini_and_sohl_dickstein() -> None:
    np.testing.assert_allclose(limit_shares(5), [0.6079, 0.1520, 0.0675, 0.0380, 0.0243], atol=5e-5)
    assert limit_shares(2).sum() == pytest.approx(0.76, abs=0.0001)  # not the 80 % of the author's blog
    np.testing.assert_allclose(walk_shares(100_000, 5), limit_shares(5), rtol=1e-8)
    assert limit_shares(100_000).sum() == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("anchored", [False, True])
@pytest.mark.parametrize("points", [2, 3, 10, 61])
def test_the_closed_form_is_the_eigenvalue_problem(points: int, anchored: bool) -> None:
    """Orthogonal steps of equal length are the walk of infinitely many dimensions."""
    walk = np.concatenate([np.zeros((1, points - 1)), np.tril(np.ones((points - 1, points - 1)))])
    wanted = shares(walk, anchored)[:5]
    found = walk_shares(points, anchored=anchored)
    np.testing.assert_allclose(found[: len(wanted)], wanted, atol=1e-12)
    assert found[len(wanted) :].sum() == 0
    np.testing.assert_allclose(shares_of_steps(np.ones(points - 1), anchored=anchored), found, atol=1e-12)


@pytest.mark.parametrize("anchored", [False, True])
def test_unequal_steps(anchored: bool) -> None:
    lengths = np.geomspace(1, 0.01, 40)
    walk = np.concatenate([np.zeros((1, 40)), np.tril(np.ones((40, 40))) * lengths])
    np.testing.assert_allclose(shares_of_steps(lengths, anchored=anchored), shares(walk, anchored)[:5], atol=1e-12)
    np.testing.assert_allclose(shares_of_steps(lengths)[0], shares_of_steps(7 * lengths)[0])


@pytest.mark.parametrize("dimensions", [7, 39, 300])
@pytest.mark.parametrize("anchored", [False, True])
def test_simulated_walks_are_distributed_as_walks(dimensions: int, anchored: bool) -> None:
    """Means of 400 walks by Bartlett and of 400 by walking: five standard errors of the difference (1 in 10⁶)."""
    lengths = np.linspace(1.5, 0.5, 39)
    found = simulated_shares(40, dimensions, lengths=lengths, seed=1, repeats=400, anchored=anchored)[:, :3]
    wanted = np.array([shares(walked(lengths, dimensions, 10_000 + s), anchored)[:3] for s in range(400)])
    error = np.sqrt((found.var(axis=0) + wanted.var(axis=0)) / 400)
    assert (np.abs(found.mean(axis=0) - wanted.mean(axis=0)) < 5 * error).all()


def test_many_dimensions_come_to_the_formula() -> None:
    found = simulated_shares(61, 10_000_000, seed=0, repeats=5)
    np.testing.assert_allclose(found, np.tile(walk_shares(61), (5, 1)), atol=1e-3)
    np.testing.assert_array_equal(found, simulated_shares(61, 10_000_000, seed=0, repeats=5))


def test_paths_without_variance_have_no_share() -> None:
    assert not walk_shares(1).any() and not walk_shares(0).any()
    assert not shares_of_steps(np.zeros(4)).any()
    assert not simulated_shares(1, 10).any()
