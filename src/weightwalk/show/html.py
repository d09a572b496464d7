"""A walk as HTML: in notebooks, and as a page. Needs no network, escapes everything, follows light and dark."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable, Iterator
from html import escape
from itertools import pairwise
from pathlib import Path
from typing import Any

from rich.text import Text

from weightwalk.errors import WeightwalkError
from weightwalk.readings.narrate_facts import Section, Story
from weightwalk.show.stories import lines_of
from weightwalk.show.summaries import walk_lines

WIDTH = 110
OPEN = 400  # lines up to which every section stands open

# Colours are chosen against both a white and a black ground (contrast of at least 4.5), and the ground is the reader's.
STYLE = """
.ww{font:14px/1.45 system-ui,sans-serif;color:inherit;--ok:#147a3d;--no:#b3261e;--hi:#0b6580;--wa:#8a5a00;--li:#8885}
@media(prefers-color-scheme:dark){.ww{--ok:#5fd38d;--no:#ff8a80;--hi:#5cc8e6;--wa:#f0b74a}}
.ww details{border-left:2px solid var(--li);margin:.3em 0;padding-left:.7em}
.ww summary{cursor:pointer;font-weight:600}
.ww summary:focus-visible{outline:2px solid var(--hi)}
.ww pre{font:13px/1.4 ui-monospace,monospace;overflow-x:auto;margin:.3em 0 .6em;background:none;color:inherit}
.ww .ok{color:var(--ok);font-weight:600}.ww .no{color:var(--no)}.ww .hi{color:var(--hi)}
.ww .wa{color:var(--wa)}.ww .lo{opacity:.72}.ww b{font-weight:700}
""".strip()

CLASSES = {"green": "ok", "red": "no", "cyan": "hi", "blue": "hi", "yellow": "wa", "dim": "lo"}


def walk_html(walk: Any, story: Story | None = None) -> str:
    """A walk as a fragment of HTML: what it is, then its story, module by module, each to be opened and closed.

    Args:
        walk: The record.
        story: How it is told; None tells it as ``walk.narrate()`` does.
    """
    parts = [f"<style>{STYLE}</style>", f"<pre>{pre(walk_lines(walk, WIDTH))}</pre>"]
    try:
        told = walk.narrate() if story is None else story
    except WeightwalkError as error:  # numbers that were not kept, or memory that was changed: the summary still stands
        parts.append(f"<p class='wa'>{escape(str(error))}</p>")
    else:
        parts.append(story_html(told))
    return f"<div class='ww'>{''.join(parts)}</div>"


def story_html(story: Story) -> str:
    """A story as nested sections."""
    count = sum(1 for section in story.sections for _ in section.all_lines())
    sections = "".join(_section(s, count <= OPEN) for s in story.sections)
    notes = "".join(f"<p class='lo'>{escape(n)}</p>" for n in story.notes)
    return f"<p><b>{escape(story.title)}</b></p>{sections}{notes}"


def page(walk: Any, story: Story | None = None) -> str:
    """A whole HTML document."""
    title = escape(f"walk of {walk.meta.get('net', 'a computation')}")
    return (
        f"<!doctype html>\n<html lang='en'><head><meta charset='utf-8'><title>{title}</title>"
        "<meta name='viewport' content='width=device-width,initial-scale=1'>"
        "<meta http-equiv='Content-Security-Policy' content=\"default-src 'none'; style-src 'unsafe-inline'\">"
        "<style>:root{color-scheme:light dark}h1{font-size:1.5em}"
        "body{max-width:75em;margin:1.5em auto;padding:0 1em;font-family:system-ui,sans-serif}</style></head>"
        f"<body><h1>{title}</h1>{walk_html(walk, story)}</body></html>\n"
    )


def write_page(walk: Any, path: Path, story: Story | None = None) -> None:
    """Write the page, whole or not at all."""
    text = page(walk, story)
    handle, beside = tempfile.mkstemp(prefix=path.name + ".", suffix=".part", dir=path.parent)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        Path(beside).chmod(0o666 & ~_umask())
        Path(beside).replace(path)
    except BaseException:
        Path(beside).unlink(missing_ok=True)
        raise


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _section(section: Section, opened: bool) -> str:
    inner = pre(lines_of(section.lines, WIDTH, ""))
    body = (f"<pre>{inner}</pre>" if inner else "") + "".join(_section(c, opened) for c in section.children)
    if not section.title:
        return body
    flag = " open" if opened else ""
    return f"<details{flag}><summary>{escape(section.title)}</summary>{body}</details>"


def pre(lines: Iterable[Text]) -> str:
    """Styled lines as escaped text in spans, for a ``<pre>``."""
    return "\n".join("".join(_spans(line)) for line in lines)


def _spans(line: Text) -> Iterator[str]:
    """A styled line as escaped text in spans."""
    edges = sorted({0, len(line.plain), *(e for s in line.spans for e in (s.start, s.end))})
    for start, end in pairwise(edges):
        styles = [str(s.style) for s in line.spans if s.start <= start and s.end >= end] + [str(line.style)]
        words = {word for style in styles for word in style.split()}
        text = escape(line.plain[start:end])
        names = " ".join(dict.fromkeys(CLASSES[w] for w in sorted(words) if w in CLASSES))
        text = f"<span class='{names}'>{text}</span>" if names else text
        yield f"<b>{text}</b>" if "bold" in words else text
