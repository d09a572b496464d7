"""Rules: read as written, judged seed by seed as a slow reader would, and never run as Python."""

from __future__ import annotations

import math
import operator
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from weightwalk.errors import UsageError
from weightwalk.learning.censuses.rules import OTHER, Rule, rule, rules_of, sorted_by

VALUES = {
    "loss": np.array([0.1, 0.5, 0.6, np.nan, np.inf]),
    "right": np.array([6, 5, 2, 0, 6.0]),
    "all": np.full(5, 6.0),
    "ends[!]": np.array([1, 0, 1, 0, 1.0]),
}

SIGNS: dict[str, Any] = {
    "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge, "==": operator.eq, "!=": operator.ne,
}  # fmt: skip


@pytest.mark.parametrize(
    ("condition", "holds"),
    [
        ("right == all", [1, 0, 0, 0, 1]),
        ("right = all", [1, 0, 0, 0, 1]),
        ("loss < 0.5", [1, 0, 0, 0, 0]),
        ("not loss < 0.5", [0, 1, 1, 1, 1]),
        ("loss != 0.5", [1, 0, 1, 0, 1]),
        ("0.2 < loss <= .6", [0, 1, 1, 0, 0]),
        ("right < 0.5 * all", [0, 0, 1, 1, 0]),
        ("loss > -1e3", [1, 1, 1, 0, 1]),
        ("-1 * right < -5", [1, 0, 0, 0, 1]),
        ("-right < -5", [1, 0, 0, 0, 1]),
        ("ends[!]", [1, 0, 1, 0, 1]),
        ("loss", [1, 1, 1, 0, 1]),
        ("loss < 0.2 or right == 5 and ends[!] == 0", [1, 1, 0, 0, 0]),
        ("(loss < 0.2 or right == 5) and ends[!] == 0", [0, 1, 0, 0, 0]),
        ("not (loss < 0.2 or not ends[!])", [0, 0, 1, 0, 1]),
    ],
)
def test_conditions(condition: str, holds: list[int]) -> None:
    assert rule(f"x: {condition}").test(VALUES).tolist() == [bool(h) for h in holds]


def expressions(depth: int = 3) -> st.SearchStrategy[tuple[str, Any]]:
    """A condition as text, and as a function of one seed's values."""

    def compared(name: str, sign: str, number: int) -> tuple[str, Any]:
        return f"{name} {sign} {number}", lambda v: SIGNS[sign](v[name], number)

    def negated(a: tuple[str, Any]) -> tuple[str, Any]:
        return f"not ({a[0]})", lambda v: not a[1](v)

    def joined(a: tuple[str, Any], word: str, b: tuple[str, Any]) -> tuple[str, Any]:
        both = (lambda v: a[1](v) and b[1](v)) if word == "and" else (lambda v: a[1](v) or b[1](v))
        return f"({a[0]}) {word} ({b[0]})", both

    leaf = st.builds(compared, st.sampled_from(["a", "b"]), st.sampled_from(sorted(SIGNS)), st.integers(0, 3))
    return st.recursive(
        leaf, lambda e: st.builds(negated, e) | st.builds(joined, e, st.sampled_from(["and", "or"]), e), max_leaves=8
    )


@given(expressions(), st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=6))
def test_any_condition_is_judged_as_a_slow_reader_would(
    expression: tuple[str, Any], rows: list[tuple[int, int]]
) -> None:
    text, judged = expression
    values = {"a": np.array([r[0] for r in rows], float), "b": np.array([r[1] for r in rows], float)}
    assert rule(f"x: {text}").test(values).tolist() == [bool(judged({"a": a, "b": b})) for a, b in rows]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("solved", "is no rule: write NAME: CONDITION"),
        ("solved:", "is no rule"),
        (": loss > 1", "is no rule"),
        ("a b: loss > 1", "is no rule"),
        ("other: loss > 1", "takes what no rule matched"),
        ("x: loss >", "is missing at the end"),
        ("x: > 1", "is missing before '>'"),
        ("x: loss > 1 and", "is missing at the end"),
        ("x: (loss > 1", "parenthesis is not closed"),
        ("x: loss > 1)", "stands where the condition should end"),
        ("x: loss > 1 right", "'right' stands where"),
        ("x: loss $ 1", "'$ 1' is not understood"),
        ("x: 1 < 2", "numbers alone"),
        ("x: 5", "numbers alone"),
        ("x: 2 * 3 < loss", "a measure or a number is missing"),
        ("x: __import__('os').system('true') == 0", "cannot be read"),
        ("x: loss.__class__ > 1", "cannot be read"),
        ("x: " + "(" * 200 + "loss > 1" + ")" * 200, "nested too deeply"),
        ("x: " + "not " * 200 + "loss > 1", "nested too deeply"),
    ],
)
def test_what_cannot_be_read_is_refused_in_a_sentence(text: str, said: str) -> None:
    with pytest.raises(UsageError) as error:
        rule(text)
    assert said in str(error.value)


def test_the_first_rule_that_holds_wins() -> None:
    rules = rules_of(["solved: right == all", "bad: loss > 0.5", "five: right >= 5"])
    assert sorted_by(rules, VALUES, 5).tolist() == [0, 2, 1, 3, 0]
    assert sorted_by((), VALUES, 5).tolist() == [0] * 5


def test_rules_from_mappings_texts_and_functions() -> None:
    rules = rules_of({"solved": "right == all", "high": lambda m: m["loss"] > 0.5})
    assert [r.name for r in rules] == ["solved", "high"]
    assert rules[0].measures == ("right", "all") and rules[1].measures == ()
    assert sorted_by(rules, VALUES, 5).tolist() == [0, 2, 1, 2, 0]
    assert rules_of("solved: right == all") == rules_of(["solved: right == all"])
    assert rules_of([Rule("mine", "loss > 1")])[0].name == "mine"


def test_two_rules_of_one_name_are_refused() -> None:
    with pytest.raises(UsageError, match="Two rules are called 'x'"):
        rules_of(["x: loss > 1", "x: loss < 0"])
    with pytest.raises(UsageError, match=OTHER):
        rules_of({"other": lambda m: m["loss"] > 1})


@pytest.mark.parametrize("given", [lambda m: m["loss"], lambda m: True, lambda m: np.array([True])])
def test_a_function_must_give_one_truth_value_per_seed(given: Any) -> None:
    with pytest.raises(UsageError, match="one True or False per seed"):
        sorted_by(rules_of({"mine": given}), VALUES, 5)


def test_comparisons_with_what_is_not_known_do_not_hold() -> None:
    values = {"a": np.array([math.nan])}
    for sign in (*SIGNS, "="):
        assert not rule(f"x: a {sign} 1").test(values)[0]
