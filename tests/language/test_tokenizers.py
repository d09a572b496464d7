"""Tokenizers: round trips, surfaces, and what they say about text that they do not know."""

from __future__ import annotations

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weightwalk.errors import UsageError
from weightwalk.language.tokenizers import PieceTokenizer, Tokenizer, WordTokenizer, ascii_pieces

WORDS = WordTokenizer(["hello", "world", "cat", "dog", "!"])
PIECES = ascii_pieces(["Paris", "France", "the", "then"])


@given(st.integers(0, 4))
def test_token_to_id_to_token(i: int) -> None:
    """CHECKLIST 189: an id is looked up in a list of labels; that is all that idx2token is."""
    assert WORDS.encode(WORDS.tokens[i]) == [i]
    assert WORDS.decode([i]) == WORDS.tokens[i]


@given(st.text(alphabet=[*map(chr, range(32, 127)), "\n"], min_size=1))
def test_any_ascii_text_comes_back(text: str) -> None:
    ids = PIECES.encode(text)
    assert PIECES.decode(ids) == text
    assert "".join(PIECES.tokens[i] for i in ids) == text


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("Paris", ["Paris"]),
        ("in Paris", ["i", "n", " Paris"]),
        ("then the", ["then", " the"]),  # the longest match wins
        ("theft", ["the", "f", "t"]),
        ("  the", [" ", " the"]),
    ],
)
def test_the_longest_piece_wins(text: str, tokens: list[str]) -> None:
    assert [PIECES.tokens[i] for i in PIECES.encode(text)] == tokens


def test_words_and_punctuation_part() -> None:
    assert WORDS.encode("hello world!") == [0, 1, 4]


def test_unknown_words_and_characters_are_named() -> None:
    with pytest.raises(UsageError) as caught:
        WORDS.encode("hello wurld")
    assert str(caught.value) == (
        "The word 'wurld' is unknown to this net: did you mean 'world'? It knows 'hello', 'world', 'cat', 'dog', '!'."
    )
    with pytest.raises(UsageError, match=r"'zebra' is unknown to this net: it knows 'hello'"):
        WORDS.encode("zebra")
    with pytest.raises(UsageError, match=r"The character 'é' \(U\+00E9\) at position 3 has no token"):
        PIECES.encode("Café")


def test_empty_text_is_refused() -> None:
    with pytest.raises(UsageError, match="The text is empty; this net knows the words 'hello'"):
        WORDS.encode("  ")
    with pytest.raises(UsageError, match="The text is empty; give the net at least one character"):
        PIECES.encode("")


@pytest.mark.parametrize("i", [-1, 5])
def test_ids_outside_are_refused(i: int) -> None:
    with pytest.raises(UsageError, match=f"There is no token {i}; ids go from 0 to 4"):
        WORDS.decode([i])


def test_ambiguous_lists_are_refused() -> None:
    with pytest.raises(UsageError, match="holds 'a' twice"):
        WordTokenizer(["a", "a"])
    with pytest.raises(UsageError, match="a piece twice, or an empty one"):
        PieceTokenizer(["a", ""])


def test_long_word_lists_are_cut_in_messages() -> None:
    with pytest.raises(UsageError, match="'l' and 14 more"):
        WordTokenizer(list(string.ascii_lowercase)).encode("?")


def test_both_are_tokenizers() -> None:
    assert isinstance(WORDS, Tokenizer)
    assert isinstance(PIECES, Tokenizer)
