"""Writing a picture with matplotlib, such that the same facts give the same bytes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO, Any

from weightwalk.errors import UsageError

INK = "#1c2733"


def save(draw: Callable[[Any], Any], path: Path | str | IO[bytes], settings: Mapping[str, Any] | None = None) -> None:
    """Let `draw` make a figure, from matplotlib's ``Figure``, and write it: no date, no random ids, text as text.

    Args:
        draw: Takes the class and gives the figure.
        path: The file, whose ending says the kind; or an open one, which becomes a PNG.
        settings: Of matplotlib, beside those of every picture.

    Raises:
        UsageError: matplotlib is not installed.
    """
    try:
        import matplotlib
        from matplotlib.figure import Figure
    except ImportError:
        raise UsageError(
            'A figure needs matplotlib, which is not installed: pip install "weightwalk[plots]".'
        ) from None
    common: dict[Any, Any] = {
        **(settings or {}),
        "svg.hashsalt": "weightwalk",
        "svg.fonttype": "none",
        "font.family": "DejaVu Sans",
        "text.color": INK,
    }
    with matplotlib.rc_context(common):
        figure = draw(Figure)
        kind = None if isinstance(path, (Path, str)) else "png"
        ending = kind or Path(str(path)).suffix.lower()
        metadata = {".svg": {"Date": None}, ".pdf": {"CreationDate": None}}.get(ending, {})
        figure.savefig(path, format=kind, metadata=metadata, dpi=160, bbox_inches="tight", facecolor="white")
