"""Rules for elementwise arithmetic: sums, products, powers, comparisons, bits."""

from __future__ import annotations

from typing import Any

import numpy as np

from weightwalk.readings.referees import functions as f
from weightwalk.readings.referees.base import Context, chosen, is_float, rule
from weightwalk.readings.referees.rounded import Rounded


def whole(c: Context, x: Any) -> np.ndarray:
    """`x` in the integer or truth type of the first output, where arithmetic wraps around as in C."""
    dtype = c.dtypes[0]
    return np.asarray(x).astype(np.int64 if dtype.kind == "b" else dtype)


@rule("add.Tensor", "add.Scalar", "_foreach_add.each")
def add(c: Context, self: Any, other: Any, alpha: Any = 1) -> Any:
    if c.exact():
        return whole(c, self) + whole(c, other) * whole(c, alpha)
    if alpha != 1:
        c.stepwise()
    b = c.take(other)
    return c.take(self) + (b if alpha == 1 else b * alpha)


@rule("sub.Tensor", "sub.Scalar", "_foreach_sub.each")
def sub(c: Context, self: Any, other: Any, alpha: Any = 1) -> Any:
    if c.exact():
        return whole(c, self) - whole(c, other) * whole(c, alpha)
    if alpha != 1:
        c.stepwise()
    b = c.take(other)
    return c.take(self) - (b if alpha == 1 else b * alpha)


@rule("rsub.Tensor", "rsub.Scalar")
def rsub(c: Context, self: Any, other: Any, alpha: Any = 1) -> Any:
    if c.exact():
        return whole(c, other) - whole(c, self) * whole(c, alpha)
    if alpha != 1:
        c.stepwise()
    a = c.take(self)
    return c.take(other) - (a if alpha == 1 else a * alpha)


@rule("mul.Tensor", "mul.Scalar", "_foreach_mul.each")
def mul(c: Context, self: Any, other: Any) -> Any:
    if c.exact():
        return whole(c, self) * whole(c, other)
    return c.take(self) * c.take(other)


@rule("div.Tensor", "div.Scalar", "_foreach_div.each", "true_divide.Tensor")
def div(c: Context, self: Any, other: Any) -> Any:
    return c.take(self) / c.take(other)


@rule("div.Tensor_mode", "div.Scalar_mode")
def div_mode(c: Context, self: Any, other: Any, rounding_mode: str | None = None) -> Any:
    if rounding_mode is None:
        return div(c, self, other)
    if not c.exact():
        return None
    if rounding_mode == "floor":
        return floor_divide(c, self, other)
    a, b = whole(c, self), whole(c, other)
    q = np.abs(a) // np.abs(b)
    return np.where((a < 0) != (b < 0), -q, q)


@rule("floor_divide.default", "floor_divide.Scalar")
def floor_divide(c: Context, self: Any, other: Any) -> Any:
    return np.floor_divide(whole(c, self), whole(c, other)) if c.exact() else None


@rule("remainder.Tensor", "remainder.Scalar")
def remainder(c: Context, self: Any, other: Any) -> Any:
    return np.remainder(whole(c, self), whole(c, other)) if c.exact() else None


@rule("neg.default", "_foreach_neg.each")
def neg(c: Context, self: Any) -> Any:
    return np.negative(self)


@rule("abs.default", "_foreach_abs.each")
def absolute(c: Context, self: Any) -> Any:
    return f.sqrt(_squared(c, self)) if self.dtype.kind == "c" else np.abs(self)


def _squared(c: Context, self: Any) -> Rounded:
    re, im = c.take(self.real), c.take(self.imag)
    return re * re + im * im


@rule("sign.default", "sgn.default", "_foreach_sign.each")
def sign(c: Context, self: Any) -> Any:
    if not is_float(self.dtype):
        return np.sign(self)
    if self.dtype.kind == "c":
        return None
    return chosen(np.where(np.isnan(self), np.zeros_like(self), np.sign(self)).astype(self.dtype))


@rule("floor.default")
def floor(c: Context, self: Any) -> Any:
    return np.floor(self)


@rule("ceil.default")
def ceil(c: Context, self: Any) -> Any:
    return np.ceil(self)


@rule("trunc.default")
def trunc(c: Context, self: Any) -> Any:
    return np.trunc(self)


@rule("round.default")
def rounded(c: Context, self: Any) -> Any:
    return np.rint(self) if is_float(self.dtype) else self


