"""Loss curves of known shape, and the rule restated slowly."""

from __future__ import annotations

import math

import numpy as np
import pytest

from weightwalk.errors import UsageError
from weightwalk.learning.diagnoses.curves import curve
from weightwalk.learning.plateaus import plateau

SHAPES = {
    "decay to a level": ([0.5 + 2 * 0.9**e for e in range(300)], "plateau"),
    "flat from the start": ([0.7] * 40, "plateau"),
    "falling": ([1 / (1 + e) for e in range(100)], "falling"),
    "rising at the end": ([1 - 0.01 * e for e in range(50)] + [0.5 + 0.005 * e for e in range(50)], "rising"),
    "diverged": ([1.0 * 1.1**e for e in range(60)], "diverged"),
    "overflowed": ([1.0, 2.0, 5.0, math.inf], "diverged"),
    "not a number": ([1.0] * 30 + [math.nan], "diverged"),
    "too short": ([1.0, 0.9], "none"),
    "one": ([1.0], "none"),
    "down to rounding": ([10.0 ** -(e / 4) for e in range(100)], "plateau"),
}


@pytest.mark.parametrize("name", SHAPES)
def test_shapes(name: str) -> None:
    losses, kind = SHAPES[name]
    assert curve(losses).kind == kind


def test_the_rule_restated() -> None:
    losses = [1.0 - 0.004 * e for e in range(40)] + [0.84] * 60 + [0.84 - 0.01 * e for e in range(60)] + [0.25] * 40
    found = curve(losses, window=20)
    flat = []
    for start in range(len(losses) - 19):
        part = losses[start : start + 20]
        slope = np.polyfit(np.arange(20), part, 1)[0]
        flat.append(abs(slope * 19) <= 0.01 * abs(np.mean(part)))
    starts = [i for i, f in enumerate(flat) if f and (i == 0 or not flat[i - 1])]
    ends = [i + 19 for i, f in enumerate(flat) if f and (i == len(flat) - 1 or not flat[i + 1])]
    assert [(a, b) for a, b, _ in found.plateaus] == list(zip(starts, ends, strict=True))
    assert len(found.plateaus) == 2  # a plateau on the way, and one at the end
    assert found.since == starts[-1] and found.kind == "plateau"
    assert found.level == pytest.approx(0.25)


@pytest.mark.parametrize("name", [n for n in SHAPES if SHAPES[n][1] in ("plateau", "falling", "rising")])
def test_train_and_diagnose_judge_alike(name: str) -> None:
    if name == "down to rounding":  # where diagnose knows that float32 has no more digits
        return
    losses = SHAPES[name][0]
    ours, theirs = curve(losses), plateau(losses)
    assert {"plateau": "flat"}.get(ours.kind, ours.kind) == theirs.verdict
    assert ours.change == pytest.approx(theirs.change) and ours.since == theirs.since


def test_refusals() -> None:
    with pytest.raises(UsageError, match="at least one loss"):
        curve([])
    with pytest.raises(UsageError, match="at least 2 epochs"):
        curve([1.0, 2.0], window=1)
    with pytest.raises(UsageError, match="epsilon is above 0"):
        curve([1.0, 2.0], epsilon=0.0)
