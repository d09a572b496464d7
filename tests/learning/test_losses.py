"""Losses by name against their formulas, and what is refused (CHECKLIST 3, 39-41, 74, 216)."""

from __future__ import annotations

import math
from types import SimpleNamespace

import pytest
import torch

from weightwalk.errors import UsageError
from weightwalk.learning.losses import LOSSES, loss_of, tensor_of

OUT = torch.tensor([[0.5], [-2.0], [3.0]], dtype=torch.float64)
AIM = torch.tensor([[1.0], [0.0], [1.0]], dtype=torch.float64)


def test_regression_losses_are_their_formulas() -> None:
    errors = [0.5 - 1, -2.0, 3.0 - 1]
    assert LOSSES["mse"](OUT, AIM).item() == pytest.approx(sum(e * e for e in errors) / 3, rel=1e-15)
    assert LOSSES["mae"](OUT, AIM).item() == pytest.approx(sum(map(abs, errors)) / 3, rel=1e-15)


def test_squared_error_forgets_the_sign_and_its_gradient_does_not() -> None:
    """CHECKLIST 216."""
    gradients, losses = [], []
    for error in (0.3, -0.3):
        out = torch.tensor([error], dtype=torch.float64, requires_grad=True)
        loss = LOSSES["mse"](out, torch.zeros(1, dtype=torch.float64))
        loss.backward()
        losses.append(loss.item())
        gradients.append(out.grad.item())  # type: ignore[union-attr]
    assert losses[0] == losses[1]
    assert gradients == pytest.approx([0.6, -0.6], rel=1e-15)


@pytest.mark.parametrize(("p", "loss"), [(0.10, 2.302585), (0.02, 3.912), (0.01, 4.605), (0.5, 0.693), (0.9, 0.105)])
def test_cross_entropy_is_minus_the_natural_logarithm(p: float, loss: float) -> None:
    """CHECKLIST 39-41."""
    logits = torch.tensor([[math.log(p), math.log(1 - p)]], dtype=torch.float64)
    assert LOSSES["cross_entropy"](logits, torch.tensor([0])).item() == pytest.approx(loss, abs=5e-4)
    logit = torch.tensor([[math.log(p / (1 - p))]], dtype=torch.float64)
    assert LOSSES["bce"](logit, torch.ones(1, 1, dtype=torch.float64)).item() == pytest.approx(-math.log(p), rel=1e-12)


def test_cross_entropy_of_a_language_model_is_the_mean_over_positions() -> None:
    logits = torch.randn(2, 3, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    ids = torch.tensor([[0, 4, 2], [3, 3, 1]])
    each = [-logits[b, t].log_softmax(-1)[ids[b, t]] for b in range(2) for t in range(3)]
    assert LOSSES["cross_entropy"](logits, ids).item() == pytest.approx(float(sum(each)) / 6, rel=1e-14)


@pytest.mark.parametrize("name", ["mse", "mae", "bce"])
def test_shapes_that_torch_would_stretch_are_refused(name: str) -> None:
    with pytest.raises(UsageError, match=r"shape \(3, 1\) and the targets have \(3,\): give targets of the output's"):
        LOSSES[name](OUT, AIM[:, 0])


def test_a_loss_by_name() -> None:
    assert loss_of("mse") is LOSSES["mse"]
    assert loss_of(torch.nn.functional.huber_loss) is torch.nn.functional.huber_loss
    with pytest.raises(UsageError, match=r"The residual .* is no loss: it has no minimum .* use mae .* or mse"):
        loss_of("residual")
    with pytest.raises(UsageError, match="There is no loss 'rmse'; there are bce, cross_entropy, mae, mse"):
        loss_of("rmse")


def test_the_tensor_to_judge() -> None:
    assert tensor_of(OUT) is OUT
    assert tensor_of((OUT, AIM)) is OUT
    assert tensor_of(SimpleNamespace(logits=OUT)) is OUT
    with pytest.raises(UsageError, match="the net returns str, in which there is no tensor"):
        tensor_of("nothing")
