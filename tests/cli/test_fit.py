"""`weightwalk fit`: every example of the help, what is printed and written, and what is refused in a sentence."""

from __future__ import annotations

import json
import re
import shlex
from importlib import import_module
from pathlib import Path

import pytest
from cli.commands import bad, good, run

from weightwalk.cli.fit import EXPERIMENTS

LIGHT = {
    "points": ("--seeds", "2", "--epochs", "5"),
    "labels": ("--seeds", "2", "--epochs", "5"),
    "capacity": ("--seeds", "2", "--epochs", "3"),
    "data": ("--seeds", "2", "--updates", "3"),
    "beyond": ("--seeds", "2", "--steps", "3", "--epochs", "5"),
    "epochs": ("--seeds", "1", "--epochs", "2"),
    "regions": ("--seeds", "2", "--epochs", "3"),
}
"""Options under which the examples are over in a moment; the slow test runs the defaults."""


def examples() -> list[list[str]]:
    pages = [import_module(f"weightwalk.cli.fit_{name}").EPILOG for name in EXPERIMENTS]
    lines = [line.strip() for page in pages for line in page.splitlines() if line.strip().startswith("weightwalk fit")]
    return [shlex.split(re.split(r"\s{3,}", line)[0])[2:] for line in lines]


PARAMS = [
    # pictures are drawn in tests/show, too; two of them here are enough for every day
    pytest.param(
        w, id=" ".join(w), marks=[pytest.mark.slow] if "--figure" in w and w[0] not in ("points", "data") else []
    )
    for w in examples()
]


@pytest.mark.parametrize("words", PARAMS)
def test_every_example_of_the_help_runs(words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for package in ("matplotlib", "pandas"):
        if f"--{'figure' if package == 'matplotlib' else 'frame'}" in words:
            pytest.importorskip(package)
    monkeypatch.chdir(tmp_path)
    Path("lines.txt").write_text("\n".join(f"line {i} of a text with few lines" for i in range(20)))
    page = good("fit", *words, *LIGHT[words[0]])
    assert page.strip() and all(len(line) <= 120 for line in page.splitlines())
    for word in words:
        if word.endswith((".png", ".csv")):
            assert Path(word).stat().st_size > 300


@pytest.mark.slow
@pytest.mark.parametrize("name", EXPERIMENTS)
def test_the_default_runs(name: str) -> None:
    assert good("fit", name)


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_json_is_all_of_it_and_the_same_each_time(name: str) -> None:
    first = good("fit", name, *LIGHT[name], "--json")
    if name in ("labels", "data"):
        assert good("fit", name, *LIGHT[name], "--json") == first
    facts = json.loads(first)
    assert facts["is"] == f"{name.capitalize()}Fit" and facts["seeds"] == list(range(int(LIGHT[name][1])))


def test_another_seed_is_another_draw() -> None:
    first, second = (json.loads(good("fit", "labels", *LIGHT["labels"], "--json", "--seed", s)) for s in "04")
    assert second["seeds"] == [4, 5]
    assert first["found"][0]["losses"]["numbers"] != second["found"][0]["losses"]["numbers"]


def test_the_six_points() -> None:
    page = good("fit", "points", "--widths", "none")
    assert re.search(r"polynomial, degree 1 +2 +23\.65 +34\.52", page)
    assert re.search(r"polynomial, degree 4 +5 +21\.02 +521\.2", page)
    assert re.search(r"polynomial, degree 5 +6 +\S+e-1\d +—", page)
    assert "Least error at a point left out: degree 1, 34.52" in page


def test_points_of_ones_own(tmp_path: Path) -> None:
    (tmp_path / "p.csv").write_text("x,y\n0,0\n1,1\n2,4\n3,9\n4,16\n")
    of_file = good("fit", "points", "--data", str(tmp_path / "p.csv"), "--widths", "none")
    assert of_file == good("fit", "points", "--points", "0,0; 1,1; 2,4; 3,9; 4,16", "--widths", "none")
    assert "Least error at a point left out: degree 2" in of_file


def test_the_root_of_eight() -> None:
    page = good("fit", "beyond", *LIGHT["beyond"])
    for line in ("1     3 ", "2     2.8333", "3     2.8284314", "4     2.8284271247494", "5     2.82842712474619009"):
        assert line in page
    assert "-4.4e-16" in page
    assert "Held in fractions, nothing rounded: yes, for the first 8 steps" in " ".join(page.split())


REFUSED = [
    (("points", "--points", "0,0;1"), "pairs of numbers"),
    (("points", "--points", "0,0;1,1"), "here are 2"),
    (("points", "--points", "0,0;1,1;2,nan"), "Point 2 is (2.0, nan)"),
    (("points", "--points", "0,0;1,1;2,2", "--data", "x.csv"), "give one of them"),
    (("points", "--data", "nowhere.csv"), "no file"),
    (("points", "--degrees", "6"), "ask for degrees up to 5"),
    (("points", "--degrees", "two"), "--degrees are whole numbers"),
    (("points", "--widths", "0"), "--widths are whole numbers from 1"),
    (("points", "--figure", "a.gif"), "must end in"),
    (("points", "--figure", "nowhere/a.png"), "no directory"),
    (("points", "--frame", "a.xlsx"), "must end in .csv"),
    (("labels", "--rows", "3"), "Labels need 2 classes"),
    (("capacity", "gamma"), "There is no function 'gamma'"),
    (("capacity", "--rows", "5"), "degrees below their number"),
    (("data", "--sizes", "1,2"), "three numbers of examples"),
    (("beyond", "log"), "not 'log'"),
    (("beyond", "--at", "one"), "--at takes numbers"),
    (("beyond", "--at", "-1"), "positive number"),
    (("beyond", "--trace", "nan"), "positive number"),
    (("beyond", "--rates", "0"), "Rates are positive"),
    (("epochs", "--text", "nowhere.txt"), "no file"),
    (("regions", "--widths", "x"), "--widths are whole numbers"),
]


@pytest.mark.parametrize(("words", "message"), REFUSED, ids=lambda v: " ".join(v) if isinstance(v, tuple) else "")
def test_what_cannot_be_served_is_refused_in_a_sentence(
    words: tuple[str, ...], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert message in " ".join(bad("fit", *words).split())
    assert not list(tmp_path.iterdir())


def test_a_text_that_is_none_is_refused(tmp_path: Path) -> None:
    (tmp_path / "few.txt").write_text("one line\n")
    assert "there are 1" in bad("fit", "epochs", "--text", str(tmp_path / "few.txt"))
    (tmp_path / "bytes.txt").write_bytes(b"\xff\xfe\x00")
    assert "not text in UTF-8" in bad("fit", "epochs", "--text", str(tmp_path / "bytes.txt"))


def test_without_an_experiment_the_help_is_the_answer() -> None:
    result = run("fit")
    assert result.exit_code == 2 and all(name in result.stdout for name in EXPERIMENTS)
    assert "did you mean 'regions'" in bad("fit", "region")
    assert "there are points, labels" in bad("fit", "zzz")


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_the_help_names_the_options(name: str) -> None:
    page = good("fit", name, "--help")
    assert all(option in page for option in ("--seeds", "--seed", "--json", "--frame", "--figure", "Examples:"))
