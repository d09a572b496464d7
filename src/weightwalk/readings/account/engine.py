"""The sweep: one pass backwards over the steps, carrying a cotangent per value.

At each step that received a cotangent, a rule hands it on to the arguments; what reaches the cut, what does not depend
on the cut, and what a rule leaves over become the terms of the account. After each step both sides of ::

    <cot, out> = sum <cot_i, in_i> + constants

are compared in float64: that difference is the step's residual.
"""

from __future__ import annotations

import fnmatch
import heapq
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from weightwalk.errors import NotKeptError, UsageError
from weightwalk.readings.account.facts import Residual
from weightwalk.readings.account.graph import Graph
from weightwalk.readings.account.products import Split
from weightwalk.readings.account.rules import find_rule, generic, zoomed
from weightwalk.readings.account.rules.base import Flow, Key, Op, Opaque
from weightwalk.readings.account.tensors import Cotangent, Picked, fold, inner, tensor_of
from weightwalk.walks.model import Ref, Step
from weightwalk.walks.walk import Walk

Progress = Callable[[int, int], None]

FEW = 8
UNITS = {
    "float64": 2.0**-53, "complex128": 2.0**-53, "float32": 2.0**-24, "complex64": 2.0**-24,
    "float16": 2.0**-11, "bfloat16": 2.0**-8,
}  # fmt: skip
"""Unit roundoff of each dtype."""


@dataclass(slots=True)
class Term:
    """A contribution that is not at the cut: a constant value's, a rule's leftover, an opaque op."""

    address: str
    label: str
    kind: str
    parts: list[float] = field(default_factory=list)


@dataclass(slots=True)
class Flowing:
    """What arrived at a value so far: its cotangent, ``<cot, value>`` and ``sum |cot * value|``."""

    cot: Cotangent
    amount: float
    scale: float


