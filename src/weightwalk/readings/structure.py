"""Whether a record hangs together, and what its geometry alone can settle."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import numpy as np

from weightwalk.readings.referees import Expected, judge
from weightwalk.walks.model import Ref, Step, Value, leaves

if TYPE_CHECKING:
    from weightwalk.walks.walk import Walk

OUTSIDE = ("input", "parameter", "buffer", "constant")
"""Kinds of value that come from outside, so that no step need have made them."""


def faults(walk: Walk) -> list[tuple[int, str]]:
    """What does not fit in the record: (index of the step, or -1; what is wrong with it).

    Every step stands at its own index, reads only what an earlier step made or what came from outside, and gives only
    values that say that it made them, or that were there before.
    """
    found: list[tuple[int, str]] = []
    made: dict[int, int] = {}
    for place, step in enumerate(walk.steps):
        if step.index != place:
            found.append((-1, f"step {step.index} ({step.op}) stands at place {place}: a step is missing or moved"))
            return found
        for text in _step_faults(walk, step, made):
            found.append((place, text))
            break
        for vid in _ids(step.outputs):
            made.setdefault(vid, place)
    for value in walk.values:
        if value.producer is not None and made.get(value.id) != value.producer:
            maker = f"step {value.producer}"
            found.append((-1, f"value {value.id} says that {maker} made it, and {maker} does not give it"))
        elif value.producer is None and value.kind not in OUTSIDE:
            found.append((-1, f"value {value.id} was made by no recorded step and did not come from outside"))
    return found


def _ids(tree: object) -> Iterator[int]:
    for leaf in leaves(tree):
        if isinstance(leaf, Ref):
            yield leaf.value


def _step_faults(walk: Walk, step: Step, made: dict[int, int]) -> Iterator[str]:
    for vid in _ids((step.args, tuple(step.kwargs.values()))):
        if not 0 <= vid < len(walk.values):
            yield f"it reads value {vid}, which is not in the record"
            continue
        value = walk.values[vid]
        if value.producer is None and value.kind not in OUTSIDE:
            yield f"it reads value {vid}, which no recorded step made and which did not come from outside"
        elif value.producer is not None and vid not in made:
            yield f"it reads {value.address}, which no earlier step made"
    for vid in _ids(step.outputs):
        if not 0 <= vid < len(walk.values):
            yield f"it gives value {vid}, which is not in the record"
            continue
        producer = walk.values[vid].producer
        if producer not in (step.index, None) and vid not in made:
            yield f"it gives value {vid}, which says that step {producer} made it"
    for old, new in step.written:
        if new not in _ids(step.outputs) or old not in _ids((step.args, tuple(step.kwargs.values()))):
            yield f"it is said to turn value {old} into value {new}, which are not its own"


def moved(step: Step, array: Callable[[int], np.ndarray]) -> tuple[str, ...] | None:
    """(status, ``"record"``) where the geometry of the record settles the step, with a third, a message, on failure."""
    if step.op == "weightwalk.overwrite.default":
        return _overwritten(step, array)
    if step.op == "weightwalk.alias.default":
        return _window(step, *step.args[1:])
    if step.op.startswith("aten.as_strided.") and len(step.args) > 2:
        base = _only(step.args[0], step)
        offset = step.args[3] if len(step.args) > 3 and step.args[3] is not None else base.offset
        out = next(step.results(), None)
        if out is not None and out.buffer == base.buffer:
            return _window(step, step.args[1], step.args[2], offset)
    return None


def _only(argument: object, step: Step) -> Value:
    assert isinstance(argument, Ref)
    return step.walk.values[argument.value]


def _window(step: Step, shape: object, strides: object, offset: object) -> tuple[str, ...]:
    """A window on the memory of the first argument: same buffer, and just the place that is named."""
    base, out = _only(step.args[0], step), next(step.results())
    named = (tuple(shape), tuple(strides), offset)  # type: ignore[arg-type]
    has = (out.shape, out.strides, out.offset)
    if out.buffer != base.buffer:
        return "FAILED", "record", f"{out.address} lies in other memory than {base.address}"
    if out.shape != named[0] or out.offset != named[2] or not _same_steps(out.shape, out.strides, named[1]):
        return "FAILED", "record", f"{out.address} is the window {has}, must be {named}"
    return "alias" if out.producer != step.index else "exact", "record"


def _same_steps(shape: tuple[int, ...], a: tuple[int, ...], b: tuple[int, ...]) -> bool:
    """Whether strides agree wherever an axis has more than one place."""
    return len(a) == len(b) and all(x == y or n <= 1 for n, x, y in zip(shape, a, b, strict=True))


def _places(value: Value) -> np.ndarray:
    """For each number of a value, where it lies in its storage, in elements."""
    total = np.full((), value.offset, dtype=np.int64)
    for n, s in zip(value.shape, value.strides, strict=True):
        total = total[..., None] + np.arange(n, dtype=np.int64) * s
    return total


def places_in(old: Value, new: Value, dtype: np.dtype) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Empty memory that spans two windows of one storage, and where in it each number of either lies."""
    at_old, at_new = _places(old), _places(new)
    low = min((int(p.min()) for p in (at_old, at_new) if p.size), default=0)
    high = max((int(p.max()) for p in (at_old, at_new) if p.size), default=0)
    return np.zeros(high - low + 1, dtype=dtype), at_old - low, at_new - low


def _overwritten(step: Step, array: Callable[[int], np.ndarray]) -> tuple[str, ...] | None:
    """A window after a write elsewhere in its memory: what was written there, and what it held before around it."""
    old, new = _only(step.args[0], step), _only(step.args[1], step)
    out = next(step.results())
    if (old.dtype, old.shape) != (out.dtype, out.shape):
        return None
    before, written = array(old.id), array(new.id)
    if old.dtype == new.dtype:
        memory, at_old, at_new = places_in(old, new, before.dtype)
        memory[at_old] = before
        memory[at_new] = written
        expected = memory[at_old]
    else:
        expected = _overlaid(old, new, before, written)
    judged = judge(array(out.id), Expected(expected, 0.0))
    return ("exact", "record") if judged.ok else ("FAILED", "record", f"{out.address} {judged.message}")


def _overlaid(old: Value, new: Value, before: np.ndarray, written: np.ndarray) -> np.ndarray:
    """The same, byte by byte: what was written has another dtype, such as the real and imaginary parts of a complex."""
    places, contents = [], []
    for value, numbers in ((old, before), (new, written)):
        places.append(_places(value)[..., None] * numbers.itemsize + np.arange(numbers.itemsize))
        contents.append(np.ascontiguousarray(numbers)[..., None].view(np.uint8))
    memory = np.zeros(max((int(p.max()) + 1 for p in places if p.size), default=0), dtype=np.uint8)
    for at, numbers in zip(places, contents, strict=True):
        memory[at] = numbers
    return np.ascontiguousarray(memory[places[0]]).view(before.dtype)[..., 0]
