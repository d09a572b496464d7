"""Watching a net's activation functions as it runs, whether modules or plain calls of torch's functions.

A function mode of torch sees every call of ``relu``, ``tanh`` and the like, with what goes in and what comes out. What
goes in is asked for its gradient; which module runs is known from hooks, which are taken off again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

PIECEWISE = ("relu", "relu6", "hardtanh", "threshold", "leaky_relu", "prelu", "rrelu", "hardsigmoid")
SMOOTH = ("tanh", "sigmoid", "gelu", "silu", "elu", "selu", "celu", "softplus", "mish", "logsigmoid", "hardswish")
CONVOLUTIONS = ("conv1d", "conv2d", "conv3d", "conv_transpose1d", "conv_transpose2d", "conv_transpose3d")
NORMS = ("batch_norm", "group_norm", "instance_norm")
LINEAR = ("linear", "addmm", "matmul", "mm", "layer_norm", "embedding")
SATURATED = 0.005
"""Share of its steepest slope below which a smooth function counts as flat."""
STEEPEST = {"sigmoid": 0.25}


@dataclass(slots=True)
class Call:
    """One call of an activation function.

    Attributes:
        name: Where.
        function: Which.
        output: What came out.
        slope: Its derivative, number by number.
        axis: Which axis counts the units.
        gradient: Gradient of the loss with respect to what went in, filled in by backward.
    """

    name: str
    function: str
    output: Tensor
    slope: Tensor
    axis: int
    gradient: Tensor | None = None


class Watch(TorchFunctionMode):
    """Collects the calls of activation functions."""

    leaf = False
    """Whether the module that runs has no parts, so that its path names the activation."""

    def __init__(self, slopes: bool = True) -> None:
        super().__init__()
        self.calls: list[Call] = []
        self.stack: list[str] = [""]
        self._slopes = slopes
        self._conv = False

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        name = getattr(func, "__name__", "").partition(".")[0].rstrip("_")
        if name in PIECEWISE or name in SMOOTH:
            return self._activation(func, name, args, kwargs)
        if name in CONVOLUTIONS or name in NORMS:
            self._conv = True
        elif name in LINEAR:
            self._conv = False
        return func(*args, **kwargs)

    def _activation(self, func: Any, name: str, args: Any, kwargs: Any) -> Any:
        given = args[0] if args else kwargs.get("input")
        if not isinstance(given, Tensor) or not given.is_floating_point():
            return func(*args, **kwargs)
        rest = args[1:] if args else ()
        keywords = {k: v for k, v in kwargs.items() if k != "input"}
        with torch.enable_grad():
            x = given.detach().clone().requires_grad_(True)
            twin = func(x * 1, *[_detached(a) for a in rest], **{k: _detached(v) for k, v in keywords.items()})
            (slope,) = torch.autograd.grad(twin.sum(), x)
        call = Call(self._name(name), name, twin.detach(), slope, 1 if self._conv and given.dim() > 2 else -1)
        if self._slopes and given.requires_grad:

            def keep(gradient: Tensor) -> None:
                call.gradient = gradient.detach()

            given.register_hook(keep)
        self.calls.append(call)
        return func(*args, **kwargs)

    def _name(self, function: str) -> str:
        path = self.stack[-1]
        here = path if path and self.leaf else ".".join(part for part in (path, function) if part)
        again = sum(c.name == here or c.name.startswith(f"{here}:") for c in self.calls)
        return f"{here}:{again + 1}" if again else here


def _detached(value: Any) -> Any:
    return value.detach() if isinstance(value, Tensor) else False if value is True else value


@contextmanager
def watching(module: nn.Module, slopes: bool = True) -> Iterator[Watch]:
    """Watch what runs in `module` within the block; hooks are taken off afterwards, whatever happens."""
    watch = Watch(slopes)
    handles: list[Any] = []

    def enter(path: str, leaf: bool) -> Callable[..., None]:
        def hook(*_: Any) -> None:
            watch.stack.append(path)
            watch.leaf = leaf

        return hook

    def leave(*_: Any) -> None:
        watch.stack.pop()
        watch.leaf = False

    try:
        for path, part in module.named_modules():
            handles.append(part.register_forward_pre_hook(enter(path, bool(path) and not any(part.children()))))
            handles.append(part.register_forward_hook(leave, always_call=True))
        with watch:
            yield watch
    finally:
        for handle in handles:
            handle.remove()


def per_unit(tensor: Tensor, axis: int) -> Tensor:
    """``(rows, positions, units)`` of an activation, whatever axes it has."""
    if tensor.dim() == 0:
        return tensor.reshape(1, 1, 1)
    if tensor.dim() == 1:
        return tensor.reshape(-1, 1, 1)
    moved = tensor.movedim(axis, -1)
    return moved.reshape(moved.shape[0], -1, moved.shape[-1])


def off_of(call: Call) -> Tensor:
    """Where a call's function is flat, number by number."""
    if call.function in PIECEWISE:
        return call.slope == 0
    return call.slope.abs() < SATURATED * STEEPEST.get(call.function, 1.0)


def names_of(calls: Sequence[Call]) -> tuple[str, ...]:
    """The calls' names, to see whether two runs made the same ones."""
    return tuple(c.name for c in calls)
