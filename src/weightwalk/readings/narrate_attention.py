"""The story of attention: q·k/√d per head, the softmax of each row, the values weighted by it.

The scores are found from the data flow: a softmax over the last axis of a (batch, head, query, key) value is one
attention, whatever module it runs in; a fused kernel keeps no scores, so they are computed here from its recorded
q, k and v, in float64, which the story says.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

import numpy as np

from weightwalk.readings.narrate_decimals import EXACT, decimal, rounded, share, total
from weightwalk.readings.narrate_facts import Cell, Line, Table, Text
from weightwalk.readings.narrate_names import MOVES
from weightwalk.readings.narrate_ops import Teller, plain_number
from weightwalk.walks.model import Ref, Step, Value
from weightwalk.walks.walk import Walk

PLACES = 6
HEADS = 16  # shown of one attention
# Between the product q·k and the softmax: scaling, masking, and moves.
SCALING = MOVES | frozenset((
    "div", "div_", "mul", "mul_", "add", "add_", "masked_fill", "masked_fill_", "where", "softcap", "tanh",
    "baddbmm",
))  # fmt: skip


@dataclass(frozen=True)
class Attention:
    """One attention of the walk.

    Attributes:
        step: The softmax, or the fused kernel.
        scores: q·k/√d with the mask applied, (batch, head, query, key).
        pattern: Its softmax, same shape.
        values: What is weighted, (batch, head, key, size); None where it was not found.
        size: d, the size of a head; 0 where it was not found.
        fused: Whether scores and pattern were computed here.
        off: For a fused kernel, the largest difference between its recorded output and the pattern times the values.
    """

    step: Step
    scores: np.ndarray
    pattern: np.ndarray
    values: np.ndarray | None
    size: int
    fused: bool
    off: float = 0.0


def is_fused(step: Step) -> bool:
    """Whether a step is a fused attention kernel."""
    return step.name.startswith("scaled_dot_product") and step.phase == "forward" and "backward" not in step.name


def is_core(step: Step) -> bool:
    """Whether a step is the heart of an attention: a fused kernel, or a softmax between two matrix products.

    A softmax that routes among experts, or ends a classifier, has no second product that it weights.
    """
    if is_fused(step):
        return True
    if step.name != "softmax" or step.phase != "forward":
        return False
    out = next(step.results(), None)
    if out is None or len(out.shape) not in (3, 4) or step.args[1] not in (-1, len(out.shape) - 1):
        return False
    return _head_size(next(step.inputs())) > 0 and _weighted(step.walk, out) is not None


def attention(walk: Walk, step: Step) -> Attention | None:
    """What a heart of attention did; None where its numbers were not kept."""
    return _fused(walk, step) if is_fused(step) else _written_out(walk, step)


def _written_out(walk: Walk, step: Step) -> Attention | None:
    value, out = next(step.inputs()), next(step.results())
    if not value.kept or not out.kept:
        return None
    pattern, scores = _four(out.numpy()), _four(value.numpy())
    weighted = _weighted(walk, out)
    values = _values(weighted, pattern.shape) if weighted is not None and weighted.kept else None
    return Attention(step, scores, pattern, values, _head_size(value), fused=False)


def _four(array: np.ndarray) -> np.ndarray:
    return array if array.ndim == 4 else array[None]


def _weighted(walk: Walk, pattern: Value) -> Value | None:
    """The values that the pattern multiplies: the other factor of the next matrix product."""
    frontier, seen = [pattern.id], {pattern.id}
    for _ in range(16):
        if not frontier:
            break
        vid = frontier.pop(0)
        for index in walk.users(vid):
            step = walk.steps[index]
            inputs = list(step.inputs())
            if step.phase == "forward" and step.name in ("bmm", "matmul", "mm") and inputs[0].id == vid:
                return inputs[1]
            if step.name in MOVES:
                new = [v.id for v in step.results() if v.id not in seen]
                seen.update(new)
                frontier.extend(new)
    return None


def _values(value: Value, shape: tuple[int, ...]) -> np.ndarray | None:
    v = value.numpy()
    batch, heads, _, keys = shape
    if v.shape[-2] != keys or v.size != batch * heads * keys * v.shape[-1]:
        return None
    return v.reshape(batch, heads, keys, v.shape[-1])


def _head_size(scores: Value) -> int:
    """d, from the product q·k that the scores come from; 0 where there is none."""
    value = scores
    for _ in range(24):
        step = value.step
        if step is None:
            return 0
        inputs = list(step.inputs())
        if step.name in ("bmm", "matmul", "mm", "baddbmm") and inputs:
            return inputs[-2].shape[-1] if len(inputs) > 1 else 0
        if step.name not in SCALING or not inputs:
            return 0
        value = max(inputs, key=lambda v: (v.dtype.startswith(("float", "bfloat")), v.size))
    return 0


def _fused(walk: Walk, step: Step) -> Attention | None:
    tensors = [walk.values[a.value] for a in step.args if isinstance(a, Ref)]
    out = next(step.results())
    if len(tensors) < 3 or not all(v.kept for v in [*tensors, out]) or len(tensors[0].shape) != 4:
        return None
    q, k, v = (t.numpy().astype(np.float64) for t in tensors[:3])
    if k.shape[1] != q.shape[1]:  # grouped queries share keys and values
        k, v = (np.repeat(x, q.shape[1] // x.shape[1], axis=1) for x in (k, v))
    options = _options(step)
    scale = options.get("scale") or 1 / math.sqrt(q.shape[-1])
    with np.errstate(all="ignore"):
        scores = q @ np.swapaxes(k, -1, -2) * scale  # type: ignore[operator]
        mask = options.get("mask")
        if isinstance(mask, Value) and mask.kept:
            m = mask.numpy()
            scores = np.where(m, scores, -np.inf) if m.dtype == bool else scores + m.astype(np.float64)
        if options.get("causal"):
            scores = np.where(np.tri(*scores.shape[-2:], dtype=bool), scores, -np.inf)
        pattern = np.exp(scores - scores.max(-1, keepdims=True))
        pattern = pattern / pattern.sum(-1, keepdims=True)
        off = float(np.max(np.abs(pattern @ v - out.numpy().astype(np.float64)), initial=0))
    return Attention(step, scores, pattern, v, q.shape[-1], fused=True, off=off)


def _options(step: Step) -> dict[str, object]:
    """Mask, causality and scale of a fused kernel, wherever its overload puts them."""
    found: dict[str, object] = {"scale": step.kwargs.get("scale")}
    for arg in [*step.args[3:], step.kwargs.get("attn_mask"), step.kwargs.get("attn_bias")]:
        if isinstance(arg, Ref):
            found["mask"] = step.walk.values[arg.value]
    flags = [a for a in step.args[3:] if isinstance(a, bool)]
    names = [n for n in ("is_causal",) if n in step.kwargs]
    if names:
        found["causal"] = step.kwargs["is_causal"]
    elif flags:  # the efficient kernel has compute_log_sumexp before is_causal
        found["causal"] = flags[1] if "efficient" in step.name and len(flags) > 1 else (
            False if "efficient" in step.name else flags[0]
        )  # fmt: skip
    return found


# Telling ------------------------------------------------------------------------------------------------------------


def tell_attention(teller: Teller, walk: Walk, step: Step, at: int = -1) -> list[Line]:
    """q·k/√d per head, its softmax, and the weighted values, for one query position of the first example."""
    found = attention(walk, step)
    if found is None:
        return [Text(f"{step.address}: the numbers of this attention were not kept (see keep=).", "note")]
    batch, heads, queries, keys = found.scores.shape
    tokens = [repr(t) for t in walk.labels.get("tokens") or []]
    key_names = tokens if len(tokens) == keys else [f"[{j}]" for j in range(keys)]
    query = key_names[at] if len(tokens) == queries == keys else f"position {queries + at if at < 0 else at}"
    root = f"√{found.size}" if found.size else "the scale"
    place = f"per head, the query at {query}" + (f", example 0 of {batch}" if batch > 1 else "")
    lines: list[Line] = []
    if found.fused:
        lines.append(
            Text(
                "A fused kernel ran this attention and kept no scores: they are computed here in float64 from its "
                "recorded q, k and v. The values weighted by them differ from its recorded output by at most "
                f"{found.off:.1e}.",
                "note",
            )
        )
    scores, pattern = found.scores[0, :, at], found.pattern[0, :, at]
    if heads > HEADS:
        lines.append(Text(f"Of {heads} heads the first {HEADS} are shown.", "note"))
        scores, pattern = scores[:HEADS], pattern[:HEADS]
    shown = _choice(pattern, key_names, teller.top)
    lines.append(_scores(scores, shown, f"q·k/{root} {place}"))
    lines.append(_pattern(pattern, shown, f"softmax: how much of each token is taken, {place}"))
    if found.values is not None:
        lines.append(_weights(pattern, found.values[0], shown, f"weighted values: norm of p·v, {place}"))
    return lines


@dataclass(frozen=True)
class Shown:
    """Which keys are shown, per head: all side by side where they fit, else those that weigh most, with names."""

    names: Sequence[str]
    keys: list[np.ndarray]
    all: bool

    @property
    def columns(self) -> tuple[str, ...]:
        """Headings."""
        return tuple(self.names) if self.all else tuple(f"largest {i + 1}" for i in range(len(self.keys[0])))

    def cells(self, head: int, numbers: Sequence[Cell]) -> tuple[Cell, ...]:
        """One row's numbers, with the names of their keys where the columns do not give them."""
        if self.all:
            return tuple(numbers)
        return tuple(
            f"{self.names[j]} {n if not isinstance(n, Decimal) else plain_number(n)}"
            for j, n in zip(self.keys[head], numbers, strict=True)
        )


