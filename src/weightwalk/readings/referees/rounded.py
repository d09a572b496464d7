"""Numbers that carry their own rounding error.

A :class:`Rounded` holds ``v``, the value of an expression in float64, and ``e``, a bound on ``|computed - v|`` for any
program that evaluates the same expression in the recorded arithmetic. Each operation passes on the errors of its
operands and adds its own: the running error analysis of Higham, *Accuracy and Stability of Numerical Algorithms*, 2nd
ed., section 3.3, over the standard model ``fl(a op b) = (a op b)(1 + d)``, ``|d| <= u`` (his 2.4). Sums and inner
products of n terms, in whatever order, cost ``gamma_n = n u / (1 - n u)`` times the sum of absolute terms (his 3.1).

``u`` here is the unit roundoff of the recorded arithmetic plus that of float64, so that the referee's own rounding is
inside the bound (it doubles the bound of float64 records and changes nothing that can be seen elsewhere).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from weightwalk.readings.referees.gemm import products

UNIT = {
    "float64": 2.0**-53,
    "float32": 2.0**-24,
    "float16": 2.0**-11,
    "bfloat16": 2.0**-8,
    "float8_e4m3fn": 2.0**-4,
    "float8_e5m2": 2.0**-3,
    "complex128": 2.0**-53,
    "complex64": 2.0**-24,
}
"""Unit roundoff: half the gap between 1 and the next number."""

SMALLEST = {
    "float64": 2.0**-1074,
    "float32": 2.0**-149,
    "float16": 2.0**-24,
    "bfloat16": 2.0**-133,
    "float8_e4m3fn": 2.0**-9,
    "float8_e5m2": 2.0**-16,
    "complex128": 2.0**-1074,
    "complex64": 2.0**-149,
}
"""Smallest subnormal: below it a result is rounded away (gradual underflow, Higham 2.8)."""

TINY = {"float64": 2.0**-1022, "float32": 2.0**-126, "complex128": 2.0**-1022, "complex64": 2.0**-126}
"""Smallest normal number of the arithmetic: kernels that flush subnormals to zero lose at most this much."""

FUNCTION = 8.0
"""Error of one exp, log, sin, tanh, pow ... in units of u: 4 ulp. SLEEF's ``u10`` kernels promise 1 ulp, its ``u35``
3.5 (sin and cos), MKL's VML below 1, PyTorch's own ``exp_u20`` 2 ulp; NumPy's are below 1 in float64."""

FAST_FUNCTION = 40.0
"""The same for the ``exp_u20`` of PyTorch's softmax and flash-attention kernels, documented as 20 ulp."""

FAST_HALF = 1.1e-4
"""Relative error of ``fexp_u20``, the exp of the half-type flash kernels: a cubic for the mantissa (Malossi et al.
2015), whose greatest error over one octave, computed from its four coefficients, is 1.0701e-4."""

ERF_ABSOLUTE = {2.0**-24: 2.0**-21, 2.0**-53: 2.0**-49}
"""Absolute error of erf: PyTorch's AVX kernels used formula 7.1.26 of Abramowitz and Stegun in float32 (1.5e-7, plus a
few roundings of quantities up to 1), and this package's own float64 erf is good to 4e-16."""

MARGIN = 1.0 + 2.0**-12
"""Inflation of every final bound, for the second-order terms ``e u`` that the first-order rules drop: a chain of k
roundings needs (1 + u)^k - 1, below this for k < 4000 in float32."""


