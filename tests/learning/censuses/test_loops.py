"""Following a net's own answers, held to a person with a pencil."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from weightwalk.learning.censuses.loops import cycle_from, follow

TOKENS = ("hello", "world", "cat", "dog", "silly", "cute", "!")


def walked(start: int, then: dict[int, int], most: int) -> int | None:
    """The end reached within so many steps, or None: `while s != "!": s = forward(s)` with a limit."""
    for _ in range(most):
        if start not in then:
            return start
        start = then[start]
    return None if start in then else start


@given(st.lists(st.lists(st.integers(0, 6), min_size=6, max_size=6), min_size=1, max_size=5))
def test_ends_and_loops_are_those_of_walking_on(answers: list[list[int]]) -> None:
    found = follow(np.array(answers), np.arange(6), TOKENS)
    for k, says in enumerate(answers):
        then = dict(enumerate(says))
        for start in range(6):
            reached = walked(start, then, 7)
            assert found.ends[k, start] == (reached is not None)
            assert reached == walked(start, then, 1000), "V steps decide"
            if reached is None:
                name = found.names[found.loop[k, start]]
                tokens = [TOKENS.index(t) for t in name.split("→")]
                assert all(then[a] == b for a, b in pairwise(tokens))
                assert tokens[0] == tokens[-1] == min(tokens) and len(set(tokens)) == len(tokens) - 1
            else:
                assert found.loop[k, start] == -1


def test_the_loop_of_the_story() -> None:
    """dog says dog, so silly, cat and cute end there too."""
    found = follow(np.array([[1, 6, 3, 3, 3, 2]]), np.arange(6), TOKENS)
    assert found.names == ("dog→dog",)
    assert found.loop.tolist() == [[-1, -1, 0, 0, 0, 0]]
    assert found.in_loop("dog→dog").tolist() == [True] and found.in_loop("cat→cat").tolist() == [False]


def test_a_loop_has_one_name_wherever_it_is_entered() -> None:
    then = {0: 1, 1: 2, 2: 1}
    assert cycle_from(0, then) == cycle_from(1, then) == cycle_from(2, then) == [1, 2]


def test_of_a_token_on_two_rows_the_first_counts() -> None:
    found = follow(np.array([[2, 0, 1]]), np.array([0, 1, 0]), ("a", "b", "c"))
    assert found.ends.tolist() == [[True, True]]
