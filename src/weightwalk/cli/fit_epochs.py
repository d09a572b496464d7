"""``weightwalk fit epochs``: a small text net trained too long on few lines."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from weightwalk.cli import fit_common
from weightwalk.errors import UsageError

EPILOG = """\b
Examples:
  weightwalk fit epochs
  weightwalk fit epochs --context 4 --width 32
  weightwalk fit epochs --text lines.txt --epochs 20
  weightwalk fit epochs --figure epochs.png

\b
The text is sixty lines of our own, or the lines of --text (at most 100,000 characters). Of every five, three are
learned, one is to choose the epoch by, and one, which no choice has seen, judges: in bits per character, beside those
of n-grams."""


@click.command("epochs", epilog=EPILOG)
@click.option("--text", metavar="FILE", help="Lines to learn from, instead of our own.")
@click.option("--epochs", type=click.IntRange(1), metavar="N", default=40, show_default=True, help="Of each net.")
@click.option("--context", type=click.IntRange(1, 1000), metavar="N", default=12, show_default=True, help="Characters.")
@click.option("--width", type=click.IntRange(1, 4096), metavar="N", default=64, show_default=True, help="Hidden units.")
@click.option("--orders", metavar="N,N", default="1-5", show_default=True, help="Of the n-grams.")
@fit_common.shared(3, "Nets")
def command(**options: Any) -> int:
    """Train a small text net for too long: where its held-out loss turns, and what it knows by heart in the end."""
    lines = None if options["text"] is None else _lines(options["text"])
    fit_common.ready(options)
    from weightwalk.learning.fitting.epochs import fit_epochs
    from weightwalk.learning.fitting.tables import numbers

    with fit_common.running("epochs") as progress:
        found = fit_epochs(
            lines,
            source="" if options["text"] is None else Path(options["text"]).name,
            orders=numbers(options["orders"], "--orders", 1, 20),
            context=options["context"],
            width=options["width"],
            epochs=options["epochs"],
            seeds=fit_common.seeds_of(options),
            progress=progress,
        )
    return fit_common.deliver(found, options)


def _lines(path: str) -> list[str]:
    file = Path(path)
    if not file.is_file():
        raise UsageError(f"--text: there is no file {path!r}.")
    if file.stat().st_size > 1_000_000:
        raise UsageError(
            f"--text {path!r} has {file.stat().st_size:,} bytes; few lines are the point: give a part of it."
        )
    try:
        return file.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError:
        raise UsageError(f"--text {path!r} is not text in UTF-8; convert it first.") from None
