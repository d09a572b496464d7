"""Rules for reductions: ``gamma_n`` times the sum of absolute terms, whatever the order of summation (Higham 4.2)."""

from __future__ import annotations

from typing import Any

import numpy as np

from weightwalk.readings.referees import functions as f
from weightwalk.readings.referees.base import Context, Expected, chosen, is_float, rule
from weightwalk.readings.referees.rounded import Rounded


def axes(dim: Any, ndim: int) -> tuple[int, ...] | None:
    """ATen's ``dim`` (None, a number or a list, empty for all) as NumPy's ``axis``."""
    if dim is None or (isinstance(dim, (list, tuple)) and not dim):
        return None
    if ndim == 0:
        return ()
    return (dim,) if isinstance(dim, int) else tuple(dim)


@rule("sum.default", "sum.dim_IntList")
def sum_(c: Context, self: Any, dim: Any = None, keepdim: bool = False, dtype: Any = None) -> Any:
    axis = axes(dim, self.ndim)
    if c.exact():
        return np.sum(self, axis=axis, keepdims=keepdim, dtype=c.dtypes[0])
    return c.take(self).sum(axis, keepdim)


@rule("nansum.default")
def nansum(c: Context, self: Any, dim: Any = None, keepdim: bool = False, dtype: Any = None) -> Any:
    return sum_(c, np.where(np.isnan(self), np.zeros_like(self), self), dim, keepdim)


@rule("mean.default", "mean.dim")
def mean(c: Context, self: Any, dim: Any = None, keepdim: bool = False, dtype: Any = None) -> Any:
    """The sum divided by n; a half type may round the sum before the division."""
    m = c.take(self).mean(axes(dim, self.ndim), keepdim)
    return m.plus(c.half_unit * np.abs(m.v)) if c.half and c.bounds else m


def moments(x: Rounded, axis: tuple[int, ...] | None, correction: float = 0.0) -> tuple[Rounded, Rounded]:
    """Mean and variance with bounds that hold for any of the usual algorithms.

    With ``r^2 = mean(x^2)`` and ``s^2`` the variance, the textbook, two-pass and updating (Welford) algorithms err by
    at most about ``n u r^2``, ``n u s^2 + n^2 u^2 r^2`` and ``n u s r`` (Chan, Golub & LeVeque, *The American
    Statistician* 37 (1983), table 1). The last dominates the second; the kernels judged here use those two, so the
    bound is ``3 gamma_n s r + (gamma_n r)^2`` over n terms, and :func:`textbook` is there for those that do not.
    """
    a = x.a
    m = x.mean(axis, keepdims=True)
    d = x.v - m.v
    n = np.size(x.v) // max(np.size(m.v), 1)
    count = max(n - correction, 0.0)
    square = np.mean(d * d, axis=axis, keepdims=True)
    scale = n / count if count else np.nan
    v = Rounded(square * scale, None, a)
    if a.bounds:
        r = np.sqrt(np.mean(x.v * x.v, axis=axis, keepdims=True))
        if x.e is not None:
            r = r + np.max(np.broadcast_to(x.e, x.shape), axis=axis, keepdims=True, initial=0.0)
            input_error = np.max(np.broadcast_to(x.e, x.shape), axis=axis, keepdims=True, initial=0.0)
        else:
            input_error = 0.0
        g = a.gamma(n + 4)
        s = np.sqrt(square)
        e = 3 * g * s * r + (g * r + input_error) ** 2 + 2 * s * input_error + 2 * a.u * square + a.smallest
        v = v.plus(e * scale)
    return m, v


def _correction(args: dict[str, Any]) -> float:
    if args.get("correction") is not None:
        return float(args["correction"])
    return 1.0 if args.get("unbiased", True) else 0.0


def _variance(c: Context, self: Any, dim: Any, keepdim: bool, correction: float) -> tuple[Rounded, Rounded]:
    axis = axes(dim, self.ndim)
    m, v = moments(c.take(self), axis, correction)

    def drop(a: np.ndarray) -> np.ndarray:
        return a if keepdim else np.squeeze(a, axis=axis)

    return m.map(drop), v.map(drop)


