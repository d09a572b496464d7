"""`weightwalk formula` asked for what cannot be had: one clear sentence, exit code 2, and no file left half-written."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cli import commands
from cli.formula_nets import NETS
from click.testing import CliRunner

from weightwalk.cli import main

ODD = """norm = nn.Sequential(nn.Linear(1, 4), nn.BatchNorm1d(4), nn.ReLU(), nn.Linear(4, 1)).eval()
nan = nn.Sequential(nn.Linear(1, 2), nn.ReLU(), nn.Linear(2, 1))
inf = nn.Sequential(nn.Linear(1, 2), nn.ReLU(), nn.Linear(2, 1))
with torch.no_grad():
    nan[0].weight[1, 0] = float("nan")
    inf[2].bias[0] = float("inf")
def half(x):
    return x.clamp(0, 1) * 0.5
conv = nn.Sequential(nn.Conv1d(1, 2, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4, 2))
wide = nn.Sequential(nn.Linear(2, 400), nn.ReLU(), nn.Linear(400, 400), nn.ReLU(), nn.Linear(400, 1))
"""


@pytest.fixture(autouse=True, scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Nets by name, `odd_nets:gelu`, and data files, in the current directory."""
    here = tmp_path_factory.mktemp("misuse")
    (here / "odd_nets.py").write_text(NETS + ODD)
    (here / "short.csv").write_text("1,2,3\n4,5\n")
    (here / "words.csv").write_text("a,b\n1,2\n3,x\n")
    (here / "empty.csv").write_text("a,b\n")
    (here / "three.csv").write_text("1,2,3\n")
    (here / "x.csv").write_text("1\n2\n")
    (here / "nan.csv").write_text("1,2\n3,nan\n")
    (here / "bytes.csv").write_bytes(b"\xff\xfe1,2")
    (here / "notzip.npz").write_text("no zip")
    np.savez(here / "noxy.npz", a=np.zeros(3))
    np.savez(here / "uneven.npz", x=np.zeros((3, 1)), y=np.zeros((2, 1)))
    np.savez(here / "single.npz", x=np.float64(1.0))
    np.save(here / "wave.npy", np.zeros((1, 1, 4)))
    (here / "list.json").write_text('{"a": [1]}')
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(here))
        patch.chdir(here)
        yield here


def bad(*words: str) -> str:
    return commands.bad("formula", *words)


