"""Numbers that are not finite: found at the very update that makes them, named by address, and gone back from."""

from __future__ import annotations

import math
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from weightwalk.errors import UsageError
from weightwalk.learning.history import NotFiniteError, TrainingInterrupted
from weightwalk.learning.runs import loop
from weightwalk.learning.runs.files import read_tensors
from weightwalk.learning.seeds import seeded
from weightwalk.learning.train import train

X = torch.linspace(-1, 1, 20)[:, None]
Y = X**2


class Net(nn.Module):
    """Two layers, and a fault that strikes at the `at`-th forward pass in training."""

    def __init__(self, fault: str = "", at: int = -1) -> None:
        super().__init__()
        with seeded(2):
            self.fc1, self.fc2 = nn.Linear(1, 4), nn.Linear(4, 1)
        self.fault, self.at = fault, at
        self.register_buffer("calls", torch.zeros((), dtype=torch.int64))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        strikes = self.training and int(self.calls) == self.at
        if self.training:
            self.calls += 1
        hidden = torch.tanh(self.fc1(x))
        if strikes and self.fault == "forward":
            hidden = hidden / torch.tensor([1.0, 1.0, 0.0, 1.0], dtype=hidden.dtype)
        if strikes and self.fault == "backward":  # finite forward, infinite slope: the root at exactly 0
            hidden = hidden + torch.sqrt(hidden.detach() * 0 + 0 * hidden)
        if strikes and self.fault == "update":  # a finite gradient whose step leaves float32
            return self.fc2(hidden) + 3e37 * (self.fc2.bias - self.fc2.bias.detach())
        return self.fc2(hidden)


def twin(updates: int, **settings: Any) -> Net:
    """The same net after so many faultless updates."""
    net = Net()
    train(net, X, Y, epochs=updates, **settings)
    return net


def broken(net: nn.Module, *data: torch.Tensor, **settings: Any) -> NotFiniteError:
    with pytest.raises(NotFiniteError) as caught:
        train(net, *(data or (X, Y)), **settings)
    return caught.value


@pytest.mark.parametrize("at", [0, 1, 63, 64, 100])
def test_a_bad_loss_is_named_by_the_value_and_op_that_made_it(at: int) -> None:
    net = Net("forward", at)
    error = broken(net, lr=0.05, epochs=200)
    bad = error.bad
    assert (bad.what, bad.epoch, bad.update) == ("loss", at, at)
    assert (bad.made_by, bad.phase) == ("aten.div", "forward")
    assert bad.address.endswith("[0, 2]") and math.isinf(bad.value)
    assert math.isinf(bad.number)
    assert f"The loss became inf in epoch {at}, at update {at}" in str(error)
    assert "made by aten.div in the forward pass" in str(error)
    assert len(error.history.losses) == error.history.updates == at
    alone = twin(at, lr=0.05)
    assert torch.equal(net.fc1.weight, alone.fc1.weight), "the weights from before that update"
    assert torch.equal(net.fc2.bias, alone.fc2.bias)
    assert int(net.calls) == at, "buffers too"


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_a_bad_gradient_is_found_at_its_own_update(optimizer: str) -> None:
    """It shows in the loss only at the update after: going back finds where it came from."""
    net = Net("backward", 70)
    error = broken(net, lr=0.01, epochs=200, optimizer=optimizer)
    bad = error.bad
    assert (bad.what, bad.update, bad.phase) == ("gradient", 70, "backward")
    assert not math.isfinite(bad.value) and bad.made_by.startswith("aten.")
    assert "the first number that is not finite is" in str(error)
    alone = twin(70, lr=0.01, optimizer=optimizer)
    assert all(torch.equal(p, q) for p, q in zip(net.parameters(), alone.parameters(), strict=True))
    assert len(error.history.losses) == 70


