"""Gradients against central differences: right ones pass, wrong ones fail, kinks are told as kinks."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

import weightwalk as ww
from weightwalk.learning.nudges.facts import GradientCheck


def checked(net: nn.Module | str, *data: Tensor, **options: Any) -> GradientCheck:
    found = ww.nudge(net, *data, check_gradients=True, **options).gradients
    assert found is not None
    return found


@pytest.mark.parametrize("name", ["linear", "sqrt", "hello", "hello6", "xor", "nearest"])
def test_every_gradient_of_every_task_agrees(name: str) -> None:
    check = checked(name)
    assert check.ok and check.checked == check.weights == check.agree + check.kinks
    assert max(d.relative for d in check.worst if d.verdict == "agrees" and abs(d.exact) > 1e-3) < 1e-6  # row 43
    assert check.rounding < 1e-5 and check.precision == "float64"


class Doubled(torch.autograd.Function):
    """Twice its input, with a backward pass that says three times."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return 2 * x

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:  # type: ignore[override]
        return 3 * grad


class Wrong(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(2, 1)

    def forward(self, x: Tensor) -> Tensor:
        return Doubled.apply(self.fc(x))  # type: ignore[return-value]


def test_a_wrong_backward_pass_is_found() -> None:
    facts = ww.nudge(Wrong(), torch.ones(1, 2), torch.zeros(1, 1), check_gradients=True)
    assert facts.gradients is not None
    assert facts.gradients.wrong == 3 and not facts.gradients.ok and not facts.ok
    for d in facts.gradients.worst:
        assert d.verdict == "WRONG" and d.exact / d.central == pytest.approx(1.5, rel=1e-5)
    assert "3 wrong" in str(facts)


class Bent(nn.Module):
    """|w x| or max(w x, 0), with w where the test wants it."""

    def __init__(self, weight: float, bend: Any) -> None:
        super().__init__()
        self.weight, self.bend = nn.Parameter(torch.tensor([weight], dtype=torch.float64)), bend

    def forward(self, x: Tensor) -> Tensor:
        return self.bend(x * self.weight)


ONE = torch.ones(1, 1, dtype=torch.float64)


def test_at_the_kink_of_a_relu_both_slopes_are_told() -> None:
    """loss = (max(w, 0) - 2)²: to the left of 0 its slope is 0, to the right -4; torch takes 0."""
    check = checked(Bent(0.0, torch.relu), ONE, 2 * ONE)
    (d,) = check.worst
    assert d.verdict == "kink" and check.ok and check.kinks == 1
    assert d.left == pytest.approx(0, abs=1e-6) and d.right == pytest.approx(-4, rel=1e-6) and d.exact == 0


def test_a_kink_whose_slopes_average_to_the_gradient_is_still_told() -> None:
    """loss = |w|, at 0: central difference and torch both say 0, and both sides say 1."""
    check = checked(Bent(0.0, torch.abs), ONE, 0 * ONE, loss="mae")
    assert check.kinks == 1 and check.worst[0].left == pytest.approx(-1) and check.worst[0].right == pytest.approx(1)


@pytest.mark.parametrize("weight", [3e-6, -3e-6, 1e-4])
def test_beside_a_kink_the_step_is_shortened(weight: float) -> None:
    check = checked(Bent(weight, torch.relu), ONE, 2 * ONE)
    (d,) = check.worst
    assert d.verdict == "agrees" and d.left is None
    assert d.central == pytest.approx(2 * (weight - 2) if weight > 0 else 0, abs=1e-5)


def test_near_a_minimum_curvature_is_not_taken_for_a_kink() -> None:
    check = checked(Bent(2.0, lambda z: 1e4 * z), ONE, 2e4 * ONE)
    assert check.agree == 1 and check.kinks == 0


def test_a_large_net_is_sampled_and_says_so() -> None:
    net = nn.Sequential(nn.Linear(60, 300), nn.Tanh(), nn.Linear(300, 1))
    from weightwalk.learning.nudges import checking

    before, checking.WORK = checking.WORK, 1_000_000
    try:
        facts = ww.nudge(net, torch.randn(2, 60), torch.randn(2, 1), check_gradients=True, seed=4)
    finally:
        checking.WORK = before
    check = facts.gradients
    assert check is not None and check.ok and 16 <= check.checked < 100 < check.weights
    assert "not all were tried" in str(facts)
    names = {d.address for d in check.worst}
    assert names  # the worst are told by address


def test_a_net_that_does_not_run_in_float64_is_checked_in_its_own() -> None:
    class Narrow(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(2, 2)

        def forward(self, x: Tensor) -> Tensor:
            return self.fc(x) @ torch.ones(2, 1)

    check = checked(Narrow(), torch.ones(1, 2), torch.ones(1, 1))
    assert check.ok and check.precision == "float32"
