"""Facets, held to Qhull's duality and to one plain linear program per row."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest
from formulas.local_nets import random_net
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import linprog
from scipy.spatial import ConvexHull

from weightwalk.formulas.piecewise import PiecewiseNet, mlp
from weightwalk.formulas.points import minimal as minimal_module
from weightwalk.formulas.points.checks import certify
from weightwalk.formulas.points.facets import flips
from weightwalk.formulas.points.local import Local, local


def numpy_mlp(*sizes: int, seed: int = 0) -> PiecewiseNet:
    rng = np.random.default_rng(seed)
    weights = [rng.normal(size=(b, a)) * np.sqrt(2 / a) for a, b in itertools.pairwise(sizes)]
    return mlp(weights, [rng.normal(size=b) * 0.3 for b in sizes[1:]])


def qhull(found: Local, low: float, high: float) -> set[int]:
    """Facets by polar duality: row i is one if normal / slack is a vertex of the hull of all of them; in a box."""
    n = len(found.inside)
    slack = found.g - found.G @ found.inside
    moving = np.flatnonzero(np.isfinite(found.distance))
    sides = np.vstack([np.eye(n) / (high - found.inside), -np.eye(n) / (found.inside - low)])
    hull = ConvexHull(np.vstack([found.G[moving] / slack[moving, None], sides]))
    return {int(moving[v]) for v in hull.vertices if v < len(moving)}


def by_one_program_per_row(found: Local, low: float, high: float) -> set[int]:
    """Row i is a facet if without it some point of the box violates it; of equal rows the first is kept."""
    rows = np.flatnonzero(np.isfinite(found.distance))
    lengths = np.linalg.norm(found.G[rows], axis=1)
    G, g = found.G[rows] / lengths[:, None], found.g[rows] / lengths
    kept: list[int] = []
    for i in range(len(rows)):
        if not any(np.allclose(G[i], G[j], atol=1e-9) and abs(g[i] - g[j]) < 1e-9 for j in kept):
            kept.append(i)
    facets = set()
    for i in kept:
        others = [j for j in kept if j != i]
        A = np.vstack([G[others], G[i]])
        b = np.append(g[others], g[i] + 1.0)
        best = linprog(-G[i], A, b, bounds=[(low, high)] * found.net.n, method="highs")
        if -best.fun > g[i] + 1e-7:
            facets.add(int(rows[i]))
    return facets


@pytest.mark.parametrize("sizes", [(2, 16, 16, 1), (3, 12, 12, 2), (4, 10, 10, 1)])
@pytest.mark.parametrize("seed", range(3))
def test_minimal_rows_are_those_of_qhull(sizes: tuple[int, ...], seed: int) -> None:
    x = np.random.default_rng(seed).normal(size=sizes[0]) / 2
    found = local(numpy_mlp(*sizes, seed=seed), x, box=(-5.0, 5.0), minimal=True, rays=50)
    assert found.minimal.complete and found.minimal.status == "complete"
    expected = qhull(found, -5.0, 5.0)
    assert set(np.flatnonzero(found.facets)) == expected
    assert set(np.flatnonzero(found.rays.found)) <= expected
    assert found.certificate.ok, str(found.certificate)


@given(st.integers(0, 10**6), st.booleans())
def test_facets_of_degenerate_nets(seed: int, on_grid: bool) -> None:
    """Repeated, opposite, zero, concurrent rows; x often on kinks: every ray's facet is one, every program agrees."""
    rng = np.random.default_rng(seed)
    net = random_net(seed, integers=True)
    x = rng.integers(-4, 5, net.n) / 2.0 if on_grid else rng.uniform(-3, 3, net.n)
    found = local(net, x, box=(-3.0, 3.0), minimal=True, rays=32, seed=1)
    assert found.certificate.ok, str(found.certificate)
    expected = by_one_program_per_row(found, -3.0, 3.0)
    assert set(np.flatnonzero(found.rays.found)) <= expected
    assert found.minimal.complete, found.minimal.status
    assert set(np.flatnonzero(found.facets)) == expected


def test_rays_alone_find_all_facets_of_a_small_polygon_and_leave_the_rest_undecided() -> None:
    net = numpy_mlp(2, 16, 16, 1, seed=1)
    found = local(net, np.zeros(2), facets=True)
    assert found.minimal is None and found.chebyshev is None
    whole = local(net, np.zeros(2), minimal=True, box=(-1e4, 1e4))
    assert found.facets.tolist() == whole.facets.tolist()
    assert found.rays.rays > 4096
    assert found.rays.crossed == found.rays.flipped == found.facets.sum()


