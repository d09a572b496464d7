"""Recording sessions: the public verbs `walk` and `recording`, and the hooks that they place and take away again."""

from __future__ import annotations

import contextlib
import functools
import gc
import inspect
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch.nn.modules.module import register_module_forward_hook, register_module_forward_pre_hook
from torch.optim.optimizer import register_optimizer_step_post_hook, register_optimizer_step_pre_hook

from weightwalk.errors import UsageError
from weightwalk.recorder import mode
from weightwalk.recorder.build import Builder
from weightwalk.recorder.keeping import keeper_for
from weightwalk.recorder.keys import Key, key_of, lost_key, place_of
from weightwalk.recorder.memory import counter_of
from weightwalk.recorder.mode import FORWARD_PHASE, UPDATE_PHASE, Tape
from weightwalk.recorder.patching import patcher_for
from weightwalk.recorder.trees import tensors_by_path
from weightwalk.walks.walk import Walk

_lock = threading.Lock()
_users = 0
_handles: list[Any] = []


# torch's module and optimizer hooks are global to the process: they are placed when the first recording starts, do
# nothing in threads that record nothing, and go when the last recording ends.


def _enter(module: torch.nn.Module, args: Any) -> None:
    tape = mode.active()
    if tape is not None:
        tape.enter_module(module, args)


def _leave(module: torch.nn.Module, args: Any, *rest: Any) -> Any:
    tape = mode.active()
    if tape is None or tape.call < 0:
        return None
    out = rest[-1]
    new = tape.leave_module(args, rest[0] if len(rest) == 2 else {}, out)  # after an exception torch leaves kwargs out
    return None if new is out else new


def _before_update(optimizer: Any, args: Any, kwargs: Any) -> None:
    tape = mode.active()
    if tape is not None:
        tape.phase = UPDATE_PHASE


def _after_update(optimizer: Any, args: Any, kwargs: Any) -> None:
    tape = mode.active()
    if tape is not None:
        tape.phase = FORWARD_PHASE
        if all(o is not optimizer for o in tape.optimizers):
            tape.optimizers.append(optimizer)


@contextlib.contextmanager
def _hooks() -> Iterator[None]:
    global _users
    with _lock:
        _users += 1
        if _users == 1:
            _handles.extend(
                (
                    register_module_forward_pre_hook(_enter),
                    register_module_forward_hook(_leave, with_kwargs=True, always_call=True),
                    register_optimizer_step_pre_hook(_before_update),
                    register_optimizer_step_post_hook(_after_update),
                )
            )
    try:
        yield
    finally:
        with _lock:
            _users -= 1
            if _users == 0:
                while _handles:
                    _handles.pop().remove()


def _tensors_of(module: torch.nn.Module, prefix: str) -> Iterator[tuple[str, torch.Tensor]]:
    """Parameters and buffers by every name that they have, in one pass."""
    for table in (module._parameters, module._buffers):
        for name, tensor in table.items():
            if tensor is not None:
                yield prefix + name, tensor
    for name, child in module._modules.items():
        if child is not None:
            yield from _tensors_of(child, f"{prefix}{name}.")


