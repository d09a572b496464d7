"""`keep=`: which values of a recording are stored."""

from __future__ import annotations

import difflib
import re
import weakref
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch

from weightwalk.errors import AddressError, UsageError
from weightwalk.recorder.keys import Key, key_of
from weightwalk.recorder.mode import CallEvent, Tape
from weightwalk.recorder.trees import PLAIN, tensors_by_path
from weightwalk.walks.address import glob_regex
from weightwalk.walks.model import short_name
from weightwalk.walks.walk import Walk


class Keeper:
    """Decides which values stay: replaces the others by their keys, so that their memory is freed as usual.

    A weak reference to each storage keeps its identity from being given to another tensor.
    """

    def __init__(
        self,
        module_wanted: Callable[[CallEvent, str], bool],
        op_wanted: Callable[[str], bool] | None,
        patterns: Sequence[str],
    ) -> None:
        self.patterns = patterns
        self.module_wanted = module_wanted
        self.op_wanted = op_wanted
        self.strong: dict[int, torch.Tensor] = {}
        self.weak: dict[int, int] = {}  # storage -> weak reference, as torch's StorageWeakRef holds one
        self.known: dict[int, tuple[weakref.ref[torch.Tensor], Key]] = {}
        self.op_counts: dict[str, int] = {}
        self._free = torch.UntypedStorage._free_weak_ref  # torch may be gone before we are

    def __del__(self) -> None:
        for reference in self.weak.values():
            self._free(reference)

    def key(self, tensor: torch.Tensor) -> Key:
        """The identity of `tensor`, remembered for as long as the object lives and looks at the same storage."""
        known = self.known.get(id(tensor))
        if known is not None and known[0]() is tensor and tensor.untyped_storage()._cdata == known[1].storage:
            return known[1]
        key = key_of(tensor)
        if key.storage >= 0:
            self.known[id(tensor)] = (weakref.ref(tensor), key)
        return key

    def forget(self, tensor: torch.Tensor) -> None:
        """The object was turned (``transpose_``): it looks at its storage in another way now."""
        self.known.pop(id(tensor), None)

    def result(self, tree: Any) -> None:
        """Keep what a plain function returned: its caller holds it anyway, and no module's name asks for it."""
        for _, tensor in tensors_by_path(tree):
            self._see(self.key(tensor), tensor, strong=True)

    def check(self, walk: Walk) -> None:
        """Refuse patterns that met nothing, for a mistyped one would store nothing and not say so.

        Raises:
            AddressError: A pattern names no value of `walk`.
        """
        paths = {call.path for call in walk.calls}
        for pattern in self.patterns:
            regex = glob_regex(pattern.removesuffix(".out"))
            if not any(map(regex.fullmatch, paths)) and not any(map(regex.fullmatch, walk.names)):
                near = difflib.get_close_matches(pattern, list(walk.names), n=2, cutoff=0.4)
                hint = (
                    f"did you mean {' or '.join(near)}?" if near else "record without keep= and see walk.addresses()."
                )
                raise AddressError(f"keep= names {pattern!r}, which nothing that ran has as its address; {hint}")

    def holds(self, storage: int, tensor: torch.Tensor) -> bool:
        """Whether that storage is kept; what was never seen comes from outside, and is kept by reference."""
        if storage not in self.weak:
            self._see(key_of(tensor), tensor, strong=True)
        return storage in self.strong

    def _see(self, key: Key, tensor: torch.Tensor, strong: bool) -> None:
        if key.storage >= 0 and key.storage not in self.weak:
            self.weak[key.storage] = tensor.untyped_storage()._weak_ref()  # pyright: ignore[reportArgumentType]
        if strong and key.storage not in self.strong:
            self.strong[key.storage] = tensor

    def arguments(self, tree: Any) -> Any:
        """`tree` with keys for tensors; tensors from outside are kept."""
        return self._swap(tree, outside=True)

    def positional(self, args: tuple[Any, ...]) -> list[Any]:
        """The same for the arguments of an op by position, of which nearly all are tensors and numbers."""
        weak, out = self.weak, []
        for a in args:
            if isinstance(a, torch.Tensor):
                key = self.key(a)
                if key.storage not in weak:
                    self._see(key, a, strong=True)
                out.append(key)
            else:
                out.append(a if type(a) in PLAIN else self._swap(a, outside=True))
        return out

    def _swap(self, tree: Any, outside: bool) -> Any:
        if type(tree) in PLAIN:
            return tree
        if isinstance(tree, torch.Tensor):
            key = self.key(tree)
            if key.storage not in self.weak:
                self._see(key, tree, strong=outside)
            return key
        if isinstance(tree, (list, tuple)):
            if tree and type(tree[0]) is int:  # a shape, an axis, strides: torch's lists are of one kind
                return tree
            return [self._swap(x, outside) for x in tree]
        if isinstance(tree, dict):
            return {k: self._swap(v, outside) for k, v in tree.items()}
        return tree

    def results(self, out: Any, tape: Tape, op: str) -> Any:
        """`out` with keys for tensors, keeping those whose op address is wanted."""
        if self.op_wanted is not None:
            path = tape.calls[tape.call].address if tape.call >= 0 else ""
            base = f"{path}/{short_name(op)}"
            nth = self.op_counts[base] = self.op_counts.get(base, 0) + 1
            if self.op_wanted(base if nth == 1 else f"{base}#{nth}"):
                for _, tensor in tensors_by_path(out):
                    self._see(self.key(tensor), tensor, strong=True)
        if isinstance(out, torch.Tensor):
            key = self.key(out)
            if key.storage not in self.weak:
                self._see(key, out, strong=False)
            return key
        return self._swap(out, outside=False)

    def module(self, call: CallEvent) -> None:
        """Keep what a returning module gives, where wanted; forget the rest."""
        parts = [tensors_by_path(t) for t in (call.out, call.args, call.kwargs)]
        for part, found in (("out", parts[0]), ("in", parts[1] + parts[2])):
            if found and self.module_wanted(call, part):
                for _, tensor in found:
                    self._see(self.key(tensor), tensor, strong=True)
        call.out, call.args, call.kwargs = ({path: self.key(t) for path, t in found} for found in parts)


