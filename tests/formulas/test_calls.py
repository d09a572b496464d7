"""The run that a formula is read off leaves the net as it was, and says in a sentence why it could not be made."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

import weightwalk as ww
from weightwalk.errors import UsageError


class Keywords(nn.Module):
    """Takes its input by name only."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(2, 1)

    def forward(self, *, x: torch.Tensor) -> torch.Tensor:
        return self.fc(x)


def plain() -> nn.Module:
    return nn.Sequential(nn.Linear(2, 4), nn.ReLU(), nn.Linear(4, 1))


TRAINED = [
    nn.Sequential(nn.Linear(2, 4), nn.Dropout(), nn.ReLU(), nn.Linear(4, 1)),
    nn.Sequential(nn.Unflatten(1, (1, 2)), nn.BatchNorm1d(1), nn.ReLU(), nn.Flatten(), nn.Linear(2, 1)),
    nn.Sequential(nn.Linear(2, 4), nn.BatchNorm1d(4), nn.ReLU(), nn.Linear(4, 1)),
]


@pytest.mark.parametrize("net", [plain(), plain().bfloat16(), *TRAINED])
def test_the_net_and_the_random_numbers_are_left_as_they_were(net: nn.Module) -> None:
    for p in net.parameters():
        p.grad = torch.ones_like(p)
    before = {k: v.clone() for k, v in net.state_dict().items()}
    random = torch.get_rng_state()
    if any(isinstance(m, nn.Dropout | nn.BatchNorm1d) for m in net.modules()):
        with pytest.raises(UsageError, match=r"net.eval\(\)"):
            ww.formula(net, at=[0.5, 1.0])
    else:
        ww.formula(net, at=[0.5, 1.0])
    assert torch.equal(torch.get_rng_state(), random)
    assert net.training
    for name, value in net.state_dict().items():
        assert torch.equal(value, before[name]), name
    for p in net.parameters():
        assert p.requires_grad
        assert p.grad is not None
        assert torch.equal(p.grad, torch.ones_like(p))
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in net.modules())


@pytest.mark.parametrize(
    ("net", "asked", "message"),
    [
        (TRAINED[2], {}, "Expected more than 1 value per channel when training.*net.eval"),
        (Keywords(), {}, r"Keywords could not be run on an input of shape \(1, 2\): TypeError: .*or a walk of the net"),
        (plain(), {"line": [1.0, 2.0]}, r"could not be run on an input of shape \(1, 1\): RuntimeError: mat1 and mat2"),
        (plain(), {"at": "here"}, "An input is a tensor, or numbers; received 'here'"),
        (None, {}, "read off a net .* or a walk; received NoneType"),
        ("sqrt", {}, r"'sqrt' is a text, .* ww.load_net\('sqrt'\) loads one"),
        (plain(), {"depth": 3}, "The formula of a plane has no option depth="),
        (plain(), {"at": [0.0, 0.0], "tolerance": 1e-9}, "The formula around one input has no option tolerance="),
        (plain(), {"line": ([0, 0], [1, 1]), "plane": (0, 1)}, "line= and plane= do not go together"),
        (plain(), {"surrogate": 2, "box": (-1, 1), "at": [0, 0]}, "surrogate= and at= do not go together"),
        (plain(), {"surrogate": 2, "box": (-1, 1), "maps": False}, "surrogate= and maps= do not go together"),
        (plain(), {"per_input": True}, "per_input= belongs to surrogate="),
        (plain(), {"data": ([[0, 0]], [[0]])}, "data= belongs to weight="),
        (plain(), {"weight": "0.bias[0]", "data": torch.zeros(20, 2)}, "data= takes two arrays, .*; received Tensor"),
        (plain(), {"weight": "0.bias[0]", "data": ([], [])}, r"inputs of shape \(0,\) and .*, without a sample"),
        (plain(), {"weight": "0.bias[0]", "data": ([[0, 0]], ["x"])}, "data= takes two arrays of numbers"),
        (plain(), {"seed": -1}, "seed= takes a whole number from 0; received -1"),
        (plain(), {"max_regions": 0}, "max_regions= takes a whole number from 1; received 0"),
        (plain(), {"memory": "2G"}, "memory= takes a number of bytes, such as 2 << 30; received '2G'"),
        (plain(), {"select": "0"}, "select= takes numbers of outputs, such as .*; received '0'"),
        (plain(), {"select": [0.5]}, "select= takes numbers of outputs"),
        (plain(), {"select": []}, "select= names no output"),
    ],
)
def test_what_cannot_be_asked_is_told_in_a_sentence(net: Any, asked: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        ww.formula(net, **asked)


def test_one_output_can_be_selected_by_its_number() -> None:
    net = nn.Sequential(nn.Linear(2, 4), nn.ReLU(), nn.Linear(4, 3))
    assert ww.formula(net, select=1).outputs == ww.formula(net, select=[1]).outputs == ("2[0, 1]",)


def test_a_box_beyond_float32_is_told_as_such_without_a_warning() -> None:
    found = ww.formula(plain(), box=(-1e50, 1e50))
    assert found.certified
    assert found.certificate["rounding of the net itself"].found == float("inf")


def test_what_was_found_is_printed_as_text() -> None:
    net, data = plain(), (torch.linspace(-1, 1, 12).reshape(6, 2), torch.zeros(6, 1))
    assert str(ww.formula(net)).startswith("formula of Sequential: ")
    assert str(ww.formula(net, surrogate=1, box=(-1, 1))).startswith("surrogate: a polynomial of total degree 1")
    assert str(ww.formula(net, weight="0.bias[0]", data=data)).startswith("loss along 0.bias[0]: ")
    two = ww.formula(net, weight=["0.bias[0]", "0.bias[1]"], data=data)
    assert str(two).startswith("loss over 0.bias[0] and 0.bias[1]: ")


def test_a_net_called_by_keywords_has_a_formula_by_its_walk() -> None:
    assert ww.formula(ww.walk(Keywords(), x=torch.zeros(1, 2))).kind == "affine"
