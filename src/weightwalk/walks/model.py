"""The record itself: values, steps, module calls, and the walk that holds them.

Plain data with no knowledge of torch: a walk recorded from a model and a walk read from a file are the same thing,
told apart only by the *store* from which the numbers come.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, fields, make_dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

if TYPE_CHECKING:
    from weightwalk.walks.walk import Walk

PHASES = ("forward", "loss", "backward", "update")


@dataclass(frozen=True, slots=True)
class Ref:
    """The place of a value inside the arguments or results of a step."""

    value: int


Argument = Any
"""``Ref`` for a tensor; ``None``, ``bool``, ``int``, ``float``, ``complex`` or ``str`` for a constant (a dtype is its
name, such as ``"float32"``); a ``list`` of these for a list argument."""


class Store(Protocol):
    """Where the numbers of a walk live: in memory, or in a file that is read on demand."""

    def kept(self, value: Value) -> bool:
        """Whether the numbers of `value` can be had."""
        ...

    def array(self, value: Value) -> np.ndarray:
        """The numbers of `value`, read-only, in the recorded dtype (bfloat16 through ``ml_dtypes``)."""
        ...

    def data(self, buffer: int, start: int, stop: int) -> np.ndarray:
        """Bytes `start` to `stop` of one buffer as a 1-D ``uint8`` array."""
        ...


@dataclass(frozen=True, slots=True)
class Value:
    """One tensor at one moment.

    A value is a window (`dtype`, `shape`, `strides`, `offset`; strides and offset in elements) onto a *buffer*, the
    contents of one storage between two writes. Views share a buffer; an in-place write begins a new one.

    Attributes:
        id: Number of the value in its walk.
        dtype: NumPy-style name: ``"float32"``, ``"bfloat16"``, ``"int64"``, ``"bool"`` ...
        shape: Sizes; ``()`` for a 0-d tensor.
        strides: Distance between neighbours along each axis, in elements.
        offset: Index of the first element in the buffer, in elements.
        buffer: Number of the buffer.
        producer: Index of the step that made it; None for what came from outside (inputs, parameters, constants).
        kind: ``"op"``, ``"input"``, ``"parameter"``, ``"buffer"`` or ``"constant"``.
    """

    id: int
    dtype: str
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    offset: int
    buffer: int
    producer: int | None
    kind: str
    walk: Walk = field(repr=False, compare=False)

    @property
    def size(self) -> int:
        """Number of elements."""
        n = 1
        for s in self.shape:
            n *= s
        return n

    @property
    def kept(self) -> bool:
        """Whether the numbers were kept (see ``keep=``)."""
        return self.walk.store.kept(self)

    @property
    def address(self) -> str:
        """The shortest address that finds this value."""
        return self.walk.address_of(self.id)

    @property
    def step(self) -> Step | None:
        """The step that made it, or None."""
        return None if self.producer is None else self.walk.steps[self.producer]

    def numpy(self) -> np.ndarray:
        """The numbers, read-only, in the recorded dtype.

        Raises:
            NotKeptError: `keep=` left them out.
            OverwrittenError: The memory was changed after the recording.
        """
        return self.walk.store.array(self)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.array(self.numpy(), dtype=dtype, copy=True if copy is None else copy)

    def __float__(self) -> float:
        return float(self.numpy().reshape(()))


@dataclass(frozen=True, slots=True)
class Step:
    """One operation as it ran.

    Attributes:
        index: Position in the walk.
        op: Full ATen name with overload, such as ``"aten.addmm.default"``.
        args: Positional arguments as dispatched (trailing defaults left out, as ATen does).
        kwargs: Keyword arguments as dispatched.
        outputs: What it returned, flattened: a ``Ref`` per tensor, the number itself for a scalar, None for nothing;
            then a ``Ref`` for each overwritten argument that was not also returned.
        written: (old value, new value) for each argument overwritten in place.
        module: Path of the innermost module that was running; ``""`` for the root or none.
        call: Index into ``walk.calls`` of that module call; -1 outside any module.
        phase: ``"forward"``, ``"loss"``, ``"backward"`` or ``"update"``.
        source: ``"file.py:123 in forward"``: the first line outside torch.
        forward: For a backward step, the index of the forward step whose derivative it computes; else None.
        python: Steps whose Python scalar (``.item()``) may have reached this step's arguments.
    """

    index: int
    op: str
    args: tuple[Argument, ...]
    kwargs: Mapping[str, Argument]
    outputs: tuple[Argument, ...]
    written: tuple[tuple[int, int], ...]
    module: str
    call: int
    phase: str
    source: str
    forward: int | None
    python: tuple[int, ...]
    walk: Walk = field(repr=False, compare=False)

    @property
    def name(self) -> str:
        """The op without namespace, overload or leading underscores: ``"softmax"`` for ``aten._softmax.default``."""
        return short_name(self.op)

    @property
    def address(self) -> str:
        """Where it stands: ``"h.3.attn/softmax"``."""
        return self.walk.step_addresses[self.index]

    def inputs(self) -> Iterator[Value]:
        """The values among the arguments, in order, with repetition."""
        for leaf in leaves((*self.args, *self.kwargs.values())):
            if isinstance(leaf, Ref):
                yield self.walk.values[leaf.value]

    def results(self) -> Iterator[Value]:
        """The values among the outputs, in order."""
        for leaf in self.outputs:
            if isinstance(leaf, Ref):
                yield self.walk.values[leaf.value]

    def zoom(self) -> Walk:
        """The walk of this op's decomposition in float64 on its recorded inputs (needs the ``[torch]`` extra)."""
        from weightwalk.readings.zoom import zoom

        return zoom(self)


