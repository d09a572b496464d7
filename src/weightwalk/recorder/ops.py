"""What the recorder must know of an op before it runs it: which arguments it overwrites."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

# Ops whose schema does not confess that they update running statistics in training mode:
# name -> (position of the `training` flag, positions written).
_HIDDEN_WRITES = {
    "aten.native_batch_norm.default": (5, (3, 4)),
    "aten.cudnn_batch_norm.default": (5, (3, 4)),
    "aten.miopen_batch_norm.default": (5, (3, 4)),
}

_BLANK = {
    "aten.empty.memory_format",
    "aten.empty_like.default",
    "aten.empty_strided.default",
    "aten.empty_permuted.default",
    "aten.new_empty.default",
    "aten.new_empty_strided.default",
}


class OpInfo:
    """Facts of one op overload, worked out once.

    Attributes:
        name: ``"aten.addmm.default"``.
        writes: Arguments that it overwrites, by position.
        write_names: The same for keyword-only arguments, by name.
        blank: Whether it returns uninitialised memory.
        fresh: Whether it is a factory function, such as ``torch.zeros``.
        turns: Whether it changes the tensor object itself (its shape, its strides) and not the numbers: ``transpose_``.
        silent: Whether torch does not count its writes.
        may_write: Whether any call of it can overwrite an argument.
        marker: Whether it is a mark for the profiler, not arithmetic.
    """

    __slots__ = (
        "_hidden", "blank", "fresh", "marker", "may_write", "name", "silent", "turns", "write_names", "writes",
    )  # fmt: skip

    def __init__(self, func: Any) -> None:
        self.name = str(func)
        schema = func._schema
        self.turns = torch.Tag.inplace_view in func.tags
        self.writes: tuple[int, ...] = tuple(
            i
            for i, a in enumerate(schema.arguments)
            if a.alias_info is not None and a.alias_info.is_write and not self.turns
        )
        self.write_names: tuple[str, ...] = tuple(schema.arguments[i].name for i in self.writes)
        self._hidden = _HIDDEN_WRITES.get(self.name)
        self.silent = self._hidden is not None
        self.may_write = bool(self.writes) or self.silent
        self.marker = func.namespace == "profiler"
        self.blank = self.name in _BLANK
        options = any(a.name == "pin_memory" for a in schema.arguments)
        self.fresh = options and not self.name.startswith(("aten.new_", "aten._to_copy"))

    def written(self, args: Sequence[Any], kwargs: dict[str, Any]) -> list[torch.Tensor]:
        """The tensors that this call will overwrite, in argument order."""
        positions = self.writes
        if self._hidden is not None and args[self._hidden[0]]:
            positions = self._hidden[1]
        found: list[torch.Tensor] = []
        for i in positions:
            if i < len(args):
                _collect(args[i], found)
        for name in self.write_names:
            if name in kwargs:
                _collect(kwargs[name], found)
        return found


def _collect(argument: Any, into: list[torch.Tensor]) -> None:
    if isinstance(argument, torch.Tensor):
        into.append(argument)
    elif isinstance(argument, (list, tuple)):
        into.extend(a for a in argument if isinstance(a, torch.Tensor))


_INFO: dict[Any, OpInfo] = {}


def op_info(func: Any) -> OpInfo:
    """The facts of `func`, cached."""
    info = _INFO.get(func)
    if info is None:
        info = _INFO[func] = OpInfo(func)
    return info
