"""The regions of a plane against counts known in closed form, against sampling, and against themselves."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from scipy.sparse import csr_array
from scipy.sparse.linalg import aslinearoperator

from weightwalk.errors import UsageError
from weightwalk.formulas.piecewise import Activation, Affine, Layer, PiecewiseNet, identity, mlp, relu
from weightwalk.formulas.planes import carry
from weightwalk.formulas.planes.partition import Box, Partition
from weightwalk.formulas.planes.plane import partition

SQUARE = ((-1.0, 1.0), (-1.0, 1.0))

ACTIVATIONS = {
    "leaky_relu": ([0.0], [0.1, 1.0], [0.0, 0.0]),
    "abs": ([0.0], [-1.0, 1.0], [0.0, 0.0]),
    "hardtanh": ([-0.5, 0.5], [0.0, 1.0, 0.0], [-0.5, 0.0, 0.5]),
    "shifted": ([0.3], [2.0, 1.0], [0.0, 0.3]),
    "": ([], [1.0], [0.0]),
}


def generic(widths: list[int], seed: int = 0) -> PiecewiseNet:
    rng = np.random.default_rng(seed)
    weights = [rng.normal(size=(b, a)) / np.sqrt(a) for a, b in pairwise(widths)]
    return mlp(weights, [rng.normal(size=b) / 2 for b in widths[1:]])


def activation(name: str, n: int) -> Activation:
    if name == "relu":
        return relu(n)
    kinks, slopes, offsets = (np.tile(np.array(x).reshape(1, -1), (n, 1)) for x in ACTIVATIONS[name])
    return Activation(name, kinks, slopes, offsets)


def residual(kinds: list[str], outputs: int, seed: int) -> PiecewiseNet:
    """Every layer reads the one before it and a random earlier one; the output reads three."""
    rng = np.random.default_rng(seed)
    sizes, layers = [2], []
    for k, kind in enumerate(kinds, 1):
        n = int(rng.integers(3, 7))
        terms = tuple((j, rng.normal(size=(n, sizes[j]))) for j in sorted({k - 1, int(rng.integers(k))}))
        layers.append(Layer(f"a{k}", (n,), Affine(terms, rng.normal(size=n)), activation(kind, n)))
        sizes.append(n)
    read = sorted({0, len(kinds) // 2, len(kinds)})
    out = Affine(tuple((j, rng.normal(size=(outputs, sizes[j]))) for j in read), rng.normal(size=outputs))
    return PiecewiseNet(("s", "t"), tuple(layers), out, tuple(f"y{i}" for i in range(outputs)))


def inside(found: Partition, seed: int) -> np.ndarray:
    """One random point inside each region, (R, 2)."""
    weight = np.random.default_rng(seed).exponential(size=len(found.ring))
    total = np.add.reduceat(weight, found.start[:-1])
    return np.add.reduceat(weight[:, None] * found.vertices[found.ring], found.start[:-1]) / total[:, None]


def check_everything(found: Partition) -> None:
    """What must hold of any partition of a box, computed in a way of its own."""
    assert found.certificate.ok, str(found.certificate)
    net, size = found.net, np.abs(found.values).max() + 1e-300
    for seed in range(3):
        x = inside(found, seed)
        plain = found.areas > 1e-9
        for k, piece in enumerate(net.pattern(x)):
            assert (piece == found.pattern[k])[plain].all()
        y = np.einsum("roi,ri->ro", found.slopes, x) + found.offsets
        assert np.abs(y - net(x)).max() <= 1e-12 * size
    slopes, offsets = net.maps(found.pattern)
    assert np.abs(slopes - found.slopes).max(initial=0) <= 1e-12 * (1 + np.abs(slopes).max(initial=0))
    assert np.abs(offsets - found.offsets).max() <= 1e-12 * (1 + np.abs(offsets).max())
    on_their_kinks(found)


def on_their_kinks(found: Partition) -> None:
    """Both ends of every edge lie where the unit that names it has a kink, or on a side of the box."""
    net = found.net
    z = np.concatenate([np.zeros((len(found.vertices), 0)), *net.run(found.vertices, keep=True)[1]], axis=1)
    kinks = [layer.activation.kinks for layer in net.layers]
    most = max([k.shape[1] for k in kinks], default=0)
    padded = [np.pad(k, ((0, 0), (0, most - k.shape[1])), constant_values=np.inf) for k in kinks]
    named = np.flatnonzero(found.edge >= 0)
    unit = found.edge[named]
    for ends in (found.ring[named], found.ring[found.following[named]]):
        if len(named):
            away = np.abs(z[ends, unit][:, None] - np.concatenate(padded)[unit])
            assert away.min(axis=1).max() <= 1e-10 * (1 + np.abs(z).max())
    (s0, s1), (t0, t1) = found.box or SQUARE
    side = np.flatnonzero(found.edge == -1)
    a, b = found.vertices[found.ring[side]], found.vertices[found.ring[found.following[side]]]
    assert ((a == b) & ((a == [s0, t0]) | (a == [s1, t1]))).any(axis=1).all()
    assert (found.edge >= -1).all()


@pytest.mark.parametrize("n", [4, 8, 16, 32, 64])
def test_one_layer_of_generic_lines_over_the_whole_plane(n: int) -> None:
    found = partition(generic([2, n, 1], n), None)
    assert found.activation_regions == found.affine_regions == 1 + n + n * (n - 1) // 2
    assert found.certificate.ok
    assert (~found.infinite).sum() == n * (n - 1) // 2
    assert found.infinite.sum() == 2 * n + 3  # and the three directions that were begun with
    assert np.isnan(found.areas).sum() == 2 * n


def test_half_planes_and_strips_say_where_they_lie() -> None:
    """A line without corners keeps one vertex, for its two directions alone would not place it."""
    rows = np.array([[0.3, 0.7], [-0.3, -0.7], [0.6, 1.4]])  # two parallel lines, one of them twice
    for lines, offsets, regions in ((rows[:1], [0.4], 2), (rows, [0.4, -0.4, -2.0], 3)):
        found = partition(mlp([lines, np.ones((1, len(lines)))], [np.array(offsets), np.zeros(1)]), None)
        assert found.certificate.ok and found.activation_regions == regions
        finite = found.vertices[~found.infinite]
        assert len(finite) == regions - 1
        assert np.abs(finite @ lines.T + offsets).min(axis=1).max() < 1e-12
        assert np.diff(found.start).min() >= 3
        assert np.isnan(found.areas).all()


@pytest.mark.parametrize("widths", [[2, 16, 16, 1], [2, 8, 8, 8, 3], [2, 40, 2]])
def test_generic_nets(widths: list[int]) -> None:
    found = partition(generic(widths))
    check_everything(found)
    assert found.snapped == 0
    assert len(found.ring) == pytest.approx(4 * found.activation_regions, abs=4)


def test_no_pattern_of_very_many_points_is_missing() -> None:
    """Sampling may miss regions and never finds one more; with these it misses few, so that the count is pinned."""
    net = generic([2, 6, 6, 1], 3)
    found = partition(net)
    x = np.random.default_rng(0).uniform(-1, 1, (200_000, 2))
    seen = {bytes(row) for row in np.unique(np.concatenate(net.pattern(x), axis=1), axis=0)}
    known = {bytes(row) for row in np.concatenate(found.pattern, axis=1)}
    assert len(known) == found.activation_regions
    assert seen <= known
    large = {bytes(row) for row in np.concatenate(found.pattern, axis=1)[found.areas > 4 * 30 / 200_000]}
    assert large <= seen  # one of area 30 points is missed with a probability of e^-30
    assert len(large) > 0.7 * len(known)


@pytest.mark.parametrize("kind", ["relu", *ACTIVATIONS])
@pytest.mark.parametrize("outputs", [1, 3])
def test_activations_and_skip_connections(kind: str, outputs: int) -> None:
    for seed in range(4):
        check_everything(partition(residual([kind, "relu", kind, ""], outputs, seed)))


@pytest.mark.parametrize("kind", ["relu", *ACTIVATIONS])
def test_the_whole_plane_has_what_a_large_box_has(kind: str) -> None:
    for seed in range(4):
        net = residual([kind, "relu", kind], 2, seed)
        whole = partition(net, None)
        far = 2 * float(np.abs(whole.vertices[~whole.infinite]).max(initial=1.0)) + 1
        boxed = partition(net, ((-far, far), (-far, far)))
        assert whole.certificate.ok and boxed.certificate.ok
        assert whole.activation_regions == boxed.activation_regions
        assert whole.affine_regions == boxed.affine_regions
        names = [{bytes(row) for row in np.concatenate(p.pattern, axis=1)} for p in (whole, boxed)]
        assert names[0] == names[1]


def test_a_net_without_layers_is_one_region() -> None:
    net = PiecewiseNet(("s", "t"), (), Affine(((0, np.array([[2.0, -1.0]])),), np.array([3.0])), ("y",))
    for box in (SQUARE, None):
        found = partition(net, box)
        assert (found.activation_regions, found.affine_regions, found.certificate.ok) == (1, 1, True)
        assert found.slopes.tolist() == [[[2.0, -1.0]]] and found.offsets.tolist() == [[3.0]]
        assert found.pattern == ()


def test_a_constant_net_and_dead_units() -> None:
    net = mlp([np.zeros((3, 2)), np.ones((1, 3))], [np.array([-1.0, 0.0, 2.0]), np.zeros(1)])
    found = partition(net)
    assert (found.activation_regions, found.values.ravel().tolist()) == (1, [2.0] * 4)
    assert found.pattern[0].tolist() == [[0, 0, 1]]
    assert found.slopes.tolist() == [[[0.0, 0.0]]]


def test_units_that_cancel_but_for_rounding_divide_nothing() -> None:
    """0.1 s + 0.2 s - 0.3 s is zero, and is about 1e-17 in floats."""
    first = np.array([[1.0, 0.0], [-1.0, 0.0]])
    second = np.array([[0.1 + 0.2, 0.0], [0.3, 0.0]])
    third = np.array([[1.0, -1.0]])
    net = mlp([first, second, third, np.ones((1, 1))], [np.zeros(2), np.zeros(2), np.zeros(1), np.zeros(1)])
    found = partition(net)
    assert (found.activation_regions, found.affine_regions) == (2, 1)
    assert found.certificate.ok, str(found.certificate)


def test_neighbours_with_equal_maps_are_one_affine_region() -> None:
    """relu(s) - relu(-s) = s."""
    net = mlp([np.array([[1.0, 0.0], [-1.0, 0.0]]), np.array([[1.0, -1.0]])], [np.zeros(2), np.zeros(1)])
    found = partition(net)
    assert (found.activation_regions, found.affine_regions, found.affine.tolist()) == (2, 1, [0, 0])


def test_without_maps() -> None:
    net = generic([2, 8, 8, 2])
    bare, full = partition(net, maps=False), partition(net)
    assert bare.slopes.shape == (0, 2, 2) and bare.offsets.shape == (0, 2) and len(bare.affine) == 0
    assert bare.activation_regions == full.activation_regions and bare.certificate.ok


def test_the_certificate_sees_an_oracle_that_differs() -> None:
    net = generic([2, 8, 8, 1])
    assert partition(net, oracle=lambda x: net(x)).certificate.ok
    found = partition(net, oracle=lambda x: net(x) + 1e-9)
    assert {check.name.split(" at ")[1] for check in found.certificate.failures} == {
        "1,000 fresh points", f"{len(found.vertices):,} vertices",
    }  # fmt: skip


def same(p: Partition, q: Partition) -> None:
    """The same regions, though their numbers may differ."""
    assert q.certificate.ok, str(q.certificate)
    assert (p.activation_regions, p.affine_regions) == (q.activation_regions, q.affine_regions)
    assert (len(p.vertices), len(p.ring), sorted(p.edge)) == (len(q.vertices), len(q.ring), sorted(q.edge))

    def by_pattern(x: Partition) -> dict[bytes, float]:
        return dict(zip(map(bytes, np.concatenate(x.pattern, axis=1)), x.areas.tolist(), strict=True))

    one, other = by_pattern(p), by_pattern(q)
    assert one.keys() == other.keys()
    assert np.allclose([one[k] for k in one], [other[k] for k in one], rtol=1e-9, atol=1e-12, equal_nan=True)


@pytest.fixture
def tiles(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many tiles were joined each time; the result itself may be larger than the memory."""
    joined: list[int] = []
    monkeypatch.setattr(
        carry, "join", lambda stage, parts, join=carry.join: joined.append(len(parts)) or join(stage, parts)
    )
    monkeypatch.setattr(carry, "result_bytes", lambda net: 0)
    return joined


