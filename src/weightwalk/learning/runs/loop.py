"""The loop of a training: epochs of updates, with a watch over bad numbers and a way back to any moment.

An update costs nothing extra: the loss is read anyway, and is looked at. Every `WATCH` updates all weights are looked
at and a copy of everything is kept. Where a number is found that is not finite, the training goes back to that copy and
comes again with a look at every gradient and every weight after each update; as it is deterministic to the bit, it
meets the very update that went wrong.
"""

from __future__ import annotations

import math
from dataclasses import replace
from threading import Event as Flag

import torch
from torch import Tensor, nn

from weightwalk.errors import UsageError
from weightwalk.learning.history import BadNumber, History, NotFiniteError, Snapshot, TrainingInterrupted
from weightwalk.learning.losses import one_number, tensor_of
from weightwalk.learning.runs.culprits import traced
from weightwalk.learning.runs.moments import all_finite, put_weights, tensors_of
from weightwalk.learning.runs.state import Pair, State

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


class Loop(State):
    """The way of a training from wherever it stands to its end."""

    # The way through ------------------------------------------------------------------------------------------------

    def run(self, stop: Flag) -> History:
        """Train to the end.

        Raises:
            NotFiniteError: A number is not finite, and there is nothing, or no more, to be rolled back.
            TrainingInterrupted: `stop` was set.
        """
        resumed = self.keeper is not None and self.keeper.resume(self)
        self.last = self.captured()
        self.good = self.good or self.last
        if not all_finite(self.parameters):
            self._refuse()
        if not resumed:
            self._look()
            self._save(first=True)
        while True:
            try:
                while self.place.epoch < self.plan.epochs and not self.out_of_patience():
                    self._epoch(stop)
                final = self._end()
                break
            except _Bad as bad:
                self._deal_with(bad)
        history = self.history(final)
        if self.keeper is not None:
            self.keeper.finished(self)
        if stop.is_set():
            raise TrainingInterrupted(history)
        return history

    def _epoch(self, stop: Flag) -> None:
        """What is left of the epoch under way."""
        place, parts = self.place, self.parts()
        self.net.train()
        if place.part == 0:
            self.rates.append(self.rate())
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
            self.before = self.captured()
        self.set_rate()
        self.engine.zero_grad(set_to_none=True)
        loss = self._loss(x, y)
        number = loss.item()
        if not math.isfinite(number):
            raise _Bad("loss", number)
        if not loss.requires_grad:
            raise UsageError("The loss does not depend on any parameter that can be trained, so there is no gradient.")
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

    def _loss(self, x: Tensor, y: Tensor) -> Tensor:
        """Forward and compare.

        Raises:
            UsageError: The net or its loss cannot be run on these examples.
        """
        try:
            return one_number(self.plan.criterion(tensor_of(self.net(x)), y))
        except UsageError:
            raise
        except (RuntimeError, ValueError, TypeError, IndexError) as error:
            first = (str(error).strip().splitlines() or [""])[0]
            raise UsageError(
                f"The net and its loss do not run on inputs of shape {tuple(x.shape)} ({x.dtype}) and targets of shape "
                f"{tuple(y.shape)} ({y.dtype}): {type(error).__name__}: {first}"
            ) from error

    def _between(self, stop: Flag) -> None:
        """Between two updates: everything is whole, so this is where to look, to save and to stop."""
        if self.careful:
            if self.sighted is not None and self.place.update > self.sighted.update:
                raise _Bad("", math.nan)  # not met again: the training is not deterministic
            return
        if self.place.update % WATCH == 0:
            self._watch()
        if stop.is_set():
            self._save(last=True)
            history = self.history(self.losses[-1] if self.losses else math.nan, "interrupt")
            raise TrainingInterrupted(history)
        self._save()

    # After an epoch --------------------------------------------------------------------------------------------------

    def _look(self) -> None:
        """What the held-out data say, whether this is the best so far, and the weights where they are wanted."""
        place, plan = self.place, self.plan
        if self.held is not None:
            self.held_losses.append(self._judged(self.held))
        if plan.patience is not None:
            loss = self.held_losses[-1] if self.held is not None else self._judged(self.data)
            self.watched.append(loss)
            if place.best_loss is None or math.isnan(place.best_loss) or loss < place.best_loss:
                place.best, place.best_loss = place.epoch, loss
                self.best_weights = {n: t.detach().clone() for n, t in tensors_of(self.net).items()}
        if plan.snapshots and (place.epoch % plan.snapshots == 0 or place.epoch == plan.epochs):
            self.snapshots.append(
                Snapshot(place.epoch, {n: t.detach().clone() for n, t in self.net.state_dict().items()})
            )
            if self.keeper is not None and not self.careful:
                if not all_finite(self.parameters):
                    raise _Bad("weights", math.nan)
                self.keeper.save_snapshot(self, self.snapshots[-1])

    def _judged(self, pair: Pair) -> float:
        """The loss on these examples, as the net is in use."""
        x, y = pair
        rows = len(x)
        self.net.eval()
        with torch.no_grad():
            size = rows if self.plan.batch is None or rows <= FEW else self._fitting(x)
            if rows <= size:
                return self._loss(x, y).item()
            total = 0.0
            for part, truth in zip(x.split(size), y.split(size), strict=True):
                total += self._loss(part, truth).item() * len(part)
            return total / rows

    def _fitting(self, x: Tensor) -> int:
        """How many rows to judge at a time: a row's outputs decide."""
        if self.per_row is None:
            self.per_row = tensor_of(self.net(x[:1])).numel()
        return max(self.plan.batch or 1, CHUNK // max(self.per_row, 1))

    def _end(self) -> float:
        """The loss over all the data; with early stopping of the best weights, which are then in place.

        The last checkpoint is of the training as it stopped, so that it can be gone on with.
        """
        place, plan = self.place, self.plan
        if self.careful:
            self.before = self.captured()
        if not all_finite(self.parameters):
            raise _Bad("weights", math.nan)
        if plan.patience is None or self.best_weights is None:
            final = self._finite_end()
            self.sighted = None
            self._save(last=True)
            return final
        if (
            self.out_of_patience()
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

    def _watch(self) -> None:
        """All weights finite? Then this is a moment to come back to; and a good one, unless the loss has doubled."""
        if not all_finite(self.parameters):
            raise _Bad("weights", math.nan)
        place = self.place
        mean = place.recent / (place.update - place.since) if place.update > place.since else math.inf
        place.recent, place.since = 0.0, place.update
        well = place.least is None or mean <= 2 * place.least
        place.least = mean if place.least is None else min(mean, place.least)
        self.last = self.captured()
        if well:
            self.good = self.last

    def _deal_with(self, bad: _Bad) -> None:
        """Find the update that went wrong; then go back and slow down, or give up.

        Raises:
            NotFiniteError: Giving up.
        """
        if self.sighted is None:
            self.sighted = BadNumber(bad.what, bad.number, self.place.epoch, self.place.update)
            assert self.last is not None
            self.return_to(self.last)
            return  # and come again
        found = self._traced(bad)
        self.sighted, place = None, self.place
        if self.plan.on_nonfinite != "rollback" or place.rollbacks >= self.plan.rollbacks or self.good is None:
            more = f" The learning rate was halved {place.rollbacks} times before." if place.rollbacks else ""
            raise NotFiniteError(found, self.history(self.losses[-1] if self.losses else math.nan, "bad number"), more)
        scale, rollbacks = place.scale / 2, place.rollbacks + 1
        self.return_to(self.good)
        self.place.scale, self.place.rollbacks = scale, rollbacks
        self.last = self.good = self.captured()
        self.note(
            "rollback",
            f"{found}. Went back to update {self.place.update} and halved the learning rate to {self.rate():.6g}.",
        )
        self._save(first=True)

    def _traced(self, bad: _Bad) -> BadNumber:
        """The bad number by its address; the weights are those from before the update."""
        assert self.sighted is not None and self.before is not None
        moment, self.before = self.before, None
        self.return_to(moment)
        if not bad.what:
            return self.sighted
        found = BadNumber(bad.what, bad.number, self.place.epoch, self.place.update)
        ended = self.place.epoch >= self.plan.epochs
        rows = None if ended else self.parts()[self.place.part]
        x, y = self.data if rows is None else (self.data[0][rows], self.data[1][rows])

        def update() -> None:
            self.net.train(not ended)
            self.set_rate()
            self._loss(x, y).backward()
            if self.plan.clip is not None:
                nn.utils.clip_grad_norm_(self.parameters, self.plan.clip)
            if not ended:
                self.engine.step()

        found = traced(found, self.net, update)
        self.return_to(moment)
        return _in_data(found, x, y, rows) if found.address and not found.made_by else found

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
        if self.keeper is None or self.careful or not self.keeper.wanted(self.place, first=first, last=last):
            return
        if not all_finite(self.parameters):  # they can be bad while the loss is not
            raise _Bad("weights", math.nan)
        self.keeper.save(self)


def _in_data(bad: BadNumber, x: Tensor, y: Tensor, rows: Tensor | None) -> BadNumber:
    """The bad number by its row in all the data, where it was among the examples: a batch numbers them anew."""
    for name, part in (("inputs", x), ("targets", y)):
        wrong = (part.isnan() if math.isnan(bad.value) else part.isinf()).nonzero()
        if len(wrong):
            first, *rest = wrong[0].tolist()
            row = first if rows is None else int(rows[first])
            return replace(bad, address=f"{name}[{', '.join(map(str, (row, *rest)))}]")
    return bad