def test_sides_of_the_box_hide_facets_behind_them() -> None:
    net = mlp([np.array([[1.0, 0.0], [0.0, 1.0]]), np.ones((1, 2))], [np.array([-1.0, -3.0]), np.zeros(1)])
    assert local(net, [0.0, 0.0], facets=True).facets.tolist() == [True, True]
    inside = local(net, [0.0, 0.0], facets=True, minimal=True, box=(-2.0, 2.0))
    assert inside.facets.tolist() == [True, False]
    assert inside.chebyshev.radius == pytest.approx(1.5)
    assert inside.chebyshev.centre[0] == pytest.approx(-0.5)


def test_concurrent_rows_through_a_corner_are_not_facets() -> None:
    """x <= 1 and y <= 1 meet at (1, 1), where x + y <= 2 only touches: it is redundant."""
    net = mlp([np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]]), np.ones((1, 3))],
              [np.array([-1.0, -1.0, -2.0]), np.zeros(1)])  # fmt: skip
    found = local(net, [0.0, 0.0], minimal=True)
    assert found.facets.tolist() == [True, True, False]
    assert found.minimal.complete


def test_chebyshev_ball_of_a_triangle() -> None:
    """x, y >= 0 and x + y <= 1: the incircle has radius 1 / (2 + sqrt 2)."""
    net = mlp([np.array([[1.0, 0.0], [0.0, 1.0], [-1.0, -1.0]]), np.ones((1, 3))],
              [np.array([0.0, 0.0, 1.0]), np.zeros(1)])  # fmt: skip
    found = local(net, [0.2, 0.3], minimal=True)
    radius = 1 / (2 + np.sqrt(2))
    assert found.chebyshev.status == "optimal"
    assert found.chebyshev.radius == pytest.approx(radius)
    np.testing.assert_allclose(found.chebyshev.centre, [radius, radius])
    assert found.certificate["Chebyshev ball"].ok
    ball = replace(found.chebyshev, radius=radius * 1.001)
    wrong = replace(found, minimal=replace(found.minimal, chebyshev=ball))
    assert [c.name[:9] for c in certify(wrong, found.net, 0).failures] == ["Chebyshev"]


def test_an_unbounded_region_says_so() -> None:
    found = local(mlp([np.eye(2), np.ones((1, 2))], [np.zeros(2), np.zeros(1)]), [1.0, 1.0], minimal=True)
    assert (found.chebyshev.centre, found.chebyshev.radius) == (None, np.inf)
    assert found.chebyshev.status == "unbounded: give a box"
    assert found.facets.tolist() == [True, True]


def test_out_of_time_is_told_with_how_far_it_came(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter(np.arange(0.0, 1e6, 1.0))
    monkeypatch.setattr(minimal_module.time, "perf_counter", lambda: next(clock))
    found = local(numpy_mlp(10, 32, 32, 1), np.zeros(10), minimal=True, rays=4, budget=30.0, box=(-9.0, 9.0))
    assert not found.minimal.complete
    assert 0 < found.minimal.decided < found.minimal.of == 64
    assert found.minimal.status == (f"stopped after {found.minimal.decided} of 64 rows: the budget of 30 s was spent")
    assert found.certificate.ok


def test_aimed_rays_meet_every_facet_of_independent_rows() -> None:
    """More inputs than rows, none depending on others: all rows are facets, and each is met by the ray aimed at it."""
    found = local(numpy_mlp(60, 50, 1), np.zeros(60), facets=True, rays=50)
    assert found.facets.all()
    assert found.rays.rays <= 150  # 50 along normals, 50 at random, and only what was not met is aimed at
    assert found.certificate.ok


def test_same_seed_same_facets() -> None:
    net = numpy_mlp(10, 32, 32, 1)
    a, b, c = (local(net, np.ones(10), facets=True, rays=128, seed=s) for s in (3, 3, 4))
    assert a.facets.tolist() == b.facets.tolist()
    assert str(a.certificate) == str(b.certificate)
    assert a.facets.tolist() != c.facets.tolist()


def test_stepping_over_two_kinks_at_once_is_noticed() -> None:
    found = local(numpy_mlp(3, 20, 1), np.zeros(3))
    order = np.argsort(found.distance)
    near, far = int(order[0]), int(order[5])
    normal = found.G[near] / np.linalg.norm(found.G[near])
    same, still = np.arange(len(found.rows)), np.zeros(0, np.int64)
    beyond = found.x + np.outer([found.distance[near] * (1 + 1e-6), found.distance[far] * 50, 0.0], normal)
    assert flips(found.region, same, still, np.array([near, near, near]), beyond).tolist() == [True, False, False]
    assert flips(found.region, same, still, np.array([far]), beyond[:1]).tolist() == [False]


def test_a_facet_that_flips_another_unit_fails_the_certificate() -> None:
    found = local(numpy_mlp(3, 8, 1), np.zeros(3), facets=True)
    less = replace(found.rays, flipped=found.rays.flipped - 1)
    failures = certify(replace(found, rays=less), found.net, 0).failures
    assert [c.found for c in failures] == [1]
