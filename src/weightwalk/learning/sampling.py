"""The order in which rows are visited: a function of seed and epoch alone, with no state that could be lost.

A generator that is drawn from epoch after epoch must be saved to resume a training, and cannot serve thousands of seeds
at once. Here each row of each epoch gets a number from a hash (SplitMix64, Steele, Lea and Flood 2014), and the rows
are visited in the order of their numbers.
"""

from __future__ import annotations

import numpy as np

_STEP = np.uint64(0x9E3779B97F4A7C15)


def orders(seeds: np.ndarray | list[int], epoch: int, rows: int) -> np.ndarray:
    """A permutation of ``range(rows)`` for each seed.

    Args:
        seeds: Shape (S,), any integers.
        epoch: Which epoch.
        rows: Number of rows.

    Returns:
        Row numbers, int64, shape (S, rows): ``orders([s], e, n)[0]`` is what a training with seed ``s`` visits in epoch
        ``e``.

    >>> orders([0, 1], 0, 5)
    array([[1, 4, 3, 2, 0],
           [3, 1, 2, 4, 0]])
    """
    start = _mix(np.array([int(s) % 2**64 for s in seeds], dtype=np.uint64))
    start = _mix(start ^ np.uint64(epoch))
    numbers = _mix(start[:, None] + _STEP * np.arange(1, rows + 1, dtype=np.uint64))
    return np.argsort(numbers, axis=1, kind="stable")


def _mix(z: np.ndarray) -> np.ndarray:
    z = z + _STEP
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))
