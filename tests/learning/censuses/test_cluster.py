"""Blocks as tasks of Ray: the same bits, also where a worker is killed in the middle of its work."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from weightwalk.errors import UsageError
from weightwalk.learning.censuses import splitting
from weightwalk.learning.censuses.batch import Batch, train_many
from weightwalk.learning.tasks import task_of


def same(a: Batch, b: Batch) -> bool:
    assert a.outputs is not None and b.outputs is not None
    numbers = zip(
        (a.final_losses, a.outputs, a.gradient_norms), (b.final_losses, b.outputs, b.gradient_norms), strict=True
    )
    return all(x.tobytes() == y.tobytes() for x, y in numbers) and all(
        a.weights[name].tobytes() == b.weights[name].tobytes() for name in a.weights
    )


def test_without_ray_one_sentence_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(UsageError, match=r"weightwalk\[cluster\]"):
        train_many("hello6", [0, 1], epochs=1, engine="ray")


@pytest.fixture
def ray(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    ray = pytest.importorskip("ray")
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setattr(splitting, "MOST", 64)
    monkeypatch.setattr(splitting, "LEAST", 64)
    yield ray
    ray.shutdown()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_a_cluster_of_two_gives_the_same_bits_though_a_worker_is_killed(ray: Any) -> None:
    how: dict[str, Any] = {"epochs": 2000, "optimizer": "adam"}
    task = task_of("hello6").of(width=4)
    here = train_many(task, range(256), threads=1, **how)
    killed: list[int] = []
    hunter = threading.Thread(target=_kill_one, args=(killed,), daemon=True)
    hunter.start()
    there = train_many(task, range(256), threads=2, engine="ray", **how)
    hunter.join(timeout=5)
    assert len(killed) == 1
    assert same(here, there)
    assert not ray.is_initialized()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_a_cluster_that_was_there_is_left_there(ray: Any) -> None:
    ray.init(num_cpus=2, include_dashboard=False, _node_ip_address="127.0.0.1", log_to_driver=False)
    seen: list[tuple[int, int]] = []
    there = train_many("hello6", range(150), epochs=3, engine="ray", progress=lambda a, b: seen.append((a, b)))
    assert ray.is_initialized()
    assert seen[-1] == (450, 450)
    assert same(train_many("hello6", range(150), epochs=3), there)
    with pytest.raises(UsageError, match=r"torch\.func says"):
        train_many(task_of("hello6"), range(2), epochs=1, engine="ray", loss=_branching)
    assert np.isfinite(train_many("xor", range(3), epochs=3, engine="ray", shuffle=True).final_losses).all()


def _branching(z: Any, y: Any) -> Any:
    return z.mean() if bool(z.sum() > 0) else -z.mean()


def _kill_one(killed: list[int]) -> None:
    """Kill a worker of the cluster that this process started, once it has worked on a block for half a second."""
    since: dict[int, float] = {}
    while not killed:
        time.sleep(0.05)
        for pid in _workers():
            if time.monotonic() - since.setdefault(pid, time.monotonic()) > 0.5:
                os.kill(pid, signal.SIGKILL)
                killed.append(pid)
                return


def _workers() -> list[int]:
    """Processes under this one that run a task: Ray calls a worker after the function that it runs."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            title = (folder / "cmdline").read_bytes()
            if title.startswith(b"ray::_train") and os.getpid() in _ancestors(int(folder.name)):
                found.append(int(folder.name))
        except OSError:
            continue  # it has ended
    return found


def _ancestors(pid: int) -> list[int]:
    line: list[int] = []
    while pid > 1:
        pid = int((Path("/proc") / str(pid) / "stat").read_text().rsplit(")", 1)[1].split()[1])
        line.append(pid)
    return line
