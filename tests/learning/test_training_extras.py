"""What grew around the training function: clipping, settings, early stopping, held-out rows, snapshots, verdicts."""

from __future__ import annotations

import json
import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from weightwalk.errors import UsageError
from weightwalk.learning.answers import answers
from weightwalk.learning.plateaus import constant_loss, plateau
from weightwalk.learning.seeds import seeded
from weightwalk.learning.splits import split
from weightwalk.learning.tasks import Data, task_of
from weightwalk.learning.train import train
from weightwalk.learning.trainings import told
from weightwalk.show.json import text
from weightwalk.show.terminal import plain

X = torch.linspace(-1, 1, 9, dtype=torch.float64)[:, None]
Y = 2 * X + 3


def line(seed: int = 0) -> nn.Linear:
    with seeded(seed):
        return nn.Linear(1, 1, dtype=torch.float64)


def test_the_mean_of_the_batch_gradients_is_the_full_gradient() -> None:
    """Row 219: so three tiny steps on mini-batches move as far as three tiny ones on all rows."""
    start, full, batched = line(), line(), line()
    rate = 1e-9
    train(full, X, Y, lr=rate, epochs=1)
    train(batched, X, Y, lr=rate, epochs=1, batch=3)
    moved = (batched.weight - start.weight) / (full.weight - start.weight)
    assert moved.item() == pytest.approx(3.0, rel=1e-6), "three steps, the mean of whose gradients is the full one"


@pytest.mark.parametrize("batch", [1, 2, 4, 9, 50, None])
def test_updates_per_epoch(batch: int | None) -> None:
    """Row 72: ceil(N / batch)."""
    steps: list[tuple[int, int]] = []
    history = train(
        line(), X, Y, batch=batch, epochs=3, each_update=lambda done, total, loss: steps.append((done, total))
    )
    per_epoch = math.ceil(9 / (batch or 9))
    assert history.updates_per_epoch == per_epoch and history.updates == 3 * per_epoch
    assert steps == [(u + 1, 3 * per_epoch) for u in range(3 * per_epoch)]
    assert ("stochastic" in history.kind) == (per_epoch > 1)
    assert history.seconds > 0 and history.updates_per_second > 0


