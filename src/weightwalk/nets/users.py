"""A net of any kind with data of one's own, as a task."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any, cast

import torch
from torch import Tensor, nn

from weightwalk.errors import UsageError, WeightwalkError
from weightwalk.learning.losses import tensor_of
from weightwalk.learning.tasks import Data, Task
from weightwalk.nets.load import load_net
from weightwalk.nets.named import named_object
from weightwalk.nets.tasks import TASKS, named_task

OBJECT = r"[A-Za-z_][\w.]*:[A-Za-z_][\w.]*"


def user_task(
    spec: str, data: Data | None = None, loss: str | None = None, shape: Mapping[str, Any] | None = None
) -> Task:
    """The task that a net and data make.

    Args:
        spec: A task's name, of which the net is taken fresh; ``package.module:object`` for a task, a module, or a class
            or function without arguments that makes one (fresh for each seed); or anything that `load_net` knows,
            which goes on from the weights that it has.
        data: What to learn; None for a task's own.
        loss: Name of a loss; None for what the task says or, with `data`, what fits the targets: cross-entropy for
            class numbers, the mean square for all else.
        shape: What is to be varied about the task, such as ``{"width": 4}``.

    Raises:
        UsageError: No such net, none with its own data where none is given, or data that do not fit it.
    """
    task = _named(spec, data is not None)
    if shape:
        task = _shaped(task, shape)
    if data is None and loss is None:
        return task
    fitted, chosen = _fit(task, task.data if data is None else data, loss)
    return replace(task, data=fitted, loss=chosen, family=None if data is not None else task.family)


def _shaped(task: Task, shape: Mapping[str, Any]) -> Task:
    """The task of another shape.

    Raises:
        UsageError: It has no such thing to vary, or a value of another kind.
    """
    for name, value in shape.items():
        now = task.shape.get(name)
        if isinstance(now, int) and (not isinstance(value, int) or isinstance(value, bool)):
            raise UsageError(
                f"The {name} of the task {task.name!r} is a whole number, {now} for instance; got {value!r}."
            )
        if isinstance(now, str) and not isinstance(value, str):
            raise UsageError(f"The {name} of the task {task.name!r} is a word, {now} for instance; got {value!r}.")
    return task.of(**shape)


def _named(spec: str, has_data: bool) -> Task:
    """The task of that name; or the net of that name as one, still without data."""
    if spec in TASKS:
        return named_task(spec)
    none = torch.zeros(0)
    if re.fullmatch(OBJECT, spec):
        found = named_object(spec)
        if not isinstance(found, nn.Module) and callable(found):
            module = load_net(spec).module if has_data else found()
            if isinstance(module, Task):
                return module
            if has_data and isinstance(module, nn.Module):
                make = cast(Callable[[], nn.Module], found)
                return Task(spec, f"{type(module).__name__} from {spec}", make, Data(none, none))
        if isinstance(found, Task):
            return found
    if not has_data:
        from weightwalk.nets.gallery import NAMES

        what = f"{spec!r} is a net, not a task" if spec in NAMES or ":" in spec or "/" in spec else None
        if what is None:
            return named_task(spec)  # which says what there is
        raise UsageError(f"{what}: give what it is to learn with --data FILE (.npz, .csv or .safetensors).")
    net = load_net(spec)
    if not isinstance(net.module, nn.Module):
        raise UsageError(f"{spec!r} is a function without weights: there is nothing to train.")
    make = partial(copy.deepcopy, net.module)
    return Task(spec, net.description, make, Data(none, none), remade=False)


def _fit(task: Task, data: Data, loss: str | None) -> tuple[Data, str]:
    """Data in the types and shapes that the net takes and its loss compares, and that loss.

    Raises:
        UsageError: The net cannot be run on them.
    """
    from weightwalk.nets.inputs import expectation

    module = task.module(0).eval()
    expects = expectation(module)
    dtype = expects.dtype
    inputs = _as(data.inputs, dtype, task.name)
    held = None if data.held_inputs is None else _as(data.held_inputs, dtype, task.name)
    try:
        with torch.no_grad():
            out = tensor_of(module(inputs[:1]))
    except WeightwalkError:
        raise
    except Exception as error:
        first = (str(error).strip().splitlines() or [""])[0]
        raise UsageError(
            f"{task.name!r} cannot be run on rows of shape {tuple(inputs.shape[1:])}: {type(error).__name__}: {first}"
        ) from error
    if data.classes and loss is None and not _classes(data.targets, out):
        cure = ", or --loss bce" if len(data.classes) == 2 and out[0].numel() == 1 else ""
        raise UsageError(
            f"The targets are {len(data.classes)} different words and {task.name!r} returns shape "
            f"{tuple(out[0].shape)} for a row: take a net with one output for each word{cure}."
        )
    chosen = loss or ("cross_entropy" if _classes(data.targets, out) else "mse")
    shaped = partial(_targets, loss=chosen, out=out)
    held_targets = None if data.held_targets is None else shaped(data.held_targets)
    return Data(inputs, shaped(data.targets), held, held_targets, data.rows, data.classes), chosen


def _as(inputs: Tensor, dtype: torch.dtype, name: str) -> Tensor:
    """In the type of the net; token ids must be whole."""
    if not dtype.is_floating_point and inputs.is_floating_point():
        if not torch.equal(inputs, inputs.round()):
            raise UsageError(f"{name!r} takes token ids, whole numbers; the inputs are not whole.")
        ids = inputs.to(dtype)
        return ids[:, 0] if ids.dim() == 2 and ids.shape[1] == 1 else ids
    found = inputs.to(dtype)
    if found.is_floating_point() and not torch.equal(torch.isfinite(found), torch.isfinite(inputs)):
        most = inputs[~torch.isfinite(found)].abs().max()
        raise UsageError(
            f"{name!r} computes in {str(dtype).removeprefix('torch.')}, which ends before {most:g}: scale the inputs."
        )
    return found


def _classes(targets: Tensor, out: Tensor) -> bool:
    """Whether the targets are class numbers: whole, one for each row of several outputs."""
    return (
        not targets.is_floating_point() and out.dim() >= 2 and out.shape[-1] > 1 and out.shape[1:] != targets.shape[1:]
    )


def _targets(targets: Tensor, loss: str, out: Tensor) -> Tensor:
    """As the loss compares them with the net's output."""
    if loss == "cross_entropy":
        flat = targets[:, 0] if targets.dim() == out.dim() and targets.shape[-1] == 1 else targets
        whole = flat.round().long()
        if flat.is_floating_point() and not torch.equal(whole.to(flat.dtype), flat):
            raise UsageError("Cross-entropy needs class numbers as targets: whole numbers from 0.")
        most = out.shape[-1]
        if whole.numel() and (int(whole.min()) < 0 or int(whole.max()) >= most):
            raise UsageError(
                f"Cross-entropy needs class numbers from 0 to {most - 1}, one for each of the net's {most} outputs; "
                f"the targets go from {int(whole.min())} to {int(whole.max())}."
            )
        return whole
    numbers = targets.to(out.dtype) if out.is_floating_point() else targets
    same = numbers[0].numel() == out[0].numel() if out.dim() else False
    return numbers.reshape(len(numbers), *out.shape[1:]) if same else numbers
