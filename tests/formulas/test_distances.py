"""Rows stored, streamed, swept backwards and sketched: the same distances, in the memory that is allowed."""

from __future__ import annotations

import itertools
import tracemalloc
from dataclasses import replace

import numpy as np
import pytest
import scipy.sparse
from formulas.local_nets import activation, dense, random_net
from scipy.sparse.linalg import aslinearoperator

from weightwalk.formulas.piecewise import Affine, Layer, PiecewiseNet, mlp
from weightwalk.formulas.points import distances
from weightwalk.formulas.points.checks import certify
from weightwalk.formulas.points.frozen import Frozen, half_spaces
from weightwalk.formulas.points.local import local
from weightwalk.formulas.points.matrices import after, before, cost, row_norms, some_columns, some_rows, term_sizes


def numpy_mlp(*sizes: int, seed: int = 0) -> PiecewiseNet:
    rng = np.random.default_rng(seed)
    weights = [rng.normal(size=(b, a)) * np.sqrt(2 / a) for a, b in itertools.pairwise(sizes)]
    return mlp(weights, [rng.normal(size=b) * 0.3 for b in sizes[1:]])


@pytest.mark.parametrize("wrap", [np.asarray, scipy.sparse.csr_array, scipy.sparse.coo_array, aslinearoperator])
def test_a_matrix_of_any_kind(wrap: object) -> None:
    plain = np.array([[1.0, 0.0, -2.0, 0.5], [0.0, 0.0, 3.0, 0.0], [4.0, 5.0, 0.0, -1.0]])
    matrix = wrap(plain)  # type: ignore[operator]
    left, right = np.arange(6.0).reshape(2, 3), np.arange(8.0).reshape(4, 2)
    np.testing.assert_array_equal(after(matrix, right), plain @ right)
    np.testing.assert_array_equal(before(left, matrix), left @ plain)
    np.testing.assert_array_equal(some_rows(matrix, np.array([2, 0, 2])), plain[[2, 0, 2]])
    np.testing.assert_array_equal(some_columns(matrix, 1, 3), plain[:, 1:3])
    np.testing.assert_allclose(row_norms(matrix, memory=64), np.linalg.norm(plain, axis=1), rtol=1e-15)
    sizes = term_sizes(Affine(((0, matrix),), np.zeros(3)), np.array([2, 1]), [np.array([[1.0, -2.0, 3.0, -4.0]])], 64)
    np.testing.assert_array_equal(sizes, [[4 + 10 + 4, 9]])
    assert cost(matrix) == (4 if wrap is np.asarray else 8 * 7 if wrap is aslinearoperator else 7)


@pytest.mark.parametrize("seed", range(30))
def test_forward_and_reverse_passes_give_the_same_rows(seed: int) -> None:
    net = random_net(seed, integers=bool(seed % 2))
    x = np.random.default_rng(seed).normal(size=net.n)
    frozen = Frozen(net, tuple(p[0] for p in net.pattern(x[None])))
    forward = list(frozen.columns(0, net.n))
    _, tangents = frozen.run(np.eye(net.n), 0.0)
    for k, layer in enumerate(net.layers):
        back = frozen.rows(k, np.arange(layer.size))
        np.testing.assert_allclose(back, forward[k], rtol=0, atol=1e-12)
        np.testing.assert_allclose(tangents[k].T, forward[k], rtol=0, atol=1e-12)
    np.testing.assert_allclose(frozen.output_rows(np.arange(net.output.size)), forward[-1], rtol=0, atol=1e-12)
    y, _ = frozen.run(x[None])
    np.testing.assert_allclose(y, net(x[None]), rtol=0, atol=1e-12)


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("method", ["stored", "streamed"])
def test_all_ways_give_the_same_lengths(method: str, reverse: bool) -> None:
    net = numpy_mlp(7, 11, 13, 2)
    frozen = Frozen(net, tuple(p[0] for p in net.pattern(np.ones((1, 7)))))
    rows = half_spaces(frozen)
    told: list[tuple[int, int]] = []
    ways = distances.Plan(method, reverse, 3, 0, 0, "")
    found = distances.lengths(frozen, rows, ways, 0, lambda done, total: told.append((done, total)))
    expected = np.vstack(list(list(frozen.columns(0, 7))[:-1]))
    np.testing.assert_allclose(np.concatenate(found.norms), np.linalg.norm(expected, axis=1), rtol=1e-12)
    if method == "stored":
        np.testing.assert_allclose(found.G, expected * rows.sign[:, None], rtol=0, atol=1e-14)
    else:
        assert found.G is None
    total = 24 if reverse else 7
    assert told[-1] == (total, total)
    assert told == sorted(told)


