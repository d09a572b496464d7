"""The loop of a training: epochs of updates, with a watch over bad numbers and a way back to any moment.

An update costs nothing extra: the loss is read anyway, and is looked at. Every `WATCH` updates all weights are looked
at and a copy of everything is kept. Where a number is found that is not finite, the training goes back to that copy and
comes again with a look at every gradient and every weight after each update; as it is deterministic to the bit, it
meets the very update that went wrong.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from threading import Event as Flag

import torch
from torch import Tensor, nn

from weightwalk.errors import UsageError
from weightwalk.learning.history import BadNumber, Event, History, NotFiniteError, Snapshot, TrainingInterrupted
from weightwalk.learning.losses import tensor_of
from weightwalk.learning.optimizers import optimizer_of
from weightwalk.learning.runs.culprits import traced
from weightwalk.learning.runs.keeping import Keeper
from weightwalk.learning.runs.moments import (
    Moment,
    Place,
    accelerators,
    all_finite,
    capture,
    put_weights,
    restore,
    tensors_of,
)
from weightwalk.learning.runs.plans import Plan
from weightwalk.learning.sampling import orders

Progress = Callable[[int, int, float], None]
"""Called with (done, in all, loss)."""

Pair = tuple[Tensor, Tensor]

WATCH = 64
"""Updates between two looks at all weights."""

FEW = 1024
CHUNK = 2**24
"""With mini-batches, more than `FEW` examples are judged in parts whose outputs are at most `CHUNK` numbers."""


class _Bad(Exception):
    """A number that is not finite, on its way to where it is dealt with."""

    def __init__(self, what: str, number: float) -> None:
        super().__init__(what)
        self.what, self.number = what, number


class Loop:
    """One training, from wherever it stands to its end.

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
        self.stop_at: int | None = None  # looking at each update ends here
        self.per_row: int | None = None
        self.parts_of: tuple[int, list[Tensor | None]] | None = None

    # The way through ------------------------------------------------------------------------------------------------

    def run(self, stop: Flag) -> History:
        """Train to the end.

        Raises:
            NotFiniteError: A number is not finite, and there is nothing, or no more, to be rolled back.
            TrainingInterrupted: `stop` was set.
        """
        resumed = self.keeper is not None and self.keeper.resume(self)
        self.last = self._captured()
        self.good = self.good or self.last
        if not all_finite(self.parameters):
            self._refuse()
        if not resumed:
            self._look()
            self._save(first=True)
        while True:
            try:
                while self.place.epoch < self.plan.epochs and not self._out_of_patience():
                    self._epoch(stop)
                final = self._end()
                break
            except _Bad as bad:
                self._deal_with(bad)
        self.stop_at = None
        history = self.history(final)
        if self.keeper is not None:
            self.keeper.finished(self)
        if stop.is_set():
            raise TrainingInterrupted(history)
        return history

    def history(self, final: float, stopped_by: str | None = None) -> History:
        """What has happened so far."""
        plan = self.plan
        why = stopped_by or ("patience" if self._out_of_patience() and self.place.epoch < plan.epochs else "epochs")
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
        return self.stop_at is not None

    def _epoch(self, stop: Flag) -> None:
        """What is left of the epoch under way."""
        place, parts = self.place, self._parts()
        self.net.train()
        if place.part == 0:
            self.rates.append(self._rate())
        while place.part < len(parts):
            rows = parts[place.part]
            x, y = self.data if rows is None else (self.data[0][rows], self.data[1][rows])
            loss = self._update(x, y)
            place.total += loss * len(x)
            place.recent += loss
            place.part += 1
            place.update += 1
            if self.each_update is not None and not self.careful:
                self.each_update(place.update, self.plan.epochs * self.per_epoch, loss)
            if place.part < len(parts):
                self._between(stop)
        self.losses.append(place.total / self.rows)
        place.epoch, place.part, place.total = place.epoch + 1, 0, 0.0
        self._look()
        if self.progress is not None and not self.careful:
            self.progress(place.epoch, self.plan.epochs, self.losses[-1])
        self._between(stop)

    def _update(self, x: Tensor, y: Tensor) -> float:
        """Forward, compare, backward, update."""
        if self.careful:
            self.before = self._captured()
        self._set_rate()
        self.engine.zero_grad(set_to_none=True)
        loss = self.plan.criterion(tensor_of(self.net(x)), y)
        number = _number(loss)
        if not math.isfinite(number):
            raise _Bad("loss", number)
        loss.backward()
        if self.careful and not all_finite([p.grad for p in self.parameters if p.grad is not None]):
            raise _Bad("gradient", math.nan)
        if self.plan.clip is not None:
            nn.utils.clip_grad_norm_(self.parameters, self.plan.clip)
        try:
            self.engine.step()
        except RuntimeError as error:
            if "overflow" not in str(error):  # torch refuses a step size that the weights' type cannot hold
                raise
            raise _Bad("weights", math.nan) from error
        if self.careful and not all_finite(self.parameters):
            raise _Bad("weights", math.nan)
        return number

    def _between(self, stop: Flag) -> None:
        """Between two updates: everything is whole, so this is where to look, to save and to stop."""
        if self.careful:
            if self.place.update > (self.stop_at or 0):
                raise _Bad("weights", math.nan)  # not met again: the training is not deterministic
            return
        if self.place.update % WATCH == 0:
            self._watch()
        if stop.is_set():
            self._save(last=True)
            history = self.history(self.losses[-1] if self.losses else math.nan, "interrupt")
            raise TrainingInterrupted(history)
        self._save()

    def _parts(self) -> list[Tensor | None]:
        """The rows of each update of this epoch."""
        if self.parts_of is None or self.parts_of[0] != self.place.epoch:
            plan = self.plan
            self.parts_of = (self.place.epoch, slices(self.rows, plan.batch, plan.shuffle, plan.seed, self.place.epoch))
        return self.parts_of[1]

    def _rate(self) -> float:
        plan = self.plan
        factor = plan.schedule.factor(self.place.update, plan.epochs * self.per_epoch, self.per_epoch)
        return plan.lr * self.place.scale * factor

    def _set_rate(self) -> None:
        rate = self._rate()
        for group in self.engine.param_groups:
            group["lr"] = rate

    # After an epoch --------------------------------------------------------------------------------------------------

    def _look(self) -> None:
        """What the held-out data say, whether this is the best so far, and the weights where they are wanted."""
        place, plan = self.place, self.plan
        if self.held is not None:
            self.held_losses.append(self._judged(self.held))
        if plan.patience is not None:
            loss = self.held_losses[-1] if self.held is not None else self._judged(self.data)
            self.watched.append(loss)
            if place.best_loss is None or loss < place.best_loss:
                place.best, place.best_loss = place.epoch, loss
                self.best_weights = {n: t.detach().clone() for n, t in tensors_of(self.net).items()}
        if plan.snapshots and (place.epoch % plan.snapshots == 0 or place.epoch == plan.epochs):
            self.snapshots.append(
                Snapshot(place.epoch, {n: t.detach().clone() for n, t in self.net.state_dict().items()})
            )
            if self.keeper is not None and not self.careful:
                self.keeper.save_snapshot(self, self.snapshots[-1])

    def _judged(self, pair: Pair) -> float:
        """The loss on these examples, as the net is in use."""
        x, y = pair
        rows = len(x)
        self.net.eval()
        with torch.no_grad():
            size = rows if self.plan.batch is None or rows <= FEW else self._fitting(x)
            if rows <= size:
                return _number(self.plan.criterion(tensor_of(self.net(x)), y))
            total = 0.0
            for part, truth in zip(x.split(size), y.split(size), strict=True):
                total += _number(self.plan.criterion(tensor_of(self.net(part)), truth)) * len(part)
            return total / rows

    def _fitting(self, x: Tensor) -> int:
        """How many rows to judge at a time: a row's outputs decide."""
        if self.per_row is None:
            self.per_row = tensor_of(self.net(x[:1])).numel()
        return max(self.plan.batch or 1, CHUNK // max(self.per_row, 1))

    def _out_of_patience(self) -> bool:
        place, patience = self.place, self.plan.patience
        return patience is not None and place.best is not None and place.epoch - place.best >= patience

    def _end(self) -> float:
        """The loss over all the data; with early stopping of the best weights, which are then in place.

        The last checkpoint is of the training as it stopped, so that it can be gone on with.
        """
        place, plan = self.place, self.plan
        if self.careful:
            self.before = self._captured()
        if not all_finite(self.parameters):
            raise _Bad("weights", math.nan)
        if plan.patience is None or self.best_weights is None:
            final = self._finite_end()
            self._save(last=True)
            return final
        if (
            self._out_of_patience()
            and place.epoch < plan.epochs
            and not any(e.kind == "early stop" for e in self.events)
        ):
            self.note(
                "early stop",
                f"No improvement for {plan.patience} epochs: stopped after epoch {place.epoch}, with the weights of "
                f"epoch {place.best}.",
            )
        self._save(last=True)
        put_weights(self.net, self.best_weights)
        return self._finite_end()

    def _finite_end(self) -> float:
        final = self._judged(self.data)
        if not math.isfinite(final):
            raise _Bad("loss", final)
        return final

    # Numbers that are not finite -------------------------------------------------------------------------------------

    def _captured(self) -> Moment:
        return capture(self.net, self.engine, self.place, self.devices, self.best_weights)

    def _watch(self) -> None:
        """All weights finite? Then this is a moment to come back to; and a good one, unless the loss has doubled."""
        if not all_finite(self.parameters):
            raise _Bad("weights", math.nan)
        place = self.place
        mean = place.recent / (place.update - place.since) if place.update > place.since else math.inf
        place.recent, place.since = 0.0, place.update
        well = place.least is None or mean <= 2 * place.least
        place.least = mean if place.least is None else min(mean, place.least)
        self.last = self._captured()
        if well:
            self.good = self.last

    def _return_to(self, moment: Moment) -> None:
        """Everything as it was then."""
        self.place, self.best_weights = restore(self.net, self.engine, moment), moment.best
        place, begun = self.place, moment.place.part > 0
        del self.losses[place.epoch :], self.rates[place.epoch + begun :], self.held_losses[place.epoch + 1 :]
        del self.watched[place.epoch + 1 :]
        self.snapshots = [s for s in self.snapshots if s.epoch <= place.epoch]

    def _deal_with(self, bad: _Bad) -> None:
        """Find the update that went wrong; then go back and slow down, or give up.

        Raises:
            NotFiniteError: Giving up.
        """
        if not self.careful:
            self.stop_at = self.place.update + 1
            assert self.last is not None
            self._return_to(self.last)
            return  # and come again
        self.stop_at = None
        place = self.place
        found = self._traced(bad)
        if self.plan.on_nonfinite != "rollback" or place.rollbacks >= self.plan.rollbacks or self.good is None:
            more = f" The learning rate was halved {place.rollbacks} times before." if place.rollbacks else ""
            raise NotFiniteError(found, self.history(self.losses[-1] if self.losses else math.nan, "bad number"), more)
        scale, rollbacks = place.scale / 2, place.rollbacks + 1
        self._return_to(self.good)
        self.place.scale, self.place.rollbacks = scale, rollbacks
        self.last = self.good = self._captured()
        self.note(
            "rollback",
            f"{found}. Went back to update {self.place.update} and halved the learning rate to {self._rate():.6g}.",
        )
        self._save(first=True)

    def _traced(self, bad: _Bad) -> BadNumber:
        """The bad number by its address; the weights are those from before the update."""
        if self.before is None:
            return BadNumber(bad.what, bad.number, self.place.epoch, self.place.update)
        moment, self.before = self.before, None
        self._return_to(moment)
        found = BadNumber(bad.what, bad.number, self.place.epoch, self.place.update)
        ended = self.place.epoch >= self.plan.epochs
        rows = None if ended else self._parts()[self.place.part]
        x, y = self.data if rows is None else (self.data[0][rows], self.data[1][rows])

        def update() -> None:
            self.net.train(not ended)
            self._set_rate()
            loss = self.plan.criterion(tensor_of(self.net(x)), y)
            loss.backward()
            if self.plan.clip is not None:
                nn.utils.clip_grad_norm_(self.parameters, self.plan.clip)
            if not ended:
                self.engine.step()

        found = traced(found, self.net, update)
        self._return_to(moment)
        return found

    def _refuse(self) -> None:
        """Weights that were bad from the start.

        Raises:
            UsageError: Always.
        """
        for name, tensor in self.net.named_parameters():
            wrong = (~torch.isfinite(tensor)).nonzero()
            if tensor.requires_grad and len(wrong):
                value = tensor[tuple(wrong[0])].item()
                place = f"[{', '.join(str(int(i)) for i in wrong[0])}]" if len(wrong[0]) else ""
                raise UsageError(
                    f"{name}{place} is {value} before the first update; start from weights that are finite."
                )

    # Keeping ---------------------------------------------------------------------------------------------------------

    def _save(self, *, first: bool = False, last: bool = False) -> None:
        if self.keeper is not None and not self.careful:
            self.keeper.save(self, first=first, last=last)


def slices(rows: int, batch: int | None, shuffle: bool | None, seed: int, epoch: int) -> list[Tensor | None]:
    """The row numbers of each update of an epoch; None for all rows in their order."""
    whole = batch is None or batch >= rows
    if shuffle is False or (shuffle is None and whole):
        return [None] if whole else list(torch.arange(rows).split(batch or rows))
    return list(torch.from_numpy(orders([seed], epoch, rows)[0]).split(batch or rows))


def _number(loss: Tensor) -> float:
    if loss.numel() != 1:
        raise UsageError(f"The loss must be one number; its shape is {tuple(loss.shape)}: take its mean or its sum.")
    return loss.item()
