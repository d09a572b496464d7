"""The story of a large net, module by module: shapes, norms, the few largest numbers, and the rest as one term."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from weightwalk.errors import AddressError
from weightwalk.readings.narrate_attention import is_core, tell_attention
from weightwalk.readings.narrate_decimals import decimal
from weightwalk.readings.narrate_facts import Cell, Line, Section, Table, Text
from weightwalk.readings.narrate_names import MOVES, RESHAPES, is_float, kept
from weightwalk.readings.narrate_ops import Teller, one_sum, plain_number, products
from weightwalk.readings.narrate_small import outcome, output_of
from weightwalk.readings.narrate_training import training
from weightwalk.walks.model import Call, Step, Value
from weightwalk.walks.walk import Walk

COLUMNS = ("part", "what", "shape", "norm", "largest numbers")
TELL_ALL = 4  # so many alike blocks are all unfolded; of more, the first and the last
FIGURES = 6


def tell_modules(teller: Teller, walk: Walk, depth: int | None) -> tuple[list[Section], list[str]]:
    """The whole walk, unfolded to `depth` levels of modules, or (None) down to its repeated blocks."""
    roots = [c for c in walk.calls if c.parent == -1]
    tree = Tree(teller, walk, depth)
    sections = [tree.tell(call, 0) for call in roots]
    outside = [s for s in walk.steps if s.phase == "forward" and s.call == -1]
    if outside:
        tree.folded.clear()
        lines = list(tree.rows(outside))
        sections.insert(0, Section("outside any module", "", "ops", "forward", tuple(lines)))
    sections += _end(teller, walk)
    sections += _loss(teller, walk)
    step = training(teller, walk, small=False)
    sections += [step] if step is not None else []
    notes = [
        "Norms and largest numbers are those of the last position of the first example (the last row of each value).",
        f"Not told, because they only move, make or select numbers: the ops {', '.join(sorted(tree.passed))}."
        if tree.passed
        else "",
        *tree.notes,
    ]
    return sections, notes


def tell_focus(teller: Teller, walk: Walk, focus: str, depth: int | None) -> tuple[list[Section], list[str]]:
    """One module, one op or one number of the walk.

    Raises:
        AddressError: `focus` names nothing.
    """
    name = focus.strip()
    calls = [c for c in walk.calls if name in (c.address, c.path) or (c.path and c.path.endswith("." + name))]
    paths = {c.path for c in calls}
    if len(paths) == 1 and not any(c.parent == -1 for c in calls):
        call = calls[0]
        tree = Tree(teller, walk, 1 if depth is None else depth)
        notes = ["Norms and largest numbers are those of the last position of the first example."]
        if len(calls) > 1 and name == call.path:
            notes.append(f"{call.path} was called {len(calls)} times; this is call 1, and {call.path}#2 is the next.")
        return [tree.tell(call, 0), *_deciding(teller, walk, call)], [*notes, *tree.notes]
    for step, address in zip(walk.steps, walk.step_addresses, strict=True):
        if name in (address, address.lstrip("/")) or (len(name) > 2 and "/" in name and address.endswith("." + name)):
            return [_one_step(teller, walk, step)], []
    selection = walk.select(focus)
    sections = []
    for term in selection.terms:
        step = term.value.step
        if step is None:
            text = f"{term.value.address} came from outside the walk: it is {_kind(term.value)}."
            sections.append(Section(term.value.address, term.value.address, term.value.kind, "forward", (Text(text),)))
        elif term.numpy().size == 1 and term.index:
            sections.append(_one_number(teller, walk, term.value, _flat(term.value, term.index)))
        else:
            sections.append(_one_step(teller, walk, step))
    if not sections:
        raise AddressError(f"{focus!r} names nothing to tell.")
    return sections, []


def _kind(value: Value) -> str:
    return {"input": "an input", "parameter": "a parameter", "buffer": "a buffer"}.get(value.kind, "a constant")


def _flat(value: Value, index: tuple[int | slice, ...]) -> int:
    return int(np.arange(value.size).reshape(value.shape)[index].reshape(-1)[0])


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
        """Calls that are one of several alike: same parent, same class, and not leaves."""
        out: set[int] = set()
        for calls in self.children.values():
            by_type: dict[str, list[Call]] = {}
            for call in calls:
                if self.inside(call):
                    by_type.setdefault(call.type, []).append(call)
            for alike in by_type.values():
                if len(alike) > 1 and len({c.path for c in alike}) > 1:
                    out.update(c.index for c in alike)
        return out

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
            alike = [c for c in self.children[call.parent] if c.index in self.blocks and c.type == call.type]
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
        for item in self._items(call):
            if isinstance(item, Step):
                rows.extend(self._step_row(item))
                if is_core(item):
                    flush()
                    parts.extend(tell_attention(self.teller, self.walk, item))
                continue
            if self.unfolds(item, level + 1):
                flush()
                parts.append(self.tell(item, level + 1))
                continue
            rows.append(self._call_row(item))
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
            unfold = f"--focus {folded[0].address} unfolds one" if self.depth is None else "a larger --depth unfolds them"
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
        return neurons(self.teller, self.walk, call, inner)

    def rows(self, steps: list[Step]) -> Iterator[Line]:
        """Steps outside any module, one line each."""
        rows = [row for s in steps for row in self._step_row(s)]
        if rows:
            yield Table(COLUMNS, tuple(rows))

    def _step_row(self, step: Step) -> Iterator[tuple[Cell, ...]]:
        results = [v for v in step.results() if v.id not in {i.id for i in step.inputs()}]
        if not results or step.name in MOVES:
            if results:
                self.passed.add(step.name)
            return
        read = [v.address for v in step.inputs() if v.kind != "constant"]
        what = f"{step.name} of {' and '.join(dict.fromkeys(read[:3]))}" if read else step.name
        yield self._row(self._label(results[0]), what, results[0])

    @staticmethod
    def _label(value: Value) -> str:
        return value.address

    def _call_row(self, call: Call) -> tuple[Cell, ...]:
        out = next((self.walk.values[v] for v in call.outputs.values()), None)
        if out is None:
            return (call.address, call.type, "", None, "no output")
        return self._row(call.address, call.type, out)

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


def neurons(teller: Teller, walk: Walk, call: Call, inner: list[Step] | None = None) -> list[Line]:
    """For a feed-forward block: the hidden units at the last position that are largest after the activation."""
    inner = walk.steps[call.first : call.last] if inner is None else inner  # type: ignore[assignment]
    linear = [s for s in inner or [] if products(s) is not None] if _all_kept(inner or []) else []
    if len(linear) < 2:
        return []
    hidden = next(v for v in linear[-1].inputs() if v.id == products(linear[-1]).left_value.id)  # type: ignore[union-attr]
    row = last_row(hidden).reshape(-1).astype(np.float64)
    source = teller.names.source(hidden)
    order = np.argsort(-np.abs(row), kind="stable")[: teller.top]
    rows: list[tuple[Cell, ...]] = [(f"neuron {j}", decimal(row[j], FIGURES)) for j in order]
    on = int((row > 0).sum())
    rest = np.delete(row, order)
    with np.errstate(all="ignore"):
        rows.append((f"the other {rest.size:,}: norm", decimal(np.sqrt(np.sum(rest**2)), FIGURES)))
    caption = f"feed-forward block: {on:,} of {row.size:,} neurons above 0; the largest after the activation ({source.address})"
    return [Table(("neuron", "value"), tuple(rows), caption)]


def _all_kept(steps: list[Step]) -> bool:
    return all(kept(s) for s in steps)


def _section(call: Call, parts: list[Line | Section], walk: Walk) -> Section:
    """Lines before the first unfolded part belong to the section; what follows stays in order, among its children."""
    lines: list[Line] = []
    children: list[Section] = []
    after: list[Line] = []
    for part in parts:
        if isinstance(part, Section):
            if after:
                children.append(Section("", call.address, "", "forward", tuple(after)))
                after = []
            children.append(part)
        elif children:
            after.append(part)
        else:
            lines.append(part)
    if after:
        children.append(Section(f"{call.path or call.type} · after these", call.address, "", "forward", tuple(after)))
    title = f"{call.address} · {call.type}" if call.path else call.type
    return Section(title, call.address, call.type, "forward", tuple(lines), tuple(children))


# The end of the story -----------------------------------------------------------------------------------------------


def _end(teller: Teller, walk: Walk) -> list[Section]:
    end = outcome(teller, walk)
    out = output_of(walk)
    sections = [end] if end is not None else []
    if out is not None and out.kept and out.size and is_float(out) and np.isfinite(row := last_row(out)).all():
        best = int(np.argmax(row.reshape(-1))) if teller.names.axis(out, -1) or row.size > 1 else 0
        first = _first_of_last_row(out, row.size)
        sections += [s] if (s := _sum_of(teller, walk, out, first + best)) is not None else []
    return sections


def _first_of_last_row(value: Value, size: int) -> int:
    places = np.arange(value.size).reshape(value.shape)
    while places.ndim > 2:
        places = places[0]
    return int((places[-1] if places.ndim == 2 else places).reshape(-1)[0])


def _deciding(teller: Teller, walk: Walk, call: Call) -> list[Section]:
    """For a call whose output is one linear op away: the largest output as its largest terms and the rest."""
    out = next((walk.values[v] for v in call.outputs.values()), None)
    if out is None or not out.kept or not is_float(out) or not out.size:
        return []
    row = last_row(out).reshape(-1)
    if not np.isfinite(row).all():
        return []
    found = _sum_of(teller, walk, out, _first_of_last_row(out, row.size) + int(np.argmax(np.abs(row))))
    return [found] if found is not None else []


def _sum_of(teller: Teller, walk: Walk, value: Value, flat: int) -> Section | None:
    """One number of a linear op's output as its largest terms, the rest as one term, and the bias."""
    step = teller.names.source(value).step
    while step is not None and step.name in RESHAPES:
        step = next(iter(step.inputs())).step
    if step is None or not kept(step):
        return None
    op = products(step)
    if op is None or op.out_value.size != value.size:
        return None
    row, column = divmod(flat, op.right.shape[-1])
    told = one_sum(teller, op, row, column)
    inner = op.left.shape[1]
    title = f"{told.label} · as {min(teller.top or inner, inner)} of its {inner:,} terms and the rest"
    return Section(title, told.label, step.name, step.phase, (told,))


