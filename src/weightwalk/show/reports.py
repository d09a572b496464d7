"""A verification on the terminal: what was proven, how near to its bound, and what is wrong."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from rich.text import Text

from weightwalk.show.layout import columns, short, shown, wrapped

MOST = 20  # failures listed

WORDS = {
    "proven": "recomputed in float64, within the rounding bound of their op",
    "exact": "recomputed, and the very same numbers",
    "alias": "hand on a value that was there before",
    "drawn": "drew random numbers or took fresh memory: nothing can be said of them, what reads them is checked",
    "no bound": "recomputed where possible, but no bound is proven for their op: not counted as verified",
    "not kept": "without numbers in the record (see keep=): not checked",
    "FAILED": "wrong",
}


def report_lines(report: Any, width: int) -> Iterator[Text]:
    """The whole report."""
    total = len(report.verdicts)
    if report.ok:
        yield Text(f"verified: {report.proven:,} of {total:,} steps proven, none wrong", style="bold green")
    else:
        wrong = len(report.failures) + len(report.structure)
        yield Text(f"FAILED: {wrong:,} fault{'s' * (wrong != 1)} in {total:,} steps", style="bold red")
        yield from _faults(report, width)
    rows = [(f"{n:,}", status, WORDS.get(status, "")) for status, n in report.counts.items() if n]
    yield from columns(("", "", ""), rows, width)
    yield from _figures(report, width)


def _faults(report: Any, width: int) -> Iterator[Text]:
    for text in report.structure[:MOST]:
        yield from wrapped(text, width, "  ", "red")
    for verdict in report.failures[:MOST]:
        yield from wrapped(f"{verdict.address} ({verdict.op}): {verdict.message}", width, "  ", "red")
    left = (
        len(report.failures)
        + len(report.structure)
        - min(len(report.failures), MOST)
        - min(len(report.structure), MOST)
    )
    if left:
        yield from wrapped(f"not shown: {left:,} more", width, "  ", "dim")


def _figures(report: Any, width: int) -> Iterator[Text]:
    if report.worst is not None:
        text = f"worst: {short(report.worst.fraction)} of its bound, at {report.worst.address} ({report.worst.op})"
        yield from wrapped(text, width, "  ", "" if report.ok else "red")
    if report.referees:
        listed = ", ".join(f"{name} {n:,}" for name, n in report.referees.items())
        yield from wrapped(f"steps judged by: {listed}", width, "  ", "dim")
    if report.unproven:
        listed = ", ".join(f"{op} ×{n}" for op, n in report.unproven.items())
        yield from wrapped(f"ops without a proven bound: {listed}", width, "  ", "yellow")
    yield from _drift(report, width)
    if report.leaves:
        listed = ", ".join(f"{n:,} {kind}{'s' * (n != 1)}" for kind, n in report.leaves.items())
        yield from wrapped(f"taken as given, since nothing in the record makes them: {listed}", width, "  ", "dim")


def _drift(report: Any, width: int) -> Iterator[Text]:
    drift = report.drift
    if drift is None:
        return
    text = f"end to end: replayed in float64 from the inputs, {drift.address} is {short(drift.greatest)} away "
    text += f"from the record ({short(drift.relative)} of its size)"
    if drift.taken:
        text += f"; {drift.taken:,} steps could not be replayed, so drift before them is not seen"
    yield from wrapped(text, width, "  ")


def verdict(report: Any, walk: Any, width: int) -> Iterator[Text]:
    """The report in one line, as it ends each part of the tour."""
    yield Text("")
    if not report.ok:
        yield from report_lines(report, width)
        return
    total = len(report.verdicts)
    text = f"✓ verified: {report.proven:,} of {total:,} steps proven"
    if report.worst is not None:
        text += f", the worst at {short(report.worst.fraction)} of its rounding bound ({shown(report.worst.address)})"
    rest = [
        f"{n:,} {status}" for status, n in report.counts.items() if n and status in ("drawn", "no bound", "not kept")
    ]
    text += f"; {', '.join(rest)}" if rest else ""
    text += f"; complete: {walk.completeness}"
    yield from wrapped(text, width, "", "bold green")
