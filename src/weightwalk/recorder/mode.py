"""The hot path: see every ATen op, write down the least that suffices, and let it run.

Everything that can wait (identity of values, names, links) waits for `build`, after the recording.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from types import CodeType
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from weightwalk.recorder.frames import BACKWARD, LOSS, origin
from weightwalk.recorder.keys import Key, key_of, place_of
from weightwalk.recorder.ops import OpInfo, op_info
from weightwalk.recorder.trees import aliases, as_it_is, exchange, leaves

if TYPE_CHECKING:
    from weightwalk.recorder.keeping import Keeper

_sequence_number = torch._C._autograd._get_sequence_nr  # pyright: ignore[reportAttributeAccessIssue]

FORWARD_PHASE, LOSS_PHASE, BACKWARD_PHASE, UPDATE_PHASE = range(4)


class Write(NamedTuple):
    """One argument about to be overwritten: its identity, and its old contents where they are kept."""

    key: Key
    saved: torch.Tensor | None


class Event(NamedTuple):
    """One op as it ran. Tensors stand as themselves, or as their ``Key`` where they were not to be kept.

    `place` is where in memory the numbers of a single result lay: should the object be pointed elsewhere later
    (``tensor.data = other``, which no dispatcher sees), `build` notices.
    """

    op: str
    args: Any
    kwargs: Any
    out: Any
    call: int
    phase: int
    code: CodeType | None
    lasti: int
    sequence: int
    node: Any
    writes: tuple[Write, ...]
    info: OpInfo
    place: int


class CallEvent:
    """One module call as it ran."""

    __slots__ = ("args", "first", "kwargs", "last", "module", "nth", "out", "parent", "path")

    def __init__(self, path: str, module: torch.nn.Module, nth: int, parent: int, first: int, args: Any) -> None:
        self.path = path
        self.module = type(module).__name__
        self.nth = nth
        self.parent = parent
        self.first = first
        self.last = -1
        self.args = args
        self.kwargs: Any = {}
        self.out: Any = None

    @property
    def address(self) -> str:
        """``"fc1"``; ``"fc1#2"`` for the second call; ``""`` for the root."""
        return self.path if self.nth == 1 else f"{self.path}#{self.nth}"


_local = threading.local()
_DETACH = torch.ops.aten.detach.default
_current_node = torch._C._current_autograd_node
_new = tuple.__new__  # see `keys`


def active() -> Tape | None:
    """The tape of the recording that runs in this thread, if any."""
    return getattr(_local, "tape", None)


class Tape(TorchDispatchMode):
    """Records the ops of one thread while entered."""

    def __init__(self, keeper: Keeper | None, patcher: Patcher | None, decompose: Callable[..., Any] | None) -> None:
        super().__init__()
        self.events: list[Event] = []
        self.calls: list[CallEvent] = []
        self.executed = 0
        self.call = -1
        self.phase = FORWARD_PHASE
        self.seen_backward = False
        self.keeper = keeper
        self.patcher = patcher
        self.decompose = decompose
        self.roots: list[tuple[str, torch.nn.Module]] = []
        self.paths: dict[int, str] = {}
        self.counts: dict[str, int] = {}
        self.optimizers: list[Any] = []
        self.blank: set[int] = set()

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """Whether torch shall wrap ``__torch_dispatch__`` so that its compiler keeps out.

        No: compiled regions run eagerly while recording, and the wrapper would import the compiler and then cost as
        much per op as all that we do.
        """
        return False

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        info = op_info(func)
        if info.marker:
            return func(*args, **kwargs)
        if func is _DETACH and self._is_echo(args[0]):
            return func(*args, **kwargs)
        self.executed += 1
        if self.decompose is not None:
            opened = self.decompose(self, func, args, kwargs)
            if opened is not NotImplemented:
                self.executed -= 1  # the ops that it was opened into count themselves
                return opened
        code, lasti, mark = origin(2)
        phase, node = self.phase, _current_node()
        if mark == BACKWARD or node is not None:
            phase = BACKWARD_PHASE
            self.seen_backward = True
        elif phase == FORWARD_PHASE:
            if mark == LOSS:
                phase = LOSS_PHASE
            elif self.seen_backward and self.call < 0 and not torch.is_grad_enabled():
                phase = UPDATE_PHASE  # an update written by hand: `with torch.no_grad(): w -= lr * w.grad`
        sequence = _sequence_number()
        writes = self._before_write(info, args, kwargs) if info.may_write else ()
        before = args
        if info.turns and info.name != "aten.detach_.default":
            before = (self._freeze(args[0]), *args[1:])
        if node is not None:
            node = (node._sequence_nr(), getattr(node, "variable", None))
        if self.keeper is not None:
            kept_args = self.keeper.positional(args)
            kept_kwargs = self.keeper.arguments(kwargs) if kwargs else kwargs
            out = func(*args, **kwargs)
            if info.turns:
                self.keeper.forget(args[0])
            kept_out = self.keeper.results(out, self, info.name)
            place = 0
        else:
            kept_args, kept_kwargs = before, kwargs
            kept_out = out = func(*args, **kwargs)
            place = place_of(out)
            if info.blank:
                self.blank.add(out.untyped_storage()._cdata)
            if phase == BACKWARD_PHASE:  # autograd copies a gradient that somebody else holds
                kept_args, kept_out = aliases(before), aliases(out)
        self.events.append(
            _new(
                Event,
                (
                    info.name, kept_args, kept_kwargs, kept_out, self.call, phase, code, lasti, sequence, node, writes,
                    info, place,
                ),
            )
        )  # fmt: skip
        if self.patcher is not None and phase == FORWARD_PHASE:
            out = self.patcher.result(self, info.name, out)
        return out

    def _freeze(self, tensor: torch.Tensor) -> torch.Tensor:
        """`tensor` as it is, before an op such as ``transpose_`` turns the object itself; the tape keeps that one."""
        still = tensor.detach()
        for i, event in enumerate(self.events):
            if any(x is tensor for part in (event.args, event.kwargs, event.out) for x in leaves(part)):
                args, kwargs, out = (exchange(part, tensor, still) for part in (event.args, event.kwargs, event.out))
                self.events[i] = event._replace(args=args, kwargs=kwargs, out=out)
        for call in self.calls:
            call.args = exchange(call.args, tensor, still)
            call.kwargs, call.out = exchange(call.kwargs, tensor, still), exchange(call.out, tensor, still)
        return still

    def _is_echo(self, tensor: torch.Tensor) -> bool:
        """Whether a detach is about to run only because we hold what a factory function just made.

        torch steals the fresh tensor where nobody else holds it, and detaches it where somebody does. Without the
        recording there is no such op; the detached tensor is the same value.
        """
        if not self.events or not self.events[-1].info.fresh:
            return False
        out = self.events[-1].out
        return out is tensor if self.keeper is None else out == key_of(tensor)

    def _before_write(self, info: Any, args: Any, kwargs: Any) -> tuple[Write, ...]:
        writes = []
        for tensor in info.written(args, kwargs):
            key = key_of(tensor)
            if key.storage in self.blank:
                self.blank.discard(key.storage)
                saved = None
            elif self.keeper is not None and not self.keeper.holds(key.storage, tensor):
                saved = None
            else:
                saved = tensor.detach().clone(memory_format=torch.preserve_format)
            writes.append(Write(key, saved))
        return tuple(writes)

    # Modules -------------------------------------------------------------------------------------------------------

    def add_root(self, module: torch.nn.Module) -> None:
        """Name `module` and all below it; the first root has no prefix, later ones that of their class."""
        prefix = "" if not self.roots else type(module).__name__
        taken = {p for p, _ in self.roots}
        n = 2
        while prefix in taken:
            prefix, n = f"{type(module).__name__}{n}", n + 1
        self.roots.append((prefix, module))
        for name, sub in module.named_modules(remove_duplicate=False):
            self.paths.setdefault(id(sub), f"{prefix}.{name}".strip(".") if name else prefix)

    def enter_module(self, module: torch.nn.Module, args: Any) -> None:
        """A module is about to run."""
        path = self.paths.get(id(module))
        if path is None:
            if self.call >= 0:
                parent = self.calls[self.call].path
                path = self.paths[id(module)] = f"{parent}.{type(module).__name__}".strip(".")
            else:
                self.add_root(module)
                path = self.paths[id(module)]
        nth = self.counts[path] = self.counts.get(path, 0) + 1
        self.calls.append(CallEvent(path, module, nth, self.call, len(self.events), as_it_is(args)))
        self.call = len(self.calls) - 1

    def leave_module(self, args: Any, kwargs: Any, out: Any) -> Any:
        """The innermost running module has returned `out` (None after an exception); gives what it shall return."""
        call = self.calls[self.call]
        if self.patcher is not None and out is not None:
            out = self.patcher.module_output(call, out)
        call.last = len(self.events)
        call.args, call.kwargs, call.out = as_it_is(args), as_it_is(kwargs), as_it_is(out)
        if self.keeper is not None:
            self.keeper.module(call)
        self.call = call.parent
        return out


class Patcher:
    """Replaces values as they are produced; see `weightwalk.recorder.patching`."""

    def result(self, tape: Tape, op: str, out: Any) -> Any:
        """What an op shall return instead of `out`."""
        raise NotImplementedError

    def module_output(self, call: CallEvent, out: Any) -> Any:
        """What a module shall return instead of `out`."""
        raise NotImplementedError

    def check(self) -> None:
        """Refuse patches that met nothing."""
        raise NotImplementedError
