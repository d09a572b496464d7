"""Does it help? Cells against each other, and failures with and without dead units."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from weightwalk.learning.censuses.facts import Cell, Contrast, DeadTable, said
from weightwalk.learning.censuses.rules import Rule
from weightwalk.learning.censuses.settings import Axis
from weightwalk.learning.censuses.wilson import newcombe, odds_ratio, wilson


def contrasts_of(cells: Sequence[Cell], axes: Sequence[Axis], rules: Sequence[Rule]) -> tuple[Contrast, ...]:
    """Each value of an axis against the axis' first value, all other settings the same; counted by the first rule."""
    if not rules:
        return ()
    out: list[Contrast] = []
    for axis in axes:
        for second in cells:
            at = {n: second.settings[n] for n in axis.names}
            held = {n: v for n, v in second.settings.items() if n not in at and any(n in a.names for a in axes)}
            if tuple(at.values()) == axis.values[0]:
                continue
            first = next(
                c for c in cells if _is(c, {**second.settings, **dict(zip(axis.names, axis.values[0], strict=True))})
            )
            out.append(_contrast(axis, held, first, second, rules[0].name))
    return tuple(out)


def _is(cell: Cell, settings: Mapping[str, Any]) -> bool:
    return dict(cell.settings) == dict(settings)


def _contrast(axis: Axis, held: Mapping[str, Any], first: Cell, second: Cell, outcome: str) -> Contrast:
    before, after = first.outcomes[outcome], second.outcomes[outcome]
    one, two = first.outcome == 0, second.outcome == 0
    apart = typical = None
    if first.outputs is not None and second.outputs is not None and first.outputs.shape == second.outputs.shape:
        with np.errstate(invalid="ignore"):
            far = np.abs(first.outputs - second.outputs).reshape(len(one), -1).max(axis=1)
        known = far[~np.isnan(far)]
        apart, typical = (float(f(known)) if len(known) else None for f in (np.max, np.median))
    return Contrast(
        axis.label,
        held,
        " ".join(said(first.settings[n]) for n in axis.names),
        " ".join(said(second.settings[n]) for n in axis.names),
        outcome,
        before,
        after,
        newcombe(before, after),
        int(np.count_nonzero(two & ~one)),
        int(np.count_nonzero(one & ~two)),
        apart,
        typical,
    )


def dead_tables(values: Mapping[str, np.ndarray], failed: np.ndarray, confidence: float) -> tuple[DeadTable, ...]:
    """Failures among nets with a dead unit and among those without, by the start and by the end of the training."""
    out = []
    for moment in ("start", "end"):
        dead = values[f"dead_{moment}"] > 0
        with_dead = wilson(int(np.count_nonzero(failed & dead)), int(np.count_nonzero(dead)), confidence)
        without = wilson(int(np.count_nonzero(failed & ~dead)), int(np.count_nonzero(~dead)), confidence)
        out.append(DeadTable(moment, with_dead, without, newcombe(without, with_dead),
                             odds_ratio(with_dead, without, confidence)))  # fmt: skip
    return tuple(out)
