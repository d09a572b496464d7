"""Labels by lot: learned by heart, and worth nothing anywhere else."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import nn

from weightwalk.errors import UsageError
from weightwalk.learning.fitting.labels import UNSEEN, _draw, fit_labels
from weightwalk.learning.fitting.stacks import layered
from weightwalk.learning.seeds import seeded


def test_lots_are_memorised_and_held_out_accuracy_is_chance() -> None:
    """The interval of 1,500 rows holds the truth in 95 of 100 choices of seeds; the seeds are fixed."""
    found = fit_labels(widths=(64,), rows=40, seeds=range(3), epochs=400)
    lots, true = found.found
    assert (lots.losses < 0.01).all() and lots.memorised == 3 and (lots.train_accuracy == 1).all()
    assert lots.trials == 3 * UNSEEN and lots.interval[0] <= 0.25 <= lots.interval[1]
    assert found.chance == 0.25 and found.chance_loss == pytest.approx(math.log(4))
    assert (true.losses < 0.01).all() and true.accuracy > 0.5 > lots.interval[1]
    assert lots.gap > 3 and lots.gap > 2 * true.gap
    assert lots.gap == pytest.approx(float(np.mean(lots.held_losses - lots.losses)))
    assert found.enough == 64 and found.too_small is None


def test_one_net_judged_by_hand() -> None:
    found = fit_labels(widths=(5,), rows=20, seeds=(7,), epochs=0)
    x, held, y, held_y, *_ = _draw(7, 20, 8, 4)
    with seeded(7):
        net = layered((8, 5, 4))
    loss = nn.functional.cross_entropy(net(x), y).item()
    lots = found.found[0]
    assert lots.losses[0] == pytest.approx(loss, rel=1e-5)
    assert lots.hits == int((net(held).argmax(dim=1) == held_y).sum())
    assert lots.parameters == sum(p.numel() for p in net.parameters())


def test_too_small_a_net_cannot() -> None:
    found = fit_labels(widths=(1, 48), rows=40, seeds=range(2), epochs=400)
    assert found.too_small == 1 and found.enough == 48
    assert found.found[0].memorised == 0


def test_lots_are_lots() -> None:
    """Among 4,000 rows the share of agreement of lots and rule is 1/4, to four deviations (false alarm 1 in 16,000)."""
    agree = total = 0
    for seed in range(8):
        *_, lots, _, true = _draw(seed, 40, 8, 4)
        agree, total = agree + int((lots == true).sum()), total + len(lots)
    assert abs(agree / total - 0.25) < 4 * math.sqrt(0.25 * 0.75 / total)
    assert all(torch.equal(a, b) for a, b in zip(_draw(3, 40, 8, 4), _draw(3, 40, 8, 4), strict=True))


def test_the_frame_has_a_row_per_kind_width_and_seed() -> None:
    pytest.importorskip("pandas")
    table = fit_labels(widths=(2, 3), rows=10, seeds=range(2), epochs=1).frame()
    assert len(table) == 8 and set(table.labels) == {"random", "true"}


@pytest.mark.parametrize("settings", [{"classes": 1}, {"rows": 1}, {"rows": 3}, {"inputs": 0}])
def test_what_makes_no_sense_is_refused(settings: dict) -> None:
    with pytest.raises(UsageError, match="Labels need 2 classes or more"):
        fit_labels(**settings)
