"""Peak memory of one recording, in a fresh process: ``python -m benchmarks.memory SPEC``.

The kernel's own count of resident memory is used: what the process held before the recording, its highest mark during
the recording, and what it holds afterwards. The mark is reset between (Linux: ``/proc/self/clear_refs``); where that
cannot be done, ``ru_maxrss`` is used, which also knows the marks of earlier, and the result says so.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import json
import os
import resource
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.contenders import CONTENDERS, quiet
from benchmarks.nets import Subject
from benchmarks.rounds import ROOT, environment

MEASURED = (
    "bare forward, again", "minimal dispatch mode", "weightwalk, everything", 'weightwalk, keep=["**"]',
    "torch DebugMode, outputs", "TorchLens trace", "TorchLens record",
)  # fmt: skip


def _status(field: str) -> int | None:
    """A size in bytes from the kernel's status of this process."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith(field)), None)


def _reset_peak() -> bool:
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return False
    return True


def _trim() -> None:
    """Give free heap back to the system, so that the recording cannot hide in it."""
    gc.collect()
    with contextlib.suppress(OSError, AttributeError):  # another C library
        ctypes.CDLL("libc.so.6").malloc_trim(0)


def _peak() -> int:
    unit = 1 if sys.platform == "darwin" else 1024
    return _status("VmHWM") or resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def bytes_kept(walk: Any, model: Any, inputs: Any) -> int:
    """Bytes of all storages that a walk keeps alive and that were not there before, and of its undo log."""
    outside = {t.untyped_storage().data_ptr() for t in (*model.parameters(), *model.buffers(), inputs)}
    storages = {}
    for held in walk.store.held:
        for tensor in (held.tensor, *(u.saved for u in held.undo)):
            if tensor is not None and tensor.untyped_storage().data_ptr() not in outside:
                storages[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
    return sum(storages.values())


def outputs_kept(outputs: list[Any], model: Any, inputs: Any) -> int:
    """The same of a list of (nested) outputs."""
    import torch
    from torch.utils._pytree import tree_leaves

    outside = {t.untyped_storage().data_ptr() for t in (*model.parameters(), *model.buffers(), inputs)}
    storages = [t.untyped_storage() for t in tree_leaves(outputs) if isinstance(t, torch.Tensor)]
    return sum({s.data_ptr(): s.nbytes() for s in storages if s.data_ptr() not in outside}.values())


def child(spec: dict[str, Any]) -> dict[str, Any]:
    """Measure one contender in this process."""
    import torch

    torch.set_num_threads(spec["threads"])
    contender = next(c for c in CONTENDERS if c.name == spec["name"])
    small, subject = Subject("five"), Subject(**spec["subject"])
    small_model, small_inputs = small.model(), small.inputs()
    contender.setup(small, small_model, small_inputs)(None)  # imports and caches are not memory of the recording
    model, inputs = subject.model(), subject.inputs()
    run = contender.setup(subject, model, inputs)
    model(inputs)
    _trim()
    before, reset = _status("VmRSS") or _peak(), _reset_peak()
    held = run(None)
    peak = _peak()
    _trim()
    after = _status("VmRSS") or peak
    kept = bytes_kept(held, model, inputs) if hasattr(held, "store") else None
    if contender.name == "minimal dispatch mode":
        kept = outputs_kept(held.outputs, model, inputs)
    return {"peak": peak - before, "held": after - before, "kept": kept, "reset": reset}


def measure(subject: Subject, threads: int, repeats: int, say: Any) -> dict[str, Any]:
    """Each contender `repeats` times, each time in a fresh process; the median by peak is kept."""
    rows: dict[str, Any] = {}
    absent: dict[str, str] = {}
    for name in MEASURED:
        say(f"memory: {name}")
        spec = json.dumps({"subject": asdict(subject), "name": name, "threads": threads})
        found = []
        for _ in range(repeats):
            done = subprocess.run(
                [sys.executable, "-m", "benchmarks.memory", spec],
                capture_output=True, text=True, cwd=ROOT, env=environment(threads), check=False,
            )  # fmt: skip
            if done.returncode:
                absent[name] = (done.stderr.strip().splitlines() or ["no word"])[-1][:200]
                break
            found.append(json.loads(done.stdout.splitlines()[-1]))
        if found and name not in absent:
            rows[name] = sorted(found, key=lambda r: r["peak"])[len(found) // 2]
    return {"title": f"{subject.title}: memory", "rows": rows, "absent": absent}


def main() -> None:
    """The child's side."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    with quiet():
        print(json.dumps(child(json.loads(sys.argv[1]))), file=answers)


if __name__ == "__main__":
    main()
