"""One training as it stands: what it has, what has happened so far, and the way back to an earlier moment."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from weightwalk.learning.history import BadNumber, Event, History, Snapshot
from weightwalk.learning.optimizers import optimizer_of
from weightwalk.learning.runs.moments import Moment, Place, accelerators, capture, restore
from weightwalk.learning.runs.plans import Plan
from weightwalk.learning.sampling import orders

if TYPE_CHECKING:
    from weightwalk.learning.runs.keeping import Keeper

Progress = Callable[[int, int, float], None]
"""Called with (done, in all, loss)."""

Pair = tuple[Tensor, Tensor]


class State:
    """One training as it stands: what it has, what has happened, and the way back to an earlier moment.

    Args:
        net: Trained in place.
        data: Inputs and targets.
        held: Held-out inputs and targets.
        plan: How.
        keeper: Where checkpoints go; None for nowhere.
        progress: Told of each epoch.
        each_update: Told of each update.
    """

    def __init__(
        self,
        net: nn.Module,
        data: Pair,
        held: Pair | None,
        plan: Plan,
        keeper: Keeper | None = None,
        progress: Progress | None = None,
        each_update: Progress | None = None,
    ) -> None:
        self.net, self.data, self.held, self.plan = net, data, held, plan
        self.keeper, self.progress, self.each_update = keeper, progress, each_update
        self.parameters = [p for p in net.parameters() if p.requires_grad]
        self.engine = optimizer_of(plan.optimizer, self.parameters, plan.lr, plan.settings)
        self.rows = len(data[0])
        self.per_epoch = math.ceil(self.rows / (plan.batch or self.rows))
        self.devices = accelerators(net)
        self.place = Place()
        self.losses: list[float] = []
        self.rates: list[float] = []
        self.held_losses: list[float] = []
        self.watched: list[float] = []
        self.snapshots: list[Snapshot] = []
        self.events: list[Event] = []
        self.best_weights: dict[str, Tensor] | None = None
        self.seconds, self.begun = 0.0, time.perf_counter()
        self.last: Moment | None = None  # all was finite here
        self.good: Moment | None = None  # and the training went well
        self.before: Moment | None = None  # of the update under way, where each is looked at
        self.sighted: BadNumber | None = None  # on the way back to it, with a look at each update
        self.per_row: int | None = None
        self.parts_of: tuple[int, list[Tensor | None]] | None = None

    def history(self, final: float, stopped_by: str | None = None) -> History:
        """What has happened so far."""
        plan = self.plan
        why = stopped_by or ("patience" if self.out_of_patience() and self.place.epoch < plan.epochs else "epochs")
        return History(
            tuple(self.losses),
            final,
            len(self.losses),
            plan.seed,
            plan.told(),
            tuple(self.held_losses),
            tuple(self.snapshots),
            self.net,
            rates=tuple(self.rates),
            updates=self.place.update,
            rows=self.rows,
            best=self.place.best,
            watched=tuple(self.watched),
            stopped_by=why,
            events=tuple(self.events),
            seconds=self.spent(),
            run=None if self.keeper is None else str(self.keeper.path),
        )

    def spent(self) -> float:
        """Seconds, those of earlier sittings included."""
        return self.seconds + time.perf_counter() - self.begun

    def note(self, kind: str, text: str) -> None:
        """Remember what happened."""
        self.events.append(Event(kind, self.place.epoch, self.place.update, text))

    @property
    def careful(self) -> bool:
        """Whether every update is looked at: after going back, until the bad one is met again."""
        return self.sighted is not None

    def out_of_patience(self) -> bool:
        """Whether the watched loss has not improved for too long."""
        place, patience = self.place, self.plan.patience
        return patience is not None and place.best is not None and place.epoch - place.best >= patience

    def parts(self) -> list[Tensor | None]:
        """The rows of each update of this epoch."""
        if self.parts_of is None or self.parts_of[0] != self.place.epoch:
            plan = self.plan
            self.parts_of = (self.place.epoch, slices(self.rows, plan.batch, plan.shuffle, plan.seed, self.place.epoch))
        return self.parts_of[1]

    def rate(self) -> float:
        """The learning rate of the update to come."""
        plan = self.plan
        factor = plan.schedule.factor(self.place.update, plan.epochs * self.per_epoch, self.per_epoch)
        return plan.lr * self.place.scale * factor

    def set_rate(self) -> None:
        """Tell the optimizer."""
        rate = self.rate()
        for group in self.engine.param_groups:
            group["lr"] = rate

    def captured(self) -> Moment:
        """A copy of everything, as it is now."""
        return capture(self.net, self.engine, self.place, self.devices, self.best_weights)

    def return_to(self, moment: Moment) -> None:
        """Everything as it was then."""
        self.place, self.best_weights = restore(self.net, self.engine, moment), moment.best
        place, begun = self.place, moment.place.part > 0
        del self.losses[place.epoch :], self.rates[place.epoch + begun :], self.held_losses[place.epoch + 1 :]
        del self.watched[place.epoch + 1 :]
        self.snapshots = [s for s in self.snapshots if s.epoch <= place.epoch]


def slices(rows: int, batch: int | None, shuffle: bool | None, seed: int, epoch: int) -> list[Tensor | None]:
    """The row numbers of each update of an epoch; None for all rows in their order."""
    whole = batch is None or batch >= rows
    if shuffle is False or (shuffle is None and whole):
        return [None] if whole else list(torch.arange(rows).split(batch or rows))
    return list(torch.from_numpy(orders([seed], epoch, rows)[0]).split(batch or rows))
