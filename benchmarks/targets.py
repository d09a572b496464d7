"""What we promised, and whether this run kept it. A target that could not be measured says so: it is not met."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from benchmarks import census
from benchmarks.figures import against, ratio
from benchmarks.landscapes import PEER, faster
from benchmarks.regions import OURS

Results = Mapping[str, Any]


@dataclass(frozen=True)
class Verdict:
    """One target, measured."""

    what: str
    limit: str
    measured: str
    met: bool | None  # None: not measured


FULL, KEEP, FLOOR = "weightwalk, everything", 'weightwalk, keep=["**"]', "minimal dispatch mode"
TRACE, RECORD = "TorchLens trace", "TorchLens record"


def _row(section: Results, name: str) -> Any:
    if name not in section["rows"]:
        raise LookupError(section["absent"].get(name, "not part of this run"))
    return section["rows"][name]


def _judge(what: str, limit: str, measure: Callable[[], tuple[bool, str]]) -> Verdict:
    try:
        met, measured = measure()
    except LookupError as error:
        return Verdict(what, limit, f"not measured: {error.args[0]}", None)
    return Verdict(what, limit, measured, met)


def _at_most(value: float, limit: float, unit: str = "×", digits: int = 2) -> tuple[bool, str]:
    return value <= limit, f"{value:.{digits}f}{unit}"


def _added(section: Results, name: str, most: float) -> tuple[bool, str]:
    ours, theirs = ratio(_row(section, FULL)).median - 1, ratio(_row(section, name)).median - 1
    if theirs <= 0:
        raise LookupError(f"{name} added no measurable time")
    return _at_most(max(ours, 0.0) / theirs, most, " of it")


def _recording(s: Results) -> Iterator[Verdict]:
    title = s["title"]
    if s["subject"]["net"] == "five":
        slower = lambda: against(_row(s, TRACE), _row(s, FULL)).median  # noqa: E731
        yield _judge(
            f"{title}: full recording against TorchLens trace",
            "≥ 50× faster",
            lambda: ((x := slower()) >= 50, f"{x:.0f}× faster"),
        )
        return
    if s["subject"]["device"] != "cpu":
        yield _judge(f"{title}: full recording", "≤ 3× bare", lambda: _at_most(ratio(_row(s, FULL), "wall").median, 3))
        return
    yield _judge(
        f"{title}: full recording", "≤ 1.10× the floor",
        lambda: _at_most(against(_row(s, FULL), _row(s, FLOOR)).median, 1.10),
    )  # fmt: skip
    yield _judge(f"{title}: module outputs only", "≤ 1.10× bare", lambda: _at_most(ratio(_row(s, KEEP)).median, 1.10))
    yield _judge(f"{title}: time added, against TorchLens trace", "≤ 1/5 of it", lambda: _added(s, TRACE, 1 / 5))
    yield _judge(f"{title}: time added, against TorchLens record", "≤ 1/3 of it", lambda: _added(s, RECORD, 1 / 3))


def _regions(s: Results) -> Iterator[Verdict]:
    def cpu() -> tuple[float, float]:
        row = _row(s, OURS)
        return row["cpu"] - row["certificate"], row["regions"]

    yield _judge(f"{s['title']}: all regions and maps", "< 0.3 s CPU", lambda: _at_most(cpu()[0], 0.3, " s", 3))
    yield _judge(
        f"{s['title']}: regions per CPU second", "≥ 50,000",
        lambda: ((x := cpu()[1] / cpu()[0]) >= 50_000, f"{x:,.0f}"),
    )  # fmt: skip


def _landscapes(s: Results) -> Iterator[Verdict]:
    least = 1.0 if "GPT" in s["title"] else 2.0

    def measure() -> tuple[bool, str]:
        if PEER not in s.get("times", {}):
            raise LookupError(s["absent"].get(PEER, s.get("died", "not part of this run")))
        return (x := faster(s, PEER)) >= least, f"{x:.2f}×"

    limit = "no slower" if least == 1 else "≥ 2× as fast"
    yield _judge(f"{s['title']}: against loss-landscapes", limit, measure)


_READINGS = (("verify, torch referee", 4.0), ("verify, NumPy referee", 8.0), ("account of one logit", 3.0))


def verdicts(results: Results) -> list[Verdict]:
    """Every target of the sections that were run."""
    sections = results["sections"]
    found: list[Verdict] = []
    for s in sections.get("recording", {}).values():
        found += _recording(s)
    for s in sections.get("readings", {}).values():
        for name, most in _READINGS:
            measure = lambda s=s, name=name, most=most: _at_most(ratio(_row(s, name)).median, most)  # noqa: E731
            found.append(_judge(f"{s['title']}: {name}", f"≤ {most:g}× bare", measure))
    for s in sections.get("memory", {}).values():

        def peak(s: Results = s) -> tuple[bool, str]:
            row = _row(s, FULL)
            return _at_most(row["peak"] / row["kept"], 1.15)

        found.append(_judge(f"{s['title']}: peak of a full recording", "≤ 1.15× the bytes kept", peak))
    if "opening" in sections:
        s = sections["opening"]
        found.append(_judge(f"{s['title']}: opening it", "< 1 s", lambda: (s["open"] < 1, f"{s['open']:.2f} s")))
    if "2-64-64-64-1" in sections.get("regions", {}):
        found += _regions(sections["regions"]["2-64-64-64-1"])
    for s in sections.get("census", {}).values():

        def times(s: Results = s) -> tuple[bool, str]:
            x = statistics.median(census.times(dict(s)))
            return x >= 100, f"{x:,.0f}×"

        if s["task"] == "hello6":
            found.append(_judge(f"Census of {s['title']}: seeds per second", "≥ 100× a loop's", times))
    for name, s in sections.get("landscapes", {}).items():
        found += _landscapes(s) if name != "defects" else ()
    return found
