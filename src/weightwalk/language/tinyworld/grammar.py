"""From facts and sentence patterns to every sentence that can be said, each with its exact probability.

A pattern such as ``"The capital of {c.country} is {c.capital}."`` draws one row of the table ``capitals``. Topics,
patterns and rows are drawn by their weights, so a sentence's probability is a product of fractions; where two draws
must differ, the rest is scaled up again.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import reduce
from typing import Any

import numpy as np

from weightwalk.errors import UsageError

Row = Mapping[str, Any]
WORD = re.compile(r"\{(\w+)\.(\w+)\}|([^\W_]+|[^\w\s])")
MOST = 5_000_000  # sentences; beyond, the tables would not fit a small machine's memory


@dataclass(frozen=True, eq=False)
class Pattern:
    """All sentences of one pattern.

    Attributes:
        topic: What it is about.
        say: The pattern as written.
        combines: Whether its sentences are combinations, of which some can be left out without leaving out a fact.
        words: Word ids, int32, shape (sentences, words per sentence).
        weights: Whole-number weights of its sentences, int64, shape (sentences,).
        share: Probability of the pattern; a sentence's is ``share * weight / sum of weights``.
    """

    topic: str
    say: str
    combines: bool
    words: np.ndarray
    weights: np.ndarray
    share: Fraction


def patterns(facts: Mapping[str, Any]) -> tuple[list[Pattern], list[str]]:
    """Every pattern with its sentences, and the words by id.

    Raises:
        UsageError: A pattern names a table or a column that is not there, a value is not one word, a weight is no whole
            number above 0, or there is nothing to say.
    """
    tables = {**facts["tables"], **derived(facts)}
    ids: dict[str, int] = {}
    found: list[Pattern] = []
    topics = facts["topics"]
    topic_total = sum(_weight(t, "a topic") for t in topics)
    for topic in topics:
        total = sum(_weight(s, "a sentence") for s in topic["sentences"])
        for sentence in topic["sentences"]:
            share = Fraction(_weight(topic, "a topic"), topic_total) * Fraction(_weight(sentence, "a sentence"), total)
            words, weights = _sentences(sentence, tables, ids)
            found.append(
                Pattern(topic["topic"], sentence["say"], bool(sentence.get("combines")), words, weights, share)
            )
    if not found:
        raise UsageError("These facts have no sentence to say: give topics with sentences.")
    return found, list(ids)


def derived(facts: Mapping[str, Any]) -> dict[str, list[Row]]:
    """The tables that follow from others: sums of small numbers, and who is what to whom in a family."""
    numbers: Sequence[str] = facts.get("numbers", ())
    sums: list[Row] = [
        {"first": a, "second": b, "total": numbers[i + j]}
        for i, a in enumerate(numbers)
        for j, b in enumerate(numbers)
        if i + j < len(numbers)
    ]
    return {"sums": sums, "relations": _relations(facts["tables"].get("people", ()))}


def _relations(people: Sequence[Row]) -> list[Row]:
    kinds = {p["person"]: p["kind"] for p in people}
    parents = {p["person"]: [q for q in (p.get("mother"), p.get("father")) if q] for p in people}

    def name(person: str, woman: str, man: str) -> str:
        return woman if kinds.get(person) == "woman" else man

    out: list[Row] = []
    for child, above in parents.items():
        for parent in above:
            out.append({"one": parent, "relation": name(parent, "mother", "father"), "other": child})
            out.append({"one": child, "relation": name(child, "daughter", "son"), "other": parent})
            for elder in parents.get(parent, ()):
                out.append({"one": elder, "relation": name(elder, "grandmother", "grandfather"), "other": child})
        for other, theirs in parents.items():
            if other != child and above and set(above) & set(theirs):
                out.append({"one": child, "relation": name(child, "sister", "brother"), "other": other})
    return out


def _sentences(
    sentence: Row, tables: Mapping[str, Sequence[Row]], ids: dict[str, int]
) -> tuple[np.ndarray, np.ndarray]:
    """Word ids and weights of all sentences of a pattern."""
    draws: Mapping[str, str] = sentence.get("draw", {})
    rows = {name: _table(table, tables, sentence["say"]) for name, table in draws.items()}
    sizes = [len(r) for r in rows.values()]
    if math.prod(sizes) > MOST:
        raise UsageError(
            f"{sentence['say']!r} could be said in {math.prod(sizes):,} ways; at most {MOST:,} are listed."
        )
    places = dict(zip(rows, np.indices(sizes).reshape(len(sizes), -1), strict=True)) if sizes else {}
    weights = np.ones(math.prod(sizes), dtype=np.int64)
    for name, place in places.items():
        weights *= np.array([_weight(r, "a row") for r in rows[name]], dtype=np.int64)[place]
    keep = np.ones(len(weights), dtype=bool)
    if "differ" in sentence:
        one, two = sentence["differ"]
        keep = places[one] != places[two]
    columns: list[np.ndarray] = []
    for name, column, word in WORD.findall(sentence["say"]):
        if not name:
            columns.append(np.full(len(weights), _id(word, ids)))
            continue
        if name not in rows or any(column not in row for row in rows[name]):
            raise UsageError(
                f"{sentence['say']!r} names {name}.{column}, which is no column of a table that it draws from."
            )
        columns.append(np.array([_id(_word(row[column]), ids) for row in rows[name]])[places[name]])
    if not keep.any():
        raise UsageError(f"{sentence['say']!r} can never be said: no two rows differ, or a table is empty.")
    return np.stack(columns, axis=1).astype(np.int32)[keep], weights[keep]


def _table(name: str, tables: Mapping[str, Sequence[Row]], say: str) -> Sequence[Row]:
    if name not in tables:
        raise UsageError(f"{say!r} draws from a table {name!r}; there are {', '.join(tables)}.")
    return tables[name]


def _weight(row: Row, what: str) -> int:
    weight = row.get("weight", 1)
    if not isinstance(weight, int) or isinstance(weight, bool) or weight < 1:
        raise UsageError(f"The weight of {what} must be a whole number above 0; got {weight!r}.")
    return weight


def _word(value: Any) -> str:
    if not isinstance(value, str) or not re.fullmatch(r"[^\W_]+", value):
        raise UsageError(f"{value!r} is not one word of letters and digits; Tinyworld's facts are single words.")
    return value


def _id(word: str, ids: dict[str, int]) -> int:
    return ids.setdefault(word, len(ids))


def common_weights(found: Sequence[Pattern]) -> tuple[np.ndarray, int]:
    """Whole-number weights of all sentences of all patterns in order, and their sum: probability = weight / sum.

    The weights are Python integers where they do not fit 62 bits.
    """
    units = [p.share / int(p.weights.sum()) for p in found]
    scale = reduce(math.lcm, (u.denominator for u in units), 1)
    factors = [int(u * scale) for u in units]
    total = sum(f * int(p.weights.sum()) for f, p in zip(factors, found, strict=True))
    kind: Any = np.int64 if total < 2**62 else object
    return np.concatenate([p.weights.astype(kind) * f for f, p in zip(factors, found, strict=True)]), total
