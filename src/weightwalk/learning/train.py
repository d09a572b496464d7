"""The training function: full batch or mini-batch, seeded, safe to interrupt, and silent.

Everything that Weightwalk trains goes through `train`, so that what is promised of one training holds for all: the same
seed gives the same bits, the caller's random state and the module's mode are left as found, a training that is killed
goes on to the same bits, and one that goes wrong names the number that went wrong first.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from torch import Tensor, nn

from weightwalk.errors import UsageError
from weightwalk.learning.history import (
    BadNumber,
    Event,
    History,
    NotFiniteError,
    Snapshot,
    TrainingInterrupted,
)
from weightwalk.learning.losses import Loss, loss_of
from weightwalk.learning.runs.folder import RunFolder, described
from weightwalk.learning.runs.keeping import Keeper, agreed, description
from weightwalk.learning.runs.loop import Loop
from weightwalk.learning.runs.moments import accelerators
from weightwalk.learning.runs.plans import Plan, cadence_of
from weightwalk.learning.runs.schedules import schedule_of
from weightwalk.learning.runs.state import Progress
from weightwalk.learning.seeds import check_seed, seeded
from weightwalk.learning.splits import split
from weightwalk.learning.tasks import Data, Task, rows_of, task_of

__all__ = ["BadNumber", "Event", "History", "NotFiniteError", "Progress", "Snapshot", "TrainingInterrupted", "train"]

USUAL = {
    "loss": "mse",
    "optimizer": "sgd",
    "lr": 0.1,
    "epochs": 1000,
    "seed": 0,
    "on_nonfinite": "stop",
    "rollbacks": 5,
}
"""Settings where neither the caller, nor the task, nor the run that is gone on with says otherwise."""


def train(
    net: nn.Module | Task | str,
    inputs: Tensor | None = None,
    targets: Tensor | None = None,
    *,
    loss: str | Loss | None = None,
    optimizer: str | None = None,
    lr: float | None = None,
    epochs: int | None = None,
    batch: int | None = None,
    shuffle: bool | None = None,
    seed: int | None = None,
    held_out: tuple[Tensor, Tensor] | float | None = None,
    snapshots: int | None = None,
    progress: Progress | None = None,
    settings: Mapping[str, Any] | None = None,
    schedule: str | None = None,
    clip: float | None = None,
    patience: int | None = None,
    on_nonfinite: str | None = None,
    rollbacks: int | None = None,
    run: str | Path | None = None,
    resume: bool = False,
    every: int | str | None = None,
    keep: int = 2,
    note: Mapping[str, Any] | None = None,
    each_update: Progress | None = None,
) -> History:
    """Fit `net` to (inputs, targets) by gradient descent: ``w <- w - lr * dloss/dw`` or a variant of it.

    Each epoch is the five steps of all training: forward, compare (loss), backward, update, and again.

    Args:
        net: A module, trained in place; its train/eval mode and its ``.grad`` fields are left as found. Or a task, or
            the name of one (``"hello6"``), which brings data and recipe along: a fresh net is made from `seed`.
        inputs: One row per example, shape ``(N, ...)``; None for a task.
        targets: Shape ``(N, ...)``; class numbers for ``"cross_entropy"``; None for a task.
        loss: A name in `LOSSES`, or a function ``(outputs, targets) -> scalar``; ``"mse"`` unless the task says.
        optimizer: A name in `OPTIMIZERS`, used with its defaults; ``"sgd"`` unless the task says.
        lr: Learning rate; 0.1 unless the task says.
        epochs: Passes over the data; 1000 unless the task says.
        batch: Rows per update; None for all at once (or what the task says).
        shuffle: Visit the rows in a new order each epoch. None for: where there are mini-batches.
        seed: Decides shuffling and random layers; for a task, the initial weights too. 0 unless said.
        held_out: Inputs and targets to be judged on after every epoch; a task may bring its own. A number such as 0.2
            holds out that share of the rows, chosen by `seed`.
        snapshots: Keep a copy of the weights every so many epochs, the first and the last included.
        progress: Called after each epoch.
        settings: More of the optimizer's keywords, such as ``{"momentum": 0.95}``.
        schedule: What becomes of the learning rate, update by update: ``"constant"``, ``"step:every=100,gamma=0.1"``,
            ``"cosine:warmup=0.1"``, ``"linear:warmup=0.1,floor=0"``; see `SCHEDULES`.
        clip: Scale each gradient down to this norm where it is greater.
        patience: Stop after so many epochs without improvement on the held-out data (on the training data where there
            are none), and hand back the weights of the best epoch.
        on_nonfinite: ``"stop"``, or ``"rollback"``: go back to the last moment at which all went well, halve the
            learning rate, and go on.
        rollbacks: How often at most; 5 unless said.
        run: Folder for checkpoints: everything that is needed to go on after the process was killed, at any moment.
        resume: Go on with what `run` holds, to the same weights and losses as if it had never stopped, bit for bit.
            Settings that are not given are those of the run; there may be more `epochs`.
        every: When to write a checkpoint, besides at the start and the end: ``5`` (epochs),
            ``"200 updates"``, ``"30 s"``; every 10 seconds unless said.
        keep: How many of the newest checkpoints stay; the best one always does.
        note: Put into the description of the run, ``run.json``.
        each_update: Called after each update with (updates done, updates in all, loss).

    Raises:
        UsageError: A setting that makes no sense; a run that does not fit.
        NotFiniteError: A loss, gradient or weight that is not finite (a `UsageError`, too). The message names the
            epoch, the update, the first bad number and the op that made it; the weights are those from before.
        TrainingInterrupted: Ctrl-C, after the update under way, and a checkpoint where there is a `run`.

    Example:
        >>> with seeded(0):
        ...     line = nn.Linear(1, 1)
        >>> x = torch.linspace(-1, 1, 11)[:, None]
        >>> history = train(line, x, 2 * x + 3, lr=0.5, epochs=100)
        >>> round(line.weight.item(), 4), round(line.bias.item(), 4)
        (2.0, 3.0)
    """
    given: dict[str, Any] = {
        "loss": loss, "optimizer": optimizer, "lr": lr, "epochs": epochs, "batch": batch, "shuffle": shuffle,
        "seed": seed, "snapshots": snapshots, "settings": settings, "schedule": schedule, "clip": clip,
        "patience": patience, "on_nonfinite": on_nonfinite, "rollbacks": rollbacks,
    }  # fmt: skip
    if resume and run is None:
        raise UsageError("resume=True goes on with the run in a folder: say which, run=FOLDER.")
    before = described(run) if run is not None else None
    if before is not None and not resume:
        raise UsageError(f"{str(run)!r} holds a run already: go on with it (resume=True), or choose another folder.")
    _from(given, before["plan"] if before else {})
    check_seed(given["seed"] or 0)
    module, data, held_out = _to_train(net, inputs, targets, given, held_out)
    _from(given, USUAL)
    plan = _plan(given)
    _check(data, module, given["loss"])
    if isinstance(held_out, (int, float)):
        data = split(data, held_out, plan.seed)
        held_out = data.held_out
    pair = (data.inputs, data.targets)
    with ExitStack() as cleanup:
        keeper = None
        if run is not None:
            folder = RunFolder(run, _kept(keep))
            cleanup.callback(folder.close)
            facts = description(plan, module, {"train": pair, "held": held_out})
            agreed(run, facts, plan)
            folder.describe({**facts, "note": dict(note or {}) or (before or {}).get("note", {})})
            keeper = Keeper(folder, cadence_of(every), resume)
        elif every is not None:
            raise UsageError("every says when to write a checkpoint: say where to, run=FOLDER.")
        cleanup.enter_context(_as_found(module))
        cleanup.enter_context(torch.inference_mode(False))
        cleanup.enter_context(torch.enable_grad())
        cleanup.enter_context(seeded(plan.seed))
        cleanup.enter_context(_seeded_too(accelerators(module), plan.seed))
        stop = cleanup.enter_context(_held_interrupt())
        return Loop(module, pair, held_out, plan, keeper, progress, each_update).run(stop)


def _from(given: dict[str, Any], others: Mapping[str, Any]) -> None:
    """Settings that are not given, from elsewhere."""
    for name, value in others.items():
        if given.get(name) is None and name in given:
            given[name] = value


def _to_train(
    net: nn.Module | Task | str,
    inputs: Tensor | None,
    targets: Tensor | None,
    given: dict[str, Any],
    held_out: tuple[Tensor, Tensor] | float | None,
) -> tuple[nn.Module, Data, tuple[Tensor, Tensor] | float | None]:
    """The module and its data; a task's recipe goes into `given`."""
    if isinstance(net, nn.Module):
        if inputs is None or targets is None:
            raise UsageError("A module needs data to train on: inputs and targets, a row for each example.")
        return net, Data(*rows_of(inputs, targets)), held_out
    task = task_of(net)
    if inputs is not None or targets is not None:
        raise UsageError(f"The task {task.name!r} brings its own data; for data of your own, pass a module.")
    _from(given, {name: getattr(task, name) for name in ("loss", "optimizer", "lr", "epochs", "batch")})
    module = task.module(given["seed"] or 0)
    return module, task.data, task.data.held_out if held_out is None else held_out


