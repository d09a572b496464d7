"""Rules for ops that only move numbers: views, copies, casts, gathers, masks, and tensors made from nothing.

Their outputs must hold the very numbers of their inputs, so the rules work on the recorded dtype and never convert.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from weightwalk.readings.referees.base import Context, Expected, dtype_of, is_float, rule

UNSET = "memory that was never set"
DRAWN = "drawn at random"


@rule("alias.default", "detach.default", "lift_fresh.default", "lift.default", "clone.default", "contiguous.default",
      "_to_copy.default", "_reshape_copy.default", "positive.default", "lift_fresh_copy.default",
      "view_as.default", "resolve_conj.default", "resolve_neg.default")  # fmt: skip
def same(c: Context, self: Any, *_: Any, **__: Any) -> Any:
    return self


@rule("view.default", "_unsafe_view.default", "reshape.default", "_reshape_alias.default", "view_copy.default")
def view(c: Context, self: Any, size: Any, *_: Any) -> Any:
    return self.reshape(_sized(tuple(size), self.size))


def _sized(size: tuple[int, ...], total: int) -> tuple[int, ...]:
    """`size` with its -1 worked out; NumPy refuses to do so for empty arrays."""
    if -1 not in size:
        return size
    rest = math.prod(s for s in size if s != -1)
    return tuple(total // rest if s == -1 else s for s in size)


@rule("view.dtype")
def view_dtype(c: Context, self: Any, dtype: str) -> Any:
    return np.ascontiguousarray(self).view(dtype_of(dtype)).reshape(*self.shape[:-1], -1)


@rule("view_as_complex.default")
def view_as_complex(c: Context, self: Any) -> Any:
    return np.ascontiguousarray(self).view(c.dtypes[0])[..., 0]


@rule("view_as_real.default")
def view_as_real(c: Context, self: Any) -> Any:
    return np.stack([self.real, self.imag], axis=-1)


@rule("t.default", "numpy_T.default")
def t(c: Context, self: Any) -> Any:
    return self.T


@rule("transpose.int", "transpose_.default", "swapaxes.default")
def transpose(c: Context, self: Any, dim0: int, dim1: int) -> Any:
    return np.swapaxes(self, dim0, dim1) if self.ndim else self


@rule("permute.default")
def permute(c: Context, self: Any, dims: Any) -> Any:
    return self.transpose(dims)


@rule("expand.default")
def expand(c: Context, self: Any, size: Any, implicit: bool = False) -> Any:
    lead = len(size) - self.ndim
    return np.broadcast_to(self, tuple(self.shape[i - lead] if s == -1 else s for i, s in enumerate(size)))


@rule("unsqueeze.default")
def unsqueeze(c: Context, self: Any, dim: int) -> Any:
    return np.expand_dims(self, dim)


@rule("squeeze.default", "squeeze.dim", "squeeze.dims")
def squeeze(c: Context, self: Any, dim: Any = None) -> Any:
    dims = range(self.ndim) if dim is None else [dim] if isinstance(dim, int) else dim
    return self.squeeze(tuple(d % self.ndim for d in dims if self.ndim and self.shape[d] == 1))


@rule("slice.Tensor")
def slice_(c: Context, self: Any, dim: int = 0, start: Any = None, end: Any = None, step: int = 1) -> Any:
    return self[_along(self, dim, slice(start, end, step))]


def _along(a: np.ndarray, dim: int, index: Any) -> tuple[Any, ...]:
    return (slice(None),) * (dim % a.ndim) + (index,)


@rule("select.int")
def select(c: Context, self: Any, dim: int, index: int) -> Any:
    return self[(*_along(self, dim, index), ...)]


@rule("narrow.default")
def narrow(c: Context, self: Any, dim: int, start: int, length: int) -> Any:
    return self[_along(self, dim, slice(start, start + length))]


@rule("unbind.int")
def unbind(c: Context, self: Any, dim: int = 0) -> Any:
    return [select(c, self, dim, i) for i in range(self.shape[dim])]


@rule("split.Tensor", "unsafe_split.Tensor", "split_copy.Tensor")
def split(c: Context, self: Any, split_size: int, dim: int = 0) -> Any:
    n = self.shape[dim]
    starts = range(0, max(n, 1), split_size) if split_size else [0]
    return [narrow(c, self, dim, s, min(split_size, n - s)) for s in starts]


@rule("split_with_sizes.default", "unsafe_split_with_sizes.default")
def split_with_sizes(c: Context, self: Any, split_sizes: Any, dim: int = 0) -> Any:
    starts = np.cumsum([0, *split_sizes])
    return [narrow(c, self, dim, int(s), size) for s, size in zip(starts, split_sizes, strict=False)]


@rule("diagonal.default")
def diagonal(c: Context, self: Any, offset: int = 0, dim1: int = 0, dim2: int = 1) -> Any:
    return np.diagonal(self, offset, dim1, dim2)


@rule("unfold.default")
def unfold(c: Context, self: Any, dimension: int, size: int, step: int) -> Any:
    windows = np.lib.stride_tricks.sliding_window_view(self, size, axis=dimension)
    return windows[_along(self, dimension, slice(None, None, step))]


@rule("as_strided.default", "_unsafe_as_strided.default")
def as_strided(c: Context, self: Any, size: Any, stride: Any, storage_offset: Any = None) -> Any:
    """A window on the whole memory: worked out only where `self` is seen to be all of it, in order."""
    reach = sum((n - 1) * s for n, s in zip(size, stride, strict=True)) if 0 not in size else -1
    offset = storage_offset or 0
    if not self.flags.c_contiguous or offset + reach >= self.size:
        return None
    flat = self.reshape(-1)[offset:]
    return np.lib.stride_tricks.as_strided(flat, tuple(size), [s * self.itemsize for s in stride], writeable=False)


@rule("flip.default")
def flip(c: Context, self: Any, dims: Any) -> Any:
    return np.flip(self, tuple(dims))


@rule("roll.default")
def roll(c: Context, self: Any, shifts: Any, dims: Any = ()) -> Any:
    return np.roll(self, tuple(shifts), tuple(dims)) if dims else np.roll(self, shifts[0])


@rule("repeat.default")
def repeat(c: Context, self: Any, repeats: Any) -> Any:
    return np.tile(self, tuple(repeats))


@rule("repeat_interleave.self_int")
def repeat_interleave(c: Context, self: Any, repeats: int, dim: Any = None, output_size: Any = None) -> Any:
    return np.repeat(self, repeats, dim)


@rule("cat.default", "concat.default")
def cat(c: Context, tensors: Any, dim: int = 0) -> Any:
    kept = [x for x in tensors if x.shape != (0,)] or tensors
    return np.concatenate([x.astype(c.dtypes[0], copy=False) for x in kept], axis=dim)


@rule("stack.default")
def stack(c: Context, tensors: Any, dim: int = 0) -> Any:
    return np.stack(tensors, axis=dim)


@rule("constant_pad_nd.default")
def constant_pad_nd(c: Context, self: Any, pad: Any, value: Any = 0) -> Any:
    pairs = [(0, 0)] * (self.ndim - len(pad) // 2) + [(pad[i], pad[i + 1]) for i in range(len(pad) - 2, -1, -2)]
    out = np.full([n + a + b for n, (a, b) in zip(self.shape, pairs, strict=True)], value, dtype=self.dtype)
    into = tuple(slice(max(a, 0), size - max(b, 0)) for (a, b), size in zip(pairs, out.shape, strict=True))
    taken = tuple(slice(max(-a, 0), n - max(-b, 0)) for (a, b), n in zip(pairs, self.shape, strict=True))
    out[into] = self[taken]
    return out


def _pad_like(mode: str) -> Any:
    def apply(c: Context, self: Any, padding: Any) -> Any:
        pairs = [(padding[i], padding[i + 1]) for i in range(len(padding) - 2, -1, -2)]
        return np.pad(self, [(0, 0)] * (self.ndim - len(pairs)) + pairs, mode=mode)  # type: ignore[call-overload]

    return apply


rule("reflection_pad1d.default", "reflection_pad2d.default", "reflection_pad3d.default")(_pad_like("reflect"))
rule("replication_pad1d.default", "replication_pad2d.default", "replication_pad3d.default")(_pad_like("edge"))


@rule("pixel_shuffle.default")
def pixel_shuffle(c: Context, self: Any, upscale_factor: int) -> Any:
    *n, ch, h, w = self.shape
    r = upscale_factor
    x = self.reshape(*n, ch // r**2, r, r, h, w)
    k = len(n)
    return x.transpose(*range(k), k, k + 3, k + 1, k + 4, k + 2).reshape(*n, ch // r**2, h * r, w * r)


@rule("pixel_unshuffle.default")
def pixel_unshuffle(c: Context, self: Any, downscale_factor: int) -> Any:
    *n, ch, h, w = self.shape
    r, k = downscale_factor, self.ndim - 3
    x = self.reshape(*n, ch, h // r, r, w // r, r)
    return x.transpose(*range(k), k, k + 2, k + 4, k + 1, k + 3).reshape(*n, ch * r * r, h // r, w // r)


@rule("_conj.default", "conj_physical.default")
def conj(c: Context, self: Any) -> Any:
    return np.conj(self)


@rule("tril.default")
def tril(c: Context, self: Any, diagonal: int = 0) -> Any:
    return np.tril(self, diagonal)


@rule("triu.default")
def triu(c: Context, self: Any, diagonal: int = 0) -> Any:
    return np.triu(self, diagonal)


@rule("where.self", "where.ScalarSelf", "where.ScalarOther", "where.Scalar")
def where(c: Context, condition: Any, self: Any, other: Any) -> Any:
    return np.where(condition, _cast(c, self), _cast(c, other))


def _cast(c: Context, x: Any) -> np.ndarray:
    """`x` in the output's dtype."""
    return x.astype(c.dtypes[0], copy=False) if isinstance(x, np.ndarray) else np.asarray(x).astype(c.dtypes[0])


