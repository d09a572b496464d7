"""The two matrix products behind every bound: A B in float64, and |A| |B| in as little time as an upper bound allows.

The weights are converted a block of columns at a time into one small scratch array: converting a whole matrix would
write, and page in, twice its size in fresh memory, which costs more than the product itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import numpy as np

_BLOCK = 1 << 18
"""Elements of a block: 2 MiB of float64, which stays in the cache between conversion and use."""


_WIDTH = 384
"""Fewest columns of a block: narrower products run slower."""


_multiply: ContextVar[Callable[..., np.ndarray]] = ContextVar("multiply", default=np.matmul)


@contextmanager
def multiplying_by(function: Callable[..., np.ndarray]) -> Iterator[None]:
    """Inside, products of matrices are formed by `function(a, b, out=...)` in place of ``np.matmul``."""
    token = _multiply.set(function)
    try:
        yield
    finally:
        _multiply.reset(token)


_PART = 4
_SHORT = 256

_partly: ContextVar[bool] = ContextVar("partly", default=False)


@contextmanager
def partial_bounds() -> Iterator[None]:
    """Inside, ``|A| |B|`` of long products is summed over a quarter of the inner axis.

    What lies within that smaller bound lies within the whole one, so a step that passes is proven all the same, at a
    fraction of its bound that is then an upper limit. What does not pass must be judged again with the whole.
    """
    token = _partly.set(True)
    try:
        yield
    finally:
        _partly.reset(token)


def products(a: np.ndarray, b: np.ndarray, bounds: bool) -> tuple[np.ndarray, np.ndarray | None]:
    """``A B`` in float64 and, if `bounds`, ``|A| |B|``, for matrices or equal batches of them.

    The second is computed in float32 for records in float32 or half precision: its entries are sums of non-negative
    terms, so the caller's factor ``1 + 2 n 2^-24`` makes them upper bounds, and what underflows is below n times the
    smallest normal number. Where it overflows, it is done again in float64.
    """
    if a.dtype.kind == "c" or b.dtype.kind == "c" or a.dtype.kind in "iub":
        wide = np.complex128 if "c" in (a.dtype.kind, b.dtype.kind) else np.float64
        v = np.matmul(a.astype(wide), b.astype(wide))
        return v, np.matmul(np.abs(a).astype(np.float64), np.abs(b).astype(np.float64)) if bounds else None
    if a.ndim == 2 and b.ndim == 2 and a.shape[0] > b.shape[1]:
        v, s = _blocked(b.T, a.T, bounds)
        return v.T, None if s is None else s.T
    if a.ndim == 2:
        return _blocked(a, b, bounds)
    v = np.matmul(a.astype(np.float64), b.astype(np.float64))
    return v, _absolute(a, b) if bounds else None


def _blocked(a: np.ndarray, b: np.ndarray, bounds: bool) -> tuple[np.ndarray, np.ndarray | None]:
    (m, k), n = a.shape, b.shape[1]
    v = np.empty((m, n), dtype=np.float64)
    if k == 0:
        v[...] = 0.0
        return v, np.zeros((m, n)) if bounds else None
    narrow = a.dtype.name != "float64"
    multiply = _multiply.get()
    s = np.empty((m, n), dtype=np.float32 if narrow else np.float64) if bounds else None
    a64 = np.ascontiguousarray(a, dtype=np.float64)
    size = np.abs(a64).astype(np.float32) if narrow else np.abs(a64)
    part = k // _PART if _partly.get() and k >= _SHORT else k
    size = size[:, :part]
    width = min(n, max(_WIDTH, _BLOCK // k))
    # Scratch in the memory order of b, so that the conversion runs along its rows.
    rows = b.strides[0] >= b.strides[1]
    scratch = np.empty((k, width) if rows else (width, k), dtype=np.float64)
    scratch_s = np.empty(scratch.shape, dtype=np.float32 if narrow else np.float64) if bounds else None
    for lo in range(0, n, width):
        hi = min(n, lo + width)
        block = _window(scratch, rows, hi - lo)
        np.copyto(block, b[:, lo:hi], casting="unsafe")
        multiply(a64, block, out=v[:, lo:hi])
        if s is not None and scratch_s is not None:
            block_s = _window(scratch_s, rows, hi - lo)[:part]
            np.abs(block[:part], out=block_s, casting="unsafe")
            multiply(size, block_s, out=s[:, lo:hi])
    if s is None:
        return v, None
    if narrow and not np.isfinite(s.sum()):
        return v, np.matmul(np.abs(a64), np.abs(b.astype(np.float64)))
    return v, s


def _window(scratch: np.ndarray, rows: bool, width: int) -> np.ndarray:
    return scratch[:, :width] if rows else scratch[:width].T


def _absolute(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    if a.dtype.name != "float64":
        s = np.matmul(np.abs(a).astype(np.float32), np.abs(b).astype(np.float32))
        if np.isfinite(s.sum()):
            return s
    return np.matmul(np.abs(a.astype(np.float64)), np.abs(b.astype(np.float64)))
