"""A story on the terminal: sums as a bookkeeper writes them, tables, and sentences."""

from __future__ import annotations

from collections.abc import Iterator

from rich.cells import cell_len
from rich.text import Text as Rich

from weightwalk.readings.narrate_facts import Line, Section, Story, Sum, Table, Text
from weightwalk.show.layout import aligned, columns, number, pad, shown, wrapped

TONES = {"plain": "", "note": "dim", "warning": "yellow", "result": "bold green"}
KINDS = {"rounding": "dim", "rest": "italic", "bias": "", "product": "", "value": ""}


def story_lines(story: Story, width: int) -> Iterator[Rich]:
    """The whole story."""
    yield Rich(shown(story.title), style="bold")
    taught = False
    for section in story.sections:
        teach = not taught and any(isinstance(x, Sum) and x.terms and x.terms[0].factors for x in section.lines)
        yield from section_lines(section, width, 0, teach=teach)
        taught = taught or teach
    if story.notes:
        yield Rich("")
        for note in story.notes:
            yield from wrapped(note, width, "", "dim")


def section_lines(section: Section, width: int, level: int, *, teach: bool = False) -> Iterator[Rich]:
    """A heading, its lines, and the sections inside it; `teach` says what the columns of a sum are."""
    indent = "  " * min(level, 3)
    if section.title:
        yield Rich("")
        title = Rich(indent)
        name, dot, rest = section.title.partition(" · ")
        title.append(shown(name), style="bold cyan" if section.phase != "outcome" else "bold green")
        title.append(shown(dot + rest), style="dim")
        yield title
    if teach:
        yield Rich(f"{indent}    contribution = weight × input  of", style="dim")
    yield from lines_of(section.lines, width, indent + "  ")
    for child in section.children:
        yield from section_lines(child, width, level + 1)


def lines_of(lines: tuple[Line, ...], width: int, indent: str) -> Iterator[Rich]:
    """The lines of a section."""
    before: Line | None = None
    for line in lines:
        if isinstance(line, Sum):
            if isinstance(before, (Sum, Table)):
                yield Rich("")
            yield from sum_lines(line, width, indent)
        elif isinstance(line, Table):
            if before is not None:
                yield Rich("")
            yield from table_lines(line, width, indent)
        else:
            yield from wrapped(line.text, width, indent, TONES.get(line.tone, ""))
        before = line


def sum_lines(line: Sum, width: int, indent: str) -> Iterator[Rich]:
    """Contribution, the two factors where there are two, and what they are; a rule; the total."""
    total = number(line.total, smallest=-15)
    values = aligned([*(number(t.value, signed=True, smallest=-15) for t in line.terms), total])
    left = aligned([number(t.factors[0]) for t in line.terms if t.factors])
    right = aligned([number(t.factors[1]) for t in line.terms if len(t.factors) > 1])
    wide = max((cell_len(v) for v in values), default=0)
    factors = (max(map(len, left), default=0), max(map(len, right), default=0))
    room = sum(factors) + 6 if left else 0
    products = iter(zip(left, right, strict=True))
    for term, value in zip(line.terms, values, strict=False):
        text = Rich(f"{indent}  ")
        text.append(pad(value, wide), style="red" if value.lstrip().startswith("-") else "")
        middle = ""
        if term.factors:
            a, b = next(products)
            middle = f" = {a} × {b}"
        text.append(pad(middle, room), style="" if term.factors else KINDS[term.kind])
        text.append(f"  {shown(term.label)}", style="cyan" if term.kind in ("product", "value") else "dim")
        yield text
    yield Rich(f"{indent}  {'─' * wide}", style="dim")
    end = Rich(f"{indent}= ")
    end.append(pad(values[-1], wide + room), style="bold")
    end.append(f"  {shown(line.label)}", style="bold cyan")
    yield end
    if line.note:
        yield from wrapped(line.note, width, indent, "dim")


def table_lines(line: Table, width: int, indent: str) -> Iterator[Rich]:
    """Caption, table, and what was left out."""
    if line.caption:
        yield from wrapped(line.caption, width, indent, "italic")
    yield from columns(line.columns, line.rows, width, indent, total="sum")
    if line.omitted:
        yield from wrapped(f"not shown: {line.omitted}", width, indent, "dim")


__all__ = ["Text", "lines_of", "section_lines", "story_lines", "sum_lines", "table_lines"]
