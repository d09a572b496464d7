"""`weightwalk census`: what it counts, how it is written, and what it refuses."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from cli import commands
from click.testing import Result

from weightwalk.cli.census import EPILOG
from weightwalk.learning.censuses.census import census


def run(*words: str) -> Result:
    return commands.run("census", *words)


def good(*words: str, code: int = 0) -> str:
    return commands.good("census", *words, code=code)


def bad(*words: str) -> str:
    return commands.bad("census", *words)


EXAMPLES = [
    shlex.split(re.split(r"\s{3,}", line.strip())[0])[2:] for line in EPILOG.splitlines() if "weightwalk census" in line
]


@pytest.mark.parametrize("words", EXAMPLES, ids=" ".join)
def test_every_example_of_the_help_runs(words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With fewer seeds than the help has, so that it takes no minute."""
    monkeypatch.chdir(tmp_path)
    if "--seeds" in words:
        words[words.index("--seeds") + 1] = "12"
    elif "--walk-seed" not in words:
        words += ["--seeds", "12"]
    page = good(*words)
    assert page
    files = [tmp_path / w for w in words if w.endswith((".svg", ".csv", ".walk"))]
    assert all(f.stat().st_size > 100 for f in files)
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted(f.name for f in files)


def test_the_page_tells_what_the_facts_say() -> None:
    page = good("hello6", "--seeds", "40")
    facts = census("hello6", seeds=40).cells[0]
    for name, share in facts.outcomes.items():
        if share.count:
            assert re.search(rf"^  {name}\s+{share.count}\s+{100 * share.share:.1f} %", page, re.M), name
    assert "40 seeds (0 to 39), 501 epochs, SGD, rate 0.1, full batch" in page
    assert "6 rows, 0 duplicates; targets: dog 2, ! 2, world 1, cat 1" in page
    assert "solved: right == all" in page and "95 % confidence" in page


def test_json_and_files_hold_the_same_counts(tmp_path: Path) -> None:
    seeds, table = tmp_path / "seeds.csv", tmp_path / "table.csv"
    words = ("hello6", "--seeds", "30", "--vary", "width=2,4", "--frame", str(seeds), "--table", str(table), "--json")
    facts = json.loads(good(*words))
    assert facts["is"] == "Census" and facts["confidence"] == 0.95
    by_seed, by_cell = pd.read_csv(seeds), pd.read_csv(table)
    assert len(by_seed) == 60 and len(by_cell) == 2
    for k, cell in enumerate(facts["cells"]):
        counts = {n: s["count"] for n, s in cell["outcomes"].items()}
        part = by_seed[by_seed.width == cell["settings"]["width"]]
        assert counts == {n: int((part.outcome == n).sum()) for n in counts}
        assert counts["solved"] == by_cell["solved"][k]
        assert "measures" not in cell and "outputs" not in cell


def test_the_same_command_prints_the_same_bytes() -> None:
    words = ("hello6", "--seeds", "20", "--vary", "width=2,4", "--json")
    assert good(*words) == good(*words)


def test_options_are_settings_and_seeds_begin_where_asked() -> None:
    facts = json.loads(good("hello6", "--seeds", "5", "--seed", "7", "--epochs", "9", "--optimizer", "adam",
                            "--lr", "0.01", "--batch", "2", "--no-shuffle", "--set", "width=3", "--json"))  # fmt: skip
    assert (facts["first_seed"], facts["last_seed"], facts["seeds"]) == (7, 11, 5)
    told = {"epochs": 9, "optimizer": "adam", "lr": 0.01, "batch": 2, "shuffle": False, "width": 3}
    assert {n: facts["settings"][n] for n in told} == told and facts["axes"] == []
    assert json.loads(good("hello6", "--seeds", "7-11", "--epochs", "1", "--json"))["last_seed"] == 11
    assert json.loads(good("hello6", "--seeds", "3, 9", "--epochs", "1", "--json"))["seeds"] == 2


