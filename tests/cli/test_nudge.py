"""`weightwalk nudge`: what it tells, what it writes, and the code it leaves with."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import numpy as np
import pytest
from cli.commands import bad, good

import weightwalk as ww
from weightwalk.cli.nudge import EPILOG

EXAMPLES = [
    shlex.split(re.split(r"\s{3,}", line.strip())[0])[2:] for line in EPILOG.splitlines() if "weightwalk nudge" in line
]

BROKEN = """
import torch
from torch import nn


class Twice(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return 2 * x

    @staticmethod
    def backward(ctx, grad):
        return 3 * grad


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(1, 1)

    def forward(self, x):
        return Twice.apply(self.fc(x))


def make():
    return Net()
"""


@pytest.mark.parametrize("words", EXAMPLES, ids=" ".join)
def test_every_example_of_the_help_runs(words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if "--figure" in words:
        pytest.importorskip("matplotlib")
    monkeypatch.chdir(tmp_path)
    page = good("nudge", *words)
    for title in ("1 forward and loss", "2 backpropagation", "3 optimizer", "4 did it help?"):
        assert f"\n{title}" in page
    assert page.index("2 backpropagation") < page.index("3 optimizer")
    assert re.search(r"verified: ([\d,]+) of \1 steps proven", page)
    for word in words:
        if word.endswith((".svg", ".walk")):
            assert (tmp_path / word).stat().st_size > 1000


def test_the_sums_on_the_page_close() -> None:
    """Added up by a reader with a pocket calculator."""
    from decimal import Decimal

    page = good("nudge", "hello", "--optimizer", "adamw", "--steps", "2")
    sums = 0
    terms: list[Decimal] = []
    for line in page.splitlines():
        term = re.match(r"    ([-+ ]?[\d.]+(?:e-?\d+)?)\s", line + " ")
        total = re.match(r"  {1,2}= +(-?[\d.]+(?:e-?\d+)?)", line)
        if total:
            assert sum(terms, Decimal(0)) == Decimal(total[1]), line
            sums, terms = sums + 1, []
        elif term and not re.search(r"─", line):
            terms.append(Decimal(term[1].strip().replace("+", "")))
        elif "─" not in line:
            terms = []
    assert sums >= 7


def test_json_holds_the_facts() -> None:
    facts = json.loads(good("nudge", "hello", "--json", "--check-gradients", "--compare", "adam", "--top", "3"))
    again = ww.nudge("hello", top=3)
    assert facts["is"] == "Nudge" and len(facts["blames"]) == 3 and facts["ok"] is True
    assert [b["gradient"] for b in facts["blames"]] == [b.gradient for b in again.blames]
    assert facts["promise"]["gap"] == again.promise.gap
    assert facts["gradients"]["ok"] is True and [r["optimizer"] for r in facts["rivals"]] == ["sgd", "adam"]
    assert facts["loss"] == "cross_entropy" and "walk" not in facts


def test_the_same_command_prints_the_same_page_and_another_seed_another() -> None:
    words = ("nudge", "hello6", "--batch", "2", "--optimizer", "adam")
    assert good(*words) == good(*words) == good(*words, "--seed", "0")
    assert good(*words) != good(*words, "--seed", "1")


def test_settings_of_the_optimizer_and_of_the_task() -> None:
    page = good(
        "nudge", "hello", "--optimizer", "momentum", "--set", "momentum=0.5", "--set", "width=3", "--steps", "2"
    )
    assert "μ = 0.5" in page and "= 0.5 × " in page
    assert "59 weights" in page
    assert "β1 = 0.8, β2 = 0.9," in good("nudge", "hello", "--optimizer", "adam", "--set", "betas=0.8,0.9")


def test_a_saved_step_can_be_verified_and_a_table_read(tmp_path: Path) -> None:
    pytest.importorskip("pandas")
    walk, table = tmp_path / "step.walk", tmp_path / "w.csv"
    good("nudge", "sqrt", "--save", str(walk), "--frame", str(table), "--top", "3")
    assert "proven" in good("verify", str(walk))
    loaded = ww.load(walk)
    assert "fc1.weight.grad" in loaded.addresses()
    assert len(table.read_text().splitlines()) == 4


def test_a_wrong_gradient_leaves_with_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "broken_nets.py").write_text(BROKEN)
    np.savez(tmp_path / "d.npz", x=np.ones((2, 1), np.float32), y=np.zeros((2, 1), np.float32))
    monkeypatch.syspath_prepend(str(tmp_path))
    words = ("nudge", "broken_nets:make", "--data", str(tmp_path / "d.npz"))
    good(*words)
    assert "2 wrong" in good(*words, "--check-gradients", code=1)


def test_text_towards_a_target() -> None:
    page = good("nudge", "gpt", "The cat", "--target", " dog", "--top", "2")
    assert "→ dog" in page and page.count("→") <= 3
    assert "of Σ|∂loss/∂w|" in page


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("nosuch",), "no task 'nosuch'"),
        (("gpt",), "brings no examples along"),
        (("gpt", "The"), "no next token"),
        (("linear", "2.0"), "Give it with --target"),
        (("linear", "2.0", "--target", "x"), "not numbers"),
        (("linear", "2.0", "--target", "1,2"), "the net returns 1"),
        (("linear", "--target", "2"), "--target is for an INPUT"),
        (("hello", "--rows", "a"), "not row numbers"),
        (("hello", "--rows", "4"), "no row 4"),
        (("hello", "--compare", "lion"), "no optimizer 'lion'"),
        (("hello", "--account", "fc1"), "no weight 'fc1'"),
        (("hello", "--account", "fc1.weight[7, 7]"), "outside"),
        (("hello", "--set", "momentum=0.5", "--optimizer", "adam"), "does not take"),
        (("hello", "--set", "colour=red"), "no colour"),
        (("hello", "--lr", "nan"), "positive number"),
        (("hello", "--lr", "-1"), "positive number"),
        (("hello", "--data", "nix.csv"), "no data file"),
        (("linear", "2.0", "--data", "x.csv"), "two sources"),
        (("hello", "--save", "a.txt"), "must end in"),
        (("hello", "--figure", "nix/a.svg"), "no directory"),
        (("linear", "--seed", "9" * 30), "The seed must be a whole number of at most 64 bits"),
    ],
    ids=lambda v: " ".join(v) if isinstance(v, tuple) else "",
)
def test_what_cannot_be_served_is_refused_in_a_sentence(words: tuple[str, ...], message: str) -> None:
    assert message in bad("nudge", *words)
