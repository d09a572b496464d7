"""One op at a time: what is told of it is what was recorded, and what the op's equation gives."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal

import numpy as np
import pytest
import torch
from readings.paper import check_on_paper
from torch import nn

import weightwalk as ww
from weightwalk.readings.narrate import Story, Table, Text, narrate
from weightwalk.show.terminal import plain

F = nn.functional


def told(fn: Callable[..., torch.Tensor], *args: torch.Tensor) -> tuple[ww.Walk, Story]:
    with torch.no_grad():
        walk = ww.walk(fn, *args)
    return walk, narrate(walk)


def first_table(story: Story) -> Table:
    return next(line for line in story.lines() if isinstance(line, Table))


@pytest.mark.parametrize(
    ("fn", "shapes", "sums"),
    [
        (lambda a, b: a @ b, [(2, 3), (3, 2)], 4),
        (lambda a, b: a @ b, [(2, 3), (3,)], 2),
        (lambda a, b: a @ b, [(3,), (3,)], 1),
        (lambda a, b: a @ b, [(2, 2, 3), (2, 3, 2)], 8),
        (lambda a, b, c: torch.addmm(c, a, b), [(2, 3), (3, 2), (2,)], 4),
        (lambda a, b, c: torch.addmm(c, a, b), [(2, 3), (3, 2), (2, 2)], 4),
        (lambda a, b, c: torch.baddbmm(c, a, b), [(2, 1, 3), (2, 3, 2), (2, 1, 2)], 4),
        (lambda a, b, c: torch.addmv(c, a, b), [(2, 3), (3,), (2,)], 2),
        (lambda a, b, c: F.linear(a, b, c), [(2, 3), (4, 3), (4,)], 8),
        (lambda a, b: F.linear(a, b), [(1, 2, 3), (4, 3)], 8),
        (lambda a: a.sum(), [(2, 3)], 1),
        (lambda a: a.mean(), [(2, 3)], 1),
    ],
)
def test_sums_of_every_shape(fn: Callable[..., torch.Tensor], shapes: list[tuple[int, ...]], sums: int) -> None:
    args = [torch.randn(s) for s in shapes]
    _, story = told(fn, *args)
    assert check_on_paper(plain(story)) == sums
    expected = fn(*args).double().reshape(-1)
    if "mean" not in fn.__code__.co_names:
        np.testing.assert_allclose([float(s.total) for s in story.sums()], expected, rtol=1e-6, atol=1e-7)
    for one in story.sums():
        rounding = sum(abs(t.value) for t in one.terms if t.kind == "rounding")
        scale = sum(abs(t.value) for t in one.terms if t.kind != "rounding")
        assert rounding <= scale * Decimal("1e-6"), "what is left is rounding, not a forgotten term"


def test_linear_as_one_op_of_inference_mode() -> None:
    net = nn.Linear(3, 2)
    with torch.inference_mode():
        walk = ww.walk(net, torch.randn(2, 3))
    assert check_on_paper(plain(narrate(walk))) == 4


def test_addmm_with_factors_is_not_told_as_a_plain_sum() -> None:
    walk, story = told(
        lambda a, b, c: torch.addmm(c, a, b, alpha=2.0), torch.randn(1, 2), torch.randn(2, 1), torch.ones(1)
    )
    assert not list(story.sums())
    assert any(isinstance(x, Text) and "aten.addmm.default read" in x.text for x in story.lines())
    assert str(np.float32(walk.values[-1].numpy()[0, 0]))[:6] in plain(story)


@pytest.mark.parametrize(
    ("fn", "sign", "result"),
    [
        (lambda a, b: a + b, "+", 5.0),
        (lambda a, b: a - b, "-", -1.0),
        (lambda a, b: a * b, "×", 6.0),
        (lambda a, b: a / b, "÷", 2 / 3),
        (lambda a, b: a**b, "^", 8.0),
        (lambda a, b: torch.maximum(a, b), "max", 3.0),
        (lambda a, b: torch.rsub(a, b), "-", 1.0),
    ],
)
def test_two_numbers_combined(fn: Callable[..., torch.Tensor], sign: str, result: float) -> None:
    _, story = told(fn, torch.tensor([2.0]), torch.tensor([3.0]))
    row = first_table(story).rows[0]
    assert row[2] == sign
    assert float(row[5]) == pytest.approx(result, rel=1e-6)


def test_a_scaled_addition_is_not_told_as_a_plain_one() -> None:
    _, story = told(lambda a, b: torch.add(a, b, alpha=3.0), torch.tensor([2.0]), torch.tensor([3.0]))
    assert "aten.add.Tensor read" in plain(story)


@pytest.mark.parametrize("fn", [torch.sigmoid, torch.tanh, F.gelu, F.silu, torch.exp, F.softplus, torch.abs])
def test_pointwise_functions(fn: Callable[..., torch.Tensor]) -> None:
    x = torch.tensor([-1.5, 0.0, 2.0])
    _, story = told(lambda t: fn(t), x)
    table = first_table(story)
    np.testing.assert_allclose([float(r[1]) for r in table.rows], x)
    np.testing.assert_allclose([float(r[2]) for r in table.rows], fn(x.double()), rtol=1e-5, atol=1e-6)


def test_leaky_gates_are_bent() -> None:
    _, story = told(lambda t: F.leaky_relu(t, 0.1), torch.tensor([-1.0, 1.0]))
    assert [r[3] for r in first_table(story).rows] == ["bent", "on"]


@pytest.mark.parametrize("log", [False, True])
def test_softmax(log: bool) -> None:
    x = torch.tensor([[1.0, -2.0, 0.5]])
    _, story = told(lambda t: F.log_softmax(t, -1) if log else F.softmax(t, -1), x)
    table = first_table(story)
    p = [float(r[-2]) for r in table.rows if r[0] != "sum"]
    np.testing.assert_allclose(p, x.double().softmax(-1)[0], atol=1e-7)
    powers = [float(r[2]) for r in table.rows if r[0] != "sum"]
    np.testing.assert_allclose(np.array(powers) / sum(powers), p, atol=1e-7)


def test_layer_norm() -> None:
    net = nn.LayerNorm(4)
    x = torch.randn(2, 4)
    with torch.no_grad():
        story = narrate(ww.walk(net, x))
    text = " ".join(line.text for line in story.lines() if isinstance(line, Text))
    assert f"mean {float(x[0].mean()):.4f}"[:10] in text
    rows = [r for line in story.lines() if isinstance(line, Table) and "in" in line.columns for r in line.rows]
    np.testing.assert_allclose([float(r[2]) for r in rows], net(x).detach().reshape(-1), rtol=1e-5)


def test_losses() -> None:
    with torch.no_grad():
        a, b = torch.tensor([[1.0], [2.0]]), torch.tensor([[3.0], [5.0]])
        story = narrate(ww.walk(lambda x, y: F.mse_loss(x, y), a, b))
        assert "loss = mean of the squares = 6.5" in plain(story)
        story = narrate(ww.walk(lambda x, y: F.mse_loss(x, y, reduction="sum"), a, b))
        assert "loss = sum of the squares = 13" in plain(story)
        logits, target = torch.tensor([[2.0, 0.0, 0.0]]), torch.tensor([1])
        story = narrate(ww.walk(lambda x, y: F.cross_entropy(x, y), logits, target))
        assert f"{F.cross_entropy(logits.double(), target).item():.5f}" in plain(story)


def test_an_op_without_a_teller_lists_what_went_in_and_out() -> None:
    _, story = told(lambda t: torch.cumprod(t, 0), torch.tensor([2.0, 3.0]))
    page = plain(story)
    assert "aten.cumprod.default read" in page
    assert [float(r[1]) for r in first_table(story).rows] == [2.0, 6.0]