class Rounded:
    """A float64 value `v` and a bound `e` on the error of its recorded counterpart (None: it is exact)."""

    __slots__ = ("a", "e", "v")

    def __init__(self, v: Any, e: Any, a: Arithmetic) -> None:
        self.v = v
        self.e = e if a.bounds else None
        self.a = a

    def _of(self, other: Any) -> Rounded:
        return other if isinstance(other, Rounded) else self.a.take(other)

    def _round(self, v: Any, e: Any, ulps: float = 1.0) -> Rounded:
        if not self.a.bounds:
            return Rounded(v, None, self.a)
        own = np.abs(v)
        own *= ulps * self.a.u
        own += self.a.smallest
        return Rounded(v, own if e is None else own + e, self.a)

    def __add__(self, other: Any) -> Rounded:
        o = self._of(other)
        return self._round(self.v + o.v, _sum(self.e, o.e))

    def __sub__(self, other: Any) -> Rounded:
        o = self._of(other)
        return self._round(self.v - o.v, _sum(self.e, o.e))

    def __mul__(self, other: Any) -> Rounded:
        o = self._of(other)
        e = None
        if self.e is not None:
            e = self.e * np.abs(o.v)
            if o.e is not None:
                e = e + o.e * (np.abs(self.v) + self.e)
        elif o.e is not None:
            e = o.e * np.abs(self.v)
        return self._round(self.v * o.v, e, self.a.mul)

    def __truediv__(self, other: Any) -> Rounded:
        """Quotient: 2 ulps, for kernels that multiply by the reciprocal."""
        o = self._of(other)
        v = self.v / o.v
        e = self.e
        if e is not None or o.e is not None:
            below = np.abs(o.v) if o.e is None else np.maximum(np.abs(o.v) - o.e, 0.0)
            top = _sum(e, None if o.e is None else np.abs(v) * o.e)
            e = np.where(np.asarray(top) == 0, 0.0, top / below)
        return self._round(v, e, 2.0 * self.a.mul)

    def __radd__(self, other: Any) -> Rounded:
        return self + other

    def __rmul__(self, other: Any) -> Rounded:
        return self * other

    def __rsub__(self, other: Any) -> Rounded:
        return self._of(other) - self

    def __rtruediv__(self, other: Any) -> Rounded:
        return self._of(other) / self

    def __neg__(self) -> Rounded:
        return Rounded(-self.v, self.e, self.a)

    def __getitem__(self, key: Any) -> Rounded:
        return Rounded(self.v[key], None if self.e is None else _spread(self.e, self.v)[key], self.a)

    @property
    def shape(self) -> tuple[int, ...]:
        return np.shape(self.v)

    @property
    def error(self) -> Any:
        """`e` with None read as 0."""
        return 0.0 if self.e is None else self.e

    def map(self, move: Any) -> Rounded:
        """The same numbers moved about: `move` (reshape, transpose ...) applied to value and error alike."""
        return Rounded(move(self.v), None if self.e is None else move(_spread(self.e, self.v)), self.a)

    def plus(self, error: Any) -> Rounded:
        """The same value with more error."""
        return Rounded(self.v, _sum(self.e, error), self.a)

    def reshape(self, *shape: Any) -> Rounded:
        return self.map(lambda x: x.reshape(*shape))

    def sum(self, axis: Any = None, keepdims: bool = False) -> Rounded:
        """Sum in any order: ``gamma_n`` times the sum of absolute terms, n - 1 additions and one conversion."""
        v = np.sum(self.v, axis=axis, keepdims=keepdims)
        if not self.a.bounds:
            return Rounded(v, None, self.a)
        n = np.size(self.v) // max(np.size(v), 1)
        e = self.a.gamma(n) * np.sum(np.abs(self.v), axis=axis, keepdims=keepdims)
        if self.e is not None:
            e = e + np.sum(_spread(self.e, self.v), axis=axis, keepdims=keepdims)
        return Rounded(v, e, self.a)

    def mean(self, axis: Any = None, keepdims: bool = False) -> Rounded:
        s = self.sum(axis, keepdims)
        n = np.size(self.v) // max(np.size(s.v), 1)
        return s / float(n)

    def __matmul__(self, other: Rounded) -> Rounded:
        """Matrix product (batched): ``gamma_n |A||B|`` plus what the errors of A and B become."""
        n = self.v.shape[-1]
        if not self.a.bounds:
            return Rounded(np.matmul(self.v, other.v), None, self.a)
        aa, ab = np.abs(self.v), np.abs(other.v)
        left = self.a.gamma(n + 1) * aa if self.e is None else self.a.gamma(n + 1) * aa + self.e
        e = np.matmul(left, ab) + n * self.a.tiny
        if other.e is not None:
            e += np.matmul(aa if self.e is None else aa + self.e, other.e)
        return Rounded(np.matmul(self.v, other.v), e, self.a)

    def clip(self, low: float | None, high: float | None) -> Rounded:
        """Clamping moves two numbers no further apart; NaN stays NaN."""
        v = self.v if low is None else np.maximum(self.v, low)
        return Rounded(v if high is None else np.minimum(v, high), self.e, self.a)


def _sum(a: Any, b: Any) -> Any:
    return b if a is None else a if b is None else a + b


def _spread(e: Any, v: Any) -> np.ndarray:
    return np.broadcast_to(e, np.shape(v))


