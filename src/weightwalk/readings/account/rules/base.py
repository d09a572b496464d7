"""How a rule sees a step, and the table of rules.

A rule is given an :class:`Op` and returns a *flow*: for each argument that carries signal, the cotangent to pass on,
such that ::

    <cotangent, out> == sum over arguments <flow, argument> + constants

Keys of a flow are argument names of the op's schema (``"self"``, or ``("tensors", 2)`` inside a list). A cotangent may
be larger than its argument where the op broadcast it: the engine sums it down. What does not flow is handed to
``op.constant``. The engine measures both sides and reports the difference, so a rule that is wrong is seen.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from weightwalk.errors import NotKeptError
from weightwalk.readings.account.tensors import Cotangent, Picked
from weightwalk.walks.model import Ref, Step

if TYPE_CHECKING:
    from weightwalk.readings.account.engine import Sweep

Key = str | tuple[str, int]
Flow = dict[Key, Any]
Rule = Callable[["Op"], Flow]


class Opaque(Exception):
    """Raised by a rule that cannot see through this call after all; the step becomes a row of its own."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One rule: what it does and what it freezes, in words."""

    apply: Rule
    freezes: str


RULES: dict[str, Entry] = {}

OWN = {
    "weightwalk.overwrite.default": ("old", "written"),
    "weightwalk.alias.default": ("base", "shape", "strides", "offset"),
}


def rule(*ops: str, freezes: str = "") -> Callable[[Rule], Rule]:
    """Make the decorated function the rule of `ops` (``"aten.mul"`` stands for every overload, and for ``mul_``)."""

    def enter(fn: Rule) -> Rule:
        for op in ops:
            RULES[op] = Entry(fn, freezes)
        return fn

    return enter


def find_rule(op: str) -> Entry | None:
    """The rule of a full op name: its own, or that of its family."""
    if op in RULES:
        return RULES[op]
    parts = op.split(".")
    if len(parts) < 2:
        return None
    family = f"{parts[0]}.{parts[1]}"
    if family in RULES:
        return RULES[family]
    plain = parts[1].rstrip("_") if parts[1].endswith("_") and not parts[1].endswith("__") else parts[1]
    return RULES.get(f"{parts[0]}.{plain}")


@cache
def overload(op: str) -> Any:
    """The callable of a full op name, or None where this torch does not have it."""
    parts = op.split(".")
    try:
        found = torch.ops
        for part in parts:
            found = getattr(found, part)
    except (AttributeError, RuntimeError):
        return None
    return found if hasattr(found, "_schema") else None


@cache
def schema(op: str) -> tuple[tuple[str, Any], ...] | None:
    """(name, default) of each argument of an op."""
    if op in OWN:
        return tuple((n, None) for n in OWN[op])
    found = overload(op)
    if found is None:
        return None
    return tuple((a.name, a.default_value if a.has_default_value() else None) for a in found._schema.arguments)