def _register_variance() -> None:
    def make(root: bool, both: bool, style: str) -> Any:
        def apply(c: Context, self: Any, dim: Any = None, unbiased: bool = True, keepdim: bool = False,
                  correction: Any = None) -> Any:  # fmt: skip
            if style == "default" and isinstance(dim, bool):
                dim, unbiased = None, dim
            ddof = _correction({"correction": correction, "unbiased": unbiased})
            m, v = _variance(c, self, dim, keepdim, ddof)
            v = f.sqrt(v) if root else v
            return [v, m] if both else v

        return apply

    for root, stem in ((False, "var"), (True, "std")):
        for both, name in ((False, stem), (True, f"{stem}_mean")):
            for style in ("default", "dim", "correction"):
                rule(f"{name}.{style}")(make(root, both, style))


_register_variance()


def _wide(a: np.ndarray) -> np.ndarray:
    """`a` in a type that NumPy can order: half types exactly as float32."""
    return a.astype(np.float32) if is_float(a.dtype) and a.dtype.itemsize <= 2 else a


@rule("amax.default", "max.default")
def amax(c: Context, self: Any, dim: Any = None, keepdim: bool = False) -> Any:
    return chosen(np.max(self, axis=axes(dim, self.ndim), keepdims=keepdim))


@rule("amin.default", "min.default")
def amin(c: Context, self: Any, dim: Any = None, keepdim: bool = False) -> Any:
    return chosen(np.min(self, axis=axes(dim, self.ndim), keepdims=keepdim))


@rule("aminmax.default")
def aminmax(c: Context, self: Any, dim: Any = None, keepdim: bool = False) -> Any:
    return [amin(c, self, dim, keepdim), amax(c, self, dim, keepdim)]


rule("max.other")(lambda c, self, other: chosen(np.maximum(self, other)))
rule("min.other")(lambda c, self, other: chosen(np.minimum(self, other)))


def _place(self: np.ndarray, value: np.ndarray, dim: int, index: int) -> Any:
    """A test for recorded positions: the number at each is the extreme that is sought (NaN for NaN)."""

    def accept(recorded: np.ndarray) -> np.ndarray:
        shape, recorded = recorded.shape, recorded.reshape(value.shape)
        inside = (recorded >= 0) & (recorded < max(self.shape[dim], 1))
        found = np.take_along_axis(self, np.where(inside, recorded, 0), axis=dim)
        return (inside & ((found == value) | ((found != found) & (value != value)))).reshape(shape)

    return accept


def _with_index(c: Context, self: Any, dim: int, keepdim: bool, pick: Any, arg: Any) -> list[Expected]:
    if self.ndim == 0:
        return [c.same(self, 0), c.same(np.zeros((), np.int64), 1)]
    wide = _wide(self)
    value, place = pick(wide, axis=dim, keepdims=True), arg(wide, axis=dim, keepdims=True)
    accept = _place(wide, value, dim, 1)
    final = value if keepdim else np.squeeze(value, dim)
    return [
        chosen(final.astype(self.dtype)),
        Expected(place if keepdim else np.squeeze(place, dim), 0.0, accept=accept),
    ]


@rule("max.dim")
def max_dim(c: Context, self: Any, dim: int, keepdim: bool = False) -> Any:
    return _with_index(c, self, dim, keepdim, np.max, np.argmax)


@rule("min.dim")
def min_dim(c: Context, self: Any, dim: int, keepdim: bool = False) -> Any:
    return _with_index(c, self, dim, keepdim, np.min, np.argmin)


def _arg(c: Context, self: Any, dim: Any, keepdim: bool, pick: Any, arg: Any) -> Any:
    wide = _wide(self)
    if dim is None:
        flat = wide.reshape(-1)
        value, place = pick(flat, keepdims=True), np.asarray(arg(flat))
        return Expected(place.reshape((1,) * self.ndim if keepdim else ()), 0.0, accept=_place(flat, value, 0, 0))
    if self.ndim == 0:
        return np.zeros((), np.int64)
    value, place = pick(wide, axis=dim, keepdims=True), arg(wide, axis=dim, keepdims=keepdim)
    return Expected(place, 0.0, accept=_place(wide, value, dim, 0))


