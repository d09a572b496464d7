"""The net itself, in float64, as the judge of its formula: run by other code than that which found the formula."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import nn

from weightwalk.formulas.lifts.lift import Lifted, forward_slice
from weightwalk.formulas.piecewise import NUMBERS
from weightwalk.readings.replay import Replay
from weightwalk.recorder.trees import tensors_by_path

Oracle = Callable[[np.ndarray], np.ndarray]
"""From inputs (N, n) to outputs (N, outputs), float64."""

FEW = 3
"""Points on which it is tried out."""


def oracle_of(
    lifted: Lifted, module: Any = None, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
) -> Oracle:
    """The best judge at hand: the user's own module in float64, else the recorded steps replayed by NumPy.

    Args:
        lifted: What is to be judged.
        module: The module or function that was walked, if it is at hand; a module is copied, not touched.
        args: What it was called with.
        kwargs: What else.
    """
    if isinstance(module, nn.Module) and lifted.whole:
        judge = module_oracle(lifted, module, args, kwargs or {}, torch.float64)
        if judge is not None:
            return judge
    if callable(module) and not isinstance(module, nn.Module) and lifted.whole:
        return _guarded(lifted, module, args, kwargs or {})
    return replay_oracle(lifted)


FAR = 1e-3
"""A function further than this from its replay, relative to the greatest number about, did something else there."""


def _guarded(lifted: Lifted, function: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Oracle:
    """The recorded steps in float64, but what a function itself says where it did not take the same steps.

    A function cannot be brought into float64 with all that it holds; still it tells whether a number left for Python
    on a way that no walk records, ``x.tolist()`` or ``x.numpy()``.
    """
    wide = replay_oracle(lifted)
    own = module_oracle(lifted, function, args, kwargs, torch.float64)
    if own is None and all(a.dtype == torch.float32 for a in args if _real(a)):
        own = module_oracle(lifted, function, args, kwargs, None)
    if own is None:
        return wide

    def judge(points: np.ndarray) -> np.ndarray:
        ours, theirs = wide(points), own(points)
        size = np.abs(points).max(axis=1, keepdims=True, initial=1.0)
        size = np.maximum(size, np.abs(ours).max(axis=1, keepdims=True, initial=0.0))
        return np.where(np.abs(theirs - ours) > FAR * size, theirs, ours)

    return judge


def module_oracle(
    lifted: Lifted, module: Any, args: Sequence[Any], kwargs: Mapping[str, Any], dtype: torch.dtype | None
) -> Oracle | None:
    """The module in a precision (None: its own), as a function of the formula's inputs; None where it cannot be run so.

    Points go through in one batch where the module keeps them apart, else one by one.
    """
    places = [i for i, a in enumerate(args) if _real(a)]
    if len(places) != 1 or any(_real(a) for a in kwargs.values()) or len(lifted.sources) != 1 or lifted.embedded:
        return None
    (place,) = places
    shape = tuple(args[place].shape)
    if dtype is not None and isinstance(module, nn.Module):
        try:
            module = copy.deepcopy(module).to(dtype)
        except (RuntimeError, TypeError, ValueError):
            return None  # some modules cannot be copied
    own = args[place].dtype if dtype is None else dtype

    def run(points: np.ndarray, batched: bool) -> np.ndarray:
        rows = torch.from_numpy(np.ascontiguousarray(points, np.float64)).to(own)
        rows = rows.reshape(-1, *(shape[1:] if batched else shape))
        calls = [rows] if batched else list(rows)
        with torch.no_grad():
            outs = [_first(module(*(*args[:place], call, *args[place + 1 :]), **kwargs)) for call in calls]
        return torch.cat([o.reshape(len(rows) if batched else 1, -1) for o in outs]).to(torch.float64).numpy()

    wanted = len(lifted.net.outputs)
    try:
        probe = lifted.point + np.linspace(-0.5, 0.5, FEW)[:, None] * np.maximum(np.abs(lifted.point), 1.0)
        apart = run(probe, False)
        if apart.shape != (FEW, wanted):
            return None
        batched = _keeps_apart(run, probe, apart, shape)
    except (RuntimeError, TypeError, ValueError, IndexError):
        return None  # code that insists on its own precision
    step = max(1, NUMBERS // max([lifted.net.n, wanted, *(layer.size for layer in lifted.net.layers)]))

    def judge(points: np.ndarray) -> np.ndarray:
        some = [run(points[i : i + step], batched) for i in range(0, len(points), step)]
        return np.concatenate(some) if some else np.empty((0, wanted))

    return judge


def _keeps_apart(run: Callable[..., np.ndarray], probe: np.ndarray, apart: np.ndarray, shape: tuple[int, ...]) -> bool:
    if not shape or shape[0] != 1:
        return False
    try:
        together = run(probe, True)
    except (RuntimeError, TypeError, ValueError, IndexError):
        return False
    return together.shape == apart.shape and np.allclose(together, apart, rtol=1e-5, atol=1e-7)


def _real(argument: Any) -> bool:
    return isinstance(argument, torch.Tensor) and argument.is_floating_point()


def _first(out: Any) -> torch.Tensor:
    """The first real tensor of whatever a module returned, as the lift takes it."""
    return next(leaf for leaf in (t for _, t in tensors_by_path(out)) if _real(leaf))


def replay_oracle(lifted: Lifted) -> Oracle:
    """The recorded steps once more in float64, each as its plain equation in NumPy, on other inputs."""
    walk = lifted.walk
    steps = forward_slice(walk, walk.values[lifted.output])
    made = set(lifted.sources)
    steps = [s for s in steps if not any(v.id in made for v in s.results())]

    def judge(points: np.ndarray) -> np.ndarray:
        out = np.empty((len(points), len(lifted.net.outputs)))
        for row, point in zip(out, np.asarray(points, np.float64), strict=True):
            replay, start = Replay(walk), 0
            for vid in lifted.sources:
                value = walk.values[vid]
                replay.wide[vid] = point[start : start + value.size].reshape(value.shape)
                start += value.size
            for step in steps:
                replay.run(step, {lifted.output, *lifted.sources})
            row[:] = replay.wide[lifted.output].reshape(-1)
        return out

    return judge