class Op:
    """A step as a rule sees it: arguments by name, cotangents, and what the rule has to say."""

    def __init__(self, sweep: Sweep, step: Step, cots: list[Cotangent | None]) -> None:
        self.sweep = sweep
        self.step = step
        self.cots = cots
        self.constants: list[tuple[Tensor | float, str, str]] = []  # amount, label, address
        self.freezes: list[str] = []
        self.sizes: list[tuple[float, float]] = []
        self.credits: list[tuple[int, float]] = []
        names = schema(step.op)
        self.args: dict[str, Any] = dict(names or ())
        for i, argument in enumerate(step.args):
            self.args[names[i][0] if names and i < len(names) else str(i)] = argument
        self.args.update(step.kwargs)

    # Arguments -----------------------------------------------------------------------------------------------------

    def raw(self, key: Key) -> Any:
        """An argument as the walk has it: a ``Ref``, a constant, a list."""
        if isinstance(key, tuple):
            return self.args[key[0]][key[1]]
        return self.args.get(key)

    def __getitem__(self, key: Key) -> Any:
        """An argument: a tensor in the sweep's dtype (integers as they are), a constant, or a list of these."""
        return self._resolve(self.raw(key))

    def _resolve(self, argument: Any) -> Any:
        if isinstance(argument, Ref):
            return self.sweep.tensor(argument.value)
        if isinstance(argument, (list, tuple)):
            return [self._resolve(a) for a in argument]
        return argument

    def value_id(self, key: Key) -> int | None:
        """The value behind an argument; None for a constant."""
        argument = self.raw(key)
        return argument.value if isinstance(argument, Ref) else None

    def shape(self, key: Key) -> tuple[int, ...]:
        """The shape of an argument, without reading its numbers."""
        vid = self.value_id(key)
        return () if vid is None else self.sweep.values[vid].shape

    def signal(self, key: Key) -> bool:
        """Whether an argument depends on the cut."""
        vid = self.value_id(key)
        return vid is not None and bool(self.sweep.carries(self.step)[vid])

    def given(self, key: Key) -> bool:
        """Whether an argument is a float tensor."""
        vid = self.value_id(key)
        return vid is not None and self.sweep.floats[vid]

    def tensors(self) -> Iterator[Key]:
        """The keys of all float tensors among the arguments."""
        for name, argument in self.args.items():
            if isinstance(argument, (list, tuple)):
                for i in range(len(argument)):
                    if self.given((name, i)):
                        yield name, i
            elif self.given(name):
                yield name

    # Results -------------------------------------------------------------------------------------------------------

    @property
    def cot(self) -> Tensor:
        """The cotangent of the (first) output, dense."""
        return self.cot_of(0)

    def cot_of(self, k: int) -> Tensor:
        """The cotangent of output `k`; zeros where nothing arrived."""
        cot = self.cots[k] if k < len(self.cots) else None
        if isinstance(cot, Picked):
            return cot.dense()
        if cot is None:
            return torch.zeros(self.result(k).shape, dtype=self.sweep.dtype_of(self.result(k).id))
        return cot

    @property
    def picked(self) -> Picked | None:
        """The cotangent of the first output where it has few entries."""
        return self.cots[0] if isinstance(self.cots[0], Picked) else None

    def result(self, k: int = 0) -> Any:
        """The value of output `k`, as the walk has it."""
        ref = self.step.outputs[k]
        assert isinstance(ref, Ref)
        return self.sweep.values[ref.value]

    @property
    def out(self) -> Tensor:
        """The numbers of the first output."""
        return self.out_of(0)

    def out_of(self, k: int) -> Tensor:
        """The numbers of output `k`."""
        return self.sweep.tensor(self.result(k).id)

    # What a rule says ----------------------------------------------------------------------------------------------

    def constant(self, amount: Tensor | float, label: str, at: str | None = None) -> None:
        """Part of ``<cotangent, out>`` that flows nowhere: a row of its own, at this step or at address `at`."""
        self.constants.append((amount, label, at or self.step.address))

    def credit(self, key: Key, amount: float) -> None:
        """Part of ``<cotangent, out>`` that comes from an argument without signal: that argument's own row."""
        vid = self.value_id(key)
        assert vid is not None
        self.credits.append((vid, amount))

    def size(self, amount: Tensor | float | Callable[[], Tensor], n: float) -> None:
        """What rounding can do here: sums of `n` terms, whose absolute values times the cotangents' add up to `amount`.

        The engine allows ``n u amount`` for it, on top of a few roundings of every product that enters the step. Given
        as a function where it needs numbers that the rule itself does not: it is left out if these were not kept.
        """
        if callable(amount):
            try:
                amount = amount()
            except NotKeptError:
                return
        total = float(amount.sum(dtype=torch.float64)) if isinstance(amount, Tensor) else float(amount)
        if isinstance(amount, Tensor) and not math.isfinite(total):  # 0 times infinity, where nothing flows
            total = float(amount[amount.isfinite()].sum(dtype=torch.float64))
        self.sizes.append((total, float(n)))

    def freeze(self, text: str) -> None:
        """Say what was held fixed in this call."""
        self.freezes.append(text)

    def arguments(self, replace: dict[Key, Any]) -> tuple[list[Any], dict[str, Any]]:
        """Positional and keyword arguments for calling the op again, some of them replaced."""

        def build(key: Key, argument: Any) -> Any:
            if key in replace:
                return replace[key]
            if isinstance(argument, (list, tuple)) and isinstance(key, str):
                return [build((key, i), a) for i, a in enumerate(argument)]
            return self.sweep.constant_argument(self._resolve(argument))

        names = schema(self.step.op) or ()
        positional = [build(names[i][0] if i < len(names) else str(i), a) for i, a in enumerate(self.step.args)]
        return positional, {k: build(k, a) for k, a in self.step.kwargs.items()}
