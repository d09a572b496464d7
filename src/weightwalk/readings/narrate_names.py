"""What to call a number in a story: the address that finds it, through the reshapes that lie between op and module."""

from __future__ import annotations

import json
from collections.abc import Sequence

import numpy as np

from weightwalk.walks.model import Step, Value, leaves
from weightwalk.walks.walk import Walk

# Ops that keep every number and its place in row-major order.
RESHAPES = frozenset((
    "view", "reshape", "unsafe_view", "detach", "detach_", "alias", "clone", "lift_fresh", "unsqueeze",
    "squeeze", "flatten", "unflatten", "contiguous", "view_as", "dropout", "native_dropout",
))  # fmt: skip
# Ops that only move numbers about, pick some of them, or make constants: no arithmetic to tell.
MOVES = RESHAPES | frozenset((
    "t", "transpose", "permute", "expand", "split", "split_with_sizes", "chunk", "slice", "select", "narrow",
    "cat", "stack", "unbind", "movedim", "swapaxes", "index", "index_select", "gather", "as_strided", "repeat",
    "repeat_interleave", "to", "to_copy", "copy_", "fill_", "zero_", "empty", "empty_like", "new_empty",
    "new_empty_strided", "zeros", "zeros_like", "ones", "ones_like", "new_zeros", "new_ones", "full",
    "full_like", "arange", "scalar_tensor", "tril", "triu", "record_function_enter_new", "record_function_exit",
    "where", "masked_fill", "masked_fill_", "constant_pad_nd", "roll", "flip", "mT", "T", "numel", "size",
    "sym_size", "bitwise_and", "bitwise_not", "bitwise_or", "logical_not", "logical_and", "le", "lt", "ge",
    "gt", "eq", "ne", "all", "any", "item", "local_scalar_dense", "is_nonzero", "lift", "expand_as", "cumsum",
    "unfold",
))  # fmt: skip


class Names:
    """Names for the numbers of one walk."""

    def __init__(self, walk: Walk) -> None:
        self.walk = walk

    def source(self, value: Value) -> Value:
        """The value of which this one is a reshape, as far back as reshapes go."""
        while (step := value.step) is not None and step.name in RESHAPES:
            first = next(iter(step.inputs()), None)
            if first is None or first.size != value.size or first.id == value.id or self._named(value):
                break
            value = first
        return value

    def result(self, value: Value) -> Value:
        """The value that reshapes make of this one, up to the first that is a module's output."""
        while not self._named(value):
            users = self.walk.users(value.id)
            step = self.walk.steps[users[0]] if len(set(users)) == 1 else None
            new = next(iter(step.results()), None) if step is not None and step.name in RESHAPES else None
            if new is None or new.size != value.size or new.id == value.id:
                break
            value = new
        return value

    def _named(self, value: Value) -> bool:
        return value.kind != "op" or "/" not in value.address

    def axis(self, value: Value, axis: int) -> Sequence[str] | None:
        """The labels of an axis, where it has any."""
        return self.walk.axis_labels(value, axis) if value.shape else None

    def unit(self, value: Value, flat: int) -> str:
        """The address of one number of a value: ``logits["world"]``, ``fc1[0]``, ``h[2, 0]``."""
        if value.size == 1:
            return value.address
        index = np.unravel_index(flat, value.shape)
        parts = []
        for axis, at in enumerate(int(i) for i in index):
            if not parts and value.shape[axis] == 1:
                continue
            labels = self.axis(value, axis)
            unique = labels is not None and list(labels).count(labels[at]) == 1
            last = axis == len(index) - 1
            parts.append(json.dumps(labels[at], ensure_ascii=False) if labels and unique and last else str(int(at)))
        return f"{value.address}[{', '.join(parts)}]"

    def place(self, value: Value, row: int, rows: int) -> str:
        """What a row of a value is: ``'hello'`` where its axis has labels, else ``"row 3"``."""
        shape = value.shape[:-1]
        index = np.unravel_index(row, shape) if shape else ()
        words = []
        for axis, at in enumerate(int(i) for i in index):
            labels = self.axis(value, axis)
            if labels is not None:
                words.append(repr(labels[at]) if shape[axis] > 0 else "")
            elif shape[axis] > 1 or (rows == 1 and axis == len(index) - 1 and not words and shape[axis] > 1):
                words.append(f"{at}")
        return " ".join(words) if any(w.startswith(("'", '"')) for w in words) else f"row {' '.join(words) or row}"


def numbers(step: Step, *names: str) -> dict[str, object]:
    """The scalar arguments of a step after its tensors, by the names given for its positions."""
    out = dict(zip(names, step.args, strict=False))
    out.update(step.kwargs)
    return out


def tensors(step: Step) -> list[Value]:
    """The tensors among the arguments, in order."""
    return list(step.inputs())


def is_float(value: Value) -> bool:
    """Whether a value holds real numbers."""
    return value.dtype.startswith(("float", "bfloat"))


def kept(step: Step) -> bool:
    """Whether every number that this step read and made can be had."""
    return all(v.kept for v in [*step.inputs(), *step.results()])


__all__ = ["MOVES", "RESHAPES", "Names", "is_float", "kept", "leaves", "numbers", "tensors"]
