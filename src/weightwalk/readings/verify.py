"""Verify: compute every step of a walk again, independently, and hold it to the rounding-error bound of its op.

Nothing but the record is needed: each step's recorded inputs go through the op's equation in float64, and each recorded
output must lie within the forward error bound of that op in its recorded dtype. Before that the record must hang
together: every number a step reads was made by an earlier step or came from outside. The mathematics is in
docs/explanation/accounts-and-bounds.md.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from weightwalk.errors import NotKeptError, OverwrittenError, UsageError
from weightwalk.readings.referees import Expected, Judgement, judge, numpy_referee
from weightwalk.readings.referees.gemm import partial_bounds
from weightwalk.readings.replay import Drift, drift_of
from weightwalk.readings.structure import faults, moved
from weightwalk.walks.model import Argument, Ref, Step

if TYPE_CHECKING:
    from weightwalk.walks.walk import Walk

REFEREES = ("auto", "numpy", "torch")
PROVEN, EXACT, ALIAS, DRAWN, NO_BOUND, NOT_KEPT, FAILED = (
    "proven", "exact", "alias", "drawn", "no bound", "not kept", "FAILED",
)  # fmt: skip
STATUSES = (PROVEN, EXACT, ALIAS, DRAWN, NO_BOUND, NOT_KEPT, FAILED)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of one step.

    Attributes:
        index: Its place in the walk.
        address: Its address.
        op: Its op.
        status: ``"proven"``: within a proven bound. ``"exact"``: the very numbers that the op must give.
            ``"alias"``: its output is a value that was there before. ``"drawn"``: random numbers or memory that was
            never set; nothing can be said of them, what reads them is checked. ``"no bound"``: computed again where
            that was possible, but without a proven bound. ``"not kept"``: its numbers are not in the record.
            ``"FAILED"``.
        referee: ``"numpy"``, ``"torch"``, ``"record"`` (settled by the record's own geometry) or ``""``.
        fraction: Greatest deviation as a fraction of its bound.
        deviation: Greatest absolute deviation.
        message: Why, where it is not plain success.
    """

    index: int
    address: str
    op: str
    status: str
    referee: str = ""
    fraction: float = 0.0
    deviation: float = 0.0
    message: str = ""


@dataclass(frozen=True)
class Report:
    """The verdicts on all steps of a walk.

    Attributes:
        verdicts: One per step, in order.
        structure: Faults of the record itself: each names the step or value.
        drift: How far the recorded arithmetic strayed from float64 over the whole walk; None if it was not asked for.
        leaves: How many values of each kind were taken as given, because no step makes them.
    """

    verdicts: tuple[Verdict, ...]
    structure: tuple[str, ...] = ()
    drift: Drift | None = None
    leaves: dict[str, int] = field(default_factory=dict)

    @property
    def ok(self) -> bool:
        """No step failed and the record hangs together. Steps without a bound are no failure; see `counts`."""
        return not self.structure and not self.failures

    @property
    def failures(self) -> list[Verdict]:
        """The steps that are wrong."""
        return [v for v in self.verdicts if v.status == FAILED]

    @cached_property
    def counts(self) -> dict[str, int]:
        """How many steps have each status."""
        found = Counter(v.status for v in self.verdicts)
        return {status: found[status] for status in STATUSES}

    @cached_property
    def referees(self) -> dict[str, int]:
        """How many steps each referee judged."""
        return dict(Counter(v.referee for v in self.verdicts if v.referee))

    @property
    def proven(self) -> int:
        """Steps that are proven right: within a bound, exact, or an alias."""
        return sum(self.counts[s] for s in (PROVEN, EXACT, ALIAS))

    @cached_property
    def worst(self) -> Verdict | None:
        """The step that comes nearest to its bound (or furthest beyond it)."""
        bounded = [v for v in self.verdicts if v.status in (PROVEN, FAILED)]
        return max(bounded, key=lambda v: v.fraction, default=None)

    @cached_property
    def unproven(self) -> dict[str, int]:
        """Ops without a proven bound, and how many steps of each."""
        return dict(Counter(v.op for v in self.verdicts if v.status == NO_BOUND))

    def __str__(self) -> str:
        total = len(self.verdicts)
        if not self.ok:
            faults_ = [*self.structure, *(f"{v.address} ({v.op}): {v.message}" for v in self.failures)]
            return f"FAILED: {len(faults_):,} of {total:,} steps; {faults_[0]}"
        parts = [f"verified: {self.proven:,} of {total:,} steps proven"]
        if self.worst is not None:
            parts.append(f"worst {self.worst.fraction:.3g} of its bound at {self.worst.address}")
        parts += [f"{self.counts[s]:,} {s}" for s in (DRAWN, NO_BOUND, NOT_KEPT) if self.counts[s]]
        return "; ".join(parts)


