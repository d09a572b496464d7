"""The section on landscapes: contenders evaluate the same surface, and the verdicts follow from the figures."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from benchmarks import landscapes, tables
from benchmarks.targets import verdicts


def test_the_ways_that_take_turns_find_the_same_surface(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(landscapes.SUBJECTS["MLP 10-32-32-16-1"], "points", 5)
    turns = landscapes.runs("MLP 10-32-32-16-1", False, 1)
    ours, loop = turns[landscapes.OURS](), turns[landscapes.LOOP]()
    assert (ours.method, loop.method) == ("chain", "loop")
    assert loop.losses == pytest.approx(ours.losses, rel=1e-5)
    stacked = turns[landscapes.STACKED]().numpy().reshape(5, 5)
    assert stacked == pytest.approx(ours.losses, rel=1e-5) and np.ptp(stacked) > 0.01


def test_the_gpt_has_ten_million_parameters() -> None:
    net = landscapes.subject("GPT of 10M")[0]
    assert sum(p.numel() for p in net.parameters()) == pytest.approx(10e6, rel=0.05)


def results(ours: float, theirs: float, threads: int) -> dict[str, Any]:
    turn = [lambda t: [t, 10.0], lambda t: [10.0, t]][threads - 1]
    section = {
        "title": "S", "threads": threads, "absent": {}, "parameters": 5, "points": 9,
        "times": {landscapes.OURS: [turn(ours)] * 3, landscapes.PEER: [turn(theirs), turn(9 * theirs), turn(theirs)]},
    }  # fmt: skip
    return {"sections": {"landscapes": {"s": section, "defects": {"shift": 1.0}}}}


@pytest.mark.parametrize("threads", [1, 2])
def test_the_verdict_is_of_the_median_of_the_clock_that_counts(threads: int) -> None:
    assert [(v.measured, v.met) for v in verdicts(results(1.0, 2.5, threads))] == [("2.50×", True)]
    assert [(v.measured, v.met) for v in verdicts(results(1.0, 1.5, threads))] == [("1.50×", False)]
    gpt = results(1.0, 1.5, threads)
    gpt["sections"]["landscapes"]["s"]["title"] = "GPT"
    assert [v.met for v in verdicts(gpt)] == [True]
    missing = results(1.0, 2.5, threads)
    missing["sections"]["landscapes"]["s"] |= {"times": {}, "absent": {landscapes.PEER: "not installed"}}
    assert [(v.measured, v.met) for v in verdicts(missing)] == [("not measured: not installed", None)]


def test_the_tables() -> None:
    first, second, _ = tables.tables(results(1.0, 2.5, 1))
    assert first.rows[1][:3] == (landscapes.PEER, "2.50", "2.500") and first.notes == ("9 points, 5 parameters.",)
    assert second.rows == [("shift", "1.000")]


@pytest.mark.slow
def test_the_four_defects_of_loss_landscapes() -> None:
    """PEERS, section 5.2, where the package is installed; tests/learning/landscapes holds our grids to the contrary."""
    pytest.importorskip("loss_landscapes")
    found = list(landscapes.defects().values())
    assert found[0] == pytest.approx(1, abs=1e-3)  # every other row is shifted by one step
    assert found[1] > 0.5  # the net is not on the grid
    assert found[2] > 0.2  # directions are drawn from [0, 1)
    assert found[4] > 0.5  # the user's net is moved
