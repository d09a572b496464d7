"""`weightwalk landscape`: every picture, every file, every refusal."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from cli import commands
from torch import nn

from weightwalk.cli.landscape import EPILOG, GROUPS
from weightwalk.learning.train import train

pytest.importorskip("scipy")

SMALL = ("--epochs", "20", "--grid", "5", "--directions", "10", "--checkpoints", "5")
TINY = ("--set", "width=2", "--set", "points=11", *SMALL)


def good(*words: str) -> str:
    return commands.good("landscape", *words)


def bad(*words: str) -> str:
    return commands.bad("landscape", *words)


def facts(*words: str) -> Any:
    return json.loads(good(*words, "--json"))


EXAMPLES = [
    shlex.split(re.split(r"\s{3,}", line.strip())[0])[2:]
    for line in EPILOG.splitlines()
    if "weightwalk landscape" in line
]


# the slow ones are told below on smaller nets, and their pictures drawn in tests/show
PARAMS = [
    pytest.param(w, id=" ".join(w), marks=[pytest.mark.slow] if {"--optimizers", "--trajectory"} & set(w) else [])
    for w in EXAMPLES
]


@pytest.mark.parametrize("words", PARAMS)
def test_every_example_of_the_help_runs(words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if "--figure" in words:
        pytest.importorskip("matplotlib")
    monkeypatch.chdir(tmp_path)
    if words[0].startswith("my_package"):
        (tmp_path / "own_landscape.py").write_text("from torch import nn\nnet = nn.Linear(2, 1)\n")
        (tmp_path / "mine.csv").write_text("a,b,y\n1,2,3\n2,1,0\n0,1,1\n")
        monkeypatch.syspath_prepend(str(tmp_path))
        words[0] = "own_landscape:net"
    page = good(*words, *SMALL)
    assert "what this picture leaves out" in page or "straight line" in page or "both" in page or "whole loss" in page
    assert all((tmp_path / w).stat().st_size > 50 for w in words if w.endswith(".png") or w == "losses.csv")


def test_the_help_has_every_option_under_a_heading() -> None:
    page = good("--help")
    for title, names in GROUPS.items():
        assert f"\n{title}:\n" in page
        for n in names:
            flag = {"as_json": "json", "grid_": "grid", "settings": "set"}.get(n) or n
            assert f"--{flag.replace('_', '-')}" in page


# Facts --------------------------------------------------------------------------------------------------------------


def test_the_centre_is_the_net_and_every_loss_is_told() -> None:
    made = facts("sqrt", *TINY, "--seed", "0", "--seeds", "0,5")
    history = train("sqrt", epochs=20, seed=0)  # another width: another net
    surfaces = made["surfaces"]
    assert len(surfaces) == 2 and np.array(surfaces[0]["losses"]).shape == (5, 5)
    assert all(s["losses"][2][2] == s["centre_loss"] for s in surfaces)
    assert surfaces[0]["centre_loss"] == surfaces[1]["centre_loss"] != history.final
    assert surfaces[0]["n_parameters"] == 7 and surfaces[0]["shown"] == 2
    assert made["curvatures"]["directions"] == 10 and made["spectrum"]["n"] == 7
    ends = np.array([s["losses"] for s in surfaces])
    assert made["scale"] == [ends.min(), ends.max()]
    from scipy.stats import spearmanr

    rho = spearmanr(ends[0].ravel(), ends[1].ravel())[0]
    assert f"a rank correlation of {rho:.2f} (1 where" in made["notes"][-1]
    assert made["settings"]["seed"] == 0 and made["settings"]["epochs"] == 20


def test_the_same_command_prints_the_same_bytes() -> None:
    words = ("sqrt", *TINY, "--trajectory", "--no-hessian")
    assert good(*words) == good(*words)


def test_a_trajectory_tells_true_beside_drawn() -> None:
    made = facts("sqrt", *TINY, "--trajectory")["trajectory"]
    count = len(made["epochs"]["numbers"])
    assert count == 5 and all(made[k]["shape"] == [count] for k in ("true", "drawn", "off", "to_end"))
    assert made["true"]["numbers"][-1] == made["drawn"]["numbers"][-1]
    page = good("sqrt", *TINY, "--trajectory")
    assert "drawn loss" in page and "60.79" in page and "15.20" in page and "<- worst" in page
    assert "gets right" in page and page.count("yes  ") >= 3


def test_one_example_alone() -> None:
    made = facts("sqrt", *TINY, "--sample", "3", "--seeds", "0", "--no-hessian")
    assert made["surfaces"][0]["rows"] == 1 and "example 3 alone" in made["surfaces"][0]["data"]


def test_between_two_seeds_and_two_files(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    from weightwalk.nets.tasks import named_task

    task = named_task("sqrt").of(width=2, points=11)
    for seed in (0, 1):
        module = task.module(seed)
        train(module, task.data.inputs, task.data.targets, optimizer="adam", lr=0.02, epochs=20, seed=seed)
        save_file(module.state_dict(), tmp_path / f"{seed}.safetensors")
    by_seed = facts("sqrt", *TINY, "--between", "0", "1")
    by_file = facts("sqrt", *TINY, "--between", str(tmp_path / "0.safetensors"), str(tmp_path / "1.safetensors"))
    assert by_seed["ends"] == pytest.approx(by_file["ends"]) and by_seed["labels"] == ["seed 0", "seed 1"]
    assert [s["n"] for s in by_seed["spectra"]] == [7, 7]
    assert facts("sqrt", *TINY, "--between", "0", "1", "--no-hessian")["spectra"] == []
    assert "of another kind" not in good("sqrt", *TINY, "--between", "0", "1", "--third", "2")
    assert len(facts("sqrt", *TINY, "--between", "0", "1", "--third", "2")["surfaces"][0]["points"]) == 3
    assert "does not hold the weights" in bad("linear", "--between", str(tmp_path / "0.safetensors"), "0")


def test_a_users_net_stands_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mine_net.py").write_text(
        "import torch\nfrom torch import nn\ntorch.manual_seed(5)\n"
        "conv = nn.Sequential(nn.Conv1d(1, 2, 3), nn.Flatten(), nn.Linear(8, 1)).double()\n"
        "one = nn.Linear(1, 1, bias=False)\n"
        "frozen = nn.Linear(1, 1).requires_grad_(False)\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    import mine_net  # type: ignore[import-not-found]

    x, y = torch.randn(7, 1, 6).double(), torch.randn(7, 1).double()
    np.savez(tmp_path / "conv.npz", x=x.numpy(), y=y.numpy())
    np.savez(tmp_path / "one.npz", x=np.ones((3, 1), np.float32), y=np.zeros((3, 1), np.float32))
    data = ("--data", str(tmp_path / "conv.npz"))
    made = facts("mine_net:conv", *data, *SMALL, "--seeds", "0")
    wanted = float(nn.functional.mse_loss(mine_net.conv(x), y).detach())
    assert made["surfaces"][0]["centre_loss"] == wanted
    assert "as it was given" in good("mine_net:conv", *data, *SMALL, "--seeds", "0", "--no-hessian")
    assert "drawn loss" in good("mine_net:conv", *data, *SMALL, "--trajectory", "--no-hessian")
    small = ("--data", str(tmp_path / "one.npz"))
    assert "did you mean" in bad("mine_net:conv", *data, "--weights", "0.weigth[0]", "2.bias[0]")
    assert "frozen" in bad("mine_net:frozen", *small)
    page = good("mine_net:one", *small, *SMALL, "--trajectory")
    assert "1 of 1 dimensions (1e+02 %)" not in page and "1 of 1 dimension" in page
    assert good("mine_net:one", *small, *SMALL, "--rates", "0.5,1.5")


def test_losses_that_are_not_finite_are_shown_as_such(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "wild.py").write_text(
        "import torch\nfrom torch import nn\n"
        "class Net(nn.Module):\n"
        "    def __init__(self):\n        super().__init__()\n        self.w = nn.Parameter(torch.ones(2, 2))\n"
        "    def forward(self, x):\n        return torch.exp((600 * self.w).sum() - 2390 + 0 * x)\n"
        "net = Net()\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    np.savez(tmp_path / "d.npz", x=np.ones((2, 1), np.float32), y=np.zeros((2, 1), np.float32))
    words = ("wild:net", "--data", str(tmp_path / "d.npz"), "--grid", "5", "--seeds", "0", "--no-hessian")
    result = commands.run("landscape", *words)
    assert result.exit_code in (0, 2) and "Traceback" not in result.output
    if result.exit_code == 0:
        assert "!!" in result.stdout and "no finite loss" in result.stdout


def test_the_table_and_the_picture_are_written(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    pandas = pytest.importorskip("pandas")
    frame, figure = tmp_path / "a.csv", tmp_path / "a.svg"
    good("sqrt", *TINY, "--seeds", "0,1", "--no-hessian", "--frame", str(frame), "--figure", str(figure))
    table = pandas.read_csv(frame)
    assert len(table) == 50 and set(table["surface"]) == {"directions of seed 0", "directions of seed 1"}
    assert figure.read_text().count("<text") > 10
    good("neuron", "--grid", "5", "--frame", str(frame))
    assert len(pandas.read_csv(frame)) == 25
    good("bowl", "--frame", str(frame))
    assert {"path", "step", "loss"} <= set(pandas.read_csv(frame).columns)


# The neuron and the bowl --------------------------------------------------------------------------------------------


def test_the_neuron() -> None:
    made = facts("neuron", "--grid", "5", "--bias", "1.5", "--sample", "2")
    assert made["one"]["bowl"]["rank"] == 1 and made["every"]["bowl"]["rank"] == 2
    assert made["row"] == 2 and set(made["bias"]["numbers"]) == {1.5}
    assert np.array(made["every"]["losses"]).shape == (5, 5)
    page = good("neuron", "--grid", "5", "--optimizers", "--rates", "0.9,1.1")
    assert "a straight trough" in page and "no hills and no second valley" in page
    assert page.count("diverged") == 1 and "with momentum 0.9" in page


def test_the_bowl() -> None:
    page = good("bowl", "--rates", "0.999,1.001")
    assert "0.96011" in page and "0.5 x² + 0.3 x y + 1 y²" in page
    page = good("bowl")
    assert page.count("diverged") == 1


# Refusals -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("sqrt", "--grid", "40"), "--grid 40 has no middle for the net to stand in: take an odd number"),
        (("sqrt", "--grid", "1"), "such as 3"),
        (("neuron", "--grid", "4"), "odd number"),
        (("bowl", "--grid", "4"), "odd number"),
        (("sqrt", "--random", "--trajectory"), "--random and --trajectory are two pictures"),
        (("sqrt", "--span", "-1"), "--span must be a positive number"),
        (("bowl", "--span", "nan"), "--span must be a positive number"),
        (("sqrt", "--rates", "fast"), "--rates are numbers with commas"),
        (("sqrt", "--rates", "0.5,-1"), "positive multiples of 2/λmax"),
        (("sqrt", "--seeds", "a"), "--seeds are numbers with commas"),
        (("sqrt", "--seeds", "-1"), "different numbers, 0 or more"),
        (("sqrt", "--seeds", "2,2"), "different numbers, 0 or more"),
        (("sqrt", "--seed", "-1"), "not in the range x>=0"),
        (("sqrt", "--between", "-1", "2"), "two seeds, 0 or more"),
        (("linear", *SMALL), "lie on one line"),
        (("sqrt", "--trajectory", "--seeds", "1"), "--seed is the training's"),
        (("sqrt", "--trajectory", "--path"), "--path belongs to --random or --weights"),
        (("sqrt", "--third", "3"), "--third belongs to --between"),
        (("sqrt", "--bias", "3"), "--bias belongs to the net called neuron"),
        (("sqrt", "--hidden", "gpt"), "--hidden belongs to the net called neuron"),
        (("sqrt", "--surface3d"), "--surface3d belongs to --figure"),
        (("neuron", "--trajectory"), "all of which is seen; --trajectory is for nets"),
        (("bowl", "--optimizers"), "--optimizers is for nets"),
        (("neuron", "--sample", "99"), "There is no sample 99"),
        (("sqrt", "--sample", "999", *SMALL), "There is no example 999; sqrt has 101"),
        (("sqrt", "--memory", "lots"), "is not a size such as 2G"),
        (("sqrt", "--figure", "a.jpg"), "must end in .svg or .png or .pdf"),
        (("sqrt", "--frame", "/no/such/a.csv"), "there is no directory"),
        (("sqrtt",), "did you mean sqrt?"),
        (("sqrt", "--weights", "fc1.weight[0, 0]", "fc9.bias[0]", *SMALL), "no parameter 'fc9.bias'"),
        (("sqrt", "--weights", "fc1.bias[0]", "fc1.bias[0]", *SMALL), "are the same number"),
        (("sqrt", "--weights", "fc1.bias[99]", "fc1.bias[0]", *SMALL), "index 99 lies outside"),
        (("sqrt", "--between", "0", "nowhere.safetensors", *SMALL), "'nowhere.safetensors' is neither"),
        (("sqrt", "--trajectory", "--epochs", "0"), "three checkpoints"),
        (("sqrt", "--path", "--epochs", "0", "--grid", "5"), "There is no path"),
        (("sqrt", "--lr", "-1", *SMALL), "learning rate"),
        (("sqrt", "--lr", "1e9", "--optimizer", "sgd", *SMALL), "learning rate is too large"),
        (("neuron", "--hidden", "sqrt", "--bias", "1"), "inside a net the bias is the net's"),
    ],
    ids=lambda w: " ".join(w) if isinstance(w, tuple) else "",
)
def test_what_makes_no_sense_is_one_sentence(words: tuple[str, ...], said: str) -> None:
    assert said in bad(*words)
