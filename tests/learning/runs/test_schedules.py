"""Schedules against torch's own, and what they refuse."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
import torch
from torch import nn
from torch.optim import lr_scheduler

from weightwalk.errors import UsageError
from weightwalk.learning.runs.schedules import SCHEDULES, schedule_of
from weightwalk.learning.train import train

X = torch.linspace(-1, 1, 12)[:, None]
Y = X**2


def torchs(make, updates: int) -> list[float]:
    engine = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0)
    scheduler = make(engine)
    rates = []
    for _ in range(updates):
        rates.append(engine.param_groups[0]["lr"])
        engine.step()
        scheduler.step()
    return rates


@pytest.mark.parametrize(
    ("name", "make", "per_epoch"),
    [
        ("constant", lambda e: lr_scheduler.ConstantLR(e, 1.0), 1),
        ("step:every=7,gamma=0.5", lambda e: lr_scheduler.StepLR(e, 7, 0.5), 1),
        ("step:every=7,gamma=0.5", lambda e: lr_scheduler.StepLR(e, 21, 0.5), 3),
        ("cosine", lambda e: lr_scheduler.CosineAnnealingLR(e, 60), 1),
        ("cosine:floor=0.1", lambda e: lr_scheduler.CosineAnnealingLR(e, 60, eta_min=0.1), 2),
        ("linear:warmup=0", lambda e: lr_scheduler.LinearLR(e, 1.0, 0.0, total_iters=60), 1),
    ],
)
def test_as_torch_has_them(name: str, make, per_epoch: int) -> None:
    factor = schedule_of(name).factor
    assert [factor(u, 60, per_epoch) for u in range(60)] == pytest.approx(torchs(make, 60), abs=1e-12)


@pytest.mark.parametrize("name", ["cosine:warmup=0.25,floor=0.2", "linear:warmup=0.25,floor=0.2"])
def test_warm_up_rises_straight_to_the_rate_and_then_falls_to_the_floor(name: str) -> None:
    rates = [schedule_of(name).factor(u, 40, 1) for u in range(41)]
    rise = [(u + 1) / 11 for u in range(10)]
    assert rates[:10] == pytest.approx(rise) and rates[10] == 1.0
    assert all(a > b for a, b in pairwise(rates[10:])) and rates[40] == pytest.approx(0.2)


def test_a_training_takes_the_rate_of_each_update() -> None:
    """Plain gradient descent with a rate that changes, written out."""
    net = nn.Linear(1, 1, dtype=torch.float64)
    w, b = net.weight.item(), net.bias.item()
    x, y = X.double()[:, 0], Y.double()[:, 0]
    history = train(net, X.double(), Y.double(), lr=0.2, epochs=10, schedule="linear:warmup=0.3")
    for u in range(10):
        rate = 0.2 * ((u + 1) / 4 if u < 3 else 1 - (u - 3) / 7)
        assert history.rates[u] == pytest.approx(rate)
        error = w * x + b - y
        w, b = w - rate * float((2 * error * x).mean()), b - rate * float((2 * error).mean())
    assert net.weight.item() == pytest.approx(w, abs=1e-13) and net.bias.item() == pytest.approx(b, abs=1e-13)
    assert history.settings["schedule"] == "linear:warmup=0.3"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("cosin", "There is no schedule 'cosin'; there are constant, step, cosine, linear"),
        ("cosine:heat=1", r"The schedule cosine has no setting 'heat'; its settings are warmup=0, floor=0"),
        ("constant:x=1", "its settings are none"),
        ("step:every=half", "needs a number for every; got 'half'"),
        ("step:every=0", "a whole number of epochs, 1 or more; got 0"),
        ("step:every=2.5", "got 2.5"),
        ("cosine:warmup=1.5", "needs warmup to be from 0 to 1; got 1.5"),
        ("linear:floor=nan", "got nan"),
    ],
)
def test_refusals(text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        schedule_of(text)


def test_every_schedule_stays_within_the_rate() -> None:
    for name in SCHEDULES:
        for total in (1, 2, 7, 100):
            factor = schedule_of(name).factor
            assert all(0 < factor(u, total, 1) <= 1 for u in range(total))
            assert math.isfinite(factor(total, total, 1))
