"""The checkpoints of a training under way: when they are written, and how one is gone on from."""

from __future__ import annotations

import hashlib
import json
import re
import time
from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from weightwalk.errors import RecordError, UsageError
from weightwalk.learning.history import Event, Snapshot
from weightwalk.learning.runs.files import digest, write_tensors
from weightwalk.learning.runs.folder import RunFolder, described
from weightwalk.learning.runs.moments import Place, capture, tensors_of
from weightwalk.learning.runs.packing import packed, unpacked
from weightwalk.learning.runs.plans import Cadence, Plan

if TYPE_CHECKING:
    from weightwalk.learning.runs.state import State

HISTORY, GOOD = "history/", "good/"
SERIES = ("losses", "rates", "held_losses", "watched")


class Keeper:
    """Writes the checkpoints of one training into its folder.

    Args:
        folder: Of this process alone.
        cadence: When.
        resumes: Whether to go on from what is there.
    """

    def __init__(self, folder: RunFolder, cadence: Cadence, resumes: bool) -> None:
        self.folder, self.cadence, self.resumes = folder, cadence, resumes
        self.path = folder.path
        self._at: tuple[int, int, int] | None = None
        self._when = time.perf_counter()
        self._failing = False

    def wanted(self, place: Place, *, first: bool, last: bool) -> bool:
        """Whether it is time for a checkpoint, and this place has none yet."""
        return _at(place) != self._at and (first or last or self._due(place))

    def save(self, state: State) -> None:
        """Write a checkpoint.

        What cannot be written is noted and tried again when it is next time: what was saved before stays.

        Raises:
            UsageError: The very first one could not be written.
        """
        place = state.place
        moment = capture(state.net, state.engine, place, state.devices, state.best_weights)
        tensors, facts = packed(moment)
        tensors |= {HISTORY + n: torch.tensor(getattr(state, n), dtype=torch.float64) for n in SERIES}
        facts |= {"events": [asdict(e) for e in state.events], "seconds": state.spent(), "score": self._score(state)}
        if state.plan.on_nonfinite == "rollback" and state.good is not None:
            others, facts["good"] = packed(state.good, GOOD)
            tensors |= others
        try:
            self.folder.save(tensors, facts)
        except OSError as error:
            self._failed(state, error, self._at is None)
            return
        self._at, self._when, self._failing = _at(place), time.perf_counter(), False

    def _due(self, place: Place) -> bool:
        every = self.cadence
        if every.epochs is not None:
            return place.part == 0 and place.epoch % every.epochs == 0
        if every.updates is not None:
            return place.update % every.updates == 0
        return time.perf_counter() - self._when >= (every.seconds or 0.0)

    def _score(self, state: State) -> float | None:
        """What makes a checkpoint the best: its loss on held-out data, else the loss of the epoch before."""
        if state.place.part:
            return None
        for series in (state.watched, state.held_losses, state.losses):
            if series:
                return series[-1] if series[-1] == series[-1] else None
        return None

    def _failed(self, state: State, error: OSError, first: bool) -> None:
        why = error.strerror or str(error)
        if first:
            raise UsageError(
                f"No checkpoint can be written to {str(self.path)!r} ({why}); choose a folder that is "
                "writable and has room."
            ) from error
        self._when = time.perf_counter()
        if not self._failing:
            self._failing = True
            saved = self._at[0] if self._at else 0
            state.note("not saved", f"A checkpoint could not be written ({why}); the one of update {saved} stands.")

    def save_snapshot(self, state: State, snapshot: Snapshot) -> None:
        """Keep the weights of an epoch."""
        try:
            self.folder.save_snapshot(snapshot.epoch, snapshot.weights)
        except OSError as error:
            self._failed(state, error, False)

    def finished(self, state: State) -> None:
        """Leave the trained net as a plain file of weights."""
        try:
            write_tensors(self.path / "weights.safetensors", state.net.state_dict(), {"epochs": state.place.epoch})
        except OSError as error:
            self._failed(state, error, False)

    def resume(self, state: State) -> bool:
        """Put the training where the newest whole checkpoint left it; False where there is none.

        Raises:
            UsageError: It does not fit.
        """
        found = self.folder.latest() if self.resumes else None
        if found is None:
            return False
        tensors, facts, damaged = found
        try:
            moment = unpacked(tensors, facts)
            state.good = unpacked(tensors, facts["good"], GOOD) if "good" in facts else None
        except RecordError as error:
            raise UsageError(f"The run in {str(self.path)!r} cannot be gone on with: {error}") from error
        if moment.place.epoch > state.plan.epochs:
            raise UsageError(
                f"The run in {str(self.path)!r} has done {moment.place.epoch} epochs already; "
                f"epochs={state.plan.epochs} is less."
            )
        state.losses, state.rates, state.held_losses, state.watched = (
            tensors[HISTORY + name].tolist() for name in SERIES
        )
        state.seconds = facts["seconds"]
        state.events = [Event(**e) for e in facts["events"]]
        state.return_to(moment)
        if state.plan.snapshots:
            kept = self.folder.snapshots(moment.place.epoch).items()
            every, end = state.plan.snapshots, state.plan.epochs
            state.snapshots = [Snapshot(epoch, w) for epoch, w in kept if epoch % every == 0 or epoch == end]
        for sentence in damaged:
            state.note("damaged", sentence)
        place = state.place
        within = f" and {place.part} of {state.per_epoch} updates" if place.part else ""
        state.note("resumed", f"Went on from epoch {place.epoch}{within} (update {place.update}).")
        self._at = _at(place)
        return True

    def close(self) -> None:
        """Let go of the folder."""
        self.folder.close()


