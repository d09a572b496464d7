"""Blocks of seeds: all of them, once, in order; and a census in a process of its own keeps to its budget of memory."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
import torch

from weightwalk.errors import UsageError
from weightwalk.learning.censuses import splitting
from weightwalk.learning.censuses.batch import train_many
from weightwalk.learning.tasks import Data, Task, task_of
from weightwalk.nets.modules import LayeredNet


@pytest.mark.parametrize("count", [1, 2, 63, 64, 65, 1000, 4097])
@pytest.mark.parametrize("size", [1, 7, 64, 512])
@pytest.mark.parametrize("workers", [1, 2, 16])
def test_blocks_hold_each_seed_once(count: int, size: int, workers: int) -> None:
    seeds = list(range(100, 100 + count))
    blocks = splitting._cut(seeds, size, workers)
    assert [seed for block in blocks for seed in block] == seeds
    assert all(0 < len(block) <= size for block in blocks)
    if size % 64 == 0:
        assert all(len(block) % 64 == 0 for block in blocks[:-1])


def test_work_is_shared_evenly() -> None:
    assert [len(b) for b in splitting._cut(list(range(1000)), 1024, 2)] == [512, 488]
    assert [len(b) for b in splitting._cut(list(range(100)), 1024, 2)] == [
        100
    ]  # halves would cost as much as the whole
    assert len(splitting._cut(list(range(3000)), 1024, 2)) == 4  # not 3, of which one core would have two


def test_no_bit_depends_on_a_budget_for_less_than_a_whole_lane(monkeypatch: pytest.MonkeyPatch) -> None:
    """Products of matrices of odd sizes round by where in a line of memory they begin."""
    sizes: list[int] = []
    cut = splitting._cut

    def watched(seeds: list[int], size: int, workers: int) -> list[list[int]]:
        sizes.append(size)
        return cut(seeds, size, workers)

    monkeypatch.setattr(splitting, "_cut", watched)
    x, y = torch.linspace(-1, 1, 15).reshape(3, 5), torch.tensor([0, 1, 2])
    task = Task("odd", "", lambda: LayeredNet((5, 33, 33, 4)), Data(x, y), "cross_entropy", epochs=2)
    whole, *small = (train_many(task, range(60), threads=1, memory=m) for m in (1 << 30, 3_000_000, 2_200_000))
    assert sizes[0] >= 60 and all(16 <= size < 60 for size in sizes[1:])
    for found in small:
        assert found.outputs is not None and whole.outputs is not None
        assert found.outputs.tobytes() == whole.outputs.tobytes()


def test_weights_that_do_not_fit_are_left_out_unless_asked_for() -> None:
    task = task_of("hello6").of(width=16)  # 775 numbers: 3.1 kB for each seed
    how: dict[str, Any] = {"epochs": 1, "memory": 40_000_000, "threads": 1}
    found = train_many(task, range(12_000), **how)
    assert found.weights == {}
    assert len(train_many(task, range(2_000), **how).weights) == 7
    with pytest.raises(UsageError, match="memory budget"):
        train_many(task, range(12_000), record={"end": True}, **how)
    with pytest.raises(UsageError, match="allow more, take fewer seeds, or record less"):
        train_many(task, range(100), **{**how, "memory": 40_000})


CENSUS = """
import json, resource, sys
from weightwalk.learning.censuses.batch import train_many
from weightwalk.learning.tasks import task_of
name, shape, seeds, memory, how = json.loads(sys.argv[1])
task = task_of(name).of(**shape)
train_many(task, range(256), epochs=1, **how)  # loads what is loaded once
def peak():
    return int(next(l for l in open("/proc/self/status") if l.startswith("VmHWM")).split()[1]) * 1024
def now():
    return int(next(l for l in open("/proc/self/status") if l.startswith("VmRSS")).split()[1]) * 1024
open("/proc/self/clear_refs", "w").write("5")
before = now()
found = train_many(task, range(seeds), epochs=1, memory=memory, **how)
print(json.dumps([peak() - before, len(found)]))
"""


def growth(name: str, shape: dict[str, Any], seeds: int, memory: int, **how: Any) -> int:
    done = subprocess.run(
        [sys.executable, "-c", CENSUS, json.dumps([name, shape, seeds, memory, how])],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    grown, count = json.loads(done.stdout)
    assert count == seeds
    return grown


linux = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


@linux
@pytest.mark.parametrize(
    ("name", "shape", "seeds", "how"),
    [
        ("sqrt", {"width": 16}, 10_000, {"threads": 2}),
        pytest.param("hello6", {"width": 16}, 8_000, {"threads": 2, "optimizer": "adam"}, marks=pytest.mark.slow),
        pytest.param("nearest", {}, 3_000, {"threads": 2, "batch": 32}, marks=pytest.mark.slow),
    ],
)
def test_memory_stays_within_the_budget(name: str, shape: dict[str, Any], seeds: int, how: dict[str, Any]) -> None:
    budget = 60_000_000
    assert growth(name, shape, seeds, budget, **how) < budget


@linux
@pytest.mark.slow
def test_memory_grows_with_the_results_alone() -> None:
    """A seed of `hello6` at width 4 leaves 103 weights and 42 outputs of 4 bytes; what is trained at a time stays."""
    few, many = (growth("hello6", {"width": 4}, seeds, 1 << 30, threads=1) for seeds in (20_000, 60_000))
    assert many - few < 40_000 * (103 + 42 + 40) * 4 * 1.2
    assert np.sign(many - few) == 1
