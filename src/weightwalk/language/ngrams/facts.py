"""What counting says of a text: its letters, their pairs, and how well each order predicts what was held out."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from weightwalk.errors import UsageError
from weightwalk.language.corpora import Corpus
from weightwalk.language.ngrams.model import NGrams, fit

UNITS = ("chars", "words")
UNKNOWN = "<unk>"
"""The token of every word that the learned part holds fewer than twice."""


@dataclass(frozen=True, slots=True)
class OrderScore:
    """One order of n-gram model.

    Attributes:
        order: Its longest run: n - 1 tokens of context and the next.
        runs: Different runs of that length in the learned part.
        learned: Mean surprisal on the text that it was counted on, bits per token.
        held: The same on the held-out text.
        sample: What it writes, started by nothing.
    """

    order: int
    runs: int
    learned: float
    held: float
    sample: str


@dataclass(frozen=True, eq=False)
class Counting:
    """A text, counted.

    Attributes:
        name: Of the corpus.
        unit: ``"chars"`` or ``"words"``.
        tokens: Number of tokens in all.
        held: How many of them were held out (the last).
        unknown: Share of held-out tokens that stand for words too rare to have a token.
        vocabulary: Every token, by id.
        frequencies: Of each token in the whole text, a share.
        pairs: ``pairs[a, b]``: how often b comes next after a, as a share of what follows a; for frequent tokens.
        paired: The tokens of `pairs`.
        entropy: Of a single token by the frequencies, in bits.
        smoothing: How counts were smoothed.
        discount: By order, for the longest model; None without.
        scores: One per order.
        seed: Of the samples.
        model: The longest model.
    """

    name: str
    unit: str
    tokens: int
    held: int
    unknown: float
    vocabulary: tuple[str, ...] = field(repr=False)
    frequencies: np.ndarray = field(repr=False)
    pairs: np.ndarray = field(repr=False)
    paired: tuple[str, ...] = field(repr=False)
    entropy: float
    smoothing: str
    discount: tuple[float, ...] | None
    scores: tuple[OrderScore, ...]
    seed: int
    model: NGrams = field(repr=False)

    @property
    def best(self) -> OrderScore:
        """The order that predicts the held-out text best."""
        return min(self.scores, key=lambda s: s.held)

    @property
    def commonest(self) -> tuple[tuple[str, float], ...]:
        """Tokens with their shares, the most frequent first."""
        order = np.argsort(-self.frequencies, kind="stable")
        return tuple((self.vocabulary[i], float(self.frequencies[i])) for i in order)

    def next(self, prefix: str) -> tuple[tuple[str, float], ...]:
        """The tokens that can come after `prefix` by the longest model, the likeliest first.

        Raises:
            UsageError: A character or word of it is not in the vocabulary.
        """
        p = self.model.probabilities(self.ids(prefix).tolist())
        return tuple((self.vocabulary[i], float(p[i])) for i in np.argsort(-p, kind="stable"))

    def ids(self, text: str) -> np.ndarray:
        """Token ids of `text`."""
        places = {token: i for i, token in enumerate(self.vocabulary)}
        said = tokens_of(text, self.unit)
        for token in said:
            if token not in places and UNKNOWN not in places:
                raise UsageError(
                    f"{self.name!r} has no {self.unit.removesuffix('s')} {token!r} among its {len(self.vocabulary):,}."
                )
        return np.array([places.get(token, places.get(UNKNOWN, 0)) for token in said], dtype=np.int64)

    def frame(self) -> Any:
        """One row per order, as a pandas DataFrame.

        Raises:
            UsageError: pandas is not installed.
        """
        try:
            import pandas
        except ImportError:
            raise UsageError('A data frame needs pandas: pip install "weightwalk[learning]".') from None
        columns = ("order", "runs", "learned", "held", "sample")
        return pandas.DataFrame([{c: getattr(s, c) for c in columns} for s in self.scores])


def tokens_of(text: str, unit: str) -> Sequence[str]:
    """Characters, or words and punctuation marks.

    >>> tokens_of("No, it isn't.", "words")
    ['No', ',', 'it', 'isn', "'", 't', '.']
    """
    return list(text) if unit == "chars" else re.findall(r"\w+|[^\w\s]", text)


def counting(
    given: Corpus,
    *,
    order: int = 6,
    unit: str = "chars",
    smoothing: str = "kneser-ney",
    discount: float | None = None,
    add: float = 0.1,
    held: float = 0.1,
    sample: int = 60,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> Counting:
    """Count a text at every order up to `order`, and hold each model to the last part of the text, which it never saw.

    Args:
        given: The text.
        order: Longest runs.
        unit: ``"chars"`` or ``"words"``; of words, those that occur once in the learned part share one token.
        smoothing: One of `weightwalk.language.ngrams.SMOOTHINGS`.
        discount: See `fit`.
        add: See `fit`.
        held: Share of the text to hold out.
        sample: Tokens that each model writes.
        seed: Of what is written.
        progress: Called with (orders done, orders in all).

    Raises:
        UsageError: A setting out of range, or a text too short to be divided.

    Example:
        >>> from weightwalk.language.corpora import corpus
        >>> facts = counting(corpus("tinyworld:2000"), order=4)
        >>> [round(s.held, 1) for s in facts.scores]
        [4.4, 3.1, 1.6, 0.9]
    """
    if unit not in UNITS:
        raise UsageError(f"There is no unit {unit!r}; there are {', '.join(UNITS)}.")
    learned_text, held_text = given.split(held)
    learned, tested = tokens_of(learned_text, unit), tokens_of(held_text, unit)
    if not learned or not tested:
        raise UsageError(f"{given.name!r} has no {unit} to learn from, or none to hold out.")
    vocabulary = _vocabulary(learned, tested, unit)
    places = {token: i for i, token in enumerate(vocabulary)}
    other = places.get(UNKNOWN, -1)
    ids = np.array([places.get(t, other) for t in learned], dtype=np.int64)
    test = np.array([places.get(t, other) for t in tested], dtype=np.int64)
    scores: list[OrderScore] = []
    model: NGrams | None = None
    for n in range(1, order + 1):
        model = fit(ids, len(vocabulary), order=n, smoothing=smoothing, discount=discount, add=add)
        text = _text([vocabulary[i] for i in model.generate(sample, seed)], unit)
        bits = [model.loss(x) / math.log(2) for x in (ids, test)]
        runs = len(model.grams[-1].keys) if len(model.grams) == n else 0
        scores.append(OrderScore(n, runs, bits[0], bits[1], text))
        if progress is not None:
            progress(n, order)
    if model is None:
        raise UsageError(f"The order is 1 (single tokens) or more; got {order}.")
    both = np.concatenate([ids, test])
    shares = np.bincount(both, minlength=len(vocabulary)) / len(both)
    top = np.sort(np.argsort(-shares, kind="stable")[:32])
    return Counting(
        given.name,
        unit,
        len(both),
        len(test),
        float((test == other).mean()),
        vocabulary,
        shares,
        _pairs(both, len(vocabulary), top),
        tuple(vocabulary[i] for i in top),
        float(-(shares[shares > 0] * np.log2(shares[shares > 0])).sum()),
        smoothing,
        model.discount,
        tuple(scores),
        seed,
        model,
    )


def _vocabulary(learned: Sequence[str], tested: Sequence[str], unit: str) -> tuple[str, ...]:
    """All characters of the text; of words, those that the learned part has twice, and one token for the others."""
    if unit == "chars":
        return tuple(sorted({*learned, *tested}))
    words, counts = np.unique(np.array(learned, dtype=object).astype(str), return_counts=True)
    return (UNKNOWN, *words[counts > 1].tolist())


def _pairs(ids: np.ndarray, size: int, top: np.ndarray) -> np.ndarray:
    """Shares of what follows each of the tokens `top`, among all that follows it."""
    place = np.full(size, -1)
    place[top] = np.arange(len(top))
    first, second = place[ids[:-1]], place[ids[1:]]
    both = (first >= 0) & (second >= 0)
    table = np.zeros((len(top), len(top)))
    np.add.at(table, (first[both], second[both]), 1)
    followed = np.bincount(ids[:-1], minlength=size)[top]
    return table / np.maximum(followed, 1)[:, None]


def _text(tokens: Sequence[str], unit: str) -> str:
    return "".join(tokens) if unit == "chars" else re.sub(r" (?=[,.;:!?])", "", " ".join(tokens))
