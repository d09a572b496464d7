"""n-gram models against the formulas written out with dictionaries, and against figures measured by another program."""

from __future__ import annotations

import math
from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from weightwalk.errors import UsageError
from weightwalk.language.ngrams import SMOOTHINGS, fit
from weightwalk.language.ngrams.counts import count

SHAKESPEARE = Path(__file__).parents[3] / "shared" / "data" / "tinyshakespeare.txt"
texts = st.lists(st.integers(0, 3), min_size=1, max_size=30)


def slow(text: list[int], size: int, order: int, smoothing: str, discount: float, add: float) -> Any:
    """A function (context, token) -> probability, straight from the papers, a dictionary for each length."""
    order = min(order, len(text))
    runs = {k: Counter(tuple(text[i : i + k]) for i in range(len(text) - k + 1)) for k in range(1, order + 1)}
    numbers = {
        k: (
            runs[k]
            if smoothing != "kneser-ney" or k == order
            else Counter({g: len({r[0] for r in runs[k + 1] if r[1:] == g}) for g in runs[k]})
        )
        for k in runs
    }

    def p(context: tuple[int, ...], token: int) -> float:
        while context and not any(g[:-1] == context for g in runs.get(len(context) + 1, {})):
            context = context[1:]
        k = len(context) + 1
        table = {g[-1]: n for g, n in numbers[k].items() if g[:-1] == context}
        total, kinds = sum(table.values()), sum(n > 0 for n in table.values())
        n = table.get(token, 0)
        if smoothing == "add":
            return (n + add) / (total + add * size)
        shorter = (lambda w: p(context[1:], w)) if context else (lambda w: 1 / size)
        if smoothing == "witten-bell":
            return (n + kinds * shorter(token)) / (total + kinds) if total else shorter(token)
        if smoothing == "kneser-ney":
            if not total:  # it occurs at the very start of the text alone
                return shorter(token)
            return max(n - discount, 0) / total + discount * kinds / total * shorter(token)
        if kinds == size:
            return n / total
        if token in table:
            return (n - discount) / total
        return discount * kinds / total * shorter(token) / (1 - sum(shorter(w) for w in table))

    return p


@settings(max_examples=60, deadline=None)
@given(texts, st.integers(1, 4), st.sampled_from(SMOOTHINGS), st.sampled_from([0.3, 0.75]), texts)
def test_every_probability_is_the_formula(
    text: list[int], order: int, smoothing: str, discount: float, other: list[int]
) -> None:
    model = fit(np.array(text), 4, order=order, smoothing=smoothing, discount=discount, add=0.2)
    oracle = slow(text, 4, order, smoothing, discount, 0.2)
    expected = []
    for i, token in enumerate(other):
        context = other[max(0, i - order + 1) : i]
        p = model.probabilities(context)
        assert p.sum() == pytest.approx(1, abs=1e-12)
        mine = [oracle(tuple(context[: len(text)]), w) for w in range(4)]
        if sum(mine) == pytest.approx(1, abs=1e-9):
            assert p == pytest.approx(mine, abs=1e-12)
        expected.append(-math.log(p[token]))
    assert model.surprisals(np.array(other)) == pytest.approx(expected, rel=1e-12)


@given(texts, st.integers(1, 5))
def test_counts_are_counts(text: list[int], order: int) -> None:
    tables = count(np.array(text), 4, order)
    assert len(tables) == min(order, len(text))
    runs: list[tuple[int, ...]] = [()]
    for k, table in enumerate(tables, start=1):
        longer = [(*runs[c], int(w)) for c, w in zip(table.contexts, table.tokens, strict=True)]
        assert dict(zip(longer, table.counts.tolist(), strict=True)) == Counter(
            tuple(text[i : i + k]) for i in range(len(text) - k + 1)
        )
        if k > 1:
            assert [runs[s] for s in table.suffixes] == [run[1:] for run in longer]
        runs = longer


def test_what_is_generated_has_the_odds_of_the_model() -> None:
    """Chi-square of 4,000 tokens after "a" in abracadabra, three degrees of freedom: 16.3 is exceeded in 0.1 %."""
    ids = np.frombuffer(b"abracadabra" * 4, dtype=np.uint8).astype(np.int64) - ord("a")
    model = fit(ids, 26, order=2, smoothing="backoff", discount=0.5)
    text = model.generate(20_000, seed=5)
    assert text == model.generate(20_000, seed=5) != model.generate(20_000, seed=6)
    after = Counter(b for a, b in pairwise(text) if a == 0)
    p = model.probabilities([0])
    common = [w for w in range(26) if p[w] > 0.02]
    n = sum(after.values())
    assert sum((after[w] - n * p[w]) ** 2 / (n * p[w]) for w in common) < 20


@pytest.mark.skipif(not SHAKESPEARE.is_file(), reason="tinyshakespeare.txt is not beside the project")
@pytest.mark.parametrize(
    ("order", "smoothing", "nats"),
    [(1, "kneser-ney", 3.347), (3, "kneser-ney", 2.041), (6, "kneser-ney", 1.5385), (6, "witten-bell", 1.698)],
)
def test_tinyshakespeare(order: int, smoothing: str, nats: float) -> None:
    """Held-out nats per character, last 10 %, as another program measured them (discount 0.75)."""
    text = SHAKESPEARE.read_text(encoding="utf-8")
    letters = {c: i for i, c in enumerate(sorted(set(text)))}
    ids = np.array([letters[c] for c in text])
    cut = 1_003_854
    model = fit(ids[:cut], len(letters), order=order, smoothing=smoothing, discount=0.75)
    assert model.loss(ids[cut:]) == pytest.approx(nats, abs=6e-4)


@pytest.mark.parametrize(
    ("act", "message"),
    [
        (lambda: fit(np.array([], dtype=int), 3), "The text is empty: there is nothing to count."),
        (lambda: fit(np.array([0, 3]), 3), "There is no token 3; ids go from 0 to 2."),
        (lambda: fit(np.array([0]), 3, order=0), "The order is 1 (single tokens) or more; got 0."),
        (lambda: fit(np.array([0]), 3, smoothing="laplace"), "There is no smoothing 'laplace'; there are kneser-ney"),
        (lambda: fit(np.array([0]), 3, discount=1.0), "The discount lies between 0 and 1"),
        (lambda: fit(np.array([0]), 3, add=0.0), "must be a number above 0; got 0.0"),
        (lambda: fit(np.array([0]), 3).surprisals(np.array([-1])), "There is no token -1; ids go from 0 to 2."),
        (lambda: fit(np.array([0]), 3).probabilities([7]), "There is no token 7; ids go from 0 to 2."),
    ],
)
def test_what_cannot_be_done_is_said(act: Any, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        act()
    assert message in str(caught.value)
