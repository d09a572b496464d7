"""Optimizers by name against their arithmetic (CHECKLIST 214, 218, 220, 221)."""

from __future__ import annotations

import math

import pytest
import torch

from weightwalk.errors import UsageError
from weightwalk.learning.optimizers import OPTIMIZERS, optimizer_of

LR, STEPS = 0.1, 7


def bowl(w: float) -> float:
    """The gradient of 3 (w - 1)²."""
    return 6 * (w - 1)


def by_hand(name: str, w: float) -> float:
    """STEPS steps down the bowl, in plain Python, from the papers' formulas."""
    velocity = first = second = 0.0
    for t in range(1, STEPS + 1):
        g = bowl(w)
        if name == "sgd":
            w -= LR * g
        elif name in {"momentum", "nesterov"}:
            velocity = 0.9 * velocity + g
            w -= LR * (g + 0.9 * velocity if name == "nesterov" else velocity)
        else:
            w *= 1 - LR * 0.01 if name == "adamw" else 1  # decoupled decay, 0.01 by default
            first, second = 0.9 * first + 0.1 * g, 0.999 * second + 0.001 * g * g
            w -= LR * (first / (1 - 0.9**t)) / (math.sqrt(second / (1 - 0.999**t)) + 1e-8)
    return w


@pytest.mark.parametrize("name", list(OPTIMIZERS))
def test_known_quadratic_trajectory(name: str) -> None:
    w = torch.nn.Parameter(torch.tensor(4.0, dtype=torch.float64))
    engine = optimizer_of(name, [w], LR)
    for _ in range(STEPS):
        w.grad = torch.tensor(bowl(w.item()), dtype=torch.float64)
        engine.step()
    assert w.item() == pytest.approx(by_hand(name, 4.0), rel=1e-12)


@pytest.mark.parametrize("gradient", [3.0, -0.02])
def test_adams_first_step_is_its_rate_against_the_sign(gradient: float) -> None:
    w = torch.nn.Parameter(torch.zeros((), dtype=torch.float64))
    w.grad = torch.tensor(gradient, dtype=torch.float64)
    optimizer_of("adam", [w], LR).step()
    assert w.item() == pytest.approx(-LR * math.copysign(1, gradient), rel=1e-6)


def test_settings_and_refusals() -> None:
    w = torch.nn.Parameter(torch.zeros(()))
    assert optimizer_of("momentum", [w], LR, {"momentum": 0.5}).defaults["momentum"] == 0.5
    with pytest.raises(UsageError, match="There is no optimizer 'lion'; there are adam, adamw, momentum"):
        optimizer_of("lion", [w], LR)
    with pytest.raises(UsageError, match=r"The optimizer adam does not take \{'momentum': 0.5\}"):
        optimizer_of("adam", [w], LR, {"momentum": 0.5})
    with pytest.raises(UsageError, match=r"The optimizer sgd does not take \{'momentum': -1\}: Invalid momentum"):
        optimizer_of("sgd", [w], LR, {"momentum": -1})
