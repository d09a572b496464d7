"""Nets that are no chains: stacked by `torch.func`, each seed as it would be alone; or refused by name."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from weightwalk.errors import UsageError, WeightwalkError
from weightwalk.learning.censuses.batch import train_many
from weightwalk.learning.tasks import Data, Task, task_of
from weightwalk.learning.train import train


class Residual(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.one, self.act, self.two = nn.Linear(3, 3), nn.ReLU(), nn.Linear(3, 2)
        self.register_buffer("shift", torch.tensor([0.1, 0.2, 0.3]))

    def forward(self, x: Tensor) -> Tensor:
        return self.two(x + self.act(self.one(x)) + self.shift)


def conv() -> nn.Module:
    return nn.Sequential(nn.Conv1d(1, 2, 2), nn.ReLU(), nn.GroupNorm(1, 2), nn.Flatten(), nn.Linear(4, 2))


def frozen() -> nn.Module:
    net = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2))
    net[0].requires_grad_(False)
    return net


def tied() -> nn.Module:
    net = nn.Sequential(nn.Linear(3, 3), nn.Tanh(), nn.Linear(3, 3), nn.Linear(3, 2))
    net[2].weight = net[0].weight
    return net


def random_features() -> nn.Module:
    net = Residual()
    net.get_buffer("shift").copy_(torch.randn(3))
    return net


def task_with(build: Callable[[], nn.Module], loss: str = "mse", *, channels: bool = False) -> Task:
    torch.manual_seed(1)
    x, y = torch.randn(10, 3), torch.randn(10, 2)
    x = x[:, None] if channels else x
    target = y.argmax(dim=1) if loss == "cross_entropy" else y
    return Task("mine", "", build, Data(x[:8], target[:8], x[8:], target[8:]), loss, lr=0.05, epochs=6)


@pytest.mark.parametrize("batch", [None, 3])
@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
@pytest.mark.parametrize("build", [Residual, conv, frozen, tied, random_features])
def test_each_seed_is_trained_as_it_would_be_alone(build: Any, optimizer: str, batch: int | None) -> None:
    task = task_with(build, channels=build is conv, loss="cross_entropy" if build is conv else "mse")
    found = train_many(task, [2, 5, 11], optimizer=optimizer, batch=batch, record={"losses": 1, "held_outputs": True})
    assert found.how == "stacked"
    for row, seed in enumerate((2, 5, 11)):
        history = train(task, seed=seed, optimizer=optimizer, batch=batch)
        assert history.module is not None and found.losses is not None and found.held_losses is not None
        assert found.outputs is not None and found.held_outputs is not None and task.data.held_inputs is not None
        assert found.losses[row] == pytest.approx(np.array(history.losses), abs=2e-5)
        assert found.final_losses[row] == pytest.approx(history.final, abs=2e-5)
        assert found.held_losses[row] == pytest.approx(history.held_losses[-1], abs=2e-5)
        module = found.module(seed)
        for p, q in zip(module.parameters(), history.module.parameters(), strict=True):
            assert (p - q).abs().max() < 2e-5
        assert found.outputs[row] == pytest.approx(module(task.data.inputs).detach().numpy(), abs=1e-5)
        assert found.held_outputs[row] == pytest.approx(module(task.data.held_inputs).detach().numpy(), abs=1e-5)


def test_a_chain_by_the_general_path_is_the_same() -> None:
    task = task_of("hello6")
    mine = Task("mine", "", task.build, task.data, task.loss)

    def loss(z: Tensor, y: Tensor) -> Tensor:  # a function, which the chains do not know
        return nn.functional.cross_entropy(z, y)

    how: dict[str, Any] = {"epochs": 20, "lr": 0.1, "dtype": torch.float64}
    fast, slow = train_many(task, range(5), **how), train_many(mine, range(5), loss=loss, **how)
    assert (fast.how, slow.how) == ("chain", "stacked")
    assert slow.settings["loss"] == "loss"
    for name in ("first_losses", "final_losses", "gradient_norms", "outputs"):
        assert np.abs(getattr(fast, name) - getattr(slow, name)).max() < 1e-13
    for name in fast.weights:
        assert np.abs(fast.weights[name] - slow.weights[name]).max() < 1e-13
    for name in ("relu1", "relu2"):
        assert np.array_equal(fast.dead_units_at_start[name], slow.dead_units_at_start[name])
        assert np.array_equal(fast.dead_units_at_end[name], slow.dead_units_at_end[name])


def test_units_of_a_convolution_are_positions_of_channels() -> None:
    found = train_many(task_with(conv, "cross_entropy", channels=True), range(30), epochs=2)
    assert found.dead_units_at_start["1"].shape == (30, 2, 2)
    module, x = found.task.module(4), found.task.data.inputs
    assert np.array_equal(found.dead_units_at_start["1"][4], (module[1](module[0](x)) == 0).all(dim=0).numpy())  # type: ignore[index]


def test_a_seed_that_diverges_is_marked_and_leaves_the_others_alone() -> None:
    task = task_with(Residual)
    found = train_many(task, range(12), lr=1.2, epochs=60)
    lost = np.flatnonzero(found.nonfinite_at >= 0).tolist()
    assert lost
    for seed in lost[:2]:
        with pytest.raises(WeightwalkError, match=rf"epoch {found.nonfinite_at[seed]}\b"):
            train(task, seed=seed, lr=1.2, epochs=60)
    kept = [s for s in range(12) if s not in lost]
    assert np.isfinite(found.final_losses[kept]).all()


@pytest.mark.parametrize(
    ("layer", "words"),
    [
        (nn.Dropout(0.5), r"layer 1 \(Dropout\) draws random numbers"),
        (nn.BatchNorm1d(3), r"layer 1 \(BatchNorm1d\) changes its running statistics"),
    ],
)
def test_what_cannot_be_stacked_is_refused_by_name(layer: nn.Module, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        train_many(task_with(lambda: nn.Sequential(nn.Linear(3, 3), layer, nn.Linear(3, 2))), [0])


class Counting(nn.Module):
    def __init__(self, how: str) -> None:
        super().__init__()
        self.fc, self.how = nn.Linear(3, 2), how
        self.register_buffer("seen", torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        if self.how == "buffer":
            self.seen += 1
        y = self.fc(x)
        if self.how == "noise":
            y = y + torch.randn_like(y)
        if self.how == "branch" and bool(y.sum() > 0):
            y = -y
        return y


@pytest.mark.parametrize(
    ("how", "words"), [("buffer", "its buffer seen"), ("noise", "torch.func says"), ("branch", "torch.func says")]
)
def test_what_torch_cannot_stack_is_refused_in_a_sentence(how: str, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        train_many(task_with(lambda: Counting(how)), [0, 1])


def test_batch_statistics_without_memory_are_welcome() -> None:
    net = lambda: nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4, track_running_stats=False), nn.Linear(4, 2))  # noqa: E731
    found = train_many(task_with(net), [0, 1])
    assert math.isfinite(found.final_losses[0])
    assert found.final_losses[1] == pytest.approx(train(task_with(net), seed=1).final, rel=1e-4)


def test_small_floats_are_computed_in_their_kind() -> None:
    task = task_with(lambda: Residual().to(torch.bfloat16))
    cast = [t.bfloat16() for t in (task.data.inputs, task.data.targets)]
    found = train_many(Task("mine", "", task.build, Data(cast[0], cast[1]), "mse", lr=0.05, epochs=3), [1, 2])
    assert found.weights["one.weight"].dtype == np.float32
    assert found.module(2).get_parameter("one.weight").dtype == torch.bfloat16
