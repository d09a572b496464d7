"""From the tape to the walk: identities, versions, names and links, worked out once the recording is over."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch

from weightwalk.recorder.frames import source_line
from weightwalk.recorder.keys import Key, key_of, lost_key, place_of
from weightwalk.recorder.memory import Held, MemoryStore, Undo, counter_of, dtype_name
from weightwalk.recorder.mode import BACKWARD_PHASE, Event, Tape
from weightwalk.recorder.naming import mark_loss, name_updates
from weightwalk.recorder.trees import PLAIN, flat, numbers, tensors_by_path
from weightwalk.recorder.windows import Window, disjoint
from weightwalk.walks.model import PHASES, Argument, Call, Completeness, Ref, Step, Value, make_step, make_value
from weightwalk.walks.walk import Walk


@dataclass(slots=True)
class _Buffer:
    """One storage between two writes."""

    index: int
    storage: int
    previous: _Buffer | None = None
    written: Window | None = None  # the window whose writing began this buffer
    external: bool = False
    first: Window | None = None


class Builder:
    """Turns the events of a tape into the parts of a walk."""

    def __init__(
        self,
        tape: Tape,
        names: Mapping[Key, tuple[str, str]],
        start_counters: Mapping[int, int | None],
        moved: set[int],
    ) -> None:
        self.tape = tape
        self.names = names  # identity -> (kind, address) of what came from outside
        self.start_counters = start_counters
        self.moved = moved | {id(e.out) for e in tape.events if e.place and place_of(e.out) not in (0, e.place)}
        self.store = MemoryStore()
        self.steps: list[Step] = []
        self.values: list[Value] = []
        self.walk = Walk(
            steps=self.steps,
            values=self.values,
            calls=[],
            given={},
            labels={},
            meta={},
            completeness=Completeness(0, 0, 0, 0),
            store=self.store,
        )
        self.current: dict[int, _Buffer] = {}
        self.numbers: dict[int, int] = {}  # storage address -> number in the store
        self.ids: dict[tuple[int, Window], int] = {}
        self.given: dict[str, int] = {}
        self.unexplained = 0
        self.by_sequence: dict[int, int] = {}
        self.escapes: list[tuple[int, Any, Any]] = []
        self.externals: list[int] = []
        self.keys: dict[int, Key] = {}
        self.seen: dict[int, tuple[int, _Buffer, int]] = {}  # object -> storage, buffer, value when last read
        self.refs: dict[int, Ref] = {}
        self.resolved: dict[Any, Key] = {}
        self.uncounted: dict[int, int] = {}  # storage -> writes that torch's own counter does not know, less its extra

    # Values --------------------------------------------------------------------------------------------------------

    def _key(self, tensor: torch.Tensor | Key) -> Key:
        if isinstance(tensor, Key):
            return tensor
        key = self.keys.get(id(tensor))  # the tape keeps every tensor alive, so ids are unique
        if key is None:
            key = key_of(tensor)
            if id(tensor) in self.moved:  # its old numbers are gone, its new ones are not what the ops read
                key = lost_key(tensor)
                self.unexplained += 1
            if key.storage < 0 and (tensor.is_neg() or tensor.is_conj()):
                key = self._resolved(tensor)
            self.keys[id(tensor)] = key
        return key

    def _resolved(self, tensor: torch.Tensor) -> Key:
        """The identity of a conjugated or negated view: that of a copy with the numbers that it stands for."""
        base = tensor._conj() if tensor.is_conj() else tensor
        base = base._neg_view() if base.is_neg() else base
        place = (*key_of(base), tensor.is_conj(), tensor.is_neg())
        if place not in self.resolved:
            plain = tensor.resolve_conj().resolve_neg()
            self.resolved[place] = key_of(plain)
            self._hold(key_of(plain), plain)
        return self.resolved[place]

    def _hold(self, key: Key, tensor: torch.Tensor | Key) -> int:
        number = self.numbers.get(key.storage)
        if number is None:
            keeper = self.tape.keeper
            if key.storage < 0 or (isinstance(tensor, torch.Tensor) and (tensor.is_meta or tensor.is_quantized)):
                holder = None  # sparse, nested, quantised: the step is recorded, the numbers are not
            elif isinstance(tensor, Key):
                holder = keeper.strong.get(key.storage) if keeper else None
                holder = None if holder is None else holder.detach()
            else:
                holder = tensor.detach()
            number = self.numbers[key.storage] = len(self.store.held)
            self.store.held.append(Held(holder))
        return number

    def _new_buffer(self, key: Key, tensor: torch.Tensor | Key, previous: _Buffer | None, external: bool) -> _Buffer:
        number = self._hold(key, tensor)
        version = 0 if previous is None else self.store.buffers[previous.index][1] + 1
        buffer = _Buffer(len(self.store.buffers), number, previous, external=external)
        self.store.buffers.append((number, version))
        self.current[key.storage] = buffer
        return buffer

    def _new_value(self, buffer: _Buffer, window: Window, producer: int | None, kind: str) -> int:
        dtype, shape, strides, offset = window
        vid = len(self.values)
        self.values.append(
            make_value(vid, dtype_name(dtype), shape, strides, offset, buffer.index, producer, kind, None)
        )
        self.ids[buffer.index, window] = vid
        if buffer.first is None:
            buffer.first = window
        return vid

    def read(self, tensor: torch.Tensor | Key) -> int:
        """The value that `tensor` is now, made if it was never met."""
        seen = self.seen.get(id(tensor))  # the tape keeps all that is read alive, so ids are unique
        if seen is not None and self.current[seen[0]] is seen[1]:
            return seen[2]
        key = self._key(tensor)
        vid = self._read(key, tensor)
        self.seen[id(tensor)] = (key.storage, self.current[key.storage], vid)
        return vid

    def _read(self, key: Key, tensor: torch.Tensor | Key) -> int:
        window: Window = key[1:]
        buffer = self.current.get(key.storage)
        if buffer is None:
            buffer = self._new_buffer(key, tensor, None, external=True)
            self.externals.append(buffer.storage)
            kind, name = self.names.get(key, ("constant", ""))
            vid = self._new_value(buffer, window, None, kind)
            if name:
                self.given.setdefault(name, vid)
            return vid
        vid = self.ids.get((buffer.index, window))
        return vid if vid is not None else self._derive(buffer, window, key)

    def _derive(self, buffer: _Buffer, window: Window, key: Key) -> int:
        """A window not met on this buffer: bring an older one forward over the writes since, or alias what is there."""
        chain = []
        at: _Buffer | None = buffer
        while at is not None and (at.index, window) not in self.ids:
            chain.append(at)
            at = at.previous
        if at is None:
            root = chain.pop()
            vid = self._alias(root, window, key)
        else:
            vid = self.ids[at.index, window]
        for newer in reversed(chain):
            assert newer.written is not None
            if disjoint(newer.written, window):
                self.ids[newer.index, window] = vid
                continue
            written = self.ids[newer.index, newer.written]
            vid = self._synthetic("weightwalk.overwrite.default", (Ref(vid), Ref(written)), newer, window)
        return vid

    def _alias(self, root: _Buffer, window: Window, key: Key) -> int:
        kind, name = self.names.get(key, ("", ""))
        if root.external:
            vid = self._new_value(root, window, None, kind or "constant")
            if name:
                self.given.setdefault(name, vid)
            return vid
        assert root.first is not None
        base = self.ids[root.index, root.first]
        _, shape, strides, offset = window
        args = (Ref(base), list(shape), list(strides), offset)
        return self._synthetic("weightwalk.alias.default", args, root, window)

    def _synthetic(self, op: str, args: tuple[Argument, ...], buffer: _Buffer, window: Window) -> int:
        """A step of our own that says how one window follows from others where torch ran no op."""
        index = len(self.steps)
        vid = self._new_value(buffer, window, index, "op")
        last = self.steps[-1] if self.steps else None
        self.steps.append(
            make_step(
                index, op, args, {}, (Ref(vid),), (), last.module if last else "", last.call if last else -1,
                last.phase if last else "forward", last.source if last else "", None, (), None,
            )
        )  # fmt: skip
        return vid

    # Steps ---------------------------------------------------------------------------------------------------------

    def argument(self, tree: Any) -> Argument:
        """An argument as the walk keeps it."""
        kind = type(tree)
        if kind in PLAIN:
            return tree
        if kind is torch.Tensor or kind is Key or isinstance(tree, torch.Tensor):
            return self._ref(self.read(tree))
        if isinstance(tree, (list, tuple)):
            return [self.argument(x) for x in tree]
        if isinstance(tree, (torch.dtype, torch.layout, torch.memory_format)):
            return dtype_name(tree)  # type: ignore[arg-type]
        if isinstance(tree, (bool, int, float, complex, str)):
            return tree
        return str(tree)

    def _ref(self, vid: int) -> Ref:
        ref = self.refs.get(vid)
        if ref is None:
            ref = self.refs[vid] = Ref(vid)
        return ref

    def event(self, event: Event) -> None:
        """Append the step of one event."""
        argument = self.argument
        args = tuple([argument(a) for a in event.args])
        kwargs = {k: argument(v) for k, v in event.kwargs.items()} if event.kwargs else {}
        for write in event.writes:
            self.read(write.key)
        index = len(self.steps)  # reading the arguments may have added steps of our own
        written = self._write(event, index) if event.writes or event.info.turns else []
        out = event.out
        leaves = (out,) if isinstance(out, torch.Tensor) else flat(out)
        outputs = [self._result(leaf, index) for leaf in leaves]
        if written:
            returned = {o.value for o in outputs if isinstance(o, Ref)}
            outputs += [self._ref(new) for _, new in written if new not in returned]
        call = self.tape.calls[event.call] if event.call >= 0 else None
        forward = self._forward_of(event, index)
        module, call_index = (call.path if call else ""), event.call
        source = source_line(event.code, event.lasti)
        if forward is not None:
            module, call_index, source = (
                self.steps[forward].module,
                self.steps[forward].call,
                self.steps[forward].source,
            )
        python = self._python_edges(event) if self.escapes else ()
        self.steps.append(
            make_step(
                index, event.op, args, kwargs, tuple(outputs), tuple(written), module, call_index,
                PHASES[event.phase], source, forward, python, None,
            )
        )  # fmt: skip
        if event.op == "aten._local_scalar_dense.default":
            self.escapes.append((index, event.out, event.code))
        if event.node is not None and event.node[1] is not None:
            self._name_gradient(event.node[1], outputs)

    def _write(self, event: Event, index: int) -> list[tuple[int, int]]:
        """Begin a new buffer for each storage that the event overwrote; (old value, new value) per argument."""
        pairs = []
        for write in event.writes:
            old = self.read(write.key)
            buffer = self.current[write.key.storage]
            number, version = self.store.buffers[buffer.index]
            if write.saved is not None:
                self.store.held[number].undo.append(Undo(version, write.key, write.saved))
            elif self.tape.keeper is not None:
                self.store.held[number].since = version + 1
            fresh = self._new_buffer(write.key, write.key, buffer, external=False)
            fresh.written = write.key[1:]
            pairs.append((old, self._new_value(fresh, write.key[1:], index, "op")))
            if event.info.silent:
                self.uncounted[write.key.storage] = self.uncounted.get(write.key.storage, 0) + 1
        if event.info.turns:
            storage = self._key(event.args[0]).storage
            self.uncounted[storage] = self.uncounted.get(storage, 0) - 1
        return pairs

    def _result(self, leaf: Any, index: int) -> Argument:
        if not isinstance(leaf, (torch.Tensor, Key)):
            return leaf if leaf is None or isinstance(leaf, (bool, int, float, complex)) else str(leaf)
        key = self._key(leaf)
        window: Window = key[1:]
        buffer = self.current.get(key.storage)
        if buffer is None:
            buffer = self._new_buffer(key, leaf, None, external=False)
        vid = self.ids.get((buffer.index, window))
        if vid is None:
            vid = self._new_value(buffer, window, index, "op")
        self.seen[id(leaf)] = (key.storage, buffer, vid)
        return self._ref(vid)

    def _forward_of(self, event: Event, index: int) -> int | None:
        if event.phase != BACKWARD_PHASE:
            self.by_sequence.setdefault(event.sequence - 1, index)
            return None
        return self.by_sequence.get(event.node[0]) if event.node is not None else None

    def _python_edges(self, event: Event) -> tuple[int, ...]:
        """Escaped numbers that may have come back: equal to a constant here, or escaped in the same function."""
        constants: list[int | float] = []
        numbers(event.args, constants)
        if event.kwargs:
            numbers(event.kwargs.values(), constants)
        if not constants:
            return ()
        return tuple(
            i for i, number, code in self.escapes if number in constants or (code is event.code and code is not None)
        )

    def _name_gradient(self, parameter: Any, outputs: list[Argument]) -> None:
        name = self.names.get(key_of(parameter), ("", ""))[1] if isinstance(parameter, torch.Tensor) else ""
        refs = [o for o in outputs if isinstance(o, Ref)]
        if name and refs:
            self.given[f"{name}.grad"] = refs[-1].value

    # The whole -----------------------------------------------------------------------------------------------------

    def run(self, result: Any = None) -> Walk:
        """Build the walk of a computation that returned `result`."""
        entries: dict[int, list[int]] = {}
        exits: dict[int, list[int]] = {}
        for i, call in enumerate(self.tape.calls):
            entries.setdefault(call.first, []).append(i)
            exits.setdefault(call.last if call.last >= 0 else len(self.tape.events), []).append(i)
        inputs: dict[int, dict[str, int]] = {}
        outputs: dict[int, dict[str, int]] = {}
        bounds: dict[int, list[int]] = {}
        for t in range(len(self.tape.events) + 1):
            for i in reversed(exits.get(t, ())):
                if self.tape.calls[i].first < t:
                    outputs[i] = self._tree(self.tape.calls[i].out)
                    bounds[i][1] = len(self.steps)
            for i in entries.get(t, ()):
                inputs[i] = self._call_inputs(self.tape.calls[i])
                bounds[i] = [len(self.steps), len(self.steps)]
                if self.tape.calls[i].last <= t:  # a call without ops
                    outputs[i] = self._tree(self.tape.calls[i].out)
            if t < len(self.tape.events):
                self.event(self.tape.events[t])
        for i, c in enumerate(self.tape.calls):
            span = bounds[i]
            call = Call(i, c.path, c.nth, c.module, c.parent, span[0], span[1], inputs.get(i, {}), outputs.get(i, {}))
            self.walk.calls.append(call)  # type: ignore[attr-defined]
        mark_loss(self.steps, self.walk.calls)
        self._finish_given()
        name_updates(self.steps, self.values, self.given)
        for path, vid in self._tree(result).items():
            self.given.setdefault(f"out.{path}" if path else "out", vid)
            self.given.setdefault("out", vid)
        self._guard()
        escaped = len(self.escapes)
        self.walk.given = self.given
        self.walk.completeness = Completeness(self.tape.executed, len(self.tape.events), self.unexplained, escaped)
        return self.walk

    def _tree(self, tree: Any) -> dict[str, int]:
        if isinstance(tree, torch.Tensor):
            return {"": self.read(tree)}
        if type(tree) is tuple and len(tree) == 1 and isinstance(tree[0], torch.Tensor):
            return {"0": self.read(tree[0])}
        if tree is None or tree == () or tree == {}:
            return {}
        pairs = (
            tree.items()
            if isinstance(tree, dict) and all(isinstance(v, Key) for v in tree.values())
            else tensors_by_path(tree)
        )
        return {path: self.read(t) for path, t in pairs}

    def _call_inputs(self, call: Any) -> dict[str, int]:
        return {**self._tree(call.args), **self._tree(call.kwargs)}

    def _finish_given(self) -> None:
        """Names for what a recording leaves behind: updated parameters and the optimizers' state."""
        for key, (kind, name) in self.names.items():
            buffer = self.current.get(key.storage)
            if buffer is None or not name or kind not in ("parameter", "buffer"):
                continue
            now = self.ids.get((buffer.index, key[1:]))
            if now is not None and buffer.previous is not None and now != self.given.get(name):
                self.given[f"{name}.updated"] = now
        for optimizer in self.tape.optimizers:
            for parameter, state in optimizer.state.items():
                name = self.names.get(key_of(parameter), ("", ""))[1]
                for part, tensor in state.items():
                    if name and isinstance(tensor, torch.Tensor) and key_of(tensor).storage in self.current:
                        self.given[f"{name}.{part}"] = self.read(tensor)

    def _guard(self) -> None:
        """Remember the write counters, to notice later changes outside; count writes that no step explains."""
        for address, number in self.numbers.items():
            held = self.store.held[number]
            if held.tensor is None:
                continue
            held.counter = counter_of(held.tensor)
            start = self.start_counters.get(address)
            version = self.store.buffers[self.current[address].index][1] - self.uncounted.get(address, 0)
            if start is not None and held.counter is not None and held.counter - start > version:
                held.hidden_write = True
                self.unexplained += 1
