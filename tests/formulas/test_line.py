"""Kinks along a line, against closed forms, dense sampling and brute force; see test_referee for fractions."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from scipy import sparse
from scipy.sparse.linalg import LinearOperator, aslinearoperator

from weightwalk.errors import UsageError
from weightwalk.formulas.lines import kinks as kinks_module
from weightwalk.formulas.lines.line import Line, line
from weightwalk.formulas.piecewise import Activation, Affine, Layer, PiecewiseNet, identity, mlp, relu

INF = np.inf


def random_mlp(shape: list[int], seed: int = 0) -> PiecewiseNet:
    rng = np.random.default_rng(seed)
    draw = lambda *size: rng.uniform(-1, 1, size) / np.sqrt(size[-1] if len(size) > 1 else 4)  # noqa: E731
    weights = [draw(b, a) for a, b in pairwise(shape)]
    return mlp(weights, [draw(b) for b in shape[1:]])


def sawtooth(k: int) -> PiecewiseNet:
    """The tent map 2 relu(x) - 4 relu(x - 1/2), k times over: 2^k straight teeth sides on [0, 1]."""
    weights = [np.ones((2, 1)), *([np.array([[2.0, -4.0]] * 2)] * (k - 1)), np.array([[2.0, -4.0]])]
    return mlp(weights, [*([np.array([0.0, -0.5])] * k), np.zeros(1)])


def of(name: str, n: int, m: int = 1) -> Activation:
    kinks, slopes, offsets = {
        "relu": ([0.0], [0.0, 1.0], [0.0, 0.0]),
        "leaky": ([0.0], [0.01, 1.0], [0.0, 0.0]),
        "abs": ([0.0], [-1.0, 1.0], [0.0, 0.0]),
        "hardtanh": ([-1.0, 1.0], [0.0, 1.0, 0.0], [-1.0, 0.0, 1.0]),
        "identity": ([], [1.0], [0.0]),
    }[name]
    return Activation(name, *(np.tile(np.array(x, float).reshape(1, -1), (n, 1)) for x in (kinks, slopes, offsets)))


def mixed(seed: int) -> PiecewiseNet:
    """Five layers of all kinds of activations, each reading up to three earlier ones, in all kinds of matrices."""
    rng = np.random.default_rng(seed)
    sizes, layers = [1], []
    for k, name in enumerate(("hardtanh", "abs", "identity", "leaky", "relu"), 1):
        n = int(rng.integers(2, 9))
        reads = sorted(rng.choice(k, size=min(k, 3), replace=False).tolist())
        terms = []
        for j in reads:
            matrix = rng.normal(size=(n, sizes[j]))
            terms.append((j, (matrix, sparse.csr_array(matrix), aslinearoperator(matrix))[int(rng.integers(3))]))
        layers.append(Layer(f"a{k}", (n,), Affine(tuple(terms), rng.normal(size=n)), of(name, n)))
        sizes.append(n)
    out = Affine(((5, rng.normal(size=(2, sizes[5]))), (0, np.ones((2, 1)))), rng.normal(size=2))
    return PiecewiseNet(("x",), tuple(layers), out, ("y[0]", "y[1]"))


def patterns(net: PiecewiseNet, t: np.ndarray) -> np.ndarray:
    return np.concatenate([np.zeros((len(t), 0)), *net.pattern(t[:, None])], axis=1)


def kinks_by_bisection(net: PiecewiseNet, low: float, high: float, count: int = 4001) -> np.ndarray:
    """Brute force: a fine grid, and bisection wherever the pattern of two neighbours differs."""
    grid = np.linspace(low, high, count)
    p = patterns(net, grid)
    step = (p[1:] != p[:-1]).any(axis=1)
    left, right, known = grid[:-1][step], grid[1:][step], p[:-1][step]
    for _ in range(60):
        middle = (left + right) / 2
        same = (patterns(net, middle) == known).all(axis=1)
        left, right = np.where(same, middle, left), np.where(same, right, middle)
    return left


# -- closed forms -----------------------------------------------------------------------------------------------------


def test_absolute_value() -> None:
    found = line(mlp([np.array([[1.0], [-1.0]]), np.ones((1, 2))], [np.zeros(2), np.zeros(1)]))
    assert found.kinks.tolist() == [0.0] and found.slopes.tolist() == [[-1.0], [1.0]]
    assert found.units == (("fc1[0]", "fc1[1]"),) and found.bends.tolist() == [True]
    assert [x.tolist() for x in found.range()] == [[0.0], [np.inf]]
    assert found.argmin() == 0.0 and found.argmax() == -np.inf
    assert found([-3.0, 0.0, 2.0]).tolist() == [[3.0], [0.0], [2.0]] and found(-2.0).tolist() == [2.0]


@pytest.mark.parametrize("k", [1, 2, 5, 12])
def test_sawtooth_has_two_to_the_k_sides(k: int) -> None:
    found = line(sawtooth(k), 0.0, 1.0)
    assert found.kinks.tolist() == [i / 2**k for i in range(1, 2**k)]
    assert (found.slopes[:, 0] == 2.0**k * np.tile([1, -1], 2 ** (k - 1))).all()
    assert found.bends.all() and found.certificate.ok and len(found.pieces) == 2**k
    low, high = found.range()
    assert (low, high) == (0.0, 1.0) and found.argmin() == 0.0 and found.argmax() == 0.5**k


def test_greatest_of_three_lines() -> None:
    """max(-t, 1, 2 t - 4) as nested max(a, b) = b + relu(a - b): kinks at -1 and 2.5, wherever the net bends inside."""
    one = Layer("m1", (1,), Affine(((0, np.array([[-1.0]])),), np.array([-1.0])), relu(1))  # relu(-t - 1)
    two = Layer("m2", (1,), Affine(((0, np.array([[2.0]])), (1, np.array([[-1.0]]))), np.array([-5.0])), relu(1))
    out = Affine(((1, np.ones((1, 1))), (2, np.ones((1, 1)))), np.ones(1))
    found = line(PiecewiseNet(("t",), (one, two), out, ("y",)))
    assert found.kinks.tolist() == [-1.0, 2.5] and found.units == (("m1[0]",), ("m2[0]",))
    assert found.slopes.ravel().tolist() == [-1.0, 0.0, 2.0] and found.intercepts.ravel().tolist() == [0.0, 1.0, -4.0]


def test_hardtanh_has_two_kinks_per_unit() -> None:
    layer = Layer("h", (2,), Affine(((0, np.array([[2.0], [-1.0]])),), np.array([0.0, 1.0])), of("hardtanh", 2))
    found = line(PiecewiseNet(("t",), (layer,), Affine(((1, np.ones((1, 2))),), np.zeros(1)), ("y",)), -5, 5)
    assert found.kinks.tolist() == [-0.5, 0.0, 0.5, 2.0]
    assert found.units == (("h[0]",), ("h[1]",), ("h[0]",), ("h[1]",))
    assert found.pattern[0].tolist() == [[0, 2], [1, 2], [1, 1], [2, 1], [2, 0]]


def test_a_net_without_kinks_is_one_piece() -> None:
    layer = Layer("a", (3,), Affine(((0, np.ones((3, 1))),), np.arange(3.0)), identity(3))
    found = line(PiecewiseNet(("t",), (layer,), Affine(((1, np.ones((1, 3))),), np.array([1.0])), ("y",)))
    assert len(found.kinks) == 0 and found.slopes.tolist() == [[3.0]] and found.intercepts.tolist() == [[4.0]]
    assert found.certificate.ok and len(found.pieces) == 1
    constant = line(PiecewiseNet(("t",), (), Affine((), np.array([7.0])), ("y",)))
    assert constant(1e9).tolist() == [7.0] and [x.tolist() for x in constant.range()] == [[7.0], [7.0]]


# -- brute force ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(6))
def test_every_kink_of_mixed_nets_is_one_that_bisection_finds(seed: int) -> None:
    net = mixed(seed)
    found, brute = line(net, -3.0, 3.0), kinks_by_bisection(net, -3.0, 3.0)
    assert found.certificate.ok, str(found.certificate)
    near = np.abs(found.kinks[:, None] - brute[None]).min(axis=0)
    assert len(brute) > 3 and near.max() < 1e-12  # a fine grid can miss a kink, never invent one
    inside = (found.kinks[1:] + found.kinks[:-1]) / 2
    assert (patterns(net, inside) == np.concatenate(found.pattern, axis=1)[1:-1]).all()
    t = np.linspace(-3, 3, 3001)
    assert np.abs(found(t) - net(t[:, None])).max() <= 1e-12 * np.abs(net(t[:, None])).max()


@pytest.mark.parametrize("ends", [(-INF, INF), (-INF, 0.3), (-0.2, INF), (-0.5, 0.5)])
def test_rays_and_intervals_are_parts_of_one_line(ends: tuple[float, float]) -> None:
    net = random_mlp([1, 16, 16, 1])
    whole, part = line(net), line(net, *ends)
    inside = (whole.kinks > ends[0]) & (whole.kinks < ends[1])
    assert inside.sum() > 4 and np.allclose(part.kinks, whole.kinks[inside], rtol=1e-14, atol=0)
    assert (whole.certificate.ok, part.certificate.ok) == (True, True)
    far = np.array([-1e6, 1e6])
    assert np.allclose(whole(far), net(far[:, None]), rtol=1e-13)


def test_stretches_make_no_difference(monkeypatch: pytest.MonkeyPatch) -> None:
    """Cutting the work into stretches is for memory only; here 64 pieces at a time instead of thousands."""
    net = random_mlp([1, 100, 100, 100, 1])
    whole = line(net)
    monkeypatch.setattr(kinks_module, "NUMBERS", 1)
    cut = line(net)
    assert len(whole.kinks) > 200 and cut.kinks.tolist() == pytest.approx(whole.kinks.tolist(), rel=1e-13)
    assert (cut.switches == whole.switches).all() and (cut.bends == whole.bends).all()


def test_a_hundred_thousand_pieces() -> None:
    found = line(sawtooth(17), 0.0, 1.0)
    assert len(found.kinks) == 2**17 - 1 and found.certificate.ok


# -- weights that are not generic -------------------------------------------------------------------------------------


def test_units_that_share_a_kink_are_one_kink() -> None:
    """Three copies of a unit, one scaled by 1/3 (which rounds), and one of the next layer that vanishes there too."""
    net = mlp(
        [np.array([[3.0], [3.0], [1.0], [-0.1]]), np.array([[1.0, 0.0, 0.0, 1.0]]), np.ones((1, 1))],
        [np.array([-1.0, -1.0, -1 / 3, 0.1 / 3]), np.zeros(1), np.zeros(1)],
    )
    found = line(net)
    assert len(found.kinks) == 1 and found.kinks[0] == pytest.approx(1 / 3, rel=1e-15)
    assert found.units == (("fc1[0]", "fc1[1]", "fc1[2]", "fc1[3]"),)


def test_a_unit_that_is_zero_by_cancellation_makes_no_kink() -> None:
    """0.1 t + 0.2 t - 0.3 t is 5e-17 t in float64: not a unit that switches."""
    one = Layer("a", (3,), Affine(((0, np.array([[0.1], [0.2], [0.3]])),), np.array([1.0, 2.0, 3.0]) / 7), relu(3))
    two = Layer("b", (1,), Affine(((1, np.array([[1.0, 1.0, -1.0]])),), np.zeros(1)), relu(1))
    out = Affine(((2, np.array([[1e15]])), (1, np.ones((1, 3)))), np.zeros(1))
    found = line(PiecewiseNet(("t",), (one, two), out, ("y",)))
    assert len(found.kinks) == 1 and "b[0]" not in {u for some in found.units for u in some}


def test_a_stage_that_cancels_is_zero_for_the_next_one_too() -> None:
    """0.1 t + 0.2 t - 0.3 t through a stage without kinks: 5e-17 t, which is no smaller than its own size."""
    one = Layer("a", (3,), Affine(((0, np.array([[0.1], [0.2], [0.3]])),), np.zeros(3)), identity(3))
    two = Layer("b", (1,), Affine(((1, np.array([[1.0, 1.0, -1.0]])),), np.zeros(1)), identity(1))
    three = Layer(
        "c", (2,), Affine(((2, np.array([[1.0], [0.0]])), (0, np.array([[0.0], [1.0]]))), np.zeros(2)), relu(2)
    )
    out = Affine(((3, np.ones((1, 2))),), np.zeros(1))
    found = line(PiecewiseNet(("t",), (one, two, three), out, ("y",)), 0.5, 2.0)
    assert len(found.kinks) == 0 and found.pattern[2].tolist() == [[0, 1]]


def test_what_cancelled_stays_nothing_through_many_leaky_layers() -> None:
    """The same 5e-17 t, passed on by five leaky layers: still no kink at t = 1, where only rounding changes sign."""
    first = Layer("a", (3,), Affine(((0, np.array([[0.1], [0.2], [0.3]])),), np.array([-0.1, -0.2, -0.3])), identity(3))
    layers = [first, Layer("b0", (1,), Affine(((1, np.array([[1.0, 1.0, -1.0]])),), np.zeros(1)), of("leaky", 1))]
    for k in range(1, 5):
        layers.append(Layer(f"b{k}", (1,), Affine(((k + 1, np.array([[-1.3]])),), np.zeros(1)), of("leaky", 1)))
    out = Affine(((len(layers), np.ones((1, 1))), (0, np.ones((1, 1)))), np.zeros(1))
    found = line(PiecewiseNet(("t",), tuple(layers), out, ("y",)))
    assert len(found.kinks) == 0 and found.certificate.ok


def test_a_unit_is_judged_by_the_terms_that_are_there() -> None:
    """1e10 relu(1 - 3 t) + relu(3 t - 1) - 1e-7: beyond 1/3 the great weight reads a zero, and rounds nothing."""
    net = mlp(
        [np.array([[-3.0], [3.0]]), np.array([[1e10, 1.0]]), np.array([[1.0]])],
        [np.array([1.0, -1.0]), np.array([-1e-7]), np.zeros(1)],
    )
    found = line(net, 0.3, 0.4)
    assert found.kinks[-1] == pytest.approx((1 + 1e-7) / 3, rel=1e-12) and found.units[-1] == ("fc2[0]",)


def test_a_crossing_beyond_the_rounding_of_its_piece_is_an_end_of_it() -> None:
    """Signs from one side and the map of the other may disagree by rounding: then the unit switches at the end."""
    t = np.array([0.0, 1.0])
    z = np.array([[[1.0], [0.5]], [[-1.0], [-0.5]], [[1.0], [-1.5]]])  # at -0.5 rising, at -0.5 falling, at 1.5
    signs = np.array([[-1, 1], [1, -1], [-1, 1]], np.int8)
    found = kinks_module._crossings(t, z, np.ones_like(z), np.zeros(3), signs, 1e-12)
    assert len(found.unit) == 0 and found.above[:, 0].tolist() == [True, False, False]


def test_two_equally_certain_crossings_a_hair_apart_are_one() -> None:
    crossings = kinks_module.Crossings(
        np.zeros((3, 1), bool), np.arange(3), np.zeros(3, int), np.array([0.1, 0.1 + 1e-14, 0.2]), np.full(3, 1e-12)
    )
    assert kinks_module._merge([crossings])[2].tolist() == [0.1, 0.2]


def test_an_operator_may_hand_back_what_it_was_given() -> None:
    """An identity that returns its argument: adding the bias must not change the layer that was read."""

    class Same(LinearOperator):
        def _matmat(self, X: np.ndarray) -> np.ndarray:
            return X

        def _matvec(self, x: np.ndarray) -> np.ndarray:
            return x

    one = Layer("a", (1,), Affine(((0, Same(np.float64, (1, 1))),), np.array([-3.0])), relu(1))
    net = PiecewiseNet(("t",), (one,), Affine(((1, np.eye(1)), (0, np.eye(1))), np.zeros(1)), ("y",))
    found = line(net, oracle=lambda t: np.maximum(t - 3.0, 0.0) + t)
    assert found.kinks.tolist() == [3.0] and found.certificate.ok


def test_one_hidden_layer_has_at_most_one_piece_per_unit_and_one_more() -> None:
    """CHECKLIST 165 and 166: the pieces reproduce the net on a dense grid, and H units make at most H + 1 of them."""
    for width in (1, 2, 8, 33):
        net = random_mlp([1, width, 1], width)
        found = line(net)
        t = np.linspace(-20, 20, 100_001)
        assert len(found.pieces) <= width + 1 and np.abs(found(t) - net(t[:, None])).max() < 1e-12
    deep = line(random_mlp([1, 16, 16, 1]))
    assert len(deep.pieces) > 17 + 4  # deeper multiplies


def test_a_unit_without_effect_is_told_but_bends_nothing() -> None:
    net = mlp([np.array([[1.0], [2.0]]), np.array([[0.0, 1.0]])], [np.array([1.0, -1.0]), np.zeros(1)])
    found = line(net)
    assert found.kinks.tolist() == [-1.0, 0.5] and found.bends.tolist() == [False, True]
    assert [(p.start, p.end, p.slope.tolist()) for p in found.pieces] == [(-INF, 0.5, [0.0]), (0.5, INF, [2.0])]


@pytest.mark.parametrize("at, joined", [(0.104, 0), (0.196, 1)])
def test_an_uncertain_crossing_does_not_join_two_certain_ones(at: float, joined: int) -> None:
    """A unit that is flat but for rounding crosses between two good kinks: they stay two, and it joins the nearer."""
    t, doubt = np.array([0.1, 0.2, at]), np.array([1e-12, 1e-12, 1])
    crossings = kinks_module.Crossings(np.zeros((3, 1), bool), np.arange(3), np.zeros(3, int), t, doubt)
    piece, place, t = kinks_module._merge([crossings])
    assert t.tolist() == [0.1, 0.2] and place.tolist() == [0, 1, joined] and piece.tolist() == [0, 0, 0]


# -- refusals and certificates ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "ends, words",
    [
        ((1.0, 1.0), "from 1.0 to 1.0 has no length; give two different ends"),
        ((2.0, 1.0), "runs backwards, from 2.0 to 1.0; give the smaller end first"),
        ((float("nan"), 1.0), "from nan to 1.0 has no place: give two numbers, or -inf and inf"),
        ((INF, INF), "has no length"),
    ],
)
def test_a_line_without_length_is_refused(ends: tuple[float, float], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        line(random_mlp([1, 3, 1]), *ends)


def test_too_many_pieces_are_refused() -> None:
    with pytest.raises(UsageError, match=r"more than 1,000 pieces \(1,024 at layer 10 of 30\); give a sh"):
        line(sawtooth(30), 0.0, 1.0, max_pieces=1000)


def test_what_is_no_line_is_refused() -> None:
    with pytest.raises(UsageError, match="needs a net of one number, and this one has 2 inputs; choose a line"):
        line(random_mlp([2, 3, 1]))
    net = random_mlp([1, 3, 1])
    net.layers[0].affine.terms[0][1][1, 0] = np.nan
    with pytest.raises(UsageError, match="The weights of fc1 are not all finite numbers: a net that diverged"):
        line(net)
    with pytest.raises(UsageError, match=r"The formula holds from 0.0 to 1.0, not at 1.5; ask for a longer line"):
        line(random_mlp([1, 3, 1]), 0, 1)([0.5, 1.5])


def test_the_certificate_is_held_against_the_oracle() -> None:
    net = random_mlp([1, 8, 1])
    asked: list[int] = []

    def oracle(t: np.ndarray) -> np.ndarray:
        asked.append(len(t))
        assert t.shape == (len(t), 1)
        return net(t) + 1e-9 * (t > 2)

    found = line(net, -3.0, 3.0, oracle=oracle)
    assert sum(asked) >= 1000 and not found.certificate.ok
    assert found.certificate.failures[0].name == "greatest |formula - net| at 1,000 fresh points"
    assert found.certificate.failures[0].found == pytest.approx(1e-9, rel=1e-5)
    assert line(net).certificate.ok and line(net).certificate["largest affine pieces"].found == 9


def test_a_formula_that_jumps_is_not_certified() -> None:
    from weightwalk.formulas.lines.line import _certificate

    net = random_mlp([1, 8, 1])
    found = line(net, -3.0, 3.0)
    wrong = replace(found, intercepts=found.intercepts + 1e-9 * np.eye(len(found.intercepts))[:, 1:2])
    assert _certificate(found, net, 0).ok and not _certificate(wrong, net, 0).ok
    assert not _certificate(wrong, net, 0)["greatest jump"].ok


def test_progress_is_told_of_every_layer() -> None:
    told: list[tuple[int, int]] = []
    found: Line = line(random_mlp([1, 8, 8, 1]), progress=lambda layer, pieces: told.append((layer, pieces)))
    assert [layer for layer, _ in told] == [1, 2] and told[-1][1] == len(found.slopes)


@pytest.mark.parametrize("most", [2, 40, 500])
def test_a_wide_layer_is_done_in_parts_that_change_nothing(monkeypatch: pytest.MonkeyPatch, most: int) -> None:
    for net in (random_mlp([1, 24, 24, 1]), sawtooth(5), mlp([np.ones((9, 1)), np.ones((1, 9))], [np.zeros(9), [0.0]])):
        whole = line(net)
        monkeypatch.setattr(kinks_module, "WIDEST", most)
        parts = line(net)
        monkeypatch.undo()
        assert np.abs(parts.kinks - whole.kinks).max() <= 1e-13 * np.abs(whole.kinks).max()
        assert parts.units == whole.units and parts.certificate.ok
        assert all((a == b).all() for a, b in zip(parts.pattern, whole.pattern, strict=True))


def test_patterns_that_would_not_fit_are_refused() -> None:
    with pytest.raises(UsageError, match=r"The patterns of \d+ pieces of 64 units would take .* more with --memory"):
        line(random_mlp([1, 64, 1]), memory=2000)
