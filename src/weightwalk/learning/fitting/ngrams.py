"""Character n-grams by counting: the models that a text net has to beat."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np


class NGrams:
    """``p_n(c | h) = (count(h c) + a p_{n-1}(c | h')) / (count(h) + a)``, h the n - 1 characters before c.

    h' is h without its first character, and p_0 says 1 / V for each of V characters. So the counts of a longer context
    are blended with what the shorter one says, the more the fewer there are (a Dirichlet prior; MacKay and Peto 1995).
    Every probability is above 0, and they add up to 1.

    Args:
        documents: Token numbers from 0 to V - 1, a sequence per document.
        order: 1 for characters by themselves, 2 for pairs, and so on; 0 for none.
        vocabulary: V.
        strength: a, how many counts the shorter context is worth.

    Example:
        >>> model = NGrams([[0, 1, 0, 1, 0]], order=2, vocabulary=2, strength=1.0)
        >>> round(model.probability([0], 1), 4), round(model.probability([0], 0) + model.probability([0], 1), 4)
        (0.8333, 1.0)
    """

    def __init__(self, documents: Sequence[Sequence[int]], order: int, vocabulary: int, strength: float = 2.0) -> None:
        self.order, self.vocabulary, self.strength = order, vocabulary, strength
        self.pairs: Counter[tuple[int, ...]] = Counter()
        self.contexts: Counter[tuple[int, ...]] = Counter()
        for tokens in documents:
            for i in range(1, len(tokens)):  # the first token of a document follows nothing, and is not learned
                for n in range(order):
                    if n > i:
                        break
                    h = tuple(tokens[i - n : i])
                    self.contexts[h] += 1
                    self.pairs[(*h, tokens[i])] += 1

    @property
    def numbers(self) -> int:
        """Counts that are kept."""
        return len(self.pairs)

    def probability(self, before: Sequence[int], token: int) -> float:
        """Of a token after those before it."""
        p = 1 / self.vocabulary
        for n in range(min(self.order, len(before) + 1)):
            h = tuple(before[len(before) - n :])
            p = (self.pairs[(*h, token)] + self.strength * p) / (self.contexts[h] + self.strength)
        return p

    def losses(self, documents: Sequence[Sequence[int]]) -> np.ndarray:
        """-ln p of every token but the first of each document."""
        reach = max(self.order - 1, 0)
        return np.array(
            [
                -np.log(self.probability(tokens[max(0, i - reach) : i], tokens[i]))
                for tokens in documents
                for i in range(1, len(tokens))
            ]
        )
