"""Everything that decides how a training goes, in one place: what a checkpoint must agree with to be gone on from."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from weightwalk.errors import UsageError
from weightwalk.learning.losses import Loss
from weightwalk.learning.runs.schedules import Schedule

ON_NONFINITE = ("stop", "rollback")
SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Plan:
    """How a net is trained.

    Attributes:
        criterion: The loss.
        loss: Its name.
        optimizer: Name of the optimizer.
        settings: More of its keywords.
        lr: Learning rate.
        epochs: Passes over the data.
        batch: Rows per update; None for all.
        shuffle: As in `train`.
        seed: As in `train`.
        schedule: What becomes of the learning rate.
        patience: Epochs without improvement after which to stop; None for never.
        clip: Greatest norm of the gradient; None for any.
        on_nonfinite: What to do about a number that is not finite.
        rollbacks: How often at most to go back.
        snapshots: Epochs between snapshots; None for none.
    """

    criterion: Loss
    loss: str
    optimizer: str
    settings: Mapping[str, Any]
    lr: float
    epochs: int
    batch: int | None
    shuffle: bool | None
    seed: int
    schedule: Schedule
    patience: int | None = None
    clip: float | None = None
    on_nonfinite: str = "stop"
    rollbacks: int = 5
    snapshots: int | None = None

    def __post_init__(self) -> None:
        if not (_is_number(self.lr) and self.lr > 0 and math.isfinite(self.lr)):
            raise UsageError(f"The learning rate must be a positive number; got {self.lr}.")
        if self.epochs < 0 or (self.batch is not None and self.batch < 1):
            raise UsageError(
                f"epochs must be 0 or more and batch 1 or more; got epochs={self.epochs}, batch={self.batch}."
            )
        if "lr" in self.settings:
            raise UsageError("The learning rate is lr, not one of the optimizer's further settings.")
        if self.patience is not None and self.patience < 1:
            raise UsageError(f"patience must be 1 epoch or more; got {self.patience}.")
        if self.clip is not None and not (self.clip > 0 and math.isfinite(self.clip)):
            raise UsageError(f"clip is the greatest norm of the gradient, a positive number; got {self.clip}.")
        if self.on_nonfinite not in ON_NONFINITE:
            raise UsageError(f"on_nonfinite is {' or '.join(ON_NONFINITE)}; got {self.on_nonfinite!r}.")
        if self.rollbacks < 0:
            raise UsageError(f"rollbacks must be 0 or more; got {self.rollbacks}.")
        if self.snapshots is not None and self.snapshots < 1:
            raise UsageError(f"snapshots are taken every so many epochs, 1 or more; got {self.snapshots}.")

    def told(self) -> dict[str, Any]:
        """The settings of a `History`: four always, the others where they are not what they usually are."""
        told: dict[str, Any] = {"loss": self.loss, "optimizer": self.optimizer, "lr": self.lr, "batch": self.batch}
        usual = (("shuffle", self.shuffle, None), ("schedule", self.schedule.name, "constant"),
                 ("patience", self.patience, None), ("clip", self.clip, None),
                 ("on_nonfinite", self.on_nonfinite, "stop"))  # fmt: skip
        told |= {name: value for name, value, default in usual if value != default}
        return told | ({"settings": dict(self.settings)} if self.settings else {})

    def kept(self) -> dict[str, Any]:
        """As JSON, for the description of a run."""
        settings = {k: list(v) if isinstance(v, tuple) else v for k, v in self.settings.items()}
        return {"loss": self.loss, "optimizer": self.optimizer, "settings": settings, "lr": self.lr,
                "epochs": self.epochs, "batch": self.batch, "shuffle": self.shuffle, "seed": self.seed,
                "schedule": self.schedule.name, "patience": self.patience, "clip": self.clip,
                "on_nonfinite": self.on_nonfinite, "rollbacks": self.rollbacks,
                "snapshots": self.snapshots}  # fmt: skip


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


@dataclass(frozen=True, slots=True)
class Cadence:
    """How often a checkpoint is written, besides one at the start and one at the end.

    Attributes:
        epochs: Every so many epochs, or
        updates: every so many updates, or
        seconds: when so much time has passed since the last.
    """

    epochs: int | None = None
    updates: int | None = None
    seconds: float | None = field(default=None)


def cadence_of(every: int | str | None) -> Cadence:
    """``5`` (epochs), ``"200 updates"``, ``"30 s"``; None for every 10 seconds.

    Raises:
        UsageError: Something else.

    >>> cadence_of(5), cadence_of("200 updates"), cadence_of("30s")
    (Cadence(epochs=5, updates=None, seconds=None), Cadence(epochs=None, updates=200, seconds=None), \
Cadence(epochs=None, updates=None, seconds=30.0))
    """
    if every is None:
        return Cadence(seconds=SECONDS)
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*(epochs?|updates?|steps?|s|seconds?|)\s*", str(every))
    number = float(match[1]) if match else 0.0
    if match is not None and match[2].startswith("s") and not match[2].startswith("st") and number >= 0:
        return Cadence(seconds=number)
    if match is None or number < 1 or number != int(number):
        raise UsageError(
            f"every says when to write a checkpoint, such as 5 (epochs), '200 updates' or '30 s'; got {every!r}."
        )
    return Cadence(updates=int(number)) if match[2][:1] in ("u", "s") else Cadence(epochs=int(number))
