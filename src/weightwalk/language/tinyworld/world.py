"""A world of facts that is spoken of in sentences with known odds.

Every sentence that can be said is listed, sorted by its words, with its probability as a whole number over a common
sum. The sentences that begin with some words are then neighbours, and the probability of the next word is a difference
of cumulative sums: exact, and quick.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import cache, cached_property
from importlib.resources import files
from typing import Any

import numpy as np

from weightwalk.errors import UsageError
from weightwalk.language.tinyworld.grammar import common_weights, patterns

END = "."
"""The last word of every sentence."""


@dataclass(frozen=True, eq=False)
class Tinyworld:
    """A probability distribution over sentences.

    Attributes:
        facts: The tables and patterns that it was built from.
        words: Every word, by id; the full stop is one.
        sentences: Word ids, int32, shape (sentences, longest), filled up with -1, in lexicographic order.
        weights: A whole number for each sentence, shape (sentences,).
        total: Their sum: a sentence's probability is its weight over this.
        combines: Which sentences are combinations of facts that other sentences tell, so that they can be held out.
    """

    facts: Mapping[str, Any]
    words: tuple[str, ...]
    sentences: np.ndarray
    weights: np.ndarray
    total: int
    combines: np.ndarray

    @cached_property
    def _ids(self) -> dict[str, int]:
        return {word: i for i, word in enumerate(self.words)}

    @cached_property
    def _cumulative(self) -> np.ndarray:
        return np.concatenate([np.zeros(1, dtype=self.weights.dtype), np.cumsum(self.weights)])

    @property
    def probabilities(self) -> np.ndarray:
        """Probability of each sentence, float64."""
        return np.asarray(self.weights / self.total, dtype=np.float64)

    @property
    def lengths(self) -> np.ndarray:
        """Words of each sentence, the full stop included."""
        return (self.sentences >= 0).sum(axis=1)

    def next(self, prefix: str = "") -> dict[str, Fraction]:
        """The exact probabilities of the next word.

        Sentences are independent of each other, so only the words since the last full stop matter.

        Args:
            prefix: A text: whole sentences, or the beginning of one.

        Returns:
            Word -> probability, the likeliest first (words of equal odds by the alphabet); they add up to 1.

        Raises:
            UsageError: A word that this world does not have, or words that no sentence begins with.

        Example:
            >>> world = tinyworld()
            >>> world.next("The capital of France is")
            {'Paris': Fraction(1, 1)}
            >>> {word: str(p) for word, p in world.next("The cute").items()}
            {'cat': '112/285', 'dog': '3/10', 'rabbit': '58/285', 'duck': '59/570'}
        """
        low, high, depth = self._range(prefix)
        following = self.sentences[low:high, depth]
        starts = np.flatnonzero(np.diff(following, prepend=-2))
        ends = np.append(starts[1:], high - low)
        whole = int(self._cumulative[high] - self._cumulative[low])
        odds = {
            self.words[following[a]]: Fraction(int(self._cumulative[low + b] - self._cumulative[low + a]), whole)
            for a, b in zip(starts.tolist(), ends.tolist(), strict=True)
        }
        return dict(sorted(odds.items(), key=lambda item: (-item[1], item[0])))

    def probability(self, sentence: str) -> Fraction:
        """The exact probability of a whole sentence; 0 for what is never said.

        >>> tinyworld().probability("The capital of France is Rome.")
        Fraction(0, 1)
        """
        try:
            low, high, depth = self._range(sentence, whole=True)
        except UsageError:
            return Fraction(0)
        if depth < self.sentences.shape[1] and self.sentences[low, depth] >= 0:
            return Fraction(0)
        return Fraction(int(self._cumulative[high] - self._cumulative[low]), self.total)

    def entropy(self) -> float:
        """Bits per word: ``-sum p log2 p / sum p length`` over sentences; what the best possible model needs.

        >>> 1 < tinyworld().entropy() < 3
        True
        """
        p = self.probabilities
        return float(-(p * np.log2(p)).sum() / (p * self.lengths).sum())

    def entropy_per_character(self) -> float:
        """Bits per character of its text, the space after each sentence included."""
        sizes = np.array([len(w) + (w not in {END, ","}) for w in self.words] + [0])  # a space before most words
        p = self.probabilities
        characters = sizes[self.sentences].sum(axis=1)  # -1 picks the last size, which is 0
        return float(-(p * np.log2(p)).sum() / (p * characters).sum())

    def sample(self, n: int, seed: int = 0) -> list[str]:
        """`n` sentences, drawn independently."""
        if n < 0:
            raise UsageError(f"The number of sentences must be 0 or more; got {n}.")
        drawn = np.random.default_rng(seed).random(n) * float(self._cumulative[-1])
        places = np.searchsorted(self._cumulative[1:].astype(np.float64), drawn, side="right")
        return [self._text(self.sentences[min(i, len(self.weights) - 1)]) for i in places.tolist()]

    def text(self, n: int, seed: int = 0) -> str:
        """`n` sentences as one text, a space between."""
        return " ".join(self.sample(n, seed))

    def hold_out(self, share: float, seed: int = 0) -> tuple[Tinyworld, Tinyworld]:
        """Two worlds without a sentence in common: one to learn from, one of new combinations of its facts.

        Of the sentences that combine facts, this share is held out; each fact stays in the first world. The odds among
        the sentences of each are as before.

        Raises:
            UsageError: A share that is not between 0 and 1, or that leaves one of the two with nothing to say.
        """
        if not 0 < share < 1:
            raise UsageError(f"The share to hold out is between 0 and 1; got {share}.")
        held = self.combines & (np.random.default_rng(seed).random(len(self.weights)) < share)
        if not held.any():
            raise UsageError(f"A share of {share} holds out no sentence; give a larger one.")
        return self._part(~held), self._part(held)

    def edit(self, table: str, where: Mapping[str, str], **values: str) -> Tinyworld:
        """The world with a fact changed.

        Args:
            table: Its table, such as ``"capitals"``.
            where: Which rows: ``{"country": "France"}``.
            **values: What they shall say: ``capital="Lyon"``.

        Raises:
            UsageError: No such table, row or column.

        Example:
            >>> world = tinyworld().edit("capitals", {"country": "France"}, capital="Lyon")
            >>> world.next("The capital of France is")
            {'Lyon': Fraction(1, 1)}
        """
        tables = self.facts["tables"]
        if table not in tables:
            raise UsageError(f"There is no table {table!r}; there are {', '.join(tables)}.")
        hit = [all(row.get(k) == v for k, v in where.items()) for row in tables[table]]
        if not any(hit):
            raise UsageError(f"No row of {table!r} has {', '.join(f'{k} = {v}' for k, v in where.items())}.")
        unknown = [k for k in values if any(h and k not in row for h, row in zip(hit, tables[table], strict=True))]
        if unknown:
            raise UsageError(f"The table {table!r} has no column {unknown[0]!r}; it has {', '.join(tables[table][0])}.")
        rows = [{**row, **values} if h else row for h, row in zip(hit, tables[table], strict=True)]
        return build({**self.facts, "tables": {**tables, table: rows}})

    def _part(self, keep: np.ndarray) -> Tinyworld:
        weights = self.weights[keep]
        total = int(weights.sum())
        return Tinyworld(self.facts, self.words, self.sentences[keep], weights, total, self.combines[keep])

    def _range(self, text: str, whole: bool = False) -> tuple[int, int, int]:
        """The sentences that begin with the last, unfinished one of `text`: from, to, and its number of words."""
        said = words_of(text)
        if END in said and not whole:
            said = said[len(said) - said[::-1].index(END) :]
        low, high = 0, len(self.weights)
        for depth, word in enumerate(said):
            if word not in self._ids:
                near = difflib.get_close_matches(word, self.words, n=1)
                hint = f"; did you mean {near[0]!r}?" if near else "."
                raise UsageError(f"Tinyworld has no word {word!r}{hint}")
            column = self.sentences[low:high, depth] if depth < self.sentences.shape[1] else np.empty(0, np.int32)
            left, right = np.searchsorted(column, [self._ids[word], self._ids[word] + 1])
            if left == right:
                begun = " ".join(said[: depth + 1])
                raise UsageError(f"No sentence of Tinyworld begins with {begun!r}.")
            low, high = low + int(left), low + int(right)
        return low, high, len(said)

    def _text(self, ids: np.ndarray) -> str:
        return text_of([self.words[i] for i in ids if i >= 0])


def words_of(text: str) -> list[str]:
    """The words of a text; commas and full stops are words.

    >>> words_of("The cat eats fish.")
    ['The', 'cat', 'eats', 'fish', '.']
    """
    return re.findall(r"[^\W_]+|[^\w\s]|_", text)


def text_of(words: list[str]) -> str:
    """Words as a text: a space before each but the first, and none before a comma or a full stop.

    >>> text_of(["Leo", "has", "one", ",", "or", "two", "."])
    'Leo has one, or two.'
    """
    return re.sub(r" (?=[,.])", "", " ".join(words))


def build(facts: Mapping[str, Any]) -> Tinyworld:
    """The world of these facts: every sentence, sorted, with its weight; one that can be said in two ways is one.

    Raises:
        UsageError: Facts that do not fit together; see `weightwalk.language.tinyworld.grammar.patterns`.
    """
    found, names = patterns(facts)
    order = {name: i for i, name in enumerate(sorted(names))}
    renumber = np.array([order[name] for name in names], dtype=np.int32)
    longest = max(p.words.shape[1] for p in found)
    rows = np.concatenate(
        [np.pad(renumber[p.words], ((0, 0), (0, longest - p.words.shape[1])), constant_values=-1) for p in found]
    )
    weights, total = common_weights(found)
    combines = np.concatenate([np.full(len(p.weights), p.combines) for p in found])
    sentences, first, where = np.unique(rows, axis=0, return_index=True, return_inverse=True)
    merged = np.zeros(len(sentences), dtype=weights.dtype)
    np.add.at(merged, where.reshape(-1), weights)
    return Tinyworld(facts, tuple(sorted(names)), sentences, merged, total, combines[first])


@cache
def tinyworld() -> Tinyworld:
    """The world that comes along, built once.

    Example:
        >>> world = tinyworld()
        >>> world.text(2, seed=3)
        'Clara is the sister of Hugo. Ida met the big horse and the cute cat.'
    """
    return build(json.loads((files(__package__ or "") / "facts.json").read_text(encoding="utf-8")))
