"""Nets trained side by side learn what each would learn alone."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from torch import nn

from weightwalk.errors import UsageError
from weightwalk.learning.fitting.stacks import fit_many, layered, started
from weightwalk.learning.train import train

SEEDS = [3, 4, 9]


def doubles(sizes: tuple[int, ...], activation: str = "relu") -> list[nn.Module]:
    return [net.double() for net in started(sizes, SEEDS, activation)]


def weights(net: nn.Module) -> list[torch.Tensor]:
    return [t.detach() for m in net.modules() if isinstance(m, nn.Linear) for t in (m.weight.T, m.bias[None])]


@pytest.mark.parametrize("optimizer", ["sgd", "momentum", "adam", "adamw"])
@pytest.mark.parametrize(("loss", "batch"), [("mse", None), ("mse", 4), ("cross_entropy", None), ("cross_entropy", 5)])
def test_a_net_of_a_stack_learns_what_it_learns_alone(optimizer: str, loss: str, batch: int | None) -> None:
    """In float64, where rounding cannot grow in 15 epochs to what is allowed here."""
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(3, 11, 2, dtype=torch.float64, generator=generator)
    y = torch.randn(3, 11, 3, dtype=torch.float64, generator=generator)
    y = y if loss == "mse" else y.argmax(dim=2)
    nets = doubles((2, 5, 4, 3), "tanh")
    before = [copy.deepcopy(n.state_dict()) for n in nets]
    stack = fit_many(nets, x, y, activation="tanh", loss=loss, optimizer=optimizer, lr=0.02, epochs=15, batch=batch,
                     seeds=SEEDS)  # fmt: skip
    for net, old in zip(nets, before, strict=True):
        assert all(torch.equal(t, old[n]) for n, t in net.state_dict().items()), "the nets are left as they were"
    for i, (net, seed) in enumerate(zip(nets, SEEDS, strict=True)):
        alone = train(net, x[i], y[i], loss=loss, optimizer=optimizer, lr=0.02, epochs=15, batch=batch, seed=seed)
        ours = [t[i] for pair in zip(stack.weights, stack.biases, strict=True) for t in pair]
        for a, b in zip(ours, weights(net), strict=True):
            torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-11)
        assert stack.losses[i] == pytest.approx(alone.final, rel=1e-9)
        np.testing.assert_allclose(stack(x)[i], net(x[i]).detach().numpy(), rtol=1e-9, atol=1e-11)


def test_curves_are_the_losses_before_the_updates() -> None:
    x = torch.linspace(-1, 1, 9, dtype=torch.float64)[:, None]
    nets = doubles((1, 4, 1))
    stack = fit_many(nets, x, x.sin(), optimizer="sgd", lr=0.1, epochs=7, every=2, held=(2 * x, (2 * x).sin()))
    assert stack.epochs.tolist() == [0, 2, 4, 6, 7] and stack.curve.shape == stack.held.shape == (3, 5)
    history = train(nets[1], x, x.sin(), lr=0.1, epochs=7, held_out=(2 * x, (2 * x).sin()))
    np.testing.assert_allclose(stack.curve[1, :4], np.array(history.losses)[[0, 2, 4, 6]], rtol=1e-9)
    np.testing.assert_allclose(stack.held[1], np.array(history.held_losses)[[0, 2, 4, 6, 7]], rtol=1e-9)


def test_the_rate_falls_along_half_a_cosine() -> None:
    """One weight, one row, loss w²: each step multiplies w by 1 - 2 rate."""
    net = nn.Sequential(nn.Linear(1, 1, dtype=torch.float64))
    with torch.no_grad():
        net[0].weight.fill_(1.0)
        net[0].bias.fill_(0.0)
    stack = fit_many([net], [[[0.0]]], [[[0.0]]], optimizer="sgd", lr=0.1, epochs=4, decay=True)
    assert stack.weights[0].item() == 1.0, "input 0 moves no weight"
    with torch.no_grad():
        net[0].bias.fill_(1.0)
    stack = fit_many([net], [[[0.0]]], [[[0.0]]], optimizer="sgd", lr=0.1, epochs=4, decay=True)
    rates = [0.1 * (1 + np.cos(np.pi * e / 4)) / 2 for e in range(4)]
    assert stack.biases[0].item() == pytest.approx(np.prod([1 - 2 * r for r in rates]), rel=1e-12)


def test_a_net_that_diverges_leaves_the_others_alone() -> None:
    x = torch.linspace(-1, 1, 9)[:, None]
    nets = started((1, 4, 1), [0, 1])
    scaled = torch.stack([x, 1e6 * x])
    both = fit_many(nets, scaled, torch.stack([x, x]), optimizer="sgd", lr=0.1, epochs=40)
    alone = fit_many(nets[:1], x, x, optimizer="sgd", lr=0.1, epochs=40)
    assert not np.isfinite(both.losses[1])
    assert both.losses[0] == pytest.approx(alone.losses[0], rel=1e-5)


def test_the_guest_leaves_all_as_found() -> None:
    threads, state = torch.get_num_threads(), torch.get_rng_state()
    torch.set_default_dtype(torch.float64)
    try:
        with torch.inference_mode():
            nets = started((1, 3, 1), [0])
            fit_many(nets, torch.ones(2, 1), torch.ones(2, 1), epochs=2)
    finally:
        torch.set_default_dtype(torch.float32)
    assert nets[0][0].weight.dtype == torch.float32
    assert torch.get_num_threads() == threads and torch.equal(torch.get_rng_state(), state)


def test_what_cannot_be_trained_is_refused() -> None:
    with pytest.raises(UsageError, match="There is no net"):
        fit_many([], torch.ones(2, 1), torch.ones(2, 1))
    with pytest.raises(UsageError, match="There is no row"):
        fit_many(started((1, 1), [0]), torch.ones(0, 1), torch.ones(0, 1))
    with pytest.raises(UsageError, match="There is no activation 'relish'"):
        layered((1, 2, 1), "relish")
    with pytest.raises(UsageError, match="There is no optimizer"):
        fit_many(started((1, 1), [0]), torch.ones(1, 1), torch.ones(1, 1), optimizer="luck")
