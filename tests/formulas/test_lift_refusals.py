"""Nets that look piecewise linear in one walk and are not: each was once lifted, some with a passing certificate."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import weightwalk as ww
from weightwalk.errors import UsageError
from weightwalk.formulas.lifts.lift import lift

TABLE = torch.linspace(-1, 2, 16, dtype=torch.float64).reshape(4, 4)
ROW = torch.tensor([0.5, -1.0, 2.0, 0.25], dtype=torch.float64)


class Net(nn.Module):
    """A function as a module."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x)


def whole(x: Tensor) -> Tensor:
    kept = torch.zeros(x.shape, dtype=torch.long)
    kept.copy_(3 * x)
    return x + kept


def partly_whole(x: Tensor) -> Tensor:
    kept = torch.zeros(x.shape, dtype=torch.long)
    kept[:, :2] = 3 * x[:, :2]
    return x + kept


def recorded(function: Callable[[Tensor], Tensor]) -> ww.Walk:
    return ww.walk(Net(function), torch.tensor([[0.3, -0.7, 1.1, 0.2]], dtype=torch.float64))


REFUSED: dict[str, tuple[Callable[[Tensor], Tensor], str]] = {
    "a table at the place of the maximum": (lambda x: TABLE[x.max(1)[1]] + x, "max.1 depends on the input, but not as"),
    "a gather at the place of the maximum": (lambda x: x.gather(1, x.max(1, keepdim=True)[1]), "not as a piecewise"),
    "the place of the maximum as a number": (lambda x: x + x.max(1)[1], "not as a piecewise linear number"),
    "a column at the place of the maximum": (lambda x: x[:, x.max(1)[1]], "not as a piecewise linear number"),
    "a place of a pooling": (
        lambda x: ROW[None].gather(1, F.max_pool1d(x[None], 2, return_indices=True)[1][0]) + x[:, :2],  # type: ignore
        "int64",
    ),
    "a batch norm scaled by the input": (lambda x: F.batch_norm(x, ROW, ROW**2, x.reshape(-1)), "not as a piecewise"),
    "a batch norm that takes its mean from the input": (lambda x: F.batch_norm(x, x[0] * 1, ROW**2), "not as a piece"),
    "a copy into whole numbers": (whole, "copy, here with a result of int64, which jumps, at"),
    "a copy into some of the whole numbers": (partly_whole, "copy, here with a result of int64"),
    "the bits as other numbers": (lambda x: x.view(torch.int64).to(x.dtype) + x, "view, here with a result of int64"),
    "the number of positive inputs": (lambda x: x * (x > 0).nonzero().shape[0], "reads a number that depends on its"),
    "the length of a selection": (lambda x: x * len(x[x > 0]), "reads a number that depends on its input"),
    "the length of a masked selection": (lambda x: x * x.masked_select(x > 0).numel(), "reads a number that depends"),
    "the number of different signs": (lambda x: x * torch.unique(x.sign()).numel(), "reads a number that depends"),
    "whole numbers drawn in its shape": (lambda x: x + torch.randint_like(x, 0, 9), "randint_like at .* a random draw"),
    "a gamma draw": (lambda x: x + torch.ops.aten._standard_gamma(ROW.abs()), "standard_gamma at .* is a random draw"),
    "a binomial draw": (lambda x: x + torch.binomial(ROW * 0 + 5, ROW * 0 + 0.5), "binomial at .* is a random draw"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_one_walk_cannot_tell_is_refused(name: str) -> None:
    function, message = REFUSED[name]
    with pytest.raises(UsageError, match=message):
        lift(recorded(function))


def overwritten(x: Tensor) -> Tensor:
    h = x * 2
    h[:] = ROW
    return F.linear(h, TABLE) + x


def scaled_weight(x: Tensor) -> Tensor:
    weight = TABLE.clone()
    weight.mul_(0.1)
    return x @ weight + x @ TABLE


EXACT = ("bounds of a larger shape",)
ALLOWED: dict[str, Callable[[Tensor], Tensor]] = {
    "a signal overwritten by constants": overwritten,
    "a product of constants in addmm": lambda x: torch.addmm(x, TABLE[:1], TABLE),
    "a product of constants in baddbmm": lambda x: torch.baddbmm(x[None], TABLE[None, :1], TABLE[None]),
    "a product of constants in addmv": lambda x: torch.addmv(x[0], TABLE, ROW),
    "bounds of a larger shape": lambda x: x[0].clamp(min=TABLE),
    "a weight scaled in place": scaled_weight,
}


@pytest.mark.parametrize("name", ALLOWED)
def test_constants_in_odd_places_are_computed(name: str) -> None:
    found = lift(recorded(ALLOWED[name]))
    x = np.random.default_rng(0).normal(size=(50, 4)) * 2
    wanted = np.stack([ALLOWED[name](torch.from_numpy(row)[None]).reshape(-1).numpy() for row in x])
    assert np.abs(found.net(x) - wanted).max() <= 1e-14 * np.abs(wanted).max()
    assert bool(found.net.inexact) == (name not in EXACT)


def test_a_number_read_after_the_output_bears_on_what_is_returned_only() -> None:
    def function(x: Tensor) -> Tensor:
        h = F.relu(x - 0.5)
        return h if h.sum() > 0 else -h  # in this walk h itself, made before the number was read

    walk = recorded(function)
    for output in (None, "out"):
        with pytest.raises(UsageError, match="reads a number that depends on its input into Python"):
            lift(walk, output)

    def earlier(x: Tensor) -> Tensor:
        h = F.relu(x - 0.5)
        return h + 1 if h.sum() > 0 else -h

    assert lift(recorded(earlier), "/relu").net.units == 4


def hidden_sign(x: Tensor) -> Tensor:
    return x * torch.from_numpy(np.sign(x.detach().numpy()))


def hidden_count(x: Tensor) -> Tensor:
    return x * sum(v > 0 for v in x.reshape(-1).tolist())


@pytest.mark.parametrize("module", [False, True])
@pytest.mark.parametrize("function", [hidden_sign, hidden_count])
def test_what_leaves_for_python_unseen_is_not_certified(function: Callable[[Tensor], Tensor], module: bool) -> None:
    net = Net(function) if module else function
    assert not ww.formula(net, line=([[-1.0, 0.3]], [[1.0, 0.4]])).certified


def test_a_function_with_weights_of_its_own_precision_is_certified() -> None:
    inner = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 1))
    tenth = torch.tensor([[1.0, 3.0]])
    for function in (lambda x: inner(x).abs(), lambda x: (x * (tenth * 0.1)).relu()):
        assert ww.formula(function, line=([[-1.0, 0.3]], [[1.0, 0.4]])).certified


def test_constants_of_two_signals_of_a_maximum_are_not_subtracted_with_rounding() -> None:
    def function(x: Tensor) -> Tensor:
        return torch.maximum(x[:, 0] + 0.1, x[:, 1] + 0.3)

    net = lift(recorded(function)).net
    assert not net.inexact
    assert {float(b) for layer in net.layers for b in layer.affine.bias} | set(net.output.bias) == {0.0, 0.1, 0.3}
    assert net(np.array([[0.0, 0.0, 0.0, 0.0], [2.0, 0.0, 0.0, 0.0]])).tolist() == [[0.3], [2.1]]


def test_the_formula_of_a_function_is_that_of_what_it_returns_not_of_a_module_in_it() -> None:
    torch.manual_seed(0)
    inner = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 1))
    found = ww.formula(lambda x: inner(x).abs() + 1, line=([[-1.0, 0.3]], [[1.0, 0.4]]))
    t = np.linspace(0, 1, 9)[:, None]
    x = np.array([-1.0, 0.3]) + t * np.array([2.0, 0.1])
    with torch.no_grad():
        wanted = inner.double()(torch.from_numpy(x)).abs().numpy() + 1
    assert found.certified and np.abs(found.facts.net(t) - wanted).max() < 1e-7
