"""A moment as tensors and JSON, and back: nothing is pickled."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from torch import Tensor

from weightwalk.errors import RecordError
from weightwalk.learning.runs.moments import Moment, Place

WEIGHTS, OPTIMIZER, RANDOM, BEST = "weights/", "optimizer/", "random/", "best/"


def packed(moment: Moment, prefix: str = "") -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors by name and the facts beside them.

    Raises:
        TypeError: The optimizer's state holds something that is neither a tensor nor plain.
    """
    tensors = {f"{prefix}{WEIGHTS}{name}": t for name, t in moment.weights.items()}
    tensors |= {f"{prefix}{RANDOM}{name}": t for name, t in moment.random.items()}
    tensors |= {f"{prefix}{BEST}{name}": t for name, t in (moment.best or {}).items()}
    state: dict[str, dict[str, Any]] = {}
    for index, values in moment.optimizer["state"].items():
        plain = state.setdefault(str(index), {})
        for name, value in values.items():
            if isinstance(value, Tensor):
                tensors[f"{prefix}{OPTIMIZER}{index}/{name}"] = value
            else:
                plain[name] = _plain(value)
    groups = [{name: _plain(value) for name, value in group.items()} for group in moment.optimizer["param_groups"]]
    return tensors, {"place": asdict(moment.place), "state": state, "groups": groups}


def unpacked(tensors: Mapping[str, Tensor], facts: Mapping[str, Any], prefix: str = "") -> Moment:
    """The moment that `packed` was given.

    Raises:
        RecordError: Something of it is missing.
    """
    try:
        state: dict[int, dict[str, Any]] = {int(index): dict(values) for index, values in facts["state"].items()}
        for name, tensor in under(tensors, prefix + OPTIMIZER).items():
            index, _, key = name.partition("/")
            state.setdefault(int(index), {})[key] = tensor
        groups = [{name: _tuple(value) for name, value in group.items()} for group in facts["groups"]]
        random = under(tensors, prefix + RANDOM)
        if "cpu" not in random:
            raise RecordError("the checkpoint holds no random state")
        optimizer = {"state": state, "param_groups": groups}
        best = under(tensors, prefix + BEST) or None
        return Moment(Place(**facts["place"]), under(tensors, prefix + WEIGHTS), optimizer, random, best)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise RecordError(f"the checkpoint lacks what a training needs to go on ({error!r}).") from error


def under(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The tensors whose names begin so, without that beginning."""
    return {name.removeprefix(prefix): t for name, t in tensors.items() if name.startswith(prefix)}


def _plain(value: Any) -> Any:
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, (list, tuple)):
        return {"tuple": [_plain(v) for v in value]} if isinstance(value, tuple) else [_plain(v) for v in value]
    raise TypeError(f"an optimizer's state holds a {type(value).__name__}, which no checkpoint can keep")


def _tuple(value: Any) -> Any:
    return tuple(value["tuple"]) if isinstance(value, dict) and set(value) == {"tuple"} else value
