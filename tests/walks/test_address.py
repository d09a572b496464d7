"""Addresses: every form that the grammar allows, and what is said about those it does not."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

import weightwalk as ww
from weightwalk.errors import AddressError
from weightwalk.walks import Walk
from weightwalk.walks.address import Selection


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.attn, self.mlp = nn.Linear(4, 4), nn.Linear(4, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x + self.attn(x).softmax(-1)
        return x + self.mlp(x).softmax(-1)


class Model(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Module()
        self.body.h = nn.ModuleList([Block(), Block()])
        self.head = nn.Linear(4, 3)

    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        for block in self.body.h:
            x = block(x)
        return {"logits": self.head(x)}


@pytest.fixture(scope="module")
def walk() -> Walk:
    torch.manual_seed(0)
    labels = {"vocab": ["a", " b", 'quo"te'], "tokens": ["The", " cat"], "body.h.0.mlp": {-1: ["p", "q", "r", "s"]}}
    return ww.walk(Model(), torch.randn(1, 2, 4), axis_labels=labels)


def test_plain_names(walk: Walk) -> None:
    assert walk["head"].id == walk["head.out"].id == walk["out"].id == walk["logits"].id
    assert walk["logits"].shape == (1, 2, 3)
    assert walk["head.in"].shape == (1, 2, 4)
    assert walk["in"].kind == "input" and walk["in.x"].id == walk["in"].id
    assert walk["head.weight"].kind == "parameter"


def test_ends_of_names_and_ops_inside(walk: Walk) -> None:
    assert walk["h.1.attn"].id == walk["body.h.1.attn"].id
    assert walk["body.h.0/softmax"].address == "body.h.0/softmax"
    assert walk["body.h.0/softmax#2"].step.index > walk["body.h.0/softmax"].step.index


def test_index_and_labels(walk: Walk) -> None:
    logits = walk["logits"].numpy()
    assert float(walk["logits[0, 1, 2]"]) == logits[0, 1, 2]
    assert float(walk["logits[-1, 2]"]) == logits[0, -1, 2]  # a batch of one need not be written
    assert float(walk['logits[-1, " b"]']) == logits[0, -1, 1]
    assert float(walk["logits[' cat', 'a']"]) == logits[0, 1, 0]
    assert float(walk['logits[-1, "quo\\"te"]']) == logits[0, -1, 2]
    assert float(walk['h.0.mlp[0, "r"]']) == walk["h.0.mlp"].numpy()[0, 0, 2]
    np.testing.assert_array_equal(walk["logits[0, :, 1]"].numpy(), logits[0, :, 1])
    np.testing.assert_array_equal(walk["logits[0, 0, ::2]"].numpy(), logits[0, 0, ::2])


def test_sums_and_differences(walk: Walk) -> None:
    x = walk["logits"].numpy()[0, -1].astype(np.float64)
    assert float(walk['logits[-1," b"] - logits[-1,"a"]']) == x[1] - x[0]
    assert float(walk["2*logits[-1,0] + 0.5 * logits[-1,1] - logits[-1,2]"]) == 2 * x[0] + 0.5 * x[1] - x[2]
    assert float(walk["-logits[-1,0]"]) == -x[0]
    selection = walk["logits[-1,0] - head.bias[0]"]
    assert isinstance(selection, Selection) and [t.coefficient for t in selection.terms] == [1.0, -1.0]


def test_globs(walk: Walk) -> None:
    assert list(walk["h.*.mlp"]) == ["body.h.0.mlp", "body.h.1.mlp"]
    assert set(walk["body.**.weight"]) == {f"body.h.{i}.{m}.weight" for i in (0, 1) for m in ("attn", "mlp")}
    assert list(walk["body.h.?/softmax"]) == ["body.h.0/softmax", "body.h.1/softmax"]


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("h.1.atn", r"no value has the address 'h\.1\.atn'; did you mean body\.h\.1\.attn"),
        ("attn", r"'attn' is the end of 2 addresses"),
        ("logits[0, 7, 0]", r"index 7 is outside axis 1, which has size 2"),
        ("logits[0, 0, 0, 0]", r"has 4 indices, but the value has shape \(1, 2, 3\)"),
        ("logits[-1, 'b']", r"axis 2 has no label 'b'; did you mean ' b'"),
        ("head.weight['b', 'x']", r"axis 0 \(size 3\) has no labels"),
        ("logits[x]", r"'x' is no index; expected an integer, start:stop or a quoted label"),
        ("logits[0", r"has an index that is not closed"),
        ("logits[0,,1]", r"has an empty place in its index"),
        ("logits[0,0,0] * 2", r"'\+' or '-' was expected before '\* 2'"),
        ("logits[0,0,0] -", r"a name is missing at character"),
        ("", r"an address is a non-empty text"),
        ("   ", r"an address is a non-empty text"),
        ("z.*.q", r"no address matches 'z\.\*\.q'"),
    ],
)
def test_messages(walk: Walk, address: str, message: str) -> None:
    with pytest.raises(AddressError, match=message):
        walk[address]


def test_a_label_that_occurs_twice_asks_for_the_number() -> None:
    walk = ww.walk(nn.Embedding(5, 2), torch.tensor([1, 2, 1]), axis_labels={"tokens": ["to", "be", "to"]})
    with pytest.raises(AddressError, match=r"'to' labels 2 places of axis 0, \[0, 2\]; use the number"):
        walk["out['to', 0]"]


def test_one_number_where_one_is_needed(walk: Walk) -> None:
    with pytest.raises(AddressError, match=r"names 3 numbers, one is needed"):
        float(walk["logits[0, 0, :]"])


def test_every_value_has_an_address_that_finds_it(walk: Walk) -> None:
    for value in walk.values:
        assert walk[value.address].id == value.id
    assert "head" in walk and "nowhere" not in walk