@rule("argmax.default")
def argmax(c: Context, self: Any, dim: Any = None, keepdim: bool = False) -> Any:
    return _arg(c, self, dim, keepdim, np.max, np.argmax)


@rule("argmin.default")
def argmin(c: Context, self: Any, dim: Any = None, keepdim: bool = False) -> Any:
    return _arg(c, self, dim, keepdim, np.min, np.argmin)


def _order(a: np.ndarray, dim: int, descending: bool) -> np.ndarray:
    """Stable order of the numbers along `dim`, NaN counted as the greatest."""
    if not descending:
        return np.argsort(a, axis=dim, kind="stable")
    back = np.argsort(np.flip(a, dim), axis=dim, kind="stable")
    return np.flip(a.shape[dim] - 1 - back, dim)


@rule("sort.default", "sort.stable")
def sort(c: Context, self: Any, dim: int = -1, descending: bool = False, stable: Any = None) -> Any:
    if self.ndim == 0:
        return [self, np.zeros((), np.int64)]
    wide = _wide(self)
    order = _order(wide, dim, descending)
    values = np.take_along_axis(wide, order, axis=dim)
    accept = None if stable else _permutation(_place(wide, values, dim, 1), dim)
    return [chosen(values.astype(self.dtype)), Expected(order, 0.0, accept=accept)]


def _permutation(placed: Any, dim: int) -> Any:
    def accept(recorded: np.ndarray) -> np.ndarray:
        ordered = np.sort(recorded, axis=dim)
        distinct = np.all(np.diff(ordered, axis=dim) > 0, axis=dim, keepdims=True)
        return placed(recorded) & distinct

    return accept


rule("sort.stable")(lambda c, self, stable=None, dim=-1, descending=False: sort(c, self, dim, descending, stable))


@rule("argsort.default")
def argsort(c: Context, self: Any, dim: int = -1, descending: bool = False) -> Any:
    return sort(c, self, dim, descending)[1]


@rule("topk.default")
def topk(c: Context, self: Any, k: int, dim: int = -1, largest: bool = True, sorted: bool = True) -> Any:
    if not sorted:
        return None
    if self.ndim == 0:
        return [self, np.zeros((), np.int64)]
    wide = _wide(self)
    first = (slice(None),) * (dim % self.ndim) + (slice(0, k),)
    order = _order(wide, dim, largest)[first]
    values = np.take_along_axis(wide, order, axis=dim)
    accept = _permutation(_place(wide, values, dim, 1), dim)
    return [chosen(values.astype(self.dtype)), Expected(order, 0.0, accept=accept)]


