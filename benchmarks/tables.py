"""The results as tables of text: one form for the terminal and for the page."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from benchmarks import census
from benchmarks.figures import Figure, figure, ratio, seconds
from benchmarks.landscapes import faster
from benchmarks.landscapes import seconds as seconds_of
from benchmarks.regions import HOLDS, OURS
from benchmarks.targets import verdicts


@dataclass(frozen=True)
class Table:
    """A title, column heads, rows, and what else must be said."""

    title: str
    heads: tuple[str, ...]
    rows: list[tuple[str, ...]]
    notes: tuple[str, ...] = ()


def _times(f: Figure) -> str:
    digits = 2 if f.median < 100 else 0
    return f"{f.median:.{digits}f}"


def _spread(f: Figure) -> str:
    digits = 2 if f.median < 100 else 0
    return f"{f.low:.{digits}f}–{f.high:.{digits}f}"


def _milliseconds(f: Figure) -> str:
    ms = 1e3 * f.median
    return f"{ms:.3f}" if ms < 1 else f"{ms:.2f}" if ms < 10 else f"{ms:,.0f}"


def _mebibytes(n: int | None) -> str:
    return "" if n is None else f"{n / 2**20:,.1f}"


def _timed(section: Mapping[str, Any]) -> Table:
    """CPU time decides; wall time stands beside it."""
    rows = [("bare forward", "1.00", "", "1.00", _milliseconds(_bare(section)), "nothing")]
    for name, row in section["rows"].items():
        cpu = ratio(row)
        wall, ms = _times(ratio(row, "wall")), _milliseconds(seconds(row))
        rows.append((name, _times(cpu), _spread(cpu), wall, ms, row["holds"]))
    rows += [(name, "absent", "", "", "", why) for name, why in section["absent"].items()]
    heads = ("", "× bare, CPU", "quartiles", "× bare, wall", "CPU ms", "what it has afterwards")
    return Table(section["title"], heads, rows)


def _bare(section: Mapping[str, Any]) -> Figure:
    return figure([r[0] for row in section["rows"].values() for r in row["rounds"]] or [0.0])


def _memory(section: Mapping[str, Any]) -> Table:
    rows = [
        (
            name, _mebibytes(row["peak"]), _mebibytes(row["held"]), _mebibytes(row["kept"]),
            f"{row['peak'] / row['kept']:.2f}" if row["kept"] else "",
        )
        for name, row in section["rows"].items()
    ]  # fmt: skip
    rows += [(name, "absent", "", "", why) for name, why in section["absent"].items()]
    heads = ("", "peak, MiB", "held after, MiB", "tensors kept, MiB", "peak / kept")
    notes = ("Growth of the process's resident memory over what it held before, each in a fresh process.",)
    if any(not row["reset"] for row in section["rows"].values()):
        notes += ("The peak mark could not be reset on this system: peaks may include what ran before.",)
    return Table(section["title"], heads, rows, notes)


def _opening(section: Mapping[str, Any]) -> Table:
    rows = [
        ("record", f"{section['record']:.2f}"),
        ("save", f"{section['save']:.2f}"),
        ("import weightwalk and the loader", f"{section['import']:.2f}"),
        ("open: ww.load(path)", f"{section['open']:.2f}"),
        ("read one value", f"{section['read']:.3f}"),
    ]
    size = f"The file has {section['bytes'] / 2**20:.1f} MiB; opened in fresh processes that have no torch loaded."
    return Table(section["title"], ("", "seconds"), rows, (size,))


def _regions(section: Mapping[str, Any]) -> Table:
    """Regions found per CPU second, and what part of all of them; ours finds all."""
    every = section["rows"].get(OURS, {}).get("regions")
    rows = []
    for name, row in section["rows"].items():
        share = f"{100 * row['regions'] / every:.1f} %" if every else ""
        rate, cpu = f"{row['regions'] / row['cpu']:,.0f}", row["cpu"] - row["certificate"]
        if name == OURS:
            rate = f"{row['regions'] / cpu:,.0f}"
        found = f"{row['regions']:,.0f}"
        rows.append((name, rate, found, share, f"{cpu:.3f}", _mebibytes(row["peak"]), HOLDS[name]))
        if row["certificate"]:
            rows.append(("weightwalk, its certificate", "", "", "", f"{row['certificate']:.3f}", "", "11 checks"))
    rows += [(name, "absent", "", "", "", "", why) for name, why in section["absent"].items()]
    heads = ("", "regions per CPU s", "regions", "of all", "CPU s", "peak, MiB", "what it has afterwards")
    notes = ("One cold run per round, each in a fresh process; relucent was stopped at the number of regions shown.",)
    return Table(section["title"], heads, rows, notes)


def _landscapes(section: Mapping[str, Any]) -> Table:
    """Seconds for a whole grid, and how many times as long as ours."""
    clock = "CPU s" if section["threads"] == 1 else "wall s"
    rows = []
    for name in section.get("times", {}):
        f = figure(seconds_of(section, name))
        rows.append((name, f"{faster(section, name):.2f}", f"{f.median:.3f}", f"{f.low:.3f}–{f.high:.3f}"))
    rows += [(name, "absent", "", why) for name, why in section["absent"].items()]
    note = (
        f"{section['points']:,} points, {section['parameters']:,} parameters." if rows and "points" in section else ""
    )
    return Table(section["title"], ("", "× ours", clock, "quartiles"), rows, (note,))


def _defects(section: Mapping[str, Any]) -> Table:
    """What loss-landscapes' grids are like; ours are held to the contrary by tests/learning/landscapes."""
    rows = [(name, f"{value:.3f}" if isinstance(value, float) else str(value)) for name, value in section.items()]
    return Table("The points that loss-landscapes evaluates", ("", "measured"), rows)


