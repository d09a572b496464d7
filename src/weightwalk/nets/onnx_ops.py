"""The operators of ONNX that are run here, each by the torch function that computes it.

A function takes the node's `Spec` and its inputs; an input that is left out is None. Inputs in `PLAIN` (shapes, axes,
limits) come as Python numbers and lists. Specification: https://onnx.ai/onnx/operators/.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from weightwalk.errors import UsageError


class Unfit(UsageError, ValueError):
    """Raised while a graph runs; a ValueError too, as any module raises on an input that does not fit it."""


@dataclass(frozen=True, slots=True)
class Spec:
    """What a node says of itself.

    Attributes:
        op: Kind of node.
        name: Its name.
        opset: Version of the operator set.
        attributes: By name; texts as str.
        outputs: How many outputs are asked of it.
    """

    op: str
    name: str
    opset: int
    attributes: Mapping[str, Any]
    outputs: int = 1

    def get(self, name: str, default: Any = None) -> Any:
        """An attribute."""
        return self.attributes.get(name, default)

    def number(self, name: str, default: float) -> float:
        """An attribute that is a float32 in the file, and so is its default."""
        return self.attributes.get(name, float(np.float32(default)))

    def refuse(self, what: str) -> Unfit:
        """The error for a node of a known kind with a setting or an input that is not run here."""
        return Unfit(f"The ONNX node {self.name!r} ({self.op}) {what}.")


Operator = Callable[..., Any]
OPERATORS: dict[str, Operator] = {}
"""By the name of the operator."""

PLAIN: dict[str, frozenset[int]] = {
    "Clip": frozenset({1, 2}),
    "Dropout": frozenset({1, 2}),
    "Pad": frozenset({1, 2, 3}),
    "ReduceMax": frozenset({1}),
    "ReduceMean": frozenset({1}),
    "ReduceSum": frozenset({1}),
    "Reshape": frozenset({1}),
    "Slice": frozenset({1, 2, 3, 4}),
    "Split": frozenset({1}),
    "Squeeze": frozenset({1}),
    "Unsqueeze": frozenset({1}),
}
"""Places of the inputs that decide a shape or are limits, and are no data."""

LARGEST = 1 << 31
"""Numbers in one tensor that padding may make."""


def operator(*names: str) -> Callable[[Operator], Operator]:
    """Enter a function under these names."""

    def enter(function: Operator) -> Operator:
        OPERATORS.update(dict.fromkeys(names, function))
        return function

    return enter


# One number in, one number out ----------------------------------------------------------------------------------------

_SIMPLE: dict[str, Callable[[Tensor], Tensor]] = {
    "Relu": torch.relu,
    "Abs": torch.abs,
    "Neg": torch.neg,
    "Sigmoid": torch.sigmoid,
    "Tanh": torch.tanh,
    "Exp": torch.exp,
    "Log": torch.log,
    "Sqrt": torch.sqrt,
    "Erf": torch.erf,
    "Softplus": F.softplus,
    "Identity": lambda x: x,
}
OPERATORS.update({name: lambda spec, x, f=f: f(x) for name, f in _SIMPLE.items()})


@operator("LeakyRelu")
def _leaky_relu(spec: Spec, x: Tensor) -> Tensor:
    return F.leaky_relu(x, spec.number("alpha", 0.01))


@operator("Elu")
def _elu(spec: Spec, x: Tensor) -> Tensor:
    return F.elu(x, spec.get("alpha", 1.0))


@operator("Gelu")
def _gelu(spec: Spec, x: Tensor) -> Tensor:
    return F.gelu(x, approximate=spec.get("approximate", "none"))


@operator("HardSigmoid")
def _hard_sigmoid(spec: Spec, x: Tensor) -> Tensor:
    return torch.clamp(x * spec.number("alpha", 0.2) + spec.number("beta", 0.5), 0.0, 1.0)


@operator("PRelu")
def _prelu(spec: Spec, x: Tensor, slope: Tensor) -> Tensor:
    channels = x.dim() > 1 and slope.numel() == x.shape[1] and slope.shape[0] == slope.numel()
    if slope.numel() == 1 or (channels and slope.dim() == x.dim() - 1):  # (C, 1, 1): one slope per channel
        return F.prelu(x, slope.reshape(-1))
    return torch.relu(x) - slope * torch.relu(-x)


@operator("Clip")
def _clip(spec: Spec, x: Tensor, low: float | None = None, high: float | None = None) -> Tensor:
    low, high = spec.get("min", low), spec.get("max", high)
    return x if low is None and high is None else torch.clamp(x, low, high)


@operator("Cast")
def _cast(spec: Spec, x: Tensor) -> Tensor:
    kinds = {1: torch.float32, 6: torch.int32, 7: torch.int64, 9: torch.bool, 10: torch.float16, 11: torch.float64}
    to = kinds.get(spec.get("to"))
    if to is None:
        raise spec.refuse(f"casts to type {spec.get('to')}; floats, int32, int64 and bool are run here")
    return x.to(to)


@operator("Dropout")
def _dropout(spec: Spec, x: Tensor, ratio: float | None = None, training: bool | None = None) -> Tensor:
    if training:
        raise spec.refuse("drops at random (training mode); export the net for inference")
    return x


# Several in, one out --------------------------------------------------------------------------------------------------


@operator("Add")
def _add(spec: Spec, a: Tensor, b: Tensor) -> Tensor:
    return a + b


@operator("Sub")
def _sub(spec: Spec, a: Tensor, b: Tensor) -> Tensor:
    return a - b


@operator("Mul")
def _mul(spec: Spec, a: Tensor, b: Tensor) -> Tensor:
    return a * b


@operator("Div")
def _div(spec: Spec, a: Tensor, b: Tensor) -> Tensor:
    return a / b if a.is_floating_point() else torch.div(a, b, rounding_mode="trunc")


@operator("Pow")
def _pow(spec: Spec, a: Tensor, b: Tensor) -> Tensor:
    return torch.pow(a, b)


@operator("Sum")
def _sum(spec: Spec, *parts: Tensor) -> Tensor:
    return reduce(torch.add, parts)


@operator("Max")
def _max(spec: Spec, *parts: Tensor) -> Tensor:
    return reduce(torch.maximum, parts)


@operator("Min")
def _min(spec: Spec, *parts: Tensor) -> Tensor:
    return reduce(torch.minimum, parts)


@operator("MatMul")
def _matmul(spec: Spec, a: Tensor, b: Tensor) -> Tensor:
    return torch.matmul(a, b)


@operator("Gemm")
def _gemm(spec: Spec, a: Tensor, b: Tensor, c: Tensor | None = None) -> Tensor:
    """``alpha A' B' + beta C``; a linear layer where it is one."""
    alpha, beta = spec.get("alpha", 1.0), spec.get("beta", 1.0)
    a = a.T if spec.get("transA", 0) else a
    row = c is None or (c.dim() == 1 and c.shape[0] != 1)
    if spec.get("transB", 0) and alpha == beta == 1.0 and row:
        return F.linear(a, b, c)
    out = torch.matmul(a, b.T if spec.get("transB", 0) else b)
    out = out if alpha == 1.0 else out * alpha
    return out if c is None else out + (c if beta == 1.0 else c * beta)


@operator("BatchNormalization")
def _batch_norm(spec: Spec, x: Tensor, scale: Tensor, shift: Tensor, mean: Tensor, variance: Tensor) -> Tensor:
    if spec.get("training_mode", 0):
        raise spec.refuse("takes the statistics of its batch (training mode); export the net for inference")
    if not spec.get("spatial", 1):
        raise spec.refuse("has spatial=0, one statistic per position, which only opsets below 9 had")
    return F.batch_norm(x, mean, variance, scale, shift, eps=spec.number("epsilon", 1e-5))


@operator("Softmax")
def _softmax(spec: Spec, x: Tensor) -> Tensor:
    if spec.opset >= 13:
        return torch.softmax(x, spec.get("axis", -1))
    axis = spec.get("axis", 1) % max(x.dim(), 1)  # before 13 all axes from this one on are one
    return torch.softmax(x.reshape(math.prod(x.shape[:axis]), -1), -1).reshape(x.shape)


def _reduction(name: str, function: Callable[..., Tensor], plain: int) -> None:
    """Enter a reduction; from opset `plain` on, its axes are an input."""

    def run(spec: Spec, x: Tensor, axes: Sequence[int] | None = None) -> Tensor:
        if spec.opset < plain:
            axes = spec.get("axes")
        if not axes:
            if spec.get("noop_with_empty_axes", 0):
                return x
            axes = range(x.dim())
        return function(x, tuple(axes), keepdim=bool(spec.get("keepdims", 1)))

    OPERATORS[name] = run


_reduction("ReduceSum", torch.sum, 13)
_reduction("ReduceMean", torch.mean, 18)
_reduction("ReduceMax", torch.amax, 18)


# Moves: the same numbers elsewhere ------------------------------------------------------------------------------------


@operator("Flatten")
def _flatten(spec: Spec, x: Tensor) -> Tensor:
    axis = spec.get("axis", 1)
    axis += x.dim() if axis < 0 else 0
    return x.reshape(math.prod(x.shape[:axis]), math.prod(x.shape[axis:]))


@operator("Reshape")
def _reshape(spec: Spec, x: Tensor, shape: Sequence[int]) -> Tensor:
    if not spec.get("allowzero", 0):
        shape = [x.shape[i] if s == 0 and i < x.dim() else s for i, s in enumerate(shape)]
    try:
        return x.reshape(list(shape))
    except RuntimeError:
        raise spec.refuse(
            f"gives its input, of shape {tuple(x.shape)}, the shape {tuple(shape)}, which does not hold as many "
            "numbers; most often the file was exported for another batch size"
        ) from None


@operator("Transpose")
def _transpose(spec: Spec, x: Tensor) -> Tensor:
    return x.permute(*spec.get("perm", range(x.dim() - 1, -1, -1)))


@operator("Squeeze")
def _squeeze(spec: Spec, x: Tensor, axes: Sequence[int] | None = None) -> Tensor:
    axes = spec.get("axes", axes)
    return x.squeeze() if axes is None else x.squeeze(tuple(axes))


@operator("Unsqueeze")
def _unsqueeze(spec: Spec, x: Tensor, axes: Sequence[int] | None = None) -> Tensor:
    axes = list(spec.get("axes", axes))
    for axis in sorted(a % (x.dim() + len(axes)) for a in axes):
        x = x.unsqueeze(axis)
    return x


@operator("Concat")
def _concat(spec: Spec, *parts: Tensor) -> Tensor:
    return torch.cat(parts, spec.get("axis"))


@operator("Split")
def _split(spec: Spec, x: Tensor, sizes: Sequence[int] | None = None) -> tuple[Tensor, ...]:
    axis, sizes = spec.get("axis", 0), spec.get("split", sizes)
    # Equal parts, of which the last may be smaller, where no sizes are given.
    return torch.split(x, -(-x.shape[axis] // spec.outputs) if sizes is None else list(sizes), axis)


@operator("Slice")
def _slice(
    spec: Spec,
    x: Tensor,
    starts: Sequence[int] | None = None,
    ends: Sequence[int] | None = None,
    axes: Sequence[int] | None = None,
    steps: Sequence[int] | None = None,
) -> Tensor:
    starts, ends = list(spec.get("starts", starts)), list(spec.get("ends", ends))
    axes = list(spec.get("axes", range(len(starts)) if axes is None else axes))
    for start, end, axis, step in zip(starts, ends, axes, steps or [1] * len(starts), strict=True):
        x = _taken(x, axis % x.dim(), slice(start, end, step))
    return x


def _taken(x: Tensor, axis: int, part: slice) -> Tensor:
    if part.step > 0:
        return x[(slice(None),) * axis + (part,)]
    places = range(*part.indices(x.shape[axis]))
    return x.index_select(axis, torch.tensor(list(places), dtype=torch.int64, device=x.device))


@operator("Gather")
def _gather(spec: Spec, x: Tensor, places: Tensor) -> Tensor:
    axis = spec.get("axis", 0) % x.dim()
    size = x.shape[axis]
    flat = torch.where(places < 0, places + size, places).reshape(-1)
    return x.index_select(axis, flat).reshape((*x.shape[:axis], *places.shape, *x.shape[axis + 1 :]))


@operator("Shape")
def _shape(spec: Spec, x: Tensor) -> Tensor:
    return torch.tensor(list(x.shape)[slice(spec.get("start", 0), spec.get("end"))], dtype=torch.int64)


@operator("Pad")
def _pad(
    spec: Spec,
    x: Tensor,
    pads: Sequence[int] | None = None,
    value: float | None = None,
    axes: Sequence[int] | None = None,
) -> Tensor:
    pads = list(spec.get("pads", pads))
    axes = [a % x.dim() for a in (range(x.dim()) if axes is None else axes)]
    before, after = [0] * x.dim(), [0] * x.dim()
    for i, axis in enumerate(axes):
        before[axis], after[axis] = pads[i], pads[i + len(axes)]
    if math.prod(max(0, s + b + a) for s, b, a in zip(x.shape, before, after, strict=True)) > LARGEST:
        raise spec.refuse(f"pads its input, of shape {tuple(x.shape)}, to more than {LARGEST:,} numbers")
    mode = spec.get("mode", "constant")
    if mode == "constant":
        around = [n for b, a in zip(reversed(before), reversed(after), strict=True) for n in (b, a)]
        return F.pad(x, around, value=spec.get("value", 0.0) if value is None else value)
    for axis in axes:
        places = torch.arange(-before[axis], x.shape[axis] + after[axis], device=x.device)
        x = x.index_select(axis, _inside(spec, places, x.shape[axis], mode))
    return x


def _inside(spec: Spec, places: Tensor, size: int, mode: str) -> Tensor:
    """Places outside 0 ... size - 1 brought inside."""
    if mode == "edge":
        return places.clamp(0, size - 1)
    if mode == "wrap":
        return places % size
    if mode != "reflect":
        raise spec.refuse(f"pads by {mode!r}; constant, edge, reflect and wrap are run here")
    round_trip = max(2 * (size - 1), 1)
    places = places % round_trip
    return torch.minimum(places, round_trip - places) if size > 1 else places * 0
