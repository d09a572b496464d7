"""What a loss curve does, by a rule that anyone can apply again."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from weightwalk.errors import UsageError
from weightwalk.learning.diagnoses.facts import Curve
from weightwalk.learning.plateaus import EPSILON, LEAST, windows

ROUNDING = 1e-7
"""A loss below this share of the first is as low as float32 tells from 0."""


def curve(losses: Sequence[float], window: int | None = None, epsilon: float = EPSILON) -> Curve:
    """Plateaus of a loss curve, and what it does at its end.

    A line is fitted by least squares to every window of `window` epochs. The window is *flat* where that line changes
    by less than `epsilon` times the window's mean; a *plateau* is a run of flat windows. At the end, the curve is

    - on a ``"plateau"`` where the last window is flat (or at most a 10-millionth of the first loss, where rounding
      rules),
    - ``"diverged"`` where it ends in a number that is not finite, or above the first loss and above twice its least,
    - ``"falling"`` or ``"rising"`` else; ``"none"`` with fewer epochs than one window.

    Args:
        losses: One per epoch.
        window: Epochs per window; a tenth of the curve, at least 10, unless given.
        epsilon: See above.

    Raises:
        UsageError: No loss at all, or a window that makes no sense.

    >>> falls = [0.5 + 0.5 * 0.9**e for e in range(200)]
    >>> found = curve(falls)
    >>> found.kind, found.since, round(found.level, 3)
    ('plateau', 42, 0.5)
    """
    numbers = np.asarray([float(v) for v in losses], dtype=np.float64)
    count = len(numbers)
    if count == 0:
        raise UsageError("A loss curve needs at least one loss.")
    w = max(LEAST, count // 10) if window is None else window
    if w < 2 or not epsilon > 0:
        raise UsageError(f"A window has at least 2 epochs and epsilon is above 0; got {window} and {epsilon}.")
    sound = np.isfinite(numbers)
    best = int(np.argmin(np.where(sound, numbers, np.inf)))
    facts = (float(numbers[0]), float(numbers[-1]), float(numbers[best]), best)
    shown = tuple(numbers.tolist())
    if not sound.all():
        return Curve("diverged", *facts, None, math.nan, math.nan, w, epsilon, (), shown)
    if count < w:
        return Curve("none", *facts, None, float(numbers[-1]), math.nan, w, epsilon, (), shown)
    change, level = windows(numbers, w)
    low = np.abs(level) <= ROUNDING * abs(numbers[0])
    flat = (np.abs(change) <= epsilon * np.abs(level)) | low
    runs = [(a, b + w - 1, float(numbers[a : b + w].mean())) for a, b in _runs(flat)]
    relative = float(change[-1] / level[-1]) if level[-1] else 0.0
    if numbers[-1] > numbers[0] and numbers[-1] > 2 * numbers[best]:
        kind = "diverged"
    elif flat[-1]:
        kind = "plateau"
    else:
        kind = "falling" if relative < 0 else "rising"
    since = runs[-1][0] if kind == "plateau" else None
    return Curve(kind, *facts, since, float(level[-1]), relative, w, epsilon, tuple(runs), shown)


def _runs(flat: np.ndarray) -> list[tuple[int, int]]:
    """First and last index of each run of True."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], flat, [False]]).astype(int)))
    return [(int(a), int(b) - 1) for a, b in zip(edges[::2], edges[1::2], strict=True)]
