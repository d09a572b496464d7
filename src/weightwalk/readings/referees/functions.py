"""Elementary functions of numbers that carry their rounding error.

Each takes a :class:`Rounded` x with error e, and returns f(x) with a bound on ``|f~(x~) - f(x)|``: what f makes of e
(the mean value theorem over ``[x - e, x + e]``), plus the error of f's own kernel (``FUNCTION`` roundings, see there).
"""

from __future__ import annotations

import numpy as np

from weightwalk.readings.referees.rounded import ERF_ABSOLUTE, FUNCTION, Rounded
from weightwalk.readings.referees.special import erf as erf64


def _kernel(x: Rounded, v: np.ndarray, passed: np.ndarray | float | None, scale: float = FUNCTION) -> Rounded:
    """f(x) = v with the error `passed` on from x and that of one kernel."""
    if not x.a.bounds:
        return Rounded(v, None, x.a)
    e = np.abs(v)
    e *= scale * x.a.u
    e += x.a.tiny
    return Rounded(v, e if passed is None else e + passed, x.a)


def exp(x: Rounded, scale: float = FUNCTION) -> Rounded:
    """``e^x``; an error e in x is the factor ``e^e``."""
    v = np.exp(x.v)
    return _kernel(x, v, None if x.e is None else v * np.expm1(np.minimum(x.e, 700.0)), scale)


def expm1(x: Rounded) -> Rounded:
    """``e^x - 1``, good near 0."""
    v = np.expm1(x.v)
    return _kernel(x, v, None if x.e is None else (np.abs(v) + 1.0) * np.expm1(np.minimum(x.e, 700.0)))


def log(x: Rounded) -> Rounded:
    """Natural logarithm; slope at most ``1/(x - e)``."""
    v = np.log(x.v)
    return _kernel(x, v, None if x.e is None else _ratio(x.e, x.v - x.e))


def log1p(x: Rounded) -> Rounded:
    """``log(1 + x)``, good near 0."""
    v = np.log1p(x.v)
    return _kernel(x, v, None if x.e is None else _ratio(x.e, 1.0 + x.v - x.e))


def sqrt(x: Rounded) -> Rounded:
    """Square root: ``|sqrt a - sqrt b|`` is at most ``e / sqrt a`` and at most ``sqrt e``."""
    v = np.sqrt(x.v)
    passed = None
    if x.e is not None:
        passed = np.where(x.e == 0, 0.0, np.fmin(x.e / v, np.sqrt(x.e)))
    return _kernel(x, v, passed, 2.0)


def inverse_root(x: Rounded) -> Rounded:
    """``1 / sqrt x``: a root and a reciprocal."""
    return 1.0 / sqrt(x)


def rsqrt(x: Rounded) -> Rounded:
    """The op ``1 / sqrt x``, whose kernel rounds half types between the two."""
    x.a.stepwise()
    return inverse_root(x)


def sin(x: Rounded) -> Rounded:
    """Sine, slope at most 1."""
    return _kernel(x, np.sin(x.v), x.e)


def cos(x: Rounded) -> Rounded:
    """Cosine, slope at most 1."""
    return _kernel(x, np.cos(x.v), x.e)


def tanh(x: Rounded) -> Rounded:
    """Hyperbolic tangent; its slope on the interval is ``1 - tanh^2`` at the end nearest 0."""
    v = np.tanh(x.v)
    passed = None
    if x.e is not None:
        near = np.tanh(np.maximum(np.abs(x.v) - x.e, 0.0))
        passed = x.e * (1.0 - near * near)
    return _kernel(x, v, passed)


def sigmoid(x: Rounded) -> Rounded:
    """``1 / (1 + e^-x)``, evaluated so: an exp, a sum, a quotient; slope at most 1/4 and at most the value's own."""
    v = _sigmoid64(x.v)
    passed = None
    if x.e is not None:
        passed = np.minimum(x.e / 4.0, v * np.expm1(np.minimum(x.e, 700.0)))
    return _kernel(x, v, passed, FUNCTION + 4.0)


def softplus(x: Rounded) -> Rounded:
    """``log(1 + e^x)``, slope at most 1."""
    v = np.logaddexp(0.0, x.v)
    return _kernel(x, v, x.e, 2 * FUNCTION + 2.0)


def erf(x: Rounded) -> Rounded:
    """Error function: absolute error ``ERF_ABSOLUTE``, slope at most ``2 / sqrt pi``."""
    v = erf64(x.v)
    return _kernel(x, v, ERF_ABSOLUTE[x.a.unit] + (0.0 if x.e is None else 1.1284 * x.e))


def power(x: Rounded, p: Rounded) -> Rounded:
    """``x^p``: relative error ``|p| e/(x - e) + |log x| e_p`` and one kernel."""
    v = np.power(x.v, p.v)
    passed = None
    if x.e is not None or p.e is not None:
        of_x = 0.0 if x.e is None else np.abs(p.v) * _ratio(x.e, np.abs(x.v) - x.e)
        of_p = 0.0 if p.e is None else np.where(x.v == 0, 0.0, np.abs(np.log(np.abs(x.v)))) * p.e
        passed = np.abs(v) * np.expm1(np.minimum(of_x + of_p, 700.0))
    return _kernel(x, v, passed)


def where(condition: np.ndarray, a: Rounded, b: Rounded) -> Rounded:
    """`a` where the condition holds, else `b`."""
    v = np.where(condition, a.v, b.v)
    if a.e is None and b.e is None:
        return Rounded(v, None, a.a)
    return Rounded(v, np.where(condition, a.error, b.error), a.a)


def _ratio(e: np.ndarray, below: np.ndarray) -> np.ndarray:
    """``e / below``, infinite where the interval reaches 0."""
    return np.where(np.asarray(e) == 0, 0.0, np.where(below > 0, e / below, np.inf))


def _sigmoid64(v: np.ndarray) -> np.ndarray:
    z = np.exp(-np.abs(v))
    return np.where(v >= 0, 1.0, z) / (1.0 + z)
