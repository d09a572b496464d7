"""A training step and a neuron as people see them: lines that fit, and pictures that say what they hide."""

from __future__ import annotations

import html
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.cells import cell_len
from torch import nn

import weightwalk as ww
from weightwalk.learning.neurons.curves import bowl, cross_entropies
from weightwalk.learning.neurons.logistic import logistic_neuron
from weightwalk.learning.nudges.facts import Nudge
from weightwalk.show import neurons
from weightwalk.show.nudges import moved, verdict
from weightwalk.show.terminal import plain


@pytest.fixture(scope="module")
def step() -> Nudge:
    return ww.nudge("hello", optimizer="adamw", steps=2, check_gradients=True, compare=["sgd"])


@pytest.mark.parametrize("width", [80, 100, 120])
def test_prose_fits_the_width_and_tables_stay_whole(step: Nudge, width: int) -> None:
    lines = plain(step, width).splitlines()
    prose = [line for line in lines if not re.search(r"\S\s{2,}\S|─|=", line)]
    assert max(map(cell_len, prose)) <= width
    assert not any(line != line.rstrip() for line in lines)


def test_str_is_the_command(step: Nudge) -> None:
    assert str(step) == plain(step)
    assert "none moves yet" in str(step)


def words(path: Path) -> str:
    found = re.findall(r"<text[^>]*>(.*?)</text>", path.read_text(), re.S)
    return " ".join(html.unescape(re.sub(r"<[^>]*>", "", t)).strip() for t in found)


def test_the_picture_of_the_blame_says_what_it_leaves_out(step: Nudge, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    from weightwalk.learning.nudges.pictures import picture
    from weightwalk.show.nudges_figures import draw

    for ending in (".svg", ".png", ".pdf"):
        draw(picture(step), tmp_path / f"a{ending}")
        draw(picture(step), tmp_path / f"b{ending}")
        assert (tmp_path / f"a{ending}").read_bytes() == (tmp_path / f"b{ending}").read_bytes()
    said = words(tmp_path / "a.svg")
    assert "the 12 of 37 weights" in said and "Weights are marked, not neurons" in said and "Not shown" in said
    for tensor in step.tensors:
        assert tensor.name in said
    assert f"{step.blames[0].gradient:+.2g}" in said


def test_a_large_net_is_drawn_in_blocks(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    from weightwalk.learning.nudges.pictures import picture
    from weightwalk.show.nudges_figures import draw

    net = nn.Sequential(*(nn.Linear(100, 100) for _ in range(7)), nn.Linear(100, 1))
    drawn = picture(ww.nudge(net, torch.randn(3, 100), torch.randn(3, 1), verify=False))
    assert drawn.omitted == 4 and len(drawn.panels) == 12
    big = next(p for p in drawn.panels if p.shape == (100, 100))
    assert big.gradient.shape == (50, 50) and big.block == (2, 2)
    draw(drawn, tmp_path / "a.svg")
    assert "a cell is the" in words(tmp_path / "a.svg") and "4 tensors" in words(tmp_path / "a.svg")


@pytest.mark.parametrize(
    "facts", [logistic_neuron(steps=200), cross_entropies(), bowl()], ids=lambda f: type(f).__name__
)
def test_pictures_of_a_neuron(facts: Any, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    from weightwalk.show.neurons_figures import draw

    draw(facts, tmp_path / "a.svg")
    draw(facts, tmp_path / "b.svg")
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()
    assert "Not shown" in words(tmp_path / "a.svg")


@pytest.mark.parametrize(
    ("first", "changed", "said"),
    [(-1.0, -0.5, "50.0 % of what"), (-1.0, 0.5, "ROSE"), (1.0, 0.5, "as the gradient said"), (1.0, -1.0, "though"),
     (0.0, 0.0, "did not change"), (0.0, 1.0, "promised no change")],
)  # fmt: skip
def test_the_outcome_in_a_sentence(step: Nudge, first: float, changed: float, said: str) -> None:
    assert said in verdict(replace(step.promise, first=first, changed=changed))


def test_why_weights_stayed(step: Nudge) -> None:
    still = replace(step.movement, moved=30, raised=10, lowered=20, distinct=None, resting=5, swallowed=2)
    said = moved(still)
    assert "30 of 37" in said and "7 stayed: 5 have a gradient of exactly 0 and in 2" in said
    assert moved(replace(still, moved=0)) == "None of the 37 weights moved."


def test_a_step_that_fails_its_checks_is_said_to(step: Nudge) -> None:
    sheet = step.arithmetic[0]
    wrong = replace(sheet, checks=(replace(sheet.checks[0], ok=False), *sheet.checks[1:]))
    page = plain(replace(step, arithmetic=(wrong,), ok=False))
    assert "do NOT agree with the record" in page


def test_the_logistic_page_fits() -> None:
    lines = [line.plain for line in neurons.logistic_lines(logistic_neuron(steps=10), 100)]
    assert max(len(line) for line in lines if "steps taken" not in line and not re.match(r"\s+\d", line)) <= 100