@rule("masked_fill.Scalar", "masked_fill.Tensor")
def masked_fill(c: Context, self: Any, mask: Any, value: Any) -> Any:
    return np.where(mask, _cast(c, value), self)


@rule("masked_select.default")
def masked_select(c: Context, self: Any, mask: Any) -> Any:
    a, m = np.broadcast_arrays(self, mask)
    return a[m]


@rule("masked_scatter.default")
def masked_scatter(c: Context, self: Any, mask: Any, source: Any) -> Any:
    out, m = np.array(np.broadcast_arrays(self, mask)[0]), np.broadcast_to(mask, self.shape)
    out[m] = source.reshape(-1)[: int(m.sum())]
    return out


@rule("nonzero.default")
def nonzero(c: Context, self: Any) -> Any:
    return np.argwhere(self)


@rule("copy.default", "copy_.default", "_foreach_copy.each")
def copy(c: Context, self: Any, src: Any, non_blocking: bool = False) -> Any:
    return np.broadcast_to(src, self.shape)


@rule("fill.Scalar", "fill.Tensor", "fill_.Scalar", "fill_.Tensor")
def fill(c: Context, self: Any, value: Any) -> Any:
    return np.broadcast_to(_cast(c, value), self.shape)


@rule("zero.default", "zeros_like.default", "_foreach_zero.each")
def zeros_like(c: Context, self: Any, **_: Any) -> Any:
    return np.broadcast_to(np.zeros((), c.dtypes[0]), self.shape)


