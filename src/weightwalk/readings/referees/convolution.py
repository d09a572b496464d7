"""Rules for convolutions of any dimension, and their derivatives, as sums of shifted products.

One output is a sum of ``C/groups * kernel`` products (and the bias), so the bound is ``gamma_n`` of the absolute sum:
the convolution of ``|x|`` with ``|w|``. It holds for direct, im2col and oneDNN kernels, which add the same products in
another order; not for Winograd's algorithm, which PyTorch does not ask oneDNN for on the CPU.
"""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np

from weightwalk.readings.referees.base import Context, rule
from weightwalk.readings.referees.rounded import Rounded


def _each(value: Any, n: int) -> tuple[int, ...]:
    return (value,) * n if isinstance(value, int) else tuple(value) * (n if len(value) == 1 else 1)


class Geometry:
    """Where each kernel tap reads: stride, padding and dilation per axis, and the number of groups."""

    def __init__(self, stride: Any, padding: Any, dilation: Any, groups: int, kernel: tuple[int, ...]) -> None:
        n = len(kernel)
        self.stride, self.padding, self.dilation = (_each(v, n) for v in (stride, padding, dilation))
        self.groups, self.kernel = groups, kernel

    def taps(self, out: tuple[int, ...]) -> Any:
        """Each tap of the kernel with the slices of the padded input that it meets, one per output."""
        for tap in itertools.product(*(range(k) for k in self.kernel)):
            window = tuple(
                slice(t * d, t * d + (o - 1) * s + 1, s)
                for t, d, s, o in zip(tap, self.dilation, self.stride, out, strict=True)
            )
            yield (..., *tap), (..., *window)

    def padded(self, x: np.ndarray) -> np.ndarray:
        return np.pad(x, [(0, 0), (0, 0), *((p, p) for p in self.padding)])

    def cropped(self, x: np.ndarray) -> np.ndarray:
        return x[(..., *(slice(p, x.shape[2 + i] - p) for i, p in enumerate(self.padding)))]


