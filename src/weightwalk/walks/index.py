"""The index of a walk as JSON: everything but the numbers. Specified in ``docs/reference/file-format.md``."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

from weightwalk.walks.model import (
    PHASES,
    Argument,
    Call,
    Completeness,
    Ref,
    Step,
    Store,
    Value,
    leaves,
    make_step,
    make_value,
)
from weightwalk.walks.walk import Walk


def encode_argument(argument: Argument) -> Any:
    """A step's argument as JSON: ``{"v": id}`` for a value, ``{"f": "nan"}`` for what JSON has no number for."""
    if isinstance(argument, Ref):
        return {"v": argument.value}
    if isinstance(argument, (list, tuple)):
        return [encode_argument(a) for a in argument]
    if isinstance(argument, complex):
        return {"c": [encode_argument(argument.real), encode_argument(argument.imag)]}
    if isinstance(argument, float) and not math.isfinite(argument):
        return {"f": repr(argument)}
    return argument


def decode_argument(data: Any) -> Argument:
    """The inverse of `encode_argument`."""
    if isinstance(data, list):
        return [decode_argument(d) for d in data]
    if isinstance(data, dict):
        if "v" in data:
            return Ref(int(data["v"]))
        if "f" in data:
            return float(data["f"])
        return complex(*(decode_argument(d) for d in data["c"]))
    return data


def encode(walk: Walk, buffers: Mapping[int, Mapping[str, Any]]) -> str:
    """The index of `walk`, with what `files.save` found out about each stored buffer."""
    index = {
        "meta": dict(walk.meta),
        "completeness": [
            walk.completeness.executed,
            walk.completeness.recorded,
            walk.completeness.unexplained,
            walk.completeness.escaped,
        ],
        "labels": walk.labels,
        "given": dict(walk.given),
        "buffers": {str(i): b for i, b in buffers.items()},
        "values": [[v.dtype, v.shape, v.strides, v.offset, v.buffer, v.producer, v.kind] for v in walk.values],
        "calls": [
            [c.path, c.nth, c.type, c.parent, c.first, c.last, dict(c.inputs), dict(c.outputs)] for c in walk.calls
        ],
        "steps": [
            [
                s.op,
                [encode_argument(a) for a in s.args],
                {k: encode_argument(a) for k, a in s.kwargs.items()},
                [encode_argument(a) for a in s.outputs],
                s.written,
                s.module,
                s.call,
                s.phase,
                s.source,
                s.forward,
                s.python,
            ]
            for s in walk.steps
        ],
    }
    return json.dumps(index, separators=(",", ":"), allow_nan=False)


def decode(text: str, store: Store) -> tuple[Walk, dict[int, dict[str, Any]]]:
    """The walk of an index, and its buffer table.

    Raises:
        ValueError, KeyError, TypeError, IndexError: The index contradicts itself.
    """
    index = json.loads(text)
    steps: list[Step] = []
    values: list[Value] = []
    calls = []
    for i, (path, nth, kind, parent, first, last, inputs, outputs) in enumerate(index["calls"]):
        calls.append(Call(i, path, nth, kind, parent, first, last, inputs, outputs))
    walk = Walk(
        steps=steps,
        values=values,
        calls=calls,
        given=index["given"],
        labels=index["labels"],
        meta=index["meta"],
        completeness=Completeness(*index["completeness"]),
        store=store,
    )
    for i, (dtype, shape, strides, offset, buffer, producer, kind) in enumerate(index["values"]):
        values.append(make_value(i, dtype, tuple(shape), tuple(strides), offset, buffer, producer, kind, None))
    for i, row in enumerate(index["steps"]):
        op, args, kwargs, outputs, written, module, call, phase, source, forward, python = row
        steps.append(
            make_step(
                i,
                op,
                tuple(decode_argument(a) for a in args),
                {k: decode_argument(a) for k, a in kwargs.items()},
                tuple(decode_argument(a) for a in outputs),
                tuple((a, b) for a, b in written),
                module,
                call,
                phase,
                source,
                forward,
                tuple(python),
                None,
            )
        )
    _check(walk)
    return walk, {int(i): b for i, b in index["buffers"].items()}


def _check(walk: Walk) -> None:
    """Refuse an index whose parts do not fit together: every reader may then rely on it."""
    n_values, n_steps, n_calls = len(walk.values), len(walk.steps), len(walk.calls)

    def value(i: Any) -> None:
        if type(i) is not int or not 0 <= i < n_values:
            raise ValueError(f"value {i} does not exist")

    for v in walk.values:
        if len(v.shape) != len(v.strides) and v.strides:
            raise ValueError(f"value {v.id} has {len(v.shape)} sizes and {len(v.strides)} strides")
        if any(type(n) is not int or n < 0 for n in (*v.shape, *v.strides, v.offset, v.buffer)):
            raise ValueError(f"value {v.id} has a negative size, stride or offset")
        if v.producer is not None and not 0 <= v.producer < n_steps:
            raise ValueError(f"value {v.id} names step {v.producer} as its maker")
    for s in walk.steps:
        for leaf in leaves((*s.args, *s.kwargs.values(), *s.outputs)):
            if isinstance(leaf, Ref):
                value(leaf.value)
        for old, new in s.written:
            value(old)
            value(new)
        if (
            s.phase not in PHASES
            or not -1 <= s.call < n_calls
            or (s.forward is not None and not 0 <= s.forward < n_steps)
        ):
            raise ValueError(f"step {s.index} has phase {s.phase!r}, call {s.call}, forward step {s.forward}")
    for vid in walk.given.values():
        value(vid)
    for c in walk.calls:
        for vid in (*c.inputs.values(), *c.outputs.values()):
            value(vid)