def _choice(pattern: np.ndarray, names: Sequence[str], top: int | None) -> Shown:
    heads, keys = pattern.shape
    if top is None or keys <= max(top, 6):
        return Shown(names, [np.arange(keys)] * heads, True)
    with np.errstate(all="ignore"):
        chosen = [np.argsort(-np.nan_to_num(row.astype(np.float64), nan=2.0), kind="stable")[:top] for row in pattern]
    return Shown(names, chosen, False)


def _scores(scores: np.ndarray, shown: Shown, caption: str) -> Table:
    rows: list[tuple[Cell, ...]] = []
    for h, keys in enumerate(shown.keys):
        # A mask is -inf or the lowest number of its dtype; of the dtypes in use, float16's lowest is the highest.
        cells: list[Cell] = [
            "masked" if x <= -65504 else decimal(np.float64(x), PLACES) for x in (float(scores[h, j]) for j in keys)
        ]
        rows.append((f"head {h}", *shown.cells(h, cells)))
    omitted = "" if shown.all else f"{scores.shape[1] - len(shown.keys[0])} keys per head with less weight"
    return Table(("", *shown.columns), tuple(rows), caption, omitted)


def _pattern(pattern: np.ndarray, shown: Shown, caption: str) -> Table:
    rows: list[tuple[Cell, ...]] = []
    for h, keys in enumerate(shown.keys):
        row = pattern[h].astype(np.float64)
        cells = [share(float(row[j]), PLACES) for j in keys]
        whole = rounded(decimal(np.float64(row.sum()), 17), Decimal(1).scaleb(-PLACES))
        rows.append((f"head {h}", *shown.cells(h, cells), EXACT.subtract(whole, total(cells)), whole))
    return Table(("", *shown.columns, "rest", "sum"), tuple(rows), caption)


def _weights(pattern: np.ndarray, values: np.ndarray, shown: Shown, caption: str) -> Table:
    rows: list[tuple[Cell, ...]] = []
    with np.errstate(all="ignore"):
        for h, keys in enumerate(shown.keys):
            p, v = pattern[h].astype(np.float64), values[h].astype(np.float64)
            norms = np.sqrt(np.sum((p[:, None] * v) ** 2, axis=-1))
            mixed = np.sqrt(np.sum((p @ v) ** 2))
            cells = [decimal(norms[j], PLACES) for j in keys]
            rows.append((f"head {h}", *shown.cells(h, cells), decimal(mixed, PLACES)))
    return Table(("", *shown.columns, "of the sum"), tuple(rows), caption)
