"""What is to be diagnosed, however it was named: a module, a history, a task to be trained first, or a run's folder."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from torch import Tensor, nn

from weightwalk.errors import UsageError
from weightwalk.learning.diagnoses.runs import net_of, read_run
from weightwalk.learning.losses import Loss
from weightwalk.learning.tasks import Task, rows_of, task_of
from weightwalk.learning.train import History, train

Progress = Callable[[str, int, int], None]
"""Told what is being done, how much of it is, and of how much."""

SNAPSHOTS = 50_000_000
"""Numbers that snapshots may take together."""


@dataclass(slots=True)
class Case:
    """What is to be diagnosed, however it was named."""

    name: str
    module: nn.Module
    inputs: Tensor
    targets: Tensor
    loss: str | Loss
    rows: tuple[str, ...] = ()
    snapshots: Sequence[tuple[int, Mapping[str, Tensor]]] = ()
    losses: tuple[float, ...] = ()
    settings: dict[str, Any] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    task: Task | None = None
    recipe: Mapping[str, Any] = field(default_factory=dict)


def case_of(
    net: Any,
    inputs: Tensor | None,
    targets: Tensor | None,
    loss: str | Loss | None,
    seed: int,
    optimizer: str | None,
    lr: float | None,
    epochs: int | None,
    batch: int | None,
    names: tuple[str, ...],
    run: str | os.PathLike[str] | None,
    progress: Progress | None,
) -> Case:
    """What the arguments of ``ww.diagnose`` name; a task is trained here."""
    recipe = {"optimizer": optimizer, "lr": lr, "epochs": epochs, "batch": batch}
    if run is not None:
        given = [name for name, value in recipe.items() if value is not None]
        if given:
            raise UsageError(f"A run has been trained already: leave out {', '.join(given)}.")
        return _of_run(net, inputs, targets, loss, names, run)
    if isinstance(net, (nn.Module, History)):
        if inputs is None or targets is None:
            raise UsageError("A net needs the data that it was trained on: inputs and targets, a row for each example.")
        inputs, targets = _paired(inputs, targets)
        if isinstance(net, nn.Module):
            return Case(type(net).__name__, net, inputs, targets, loss or "mse", names)
        return _of_history(net, inputs, targets, loss, names)
    task = task_of(net)
    if inputs is not None or targets is not None:
        raise UsageError(f"The task {task.name!r} brings its own data; for data of your own, pass a module.")
    if loss is not None:
        if not isinstance(loss, str):
            raise UsageError("A task is trained by a loss with a name; for a function, pass a module.")
        task = replace(task, loss=loss)
    return _trained(task, seed, recipe, progress)


def _of_run(
    net: Any, inputs: Tensor | None, targets: Tensor | None, loss: str | Loss | None, names: tuple[str, ...], run: Any
) -> Case:
    """The net of a run's folder: its weights and snapshots put into `net`, a module with data, or a task."""
    found = read_run(run)
    chosen = loss or found.settings.get("loss") or "mse"
    if isinstance(net, nn.Module):
        if inputs is None or targets is None:
            raise UsageError("A run's folder holds no data: give inputs and targets, a row for each example.")
        inputs, targets = _paired(inputs, targets)
        name, module = type(net).__name__, net_of(found, net)
        made = Case(name, module, inputs, targets, chosen, names)
    else:
        task = task_of(net)
        module = net_of(found, task.module(0))
        made = Case(task.name, module, task.data.inputs, task.data.targets, chosen, task.data.rows)
        if task.remade and not ({"schedule", "clip", "patience"} & set(found.settings)):
            recipe = {k: found.settings.get(k) for k in ("optimizer", "lr", "epochs", "batch")}
            made.task, made.recipe = replace(task, loss=str(chosen)), recipe
    made.snapshots, made.losses, made.settings = found.snapshots, found.losses, dict(found.settings)
    if len(found.snapshots) < 3:
        made.notes.append("The run kept few weights along the way (--snapshots N), so that deaths are dated roughly.")
    return made


def _paired(inputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    inputs, targets = rows_of(inputs, targets)
    if inputs.dim() == 0 or targets.dim() == 0 or len(inputs) != len(targets) or len(inputs) == 0:
        raise UsageError(
            "A diagnosis needs as many inputs as targets, one row each and at least one; "
            f"got shapes {tuple(inputs.shape)} and {tuple(targets.shape)}."
        )
    return inputs, targets


def _of_history(
    history: History, inputs: Tensor, targets: Tensor, loss: str | Loss | None, names: tuple[str, ...]
) -> Case:
    if history.module is None:
        raise UsageError("This history has no module: pass the net itself.")
    told = history.settings.get("loss")
    chosen = loss or (told if isinstance(told, str) else "mse")
    snapshots = [(s.epoch, s.weights) for s in history.snapshots]
    name = type(history.module).__name__
    settings = {**history.settings, "seed": history.seed, "epochs": history.epochs}
    return Case(name, history.module, inputs, targets, chosen, names, snapshots, history.losses, settings)


def _trained(task: Task, seed: int, recipe: dict[str, Any], progress: Progress | None) -> Case:
    """Train the task from the seed, with as many snapshots as fit."""
    epochs = task.epochs if recipe["epochs"] is None else recipe["epochs"]
    weights = sum(p.numel() for p in task.module(seed).parameters())
    room = max(2, min(SNAPSHOTS // max(weights, 1), 2000))
    every = max(1, -(-epochs // room))

    def told(done: int, of: int, _: float) -> None:
        if progress is not None:
            progress("training", done, of)

    history = train(task, seed=seed, snapshots=every, progress=told, **recipe)
    assert history.module is not None
    case = _of_history(history, task.data.inputs, task.data.targets, task.loss, task.data.rows)
    case.name = task.name

    if task.remade:
        case.task, case.recipe = task, recipe
    else:
        case.notes.append("The net comes with its weights, so that other seeds cannot be tried.")
    return case
