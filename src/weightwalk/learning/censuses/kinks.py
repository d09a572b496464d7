"""How many kinks the function of a ReLU net of one number has in an interval: of thousands of nets at once.

The same propagation as in `weightwalk.formulas.lines`, for many nets of one shape and without names or certificate:
places where a unit's input changes sign are found layer by layer, between the places found before, where all is
straight. The tests hold it to `weightwalk.formula`.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

Layer = tuple[np.ndarray, np.ndarray]
"""Weights (S, out, in) and biases (S, out) of one layer of S nets."""

BEND = 1e-9
"""A change of slope below this part of the steepest slope is none."""


def kinks_inside(layers: Sequence[Layer], low: float, high: float) -> np.ndarray:
    """Bends of ``W_n relu(... relu(W_1 x + b_1) ...) + b_n`` strictly between `low` and `high`, for each of S nets.

    Args:
        layers: From first to last; a ReLU follows each but the last.
        low: Left end.
        high: Right end.

    Returns:
        Integers, shape (S,): places where the slope of some output changes. A unit that switches without effect is not
        counted, nor are two that switch at one place counted twice.

    >>> tent = [(np.array([[[1.0], [1.0]]]), np.array([[0.0, -0.5]])), (np.array([[[2.0, -4.0]]]), np.array([[0.0]]))]
    >>> kinks_inside(tent, -1, 1), kinks_inside(tent, 0.25, 1)
    (array([2]), array([1]))
    """
    wide = [(np.asarray(w, float), np.asarray(b, float)) for w, b in layers]
    seeds = len(wide[0][0])
    places = np.tile(np.array([low, high], float), (seeds, 1))
    with np.errstate(all="ignore"):
        for k in range(len(wide) - 1):
            z = _run(wide[: k + 1], places)
            new = _crossings(places, z)
            places = np.sort(np.concatenate([places, new], axis=1), axis=1)  # NaN, for none, sorts last
            places = places[:, : max(2, int((~np.isnan(places)).sum(axis=1).max(initial=2)))]
        y = _run(wide, places)
        return _bends(places, y)


def _run(layers: Sequence[Layer], x: np.ndarray) -> np.ndarray:
    """The last of `layers` before its ReLU, (S, P, out), at places (S, P)."""
    a = x[:, :, None]
    for k, (w, b) in enumerate(layers):
        a = (np.maximum(a, 0) if k else a) @ w.transpose(0, 2, 1) + b[:, None, :]
    return a


def _crossings(places: np.ndarray, z: np.ndarray) -> np.ndarray:
    """Where each unit's input, straight between two places, is 0; NaN for nowhere. Shape (S, intervals * units)."""
    a, b = z[:, :-1], z[:, 1:]
    left, right = places[:, :-1, None], places[:, 1:, None]
    at = left + (right - left) * (a / (a - b))
    return np.where((a * b < 0) & (at > left) & (at < right), at, np.nan).reshape(len(places), -1)


def _bends(places: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Inner places where a slope changes; those nearer together than rounding can part are one place."""
    seeds = len(places)
    wide = np.diff(places, axis=1) > 1e-12 * (np.nanmax(places) - np.nanmin(places))
    slopes = np.diff(y, axis=1) / np.diff(places, axis=1)[:, :, None]
    steepest = np.nanmax(np.where(wide[:, :, None], np.abs(slopes), 0), axis=(1, 2), initial=0)
    count = np.zeros(seeds, int)
    last = np.full((seeds, y.shape[2]), np.nan)
    for k in range(wide.shape[1]):
        here = wide[:, k]
        change = np.abs(slopes[:, k] - last).max(axis=1) > BEND * steepest
        count += here & change
        last = np.where(here[:, None], slopes[:, k], last)
    return count
