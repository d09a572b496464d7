"""Rules for layer, RMS, group and batch normalisation, forward and backward.

Every bound is the running error of the plain equation, with two extra terms that make it hold for the kernels'
rearrangements: the moments carry the bound of the updating algorithms (see ``reductions.moments``), and where a kernel
folds ``(x - m) r w + b`` into ``x s + (b - m s)``, the rounding of ``x`` and of ``m`` is paid at full size, because
their cancellation happens after the rounding.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from weightwalk.readings.referees import functions as f
from weightwalk.readings.referees.base import Context, rule
from weightwalk.readings.referees.reductions import moments
from weightwalk.readings.referees.rounded import SMALLEST, Rounded


def _lost(c: Context, x: Rounded, axis: tuple[int, ...]) -> Rounded:
    """`x` with NaN throughout a group that holds an infinity: what becomes of it depends on the algorithm."""
    finite = np.isfinite(x.v).all(axis=axis, keepdims=True)
    if not finite.all():
        c.loose = True
        x = Rounded(np.where(finite, x.v, np.nan), x.e, c)
    return _unbounded(c, x, axis)


def _unbounded(c: Context, x: Rounded, axis: tuple[int, ...]) -> Rounded:
    """`x` without a bound for the groups whose sum of squares may overflow on the way."""
    if not c.bounds:
        return x
    largest = np.finfo("float32" if c.half else c.dtype.name).max
    top = np.max(np.abs(x.v), axis=axis, keepdims=True, initial=0.0)
    risky = top > np.sqrt(largest / (4.0 * max(x.v.size // max(top.size, 1), 1)))
    return x.plus(np.where(risky, np.inf, 0.0) + np.zeros_like(x.v)) if risky.any() else x


def normalised(x: Rounded, m: Rounded, r: Rounded, weight: Rounded | None, bias: Rounded | None) -> Rounded:
    """``(x - m) r w + b``, or the same folded into one product and one sum."""
    c = x.a
    d = x - m
    if c.bounds:
        d = d.plus(3.0 * c.u * (np.abs(x.v) + np.abs(m.v)))
    y = d * r
    y = y if weight is None else y * weight
    if bias is None:
        return y
    y = y + bias
    return y.plus(2.0 * c.u * np.abs(bias.v)) if c.bounds else y


def textbook(x: Rounded, v: Rounded, axis: tuple[int, ...]) -> Rounded:
    """`v` with the error of ``mean(x^2) - mean(x)^2``, which some channels-last kernels use."""
    if not x.a.bounds:
        return v
    n = np.size(x.v) // max(np.size(v.v), 1)
    return v.plus(2.0 * x.a.gamma(n + 4) * np.mean(x.v * x.v, axis=axis, keepdims=True))


def _optional(c: Context, x: Any, shape: tuple[int, ...] | None = None) -> Rounded | None:
    return None if x is None else c.take(x if shape is None else x.reshape(shape))


@rule("native_layer_norm.default")
def layer_norm(c: Context, input: Any, normalized_shape: Any, weight: Any, bias: Any, eps: float) -> Any:
    """``(x - mean) / sqrt(var + eps) w + b`` over the last axes; also the mean and the reciprocal deviation."""
    axis = tuple(range(input.ndim - len(normalized_shape), input.ndim))
    x = c.take(input)
    x = _lost(c, x, axis)
    m, v = moments(x, axis)
    r = f.inverse_root(v + c.take(eps))
    return [normalised(x, m, r, _optional(c, weight), _optional(c, bias)), m, r]


def _input_gradient(x: Rounded, g: Rounded, m: Rounded, r: Rounded, axis: tuple[int, ...]) -> Rounded:
    """``r (g - mean g - xhat mean(g xhat))`` as kernels form it: ``a g + b x + c`` from the sums of g and g x.

    ``b = (m sum g - sum g x) r^3 / n`` and ``c = -b m - r sum g / n``. The centred form errs by less.
    """
    n = float(np.size(x.v) // max(np.size(m.v), 1))
    gx, gs = (g * x).sum(axis, True), g.sum(axis, True)
    b = (gs * m - gx) * r * r * r / n
    rest = -b * m - gs * r / n
    return r * g + b * x + rest


@rule("native_layer_norm_backward.default")
def layer_norm_backward(
    c: Context, grad_out: Any, input: Any, normalized_shape: Any, mean: Any, rstd: Any, weight: Any, bias: Any,
    output_mask: Any,
) -> Any:  # fmt: skip
    """Input gradient as above with ``g = dy w``; ``dw = sum dy xhat`` and ``db = sum dy`` over the leading axes."""
    lead = input.ndim - len(normalized_shape)
    axis, rows = tuple(range(lead, input.ndim)), tuple(range(lead))
    x, dy, m, r = c.take(input), c.take(grad_out), c.take(mean), c.take(rstd)
    g = dy if weight is None else dy * c.take(weight)
    dx = _input_gradient(x, g, m, r, axis) if output_mask[0] else None
    dw = _summed(dy * _xhat(x, m, r), rows) if output_mask[1] else None
    db = _summed(dy, rows) if output_mask[2] else None
    return [dx, dw, db]


def _summed(terms: Rounded, axis: tuple[int, ...]) -> Rounded:
    """Sum over rows; kernels of half types add row by row into a half-type buffer."""
    c = terms.a
    total = terms.sum(axis)
    if not (c.half and c.bounds):
        return total
    n = terms.v.size // max(total.v.size, 1)
    e = (n + 2) * (c.half_unit * np.sum(np.abs(terms.v), axis=axis) + SMALLEST[c.dtype.name])
    return total.plus(e)


def _xhat(x: Rounded, m: Rounded, r: Rounded) -> Rounded:
    """``(x - m) r``, or ``x r - m r``."""
    y = (x - m) * r
    return y.plus(2.0 * x.a.u * (np.abs(x.v) + np.abs(m.v)) * np.abs(r.v)) if x.a.bounds else y


@rule("_fused_rms_norm.default", "rms_norm.default")
def rms_norm(c: Context, input: Any, normalized_shape: Any, weight: Any = None, eps: Any = None) -> Any:
    """``x / sqrt(mean x^2 + eps) w``; also the reciprocal root mean square."""
    axis = tuple(range(input.ndim - len(normalized_shape), input.ndim))
    x = _unbounded(c, c.take(input), axis)
    eps = float(np.finfo(np.float32 if c.half else c.dtype).eps) if eps is None else eps
    r = f.inverse_root((x * x).mean(axis, True) + c.take(eps))
    y = x * r
    if c.half and c.bounds:
        y = y.plus(c.half_unit * np.abs(y.v))
    return [y if weight is None else y * c.take(weight), r][: len(c.dtypes)]


@rule("_fused_rms_norm_backward.default")
def rms_norm_backward(
    c: Context, grad_out: Any, input: Any, normalized_shape: Any, rstd: Any, weight: Any, output_mask: Any
) -> Any:
    """``r (g - xhat mean(g xhat))`` with ``g = dy w``, ``xhat = x r``; ``dw = sum dy xhat``."""
    lead = input.ndim - len(normalized_shape)
    axis, rows = tuple(range(lead, input.ndim)), tuple(range(lead))
    x, dy, r = c.take(input), c.take(grad_out), c.take(rstd)
    g = dy if weight is None else dy * c.take(weight)
    xhat = x * r
    dx = r * (g - xhat * (g * xhat).mean(axis, True)) if output_mask[0] else None
    dw = (dy * xhat).sum(rows) if output_mask[1] else None
    return [dx, dw]


def _channels(ndim: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Axes to sum over for one number per channel, and the shape that puts channels on axis 1."""
    return (0, *range(2, ndim)), (1, -1, *(1,) * (ndim - 2))


