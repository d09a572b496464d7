"""Tinyworld against a slow telling of the same facts, and the laws of probability."""

from __future__ import annotations

import itertools
import json
import math
import random
import re
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from weightwalk.errors import UsageError
from weightwalk.language.tinyworld import tinyworld
from weightwalk.language.tinyworld.world import build, text_of, words_of

SMALL: dict[str, Any] = {
    "tables": {
        "capitals": [{"country": "France", "capital": "Paris"}, {"country": "Italy", "capital": "Rome", "weight": 3}],
        "people": [{"person": "Ann", "kind": "woman", "mother": None, "father": None}],
        "looks": [{"look": "cute", "animal": "cat", "weight": 2}, {"look": "cute", "animal": "dog"}],
    },
    "numbers": ["zero", "one", "two"],
    "topics": [
        {
            "topic": "a",
            "weight": 2,
            "sentences": [
                {"weight": 3, "say": "The capital of {c.country} is {c.capital}.", "draw": {"c": "capitals"}},
                {
                    "say": "{c.capital}, not {d.capital}.",
                    "draw": {"c": "capitals", "d": "capitals"},
                    "differ": ["c", "d"],
                    "combines": True,
                },
            ],
        },
        {
            "topic": "b",
            "sentences": [
                {"say": "The {x.look} {x.animal}.", "draw": {"x": "looks"}},
                {"weight": 5, "say": "{s.first} plus {s.second} is {s.total}.", "draw": {"s": "sums"}},
                {"say": "The cute cat.", "draw": {}},
            ],
        },
    ],
}


def slowly(facts: dict[str, Any]) -> dict[str, Fraction]:
    """Sentence -> probability, one at a time, from the facts as text."""
    numbers = facts["numbers"]
    tables = dict(facts["tables"])
    tables["sums"] = [
        {"first": a, "second": b, "total": numbers[numbers.index(a) + numbers.index(b)]}
        for a in numbers
        for b in numbers
        if numbers.index(a) + numbers.index(b) < len(numbers)
    ]
    out: dict[str, Fraction] = {}
    topics = sum(t.get("weight", 1) for t in facts["topics"])
    for topic in facts["topics"]:
        patterns = sum(s.get("weight", 1) for s in topic["sentences"])
        for s in topic["sentences"]:
            told: list[tuple[str, int]] = []
            for rows in itertools.product(*(tables[t] for t in s["draw"].values())):
                drawn = dict(zip(s["draw"], rows, strict=True))
                if "differ" in s and drawn[s["differ"][0]] is drawn[s["differ"][1]]:
                    continue
                say = re.sub(r"\{(\w+)\.(\w+)\}", lambda m, d=drawn: d[m[1]][m[2]], s["say"])
                told.append((say, math.prod(r.get("weight", 1) for r in rows)))
            share = Fraction(topic.get("weight", 1), topics) * Fraction(s.get("weight", 1), patterns)
            for say, weight in told:
                out[say] = out.get(say, Fraction(0)) + share * Fraction(weight, sum(w for _, w in told))
    return out


def test_every_sentence_has_the_probability_of_the_slow_telling() -> None:
    world, told = build(SMALL), slowly(SMALL)
    assert len(world.weights) == len(told) == 12 and sum(told.values()) == 1
    assert {say: world.probability(say) for say in told} == told
    for prefix in ("", "The", "The cute", "The capital of", "one plus", "Rome,"):
        begun = words_of(prefix)
        expected: dict[str, Fraction] = {}
        for say, p in told.items():
            said = words_of(say)
            if said[: len(begun)] == begun:
                expected[said[len(begun)]] = expected.get(said[len(begun)], Fraction(0)) + p
        whole = sum(expected.values())
        assert world.next(prefix) == {word: p / whole for word, p in expected.items()}
    bits = -sum(float(p) * math.log2(p) for p in told.values())
    assert world.entropy() == pytest.approx(bits / sum(float(p) * len(words_of(s)) for s, p in told.items()), rel=1e-14)


def test_the_chain_rule_holds_in_the_great_world() -> None:
    world = tinyworld()
    assert 200_000 < len(world.weights) < 500_000
    assert int(world.weights.sum()) == world.total
    for sentence in world.sample(60, seed=1):
        product, said = Fraction(1), words_of(sentence)
        for i, word in enumerate(said):
            odds = world.next(text_of(said[:i]))
            assert sum(odds.values()) == 1
            assert list(odds.values()) == sorted(odds.values(), reverse=True)
            product *= odds[word]
        assert product == world.probability(sentence) > 0


def test_what_came_before_the_last_full_stop_does_not_matter() -> None:
    world = tinyworld()
    assert world.next("Leo lives in Rome, the capital of Italy. The cute") == world.next("The cute")
    assert world.next("The cat eats fish.") == world.next("")