class Arithmetic:
    """The arithmetic of a recorded op: what it computes in and rounds to.

    Attributes:
        dtype: The op's output dtype.
        u: Unit roundoff of the arithmetic it computes in, plus the referee's own 2^-53.
        half_unit: Unit roundoff of the output's own dtype.
        mul: Roundings in one product (1; 3 for complex numbers, Higham 3.6).
        smallest: What one operation can lose to gradual underflow.
        tiny: What one kernel can lose that flushes subnormals.
        bounds: Whether errors are wanted.
    """

    def __init__(self, dtype: np.dtype, bounds: bool = True) -> None:
        self.dtype = dtype
        self.half = dtype.name not in TINY
        work = "float32" if self.half else dtype.name
        self.unit = UNIT[work]
        self.u = self.unit + UNIT["float64"]
        self.half_unit = UNIT[dtype.name]
        self.mul = 3.0 if dtype.kind == "c" else 1.0
        self.smallest = SMALLEST[work]
        self.tiny = TINY[work]
        self.bounds = bounds
        self.wide: type = np.complex128 if dtype.kind == "c" else np.float64

    def gamma(self, n: int) -> float:
        """``n u / (1 - n u)``: n roundings in a row, or a sum of n terms in any order (Higham, lemma 3.1)."""
        nu = n * self.u * self.mul
        return nu / (1.0 - nu) if nu < 1.0 else float("inf")

    def take(self, x: Any) -> Rounded:
        """`x` as it enters the op: exact, unless its own dtype holds numbers that the op's does not."""
        if isinstance(x, Rounded):
            return x
        if isinstance(x, np.ndarray):
            wide = np.complex128 if x.dtype.kind == "c" else self.wide
            v = x.astype(wide)
            return Rounded(v, self._conversion(x.dtype, v), self)
        v = np.asarray(x, dtype=np.complex128 if isinstance(x, complex) else self.wide)
        return Rounded(v, self._constant(v), self)

    def _conversion(self, dtype: np.dtype, v: np.ndarray) -> Any:
        unit = UNIT.get(dtype.name)
        if not self.bounds or (unit is not None and unit >= UNIT[self.dtype.name]) or dtype.kind == "b":
            return None
        if unit is None and dtype.itemsize * 8 <= -np.log2(UNIT[self.dtype.name]):
            return None
        return UNIT[self.dtype.name] * np.abs(v) + SMALLEST[self.dtype.name]

    def _constant(self, v: np.ndarray) -> Any:
        if not self.bounds or not np.isfinite(v):
            return None
        if v.dtype.kind == "c":
            near = v.astype(np.complex64) if self.dtype.name == "complex64" else v
        else:
            near = v.astype(self.dtype).astype(np.float64)
        off = abs(near - v)
        return off if off > 0 and np.isfinite(off) else None

    def stepwise(self) -> None:
        """From here on round every operation into the output's own type.

        Some kernels of half types do so, or round parts of their work. A bound for it holds for float32 work as well.
        """
        self.u = self.half_unit + UNIT["float64"]
        self.smallest = SMALLEST[self.dtype.name]
        self.tiny = TINY.get(self.dtype.name, self.smallest * 2.0**12)

    def const(self, v: Any) -> Rounded:
        """A number that is exact by definition (a count, a power of two, a float64 hyperparameter)."""
        return Rounded(np.asarray(v, dtype=np.float64), None, self)

    def stored(self, number: Rounded, dtype: np.dtype) -> Any:
        """The bound of `number` once it is rounded into `dtype`."""
        if not self.bounds:
            return 0.0
        e = number.e
        unit = UNIT[dtype.name]
        if e is None or unit > self.unit * 1.5 or SMALLEST[dtype.name] > self.smallest:
            own = np.abs(number.v)
            own *= unit
            own += SMALLEST[dtype.name]
            e = own if e is None else own + e * (1.0 + unit)
        return np.multiply(e, MARGIN)

    def matmul(self, a: np.ndarray, b: np.ndarray) -> Rounded:
        """Product of recorded matrices, each entry exact: the fast road for large weights."""
        v, s = products(a, b, self.bounds)
        if s is None:
            return Rounded(v, None, self)
        n = a.shape[-1]
        # In place, and in float32 where it came so: two more roundings than the n of its sum.
        s *= self.gamma(n + 1) * (1.0 + (n + 4) * 2.0**-23)
        s += (n + 1) * self.tiny
        return Rounded(v, s, self)
