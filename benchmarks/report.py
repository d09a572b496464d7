"""Shows the tables: on the terminal, and as ``docs/benchmarks.md``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.tables import Table, conditions, tables

PAGE = Path(__file__).parent.parent / "docs" / "benchmarks.md"
_COLOURS = {"met": "green", "NOT MET": "bold red", "NOT MEASURED": "bold yellow"}

_HEAD = """\
# Benchmarks

Measured by `make bench`; this page is generated from its results (`python -m benchmarks --page`), never
edited. The results themselves, every round of them, lie in [`benchmarks/results`](../benchmarks/results).

{conditions}

**How.** Every contender takes its turn in each round (A B C A B C …), and each turn is divided by a bare forward that
ran in the same process just before it; the figure is the median over the rounds, with its quartiles. The control, a
bare forward divided by a bare forward, shows how far to trust the last digit. Weightwalk, the dispatch mode, the hooks
and DebugMode share a process; each peer has one of its own, for some replace torch's functions or the model's modules.
CPU time decides. Making the record is measured, letting go of it is not. Weightwalk's time includes all that
it does after the forward: identities, versions, links, names, source lines. The contenders do not hold the same things:
the last column says what each has. TorchLens's `record` puts its own records together when they are first read, which
is not counted against it.
"""


def show(results: Mapping[str, Any]) -> None:
    """Print the tables."""
    from rich.console import Console
    from rich.table import Table as RichTable
    from rich.text import Text

    console = Console()
    if not console.is_terminal:
        console = Console(width=140)
    console.print()
    for line in conditions(results):
        console.print(line, style="dim", highlight=False)
    for table in tables(results):
        shown = RichTable(title=table.title, title_justify="left", title_style="bold")
        for i, head in enumerate(table.heads):
            left = i == 0 or head in ("", "what it has afterwards", "target", "measured")
            shown.add_column(head, justify="left" if left else "right", overflow="fold")
        for row in table.rows:
            shown.add_row(*(Text(cell, style=_COLOURS.get(cell, "")) for cell in row))
        console.print()
        console.print(shown)
        for note in table.notes:
            console.print(note, style="dim", highlight=False)


def _markdown(table: Table) -> str:
    def line(cells: tuple[str, ...]) -> str:
        return "| " + " | ".join(c.replace("|", "\\|") for c in cells) + " |"

    rule = "|" + "|".join("---" for _ in table.heads) + "|"
    body = [line(table.heads), rule, *map(line, table.rows)]
    return "\n".join([f"## {table.title}", "", *body, *(f"\n{note}" for note in table.notes), ""])


def page(results: Mapping[str, Any]) -> str:
    """The page, in Markdown."""
    facts = "\n".join(f"- {line}" for line in conditions(results))
    all_tables = list(tables(results))
    ordered = [all_tables[-1], *all_tables[:-1]]  # a reader of the page wants the verdicts first
    return "\n".join([_HEAD.format(conditions=facts), *(_markdown(t) for t in ordered)])


def write_page(results: Mapping[str, Any]) -> Path:
    """Write ``docs/benchmarks.md``."""
    PAGE.parent.mkdir(exist_ok=True)
    PAGE.write_text(page(results), encoding="utf-8")
    return PAGE
