"""The training function: full batch or mini-batch, seeded, safe to interrupt, and silent.

Everything that Weightwalk trains goes through `train`, so that what is promised of one training holds for all: the same
seed gives the same bits, the caller's random state and the module's mode are left as found, and a training that goes
wrong says in which epoch.
"""

from __future__ import annotations

import math
import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import FrameType
from typing import Any

import torch
from torch import Tensor, nn

from weightwalk.errors import UsageError
from weightwalk.learning.losses import Loss, loss_of, tensor_of
from weightwalk.learning.optimizers import optimizer_of
from weightwalk.learning.sampling import orders
from weightwalk.learning.seeds import seeded
from weightwalk.learning.tasks import Task, task_of

Progress = Callable[[int, int, float], None]
"""Called after each epoch with (epochs done, epochs in all, loss of that epoch)."""


@dataclass(frozen=True, slots=True, eq=False)
class Snapshot:
    """The weights at one moment of a training.

    Attributes:
        epoch: Epochs completed then; 0 for the untrained net.
        weights: Every parameter and buffer by name, as copies.
    """

    epoch: int
    weights: Mapping[str, Tensor] = field(repr=False)


@dataclass(frozen=True, slots=True)
class History:
    """What happened in a training.

    Attributes:
        losses: ``losses[e]`` is the loss met in epoch ``e``, before that epoch's updates (over mini-batches, their mean
            weighted by size). ``losses[0]`` is thus, at full batch, the loss of the untrained net.
        final: Loss over all the data after the last update.
        epochs: Number of epochs completed.
        seed: Seed of shuffling and of random layers such as dropout.
        settings: Everything else that decided the outcome: loss, optimizer, learning rate, batch size.
        held_losses: ``held_losses[e]`` is the loss on the held-out data after ``e`` epochs, ``epochs + 1`` of them;
            empty without held-out data.
        snapshots: Weights along the way, where they were asked for.
        module: The trained net.
    """

    losses: tuple[float, ...]
    final: float
    epochs: int
    seed: int
    settings: Mapping[str, Any] = field(default_factory=dict)
    held_losses: tuple[float, ...] = ()
    snapshots: tuple[Snapshot, ...] = field(default=(), repr=False, compare=False)
    module: nn.Module | None = field(default=None, repr=False, compare=False)


