"""Some of the pieces of a line, and what is known of every unit on them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import reduce

import numpy as np


@dataclass(frozen=True, eq=False)
class Stretch:
    """N pieces of the line after some layers.

    Attributes:
        t: (N + 1,) ends of the pieces; the first and the last may be infinite.
        sources: (n_j, 2, N) per layer, slope and constant of every unit; None where nothing reads it any more.
        sizes: (n_j, 2, N) per layer, how large what stands in `sources` is taken to be; see `CANCELLED`.
        patterns: (n_k, N) int8 per layer.
        snapped: How often a unit was held to be at its kink where its number said otherwise.
    """

    t: np.ndarray
    sources: tuple[np.ndarray | None, ...]
    sizes: tuple[np.ndarray | None, ...]
    patterns: tuple[np.ndarray, ...]
    snapped: int = 0

    @property
    def pieces(self) -> int:
        """N."""
        return len(self.t) - 1

    def cut(self, at: int) -> tuple[Stretch, Stretch]:
        """The first `at` pieces, and the others."""

        def part(some: slice, ends: slice, snapped: int) -> Stretch:
            return Stretch(
                self.t[ends],
                tuple(s if s is None else np.ascontiguousarray(s[..., some]) for s in self.sources),
                tuple(s if s is None else np.ascontiguousarray(s[..., some]) for s in self.sizes),
                tuple(p[:, some] for p in self.patterns),
                snapped,
            )

        return part(slice(None, at), slice(None, at + 1), self.snapped), part(slice(at, None), slice(at, None), 0)


class Repeat:
    """Each piece as often as it has parts, along the last axis."""

    def __init__(self, spread: np.ndarray) -> None:
        self.parts = np.repeat(np.arange(len(spread)), spread + 1) if spread.any() else None

    def __call__(self, some: np.ndarray) -> np.ndarray:
        return some if self.parts is None else some.take(self.parts, axis=-1)


def parted(now: Stretch, where: np.ndarray, leader: np.ndarray, places: np.ndarray) -> tuple[Stretch, ...]:
    """The stretch as it is, in two parts that meet at the middle one of the places where kinks will be."""
    middle = len(places) // 2
    piece = int(where[np.flatnonzero(leader == middle)[0]])
    spread = np.zeros(now.pieces, np.intp)
    spread[piece] = 1
    repeat, alive = Repeat(spread), [True] * len(now.sources)
    wider = Stretch(
        np.insert(now.t, piece + 1, places[middle]),
        tuple(kept(now.sources, alive, repeat)),
        tuple(kept(now.sizes, alive, repeat)),
        tuple(repeat(p) for p in now.patterns),
        now.snapped,
    )
    return wider.cut(piece + 1)


def kept(
    some: Sequence[np.ndarray | None], alive: Sequence[bool], repeat: Callable[[np.ndarray], np.ndarray]
) -> list[np.ndarray | None]:
    """What later layers read, for the new pieces."""
    return [repeat(s) if s is not None and keep else None for s, keep in zip(some, alive, strict=True)]


def joined(stretches: Sequence[Stretch]) -> tuple[np.ndarray, list[np.ndarray]]:
    """Ends of all pieces, (N + 1,), and the pattern per layer, (N, n_k) int8."""
    t = reduce(lambda some, more: [*some, more.t[1:]], stretches, [stretches[0].t[:1]])
    layers = range(len(stretches[0].patterns))
    return np.concatenate(t), [
        np.ascontiguousarray(np.concatenate([s.patterns[k] for s in stretches], axis=1).T) for k in layers
    ]
