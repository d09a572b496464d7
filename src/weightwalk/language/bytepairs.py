"""Byte-level byte-pair encoding, by the `tokenizers` library: any text of any language, and back, unchanged.

A text is its UTF-8 bytes; pairs of tokens that occur together most often were merged into one, again and again
(Sennrich et al. 2016; on bytes, Radford et al. 2019). Nothing is unknown, for each of the 256 bytes is a token.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from weightwalk.errors import UsageError
from weightwalk.language.tokenizers import _surface


class BytePairTokenizer:
    """A byte-level BPE tokenizer.

    Special tokens have ids and names, and no text stands for them: ``"<|end|>"`` in a text is seven characters, so that
    nobody can end a document by typing. Their ids are in `special`.

    Example:
        >>> tokenizer = BytePairTokenizer.train(["low lower lowest slow slower"] * 9, 264, special=["<|end|>"])
        >>> ids = tokenizer.encode("slow und größer")
        >>> tokenizer.decode(ids), [tokenizer.tokens[i] for i in ids[:2]]
        ('slow und größer', ['s', 'low'])
        >>> tokenizer.special
        {'<|end|>': 0}
    """

    def __init__(self, engine: Any) -> None:
        """Wrap a ``tokenizers.Tokenizer`` with a byte-level BPE model; see `train` and `load`."""
        self._engine = engine
        self._engine.encode_special_tokens = True  # a text never makes a special token

    @classmethod
    def train(cls, texts: Iterable[str], size: int, *, special: Sequence[str] = ()) -> BytePairTokenizer:
        """Learn merges from texts.

        Args:
            texts: What is read, once.
            size: Tokens in all: the special ones, 256 bytes, and as many merges as fit (or as there are pairs that
                occur twice).
            special: Names of special tokens; they get the first ids.

        Raises:
            UsageError: A size without room for the bytes.
        """
        if size < 256 + len(special):
            raise UsageError(
                f"A byte-level vocabulary has 256 bytes and {len(special)} special tokens; got {size} in all."
            )
        from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

        engine = Tokenizer(models.BPE())
        engine.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        engine.decoder = decoders.ByteLevel()
        trainer = trainers.BpeTrainer(
            vocab_size=size,
            special_tokens=list(special),
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
            min_frequency=2,
        )
        engine.train_from_iterator(texts, trainer)
        return cls(engine)

    @classmethod
    def load(cls, path: Path | str) -> BytePairTokenizer:
        """From a ``tokenizer.json``, as `save` and `transformers` write it.

        Raises:
            UsageError: No such file, or one of another kind.
        """
        from tokenizers import Tokenizer

        try:
            text = Path(path).read_text(encoding="utf-8")
            kind = json.loads(text)["model"]["type"]
            engine = Tokenizer.from_str(text)
        except OSError as error:
            raise UsageError(f"The tokenizer {str(path)!r} cannot be read: {error.strerror or error}.") from error
        except Exception as error:
            raise UsageError(f"{str(path)!r} is no tokenizer.json of the tokenizers library: {error}.") from error
        if kind != "BPE" or "ByteLevel" not in text:
            raise UsageError(f"{str(path)!r} holds a {kind} tokenizer; expected byte-level BPE, as GPT-2 has.")
        return cls(engine)

    def save(self, path: Path | str) -> None:
        """As ``tokenizer.json``."""
        Path(path).write_text(self._engine.to_str(), encoding="utf-8")

    @cached_property
    def tokens(self) -> tuple[str, ...]:
        """The text of every token, by id; a byte that is only part of a character as ``<0xE6>``."""
        names = [self._engine.id_to_token(i) for i in range(self._engine.get_vocab_size())]
        special = set(self.special)
        return tuple(name if name in special else _text_of(name) for name in names)

    @cached_property
    def special(self) -> dict[str, int]:
        """Special tokens with their ids."""
        added = self._engine.get_added_tokens_decoder()
        return {token.content: i for i, token in added.items() if token.special}

    def encode(self, text: str) -> list[int]:
        """Ids of `text`.

        Raises:
            UsageError: The text is empty, or holds half of a surrogate pair, which is no character.
        """
        if not text:
            raise UsageError("The text is empty; give the net at least one character to start from.")
        try:
            text.encode("utf-8")
        except UnicodeEncodeError as error:
            raise UsageError(
                f"The text holds half of a surrogate pair at position {error.start}, which is no character."
            ) from None
        return self._engine.encode(text, add_special_tokens=False).ids

    def decode(self, ids: Sequence[int]) -> str:
        """The text of these ids, special tokens by their names; bytes that make no character become U+FFFD."""
        names = set(self.special.values())
        parts: list[str] = []
        run = bytearray()
        for i in ids:
            _surface(self.tokens, i)
            if i in names:
                parts += [run.decode("utf-8", "replace"), self.tokens[i]]
                run = bytearray()
            else:
                run += _bytes_of(self._engine.id_to_token(i))
        return "".join([*parts, run.decode("utf-8", "replace")])


def _alphabet() -> dict[str, int]:
    """The visible character that stands for each byte in a byte-level vocabulary (Radford et al. 2019)."""
    plain = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    rest = [b for b in range(256) if b not in set(plain)]
    return {**{chr(b): b for b in plain}, **{chr(256 + n): b for n, b in enumerate(rest)}}


_BYTES = _alphabet()


def _bytes_of(name: str) -> bytes:
    return bytes(_BYTES[c] for c in name)


def _text_of(name: str) -> str:
    raw = _bytes_of(name)
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        return "".join(f"<0x{b:02X}>" for b in raw)