def test_the_five_steps_come_in_order() -> None:
    """Row 179: forward, compare, backward, update, and again."""
    log: list[str] = []
    net = line()
    net.register_forward_hook(lambda *_: log.append("forward"))
    net.weight.register_hook(lambda grad: log.append("backward"))

    def compare(out: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        log.append("loss")
        return nn.functional.mse_loss(out, target)

    weights: list[float] = []

    def look(done: int, total: int, loss: float) -> None:
        log.append("update" if net.weight.item() not in weights else "nothing")
        weights.append(net.weight.item())

    train(net, X, Y, loss=compare, epochs=3, each_update=look)
    assert log == ["forward", "loss", "backward", "update"] * 3 + ["forward", "loss"]


def test_clipping_is_the_formula() -> None:
    net, w = line(), line()
    history = train(net, X, Y, lr=0.5, epochs=4, clip=0.25)
    for _ in range(4):
        error = w(X).detach() - Y
        grad = torch.stack([(2 * error * X).mean(), (2 * error).mean()])
        norm = grad.norm()
        step = 0.5 * grad * min(1.0, 0.25 / (float(norm) + 1e-6))
        with torch.no_grad():
            w.weight -= step[0]
            w.bias -= step[1]
    assert net.weight.item() == pytest.approx(w.weight.item(), abs=1e-12)
    assert history.settings["clip"] == 0.25


def test_settings_reach_the_optimizer() -> None:
    net, w = line(), line()
    train(net, X, Y, lr=0.05, epochs=6, optimizer="momentum", settings={"momentum": 0.5})
    engine = torch.optim.SGD(w.parameters(), lr=0.05, momentum=0.5)
    for _ in range(6):
        engine.zero_grad()
        nn.functional.mse_loss(w(X), Y).backward()
        engine.step()
    assert torch.equal(net.weight, w.weight)
    with pytest.raises(UsageError, match=r"does not take \{'speed': 2\}"):
        train(line(), X, Y, settings={"speed": 2})


def test_early_stopping_hands_back_the_best_weights() -> None:
    """Held-out data that contradict the training data: the best is at the very start."""
    net, start = line(), line()
    with torch.no_grad():
        held = start(X)
    history = train(net, X, Y, lr=0.1, epochs=100, patience=3, held_out=(X, held))
    assert (history.best, history.epochs, history.stopped_by) == (0, 3, "patience")
    assert torch.equal(net.weight, start.weight) and history.watched[0] == 0.0
    assert history.final == pytest.approx(nn.functional.mse_loss(start(X), Y).item())
    assert "stopped after epoch 3, with the weights of epoch 0" in history.events[-1].text


def test_early_stopping_watches_the_training_data_where_nothing_is_held_out() -> None:
    history = train(line(), X, Y, lr=0.9, epochs=3000, patience=20)
    assert history.stopped_by == "patience" and history.best is not None
    assert history.watched[history.best] == min(history.watched) == history.final
    assert not history.held_losses


def test_a_share_is_held_out() -> None:
    data = Data(X, Y, rows=tuple("abcdefghi"))
    apart = split(data, 0.3, seed=5)
    assert apart.held_inputs is not None and len(apart.held_inputs) == 3
    assert torch.equal(torch.cat([apart.inputs, apart.held_inputs]).sort(0).values, X)
    assert apart.rows == tuple("abcdefghi"[i] for i in range(9) if X[i] in apart.inputs)
    history = train(line(), X, Y, held_out=0.3, seed=5, epochs=2)
    same = train(line(), apart.inputs, apart.targets, held_out=apart.held_out, seed=5, epochs=2)
    assert history == same and history.rows == 6
    for share in (0.0, 1.0, -1.0, math.nan, 0.95):
        with pytest.raises(UsageError, match="The share to hold out"):
            split(data, share)


def test_a_task_may_have_a_share_held_out() -> None:
    history = train("hello6", held_out=0.34, epochs=3)
    assert history.rows == 3 and len(history.held_losses) == 4


def test_snapshots_are_the_weights_of_their_epochs() -> None:
    history = train(line(), X, Y, epochs=7, snapshots=3)
    assert [s.epoch for s in history.snapshots] == [0, 3, 6, 7]
    for s in history.snapshots:
        other = line()
        train(other, X, Y, epochs=s.epoch)
        assert torch.equal(s.weights["weight"], other.weight)


def test_outputs_of_other_kinds_and_inputs_that_are_refused() -> None:
    class Wrapped(nn.Module):
        def __init__(self, wrap: object) -> None:
            super().__init__()
            self.inner, self.wrap = line(), wrap

        def forward(self, x: torch.Tensor) -> object:
            out = self.inner(x)
            return {"logits": SimpleNamespace(logits=out), "tuple": (out, None)}[str(self.wrap)]

    plain_history = train(line(), X, Y, epochs=3)
    for wrap in ("logits", "tuple"):
        assert train(Wrapped(wrap), X, Y, epochs=3).losses == plain_history.losses
    with pytest.raises(UsageError, match=r"must be one tensor with a row per example; got dict\. A net"):
        train(line(), {"x": X}, Y)  # type: ignore[arg-type]
    for settings, message in (
        ({"patience": 0}, "patience must be 1"), ({"clip": math.nan}, "clip is the greatest norm"),
        ({"on_nonfinite": "pray"}, "on_nonfinite is stop or rollback"), ({"rollbacks": -1}, "rollbacks must be"),
        ({"snapshots": 0}, "snapshots are taken"), ({"lr": True}, "learning rate must be"),
    ):  # fmt: skip
        with pytest.raises(UsageError, match=message):
            train(line(), X, Y, **settings)


def test_the_frame_has_a_row_per_epoch_and_one_for_the_end() -> None:
    pytest.importorskip("pandas")
    history = train(line(), X, Y, epochs=4, held_out=(X, Y), patience=9)
    frame = history.frame()
    assert list(frame.columns) == ["epoch", "loss", "rate", "held_loss", "watched"]
    assert list(frame.epoch) == [0, 1, 2, 3, 4]
    assert list(frame.loss) == [*history.losses, history.final]
    assert list(frame.held_loss) == list(history.held_losses)


def test_a_history_prints_itself_and_leaves_time_out_of_its_json() -> None:
    one, two = (train(line(), X, Y, epochs=4, held_out=(X, Y)) for _ in range(2))
    assert str(one) == plain(one) and "4 epochs, 4 updates" in str(one)
    assert text(one) == text(two), "the same training, the same bytes"
    assert json.loads(text(one))["updates_per_epoch"] == 1


# The verdict on a curve ----------------------------------------------------------------------------------------------


def slow_change(losses: list[float]) -> float:
    """The rise of the least-squares line over the window, by numpy's polynomial fit."""
    slope = np.polyfit(np.arange(len(losses)), losses, 1)[0]
    return slope * (len(losses) - 1) / np.mean(losses)


def test_the_slope_is_that_of_least_squares() -> None:
    rng = np.random.default_rng(0)
    for scale in (1e-6, 1.0, 1e6):
        losses = (scale * (1 + rng.random(50))).tolist()
        found = plateau(losses, window=17)
        assert found.change == pytest.approx(slow_change(losses[-17:]), rel=1e-9)


def test_verdicts() -> None:
    falling = [math.exp(-e / 20) for e in range(100)]
    assert plateau(falling).verdict == "falling"
    assert plateau(falling[::-1]).verdict == "rising"
    assert plateau([1.0] * 30).verdict == "flat" and plateau([1.0] * 30).since == 0
    assert plateau([0.0] * 30).verdict == plateau([1.0] * 5 + [1e-14, 2e-14] * 9).verdict == "zero"
    assert plateau([1.0] * 9).verdict == "too short"
    assert plateau([]).verdict == "too short"
    late = plateau(falling + [falling[-1]] * 100, window=10)
    assert late.verdict == "flat" and late.since is not None and 91 <= late.since <= 100
    assert plateau(falling, window=10, epsilon=0.9).verdict == "flat"
    for window, epsilon in ((1, 0.1), (10, 0.0), (10, math.nan)):
        with pytest.raises(UsageError, match="A plateau is judged over"):
            plateau(falling, window, epsilon)


def test_the_best_answer_for_all_is_found_by_training_a_constant() -> None:
    with seeded(0):
        numbers, classes, bits = torch.randn(21, 2), torch.randint(0, 3, (21,)), torch.rand(21, 1)
    for targets, loss, width in (
        (numbers, "mse", 2),
        (numbers, "mae", 2),
        (classes, "cross_entropy", 3),
        (bits, "bce", 1),
    ):
        constant = nn.Linear(1, width)
        history = train(constant, torch.zeros(21, 1), targets, loss=loss, optimizer="adam", lr=0.1, epochs=400,
                        schedule="cosine")  # fmt: skip
        assert constant_loss(targets, loss) == pytest.approx(history.final, rel=2e-3)
        assert history.final >= constant_loss(targets, loss) - 1e-6  # type: ignore[operator]
    assert constant_loss(numbers, "huber_loss") is None


def test_answers_say_what_is_right() -> None:
    task = task_of("hello6")
    history = train(task, seed=3)
    module = history.module
    assert module is not None
    found = answers(module, task.data, "cross_entropy")
    with torch.no_grad():
        chances = module(task.data.inputs).softmax(-1)
    assert [a.name for a in found.rows] == list(task.data.rows)
    for i, a in enumerate(found.rows):
        aim = int(task.data.targets[i])
        assert a.wanted == task.data.classes[aim] and a.given == task.data.classes[int(chances[i].argmax())]
        assert a.right == (a.given == a.wanted) and a.probability == pytest.approx(float(chances[i, aim]))
    assert found.right == sum(bool(a.right) for a in found.rows) and found.total == 6
    facts = told(task.name, task.description, history, task.data, dict(task.shape))
    page = plain(facts)
    assert "47 parameters" in page and f"training: {found.right} of 6 right" in page
    bits = told("xor", "", train("xor", epochs=300, seed=1), task_of("xor").data, {})
    assert bits.answers is not None and bits.answers.right is not None and "p(target)" in plain(bits)
    roots = told("sqrt", "", train("sqrt", epochs=5), task_of("sqrt").data, {})
    assert roots.answers is not None and roots.answers.rmse is not None and roots.held is not None
    assert "root mean square error" in plain(roots)
