"""The order of rows: a permutation, the same for all who ask, and as even as chance makes it."""

from __future__ import annotations

from collections import Counter

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from weightwalk.learning.sampling import orders

MASK = 2**64 - 1


def splitmix(state: int) -> int:
    """One output of SplitMix64, in Python's integers, from the published algorithm."""
    z = (state + 0x9E3779B97F4A7C15) & MASK
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK
    return z ^ (z >> 31)


def test_the_hash_is_splitmix64() -> None:
    """The first outputs for the seed 1234567 that other implementations publish as their test."""
    state, outputs = 1234567, []
    for _ in range(3):
        outputs.append(splitmix(state))
        state = (state + 0x9E3779B97F4A7C15) & MASK
    assert outputs == [6457827717110365317, 3203168211198807973, 9817491932198370423]


@given(st.integers(-(2**70), 2**70), st.integers(0, 2**31), st.integers(1, 40))
def test_rows_in_the_order_of_their_numbers(seed: int, epoch: int, rows: int) -> None:
    start = splitmix(splitmix(seed % 2**64) ^ epoch)
    numbers = [splitmix((start + 0x9E3779B97F4A7C15 * i) & MASK) for i in range(1, rows + 1)]
    assert orders([seed], epoch, rows)[0].tolist() == sorted(range(rows), key=numbers.__getitem__)


def test_many_seeds_are_each_alone() -> None:
    together = orders(range(100), 7, 11)
    assert all(np.array_equal(together[s], orders([s], 7, 11)[0]) for s in range(100))


def test_every_order_is_as_frequent_as_the_others() -> None:
    """Chi-square over the 24 orders of four rows in 24,000 draws: 23 degrees of freedom, 49.7 is exceeded in 0.1 %."""
    for axis in ("seed", "epoch"):
        if axis == "seed":
            drawn = orders(range(24_000), 0, 4)
        else:
            drawn = np.concatenate([orders([5], e, 4) for e in range(24_000)])
        counts = Counter(map(tuple, drawn.tolist()))
        assert len(counts) == 24
        assert sum((n - 1000) ** 2 / 1000 for n in counts.values()) < 49.7
