"""Run a torch computation, and hold every op that it dispatches against the NumPy referee."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import ml_dtypes
import numpy as np
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map

from weightwalk.readings.referees import Expected, Judgement, judge, numpy_referee

HIDDEN_WRITES = {"native_batch_norm": (3, 4)}
"""Arguments that an op overwrites although its schema does not say so."""


def to_numpy(x: Any) -> Any:
    """Arguments as the referee gets them: arrays for tensors, names for dtypes."""
    if isinstance(x, torch.Tensor):
        x = x.detach()
        if x.dtype is torch.bfloat16:
            return x.contiguous().view(torch.int16).numpy().view(ml_dtypes.bfloat16)
        return x.numpy()
    if isinstance(x, torch.dtype):
        return str(x).removeprefix("torch.")
    if isinstance(x, (torch.memory_format, torch.device, torch.layout)):
        return str(x)
    if isinstance(x, (list, tuple)):
        return [to_numpy(i) for i in x]
    return x


@dataclass
class Recorded:
    op: str
    args: list[Any]
    kwargs: dict[str, Any]
    outputs: list[np.ndarray]

    @property
    def dtypes(self) -> list[str]:
        return [o.dtype.name for o in self.outputs]

    def expected(self) -> list[Expected] | None:
        return numpy_referee(self.op, self.args, self.kwargs, self.dtypes)


@dataclass
class Recorder(TorchDispatchMode):
    """Keeps each op with copies of its inputs and outputs, in the order of ``Step.outputs``."""

    ops: list[Recorded] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        before = tree_map(lambda t: t.clone() if isinstance(t, torch.Tensor) else t, (args, kwargs))
        result = func(*args, **kwargs)
        outputs = [t for t in _flat(result) if isinstance(t, torch.Tensor)]
        outputs += [t for t in _written(func, args, kwargs) if not any(t is o for o in outputs)]
        if isinstance(result, (bool, int, float)):
            outputs = [torch.tensor(result, dtype=torch.float64 if isinstance(result, float) else None)]
        kept = [to_numpy(o.detach().clone()) for o in outputs]
        keywords = {k: to_numpy(v) for k, v in before[1].items()}
        self.ops.append(Recorded(str(func), to_numpy(list(before[0])), keywords, kept))
        return result


def _written(func: Any, args: Any, kwargs: Any) -> list[torch.Tensor]:
    found: list[torch.Tensor] = []
    for i, a in enumerate(func._schema.arguments):
        value = args[i] if i < len(args) else kwargs.get(a.name)
        hidden = i in HIDDEN_WRITES.get(func._schema.name.split("::")[1], ())
        if hidden or (a.alias_info is not None and a.alias_info.is_write):
            found += [t for t in _flat(value) if isinstance(t, torch.Tensor)]
    return found


def _flat(tree: Any) -> list[Any]:
    return [y for x in tree for y in _flat(x)] if isinstance(tree, (list, tuple)) else [tree]


def record(function: Callable[[], Any]) -> list[Recorded]:
    with Recorder() as recorder:
        function()
    return [r for r in recorder.ops if not r.op.startswith("profiler.")]


def judgements(step: Recorded) -> list[tuple[Expected, Judgement]] | None:
    expected = step.expected()
    if expected is None:
        return None
    assert len(expected) == len(step.outputs), (step.op, len(expected), len(step.outputs))
    return [(e, judge(o, e)) for o, e in zip(step.outputs, expected, strict=True) if not e.unchecked]