class TrainingInterrupted(KeyboardInterrupt):
    """Ctrl-C during a training; the update under way was finished first, so the weights are those of a whole step.

    Attributes:
        history: The epochs completed until then (`final` is the last loss met, not recomputed).
    """

    def __init__(self, history: History) -> None:
        super().__init__(f"training interrupted after {history.epochs} epochs")
        self.history = history


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
    seed: int = 0,
    held_out: tuple[Tensor, Tensor] | None = None,
    snapshots: int | None = None,
    progress: Progress | None = None,
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
        seed: Decides shuffling and random layers; for a task, the initial weights too.
        held_out: Inputs and targets to be judged on after every epoch; a task brings its own.
        snapshots: Keep a copy of the weights every so many epochs, the first and the last included.
        progress: Called after each epoch.

    Raises:
        UsageError: A setting that makes no sense, or a loss that is not finite (the message names the epoch; the
            weights are those which gave that loss).
        TrainingInterrupted: Ctrl-C, after the update under way.

    Example:
        >>> with seeded(0):
        ...     line = nn.Linear(1, 1)
        >>> x = torch.linspace(-1, 1, 11)[:, None]
        >>> history = train(line, x, 2 * x + 3, lr=0.5, epochs=100)
        >>> round(line.weight.item(), 4), round(line.bias.item(), 4)
        (2.0, 3.0)
    """
    if not isinstance(net, nn.Module):
        task = task_of(net)
        if inputs is not None or targets is not None:
            raise UsageError(f"The task {task.name!r} brings its own data; for data of your own, pass a module.")
        return train(
            task.module(seed),
            task.data.inputs,
            task.data.targets,
            loss=loss or task.loss,
            optimizer=optimizer or task.optimizer,
            lr=task.lr if lr is None else lr,
            epochs=task.epochs if epochs is None else epochs,
            batch=batch or task.batch,
            shuffle=shuffle,
            seed=seed,
            held_out=held_out or task.data.held_out,
            snapshots=snapshots,
            progress=progress,
        )
    if inputs is None or targets is None:
        raise UsageError("A module needs data to train on: inputs and targets, a row for each example.")
    loss = loss or "mse"
    optimizer = optimizer or "sgd"
    lr = 0.1 if lr is None else lr
    epochs = 1000 if epochs is None else epochs
    criterion = loss_of(loss)
    rows = _check(inputs, targets, lr, epochs, batch)
    parameters = [p for p in net.parameters() if p.requires_grad]
    if not parameters:
        raise UsageError("The net has no parameter that can be trained (none requires a gradient).")
    settings = {
        "loss": loss if isinstance(loss, str) else getattr(loss, "__name__", repr(loss)),
        "optimizer": optimizer,
        "lr": lr,
        "batch": batch,
    }
    losses: list[float] = []
    held: list[float] = []
    kept: list[Snapshot] = []

    def look(epoch: int) -> None:
        """After `epoch` epochs: what the held-out data say, and the weights where they are wanted."""
        if held_out is not None:
            held.append(_judged(net, held_out, criterion))
        if snapshots and (epoch % snapshots == 0 or epoch == epochs):
            kept.append(Snapshot(epoch, {n: t.detach().clone() for n, t in net.state_dict().items()}))

    def so_far(final: float) -> History:
        return History(tuple(losses), final, len(losses), seed, settings, tuple(held), tuple(kept), net)

    with _as_found(net), torch.inference_mode(False), torch.enable_grad(), seeded(seed), _held_interrupt() as stop:
        engine = optimizer_of(optimizer, parameters, lr)
        look(0)
        for epoch in range(epochs):
            net.train()
            parts = _slices(rows, batch, shuffle, seed, epoch)
            losses.append(_epoch(net, inputs, targets, criterion, engine, parts, epoch))
            look(epoch + 1)
            if progress is not None:
                progress(epoch + 1, epochs, losses[-1])
            if stop.is_set():
                raise TrainingInterrupted(so_far(losses[-1]))
        net.eval()
        with torch.no_grad():
            final = _finite(criterion(tensor_of(net(inputs)), targets), epochs)
        if stop.is_set():
            raise TrainingInterrupted(so_far(final))
    return so_far(final)


def _judged(net: nn.Module, held_out: tuple[Tensor, Tensor], criterion: Loss) -> float:
    net.eval()
    with torch.no_grad():
        return float(criterion(tensor_of(net(held_out[0])), held_out[1]))


def _epoch(
    module: nn.Module,
    inputs: Tensor,
    targets: Tensor,
    criterion: Loss,
    engine: torch.optim.Optimizer,
    parts: list[Tensor | None],
    epoch: int,
) -> float:
    """One pass over the data; returns its mean loss."""
    total = 0.0
    for rows in parts:
        x, y = (inputs, targets) if rows is None else (inputs[rows], targets[rows])
        engine.zero_grad(set_to_none=True)
        loss = criterion(tensor_of(module(x)), y)
        total += _finite(loss, epoch) * len(x)
        loss.backward()
        engine.step()
    return total / len(inputs)


def _slices(rows: int, batch: int | None, shuffle: bool | None, seed: int, epoch: int) -> list[Tensor | None]:
    whole = batch is None or batch >= rows
    if shuffle is False or (shuffle is None and whole):
        return [None] if whole else list(torch.arange(rows).split(batch or rows))
    return list(torch.from_numpy(orders([seed], epoch, rows)[0]).split(batch or rows))


def _finite(loss: Tensor, epoch: int) -> float:
    if loss.numel() != 1:
        raise UsageError(f"The loss must be one number; its shape is {tuple(loss.shape)}: take its mean or its sum.")
    number = loss.item()
    if not math.isfinite(number):
        raise UsageError(
            f"The loss became {number} in epoch {epoch}. Most often the learning rate is too large; "
            "or the data holds a value that is not finite."
        )
    return number


def _check(inputs: Tensor, targets: Tensor, lr: float, epochs: int, batch: int | None) -> int:
    if inputs.dim() == 0 or targets.dim() == 0 or len(inputs) != len(targets) or len(inputs) == 0:
        raise UsageError(
            f"Training needs as many inputs as targets, one row each and at least one; "
            f"got shapes {tuple(inputs.shape)} and {tuple(targets.shape)}."
        )
    if not (lr > 0 and math.isfinite(lr)):
        raise UsageError(f"The learning rate must be a positive number; got {lr}.")
    if epochs < 0 or (batch is not None and batch < 1):
        raise UsageError(f"epochs must be 0 or more and batch 1 or more; got epochs={epochs}, batch={batch}.")
    return len(inputs)


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
    """Turn Ctrl-C into an event that is looked at between epochs, so that no update is cut in half.

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