def _one_number(teller: Teller, walk: Walk, value: Value, flat: int) -> Section:
    found = _sum_of(teller, walk, value, flat)
    if found is not None:
        return found
    label = teller.names.unit(value, flat)
    if not value.kept:
        return Section(label, label, "value", "forward", (Text(f"{value.address} was not kept (see keep=).", "note"),))
    number = plain_number(decimal(value.numpy().reshape(-1)[flat], teller.digits))
    step = value.step
    made = f", made by {step.address} ({step.op}) at {step.source}" if step is not None else ""
    return Section(label, label, "value", "forward", (Text(f"{label} = {number}{made}", "result"),))


def _one_step(teller: Teller, walk: Walk, step: Step) -> Section:
    lines: list[Line] = [Text(f"{step.op} at {step.source}, phase {step.phase}", "note")]
    if not kept(step):
        lines.append(Text("its numbers were not kept (see keep=).", "note"))
    elif is_core(step):
        lines += tell_attention(teller, walk, step)
    elif (op := products(step)) is not None and op.left.shape[0] * op.right.shape[-1] > (teller.top or 0):
        out = op.out_value.numpy().reshape(op.left.shape[0], -1)
        order = np.argsort(-np.abs(np.nan_to_num(out[-1].astype(np.float64), nan=np.inf)), kind="stable")[: teller.top]
        lines += [one_sum(teller, op, len(out) - 1, int(j)) for j in order]
        lines.append(Text(f"The {len(order)} largest of {out.size:,} outputs, in the last of {len(out)} rows.", "note"))
    else:
        lines += teller.tell(step)
    return Section(f"{step.address} · {step.name}", step.address, step.name, step.phase, tuple(lines))


def _loss(teller: Teller, walk: Walk) -> list[Section]:
    lines: list[Line] = []
    for step in walk.steps:
        if step.phase == "loss" and step.name not in MOVES and any(True for _ in step.results()):
            lines += teller.tell(step) if kept(step) else []
    return [Section("loss", "", "loss", "loss", tuple(lines))] if lines else []
