"""Run the pages of the documentation: every example is executed, and its shown output compared with what comes out.

    python -m tools.pages            tell what differs
    python -m tools.pages --write    put the real output into the pages

A page is Markdown. Of its fenced blocks these are run, in order, in one empty folder and one namespace per page:

- ``python`` with ``>>>``: as a doctest;
- ``python`` that begins with a comment such as ``# nets.py``: written to that file;
- any other ``python``: executed;
- ``console``: lines that begin with ``$ weightwalk`` are given to the command line; ``; echo "exit code $?"`` shows its
  exit code.

``...`` in a shown output stands for anything. Where numbers come out of training or of float32 kernels, so that their
last digits belong to the machine, the page says so in a comment: ``<!-- numbers agree to 0.001 -->``. From there on,
numbers are compared to that (relative above 1, absolute below), and lines that speak of rounding itself are left out.
"""

from __future__ import annotations

import argparse
import contextlib
import doctest
import io
import os
import re
import runpy
import shlex
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
FENCE = re.compile(r"^```(python|console)\n(.*?)^```$", re.M | re.S)
FILE = re.compile(r"# ([\w./-]+\.\w+)\n")
AGREE = re.compile(r"<!-- numbers agree to ([\d.e-]+) -->")
ECHO = '; echo "exit code $?"'

NUMBER = r"[-+]?\d+(?:,\d{3})*(?:\.\d+)?(?:e[-+]?\d+)?"
TOKEN = re.compile(rf"(\.\.\.)|({NUMBER})|(\s+)|(─+)|(▇+)|(.)", re.S)
ABOUT_ROUNDING = re.compile(r"rounding$|rounding term|remainder|relative residual|─|^\s*(?:what )?flowed$|^\s*leave\.$")
WORST = re.compile(r"worst:? [^;]*")  # which step comes nearest to its bound is a matter of rounding, too


def pages() -> list[Path]:
    """Every page that holds examples; those of api.md are run where they come from, in the docstrings."""
    found = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
    return [p for p in found if p.name != "api.md" and FENCE.search(p.read_text(encoding="utf-8"))]


@dataclass(frozen=True, slots=True)
class Example:
    """One command or statement of a page, what the page shows, and what came out."""

    page: Path
    start: int  # of the shown output, in characters of the page
    stop: int
    source: str
    shown: str
    actual: str
    right: bool

    def __str__(self) -> str:
        line = self.page.read_text(encoding="utf-8")[: self.start].count("\n") + 1
        where = self.page.relative_to(ROOT).as_posix()
        return f"{where}:{line}: {self.source.strip()}\n--- shown\n{self.shown}--- comes out\n{self.actual}"


# Comparing -----------------------------------------------------------------------------------------------------------


def same(shown: str, actual: str, near: float | None = None) -> bool:
    """Whether an output is what the page shows; `near` lets numbers with a fraction differ by so much."""
    if not shown.strip() or not actual.strip():
        return shown.strip() == actual.strip()
    if near is not None:
        shown, actual = _without_rounding(shown), _without_rounding(actual)
    pattern, numbers = [], []
    for dots, number, space, line, bar, other in TOKEN.findall(shown.strip()):
        if dots:
            pattern.append(".*?")
        elif number and near is not None:
            pattern.append(f"({NUMBER})")
            numbers.append(number)
        elif space:
            pattern.append(r"\s+")
        elif near is not None and (line or bar):
            pattern.append(f"(?:{(line or bar)[0]}*\\s*)")
        else:
            pattern.append(re.escape(number or line or bar or other))
    match = re.fullmatch("".join(pattern), actual.strip(), re.S)
    if match is None:
        return False
    return all(_close(a, b, near or 0.0) for a, b in zip(numbers, match.groups(), strict=True))


def _close(shown: str, actual: str, near: float) -> bool:
    """Counts must be equal; of measured numbers one may be whole by chance."""
    a, b = float(shown.replace(",", "")), float(actual.replace(",", ""))
    if not re.search("[.e]", shown + actual):
        return a == b
    return abs(a - b) <= near * max(1.0, abs(a))


def _without_rounding(text: str) -> str:
    lines = (WORST.sub("worst", line.rstrip()) for line in text.splitlines())
    return "\n".join(line for line in lines if not ABOUT_ROUNDING.search(line))


# Running -------------------------------------------------------------------------------------------------------------


def run_page(page: Path) -> list[Example]:
    """Run one page in a folder of its own; every example with what came out."""
    text = page.read_text(encoding="utf-8")
    names: dict[str, Any] = {"__name__": "page"}
    out: list[Example] = []
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder), _environment(folder):
        for block in FENCE.finditer(text):
            body, at = block[2], block.start(2)
            agree = AGREE.findall(text, 0, at)
            near = float(agree[-1]) if agree else None
            file = FILE.match(body)
            if block[1] == "console":
                out += _console(page, body, at, near)
            elif file is not None:
                Path(file[1]).write_text(body, encoding="utf-8")
            elif ">>>" in body:
                out += _doctest(page, body, at, near, names)
            else:
                Path("block.py").write_text(body, encoding="utf-8")
                names.update(runpy.run_path("block.py", names, "page"))
    return out


