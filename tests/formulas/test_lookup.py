"""A text net of one token as a table and a formula; a net as a function of points."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

import weightwalk as ww
from weightwalk.errors import UsageError
from weightwalk.formulas import lookup as room
from weightwalk.formulas.formula import formula
from weightwalk.formulas.functions import CHUNK, function_of
from weightwalk.formulas.lookup import lookup, one_token, table_of
from weightwalk.language.tokenizers import WordTokenizer
from weightwalk.nets.inputs import Expects
from weightwalk.nets.net import Net

WORDS = ("a", "b", "#1", "d")


class Deep(nn.Module):
    """Embedding 3, hardtanh 4, two outputs."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(5)
        self.embed, self.fc, self.out = nn.Embedding(4, 3), nn.Linear(3, 4), nn.Linear(4, 2)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        return self.out(nn.functional.hardtanh(self.fc(self.embed(ids))))


@pytest.fixture
def text() -> Net:
    expects = Expects(torch.int64, limit=4, batched=False)
    return Net("deep", Deep().eval(), "", expects, tokenizer=WordTokenizer(WORDS))


def test_the_expressions_evaluate_to_the_logits_of_every_token(text: Net) -> None:
    found = lookup(text, formula(text, at="b").lifted)
    assert (found.token, found.tokens, found.inputs) == (1, WORDS, ("e0", "e1", "e2"))
    np.testing.assert_array_equal(found.table, text.module.embed.weight.detach().double().numpy())  # type: ignore[attr-defined]
    names: dict[str, object] = {}
    exec(found.python(), names)  # noqa: S102 - it is what the test is about
    module = Deep().eval().double()
    for i, word in enumerate(WORDS):
        wanted = module(torch.tensor([i]))[0].detach().numpy()
        np.testing.assert_allclose(names["f"](word), wanted, rtol=1e-13)  # type: ignore[operator]
        np.testing.assert_allclose(found.values[i], wanted, rtol=1e-13)
        assert found.said[i] == wanted.argmax()
    assert "\\text{\\#1}" in found.latex()


def test_a_table_that_is_not_the_nets_fails(text: Net, monkeypatch: pytest.MonkeyPatch) -> None:
    lifted = formula(text, at="b").lifted
    assert lookup(text, lifted).certificate.ok
    monkeypatch.setattr(room, "table_of", lambda lifted: table_of(lifted)[::-1])
    assert not lookup(text, lifted).certificate.ok


def test_several_tokens_are_refused(text: Net) -> None:
    lifted = formula(text, at="a b").lifted
    assert not one_token(lifted)
    with pytest.raises(UsageError, match="for one token and one table of embeddings, and deep was walked on more"):
        lookup(text, lifted)
    assert not one_token(formula(ww.load_net("linear", seed=0), at=[1.0]).lifted)


# Functions ------------------------------------------------------------------------------------------------------------


def numeric(module: nn.Module, **more: object) -> Net:
    return Net("net", module, "", Expects(torch.float32, size=2, **more))  # type: ignore[arg-type]


def test_a_net_as_a_function_is_the_net_in_float64() -> None:
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(2, 5), nn.GELU(), nn.Linear(5, 3))
    f = function_of(numeric(module))
    x = np.random.default_rng(0).normal(size=(CHUNK + 3, 2))
    before = {k: v.clone() for k, v in module.state_dict().items()}
    y = f(x)
    assert all(torch.equal(v, before[k]) for k, v in module.state_dict().items()), "the net itself is left alone"
    double = nn.Sequential(nn.Linear(2, 5), nn.GELU(), nn.Linear(5, 3)).double()
    double.load_state_dict(before)
    np.testing.assert_allclose(y, double(torch.from_numpy(x)).detach().numpy(), rtol=1e-13, atol=1e-15)
    jacobian = torch.autograd.functional.jacobian(lambda v: double(v[None])[0], torch.from_numpy(x[0]))
    np.testing.assert_allclose(f.gradient(x[0]), jacobian.numpy(), rtol=1e-12)  # type: ignore[union-attr]
    np.testing.assert_array_equal(f.select([2, 0])(x[:4]), y[:4, [2, 0]])
    assert f(np.zeros((0, 2))).shape == (0, 3)


def test_names_and_box_of_a_function() -> None:
    plain = function_of(numeric(nn.Linear(2, 1)))
    assert (plain.inputs, plain.outputs, plain.box) == (("in[0, 0]", "in[0, 1]"), ("out[0, 0]",), None)
    box = ((0.0, 1.0), (2.0, 3.0))
    named = replace(numeric(nn.Linear(2, 2), names=("u", "v"), box=box), labels={"out": {-1: ["yes", "no"]}})
    f = function_of(named)
    assert (f.inputs, f.outputs, f.box) == (("u", "v"), ("yes", "no"), box)


class Mixing(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x - x.mean(0)


class Insists(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x @ torch.ones(2, 1)  # float32, whatever x is


class Speaking(nn.Module):
    def forward(self, x: torch.Tensor) -> str:
        return "yes"


def test_what_is_no_function_of_one_input() -> None:
    with pytest.raises(UsageError, match="cannot be run in float64: RuntimeError: expected m1 and m2"):
        function_of(numeric(Insists()))
    with pytest.raises(UsageError, match="does not keep the points of a batch apart"):
        function_of(numeric(Mixing()))
    with pytest.raises(UsageError, match=r"^The net returns str, in which there is no tensor of real numbers"):
        function_of(numeric(Speaking()))
    with pytest.raises(UsageError, match="does not tell how many numbers it takes"):
        function_of(Net("net", nn.Identity(), "", Expects()))
    with pytest.raises(UsageError, match="reads token ids"):
        function_of(Net("net", nn.Identity(), "", Expects(torch.int64)))
    with pytest.raises(UsageError, match="There is no output number 1: the net has 1, counted from 0"):
        function_of(numeric(nn.Linear(2, 1))).select([1])