def _at(place: Place) -> tuple[int, int, int]:
    return place.update, place.rollbacks, place.epoch


# What a run is ------------------------------------------------------------------------------------------------------


def description(plan: Plan, net: nn.Module, pairs: Mapping[str, tuple[Tensor, Tensor] | None]) -> dict[str, Any]:
    """What must be the same for a run to be gone on with."""
    data = {name: None if pair is None else digest({"x": pair[0], "y": pair[1]}) for name, pair in pairs.items()}
    layout = [[n, str(t.dtype), list(t.shape), t.requires_grad] for n, t in tensors_of(net).items()]
    text = re.sub(r"0x[0-9a-f]+", "", repr(net)) + json.dumps(layout)
    module = {"class": type(net).__name__, "layout": hashlib.sha256(text.encode()).hexdigest()}
    return {"plan": plan.kept(), "data": data, "module": module, "torch": torch.__version__}


def agreed(path: Any, now: Mapping[str, Any], plan: Plan) -> None:
    """Refuse to go on with another training than the one that the folder describes.

    Raises:
        UsageError: Another net, other data, or other settings. More epochs are fine where the learning rate does not
            depend on how many there are.
    """
    before = described(path)
    if before is None:
        return
    where = f"The run in {str(path)!r}"
    if before["module"]["layout"] != now["module"]["layout"]:
        raise UsageError(
            f"{where} trains another net: a {before['module']['class']} whose layers or weights differ from "
            f"those of this {now['module']['class']}; hand over the same net."
        )
    for name, sha256 in now["data"].items():
        if before["data"].get(name) != sha256:
            what = "data" if name == "train" else "held-out data"
            raise UsageError(f"{where} has other {what}: their digests differ; hand over the same, or begin a new run.")
    for name, value in now["plan"].items():
        old = before["plan"].get(name)
        if old == value or (name == "epochs" and not plan.schedule.needs_total):
            continue
        why = f", which the schedule {plan.schedule.name} depends on" if name == "epochs" else ""
        raise UsageError(f"{where} has {name}={old}, and {name}={value} was given{why}; begin a new run for that.")


def begun(path: Any) -> bool:
    """Whether a folder holds a run."""
    return described(path) is not None