@rule("native_batch_norm.default", "_native_batch_norm_legit.default", "_native_batch_norm_legit_functional.default",
      "cudnn_batch_norm.default", "_batch_norm_with_update.default")  # fmt: skip
def batch_norm(
    c: Context, input: Any, weight: Any, bias: Any, running_mean: Any, running_var: Any, training: bool,
    momentum: float, eps: float,
) -> Any:  # fmt: skip
    """Per channel: ``(x - m) / sqrt(v + eps) w + b`` with the batch's moments, or the running ones in evaluation.

    Training also returns m and the reciprocal deviation, and moves the running moments ``momentum`` of the way to m
    and to the unbiased variance (two more outputs where the record has them).
    """
    axis, shape = _channels(input.ndim)
    x = c.take(input)
    w, b = _optional(c, weight, shape), _optional(c, bias, shape)
    if not training:
        m, v = c.take(running_mean.reshape(shape)), c.take(running_var.reshape(shape))
        y = normalised(x, m, f.inverse_root(v + c.take(eps)), w, b)
        return [y, np.zeros(0), np.zeros(0), running_mean, running_var][: len(c.dtypes)]
    x = _lost(c, x, axis)
    m, v = moments(x, axis)
    v = textbook(x, v, axis)
    r = f.inverse_root(v + c.take(eps))
    if c.half and c.bounds:
        # Kernels normalise with the moments that they saved, rounded.
        m, r = m.plus(c.half_unit * np.abs(m.v)), r.plus(c.half_unit * np.abs(r.v))
    saved = [m.reshape(-1), r.reshape(-1)]
    if len(c.dtypes) > 3 and running_mean is not None:
        n = input.size // max(input.shape[1], 1)
        unbiased = v.reshape(-1) * (n / max(n - 1.0, 1e-300))
        saved += [_moved(c, running_mean, m.reshape(-1), momentum), _moved(c, running_var, unbiased, momentum)]
    return [normalised(x, m, r, w, b), *saved]


