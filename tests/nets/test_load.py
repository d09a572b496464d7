"""From what a user typed to a net, or to one sentence that helps."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import nn

from weightwalk.errors import UsageError
from weightwalk.nets import load_net

CODE = """
import torch
from torch import nn

class Small(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(2, 1)
        self.drop = nn.Dropout()
    def forward(self, x):
        return self.drop(self.fc(x))

class Needy(nn.Module):
    def __init__(self, width, *, depth):
        super().__init__()

ready = Small()
number = 3
class Box:
    inner = ready

def make(width=4):
    return nn.Sequential(nn.Linear(3, width), nn.ReLU())

def double(x):
    return 2 * x

def total(*tensors):
    return sum(tensors)

def no_net():
    return "a string"

def broken():
    raise ValueError("no such luck")
"""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A current directory with a module in it."""
    (tmp_path / "mine_for_test.py").write_text(CODE)
    (tmp_path / "bad_for_test.py").write_text("x = 1\nimport not_there_at_all\n")
    (tmp_path / "worse_for_test.py").write_text("x = 1\ny = 1 / 0\n")
    (tmp_path / "empty_for_test.py").write_text("")
    package = tmp_path / "pack_for_test" / "inner"
    package.mkdir(parents=True)
    (package / "nets.py").write_text("from torch import nn\nnet = nn.Linear(5, 1)\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    yield tmp_path
    monkeypatch.undo()
    for name in [n for n in sys.modules if "_for_test" in n]:
        del sys.modules[name]


def test_a_module_object(here: Path) -> None:
    net = load_net("mine_for_test:ready")
    assert net.module is sys.modules["mine_for_test"].ready
    assert not net.module.training
    assert not net.module.drop.training
    assert net.inputs("1,2").args[0].shape == (1, 2)
    assert load_net("mine_for_test:Box.inner").module is net.module
    assert load_net("pack_for_test.inner.nets:net").expects.size == 5
    assert "seed" not in net.provenance


def test_classes_and_functions_that_make_one_are_seeded(here: Path) -> None:
    torch.manual_seed(5)
    state = torch.get_rng_state()
    one, two, other = (load_net("mine_for_test:Small", seed=s) for s in (None, 0, 1))
    assert one.sha256 == two.sha256 != other.sha256
    assert torch.equal(torch.get_rng_state(), state)
    assert other.provenance["seed"] == 1
    assert isinstance(load_net("mine_for_test:make").module, nn.Sequential)


def test_functions_on_tensors(here: Path) -> None:
    net = load_net("mine_for_test:double")
    args, kwargs, _ = net.inputs("1,2")
    assert net.module(*args, **kwargs).tolist() == [2, 4]
    assert "function" in net.description
    assert load_net("mine_for_test:total").module(1, 2) == 3
    assert load_net("torch:sin").module is torch.sin, "builtins that hide their signature are functions on tensors"


def test_the_import_path_is_put_back(here: Path) -> None:
    before = list(sys.path)
    load_net("mine_for_test:ready")
    with pytest.raises(UsageError):
        load_net("worse_for_test:x")
    assert sys.path == before


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("mine_for_test:redy", "'mine_for_test' has no 'redy'; did you mean 'ready'?"),
        ("empty_for_test:net", "'empty_for_test' has no 'net'; it is empty"),
        (
            "nowhere_for_test:net",
            "There is no module 'nowhere_for_test', neither installed nor in the current",
        ),
        ("torch.nowhere_for_test:net", "There is no module 'torch.nowhere_for_test'"),
        ("bad_for_test:x", "Importing 'bad_for_test' failed: it needs 'not_there_at_all', which is not installed"),
        ("worse_for_test:x", "failed: ZeroDivisionError: division by zero (worse_for_test.py, line 2)"),
        ("mine_for_test:number", "'mine_for_test:number' is a int; expected an nn.Module"),
        ("mine_for_test:Needy", "The class 'mine_for_test:Needy' needs arguments (width, depth)"),
        ("mine_for_test:no_net", "called without arguments, gave a str; expected an nn.Module"),
        (
            "mine_for_test:broken",
            "Making 'mine_for_test:broken' failed: ValueError: no such luck (mine_for_test.py,",
        ),
    ],
)
def test_what_is_wrong_with_a_named_object(here: Path, spec: str, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        load_net(spec)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("spec", "messages"),
    [
        ("helo", ["There is no net 'helo': did you mean hello or hello6?", "package.module:object"]),
        ("SQRT", ["did you mean sqrt?"]),
        ("gpt2", ["did you mean gpt or gpt2-tiny?", "openai-community/gpt2"]),
        (
            "zzz",
            ["There is no net 'zzz'; a net can be a gallery name (linear, sqrt, regions"],
        ),
        ("", ["There is no net ''"]),
        ("model.pt", ["'model.pt' is a pickle", "never does", "safetensors", "package.module:object"]),
        ("model.pth", ["is a pickle"]),
        ("pytorch_model.bin", ["is a pickle"]),
        ("x.ckpt", ["is a pickle"]),
        ("net.safetensors", ["holds weights but not the network", "config.json"]),
        ("net.pt2", ["There is no file 'net.pt2'"]),
        ("model.py", ["is a source file: name an object in it, as model:object"]),
    ],
)
def test_wrong_names(spec: str, messages: list[str]) -> None:
    with pytest.raises(UsageError) as caught:
        load_net(spec)
    for message in messages:
        assert message in str(caught.value)


def test_other_files(tmp_path: Path) -> None:
    (tmp_path / "net.h5").write_bytes(b"")
    with pytest.raises(UsageError, match="is a file of a kind that is no network"):
        load_net(str(tmp_path / "net.h5"))


def test_a_pickle_is_refused_before_it_is_opened(tmp_path: Path) -> None:
    path = tmp_path / "m.pt"
    torch.save({"w": torch.ones(1)}, path)
    path.chmod(0)
    with pytest.raises(UsageError, match="is a pickle"):
        load_net(str(path))
