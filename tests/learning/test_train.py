"""The training function against its own arithmetic, and its promises about the world around it."""

from __future__ import annotations

import math
import signal
import threading

import numpy as np
import pytest
import torch
from torch import nn

from weightwalk.errors import UsageError
from weightwalk.learning.seeds import seeded
from weightwalk.learning.train import TrainingInterrupted, train

X = torch.linspace(-1, 1, 9, dtype=torch.float64)[:, None]
Y = 2 * X + 3


def line(seed: int = 0) -> nn.Linear:
    with seeded(seed):
        return nn.Linear(1, 1, dtype=torch.float64)


def test_gradient_descent_is_the_formula() -> None:
    """w <- w - lr dL/dw with L the mean square, written out in NumPy."""
    net = line()
    w, b = net.weight.item(), net.bias.item()
    history = train(net, X, Y, lr=0.3, epochs=25)
    x, y, losses = X.numpy()[:, 0], Y.numpy()[:, 0], []
    for _ in range(25):
        error = w * x + b - y
        losses.append(np.mean(error**2))
        w, b = w - 0.3 * np.mean(2 * error * x), b - 0.3 * np.mean(2 * error)
    assert net.weight.item() == pytest.approx(w, abs=1e-13)
    assert net.bias.item() == pytest.approx(b, abs=1e-13)
    assert history.losses == pytest.approx(losses, abs=1e-13)
    assert history.final == pytest.approx(np.mean((w * x + b - y) ** 2), abs=1e-13)
    assert (history.epochs, history.seed, len(history.losses)) == (25, 0, 25)
    assert dict(history.settings) == {"loss": "mse", "optimizer": "sgd", "lr": 0.3, "batch": None}


def test_mini_batches_see_every_row_once_per_epoch_and_report_the_weighted_mean() -> None:
    seen: list[torch.Tensor] = []

    class Watch(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.w = nn.Parameter(torch.zeros(1, dtype=torch.float64))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            seen.append(x.detach().clone())
            return x * self.w

    history = train(Watch(), X, Y, batch=4, epochs=2, lr=1e-12)  # too small a rate to change the loss between batches
    sizes = [len(x) for x in seen]
    assert sizes == [4, 4, 1, 4, 4, 1, 9]  # two epochs, then the final loss over all
    first, second = torch.cat(seen[:3]), torch.cat(seen[3:6])
    assert torch.equal(first.sort(dim=0).values, X)
    assert torch.equal(second.sort(dim=0).values, X)
    assert not torch.equal(first, second), "each epoch is shuffled anew"
    assert history.losses[0] == pytest.approx(float((Y**2).mean()), rel=1e-9)


@pytest.mark.parametrize("optimizer", ["sgd", "adam", "adamw"])
@pytest.mark.parametrize("batch", [None, 3])
def test_same_seed_same_bits(optimizer: str, batch: int | None) -> None:
    def run(seed: int) -> tuple[float, ...]:
        with seeded(1):
            net = nn.Sequential(nn.Linear(1, 8), nn.ReLU(), nn.Dropout(0.2), nn.Linear(8, 1))
        history = train(net, X.float(), Y.float(), optimizer=optimizer, batch=batch, epochs=5, lr=0.01, seed=seed)
        return (*history.losses, history.final)

    assert run(3) == run(3)
    assert run(3) != run(4), "the seed decides shuffling and dropout"


def test_everything_else_is_left_as_found() -> None:
    net = nn.Sequential(nn.Linear(1, 4), nn.Dropout(0.5), nn.Linear(4, 1)).double()
    net[1].eval()
    net[0].weight.grad = torch.ones_like(net[0].weight)
    torch.manual_seed(123)
    state = torch.get_rng_state()
    with torch.no_grad():
        train(net, X, Y, epochs=3)
        assert not torch.is_grad_enabled()
    assert torch.equal(torch.get_rng_state(), state)
    assert [m.training for m in net] == [True, False, True]
    assert torch.equal(net[0].weight.grad, torch.ones_like(net[0].weight))
    assert net[2].weight.grad is None


def test_progress_is_told_every_epoch() -> None:
    told: list[tuple[int, int, float]] = []
    history = train(line(), X, Y, epochs=4, progress=lambda *facts: told.append(facts))
    assert told == [(e + 1, 4, loss) for e, loss in enumerate(history.losses)]


def test_no_epoch_at_all_only_measures() -> None:
    net = line()
    history = train(net, X, Y, epochs=0)
    assert history.losses == ()
    assert history.final == nn.functional.mse_loss(net(X), Y).item()


def test_divergence_names_the_epoch() -> None:
    with pytest.raises(UsageError) as caught:
        train(line(), X.float().double(), Y * 1e150, lr=1e10, epochs=100)
    message = str(caught.value)
    assert "The loss became inf in epoch" in message
    assert "learning rate is too large" in message


def test_data_that_is_not_finite_fails_in_epoch_0() -> None:
    with pytest.raises(UsageError, match="The loss became nan in epoch 0"):
        train(line(), X, Y * math.nan)


def test_random_state_and_gradients_come_back_after_a_failure_too() -> None:
    net = line()
    state = torch.get_rng_state()
    with pytest.raises(UsageError):
        train(net, X, Y * math.nan, seed=9)
    assert torch.equal(torch.get_rng_state(), state)
    assert net.weight.grad is None
    assert net.training


def test_interrupt_ends_after_a_whole_epoch_and_hands_over_the_history() -> None:
    before = signal.getsignal(signal.SIGINT)
    net, twin = line(), line()

    def press(done: int, epochs: int, loss: float) -> None:
        if done == 7:
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(TrainingInterrupted, match="after 7 epochs") as caught:
        train(net, X, Y, epochs=1000, progress=press)
    train(twin, X, Y, epochs=7)
    assert torch.equal(net.weight, twin.weight), "the weights are those of seven whole epochs"
    assert caught.value.history.epochs == len(caught.value.history.losses) == 7
    assert isinstance(caught.value, KeyboardInterrupt)
    assert signal.getsignal(signal.SIGINT) is before


def test_a_second_interrupt_does_not_wait() -> None:
    def press_twice(done: int, epochs: int, loss: float) -> None:
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)

    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt) as caught:
        train(line(), X, Y, epochs=3, progress=press_twice)
    assert type(caught.value) is KeyboardInterrupt
    assert signal.getsignal(signal.SIGINT) is before


