"""Rules for pooling and resampling."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np

from weightwalk.readings.referees.base import Context, Expected, chosen, rule
from weightwalk.readings.referees.indexing import add_at
from weightwalk.readings.referees.rounded import Rounded


def _each(value: Any, n: int, default: Any = None) -> tuple[int, ...]:
    if isinstance(value, int):
        return (value,) * n
    value = tuple(value) if value is not None else ()
    if not value:
        return default
    return value * n if len(value) == 1 else value


def _pooled_sizes(size: Any, kernel: Any, stride: Any, pad: Any, dilation: Any, ceil_mode: bool) -> list[int]:
    """Windows per axis; with ceil_mode a last, partial window is kept if it starts inside the input or left padding."""
    out = []
    for s, k, st, p, d in zip(size, kernel, stride, pad, dilation, strict=True):
        room = s + 2 * p - d * (k - 1) - 1
        n = (-(-room // st) if ceil_mode else room // st) + 1
        if ceil_mode and (n - 1) * st >= s + p:
            n -= 1
        out.append(n)
    return out


def _windows(x: np.ndarray, n: int, kernel: Any, stride: Any, pad: Any, dilation: Any, out: Any, fill: Any) -> Any:
    """Every window's numbers on a new last axis, `fill` outside, and each one's flat position in the input."""
    size = x.shape[-n:]
    places = np.arange(math.prod(size)).reshape(size)
    ends = [
        max(0, (o - 1) * st + d * (k - 1) + 1 - s - p)
        for o, st, d, k, s, p in zip(out, stride, dilation, kernel, size, pad, strict=True)
    ]
    widths = list(zip(pad, ends, strict=True))
    xp = np.pad(x, [(0, 0)] * (x.ndim - n) + widths, constant_values=fill)
    pp = np.pad(places, widths, constant_values=-1)
    cuts = []
    for tap in itertools.product(*(range(k) for k in kernel)):
        cuts.append(
            tuple(
                slice(t * d, t * d + (o - 1) * st + 1, st)
                for t, d, st, o in zip(tap, dilation, stride, out, strict=True)
            )
        )
    return np.stack([xp[(..., *cut)] for cut in cuts], -1), np.stack([pp[cut] for cut in cuts], -1)


def _max_pool(n: int) -> Any:
    def apply(c: Context, self: Any, kernel_size: Any, stride: Any = (), padding: Any = 0, dilation: Any = 1,
              ceil_mode: bool = False) -> Any:  # fmt: skip
        """The greatest number of each window and its flat position (any of them, if it occurs twice)."""
        kernel = _each(kernel_size, n)
        st, p, d = _each(stride, n, kernel), _each(padding, n), _each(dilation, n)
        out = _pooled_sizes(self.shape[-n:], kernel, st, p, d, ceil_mode)
        x = self.astype(np.float32) if self.dtype.itemsize == 2 else self
        low = -np.inf if x.dtype.kind == "f" else np.iinfo(x.dtype).min
        w, places = _windows(x, n, kernel, st, p, d, out, low)
        best = w.max(axis=-1)
        first = np.take_along_axis(np.broadcast_to(places, w.shape), w.argmax(-1)[..., None], -1)[..., 0]
        flat = x.reshape(*x.shape[:-n], -1)

        def accept(recorded: np.ndarray) -> np.ndarray:
            inside = (places == recorded[..., None]).any(-1) & (recorded >= 0)
            at = np.where(inside, recorded, 0).reshape(*x.shape[:-n], -1)
            found = np.take_along_axis(flat, at, -1).reshape(best.shape)
            return inside & ((found == best) | ((found != found) & (best != best)))

        return [chosen(best.astype(self.dtype)), Expected(first, 0.0, accept=accept)]

    return apply


rule("max_pool2d_with_indices.default")(_max_pool(2))
rule("max_pool3d_with_indices.default")(_max_pool(3))


def _max_pool_backward(n: int) -> Any:
    def apply(c: Context, grad_output: Any, self: Any, kernel_size: Any, stride: Any, padding: Any, dilation: Any,
              ceil_mode: bool, indices: Any) -> Any:  # fmt: skip
        """Each window's gradient goes to the position of its maximum; overlapping windows add up."""
        lead = self.shape[:-n]
        flat = indices.reshape(math.prod(lead), -1)
        rows = np.arange(flat.shape[0])[:, None]
        zero = c.const(np.zeros((flat.shape[0], math.prod(self.shape[-n:]))))
        out = add_at(c, zero, (rows, flat), c.take(grad_output.reshape(flat.shape)))
        return out.reshape(self.shape)

    return apply


rule("max_pool2d_with_indices_backward.default")(_max_pool_backward(2))
rule("max_pool3d_with_indices_backward.default")(_max_pool_backward(3))