@rule("ones_like.default")
def ones_like(c: Context, self: Any, **_: Any) -> Any:
    return np.broadcast_to(np.ones((), c.dtypes[0]), self.shape)


@rule("full_like.default")
def full_like(c: Context, self: Any, fill_value: Any, **_: Any) -> Any:
    return np.broadcast_to(_cast(c, fill_value), self.shape)


@rule("zeros.default")
def zeros(c: Context, size: Any, **_: Any) -> Any:
    return np.broadcast_to(np.zeros((), c.dtypes[0]), tuple(size))


@rule("ones.default")
def ones(c: Context, size: Any, **_: Any) -> Any:
    return np.broadcast_to(np.ones((), c.dtypes[0]), tuple(size))


@rule("full.default")
def full(c: Context, size: Any, fill_value: Any, **_: Any) -> Any:
    return np.broadcast_to(_cast(c, fill_value), tuple(size))


@rule("new_zeros.default")
def new_zeros(c: Context, self: Any, size: Any, **_: Any) -> Any:
    return zeros(c, size)


@rule("new_ones.default")
def new_ones(c: Context, self: Any, size: Any, **_: Any) -> Any:
    return ones(c, size)


@rule("new_full.default")
def new_full(c: Context, self: Any, size: Any, fill_value: Any, **_: Any) -> Any:
    return full(c, size, fill_value)


