"""A walked step leaves net and torch as found, refuses what makes no sense, and takes nets of any kind."""

from __future__ import annotations

import math

import pytest
import torch
from learning.nudges.small import X, Y, deep
from torch import Tensor, nn

import weightwalk as ww
from weightwalk.errors import UsageError


@pytest.mark.parametrize("bad", [False, True])
def test_the_module_and_torch_stay_as_they_were(bad: bool) -> None:
    net = deep()
    net[1].eval()
    for p in net.parameters():
        p.grad = torch.ones_like(p)
    weights = {k: v.clone() for k, v in net.state_dict().items()}
    state, threads = torch.get_rng_state(), torch.get_num_threads()
    if bad:
        with pytest.raises(UsageError, match="nan"):
            ww.nudge(net, X * math.nan, Y)
    else:
        ww.nudge(net, X, Y, optimizer="adam", steps=3, check_gradients=True, compare=["sgd"])
    assert all(torch.equal(weights[k], v) for k, v in net.state_dict().items())
    assert all(p.grad is not None and bool((p.grad == 1).all()) for p in net.parameters())
    assert torch.equal(state, torch.get_rng_state()) and threads == torch.get_num_threads()
    assert net.training and not net[1].training
    assert not any(m._forward_hooks or m._backward_hooks for m in net.modules())


@pytest.mark.parametrize(
    ("message", "change"),
    [
        ("no row 3", {"rows": [3]}),
        ("no row was named", {"rows": []}),
        ("learning rate", {"lr": 0.0}),
        ("steps and batch", {"steps": 0}),
        ("steps and batch", {"batch": 0}),
        ("no optimizer", {"optimizer": "lion"}),
        ("to compare", {"compare": ["lion"]}),
        ("does not take", {"settings": {"betas": (0.9, 0.9)}}),
        ("no loss", {"loss": "residual"}),
        ("one number", {"loss": lambda o, t: o - t}),
        ("does not depend", {"loss": lambda o, t: t.sum()}),
        ("no weight 'fc9'", {"account": ["fc9[0]"]}),
        ("many weights", {"account": ["0.weight"]}),
        ("at least one", {"inputs": X[:0], "targets": Y[:0]}),
        ("do not run", {"inputs": torch.ones(3, 5).double()}),
        ("a row for each", {"targets": None}),
    ],
)
def test_what_makes_no_sense_is_refused_in_a_sentence(message: str, change: dict) -> None:
    given = {"net": deep(), "inputs": X, "targets": Y, **change}
    with pytest.raises(UsageError, match=message):
        ww.nudge(**given)


def test_a_net_without_anything_to_train() -> None:
    with pytest.raises(UsageError, match="no parameter"):
        ww.nudge(deep().requires_grad_(False), X, Y)
    with pytest.raises(UsageError, match="brings its own data"):
        ww.nudge("hello", X, Y)


class Odd(nn.Module):
    """A scalar parameter, a tied one, and one that nothing reads."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(2.0, dtype=torch.float64))
        self.unused = nn.Parameter(torch.ones(3, dtype=torch.float64))

    def forward(self, x: Tensor) -> Tensor:
        return self.scale * x


def test_scalars_and_unused_parameters() -> None:
    facts = ww.nudge(Odd(), X, 3 * X, optimizer="adamw", check_gradients=True, account=["scale"], compare=["sgd"])
    assert facts.unused == ("unused",) and [b.address for b in facts.blames] == ["scale"]
    assert facts.ok and "Nothing read unused" in str(facts)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
def test_other_precisions(dtype: torch.dtype) -> None:
    facts = ww.nudge(deep().to(dtype), X.to(dtype), Y.to(dtype), optimizer="momentum", steps=2, check_gradients=True)
    assert facts.ok and facts.promise.precision == "float64"


def test_random_layers_draw_the_same_numbers_before_and_after() -> None:
    net = nn.Sequential(nn.Linear(2, 6), nn.Dropout(0.5), nn.Linear(6, 1))
    facts = ww.nudge(net, X.float(), Y.float(), lr=0.01, seed=3)
    assert facts.promise.before == pytest.approx(facts.compared.loss, rel=1e-6)
    assert facts.promise.changed == pytest.approx(facts.promise.first, rel=0.2)
    assert "draws random numbers" in facts.promise.note


def test_frame_has_the_weights_shown() -> None:
    pytest.importorskip("pandas")
    facts = ww.nudge("hello", top=4)
    frame = facts.frame()
    assert list(frame["gradient"]) == [b.gradient for b in facts.blames]


@pytest.mark.slow
def test_ten_million_weights() -> None:
    from weightwalk.nets.gpt import GPT, GPTConfig

    net = GPT(GPTConfig(vocab_size=8000, n_positions=256, n_embd=320, n_layer=6, n_head=8)).eval()
    ids = torch.randint(0, 8000, (1, 9))
    facts = ww.nudge(net, ids[:, :-1], ids[:, 1:], optimizer="adamw", lr=1e-4, check_gradients=True)
    assert facts.ok and facts.movement.weights > 10_000_000 and facts.promise.second is not None
    assert facts.gradients is not None and facts.gradients.checked < 100
