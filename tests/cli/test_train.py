"""`weightwalk train`: what it tells, what it writes, how it is interrupted and gone on with."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from cli.commands import bad, good, run
from safetensors.torch import load_file

from weightwalk.cli.train import EPILOG, GROUPS
from weightwalk.cli.train_jobs import training_bar
from weightwalk.learning.train import train

EXAMPLES = [
    shlex.split(re.split(r"\s{3,}", line.strip())[0])[1:]
    for line in EPILOG.splitlines()
    if line.strip().startswith("weightwalk train")
]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mynets.py").write_text("from torch import nn\ndef make():\n    return nn.Linear(2, 1)\n")
    (tmp_path / "table.csv").write_text("a,b,y\n" + "".join(f"{i},{i % 3},{2 * i - i % 3}\n" for i in range(12)))
    monkeypatch.delitem(sys.modules, "mynets", raising=False)
    return tmp_path


def test_every_example_of_the_help_runs(folder: Path) -> None:
    assert len(EXAMPLES) == 8
    good("train", "xor", "--run", "xor-run", "--epochs", "2")
    for words in EXAMPLES:
        if "--figure" in words:
            pytest.importorskip("matplotlib")
        if "--run" in words:
            continue  # made above, to be gone on with
        few = [] if "--epochs" in words else ["--epochs", "3"]
        page = good(*words, *few)
        assert "learning rates" in page or "loss" in page
        assert all(Path(w).stat().st_size > 100 for w in words if w.endswith((".png", ".safetensors")))


def test_the_help_has_every_option_under_a_heading() -> None:
    page = good("train", "--help")
    assert all(f"\n{title}:\n" in page for title in GROUPS)
    assert "Other options:\n  -h, --help" in page, "nothing is left over"


def test_it_tells_the_curve_the_verdict_and_each_answer() -> None:
    page = good("train", "hello6", "--seed", "3")
    history = train("hello6", seed=3)
    assert "gradient descent (full batch): 1 update per epoch" in " ".join(page.split())
    assert f"{history.losses[0]:.6g}" in page and f"{history.final:.6g}" in page
    assert re.search(r"hello→world +\S+ +world +0\.\d+ +(right|wrong)", page)
    assert re.search(r"training: \d of 6 right", page)
    assert "still falling" in page or "flat from epoch" in page
    assert page == good("train", "hello6", "--seed", "3"), "the same command, the same bytes"


def test_mini_batches_are_called_stochastic_and_counted() -> None:
    page = good("train", "hello6", "--batch", "4", "--epochs", "3", "--set", "width=4")
    page = " ".join(page.split())
    assert "stochastic gradient descent (mini-batches): 2 updates per epoch" in page
    assert "width=4" in page and "too short to say" in page


def test_set_is_of_the_task_or_of_the_optimizer() -> None:
    facts = json.loads(good("train", "xor", "--epochs", "2", "--optimizer", "momentum", "--set", "momentum=0.5",
                            "--set", "width=3", "--json"))  # fmt: skip
    assert facts["shape"]["width"] == 3 and facts["history"]["settings"]["settings"] == {"momentum": 0.5}
    assert "does not take {'wide': 3}" in bad("train", "xor", "--set", "wide=3")


def test_json_table_and_weights_agree(folder: Path) -> None:
    pytest.importorskip("pandas")
    words = "train mynets:make --data table.csv --epochs 7 --lr 0.001 --held-out 0.25 --seed 2 --json --frame f.csv"
    facts = json.loads(good(*words.split(), "--save", "w.safetensors"))
    rows = list(csv.DictReader((folder / "f.csv").read_text().splitlines()))
    assert [float(r["loss"]) for r in rows[:-1]] == facts["history"]["losses"] and len(rows) == 8
    assert [float(r["held_loss"]) for r in rows] == facts["history"]["held_losses"]
    assert facts["history"]["rows"] == 9 and facts["history"]["kind"].startswith("gradient descent")
    assert set(load_file(folder / "w.safetensors")) == {"weight", "bias"}
    assert "seconds" not in facts["history"], "what differs each time is told on standard error"


def test_several_rates_and_one_that_breaks_off(folder: Path) -> None:
    result = run("train", "linear", "--lr", "0.1,1,1e30", "--epochs", "60", "--json")
    assert result.exit_code == 0
    facts = json.loads(result.stdout)
    assert facts["rates"] == [0.1, 1.0, 1e30] and facts["broke"][0] == "" and "became" in facts["broke"][2]
    low, mid, high = (r["history"] for r in facts["runs"])
    assert all(b <= a for a, b in zip(low["losses"], low["losses"][1:], strict=False)), "short steps lower the loss"
    assert mid["losses"] != sorted(mid["losses"], reverse=True), "longer ones need not"
    assert high["updates"] < 60
    page = good("train", "linear", "--lr", "0.1,1,1e30", "--epochs", "60")
    assert "broke off after" in page and "nothing guarantees that it does" in page


@pytest.mark.parametrize("ending", ["svg", *(pytest.param(e, marks=pytest.mark.slow) for e in ("png", "pdf"))])
def test_figures(folder: Path, ending: str) -> None:
    pytest.importorskip("matplotlib")
    good("train", "sqrt", "--epochs", "30", "--patience", "3", "--figure", f"one.{ending}")
    good("train", "sqrt", "--epochs", "20", "--lr", "0.1,1e30", "--figure", f"two.{ending}")
    assert (folder / f"one.{ending}").stat().st_size > 3000
    if ending == "svg":
        one, two = (folder / "one.svg").read_text(), (folder / "two.svg").read_text()
        assert "does not show where among 25 weights" in re.sub(r"</text>.*?<text[^>]*>", " ", one, flags=re.S)
        assert "broke off" in two and "a number was not finite" in two
        good("train", "sqrt", "--epochs", "30", "--patience", "3", "--figure", "again.svg")
        assert (folder / "again.svg").read_text() == one


def test_a_number_that_is_not_finite_leaves_with_1(folder: Path) -> None:
    result = run("train", "linear", "--lr", "1e30", "--run", "r")
    assert result.exit_code == 1 and not result.stdout
    assert re.search(r"Error: The loss became \w+ in epoch \d+, at update \d+; the first number", result.stderr)
    assert "r holds the checkpoints from before" in result.stderr
    page = good("train", "linear", "--lr", "1e3", "--on-nonfinite", "rollback", "--epochs", "60", "--rollbacks", "40")
    assert "rollback: The loss became" in page and "halved the learning rate" in page


def test_a_run_is_gone_on_with_by_its_folder_alone(folder: Path) -> None:
    what = "train mynets:make --data table.csv --held-out 0.25"
    words = f"{what} --seed 5 --lr 0.001 --batch 4 --optimizer adam --set betas=0.8,0.99".split()
    whole = good(*words, "--epochs", "9", "--run", "whole")
    good(*words, "--epochs", "4", "--run", "part", "--snapshots", "2")
    again = "holds a run already: go on with it by `weightwalk train --resume part`"
    assert again in bad(*words, "--epochs", "4", "--run", "part")
    rest = good("train", "--resume", "part", "--epochs", "9")
    assert "resumed: Went on from epoch 4 (update 12)." in rest
    assert load_file("part/weights.safetensors")["weight"].equal(load_file("whole/weights.safetensors")["weight"])
    table = re.compile(r"  loss  .*?\n\n", re.S)
    assert table.findall(rest) == table.findall(whole)
    assert sorted(p.name for p in Path("part/snapshots").iterdir())[:3] == [f"00000{e}.safetensors" for e in (0, 2, 4)]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "Say what to train"),
        (("nosuch",), "There is no task 'nosuch'"),
        (("gpt",), "give what it is to learn with --data"),
        (("xor", "--lr", "fast"), "--lr 'fast' is not a number"),
        (("xor", "--lr", "0.1,1", "--run", "r"), "--run is for one training"),
        (("xor", "--every", "3"), "--every is about what a run's folder holds"),
        (("xor", "--snapshots", "3"), "give --run DIR with it"),
        (("xor", "--run", "r", "--every", "often"), "every says when"),
        (("xor", "--schedule", "cosin"), "There is no schedule 'cosin'"),
        (("xor", "--held-out", "2"), "The share to hold out"),
        (("xor", "--figure", "x.gif"), "must end in .svg"),
        (("xor", "--save", "no/such/w.safetensors"), "there is no directory"),
        (("xor", "--target-columns", "a"), "give it with --data"),
        (("--resume", "nowhere"), "'nowhere' holds no run: begin one with"),
        (("xor", "--resume", "nowhere"), "leave out xor"),
        (("xor", "--data", "none.csv"), "There is no data file"),
        (("xor", "--seed", "9" * 30), "The seed must be a whole number of at most 64 bits"),
        (("hello6", "--set", "width=-3"), "width must be a whole number, 1 or more; got -3"),
        (("regions", "--set", "width=0"), "width must be a whole number, 1 or more; got 0"),
        (("linear", "--set", "depth=-1"), "depth must be a whole number, 0 or more; got -1"),
        (("sqrt", "--set", "points=1"), "points must be a whole number, 2 or more; got 1"),
        (("hello", "--set", "width=99999999999999"), "There is no memory for the net of 'hello'"),
        (("hello", "--set", "width=abc"), "is a whole number, 2 for instance; got 'abc'"),
        (("hello", "--set", "activation=3"), "is a word, relu for instance; got 3"),
        (("sqrt", "--loss", "cross_entropy"), "Cross-entropy needs class numbers"),
        (("linear", "--loss", "bce"), "bce needs targets from 0 to 1; they go from -1 to 7"),
        (("sqrt", "--set", "lr=3"), "The learning rate is lr, not one of"),
    ],
)
def test_misuse(folder: Path, words: tuple[str, ...], message: str) -> None:
    before = set(folder.iterdir())
    assert message in bad("train", *words)
    assert {p for p in set(folder.iterdir()) - before if p.is_dir() and p.name != "__pycache__"} <= {folder / "r"}


def test_a_run_from_python_is_sent_back_there(folder: Path) -> None:
    train("xor", epochs=2, run="r")
    assert "was begun from Python: go on with it by train(" in bad("train", "--resume", "r")


def test_ctrl_c_writes_a_checkpoint_and_says_how_to_go_on(folder: Path) -> None:
    """A real process and a real signal."""
    words = [sys.executable, "-m", "weightwalk", "train", "sqrt", "--batch", "8", "--run", "my run", "--every", "1"]
    child = subprocess.Popen(
        [*words, "--epochs", "200000"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=dict(os.environ)
    )
    deadline = time.monotonic() + 60
    while not list(folder.glob("my run/checkpoint-00000[3-9].safetensors")) and time.monotonic() < deadline:
        time.sleep(0.02)
    child.send_signal(signal.SIGINT)
    out, err = child.communicate(timeout=60)
    assert child.returncode == 130, err
    assert not out and "go on with: weightwalk train --resume 'my run'" in err and "Traceback" not in err
    done = re.search(r"interrupted after epoch (\d+), update ([\d,]+)", err)
    assert done is not None
    epochs, updates = int(done[1]), int(done[2].replace(",", ""))
    facts = json.loads(good("train", "--resume", "my run", "--epochs", str(epochs + 2), "--json"))
    assert facts["history"]["updates"] == (epochs + 2) * 13
    assert f"(update {updates})" in facts["history"]["events"][-1]["text"]
    whole = train("sqrt", batch=8, epochs=epochs + 2)
    assert facts["history"]["losses"] == list(whole.losses) and facts["history"]["final"] == whole.final


def test_on_a_terminal_a_bar_tells_loss_rate_and_time_left(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    seen = Terminal()
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setattr(sys, "stderr", seen)
    with training_bar("sqrt") as tell:
        assert tell is not None
        for done in (0, 10, 20):
            time.sleep(0.12)  # it is drawn ten times a second, and before the first update
            tell(done, 50, 0.25)
    told = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", seen.getvalue())
    assert re.search(r"training sqrt .*loss 0\.25 \d+ updates/s \d:\d\d:\d\d", told), told
    assert "nan" not in told and " 0 updates/s" not in told
