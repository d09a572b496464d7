"""Facts as JSON: valid, exact, and bounded."""

from __future__ import annotations

import json
from decimal import Decimal

import numpy as np
import pytest
import torch
from torch import nn

import weightwalk as ww
from weightwalk.readings.narrate import narrate
from weightwalk.show.json import LONGEST, jsonable, text, walk_summary


def strict(document: str) -> object:
    def refuse(word: str) -> None:
        raise AssertionError(f"{word} is no JSON")

    return json.loads(document, parse_constant=refuse, parse_float=Decimal)


@pytest.mark.parametrize("x", [2.0, float("nan"), float("-inf"), 1e-40])
def test_a_story_is_strict_json_and_still_adds_up(x: float) -> None:
    with torch.no_grad():
        walk = ww.walk(nn.Linear(1, 2), torch.tensor([[x]]))
    document = text(narrate(walk))
    story = strict(document)
    sums = [line for s in story["sections"] for line in s["lines"] if line["is"] == "Sum"]  # type: ignore[index]
    assert len(sums) == 2
    for one in sums:
        if np.isfinite(x):
            assert sum(Decimal(str(t["value"])) for t in one["terms"]) == Decimal(str(one["total"]))
        else:
            assert one["total"] in ("NaN", "Infinity", "-Infinity")


def test_long_arrays_are_cut_and_that_is_said() -> None:
    cut = jsonable(np.arange(LONGEST + 5, dtype=np.float32))
    assert len(cut["numbers"]) == LONGEST
    assert cut["left_out"] == 5
    assert "left_out" not in jsonable(np.arange(3))


def test_odd_values() -> None:
    facts = {"a": np.float32("nan"), "b": (1, None, True), "c": Decimal("1e400"), "d": np.int64(3), 4: {"x"}, "e": 1j}
    out = json.loads(text(facts))
    assert out == {"a": "NaN", "b": [1, None, True], "c": "1E+400", "d": 3, "4": ["x"], "e": "1j"}


def test_a_summary_names_the_phases() -> None:
    with torch.no_grad():
        walk = ww.walk(nn.Linear(1, 2), torch.ones(1, 1))
    summary = walk_summary(walk)
    assert summary["phases"] == {"forward": 2}
    assert summary["completeness"]["unexplained"] == 0
    json.dumps(summary, allow_nan=False)
