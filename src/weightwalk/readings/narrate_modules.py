"""The story of a large net, module by module: shapes, norms, the few largest numbers, and the rest as one term."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from weightwalk.readings.narrate_attention import is_core, tell_attention
from weightwalk.readings.narrate_decimals import decimal
from weightwalk.readings.narrate_facts import Cell, Line, Section, Table
from weightwalk.readings.narrate_names import MOVES, is_float, kept
from weightwalk.readings.narrate_ops import Teller, plain_number
from weightwalk.readings.narrate_sums import products
from weightwalk.walks.model import Call, Step, Value
from weightwalk.walks.walk import Walk

COLUMNS = ("part", "what", "shape", "norm", "largest numbers")
# What an attention's own tables tell better than a row of norms.
ATTENTION = frozenset((
    "bmm", "matmul", "baddbmm", "div", "mul", "add", "softmax", "masked_fill", "where",
))  # fmt: skip
TELL_ALL = 4  # so many alike blocks are all unfolded; of more, the first and the last
FIGURES = 6


@dataclass
class Tree:
    """The module tree of a walk as it is told.

    Attributes:
        passed: Names of ops passed over because they only move numbers.
        folded: Calls told in one line though they could be unfolded.
        notes: What was folded.
    """

    teller: Teller
    walk: Walk
    depth: int | None
    passed: set[str] = field(default_factory=set)
    folded: list[Call] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @cached_property
    def children(self) -> dict[int, list[Call]]:
        """The calls inside each call, in order."""
        out: dict[int, list[Call]] = {}
        for call in self.walk.calls:
            out.setdefault(call.parent, []).append(call)
        return out

    def inside(self, call: Call) -> list[Call]:
        """The calls directly inside `call`."""
        return self.children.get(call.index, [])

    @cached_property
    def blocks(self) -> set[int]:
        """Calls of one of several alike: same class, same place in the tree but for a number, and not leaves."""
        found: dict[tuple[str, str], list[Call]] = {}
        for call in self.walk.calls:
            place, _, last = call.path.rpartition(".")
            if last.isdigit() and self.inside(call):
                found.setdefault((place, call.type), []).append(call)
        return {c.index for alike in found.values() if len({c.path for c in alike}) > 1 for c in alike}

    def _has_blocks(self, call: Call) -> bool:
        return any(c.index in self.blocks or self._has_blocks(c) for c in self.inside(call))

    def unfolds(self, call: Call, level: int) -> bool:
        """Whether a call inside a told one is told by itself rather than in one line."""
        if not self.inside(call):
            return False
        if self.depth is not None:
            return level <= self.depth
        if not self.blocks:
            return level <= 1
        if call.index in self.blocks and not self._in_block(call):
            alike = [
                c for c in self.inside(self.walk.calls[call.parent]) if c.index in self.blocks and c.type == call.type
            ]
            return len(alike) <= TELL_ALL or call in (alike[0], alike[-1])
        return self._has_blocks(call) and not self._in_block(call)

    def _in_block(self, call: Call) -> bool:
        while call.parent != -1:
            call = self.walk.calls[call.parent]
            if call.index in self.blocks:
                return True
        return False

    def tell(self, call: Call, level: int) -> Section:
        """One call: its parts in order, with those that unfold as sections of their own."""
        parts: list[Line | Section] = []
        rows: list[tuple[Cell, ...]] = []

        def flush() -> None:
            if rows:
                parts.append(Table(COLUMNS, tuple(rows)))
                rows.clear()

        folded: list[Call] = []
        items = list(self._items(call))
        has_core = any(isinstance(i, Step) and is_core(i) for i in items)
        for item in items:
            if isinstance(item, Step):
                if is_core(item):
                    flush()
                    parts.extend(tell_attention(self.teller, self.walk, item))
                elif not (has_core and item.name in ATTENTION):  # told by the attention itself
                    rows.extend(self._step_row(item, call.path))
                continue
            if self.unfolds(item, level + 1):
                flush()
                parts.append(self.tell(item, level + 1))
                continue
            rows.append(self._call_row(item, call.path))
            if item.index in self.blocks and self.inside(item):
                folded.append(item)
                continue
            for line in self._within(item):
                flush()
                parts.append(line)
        flush()
        self._note(folded)
        return _section(call, parts, self.walk)

    def _note(self, folded: list[Call]) -> None:
        if folded:
            listed = folded[0].address + (f" to {folded[-1].address}" if len(folded) > 1 else "")
            unfold = (
                f"--focus {folded[0].address} unfolds one" if self.depth is None else "a larger --depth unfolds them"
            )
            self.notes.append(f"In one line each: {listed} ({unfold}).")

    def _items(self, call: Call) -> Iterator[Step | Call]:
        """The steps of a call that belong to no inner call, and its inner calls, in order."""
        inner = iter(self.inside(call))
        child, at = next(inner, None), call.first
        while at < call.last:
            if child is not None and child.first <= at:
                yield child
                at, child = max(at, child.last), next(inner, None)
                continue
            step = self.walk.steps[at]
            if step.phase == "forward" and step.call == call.index:
                yield step
            at += 1
        while child is not None:
            yield child
            child = next(inner, None)

    def _within(self, call: Call) -> list[Line]:
        """What is worth telling inside a call that stays one line: its attention, or its neurons."""
        inner = self.walk.steps[call.first : call.last]
        cores = [s for s in inner if is_core(s)]
        if cores:
            return [line for core in cores for line in tell_attention(self.teller, self.walk, core)]
        return neurons(self.teller, inner)

    def rows(self, steps: list[Step]) -> Iterator[Line]:
        """Steps outside any module, one line each."""
        rows = [row for s in steps for row in self._step_row(s)]
        if rows:
            yield Table(COLUMNS, tuple(rows))

    def _step_row(self, step: Step, path: str = "") -> Iterator[tuple[Cell, ...]]:
        results = [v for v in step.results() if v.id not in {i.id for i in step.inputs()}]
        if not results or step.name in MOVES:
            if results:
                self.passed.add(step.name)
            return
        read = [within(self.teller.names.source(v).address, path) for v in step.inputs() if v.kind != "constant"]
        what = f"{step.name} of {' and '.join(dict.fromkeys(read[:3]))}" if read else step.name
        # A module that hands on what it was given (dropout) shares the address: the step is then named by its own.
        address = results[0].address if results[0].address in (path, step.address) else step.address
        yield self._row(within(address, path), what, results[0])

    def _call_row(self, call: Call, path: str) -> tuple[Cell, ...]:
        out = next((self.walk.values[v] for v in call.outputs.values()), None)
        if out is None:
            return (within(call.address, path), call.type, "", None, "no output")
        return self._row(within(call.address, path), call.type, out)

    def _row(self, label: str, what: str, value: Value) -> tuple[Cell, ...]:
        shape = "×".join(map(str, value.shape)) or "1"
        if not value.kept:
            return (label, what, shape, None, "not kept")
        row = last_row(value)
        if not is_float(value):
            return (label, what, shape, None, " ".join(str(x) for x in row.reshape(-1)[:3]))
        with np.errstate(all="ignore"):
            norm = decimal(np.sqrt(np.sum(row.astype(np.float64) ** 2)), FIGURES)
        return (label, what, shape, norm, largest(row))


def within(address: str, path: str) -> str:
    """An address as it is written inside a module: without the module's own path."""
    if not path or not address.startswith(path) or address[len(path) : len(path) + 1] not in (".", "/"):
        return address if address != path else "(the output)"
    return address[len(path) :].removeprefix(".")


