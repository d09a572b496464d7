"""Examples from files: read as they are, refused in a sentence; and nets of any kind with them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from weightwalk.errors import UsageError
from weightwalk.learning.tasks import task_of
from weightwalk.learning.train import train
from weightwalk.nets.data import read_data
from weightwalk.nets.users import user_task

NETS = """
import torch
from torch import nn
from weightwalk.learning.tasks import Data, Task

def make():
    return nn.Sequential(nn.Linear(2, 3), nn.Tanh(), nn.Linear(3, 1))

class Choice(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(2, 3)

    def forward(self, x):
        return self.layer(x)

ready = make().double()
task = Task("mine", "one of my own", make, Data(torch.zeros(4, 2), torch.ones(4, 1)), epochs=3)

def function(x):
    return x + 1
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    import sys

    (tmp_path / "data_nets.py").write_text(NETS)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(sys.modules, "data_nets", raising=False)
    return tmp_path


def write(folder: Path, name: str, text: str) -> str:
    (folder / name).write_text(text)
    return str(folder / name)


def test_the_last_column_is_the_target(folder: Path) -> None:
    data = read_data(write(folder, "t.csv", "a,b,y\n1,2,3\n0.1,1e-3,-5\n"))
    assert data.inputs.tolist() == [[1.0, 2.0], [0.1, 0.001]] and data.targets.tolist() == [[3.0], [-5.0]]
    assert data.inputs.dtype == torch.float64
    data = read_data(folder / "t.csv", target_columns=("a", "y"))
    assert data.inputs.tolist() == [[2.0], [0.001]] and data.targets.tolist() == [[1.0, 3.0], [0.1, -5.0]]


def test_words_are_classes_and_other_marks_are_read(folder: Path) -> None:
    data = read_data(write(folder, "w.csv", "\ufeffa; kind\n1; dog\n\n2; cat\n3; dog\n"))
    assert data.classes == ("cat", "dog") and data.targets.tolist() == [1, 0, 1]
    assert data.inputs.tolist() == [[1.0], [2.0], [3.0]]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "needs a line of headings"), ("a,b\n", "needs a line of headings"),
        ("1,2\n3,4\n", "begins with numbers; give its columns headings"),
        ("a,b\n1,2\n1\n", "line 3: 1 columns, and 2 headings"), ("a,b\n1,\n", "line 2, column b: there is no number"),
        ("a,b\nx,2\n", "line 2, column a: 'x' is not a finite number"),
        ("a,b\nnan,2\n", "'nan' is not a finite number"), ("a\n1\n", "has one column"),
        ("a,b\n1,cat\n2,3\n", "column b: 'cat' is not a finite number"),
    ],
)  # fmt: skip
def test_tables_that_are_none(folder: Path, text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        read_data(write(folder, "bad.csv", text))


def test_columns_that_are_not_there(folder: Path) -> None:
    name = write(folder, "t.csv", "a,b\n1,2\n")
    with pytest.raises(UsageError, match="has no column 'c'; it has a, b"):
        read_data(name, target_columns=("c",))
    with pytest.raises(UsageError, match="every column is a target"):
        read_data(name, target_columns=("a", "b"))


def test_arrays(folder: Path) -> None:
    x, y = np.arange(6.0).reshape(3, 2), np.array([0, 1, 2], np.uint8)
    np.savez(folder / "d.npz", x=x.astype(">f4"), y=y, held_x=x[:1], held_y=y[:1], note=np.array("hello"))
    data = read_data(folder / "d.npz")
    assert data.inputs.dtype == torch.float32 and data.inputs.tolist() == x.tolist()
    assert data.targets.dtype == torch.int64 and data.held_out is not None
    save_file({"x": torch.ones(2, 3, dtype=torch.bfloat16), "y": torch.zeros(2)}, folder / "d.safetensors")
    assert read_data(folder / "d.safetensors").inputs.dtype == torch.bfloat16


def test_arrays_that_are_refused(folder: Path) -> None:
    def refused(match: str, **arrays: np.ndarray) -> None:
        np.savez(folder / "bad.npz", **arrays)
        with pytest.raises(UsageError, match=match):
            read_data(folder / "bad.npz")

    x = np.ones((3, 2))
    refused("has no x and no y; it has z", z=x)
    refused("has no y; it has x: write it with numpy.savez", x=x)
    refused("has no held_y", x=x, y=x, held_x=x)
    refused(r"as many of each and at least one; their shapes are \(3, 2\) and \(2, 2\)", x=x, y=x[1:])
    refused("at least one", x=x[:0], y=x[:0])
    refused("holds <U1, not numbers", x=np.array(["a"]), y=np.ones(1))
    x[1, 0] = np.inf
    refused("x of 'bad.npz' is not finite in row 1", x=x, y=np.ones(3))
    refused("can be read safely", x=np.array([{}], dtype=object), y=np.ones(1))
    (folder / "cut.npz").write_bytes((folder / "bad.npz").read_bytes()[:50])
    with pytest.raises(UsageError, match="can be read safely"):
        read_data(folder / "cut.npz")
    (folder / "cut.safetensors").write_bytes(b"1234")
    with pytest.raises(UsageError, match="not a whole safetensors file"):
        read_data(folder / "cut.safetensors")
    for name, match in (("none.csv", "There is no data file"), ("a.pkl", "Data are read from .npz, .csv or")):
        with pytest.raises(UsageError, match=match):
            read_data(folder / name)
    with pytest.raises(UsageError, match=r"Only a .csv has columns"):
        read_data(folder / "bad.npz", target_columns=("y",))


# Nets with them ------------------------------------------------------------------------------------------------------


def test_a_function_makes_a_fresh_net_for_each_seed(folder: Path) -> None:
    data = read_data(write(folder, "t.csv", "a,b,y\n1,2,3\n0,1,-5\n2,2,1\n"))
    task = user_task("data_nets:make", data)
    assert task.remade and task.loss == "mse" and task.data.inputs.dtype == torch.float32
    first, again, other = (task.module(s).state_dict()["0.weight"] for s in (0, 0, 1))
    assert torch.equal(first, again) and not torch.equal(first, other)
    assert train(task, epochs=2, seed=1).epochs == 2


def test_a_module_goes_on_from_its_weights_in_its_precision(folder: Path) -> None:
    data = read_data(write(folder, "t.csv", "a,b,y\n1,2,3\n0,1,-5\n2,2,1\n"))
    task = user_task("data_nets:ready", data)
    import sys

    ready: nn.Module = sys.modules["data_nets"].ready
    before = ready[0].weight.detach().clone()  # type: ignore[index]
    history = train(task, epochs=2)
    assert not task.remade and task.data.inputs.dtype == torch.float64 and history.module is not ready
    assert torch.equal(ready[0].weight, before), "the user's own module is left alone"  # type: ignore[index]


def test_class_numbers_choose_cross_entropy(folder: Path) -> None:
    words = read_data(write(folder, "w.csv", "a,b,kind\n1,2,dog\n2,1,cat\n3,0,cow\n"))
    task = user_task("data_nets:Choice", words)
    assert task.loss == "cross_entropy" and task.data.classes == ("cat", "cow", "dog")
    numbers = read_data(write(folder, "n.csv", "a,b,kind\n1,2,0\n2,1,2\n"))
    task = user_task("data_nets:Choice", numbers, loss="cross_entropy")
    assert task.data.targets.tolist() == [0, 2] and task.data.targets.dtype == torch.int64
    for text, match in (
        ("1,2,3", "from 0 to 2, one for each of the net's 3 outputs"),
        ("1,2,0.5", "whole numbers from 0"),
    ):
        bad = read_data(write(folder, "b.csv", f"a,b,kind\n{text}\n"))
        with pytest.raises(UsageError, match=match):
            user_task("data_nets:Choice", bad, loss="cross_entropy")


def test_words_need_an_output_each(folder: Path) -> None:
    """The numbers that stand for words are no quantities: nothing is regressed on them unasked."""
    words = read_data(write(folder, "w.csv", "a,b,kind\n1,2,dog\n2,1,cat\n3,0,dog\n"))
    with pytest.raises(UsageError, match=r"are 2 different words .*\(1,\) for a row: .* or --loss bce"):
        user_task("data_nets:make", words)
    assert user_task("data_nets:make", words, loss="bce").data.targets.flatten().tolist() == [1, 0, 1]


def test_inputs_beyond_the_nets_precision_are_refused(folder: Path) -> None:
    data = read_data(write(folder, "w.csv", "a,b,y\n1,1e200,1\n2,1,0\n"))
    with pytest.raises(UsageError, match=r"computes in float32, which ends before 1e\+200: scale the inputs"):
        user_task("data_nets:make", data)
    assert user_task("data_nets:ready", data).data.inputs[0, 1] == 1e200


def test_tasks_by_name_shape_and_object(folder: Path) -> None:
    assert user_task("hello6", shape={"width": 4}).shape["width"] == 4
    assert user_task("data_nets:task").epochs == 3
    data = read_data(write(folder, "t.csv", "x,y\n1,1\n4,2\n9,3\n"))
    task = user_task("sqrt", data, loss="mae", shape={"width": 3})
    assert task.loss == "mae" and len(task.data.inputs) == 3 and task.optimizer == task_of("sqrt").optimizer


@pytest.mark.parametrize(
    ("spec", "with_data", "match"),
    [
        ("gpt", False, "is a net, not a task: give what it is to learn with --data"),
        ("data_nets:ready", False, "is a net, not a task"), ("data_nets:make", False, "is a net, not a task"),
        ("nothing", False, "There is no task 'nothing'"), ("data_nets:function", True, "without weights"),
        ("hello", True, "cannot be run on|takes token ids, whole numbers"),
    ],
)  # fmt: skip
def test_what_is_no_task(folder: Path, spec: str, with_data: bool, match: str) -> None:
    data = read_data(write(folder, "t.csv", "a,b,y\n0.5,2,3\n")) if with_data else None
    with pytest.raises(UsageError, match=match):
        user_task(spec, data)