class Sweep:
    """One account in the making.

    Args:
        graph: The walk's data flow.
        signal: Per value, whether it depends on the cut.
        stops: The values of the cut; the mask of the elements that are cut, or None for all of them.
        split: See :mod:`weightwalk.readings.account.products`.
        dtype: float64 or float32: what the sweep computes in.
    """

    def __init__(
        self, graph: Graph, signal: bytearray, stops: Mapping[int, Tensor | None], split: Split, dtype: torch.dtype
    ) -> None:
        self.walk: Walk = graph.walk
        self.graph = graph
        self.values, self.steps = graph.values, graph.steps
        self.signal = signal
        self.updates = graph.updated(signal)
        self.floats = graph.floats
        self.stops = stops
        self.split = split
        self.split_patterns = (
            [(re.compile(fnmatch.translate(k)), v) for k, v in split.items()] if isinstance(split, Mapping) else []
        )
        self.dtype = dtype
        self.unit = torch.finfo(dtype).eps / 2
        self.flowing: dict[int, Flowing] = {}
        self.queue: list[int] = []
        self.queued: set[int] = set()
        self.arrived: dict[int, Tensor] = {}  # cut value -> cotangent
        self.terms: dict[tuple[str, str], Term] = {}
        self.residuals: list[Residual] = []
        self.frozen: dict[str, int] = {}
        self.unchecked = 0
        self.passed = 0
        self.depth = 0  # how many fused ops this sweep is inside of
        self.free: set[int] = set()  # target values, which the cut does not stop
        self._tensors: dict[int, Tensor] = {}
        self._made: dict[int, list[int]] = {}  # step -> which of its values are in `_tensors`

    # Numbers -------------------------------------------------------------------------------------------------------

    def tensor(self, vid: int) -> Tensor:
        """The numbers of a value: floats in the sweep's dtype, everything else as recorded."""
        found = self._tensors.get(vid)
        if found is None:
            found = tensor_of(self.walk, self.values[vid])
            found = found.to("cpu", self.dtype_of(vid)) if self.floats[vid] else found.cpu()
            self._tensors[vid] = found
            producer = self.values[vid].producer
            if producer is not None:
                self._made.setdefault(producer, []).append(vid)
        return found

    def dtype_of(self, vid: int) -> torch.dtype:
        """What the sweep computes in at a value: its own dtype, or the complex one of that precision."""
        if not self.values[vid].dtype.startswith("complex"):
            return self.dtype
        return torch.complex128 if self.dtype == torch.float64 else torch.complex64

    def constant_argument(self, argument: Any) -> Any:
        """A recorded constant as torch takes it; float dtypes become the sweep's own."""
        if not isinstance(argument, str):
            return argument
        named = getattr(torch, argument, None)
        if isinstance(named, torch.dtype):
            wide = torch.complex128 if self.dtype == torch.float64 else torch.complex64
            return self.dtype if named.is_floating_point else wide if named.is_complex else named
        if isinstance(named, (torch.memory_format, torch.layout)):
            return named
        return "cpu" if argument.startswith(("cuda", "mps", "xpu")) else argument

    def carries(self, step: Step) -> bytearray:
        """Per value, whether contributions flow into it from `step`.

        In the update phase weights do too, so that ``W (1 - lr decay)`` and ``-W`` meet in one row of W.
        """
        return self.updates if step.phase == "update" else self.signal

    # The sweep -----------------------------------------------------------------------------------------------------

    def seed(self, vid: int, cot: Cotangent) -> None:
        """Start from a value of the target."""
        self.free.add(vid)
        amount, scale = self._inner(vid, cot)
        self._arrive(vid, cot, amount, scale)

    def run(self, progress: Progress | None = None) -> None:
        """Sweep until nothing flows."""
        first = -self.queue[0] + 1 if self.queue else 0
        while self.queue:
            index = -heapq.heappop(self.queue)
            self.queued.discard(index)
            step = self.steps[index]
            with torch.no_grad():
                self._step(step)
            if progress is not None:
                progress(first - index, first)
        for vid, flowing in list(self.flowing.items()):
            self._land(vid, flowing)
        self.flowing.clear()

    def _step(self, step: Step) -> None:
        cots: list[Cotangent | None] = []
        amounts, scale = [], 0.0
        for out in step.outputs:
            flowing = self._take(out.value, step) if isinstance(out, Ref) else None
            cots.append(None if flowing is None else flowing.cot)
            if flowing is not None:
                amounts.append(flowing.amount)
                scale += flowing.scale
        if not amounts:
            return
        self.passed += 1
        op = Op(self, step, cots)
        amount = math.fsum(amounts)
        try:
            flow = self._apply(op)
        except (Opaque, NotKeptError) as error:
            self._opaque(step, amount, error)
            return
        self._hand_on(op, flow, amount, scale)
        for vid in self._made.pop(step.index, ()):  # nobody asks for these again
            self._tensors.pop(vid, None)

    def _opaque(self, step: Step, amount: float, error: Exception) -> None:
        """What arrived at a step that cannot be seen through becomes a row, so that the account closes."""
        why = "opaque" if isinstance(error, Opaque) else "numbers not kept"
        if math.isnan(amount):
            raise NotKeptError(
                f"the account cannot pass {step.address} ({step.op}), because numbers around it were not kept; record "
                f"again with keep= naming them, or without keep=."
            ) from error
        self._term(step.address, f"{why}: {step.name} at {step.address}", "opaque").parts.append(amount)

    def _take(self, vid: int, step: Step) -> Flowing | None:
        """What arrived at an output of `step`, less what the cut keeps."""
        if self.values[vid].producer != step.index:
            return None
        flowing = self.flowing.pop(vid, None)
        if flowing is None or vid not in self.stops or vid in self.free:
            return flowing
        return self._cut(vid, flowing)

    def _cut(self, vid: int, flowing: Flowing) -> Flowing | None:
        """Keep the cut's part of what arrived; the rest, if any, flows on."""
        cot = flowing.cot.dense() if isinstance(flowing.cot, Picked) else flowing.cot
        mask = self.stops[vid]
        if mask is None:
            self.arrived[vid] = cot
            return None
        self.arrived[vid] = torch.where(mask, cot, torch.zeros((), dtype=cot.dtype))
        rest = cot - self.arrived[vid]
        if not rest.any():
            return None
        return Flowing(rest, *self._inner(vid, rest))

    def _land(self, vid: int, flowing: Flowing) -> None:
        """A value that no step made: the cut's, or a constant."""
        left: Flowing | None = flowing
        if vid in self.stops and vid not in self.free:
            left = self._cut(vid, flowing)
        if left is not None:
            self._constant_value(vid, left.amount)

    def _apply(self, op: Op) -> Flow:
        entry = find_rule(op.step.op)
        try:
            flow = generic.linear(op) if entry is None else entry.apply(op)
            text = "" if entry is None else entry.freezes
        except Opaque:
            op.constants, op.freezes, text = [], [], ""
            flow = zoomed.inside(op)
        for frozen in {*([text] if text else []), *op.freezes}:
            self.frozen[frozen] = self.frozen.get(frozen, 0) + 1
        return flow

    def _hand_on(self, op: Op, flow: Flow, amount: float, scale: float) -> None:
        sums, unknown = [], []
        carries = self.carries(op.step)
        for key, cot in flow.items():
            vid = op.value_id(key)
            if vid is None or cot is None:
                continue
            raw, cot = cot, self._fitted(vid, cot)
            try:
                part, size = self._inner(vid, cot)
                if not math.isfinite(part):
                    cot = self._fitted(vid, _quiet(op, raw))
                    part, size = self._inner(vid, cot)
            except NotKeptError:
                if not carries[vid]:
                    raise
                unknown.append((vid, cot))
                continue
            sums.append(part)
            scale += size
            if carries[vid]:
                self._arrive(vid, cot, part, size)
            else:
                self._constant_value(vid, part)
        for vid, part in op.credits:
            sums.append(part)
            scale += abs(part)
            self._constant_value(vid, part)
        for what, label, at in op.constants:
            part = float(what.sum(dtype=torch.float64)) if isinstance(what, Tensor) else float(what)
            sums.append(part)
            scale += abs(part)
            if part:
                self._term(at, f"{label} at {at}", "rule").parts.append(part)
        self._check(op, amount, sums, scale, unknown)

    def _fitted(self, vid: int, cot: Cotangent) -> Cotangent:
        """A rule's cotangent in the shape of its value, and real where that is."""
        if isinstance(cot, Picked):
            return cot
        cot = fold(cot, self.values[vid].shape)
        return cot.real if cot.is_complex() and not self.values[vid].dtype.startswith("complex") else cot

    def _check(
        self, op: Op, amount: float, sums: list[float], scale: float, unknown: list[tuple[int, Cotangent]]
    ) -> None:
        """Compare both sides of the step; where the numbers of one argument were not kept, infer its part."""
        if not all(map(math.isfinite, sums)):
            raise UsageError(
                f"the account met a number that is not finite at {op.step.address} ({op.step.op}): NaN and infinity "
                f"have no sum of contributions; walk.narrate() shows where they first appear."
            )
        if unknown or math.isnan(amount):
            inferred = math.fsum([amount, *(-s for s in sums)]) if len(unknown) == 1 else math.nan
            for vid, cot in unknown:
                self._arrive(vid, cot, inferred, 0.0)
            self.unchecked += 1
            return
        gap = math.fsum([amount, *(-s for s in sums)])
        self.residuals.append(
            Residual(op.step.index, op.step.address, op.step.op, abs(gap), scale, self._bound(op, scale))
        )

    def _bound(self, op: Op, scale: float) -> float:
        """How large rounding can make the residual, to first order in the unit roundoff u.

        Each product that enters was rounded a few times, in the record and in the sweep: `FEW` u of it each. Sums of n
        terms add n u times the sum of absolute values (Higham, ch. 3), in the precision in which kernels accumulate.
        """
        dtypes = [op.result(k).dtype for k, c in enumerate(op.cots) if c is not None]
        unit = max(UNITS.get(d, 0.0) for d in dtypes)
        for vid in (v for v in map(op.value_id, op.tensors()) if v is not None):
            unit = max(unit, UNITS.get(self.values[vid].dtype, 0.0)) if op.step.name == "to_copy" else unit
        accumulating = min(unit, UNITS["float32"])
        sums = math.fsum(amount * n for amount, n in op.sizes)
        return scale * FEW * (unit + self.unit) + sums * (accumulating + self.unit)

    def _inner(self, vid: int, cot: Cotangent) -> tuple[float, float]:
        value = self.tensor(vid)
        if isinstance(cot, Picked):
            return inner(cot.values, value.reshape(-1)[cot.flat] if value.is_contiguous() else _at(value, cot))
        return inner(cot, value)

    def _arrive(self, vid: int, cot: Cotangent, amount: float, scale: float) -> None:
        before = self.flowing.get(vid)
        if before is None:
            self.flowing[vid] = Flowing(cot, amount, scale)
            producer = self.values[vid].producer
            if producer is not None and producer not in self.queued:
                self.queued.add(producer)
                heapq.heappush(self.queue, -producer)
            return
        old = before.cot.dense() if isinstance(before.cot, Picked) else before.cot
        new = cot.dense() if isinstance(cot, Picked) else cot
        before.cot = old + new
        before.amount += amount
        before.scale += scale

    def _term(self, address: str, label: str, kind: str) -> Term:
        return self.terms.setdefault((address, label), Term(address, label, kind))

    def _constant_value(self, vid: int, amount: float) -> None:
        address = label = self.values[vid].address
        if address.startswith("value "):  # it has no name: say who reads it
            readers = self.graph.consumers(vid)
            label = f"constant read by {readers[0].address}" if readers else address
        self._term(address, label, "constant").parts.append(amount)


def _quiet(op: Op, cot: Cotangent) -> Cotangent:
    """`cot` with 0 where the op's own cotangent was 0: no NaN from 0 / 0 or 0 * inf where nothing flows."""
    here = op.cots[0]
    if isinstance(cot, Picked) or not isinstance(here, Tensor) or here.shape != cot.shape:
        return cot
    return torch.where(here == 0, torch.zeros((), dtype=cot.dtype), cot)


def _at(value: Tensor, cot: Picked) -> Tensor:
    index = torch.unravel_index(cot.flat, cot.shape) if cot.shape else ()
    return value[index] if index else value.reshape(1)


__all__ = ["Key", "Sweep", "Term"]
