"""Which number went bad first: the update is made once more under a recording, and its walk is traced back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from torch import nn

from weightwalk.errors import WeightwalkError
from weightwalk.learning.history import BadNumber
from weightwalk.walks.model import Value
from weightwalk.walks.walk import Walk


def traced(bad: BadNumber, module: nn.Module, update: Callable[[], None]) -> BadNumber:
    """`bad` with the address of the first bad number and the step that made it, as far as a walk can tell.

    Args:
        bad: What is known.
        module: Whose names are used.
        update: Makes the bad update once more, on the weights from before it.
    """
    from weightwalk.recorder import recording

    try:
        with recording(module) as walk:
            update()
        value = _last_bad(walk, bad.what)
        return bad if value is None else _origin(bad, walk, value)
    except (WeightwalkError, RuntimeError, MemoryError):  # without a walk the finding says less, and is as true
        return bad


def _last_bad(walk: Walk, what: str) -> Value | None:
    """A bad number to trace back from: the loss; a gradient; an updated weight. None where all of these are finite."""
    if what == "loss":
        found = [v for step in walk.steps if step.phase == "loss" for v in step.results()][-1:]
        # a loss that is no loss function to the recorder ends the forward pass
        found += [v for step in walk.steps if step.phase == "forward" for v in step.results()][-1:]
    else:
        ending = ".grad" if what == "gradient" else ".updated"
        found = [walk.values[i] for name, i in walk.names.items() if name.endswith(ending)]
        found.sort(key=lambda v: -1 if v.producer is None else v.producer)
    return next((value for value in found if _bad(value) is not None), None)


def _origin(bad: BadNumber, walk: Walk, value: Value) -> BadNumber:
    """Follow bad numbers back through the steps that they went through, to one that made them from finite ones.

    A NaN comes from a NaN where the step had one, else from an infinity; an infinity from an infinity. So the -inf of
    an attention mask, which is meant, is not taken for the cause of a NaN that came from elsewhere.
    """
    seen: set[int] = set()
    while value.id not in seen:
        seen.add(value.id)
        step = value.step
        if step is None:
            break
        inputs = [v for v in step.inputs() if v.id not in seen and _bad(v) is not None]
        nans = [v for v in inputs if np.isnan(_numbers(v)).any()]
        if np.isnan(_numbers(value)).any() and nans:
            value = nans[0]
        elif inputs:
            value = inputs[0]
        else:
            break
    place = _bad(value)
    assert place is not None
    number = float(_numbers(value)[place])
    address = value.address + (f"[{', '.join(map(str, place))}]" if place else "")
    step = value.step
    if step is None:
        return replace(bad, value=number, address=address)
    op = step.op.rpartition(".")[0] or step.op
    return replace(bad, value=number, address=address, made_by=op, step=step.address, phase=step.phase,
                   module=step.module)  # fmt: skip


def _numbers(value: Value) -> np.ndarray:
    array = np.asarray(value.numpy())
    return array if array.dtype.kind in "fc" else array.astype(np.float64)


def _bad(value: Value) -> tuple[int, ...] | None:
    """Where its first number that is not finite stands; None where there is none."""
    if not value.kept or not value.size or value.dtype.startswith(("int", "uint", "bool")):
        return None
    bad = ~np.isfinite(_numbers(value))
    return tuple(int(i) for i in np.argwhere(bad)[0]) if bad.any() else None