def _divisors(size: Any, kernel: Any, st: Any, p: Any, out: Any, include_pad: bool, override: Any) -> np.ndarray:
    """By what each window's sum is divided: its size clipped to the padded input, or to the input itself."""
    if override:
        return np.full(out, float(override))
    total = np.ones(())
    for s, k, step, pad, o in zip(size, kernel, st, p, out, strict=True):
        start = np.arange(o) * step - pad
        end = np.minimum(start + k, s + pad)
        if not include_pad:
            start, end = np.maximum(start, 0), np.minimum(end, s)
        total = np.multiply.outer(total, (end - start).astype(np.float64))
    return total


def _avg_pool(n: int) -> Any:
    def apply(c: Context, self: Any, kernel_size: Any, stride: Any = (), padding: Any = 0, ceil_mode: bool = False,
              count_include_pad: bool = True, divisor_override: Any = None) -> Any:  # fmt: skip
        kernel = _each(kernel_size, n)
        st, p = _each(stride, n, kernel), _each(padding, n)
        size = self.shape[-n:]
        out = _pooled_sizes(size, kernel, st, p, (1,) * n, ceil_mode)
        w, _ = _windows(c.take(self).v, n, kernel, st, p, (1,) * n, out, 0.0)
        by = _divisors(size, kernel, st, p, out, count_include_pad, divisor_override)
        return Rounded(w, None, c).sum(-1) / c.const(by)

    return apply


def _avg_pool_backward(n: int) -> Any:
    def apply(c: Context, grad_output: Any, self: Any, kernel_size: Any, stride: Any, padding: Any, ceil_mode: bool,
              count_include_pad: bool, divisor_override: Any) -> Any:  # fmt: skip
        kernel = _each(kernel_size, n)
        st, p = _each(stride, n, kernel), _each(padding, n)
        size = self.shape[-n:]
        out = _pooled_sizes(size, kernel, st, p, (1,) * n, ceil_mode)
        _, places = _windows(np.zeros(size), n, kernel, st, p, (1,) * n, out, 0.0)
        by = _divisors(size, kernel, st, p, out, count_include_pad, divisor_override)
        share = c.take(grad_output) / c.const(by)
        return scattered(c, share, places, self.shape, n)

    return apply


def scattered(c: Context, share: Rounded, places: np.ndarray, shape: tuple[int, ...], n: int) -> Rounded:
    """Each window's share added at each of its positions (-1: in the padding, dropped)."""
    lead = math.prod(shape[:-n])
    cells = math.prod(shape[-n:])
    inside = places.reshape(-1) >= 0
    at = places.reshape(-1)[inside]
    k = places.shape[-1]

    def rows(a: np.ndarray) -> np.ndarray:
        return np.repeat(a.reshape(lead, -1), k, axis=1)[:, inside]

    zero = c.const(np.zeros((lead, cells)))
    return add_at(c, zero, (np.arange(lead)[:, None], at[None, :]), share.map(rows)).reshape(shape)


rule("avg_pool2d.default")(_avg_pool(2))
rule("avg_pool3d.default")(_avg_pool(3))
rule("avg_pool1d.default")(_avg_pool(1))
rule("avg_pool2d_backward.default")(_avg_pool_backward(2))
rule("avg_pool3d_backward.default")(_avg_pool_backward(3))


