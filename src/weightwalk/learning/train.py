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

import torch
from torch import Tensor, nn

from weightwalk.errors import UsageError

Progress = Callable[[int, int, float], None]
"""Called after each epoch with (epochs done, epochs in all, loss of that epoch)."""

Loss = Callable[[Tensor, Tensor], Tensor]

LOSSES: dict[str, Loss] = {
    "mse": nn.functional.mse_loss,
    "mae": nn.functional.l1_loss,
    "cross_entropy": nn.functional.cross_entropy,
}

OPTIMIZERS: dict[str, Callable[..., torch.optim.Optimizer]] = {
    "sgd": torch.optim.SGD,
    "adam": torch.optim.Adam,
    "adamw": torch.optim.AdamW,
}


_GENERATOR = threading.RLock()


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
    """

    losses: tuple[float, ...]
    final: float
    epochs: int
    seed: int
    settings: Mapping[str, str | int | float | None] = field(default_factory=dict)


class TrainingInterrupted(KeyboardInterrupt):
    """Ctrl-C during a training; the update under way was finished first, so the weights are those of a whole step.

    Attributes:
        history: The epochs completed until then (`final` is the last loss met, not recomputed).
    """

    def __init__(self, history: History) -> None:
        super().__init__(f"training interrupted after {history.epochs} epochs")
        self.history = history


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Run the block with torch's CPU generator seeded; afterwards the generator is where it was.

    Only the default CPU generator is touched: `torch.manual_seed` would also reset those of accelerators. All threads
    share it, so one such block waits for another thread's to end.
    """
    with _GENERATOR:
        generator = torch.default_generator
        state = generator.get_state()
        generator.manual_seed(seed)
        try:
            yield
        finally:
            generator.set_state(state)


def train(
    module: nn.Module,
    inputs: Tensor,
    targets: Tensor,
    *,
    loss: str | Loss = "mse",
    optimizer: str = "sgd",
    lr: float = 0.1,
    epochs: int = 1000,
    batch: int | None = None,
    seed: int = 0,
    progress: Progress | None = None,
) -> History:
    """Fit `module` to (inputs, targets) by gradient descent: ``w <- w - lr * dloss/dw`` or a variant of it.

    Each epoch is the five steps of all training: forward, compare (loss), backward, update, and again.

    Args:
        module: Trained in place. Its train/eval mode and its ``.grad`` fields are left as found.
        inputs: One row per example, shape ``(N, ...)``.
        targets: Shape ``(N, ...)``; class numbers for ``"cross_entropy"``.
        loss: A name in `LOSSES`, or a function ``(outputs, targets) -> scalar``.
        optimizer: A name in `OPTIMIZERS`, used with its defaults.
        lr: Learning rate.
        epochs: Passes over the data.
        batch: Rows per update; None for all at once. Mini-batches are shuffled anew each epoch.
        seed: Decides the shuffling and random layers; not the initial weights, which are the caller's.
        progress: Called after each epoch.

    Raises:
        UsageError: A setting that makes no sense, or a loss that is not finite (the message names the epoch; the
            weights are those which gave that loss).
        TrainingInterrupted: Ctrl-C, after the update under way.

    >>> with seeded(0):
    ...     line = nn.Linear(1, 1)
    >>> x = torch.linspace(-1, 1, 11)[:, None]
    >>> history = train(line, x, 2 * x + 3, lr=0.5, epochs=100)
    >>> round(line.weight.item(), 4), round(line.bias.item(), 4)
    (2.0, 3.0)
    """
    criterion = _loss(loss)
    rows = _check(inputs, targets, lr, epochs, batch)
    make = OPTIMIZERS.get(optimizer)
    if make is None:
        raise UsageError(f"There is no optimizer {optimizer!r}; there are {', '.join(sorted(OPTIMIZERS))}.")
    parameters = [p for p in module.parameters() if p.requires_grad]
    if not parameters:
        raise UsageError("The net has no parameter that can be trained (none requires a gradient).")
    settings = {
        "loss": loss if isinstance(loss, str) else getattr(loss, "__name__", repr(loss)),
        "optimizer": optimizer,
        "lr": lr,
        "batch": batch,
    }
    losses: list[float] = []
    shuffle = torch.Generator().manual_seed(seed)
    with _as_found(module), torch.inference_mode(False), torch.enable_grad(), seeded(seed), _held_interrupt() as stop:
        module.train()
        engine = make(parameters, lr=lr)
        for epoch in range(epochs):
            losses.append(_epoch(module, inputs, targets, criterion, engine, _slices(rows, batch, shuffle), epoch))
            if progress is not None:
                progress(epoch + 1, epochs, losses[-1])
            if stop.is_set():
                raise TrainingInterrupted(History(tuple(losses), losses[-1], len(losses), seed, settings))
        module.eval()
        with torch.no_grad():
            final = _finite(criterion(module(inputs), targets), epochs)
        if stop.is_set():
            raise TrainingInterrupted(History(tuple(losses), final, epochs, seed, settings))
    return History(tuple(losses), final, epochs, seed, settings)


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
        loss = criterion(module(x), y)
        total += _finite(loss, epoch) * len(x)
        loss.backward()
        engine.step()
    return total / len(inputs)


def _slices(rows: int, batch: int | None, shuffle: torch.Generator) -> list[Tensor | None]:
    if batch is None or batch >= rows:
        return [None]
    return list(torch.randperm(rows, generator=shuffle).split(batch))


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


def _loss(loss: str | Loss) -> Loss:
    if not isinstance(loss, str):
        return loss
    if loss not in LOSSES:
        raise UsageError(f"There is no loss {loss!r}; there are {', '.join(sorted(LOSSES))}, or pass a function.")
    return LOSSES[loss]


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