def verify(
    walk: Walk, referee: str = "auto", *, drift: bool = True, progress: Callable[[int, int], None] | None = None
) -> Report:
    """Compute every step of `walk` again in float64 and hold it to its rounding-error bound.

    For each element of each recorded output, ``|recorded - v| <= e`` must be true, where v is the op's equation on the
    recorded inputs in float64, and e the forward error bound of the op in its recorded dtype: for a sum of n products
    ``gamma_n |W||a|`` with ``gamma_n = n u / (1 - n u)``, in general by running error analysis; 0 for ops that only
    move or compare numbers. Source: Higham, *Accuracy and Stability of Numerical Algorithms*, 2nd ed., chapter 3.

    Args:
        walk: A walk, recorded here or loaded from a file.
        referee: ``"numpy"``: each op as its plain equation, importing no torch; ``"torch"``: the values by torch in
            float64 wherever it can, and quicker: of long products the bound is first formed from a quarter of its
            terms, so that the fraction stated for them is an upper limit; ``"auto"``: NumPy first, torch (where
            installed) for the ops NumPy does not cover.
        drift: Whether to replay the whole walk in float64 as well, from the recorded inputs to the end.
        progress: Called with (steps done, steps in all).

    Returns:
        The report; ``report.ok`` tells whether all is well, ``report.failures`` names what is not.

    Raises:
        UsageError: There is no referee of that name.
        DamagedError: A walk read from a file does not match its digests.

    Example:
        >>> import torch, weightwalk as ww
        >>> report = ww.walk(torch.nn.Linear(3, 2), torch.ones(1, 3)).verify("numpy")
        >>> report.ok, report.proven, report.referees
        (True, 2, {'numpy': 2})
    """
    if referee not in REFEREES:
        raise UsageError(f"no referee is called {referee!r}; there are {', '.join(map(repr, REFEREES))}.")
    digests = getattr(walk.store, "check", None)
    if digests is not None:  # a file: every stored byte, also what no step reads
        digests()
    found = faults(walk)
    broken = {i for i, _ in found if i >= 0}
    bench = _Bench(walk, referee)
    verdicts = []
    for step in walk.steps:
        verdicts.append(_fault_of(step, found) if step.index in broken else bench.verdict(step))
        if progress is not None:
            progress(step.index + 1, len(walk.steps))
    strayed = drift_of(walk) if drift and not found else None
    kinds = Counter(v.kind for v in walk.values if v.producer is None)
    return Report(tuple(verdicts), tuple(text for i, text in found if i < 0), strayed, dict(kinds))


def _fault_of(step: Step, found: list[tuple[int, str]]) -> Verdict:
    text = next(text for i, text in found if i == step.index)
    return Verdict(step.index, _address(step), step.op, FAILED, "record", float("inf"), message=text)


def _address(step: Step) -> str:
    return step.address if 0 <= step.index < len(step.walk.steps) else f"step {step.index}"