def correlate(x: np.ndarray, w: np.ndarray, g: Geometry, out: tuple[int, ...]) -> np.ndarray:
    """``y[n, o, i] = sum over c, t of x[n, c, i s + t d - p] w[o, c, t]``, group by group: one matrix product each."""
    n, ch = x.shape[:2]
    xp = g.padded(x)
    taps = [xp[window] for _, window in g.taps(out)]
    cols = np.stack(taps, axis=2) if taps else np.zeros((n, ch, 0, *out))
    gr = g.groups
    cols = np.moveaxis(cols.reshape(n, gr, ch // gr * len(taps), -1), 1, 0)
    kernels = w.reshape(gr, w.shape[0] // gr, -1)
    y = np.matmul(kernels[:, None], cols)
    return np.moveaxis(y, 0, 1).reshape(n, w.shape[0], *out)


def spread(y: np.ndarray, w: np.ndarray, g: Geometry, size: tuple[int, ...]) -> np.ndarray:
    """The adjoint of :func:`correlate` in x: every output hands each tap's product back to where it was read."""
    n, gr = y.shape[0], g.groups
    out = y.shape[2:]
    ch = w.shape[1] * gr
    xp = np.zeros((n, ch, *(s + 2 * p for s, p in zip(size, g.padding, strict=True))))
    flat = y.reshape(n, gr, y.shape[1] // gr, -1)
    for tap, window in g.taps(out):
        part = w[tap].reshape(gr, w.shape[0] // gr, w.shape[1])
        xp[window] += np.matmul(part.transpose(0, 2, 1), flat).reshape(n, ch, *out)
    return g.cropped(xp)


def weight_gradient(x: np.ndarray, y: np.ndarray, g: Geometry, shape: tuple[int, ...]) -> np.ndarray:
    """The adjoint of :func:`correlate` in w: for each tap, outputs times what they read there, summed over places."""
    gr, n = g.groups, x.shape[0]
    xp = g.padded(x)
    dw = np.zeros(shape)
    yg = np.moveaxis(y.reshape(n, gr, y.shape[1] // gr, -1), 0, 2).reshape(gr, y.shape[1] // gr, -1)
    for tap, window in g.taps(y.shape[2:]):
        cols = np.moveaxis(xp[window].reshape(n, gr, x.shape[1] // gr, -1), 0, 2).reshape(gr, x.shape[1] // gr, -1)
        dw[tap] = np.matmul(yg, cols.transpose(0, 2, 1)).reshape(shape[:2])
    return dw


def _bounded(c: Context, function: Any, a: np.ndarray, b: np.ndarray, n: int, parts: int) -> Rounded:
    """A bilinear `function` of `a` and `b` whose outputs sum n products, stored `parts` times on the way.

    Half types round at each store: once per tap in col2im, once per sample in a weight gradient.
    """
    v = function(a, b)
    if not c.bounds:
        return Rounded(v, None, c)
    unit = c.gamma(n + 1) + (parts * c.half_unit if c.half else 0.0)
    return Rounded(v, unit * function(np.abs(a), np.abs(b)) + n * c.tiny, c)


def _wide(x: np.ndarray) -> np.ndarray:
    return x.astype(np.float64)


def _out_sizes(x: np.ndarray, g: Geometry) -> tuple[int, ...]:
    return tuple(
        (s + 2 * p - d * (k - 1) - 1) // st + 1
        for s, p, d, k, st in zip(x.shape[2:], g.padding, g.dilation, g.kernel, g.stride, strict=True)
    )


@rule("convolution.default", "_convolution.default", "convolution_overrideable.default")
def convolution(
    c: Context, input: Any, weight: Any, bias: Any, stride: Any, padding: Any, dilation: Any, transposed: bool,
    output_padding: Any, groups: int, *_: Any,
) -> Any:  # fmt: skip
    """Correlation with the kernel plus a bias per channel; transposed, the adjoint of that."""
    g = Geometry(stride, padding, dilation, groups, weight.shape[2:])
    x, w = _wide(input), _wide(weight)
    if input.ndim == weight.ndim - 1:
        x = x[None]
    if transposed:
        extra = _each(output_padding, len(g.kernel))
        size = tuple(
            (s - 1) * st - 2 * p + d * (k - 1) + 1 + e
            for s, st, p, d, k, e in zip(x.shape[2:], g.stride, g.padding, g.dilation, g.kernel, extra, strict=True)
        )
        n = weight.shape[0] // groups * int(np.prod(g.kernel))
        y = _bounded(c, lambda a, b: spread(a, b, g, size), x, w, n, int(np.prod(g.kernel)))
    else:
        out = _out_sizes(x, g)
        y = _bounded(c, lambda a, b: correlate(a, b, g, out), x, w, int(np.prod(weight.shape[1:])), 1)
    if bias is not None:
        b = c.take(bias.reshape(1, -1, *(1,) * len(g.kernel)))
        y = y + b
        if c.bounds:
            y = y.plus(c.gamma(int(np.prod(weight.shape[1:])) + 2) * np.abs(b.v))
    return y[0] if input.ndim == weight.ndim - 1 else y


@rule("convolution_backward.default")
def convolution_backward(
    c: Context, grad_output: Any, input: Any, weight: Any, bias_sizes: Any, stride: Any, padding: Any, dilation: Any,
    transposed: bool, output_padding: Any, groups: int, output_mask: Any,
) -> Any:  # fmt: skip
    """The adjoints of the convolution in its input, weight and bias; transposed, input and output change places."""
    g = Geometry(stride, padding, dilation, groups, weight.shape[2:])
    dy, x, w = _wide(grad_output), _wide(input), _wide(weight)
    taps = int(np.prod(g.kernel))
    places = int(np.prod(dy.shape[2:] if not transposed else x.shape[2:])) * x.shape[0]
    dx = dw = db = None
    if output_mask[0]:
        if transposed:
            n, out = weight.shape[1] * taps, x.shape[2:]
            dx = _bounded(c, lambda a, b: correlate(a, b, g, out), dy, w, n, 1)
        else:
            n = weight.shape[0] // groups * taps
            dx = _bounded(c, lambda a, b: spread(a, b, g, x.shape[2:]), dy, w, n, taps)
    if output_mask[1]:
        big, small = (dy, x) if transposed else (x, dy)
        dw = _bounded(c, lambda a, b: weight_gradient(a, b, g, weight.shape), big, small, places, x.shape[0])
    if output_mask[2]:
        db = c.take(grad_output).sum((0, *range(2, dy.ndim)))
    return [dx, dw, db]