def last_row(value: Value) -> np.ndarray:
    """The numbers of the last position of the first example; a value of up to one axis as it is."""
    array = value.numpy()
    while array.ndim > 2:
        array = array[0]
    return array[-1] if array.ndim == 2 and array.shape[0] else array


def largest(row: np.ndarray, top: int = 3) -> str:
    """The few numbers of largest size, with their places."""
    flat = row.reshape(-1).astype(np.float64)
    bad = int((~np.isfinite(flat)).sum())
    if bad:
        return f"{bad} of {flat.size} are NaN or infinite"
    order = np.argsort(-np.abs(flat), kind="stable")[:top]
    return ", ".join(f"[{j}] {plain_number(decimal(flat[j], 4))}" for j in order)


def neurons(teller: Teller, inner: Sequence[Step]) -> list[Line]:
    """For a feed-forward block: the hidden units at the last position that are largest after the activation."""
    linear = [s for s in inner if products(s) is not None] if all(kept(s) for s in inner) else []
    if len(linear) < 2 or _width_in(linear[0]) != _width_out(linear[-1]):
        return []
    last = products(linear[-1])
    assert last is not None
    hidden = last.left_value
    row = last_row(hidden).reshape(-1).astype(np.float64)
    source = teller.names.source(hidden)
    order = np.argsort(-np.abs(row), kind="stable")[: teller.top]
    rows: list[tuple[Cell, ...]] = [(f"neuron {j}", decimal(row[j], FIGURES)) for j in order]
    on = int((row > 0).sum())
    rest = np.delete(row, order)
    with np.errstate(all="ignore"):
        rows.append((f"the other {rest.size:,}: norm", decimal(np.sqrt(np.sum(rest**2)), FIGURES)))
    caption = f"feed-forward block: {on:,} of {row.size:,} neurons above 0; "
    caption += f"the largest after the activation ({source.address})"
    return [Table(("neuron", "value"), tuple(rows), caption)]


def _width_in(step: Step) -> int:
    return products(step).left.shape[1]  # type: ignore[union-attr]


def _width_out(step: Step) -> int:
    return products(step).right.shape[-1]  # type: ignore[union-attr]


def _section(call: Call, parts: list[Line | Section], walk: Walk) -> Section:
    """Lines before the first unfolded part belong to the section; what follows stays in order, among its children."""
    lines: list[Line] = []
    children: list[Section] = []
    after: list[Line] = []
    address = call.address if call.path else ""
    for part in parts:
        if isinstance(part, Section):
            if after:
                children.append(Section("", address, "", "forward", tuple(after)))
                after = []
            children.append(part)
        elif children:
            after.append(part)
        else:
            lines.append(part)
    if after:
        children.append(Section(f"{call.path or call.type} · after these", address, "", "forward", tuple(after)))
    title = f"{call.address} · {call.type}" if call.path else call.type
    return Section(title, address, call.type, "forward", tuple(lines), tuple(children))
