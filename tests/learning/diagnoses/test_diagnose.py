"""``ww.diagnose`` on nets whose trouble is known, and on nets that are fine."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import weightwalk as ww
from weightwalk.errors import UsageError
from weightwalk.learning.diagnoses.facts import Diagnosis
from weightwalk.learning.diagnoses.scores import baseline_of, right_of
from weightwalk.learning.seeds import seeded
from weightwalk.learning.tasks import task_of
from weightwalk.nets.tasks import named_task

X = torch.linspace(-1, 1, 9)[:, None]


def kinds(found: Diagnosis) -> list[str]:
    return [f.kind for f in found.findings]


def test_a_dead_layer_is_named_with_its_epoch_and_its_floor() -> None:
    """hello6 from seed 12, CHECKLIST 238: one unit dead before training, the other dies on the way."""
    found = ww.diagnose("hello6", seed=12)
    assert kinds(found)[0] == "cut off" and "all 2 units of relu2" in found.verdict
    died = {d.unit: d for d in found.deaths}
    assert died["relu2[0]"].before is None
    late = died["relu2[1]"]
    assert late.before is not None and late.after == late.before + 1
    # the oracle: train so far, and look
    task = task_of("hello6")
    for epochs, dead in ((late.before, False), (late.after, True)):
        net = ww.train("hello6", seed=12, epochs=epochs).module
        assert net is not None
        hidden = task.data.inputs
        for name in ("embed", "fc1", "relu1", "fc2"):
            hidden = net.get_submodule(name)(hidden)
        assert bool((hidden[:, 1] <= 0).all()) is dead
    # no training can bring a constant answer below the entropy of the answers
    counts = np.bincount(task.data.targets.numpy())
    share = counts[counts > 0] / 6
    assert found.baseline == pytest.approx(-(share * np.log(share)).sum())
    assert found.baseline is not None and found.loss > found.baseline
    net = ww.train("hello6", seed=12).module
    assert net is not None
    long = ww.train(net, task.data.inputs, task.data.targets, loss="cross_entropy", lr=3.0, epochs=600)
    assert long.final == pytest.approx(found.baseline, abs=3e-3) and long.final > found.baseline


@pytest.mark.parametrize("seed", [2, 11])
def test_failures_of_hello6_with_a_layer_dead(seed: int) -> None:
    found = ww.diagnose("hello6", seed=seed)
    assert kinds(found)[0] == "cut off" and found.right == 2
    assert all(y.gradient == 0 for y in found.layers[:3]) and found.layers[3].gradient > 0


def test_a_local_minimum_is_said_only_with_all_four_proofs() -> None:
    narrow = named_task("sqrt").of(width=2)
    found = ww.diagnose(narrow, seed=9, seeds=20)
    assert kinds(found)[0] == "local minimum"
    assert found.point is not None and found.others is not None
    assert found.point.relative_gradient < 1e-3 and found.point.spectrum.negative == 0
    assert found.point.unexplained == 0 and found.others.best < found.loss / 5
    alone = ww.diagnose(narrow, seed=9)
    assert kinds(alone)[0] == "minimum" and "was not asked" in alone.verdict
    # it is the regression line, from which the best bend cannot be reached downhill
    x, y = narrow.data.inputs.double(), narrow.data.targets.double()
    design = torch.cat([x, torch.ones_like(x)], dim=1)
    line = (design @ torch.linalg.lstsq(design, y).solution - y).square().mean()
    assert found.loss == pytest.approx(float(line), rel=1e-5)


def test_a_training_that_goes_on_is_no_critical_point() -> None:
    found = ww.diagnose("hello6", seed=0)
    assert "local minimum" not in kinds(found) and "not critical" in kinds(found)
    assert found.curve is not None and found.curve.kind == "falling"
    assert found.dead == ("relu1[0]",)


def test_going_on_downhill_finds_a_floor_and_no_minimum() -> None:
    found = ww.diagnose("hello6", seed=0, settle=True, seeds=20)
    assert found.settled is not None and found.settled.point.kind == "endless"
    assert kinds(found)[0] == "floor" and "No minimum" in found.verdict
    # two rows of one answer and one of another, told apart by nothing: 3/6 of the entropy of (2/3, 1/3)
    floor = -(2 * math.log(2 / 3) + math.log(1 / 3)) / 6
    assert found.settled.loss == pytest.approx(floor, rel=1e-4)


@pytest.mark.parametrize(("name", "seed"), [("linear", 0), ("hello6", 1)])
def test_a_net_that_is_fine_is_said_to_be(name: str, seed: int) -> None:
    found = ww.diagnose(name, seed=seed)
    assert found.verdict.startswith("Nothing is wrong") and kinds(found)[0] == "solved"


def test_gradients_that_vanish() -> None:
    with seeded(0):
        parts: list[nn.Module] = [nn.Linear(1, 8)]
        for _ in range(8):
            parts += [nn.Sigmoid(), nn.Linear(8, 8)]
        net = nn.Sequential(*parts, nn.Sigmoid(), nn.Linear(8, 1))
    found = ww.diagnose(net, X, X)
    assert "vanishing gradients" in kinds(found)
    assert found.layers[0].rms < 1e-3 * found.layers[-1].rms


def test_gradients_that_explode() -> None:
    net = nn.Sequential(*(nn.Linear(4, 4) for _ in range(6)))
    with torch.no_grad():
        for p in net.parameters():
            p.mul_(10)
    found = ww.diagnose(net, torch.ones(3, 4), torch.zeros(3, 4))
    assert "exploding gradients" in kinds(found)


def test_a_rate_that_is_too_large_is_held_against_the_curvature() -> None:
    """Row 209: gradient descent on a bowl of curvature λ leaves it where the rate is above 2/λ."""
    line = nn.Linear(1, 1, bias=False)
    with torch.no_grad():
        line.weight.fill_(1.0)
    x = torch.tensor([[1.0], [2.0]])  # λ = 2 mean(x²) = 5
    history = ww.train(line, x, 0 * x, lr=0.5, epochs=20)
    found = ww.diagnose(history, x, 0 * x)
    assert kinds(found)[0] == "diverged"
    assert any("rate 0.5 is above 2/λmax = 0.4" in b for b in found.findings[0].because)


def test_a_run_is_diagnosed_from_its_folder(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    task = task_of("hello6")
    trained = ww.train("hello6", seed=12, snapshots=10, run=folder)
    found = ww.diagnose("hello6", run=folder)
    direct = ww.diagnose("hello6", seed=12)
    assert found.loss == pytest.approx(trained.final) and kinds(found) == kinds(direct)
    assert found.curve is not None and found.curve.losses == pytest.approx(trained.losses)
    (late,) = [d for d in found.deaths if d.unit == "relu2[1]"]
    (exact,) = [d for d in direct.deaths if d.unit == "relu2[1]"]
    assert late.before is not None and late.after is not None and exact.after is not None
    assert late.before < exact.after <= late.after and late.after - late.before <= 10
    module = task.module(3)
    before = {k: v.clone() for k, v in module.state_dict().items()}
    again = ww.diagnose(module, task.data.inputs, task.data.targets, run=folder)
    assert again.loss == found.loss and again.loss_name == "cross_entropy"
    assert all(torch.equal(v, before[k]) for k, v in module.state_dict().items())


class Mine(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv1d(1, 3, 3)
        self.norm = nn.BatchNorm1d(3)
        self.out = nn.Linear(3, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(nn.functional.relu(self.norm(self.conv(x))).mean(dim=-1))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_a_module_of_any_precision_is_left_as_found(dtype: torch.dtype) -> None:
    with seeded(0):
        net = Mine().to(dtype).train()
        x = torch.randn(8, 1, 9).to(dtype)
    y = torch.arange(8) % 2
    before, random, threads = {k: v.clone() for k, v in net.state_dict().items()}, torch.get_rng_state(), 0
    threads = torch.get_num_threads()
    found = ww.diagnose(net, x, y, loss="cross_entropy", settle=True)
    assert found.units[0].name == "relu" and found.units[0].count == 3
    assert all(torch.equal(v, before[k]) for k, v in net.state_dict().items()) and net.training
    assert all(p.grad is None for p in net.parameters())
    assert torch.equal(torch.get_rng_state(), random) and torch.get_num_threads() == threads


def test_large_data_are_sampled_and_it_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    from weightwalk.learning.diagnoses import diagnose as room

    monkeypatch.setattr(room, "MATRIX", 50 * 61 * 61)
    monkeypatch.setattr(room, "PASS", 200 * 61)
    net = nn.Sequential(nn.Linear(4, 10), nn.ReLU(), nn.Linear(10, 1))
    x = torch.randn(500, 4, generator=torch.Generator().manual_seed(0))
    found = ww.diagnose(net, x, x[:, :1])
    assert found.point is not None and (found.point.rows, found.used, found.rows) == (50, 200, 500)
    assert sum("drawn at random" in note for note in found.notes) == 2
    assert found.frame().shape == (10, 7)
    assert ww.diagnose(net, x, x[:, :1]).loss == found.loss != ww.diagnose(net, x, x[:, :1], seed=1).loss


def test_a_net_without_activations_has_no_units() -> None:
    found = ww.diagnose(nn.Linear(1, 1), X, X + 1)
    assert found.units == () and found.dead == ()


def test_scores_against_slow_ones() -> None:
    y = torch.tensor([[1.0, 4.0], [2.0, 0.0], [6.0, 2.0]])
    assert baseline_of(y, "mse") == pytest.approx((14 / 3 + 8 / 3) / 2)
    assert baseline_of(y, "mae") == pytest.approx((5 / 3 + 4 / 3) / 2)
    bits = torch.tensor([[1.0], [1.0], [0.0], [1.0]])
    assert baseline_of(bits, "bce") == pytest.approx(-(0.75 * math.log(0.75) + 0.25 * math.log(0.25)))
    assert baseline_of(torch.ones(3, 1), "bce") == 0.0
    assert baseline_of(y, lambda a, b: a.sum()) is None
    assert right_of(torch.tensor([[2.0], [-1.0], [-1.0], [3.0]]), bits, "bce") == 3
    logits = torch.tensor([[[0.0, 1.0], [1.0, 0.0]], [[0.0, 1.0], [0.0, 1.0]]])
    assert right_of(logits, torch.tensor([[1, 0], [1, 0]]), "cross_entropy") == 1


REFUSED = {
    "no data": (lambda: ww.diagnose(nn.Linear(1, 1)), "needs the data"),
    "data for a task": (lambda: ww.diagnose("hello6", X, X), "brings its own data"),
    "rows": (lambda: ww.diagnose(nn.Linear(1, 1), X, X[:3]), "as many inputs as targets"),
    "empty": (lambda: ww.diagnose(nn.Linear(1, 1), X[:0], X[:0]), "at least one"),
    "a scalar": (lambda: ww.diagnose(nn.Linear(1, 1), X[0, 0], X[0, 0]), "at least one"),
    "no run": (lambda: ww.diagnose("hello6", run="/nowhere"), "no folder of a run"),
    "run and recipe": (lambda: ww.diagnose("hello6", run="/nowhere", epochs=3), "leave out epochs"),
    "unknown": (lambda: ww.diagnose("hullo"), "no task 'hullo'"),
    "wrong loss": (lambda: ww.diagnose(nn.Linear(1, 1), X, X, loss="huber"), "no loss 'huber'"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refusals_are_sentences(case: str) -> None:
    call, message = REFUSED[case]
    with pytest.raises(UsageError, match=message):
        call()


def test_weights_that_are_no_numbers_are_named() -> None:
    net = nn.Linear(1, 1)
    with torch.no_grad():
        net.weight.fill_(float("nan"))
    with pytest.raises(UsageError, match=r"weight\[0, 0\] is nan .* take an earlier checkpoint"):
        ww.diagnose(net, X, X)


@pytest.mark.slow
def test_failures_of_hello6_are_told_apart() -> None:
    """Row 238: the share of failures among seeds with a unit dead on all inputs is larger than among the others."""
    found = ww.diagnose("hello6", seed=0, seeds=1000)
    assert found.others is not None
    table = found.others.failures(6)
    none, start = table["none"], table["dead at the start"]
    assert start[0] / start[1] > none[0] / none[1] and sum(n for _, n in table.values()) == 1000
