"""n-gram models: the next token's probability from how often it followed the last n - 1 tokens, smoothed.

Every smoothing here comes to the same form (that of an ARPA file): a probability for each run that occurs, and for each
context a weight by which the shorter context's probability is multiplied where the run does not occur.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from weightwalk.errors import UsageError
from weightwalk.language.ngrams.counts import Grams, count

SMOOTHINGS = ("kneser-ney", "witten-bell", "backoff", "add")
"""Interpolated Kneser-Ney with absolute discounting (Ney, Essen and Kneser 1994; Chen and Goodman 1998, section 2.7);
Witten-Bell interpolation; back-off with absolute discounting (Katz 1987's scheme); add-k at the highest order."""


@dataclass(frozen=True, eq=False)
class NGrams:
    """A fitted model.

    Attributes:
        order: Longest run: n - 1 tokens of context and the next.
        size: Number of tokens in the vocabulary.
        smoothing: One of `SMOOTHINGS`.
        discount: What was taken off each count, by order; None for smoothings without.
        add: The k of add-k, or None.
        tokens: Number of tokens that it was counted on.
        grams: The counts by length.
        odds: For each length, the probability of each run's last token after the others.
        weights: For each length, by context: what the shorter context's probability is multiplied with where the run
            does not occur.
    """

    order: int
    size: int
    smoothing: str
    discount: tuple[float, ...] | None
    add: float | None
    tokens: int
    grams: tuple[Grams, ...] = field(repr=False)
    odds: tuple[np.ndarray, ...] = field(repr=False)
    weights: tuple[np.ndarray, ...] = field(repr=False)

    def probabilities(self, context: Sequence[int] = ()) -> np.ndarray:
        """Probability of each token after `context` (its last n - 1 tokens), float64, shape (size,), adding up to 1.

        >>> model = fit(np.array([0, 1, 0, 1, 1]), 2, order=2, smoothing="add", add=1.0)
        >>> model.probabilities([0]).round(4)  # 0 was followed by 1 twice: (0 + 1) / 4 and (2 + 1) / 4
        array([0.25, 0.75])
        """
        _check_ids(np.asarray(context, dtype=np.int64), self.size)
        p = np.full(self.size, 1 / self.size)
        for k, table in enumerate(self.grams):
            run = 0 if k == 0 else self._number(context[len(context) - k :] if k <= len(context) else None)
            if run < 0:
                break
            rows = slice(int(table.starts[run]), int(table.starts[run + 1]))
            if rows.start == rows.stop:
                break  # the context ends the text and was never followed by anything
            p = p * self.weights[k][run] if self.smoothing != "add" else np.full(self.size, self.weights[k][run])
            p[table.tokens[rows]] = self.odds[k][rows]
        return p

    def surprisals(self, ids: np.ndarray) -> np.ndarray:
        """``-ln p`` of each token given those before it, in nats, shape (N,); the first ones have shorter contexts.

        Raises:
            UsageError: An id outside the vocabulary.
        """
        ids = np.asarray(ids, dtype=np.int64)
        _check_ids(ids, self.size)
        p = np.full(len(ids), 1 / self.size)
        before = np.zeros(len(ids), dtype=np.int64)  # number of the run of k tokens that ends before each token
        for k, table in enumerate(self.grams):
            whole = self.smoothing == "add"
            seen = (before >= 0) & (table.starts[before + 1] > table.starts[before])
            weight = np.where(seen, self.weights[k][before], 1 / self.size if whole else 1.0)
            p = np.where(seen, weight, p) if whole else p * weight
            run = table.find(before, ids)
            p = np.where(run >= 0, self.odds[k][run], p)
            before = np.concatenate([[-1], run[:-1]])
        return -np.log(p)

    def loss(self, ids: np.ndarray) -> float:
        """Mean of `surprisals`: nats per token."""
        return math.fsum(self.surprisals(ids).tolist()) / len(ids)

    def generate(self, n: int, seed: int = 0, prompt: Sequence[int] = ()) -> list[int]:
        """`n` tokens drawn one after another, each from the probabilities after those before it."""
        generator, out = np.random.default_rng(seed), list(prompt)
        for _ in range(n):
            p = np.cumsum(self.probabilities(out[-(self.order - 1) :] if self.order > 1 else ()))
            out.append(min(int(np.searchsorted(p, generator.random() * p[-1], side="right")), self.size - 1))
        return out[len(prompt) :]

    def _number(self, run: Sequence[int] | None) -> int:
        """The number of a run of tokens; -1 if it does not occur."""
        if run is None:
            return -1
        number = np.zeros(1, dtype=np.int64)
        for table, token in zip(self.grams, run, strict=False):
            number = table.find(number, np.array([token], dtype=np.int64))
        return int(number[0])


def fit(
    ids: np.ndarray,
    size: int,
    *,
    order: int = 6,
    smoothing: str = "kneser-ney",
    discount: float | None = None,
    add: float = 0.1,
) -> NGrams:
    """Count a text and smooth the counts.

    Args:
        ids: Token ids, shape (N,).
        size: Number of tokens in the vocabulary; those that do not occur get a small probability too.
        order: Longest run, from 1.
        smoothing: One of `SMOOTHINGS`.
        discount: For Kneser-Ney and back-off, what is taken off each count, between 0 and 1; None estimates it for each
            length as ``n1 / (n1 + 2 n2)`` from the numbers of runs that occur once and twice.
        add: The k of add-k, above 0.

    Returns:
        The model. With ``order`` above the length of the text, the longest runs that there are.

    Raises:
        UsageError: An empty text, an id outside the vocabulary, or a setting out of range.

    Example:
        >>> text = np.frombuffer(b"abracadabra" * 3, dtype=np.uint8) - ord("a")
        >>> model = fit(text, 26, order=3)
        >>> chr(int(model.probabilities(text[:2]).argmax()) + ord("a"))  # after "ab"
        'r'
    """
    ids = np.asarray(ids, dtype=np.int64)
    _check_settings(ids, size, order, smoothing, discount, add)
    grams = count(ids, size, order)
    if smoothing == "add":
        odds, weights = zip(*(_added(g, size, add) for g in grams), strict=True)
        return NGrams(order, size, smoothing, None, add, len(ids), tuple(grams), odds, weights)
    discounts: list[float] = []
    odds_of: list[np.ndarray] = []
    weights_of: list[np.ndarray] = []
    shorter = np.full(1, 1 / size)
    for k, table in enumerate(grams):
        counts = table.counts
        if smoothing == "kneser-ney" and k + 1 < len(grams):
            counts = np.bincount(grams[k + 1].suffixes, minlength=len(table.keys))  # in how many contexts it occurs
        base = shorter[table.suffixes] if k else np.full(len(table.keys), shorter[0])
        totals, kinds, contexts = _by_context(table, counts)
        if smoothing == "witten-bell":
            left = kinds / np.maximum(totals + kinds, 1)
            p = counts / np.maximum(totals + kinds, 1)[contexts] + left[contexts] * base
        else:
            taken = _estimate(counts) if discount is None else discount
            discounts.append(taken)
            # A context that occurs at the very start alone has no continuation counts: the shorter one speaks for it.
            left = np.where(totals > 0, taken * kinds / np.maximum(totals, 1), 1.0)
            p = np.maximum(counts - taken, 0) / np.maximum(totals, 1)[contexts]
            if smoothing == "backoff":
                given = np.bincount(contexts, base, minlength=len(totals))  # by the shorter context to what is seen
                left, p = _backed_off(left, given, p, counts / totals[contexts], contexts, kinds == size)
            else:
                p = p + left[contexts] * base
        odds_of.append(p)
        weights_of.append(left)
        shorter = p
    found = tuple(discounts) or None
    return NGrams(order, size, smoothing, found, None, len(ids), tuple(grams), tuple(odds_of), tuple(weights_of))


def _by_context(table: Grams, counts: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """For each context the sum of its counts and how many are above 0; and the context of each run."""
    contexts, n = table.contexts, len(table.starts) - 1
    return np.bincount(contexts, counts, minlength=n), np.bincount(contexts, counts > 0, minlength=n), contexts


def _backed_off(
    left: np.ndarray, given: np.ndarray, p: np.ndarray, plain: np.ndarray, contexts: np.ndarray, full: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Weights such that the unseen share what was taken off; where nothing is unseen, nothing is taken off."""
    rest = np.where(full, 1.0, 1 - given)
    return np.where(full, 0.0, left / rest), np.where(full[contexts], plain, p)


def _added(table: Grams, size: int, add: float) -> tuple[np.ndarray, np.ndarray]:
    totals, _, contexts = _by_context(table, table.counts)
    return (table.counts + add) / (totals + add * size)[contexts], add / (totals + add * size)


def _estimate(counts: np.ndarray) -> float:
    """``n1 / (n1 + 2 n2)`` (Ney, Essen and Kneser 1994); 0.5 where no count says anything."""
    once, twice = int((counts == 1).sum()), int((counts == 2).sum())
    return once / (once + 2 * twice) if once and twice else 0.5


def _check_ids(ids: np.ndarray, size: int) -> None:
    if len(ids) and (ids.min() < 0 or ids.max() >= size):
        wrong = int(ids[(ids < 0) | (ids >= size)][0])
        raise UsageError(f"There is no token {wrong}; ids go from 0 to {size - 1}.")


def _check_settings(ids: np.ndarray, size: int, order: int, smoothing: str, discount: float | None, add: float) -> None:
    if smoothing not in SMOOTHINGS:
        raise UsageError(f"There is no smoothing {smoothing!r}; there are {', '.join(SMOOTHINGS)}.")
    if order < 1:
        raise UsageError(f"The order is 1 (single tokens) or more; got {order}.")
    if len(ids) == 0:
        raise UsageError("The text is empty: there is nothing to count.")
    if not add > 0 or not math.isfinite(add):
        raise UsageError(f"What is added to each count must be a number above 0; got {add}.")
    if discount is not None and not 0 < discount < 1:
        raise UsageError(f"The discount lies between 0 and 1, for it is taken off counts of 1; got {discount}.")
    _check_ids(ids, size)
