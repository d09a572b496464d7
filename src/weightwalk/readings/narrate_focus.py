"""One module, one op or one number of a walk, told closer; and the numbers that decide its result."""

from __future__ import annotations

import numpy as np

from weightwalk.errors import AddressError
from weightwalk.readings.narrate_attention import is_core, tell_attention
from weightwalk.readings.narrate_decimals import decimal
from weightwalk.readings.narrate_facts import Line, Section, Text
from weightwalk.readings.narrate_modules import Tree, last_row
from weightwalk.readings.narrate_names import MOVES, RESHAPES, is_float, kept
from weightwalk.readings.narrate_ops import Teller, plain_number
from weightwalk.readings.narrate_small import outcome, output_of
from weightwalk.readings.narrate_sums import one_sum, products
from weightwalk.readings.narrate_training import training
from weightwalk.walks.model import Call, Step, Value
from weightwalk.walks.walk import Walk


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
        "Norms and largest numbers are those of the last position of the first example (the last row of each value); "
        "parts are named within their section.",
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
    told = one_sum(teller.names, op, row, column, top=teller.top, digits=teller.digits)
    inner = op.left.shape[1]
    shown = min(teller.top or inner, inner)
    terms = f"{shown} of its {inner:,} terms and the rest" if shown < inner else "all its terms"
    title = f"{told.label} · as {terms}"
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
        lines += [one_sum(teller.names, op, len(out) - 1, int(j), top=teller.top, digits=teller.digits) for j in order]
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
