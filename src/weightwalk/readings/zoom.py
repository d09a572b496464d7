"""Zooming into a fused op: the walk of its decomposition in float64 on the inputs that it was recorded with."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from weightwalk.errors import RecordError, UsageError
from weightwalk.walks.dtypes import is_float
from weightwalk.walks.model import Argument, Ref, Step, Value
from weightwalk.walks.walk import Walk


def zoom(step: Step) -> Walk:
    """See inside a fused step (attention, LSTM, an encoder layer, a norm, softmax ...).

    The step ran as one kernel, so its interior was never numbers in memory. Its equation is run here on its recorded
    inputs, as plain ops in float64, and recorded; the result must land on the recorded output within the step's
    rounding-error bound, or the interior shown would not be that of the step.

    Args:
        step: A step of a walk; ``step.zoom()`` is the same.

    Returns:
        The walk of the decomposition. ``walk.meta["zoom"]`` says which op, and the deviation of its output from the
        record as a fraction of the bound (None where the op has no proven bound, with the deviation itself).

    Raises:
        UsageError: The op is a single operation already.
        RecordError: The decomposition does not land on the recorded output.

    Example:
        >>> import torch, weightwalk as ww
        >>> step = ww.walk(torch.nn.Softmax(-1), torch.tensor([1.0, 2.0, 3.0])).steps[0]
        >>> step.name, [inner.name for inner in zoom(step)]
        ('softmax', ['amax', 'sub', 'exp', 'sum', 'div'])
    """
    import torch

    from weightwalk.recorder import walk
    from weightwalk.recorder.decompositions import table

    decomposition = table().get(step.op)
    if decomposition is None:
        raise UsageError(
            f"{step.address} ({step.op}) is a single operation: there is nothing inside to zoom into. "
            f"Fused ops (attention, LSTM, layer norm, softmax, GELU ...) can be."
        )
    tensors: dict[int, torch.Tensor] = {}

    def plain(argument: Argument) -> Any:
        if isinstance(argument, Ref):
            if argument.value not in tensors:
                tensors[argument.value] = _double(step.walk.values[argument.value])
            return tensors[argument.value]
        if isinstance(argument, list):
            return [plain(a) for a in argument]
        if isinstance(argument, str) and hasattr(torch, argument) and isinstance(getattr(torch, argument), torch.dtype):
            return torch.float64 if is_float(argument) else getattr(torch, argument)
        return argument

    args = [plain(a) for a in step.args]
    kwargs = {k: plain(a) for k, a in step.kwargs.items() if k not in ("device", "layout", "pin_memory")}
    with torch.no_grad():
        inside = walk(_named(decomposition, step.name), *args, **kwargs)
    inside.meta = {**inside.meta, "zoom": _landing(step, inside)}
    return inside


def _named(function: Callable[..., Any], name: str) -> Callable[..., Any]:
    def inside(*args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs)

    inside.__name__ = name
    return inside


def _double(value: Value) -> Any:
    import torch

    array = value.numpy()
    if is_float(value.dtype):
        return torch.from_numpy(array.astype(np.float64))
    return torch.from_numpy(np.array(array))


def _landing(step: Step, inside: Walk) -> dict[str, Any]:
    """How near the decomposition came to the record: deviation and fraction of the bound, over all float outputs."""
    from weightwalk.readings.referees.base import numpy_referee

    def recorded(argument: Argument) -> Any:
        if isinstance(argument, Ref):
            return step.walk.values[argument.value].numpy()
        return [recorded(a) for a in argument] if isinstance(argument, list) else argument

    results = list(step.results())
    expected = numpy_referee(
        step.op,
        [recorded(a) for a in step.args],
        {k: recorded(a) for k, a in step.kwargs.items()},
        [r.dtype for r in results],
    )
    deviation, fraction = 0.0, 0.0 if expected else None
    for i, result in enumerate(results):
        name = f"out.{i}" if f"out.{i}" in inside.given else ("out" if i == 0 else "")
        if not name or name not in inside.given or not is_float(result.dtype) or result.size == 0:
            continue
        gap = np.abs(
            inside.values[inside.given[name]].numpy().reshape(result.shape) - result.numpy().astype(np.float64)
        )
        deviation = max(deviation, float(np.nanmax(gap, initial=0.0)))
        if expected is not None and expected[i].bound is not None:
            bound = np.broadcast_to(np.asarray(expected[i].bound, dtype=np.float64), gap.shape)
            share = float(
                np.max(np.where(gap == 0, 0.0, gap / np.where(bound == 0, np.finfo(float).tiny, bound)), initial=0.0)
            )
            fraction = max(fraction or 0.0, share)
    if fraction is not None and fraction > 1:
        raise RecordError(
            f"{step.address}: its decomposition misses the recorded output by {fraction:.3g} times the bound; "
            f"the record of this step is false (see walk.verify()) or the op has an option that is not decomposed."
        )
    return {"op": step.op, "address": step.address, "deviation": deviation, "fraction_of_bound": fraction}
