"""What the terminal shows of each kind of facts."""

from __future__ import annotations

import io
import re
from decimal import Decimal

import pytest
import torch
from rich.console import Console
from torch import nn

import weightwalk as ww
from weightwalk.nets.modules import ReluNet
from weightwalk.readings.narrate import narrate
from weightwalk.show.accounts import account_lines
from weightwalk.show.terminal import WIDTH, console, lines, plain, show

NUMBER = r"[+-]?\d+(?:\.\d+)?"


@pytest.fixture
def walk() -> ww.Walk:
    with torch.no_grad():
        return ww.walk(ReluNet(5), torch.tensor([[2.0]]))


def test_plain_text_has_no_colours_and_coloured_text_the_same_words(walk: ww.Walk) -> None:
    story = narrate(walk)
    file = io.StringIO()
    show(story, Console(file=file, force_terminal=True, color_system="truecolor", width=WIDTH, highlight=False))
    colours = file.getvalue()
    assert "\x1b[" in colours
    assert "\x1b" not in plain(story)
    assert re.sub(r"\x1b\[[0-9;]*m", "", colours).rstrip("\n") == plain(story)


def test_a_contribution_of_nothing_has_no_sign() -> None:
    net = nn.Linear(2, 1, bias=False)
    nn.init.ones_(net.weight)
    page = plain(ww.walk(net, torch.tensor([[-3.0, 0.0]])).account("out[0, 0]", cut="inputs"))
    assert re.search(r"^ +-3\.0+ +\+100\.00 %", page, re.M)  # the total is below 0
    assert re.search(r"^ +-?0 +\+0\.00 %", page, re.M) and "-0.00 %" not in page


def test_piped_text_has_a_stable_width(walk: ww.Walk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COLUMNS")
    file = io.StringIO()
    target = console(file)
    assert target.width == WIDTH
    show(narrate(walk), target)
    assert "\x1b" not in file.getvalue()
    assert file.getvalue() == plain(narrate(walk)) + "\n"


@pytest.mark.parametrize(("columns", "width"), [("80", 80), ("500", 120), ("10", 40), ("x", WIDTH), ("0", WIDTH)])
def test_columns_sets_the_width_within_reason(columns: str, width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    assert console(io.StringIO()).width == width


@pytest.mark.parametrize("width", [80, 100, 120])
def test_a_story_fits_the_width(walk: ww.Walk, width: int) -> None:
    assert max(len(line) for line in plain(narrate(walk), width).splitlines()) <= width


def test_an_account_adds_up_as_printed(walk: ww.Walk) -> None:
    account = walk.account("out", cut="neurons")
    for top in (1, 3, None):
        page = "\n".join(t.plain for t in account_lines(account, 100, top))
        rows = [Decimal(m[1]) for m in re.finditer(rf"^    ({NUMBER})\s", page, re.M)]
        total = re.search(rf"^  = +({NUMBER})\s", page, re.M)
        assert total is not None
        assert sum(rows) == Decimal(total[1])
        assert "closes: " in page


def test_a_report_says_what_was_proven(walk: ww.Walk) -> None:
    page = plain(walk.verify())
    assert page.startswith("verified: 5 of 5 steps proven, none wrong")
    assert re.search(r"worst: [\d.e-]+ of its bound, at ", page)
    assert "taken as given" in page


def test_a_failed_report_names_the_step(walk: ww.Walk) -> None:
    from dataclasses import replace

    report = walk.verify()
    bad = replace(report.verdicts[1], status="FAILED", message="is 2 at [0], must be 3")
    page = plain(
        replace(report, verdicts=(report.verdicts[0], bad, *report.verdicts[2:]), structure=("step 9 is gone",))
    )
    assert page.startswith("FAILED: 2 faults in 5 steps")
    assert "step 9 is gone" in page
    assert f"{bad.address} ({bad.op}): is 2 at [0], must be 3" in page


def test_a_comparison_names_the_first_difference(walk: ww.Walk) -> None:
    net = ReluNet(5)
    with torch.no_grad():
        a, b = ww.walk(net, torch.tensor([[2.0]])), ww.walk(net, torch.tensor([[2.5]]))
    page = plain(ww.compare(a, b))
    assert "they first part at fc1" in page
    assert plain(ww.compare(a, a)).startswith("the same: all ")


def test_a_walk_is_summed_up(walk: ww.Walk) -> None:
    page = plain(walk)
    assert "5 ops executed, 5 recorded, 0 unexplained" in page
    assert "fc1" in page


def test_unicode_tokens_are_shown_whole() -> None:
    tokens = ["héllo", "日本", "🙂", "\n", "[x]"]
    net = nn.Sequential(nn.Embedding(5, 2), nn.Linear(2, 5))
    with torch.no_grad():
        walk = ww.walk(net, torch.tensor([[1, 2, 3]]), axis_labels={"tokens": tokens[1:4], "vocab": tokens})
    page = plain(narrate(walk))
    for token in ("日本", "🙂", "héllo", r"\n", "[x]"):
        assert token in page


def test_nothing_is_shown_of_what_is_not_known() -> None:
    with pytest.raises(TypeError, match="nothing is known about showing a int"):
        list(lines(3))
