"""The benchmarks' verdicts: on made-up rounds whose answers are known, and never silent about what was not measured."""

from __future__ import annotations

from typing import Any

from benchmarks import tables
from benchmarks.contenders import CONTENDERS
from benchmarks.figures import against, figure, ratio
from benchmarks.report import page
from benchmarks.targets import FLOOR, FULL, KEEP, RECORD, TRACE, verdicts


def row(*multiples: float, bare: float = 2.0) -> dict[str, Any]:
    """A contender that took these multiples of a bare forward; wall time is CPU time and a half."""
    return {
        "holds": "",
        "group": "home",
        "repeats": 1,
        "rounds": [[bare, 1.5 * bare, m * bare, 1.5 * m * bare] for m in multiples],
    }


def results(**rows: dict[str, Any]) -> dict[str, Any]:
    absent = {"TorchLens record": "ModuleNotFoundError: No module named 'torchlens'"}
    section = {"title": "G", "subject": {"net": "gpt2", "device": "cpu"}, "rows": rows, "absent": absent}
    run = {"rounds": 3, "load_before": 0.0, "load_after": 0.0}
    machine = {
        "processor": "a | b", "cores": 2, "memory_gib": 1, "system": "", "cuda": None, "date": "", "python": "3",
        "threads": 1, "commit": "", "versions": {"torch": "2", "nnsight": None},
    }  # fmt: skip
    return {"machine": machine, "run": run, "sections": {"recording": {"g": section}}}


def test_figures_are_medians_of_the_ratios_of_each_round() -> None:
    assert ratio(row(1, 9, 3)).median == 3
    assert ratio(row(1, 9, 3), "wall").median == 3
    assert against(row(2, 4, 6), row(1, 4, 2)).median == 2  # of 2, 1 and 3
    one = figure([5.0])
    assert (one.low, one.median, one.high) == (5, 5, 5)


def test_each_target_is_met_or_not() -> None:
    kept = {FULL: row(1.3), FLOOR: row(1.25), KEEP: row(1.05), TRACE: row(5.0), RECORD: row(2.5)}
    assert [v.met for v in verdicts(results(**kept))] == [True, True, True, True]
    missed = {FULL: row(1.9), FLOOR: row(1.25), KEEP: row(1.2), TRACE: row(5.0), RECORD: row(2.5)}
    assert [v.met for v in verdicts(results(**missed))] == [False, False, False, False]


def test_what_was_not_measured_is_said() -> None:
    found = verdicts(results(**{FULL: row(1.3), FLOOR: row(1.25), KEEP: row(1.05), TRACE: row(5.0)}))
    assert [v.met for v in found] == [True, True, True, None]
    assert "No module named 'torchlens'" in found[-1].measured
    shown = tables.targets_table(results(**{FULL: row(1.3)}))
    assert [r[3] for r in shown.rows] == ["NOT MEASURED"] * 4


def test_a_recorder_that_costs_nothing_gives_no_ratio() -> None:
    found = verdicts(results(**{FULL: row(1.3), FLOOR: row(1.25), KEEP: row(1.05), TRACE: row(1.0), RECORD: row(2.5)}))
    assert found[2].met is None
    assert "no measurable time" in found[2].measured


def test_memory_and_opening() -> None:
    memory = {"title": "M", "rows": {FULL: {"peak": 120, "held": 110, "kept": 100, "reset": True}}, "absent": {}}
    opening = {"title": "O", "open": 0.4, "record": 1, "save": 1, "import": 1, "read": 1, "bytes": 1}
    made = results() | {"sections": {"memory": {"m": memory}, "opening": opening}}
    assert [(v.met, v.measured) for v in verdicts(made)] == [(False, "1.20×"), (True, "0.40 s")]


def test_the_page_has_the_machine_the_verdicts_and_every_row() -> None:
    text = page(results(**{FULL: row(1.3), FLOOR: row(1.25)}))
    assert "a | b, 2 cores" in text
    assert "nnsight absent" in text
    assert text.index("## Targets") < text.index("## G")
    assert f"| {FULL} | 1.30 |" in text
    assert "| TorchLens record | absent |" in text


def test_contenders_have_names_of_their_own() -> None:
    names = [c.name for c in CONTENDERS]
    assert len(set(names)) == len(names)
    assert {FULL, KEEP, FLOOR, TRACE, RECORD} <= set(names)