def _adaptive_cuts(size: int, out: int) -> list[slice]:
    return [slice(i * size // out, -(-(i + 1) * size // out)) for i in range(out)]


def _adaptive_avg_pool(n: int) -> Any:
    def apply(c: Context, self: Any, output_size: Any) -> Any:
        """The mean of each cell, cell i of m running from ``floor(i s / m)`` to ``ceil((i + 1) s / m)``."""
        outs = _each(output_size, n)
        x = c.take(self)
        v, e = np.zeros((*self.shape[:-n], *outs)), np.zeros((*self.shape[:-n], *outs))
        cuts = [list(enumerate(_adaptive_cuts(s, o))) for s, o in zip(self.shape[-n:], outs, strict=True)]
        for cell in itertools.product(*cuts):
            m = x[(..., *(cut for _, cut in cell))].mean(tuple(range(-n, 0)))
            # Kernels divide by each axis's length in turn.
            here = (..., *(i for i, _ in cell))
            v[here], e[here] = m.v, m.error + n * c.u * np.abs(m.v)
        return Rounded(v, e, c)

    return apply


def _adaptive_avg_pool_backward(n: int) -> Any:
    def apply(c: Context, grad_output: Any, self: Any) -> Any:
        """Each cell's gradient, shared equally among its inputs."""
        g = c.take(grad_output)
        out = c.const(np.zeros(self.shape))
        v, e = out.v, np.zeros(self.shape)
        size, count = np.zeros(self.shape), np.zeros(self.shape)
        cuts = [
            list(enumerate(_adaptive_cuts(s, o))) for s, o in zip(self.shape[-n:], grad_output.shape[-n:], strict=True)
        ]
        for cell in itertools.product(*cuts):
            here, there = (..., *(i for i, _ in cell)), (..., *(cut for _, cut in cell))
            cells = math.prod(cut.stop - cut.start for _, cut in cell)
            part = (g[here] / float(cells)).reshape(*self.shape[:-n], *(1,) * n)
            v[there] += part.v
            e[there] += part.error + n * c.u * np.abs(part.v)
            size[there] += np.abs(part.v)
            count[there] += 1
        if c.half:
            e += np.where(count > 1, count, 0) * c.half_unit * size
        return Rounded(v, e + (count + 1) * c.u * size, c)

    return apply


rule("_adaptive_avg_pool2d.default", "adaptive_avg_pool2d.default")(_adaptive_avg_pool(2))
rule("_adaptive_avg_pool3d.default")(_adaptive_avg_pool(3))
rule("adaptive_avg_pool1d.default")(_adaptive_avg_pool(1))
rule("_adaptive_avg_pool2d_backward.default")(_adaptive_avg_pool_backward(2))
rule("_adaptive_avg_pool3d_backward.default")(_adaptive_avg_pool_backward(3))


@rule("adaptive_max_pool2d.default")
def adaptive_max_pool2d(c: Context, self: Any, output_size: Any) -> Any:
    """The greatest number of each cell (cells as in adaptive averaging) and its flat position."""
    outs = _each(output_size, 2)
    h, w = self.shape[-2:]
    x = self.astype(np.float32) if self.dtype.itemsize == 2 else self
    best = np.zeros((*self.shape[:-2], *outs), x.dtype)
    place = np.zeros(best.shape, np.int64)
    for i, rows in enumerate(_adaptive_cuts(h, outs[0])):
        for j, cols in enumerate(_adaptive_cuts(w, outs[1])):
            cell = x[..., rows, cols].reshape(*x.shape[:-2], -1)
            wide = cols.stop - cols.start
            at = cell.argmax(-1)
            best[..., i, j] = cell.max(-1)
            place[..., i, j] = (at // wide + rows.start) * w + at % wide + cols.start
    flat = x.reshape(*x.shape[:-2], -1)

    def accept(recorded: np.ndarray) -> np.ndarray:
        inside = (recorded >= 0) & (recorded < h * w)
        at = np.where(inside, recorded, 0).reshape(*x.shape[:-2], -1)
        found = np.take_along_axis(flat, at, -1).reshape(best.shape)
        return inside & ((found == best) | ((found != found) & (best != best)))

    return [Expected(best.astype(self.dtype), 0.0), Expected(place, 0.0, accept=accept)]


@rule("adaptive_max_pool2d_backward.default")
def adaptive_max_pool2d_backward(c: Context, grad_output: Any, self: Any, indices: Any) -> Any:
    """Each cell's gradient goes to the position of its maximum."""
    lead, cells = math.prod(self.shape[:-2]), math.prod(self.shape[-2:])
    flat = indices.reshape(lead, -1)
    zero = c.const(np.zeros((lead, cells)))
    out = add_at(c, zero, (np.arange(lead)[:, None], flat), c.take(grad_output.reshape(flat.shape)))
    return out.reshape(self.shape)


def _nearest_places(size: Any, out: Any, scales: Any) -> tuple[np.ndarray, ...]:
    """Source index per axis: ``floor(i / scale)`` in float32, as the kernel works it out."""
    index = []
    for s, o, scale in zip(size, out, scales, strict=True):
        ratio = np.float32(1.0 / scale) if scale else np.float32(s) / np.float32(o)
        index.append(np.minimum(np.floor(np.arange(o, dtype=np.float32) * ratio).astype(np.int64), s - 1))
    return np.ix_(*index)


def _upsample_nearest(n: int) -> None:
    def forward(c: Context, self: Any, output_size: Any, *scales: Any) -> Any:
        scales = (*scales, *(None,) * (n - len(scales)))
        return self[(..., *_nearest_places(self.shape[-n:], output_size, scales))]

    def backward(c: Context, grad_output: Any, output_size: Any, input_size: Any, *scales: Any) -> Any:
        scales = (*scales, *(None,) * (n - len(scales)))
        places = _nearest_places(input_size[-n:], output_size, scales)
        zero = c.const(np.zeros(tuple(input_size)))
        lead = np.ix_(*(np.arange(s) for s in input_size[:-n]))
        lead = tuple(a.reshape(*a.shape, *(1,) * n) for a in lead)
        return add_at(c, zero, (*lead, *places), c.take(grad_output))

    rule(f"upsample_nearest{n}d.default")(forward)
    rule(f"upsample_nearest{n}d_backward.default")(backward)


for _n in (1, 2, 3):
    _upsample_nearest(_n)
