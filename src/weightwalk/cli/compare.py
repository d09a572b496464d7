"""``weightwalk compare``: where two walks part."""

from __future__ import annotations

from typing import Any

import click

from weightwalk.cli import common
from weightwalk.errors import UsageError

EPILOG = """\b
Examples:
  weightwalk compare before.walk after.walk
  weightwalk compare gpt "The cat is" "The dog is"     one net on two inputs

\b
Exit code 0: the same, bit for bit. 1: they differ."""


@click.command("compare", cls=common.NumbersWelcome, epilog=EPILOG)
@click.argument("words", metavar="A.walk B.walk | NET INPUT INPUT", nargs=-1, required=True)
@click.option("--top", type=click.IntRange(1), metavar="N", default=12, show_default=True, help="Rows to show.")
@common.fresh_option
@common.seed_option
@common.dtype_option
@common.json_option
def command(words: tuple[str, ...], top: int, as_json: bool, **options: Any) -> int:
    """Hold two walks of one model side by side: where they first part, by how much, what it does to the output."""
    if len(words) == 2 and all(common.is_walk_file(w) for w in words):
        first, second = (common.walk_of(w, None, **options) for w in words)
    elif len(words) == 3 and not common.is_walk_file(words[0]):
        first, second = (common.walk_of(words[0], given, **options) for given in words[1:])
    else:
        raise UsageError(
            "compare takes two .walk files (weightwalk compare a.walk b.walk), or a net and two inputs "
            "(weightwalk compare sqrt 2.0 2.1)."
        )
    found = first.compare(second)
    if as_json:
        common.emit(found)
    else:
        from weightwalk.show.comparisons import comparison_lines
        from weightwalk.show.terminal import console, put

        target = console()
        put(comparison_lines(found, target.width, top), target)
    return 0 if found.same else 1
