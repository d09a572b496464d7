"""HTML of a walk: self-contained, well-formed, and with nothing of the net's own text taken for markup."""

from __future__ import annotations

from html.parser import HTMLParser
from pathlib import Path

import pytest
import torch
from torch import nn

import weightwalk as ww
from weightwalk.nets.modules import HelloNet
from weightwalk.show.html import page, walk_html, write_page

EVIL = ["<script>alert(1)</script>", "</pre></details>", "a&b", "'\"", "\x1b[31m"]
VOID = {"meta", "br", "hr", "img", "link", "input"}


class Checker(HTMLParser):
    """Well-formedness, and every tag and attribute that was met."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: set[str] = set()
        self.attributes: list[tuple[str, str]] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes += [(k, v or "") for k, v in attrs]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open, f"{tag} was never opened"
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.fixture
def walk() -> ww.Walk:
    with torch.no_grad():
        made = ww.walk(HelloNet(), torch.tensor([0]), axis_labels={"vocab": EVIL, "tokens": [EVIL[0]]})
    made.meta = {**made.meta, "net": "<b>net</b>", "input": EVIL[0]}
    return made


def checked(html: str) -> Checker:
    checker = Checker()
    checker.feed(html)
    checker.close()
    assert not checker.open
    return checker


def test_everything_is_escaped_and_well_formed(walk: ww.Walk) -> None:
    for html in (walk_html(walk), page(walk)):
        found = checked(html)
        assert "script" not in found.tags
        assert "<script>alert(1)</script>" in found.text, "shown as text"
        assert "<b>net</b>" in found.text
        assert "\x1b" not in html


def test_nothing_is_fetched(walk: ww.Walk) -> None:
    found = checked(page(walk))
    assert not found.tags & {"script", "link", "img", "iframe", "object", "embed"}
    assert not [a for a in found.attributes if a[0] in ("src", "href") or a[0].startswith("on")]
    assert "url(" not in page(walk)
    assert "default-src 'none'" in page(walk)


def test_it_follows_light_and_dark(walk: ww.Walk) -> None:
    html = page(walk)
    assert "prefers-color-scheme:dark" in html
    assert "color-scheme:light dark" in html


def test_modules_open_and_close(walk: ww.Walk) -> None:
    assert "details" in checked(walk_html(walk)).tags
    assert "fc1 · Linear" in walk_html(walk)


def test_a_notebook_shows_a_walk(walk: ww.Walk) -> None:
    assert walk._repr_html_() == walk_html(walk)


def test_a_walk_whose_story_cannot_be_told_still_has_its_summary() -> None:
    net = nn.Linear(2, 2)
    with torch.no_grad():
        walk = ww.walk(net, torch.ones(1, 2), snapshot=False)
        net.weight.add_(1)
    html = walk_html(walk)
    checked(html)
    assert "walk of Linear" in html


def test_a_page_is_written_whole_or_not_at_all(walk: ww.Walk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "walk.html"
    write_page(walk, target)
    assert target.read_text(encoding="utf-8") == page(walk)
    before = target.read_bytes()

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("weightwalk.show.html.os.fsync", fail)
    with pytest.raises(OSError, match="No space left"):
        write_page(walk, target)
    assert target.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["walk.html"]
