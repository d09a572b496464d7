"""What a census varies: axes of settings, their product, and the seeds."""

from __future__ import annotations

import difflib
import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from weightwalk.errors import UsageError
from weightwalk.learning.losses import LOSSES
from weightwalk.learning.optimizers import OPTIMIZERS
from weightwalk.learning.tasks import Task

RECIPE: dict[str, type] = {
    "optimizer": str, "lr": float, "epochs": int, "batch": int, "shuffle": bool, "loss": str,
}  # fmt: skip
"""Settings of the training, beside what the task's own shape has."""

OF_OPTIMIZER: dict[str, type] = {"momentum": float, "weight_decay": float}
"""Settings handed on to the optimizer."""

MOST = 2**32
"""Seeds are below this."""


@dataclass(frozen=True)
class Axis:
    """One thing that is varied, or several together.

    Attributes:
        names: One setting, or those that change together.
        values: For each step along the axis, one value per name.
    """

    names: tuple[str, ...]
    values: tuple[tuple[Any, ...], ...]

    @property
    def label(self) -> str:
        """``"width"`` or ``"optimizer+lr"``."""
        return "+".join(self.names)


def axes_of(task: Task, vary: Mapping[str, Any] | None) -> tuple[Axis, ...]:
    """Read what is varied, each value made into what its setting takes.

    Raises:
        UsageError: A setting that there is not, no values, or a value that makes no sense.
    """
    axes = [_axis(task, key, values) for key, values in (vary or {}).items()]
    names = [n for axis in axes for n in axis.names]
    twice = next((n for n in names if names.count(n) > 1), None)
    if twice is not None:
        raise UsageError(f"{twice!r} is varied twice; put all its values into one list.")
    return tuple(axes)


def product(axes: Sequence[Axis]) -> list[dict[str, Any]]:
    """Every combination, the last axis changing fastest; one empty combination where nothing is varied."""
    steps = itertools.product(*[[dict(zip(a.names, v, strict=True)) for v in a.values] for a in axes])
    return [{name: value for part in step for name, value in part.items()} for step in steps]


def _axis(task: Task, key: str, values: Any) -> Axis:
    names = tuple(n.strip() for n in str(key).split("+"))
    if isinstance(values, (str, bytes)) or not isinstance(values, Iterable):
        values = [values]
    listed = list(values)
    if not listed:
        raise UsageError(f"Nothing to vary: {key!r} has no values, as in width=2,4,8.")
    steps: list[tuple[Any, ...]] = []
    for value in listed:
        parts = [value]
        if len(names) > 1:
            parts = str(value).split(":") if isinstance(value, str) else list(value)
        if len(parts) != len(names):
            raise UsageError(
                f"{key!r} needs {len(names)} values at each step, joined by colons as in optimizer+lr=sgd:0.1,"
                f"adam:0.01; got {value!r}."
            )
        steps.append(tuple(value_of(task, n, p) for n, p in zip(names, parts, strict=True)))
    twice = next((s for s in steps if steps.count(s) > 1), None)
    if twice is not None:
        raise UsageError(f"{key!r} has the value {':'.join(map(str, twice))} twice; give each once.")
    return Axis(names, tuple(steps))


def value_of(task: Task, name: str, value: Any) -> Any:
    """`value` as what the setting `name` takes.

    Raises:
        UsageError: There is no such setting, or it does not take that.
    """
    shape = {n: type(v) for n, v in task.shape.items()}
    kinds = {**RECIPE, **OF_OPTIMIZER, **shape}
    if name not in kinds:
        near = difflib.get_close_matches(name, kinds, n=2, cutoff=0.5)
        hint = f"did you mean {' or '.join(near)}?" if near else f"there are {', '.join(kinds)}."
        raise UsageError(f"Nothing called {name!r} can be set for {task.name}; {hint}")
    if name == "batch" and (value is None or str(value).lower() in {"all", "none", "full"}):
        return None
    made = _converted(name, value, kinds[name])
    known = {"optimizer": OPTIMIZERS, "loss": LOSSES}.get(name)
    if known is not None and made not in known:
        near = difflib.get_close_matches(made, known, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(known)}."
        raise UsageError(f"There is no {name} {made!r}; {hint}")
    if name == "lr" and not (0 < made < math.inf):
        raise UsageError(f"A learning rate is a positive number, such as 0.1; got {value!r}.")
    if name in {"width", "points"} and made < 1:
        raise UsageError(f"A layer has at least one unit, and data one point; got {name}={value!r}.")
    if (name == "epochs" and made < 0) or (name == "batch" and made < 1):
        raise UsageError(f"{name} is a count, {'0' if name == 'epochs' else '1'} or more; got {value!r}.")
    return made


def _converted(name: str, value: Any, kind: type) -> Any:
    try:
        if kind is bool:
            words = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
            return words[str(value).strip().lower()]
        if kind is int and not isinstance(value, str) and int(value) != value:
            raise ValueError
        if kind in (int, float) and isinstance(value, bool):
            raise ValueError
        return kind(value.strip() if isinstance(value, str) else value)
    except (ValueError, TypeError, KeyError, OverflowError):
        what = {int: "a whole number", float: "a number", bool: "true or false"}.get(kind, "a word")
        raise UsageError(f"{name} takes {what}; got {value!r}.") from None


def applied(task: Task, cell: Mapping[str, Any]) -> tuple[Task, dict[str, Any]]:
    """The task of that shape, and the settings of its training with all defaults filled in.

    Raises:
        UsageError: The task has no such shape.
    """
    shaped = task.of(**{n: v for n, v in cell.items() if n in task.shape})
    recipe: dict[str, Any] = {
        "loss": shaped.loss, "optimizer": shaped.optimizer, "lr": shaped.lr, "epochs": shaped.epochs,
        "batch": shaped.batch, "shuffle": None,
    }  # fmt: skip
    recipe |= {n: v for n, v in cell.items() if n in RECIPE and n not in task.shape}
    recipe["settings"] = {n: v for n, v in cell.items() if n in OF_OPTIMIZER and n not in task.shape}
    return shaped, recipe


def seeds_of(seeds: int | Iterable[int]) -> tuple[int, ...]:
    """``1000`` for 0 to 999, or the very seeds.

    Raises:
        UsageError: None, one twice, or one that is no whole number of 0 or more.
    """
    if isinstance(seeds, bool) or not isinstance(seeds, (int, Iterable)) or isinstance(seeds, (str, bytes)):
        raise UsageError(f"Seeds are a number of them, such as 1000, or a range or list; got {seeds!r}.")
    if isinstance(seeds, int):
        if seeds < 1:
            raise UsageError(f"A census needs one seed at least; got {seeds}.")
        return tuple(range(seeds))
    listed = list(seeds)
    wrong = [s for s in listed if isinstance(s, bool) or not hasattr(s, "__index__") or not 0 <= int(s) < MOST]
    if wrong:
        raise UsageError(f"A seed is a whole number from 0 to {MOST - 1}; got {wrong[0]!r}.")
    if not listed:
        raise UsageError("A census needs one seed at least; the list is empty.")
    made = tuple(int(s) for s in listed)
    if len(set(made)) < len(made):
        twice = next(s for s in made if made.count(s) > 1)
        raise UsageError(f"Seed {twice} is listed twice; it would be counted twice.")
    return made
