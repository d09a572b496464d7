"""The verb's other answers: a polynomial in place of any net, and the loss along weights."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from weightwalk.errors import UsageError
from weightwalk.formulas.formula import formula


class Planted(nn.Module):
    def forward(self, x):
        return 1 + 2 * x[:, :1] - 3 * x[:, :1] * x[:, 1:]


def test_a_planted_polynomial_comes_back() -> None:
    found = formula(Planted(), surrogate=2, box=((-1, 1), (0, 2)))
    terms = dict(zip(map(tuple, found.exponents.tolist()), found.coefficients[:, 0].tolist(), strict=True))
    assert terms[0, 0] == pytest.approx(1) and terms[1, 0] == pytest.approx(2) and terms[1, 1] == pytest.approx(-3)
    assert found.score().r2 == pytest.approx(1)


def test_a_gelu_net_has_a_surrogate_and_data_are_scored() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(2, 8), nn.GELU(), nn.Linear(8, 2))
    x = torch.rand(50, 2) * 2 - 1
    found = formula(net, surrogate=3, box=(-1, 1), data=(x, net(x)), select=[1])
    assert found.coefficients.shape[1] == 1
    assert found.score("data").r2 == pytest.approx(found.score("net").r2, abs=0.1)


def test_the_loss_along_a_weight_is_that_of_the_module() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(2, 4), nn.ReLU(), nn.Linear(4, 1)).double()
    x = torch.randn(20, 2, dtype=torch.float64)
    y = x.sum(1, keepdim=True)
    found = formula(net, weight="0.weight[1,0]", data=(x, y), box=(-2, 2))
    before = {k: v.clone() for k, v in net.state_dict().items()}
    for w in (-1.7, 0.0, 0.3, 1.9):
        with torch.no_grad():
            net[0].weight[1, 0] = w
            assert found(np.array([w])).item() == pytest.approx(nn.functional.mse_loss(net(x), y).item(), rel=1e-12)
    net.load_state_dict(before)
    over = formula(net, weight=("0.weight[1,0]", "0.weight[2,1]"), data=(x[:3], y[:3]), box=(-1, 1))
    assert over.certificate.ok
    assert all(torch.equal(v, before[k]) for k, v in net.state_dict().items())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"surrogate": 2}, r"give one, such as box=\(-1, 1\)"),
        ({"surrogate": 2, "box": (-1, 1), "data": ([[1.0]], [[1.0]])}, "1 columns where the net has 2"),
        ({"weight": "0.weight[0,0]"}, r"give data=\(inputs, targets\)"),
        ({"weight": ["0.bias[0]"] * 3, "data": ([[1.0, 2.0]], [[1.0]])}, "3 were named"),
    ],
)
def test_what_is_missing_is_said(options: dict, message: str) -> None:
    net = nn.Sequential(nn.Linear(2, 4), nn.ReLU(), nn.Linear(4, 1))
    with pytest.raises(UsageError, match=message):
        formula(net, **options)


def test_a_loss_is_of_a_module() -> None:
    with pytest.raises(UsageError, match="of a torch module; received function"):
        formula(lambda x: x, weight="w", data=([[1.0]], [[1.0]]))