@rule("scalar_tensor.default")
def scalar_tensor(c: Context, s: Any, **_: Any) -> Any:
    return _cast(c, s)


@rule("arange.default")
def arange(c: Context, end: Any, **_: Any) -> Any:
    return arange_step(c, 0, end, 1)


@rule("arange.start")
def arange_start(c: Context, start: Any, end: Any, **_: Any) -> Any:
    return arange_step(c, start, end, 1)


@rule("arange.start_step")
def arange_step(c: Context, start: Any, end: Any, step: Any = 1, **_: Any) -> Any:
    """``start + i step``: a product and a sum in the output's arithmetic."""
    n = max(0, math.ceil((end - start) / step))
    if c.exact():
        return (start + np.arange(n, dtype=np.int64) * step).astype(c.dtypes[0])
    return c.take(start) + c.const(np.arange(n)) * c.take(step)


@rule("linspace.default")
def linspace(c: Context, start: Any, end: Any, steps: int, **_: Any) -> Any:
    """``start + i step`` from the near end, ``step = (end - start)/(steps - 1)``."""
    if c.exact():
        return None
    a, b = c.take(start), c.take(end)
    i = np.arange(steps)
    k = np.where(i < steps // 2, i, steps - 1 - i)
    line = c.const(np.where(i < steps // 2, a.v, b.v)) + (b - a) / float(max(steps - 1, 1)) * c.const(k)
    v = a.v + (b.v - a.v) * i / max(steps - 1, 1)
    extra = line.error + 4 * c.u * (abs(a.v) + abs(b.v))
    return c.const(v).plus(extra) if c.bounds else c.const(v)


@rule("eye.default", "eye.m")
def eye(c: Context, n: int, m: Any = None, **_: Any) -> Any:
    return np.eye(n, m, dtype=c.dtypes[0])


@rule("_local_scalar_dense.default")
def local_scalar_dense(c: Context, self: Any) -> Any:
    return self.reshape(())


def _nothing_known(reason: str, *ops: str) -> None:
    def apply(c: Context, *_: Any, **__: Any) -> list[Expected]:
        return [Expected(np.zeros((), d if not is_float(d) else np.float64), None, reason) for d in c.dtypes]

    rule(*ops)(apply)


_nothing_known(UNSET, "empty.memory_format", "empty_like.default", "empty_strided.default", "new_empty.default",
               "new_empty_strided.default", "empty_permuted.default", "_efficientzerotensor.default",
               "resize_.default")  # fmt: skip
_nothing_known(DRAWN, "rand.default", "randn.default", "rand_like.default", "randn_like.default", "randint.default",
               "randint.low", "randint_like.default", "randint_like.low_dtype", "randperm.default", "bernoulli.default",
               "bernoulli.p", "bernoulli_.float", "bernoulli_.Tensor", "uniform_.default", "normal_.default",
               "random_.default", "random_.from", "random_.to", "exponential_.default", "multinomial.default",
               "normal.Tensor_Tensor", "normal.float_Tensor", "normal.Tensor_float", "rand.generator",
               "randn.generator", "log_normal_.default", "cauchy_.default", "geometric_.default",
               "poisson.default")  # fmt: skip
