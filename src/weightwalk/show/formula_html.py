"""A formula as HTML, for notebooks: its picture if matplotlib is there, its tables, every check of its certificate."""

from __future__ import annotations

import base64
import io
from html import escape
from typing import Any

from weightwalk.errors import UsageError
from weightwalk.show.formula_layout import certificate_lines
from weightwalk.show.formulas import formula_lines
from weightwalk.show.html import STYLE, WIDTH, pre

MOST = 20_000
"""Regions beyond which a notebook is spared the picture."""


def formula_html(found: Any, top: int = 12) -> str:
    """A fragment that needs nothing from elsewhere and escapes all names of the net.

    Args:
        found: A `Formula`.
        top: Rows of a table before the rest is counted.
    """
    picture = _picture(found)
    lines = formula_lines(found, WIDTH, top, picture="none" if picture else "")
    checks = certificate_lines(found.certificate, WIDTH, every=True)
    return (
        f"<div class='ww'><style>{STYLE}</style>{picture}<pre>{pre(lines)}</pre>"
        f"<details><summary>every check</summary><pre>{pre(checks)}</pre></details></div>"
    )


def _picture(found: Any) -> str:
    """An image in the text itself; nothing where there is no picture, or nothing to draw it with."""
    from weightwalk.show.formula_figures import formula_figure

    if found.kind == "plane" and found.facts.activation_regions > MOST:
        return ""
    held = io.BytesIO()
    try:
        formula_figure(found, held)
    except UsageError:
        return ""
    title = escape(next(iter(formula_lines(found, 10_000))).plain, quote=True)
    data = base64.b64encode(held.getvalue()).decode("ascii")
    return f"<img alt='{title}' style='max-width:46em;width:100%' src='data:image/png;base64,{data}'>"