@rule("pow.Tensor_Scalar", "_foreach_pow.each")
def power_scalar(c: Context, self: Any, exponent: Any) -> Any:
    if c.exact():
        return whole(c, self) ** whole(c, exponent)
    c.stepwise()
    x, p = c.take(self), exponent
    if isinstance(p, complex):
        return None
    simple = {0.5: f.sqrt, -0.5: f.rsqrt, 1: lambda y: y, 2: lambda y: y * y, 3: lambda y: y * y * y}
    if p in simple:
        return simple[p](x)
    if p in (-1, -2):
        return 1.0 / (x if p == -1 else x * x)
    return f.power(x, c.take(float(p)))


@rule("pow.Tensor_Tensor", "pow.Scalar")
def power(c: Context, self: Any, exponent: Any) -> Any:
    if c.exact():
        return whole(c, self) ** whole(c, exponent)
    return f.power(c.take(self), c.take(exponent))


@rule("square.default")
def square(c: Context, self: Any) -> Any:
    return power_scalar(c, self, 2)


def _unary(name: str, function: Any, *ops: str) -> None:
    """Register a function of one tensor whose whole equation is ``y = function(x)``."""

    def apply(c: Context, self: Any) -> Any:
        return function(c.take(self)) if self.dtype.kind != "c" else None

    apply.__name__ = name
    rule(f"{name}.default", f"_foreach_{name}.each", *ops)(apply)


_LN2 = float(np.log(2.0))
for _name, _function in {
    "exp": f.exp, "expm1": f.expm1, "log": f.log, "log1p": f.log1p, "sqrt": f.sqrt, "rsqrt": f.rsqrt, "sin": f.sin,
    "cos": f.cos, "tanh": f.tanh, "sigmoid": f.sigmoid, "erf": f.erf, "reciprocal": lambda x: 1.0 / x,
    "log2": lambda x: f.log(x) / x.a.const(_LN2), "exp2": lambda x: f.power(x.a.const(2.0), x),
    "log10": lambda x: f.log(x) / x.a.const(np.log(10.0)),
}.items():  # fmt: skip
    _unary(_name, _function)


@rule("addcmul.default", "_foreach_addcmul.each")
def addcmul(c: Context, self: Any, tensor1: Any, tensor2: Any, value: Any = 1) -> Any:
    c.stepwise()
    a, b = c.take(tensor1), c.take(tensor2)
    product = a * b
    if value != 1:
        product = product * value
        if c.bounds:
            # The factor may meet either tensor first, and underflow there.
            product = product.plus(c.smallest * (np.abs(a.v) + np.abs(b.v)))
    return c.take(self) + product


@rule("addcdiv.default", "_foreach_addcdiv.each")
def addcdiv(c: Context, self: Any, tensor1: Any, tensor2: Any, value: Any = 1) -> Any:
    c.stepwise()
    a = c.take(tensor1)
    return c.take(self) + (a if value == 1 else a * value) / c.take(tensor2)


@rule("lerp.Scalar", "lerp.Tensor", "_foreach_lerp.each")
def lerp(c: Context, self: Any, end: Any, weight: Any) -> Any:
    """``a + w (b - a)``, which PyTorch writes from the nearer end: ``b - (1 - w)(b - a)`` for ``w >= 1/2``."""
    c.stepwise()
    a, b, w = c.take(self), c.take(end), c.take(weight)
    step = b - a
    near, far = a + w * step, b - (1.0 - w) * step
    out = f.where(np.abs(w.v) < 0.5, near, far)
    return out.plus(np.where(np.abs(w.v) == 0.5, near.error, 0.0)) if c.bounds else out


def _compare(name: str, ufunc: Any) -> None:
    def apply(c: Context, self: Any, other: Any) -> np.ndarray:
        a, b = common(self, other)
        return ufunc(a, b)

    apply.__name__ = name
    rule(f"{name}.Tensor", f"{name}.Scalar", f"{name}.default")(apply)


def common(self: Any, other: Any) -> tuple[Any, Any]:
    """Both operands in the type in which PyTorch compares them.

    A number, or a 0-d tensor next to one with axes, takes the tensor's type unless its kind is higher.
    """
    arrays_ = [x for x in (self, other) if isinstance(x, np.ndarray)]
    big = [x for x in arrays_ if x.ndim] or arrays_
    floats = [x.dtype for x in big if is_float(x.dtype)]
    loose = [x for x in (self, other) if not any(x is y for y in big)]
    if not floats and any(isinstance(x, float) or (isinstance(x, np.ndarray) and is_float(x.dtype)) for x in loose):
        floats = [x.dtype for x in loose if isinstance(x, np.ndarray) and is_float(x.dtype)] or [np.dtype("float32")]
    if not floats:
        return self, other
    return tuple(_widened(x, floats) for x in (self, other))  # type: ignore[return-value]