class Recording:
    """One recording: a tape while it runs, a walk afterwards."""

    def __init__(
        self,
        roots: Sequence[torch.nn.Module],
        keep: Sequence[str] | str | None,
        patch: Mapping[str, Any] | None,
        snapshot: bool | None,
        decompose: Callable[..., Any] | None = None,
    ) -> None:
        self.tape = Tape(keeper_for(keep), patcher_for(patch), decompose)
        self.snapshot = snapshot
        self.inputs: list[tuple[str, torch.Tensor]] = []
        self.meta: dict[str, Any] = {}
        self.labels: dict[str, Any] = {}
        for root in roots:
            self.tape.add_root(root)
        self._start = [(t, place_of(t), counter_of(t)) for _, t in self._outside()]

    def _outside(self) -> Iterator[tuple[str, torch.Tensor]]:
        for prefix, root in self.tape.roots:
            yield from _tensors_of(root, f"{prefix}." if prefix else "")

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """Record what runs inside."""
        if mode.active() is not None:
            raise UsageError(
                "a recording is already running in this thread; nest the computations in one recording instead of "
                "starting a second."
            )
        mode._local.tape = self.tape
        try:
            with _hooks(), _eager(), self.tape:
                yield
        finally:
            mode._local.tape = None

    def walk(self, result: Any = None) -> Walk:
        """Build the walk from the tape of a computation that returned `result`."""
        names: dict[Key, tuple[str, str]] = {}
        aliases: list[tuple[str, Key]] = []
        moved = {id(t) for t, place, _ in self._start if place and place_of(t) not in (0, place)}
        keys: dict[int, Key] = {}
        for name, t in self._outside():
            key = keys[id(t)] = key_of(t) if id(t) not in moved else lost_key(t)
            kind = "parameter" if isinstance(t, torch.nn.Parameter) else "buffer"
            if key in names:
                aliases.append((name, key))
            names.setdefault(key, (kind, name))
        for i, (name, t) in enumerate(self.inputs):
            key = keys[id(t)] = key_of(t)
            names.setdefault(key, ("input", "in" if i == 0 else f"in.{name}"))
            aliases.append((f"in.{name}", key))
        counters = {keys[id(t)].storage: counter for t, _, counter in self._start if id(t) in keys}
        builder = Builder(self.tape, names, counters, moved)
        builder.keys.update((i, key) for i, key in keys.items() if i not in moved)
        with _no_collection():
            walk = builder.run(result)
        given: dict[str, int] = walk.given  # type: ignore[assignment]
        for name, key in aliases:
            first = names[key][1]
            for suffix in ("", ".grad", ".updated"):
                if first + suffix in given:
                    given.setdefault(name + suffix, given[first + suffix])
        builder.store.snapshot(builder.externals, always=bool(self.snapshot)) if self.snapshot is not False else None
        if self.tape.keeper is not None:
            self.tape.keeper.check(walk)
        walk.meta = {**_environment(), "threads": torch.get_num_threads(), **self.meta}
        walk.labels = self.labels
        return walk


