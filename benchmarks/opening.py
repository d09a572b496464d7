"""How long a saved walk of 10,000 steps takes to open, each time in a fresh process."""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.rounds import ROOT, environment

STEPS = 10_000
_OPEN = """
import sys, time
start = time.perf_counter()
import weightwalk as ww
ww.load
imported = time.perf_counter()
walk = ww.load(sys.argv[1])
opened = time.perf_counter()
walk["out"].numpy()
print(len(walk.steps), imported - start, opened - imported, time.perf_counter() - opened)
"""


def long_walk(steps: int) -> Any:
    """A walk of `steps` steps: matrix products, sums, activations and views in turn."""
    import torch

    import weightwalk as ww

    w, b = torch.randn(32, 32) / 8, torch.randn(32)
    acts = (torch.relu, torch.tanh, torch.sigmoid, torch.exp)

    def long(x: torch.Tensor) -> torch.Tensor:
        for i in range(steps // 4):
            x = acts[i % 4](x @ w + b).view(8, 32)
        return x

    return ww.walk(long, torch.randn(8, 32))


def measure(repeats: int, say: Any) -> dict[str, Any]:
    """Record, save, and open `repeats` times."""
    say("opening: recording a long walk")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "long.walk"
        start = time.perf_counter()
        walk = long_walk(STEPS)
        recorded = time.perf_counter()
        walk.save(path)
        saved = time.perf_counter()
        runs = []
        for i in range(repeats):
            say(f"opening: {i + 1} of {repeats}")
            done = subprocess.run(
                [sys.executable, "-c", _OPEN, str(path)],
                capture_output=True, text=True, cwd=ROOT, env=environment(1), check=True,
            )  # fmt: skip
            runs.append([float(x) for x in done.stdout.split()])
        return {
            "title": f"A walk of {int(runs[0][0]):,} steps",
            "steps": int(runs[0][0]),
            "bytes": path.stat().st_size,
            "record": recorded - start,
            "save": saved - recorded,
            "import": statistics.median(r[1] for r in runs),
            "open": statistics.median(r[2] for r in runs),
            "read": statistics.median(r[3] for r in runs),
        }
