"""Seeds per second, by the census and by a plain loop on the same cores: ``python -m benchmarks.census SPEC``.

The loop is what one would write: a module, an optimizer of torch's, and five lines. It gets both cores, either as two
processes of one thread each or as one process of two threads, whichever is faster. As every seed takes it as long as
any other, it trains a few of them, and is held against the census of 1,000 and of 10,000; the census trains all.

One process goes through all cases, so that a round takes little more than the trainings themselves.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

from benchmarks.memory import _peak, _reset_peak, _status, _trim
from benchmarks.rounds import ROOT, environment

OURS, TWO, ONE = "weightwalk census", "loop, 2 processes of 1 thread", "loop, 1 process of 2 threads"
CASES = [
    *(("hello6", width, optimizer, 501) for width in (2, 4, 8, 16) for optimizer in ("sgd", "adam")),
    ("xor", 2, "adam", 1000),
    ("sqrt", 8, "adam", 1000),
]
"""Task, width, optimizer, epochs."""
SEEDS = (1_000, 10_000)
LOOPED = 4
"""Seeds that each of the two processes of the loop trains in a round; the one process trains one."""


def title(case: tuple[str, int, str, int], seeds: int) -> str:
    """As in the tables."""
    name, width, optimizer, epochs = case
    return f"{name}, width {width}, {optimizer}, {epochs} epochs, {seeds:,} seeds"


def child(spec: dict[str, Any]) -> list[dict[str, Any]]:
    """Train so many seeds of each case in this process; wall and CPU seconds of the training alone."""
    import torch

    from weightwalk.learning.tasks import task_of

    torch.set_num_threads(spec["threads"])
    train = _census if spec["who"] == OURS else _loop
    answers = []
    for (name, width, optimizer, epochs), seeds in spec["cases"]:
        task = task_of(name).of(width=width)
        train(task, optimizer, 20, 2 if spec["who"] != OURS else 128)  # what is imported and compiled once
        _trim()
        before, _ = _status("VmRSS") or _peak(), _reset_peak()
        cpu, wall = time.process_time(), time.perf_counter()
        train(task, optimizer, epochs, seeds)
        cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
        answers.append({"cpu": cpu, "wall": wall, "peak": _peak() - before, "seeds": seeds})
    return answers


def _census(task: Any, optimizer: str, epochs: int, seeds: int) -> None:
    from weightwalk.learning.censuses.batch import train_many

    found = train_many(task, range(seeds), optimizer=optimizer, epochs=epochs, lr=0.01, threads=2)
    assert len(found.final_losses) == seeds


def _loop(task: Any, optimizer: str, epochs: int, seeds: int) -> None:
    import torch

    from weightwalk.learning.losses import loss_of

    x, y, criterion = task.data.inputs, task.data.targets, loss_of(task.loss)
    kind = {"sgd": torch.optim.SGD, "adam": torch.optim.Adam}[optimizer]
    for seed in range(seeds):
        module = task.module(seed)
        mover = kind(module.parameters(), lr=0.01)
        for _ in range(epochs):
            mover.zero_grad()
            loss = criterion(module(x), y)
            loss.backward()
            mover.step()


def measure(rounds: int, quick: bool, say: Callable[[str], None]) -> dict[str, Any]:
    """The loop in both forms and the census in turn, each in fresh processes, so many rounds of all cases."""
    cases = [CASES[0], CASES[6]] if quick else CASES
    sizes = SEEDS[:1] if quick else SEEDS
    found = {
        f"{case[0]}-{case[1]}-{case[2]}-{seeds}": {
            "title": title(case, seeds), "task": case[0], "width": case[1], "seeds": seeds,
            "rows": {OURS: [], TWO: [], ONE: []},
        }
        for case in cases for seeds in sizes
    }  # fmt: skip
    for i in range(rounds):
        say(f"census: round {i + 1} of {rounds}")
        two = _together([{"who": TWO, "cases": [(case, LOOPED) for case in cases], "threads": 1}] * 2)
        one = _together([{"who": ONE, "cases": [(case, 1) for case in cases], "threads": 2}])
        ours = _together([{"who": OURS, "cases": [(case, n) for case in cases for n in sizes], "threads": 2}])
        for k, section in enumerate(found.values()):
            for who, row in ((OURS, ours[k]), (TWO, two[k // len(sizes)]), (ONE, one[k // len(sizes)])):
                section["rows"][who].append(row)
    return found


def _together(specs: list[dict[str, Any]]) -> list[dict[str, float]]:
    """Run these at the same time: for each case seeds per second of all, CPU seconds per seed, growth of memory."""
    children = [
        subprocess.Popen(
            [sys.executable, "-m", "benchmarks.census", json.dumps(spec)],
            stdout=subprocess.PIPE, text=True, cwd=ROOT, env=environment(spec["threads"]),
        )
        for spec in specs
    ]  # fmt: skip
    answers = []
    for running in children:
        out, _ = running.communicate()
        if running.returncode:
            raise RuntimeError(f"a process of the benchmark ended with code {running.returncode}")
        answers.append(json.loads(out.splitlines()[-1]))
    return [
        {
            "rate": sum(a["seeds"] / a["wall"] for a in each),
            "cpu": sum(a["cpu"] for a in each) / sum(a["seeds"] for a in each),
            "peak": sum(a["peak"] for a in each),
        }
        for each in zip(*answers, strict=True)
    ]


def times(section: dict[str, Any], key: str = "rate") -> list[float]:
    """How many times the seeds per second of the faster loop, round by round (or, of CPU time, how many times less)."""
    rows = section["rows"]
    if key == "cpu":
        return [min(a["cpu"], b["cpu"]) / c["cpu"] for a, b, c in zip(rows[TWO], rows[ONE], rows[OURS], strict=True)]
    return [c["rate"] / max(a["rate"], b["rate"]) for a, b, c in zip(rows[TWO], rows[ONE], rows[OURS], strict=True)]


def median(section: dict[str, Any], who: str, key: str) -> float:
    """Of all rounds."""
    return statistics.median(row[key] for row in section["rows"][who])


def main() -> None:
    """The child's side."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # a library that prints must not spoil the answer
    print(json.dumps(child(json.loads(sys.argv[1]))), file=answers, flush=True)


if __name__ == "__main__":
    main()
