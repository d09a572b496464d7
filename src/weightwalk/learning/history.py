"""What a training leaves behind: its history, and what it raises where it does not come to its end."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

from weightwalk.errors import UsageError
from weightwalk.learning.frames import needs_pandas

if TYPE_CHECKING:
    import pandas as pd


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
class Event:
    """Something that happened on the way.

    Attributes:
        kind: ``"resumed"``, ``"rollback"``, ``"early stop"``, ``"damaged"`` (a checkpoint that could not be read) or
            ``"not saved"``.
        epoch: Epochs completed then.
        update: Updates made then.
        text: What happened, in a sentence.
    """

    kind: str
    epoch: int
    update: int
    text: str


@dataclass(frozen=True, slots=True)
class History:
    """What happened in a training.

    Attributes:
        losses: ``losses[e]`` is the loss met in epoch ``e``, before that epoch's updates (over mini-batches, their mean
            weighted by size). ``losses[0]`` is thus, at full batch, the loss of the untrained net.
        final: Loss over all the data of the net as it was handed back.
        epochs: Number of epochs completed.
        seed: Seed of shuffling and of random layers such as dropout.
        settings: Everything else that decided the outcome: loss, optimizer, learning rate, batch size, and what was
            asked for besides.
        held_losses: ``held_losses[e]`` is the loss on the held-out data after ``e`` epochs, ``epochs + 1`` of them;
            empty without held-out data.
        snapshots: Weights along the way, where they were asked for.
        module: The trained net.
        rates: ``rates[e]`` is the learning rate of the first update of epoch ``e``.
        updates: Number of updates of the weights, ``ceil(rows / batch)`` per epoch.
        rows: Number of examples.
        best: With early stopping, the epoch after which the watched loss was least: that of the weights handed back.
        watched: With early stopping, the watched loss after each epoch; that on the held-out data, or where there are
            none, on the training data.
        stopped_by: ``"epochs"``, ``"patience"`` or ``"interrupt"``.
        events: What else happened on the way: resumed, rolled back ...
        seconds: Time spent on it, interruptions left out. It is the one number that differs from time to time, so it
            is not printed with the others.
        run: Folder of its checkpoints.
    """

    losses: tuple[float, ...]
    final: float
    epochs: int
    seed: int
    settings: Mapping[str, Any] = field(default_factory=dict)
    held_losses: tuple[float, ...] = ()
    snapshots: tuple[Snapshot, ...] = field(default=(), repr=False, compare=False)
    module: nn.Module | None = field(default=None, repr=False, compare=False)
    rates: tuple[float, ...] = field(default=(), compare=False)
    updates: int = field(default=0, compare=False)
    rows: int = field(default=0, compare=False)
    best: int | None = field(default=None, compare=False)
    watched: tuple[float, ...] = field(default=(), compare=False)
    stopped_by: str = field(default="epochs", compare=False)
    events: tuple[Event, ...] = field(default=(), compare=False)
    seconds: float = field(default=0.0, repr=False, compare=False)
    run: str | None = field(default=None, compare=False)

    @property
    def updates_per_epoch(self) -> int:
        """``ceil(rows / batch)``."""
        batch = self.settings.get("batch") or self.rows
        return math.ceil(self.rows / batch) if self.rows else 0

    @property
    def kind(self) -> str:
        """What the descent is called: plain where each update sees every row, stochastic where it sees some."""
        plain = self.updates_per_epoch <= 1
        return "gradient descent (full batch)" if plain else "stochastic gradient descent (mini-batches)"

    @property
    def updates_per_second(self) -> float:
        """Speed over the whole training, with its checkpoints and evaluations; NaN where no time was taken."""
        return self.updates / self.seconds if self.seconds > 0 else math.nan

    def frame(self) -> pd.DataFrame:
        """A row per epoch, and one for the end.

        Columns: ``epoch`` (completed before), ``loss`` (met in it; in the last row `final`), ``rate``, and where there
        are such ``held_loss``, ``watched``: the loss on held-out data after `epoch` epochs.
        """
        pd = needs_pandas()

        rows = len(self.losses) + 1
        table: dict[str, Any] = {"epoch": range(rows), "loss": [*self.losses, self.final]}
        table["rate"] = [*self.rates, math.nan] if len(self.rates) == rows - 1 else [math.nan] * rows
        for name, values in (("held_loss", self.held_losses), ("watched", self.watched)):
            if values:
                table[name] = list(values)
        return pd.DataFrame(table)

    def __str__(self) -> str:
        from weightwalk.show.terminal import plain

        return plain(self)


class TrainingInterrupted(KeyboardInterrupt):
    """Ctrl-C during a training; the update under way was finished first, so the weights are those of a whole step.

    Attributes:
        history: The epochs completed until then (`final` is the last loss met, not recomputed).
    """

    def __init__(self, history: History) -> None:
        more = f"; its checkpoint is in {history.run}, resume=True goes on from there" if history.run else ""
        super().__init__(f"training interrupted after {history.epochs} epochs{more}")
        self.history = history


@dataclass(frozen=True, slots=True)
class BadNumber:
    """The first number of a training that was not finite, and the recorded step that made it.

    Attributes:
        what: What became so: ``"loss"``, ``"gradient"`` or ``"weights"``.
        number: What the loss was; NaN for a gradient or weights.
        epoch: Epochs completed then.
        update: Number of the update under way, counted from 0.
        address: Of the first bad number in the walk of that update, such as ``"fc2.weight.grad[0, 3]"``; empty where
            the walk did not show it again.
        value: The bad number there.
        made_by: The op that made it from finite numbers, such as ``"aten.mm"``; empty where it was bad from the start.
        step: Address of that step.
        phase: Of that step: forward, loss, backward or update.
        module: Path of the module that it belongs to.
    """

    what: str
    number: float
    epoch: int
    update: int
    address: str = ""
    value: float = math.nan
    made_by: str = ""
    step: str = ""
    phase: str = ""
    module: str = ""

    def __str__(self) -> str:
        became = {
            "loss": f"loss became {self.number}",
            "gradient": "gradient became bad",
            "weights": "weights became bad",
        }
        text = f"The {became[self.what]} in epoch {self.epoch}, at update {self.update}"
        if not self.address:
            return text
        first = f"{text}; the first number that is not finite is {self.address} = {self.value}"
        if not self.made_by:
            return f"{first}, as it was given"
        part = {"loss": "loss", "update": "update"}.get(self.phase, f"{self.phase} pass")
        return f"{first}, made by {self.made_by} in the {part}{f' of {self.module}' if self.module else ''}"


class NotFiniteError(UsageError):
    """A training met a loss, a gradient or a weight that is not finite, and stopped at the update that produced it.

    The module has the weights from before that update.

    Attributes:
        bad: The first bad number and where it came from.
        history: The epochs completed until then.
    """

    def __init__(self, bad: BadNumber, history: History, more: str = "") -> None:
        super().__init__(
            f"{bad}. The weights are those from before that update.{more} Most often the learning rate is too large; "
            "or the data holds a value that is not finite."
        )
        self.bad, self.history = bad, history
