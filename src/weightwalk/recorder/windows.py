"""Windows onto a storage: which elements they cover."""

from __future__ import annotations

import numpy as np
import torch

Window = tuple[torch.dtype, tuple[int, ...], tuple[int, ...], int]
"""dtype, shape, strides and offset, in elements."""

_LARGEST_MASK = 2**26


def _span(window: Window) -> tuple[int, int]:
    _, shape, strides, offset = window
    if 0 in shape:
        return offset, offset
    return offset, offset + sum((n - 1) * s for n, s in zip(shape, strides, strict=True)) + 1


def disjoint(a: Window, b: Window) -> bool:
    """Whether two windows onto one storage have no element in common (False where that is too costly to tell)."""
    (a0, a1), (b0, b1) = _span(a), _span(b)
    if a[0].itemsize != b[0].itemsize:
        return False
    if a1 <= b0 or b1 <= a0:
        return True
    start, stop = min(a0, b0), max(a1, b1)
    if stop - start > _LARGEST_MASK:
        return False
    mask = np.zeros(stop - start, dtype=bool)
    _elements(mask, a, start)[...] = True
    return not _elements(mask, b, start).any()


def _elements(mask: np.ndarray, window: Window, start: int) -> np.ndarray:
    _, shape, strides, offset = window
    return np.lib.stride_tricks.as_strided(mask[offset - start :], shape, strides)
