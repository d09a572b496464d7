"""`weightwalk neuron`: what it tells, what it writes, and what it refuses."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import pytest
from cli.commands import bad, good

from weightwalk.cli.neuron import EPILOG, KINDS, LINES, TAKES

EXAMPLES = [
    shlex.split(re.split(r"\s{3,}", line.strip())[0])[2:] for line in EPILOG.splitlines() if "weightwalk neuron" in line
]


@pytest.mark.parametrize("words", EXAMPLES, ids=" ".join)
def test_every_example_of_the_help_runs(words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if "--figure" in words:
        pytest.importorskip("matplotlib")
    monkeypatch.chdir(tmp_path)
    words = ["3000" if w == "100000" else w for w in words]
    assert len(good("neuron", *words).splitlines()) > 5
    assert all((tmp_path / w).stat().st_size > 1000 for w in words if w.endswith(".svg"))


def test_the_page_of_the_logistic_neuron() -> None:
    page = good("neuron")
    assert "Before any step p is 50.00 %" in page
    for level, step in (("0.90", "45"), ("0.95", "92"), ("0.99", "455")):
        assert f"p ≥ {level} after {step} steps" in page
    assert "Δw1 = 2 × Δw2" in page and "0.225 × (1 - p)" in page
    assert "not within 5 steps" in good("neuron", "--steps", "5")
    assert good("neuron", "--start", "random", "--seed", "3") == good("neuron", "--start", "random", "--seed", "3")
    assert good("neuron", "--start", "random", "--seed", "3") != good("neuron", "--start", "random", "--seed", "4")


def test_other_inputs_and_no_steps() -> None:
    assert "→ target 0" in good("neuron", "--inputs", "1,2,3", "--target", "0", "--steps", "0")
    facts = json.loads(good("neuron", "--inputs=-1,0", "--start", "0.1,-0.2,0.3", "--json", "--steps", "1"))
    assert facts["moments"][0]["weights"] == [0.1, -0.2]


def test_claims_are_said_right() -> None:
    linear = good("neuron", "--linear")
    assert "2 connections and 3 parameters" in linear and "minus infinity" in linear
    assert re.search(r"= +2\.5 +z", linear)
    assert "circles" in good("neuron", "--perceptron", "xor")
    assert "learned" in good("neuron", "--perceptron", "AND")
    assert "That is OR" in good("neuron", "--threshold", "1,1,-0.5")
    assert "2.30259" in good("neuron", "--cross-entropy")


def test_every_kind_as_json_and_as_a_table(tmp_path: Path) -> None:
    pytest.importorskip("pandas")
    asked = {"logistic": (), "linear": ("--linear",), "threshold": ("--threshold", "or"), "bowl": ("--bowl",),
             "perceptron": ("--perceptron", "or"), "cross_entropy": ("--cross-entropy",)}  # fmt: skip
    assert set(asked) == {*KINDS, "logistic"} == set(TAKES) == set(LINES)
    for kind, words in asked.items():
        assert json.loads(good("neuron", *words, "--json"))["is"]
        table = str(tmp_path / f"{kind}.csv")
        if kind in ("linear", "threshold"):
            assert "long table" in bad("neuron", *words, "--frame", table)
        else:
            good("neuron", *words, "--frame", table)
            assert len(Path(table).read_text().splitlines()) > 3


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--linear", "--bowl"), "two questions"),
        (("--linear", "--lr", "1"), "--lr says nothing to --linear"),
        (("--weights", "1,2"), "--weights says nothing to the logistic neuron"),
        (("--threshold", "xor"), "No threshold unit computes xor"),
        (("--threshold", "maybe"), "no gate 'maybe'"),
        (("--threshold", "1,2"), "w1,w2,b"),
        (("--perceptron", "maybe"), "Gates are"),
        (("--inputs", "a,b"), "--inputs 'a,b' is not numbers"),
        (("--inputs", "nan"), "finite"),
        (("--target", "7"), "between 0 and 1"),
        (("--lr", "0"), "rate is positive"),
        (("--lr", "0.1,0.2"), "Several rates"),
        (("--start", "1,2"), "first weights"),
        (("--bowl", "--start", "zero"), "two numbers"),
        (("--bowl", "--lr", "0"), "Rates are positive"),
        (("--cross-entropy", "--probabilities", "0"), "above 0"),
        (("--linear", "--inputs", "1"), "one weight per input"),
        (("--linear", "--figure", "a.svg"), "--figure draws"),
        (("--figure", "a.gif"), "must end in"),
        (("--steps", "100000000"), "steps are 0 to"),
        (("--lr", "1e308"), "too large for a float64"),
        (("--inputs", "1e308,1e308"), "too large for a float64"),
        (("--inputs", "1e200,1e200"), "too large for a float64"),
        (("--start", "1e308"), "too large for a float64"),
        (("--linear", "--weights", "1e308,1e308", "--inputs", "1e10,3"), "too large for a float64"),
        (("--linear", "--weights", "1e200,0"), "too large for a float64"),
    ],
    ids=lambda v: " ".join(v) if isinstance(v, tuple) else "",
)
def test_what_cannot_be_served_is_refused_in_a_sentence(words: tuple[str, ...], message: str) -> None:
    assert message in bad("neuron", *words)
