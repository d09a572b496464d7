"""ONNX operators that move a window: convolutions and pooling."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from weightwalk.nets.onnx_ops import Spec, operator

CONVOLUTIONS = (F.conv1d, F.conv2d, F.conv3d)
MAXIMA = (F.max_pool1d, F.max_pool2d, F.max_pool3d)
MEANS = (F.avg_pool1d, F.avg_pool2d, F.avg_pool3d)


@operator("Conv")
def _conv(spec: Spec, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    before, after, strides, dilations = _window(spec, x, weight.shape[2:])
    if before != after:
        x, before = F.pad(x, _around(before, after)), [0] * len(before)
    convolve = CONVOLUTIONS[len(before) - 1]
    return convolve(x, weight, bias, strides, before, dilations, spec.get("group", 1))


@operator("MaxPool")
def _max_pool(spec: Spec, x: Tensor) -> Tensor:
    if spec.outputs > 1:
        raise spec.refuse("is asked for the places of its maxima; only the maxima are computed here")
    kernel = list(spec.get("kernel_shape"))
    before, after, strides, dilations = _window(spec, x, kernel)
    if before != after or any(2 * b > k for b, k in zip(before, kernel, strict=True)):
        x, before = F.pad(x, _around(before, after), value=-math.inf), [0] * len(before)
    pool = MAXIMA[len(kernel) - 1]
    return pool(x, kernel, strides, before, dilations, ceil_mode=bool(spec.get("ceil_mode", 0)))


@operator("AveragePool")
def _average_pool(spec: Spec, x: Tensor) -> Tensor:
    kernel = list(spec.get("kernel_shape"))
    before, after, strides, dilations = _window(spec, x, kernel)
    if any(d != 1 for d in dilations):
        raise spec.refuse(f"has dilations {tuple(dilations)}; only 1 is run here")
    pool, padded = MEANS[len(kernel) - 1], bool(spec.get("count_include_pad", 0))
    settings = {"stride": strides, "ceil_mode": bool(spec.get("ceil_mode", 0))}
    if before == after and all(2 * b <= k for b, k in zip(before, kernel, strict=True)):
        return pool(x, kernel, padding=before, count_include_pad=padded, **settings)
    means = pool(F.pad(x, _around(before, after)), kernel, **settings)
    if padded:
        return means
    ones = F.pad(torch.ones_like(x[:1, :1]), _around(before, after))
    return means / pool(ones, kernel, **settings)


@operator("GlobalAveragePool")
def _global_average_pool(spec: Spec, x: Tensor) -> Tensor:
    return x.mean(tuple(range(2, x.dim())), keepdim=True)


@operator("GlobalMaxPool")
def _global_max_pool(spec: Spec, x: Tensor) -> Tensor:
    return x.amax(tuple(range(2, x.dim())), keepdim=True)


def _window(spec: Spec, x: Tensor, kernel: Sequence[int]) -> tuple[list[int], list[int], list[int], list[int]]:
    """Padding before and after, strides and dilations, one number per axis that the window moves along."""
    d = x.dim() - 2
    if not 1 <= d <= 3 or len(kernel) != d:
        raise spec.refuse(f"moves a window of {len(kernel)} axes over shape {tuple(x.shape)}; 1 to 3 axes are run here")
    strides, dilations = list(spec.get("strides", [1] * d)), list(spec.get("dilations", [1] * d))
    pads, kind = list(spec.get("pads", [0] * (2 * d))), spec.get("auto_pad", "NOTSET")
    if kind == "VALID":
        pads = [0] * (2 * d)
    elif kind in ("SAME_UPPER", "SAME_LOWER"):
        pads = _same(x.shape[2:], kernel, strides, dilations, kind == "SAME_UPPER")
    return pads[:d], pads[d:], strides, dilations


def _same(
    size: Sequence[int], kernel: Sequence[int], strides: Sequence[int], dilations: Sequence[int], upper: bool
) -> list[int]:
    """Padding that gives ceil(size / stride) windows; an odd one goes to the end (`upper`) or to the beginning."""
    less, more = [], []
    for n, k, s, d in zip(size, kernel, strides, dilations, strict=True):
        total = max(0, (-(-n // s) - 1) * s + (k - 1) * d + 1 - n)
        less.append(total // 2)
        more.append(total - total // 2)
    return less + more if upper else more + less


def _around(before: Sequence[int], after: Sequence[int]) -> list[int]:
    """As ``F.pad`` wants it: the last axis first."""
    return [n for b, a in zip(reversed(before), reversed(after), strict=True) for n in (b, a)]
