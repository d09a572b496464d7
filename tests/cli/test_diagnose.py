"""``weightwalk diagnose``: its examples, its tables, its files and its refusals."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from cli.commands import bad, good
from torch import nn

from weightwalk.cli.diagnose import EPILOG

QUICK = ("--seeds", "0")


def test_a_dead_layer_is_told() -> None:
    out = good("diagnose", "hello6", "--seed", "2", "--seeds", "5")
    assert "cut off: all 2 units of relu2 are off on all 6 rows" in out
    assert "relu2[0] was dead before training began" in out
    assert "refuted by: one row on which a unit of relu2 is on" in out
    assert "relu2[1]  dead" in out and "start" in out
    assert "units dead on all rows" in out  # the table of other seeds
    assert "there the next layer sees only zeros" in " ".join(out.split())


def test_a_local_minimum_needs_other_seeds() -> None:
    words = ("diagnose", "sqrt", "--set", "width=2", "--seed", "9")
    assert "Stuck in a local minimum" in good(*words, "--seeds", "20")
    out = good(*words, *QUICK)
    assert "local minimum" not in out and "was not asked" in out


def test_a_net_that_is_fine() -> None:
    assert "Nothing is wrong: all 6 rows are answered right" in good("diagnose", "hello6", "--seed", "1", *QUICK)


def test_settling_is_told() -> None:
    out = " ".join(good("diagnose", "hello6", "--seed", "0", "--settle", *QUICK).split())
    assert "Going on downhill from here ends at a loss of 0.3183" in out and "No minimum" in out


def test_json_has_the_measurements() -> None:
    facts = json.loads(good("diagnose", "hello6", "--seed", "2", "--json", *QUICK))
    assert facts["is"] == "Diagnosis" and facts["dead"] == ["relu2[0]", "relu2[1]"]
    assert facts["findings"][0]["kind"] == "cut off" and facts["findings"][0]["refuted_by"]
    assert facts["units"][1]["off"]["numbers"] == [1.0, 1.0]
    spectrum = facts["point"]["spectrum"]
    assert spectrum["n"] == 47 == spectrum["negative"] + spectrum["flat"] + spectrum["positive"]
    assert [layer["gradient"] for layer in facts["layers"]][:3] == [0.0, 0.0, 0.0]
    assert facts["deaths"][0] == {"is": "Death", "unit": "relu2[0]", "after": 0, "before": None, "known": True}


def test_the_same_command_prints_the_same() -> None:
    words = ("diagnose", "xor", "--seed", "3", "--seeds", "4", "--epochs", "200")
    assert good(*words) == good(*words)


def test_figure_and_table_are_written_whole(tmp_path: Path) -> None:
    figure = tmp_path / "a.svg"
    good("diagnose", "hello6", "--seed", "12", "--epochs", "60", "--figure", str(figure), *QUICK)
    text = figure.read_text()
    for words in ("loss by epoch", "gradient by layer", "units by inputs", "all 47 eigenvalues", "relu2[1] dies",
                  "a Hessian says nothing of what lies farther away"):  # fmt: skip
        assert words in text
    table = tmp_path / "units.csv"
    good("diagnose", "hello6", "--seed", "2", "--epochs", "20", "--frame", str(table), *QUICK)
    rows = list(csv.DictReader(table.read_text().splitlines()))
    assert [r["status"] for r in rows] == ["starved", "starved", "dead", "dead"]
    assert not list(tmp_path.glob(".*"))


@pytest.mark.slow
@pytest.mark.parametrize(("ending", "start"), [("png", b"\x89PNG"), ("pdf", b"%PDF")])
def test_figures_of_other_kinds(ending: str, start: bytes, tmp_path: Path) -> None:
    figure = tmp_path / f"a.{ending}"
    good("diagnose", "hello6", "--seed", "12", "--epochs", "60", "--figure", str(figure), *QUICK)
    assert figure.read_bytes()[:4] == start


def test_a_run_is_diagnosed(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    good("train", "hello6", "--seed", "12", "--snapshots", "20", "--run", str(folder))
    out = good("diagnose", str(folder), *QUICK)
    assert "relu2[1] died between epochs 20 and 40" in out and "from seed 12" in out
    assert "says itself what it trains" in bad("diagnose", str(folder), "--epochs", "5")


def test_a_run_begun_from_python_says_what_to_do(tmp_path: Path) -> None:
    import weightwalk as ww

    folder = tmp_path / "run"
    ww.train("hello6", epochs=3, run=folder)
    assert "begun from Python: diagnose it there" in bad("diagnose", str(folder))


def test_a_net_of_ones_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "owned_nets.py").write_text(
        "import torch\nfrom torch import nn\n"
        "def made():\n"
        "    net = nn.Sequential(nn.Conv1d(1, 3, 2), nn.GELU(), nn.Flatten(), nn.Linear(9, 2))\n"
        "    with torch.no_grad():\n        net[0].bias.copy_(torch.tensor([-40.0, 0.0, 0.0]))\n"
        "    return net\n"
    )
    rng = np.random.default_rng(0)
    np.savez(tmp_path / "data.npz", x=rng.standard_normal((6, 1, 4)), y=np.arange(6) % 2)
    out = good("diagnose", "owned_nets:made", "--data", str(tmp_path / "data.npz"))
    assert "1[0]" in out and "dead" in out and "trained by" not in out
    trained = good("diagnose", "owned_nets:made", "--data", str(tmp_path / "data.npz"), "--epochs", "5", *QUICK)
    assert "trained by sgd" in trained
    refused = bad("diagnose", "owned_nets:made", "--data", str(tmp_path / "data.npz"), "--lr", "1")
    assert "give --epochs with --lr" in refused


REFUSED = {
    "unknown": (("hullo",), "There is no task 'hullo'"),
    "a folder": (("/tmp",), "'/tmp'"),
    "figure": (("hello6", "--figure", "a.gif"), "must end in .svg or .png or .pdf"),
    "no folder": (("hello6", "--figure", "/nowhere/a.png"), "there is no directory '/nowhere'"),
    "rate": (("hello6", "--lr", "-1"), "learning rate"),
    "shape": (("hello6", "--set", "depht=3"), "no depht"),
    "data": (("gpt",), "--data"),
    "huge rate": (("sqrt", "--optimizer", "sgd", "--lr", "1e30"), ""),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refusals_are_one_sentence(case: str) -> None:
    words, message = REFUSED[case]
    assert message in bad("diagnose", *words, *QUICK)


def test_weights_that_are_no_numbers_are_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "spoilt_nets.py").write_text(
        "import torch\nfrom torch import nn\nnet = nn.Linear(1, 1)\nnet.weight.data.fill_(float('nan'))\n"
    )
    (tmp_path / "d.csv").write_text("x,y\n1,2\n2,3\n")
    assert "weight[0, 0] is nan" in bad("diagnose", "spoilt_nets:net", "--data", str(tmp_path / "d.csv"))


def test_every_example_of_the_help_is_one_that_runs() -> None:
    lines = [line.strip() for line in EPILOG.splitlines() if line.strip().startswith("weightwalk diagnose")]
    assert len(lines) == 7
    quick = [line.split("  ")[0].split()[2:] for line in lines if "mynets" not in line and " RUN" not in line]
    assert len(quick) == 5  # those of a run and of a net of one's own are run above
    (xor,) = [w for w in quick if w[0] == "xor"]
    assert xor[3:4] == ["--figure"]


@pytest.mark.slow
@pytest.mark.parametrize("words", ["hello6 --seed 2", "hello6 --seed 0 --settle", "sqrt --set width=2 --seed 9",
                                   "hello6 --seed 1", "xor --seed 3"])  # fmt: skip
def test_examples(words: str) -> None:
    assert f"weightwalk diagnose {words}" in EPILOG
    assert "diagnosis" in good("diagnose", *words.split())


def test_units_of_many_layers_are_summed_up() -> None:
    from weightwalk.learning.diagnoses.diagnose import diagnose
    from weightwalk.show.terminal import lines

    net = nn.Sequential(*(part for _ in range(20) for part in (nn.Linear(2, 2), nn.Tanh())))
    facts = diagnose(net, torch.ones(3, 2), torch.zeros(3, 2))
    text = "\n".join(line.plain for line in lines(facts, 100, top=5))
    assert "not shown: 15 layers more" in text and max(map(len, text.splitlines())) <= 100
