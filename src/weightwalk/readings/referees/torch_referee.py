"""The second referee: the same ATen op, run by torch in float64 on the CPU.

It reaches every op that torch can run, but it is the same family of kernels bearing witness for itself, and by itself
it proves no bound. Where the NumPy referee has a bound for the op, torch's value is held to it; elsewhere the deviation
is reported and the step is listed as having no proven bound.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from weightwalk.readings.referees.base import Expected, dtype_of, is_float, numpy_referee
from weightwalk.readings.referees.gemm import multiplying_by

_PRODUCTS = {"mm", "addmm", "linear"}
"""Ops whose whole work is one product, which torch forms already while their bound is worked out."""

_MEMORY = {"contiguous_format", "preserve_format", "channels_last", "channels_last_3d"}


def torch_referee(
    op: str, args: Sequence[Any], kwargs: dict[str, Any], out_dtypes: Sequence[str]
) -> list[Expected] | None:
    """What `op` should have given, with torch's float64 values and NumPy's bounds.

    Ops that only move or count numbers are left to NumPy, which demands equality. None if torch cannot run the op in
    float64 (a kernel of half types only, an unknown op).
    """
    with multiplying_by(_multiply):
        bounded = _bounded(op, args, kwargs, out_dtypes)
    if bounded is not None and op.split(".")[1].rstrip("_") in _PRODUCTS:
        return bounded
    if bounded is not None and not any(_is_rounded(e) for e in bounded):
        return bounded
    values = _run(op, args, kwargs)
    if values is None or len(values) != len(out_dtypes):
        return bounded
    if bounded is None:
        return [Expected(v, None if is_float(dtype_of(d)) else 0.0) for v, d in zip(values, out_dtypes, strict=True)]
    return [
        replace(e, value=v) if _is_rounded(e) and v.shape == e.value.shape else e
        for e, v in zip(bounded, values, strict=True)
    ]


def _multiply(a: np.ndarray, b: np.ndarray, out: np.ndarray) -> np.ndarray:
    """``out = A B`` by torch."""
    torch.mm(torch.from_numpy(a), torch.from_numpy(b), out=torch.from_numpy(out))
    return out


def _is_rounded(expected: Expected) -> bool:
    return expected.bound is not None and not (isinstance(expected.bound, float) and expected.bound == 0.0)


def _bounded(op: str, args: Sequence[Any], kwargs: dict[str, Any], out_dtypes: Sequence[str]) -> list[Expected] | None:
    try:
        return numpy_referee(op, args, kwargs, out_dtypes)
    except (TypeError, ValueError, IndexError, KeyError, AttributeError, ZeroDivisionError, OverflowError) as error:
        text = f"the op cannot have run on these arguments ({error})"
        return [Expected(np.zeros(0), None, refused=text) for _ in out_dtypes]


def _run(op: str, args: Sequence[Any], kwargs: dict[str, Any]) -> list[np.ndarray] | None:
    namespace, name, overload = op.split(".")
    try:
        function = getattr(getattr(getattr(torch.ops, namespace), name), overload)
    except (AttributeError, RuntimeError):
        return None
    given = [_decoded(a) for a in args]
    named = {k: _decoded(v) for k, v in kwargs.items() if k not in ("device", "layout", "pin_memory")}
    try:
        with torch.no_grad():
            result = function(*given, **named)
    except (RuntimeError, NotImplementedError, TypeError, IndexError):
        return None
    out = [t for t in _flat(result) if t is not None]
    for i, a in enumerate(function._schema.arguments):
        if a.alias_info is not None and a.alias_info.is_write:
            value = given[i] if i < len(given) else named.get(a.name)
            out += [t for t in _flat(value) if isinstance(t, torch.Tensor) and not any(t is o for o in out)]
    if any(isinstance(t, torch.Tensor) and t.is_nested for t in out):
        return None
    return [_array(t) for t in out]


def _decoded(x: Any) -> Any:
    """An argument as torch takes it: float64 tensors for rounded numbers, dtypes and memory formats by name."""
    if isinstance(x, np.ndarray):
        if is_float(x.dtype):
            return torch.from_numpy(x.astype(np.complex128 if x.dtype.kind == "c" else np.float64))
        return torch.from_numpy(np.array(x))
    if isinstance(x, (list, tuple)):
        return [_decoded(i) for i in x]
    if isinstance(x, str):
        if x in _MEMORY:
            return getattr(torch, x)
        found = getattr(torch, x, None)
        if isinstance(found, torch.dtype):
            return torch.float64 if found.is_floating_point else found
    return x


def _flat(tree: Any) -> list[Any]:
    return [y for x in tree for y in _flat(x)] if isinstance(tree, (list, tuple)) else [tree]


def _array(t: Any) -> np.ndarray:
    return t.resolve_conj().resolve_neg().numpy() if isinstance(t, torch.Tensor) else np.asarray(t)
