"""The whole walk once more in float64, each result fed forward: how far the recorded arithmetic strayed.

Every step is held to its own bound on its own recorded inputs (see ``verify``); how such small errors add up over a
deep net is another question, answered here. Integers, truth values, random draws and what came from outside are taken
from the record, so that both runs take the same way. Where an op cannot be replayed the recorded numbers go on.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from weightwalk.errors import UsageError
from weightwalk.readings.referees import numpy_referee
from weightwalk.readings.structure import places_in
from weightwalk.walks.model import Argument, Ref, Step, Value, leaves

if TYPE_CHECKING:
    from weightwalk.walks.walk import Walk

_WIDE = {"complex64": "complex128", "complex128": "complex128"}


@dataclass(frozen=True, slots=True)
class Drift:
    """End-to-end deviation of the recorded run from float64.

    Attributes:
        address: The output at which it is greatest.
        greatest: Greatest absolute deviation there.
        relative: The same over the output's root mean square.
        outputs: Absolute deviation of each final output, by address.
        replayed: Steps that were replayed in float64.
        taken: Steps with rounded results for which the record had to be taken, so that drift before them is not seen.
    """

    address: str
    greatest: float
    relative: float
    outputs: Mapping[str, float]
    replayed: int
    taken: int


class Replay:
    """The float64 results still needed by a later step."""

    def __init__(self, walk: Walk) -> None:
        self.walk = walk
        self.wide: dict[int, np.ndarray] = {}
        self.last: dict[int, int] = {}
        self.replayed = self.taken = 0
        for step in walk.steps:
            for leaf in leaves((step.args, tuple(step.kwargs.values()))):
                if isinstance(leaf, Ref):
                    self.last[leaf.value] = step.index

    def plain(self, argument: Argument) -> Any:
        if isinstance(argument, Ref):
            found = self.wide.get(argument.value)
            return self.walk.values[argument.value].numpy() if found is None else found
        if isinstance(argument, (list, tuple)):
            return [self.plain(a) for a in argument]
        return argument

    def run(self, step: Step, finals: set[int]) -> None:
        refs = [o for o in step.outputs if o is not None]
        rounded = [isinstance(o, Ref) and _rounded(self.walk.values[o.value]) for o in refs]
        if not any(rounded):
            return
        for ref, result in zip(refs, self._results(step, refs), strict=True):
            if not isinstance(ref, Ref) or result is None:
                continue
            value = self.walk.values[ref.value]
            if _rounded(value) and result.shape == value.shape:
                self.wide[ref.value] = result
        for leaf in leaves((step.args, tuple(step.kwargs.values()))):
            if isinstance(leaf, Ref) and self.last.get(leaf.value) == step.index and leaf.value not in finals:
                self.wide.pop(leaf.value, None)

    def _results(self, step: Step, refs: list[Argument]) -> list[np.ndarray | None]:
        nothing: list[np.ndarray | None] = [None] * len(refs)
        try:
            if step.op == "weightwalk.overwrite.default":
                return [self._overwrite(step)]
            if step.op.startswith("weightwalk."):
                self.taken += 1
                return nothing
            names = [_wide_name(self.walk.values[r.value]) if isinstance(r, Ref) else "float64" for r in refs]
            args, kwargs = self.plain(step.args), {k: self.plain(v) for k, v in step.kwargs.items()}
            expected = numpy_referee(step.op, args, kwargs, names, bounds=False)
        except UsageError:
            expected = None
        except (TypeError, ValueError, IndexError, KeyError, AttributeError, ZeroDivisionError):
            expected = None
        if expected is None or len(expected) != len(refs):
            self.taken += 1
            return nothing
        self.replayed += 1
        return [None if e.unchecked else e.value for e in expected]

    def _overwrite(self, step: Step) -> np.ndarray | None:
        old, new = (self.walk.values[a.value] for a in step.args[:2])
        if old.dtype != new.dtype:
            return None
        self.replayed += 1
        memory, at_old, at_new = places_in(old, new, np.dtype(_wide_name(old)))
        memory[at_old] = self.plain(step.args[0])
        memory[at_new] = self.plain(step.args[1])
        return memory[at_old]


def _rounded(value: Value) -> bool:
    return value.dtype.startswith(("float", "bfloat", "complex"))


def _wide_name(value: Value) -> str:
    return _WIDE.get(value.dtype, "float64") if _rounded(value) else value.dtype


def drift_of(walk: Walk) -> Drift | None:
    """Replay `walk` in float64 and compare its final outputs; None where it has none with rounded numbers."""
    replay = Replay(walk)
    finals = _finals(walk, replay.last)
    for step in walk.steps:
        replay.run(step, set(finals))
    outputs: dict[str, float] = {}
    worst = ("", -1.0, 0.0)
    for vid in finals:
        wide = replay.wide.get(vid)
        if wide is None or not walk.values[vid].kept:
            continue
        recorded = walk.values[vid].numpy().astype(wide.dtype)
        with np.errstate(all="ignore"):
            gap = np.abs(recorded - wide)
            gap = np.where(np.isfinite(gap), gap, 0.0)
            size = np.sqrt(np.mean(np.where(np.isfinite(wide), np.abs(wide), 0.0) ** 2)) if wide.size else 0.0
        greatest = float(gap.max(initial=0.0))
        address = walk.address_of(vid)
        outputs[address] = greatest
        relative = greatest / float(size) if size else 0.0
        if relative > worst[2] or not worst[0]:
            worst = (address, greatest, relative)
    if not outputs:
        return None
    return Drift(worst[0], worst[1], worst[2], outputs, replay.replayed, replay.taken)


def _finals(walk: Walk, last: Mapping[int, int]) -> list[int]:
    """What the walk ends in: what the root returned, gradients and updated weights; else every result left unread."""
    found: dict[int, None] = {}
    for call in walk.calls:
        if call.parent < 0:
            found.update(dict.fromkeys(call.outputs.values()))
    found.update(dict.fromkeys(vid for vid in walk.given.values() if walk.values[vid].producer is not None))
    if not any(_rounded(walk.values[vid]) for vid in found):
        found = dict.fromkeys(v.id for step in walk.steps for v in step.results() if v.id not in last)
    return [vid for vid in found if _rounded(walk.values[vid])]