def test_sampled_sentences_have_the_odds_that_are_told() -> None:
    """Chi-square over the 12 sentences of the small world, 11 degrees of freedom: 31.3 is exceeded in 0.1 %."""
    world, told, n = build(SMALL), slowly(SMALL), 20_000
    drawn = world.sample(n, seed=0)
    assert drawn == world.sample(n, seed=0) != world.sample(n, seed=1)
    assert sum((drawn.count(s) - n * p) ** 2 / (n * p) for s, p in told.items()) < 31.3


def test_facts_are_true_of_each_other() -> None:
    """Sums add up, and who is a mother has a child."""
    world = tinyworld()
    numbers = world.facts["numbers"]
    for a, b in random.Random(0).sample(list(itertools.combinations(range(11), 2)), 20):
        assert world.next(f"{numbers[a]} plus {numbers[b]} is") == {numbers[a + b]: 1}
        assert world.next(f"{numbers[a + b]} minus {numbers[a]} is") == {numbers[b]: 1}
    assert set(world.next("The mother of Clara is")) == {"Anna"}
    assert set(world.next("The brother of Clara is")) == {"Hugo"}
    assert set(world.next("The grandfather of Felix is")) == {"Ben"}
    assert world.probability("Anna is the grandmother of Emma.") > 0
    assert world.probability("Emma is the mother of Anna.") == 0


def test_held_out_sentences_are_new_and_their_odds_are_kept() -> None:
    world = tinyworld()
    train, held = world.hold_out(0.1, seed=4)
    assert len(train.weights) + len(held.weights) == len(world.weights)
    assert train.total + held.total == world.total
    assert np.mean(world.combines) * 0.09 < len(held.weights) / len(world.weights) < 0.11
    for sentence in held.sample(50):
        assert train.probability(sentence) == 0
        assert held.probability(sentence) == world.probability(sentence) * Fraction(world.total, held.total)
    assert train.next("The capital of France is") == {"Paris": 1}, "facts stay in the world to learn from"


def test_an_edit_changes_a_fact_and_nothing_beside_it() -> None:
    world = tinyworld()
    other = world.edit("capitals", {"country": "France"}, capital="Lyon")
    assert other.next("The capital of France is") == {"Lyon": 1}
    assert other.next("Lyon is the capital of") == {"France": 1}
    assert other.next("The capital of Spain is") == {"Madrid": 1}
    assert world.next("The capital of France is") == {"Paris": 1}
    assert other.entropy() == pytest.approx(world.entropy(), rel=1e-12), "names do not change how much there is to know"


def facts(**changes: Any) -> dict[str, Any]:
    return {**json.loads(json.dumps(SMALL)), **changes}


def say(sentence: dict[str, Any]) -> dict[str, Any]:
    return facts(topics=[{"topic": "a", "sentences": [sentence]}])


@pytest.mark.parametrize(
    ("act", "message"),
    [
        (lambda: tinyworld().next("The capitol of"), "Tinyworld has no word 'capitol'; did you mean 'capital'?"),
        (lambda: tinyworld().next("The is"), "No sentence of Tinyworld begins with 'The is'."),
        (lambda: tinyworld().hold_out(1.0), "The share to hold out is between 0 and 1; got 1.0."),
        (lambda: tinyworld().sample(-1), "The number of sentences must be 0 or more; got -1."),
        (lambda: build(SMALL).hold_out(1e-9), "A share of 1e-09 holds out no sentence; give a larger one."),
        (lambda: tinyworld().edit("cities", {}), "There is no table 'cities'; there are capitals, animals"),
        (lambda: tinyworld().edit("capitals", {"country": "Mars"}), "No row of 'capitals' has country = Mars."),
        (lambda: tinyworld().edit("capitals", {"country": "Peru"}, size="1"), "'capitals' has no column 'size'"),
        (lambda: tinyworld().edit("capitals", {"country": "Peru"}, capital="New York"), "'New York' is not one word"),
        (lambda: build(facts(topics=[])), "These facts have no sentence to say"),
        (lambda: build(say({"say": "{c.x}.", "draw": {"c": "capitals"}})), "names c.x, which is no column"),
        (lambda: build(say({"say": "{c.x}.", "draw": {"c": "moons"}})), "draws from a table 'moons'; there are"),
        (lambda: build(say({"say": "No.", "weight": 0})), "The weight of a sentence must be a whole number above 0"),
        (
            lambda: build(say({"say": "{p.person}.", "draw": {"p": "people", "q": "people"}, "differ": ["p", "q"]})),
            "can never be said: no two rows differ, or a table is empty.",
        ),
    ],
)
def test_what_cannot_be_done_is_said(act: Any, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        act()
    assert message in str(caught.value)
