"""Facts to JSON: every number exact or a string, NaN and infinities by name, long arrays cut and said to be."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import numpy as np

LONGEST = 1000  # numbers of one array

# What a reader wants of some facts besides their fields: properties, by class.
PROPERTIES = {
    "History": ("kind", "updates_per_epoch"),
    "Report": ("ok", "proven", "counts", "referees", "worst", "unproven"),
    "Account": ("total", "sum_abs", "relative_residual", "bound", "worst"),
    "Comparison": ("same",),
    "Diagnosis": ("dead",),
    "Units": ("dead", "silent", "saturated", "starved", "always_on"),
    "Layer": ("ratio",),
    "Point": ("unexplained",),
    "Spectrum": ("positive",),
    "Others": ("best",),
    "Promise": ("gap", "beyond"),
    "GradientCheck": ("ok",),
}


def jsonable(facts: Any) -> Any:
    """Facts as plain lists, dicts, numbers and strings; a dataclass becomes a dict with its class under ``"is"``.

    >>> jsonable(Decimal("0.1")), jsonable(float("nan")), jsonable(Decimal("0.12345678901234567890"))
    (0.1, 'NaN', '0.12345678901234567890')
    """
    if facts is None or isinstance(facts, (bool, int, str)):
        return facts
    if isinstance(facts, float):
        return facts if math.isfinite(facts) else _name(facts)
    if isinstance(facts, Decimal):
        return _decimal(facts)
    if isinstance(facts, np.generic):
        return jsonable(facts.item())
    if isinstance(facts, np.ndarray):
        return _array(facts)
    if isinstance(facts, Mapping):
        return {str(k): jsonable(v) for k, v in facts.items()}
    if isinstance(facts, (list, tuple, set, frozenset)):
        return [jsonable(v) for v in facts]
    if dataclasses.is_dataclass(facts):
        kind = type(facts).__name__
        names = [*PROPERTIES.get(kind, ()), *(f.name for f in dataclasses.fields(facts) if f.repr)]
        return {"is": kind, **{n: jsonable(getattr(facts, n)) for n in names}}
    return str(facts)


def text(facts: Any) -> str:
    """Facts as a JSON document."""
    return json.dumps(jsonable(facts), ensure_ascii=False, indent=1, allow_nan=False)


def _name(number: float) -> str:
    return "NaN" if math.isnan(number) else ("Infinity" if number > 0 else "-Infinity")


def _decimal(number: Decimal) -> int | float | str:
    """As a JSON number where reading that gives the very decimal back, else as a string."""
    if not number.is_finite():
        return _name(float(number))
    if number == number.to_integral_value() and abs(number) < 2**53:
        return int(number)
    as_float = float(number)
    return as_float if math.isfinite(as_float) and Decimal(repr(as_float)) == number else str(number)


def _array(array: np.ndarray) -> Any:
    flat = array.reshape(-1)
    numbers = [jsonable(x) for x in flat[:LONGEST].tolist()]
    if flat.size <= LONGEST:
        return {"shape": list(array.shape), "dtype": str(array.dtype), "numbers": numbers}
    return {
        "shape": list(array.shape),
        "dtype": str(array.dtype),
        "numbers": numbers,
        "left_out": int(flat.size - LONGEST),
    }


def walk_summary(walk: Any) -> dict[str, Any]:
    """What a walk is, for machines."""
    phases: dict[str, int] = {}
    for step in walk.steps:
        phases[step.phase] = phases.get(step.phase, 0) + 1
    tokens = walk.labels.get("tokens")
    return {
        "meta": jsonable(walk.meta),
        "steps": len(walk.steps),
        "values": len(walk.values),
        "kept": sum(v.kept for v in walk.values),
        "module_calls": len(walk.calls),
        "phases": phases,
        "completeness": jsonable(walk.completeness),
        "tokens": list(tokens) if tokens else None,
    }
