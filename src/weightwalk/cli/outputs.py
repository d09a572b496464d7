"""What commands write beside their answer: tables and pictures, refused before any work is done or written whole."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from weightwalk.cli import common
from weightwalk.errors import UsageError

PICTURES = (".svg", ".png", ".pdf")
ENDINGS: dict[str, Sequence[str]] = {"figure": PICTURES, "frame": (".csv",), "table": (".csv",)}


def targets(options: dict[str, Any], **more: Sequence[str]) -> dict[str, Path]:
    """The files that ``--figure``, ``--frame`` and ``--table`` ask for, by option.

    Args:
        options: All that was typed, by name.
        more: Other options that name a file, with the endings it may have.

    Raises:
        UsageError: A file of another kind, a folder that is not there, or a package that is not installed.
    """
    endings = {**ENDINGS, **more}
    out = {k: common.writable(options[k], ends) for k, ends in endings.items() if options.get(k) is not None}
    if "figure" in out:
        common.needs_matplotlib()
    for kind in ("frame", "table"):
        if kind in out and find_spec("pandas") is None:
            raise UsageError(f'--{kind} needs pandas, which is not installed: pip install "weightwalk[learning]".')
    return out


def write_table(path: Path, frame: Any) -> None:
    """A data frame as comma-separated values."""
    with common.whole(path) as beside:
        frame.to_csv(beside, index=False)
    common.note(f"wrote {path}: {len(frame):,} row{'s' * (len(frame) != 1)}")


def write_figure(path: Path, draw: Callable[[Any, Path], object], facts: Any) -> None:
    """A picture of the facts."""
    with common.whole(path) as beside:
        draw(facts, beside)
    common.note(f"drew {path}")
