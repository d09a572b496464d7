"""Texts to learn from: a file, a folder of files, the help topics of Python itself, or Tinyworld."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

from weightwalk.errors import UsageError

MOST = 2 * 1024**3
"""Bytes of text that are read into memory; characters and counts take several times as much."""

NAMED = ("python-docs", "tinyworld", "tinyworld:SENTENCES")


@dataclass(frozen=True, eq=False)
class Corpus:
    """A text and where it came from.

    Attributes:
        name: As it was asked for.
        text: All of it.
        parts: Name and length in characters of each file or topic, in order.
        skipped: Files of a folder that are not text in UTF-8, by name.
    """

    name: str
    text: str = field(repr=False)
    parts: tuple[tuple[str, int], ...] = field(repr=False)
    skipped: tuple[str, ...] = ()

    def split(self, held: float) -> tuple[str, str]:
        """The text in two: what is learned from, and the last `held` of it (a share), which is not.

        Raises:
            UsageError: A share that leaves one of the two empty.
        """
        if not 0 < held < 1:
            raise UsageError(f"The share to hold out lies between 0 and 1; got {held}.")
        cut = round(len(self.text) * (1 - held))
        if cut in (0, len(self.text)):
            raise UsageError(f"{self.name!r} has {len(self.text)} characters, too few to hold out {held:.0%} of them.")
        return self.text[:cut], self.text[cut:]


def corpus(name: str, *, seed: int = 0, most: int = MOST) -> Corpus:
    """The text of that name.

    Args:
        name: A UTF-8 file; a folder, of which every file that is UTF-8 text is read, in order of its path;
            ``"python-docs"``, the help topics that come with every Python; ``"tinyworld"`` or ``"tinyworld:50000"``,
            so many sentences of our own world (20,000 unless said).
        seed: For Tinyworld.
        most: Bytes of files to read at most.

    Raises:
        UsageError: There is no such file, it is empty, not text, or larger than `most`.

    Example:
        >>> corpus("tinyworld:2", seed=3).text
        'Clara is the sister of Hugo. Ida met the big horse and the cute cat.'
    """
    if name == "python-docs":
        return _python_docs()
    if found := re.fullmatch(r"tinyworld(?::(\d+))?", name):
        from weightwalk.language.tinyworld import tinyworld

        if found[1] is not None and int(found[1]) < 1:
            raise UsageError("Tinyworld is asked for no sentence; give a number from 1, as in tinyworld:20000.")
        text = tinyworld().text(int(found[1] or 20_000), seed)
        return Corpus(name, text, ((name, len(text)),))
    path = Path(name).expanduser()
    if not name.strip() or not path.exists():
        raise UsageError(
            f"There is no file or folder {name!r}, and no text of that name; there are {', '.join(NAMED)}."
        )
    files = sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]
    size = sum(p.stat().st_size for p in files)
    if size > most:
        raise UsageError(
            f"{name!r} holds {size:,} bytes, more than the {most:,} that are read into memory; give a part of it."
        )
    return _read(name, path, files)


def _read(name: str, path: Path, files: list[Path]) -> Corpus:
    texts: list[tuple[str, str]] = []
    skipped: list[str] = []
    for file in files:
        shown = file.relative_to(path).as_posix() if path.is_dir() else file.name
        try:
            text = file.read_bytes().decode("utf-8")
        except OSError as error:
            raise UsageError(f"{shown!r} cannot be read: {error.strerror or error}.") from error
        except UnicodeDecodeError as error:
            if not path.is_dir():
                raise UsageError(
                    f"{shown!r} is not UTF-8 text (byte {error.start}); convert it, or give another file."
                ) from None
            skipped.append(shown)
            continue
        if "\0" in text:
            if not path.is_dir():
                raise UsageError(f"{shown!r} holds zero bytes, so it is a binary file and no text.")
            skipped.append(shown)
        elif text:
            texts.append((shown, text.replace("\r\n", "\n")))
    if not texts:
        what = f"none of its {len(files)} files is UTF-8 text" if path.is_dir() and files else "it is empty"
        raise UsageError(f"There is no text in {name!r}: {what}.")
    return Corpus(name, "".join(t for _, t in texts), tuple((n, len(t)) for n, t in texts), tuple(skipped))


def _python_docs() -> Corpus:
    try:
        from pydoc_data.topics import topics
    except ImportError:
        raise UsageError(
            "This Python came without its help topics (pydoc_data), as some slim installations do; give a file instead."
        ) from None
    parts = sorted(topics.items())
    return Corpus("python-docs", "".join(t for _, t in parts), tuple((n, len(t)) for n, t in parts))
