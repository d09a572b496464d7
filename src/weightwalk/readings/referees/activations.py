"""Rules for activation functions and their derivatives."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from weightwalk.readings.referees import functions as f
from weightwalk.readings.referees.base import Context, Expected, chosen, rule
from weightwalk.readings.referees.losses import log_sigmoid_of
from weightwalk.readings.referees.rounded import FUNCTION, UNIT, Rounded

_SQRT_HALF = math.sqrt(0.5)
_GELU_SCALE = math.sqrt(2.0 / math.pi)
_GELU_CUBE = 0.044715


@rule("relu.default", "_foreach_relu.each")
def relu(c: Context, self: Any) -> Any:
    return chosen(np.maximum(self, np.zeros((), self.dtype)))


@rule("relu6.default")
def relu6(c: Context, self: Any) -> Any:
    return hardtanh(c, self, 0.0, 6.0)


@rule("hardtanh.default")
def hardtanh(c: Context, self: Any, min_val: Any = -1, max_val: Any = 1) -> Any:
    lo, hi = (np.asarray(b).astype(self.dtype) for b in (min_val, max_val))
    return chosen(np.minimum(np.maximum(self, lo), hi))


@rule("threshold.default")
def threshold(c: Context, self: Any, threshold: Any, value: Any) -> Any:
    return np.where(self <= np.asarray(threshold).astype(self.dtype), np.asarray(value).astype(self.dtype), self)


@rule("threshold_backward.default")
def threshold_backward(c: Context, grad_output: Any, self: Any, threshold: Any) -> Any:
    zero = np.zeros((), grad_output.dtype)
    return np.where(self <= np.asarray(threshold).astype(self.dtype), zero, grad_output)


@rule("hardtanh_backward.default")
def hardtanh_backward(c: Context, grad_output: Any, self: Any, min_val: Any, max_val: Any) -> Any:
    lo, hi = (np.asarray(b).astype(self.dtype) for b in (min_val, max_val))
    return np.where((self <= lo) | (self >= hi), np.zeros((), grad_output.dtype), grad_output)


@rule("leaky_relu.default")
def leaky_relu(c: Context, self: Any, negative_slope: Any = 0.01) -> Any:
    x = c.take(self)
    return f.where(x.v > 0, x, x * negative_slope)


@rule("leaky_relu_backward.default")
def leaky_relu_backward(c: Context, grad_output: Any, self: Any, negative_slope: Any, self_is_result: bool) -> Any:
    g = c.take(grad_output)
    return f.where(self > 0, g, g * negative_slope)


@rule("_prelu_kernel.default")
def prelu(c: Context, self: Any, weight: Any) -> Any:
    x = c.take(self)
    return f.where(x.v > 0, x, x * c.take(weight))


@rule("_prelu_kernel_backward.default")
def prelu_backward(c: Context, grad_output: Any, self: Any, weight: Any) -> Any:
    g, x = c.take(grad_output), c.take(self)
    return [f.where(x.v > 0, g, g * c.take(weight)), f.where(x.v > 0, c.const(0.0), x * g)]


@rule("elu.default")
def elu(c: Context, self: Any, alpha: Any = 1, scale: Any = 1, input_scale: Any = 1) -> Any:
    """``scale x`` above 0, ``scale alpha (e^(input_scale x) - 1)`` below; the exp may be rounded before the 1 goes."""
    x = c.take(self)
    z = f.expm1(Rounded(np.minimum(x.v, 0.0), None, c) * input_scale)
    if c.bounds:
        z = z.plus(FUNCTION * c.u)
    return f.where(x.v > 0, x * scale, z * (c.take(alpha) * scale))


@rule("celu.default")
def celu(c: Context, self: Any, alpha: Any = 1.0) -> Any:
    return elu(c, self, alpha, 1.0, 1.0 / alpha)


@rule("elu_backward.default")
def elu_backward(
    c: Context, grad_output: Any, alpha: Any, scale: Any, input_scale: Any, is_result: bool, self_or_result: Any
) -> Any:
    """Slope below 0: ``input_scale (y + scale alpha)`` of the result, ``input_scale scale alpha e^(...)`` of x."""
    g, x = c.take(grad_output), c.take(self_or_result)
    low = c.take(alpha) * scale
    if is_result:
        slope = (x + low) * input_scale
    else:
        slope = f.exp(Rounded(np.minimum(x.v, 0.0), None, c) * input_scale) * low * input_scale
    return f.where(x.v > 0, g * scale, g * slope)


@rule("gelu.default")
def gelu(c: Context, self: Any, approximate: str = "none") -> Any:
    """``x (1 + erf(x / sqrt 2)) / 2``, or the tanh form. In the tail ``1 + erf`` cancels: the error is ``u |x|``."""
    x = c.take(self)
    y = (x * _gelu_gate(x, approximate)).plus(c.tiny)
    if approximate == "tanh" or not np.isinf(x.v).any():
        return y
    # The vectorised erf of some releases gives NaN at infinity; nothing is proven of what stands there.
    return Rounded(np.where(np.isinf(x.v), 0.0, y.v), np.where(np.isinf(x.v), np.inf, y.error), c)


def _gelu_gate(x: Rounded, approximate: str) -> Rounded:
    c = x.a
    if approximate == "tanh":
        return (f.tanh(_gelu_inner(x)) + 1.0) * c.const(0.5)
    return (f.erf(x * c.take(_SQRT_HALF)) + 1.0) * c.const(0.5)


def _gelu_inner(x: Rounded) -> Rounded:
    """``sqrt(2/pi) (x + 0.044715 x^3)``; the constants are rounded, the cube also as ``x (1 + k x^2)``."""
    c = x.a
    cube = x * x * x * c.take(_GELU_CUBE)
    inner = (x + cube) * c.take(_GELU_SCALE)
    return inner.plus(2 * c.u * np.abs(inner.v)) if c.bounds else inner


@rule("gelu_backward.default")
def gelu_backward(c: Context, grad_output: Any, self: Any, approximate: str = "none") -> Any:
    """``g (gate + x gate')``."""
    g, x = c.take(grad_output), c.take(self)
    gate = _gelu_gate(x, approximate)
    if approximate == "tanh":
        t = f.tanh(_gelu_inner(x))
        inner = (1.0 + x * x * c.take(3 * _GELU_CUBE)) * c.take(_GELU_SCALE)
        slope = x * c.const(0.5) * (1.0 - t * t) * inner
    else:
        bell = f.exp(x * x * c.const(-0.5)) * c.take(1.0 / math.sqrt(2.0 * math.pi))
        slope = x * bell
    return g * (gate + slope)


@rule("silu.default")
def silu(c: Context, self: Any) -> Any:
    """``x sigmoid(x)``."""
    x = c.take(self)
    return x * f.sigmoid(x)


@rule("silu_backward.default")
def silu_backward(c: Context, grad_output: Any, self: Any) -> Any:
    """``g s (1 + x (1 - s))`` with s the sigmoid."""
    g, x = c.take(grad_output), c.take(self)
    s = f.sigmoid(x)
    return g * s * (1.0 + x * (1.0 - s))


@rule("tanh_backward.default")
def tanh_backward(c: Context, grad_output: Any, output: Any) -> Any:
    """``g (1 - y^2)``."""
    c.stepwise()
    y = c.take(output)
    return c.take(grad_output) * (1.0 - y * y)


@rule("sigmoid_backward.default")
def sigmoid_backward(c: Context, grad_output: Any, output: Any) -> Any:
    """``g (1 - y) y``."""
    c.stepwise()
    y = c.take(output)
    return c.take(grad_output) * ((1.0 - y) * y)


@rule("glu.default")
def glu(c: Context, self: Any, dim: int = -1) -> Any:
    """First half times the sigmoid of the second."""
    a, b = np.split(self, 2, axis=dim)
    return c.take(a) * f.sigmoid(c.take(b))


@rule("glu_backward.default")
def glu_backward(c: Context, grad_output: Any, self: Any, dim: int) -> Any:
    """``g s`` for the first half, ``g a s (1 - s)`` for the second."""
    c.stepwise()
    a, b = (c.take(half) for half in np.split(self, 2, axis=dim))
    g, s = c.take(grad_output), f.sigmoid(b)
    first, second = g * s, (1.0 - s) * s * g * a

    def both(x: Any, y: Any) -> np.ndarray:
        return np.concatenate([np.broadcast_to(x, a.shape), np.broadcast_to(y, a.shape)], axis=dim)

    return Rounded(both(first.v, second.v), both(first.error, second.error), c)


@rule("mish.default")
def mish(c: Context, self: Any) -> Any:
    """``x tanh(log(1 + e^x))``."""
    x = c.take(self)
    return x * f.tanh(f.softplus(x))


@rule("mish_backward.default")
def mish_backward(c: Context, grad_output: Any, self: Any) -> Any:
    """``g (t + x s (1 - t^2))`` with t the tanh of the softplus, s the sigmoid."""
    g, x = c.take(grad_output), c.take(self)
    t = f.tanh(f.softplus(x))
    return g * (t + x * f.sigmoid(x) * (1.0 - t * t))


@rule("softplus.default")
def softplus(c: Context, self: Any, beta: Any = 1, threshold: Any = 20) -> Any:
    """``log(1 + e^(beta x)) / beta``, x itself beyond the threshold."""
    x = c.take(self)
    z = x * beta
    if beta == 1:
        z = x
    return _joined(f.softplus(z) / c.take(beta), x, z, float(threshold))


def _joined(below: Rounded, above: Rounded, z: Rounded, threshold: float) -> Rounded:
    """`below` up to the threshold and `above` beyond; at the join, where rounding may pick either, both are allowed."""
    c = below.a
    out = f.where(z.v > threshold, above, below)
    if not c.bounds or z.e is None:
        return out
    near = np.abs(z.v - threshold) <= z.error
    return out.plus(np.where(near, np.abs(above.v - below.v) + below.error, 0.0))


@rule("softplus_backward.default")
def softplus_backward(c: Context, grad_output: Any, self: Any, beta: Any, threshold: Any) -> Any:
    """``g z / (1 + z)`` with ``z = e^(beta x)``."""
    g, x = c.take(grad_output), c.take(self)
    z = x if beta == 1 else x * beta
    s = f.sigmoid(z)
    if c.bounds:
        s = s.plus(FUNCTION * c.u * np.abs(s.v))
    return _joined(g * s, g, z, float(threshold))


@rule("log_sigmoid_forward.default")
def log_sigmoid(c: Context, self: Any) -> Any:
    """``min(x, 0) - log1p(e^-|x|)``; the CPU kernel keeps ``e^-|x|`` as its second output."""
    x = c.take(self)
    return [log_sigmoid_of(x), *([f.exp(Rounded(-np.abs(x.v), None, c))] * (len(c.dtypes) - 1))]


@rule("log_sigmoid_backward.default")
def log_sigmoid_backward(c: Context, grad_output: Any, self: Any, buffer: Any) -> Any:
    """``g sigmoid(-x)``, from ``z = e^-|x|``: ``g (neg - sign z / (1 + z))`` with neg 1 and sign 1 for x < 0."""
    g, x, z = c.take(grad_output), c.take(self), c.take(buffer)
    q = z / (z + 1.0)
    negative = x.v < 0
    return g * f.where(negative, 1.0 - q, q)


@rule("hardswish.default")
def hardswish(c: Context, self: Any) -> Any:
    """``x clip(x + 3, 0, 6) / 6``."""
    x = c.take(self)
    return x * (x + 3.0).clip(0.0, 6.0) / c.const(6.0)


@rule("hardswish_backward.default")
def hardswish_backward(c: Context, grad_output: Any, self: Any) -> Any:
    """``g`` times 0 below -3, 1 from 3, ``x/3 + 1/2`` between."""
    g, x = c.take(grad_output), c.take(self)
    middle = g * (x / c.const(3.0) + 0.5)
    # At -3 and 3 releases differ on which side is closed.
    out = f.where(x.v < -3, c.const(0.0), f.where(x.v >= 3, g, middle))
    edge = np.abs(x.v) == 3
    return out.plus(np.where(edge, 0.5 * np.abs(g.v), 0.0)) if c.bounds and edge.any() else out


@rule("hardsigmoid.default")
def hardsigmoid(c: Context, self: Any) -> Any:
    """``clip(x + 3, 0, 6) / 6``."""
    return (c.take(self) + 3.0).clip(0.0, 6.0) / c.const(6.0)


@rule("hardsigmoid_backward.default")
def hardsigmoid_backward(c: Context, grad_output: Any, self: Any) -> Any:
    """``g / 6`` between -3 and 3. The kernel's 1/6 is a float32 constant, in float64 too: its error is allowed."""
    g, sixth = c.take(grad_output), c.take(1.0 / 6.0)
    sixth = sixth.plus(UNIT["float32"] / 6.0) if c.bounds else sixth
    return f.where((self > -3) & (self < 3), g * sixth, c.const(0.0))


@rule("hardshrink.default")
def hardshrink(c: Context, self: Any, lambd: Any = 0.5) -> Any:
    edge = np.asarray(lambd).astype(self.dtype)
    return np.where((self >= -edge) & (self <= edge), np.zeros((), self.dtype), self)


@rule("hardshrink_backward.default", "softshrink_backward.default")
def shrink_backward(c: Context, grad_output: Any, self: Any, lambd: Any) -> Any:
    edge = np.asarray(lambd).astype(self.dtype)
    return np.where((self >= -edge) & (self <= edge), np.zeros((), self.dtype), grad_output)


@rule("softshrink.default")
def softshrink(c: Context, self: Any, lambd: Any = 0.5) -> Any:
    """``x`` moved towards 0 by lambda; 0 within it (NaN stays NaN)."""
    x, edge = c.take(self), c.take(lambd)
    inside = (x.v >= -lambd) & (x.v <= lambd)
    return f.where(x.v > lambd, x - edge, f.where(inside, c.const(0.0), x + edge))


@rule("native_dropout_backward.default")
def dropout_backward(c: Context, grad_output: Any, mask: Any, scale: float) -> Any:
    return c.take(grad_output) * c.const(mask) * c.take(scale)


@rule("rrelu_with_noise.default")
def rrelu(
    c: Context, self: Any, noise: Any, lower: Any = 0.125, upper: Any = 1.0 / 3.0, training: bool = False,
    generator: Any = None,
) -> Any:  # fmt: skip
    """A leaky ReLU: of the middle slope, or in training of slopes drawn at random."""
    if training:
        return [Expected(np.zeros(()), None, "drawn at random") for _ in c.dtypes]
    return [leaky_relu(c, self, (lower + upper) / 2), noise][: len(c.dtypes)]


@rule("rrelu_with_noise_backward.default")
def rrelu_backward(
    c: Context, grad_output: Any, self: Any, noise: Any, lower: Any, upper: Any, training: bool, self_is_result: bool
) -> Any:
    """``g noise`` in training, else a leaky ReLU of the middle slope."""
    if training and upper - lower > 1e-6:
        return c.take(grad_output) * c.take(noise)
    return leaky_relu_backward(c, grad_output, self, (lower + upper) / 2, self_is_result)
