"""Texts to learn from, and what is no text."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from weightwalk.errors import UsageError
from weightwalk.language.corpora import corpus
from weightwalk.language.tinyworld import tinyworld


def test_a_file_is_its_text(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("Grüße\nund 日本\n", encoding="utf-8")
    found = corpus(str(tmp_path / "a.txt"))
    assert found.text == "Grüße\nund 日本\n"
    assert (found.parts, found.skipped) == ((("a.txt", 13),), ())


def test_a_folder_is_its_texts_in_order_and_says_what_it_left_out(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    for name, data in {
        "b.txt": b"two ",
        "a.md": b"one\r\n",
        "sub/c": b"three",
        "d.bin": b"\xff\xfe",
        "e": b"a\0b",
    }.items():
        (tmp_path / name).write_bytes(data)
    found = corpus(str(tmp_path))
    assert found.text == "one\ntwo three"
    assert [n for n, _ in found.parts] == ["a.md", "b.txt", "sub/c"]
    assert found.skipped == ("d.bin", "e")


def test_python_brings_its_own() -> None:
    found = corpus("python-docs")
    assert len(found.text) > 200_000 and "assert" in dict(found.parts)
    assert sum(n for _, n in found.parts) == len(found.text)


def test_tinyworld_is_seeded() -> None:
    assert corpus("tinyworld:5", seed=1).text == tinyworld().text(5, seed=1) != corpus("tinyworld:5", seed=2).text


def test_the_last_part_is_held_out(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("0123456789")
    assert corpus(str(tmp_path / "a")).split(0.2) == ("01234567", "89")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "There is no text in '{}': it is empty."),
        (b"\x89PNG\xff", "'x' is not UTF-8 text (byte 0); convert it, or give another file."),
        (b"a\0b", "'x' holds zero bytes, so it is a binary file and no text."),
        (b"long enough", "'{}' holds 11 bytes, more than the 10 that are read into memory"),
    ],
)
def test_what_is_no_text_is_said(tmp_path: Path, data: bytes, message: str) -> None:
    (tmp_path / "x").write_bytes(data)
    with pytest.raises(UsageError) as caught:
        corpus(str(tmp_path / "x"), most=10)
    assert message.format(tmp_path / "x") in str(caught.value)


@pytest.mark.parametrize(
    ("act", "message"),
    [
        (lambda tmp: corpus("nothing.txt"), "There is no file or folder 'nothing.txt', and no text of that name"),
        (lambda tmp: corpus(""), "There is no file or folder ''"),
        (lambda tmp: corpus("tinyworld:0"), "Tinyworld is asked for no sentence; give a number from 1"),
        (lambda tmp: corpus(str(tmp)), "it is empty."),
        (lambda tmp: corpus("tinyworld:3").split(0.0001), "too few to hold out"),
        (lambda tmp: corpus("tinyworld:3").split(2), "The share to hold out lies between 0 and 1; got 2."),
    ],
)
def test_what_cannot_be_done_is_said(act: Any, message: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        act(tmp_path)
    assert message in str(caught.value)