def _plan(given: Mapping[str, Any]) -> Plan:
    loss = given["loss"]
    settings = {k: tuple(v) if isinstance(v, list) else v for k, v in (given["settings"] or {}).items()}
    rest = ("optimizer", "lr", "epochs", "batch", "shuffle", "seed", "clip", "patience", "on_nonfinite", "rollbacks",
            "snapshots")  # fmt: skip
    return Plan(
        criterion=loss_of(loss),
        loss=loss if isinstance(loss, str) else getattr(loss, "__name__", repr(loss)),
        settings=settings,
        schedule=schedule_of(given["schedule"]),
        **{name: given[name] for name in rest},
    )


def _kept(keep: int) -> int:
    if keep < 1:
        raise UsageError(f"keep is how many of the newest checkpoints stay, 1 or more; got {keep}.")
    return keep


def _check(data: Data, module: nn.Module, loss: str | Loss) -> None:
    inputs, targets = data.inputs, data.targets
    if inputs.dim() == 0 or targets.dim() == 0 or len(inputs) != len(targets) or len(inputs) == 0:
        raise UsageError(
            f"Training needs as many inputs as targets, one row each and at least one; "
            f"got shapes {tuple(inputs.shape)} and {tuple(targets.shape)}."
        )
    if loss == "bce":
        low, high = float(targets.min()), float(targets.max())
        if low < 0 or high > 1:
            raise UsageError(f"The loss bce needs targets from 0 to 1; they go from {low:g} to {high:g}.")
    if not any(p.requires_grad for p in module.parameters()):
        raise UsageError("The net has no parameter that can be trained (none requires a gradient).")


