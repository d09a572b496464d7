"""Curvature along random directions against finite differences and the whole Hessian."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from learning.landscapes.slow import CASES, case, mlp
from torch import Tensor, nn

from weightwalk.errors import UsageError
from weightwalk.learning.curvature import Curvature
from weightwalk.learning.landscapes import curvatures
from weightwalk.learning.landscapes.centre import flat
from weightwalk.learning.landscapes.curvatures import random_curvatures
from weightwalk.learning.landscapes.directions import origin_of, random_direction
from weightwalk.learning.landscapes.surface import losses_at


def drawn(net: nn.Module, many: int, seed: int, normalise: str) -> list[np.ndarray]:
    weights, generator = origin_of(net), torch.Generator().manual_seed(seed)
    return [flat(weights, random_direction(weights, generator, normalise)) for _ in range(many)]


@pytest.mark.parametrize("normalise", ["filter", "layer", "none"])
@pytest.mark.parametrize("name", CASES)
def test_each_is_the_second_difference_of_the_loss(name: str, normalise: str) -> None:
    net, x, y, loss = case(name)
    found = random_curvatures(net, x, y, loss=loss, directions=3, seed=5, normalise=normalise)
    w, step = flat(origin_of(net), origin_of(net)), 1e-3
    for d, told in zip(drawn(net, 3, 5, normalise), found.quotients, strict=True):
        move = step * d / np.linalg.norm(d)
        low, at, high = losses_at(net, x, y, loss, np.array([w - move, w, w + move]))
        assert told == pytest.approx((high - 2 * at + low) / step**2, rel=1e-3, abs=1e-8)


@pytest.mark.parametrize("act", [nn.ReLU, nn.Tanh, nn.GELU, nn.Softplus, nn.LeakyReLU, nn.Identity])
def test_the_chain_agrees_with_the_whole_hessian(act: type[nn.Module], monkeypatch: pytest.MonkeyPatch) -> None:
    _, x, y, loss = case("mlp")
    net = mlp(3, 6, 4, 2, act=act).double()
    found = random_curvatures(net, x, y, loss=loss, directions=20)
    matrix = Curvature(net, x, y, loss).matrix()
    true = [d @ matrix @ d / (d @ d) for d in drawn(net, 20, 0, "filter")]
    assert found.method == "chain" and found.quotients == pytest.approx(true, rel=1e-9, abs=1e-12)
    monkeypatch.setattr(curvatures, "leaves_of", lambda *_: (None, 0))
    by_products = random_curvatures(net, x, y, loss=loss, directions=20)
    assert by_products.method == "products" and by_products.quotients == pytest.approx(true, rel=1e-9, abs=1e-12)
    more = random_curvatures(net, x, y, loss=loss, directions=100)
    assert more.method == "matrix" and more.quotients[:20] == pytest.approx(true, rel=1e-9, abs=1e-12)


def test_without_normalisation_the_mean_is_the_mean_eigenvalue() -> None:
    """``E d'Hd / d'd = tr H / n``; over 3,000 directions within five standard errors."""
    net, x, y, loss = case("gelu")
    found = random_curvatures(net, x, y, loss=loss, directions=3000, normalise="none")
    trace = np.trace(Curvature(net, x, y, loss).matrix()) / 40
    assert abs(found.mean - trace) < 5 * found.deviation / np.sqrt(3000)
    assert (found.minimum, found.maximum) == (found.quotients.min(), found.quotients.max())
    assert found.directions == found.asked == len(found.quotients) == 3000


def test_negative_ones_are_counted() -> None:
    """A saddle: ``L = w0² - w1²`` through a net of two weights."""

    class Saddle(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.w = nn.Parameter(torch.tensor([0.5, 0.5], dtype=torch.float64))

        def forward(self, x: Tensor) -> Tensor:
            return x * (self.w[0] ** 2 - self.w[1] ** 2)

    x = torch.ones(1, 1, dtype=torch.float64)
    found = random_curvatures(Saddle(), x, x, loss=lambda out, _: out.mean(), directions=400, normalise="none")
    d = np.array(drawn(Saddle(), 400, 0, "none"))
    true = 2 * (d[:, 0] ** 2 - d[:, 1] ** 2) / (d**2).sum(axis=1)
    assert found.quotients == pytest.approx(true, rel=1e-9)
    assert found.negative == (true < 0).sum() and 100 < found.negative < 300


def test_time_runs_out_and_that_is_said() -> None:
    net, x, y, loss = case("mlp")
    found = random_curvatures(net, x, y, loss=loss, directions=500, seconds=0)
    assert found.directions == 2 and found.asked == 500
    whole = random_curvatures(net, x, y, loss=loss, directions=4)
    assert whole.quotients[:2].tolist() == found.quotients.tolist()


def test_the_net_is_left_as_found() -> None:
    net, x, y, loss = case("conv")
    net.train()
    state, threads = torch.get_rng_state(), torch.get_num_threads()
    before = [p.detach().clone() for p in net.parameters()]

    def stop(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        random_curvatures(net, x, y, loss=loss, directions=5, progress=stop)
    assert net.training and all(m.training for m in net.modules())
    assert all(torch.equal(p, q) and p.grad is None for p, q in zip(net.parameters(), before, strict=True))
    assert torch.equal(state, torch.get_rng_state()) and threads == torch.get_num_threads()


def test_no_directions_are_refused() -> None:
    net, x, y, loss = case("mlp")
    with pytest.raises(UsageError, match="At least one direction is needed; got 0"):
        random_curvatures(net, x, y, loss=loss, directions=0)


def test_a_net_of_half_precision_and_one_with_nothing_flowing() -> None:
    net, x, y, loss = case("mlp")
    found = random_curvatures(net.bfloat16(), x.bfloat16(), y.bfloat16(), loss=loss, directions=2)
    assert np.isfinite(found.quotients).all()
    flat_net = mlp(3, 4, 1).double()
    with torch.no_grad():
        flat_net.get_parameter("0.bias").fill_(-100)
    dead = random_curvatures(flat_net, x, y[:, :1], directions=3)
    assert dead.quotients == pytest.approx(np.zeros(3), abs=1e-12) or dead.minimum >= 0
    assert dead.negative == 0
