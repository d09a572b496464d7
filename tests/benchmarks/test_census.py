"""The table of the census: what loop and census train is the same, and the verdict follows from the figures."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from benchmarks import census, tables
from benchmarks.targets import verdicts


def section(rate: float) -> dict[str, Any]:
    row = lambda r, cpu: [{"rate": r, "cpu": cpu, "peak": 2**20}] * 2  # noqa: E731
    rows = {census.OURS: row(rate, 0.001), census.TWO: row(10.0, 0.2), census.ONE: row(4.0, 0.3)}
    return {"title": "hello6", "task": "hello6", "width": 2, "seeds": 1000, "rows": rows}


@pytest.mark.parametrize(("rate", "met"), [(1100.0, True), (900.0, False)])
def test_the_verdict_is_against_the_faster_loop(rate: float, met: bool) -> None:
    results = {"sections": {"census": {"hello6-2-sgd-1000": section(rate)}}}
    (verdict,) = verdicts(results)
    assert verdict.met is met
    assert verdict.measured == f"{rate / 10:.0f}×"
    table = tables._census(results["sections"]["census"])
    assert table.rows[0][1:4] == (f"{rate / 10:.0f}", f"{rate / 10:.0f}–{rate / 10:.0f}", "200")
    assert all(len(row) == len(table.heads) for row in table.rows)


def test_both_sides_train_in_this_process() -> None:
    for who in (census.OURS, census.TWO):
        cases = [(("hello6", 2, "sgd", 3), 2)]
        (found,) = census.child({"who": who, "cases": cases, "threads": torch.get_num_threads()})
        assert found["seeds"] == 2 and found["wall"] > 0
