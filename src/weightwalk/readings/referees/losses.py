"""Rules for losses and their derivatives: each is an elementwise term, then nothing, a mean or a sum."""

from __future__ import annotations

from typing import Any

import numpy as np

from weightwalk.readings.referees import functions as f
from weightwalk.readings.referees.base import Context, rule
from weightwalk.readings.referees.rounded import Rounded

NONE, MEAN = 0, 1


def reduced(terms: Rounded, reduction: int) -> Rounded:
    """`terms` as they are (0), their mean (1) or their sum (2); half types may round the terms and the sum first."""
    c = terms.a
    if reduction == NONE:
        return terms
    if c.half and c.bounds:
        terms = terms.plus(2.0 * c.half_unit * np.abs(terms.v))
    out = terms.mean() if reduction == MEAN else terms.sum()
    return out.plus(c.half_unit * np.abs(out.v)) if c.half and c.bounds else out


def share(c: Context, x: Any, reduction: int) -> float:
    """What each term weighs in the loss: 1, or 1/n in a mean."""
    return float(max(np.size(x), 1)) if reduction == MEAN else 1.0


@rule("mse_loss.default")
def mse_loss(c: Context, self: Any, target: Any, reduction: int = MEAN) -> Any:
    d = c.take(self) - c.take(target)
    return reduced(d * d, reduction)


@rule("mse_loss_backward.default")
def mse_loss_backward(c: Context, grad_output: Any, self: Any, target: Any, reduction: int) -> Any:
    """``2 (x - t) g / n``."""
    c.stepwise()
    n = share(c, np.broadcast_to(self, np.broadcast_shapes(self.shape, target.shape)), reduction)
    return c.take(2.0 / n) * (c.take(self) - c.take(target)) * c.take(grad_output)


@rule("l1_loss.default")
def l1_loss(c: Context, self: Any, target: Any, reduction: int = MEAN) -> Any:
    d = c.take(self) - c.take(target)
    return reduced(Rounded(np.abs(d.v), d.e, c), reduction)


def _huber(c: Context, self: Any, target: Any, delta: float, scale: float) -> Rounded:
    """``d^2 / 2`` within delta, ``delta (|d| - delta/2)`` beyond, all over `scale`: continuous at the join."""
    d = c.take(self) - c.take(target)
    size = Rounded(np.abs(d.v), d.e, c)
    half, width = c.const(0.5), c.take(float(delta))
    inner = size * size * half / c.take(float(scale))
    outer = (size - half * width) * width / c.take(float(scale))
    beyond = size.v > delta
    out = f.where(beyond, outer, inner)
    # Within a rounding of the join the kernel may have taken either branch, which there agree to second order.
    return out.plus(np.maximum(outer.error, inner.error) * (np.abs(size.v - delta) <= size.error)) if c.bounds else out


@rule("smooth_l1_loss.default")
def smooth_l1_loss(c: Context, self: Any, target: Any, reduction: int = MEAN, beta: float = 1.0) -> Any:
    if beta == 0:
        return l1_loss(c, self, target, reduction)
    return reduced(_huber(c, self, target, beta, beta), reduction)


@rule("huber_loss.default")
def huber_loss(c: Context, self: Any, target: Any, reduction: int = MEAN, delta: float = 1.0) -> Any:
    return reduced(_huber(c, self, target, delta, 1.0), reduction)


def _huber_slope(c: Context, grad: Any, self: Any, target: Any, reduction: int, delta: float, scale: float) -> Any:
    c.stepwise()
    d = c.take(self) - c.take(target)
    slope = d.clip(-delta, delta) / c.take(float(scale))
    size = share(c, d.v, reduction)
    return slope * c.take(1.0 / size) * c.take(grad)


@rule("smooth_l1_loss_backward.default")
def smooth_l1_loss_backward(c: Context, grad_output: Any, self: Any, target: Any, reduction: int, beta: float) -> Any:
    if beta == 0:
        return None
    return _huber_slope(c, grad_output, self, target, reduction, beta, beta)


@rule("huber_loss_backward.default")
def huber_loss_backward(c: Context, grad_output: Any, self: Any, target: Any, reduction: int, delta: float) -> Any:
    return _huber_slope(c, grad_output, self, target, reduction, delta, 1.0)


@rule("binary_cross_entropy.default")
def binary_cross_entropy(c: Context, self: Any, target: Any, weight: Any = None, reduction: int = MEAN) -> Any:
    """``-(t log x + (1 - t) log(1 - x))`` with both logarithms held at -100 or above."""
    x, t = c.take(self), c.take(target)
    low = -100.0
    terms = (t - 1.0) * f.log1p(-x).clip(low, None) - t * f.log(x).clip(low, None)
    if c.bounds:
        # log(1 - x) after a rounded 1 - x, for kernels without log1p.
        terms = terms.plus(np.abs(t.v - 1.0) * np.minimum(2 * c.u / np.maximum(1.0 - x.v, c.u), 100.0))
    return reduced(terms if weight is None else terms * c.take(weight), reduction)