def test_without_the_polytope_all_but_G_is_the_same() -> None:
    net = numpy_mlp(20, 30, 30, 2)
    x = np.linspace(-1, 1, 20)
    a, b = (
        local(net, x, direction=np.ones(20), facets=True),
        local(net, x, direction=np.ones(20), facets=True, polytope=False),
    )
    assert b.G is None and a.G.shape == (60, 20)
    np.testing.assert_allclose(b.distance, a.distance, rtol=1e-12)
    assert b.nearest.unit == a.nearest.unit
    assert [w.unit for w in a.along] == [w.unit for w in b.along]
    assert b.facets.any() and (a.facets >= b.facets).all()  # fewer rays are aimed without G
    assert b.certificate.ok and b.note == ""


def test_a_polytope_beyond_the_memory_is_left_out_and_said() -> None:
    net = numpy_mlp(100, 400, 300, 2)
    found = local(net, np.ones(100), memory=400_000)
    assert found.G is None
    assert found.note == (
        "The polytope is left out: 700 rows of 100 numbers take 560,000 bytes, more than the memory allowed, "
        "398,400 bytes."
    )
    np.testing.assert_allclose(found.distance, local(net, np.ones(100)).distance, rtol=1e-10)
    assert found.certificate.ok


def test_memory_is_held() -> None:
    """2,000 inputs, 3,000 units: G alone would take 48 MB."""
    rng = np.random.default_rng(0)
    net = mlp([rng.normal(size=(1500, 2000)), rng.normal(size=(1500, 1500)), rng.normal(size=(3, 1500))],
              [rng.normal(size=1500), rng.normal(size=1500), rng.normal(size=3)])  # fmt: skip
    memory = 8 << 20
    tracemalloc.start()
    found = local(net, rng.normal(size=2000), memory=memory, budget=60)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert found.spread == 0 and found.G is None
    assert peak < 12 * memory  # the certificate's points take the rest


@pytest.mark.parametrize("seed", range(20))
def test_a_sketch_finds_the_exact_nearest_kink(seed: int) -> None:
    """A miss has probability 1e-9 by the chi-square tail; the estimates have a relative standard error of 9 %."""
    net = numpy_mlp(30, 60, 60, 3, seed=seed)
    x = np.random.default_rng(seed).normal(size=30)
    exact, sketched = local(net, x), local(net, x, budget=1e-5)
    assert "nearest kink is found with its exact distance" in sketched.note
    assert sketched.nearest.unit == exact.nearest.unit
    assert sketched.nearest.distance == pytest.approx(exact.nearest.distance, rel=1e-12)
    np.testing.assert_allclose(sketched.distance[sketched.exact], exact.distance[sketched.exact], rtol=1e-12)
    assert 0 < sketched.exact.sum() < len(sketched.exact)
    ratio = sketched.distance[~sketched.exact] / exact.distance[~sketched.exact]
    assert np.abs(np.log(ratio)).max() < 6 * sketched.spread
    assert ratio.std() == pytest.approx(sketched.spread, rel=0.5)
    assert sketched.certificate.ok and sketched.G is None


def test_a_sketch_looks_at_more_than_its_best_guess(monkeypatch: pytest.MonkeyPatch) -> None:
    """With estimates that are wrong by up to twice, the true nearest kink is still among the rows looked at."""
    net = numpy_mlp(30, 60, 60, 3)
    x = np.random.default_rng(0).normal(size=30)
    plain = distances._sketch

    def skewed(*args: object) -> list[np.ndarray]:
        rng = np.random.default_rng(5)
        return [norm * rng.uniform(0.6, 1.4, len(norm)) for norm in plain(*args)]  # type: ignore[arg-type]

    monkeypatch.setattr(distances, "_sketch", skewed)
    assert local(net, x, budget=1e-5).nearest.unit == local(net, x).nearest.unit


