"""The referee's bench: what an op should have given, how far its record may be off, and who knows which op.

A *rule* is the plain equation of one ATen op in float64, with the forward rounding-error bound of that op in its
recorded dtype. Rules are registered by op name; :func:`numpy_referee` finds the rule and applies it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import ml_dtypes
import numpy as np

from weightwalk.readings.referees.rounded import Arithmetic, Rounded

_EXTRA = {name: np.dtype(getattr(ml_dtypes, name)) for name in ("bfloat16", "float8_e4m3fn", "float8_e5m2")}


def dtype_of(name: str) -> np.dtype:
    """The NumPy dtype for a recorded dtype name (``"bfloat16"`` through ``ml_dtypes``)."""
    return _EXTRA[name] if name in _EXTRA else np.dtype(name)


def is_float(dtype: np.dtype) -> bool:
    """Whether numbers of `dtype` are rounded: real or complex floating point, the half types included."""
    return dtype.kind in "fc" or dtype.name in _EXTRA


@dataclass(frozen=True, slots=True)
class Expected:
    """What one tensor output of an op should be.

    Attributes:
        value: What the equation gives, in float64 or complex128 for rounded numbers, else in the recorded dtype.
        bound: Elementwise limit on ``|recorded - value|``; 0 asks for the very same number (up to which NaN);
            None says that no bound is proven.
        unchecked: Why nothing can be said of the numbers (random draws, memory that was never set); ``""`` otherwise.
        accept: For answers that are not unique (the place of a maximum that occurs twice): tells, elementwise, which
            recorded numbers are right.
        refused: Why nothing recorded can be right: the op cannot have run on such arguments.
    """

    value: np.ndarray
    bound: np.ndarray | float | None
    unchecked: str = ""
    accept: Callable[[np.ndarray], Any] | None = None
    refused: str = ""


def chosen(value: np.ndarray) -> Expected:
    """A number picked from several (a maximum, a limit): exactly that one, though of 0 and -0 either will do."""
    return Expected(value, 0.0, accept=partial(np.equal, value))


class Context(Arithmetic):
    """What a rule is told besides the op's arguments: the output dtypes, and the arithmetic that they imply.

    Half types are computed in float32 and rounded once at the end (PyTorch's ``opmath``); everything else in the
    output's own dtype. An op without a rounded output (a comparison, an argmax) computes in that of its inputs.
    `loose` lets a recorded infinity stand where the equation gives NaN.
    """

    def __init__(self, dtypes: Sequence[str], inputs: Sequence[np.dtype], bounds: bool) -> None:
        self.dtypes = [dtype_of(name) for name in dtypes]
        floats = [d for d in self.dtypes if is_float(d)] or [d for d in inputs if is_float(d)]
        super().__init__(floats[0] if floats else np.dtype("float64"), bounds)
        self.loose = False

    def exact(self, index: int = 0) -> bool:
        """Whether output `index` holds integers or truth values, which are not rounded."""
        return not is_float(self.dtypes[index])

    def done(self, number: Rounded, index: int = 0) -> Expected:
        """`number`, rounded into output `index`: the last step of every equation."""
        dtype = self.dtypes[index]
        if number.e is None and not self.bounds:
            return Expected(number.v, 0.0)
        accept = partial(_both_lost, number.v) if self.loose else None
        return Expected(number.v, self.stored(number, dtype), accept=accept)

    def same(self, array: np.ndarray, index: int = 0) -> Expected:
        """Numbers that are only moved, counted or compared: they must be the very same.

        A dtype other than the output's is converted when the conversion is exact or a truncation to integers, and
        rounded with its unit roundoff when it is not.
        """
        dtype = self.dtypes[index] if index < len(self.dtypes) else array.dtype
        if array.dtype == dtype or (not self.bounds and is_float(dtype) and is_float(array.dtype)):
            return Expected(array, 0.0)
        if is_float(dtype):
            v = array.astype(np.complex128 if array.dtype.kind == "c" else self.wide)
            return self.done(Rounded(v, None, self), index)
        return Expected(array.astype(dtype), 0.0)


def _both_lost(value: np.ndarray, recorded: np.ndarray) -> np.ndarray:
    """Where an infinite input left no number: NaN or infinity, as the algorithm has it."""
    return np.isnan(value) & ~np.isfinite(recorded)


Rule = Callable[..., Any]
RULES: dict[str, Rule] = {}


def rule(*ops: str) -> Callable[[Rule], Rule]:
    """Register the equation of the ATen ops named ``"add.Tensor"`` and the like (namespace and ``aten.`` left out)."""

    def register(function: Rule) -> Rule:
        for op in ops:
            RULES["aten." + op] = function
        return function

    return register


def find_rule(op: str) -> Rule | None:
    """The rule for `op`; in-place and ``out=`` overloads share the equation of their functional form."""
    found = RULES.get(op)
    parts = op.split(".")
    if found is not None or len(parts) != 3:
        return found
    namespace, name, overload = parts
    plain = name[:-1] if name.endswith("_") and not name.endswith("__") else name
    overloads = [overload]
    if overload == "out":
        overloads += ["default", "Tensor", "self"]
    elif overload.endswith("_out"):
        overloads.append(overload.removesuffix("_out"))
    for candidate in overloads:
        found = RULES.get(f"{namespace}.{plain}.{candidate}")
        if found is not None:
            return found
    return None


def arrays(tree: Any) -> list[np.ndarray]:
    """The arrays inside nested arguments, in order."""
    if isinstance(tree, np.ndarray):
        return [tree]
    if isinstance(tree, (list, tuple)):
        return [a for item in tree for a in arrays(item)]
    if isinstance(tree, dict):
        return arrays(list(tree.values()))
    return []


def numpy_referee(
    op: str, args: Sequence[Any], kwargs: dict[str, Any], out_dtypes: Sequence[str], *, bounds: bool = True
) -> list[Expected] | None:
    """What `op` should have given on `args` and `kwargs`, as its plain equation in float64.

    Args:
        op: Full ATen name, such as ``"aten.addmm.default"``.
        args: Positional arguments as dispatched, tensors as arrays in their recorded dtype.
        kwargs: Keyword arguments, likewise.
        out_dtypes: The recorded dtype of each tensor output, in the order of ``Step.outputs``.
        bounds: Leave the error bounds out (0 everywhere) when only the values are wanted.

    Returns:
        One :class:`Expected` per tensor output, or None if no rule covers the op.

    Raises:
        Exception: The arguments do not fit the op's equation (whatever NumPy or Python raises).
    """
    found = find_rule(op)
    if found is None:
        return None
    kwargs = {k: v for k, v in kwargs.items() if k not in _IGNORED and not _is_out(op, k)}
    context = Context(out_dtypes, [a.dtype for a in arrays([list(args), kwargs])], bounds)
    with np.errstate(all="ignore"):
        result = found(context, *args, **kwargs)
        return None if result is None else _finish(context, result)


_IGNORED = ("layout", "pin_memory", "non_blocking")


def _is_out(op: str, key: str) -> bool:
    overload = op.rpartition(".")[2]
    return (overload == "out" or overload.endswith("_out")) and key in ("out", "out0", "out1", "out2")


def _finish(context: Context, result: Any) -> list[Expected]:
    items = list(result) if isinstance(result, (list, tuple)) else [result]
    done: list[Expected] = []
    for item in items:
        index = len(done)
        if item is None:
            continue
        if isinstance(item, Rounded):
            item = context.done(item, index)
        elif not isinstance(item, Expected):
            item = context.same(np.asarray(item), index)
        done.append(item)
    return done
