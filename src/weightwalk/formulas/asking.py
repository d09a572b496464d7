"""Whether what is asked of `weightwalk.formula` makes sense, before anything is run."""

from __future__ import annotations

import inspect
import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from weightwalk.errors import UsageError
from weightwalk.formulas.lifts.lift import Lifted
from weightwalk.walks.walk import Walk

ALONE = (("line", "plane"), ("line", "at"), ("weight", "surrogate"))
"""Arguments that ask for two things at a time."""


def check_source(source: Any) -> None:
    """Refuse what is neither a net nor a walk.

    Raises:
        UsageError: It is a text, or nothing that can be run.
    """
    if isinstance(source, str):
        raise UsageError(
            f"{source!r} is a text, and a formula is read off a net: ww.load_net({source!r}) loads one, ww.load a walk."
        )
    if not callable(source) and not hasattr(source, "module") and not isinstance(source, (Walk, Lifted)):
        raise UsageError(
            f"A formula is read off a net (a torch module or a function) or a walk; received {type(source).__name__}."
        )


def check_together(asked: Mapping[str, Any], options: Mapping[str, Any]) -> None:
    """Refuse arguments of which one would be passed over in silence.

    Args:
        asked: By name; None or False for what is not asked.
        options: All others.

    Raises:
        UsageError: Two do not go together, or one lacks what it belongs to.
    """
    given = {k for k, v in asked.items() if v is not None and v is not False}
    pairs = [*ALONE]
    for fit in ("weight", "surrogate"):
        pairs += [(fit, other) for other in ("line", "plane", "at", "output", "exact", *options)]
    pairs.append(("weight", "select"))
    for one, other in pairs:
        if {one, other} <= given | set(options):
            raise UsageError(f"{one}= and {other}= do not go together: leave one out.")
    if "per_input" in given and "surrogate" not in given:
        raise UsageError("per_input= belongs to surrogate=, the degree of a polynomial.")
    if "data" in given and not given & {"weight", "surrogate"}:
        raise UsageError("data= belongs to weight= (the loss on it) or surrogate= (scored against it).")


def check_sizes(**sizes: Any) -> None:
    """Refuse a seed, a count or a number of bytes that is none.

    Raises:
        UsageError: One is no whole number, or below its least: 0 for a seed, else 1.
    """
    for name, value in sizes.items():
        least = 0 if name == "seed" else 1
        if not isinstance(value, (int, np.integer)) or value < least:
            what = "a number of bytes, such as 2 << 30" if name == "memory" else f"a whole number from {least}"
            raise UsageError(f"{name}= takes {what}; received {value!r}.")


def check_options(function: Callable[..., Any], options: Mapping[str, Any], of: str) -> None:
    """Refuse an option that this kind of formula does not have.

    Raises:
        UsageError: `function` takes no such argument.
    """
    for name in options:
        if name not in inspect.signature(function).parameters:
            raise UsageError(f"The formula {of} has no option {name}=.")


def rows_of(select: Any) -> list[int] | None:
    """Numbers of outputs: one, or some.

    Raises:
        UsageError: There is none, or something else among them.
    """
    if select is None:
        return None
    try:
        several: Any = [select] if isinstance(select, (int, np.integer)) else select
        rows = [operator.index(r) for r in several]
    except TypeError as error:
        raise UsageError(f"select= takes numbers of outputs, such as [0, 2]; received {select!r}.") from error
    if not rows:
        raise UsageError("select= names no output: give at least one number, or leave it out for all.")
    return rows


def rows_among(rows: Sequence[int], count: int) -> list[int]:
    """Numbers of outputs, those from the end counted from the beginning.

    Raises:
        UsageError: There is no such output.
    """
    for r in rows:
        if not -count <= r < count:
            raise UsageError(f"There is no output number {r}: the net has {count}, counted from 0.")
    return [r % count for r in rows]