@contextlib.contextmanager
def _no_collection() -> Iterator[None]:
    """Python's cycle collector rests: all that is built stays, so its passes over it would find nothing."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


@contextlib.contextmanager
def _eager() -> Iterator[None]:
    """Compiled regions run eagerly while recording, so that their ops can be seen."""
    import sys

    if "torch._dynamo" not in sys.modules:
        yield
        return
    with torch.compiler.set_stance("force_eager"):
        yield


@functools.cache
def _environment() -> dict[str, Any]:
    import platform

    import weightwalk

    return {
        "weightwalk": weightwalk.__version__,
        "torch": str(torch.__version__),
        "python": platform.python_version(),
        "machine": platform.machine(),
    }


def _root_of(fn: Any) -> torch.nn.Module | None:
    if isinstance(fn, torch.nn.Module):
        return fn
    owner = getattr(fn, "__self__", None)
    return owner if isinstance(owner, torch.nn.Module) else None


_signature = functools.lru_cache(maxsize=256)(inspect.signature)


def _named_inputs(fn: Any, args: Any, kwargs: Any) -> list[tuple[str, torch.Tensor]]:
    """The tensors among the arguments, by parameter name."""
    target = fn.forward if isinstance(fn, torch.nn.Module) else fn
    plain = getattr(target, "__func__", target)
    try:
        owner = (target.__self__,) if plain is not target else ()
        bound = dict(_signature(plain).bind(*owner, *args, **kwargs).arguments)
        if owner:
            bound.pop(next(iter(bound)))
    except (TypeError, ValueError):
        bound = {**{str(i): a for i, a in enumerate(args)}, **kwargs}
    return tensors_by_path(bound)


def walk(
    fn: Callable[..., Any],
    *args: Any,
    keep: Sequence[str] | str | None = None,
    patch: Mapping[str, Any] | None = None,
    open_fused: bool = False,
    snapshot: bool | None = None,
    axis_labels: Mapping[str, Any] | None = None,
    **kwargs: Any,
) -> Walk:
    """Run `fn` once and write down every operation, in order, with its numbers.

    Args:
        fn: A module, or any callable on tensors.
        *args: Its positional arguments.
        keep: Addresses or globs of the values to store; None for all. A pattern without ``/`` names modules
            (their outputs; ``"fc1.in"`` their inputs), one with ``/`` names ops. The other steps are recorded without
            numbers. Parameters and inputs are always at hand.
        patch: Address to replacement: a number, a tensor, or a function of the value. ``"h.3.attn"`` replaces what that
            module returns, ``"h.5.mlp[0, -1, 7]"`` one element of it, ``"h.3.attn/softmax"`` what that op returns.
        open_fused: Run fused ops decomposed. This changes low bits; how much is in ``walk.meta["open_fused"]``.
        snapshot: Copy parameters and inputs when the recording ends. None copies them when they are small
            (64 MiB in all) and otherwise holds them by reference: a later change is then refused, never shown.
        axis_labels: ``{"tokens": [...], "vocab": [...]}`` or ``{address: {axis: [...]}}``.
        **kwargs: Keyword arguments of `fn`.

    Returns:
        The walk. Mode, gradients, hooks, buffers and the random state of the model are as the call itself leaves them.

    Raises:
        UsageError: `fn` cannot be called, an address of `keep` or `patch` names nothing that ran, or a recording
            already runs in this thread.

    Example:
        >>> import torch, weightwalk as ww
        >>> w = ww.walk(torch.nn.Linear(2, 1), torch.tensor([[1.0, 2.0]]))
        >>> [s.op for s in w.steps]
        ['aten.t.default', 'aten.addmm.default']
    """
    if not callable(fn):
        raise UsageError(
            f"walk() was given {type(fn).__name__}, which cannot be called; expected a module or a function on tensors."
        )
    if open_fused:
        from weightwalk.recorder.opening import walk_opened

        return walk_opened(fn, *args, keep=keep, patch=patch, snapshot=snapshot, axis_labels=axis_labels, **kwargs)
    root = _root_of(fn)
    session = Recording([root] if root is not None else [], keep, patch, snapshot)
    return run(session, fn, args, kwargs, axis_labels)


def run(session: Recording, fn: Any, args: Any, kwargs: Any, axis_labels: Mapping[str, Any] | None) -> Walk:
    """Call `fn` inside `session` and build the walk."""
    session.inputs = _named_inputs(fn, args, kwargs)
    session._start += [(t, place_of(t), counter_of(t)) for _, t in session.inputs]
    session.meta["net"] = (
        type(fn).__name__ if isinstance(fn, torch.nn.Module) else getattr(fn, "__name__", "computation")
    )
    session.meta["grad"] = torch.is_grad_enabled()
    session.labels = dict(axis_labels or {})
    with session.running():
        result = fn(*args, **kwargs)
    if session.tape.patcher is not None:
        session.tape.patcher.check()
    if isinstance(fn, torch.nn.Module):
        return session.walk()
    if session.tape.keeper is not None:
        session.tape.keeper.result(result)
    return session.walk(result)


@contextlib.contextmanager
def recording(
    *models: torch.nn.Module,
    keep: Sequence[str] | str | None = None,
    patch: Mapping[str, Any] | None = None,
    snapshot: bool | None = None,
    axis_labels: Mapping[str, Any] | None = None,
) -> Iterator[Walk]:
    """Record everything that runs inside the ``with`` block: forward, loss, backward and optimizer, as one walk.

    Args:
        *models: The modules to name paths from; those that run without being named are found by themselves.
        keep: As for `walk`.
        patch: As for `walk`.
        snapshot: As for `walk`.
        axis_labels: As for `walk`.

    Yields:
        The walk, to be read when the block has ended; after an error in the block it holds what ran before it.

    Raises:
        UsageError: `keep` is no pattern, an address of `patch` names nothing that ran, or a recording already runs in
            this thread.

    Example:
        >>> import torch, weightwalk as ww
        >>> net = torch.nn.Linear(1, 1)
        >>> opt = torch.optim.SGD(net.parameters(), lr=0.1)
        >>> with ww.recording(net) as walk:
        ...     loss = (net(torch.ones(1, 1)) - 2).square().mean()
        ...     loss.backward()
        ...     opt.step()
        >>> sorted({s.phase for s in walk.steps})
        ['backward', 'forward', 'loss', 'update']
    """
    session = Recording(models, keep, patch, snapshot)
    session.meta["net"] = type(models[0]).__name__ if models else "computation"
    session.meta["grad"] = torch.is_grad_enabled()
    session.labels = dict(axis_labels or {})
    shell: Walk = Walk.__new__(Walk)
    try:
        with session.running():
            yield shell
    except BaseException:
        with contextlib.suppress(Exception):  # the block's own error is the one to hear of
            shell.__dict__.update(session.walk().__dict__)
        raise
    if session.tape.patcher is not None:
        session.tape.patcher.check()
    shell.__dict__.update(session.walk().__dict__)