@contextmanager
def _seeded_too(devices: tuple[torch.device, ...], seed: int) -> Iterator[None]:
    """The random generators of accelerators that take part, seeded and put back."""
    states = [(device, torch.cuda.get_rng_state(device)) for device in devices]
    for device in devices:
        with torch.cuda.device(device):
            torch.cuda.manual_seed(seed)
    try:
        yield
    finally:
        for device, state in states:
            torch.cuda.set_rng_state(state, device)


@contextmanager
def _as_found(module: nn.Module) -> Iterator[None]:
    """Give each submodule its mode and each parameter its gradient back."""
    modes = [(m, m.training) for m in module.modules()]
    grads = [(p, p.grad) for p in module.parameters()]
    for p, _ in grads:
        p.grad = None
    try:
        yield
    finally:
        for m, mode in modes:
            m.training = mode
        for p, grad in grads:
            p.grad = grad


@contextmanager
def _held_interrupt() -> Iterator[threading.Event]:
    """Turn Ctrl-C into an event that is looked at between updates, so that no update is cut in half.

    Python delivers signals to the main thread only, and only it may set a handler; elsewhere the event stays unset.
    A second Ctrl-C goes to the handler that was there before.
    """
    stop = threading.Event()
    before = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or before in (None, signal.SIG_IGN):
        yield stop
        return

    def hold(number: int, frame: FrameType | None) -> None:
        stop.set()
        signal.signal(signal.SIGINT, before)

    signal.signal(signal.SIGINT, hold)
    try:
        yield stop
    finally:
        signal.signal(signal.SIGINT, before)