@rule("median.default")
def median(c: Context, self: Any) -> Any:
    """The lower of the two middle numbers; NaN if there is one."""
    flat = np.sort(_wide(self).reshape(-1))
    if flat.size == 0:
        return None
    return (flat[-1] if flat[-1] != flat[-1] else flat[(flat.size - 1) // 2]).astype(self.dtype)


@rule("cumsum.default")
def cumsum(c: Context, self: Any, dim: int, dtype: Any = None) -> Any:
    """Prefix sums: the i-th adds i terms."""
    if self.ndim == 0:
        return self
    if c.exact():
        return np.cumsum(self, axis=dim, dtype=c.dtypes[0])
    x = c.take(self)
    v = np.cumsum(x.v, axis=dim)
    if not c.bounds:
        return Rounded(v, None, c)
    e = c.gamma(self.shape[dim]) * np.cumsum(np.abs(x.v), axis=dim)
    return Rounded(v, e if x.e is None else e + np.cumsum(np.broadcast_to(x.e, v.shape), axis=dim), c)


@rule("prod.default", "prod.dim_int")
def prod(c: Context, self: Any, dim: Any = None, keepdim: bool = False, dtype: Any = None) -> Any:
    """A product of n numbers: n - 1 roundings."""
    axis = axes(dim, self.ndim)
    if c.exact():
        return np.prod(self, axis=axis, keepdims=keepdim, dtype=c.dtypes[0])
    v = np.prod(c.take(self).v, axis=axis, keepdims=keepdim)
    n = self.size // max(np.size(v), 1)
    # Partial products may underflow or overflow although the whole does not.
    if not c.bounds:
        return Rounded(v, None, c)
    big = np.prod(np.maximum(np.abs(c.take(self).v), 1.0), axis=axis, keepdims=keepdim)
    return Rounded(v, c.gamma(n + 1) * np.abs(v) + n * c.smallest * big, c)


@rule("any.default", "any.dim", "any.dims")
def any_(c: Context, self: Any, dim: Any = None, keepdim: bool = False) -> Any:
    return np.any(self != 0, axis=axes(dim, self.ndim), keepdims=keepdim)


@rule("all.default", "all.dim", "all.dims")
def all_(c: Context, self: Any, dim: Any = None, keepdim: bool = False) -> Any:
    return np.all(self != 0, axis=axes(dim, self.ndim), keepdims=keepdim)


@rule("count_nonzero.default", "count_nonzero.dim_IntList")
def count_nonzero(c: Context, self: Any, dim: Any = None) -> Any:
    return np.asarray(np.count_nonzero(self, axis=axes(dim, self.ndim)))


@rule("bincount.default")
def bincount(c: Context, self: Any, weights: Any = None, minlength: int = 0) -> Any:
    return np.bincount(self, minlength=minlength) if weights is None else None


@rule("histc.default")
def histc(c: Context, self: Any, bins: int = 100, min: Any = 0, max: Any = 0) -> Any:
    """Counts per bin; judged where no number lies so near an inner edge that rounding could move it across."""
    if max <= min:
        return None
    x = c.take(self).v
    at = (x[(x >= min) & (x <= max)] - min) / (max - min) * bins
    place = np.minimum(np.floor(at), bins - 1)
    off = np.abs(at - np.rint(at))
    if np.any((off < 1e-5 * bins) & (off > 0) & (at < bins) & (at > 0)):
        return None
    return np.bincount(place.astype(np.int64), minlength=bins)


@rule("linalg_vector_norm.default", "_foreach_norm.each")
def vector_norm(c: Context, self: Any, ord: Any = 2, dim: Any = None, keepdim: bool = False, dtype: Any = None) -> Any:
    """``(sum |x|^p)^(1/p)``, with its limits at p = 0 and infinity."""
    axis = axes(dim, self.ndim)
    x = c.take(np.abs(self))
    if ord in (np.inf, -np.inf):
        pick = np.max if ord > 0 else np.min
        return Expected(pick(x.v, axis=axis, keepdims=keepdim), 0.0)
    if ord == 0:
        return np.sum(x.v != 0, axis=axis, keepdims=keepdim).astype(np.float64)
    if ord == 1:
        return x.sum(axis, keepdim)
    if ord == 2:
        return f.sqrt((x * x).sum(axis, keepdim))
    return f.power(f.power(x, c.take(float(ord))).sum(axis, keepdim), c.take(1.0 / ord))


@rule("norm.Scalar", "norm.ScalarOpt_dim")
def norm(c: Context, self: Any, p: Any = 2, dim: Any = None, keepdim: bool = False) -> Any:
    return vector_norm(c, self, 2 if p is None else p, dim, keepdim)


@rule("logsumexp.default")
def logsumexp(c: Context, self: Any, dim: Any, keepdim: bool = False) -> Any:
    """``m + log sum exp(x - m)`` with m the maximum."""
    axis = axes(dim, self.ndim)
    x = c.take(self)
    m = np.max(x.v, axis=axis, keepdims=True)
    m = np.where(np.isfinite(m), m, 0.0)
    out = f.log(f.exp(x - Rounded(m, None, c)).sum(axis, True)) + Rounded(m, None, c)
    return out if keepdim else out.map(lambda a: np.squeeze(a, axis))
