"""Well-known statements about small nets, each as an exact number."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

import weightwalk as ww
from weightwalk.formulas.fits.surrogates import surrogate
from weightwalk.formulas.formula import formula
from weightwalk.formulas.points.local import first_order


def test_a_linear_net_reads_y_is_2x_plus_3() -> None:
    found = formula(ww.load_net("linear"))
    assert found.kind == "affine" and found.certified
    assert found.facts.A.item() == pytest.approx(2, abs=1e-3)
    assert found.facts.b.item() == pytest.approx(3, abs=1e-3)


def test_a_stack_of_linear_layers_is_one_linear_layer() -> None:
    torch.manual_seed(0)
    layers = [nn.Linear(4, 7), nn.Linear(7, 5), nn.Linear(5, 6), nn.Linear(6, 3)]
    found = formula(nn.Sequential(*layers).double())
    product, shift = torch.eye(4, dtype=torch.float64), torch.zeros(4, dtype=torch.float64)
    for layer in layers:
        product, shift = layer.weight @ product, layer.weight @ shift + layer.bias
    assert np.abs(found.facts.A - product.detach().numpy()).max() < 1e-12
    assert np.abs(found.facts.b - shift.detach().numpy()).max() < 1e-12


@pytest.mark.parametrize("width", [1, 2, 5, 16, 64])
def test_one_hidden_layer_has_at_most_one_kink_per_unit(width: int) -> None:
    torch.manual_seed(width)
    found = formula(nn.Sequential(nn.Linear(1, width), nn.ReLU(), nn.Linear(width, 1)))
    assert found.facts.bends.sum() <= width
    x = np.linspace(-20, 20, 20_001)[:, None]
    assert np.abs(found.facts(x[:, 0]) - found.lifted.net(x)).max() < 1e-9


def test_depth_multiplies_pieces() -> None:
    """A tent folded k times has 2**k pieces with 2 units a layer: no one hidden layer of 2 k units comes near."""

    def tent() -> list[nn.Module]:
        first, then = nn.Linear(1, 2), nn.Linear(2, 1)
        with torch.no_grad():
            first.weight[:], first.bias[:] = torch.tensor([[1.0], [1.0]]), torch.tensor([0.0, -0.5])
            then.weight[:], then.bias[:] = torch.tensor([[2.0, -4.0]]), torch.tensor([0.0])
        return [first, nn.ReLU(), then]

    for k in (1, 2, 5, 9):
        found = formula(nn.Sequential(*(m for _ in range(k) for m in tent())), box=(0, 1))
        assert len(found.facts.kinks[found.facts.bends]) + 1 == 2**k
        assert np.array_equal(found.facts.kinks[found.facts.bends], np.arange(1, 2**k) / 2**k)


def test_the_best_line_through_the_square_root() -> None:
    """What a net without activation can at best learn of it: on [0, 10], RMSE sqrt(1/45) = .149, by integration."""
    line = surrogate(lambda p: np.sqrt(np.maximum(p, 0.0)), ((0, 10),), 1, points=np.linspace(0, 10, 10_001)[:, None])
    by_power = dict(zip(line.exponents[:, 0].tolist(), line.coefficients[:, 0].tolist(), strict=True))
    assert by_power[1] == pytest.approx(0.08 * 10**0.5, rel=1e-3)
    assert by_power[0] == pytest.approx(4 / 15 * 10**0.5, rel=1e-3)
    x = np.linspace(0, 10, 100_001)[:, None]
    assert np.sqrt(np.mean((line(x)[:, 0] - np.sqrt(x[:, 0])) ** 2)) == pytest.approx(45**-0.5, rel=1e-3)


def test_far_outside_the_square_root_net_is_wrong_and_newton_is_not() -> None:
    found = formula(ww.load_net("sqrt"))
    assert 3 <= found.facts(np.array([100.0])).item() <= 25
    guess = 100.0
    for _ in range(20):
        guess = (guess + 100.0 / guess) / 2
    assert guess == 10.0


def test_the_first_order_expansion_is_exact_inside_the_region_and_not_outside() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(3, 8), nn.ReLU(), nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 2)).double()
    found = formula(net, at=[0.2, -0.4, 0.9]).facts
    draw = np.random.default_rng(0).normal(size=(50, 3))
    for d in draw / np.linalg.norm(draw, axis=1, keepdims=True):
        near = found.x + 0.99 * found.nearest.distance * d
        here = first_order(found, near)
        assert here.exact and np.abs(here.value - here.net).max() < 1e-13
    far = [first_order(found, found.x + 5.0 * d) for d in draw]
    assert not any(f.exact for f in far) and min(np.abs(f.value - f.net).max() for f in far) > 1e-6


def test_gradient_perturbation_and_exact_slope_agree() -> None:
    torch.manual_seed(1)
    net = nn.Sequential(nn.Linear(4, 16), nn.ReLU(), nn.Linear(16, 1)).double()
    x = torch.tensor([[0.3, -0.1, 0.7, 0.2]], dtype=torch.float64, requires_grad=True)
    (gradient,) = torch.autograd.grad(net(x).sum(), x)
    found = formula(net, at=x.detach()).facts
    assert np.abs(found.A[0] - gradient.numpy()[0]).max() < 1e-14
    step = found.nearest.distance / 2
    for i in range(4):
        moved = found.x.copy()
        moved[i] += step
        assert (found.net(moved[None]) - found.y).item() / step == pytest.approx(found.A[0, i], rel=1e-5, abs=1e-9)