@rule("binary_cross_entropy_backward.default")
def binary_cross_entropy_backward(
    c: Context, grad_output: Any, self: Any, target: Any, weight: Any = None, reduction: int = MEAN
) -> Any:
    """``g (x - t) / max((1 - x) x, 1e-12)``, over n for a mean."""
    c.stepwise()
    x, t = c.take(self), c.take(target)
    below = ((1.0 - x) * x).clip(1e-12, None)
    out = c.take(grad_output) * (x - t) / below
    out = out if weight is None else out * c.take(weight)
    return out / share(c, self, reduction)


@rule("binary_cross_entropy_with_logits.default")
def bce_with_logits(
    c: Context, self: Any, target: Any, weight: Any = None, pos_weight: Any = None, reduction: int = MEAN
) -> Any:
    """``(1 - t) x - w log sigmoid(x)`` with ``w = 1 + (p - 1) t``; each step may be rounded in a half type."""
    x, t = c.take(self), c.take(target)
    log_sig = log_sigmoid_of(x)
    w = c.const(1.0) if pos_weight is None else (c.take(pos_weight) - 1.0) * t + 1.0
    a, b = (1.0 - t) * x, w * log_sig
    terms = a - b
    if c.half and c.bounds:
        terms = terms.plus(4 * c.half_unit * (np.abs(a.v) + np.abs(b.v) + np.abs(x.v * w.v)))
    return reduced(terms if weight is None else terms * c.take(weight), reduction)


def log_sigmoid_of(x: Rounded) -> Rounded:
    """``min(x, 0) - log1p(exp(-|x|))``."""
    z = f.exp(Rounded(-np.abs(x.v), x.e, x.a))
    return x.clip(None, 0.0) - f.log1p(z)


@rule("soft_margin_loss.default")
def soft_margin_loss(c: Context, self: Any, target: Any, reduction: int = MEAN) -> Any:
    """``log(1 + exp(-t x))``, through exp and log1p."""
    c.stepwise()
    z = f.exp(-(c.take(self) * c.take(target)))
    terms = f.log1p(z)
    return reduced(terms, reduction)


@rule("soft_margin_loss_backward.default")
def soft_margin_loss_backward(c: Context, grad_output: Any, self: Any, target: Any, reduction: int) -> Any:
    """``-t g z / (1 + z)`` with ``z = exp(-t x)``, over n for a mean."""
    c.stepwise()
    t = c.take(target)
    z = f.exp(-(c.take(self) * t))
    return -t * z * c.take(grad_output) / ((z + 1.0) * share(c, self, reduction))


def _class_weights(target: np.ndarray, weight: Any, ignore_index: int, c: Context) -> tuple[np.ndarray, Rounded]:
    keep = target != ignore_index
    safe = np.where(keep, target, 0)
    w = c.const(np.ones(target.shape)) if weight is None else c.take(weight)[safe]
    return safe, w * c.const(keep) if weight is not None else c.const(keep.astype(np.float64))


@rule("nll_loss_forward.default", "nll_loss2d_forward.default")
def nll_loss(c: Context, self: Any, target: Any, weight: Any, reduction: int, ignore_index: int) -> Any:
    """``-w[t] x[t]`` per sample; a mean divides by the sum of the weights, which is the second output."""
    x, keep = c.take(self), target != ignore_index
    safe, w = _class_weights(target, weight, ignore_index, c)
    axis = 0 if self.ndim == 1 else 1
    picked = x.map(lambda a: np.take_along_axis(a, np.expand_dims(safe, axis), axis).squeeze(axis))
    picked = f.where(keep, picked, c.const(0.0))
    terms = -picked if weight is None else -(picked * w)
    total = w.sum()
    if c.half and c.bounds:
        terms = terms.plus(c.half_unit * np.abs(terms.v)) if weight is not None else terms
    if reduction == NONE:
        return [terms, c.const(0.0)]
    out = terms.sum()
    out = out / total if reduction == MEAN else out
    if c.half and c.bounds:
        n = max(np.size(terms.v), 1)
        e = c.half_unit * (n if n > 1 else 1)
        size = np.sum(np.abs(terms.v)) / (abs(total.v) if reduction == MEAN else 1.0)
        out = out.plus(2 * min(e, 1.0) * size)
        total = total.plus(min(e, 1.0) * np.abs(total.v))
    return [out, total]


@rule("nll_loss_backward.default", "nll_loss2d_backward.default")
def nll_loss_backward(
    c: Context, grad_output: Any, self: Any, target: Any, weight: Any, reduction: int, ignore_index: int,
    total_weight: Any,
) -> Any:  # fmt: skip
    """``-w[t] g`` at the target, over the total weight for a mean, 0 elsewhere."""
    c.stepwise()
    safe, w = _class_weights(target, weight, ignore_index, c)
    g = c.take(grad_output) * w
    g = -(g / c.take(total_weight)) if reduction == MEAN else -g
    axis = 0 if self.ndim == 1 else 1
    keep = target != ignore_index

    def spread(a: Any) -> np.ndarray:
        out = np.zeros(self.shape)
        terms = np.where(keep, np.broadcast_to(a, target.shape), 0.0)
        np.put_along_axis(out, np.expand_dims(safe, axis), np.expand_dims(terms, axis), axis)
        return out

    return g.map(spread)