def test_rounding_noise_is_not_a_row() -> None:
    """The difference of two equal units is constant; with random weights it may be 0 only up to rounding."""
    rng = np.random.default_rng(0)
    w = rng.normal(size=(8, 6))
    first = np.vstack([w, w])
    mix = rng.normal(size=(5, 8))
    second = np.hstack([mix, -mix @ np.eye(8)])
    third = rng.normal(size=(4, 5)) * 1e3
    net = mlp([first, second, third, np.ones((1, 4))], [np.ones(16), np.zeros(5), np.zeros(4), np.ones(1)])
    found = local(net, rng.normal(size=6), facets=True)
    assert np.isinf(found.distance[16:]).all()
    assert not found.G[16:].any()
    assert sorted(found.still) == list(range(16, 25))
    # What the net adds to its 1.0 is its own noise, thousands of 1e-16: that much it is off from any formula.
    assert found.certificate.ok, str(found.certificate)
    assert "the rounding error of the net itself" in str(found.certificate)
    assert not certify(found, lambda points: net(points) + 1e-8, 0).ok


@pytest.mark.parametrize("polytope", [True, False])
def test_noise_stays_noise_through_the_layers_behind(polytope: bool) -> None:
    """Leaky units pass rounding noise on, and large weights blow it up: no kink is invented on the way."""
    rng = np.random.default_rng(0)
    w, mix = rng.normal(size=(8, 6)), rng.normal(size=(5, 8))
    sizes = (16, 5, 4)
    matrices = (np.vstack([w, w]), np.hstack([mix, -mix]), rng.normal(size=(4, 5)) * 1e6)
    layers = tuple(
        Layer(f"z{k + 1}", (size,), Affine(((k, matrix),), np.full(size, float(k == 0))), activation("leaky", size))
        for k, (size, matrix) in enumerate(zip(sizes, matrices, strict=True))
    )
    names = tuple(f"x[{i}]" for i in range(6))
    net = PiecewiseNet(names, layers, Affine(((1, np.ones((1, 16))), (3, np.ones((1, 4)))), np.zeros(1)), ("y",))
    x = rng.normal(size=6)
    raw = net.run(x[None], keep=True)[1]
    assert raw[1].any() and raw[2].any()  # there is noise to be seen through
    found = local(net, x, polytope=polytope, facets=True)
    assert np.isinf(found.distance[16:]).all() and np.isfinite(found.distance[:16]).all()
    assert sorted(found.still) == list(range(16, 25)) and not len(found.at_kink)
    np.testing.assert_array_equal(found.g[16:], found.slack[16:])
    np.testing.assert_array_equal(found.slack[16:], 0.0)
    assert min(way.t for way in found.along) > 0
    assert not found.facets[16:].any()
    assert found.certificate.ok, str(found.certificate)


@pytest.mark.parametrize("seed", range(10))
def test_an_underestimated_row_is_still_found(seed: int) -> None:
    """The nearest row is taken 1.8 times too short, the others rightly: rows are looked at in the wrong order."""
    net = numpy_mlp(20, 60, 60, 3, seed=seed)
    exact = local(net, np.random.default_rng(seed).normal(size=20))
    norms = exact.region.norms.copy()
    norms[exact.nearest.row] /= 1.8
    distance, looked = distances.nearest_by_sketch(exact.frozen, exact.rows, exact.slack, norms, 1)
    assert int(np.where(looked, distance, np.inf).argmin()) == exact.nearest.row
    assert distance.min() == pytest.approx(exact.nearest.distance, rel=1e-12)
    assert looked.sum() < 30


def test_a_small_row_is_not_noise() -> None:
    """Two units that differ by one part in 2^30: the difference is a row of its own, a billion times shorter."""
    w = np.random.default_rng(1).normal(size=(1, 6))
    net = mlp([np.vstack([w, w * (1 + 2**-30)]), np.array([[1.0, -1.0]]), np.ones((1, 1))],
              [np.full(2, 10.0), np.array([1e-8]), np.ones(1)])  # fmt: skip
    found = local(net, np.zeros(6))
    assert found.distance[2] == pytest.approx(1e-8 / (2**-30 * np.linalg.norm(w)), rel=1e-5)
    assert found.certificate.ok


def test_dense_of_the_helpers() -> None:
    net = random_net(3, integers=True)
    made = replace(net, output=Affine(tuple((j, dense(m)) for j, m in net.output.terms), net.output.bias))
    np.testing.assert_array_equal(made(np.ones((2, net.n))), net(np.ones((2, net.n))))