def test_a_bad_update_of_finite_gradients_is_found_too() -> None:
    net = Net("update", 0)
    error = broken(net, X, Y + 5, lr=10.0, epochs=50)
    bad = error.bad
    assert (bad.what, bad.update) == ("weights", 0)
    assert bad.address.startswith("fc2.bias") and bad.phase == "update" and bad.made_by.startswith("aten.add")
    assert all(torch.isfinite(p).all() for p in net.parameters())


class Silent(nn.Module):
    """A ReLU net of which one bias leaves the numbers at update 40: the loss stays finite, and the net is broken."""

    def __init__(self) -> None:
        super().__init__()
        with seeded(0):
            self.fc1, self.fc2 = nn.Linear(1, 3), nn.Linear(3, 1)
        self.register_buffer("calls", torch.zeros((), dtype=torch.int64))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.calls += int(self.training)
        return self.fc2(torch.relu(self.fc1(x)))

    def loss(self, out: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        usual = 1e-3 * nn.functional.mse_loss(out, target)
        bias = self.fc1.bias[0]
        return usual + 3e38 * (bias - bias.detach()) if int(self.calls) == 41 else usual


def test_weights_that_go_bad_without_showing_in_the_loss_are_found() -> None:
    """A unit at minus infinity behind a ReLU is silent."""
    net = Silent()
    bad = broken(net, loss=net.loss, lr=2.0, epochs=500).bad
    assert (bad.what, bad.update) == ("weights", 40)
    assert bad.address == "fc1.bias.updated[0]" and bad.value == -math.inf and bad.phase == "update"
    assert torch.isfinite(net.fc1.bias).all()
    short = Silent()
    assert broken(short, loss=short.loss, lr=2.0, epochs=45).bad.update == 40, "at the end of a short training, too"


@pytest.mark.parametrize(("every", "snapshots"), [("5 updates", None), ("400 updates", 3)])
def test_silently_bad_weights_are_in_no_checkpoint(tmp_path: Path, every: str, snapshots: int | None) -> None:
    """Each 64 updates a look, and more often a checkpoint, or a snapshot: none may be written with a weight at -inf."""
    net = Silent()
    error = broken(net, loss=net.loss, lr=2.0, epochs=500, run=tmp_path, every=every, keep=100, snapshots=snapshots)
    assert (error.bad.what, error.bad.update) == ("weights", 40)
    files = [*tmp_path.glob("checkpoint-*.safetensors"), *tmp_path.glob("snapshots/*.safetensors")]
    assert len(files) > 8
    for file in files:
        tensors, _ = read_tensors(file)
        assert all(torch.isfinite(t).all() for t in tensors.values()), file
    other = Silent()
    resumed = broken(other, loss=other.loss, lr=2.0, epochs=500, run=tmp_path, resume=True, every=every)
    assert (resumed.bad.update, resumed.bad.address) == (40, "fc1.bias.updated[0]")


def test_ctrl_c_saves_no_silently_bad_weights(tmp_path: Path) -> None:
    net = Silent()

    def leave(done: int, of: int, loss: float) -> None:
        if done == 50:
            signal.raise_signal(signal.SIGINT)

    more = {"run": tmp_path, "every": "400 updates", "each_update": leave}
    with pytest.raises((NotFiniteError, TrainingInterrupted)) as caught:
        train(net, X, Y, loss=net.loss, lr=2.0, epochs=500, **more)
    assert isinstance(caught.value, NotFiniteError) and caught.value.bad.update == 40
    for file in tmp_path.glob("checkpoint-*.safetensors"):
        assert torch.isfinite(read_tensors(file)[0]["weights/fc1.bias"]).all()


def test_a_mask_that_is_meant_to_be_infinite_is_not_blamed() -> None:
    class Attention(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            with seeded(0):
                self.q, self.k, self.out = nn.Linear(2, 2), nn.Linear(2, 2), nn.Linear(2, 1)
            self.register_buffer("mask", torch.full((3, 3), -torch.inf).triu(1))
            self.calls = 0

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            scores = self.q(x) @ self.k(x).mT + self.mask
            mixed = scores.softmax(-1) @ x
            self.calls += 1
            if self.calls == 4:
                mixed = mixed + torch.log(mixed - mixed.detach())
            return self.out(mixed)[:, -1]

    with seeded(1):
        x, y = torch.randn(6, 3, 2), torch.randn(6, 1)
    error = broken(Attention(), x, y, lr=0.01, epochs=10)
    # the fault does not strike again when the update is repeated: it is said where, and no innocent is named
    assert error.bad.update == 3 and error.bad.address == ""

    class Steady(Attention):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            scores = self.q(x) @ self.k(x).mT + self.mask
            return self.out(torch.log(-(scores.softmax(-1) @ x).square() + 0.5))[:, -1]

    bad = broken(Steady(), 3 * x, y, lr=0.01, epochs=10).bad
    assert bad.update == 0 and bad.made_by == "aten.log" and math.isnan(bad.value)


def test_what_was_bad_from_the_start_is_said() -> None:
    net = Net()
    with torch.no_grad():
        net.fc2.weight[0, 3] = math.nan
    with pytest.raises(UsageError, match=r"fc2.weight\[0, 3\] is nan before the first update"):
        train(net, X, Y)
    bad_data = X.clone()
    bad_data[7] = math.nan
    error = broken(Net(), bad_data, Y)
    assert error.bad.update == 0 and error.bad.made_by == "" and "as it was given" in str(error)
    assert "[7, 0] = nan" in str(error)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float16])