@dataclass(frozen=True, slots=True)
class Call:
    """One call of one module.

    Attributes:
        index: Position in ``walk.calls``, in order of entry.
        path: Module path, ``""`` for the root.
        nth: 1 for the first call of that module, 2 for the second ...
        type: Class name.
        parent: Index of the calling module's call, -1 for none.
        first: Index of the first step inside it.
        last: Index after the last step inside it.
        inputs: Value ids by key: ``"0"``, ``"1"`` for positions, names for keywords, dotted for nested containers.
        outputs: Value ids by key: ``""`` for a single tensor, else as for inputs.
    """

    index: int
    path: str
    nth: int
    type: str
    parent: int
    first: int
    last: int
    inputs: Mapping[str, int]
    outputs: Mapping[str, int]

    @property
    def address(self) -> str:
        """``"fc1"``; ``"fc1#2"`` for the second call; ``"out"`` for the root."""
        path = self.path or "out"
        return path if self.nth == 1 else f"{path}#{self.nth}"


@dataclass(frozen=True, slots=True)
class Completeness:
    """What the recorder saw and what it could not explain.

    Attributes:
        executed: Ops that passed through the dispatcher while recording.
        recorded: Ops written down.
        unexplained: Values that no recorded step made and that are no input, parameter, buffer or constant.
        escaped: Steps whose result left for Python as a number (``.item()``, ``bool()``).
    """

    executed: int
    recorded: int
    unexplained: int
    escaped: int

    def __str__(self) -> str:
        text = f"{self.executed:,} ops executed, {self.recorded:,} recorded, {self.unexplained:,} unexplained"
        return text + (f"; {self.escaped:,} numbers escaped into Python" if self.escaped else "")


def _maker(cls: type) -> Callable[..., Any]:
    """A constructor of the frozen class `cls`, all fields by position, at a third of the cost.

    A frozen class fills each field through ``object.__setattr__``. Here the fields of an unfrozen twin are filled, and
    the finished object becomes one of `cls`: a recording makes thousands of them.
    """
    twin = make_dataclass(cls.__name__, [f.name for f in fields(cls)], slots=True)

    def make(*values: Any) -> Any:
        new = twin(*values)
        new.__class__ = cls
        return new

    return make


make_value: Callable[..., Value] = _maker(Value)
make_step: Callable[..., Step] = _maker(Step)


def bound_value(value: Value, walk: Walk) -> Value:
    """`value` as one of `walk`."""
    v = value
    return make_value(v.id, v.dtype, v.shape, v.strides, v.offset, v.buffer, v.producer, v.kind, walk)


def bound_step(step: Step, walk: Walk) -> Step:
    """`step` as one of `walk`."""
    s = step
    return make_step(
        s.index, s.op, s.args, s.kwargs, s.outputs, s.written, s.module, s.call, s.phase, s.source, s.forward, s.python,
        walk,
    )  # fmt: skip


def leaves(tree: Argument) -> Iterator[Argument]:
    """The leaves of nested lists and tuples, in order."""
    if isinstance(tree, (list, tuple)):
        for item in tree:
            yield from leaves(item)
    else:
        yield tree


def short_name(op: str) -> str:
    """``"softmax"`` for ``"aten._softmax.default"``; in-place ops keep their trailing underscore."""
    parts = op.split(".")
    name = parts[1] if len(parts) > 1 else parts[0]
    return name.lstrip("_") or name