TWO = "odd_nets:two"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        # The net
        ([], "Missing argument 'NET|FILE.walk'"),
        (["liner"], "did you mean linear"),
        (
            ["odd_nets:gelu"],
            "GELU at 1/gelu is not piecewise linear, so the net has no formula of affine pieces: try --surr",
        ),
        (["gpt", "The cat"], "layer norm at transformer.h.0.ln_1/native_layer_norm is not piecewise linear"),
        (
            ["odd_nets:nan"],
            "0.weight[1, 0] is nan (1 of 2 numbers of 0.weight are not finite): a formula needs finite w",
        ),
        (["odd_nets:inf"], "2.bias[0] is inf (1 of 1 numbers of 2.bias are not finite)"),
        (["odd_nets:five"], "has 5 inputs, too many to list its regions: say where, with --at X"),
        (["odd_nets:half"], "does not tell the shape of its input: give one with --at, such as --at @input.npy"),
        (["odd_nets:conv"], "does not tell the shape of its input"),
        (["odd_nets:norm", "--exact"], "because the batch norm at 1/native_batch_norm divides by a square root"),
        (["hello", "--seed", "1"], "hello reads token ids or text: give one input with --at, such as --at hello"),
        (["hello", "hi", "--seed", "1"], "The word 'hi' is unknown to this net"),
        (["a.walk"], "a.walk does not exist"),
        (["a.walk", "1"], "a.walk is a walk already; around another input, say --at 1"),
        (["a.walk", "--surrogate", "1"], "a.walk is a record of one run, and this needs the net itself"),
        # Where
        ([TWO, "--at", "1"], "The input has 1 numbers; its first layer, 0, takes 2 numbers at a time"),
        ([TWO, "1,2,3"], "The input has 3 numbers"),
        ([TWO, "--at", "nan,1"], "at must be finite, and number 0 is nan"),
        ([TWO, "--at", "1,one"], "--at '1,one': 'one' is not a number; numbers look like 2.0 or 0.5,-1"),
        ([TWO, "--at", "1e999,1"], "1e999 is too large for a float64"),
        ([TWO, "--at", " "], "--at is empty; it takes the numbers of one input"),
        ([TWO, "--at", "@nowhere.npy"], "There is no input file 'nowhere.npy'"),
        ([TWO, "--at", "@list.json"], "holds several arrays; one input is wanted"),
        ([TWO, "1,2", "--at", "1,2"], "The input was given twice, as '1,2' and as --at '1,2'"),
        ([TWO, "--line", "0,0", "0,0"], "A and B are the same point, and a line needs two"),
        ([TWO, "--line", "0,0", "1"], "B has 1 number, and the net takes 2"),
        ([TWO, "--line", "0,x", "1,1"], "A of --line '0,x': 'x' is not a number"),
        ([TWO, "--line", "0,0", "inf,0"], "B must be finite, and number 0 is inf"),
        ([TWO, "--line", "0,0"], "Option '--line' requires 2 arguments"),
        ([TWO, "--plane", "0,0; 1,1; 2,2"], "U and V are parallel, so they span a line and no plane"),
        ([TWO, "--plane", "0,0; 0,0; 2,2"], "U is the zero vector, along which there is no plane"),
        ([TWO, "--plane", "0,0; 1,0; 1"], "V has 1 number, and the net takes 2"),
        (
            [TWO, "--plane", "0,0; 1,1"],
            "is neither two inputs, such as 0,1 or rho,theta, nor an origin and two vectors",
        ),
        ([TWO, "--plane", "0,0"], "A plane needs two different inputs; 'in[0, 0]' was given twice"),
        ([TWO, "--plane", "0,7"], "There is no input number 7: the net has 2, counted from 0"),
        (
            [TWO, "--plane", "up,down"],
            "There is no input 'up': the inputs are in[0, 0], in[0, 1], or their numbers from 0",
        ),
        ([TWO, "--box", "1..1"], "The box is empty: coordinate 0 runs from 1 to 1"),
        ([TWO, "--box", "-1..1,2..1"], "The box is empty: coordinate 1 runs from 2 to 1; the least comes first"),
        (
            [TWO, "--box", "-1..1,0..1,2..3"],
            "The box has 3 ranges, and there are 2 coordinates: give one each, or one for",
        ),
        ([TWO, "--box", "nan..1"], "A side of the box is NaN"),
        ([TWO, "--box", "-1e-300..1e-300"], "along s the box is 2e-300 wide, and areas of such polygons are no"),
        ([TWO, "--box", "-1e300..1e300"], "give it a width from 1e-100 to 1e+100"),
        ([TWO, "--box", "wide"], "--box 'wide' is not a range such as -1..1 (for every coordinate)"),
        ([TWO, "--box", "a..1"], "--box 'a..1': 'a' is not a number"),
        (["regions", "--at", "5,5", "--box", "-1..1", "--seed", "0"], "x lies outside the box: input 0 is 5"),
        (["odd_nets:one", "--box", "-1..1,0..1"], "The box has 2 ranges, and there are 1 coordinates"),
        # How much
        ([TWO, "--max-regions", "3"], "there are more than 3 regions"),
        (["regions", "--max-regions", "10", "--seed", "0"], "more than 10 regions: at least "),
        (["odd_nets:one", "--max-regions", "2"], "has more than 2 pieces"),
        (["odd_nets:one", "--max-regions", "2"], "allow more with --max-regions"),
        ([TWO, "--save", ""], "'' must end in .py or .tex or .json"),
        ([TWO, "--figure", ""], "'' must end in .svg or .png or .pdf"),
        (["odd_nets:five", "--output", "0", "--figure", "a.svg"], "no picture of one affine map in 5 dimensions"),
        ([TWO, "--max-regions", "0"], "Invalid value for '--max-regions'"),
        (["odd_nets:wide", "--memory", "100k"], "choose a smaller box, or allow more with --memory"),
        ([TWO, "--memory", "lots"], "--memory 'lots' is not a size such as 2G, 512M or a number of bytes"),
        ([TWO, "--tolerance", "2"], "Invalid value for '--tolerance'"),
        ([TWO, "--seed", "-1"], "Invalid value for '--seed'"),
        # What
        ([TWO, "--select", "7"], "There is no output number 7: the net has 3, counted from 0"),
        ([TWO, "--select", "a"], "--select 'a' is not a list of outputs by number, such as 0 or 0,2"),
        ([TWO, "--select", ""], "--select '' is not a list of outputs"),
        ([TWO, "--output", "nowhere"], "no value has the address 'nowhere'"),
        ([TWO, "--box", "all", "--exact"], "--exact divides a bounded box: give one with --box"),
        ([TWO, "--at", "0,0", "--exact"], "--exact is for formulas of one or two numbers"),
        ([TWO, "--at", "0,0", "--summary"], "--summary is taken over a box, and --at asks about one input"),
        ([TWO, "--at", "0,0", "--tolerance", "1e-9"], "--tolerance belongs to lines and planes"),
        ([TWO, "--at", "0,0", "--direction", "0,0"], "The direction is zero"),
        ([TWO, "--at", "0,0", "--direction", "1"], "The direction has 1 numbers, but the net has 2 inputs"),
        ([TWO, "--at", "0,0", "--budget", "0"], "Invalid value for '--budget'"),
        ([TWO, "--facets"], "--facets belongs to the formula around one input: say which with --at"),
        ([TWO, "--box", "all", "--summary"], "regions of the whole plane, where a mean has no meaning"),
        (["odd_nets:one", "--summary"], "runs from -inf to inf, where a mean has no meaning"),
        (["odd_nets:one", "--decide", "min"], "--decide is drawn on a plane: say which with --plane"),
        (["odd_nets:five", "--plane", "0,1", "--decide", "min", "--select", "0"], "a decision is between outputs"),
        (
            [TWO, "--line", "0,0", "1,1", "--at", "0,0"],
            "--line and --at do not go together: a line has its own two inputs",
        ),
        ([TWO, "--line", "0,0", "1,1", "--plane", "0,1"], "--line and --plane do not go together"),
        # Fits
        (["odd_nets:gelu", "--surrogate", "3"], "taken over a box of inputs: give one, such as --box -1..1"),
        (["odd_nets:gelu", "--surrogate", "3", "--box", "all"], "--box all is for lines and planes"),
        (["odd_nets:gelu", "--surrogate", "-1"], "Invalid value for '--surrogate'"),
        (["odd_nets:gelu", "--surrogate", "3", "--exact"], "--surrogate and --exact do not go together"),
        (
            ["odd_nets:gelu", "--surrogate", "3", "--line", "0,0", "1,1"],
            "a polynomial is fitted over --box, in all inputs",
        ),
        (["odd_nets:gelu", "--surrogate", "3", "--box", "0..1", "--select", "5"], "There is no output number 5"),
        (
            ["odd_nets:gelu", "--surrogate", "2", "--box", "0..1", "--python"],
            "There is no way to write Surrogate as .py",
        ),
        (["odd_nets:gelu", "--surrogate", "2", "--box", "0..1", "--figure", "a.svg"], "no picture of a polynomial"),
        (
            ["odd_nets:gelu", "--surrogate", "2", "--box", "0..1", "--save", "a.tex"],
            "no way to write Surrogate as .tex",
        ),
        (
            ["hello", "hello", "--seed", "1", "--figure", "a.svg"],
            "no picture of a table: draw the embeddings with --plane",
        ),
        (
            ["odd_nets:five", "0,0,0,0,0", "--figure", "a.svg"],
            "no picture of the formula around one input: draw it with",
        ),
        (["odd_nets:half", "--surrogate", "2", "--box", "0..1"], "does not tell how many numbers it takes"),
        (
            ["hello", "hello", "--surrogate", "2", "--seed", "1"],
            "reads token ids, and a polynomial needs inputs that are",
        ),
        (["odd_nets:gelu", "--sensitivity", "--box", "0..1", "--at", "1"], "--at has 1 number, and the net takes 2"),
        ([TWO, "--per-input"], "--per-input belongs to --surrogate or --legendre"),
        # Weights and data
        (
            [TWO, "--weight", "0.weight[0,0]"],
            "A loss needs data, and odd_nets:two has none of its own: give --data FILE",
        ),
        (
            ["odd_nets:one", "--weight", "0.weight[0,0]", "--data", "x.csv"],
            "has inputs and no targets, which a loss needs",
        ),
        (["sqrt", "--seed", "0", "--weight", "fc9.weight[0]"], "There is no parameter 'fc9.weight'; did you mean"),
        (["sqrt", "--seed", "0", "--weight", "fc1.weight[9,0]"], "is no number of fc1.weight, whose shape is (8, 1)"),
        (["sqrt", "--seed", "0", "--weight", "fc1.weight[0,0]", "--at", "1"], "the loss is along weights, not inputs"),
        (["sqrt", *["--weight", "fc1.weight[0,0]"] * 3], "--weight was given 3 times; one weight, or two of one layer"),
        (["hello", "--weight", "embed.weight[0,0]", "--seed", "1"], "the loss along a weight is for nets of numbers"),
        (["odd_nets:one", "--data", "nowhere.csv"], "--data: there is no file 'nowhere.csv'"),
        (["odd_nets:one", "--data", "short.csv"], "--data 'short.csv', line 2: 2 columns, and 3 before"),
        (["odd_nets:one", "--data", "words.csv"], "--data 'words.csv', line 3: 'x' is not a number"),
        (["odd_nets:one", "--data", "empty.csv"], "--data 'empty.csv' holds no rows of numbers"),
        (
            ["odd_nets:one", "--data", "three.csv"],
            "has 3 columns; the net takes 1 numbers and gives 1, so 1 (inputs) or 2",
        ),
        (["odd_nets:one", "--data", "nan.csv"], "--data 'nan.csv': the targets of row 1 are not finite"),
        (["odd_nets:one", "--data", "bytes.csv"], "--data 'bytes.csv' is not text (byte 0)"),
        (["odd_nets:one", "--data", "notzip.npz"], "is not arrays of numbers that can be read safely"),
        (["odd_nets:one", "--data", "noxy.npz"], "has no array x; it has a: write it with numpy.savez(file, x=inputs"),
        (["odd_nets:one", "--data", "uneven.npz"], "has targets of shape (2, 1); expected (3, 1)"),
        (["odd_nets:one", "--data", "single.npz"], "holds single numbers; x and y are arrays with a row per input"),
        (["odd_nets:one", "--data", "data.txt"], "--data 'data.txt' must end in .csv, .npy or .npz"),
        # How it is written
        ([TWO, "--python", "--json"], "--python and --json are two ways to print one formula: choose"),
        ([TWO, "--color", "slope"], "--color belongs to --figure"),
        ([TWO, "--color", "red"], "Invalid value for '--color'"),
        ([TWO, "--save", "a.doc"], "'a.doc' must end in .py or .tex or .json"),
        ([TWO, "--save", "no/such/a.py"], "there is no directory 'no/such'"),
        ([TWO, "--figure", "a.gif"], "'a.gif' must end in .svg or .png or .pdf"),
        ([TWO, "--pythn"], "No such option '--pythn'"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_misuse_is_told_in_a_sentence(words: list[str], message: str, folder: Path) -> None:
    before = set(folder.iterdir())
    assert message in bad(*words)
    assert {p for p in folder.iterdir() if p.name != "__pycache__"} <= before


def test_a_missing_library_is_told_in_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    import importlib.util

    find = importlib.util.find_spec
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == "scipy" else find(name))
    assert 'Formulas need SciPy, which is not installed: pip install "weightwalk[formulas]"' in bad("linear")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == "torch" else find(name))
    assert "PyTorch is needed to find a formula" in bad("linear")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == "matplotlib" else find(name))
    assert "A figure needs matplotlib" in bad("linear", "--figure", "a.svg")


