"""Polygons as rings in one flat array, and sets of units as bits."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np


@dataclass(frozen=True, eq=False)
class Rings:
    """Polygons of one vertex table.

    Attributes:
        ring: (E,) vertex numbers, each polygon's one after another, counterclockwise.
        edge: (E,) number of the undirected edge from ``ring[i]`` to the next vertex of that polygon.
        size: (R,) vertices of each polygon.
    """

    ring: np.ndarray
    edge: np.ndarray
    size: np.ndarray

    @property
    def count(self) -> int:
        """Number of polygons."""
        return len(self.size)

    @cached_property
    def start(self) -> np.ndarray:
        """(R,) where each begins."""
        return np.cumsum(self.size) - self.size

    @cached_property
    def owner(self) -> np.ndarray:
        """(E,) the polygon of each entry."""
        return np.repeat(np.arange(self.count), self.size)

    def following(self, entries: np.ndarray) -> np.ndarray:
        """(E,) what is written at the next entry of the same ring."""
        out = np.empty_like(entries)
        out[:-1] = entries[1:]
        out[self.start + self.size - 1] = entries[self.start]
        return out

    def preceding(self, entries: np.ndarray) -> np.ndarray:
        """(E,) what is written at the entry before."""
        out = np.empty_like(entries)
        out[1:] = entries[:-1]
        out[self.start] = entries[self.start + self.size - 1]
        return out

    def take(self, chosen: np.ndarray) -> Rings:
        """Some polygons, in the order given by their numbers."""
        size = self.size[chosen]
        at = ranges(self.start[chosen], size)
        return Rings(self.ring[at], self.edge[at], size)

    def either(self, bits: np.ndarray) -> np.ndarray:
        """(R, W): the union of the bit sets (V, W) over the vertices of each polygon."""
        if not self.count:
            return np.zeros((0, bits.shape[1]), bits.dtype)
        if bits.shape[1] == 1:
            return np.bitwise_or.reduceat(bits[:, 0][self.ring], self.start)[:, None]
        return np.bitwise_or.reduceat(bits[self.ring], self.start, axis=0)


def ranges(first: np.ndarray, count: np.ndarray) -> np.ndarray:
    """``first[0], first[0] + 1, ...`` (count[0] numbers), then those of the next."""
    begin = np.cumsum(count) - count
    return np.repeat(first - begin, count) + np.arange(int(count.sum()))


def together(parts: list[Rings]) -> Rings:
    """All polygons of several lists."""
    if len(parts) == 1:
        return parts[0]
    return Rings(*(np.concatenate([getattr(p, name) for p in parts]) for name in ("ring", "edge", "size")))


def pack(flags: np.ndarray) -> np.ndarray:
    """(N, K) bool to (N, ceil(K / 64)) uint64; bit k of word j is column 64 j + k."""
    count, width = flags.shape
    words = -(-width // 64)
    octets = np.packbits(flags, axis=1, bitorder="little")
    if octets.shape[1] != 8 * words:
        octets = np.concatenate([octets, np.zeros((count, 8 * words - octets.shape[1]), np.uint8)], axis=1)
    return octets.view("<u8").reshape(count, words)


def unpack(words: np.ndarray, width: int) -> np.ndarray:
    """The inverse of `pack`: (N, width) of 0 and 1, uint8."""
    octets = np.ascontiguousarray(words).astype("<u8", copy=False).view(np.uint8)
    return np.unpackbits(octets.reshape(len(words), 8 * words.shape[1]), axis=1, bitorder="little", count=width)


def members(words: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Every (row, column) whose bit is set, by row and then by column."""
    some = np.flatnonzero(words.any(axis=1))
    row, column = np.nonzero(unpack(words[some], 64 * words.shape[1]))
    return some[row], column


def lowest(words: np.ndarray) -> np.ndarray:
    """(N,) the least column whose bit is set; every row must have one."""
    word = (words != 0).argmax(axis=1)
    chosen = words[np.arange(len(words)), word]
    bit = chosen & (~chosen + np.uint64(1))
    return 64 * word + np.frexp(bit.astype(np.float64))[1] - 1


def single(columns: np.ndarray, words: int) -> np.ndarray:
    """(N, words) with one bit set per row."""
    out = np.zeros((len(columns), words), np.uint64)
    out[np.arange(len(columns)), columns >> 6] = np.uint64(1) << (columns & 63).astype(np.uint64)
    return out


def rank(key: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Number of entries per key value, and where the entries of each begin, for a sorted key in 0 ... size - 1."""
    count = np.bincount(key, minlength=size)
    return count, np.cumsum(count) - count
