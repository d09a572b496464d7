"""The table of regions: that contenders count alike, and that the verdicts follow from the figures."""

from __future__ import annotations

from typing import Any

import numpy as np

from benchmarks import regions, tables
from benchmarks.targets import verdicts


def test_a_fine_grid_finds_nearly_what_ours_finds() -> None:
    rng = np.random.default_rng(0)
    weights = [w for a, b in ((2, 6), (6, 6), (6, 1)) for w in (rng.normal(size=(b, a)), rng.normal(size=b))]
    from weightwalk.formulas.planes import plane

    certify = plane.certify
    try:
        exact = regions.ours(weights, 0)()
    finally:
        plane.certify = certify
    sampled = regions.grid(weights, 0)()
    assert 0.9 * exact["regions"] <= sampled["regions"] <= exact["regions"]
    assert exact["certificate"] > 0


def results(cpu: float) -> dict[str, Any]:
    row = {"cpu": cpu + 0.02, "certificate": 0.02, "peak": 2**20, "regions": 8_000}
    other = {"cpu": 4.0, "certificate": 0.0, "peak": 2**21, "regions": 40}
    section = {
        "title": "R", "rows": {regions.OURS: row, regions.GRID: other}, "absent": {regions.RELUCENT: "no licence"},
    }  # fmt: skip
    return {"sections": {"regions": {"2-64-64-64-1": section}}}


def test_the_verdicts_leave_the_certificate_out() -> None:
    assert [(v.measured, v.met) for v in verdicts(results(0.1))] == [("0.100 s", True), ("80,000", True)]
    assert [(v.measured, v.met) for v in verdicts(results(0.32))] == [("0.320 s", False), ("25,000", False)]
    missing = results(0.1)
    missing["sections"]["regions"]["2-64-64-64-1"]["rows"] = {}
    assert [v.met for v in verdicts(missing)] == [None, None]


def test_the_table() -> None:
    found = next(iter(tables.tables(results(0.1))))
    assert [row[:5] for row in found.rows] == [
        (regions.OURS, "80,000", "8,000", "100.0 %", "0.100"),
        ("weightwalk, its certificate", "", "", "", "0.020"),
        (regions.GRID, "10", "40", "0.5 %", "4.000"),
        (regions.RELUCENT, "absent", "", "", ""),
    ]
    assert found.rows[3][-1] == "no licence"