def _census(sections: Mapping[str, Any]) -> Table:
    """Seeds per second, and how many times those of the faster loop."""
    rows = []
    for s in sections.values():
        rate, cpu = figure(census.times(s)), figure(census.times(s, "cpu"))
        each = [f"{census.median(s, who, 'rate'):,.1f}" for who in (census.OURS, census.TWO, census.ONE)]
        peak = _mebibytes(int(census.median(s, census.OURS, "peak")))
        rows.append(
            (s["title"], f"{rate.median:,.0f}", f"{rate.low:,.0f}–{rate.high:,.0f}", f"{cpu.median:,.0f}", *each, peak)
        )
    heads = (
        "",
        "× the faster loop",
        "quartiles",
        "of CPU time",
        "census, seeds/s",
        census.TWO,
        census.ONE,
        "peak, MiB",
    )
    notes = (
        "Two cores for each. The loop is a module, torch's optimizer and five lines; it trains a few seeds, the census "
        "all. The peak is the census' growth of memory, with all final weights and outputs.",
    )
    return Table("Census: seeds trained per second, beside a loop", heads, rows, notes)


def targets_table(results: Mapping[str, Any]) -> Table:
    """Target, limit, measured, met or not."""
    words = {True: "met", False: "NOT MET", None: "NOT MEASURED"}
    rows = [(v.what, v.limit, v.measured, words[v.met]) for v in verdicts(results)]
    return Table("Targets", ("", "target", "measured", ""), rows)


def tables(results: Mapping[str, Any]) -> Iterator[Table]:
    """All tables of one run, the targets last."""
    sections = results["sections"]
    for kind in ("recording", "readings"):
        for section in sections.get(kind, {}).values():
            yield _timed(section)
    for section in sections.get("memory", {}).values():
        yield _memory(section)
    if "opening" in sections:
        yield _opening(sections["opening"])
    for section in sections.get("regions", {}).values():
        yield _regions(section)
    for name, section in sections.get("landscapes", {}).items():
        yield _defects(section) if name == "defects" else _landscapes(section)
    if "census" in sections:
        yield _census(sections["census"])
    yield targets_table(results)


def conditions(results: Mapping[str, Any]) -> list[str]:
    """The machine, the versions, the method."""
    m, run = results["machine"], results["run"]
    versions = ", ".join(f"{name} {version or 'absent'}" for name, version in m["versions"].items())
    shared = f"load average {run['load_before']} before and {run['load_after']} after"
    renewed = [_renewed(section, part, m["versions"]) for section, part in run.get("renewed", {}).items()]
    return [
        f"{m['processor']}, {m['cores']} cores, {m['memory_gib']} GiB, {m['system']}"
        + (f", {m['cuda']}" if m["cuda"] else "") + f"; {shared}",
        f"{m['date']}; Python {m['python']}; {versions} (commit {m['commit']})",
        f"{m['threads']} thread{'s' if m['threads'] != 1 else ''}, batch 1, no gradients, random weights; "
        f"{run['rounds']} rounds",
        *renewed,
    ]  # fmt: skip


def _renewed(section: str, part: Mapping[str, Any], versions: Mapping[str, Any]) -> str:
    m, run = part["machine"], part["run"]
    other = "".join(f"; {n} {v or 'absent'}" for n, v in m["versions"].items() if versions.get(n) != v)
    return (
        f"{section}: in a later run of its own, {m['date']}, commit {m['commit']}{other}; load "
        f"average {run['load_before']} before and {run['load_after']} after"
    )