def test_seeds_of_an_outcome_are_listed() -> None:
    page = good("hello6", "--seeds", "30", "--list", "solved")
    wanted = census("hello6", seeds=30).cells[0].seeds_with("solved").tolist()
    assert [int(w) for w in re.findall(r"\d+", page.replace("\n", " "))] == wanted and wanted
    facts = json.loads(good("hello6", "--seeds", "30", "--list", "solved", "--json"))
    assert facts["seeds_with"]["solved"] == {"": wanted}


def test_a_seed_is_walked_and_the_walk_is_one_that_verifies(tmp_path: Path) -> None:
    file = tmp_path / "seed.walk"
    page = good("hello6", "--walk-seed", "3", "--save", str(file))
    one = census("hello6", seeds=[3]).cells[0]
    outcome = next(n for n, s in one.outcomes.items() if s.count)
    assert f"seed 3 trained alone: {outcome} in the census" in page and "none wrong" in page
    assert "verified" in commands.good("verify", str(file))
    facts = json.loads(good("hello6", "--walk-seed", "3", "--input", "dog", "--json"))
    assert facts["walk"]["meta"]["input"] == "dog" and facts["seed"]["apart"] < 1e-2
    assert facts["verify"]["ok"] is True


@pytest.mark.parametrize("words", [("sqrt", "--input", "2.0"), ("xor",), ("nearest", "--epochs", "3"), ("linear",)])
def test_nets_of_numbers_are_walked_too(words: tuple[str, ...]) -> None:
    assert "none wrong" in good(*words, "--walk-seed", "1")


def test_points_and_located_values_are_told() -> None:
    page = good("hello6", "--seeds", "12", "--points", "3")
    assert "where failures stopped: 3 of" in page and "negative eigenvalues of 47" in page
    page = good("hello", "--seeds", "30", "--epochs", "0", "--locate", "first_loss=1.3034")
    assert re.search(r"first_loss 1\.3034: \d+ of 30 seeds are below it", page)


def test_measures_are_listed() -> None:
    page = good("hello6", "--measures")
    assert "loop[CYCLE]" in page and "dead_layer_end" in page
    assert "kinks" in json.loads(good("sqrt", "--measures", "--json"))


MINE = """
import torch
from torch import nn
from weightwalk.learning.tasks import Data, Task
x = torch.linspace(-1, 1, 9)[:, None]
def task():
    return Task("mine", "tanh net", lambda: nn.Sequential(nn.Linear(1, 2), nn.Tanh(), nn.Linear(2, 1)), Data(x, x * x))
def net():
    return nn.Sequential(nn.Linear(1, 3), nn.ReLU(), nn.Linear(3, 1))
def dropped():
    return nn.Sequential(nn.Linear(1, 3), nn.Dropout(0.5), nn.Linear(3, 1))
made = net()
"""


@pytest.fixture
def mine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    (tmp_path / "mine_for_census.py").write_text(MINE)
    (tmp_path / "data.csv").write_text("x,y\n" + "".join(f"{k / 4},{k * k / 16}\n" for k in range(-4, 5)))
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.chdir(tmp_path)
    yield "mine_for_census"
    sys.modules.pop("mine_for_census", None)


