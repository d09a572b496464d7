"""What a text net of one token says when its own word is given back to it: to the end, or round in a loop."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np


@dataclass(frozen=True)
class Followed:
    """Where every start leads, for each of S nets.

    Attributes:
        starts: The tokens that are started from: those that the net was trained on.
        ends: Shape (S, starts): whether a token is reached that nothing was trained to follow, such as "!".
        loop: Shape (S, starts): the number of the loop in `names`; -1 for none.
        names: The loops met, as ``"dog→dog"`` or ``"cat→dog→cat"``, each beginning with its first token by id.
    """

    starts: tuple[str, ...]
    ends: np.ndarray = field(repr=False)
    loop: np.ndarray = field(repr=False)
    names: tuple[str, ...]

    def in_loop(self, name: str) -> np.ndarray:
        """Shape (S,): whether some start leads into that loop."""
        if name not in self.names:
            return np.zeros(len(self.loop), bool)
        return (self.loop == self.names.index(name)).any(axis=1)


def follow(says: np.ndarray, inputs: np.ndarray, tokens: Sequence[str]) -> Followed:
    """Give each net its own answer back until the end, or until a token comes for the second time.

    With V tokens that is decided after V steps at most: of V + 1 tokens two are equal.

    Args:
        says: Token ids answered, shape (S, N).
        inputs: The token id of each of the N rows. Of a token on several rows, the first counts.
        tokens: Names.

    >>> follow(np.array([[1, 2], [1, 0], [0, 2]]), np.array([0, 1]), ("dog", "cat", "!")).ends
    array([[ True,  True],
           [False, False],
           [False,  True]])
    """
    ids, rows = np.unique(inputs, return_index=True)
    maps, which = np.unique(np.asarray(says)[:, rows], axis=0, return_inverse=True)
    names: dict[str, int] = {}
    ends = np.zeros((len(maps), len(ids)), bool)
    loop = np.full((len(maps), len(ids)), -1)
    for m, answers in enumerate(maps.tolist()):
        then = dict(zip(ids.tolist(), answers, strict=True))
        for k, start in enumerate(ids.tolist()):
            cycle = cycle_from(start, then)
            ends[m, k] = not cycle
            if cycle:
                loop[m, k] = names.setdefault(loop_name(cycle, tokens), len(names))
    which = which.reshape(-1)
    return Followed(tuple(str(tokens[int(i)]) for i in ids), ends[which], loop[which], tuple(names))


def cycle_from(start: int, then: dict[int, int]) -> list[int]:
    """The loop that `start` leads into, its least token first; empty where a token comes that nothing follows."""
    seen: dict[int, int] = {}
    path: list[int] = []
    token = start
    while token in then:
        if token in seen:
            cycle = path[seen[token] :]
            least = cycle.index(min(cycle))
            return cycle[least:] + cycle[:least]
        seen[token] = len(path)
        path.append(token)
        token = then[token]
    return []


def loop_name(cycle: Sequence[int], tokens: Sequence[str]) -> str:
    """``[3]`` as ``"dog→dog"``."""
    return "→".join(tokens[i] for i in [*cycle, cycle[0]])
