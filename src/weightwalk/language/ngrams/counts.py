"""How often each run of 1 to n tokens occurs, without a loop over tokens.

The runs of each length are numbered. A run of k tokens is known by the number of its first k - 1 and its last token, so
one sort per length counts them all, whatever the vocabulary.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, eq=False)
class Grams:
    """All runs of k tokens in a text, sorted by their first k - 1, then by the last.

    Attributes:
        size: Number of tokens in the vocabulary.
        keys: ``number of the first k - 1 * size + last token``, int64, sorted, shape (runs,).
        counts: How often each occurs, int64, shape (runs,).
        suffixes: For each run, the number of its last k - 1 tokens among the runs of that length, shape (runs,).
        starts: ``starts[c]`` to ``starts[c + 1]`` are the runs that continue run ``c`` of k - 1 tokens.
    """

    size: int
    keys: np.ndarray
    counts: np.ndarray
    suffixes: np.ndarray
    starts: np.ndarray

    @property
    def tokens(self) -> np.ndarray:
        """The last token of each run."""
        return self.keys % self.size

    @property
    def contexts(self) -> np.ndarray:
        """The number of the first k - 1 tokens of each run."""
        return self.keys // self.size

    def find(self, contexts: np.ndarray, tokens: np.ndarray) -> np.ndarray:
        """The numbers of runs given by context and last token; -1 for what does not occur, or has context -1."""
        keys = contexts * self.size + tokens
        places = np.minimum(np.searchsorted(self.keys, keys), len(self.keys) - 1)
        return np.where((contexts >= 0) & (self.keys[places] == keys), places, -1)


def count(ids: np.ndarray, size: int, order: int) -> list[Grams]:
    """The runs of 1, 2, ... `order` tokens.

    Args:
        ids: Token ids, shape (N,), each from 0 to `size` - 1.
        size: Number of tokens in the vocabulary.
        order: Longest run.

    Returns:
        One table per length, up to the length of the text.

    >>> tables = count(np.array([0, 1, 0, 1, 1]), 2, 2)
    >>> [(t.contexts.tolist(), t.tokens.tolist(), t.counts.tolist()) for t in tables]
    [([0, 0], [0, 1], [2, 3]), ([0, 1, 1], [1, 0, 1], [2, 1, 1])]
    """
    ids = ids.astype(np.int64)
    tables: list[Grams] = []
    here = np.zeros(len(ids) + 1, dtype=np.int64)  # number of the run of k - 1 tokens that ends before each place
    for k in range(1, min(order, len(ids)) + 1):
        keys, where, counts = np.unique(here[:-1] * size + ids[k - 1 :], return_inverse=True, return_counts=True)
        where = where.reshape(-1)
        suffixes = np.zeros(len(keys), dtype=np.int64)
        suffixes[where] = here[1:]
        known = len(tables[-1].keys) if tables else 1
        tables.append(Grams(size, keys, counts, suffixes, np.searchsorted(keys, np.arange(known + 1) * size)))
        here = where
    return tables
