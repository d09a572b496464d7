"""Interleaved rounds: A B C A B C ..., each against a bare forward that ran a moment before it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.contenders import CONTENDERS
from benchmarks.nets import Subject

ROOT = Path(__file__).parent.parent


def environment(threads: int) -> dict[str, str]:
    """The environment of a measuring process: few threads, no hub, our sources first."""
    path = os.pathsep.join(p for p in (str(ROOT), str(ROOT / "src"), os.environ.get("PYTHONPATH", "")) if p)
    offline = {"HF_HUB_OFFLINE": "1", "WANDB_MODE": "disabled", "TOKENIZERS_PARALLELISM": "false"}
    return {**os.environ, **offline, "OMP_NUM_THREADS": str(threads), "PYTHONPATH": path, "PYTHONHASHSEED": "0"}


class Worker:
    """A running `benchmarks.worker`."""

    def __init__(self, subject: Subject, group: str, threads: int) -> None:
        self.group = group
        spec = json.dumps({"subject": asdict(subject), "group": group, "threads": threads})
        self.log = tempfile.TemporaryFile("w+")  # noqa: SIM115  (what it prints; read only if it dies, closed by `stop`)
        self.process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.worker", spec],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.log, text=True, cwd=ROOT,
            env=environment(threads),
        )  # fmt: skip
        self.seats: dict[str, Any] = {}
        self.absent: dict[str, str] = {}

    def start(self) -> None:
        """Wait until it has imported, built and warmed up."""
        answer = self._read()
        self.seats, self.absent = answer.get("seats", {}), answer.get("absent", {})
        if "died" in answer:
            self.absent = {c.name: answer["died"] for c in CONTENDERS if c.group == self.group}

    def round(self, first: int) -> dict[str, list[float]]:
        """One round."""
        assert self.process.stdin is not None
        try:
            self.process.stdin.write(json.dumps({"first": first}) + "\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            pass  # it died; what it said is read below
        answer = self._read()
        if "died" in answer:
            self.absent.update(dict.fromkeys(self.seats, answer["died"]))
            self.seats = {}
            return {}
        return answer

    def _read(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if line:
            return json.loads(line)
        self.process.wait()
        self.log.seek(0)
        last = self.log.read().strip().splitlines()[-1:] or ["no word"]
        return {"died": f"its process ended with code {self.process.returncode}: {last[0][:200]}"}

    def stop(self) -> None:
        """End it."""
        assert self.process.stdin is not None
        try:
            self.process.stdin.close()
            self.process.wait(timeout=30)
        except (subprocess.TimeoutExpired, BrokenPipeError):
            self.process.kill()
            self.process.wait()
        self.log.close()


def measure(
    subject: Subject, groups: Sequence[str], rounds: int, threads: int, say: Callable[[str], None]
) -> dict[str, Any]:
    """`rounds` rounds of every contender of `groups` on `subject`.

    All workers are up for the whole time and take turns, so that a busy minute hits all alike. They are started one
    after another: a worker that is still importing would disturb none that is measuring.
    """
    workers = [Worker(subject, group, threads) for group in groups]
    rows: dict[str, Any] = {}
    try:
        for worker in workers:
            say(f"{subject.title}: preparing {worker.group}")
            worker.start()
            rows.update({name: {**seat, "group": worker.group, "rounds": []} for name, seat in worker.seats.items()})
        for i in range(rounds):
            say(f"{subject.title}: round {i + 1} of {rounds}")
            for worker in workers[i % len(workers) :] + workers[: i % len(workers)]:
                for name, times in (worker.round(i) if worker.seats else {}).items():
                    rows[name]["rounds"].append(times)
    finally:
        for worker in workers:
            worker.stop()
    absent = {name: why for worker in workers for name, why in worker.absent.items()}
    order = [c.name for c in CONTENDERS]
    return {
        "title": subject.title,
        "subject": asdict(subject),
        "rows": {n: rows[n] for n in order if n in rows and rows[n]["rounds"]},
        "absent": {n: absent[n] for n in order if n in absent},
    }
