"""Which elements lie under each window of a pooling or a convolution, by index arithmetic alone."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def each(argument: int | Sequence[int] | None, dims: int, default: int | Sequence[int]) -> list[int]:
    """A setting per axis, from one number or a list of one or `dims`."""
    given = default if argument is None or (isinstance(argument, (list, tuple)) and not argument) else argument
    values = [given] if isinstance(given, int) else [int(v) for v in given]
    return values * dims if len(values) == 1 else values


def spatial_windows(
    sizes: Sequence[int], results: Sequence[int], kernel: Sequence[int], stride: Sequence[int], padding: Sequence[int],
    dilation: Sequence[int],
) -> np.ndarray:  # fmt: skip
    """(results, kernel) flat places in a grid, counted from 1; 0 where the window hangs over the edge."""
    axes = []
    for size, result, k, s, p, d in zip(sizes, results, kernel, stride, padding, dilation, strict=True):
        at = np.arange(result)[:, None] * s - p + np.arange(k) * d
        axes.append(np.where((at >= 0) & (at < size), at, -1))
    return _combined(axes, sizes)


def _combined(axes: Sequence[np.ndarray], sizes: Sequence[int]) -> np.ndarray:
    """From places per axis, (results, k) each with -1 for none, to flat places in the grid."""
    flat = np.zeros((1, 1), np.int64)
    for at, size in zip(axes, sizes, strict=True):
        wide = flat[:, None, :, None] * size + at[None, :, None, :]
        wide[(flat < 0)[:, None, :, None] | (at < 0)[None, :, None, :]] = -1
        flat = wide.reshape(len(flat) * len(at), -1)
    return flat + 1


def over_channels(windows: np.ndarray, channels: int, size: int) -> np.ndarray:
    """The same windows in each of several grids laid end to end."""
    shifted = windows[None] + np.arange(channels)[:, None, None] * size
    return np.where(windows[None] > 0, shifted, 0).reshape(-1, windows.shape[1])


def pool_windows(
    shape: Sequence[int], out: Sequence[int], dims: int, kernel: int | Sequence[int] | None,
    stride: int | Sequence[int] | None, padding: int | Sequence[int] | None, dilation: int | Sequence[int] | None,
) -> np.ndarray:  # fmt: skip
    """The windows of a pooling over the last `dims` axes of a value, (results, kernel), counted from 1."""
    k = each(kernel, dims, 1)
    grid = spatial_windows(
        shape[-dims:], out[-dims:], k, each(stride, dims, k), each(padding, dims, 0), each(dilation, dims, 1)
    )
    return over_channels(grid, _product(shape[:-dims]), _product(shape[-dims:]))


def adaptive_windows(shape: Sequence[int], out: Sequence[int], dims: int) -> np.ndarray:
    """The windows of an adaptive pooling: result i of m covers floor(i n / m) to ceil((i + 1) n / m)."""
    axes = []
    for n, m in zip(shape[-dims:], out[-dims:], strict=True):
        first, last = np.arange(m) * n // m, -(-(np.arange(m) + 1) * n // m)
        at = first[:, None] + np.arange(int((last - first).max()))
        axes.append(np.where(at < last[:, None], at, -1))
    return over_channels(_combined(axes, shape[-dims:]), _product(shape[:-dims]), _product(shape[-dims:]))


def axis_windows(shape: Sequence[int], axes: Sequence[int]) -> np.ndarray:
    """All elements along some axes, one row per place on the others."""
    index = np.arange(1, _product(shape) + 1).reshape(tuple(shape))
    last = [a % max(len(shape), 1) for a in axes] if shape else []
    moved = np.moveaxis(index, last, range(len(shape) - len(last), len(shape)))
    return moved.reshape(-1, _product([shape[a] for a in last]))


def _product(sizes: Sequence[int]) -> int:
    out = 1
    for size in sizes:
        out *= int(size)
    return out