def test_a_thread_may_train() -> None:
    """Only the main thread may set a signal handler; others train without."""
    net, results = line(), []
    thread = threading.Thread(target=lambda: results.append(train(net, X, Y, epochs=2)))
    thread.start()
    thread.join()
    assert results[0].epochs == 2


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"loss": "rmse"}, "There is no loss 'rmse'; there are bce, cross_entropy, mae, mse"),
        ({"optimizer": "lion"}, "There is no optimizer 'lion'; there are adam, adamw, momentum, nesterov, sgd"),
        ({"lr": -1.0}, "learning rate must be a positive number; got -1.0"),
        ({"lr": math.inf}, "learning rate must be a positive number; got inf"),
        ({"epochs": -1}, "got epochs=-1"),
        ({"batch": 0}, "batch=0"),
        ({"loss": lambda a, b: a - b}, r"The loss must be one number; its shape is \(9, 1\)"),
    ],
)
def test_refusals(settings: dict, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        train(line(), X, Y, **settings)


def test_refuses_rows_that_do_not_match_and_nets_that_cannot_learn() -> None:
    with pytest.raises(UsageError, match=r"as many inputs as targets.*\(9, 1\) and \(8, 1\)"):
        train(line(), X, Y[1:])
    with pytest.raises(UsageError, match="at least one"):
        train(line(), X[:0], Y[:0])
    with pytest.raises(UsageError, match="no parameter that can be trained"):
        train(nn.ReLU(), X, Y)


def test_a_net_that_cannot_be_run_on_the_rows_is_said_in_a_sentence() -> None:
    """Batch norm needs two rows in training: the last batch of 9 rows by 4 has one. And held-out rows have a shape."""
    normed = nn.Sequential(nn.Linear(1, 2), nn.BatchNorm1d(2), nn.Linear(2, 1)).double()
    with pytest.raises(UsageError, match=r"do not run on inputs of shape \(1, 1\).*Expected more than 1 value"):
        train(normed, X, Y, batch=4)
    with pytest.raises(UsageError, match=r"do not run on inputs of shape \(5, 3\).*cannot be multiplied"):
        train(line(), X, Y, held_out=(torch.ones(5, 3).double(), torch.ones(5, 1).double()))


def test_class_numbers_under_another_loss_are_told_the_one_for_them() -> None:
    with pytest.raises(UsageError, match="or class numbers and the loss cross_entropy"):
        train(nn.Linear(1, 3).double(), X, torch.arange(9.0)[:, None] % 3, loss="mse")


def test_a_function_may_be_the_loss() -> None:
    history = train(line(), X, Y, loss=nn.functional.huber_loss, epochs=1)
    assert history.settings["loss"] == "huber_loss"


def test_threads_do_not_draw_from_each_others_seed() -> None:
    def draw(seed: int) -> list[torch.Tensor]:
        with seeded(seed):
            return [torch.rand(1) for _ in range(300)]

    alone = [draw(seed) for seed in range(4)]
    together: dict[int, list[torch.Tensor]] = {}
    threads = [threading.Thread(target=lambda s=s: together.update({s: draw(s)})) for s in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [together[s] for s in range(4)] == alone
