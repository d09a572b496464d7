"""Rules for softmax, log-softmax and their derivatives."""

from __future__ import annotations

from typing import Any

import numpy as np

from weightwalk.readings.referees import functions as f
from weightwalk.readings.referees.base import Context, rule
from weightwalk.readings.referees.rounded import FAST_FUNCTION, Rounded


def softmax_of(x: Rounded, dim: int) -> Rounded:
    """``exp(x - m) / sum exp(x - m)`` with m the row's maximum: a shift, an exp, a sum, a quotient."""
    m = Rounded(np.max(x.v, axis=dim, keepdims=True, initial=-np.inf), None, x.a)
    p = f.exp(shifted(x, m), FAST_FUNCTION)
    return p / p.sum(dim, True)


def shifted(x: Rounded, m: Rounded) -> Rounded:
    """``x - m``, exact where x is minus infinity."""
    t = x - m
    if t.e is not None:
        t.e = np.where(np.isneginf(t.v), 0.0, t.e)
    return t


@rule("_softmax.default", "softmax.int")
def softmax(c: Context, self: Any, dim: int, half_to_float: Any = False) -> Any:
    return softmax_of(c.take(self), dim) if self.ndim else softmax_of(c.take(self[None]), 0)[0]


@rule("_safe_softmax.default")
def safe_softmax(c: Context, self: Any, dim: int, dtype: Any = None) -> Any:
    """Softmax with a row of zeros for a row that is all minus infinity."""
    p = softmax_of(c.take(self), dim)
    masked = np.all(np.isneginf(self), axis=dim, keepdims=True)
    return f.where(masked, c.const(0.0), p)


@rule("_log_softmax.default", "log_softmax.int")
def log_softmax(c: Context, self: Any, dim: int, half_to_float: Any = False) -> Any:
    """``(x - m) - log sum exp(x - m)``; kernels also take the two differences in the other order."""
    if not self.ndim:
        return log_softmax(c, self[None], 0)[0]
    x = c.take(self)
    m = Rounded(np.max(x.v, axis=dim, keepdims=True, initial=-np.inf), None, c)
    t = shifted(x, m)
    log_sum = f.log(f.exp(t, FAST_FUNCTION).sum(dim, True))
    if c.half and c.bounds:
        # The sum, and then its logarithm, are stored as half types between the two passes: a relative u of the sum
        # is an absolute u of its logarithm.
        log_sum = log_sum.plus(c.half_unit * (1.0 + np.abs(log_sum.v)))
    y = t - log_sum
    if c.bounds:
        y = y.plus(c.u * (np.abs(m.v) + np.abs(log_sum.v)))
        if y.e is not None:
            y.e = np.where(np.isneginf(y.v), 0.0, y.e)
    return y


@rule("_softmax_backward_data.default")
def softmax_backward(c: Context, grad_output: Any, output: Any, dim: int, input_dtype: Any = None) -> Any:
    """``y (g - sum g y)``; kernels also form ``g y - y sum g y``."""
    if not output.ndim:
        return softmax_backward(c, grad_output[None], output[None], 0)[0]
    g, y = c.take(grad_output), c.take(output)
    total = (g * y).sum(dim, True)
    dx = y * (g - total)
    return dx.plus(2 * c.u * np.abs(y.v) * (np.abs(g.v) + np.abs(total.v))) if c.bounds else dx


@rule("_log_softmax_backward_data.default")
def log_softmax_backward(c: Context, grad_output: Any, output: Any, dim: int, input_dtype: Any = None) -> Any:
    """``g - exp(y) sum g``."""
    if not output.ndim:
        return log_softmax_backward(c, grad_output[None], output[None], 0)[0]
    g = c.take(grad_output)
    return g - f.exp(c.take(output)) * g.sum(dim, True)