# Files: whole or not at all -------------------------------------------------------------------------------------------


def test_a_full_disk_leaves_nothing_behind(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def full(handle: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    target = tmp_path / "f.py"
    target.write_text("old")
    result = CliRunner().invoke(main, ["formula", "odd_nets:one", "--save", str(target)])
    assert result.exit_code == 2
    assert f"{target} could not be written (No space left on device); nothing was left behind" in result.stderr
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


@pytest.mark.parametrize("option", ["--save", "--figure"])
def test_an_interrupt_while_writing_leaves_nothing_behind(
    option: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def interrupt(handle: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupt)
    target = tmp_path / ("f.json" if option == "--save" else "f.svg")
    result = CliRunner().invoke(main, ["formula", "odd_nets:one", option, str(target)])
    assert result.exit_code == 130
    assert not list(tmp_path.iterdir())


def test_a_folder_that_cannot_be_written_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*args: Any, **kwargs: Any) -> Any:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr("weightwalk.cli.common.tempfile.mkstemp", refused)
    assert "could not be written (Permission denied)" in CliRunner().invoke(
        main, ["formula", "odd_nets:one", "--save", str(tmp_path / "f.py")]
    ).stderr  # fmt: skip


@pytest.mark.parametrize("wait", [pytest.param(0.0, marks=pytest.mark.slow), 0.7])
def test_ctrl_c_in_the_middle_of_an_enumeration(wait: float, folder: Path, tmp_path: Path) -> None:
    """A large plane is being divided; 130, one word, and no file."""
    (tmp_path / "big_nets.py").write_text(NETS + ODD + "open('ready', 'w').close()\n")
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    command = [sys.executable, "-m", "weightwalk", "formula", "big_nets:wide", "--box", "-9..9", "--save", "f.json"]
    child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env, cwd=tmp_path)
    deadline = time.monotonic() + 60
    while not (tmp_path / "ready").exists() and child.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)
    time.sleep(wait)
    child.send_signal(signal.SIGINT)
    out, error = child.communicate(timeout=60)
    assert child.returncode == 130, (out, error)
    assert error.strip() == "interrupted" and not out
    assert {p.name for p in tmp_path.iterdir()} <= {"big_nets.py", "ready", "__pycache__"}
