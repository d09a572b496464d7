"""Tokenizers that need no download: characters, words, pieces of text. They put the labels on the axes of text nets.

A token's *surface* is the very text that it stands for, spaces included: joined, the surfaces of an encoded text give
the text back (for `PieceTokenizer`).
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from weightwalk.errors import UsageError


@runtime_checkable
class Tokenizer(Protocol):
    """Text to token ids and back. Anything with these three will do."""

    @property
    def tokens(self) -> Sequence[str]:
        """The surface of every token, by id."""
        ...

    def encode(self, text: str) -> list[int]:
        """Token ids of `text`; UsageError where the text holds something without a token."""
        ...

    def decode(self, ids: Sequence[int]) -> str:
        """The text that these ids stand for."""
        ...


class CharTokenizer:
    """One token per character, from a fixed list; an id is the place of the character in it.

    What is not in the list is refused by name, or stands for `unknown`, where that is given: one of the tokens, which
    may then be longer than a character.

    >>> letters = CharTokenizer.of("abracadabra")
    >>> letters.tokens, letters.encode("cab"), letters.decode([2, 0, 1])
    (('a', 'b', 'c', 'd', 'r'), [2, 0, 1], 'cab')
    """

    def __init__(self, characters: Sequence[str], unknown: str | None = None) -> None:
        self._tokens = tuple(characters)
        self._ids = _numbered(self._tokens, "list of characters")
        self._unknown = _place(unknown, self._ids)
        wrong = [c for c in self._tokens if len(c) != 1 and c != unknown]
        if wrong:
            raise UsageError(f"{wrong[0]!r} is not one character; only the token for what is unknown may be longer.")

    @classmethod
    def of(cls, text: str, unknown: str | None = None) -> CharTokenizer:
        """The characters of a text, sorted, after the token for what is unknown."""
        return cls([*([] if unknown is None else [unknown]), *sorted(set(text))], unknown)

    @property
    def tokens(self) -> tuple[str, ...]:
        """The characters, by id."""
        return self._tokens

    def encode(self, text: str) -> list[int]:
        """Ids of the characters of `text`.

        Raises:
            UsageError: The text is empty, or holds a character that is not in the list.
        """
        if not text:
            raise UsageError("The text is empty; give the net at least one character to start from.")
        if self._unknown is not None:
            return [self._ids.get(c, self._unknown) for c in text]
        for at, character in enumerate(text):
            if character not in self._ids:
                raise UsageError(
                    f"The character {character!r} (U+{ord(character):04X}) at position {at} has no token here; "
                    f"this net knows {_quoted(self._tokens)}."
                )
        return [self._ids[c] for c in text]

    def decode(self, ids: Sequence[int]) -> str:
        """The characters joined."""
        return "".join(_surface(self._tokens, i) for i in ids)


class WordTokenizer:
    """One token per word or punctuation mark, from a fixed list. An id is the place of the word in the list.

    What is not in the list is refused by name, or stands for `unknown`, one of the tokens, where that is given.

    >>> words = WordTokenizer(["hello", "world", "!"])
    >>> words.encode("hello world!")
    [0, 1, 2]
    >>> words.decode([0, 1, 2])
    'hello world !'
    """

    def __init__(self, words: Sequence[str], unknown: str | None = None) -> None:
        self._tokens = tuple(words)
        self._ids = _numbered(self._tokens, "word list")
        self._unknown_id = _place(unknown, self._ids)

    @property
    def tokens(self) -> tuple[str, ...]:
        """The words, by id."""
        return self._tokens

    def encode(self, text: str) -> list[int]:
        """Ids of the words of `text`.

        Raises:
            UsageError: The text is empty, or holds a word that is not in the list.
        """
        ids = []
        for word in re.findall(r"\w+|[^\w\s]", text):
            found = self._ids.get(word, self._unknown_id)
            if found is None:
                raise UsageError(self._unknown(word))
            ids.append(found)
        if not ids:
            raise UsageError(f"The text is empty; this net knows the words {_quoted(self._tokens)}.")
        return ids

    def decode(self, ids: Sequence[int]) -> str:
        """The words with a space between."""
        return " ".join(_surface(self._tokens, i) for i in ids)

    def _unknown(self, word: str) -> str:
        near = difflib.get_close_matches(word.lower(), self._tokens, n=1)
        hint = f"did you mean {near[0]!r}? It" if near else "it"
        return f"The word {word!r} is unknown to this net: {hint} knows {_quoted(self._tokens)}."


class PieceTokenizer:
    """Greedy longest match against a list of pieces: words with their leading space, and single characters.

    What no longer piece covers is spelled letter by letter, so any text made of the single characters can be encoded
    and comes back unchanged.

    >>> pieces = PieceTokenizer(["a", "b", " ", " ab"])
    >>> pieces.encode("ab ab"), pieces.decode([0, 1, 3])
    ([0, 1, 3], 'ab ab')
    """

    def __init__(self, pieces: Sequence[str]) -> None:
        self._tokens = tuple(pieces)
        self._ids = {piece: i for i, piece in enumerate(self._tokens)}
        if len(self._ids) != len(self._tokens) or "" in self._ids:
            raise UsageError("The list of pieces holds a piece twice, or an empty one.")
        self._longest = max(map(len, self._tokens), default=0)

    @property
    def tokens(self) -> tuple[str, ...]:
        """The pieces, by id."""
        return self._tokens

    def encode(self, text: str) -> list[int]:
        """Ids of the pieces of `text`, longest match first.

        Raises:
            UsageError: The text is empty, or holds a character that is in no piece.
        """
        if not text:
            raise UsageError("The text is empty; give the net at least one character to start from.")
        ids, at = [], 0
        while at < len(text):
            for size in range(min(self._longest, len(text) - at), 0, -1):
                found = self._ids.get(text[at : at + size])
                if found is not None:
                    ids.append(found)
                    at += size
                    break
            else:
                raise UsageError(
                    f"The character {text[at]!r} (U+{ord(text[at]):04X}) at position {at} has no token here; "
                    "this net's built-in tokenizer knows printable ASCII and the newline."
                )
        return ids

    def decode(self, ids: Sequence[int]) -> str:
        """The pieces joined."""
        return "".join(_surface(self._tokens, i) for i in ids)


def ascii_pieces(words: Sequence[str] = ()) -> PieceTokenizer:
    """A `PieceTokenizer` over the newline, printable ASCII, and `words`, each with and without a leading space.

    >>> tokenizer = ascii_pieces(["Paris"])
    >>> [tokenizer.tokens[i] for i in tokenizer.encode("in Paris")]
    ['i', 'n', ' Paris']
    """
    characters = ["\n", *map(chr, range(32, 127))]
    pieces = [form for word in words for form in (" " + word, word)]
    return PieceTokenizer([*characters, *dict.fromkeys(p for p in pieces if p not in characters)])


def _numbered(tokens: Sequence[str], what: str) -> dict[str, int]:
    ids = {token: i for i, token in enumerate(tokens)}
    if len(ids) != len(tokens):
        twice = next(token for i, token in enumerate(tokens) if ids[token] != i)
        raise UsageError(f"The {what} holds {twice!r} twice, so its id would be ambiguous.")
    return ids


def _place(unknown: str | None, ids: dict[str, int]) -> int | None:
    """The id of the token for what is unknown."""
    if unknown is not None and unknown not in ids:
        raise UsageError(f"The token for what is unknown, {unknown!r}, is not among the tokens.")
    return None if unknown is None else ids[unknown]


def _surface(tokens: Sequence[str], i: int) -> str:
    if not 0 <= i < len(tokens):
        raise UsageError(f"There is no token {i}; ids go from 0 to {len(tokens) - 1}.")
    return tokens[i]


def _quoted(words: Sequence[str], most: int = 12) -> str:
    shown = ", ".join(repr(w) for w in words[:most])
    return shown if len(words) <= most else f"{shown} and {len(words) - most} more"
