"""Small nets by name for the tests of `weightwalk formula`, and the command run in-process."""

from __future__ import annotations

import re
import runpy
from pathlib import Path
from typing import Any

import pytest
from cli import commands
from click.testing import Result
from torch import nn

NETS = """
import torch
from torch import nn
torch.manual_seed(0)
gelu = nn.Sequential(nn.Linear(2, 4), nn.GELU(), nn.Linear(4, 2))
one = nn.Sequential(nn.Linear(1, 4), nn.ReLU(), nn.Linear(4, 1))
two = nn.Sequential(nn.Linear(2, 4), nn.ReLU(), nn.Linear(4, 3))
five = nn.Sequential(nn.Linear(5, 4), nn.ReLU(), nn.Linear(4, 2))
"""


@pytest.fixture(autouse=True, scope="module")
def tiny_nets(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Small nets by name, `tiny_nets:one`."""
    folder = tmp_path_factory.mktemp("nets")
    (folder / "tiny_nets.py").write_text(NETS)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(folder))
        yield


def run(*words: str) -> Result:
    return commands.run("formula", *words)


def good(*words: str, code: int = 0) -> str:
    return commands.good("formula", *words, code=code)


def net(name: str) -> nn.Module:
    import tiny_nets  # type: ignore[import-not-found]

    return getattr(tiny_nets, name).double()


def executed(source: str, folder: Path) -> dict[str, Any]:
    (folder / "made.py").write_text(source)
    return runpy.run_path(str(folder / "made.py"))


def balanced(text: str) -> bool:
    begun = re.findall(r"\\begin\{(\w+\*?)\}", text)
    assert begun
    return sorted(begun) == sorted(re.findall(r"\\end\{(\w+\*?)\}", text)) and text.count("{") == text.count("}")
