"""The weights that a task's net starts with, for many seeds: the same bits as ``task.module(seed)``, without its cost.

Making a module costs far more than the random numbers in it. So one module is made while its draws are written down
(which distribution, which shape, in which order); if each of its parameters proves to be one of those draws, or the
same for all seeds, the draws alone are repeated for the other seeds. That is believed only after several seeds were
made both ways and agreed in every bit; otherwise every module is made.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from weightwalk.learning.tasks import Task

_DRAWS = {torch.ops.aten.uniform_.default: "uniform_", torch.ops.aten.normal_.default: "normal_"}


@dataclass(frozen=True, slots=True)
class Draw:
    """One call of the generator: ``tensor.uniform_(*bounds)`` or ``tensor.normal_(*bounds)``."""

    kind: str
    shape: tuple[int, ...]
    dtype: torch.dtype
    bounds: tuple[float, ...]

    def __call__(self, into: Tensor, generator: torch.Generator) -> None:
        getattr(into, self.kind)(*self.bounds, generator=generator)


@dataclass(frozen=True)
class Starts:
    """How to fill a row of initial weights.

    Attributes:
        names: Parameters, in the module's order.
        shapes: Their shapes.
        dtype: Of all of them; None if they differ.
        draws: To be repeated for each seed, with the number of the parameter that each becomes (-1: written over).
        constants: Parameters that are the same for every seed.
        task: Whose module is made where draws cannot be repeated.
    """

    names: tuple[str, ...]
    shapes: tuple[tuple[int, ...], ...]
    dtype: torch.dtype
    task: Task
    draws: tuple[tuple[Draw, int], ...] = ()
    constants: tuple[tuple[int, Tensor], ...] = ()
    replayed: bool = False

    @property
    def offsets(self) -> dict[str, int]:
        """Where each parameter starts among all laid end to end."""
        found, start = {}, 0
        for name, shape in zip(self.names, self.shapes, strict=True):
            found[name] = start
            start += _size(shape)
        return found

    @property
    def count(self) -> int:
        """Numbers per seed."""
        return sum(_size(shape) for shape in self.shapes)

    def fill(self, seeds: Sequence[int], stop: Callable[[], bool] = lambda: False) -> Tensor:
        """Initial weights, (S, numbers), the parameters of each seed laid end to end."""
        rows = torch.empty(len(seeds), self.count, dtype=self.dtype)
        if not self.replayed:
            for row, seed in zip(rows, seeds, strict=True):
                if stop():
                    break
                row.copy_(_laid(self.task.module(seed)))
            return rows
        starts = list(self.offsets.values())
        sizes = [_size(shape) for shape in self.shapes]
        for i, value in self.constants:
            rows[:, starts[i] : starts[i] + sizes[i]] = value.flatten()
        spare = {draw: torch.empty(draw.shape, dtype=draw.dtype) for draw, i in self.draws if i < 0}
        # Views of all rows at once: a draw into a slice costs one call, making the slice another one.
        views = [
            None if i < 0 else rows[:, starts[i] : starts[i] + sizes[i]].unflatten(1, draw.shape).unbind(0)
            for draw, i in self.draws
        ]
        calls = [
            (getattr(Tensor, draw.kind), draw.bounds, view, spare.get(draw))
            for (draw, _), view in zip(self.draws, views, strict=True)
        ]
        generator = torch.Generator()
        for k, seed in enumerate(seeds):
            generator.manual_seed(seed)
            for call, bounds, view, unused in calls:
                call(unused if view is None else view[k], *bounds, generator=generator)
        return rows


def starts_of(task: Task, probes: Sequence[int]) -> Starts:
    """How the nets of `task` start, proven on the `probes`."""
    module, found = _written_down(task, probes[0])
    parameters = [(name, p.detach()) for name, p in module.named_parameters()]
    names = tuple(name for name, _ in parameters)
    shapes = tuple(tuple(p.shape) for _, p in parameters)
    dtype = parameters[0][1].dtype if parameters else torch.float32
    made = Starts(names, shapes, dtype, task)
    truth = torch.stack([_laid(task.module(seed)) for seed in probes])
    if any(p.dtype != dtype for _, p in parameters):
        return made
    owner: dict[int, int] = {}
    constants: list[tuple[int, Tensor]] = []
    for i, (_, value) in enumerate(parameters):
        at = [k for k, (_, drawn) in enumerate(found) if drawn.shape == value.shape and torch.equal(drawn, value)]
        if at:
            owner[at[-1]] = i
        else:
            constants.append((i, value.clone()))
    draws = tuple((draw, owner.get(k, -1)) for k, (draw, _) in enumerate(found))
    if any(draw.dtype != dtype for draw, _ in draws):
        return made
    guess = Starts(names, shapes, dtype, task, draws, tuple(constants), replayed=True)
    return guess if _same_bits(guess.fill(probes), truth) else made


def _written_down(task: Task, seed: int) -> tuple[torch.nn.Module, list[tuple[Draw, Tensor]]]:
    found: list[tuple[Draw, Tensor]] = []

    class Listener(TorchDispatchMode):
        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            out = func(*args, **(kwargs or {}))
            if func in _DRAWS and isinstance(out, Tensor):
                bounds = [float(a) for a in args[1:]]
                bounds += (0.0, 1.0)[len(bounds) :]
                found.append((Draw(_DRAWS[func], tuple(out.shape), out.dtype, tuple(bounds)), out.detach().clone()))
            return out

    with Listener():
        return task.module(seed), found


def _laid(module: torch.nn.Module) -> Tensor:
    parts = [p.detach().flatten() for p in module.parameters()]
    return torch.cat(parts) if parts else torch.empty(0)


def _same_bits(a: Tensor, b: Tensor) -> bool:
    as_bits = {4: torch.int32, 8: torch.int64, 2: torch.int16}[a.element_size()]
    return a.dtype == b.dtype and a.shape == b.shape and torch.equal(a.view(as_bits), b.view(as_bits))


def _size(shape: tuple[int, ...]) -> int:
    return int(torch.Size(shape).numel())