def keeper_for(keep: Sequence[str] | str | None) -> Keeper | None:
    """The keeper that stores what `keep` names; None stores everything.

    Raises:
        UsageError: `keep` is no text or list of texts.
    """
    if keep is None:
        return None
    patterns = [keep] if isinstance(keep, str) else list(keep) if isinstance(keep, Iterable) else [keep]
    if any(not isinstance(p, str) or not p.strip() for p in patterns):
        raise UsageError(f"keep= takes addresses or globs such as ['h.*.mlp', 'h.3.attn/softmax'], not {keep!r}.")
    patterns = [p.split("[")[0] for p in patterns]
    modules = _either(p.removesuffix(".out") for p in patterns if "/" not in p and not _names_inputs(p))
    inputs = _either(p for p in patterns if "/" not in p and _names_inputs(p))
    ops = _either(p for p in patterns if "/" in p)

    def module_wanted(call: CallEvent, part: str) -> bool:
        path = call.path or "out"
        name = path if call.nth == 1 else f"{path}#{call.nth}"
        if part == "in":
            return inputs(f"{name}.in") or (not call.path and inputs("in"))
        return modules(name) or (not call.path and modules("logits"))

    return Keeper(module_wanted, ops if any("/" in p for p in patterns) else None, patterns)


def _names_inputs(pattern: str) -> bool:
    """Whether a pattern asks for what modules receive, as ``"fc1.in"`` does; ``"**"`` asks for what they return."""
    return pattern == "in" or pattern.endswith(".in")


def _either(globs: Iterable[str]) -> Callable[[str], bool]:
    """Whether a name matches any of `globs`, as one pattern."""
    either = "|".join(f"(?:{glob_regex(g).pattern})" for g in globs)
    if not either:
        return lambda name: False
    match = re.compile(either).fullmatch
    return lambda name: match(name) is not None
