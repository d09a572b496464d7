"""The story of a small net: every multiplication and every sum, in the order in which they happened."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from weightwalk.readings.narrate_decimals import decimal
from weightwalk.readings.narrate_facts import Cell, Line, Section, Table, Text
from weightwalk.readings.narrate_names import MOVES, is_float, kept
from weightwalk.readings.narrate_ops import Teller, plain_number, shares
from weightwalk.readings.narrate_sums import products
from weightwalk.walks.model import Step, Value
from weightwalk.walks.walk import Walk

PRODUCTS = 512  # beyond so many multiplications, or results, a person no longer follows them one by one
NUMBERS = 128  # nor a layer of so many numbers

FORMULAS = {
    "Linear": "y = W x + b",
    "ReLU": "y = max(0, x)",
    "Embedding": "y = the row of the table that belongs to the token",
    "Softmax": "p = e^s / sum of e^s",
    "LayerNorm": "y = (x - mean) / standard deviation × weight + bias",
    "Sigmoid": "y = 1 / (1 + e^-x)",
    "Tanh": "y = tanh(x)",
    "GELU": "y = x Φ(x)",
}


def is_small(walk: Walk) -> bool:
    """Whether the whole walk can be told number by number."""
    multiplications = numbers = 0
    for step in walk.steps:
        if step.phase not in ("forward", "loss"):
            continue
        for out in step.results() if step.name not in MOVES else ():
            numbers += out.size
            if out.size > NUMBERS or out.dtype.startswith("complex"):
                return False
        if step.name in ("addmm", "mm", "bmm", "baddbmm", "linear", "matmul", "convolution", "mv", "dot"):
            left = [v.size for v in step.inputs()]
            inner = next((v.shape[-1] for v in step.inputs() if v.shape), 1)
            multiplications += max(inner * sum(o.size for o in step.results()), max(left, default=0))
    return multiplications <= PRODUCTS and numbers <= PRODUCTS


def tell_steps(teller: Teller, walk: Walk, phase: str) -> Iterator[Section]:
    """The sections of one phase: consecutive steps of one module call are one section."""
    group: list[Step] = []
    for step in walk.steps:
        if step.phase != phase:
            continue
        if group and (step.call, step.module) != (group[-1].call, group[-1].module):
            yield from _section(teller, walk, group)
            group = []
        group.append(step)
    if group:
        yield from _section(teller, walk, group)


def _section(teller: Teller, walk: Walk, steps: list[Step]) -> Iterator[Section]:
    lines: list[Line] = []
    for step in steps:
        if step.name in MOVES or not any(True for _ in step.results()):
            continue
        if not kept(step):
            lines.append(Text(f"{step.address}: its numbers were not kept (see keep=).", "note"))
            continue
        lines.extend(teller.tell(step))
    if not lines:
        return
    first = steps[0]
    call = walk.calls[first.call] if first.call >= 0 else None
    kind = call.type if call is not None else first.name
    formula = FORMULAS.get(kind, "")
    address = call.address if call is not None and call.path else (first.module or "")
    ops = ", ".join(dict.fromkeys(s.name for s in steps if s.name not in MOVES))
    title = f"{address} · {kind}" if address else (f"{kind}: {ops}" if call is not None else ops)
    yield Section(f"{title} · {formula}" if formula else title, address, kind, first.phase, tuple(lines))


def moves_note(walk: Walk) -> str:
    """How many steps the story passes over, and which."""
    counts: dict[str, int] = {}
    for step in walk.steps:
        if step.name in MOVES and step.phase in ("forward", "loss") and any(True for _ in step.results()):
            counts[step.name] = counts.get(step.name, 0) + 1
    if not counts:
        return ""
    listed = ", ".join(f"{name} ×{n}" for name, n in counts.items())
    return f"Not told, because they only move or select numbers: the ops {listed}."


# The outcome --------------------------------------------------------------------------------------------------------


def output_of(walk: Walk) -> Value | None:
    """What the net returned: the output of its outermost module, else the last result of the forward phase."""
    for call in walk.calls:
        if call.parent == -1 and call.outputs:
            ranked = [walk.values[v] for v in call.outputs.values()]
            best = [v for v in ranked if len(v.shape) > 0 and is_float(v)] or ranked
            named = call.outputs.get("logits")
            return walk.values[named] if named is not None else best[0]
    for step in reversed(walk.steps):
        if step.phase == "forward":
            for value in step.results():
                return value
    return None


def outcome(teller: Teller, walk: Walk) -> Section | None:
    """The result: a number, or for labelled outputs the shares that softmax makes of them, and the winner."""
    out = output_of(walk)
    if out is None or out.size == 0:
        return None
    if not out.kept:
        return Section("result", out.address, "outcome", "outcome", (Text("The result was not kept.", "note"),))
    y = out.numpy()
    labels = teller.names.axis(out, -1)
    if labels is not None and is_float(out) and out.shape[-1] > 1:
        lines = _winners(teller, out, y, labels)
    elif out.size == 1:
        lines = [Text(f"{out.address} = {plain_number(decimal(y.reshape(-1)[0], teller.digits))}", "result")]
        lines += _not_finite(y)
    else:
        lines = [*_numbers(teller, out, y), *_not_finite(y)]
    return Section(f"result · {out.address}", out.address, "outcome", "outcome", tuple(lines))


def _numbers(teller: Teller, out: Value, y: np.ndarray) -> list[Line]:
    """All numbers of a small result; of a large one the largest at the last position."""
    flat, wide = y.reshape(-1), y.shape[-1] if y.ndim else 1
    limit = 16 if teller.top is None else teller.top
    order, caption = np.arange(flat.size), f"shape {out.shape}"
    if flat.size > limit and y.dtype.kind != "c":
        row = flat[-wide:].astype(np.float64)
        order = flat.size - wide + np.argsort(-np.where(np.isnan(row), np.inf, row), kind="stable")[:limit]
        caption += ", the largest at the last position"
    rows: list[tuple[Cell, ...]] = [
        (teller.names.unit(out, int(i)), decimal(flat[i], teller.digits) if y.dtype.kind != "c" else str(flat[i]))
        for i in order[:limit]
    ]
    left = f"{flat.size - len(rows):,} more numbers" if flat.size > len(rows) else ""
    return [Table(("unit", "value"), tuple(rows), caption, left)]


def _not_finite(y: np.ndarray) -> list[Line]:
    if y.dtype.kind in "biuc":
        return []
    counts = {"NaN": int(np.isnan(y).sum()), "infinite": int(np.isinf(y).sum())}
    found = " and ".join(f"{n} of {y.size} {'is' if n == 1 else 'are'} {what}" for what, n in counts.items() if n)
    return [Text(f"This is no usable result: {found}.", "warning")] if found else []


def _winners(teller: Teller, out: Value, y: np.ndarray, labels: object) -> list[Line]:
    rows = y.reshape(-1, y.shape[-1])
    last = len(rows) - 1
    told = range(len(rows)) if teller.top is None else range(last, len(rows))
    lines: list[Line] = [
        Text("softmax of these scores, computed here in float64 (the net itself stops at the scores):", "note")
    ]
    for r in told:
        place = teller.names.place(out, r, len(rows))
        units = [teller.names.unit(out, r * rows.shape[1] + j) for j in range(rows.shape[1])]
        x = rows[r].astype(np.float64)
        with np.errstate(all="ignore"):
            p = np.exp(x - x.max())
            p = p / p.sum()
        lines.append(shares(teller, units, rows[r], p, f"for {place}" if place and len(rows) > 1 else ""))
        lines.append(_winner(place, x, p, labels, teller))
    if len(told) < len(rows):
        lines.append(Text(f"Only the last of {len(rows)} places is shown.", "note"))
    return lines


def _winner(place: str, x: np.ndarray, p: np.ndarray, labels: object, teller: Teller) -> Text:
    if not np.isfinite(x).all():
        bad = int((~np.isfinite(x)).sum())
        return Text(f"{place}: no winner, because {bad} of the {len(x)} scores are NaN or infinite.", "warning")
    best = np.flatnonzero(x == x.max())
    word = [repr(labels[int(i)]) for i in best]  # type: ignore[index]
    if len(best) > 1:
        return Text(f"{place} → a tie between {' and '.join(word)}", "result")
    share = plain_number(decimal(p[best[0]], min(teller.digits, 6)))
    return Text(f"{place} → {word[0]}, probability {share}", "result")


def multiplications(walk: Walk) -> int:
    """How many products the forward phase summed, as far as they are sums of products."""
    ops = (products(s) for s in walk.steps if s.phase == "forward" and kept(s))
    return sum(op.size for op in ops if op is not None)
