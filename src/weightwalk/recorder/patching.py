"""`patch=`: replace values as they are produced, by recorded ops, so that a patched walk verifies like any other."""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping
from typing import Any

import torch

from weightwalk.errors import AddressError, UsageError
from weightwalk.recorder.mode import CallEvent, Patcher, Tape
from weightwalk.recorder.trees import tensors_by_path
from weightwalk.walks.address import glob_regex
from weightwalk.walks.model import short_name

Replacement = Any


class _Patch:
    """One entry of `patch=`: whom it concerns, which elements, and the replacement."""

    def __init__(self, address: str, replacement: Replacement) -> None:
        match = re.fullmatch(r"\s*([^\[\]]+?)\s*(?:\[(.*)\])?\s*", address) if isinstance(address, str) else None
        if match is None:
            raise AddressError(
                f"patch= address {address!r} was not understood; write 'module', 'module[0, -1, 7]' or 'module/op'."
            )
        self.address = address
        self.name = match[1].removesuffix(".out")
        self.regex = glob_regex(self.name)
        self.index = _index(match[2], address) if match[2] is not None else None
        self.replacement = replacement
        self.hits = 0
        if not (callable(replacement) or isinstance(replacement, (int, float, complex, torch.Tensor))):
            raise UsageError(
                f"patch= for {address!r} was given {type(replacement).__name__}; "
                f"expected a number, a tensor or a function."
            )

    def apply(self, tensor: torch.Tensor) -> torch.Tensor:
        """`tensor` with the replacement in place; the original is not touched."""
        self.hits += 1
        part = tensor if self.index is None else tensor[self.index]
        new: Any = self.replacement(part) if callable(self.replacement) else self.replacement
        if isinstance(new, torch.Tensor):
            new = new.to(dtype=tensor.dtype, device=tensor.device)
            if self.index is None and new.shape != tensor.shape and new.numel() != 1:
                raise UsageError(
                    f"patch= for {self.address!r}: the replacement has shape {tuple(new.shape)}, "
                    f"the value {tuple(tensor.shape)}."
                )
        if self.index is None:
            return torch.full_like(tensor, new) if not isinstance(new, torch.Tensor) else new.expand_as(tensor).clone()
        out = tensor.clone()
        out[self.index] = new
        return out


def _index(text: str, address: str) -> tuple[int | slice, ...]:
    items: list[int | slice] = []
    for item in text.split(","):
        try:
            if ":" in item:
                items.append(slice(*(int(p) if p.strip() else None for p in item.split(":"))))
            else:
                items.append(int(item))
        except ValueError:
            raise AddressError(
                f"patch= address {address!r}: {item.strip()!r} is no index; use integers or start:stop."
            ) from None
    return tuple(items)


class Patches(Patcher):
    """All patches of one recording."""

    def __init__(self, patch: Mapping[str, Replacement]) -> None:
        self.modules = [p for p in (_Patch(a, r) for a, r in patch.items()) if "/" not in p.name]
        self.ops = [p for p in (_Patch(a, r) for a, r in patch.items()) if "/" in p.name]
        self.counts: dict[str, int] = {}

    def result(self, tape: Tape, op: str, out: Any) -> Any:
        """The op's result, replaced where a patch names it; the replacing ops are recorded too."""
        if not self.ops:
            return out
        path = tape.calls[tape.call].address if tape.call >= 0 else ""
        base = f"{path}/{short_name(op)}"
        nth = self.counts[base] = self.counts.get(base, 0) + 1
        name = base if nth == 1 else f"{base}#{nth}"
        wanted = [p for p in self.ops if p.regex.fullmatch(name)]
        if not wanted:
            return out
        return self._replace(out, wanted, tape, in_place=short_name(op).endswith("_"))

    def _replace(self, out: Any, wanted: list[_Patch], tape: Tape | None, in_place: bool = False) -> Any:
        ops, self.ops = self.ops, []  # the replacing ops are not themselves patched
        try:
            first = out if isinstance(out, torch.Tensor) else next((t for _, t in tensors_by_path(out)), None)
            if first is None:
                return out
            new = first
            for p in wanted:
                if tape is None:
                    new = p.apply(new)
                else:
                    with tape:
                        new = p.apply(new)
            if in_place and tape is not None:  # others look at that memory, not at what the op returns
                with tape:
                    return _put_first(out, first.copy_(new))
            return _put_first(out, new)
        finally:
            self.ops = ops

    def module_output(self, call: CallEvent, out: Any) -> Any:
        """The module's output, its first tensor replaced where a patch names the module."""
        name = call.path or "out"
        name = name if call.nth == 1 else f"{name}#{call.nth}"
        wanted = [p for p in self.modules if p.regex.fullmatch(name)]
        return self._replace(out, wanted, None) if wanted else out

    def check(self) -> None:
        """Refuse patches that met nothing: an ablation that did not happen would be a silent lie."""
        idle = [p.address for p in (*self.modules, *self.ops) if not p.hits]
        if idle:
            raise AddressError(
                f"patch= names {', '.join(map(repr, idle))}, which never ran; use a module path such as "
                f"'h.3.attn' or an op such as 'h.3.attn/softmax' (walk.addresses() lists them)."
            )


def _put_first(out: Any, new: Any) -> Any:
    """`out` with its first tensor replaced."""
    if isinstance(out, torch.Tensor):
        return new
    if isinstance(out, (list, tuple)):
        items = list(out)
        i = next(i for i, item in enumerate(items) if tensors_by_path(item))
        items[i] = _put_first(items[i], new)
        return type(out)(*items) if hasattr(out, "_fields") else type(out)(items)
    copied = copy.copy(out)  # a mapping, such as a transformers ModelOutput
    key = next(k for k, v in copied.items() if tensors_by_path(v))
    copied[key] = _put_first(copied[key], new)
    return copied


def patcher_for(patch: Mapping[str, Replacement] | None) -> Patches | None:
    """The patcher for `patch=`, or None."""
    if patch is None:
        return None
    if not isinstance(patch, Mapping):
        raise UsageError(f"patch= takes a mapping of address to replacement, not {type(patch).__name__}.")
    return Patches(patch)
