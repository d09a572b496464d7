"""Rules that sort trainings by outcome: a small language of comparisons, read here and never evaluated as Python.

A rule is ``name: condition``. A condition compares measures with numbers or with each other::

    solved: right == all
    fits:   held_rmse < 0.05
    line:   from_line < 0.1 * line_rmse and not kinks > 0
    stuck:  (loss > 0.5 or diverged) and dead_start > 0

``and``, ``or``, ``not``, parentheses, ``< <= > >= == !=``, a factor before a measure; a measure alone means that it is
not 0. A comparison with a number that is not known (NaN) does not hold.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import reduce
from typing import Any, cast

import numpy as np

from weightwalk.errors import UsageError

Values = Mapping[str, np.ndarray]
Test = Callable[[Values], np.ndarray]

TOKEN = re.compile(r"\s*(?:(<=|>=|==|!=|<|>|=|\(|\)|\*|-)|(\d+\.?\d*(?:e[-+]?\d+)?|\.\d+(?:e[-+]?\d+)?)|"
                   r"([A-Za-z_]\w*(?:\[[^\]]*\])?))", re.I)  # fmt: skip
NAME = re.compile(r"[^\W\d][\w-]*")

COMPARISONS: dict[str, Callable[[Any, Any], np.ndarray]] = {
    "<": np.less, "<=": np.less_equal, ">": np.greater, ">=": np.greater_equal,
    "==": np.equal, "=": np.equal, "!=": lambda a, b: np.not_equal(a, b) & ~np.isnan(a) & ~np.isnan(b),
}  # fmt: skip
WORDS = ("and", "or", "not")
OTHER = "other"


@dataclass(frozen=True)
class Rule:
    """One outcome and when it is that.

    Attributes:
        name: The outcome.
        text: The condition as it was written.
        measures: Names of the measures that it looks at; empty for a Python function, which may look at any.
        test: The condition: takes measures by name, each of shape (seeds,), and gives booleans of shape (seeds,).
    """

    name: str
    text: str
    measures: tuple[str, ...] = ()
    test: Test = field(default=lambda values: np.zeros(0, bool), repr=False, compare=False)


def rule(text: str) -> Rule:
    """Read ``"name: condition"``.

    Raises:
        UsageError: It cannot be read; the message says where.

    >>> stuck = rule("stuck: loss > 0.5 and dead_start > 0")
    >>> stuck.measures
    ('loss', 'dead_start')
    >>> stuck.test({"loss": np.array([0.6, 0.6, 0.1]), "dead_start": np.array([0, 2, 2])})
    array([False,  True, False])
    """
    name, colon, condition = text.partition(":")
    if not colon or not NAME.fullmatch(name.strip()) or not condition.strip():
        raise UsageError(f"{text!r} is no rule: write NAME: CONDITION, such as 'solved: right == all'.")
    if name.strip() == OTHER:
        raise UsageError("An outcome 'other' is there already: it takes what no rule matched; choose another name.")
    reader = _Reader(condition.strip(), text)
    test = reader.read()
    return Rule(name.strip(), condition.strip(), tuple(dict.fromkeys(reader.measures)), test)


def rules_of(given: Iterable[str | Rule] | Mapping[str, str | Test]) -> tuple[Rule, ...]:
    """Rules from texts, or from outcomes with a condition or a function of the measures each.

    Raises:
        UsageError: One cannot be read, or two have one name.
    """
    if isinstance(given, str):
        given = [given]
    items: list[Rule] = []
    if isinstance(given, Mapping):
        for name, condition in given.items():
            if callable(condition):
                said = getattr(condition, "__name__", "a function")
                test = cast(Test, condition)
                items.append(Rule(str(name), "a function" if said == "<lambda>" else said, (), test))
            else:
                items.append(rule(f"{name}: {condition}"))
    else:
        items = [each if isinstance(each, Rule) else rule(each) for each in given]
    names = [each.name for each in items]
    twice = next((n for n in names if names.count(n) > 1), None)
    if twice is not None:
        raise UsageError(f"Two rules are called {twice!r}; join their conditions with 'or', or name them apart.")
    if OTHER in names:
        raise UsageError("An outcome 'other' is there already: it takes what no rule matched; choose another name.")
    return tuple(items)


def sorted_by(rules: Sequence[Rule], values: Values, seeds: int) -> np.ndarray:
    """For each seed the number of the first rule that holds; ``len(rules)`` where none does.

    Raises:
        UsageError: A function gave something else than one truth value per seed.
    """
    out = np.full(seeds, len(rules))
    for k, each in reversed(list(enumerate(rules))):
        holds = np.asarray(each.test(values))
        if holds.shape != (seeds,) or holds.dtype != bool:
            raise UsageError(
                f"The rule {each.name!r} gave {holds.dtype} of shape {holds.shape}; it must give one True or False "
                f"per seed: booleans of shape ({seeds},)."
            )
        out[holds] = k
    return out


def unknown(name: str, known: Iterable[str], task: str) -> UsageError:
    """What to say of a measure that there is not."""
    names = list(known)
    near = difflib.get_close_matches(name, names, n=2, cutoff=0.6)
    hint = f"did you mean {' or '.join(near)}?" if near else f"there are {', '.join(names)}."
    return UsageError(f"There is no measure {name!r} of {task}; {hint}")


class _Reader:
    """Recursive descent; every method returns a test or a value, and nothing is run before a seed is judged."""

    def __init__(self, condition: str, whole: str) -> None:
        self.whole = whole
        self.measures: list[str] = []
        self.tokens: list[str] = []
        self.at = 0
        place = 0
        while place < len(condition):
            found = TOKEN.match(condition, place)
            if found is None:
                if not condition[place:].strip():
                    break
                raise self.wrong(f"{condition[place:].strip()[:20]!r} is not understood")
            self.tokens.append(found[0].strip())
            place = found.end()

    def wrong(self, what: str) -> UsageError:
        return UsageError(
            f"The rule {self.whole!r} cannot be read: {what}. A condition compares measures with numbers, "
            "as in 'loss > 0.5 and dead_start > 0'."
        )

    def peek(self) -> str:
        return self.tokens[self.at] if self.at < len(self.tokens) else ""

    def take(self, *wanted: str) -> str:
        if self.peek() not in wanted:
            return ""
        self.at += 1
        return self.tokens[self.at - 1]

    def read(self) -> Test:
        test = self.any_of(0)
        if self.peek():
            raise self.wrong(f"{self.peek()!r} stands where the condition should end")
        return test

    def any_of(self, depth: int) -> Test:
        tests = [self.all_of(depth)]
        while self.take("or"):
            tests.append(self.all_of(depth))
        return lambda v: reduce(np.logical_or, [t(v) for t in tests])

    def all_of(self, depth: int) -> Test:
        tests = [self.one(depth)]
        while self.take("and"):
            tests.append(self.one(depth))
        return lambda v: reduce(np.logical_and, [t(v) for t in tests])

    def one(self, depth: int) -> Test:
        if depth > 50:
            raise self.wrong("it is nested too deeply")
        if self.take("not"):
            test = self.one(depth + 1)
            return lambda v: ~test(v)
        if self.take("("):
            test = self.any_of(depth + 1)
            if not self.take(")"):
                raise self.wrong("a parenthesis is not closed")
            return test
        return self.comparison()

    def comparison(self) -> Test:
        before = len(self.measures)
        sides, signs = [self.side()], []
        while sign := self.take(*COMPARISONS):
            signs.append(COMPARISONS[sign])
            sides.append(self.side())
        if len(self.measures) == before:
            raise self.wrong("a comparison of numbers alone is always the same")
        if not signs:
            only = sides[0]
            return lambda v: (only(v) != 0) & ~np.isnan(only(v))

        def test(v: Values) -> np.ndarray:
            numbers = [side(v) for side in sides]
            return reduce(np.logical_and, map(lambda sign, a, b: sign(a, b), signs, numbers, numbers[1:]))

        return test

    def side(self) -> Callable[[Values], np.ndarray]:
        minus = -1.0 if self.take("-") else 1.0
        token = self.peek()
        if re.match(r"[\d.]", token):
            self.at += 1
            factor = minus * float(token)
            if not self.take("*"):
                return lambda v: np.asarray(factor)
            minus, token = factor, self.peek()
        if not re.match(r"[A-Za-z_]", token) or token in WORDS:
            raise self.wrong(f"a measure or a number is missing {f'before {token!r}' if token else 'at the end'}")
        self.at += 1
        self.measures.append(token)
        return lambda v: minus * np.asarray(v[token], float)