@contextlib.contextmanager
def _environment(folder: str) -> Iterator[None]:
    """Modules and rules that a page brings along are forgotten afterwards; lines are as wide as when piped."""
    from weightwalk.readings.account.rules import RULES as ACCOUNT
    from weightwalk.readings.referees.base import RULES as REFEREE

    columns, known = os.environ.pop("COLUMNS", None), set(sys.modules)
    before = [(rules, dict(rules)) for rules in (ACCOUNT, REFEREE)]
    sys.path.insert(0, folder)
    try:
        yield
    finally:
        sys.path.remove(folder)
        for rules, old in before:
            rules.clear()
            rules.update(old)
        for name in set(sys.modules) - known:
            origin = getattr(sys.modules[name], "__file__", None) or ""
            if origin.startswith(folder):
                del sys.modules[name]
        if columns is not None:
            os.environ["COLUMNS"] = columns


def _console(page: Path, body: str, at: int, near: float | None) -> Iterator[Example]:
    """The commands of a ``console`` block; a line that ends in a backslash goes on."""
    commands = list(re.finditer(r"^\$ (.*(?:\\\n.*)*)\n", body, re.M))
    for i, command in enumerate(commands):
        stop = commands[i + 1].start() if i + 1 < len(commands) else len(body)
        shown = body[command.end() : stop]
        actual = _command(command[1].replace("\\\n", " "))
        yield Example(page, at + command.end(), at + stop, command[1], shown, actual, same(shown, actual, near))


def _command(line: str) -> str:
    from weightwalk.cli import main

    echo = line.endswith(ECHO)
    program, *words = shlex.split(line.removesuffix(ECHO))
    if program != "weightwalk":
        raise ValueError(f"only weightwalk commands are run in console blocks, not {line!r}; use an sh block")
    out, code = io.StringIO(), 0
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out):
        try:
            main(words, prog_name="weightwalk")
        except SystemExit as done:
            code = int(done.code or 0)
    lines = "".join(f"{x.rstrip()}\n" for x in out.getvalue().splitlines())
    return lines + (f"exit code {code}\n" if echo else "")


class _Runner(doctest.DocTestRunner):
    """Collects what came out of every example instead of reporting it."""

    def __init__(self) -> None:
        super().__init__(checker=_Any(), verbose=False)
        self.got: dict[int, str] = {}

    def report_start(self, out: Any, test: Any, example: Any) -> None:
        self.got[example.lineno] = ""

    def report_success(self, out: Any, test: Any, example: Any, got: str) -> None:
        self.got[example.lineno] = got

    def report_failure(self, out: Any, test: Any, example: Any, got: str) -> None:
        self.got[example.lineno] = got

    def report_unexpected_exception(self, out: Any, test: Any, example: Any, exc_info: Any) -> None:
        kind, error = exc_info[0], exc_info[1]
        name = kind.__name__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__name__}"
        self.got[example.lineno] = f"Traceback (most recent call last):\n    ...\n{name}: {error}\n"


class _Any(doctest.OutputChecker):
    def check_output(self, want: str, got: str, optionflags: int) -> bool:
        return True


def _doctest(page: Path, body: str, at: int, near: float | None, names: dict[str, Any]) -> Iterator[Example]:
    examples = doctest.DocTestParser().get_examples(body, page.name)
    for example in examples:
        example.exc_msg = None
    runner = _Runner()
    test = doctest.DocTest(examples, names, page.name, str(page), 0, body)
    runner.run(test, out=lambda text: None, clear_globs=False)
    names.update(test.globs)
    lines = body.splitlines(keepends=True)
    for example in examples:
        first = example.lineno + example.source.count("\n")
        last = next((i for i in range(first, len(lines)) if lines[i].startswith(">>>")), len(lines))
        start, want = at + sum(map(len, lines[:first])), "".join(lines[first:last])  # blank lines and all
        actual = runner.got.get(example.lineno, "")
        yield Example(page, start, start + len(want), example.source, want, actual, same(want, actual, near))


# Writing -------------------------------------------------------------------------------------------------------------


def rewrite(page: Path, examples: list[Example]) -> int:
    """Put the real output where the page shows another; the number of places."""
    wrong = [e for e in examples if not e.right]
    text = page.read_text(encoding="utf-8")
    for example in sorted(wrong, key=lambda e: -e.start):
        text = text[: example.start] + example.actual.rstrip("\n") + "\n" * bool(example.actual) + text[example.stop :]
    page.write_text(text, encoding="utf-8")
    return len(wrong)


def main() -> int:
    """Run the pages named, or all."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("pages", nargs="*", type=Path)
    parser.add_argument("--write", action="store_true", help="put the real output into the pages")
    options = parser.parse_args()
    wrong = 0
    for page in [p.resolve() for p in options.pages] or pages():
        examples = run_page(page)
        bad = [e for e in examples if not e.right]
        wrong += len(bad)
        for example in bad:
            print(example)
        if options.write and bad:
            rewrite(page, examples)
        done = "rewritten" if options.write else "wrong"
        print(f"{page.relative_to(ROOT)}: {len(examples)} examples, {len(bad)} {done}")
    return 1 if wrong and not options.write else 0


if __name__ == "__main__":
    sys.exit(main())
