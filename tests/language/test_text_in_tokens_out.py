"""Every text comes back from every tokenizer that takes it, character by character (property-tested)."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from weightwalk.errors import UsageError
from weightwalk.language.bytepairs import BytePairTokenizer
from weightwalk.language.corpora import corpus
from weightwalk.language.tokenizers import CharTokenizer, Tokenizer, WordTokenizer

unicode = st.text(st.characters(exclude_categories=["Cs"]), min_size=1)


@cache
def pairs() -> BytePairTokenizer:
    return BytePairTokenizer.train([corpus("tinyworld:3000").text, "<|end|>"], 700, special=["<|end|>", "<|pad|>"])


@given(unicode)
def test_characters_come_back(text: str) -> None:
    tokenizer = CharTokenizer.of(text)
    assert isinstance(tokenizer, Tokenizer)
    assert tokenizer.decode(tokenizer.encode(text)) == text
    assert list(tokenizer.tokens) == sorted(set(text))


@settings(max_examples=300)
@given(unicode)
def test_byte_pairs_come_back(text: str) -> None:
    ids = pairs().encode(text)
    assert pairs().decode(ids) == text
    assert not set(ids) & set(pairs().special.values()), "a text never makes a special token"


@pytest.mark.parametrize("text", ["<|end|>", "a<|pad|>b", " <|end|> ", "\x00\r\n\t", "🏳️‍🌈 é ﬁ", "\u0301"])
def test_awkward_texts_come_back(text: str) -> None:
    ids = pairs().encode(text)
    assert pairs().decode(ids) == text
    assert not {0, 1} & set(ids)


def test_common_words_are_one_token_and_bytes_are_shown() -> None:
    ids = pairs().encode("The capital of France is Paris.")
    assert len(ids) < 12
    assert "".join(pairs().tokens[i] for i in ids) == "The capital of France is Paris."
    assert [pairs().tokens[i] for i in pairs().encode("日")] == ["<0xE6>", "<0x97>", "<0xA5>"]
    assert pairs().decode(pairs().encode("日")[:2]) == "\ufffd", "two of three bytes make no character"
    assert pairs().decode([0, *pairs().encode("a b"), 1]) == "<|end|>a b<|pad|>"
    assert isinstance(pairs(), Tokenizer)


def test_saved_and_loaded_it_is_the_same(tmp_path: Path) -> None:
    pairs().save(tmp_path / "tokenizer.json")
    again = BytePairTokenizer.load(tmp_path / "tokenizer.json")
    assert (again.tokens, again.special) == (pairs().tokens, pairs().special)
    assert again.encode("The cute <|end|>") == pairs().encode("The cute <|end|>")


def test_transformers_reads_it_alike(tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    pairs().save(tmp_path / "tokenizer.json")
    theirs = transformers.PreTrainedTokenizerFast(tokenizer_file=str(tmp_path / "tokenizer.json"))
    for text in ("The cute cat.", "größer 日本"):
        assert theirs.encode(text, add_special_tokens=False) == pairs().encode(text)


def test_the_unknown_is_mapped_where_that_was_chosen() -> None:
    letters = CharTokenizer.of("abc", unknown="�?")
    assert letters.encode("abz") == [1, 2, 0]
    words = WordTokenizer(["<unk>", "the", "cat"], unknown="<unk>")
    assert words.encode("the dog") == [1, 0]


def other_kind(path: Path) -> Path:
    from tokenizers import Tokenizer, models

    Tokenizer(models.WordLevel({"a": 0})).save(str(path / "words.json"))
    return path / "words.json"


@pytest.mark.parametrize(
    ("act", "message"),
    [
        (
            lambda tmp: CharTokenizer.of("abc").encode("abd"),
            "The character 'd' (U+0064) at position 2 has no token here",
        ),
        (lambda tmp: CharTokenizer.of("abc").encode(""), "The text is empty"),
        (lambda tmp: CharTokenizer.of("abc").decode([3]), "There is no token 3; ids go from 0 to 2."),
        (lambda tmp: CharTokenizer(["a", "a"]), "The list of characters holds 'a' twice"),
        (lambda tmp: CharTokenizer(["ab"]), "'ab' is not one character"),
        (lambda tmp: CharTokenizer(["a"], unknown="b"), "The token for what is unknown, 'b', is not among the tokens."),
        (lambda tmp: WordTokenizer(["a", "a"]), "The word list holds 'a' twice"),
        (lambda tmp: BytePairTokenizer.train(["a"], 100), "A byte-level vocabulary has 256 bytes and 0 special tokens"),
        (lambda tmp: pairs().encode(""), "The text is empty"),
        (lambda tmp: pairs().encode("a\ud800"), "half of a surrogate pair at position 1"),
        (lambda tmp: pairs().decode([9999]), "There is no token 9999; ids go from 0 to 699."),
        (lambda tmp: BytePairTokenizer.load(tmp / "none.json"), "cannot be read: No such file or directory."),
        (lambda tmp: BytePairTokenizer.load(Path(__file__)), "is no tokenizer.json of the tokenizers library"),
        (lambda tmp: BytePairTokenizer.load(other_kind(tmp)), "holds a WordLevel tokenizer; expected byte-level BPE"),
    ],
)
def test_what_cannot_be_done_is_said(act: Any, message: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        act(tmp_path)
    assert message in str(caught.value)
