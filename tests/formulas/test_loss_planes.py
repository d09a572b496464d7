"""The loss over two weights of one layer: closed forms, torch at many pairs, and sums over samples."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from torch import nn

from weightwalk.errors import UsageError
from weightwalk.formulas.losses.moving import entry
from weightwalk.formulas.losses.parameters import loss_over_parameters
from weightwalk.formulas.losses.planes import loss_plane
from weightwalk.formulas.losses.slices import loss_along
from weightwalk.formulas.piecewise import Affine, Layer, PiecewiseNet, identity, mlp, relu

BOX = ((-2.0, 2.0), (-3.0, 1.0))


def test_two_weights_in_closed_form() -> None:
    """relu(a x) + relu(b y) with x = y = 1 and target 1: four quadrants, 0 where a + b = 1 with both positive."""
    net = mlp([np.eye(2), np.array([[1.0, 1.0]])], [np.zeros(2), np.zeros(1)])
    pair = entry(net, 0, 0, 0), entry(net, 0, 1, 1)
    plane = loss_plane(net, pair, (np.ones((1, 2)), np.ones((1, 1))), BOX)
    assert plane.certificate.ok, str(plane.certificate)
    assert plane.counts.tolist() == [4]
    w = np.random.default_rng(0).uniform([-2, -3], [2, 1], (200, 2))
    wanted = (np.maximum(w[:, 0], 0) + np.maximum(w[:, 1], 0) - 1) ** 2
    assert np.abs(plane(w) - wanted).max() < 1e-14
    assert plane([[0.25, 0.75]])[0] == pytest.approx(0.0, abs=1e-30)


def mlp_module(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(2, 6), nn.ReLU(), nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 2))


@pytest.mark.parametrize(
    ("one", "two"),
    [
        ("0.weight[1,0]", "0.weight[1,1]"),
        ("0.weight[1,0]", "0.bias[4]"),
        ("2.weight[3,1]", "2.weight[0,2]"),
        ("4.weight[1,1]", "4.bias[0]"),
    ],
)
def test_pairs_of_weights_against_torch(one: str, two: str) -> None:
    module = mlp_module()
    x, y = torch.randn(25, 2), torch.randn(25, 2)
    plane = loss_over_parameters(module, (x[:1],), (one, two), (x.numpy(), y.numpy()))
    assert plane.certificate.ok, str(plane.certificate)
    moved = copy.deepcopy(module).double()
    places = []
    for name in plane.names:
        path, _, index = name.partition("[")
        places.append((moved.get_parameter(path), tuple(int(i) for i in index.rstrip("]").split(","))))
    w = np.random.default_rng(1).uniform(-1, 1, (40, 2)) + plane.at
    wanted = []
    for pair in w:
        with torch.no_grad():
            for (parameter, index), value in zip(places, pair, strict=True):
                parameter[index] = value
            wanted.append(nn.functional.mse_loss(moved(x.double()), y.double()).item())
    assert np.abs(plane(w) / wanted - 1).max() < 1e-12
    first, second, losses = plane.grid(21)
    assert losses.shape == (21, 21)
    assert (first[10], second[10]) == plane.at
    assert losses[10, 10] == plane(np.array(plane.at))
    assert losses[3, 7] == plane(np.array([first[3], second[7]]))


def test_a_line_of_the_plane_is_the_loss_along_one_weight() -> None:
    rng = np.random.default_rng(2)
    net = mlp([rng.standard_normal((5, 2)), rng.standard_normal((4, 5)), rng.standard_normal((1, 4))],
              [rng.standard_normal(n) for n in (5, 4, 1)])  # fmt: skip
    data = rng.standard_normal((20, 2)), rng.standard_normal((20, 1))
    a, b = entry(net, 0, 2, 0), entry(net, 0, 4, 1)
    plane = loss_plane(net, (a, b), data, ((a.value - 3, a.value + 3), (b.value - 3, b.value + 3)))
    assert plane.certificate.ok
    assert plane.counts.sum() > 60
    line = loss_along(net, a, data)
    w = np.linspace(a.value - 3, a.value + 3, 301)[1:-1]
    on_plane = plane(np.stack([w, np.full(299, b.value)], 1))
    assert np.abs(on_plane / line(w) - 1).max() < 1e-12
    alone = [loss_plane(net, (a, b), (data[0][i : i + 1], data[1][i : i + 1]),
                        ((a.value - 3, a.value + 3), (b.value - 3, b.value + 3))) for i in range(20)]  # fmt: skip
    pairs = rng.uniform(-2.9, 2.9, (50, 2)) + plane.at
    assert np.abs(plane(pairs) / np.mean([p(pairs) for p in alone], axis=0) - 1).max() < 1e-13


def test_a_point_on_a_kink_has_the_same_loss_from_all_sides() -> None:
    net = mlp([np.eye(2), np.array([[1.0, 1.0]])], [np.zeros(2), np.zeros(1)])
    pair = entry(net, 0, 0, 0), entry(net, 0, 1, 1)
    plane = loss_plane(net, pair, (np.ones((1, 2)), np.ones((1, 1))), BOX)
    assert plane([[0.0, 0.0], [0.0, 0.5], [-1.0, 0.0]]).tolist() == [1.0, 0.25, 1.0]


def test_a_point_whose_pattern_is_that_of_no_region() -> None:
    """With a = x + y, units a and -a: where a is 0 both are off, and there is no region in which both are.

    Two more units, a - 1 and a + 1, so that there are strips that do not touch that line.
    """
    rows = np.array([[1.0, 1.0], [-1.0, -1.0], [1.0, 1.0], [1.0, 1.0]])
    split = Layer("b", (4,), Affine(((1, rows),), np.array([0.0, 0.0, -1.0, 1.0])), relu(4))
    first = Layer("a", (2,), Affine(((0, np.eye(2)),), np.zeros(2)), identity(2))
    last = Affine(((2, np.array([[1.0, 3.0, 7.0, 9.0]])),), np.array([5.0]))
    net = PiecewiseNet(("x", "y"), (first, split), last, ("z",))
    plane = loss_plane(net, (entry(net, 0, 0, 0), entry(net, 0, 1, 1)), (np.ones((1, 2)), np.zeros((1, 1))), BOX)
    assert plane.counts.tolist() == [4]
    a = np.array([-2.0, -1.0, 0.0, 1.0, 2.0])
    wanted = 5 + np.maximum(a, 0) + 3 * np.maximum(-a, 0) + 7 * np.maximum(a - 1, 0) + 9 * np.maximum(a + 1, 0)
    assert plane(np.stack([a / 2, a / 2], 1)).tolist() == (wanted**2).tolist()


def test_what_is_refused() -> None:
    module = mlp_module()
    x, y = torch.randn(9, 2), torch.randn(9, 2)
    data = (x.numpy(), y.numpy())

    def over(one: str, two: str, **options: object) -> None:
        loss_over_parameters(module, (x[:1],), (one, two), data, **options)

    cases = [
        (lambda: over("0.weight[1,0]", "2.weight[1,0]"), "acts on numbers that .* choose weights of one"),
        (lambda: over("0.weight[1,0]", "0.weight[1, 0]"), "is given twice"),
        (lambda: over("0.weight[1,0]", "0.bias[1]", loss="mae"), "only the mean squared error is .* 'mae' is not"),
        (lambda: over("0.weight[1,0]", "0.bias[1]", box=((5.0, 6.0), (-1.0, 1.0))), "box goes from 5.0 to 6.0"),
        (lambda: over("0.weight[1,0]", "0.bias[1]", box=((1.0, -1.0), (-1.0, 1.0))), "the box goes from 1.0 to -1.0"),
        (lambda: over("0.weight[1,0]", "0.bias[1]", max_regions=4), "max_regions"),
    ]  # fmt: skip
    for call, message in cases:
        with pytest.raises(UsageError, match=message):
            call()
    plane = loss_over_parameters(module, (x[:1],), ("0.weight[1,0]", "0.bias[1]"), data)
    with pytest.raises(UsageError, match=r"holds in a box around .* ask for a wider one"):
        plane(np.array([99.0, 0.0]))
    wrong = loss_plane(
        mlp([np.eye(2)], [np.zeros(2)]),
        (entry(mlp([np.eye(2)], [np.zeros(2)]), 0, 0, 0), entry(mlp([np.eye(2)], [np.zeros(2)]), 0, 1, 1)),
        (np.ones((2, 2)), np.ones((2, 2))),
        BOX,
        oracle=lambda pairs: 1.0 + pairs[:, 0],
    )
    assert wrong.certificate.failures
