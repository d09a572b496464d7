"""What the verbs of learning do with the user's own tensors and loss functions: nothing that shows, or a sentence."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from weightwalk.errors import UsageError
from weightwalk.learning.diagnoses.diagnose import diagnose
from weightwalk.learning.nudges.nudge import nudge
from weightwalk.learning.train import train

X = torch.linspace(-1, 1, 8)[:, None]
VERBS: dict[str, Callable[..., Any]] = {
    "train": lambda net, x, y, **more: train(net, x, y, epochs=2, **more),
    "nudge": nudge,
    "diagnose": diagnose,
}


def net() -> nn.Sequential:
    return nn.Sequential(nn.Linear(1, 3), nn.ReLU(), nn.Linear(3, 1))


@pytest.mark.parametrize("verb", VERBS)
def test_no_gradient_flows_into_the_users_tensors(verb: str) -> None:
    x, y = X.clone().requires_grad_(), X.square().requires_grad_()
    VERBS[verb](net(), x, y)
    assert x.grad is None and y.grad is None and x.requires_grad


@pytest.mark.parametrize("verb", VERBS)
def test_inference_mode_is_no_hindrance(verb: str) -> None:
    module = net()
    with torch.inference_mode():
        VERBS[verb](module, X + 0, X.square())
        assert torch.is_inference_mode_enabled()
    VERBS[verb](module, X, X.square())


@pytest.mark.parametrize("verb", VERBS)
def test_arrays_are_sent_back_in_a_sentence(verb: str) -> None:
    with pytest.raises(UsageError, match=r"The inputs must be one tensor .* got ndarray"):
        VERBS[verb](net(), X.numpy(), X.numpy())


@pytest.mark.parametrize("verb", VERBS)
def test_a_loss_that_is_no_tensor(verb: str) -> None:
    def plain(outputs: Tensor, targets: Tensor) -> Any:
        return float((outputs - targets).detach().abs().mean())

    with pytest.raises(UsageError, match="must be a tensor with one number; the loss function returned float"):
        VERBS[verb](net(), X, X, loss=plain)


@pytest.mark.parametrize("verb", ["train", "nudge"])
def test_a_loss_without_a_gradient(verb: str) -> None:
    with pytest.raises(UsageError, match="does not depend on any parameter"):
        VERBS[verb](net(), X, X, loss=lambda outputs, targets: targets.mean())
