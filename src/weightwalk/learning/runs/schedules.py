"""Learning-rate schedules as functions of the update alone, so that there is no state to be saved or lost.

A schedule is named with its settings: ``"cosine"``, ``"cosine:warmup=0.1"``, ``"step:every=30,gamma=0.5"``.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from weightwalk.errors import UsageError

Factor = Callable[[int, int, int], float]
"""(update, updates in all, updates per epoch) -> by what the learning rate is multiplied for that update."""


def _constant(update: int, total: int, per_epoch: int) -> float:
    return 1.0


def _step(update: int, total: int, per_epoch: int, *, every: float = 100, gamma: float = 0.1) -> float:
    return gamma ** (update // per_epoch // int(every))


def _cosine(update: int, total: int, per_epoch: int, *, warmup: float = 0.0, floor: float = 0.0) -> float:
    risen, done = _warm(update, total, warmup)
    return risen if risen < 1 else floor + (1 - floor) * (1 + math.cos(math.pi * done)) / 2


def _linear(update: int, total: int, per_epoch: int, *, warmup: float = 0.1, floor: float = 0.0) -> float:
    risen, done = _warm(update, total, warmup)
    return risen if risen < 1 else floor + (1 - floor) * (1 - done)


def _warm(update: int, total: int, warmup: float) -> tuple[float, float]:
    """How far the rate has risen (1 when warm), and what share of the rest is done."""
    rise = math.ceil(warmup * total)
    if update < rise:
        return (update + 1) / (rise + 1), 0.0
    return 1.0, (update - rise) / max(total - rise, 1)


@dataclass(frozen=True, slots=True)
class Schedule:
    """A learning rate over time.

    Attributes:
        name: As given, with its settings.
        factor: See `Factor`.
        needs_total: Whether the factor depends on the length of the whole training.
    """

    name: str
    factor: Factor
    needs_total: bool


SCHEDULES: dict[str, tuple[Callable[..., float], dict[str, float], bool]] = {
    "constant": (_constant, {}, False),
    "step": (_step, {"every": 100, "gamma": 0.1}, False),
    "cosine": (_cosine, {"warmup": 0.0, "floor": 0.0}, True),
    "linear": (_linear, {"warmup": 0.1, "floor": 0.0}, True),
}
"""Name -> function, its settings with their defaults, and whether it depends on the length of the training.

``constant``: the rate as it is. ``step``: multiplied by `gamma` after each `every` epochs. ``cosine`` and ``linear``:
down to `floor` times the rate at the end, along half a cosine or a straight line, after a straight rise over the share
`warmup` of all updates.
"""


def schedule_of(text: str | None) -> Schedule:
    """The schedule of that name and settings.

    Args:
        text: A name, or a name with settings, such as ``"cosine:warmup=0.2"``; None for ``"constant"``.

    Raises:
        UsageError: No schedule has that name, or it has no such setting.

    Example:
        >>> cosine = schedule_of("cosine:warmup=0.2")
        >>> [round(cosine.factor(u, 10, 1), 3) for u in range(10)]
        [0.333, 0.667, 1.0, 0.962, 0.854, 0.691, 0.5, 0.309, 0.146, 0.038]
    """
    name, _, rest = (text or "constant").partition(":")
    if name not in SCHEDULES:
        raise UsageError(f"There is no schedule {name!r}; there are {', '.join(SCHEDULES)}.")
    function, defaults, needs_total = SCHEDULES[name]
    given = _settings(name, rest, defaults)
    if not given:
        return Schedule(text or "constant", function, needs_total)

    def factor(update: int, total: int, per_epoch: int) -> float:
        return function(update, total, per_epoch, **given)

    return Schedule(text or "constant", factor, needs_total)


def _settings(name: str, text: str, defaults: dict[str, float]) -> dict[str, Any]:
    given: dict[str, Any] = {}
    for part in filter(None, text.split(",")):
        key, equals, value = (p.strip() for p in part.partition("="))
        can = ", ".join(f"{k}={v:g}" for k, v in defaults.items()) or "none"
        if key not in defaults or not equals:
            raise UsageError(f"The schedule {name} has no setting {key!r}; its settings are {can}.")
        try:
            number = float(value)
        except ValueError:
            raise UsageError(f"The schedule {name} needs a number for {key}; got {value!r}.") from None
        low, high = (1, math.inf) if key == "every" else (0, 1)
        if not low <= number <= high or (key == "every" and number != int(number)) or math.isinf(number):
            what = "a whole number of epochs, 1 or more" if key == "every" else "from 0 to 1"
            raise UsageError(f"The schedule {name} needs {key} to be {what}; got {value}.")
        given[key] = number
    return given
