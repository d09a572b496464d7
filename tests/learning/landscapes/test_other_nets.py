"""Surfaces of nets that only look simple, or are none of the usual ones; and threads."""

from __future__ import annotations

import threading

import numpy as np
import pytest
import torch
from learning.landscapes.slow import case, losses_by_hand
from torch import Tensor, nn

from weightwalk.errors import UsageError
from weightwalk.learning.landscapes.asked import grid
from weightwalk.learning.landscapes.directions import random_plane
from weightwalk.learning.landscapes.surface import surface
from weightwalk.learning.losses import tensor_of
from weightwalk.learning.seeds import seeded

FIVE = grid(5)


@pytest.mark.parametrize("name", ["mlp", "gelu", "words", "deep rows"])
def test_threads_share_the_points_and_change_no_bit(name: str) -> None:
    net, x, y, loss = case(name)
    plane, steps = random_plane(net), grid(7)
    told: list[int] = []
    one = surface(net, x, y, plane, loss=loss, alphas=steps, threads=1, per_sample=True)
    for threads in (2, 3, 48, 49):  # of 49 points: the last ones get one each
        many = surface(
            net, x, y, plane, loss=loss, alphas=steps, threads=threads, per_sample=True,
            progress=lambda done, total: told.append(done * (total == 49)),
        )  # fmt: skip
        assert np.array_equal(one.losses, many.losses)
        assert one.samples is not None and many.samples is not None and np.array_equal(one.samples, many.samples)
        assert told[-1] == 49


def test_what_goes_wrong_in_a_thread_is_told() -> None:
    net, x, y, _ = case("mlp")
    here = threading.get_ident()

    def shy(out: Tensor, target: Tensor) -> Tensor:
        if threading.get_ident() != here:
            raise ZeroDivisionError
        return (out - target).square().mean()

    with pytest.raises(ZeroDivisionError):
        surface(net, x, y, random_plane(net), loss=shy, alphas=FIVE, threads=4, curvature=False)


class Branching(nn.Module):
    """Looks like a chain wherever its output is positive in the mean."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(2, 1)

    def forward(self, x: Tensor) -> Tensor:
        y = self.fc(x)
        return y if y.mean() > 0 else -3 * y


class Doubling(nn.Module):
    """Looks like a chain, and doubles in place what passes from link to link."""

    def __init__(self) -> None:
        super().__init__()
        self.fc, self.act, self.out = nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.act(self.fc(x)).mul_(2))


@pytest.mark.parametrize("make", [Branching, Doubling])
def test_what_only_looks_like_a_chain_is_evaluated_as_what_it_is(make: type[nn.Module]) -> None:
    with seeded(1):
        net, x, y = make().double(), torch.rand(9, 2, dtype=torch.float64), torch.ones(9, 1, dtype=torch.float64)
    plane = random_plane(net, 0, "none")
    found = surface(net, x, y, plane, alphas=FIVE, curvature=False)
    assert found.method != "chain"
    assert found.losses == pytest.approx(losses_by_hand(net, x, y, plane, "mse", FIVE, FIVE), rel=1e-12)


def test_inputs_are_left_alone_and_odd_ones_refused() -> None:
    net = nn.Sequential(nn.ReLU(inplace=True), nn.Linear(3, 1))
    x, y = torch.randn(5, 3), torch.randn(5, 1)
    kept = x.clone()
    surface(net, x, y, random_plane(net), alphas=FIVE)
    assert torch.equal(x, kept)
    with pytest.raises(UsageError, match="The inputs must be a tensor; got ndarray"):
        surface(net, x.numpy(), y, random_plane(net))  # pyright: ignore[reportArgumentType]
    with pytest.raises(UsageError, match="could not be computed on these inputs and targets: mat1 and mat2"):
        surface(net, torch.randn(5, 4), y, random_plane(net))


@pytest.mark.parametrize(
    "make",
    [
        lambda: nn.LSTM(3, 2, batch_first=True),
        lambda: nn.TransformerEncoderLayer(3, 1, 4, batch_first=True),
        lambda: nn.Sequential(nn.utils.parametrizations.weight_norm(nn.Linear(3, 2))),
    ],
)
def test_other_nets_are_taken_without_a_warning(make: type[nn.Module]) -> None:
    with seeded(2):
        net, x = make().double(), torch.randn(4, 5, 3, dtype=torch.float64)
    with torch.no_grad():
        y = torch.zeros_like(tensor_of(net.eval()(x)))
    plane = random_plane(net, 0, "none")
    found = surface(net, x, y, plane, alphas=grid(3), curvature=False)
    assert found.losses == pytest.approx(losses_by_hand(net, x, y, plane, "mse", found.alphas, found.betas), rel=1e-10)