@rule("_native_batch_norm_legit.no_stats")
def batch_norm_no_stats(
    c: Context, input: Any, weight: Any, bias: Any, training: bool, momentum: float, eps: float
) -> Any:
    return batch_norm(c, input, weight, bias, None, None, True, momentum, eps)


def _moved(c: Context, old: np.ndarray, new: Rounded, momentum: float) -> Rounded:
    """``momentum new + (1 - momentum) old``, each product rounded once more for a momentum that is not exact.

    In half precision kernels round the factors and the products as well.
    """
    out = c.take(momentum) * new + c.take(1.0 - momentum) * c.take(old)
    if not c.bounds:
        return out
    size, before = np.abs(new.v), np.abs(old.astype(np.float64))
    rounded = 2 * c.half_unit * (momentum * size + (1.0 - momentum) * before) if c.half else 0.0
    return out.plus(2 * c.u * (size + before) + rounded)


@rule("native_batch_norm_backward.default", "_native_batch_norm_legit_backward.default",
      "cudnn_batch_norm_backward.default")  # fmt: skip
def batch_norm_backward(
    c: Context, grad_out: Any, input: Any, weight: Any, running_mean: Any, running_var: Any, save_mean: Any,
    save_invstd: Any, train: bool, eps: float, output_mask: Any,
) -> Any:  # fmt: skip
    """As layer norm's, with the sums over each channel; in evaluation the moments are constants."""
    axis, shape = _channels(input.ndim)
    x, dy = c.take(input), c.take(grad_out)
    if train:
        m, r = c.take(save_mean.reshape(shape)), c.take(save_invstd.reshape(shape))
    else:
        m, r = c.take(running_mean.reshape(shape)), f.inverse_root(c.take(running_var.reshape(shape)) + c.take(eps))
    g = dy if weight is None else dy * c.take(weight.reshape(shape))
    dx = None
    if output_mask[0]:
        dx = _input_gradient(x, g, m, r, axis) if train else g * r
    dw = (dy * _xhat(x, m, r)).sum(axis) if output_mask[1] else None
    if dw is not None and c.bounds:
        # sum dy x - m sum dy, where a kernel forms it so.
        total = np.sum(np.abs(dy.v), axis=axis, keepdims=True) * np.abs(m.v) * np.abs(r.v)
        dw = dw.plus(c.gamma(input.size // max(input.shape[1], 1) + 4) * total.reshape(-1))
    db = dy.sum(axis) if output_mask[2] else None
    return [dx, dw, db]


@rule("native_group_norm.default")
def group_norm(c: Context, input: Any, weight: Any, bias: Any, N: int, C: int, HxW: int, group: int, eps: float) -> Any:
    """Layer norm over each group of channels of each sample, with a weight and bias per channel."""
    x = c.take(input.reshape(N, group, -1))
    x = _lost(c, x, (2,))
    m, v = moments(x, (2,))
    r = f.inverse_root(textbook(x, v, (2,)) + c.take(eps))
    shape = (N, group, C // group, HxW)
    w, b = _optional(c, weight, (1, group, C // group, 1)), _optional(c, bias, (1, group, C // group, 1))
    y = normalised(x.reshape(shape), m.reshape(N, group, 1, 1), r.reshape(N, group, 1, 1), w, b)
    return [y.reshape(input.shape), m.reshape(N, group), r.reshape(N, group)]


@rule("native_group_norm_backward.default")
def group_norm_backward(
    c: Context, grad_out: Any, input: Any, mean: Any, rstd: Any, weight: Any, N: int, C: int, HxW: int, group: int,
    output_mask: Any,
) -> Any:  # fmt: skip
    """As layer norm's, over the groups; weight and bias gradients sum over samples and places."""
    shape = (N, group, C // group, HxW)
    x, dy = c.take(input.reshape(shape)), c.take(grad_out.reshape(shape))
    m, r = c.take(mean.reshape(N, group, 1, 1)), c.take(rstd.reshape(N, group, 1, 1))
    g = dy if weight is None else dy * c.take(weight.reshape(1, group, C // group, 1))
    dx = _input_gradient(x, g, m, r, (2, 3)).reshape(input.shape) if output_mask[0] else None
    dw = None
    if output_mask[1]:
        # Formed as (sum dy x - m sum dy) r per sample and channel.
        dw = (((dy * x).sum((3,), True) - dy.sum((3,), True) * m) * r).sum((0, 3)).reshape(C)
    db = dy.sum((0, 3)).reshape(C) if output_mask[2] else None
    return [dx, dw, db]


@rule("_weight_norm_interface.default")
def weight_norm(c: Context, v: Any, g: Any, dim: int = 0) -> Any:
    """``v g / |v|``, the norm over all axes but `dim`; also the norm."""
    axis = tuple(i for i in range(v.ndim) if i != dim % v.ndim)
    x = c.take(v)
    size = f.sqrt((x * x).sum(axis, True))
    return [x * (c.take(g) / size), size.reshape(g.shape)]


@rule("_weight_norm_interface_backward.default")
def weight_norm_backward(c: Context, grad_w: Any, saved_v: Any, saved_g: Any, saved_norms: Any, dim: int) -> Any:
    """With n the norm and ``s = sum dw v``: ``dg = s / n`` and ``dv = (g / n)(dw - v s / n^2)``."""
    axis = tuple(i for i in range(saved_v.ndim) if i != dim % saved_v.ndim)
    shape = tuple(k if i == dim % saved_v.ndim else 1 for i, k in enumerate(saved_v.shape))
    v, dw = c.take(saved_v), c.take(grad_w)
    g, n = c.take(saved_g.reshape(shape)), c.take(saved_norms.reshape(shape))
    s = (dw * v).sum(axis, True)
    return [(g / n) * (dw - v * (s / (n * n))), (s / n).reshape(saved_g.shape)]
