"""Rules for products of matrices: ``gamma_n |A||B|`` with n the inner dimension (Higham 3.5)."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np

from weightwalk.readings.referees.base import Context, rule
from weightwalk.readings.referees.rounded import Rounded


def product(c: Context, a: np.ndarray, b: np.ndarray) -> Any:
    """``A B``: of integers exactly, else with its bound."""
    return np.matmul(a, b) if c.exact() else c.matmul(a, b)


@rule("mm.default", "bmm.default", "matmul.default", "mm.dtype", "bmm.dtype")
def mm(c: Context, self: Any, mat2: Any, out_dtype: Any = None) -> Any:
    return product(c, self, mat2)


@rule("mv.default")
def mv(c: Context, self: Any, vec: Any) -> Any:
    y = product(c, self, vec[:, None])
    return y[:, 0]


@rule("dot.default")
def dot(c: Context, self: Any, tensor: Any) -> Any:
    y = product(c, self[None, :], tensor[:, None])
    return y[0, 0] if isinstance(y, Rounded) else np.asarray(y[0, 0])


def scaled(c: Context, x: Rounded, factor: Any) -> Rounded:
    return x if factor == 1 else x * factor


def plus(c: Context, y: Rounded, extra: Rounded) -> Rounded:
    """``y + extra`` where the addition may happen anywhere in the sum: gamma of its size as well."""
    total = y + extra
    return total.plus(2.0 * c.u * np.abs(extra.v)) if c.bounds else total


@rule("addmm.default", "baddbmm.default")
def addmm(c: Context, self: Any, mat1: Any, mat2: Any, beta: Any = 1, alpha: Any = 1) -> Any:
    """``beta self + alpha (A B)``; the addend may start the sum, and half types may round the product first."""
    if c.exact():
        return self * beta + np.matmul(mat1, mat2) * alpha
    y = scaled(c, c.matmul(mat1, mat2), alpha)
    if beta == 0:
        return y
    addend = scaled(c, c.take(self), beta)
    if c.bounds:
        n = mat1.shape[-1]
        extra = c.gamma(n + 1) * np.abs(addend.v)
        if c.half:
            extra = extra + c.half_unit * (np.abs(y.v) + np.abs(addend.v))
        y = y.plus(extra)
    return y + addend


@rule("addmv.default")
def addmv(c: Context, self: Any, mat: Any, vec: Any, beta: Any = 1, alpha: Any = 1) -> Any:
    y = addmm(c, self[..., None], mat, vec[:, None], beta, alpha)
    return y[:, 0]


@rule("addr.default")
def addr(c: Context, self: Any, vec1: Any, vec2: Any, beta: Any = 1, alpha: Any = 1) -> Any:
    y = scaled(c, c.take(vec1[:, None]) * c.take(vec2[None, :]), alpha)
    return y if beta == 0 else y + scaled(c, c.take(self), beta)


@rule("addbmm.default")
def addbmm(c: Context, self: Any, batch1: Any, batch2: Any, beta: Any = 1, alpha: Any = 1) -> Any:
    b, n, m = batch1.shape
    left = batch1.transpose(1, 0, 2).reshape(n, b * m)
    return addmm(c, self, left, batch2.reshape(b * m, -1), beta, alpha)


@rule("linear.default")
def linear(c: Context, input: Any, weight: Any, bias: Any = None) -> Any:
    """``x W^T + b``."""
    flat = input.reshape(-1, input.shape[-1])
    y = mm(c, flat, weight.T) if bias is None else addmm(c, bias, flat, weight.T)
    shape = (*input.shape[:-1], *weight.shape[:-1])
    return y.reshape(shape)


@rule("_trilinear.default")
def trilinear(
    c: Context, i1: Any, i2: Any, i3: Any, expand1: Any, expand2: Any, expand3: Any, sumdim: Any,
    unroll_dim: int = 1,
) -> Any:  # fmt: skip
    """Sum over ``sumdim`` of the product of three tensors, each given its missing axes (``nn.Bilinear``)."""
    parts = [c.take(np.expand_dims(x, tuple(e))) for x, e in ((i1, expand1), (i2, expand2), (i3, expand3))]
    return (parts[0] * parts[1] * parts[2]).sum(axis=tuple(sumdim))


@rule("_grouped_mm.default")
def grouped_mm(c: Context, self: Any, mat2: Any, offs: Any = None, bias: Any = None, out_dtype: Any = None) -> Any:
    """Rows ``offs[g-1]..offs[g]`` of `self` times the g-th matrix; between two matrices, the same of the inner axis."""
    if offs is None or self.ndim != 2 or bias is not None:
        return None
    edges = [0, *(int(o) for o in offs)]
    spans = [slice(a, b) for a, b in pairwise(edges)]
    if mat2.ndim == 2:
        parts = [c.matmul(self[:, s], mat2[s]) for s in spans]
        return Rounded(np.stack([y.v for y in parts]), np.stack([y.error + 0 * y.v for y in parts]), c)
    v = np.zeros((self.shape[0], mat2.shape[-1]))
    e = np.zeros(v.shape)
    for s, matrix in zip(spans, mat2, strict=True):
        y = c.matmul(self[s], matrix)
        v[s], e[s] = y.v, y.error
    return Rounded(v, e, c)
