"""``weightwalk ngrams``: its examples, what they say, and what it refuses."""

from __future__ import annotations

import csv
import json
import math
import re
import shlex
from pathlib import Path

import numpy as np
import pytest
from cli.commands import bad, good

from weightwalk.cli.ngrams import EPILOG
from weightwalk.language.corpora import corpus
from weightwalk.language.ngrams.facts import counting
from weightwalk.language.tinyworld import tinyworld

LINES = [line.strip() for line in EPILOG.splitlines() if line.startswith("  weightwalk ")]
EXAMPLES = [re.split(r"\s{3,}", line)[0].removeprefix("weightwalk ") for line in LINES]


def short(example: str) -> str:
    """The same with a text that is counted in a moment; the slow test takes what the help says."""
    return re.sub(r"\btinyworld(?=\s|$)", "tinyworld:300", example)


SHORT = [short(e) for e in EXAMPLES]
FULL = [pytest.param(e, marks=pytest.mark.slow) for e in EXAMPLES if short(e) != e]


@pytest.mark.parametrize("example", [*SHORT, *FULL])
def test_the_examples_of_the_help_run(example: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "novel.txt").write_text(tinyworld().text(300), encoding="utf-8")
    (tmp_path / "folder-of-texts").mkdir()
    (tmp_path / "folder-of-texts" / "a.txt").write_text(tinyworld().text(300, seed=1), encoding="utf-8")
    assert good(*shlex.split(example))


def test_what_it_says_is_what_was_counted(tmp_path: Path) -> None:
    table = tmp_path / "a.csv"
    told = json.loads(
        good("ngrams", "tinyworld:500", "--order", "3", "--json", "--next", "The cut", "--frame", str(table))
    )
    text = tinyworld().text(500)
    cut = round(len(text) * 0.9)
    assert told["counting"]["tokens"] == len(text) and told["counting"]["held"] == len(text) - cut
    shares = sorted(((text.count(c) / len(text), c) for c in set(text)), key=lambda pair: -pair[0])
    assert [p for _, p in told["commonest"]] == pytest.approx([p for p, _ in shares])
    assert told["counting"]["entropy"] == pytest.approx(-sum(p * math.log2(p) for p, _ in shares))
    assert told["next"][0][0] == "e" and sum(p for _, p in told["next"]) == pytest.approx(1)
    rows = list(csv.DictReader(table.read_text().splitlines()))
    runs = [len({text[:cut][i : i + k] for i in range(cut - k + 1)}) for k in (1, 2, 3)]
    assert [int(r["runs"]) for r in rows] == runs
    bits = [float(r["held"]) for r in rows]
    assert bits == [s["held"] for s in told["counting"]["scores"]]
    assert bits[0] > bits[1] > bits[2] > tinyworld().entropy_per_character(), "no model beats the source itself"


def test_pairs_are_the_shares_of_what_follows() -> None:
    """CHECKLIST 60: after q comes u."""
    facts = counting(corpus("tinyworld:800"), order=1)
    text = corpus("tinyworld:800").text
    for a in "qaT":
        followed = text[:-1].count(a)
        for b in "ueh":
            if a in facts.paired and b in facts.paired:
                pairs = sum(text[i : i + 2] == a + b for i in range(len(text) - 1))
                here = facts.pairs[facts.paired.index(a), facts.paired.index(b)]
                assert here == pytest.approx(pairs / max(followed, 1))
    assert np.all(facts.pairs.sum(axis=1) <= 1 + 1e-12)


def test_letters_of_the_true_source() -> None:
    """Mean surprisal per character of sampled sentences, by their exact probabilities, is the entropy up to noise."""
    world = tinyworld()
    said = world.sample(3000, seed=9)
    bits = [-math.log2(world.probability(s)) for s in said]
    sizes = [len(s) + 1 for s in said]
    rate = sum(bits) / sum(sizes)
    noise = np.std(np.array(bits) - rate * np.array(sizes)) / math.sqrt(len(said)) / np.mean(sizes)
    assert abs(rate - world.entropy_per_character()) < 4 * noise  # 1 in 16,000 by chance


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["missing.txt"], "There is no file or folder 'missing.txt', and no text of that name"),
        (["tinyworld:9", "--held-out", "1"], "The share to hold out lies between 0 and 1; got 1.0."),
        (["tinyworld:9", "--discount", "2"], "The discount lies between 0 and 1"),
        (["tinyworld:9", "--smoothing", "add", "--add", "0"], "What is added to each count must be a number above 0"),
        (["tinyworld:9", "--next", "日"], "has no char '日' among its"),
        (["tinyworld:9", "--add", "1"], "--add belongs to --smoothing add, not to kneser-ney."),
        (["tinyworld:9", "--discount", "0.5", "--smoothing", "witten-bell"], "--discount belongs to"),
        (["tinyworld:9", "--seed", "-1"], "-1 is not in the range x>=0"),
        (["tinyworld:9", "--figure", "a.gif"], "'a.gif' must end in .svg or .png or .pdf"),
        (["tinyworld:9", "--unit", "bytes"], "'bytes' is not one of 'chars', 'words'"),
    ],
)
def test_what_cannot_be_done_is_said(given: list[str], message: str) -> None:
    assert message in bad("ngrams", *given)
