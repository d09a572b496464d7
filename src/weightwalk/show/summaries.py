"""What a walk is, at a glance; and the list of nets."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from rich.text import Text

from weightwalk.show.layout import columns, wrapped


@dataclass(frozen=True, slots=True)
class NetList:
    """The gallery, as rows of name, what it is, and an input to try."""

    rows: tuple[tuple[str, str, str], ...]


def net_lines(nets: NetList, width: int) -> Iterator[Text]:
    """The gallery, and what else can be walked."""
    for name, what, command in nets.rows:
        first, *more = wrapped(what, width, " " * 10)
        head = Text(f"{name:<10}", style="bold cyan")
        yield head.append(first.plain[10:], style="not bold default")
        yield from more
        yield Text(f"{' ' * 10}{command}", style="dim")
    yield Text("")
    yield from wrapped(
        "Other people's: a directory with a transformers checkpoint, a hub name such as openai-community/gpt2, an "
        "exported program (.pt2), an .onnx or .nnet file, or package.module:object, which imports and runs that "
        "module.",
        width, "", "dim",
    )  # fmt: skip


def walk_lines(walk: Any, width: int) -> Iterator[Text]:
    """Net, sizes, phases, completeness, module calls, where and how it was recorded."""
    meta = walk.meta
    given = f" on {meta['input']}" if meta.get("input") else ""
    yield Text(f"walk of {meta.get('net', 'a computation')}{given}", style="bold")
    phases: dict[str, int] = {}
    for step in walk.steps:
        phases[step.phase] = phases.get(step.phase, 0) + 1
    kept = sum(v.kept for v in walk.values)
    facts = [
        ("steps", f"{len(walk.steps):,} ({', '.join(f'{n:,} {p}' for p, n in phases.items())})"),
        ("values", f"{len(walk.values):,}, of which {kept:,} kept"),
        ("modules", f"{len(walk.calls):,} calls"),
        ("complete", str(walk.completeness)),
        ("recorded", ", ".join(f"{k} {meta[k]}" for k in ("weightwalk", "torch", "python", "machine") if k in meta)),
    ]
    if walk.labels.get("tokens"):
        facts.insert(0, ("tokens", " ".join(repr(t) for t in walk.labels["tokens"])))
    yield from columns(("", ""), facts, width)
    rows = [
        (c.address, c.type, ", ".join("×".join(map(str, walk.values[v].shape)) or "1" for v in c.outputs.values()))
        for c in walk.calls
        if c.path and c.path.count(".") < 2
    ]
    if rows:
        yield Text("")
        yield from columns(("module", "class", "output"), rows[:24], width)
        if len(walk.calls) - 1 > min(len(rows), 24):
            left = len(walk.calls) - 1 - min(len(rows), 24)
            yield from wrapped(f"not shown: {left:,} more module calls, deeper or later", width, "  ", "dim")
