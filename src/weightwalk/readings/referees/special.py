"""The error function in float64, vectorised: NumPy has none, and the base install has no SciPy.

W. J. Cody, "Rational Chebyshev approximations for the error function", Math. Comp. 23 (1969), 631-637, with the
coefficients of his program CALERF. Absolute error below 4e-16, tested against ``math.erf``.
"""

from __future__ import annotations

import numpy as np

_A = (
    1.85777706184603153e-1,
    3.16112374387056560e0,
    1.13864154151050156e2,
    3.77485237685302021e2,
    3.20937758913846947e3,
)
_B = (1.0, 2.36012909523441209e1, 2.44024637934444173e2, 1.28261652607737228e3, 2.84423683343917062e3)
_C = (
    2.15311535474403846e-8, 5.64188496988670089e-1, 8.88314979438837594e0, 6.61191906371416295e1,
    2.98635138197400131e2, 8.81952221241769090e2, 1.71204761263407058e3, 2.05107837782607147e3,
    1.23033935479799725e3,
)  # fmt: skip
_D = (
    1.0, 1.57449261107098347e1, 1.17693950891312499e2, 5.37181101862009858e2, 1.62138957456669019e3,
    3.29079923573345963e3, 4.36261909014324716e3, 3.43936767414372164e3, 1.23033935480374942e3,
)  # fmt: skip
_P = (
    1.63153871373020978e-2, 3.05326634961232344e-1, 3.60344899949804439e-1, 1.25781726111229246e-1,
    1.60837851487422766e-2, 6.58749161529837803e-4,
)  # fmt: skip
_Q = (1.0, 2.56852019228982242e0, 1.87295284992346725e0, 5.27905102951428412e-1, 6.05183413124413191e-2,
      2.33520497626869185e-3)  # fmt: skip
_BLOCK = 1 << 14


def erf(x: np.ndarray) -> np.ndarray:
    """``2 / sqrt(pi)`` times the integral of ``exp(-t^2)`` from 0 to `x`, elementwise, in float64."""
    flat = np.ascontiguousarray(x, dtype=np.float64).reshape(-1)
    out = np.empty_like(flat)
    for lo in range(0, flat.size, _BLOCK):
        out[lo : lo + _BLOCK] = _erf(flat[lo : lo + _BLOCK])
    return out.reshape(np.shape(x))


def _erf(x: np.ndarray) -> np.ndarray:
    size = np.abs(x)
    small = size <= 0.46875
    y = np.minimum(size, 0.46875)
    z = y * y
    out = x * (_poly(_A, z) / _poly(_B, z))
    if small.all():
        return out
    y = np.minimum(size, 4.0)
    rest = np.exp(-y * y) * (_poly(_C, y) / _poly(_D, y))
    far = size > 4.0
    if far.any():
        y = np.minimum(np.where(far, size, 4.0), 27.0)
        z = 1.0 / (y * y)
        tail = z * (_poly(_P, z) / _poly(_Q, z))
        rest = np.where(far, np.exp(-y * y) * (0.56418958354775628695 - tail) / y, rest)
    return np.where(np.isnan(x), x, np.where(small, out, np.copysign(1.0 - rest, x)))


def _poly(coefficients: tuple[float, ...], z: np.ndarray) -> np.ndarray:
    """Horner's rule, highest power first."""
    total = np.full_like(z, coefficients[0])
    for c in coefficients[1:]:
        total *= z
        total += c
    return total