def test_other_precisions(dtype: torch.dtype) -> None:
    net = Net("forward", 3).to(dtype)
    error = broken(net, X.to(dtype), Y.to(dtype), lr=0.01, epochs=9)
    assert (error.bad.update, error.bad.made_by) == (3, "aten.div")


def test_mini_batches_and_dropout_are_met_again() -> None:
    class Dropped(Net):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return super().forward(nn.functional.dropout(x, 0.3, self.training))

    for at in (10, 77):
        net = Dropped("forward", at)
        error = broken(net, lr=0.01, epochs=40, batch=6, seed=8)
        assert error.bad.update == at and error.bad.epoch == at // 4 and error.bad.made_by == "aten.div"
        assert len(error.history.losses) == at // 4 and error.history.updates == at


def test_the_sum_of_squares_may_overflow_without_harm() -> None:
    """Weights whose squares leave float32 are finite all the same."""
    net = nn.Linear(1, 1, bias=False)
    with torch.no_grad():
        net.weight.fill_(1e25)
    history = train(net, torch.zeros(3, 1), torch.zeros(3, 1), epochs=130, lr=0.1)
    assert history.final == 0.0 and net.weight.item() == pytest.approx(1e25)


# Going back ----------------------------------------------------------------------------------------------------------


def test_rollback_halves_the_rate_until_it_holds() -> None:
    net = Net()
    history = train(net, X, Y, lr=1e5, epochs=30, on_nonfinite="rollback", rollbacks=100)
    halved = [e for e in history.events if e.kind == "rollback"]
    assert halved and history.epochs == 30 and math.isfinite(history.final)
    assert history.rates[-1] == 1e5 / 2 ** len(halved)
    assert all("Went back to update" in e.text and "halved the learning rate" in e.text for e in halved)
    assert history.settings["on_nonfinite"] == "rollback"
    again = train(Net(), X, Y, lr=1e5, epochs=30, on_nonfinite="rollback", rollbacks=100)
    assert again == history and again.events == history.events, "where it goes back to is no matter of time"