@pytest.mark.parametrize("box", [SQUARE, None])
@pytest.mark.parametrize(
    ("widths", "small"), [([2, 24, 24, 24, 2], 100_000), ([2, 64, 1], 150_000), ([2, 12, 12, 12, 12, 1], 36_000)]
)
def test_tiles_change_nothing(box: Box | None, widths: list[int], small: int, tiles: list[int]) -> None:
    net = generic(widths, 1)
    whole = partition(net, box)
    for memory in (16 * small, 4 * small, small):
        same(whole, partition(net, box, memory=memory))
    assert sum(tiles) > 4


def test_tiles_change_nothing_where_weights_are_not_generic(tiles: list[int]) -> None:
    rng = np.random.default_rng(0)
    for _ in range(12):
        weights = [rng.integers(-2, 3, (b, a)).astype(float) for a, b in pairwise([2, 9, 7, 5, 1])]
        net = mlp(weights, [rng.integers(-3, 4, len(w)) / 2 for w in weights])
        for box in (SQUARE, None):
            same(partition(net, box), partition(net, box, memory=30_000))
    assert sum(tiles) > 40


def test_progress_ends_at_the_whole_and_an_interrupt_passes(tiles: list[int]) -> None:
    told: list[tuple[int, int]] = []
    net = generic([2, 16, 16, 1])
    partition(net, progress=lambda done, total: told.append((done, total)))
    assert told == [(16, 32), (32, 32)]
    told.clear()
    partition(net, memory=40_000, progress=lambda done, total: told.append((done, total)))
    assert told[-1] == (32, 32) and told == sorted(told) and len(told) > 2

    def stop(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        partition(net, progress=stop)


@pytest.mark.parametrize(
    ("box", "words"),
    [
        (((0, 0), (-1, 1)), r"the box is empty: along s it runs from 0 to 0"),
        (((-1, 1), (1, -1)), r"the box runs backwards along t, from 1 to -1; give the lesser number first"),
        (((-1, np.nan), (-1, 1)), r"the box runs from -1 to nan along s, which is not finite.*box=None"),
        (((-1, 1), (-np.inf, 1)), r"from -inf to 1 along t, which is not finite"),
        ((1, 2), r"the box \(1, 2\) is not \(\(least s, greatest s\), \(least t, greatest t\)\)"),
    ],
)
def test_boxes_that_are_none(box: Any, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        partition(generic([2, 4, 1]), box)


def test_what_is_refused() -> None:
    with pytest.raises(UsageError, match=r"a net of 3 inputs; it takes a net of two, or a plane.*--plane"):
        partition(generic([3, 4, 1]))
    net = generic([2, 4, 4, 1])
    net.layers[1].affine.bias[2] = np.inf
    with pytest.raises(UsageError, match=r"fc2 has weights that are not finite"):
        partition(net)
    net = generic([2, 24, 24, 1])
    with pytest.raises(UsageError, match=r"more than 100 regions: at least \d+ at layer fc1 \(1 of 2\).*--max-regions"):
        partition(net, max_regions=100)
    with pytest.raises(UsageError, match=r"at layer fc. \(. of 2\), and to keep them takes .* MiB.*--memory"):
        partition(net, memory=40_000)
    with pytest.raises(UsageError, match=r"a single polygon may need .* MiB at layer fc1 \(1 of 2\).*--memory"):
        partition(net, memory=1_000)


def test_identity_layers_are_passed_through() -> None:
    rng = np.random.default_rng(0)
    onto = Layer("x", (5,), Affine(((0, rng.normal(size=(5, 2))),), rng.normal(size=5)), identity(5))
    bent = Layer("a", (6,), Affine(((1, rng.normal(size=(6, 5))),), rng.normal(size=6)), relu(6))
    net = PiecewiseNet(("s", "t"), (onto, bent), Affine(((2, rng.normal(size=(1, 6))),), np.zeros(1)), ("y",))
    found = partition(net)
    check_everything(found)
    assert set(found.edge.tolist()) <= {-1, *range(5, 11)}
    assert found.pattern[0].shape == (found.activation_regions, 5) and not found.pattern[0].any()


def test_matrices_of_other_kinds_give_the_same() -> None:
    net = generic([2, 12, 12, 2], 5)
    dense = partition(net)

    def turned(make: Callable[[np.ndarray], Any]) -> PiecewiseNet:
        def affine(a: Affine) -> Affine:
            return Affine(tuple((j, make(m)) for j, m in a.terms), a.bias)

        return replace(
            net, layers=tuple(replace(la, affine=affine(la.affine)) for la in net.layers), output=affine(net.output)
        )

    for make in (csr_array, aslinearoperator):
        found = partition(turned(make))
        same(dense, found)
        assert np.abs(found.slopes - dense.slopes).max() < 1e-13
