"""Rules for linear resampling: each output is a weighted mean of its neighbours, axis by axis."""

from __future__ import annotations

from typing import Any

import numpy as np

from weightwalk.readings.referees.base import Context, rule
from weightwalk.readings.referees.rounded import Rounded


def _weights(size: int, out: int, align: bool, scale: Any) -> tuple[np.ndarray, float]:
    """The matrix (out, size) of linear interpolation along one axis, and how large a source coordinate gets."""
    i = np.arange(out, dtype=np.float64)
    if align:
        at = i * ((size - 1) / (out - 1) if out > 1 else 0.0)
    else:
        at = np.maximum((i + 0.5) * (1.0 / scale if scale else size / out) - 0.5, 0.0)
    low = np.minimum(np.floor(at).astype(np.int64), size - 1)
    share = np.where(low < size - 1, np.minimum(at - low, 1.0), 0.0)
    w = np.zeros((out, size))
    w[np.arange(out), low] += 1.0 - share
    w[np.arange(out), np.minimum(low + 1, size - 1)] += share
    return w, float(size + 1)


def _error(c: Context, w: np.ndarray, reach: float) -> np.ndarray:
    """Error of the weights: the source coordinate is worked out in the op's arithmetic, in three operations.

    Where it falls within that error of a whole number the kernel may take the next pair of neighbours, which there
    have weights just as near: allowed for the neighbours on either side.
    """
    near = (w > 0).astype(np.float64)
    near[:, 1:] += (w[:, :-1] > 0) * 1.0
    near[:, :-1] += (w[:, 1:] > 0) * 1.0
    return 4.0 * c.u * reach * np.minimum(near, 1.0)


def _resampled(c: Context, x: Rounded, size: Any, outs: Any, align: bool, scales: Any, adjoint: bool) -> Rounded:
    if c.half:
        c.stepwise()
    for axis, (s, o, scale) in enumerate(zip(size, outs, scales, strict=True)):
        w, reach = _weights(s, o, align, scale)
        weights = Rounded(w.T if adjoint else w, None, c)
        if c.bounds:
            e = _error(c, w, reach)
            weights = weights.plus(e.T if adjoint else e)
        place = axis - len(size)
        moved = x.map(lambda a, p=place: np.moveaxis(a, p, -1))
        y = moved @ weights.map(np.transpose)
        x = y.map(lambda a, p=place: np.moveaxis(a, -1, p))
    return x


def _register(name: str, n: int) -> None:
    def forward(c: Context, self: Any, output_size: Any, align_corners: bool, *scales: Any) -> Any:
        scales = (*scales, *(None,) * (n - len(scales)))
        return _resampled(c, c.take(self), self.shape[-n:], output_size, align_corners, scales, False)

    def backward(
        c: Context, grad_output: Any, output_size: Any, input_size: Any, align_corners: bool, *scales: Any
    ) -> Any:
        scales = (*scales, *(None,) * (n - len(scales)))
        return _resampled(c, c.take(grad_output), input_size[-n:], output_size, align_corners, scales, True)

    rule(f"{name}.default")(forward)
    rule(f"{name}_backward.default")(backward)


for _name, _n in (("upsample_linear1d", 1), ("upsample_bilinear2d", 2), ("upsample_trilinear3d", 3)):
    _register(_name, _n)
