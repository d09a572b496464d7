"""A forger's workshop: a walk whose numbers, steps and links can be changed at will, digests and all."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from weightwalk.walks.dtypes import numpy_dtype
from weightwalk.walks.files import span
from weightwalk.walks.model import Ref, Step, Value
from weightwalk.walks.walk import Walk


class Copied:
    """Every buffer of a walk as bytes of its own, so that all windows on it see a change."""

    def __init__(self, walk: Walk) -> None:
        self.start: dict[int, int] = {}
        stop: dict[int, int] = {}
        for value in walk.values:
            low, high = span(value)
            self.start[value.buffer] = min(self.start.get(value.buffer, low), low)
            stop[value.buffer] = max(stop.get(value.buffer, high), high)
        self.bytes = {b: np.zeros(stop[b] - low, np.uint8) for b, low in self.start.items()}
        for value in walk.values:
            self.array(value)[...] = value.numpy()

    def kept(self, value: Value) -> bool:
        return True

    def array(self, value: Value) -> np.ndarray:
        dtype = numpy_dtype(value.dtype)
        start = value.offset * dtype.itemsize - self.start[value.buffer] if value.size else 0
        strides = [s * dtype.itemsize for s in value.strides]
        return np.ndarray(value.shape, dtype, self.bytes[value.buffer], start, strides)

    def buffer(self, index: int) -> np.ndarray:
        return self.bytes[index]


def forged(
    walk: Walk,
    steps: Callable[[list[Step]], Sequence[Step]] = lambda s: s,
    values: Callable[[list[Value]], Sequence[Value]] = lambda v: v,
    store: Copied | None = None,
) -> Walk:
    """A walk like `walk`, with its steps and values as the forger wants them."""
    return Walk(
        steps=steps(list(walk.steps)), values=values(list(walk.values)),
        calls=walk.calls, given=walk.given, labels=walk.labels, meta=walk.meta,
        completeness=walk.completeness, store=store or Copied(walk),
    )  # fmt: skip


def without(walk: Walk, index: int) -> Walk:
    """A step left out, and all that follows renumbered: what it made now comes from nowhere."""

    def number(i: int | None) -> int | None:
        return None if i is None or i == index else i - (i > index)

    return forged(
        walk,
        steps=lambda s: [replace(x, index=i) for i, x in enumerate(x for x in s if x.index != index)],
        values=lambda v: [replace(x, producer=number(x.producer)) for x in v],
    )


def mapped(tree: Any, change: Callable[[Ref], Any]) -> Any:
    """Arguments with every reference changed."""
    if isinstance(tree, Ref):
        return change(tree)
    return type(tree)(mapped(x, change) for x in tree) if isinstance(tree, (list, tuple)) else tree