def _widened(x: Any, floats: list[np.dtype]) -> Any:
    low = max(floats, key=lambda d: d.itemsize)
    if low.kind == "c" or isinstance(x, complex):
        return np.asarray(x)
    # Rounded into the common type first, then exactly widened, so that half types compare as they did.
    return np.asarray(x).astype(low).astype(np.float64)


for _name, _ufunc in {
    "eq": np.equal, "ne": np.not_equal, "lt": np.less, "le": np.less_equal, "gt": np.greater, "ge": np.greater_equal,
    "logical_and": np.logical_and, "logical_or": np.logical_or, "logical_xor": np.logical_xor,
}.items():  # fmt: skip
    _compare(_name, _ufunc)


@rule("logical_not.default")
def logical_not(c: Context, self: Any) -> Any:
    return np.equal(self, 0)


@rule("bitwise_not.default")
def bitwise_not(c: Context, self: Any) -> Any:
    return np.invert(self)


def _bits(name: str, ufunc: Any, *ops: str) -> None:
    def apply(c: Context, self: Any, other: Any) -> np.ndarray:
        dtype = c.dtypes[0]
        return ufunc(np.asarray(self).astype(dtype), np.asarray(other).astype(dtype))

    apply.__name__ = name
    rule(f"{name}.Tensor", f"{name}.Scalar", f"{name}.Scalar_Tensor", *ops)(apply)


_bits("bitwise_and", np.bitwise_and, "__and__.Tensor", "__and__.Scalar")
_bits("bitwise_or", np.bitwise_or, "__or__.Tensor", "__or__.Scalar")
_bits("bitwise_xor", np.bitwise_xor, "__xor__.Tensor", "__xor__.Scalar")
_bits("bitwise_left_shift", np.left_shift)
_bits("bitwise_right_shift", np.right_shift)


@rule("isnan.default")
def isnan(c: Context, self: Any) -> Any:
    return np.not_equal(self, self)


@rule("isinf.default")
def isinf(c: Context, self: Any) -> Any:
    return np.isinf(self) if is_float(self.dtype) else np.zeros(self.shape, bool)


@rule("isfinite.default")
def isfinite(c: Context, self: Any) -> Any:
    return np.isfinite(self) if is_float(self.dtype) else np.ones(self.shape, bool)


def _extreme(name: str, ufunc: Any) -> None:
    def apply(c: Context, self: Any, other: Any) -> Any:
        a, b = c.take(self) if not c.exact() else self, c.take(other) if not c.exact() else other
        if isinstance(a, Rounded) and isinstance(b, Rounded):
            e = None if a.e is None and b.e is None else np.maximum(a.error, b.error)
            return chosen(ufunc(a.v, b.v)) if e is None else Rounded(ufunc(a.v, b.v), e, c)
        return ufunc(self, other)

    apply.__name__ = name
    rule(f"{name}.default", f"_foreach_{name}.each")(apply)


_extreme("maximum", np.maximum)
_extreme("minimum", np.minimum)
rule("clamp_min.default", "clamp_min.Tensor", "_foreach_clamp_min.each")(lambda c, self, min: clamp(c, self, min))
rule("clamp_max.default", "clamp_max.Tensor", "_foreach_clamp_max.each")(lambda c, self, max: clamp(c, self, None, max))


@rule("clamp.default", "clamp.Tensor")
def clamp(c: Context, self: Any, min: Any = None, max: Any = None) -> Any:
    """``min(max(x, lo), hi)``: the number itself or one of the limits, rounded into the output's type."""
    limits = [None if x is None else np.asarray(x).astype(c.dtypes[0]) for x in (min, max)]
    v = self.astype(c.dtypes[0]) if self.dtype != c.dtypes[0] else self
    v = v if limits[0] is None else np.maximum(v, limits[0])
    return chosen(v if limits[1] is None else np.minimum(v, limits[1]))


@rule("xlogy.Tensor")
def xlogy(c: Context, self: Any, other: Any) -> Any:
    """``x log y``, 0 where x is 0 and y is a number."""
    c.stepwise()
    x, y = c.take(self), c.take(other)
    product = x * f.log(y)
    zero = (x.v == 0) & ~np.isnan(y.v)
    return Rounded(np.where(zero, 0.0, product.v), None if product.e is None else np.where(zero, 0.0, product.e), c)