def test_rollback_takes_back_what_was_written_down_since() -> None:
    plan: dict[str, Any] = {"lr": 1e5, "epochs": 12, "batch": 6, "on_nonfinite": "rollback", "rollbacks": 40}
    history = train(Net(), X, Y, **plan, held_out=(X, Y), patience=11, snapshots=1)
    assert history.events and history.epochs == 12
    assert len(history.losses) == len(history.rates) == 12
    assert len(history.held_losses) == len(history.watched) == 13
    assert [s.epoch for s in history.snapshots] == list(range(13))
    assert history.updates == 12 * 4
    rate = history.rates[-1]
    calm = train(Net(), X, Y, lr=rate, epochs=12, batch=6, held_out=(X, Y), patience=11)
    # it went back to the start each time, so what is left is the training at the last rate
    assert calm.losses == history.losses and calm.held_losses == history.held_losses and calm.best == history.best


def test_rollback_has_a_cap() -> None:
    net = Net("forward", 3)
    net.register_buffer("calls", net.calls, persistent=False)
    error = broken(net, lr=0.1, epochs=10, on_nonfinite="rollback", rollbacks=2)
    assert [e.kind for e in error.history.events] == ["rollback", "rollback"]
    assert "The learning rate was halved 2 times before" in str(error)


def test_rollback_goes_back_to_where_all_went_well(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not to the last finite moment, when the loss had long exploded."""
    monkeypatch.setattr(loop, "WATCH", 8)
    net = nn.Linear(1, 1, bias=False)
    with torch.no_grad():
        net.weight.fill_(1.0)
    # w <- w (1 - 2 lr): at rate 1.5 each step doubles the error, and 2^128 leaves float32 after about 64 steps
    history = train(net, torch.ones(1, 1), torch.zeros(1, 1), lr=1.5, epochs=200, on_nonfinite="rollback")
    assert history.epochs == 200
    (event,) = history.events
    assert event.update <= 8, "it grew from the first step on"
    assert history.final == pytest.approx(0.0, abs=1e-12)


def test_the_checkpoints_from_before_stay(tmp_path: Path) -> None:
    net = Net("forward", 9)
    error = broken(net, lr=0.05, epochs=50, run=tmp_path, every=1)
    assert error.bad.update == 9
    assert error.history.run == str(tmp_path)
    weights = torch.equal(twin(9, lr=0.05).fc1.weight, net.fc1.weight)
    assert weights
    healed = Net()  # the same layers without the fault: the run can be gone on with
    healed.fault = "forward"
    history = train(healed, X, Y, run=tmp_path, resume=True)
    assert history.epochs == 50
    assert torch.equal(healed.fc1.weight, twin(50, lr=0.05).fc1.weight)


@pytest.mark.parametrize("number", [math.nan, math.inf])
@pytest.mark.parametrize("shuffle", [False, True])
@pytest.mark.parametrize("where", ["inputs", "targets"])
def test_a_bad_example_is_named_by_its_row_in_the_data(where: str, shuffle: bool, number: float) -> None:
    """In a batch of two, row 5 of the data is row 0 or 1."""
    data = {"inputs": torch.linspace(-1, 1, 16).reshape(8, 2), "targets": torch.zeros(8, 2)}
    data[where][5, 1] = number
    with pytest.raises(NotFiniteError) as caught:
        train(nn.Linear(2, 2), data["inputs"], data["targets"], epochs=3, batch=2, shuffle=shuffle)
    assert caught.value.bad.address == f"{where}[5, 1]"


def test_patience_waits_for_a_held_out_loss_that_is_a_number(tmp_path: Path) -> None:
    """A loss that is no number is no measure: nothing was better than it, and the untrained net was handed back."""

    class Late(nn.Linear):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return super().forward(x) * (math.nan if not self.training and float(self.bias.detach()) < 0.5 else 1.0)

    with seeded(0):
        net = Late(1, 1)
    nn.init.zeros_(net.bias)
    x = torch.linspace(-1, 1, 8)[:, None]
    found = train(net, x, x + 3, lr=0.02, epochs=60, held_out=(x, x + 3), patience=3, run=tmp_path / "run")
    assert math.isnan(found.watched[3]) and math.isfinite(found.watched[-1])
    assert found.best == 60