class _Bench:
    """Where one walk's steps are judged, one at a time; the last few arrays are kept at hand, nothing else."""

    def __init__(self, walk: Walk, referee: str) -> None:
        self.walk = walk
        self.referee = referee
        self.near: dict[int, np.ndarray] = {}

    def array(self, vid: int) -> np.ndarray:
        if vid not in self.near:
            if len(self.near) > 16:
                self.near.pop(next(iter(self.near)))
            self.near[vid] = self.walk.values[vid].numpy()
        return self.near[vid]

    def plain(self, argument: Argument) -> Any:
        """An argument with arrays in place of references."""
        if isinstance(argument, Ref):
            return self.array(argument.value)
        if isinstance(argument, (list, tuple)):
            return [self.plain(a) for a in argument]
        return argument

    def verdict(self, step: Step) -> Verdict:
        try:
            return self._verdict(step)
        except NotKeptError:
            return self._of(step, NOT_KEPT, "", message="its numbers were not kept")
        except OverwrittenError as error:
            return self._of(step, NOT_KEPT, "", message=str(error))

    def _of(self, step: Step, status: str, referee: str, judged: Judgement | None = None, message: str = "") -> Verdict:
        fraction, deviation = (judged.fraction, judged.deviation) if judged else (0.0, 0.0)
        return Verdict(step.index, _address(step), step.op, status, referee, fraction, deviation, message)

    def _verdict(self, step: Step) -> Verdict:
        outputs = [o for o in step.outputs if o is not None]
        if not outputs:
            return self._of(step, EXACT, "record", message="it returns nothing")
        settled = moved(step, self.array)
        if settled is not None:
            status, who, *text = settled
            return self._of(step, status, who, message="".join(text))
        if self.referee == "torch":  # the quick one: what passes the smaller bound need not meet the whole
            with partial_bounds():
                verdict = self._seen(step, outputs)
            if verdict.status != FAILED:
                return verdict
        return self._seen(step, outputs)

    def _seen(self, step: Step, outputs: list[Argument]) -> Verdict:
        who, expected = self._expected(step, outputs)
        if expected is None:
            return self._of(step, NO_BOUND, "", message="no referee covers this op")
        return self._judged(step, who, outputs, expected)

    def _expected(self, step: Step, outputs: list[Argument]) -> tuple[str, list[Expected] | None]:
        args, kwargs = self.plain(step.args), {k: self.plain(v) for k, v in step.kwargs.items()}
        dtypes = [self.walk.values[o.value].dtype if isinstance(o, Ref) else _scalar_dtype(o) for o in outputs]
        if self.referee == "torch":
            from weightwalk.readings.referees.torch_referee import torch_referee

            expected = torch_referee(step.op, args, kwargs, dtypes)
            if expected is not None:
                return "torch", expected
        expected = _applied(step, args, kwargs, dtypes)
        if expected is not None or self.referee == "numpy":
            return "numpy", expected
        try:
            from weightwalk.readings.referees.torch_referee import torch_referee
        except ImportError:
            return "", None
        return "torch", torch_referee(step.op, args, kwargs, dtypes)

    def _judged(self, step: Step, who: str, outputs: list[Argument], expected: list[Expected]) -> Verdict:
        if len(expected) != len(outputs):
            text = f"the record has {len(outputs)} outputs, the op gives {len(expected)}"
            return self._of(step, FAILED, who, message=text)
        worst = Judgement(True, 0.0)
        notes, bounded, judged_any = [], True, False
        for i, (output, one) in enumerate(zip(outputs, expected, strict=True)):
            if one.unchecked:
                notes.append(one.unchecked)
                continue
            judged_any = True
            recorded = self.array(output.value) if isinstance(output, Ref) else np.asarray(output)
            judged = judge(recorded, one)
            if not judged.ok:
                return self._of(step, FAILED, who, judged, f"{self._name(step, output, i)} {judged.message}")
            bounded &= judged.bounded
            if judged.message:
                notes.append(judged.message)
            if judged.fraction > worst.fraction or (judged.fraction == worst.fraction and not judged.exact):
                worst = judged
        return self._of(step, self._status(step, expected, judged_any, bounded), who, worst, "; ".join(notes))

    def _status(self, step: Step, expected: list[Expected], judged_any: bool, bounded: bool) -> str:
        if not judged_any:
            return DRAWN
        if not bounded:
            return NO_BOUND
        if all(isinstance(e.bound, float) and e.bound == 0.0 for e in expected if not e.unchecked):
            made = [v.producer == step.index for v in step.results()]
            return ALIAS if made and not any(made) else EXACT
        return PROVEN

    def _name(self, step: Step, output: Argument, i: int) -> str:
        if not isinstance(output, Ref):
            return f"output {i}"
        return self.walk.values[output.value].address


def _scalar_dtype(x: Any) -> str:
    return "bool" if isinstance(x, bool) else "int64" if isinstance(x, int) else "float64"


def _applied(step: Step, args: Any, kwargs: dict[str, Any], dtypes: list[str]) -> list[Expected] | None:
    """The NumPy referee's answer; arguments that no such op could have had are a finding, not a crash."""
    try:
        return numpy_referee(step.op, args, kwargs, dtypes)
    except (TypeError, ValueError, IndexError, KeyError, AttributeError, ZeroDivisionError, OverflowError) as error:
        return [_impossible(step, error)] * len(dtypes)


def _impossible(step: Step, error: Exception) -> Expected:
    """An expectation that nothing meets, for a step whose op cannot have run on these arguments."""
    text = f"{step.name} cannot have run on these arguments ({error})"
    return Expected(np.zeros(0), None, refused=text)
