"""The loss along one weight: closed forms, the net run at many weights, autograd, and sums over samples."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from scipy import sparse
from torch import nn

from weightwalk.errors import UsageError
from weightwalk.formulas.losses.moving import Weight, entry
from weightwalk.formulas.losses.slices import LossLine, loss_along
from weightwalk.formulas.piecewise import Activation, Affine, Layer, PiecewiseNet, mlp


def random_net(sizes: tuple[int, ...], seed: int = 0) -> PiecewiseNet:
    rng = np.random.default_rng(seed)
    pairs = list(pairwise(sizes))
    weights = [rng.standard_normal((b, a)) * math.sqrt(2 / a) for a, b in pairs]
    return mlp(weights, [0.3 * rng.standard_normal(b) for _, b in pairs])


def with_weight(net: PiecewiseNet, layer: int, unit: int, column: int | None, value: float) -> PiecewiseNet:
    """The net with one number of a dense layer replaced."""
    affine = net.output if layer == len(net.layers) else net.layers[layer].affine
    ((j, matrix),) = affine.terms
    matrix, bias = matrix.copy(), affine.bias.copy()
    if column is None:
        bias[unit] = value
    else:
        matrix[unit, column] = value
    changed = Affine(((j, matrix),), bias)
    if layer == len(net.layers):
        return replace(net, output=changed)
    layers = list(net.layers)
    layers[layer] = replace(layers[layer], affine=changed)
    return replace(net, layers=tuple(layers))


def torch_loss(net: PiecewiseNet, layer: int, unit: int, column: int | None, x: np.ndarray, y: np.ndarray, w: float):
    """mse_loss and its derivative by torch, in float64, of a ReLU net with one number replaced."""
    moved = with_weight(net, layer, unit, column, w)
    affines = [la.affine for la in moved.layers] + [moved.output]
    tensors = [(torch.tensor(a.terms[0][1]), torch.tensor(a.bias)) for a in affines]
    target = tensors[layer][1 if column is None else 0].requires_grad_()
    h = torch.tensor(x)
    for k, (matrix, bias) in enumerate(tensors):
        h = nn.functional.linear(h, matrix, bias)
        h = torch.relu(h) if k < len(tensors) - 1 else h
    loss = nn.functional.mse_loss(h, torch.tensor(y))
    (grad,) = torch.autograd.grad(loss, target)
    return loss.item(), float(grad[unit] if column is None else grad[unit, column])


def check_line(line: LossLine) -> None:
    assert line.certificate.ok, str(line.certificate)
    assert (np.diff(line.steps) > 0).all()
    assert len(line.coefficients) == len(line.centres) == line.pieces
    assert (np.diff(line.switches[:, 0]) >= 0).all()
    assert set(line.switches[:, 0].tolist()) == set(range(len(line.steps)))


def test_one_weight_one_sample_in_closed_form() -> None:
    """(relu(w x) - t)^2 with x = 2, t = 3: t^2 for w < 0, (2 w - 3)^2 for w > 0; least at 1.5."""
    net = mlp([np.array([[0.5]]), np.array([[1.0]])], [np.zeros(1), np.zeros(1)])
    line = loss_along(net, entry(net, 0, 0, 0), (np.array([[2.0]]), np.array([[3.0]])))
    check_line(line)
    assert line.kinks.tolist() == [0.0]
    assert line.switches.tolist() == [[0, 0, 0, 0]]
    assert line([-7.0, -1.0, 0.0, 1.0, 10.0]).tolist() == [9.0, 9.0, 9.0, 1.0, 289.0]
    assert line.loss == 4.0 and line.derivative == (-8.0, -8.0)
    assert (line.minimum.at, line.minimum.loss) == (1.5, 0.0)
    assert [m.at for m in line.minima] == [1.5], "the flat part falls off to the right, and is no minimum"


def test_two_samples_with_two_minima() -> None:
    """(|w| - 1)^2 as relu(w) + relu(-w): minima at -1 and 1, from two samples x = 1 and x = -1 with target 1 and 1.

    relu(w x) over both: ((relu(w) - 1)^2 + (relu(-w) - 1)^2) / 2, so 1/2 at w = -1 and 1, and 1 at 0.
    """
    net = mlp([np.array([[0.25]]), np.array([[1.0]])], [np.zeros(1), np.zeros(1)])
    line = loss_along(net, entry(net, 0, 0, 0), (np.array([[1.0], [-1.0]]), np.array([[1.0], [1.0]])))
    check_line(line)
    assert line.kinks.tolist() == [0.0], "both samples switch at one place"
    assert line.switches.tolist() == [[0, 0, 0, 0], [0, 1, 0, 0]]
    assert [(m.at, m.loss) for m in line.minima] == [(-1.0, 0.5), (1.0, 0.5)]
    assert line.minimum.at == 1.0, "of equal minima the one nearer to the weight as it is"
    assert line(0.0) == 1.0 and line(3.0) == 2.5


def test_a_bias_moves_every_sample_alike() -> None:
    """relu(x + b) with x = 0, 1, 2 and targets 0: kinks at b = 0, -1, -2; least, 0, for all b up to -2."""
    net = mlp([np.array([[1.0]]), np.array([[1.0]])], [np.array([0.5]), np.zeros(1)])
    line = loss_along(net, entry(net, 0, 0, None), (np.array([[0.0], [1.0], [2.0]]), np.zeros((3, 1))))
    check_line(line)
    assert line.kinks.tolist() == [-2.0, -1.0, 0.0]
    assert line.switches[:, 1].tolist() == [2, 1, 0]
    (floor,) = line.minima
    assert (floor.at, floor.loss, floor.low, floor.high) == (-2.0, 0.0, -math.inf, -2.0)
    assert line([-5.0, -1.5, 1.0]) == pytest.approx([0.0, 0.25 / 3, (1 + 4 + 9) / 3], rel=1e-15)


@pytest.mark.parametrize("sizes", [(2, 3, 1), (3, 8, 8, 2), (4, 16, 16, 16, 3)])
@pytest.mark.parametrize("span", [(-3.0, 3.5), None])
def test_every_kind_of_weight_against_torch(sizes: tuple[int, ...], span: tuple[float, float] | None) -> None:
    rng = np.random.default_rng(1)
    net = random_net(sizes)
    x, y = rng.standard_normal((40, sizes[0])), rng.standard_normal((40, sizes[-1]))
    for layer in range(len(sizes) - 1):
        for column in (1, None):
            unit = min(1, sizes[layer + 1] - 1)
            line = loss_along(net, entry(net, layer, unit, column), (x, y), span)
            check_line(line)
            w = np.concatenate([rng.uniform(-3, 3.5, 60), line.kinks[np.abs(line.kinks) < 3][:40]])
            wanted = np.array([torch_loss(net, layer, unit, column, x, y, v)[0] for v in w])
            assert np.abs(line(w) / wanted - 1).max() < 1e-13
            slope = torch_loss(net, layer, unit, column, x, y, line.at)[1]
            assert line.derivative == pytest.approx((slope, slope), rel=1e-11, abs=1e-14)
            assert line.loss == pytest.approx(torch_loss(net, layer, unit, column, x, y, line.at)[0], rel=1e-14)


def test_a_dense_grid_finds_no_lower_loss_and_every_valley() -> None:
    rng = np.random.default_rng(2)
    net = random_net((2, 6, 6, 1), seed=4)
    x, y = rng.standard_normal((12, 2)), rng.standard_normal((12, 1))
    several = 0
    for unit in range(6):
        line = loss_along(net, entry(net, 0, unit, 0), (x, y), (-4.0, 4.0))
        check_line(line)
        w = np.linspace(-4, 4, 20001)
        on_grid = np.array([((with_weight(net, 0, unit, 0, v)(x) - y) ** 2).mean() for v in w])
        assert line.minimum.loss <= on_grid.min() + 1e-15
        assert line.minimum.loss >= on_grid.min() - 1e-4
        inner = np.flatnonzero((on_grid[1:-1] < on_grid[:-2]) & (on_grid[1:-1] < on_grid[2:])) + 1
        for valley in w[inner]:
            assert min(abs(m.at - valley) for m in line.minima) < 5e-4
        several += len(line.minima) > 1
        for m in line.minima:
            assert line(np.clip([m.low - 1e-6, m.high + 1e-6], -4, 4)).min() >= m.loss - 1e-15
    assert several, "at least one of these losses has more than one minimum"


def test_the_loss_is_the_mean_of_the_losses_of_single_samples() -> None:
    rng = np.random.default_rng(3)
    net = random_net((3, 7, 7, 2), seed=1)
    x, y = rng.standard_normal((25, 3)), rng.standard_normal((25, 2))
    weight = entry(net, 1, 2, 3)
    whole = loss_along(net, weight, (x, y))
    singles = [loss_along(net, weight, (x[i : i + 1], y[i : i + 1])) for i in range(25)]
    w = rng.uniform(-20, 20, 200)
    assert np.abs(whole(w) / np.mean([s(w) for s in singles], axis=0) - 1).max() < 1e-14
    apart = np.unique(np.concatenate([s.steps for s in singles]))
    assert np.allclose(whole.steps, apart, rtol=1e-12)
    for i, single in enumerate(singles):
        mine = whole.switches[whole.switches[:, 1] == i]
        assert np.allclose(whole.steps[mine[:, 0]], single.steps[single.switches[:, 0]], rtol=1e-12)
        assert np.array_equal(mine[:, 2:], single.switches[:, 2:])


def test_the_unit_of_a_kink_is_at_its_kink_there() -> None:
    rng = np.random.default_rng(5)
    net = random_net((3, 7, 7, 2), seed=2)
    x = rng.standard_normal((10, 3))
    line = loss_along(net, entry(net, 0, 1, 2), (x, rng.standard_normal((10, 2))), (-5.0, 5.0))
    assert len(line.switches) > 20
    for kink, sample, layer, unit in line.switches:
        moved = with_weight(net, 0, 1, 2, float(line.kinks[kink]))
        z = moved.run(x[sample : sample + 1], keep=True)[1][layer][0]
        assert abs(z[unit]) < 1e-13 * max(1.0, np.abs(z).max())


def test_a_weight_without_effect_gives_one_flat_piece() -> None:
    net = random_net((2, 4, 1))
    x = np.zeros((5, 2))  # h_j = 0 for every sample
    line = loss_along(net, entry(net, 0, 1, 0), (x, np.ones((5, 1))))
    check_line(line)
    assert line.pieces == 1 and line.derivative == (0.0, 0.0)
    (floor,) = line.minima
    assert (floor.at, floor.low, floor.high) == (line.at, -math.inf, math.inf)
    assert line(1e9) == line.loss == floor.loss


def test_far_out_the_loss_of_units_that_are_off_is_flat() -> None:
    """Beyond the last kink to one side the unit is off for all samples: exactly constant, however far."""
    rng = np.random.default_rng(6)
    net = random_net((2, 5, 5, 1), seed=3)
    x, y = np.abs(rng.standard_normal((300, 2))) + 1e-4, rng.standard_normal((300, 1))
    line = loss_along(net, entry(net, 0, 0, 1), (x, y))
    check_line(line)
    far = line.kinks[0] - np.array([1.0, 1e3, 1e6, 1e9])
    wanted = ((with_weight(net, 0, 0, 1, -1e12)(x) - y) ** 2).mean()
    assert np.abs(line(far) / wanted - 1).max() < 1e-13


def test_a_long_piece_between_far_kinks_is_as_exact_as_a_short_one() -> None:
    """300 samples switch off at once, near u = 1; the next kink is a million times farther out."""
    rng = np.random.default_rng(11)
    net = mlp([np.array([[-1.0, 1.0]]), np.array([[1.0]])], [np.zeros(1), np.zeros(1)])  # relu(-x + w y), w = 1
    x = np.stack([1 - rng.uniform(1, 1.9, 300), np.full(300, -1.0)], 1)  # off beyond u = 1 to 1.9
    x = np.concatenate([x, [[1.0, 1e-6], [3.0, 1e-6]]])  # on beyond u = 1e6 and 3e6
    x[:300, 0] -= 1.0
    y = np.full((302, 1), 0.1)
    line = loss_along(net, entry(net, 0, 0, 1), (x, y))
    check_line(line)
    w = np.concatenate([rng.uniform(3, 9e5, 50), [10.0, 1e3, 9e5]])
    assert np.abs(line(w) / 0.01 - 1).max() < 1e-13, "all units are off: the loss is the mean of 0.1^2"


def test_a_unit_that_switches_with_the_one_before_it_makes_no_kink_of_its_own() -> None:
    rng = np.random.default_rng(12)
    net = mlp([rng.standard_normal((1, 2)), np.array([[0.7], [0.3]]), np.array([[0.1, -0.9]])],
              [rng.standard_normal(1), np.zeros(2), np.zeros(1)])  # fmt: skip
    line = loss_along(net, entry(net, 0, 0, 1), (rng.standard_normal((400, 2)), np.ones((400, 1))))
    check_line(line)
    assert len(line.steps) == len(line.switches) == 400
    assert set(line.switches[:, 2].tolist()) == {0}


def test_rounding_noise_that_a_leaky_layer_hands_on_makes_no_kinks() -> None:
    """Units of the second layer are 0.1 h + 0.2 h - 0.3 h, which is 0 or noise; the third layer adds them up."""
    rng = np.random.default_rng(13)
    leaky = {n: Activation("", np.zeros((n, 1)), np.tile([0.1, 1.0], (n, 1)), np.zeros((n, 2))) for n in (2, 3)}
    row, bias = rng.standard_normal(2), rng.standard_normal()
    first = Layer("a", (3,), Affine(((0, np.tile(row, (3, 1))),), np.full(3, bias)), leaky[3])
    second = Layer("b", (2,), Affine(((1, np.array([[0.1, 0.2, -0.3], [0.7, -0.6, -0.1]])),), np.zeros(2)), leaky[2])
    third = Layer("c", (2,), Affine(((2, rng.standard_normal((2, 2))),), np.zeros(2)), leaky[2])
    net = PiecewiseNet(("x", "y"), (first, second, third), Affine(((3, np.ones((1, 2))),), np.ones(1)), ("z",))
    all_three = sparse.csr_array((np.ones(3), ([0, 1, 2], [1, 1, 1])), shape=(3, 2))
    weight = Weight("all three", float(row[1]), ((0, Affine(((0, all_three),), np.zeros(3))),))
    line = loss_along(net, weight, (rng.standard_normal((300, 2)), np.zeros((300, 1))))
    check_line(line)
    assert set(line.switches[:, 2].tolist()) == {0}
    assert len(line.steps) == 300


def odd_net(kind: str) -> PiecewiseNet:
    """A hidden layer of 3 with a skip connection from the input to the output, and another activation."""
    rng = np.random.default_rng(7)
    kinks, slopes, offsets = {
        "leaky": ([0.0], [0.1, 1.0], [0.0, 0.0]),
        "hardtanh": ([-1.0, 1.0], [0.0, 1.0, 0.0], [-1.0, 0.0, 1.0]),
        "abs": ([0.0], [-1.0, 1.0], [0.0, 0.0]),
        "": ([], [1.0], [0.0]),
    }[kind]
    act = Activation(kind, np.tile(kinks, (3, 1)), np.tile(slopes, (3, 1)), np.tile(offsets, (3, 1)))
    first = Layer("a", (3,), Affine(((0, rng.standard_normal((3, 2))),), rng.standard_normal(3)), act)
    second = Layer("b", (3,), Affine(((1, rng.standard_normal((3, 3))),), rng.standard_normal(3)), act)
    reads = tuple((j, rng.standard_normal((2, n))) for j, n in enumerate((2, 3, 3)))
    last = Affine(reads, rng.standard_normal(2))
    return PiecewiseNet(("x", "y"), (first, second), last, ("p", "q"))


@pytest.mark.parametrize("kind", ["leaky", "hardtanh", "abs", ""])
def test_other_activations_and_skip_connections(kind: str) -> None:
    rng = np.random.default_rng(8)
    net = odd_net(kind)
    x, y = rng.standard_normal((20, 2)), rng.standard_normal((20, 2))
    for layer in (0, 1):
        line = loss_along(net, entry(net, layer, 1, 1), (x, y), (-6.0, 6.0))
        check_line(line)
        w = rng.uniform(-6, 6, 100)
        wanted = [((with_weight(net, layer, 1, 1, v)(x) - y) ** 2).mean() for v in w]
        assert np.abs(line(w) / wanted - 1).max() < 1e-13
        assert (line.pieces == 1) == (kind == "")
    for source, column in ((0, 1), (1, 2), (2, 0)):
        line = loss_along(net, entry(net, 2, 0, column, source), (x, y))
        check_line(line)
        assert line.pieces == 1


def test_weights_that_are_not_generic() -> None:
    """Small integers, equal units and equal samples: kinks coincide, pre-activations are 0 on whole pieces."""
    rng = np.random.default_rng(9)
    for seed in range(30):
        draw = np.random.default_rng(seed)
        sizes = (2, 4, 4, 1)
        weights = [draw.integers(-1, 2, (b, a)) * 1.0 for a, b in pairwise(sizes)]
        weights[1][1] = weights[1][0]
        net = mlp(weights, [draw.integers(-1, 2, b) * 0.5 for b in sizes[1:]])
        x, y = draw.integers(-2, 3, (30, 2)) * 0.5, draw.integers(-1, 2, (30, 1)) * 1.0
        for layer in (0, 1):
            line = loss_along(net, entry(net, layer, 0, 0), (x, y), (-4.0, 4.0))
            check_line(line)
            w = np.concatenate([np.linspace(-4, 4, 65), rng.uniform(-4, 4, 30)])
            wanted = np.array([((with_weight(net, layer, 0, 0, v)(x) - y) ** 2).mean() for v in w])
            assert np.abs(line(w) - wanted).max() < 1e-13 * max(1.0, wanted.max())


def test_many_samples_are_done_in_bundles_that_change_nothing() -> None:
    rng = np.random.default_rng(10)
    net = random_net((3, 32, 32, 1))
    x, y = rng.standard_normal((3000, 3)), rng.standard_normal((3000, 1))
    line = loss_along(net, entry(net, 0, 4, 1), (x, y), (-2.0, 2.0))
    check_line(line)
    assert line.certificate["pieces"].found > 5_000
    order = rng.permutation(3000)
    other = loss_along(net, entry(net, 0, 4, 1), (x[order], y[order]), (-2.0, 2.0))
    assert np.allclose(line.steps, other.steps, rtol=1e-11, atol=1e-15)
    w = rng.uniform(-2, 2, 500)
    assert np.abs(line(w) / other(w) - 1).max() < 1e-13


def test_what_is_refused() -> None:
    net = random_net((2, 4, 1))
    weight, data = entry(net, 0, 1, 0), (np.ones((3, 2)), np.ones((3, 1)))
    cases = [
        (lambda: loss_along(net, weight, data, loss="cross_entropy"), "only the mean squared error .* 'cross"),
        (lambda: loss_along(net, weight, data, (1.0, 1.0)), "span from 1.0 to 1.0 is empty"),
        (lambda: loss_along(net, weight, data, (math.nan, 1.0)), "is empty"),
        (lambda: loss_along(net, weight, data, (90.0, 99.0)), "outside of the span from 90.0 to 99.0"),
        (lambda: loss_along(net, weight, (np.ones((3, 1)), data[1])), r"takes \(N, 2\) and gives \(N, 1\)"),
        (lambda: loss_along(net, weight, (data[0], np.ones((4, 1)))), "targets of shape"),
        (lambda: loss_along(net, weight, (data[0], np.full((3, 1), np.nan))), "targets hold numbers that are no"),
        (lambda: loss_along(net, weight, (np.zeros((0, 2)), np.zeros((0, 1)))), "with N at least 1"),
        (lambda: loss_along(net, weight, (np.random.randn(99, 2), np.ones((99, 1))), max_pieces=50),  # noqa: NPY002
         "more than 50 pieces"),
        (lambda: loss_along(net, weight, data, (-9.0, 9.0))(10.0), "holds from -9.0 to 9.0, not at 10.0"),
        (lambda: entry(net, 2, 0, 0), "There is no layer 2: the net has 1"),
        (lambda: entry(net, 0, 4, 0), "There is no unit 4 in fc1: it has 4"),
        (lambda: entry(net, 0, 0, 2), "There is no column 2 in fc1: it has 2"),
        (lambda: entry(net, 1, 0, 0, source=0), "output does not read source 0; it reads 1"),
    ]  # fmt: skip
    for call, message in cases:
        with pytest.raises(UsageError, match=message):
            call()


def test_a_weight_that_multiplies_what_it_moved_is_refused() -> None:
    net = random_net((3, 3, 3, 1))
    twice = tuple((k, entry(net, k, 0, 1).changes[0][1]) for k in (0, 1))
    data = np.ones((2, 3)), np.ones((2, 1))
    with pytest.raises(UsageError, match="tied is used by more than one layer, one after the other"):
        loss_along(net, Weight("tied", 0.3, twice), data)


def test_a_certificate_fails_where_the_formula_is_wrong() -> None:
    net = random_net((2, 4, 1))
    rng = np.random.default_rng(0)
    data = rng.standard_normal((9, 2)), rng.standard_normal((9, 1))
    weight = entry(net, 0, 1, 0)
    assert loss_along(net, weight, data, oracle=lambda w: 1.0 + 0 * w).certificate.failures
    good = loss_along(net, weight, data)
    judged = loss_along(net, weight, data, gradient=good.derivative[0] * (1 + 1e-9) + 1e-9)
    assert [c.name for c in judged.certificate.failures] == ["|derivative - autograd's| with the weight as it is"]


@pytest.mark.slow
def test_ten_thousand_samples_through_three_layers_of_64() -> None:
    rng = np.random.default_rng(0)
    net = random_net((4, 64, 64, 64, 2))
    x, y = rng.standard_normal((10_000, 4)), rng.standard_normal((10_000, 2))
    line = loss_along(net, entry(net, 0, 1, 0), (x, y), (-3.0, 3.0))
    check_line(line)
    assert line.pieces > 100_000