def test_tasks_and_nets_of_ones_own(mine: str) -> None:
    assert "census of mine: tanh net" in good(f"{mine}:task", "--seeds", "5", "--epochs", "20")
    page = good(f"{mine}:net", "--data", "data.csv", "--seeds", "5", "--epochs", "20", "--vary", "lr=0.1,0.01")
    assert "lr 0.1 -> 0.01" in page and "9 rows" in page
    assert "fresh weights for each seed" in bad(f"{mine}:made", "--data", "data.csv", "--seeds", "5")
    assert bad(f"{mine}:dropped", "--data", "data.csv", "--seeds", "5", "--epochs", "2")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("helo",), "There is no task 'helo'"),
        (("gpt",), "'gpt' is a net, not a task"),
        (("hello6", "--seeds", "0"), "a census takes 1 to"),
        (("hello6", "--seeds", "99999999999"), "a census takes 1 to"),
        (("hello6", "--seeds", "many"), "is no number of seeds"),
        (("hello6", "--seeds", "9-3"), "is no range"),
        (("hello6", "--seeds", "3,3"), "Seed 3 is listed twice"),
        (("hello6", "--vary", "width"), "is not NAME=VALUE,VALUE"),
        (("hello6", "--vary", "width="), "is not NAME=VALUE,VALUE"),
        (("hello6", "--vary", "widht=2,4"), "did you mean width"),
        (("hello6", "--vary", "width=2", "--vary", "width=4"), "say it once"),
        (("hello6", "--vary", "width=2,4", "--set", "width=4"), "width is set by --set as well"),
        (("hello6", "--vary", "lr=0.1,0.2", "--lr", "0.1"), "is set by --lr as well"),
        (("hello6", "--lr", "fast"), "lr takes a number"),
        (("hello6", "--lr", "-1"), "positive number"),
        (("hello6", "--batch", "0"), "batch is a count"),
        (("hello6", "--epochs", "1.5"), "epochs takes a whole number"),
        (("hello6", "--rule", "loss > 1"), "is no rule"),
        (("hello6", "--rule", "x: los > 1"), "did you mean loss"),
        (("hello6", "--measure", "rmse"), "There is no measure 'rmse' of hello6"),
        (("sqrt", "--rule", "x: right == all"), "There is no measure 'right' of sqrt"),
        (("hello6", "--locate", "first_loss"), "is not MEASURE=NUMBER"),
        (("hello6", "--locate", "first_loss=nan"), "is not MEASURE=NUMBER"),
        (("hello6", "--list", "won", "--seeds", "3", "--epochs", "1"), "no outcome 'won'"),
        (("hello6", "--confidence", "100"), "in percent, above 0 and below 100"),
        (("hello6", "--memory", "-5"), "is not a size"),
        (("hello6", "--memory", "1"), "memory"),
        (("hello6", "--walk-seed", "3", "--vary", "width=2,4"), "give one value, such as --vary width=2"),
        (("hello6", "--walk-seed", "3", "--input", "horse"), "horse"),
        (("hello6", "--save", "a.walk"), "say which with --walk-seed"),
        (("hello6", "--input", "dog"), "say which with --walk-seed"),
        (("hello6", "--figure", "a.gif"), "must end in .svg or .png or .pdf"),
        (("hello6", "--frame", "no/such/a.csv"), "there is no directory"),
        (("hello6", "--set", "colour=red"), "colour"),
        (("sqrt", "--set", "target=cos"), "There is no function 'cos'"),
        (("sqrt", "--vary", "width=2,0"), "at least one unit"),
    ],
)
def test_what_makes_no_sense_is_refused_in_a_sentence(words: tuple[str, ...], said: str) -> None:
    assert said in bad(*words).replace("\n", " ")


def test_a_disk_that_is_full_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)

    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(pd.DataFrame, "to_csv", full)
    assert run("hello6", "--seeds", "3", "--epochs", "1", "--frame", "a.csv").exit_code == 2
    assert list(tmp_path.iterdir()) == []


def test_an_interrupt_is_130_and_a_word(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def interrupted(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("weightwalk.learning.censuses.engine.train_many", interrupted)
    result = run("hello6", "--seeds", "3", "--frame", str(tmp_path / "a.csv"))
    assert (result.exit_code, result.stdout, result.stderr.strip()) == (130, "", "interrupted")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_ctrl_c_ends_a_real_process_with_130_and_a_word() -> None:
    import signal

    words = [sys.executable, "-m", "weightwalk", "census", "hello6", "--seeds", "200000"]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    time.sleep(6)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130 and out == "" and "interrupted" in err and "Traceback" not in err
