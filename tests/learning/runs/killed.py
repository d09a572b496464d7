"""A training that is killed by SIGKILL again and again and resumed each time; run as a program by test_kills.py.

torch is imported once; each attempt is a forked child, a process of its own. The child trains with checkpoints; the
parent kills it after a random time, or the child itself is killed at its n-th call of one of the system functions that
write checkpoints. At last a child comes to the end by itself, and its weights and losses are compared, bit for bit,
with those of a training that was left alone.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import time
from pathlib import Path
from typing import Any

import torch
from torch import nn

from weightwalk.learning.runs import files
from weightwalk.learning.runs.files import digest
from weightwalk.learning.seeds import seeded
from weightwalk.learning.train import train

X = torch.linspace(-1, 1, 40)[:, None]
Y = X**2

# Adam or momentum, mini-batches, dropout, batch norm, a schedule, early stopping, snapshots: all have state to be lost.
SETTINGS: dict[str, dict[str, Any]] = {
    "adam": {"optimizer": "adam", "lr": 0.01, "schedule": "cosine:warmup=0.1", "snapshots": 3},
    "momentum": {"optimizer": "momentum", "lr": 0.05, "patience": 2, "clip": 1.0, "on_nonfinite": "rollback"},
    # so fast that it breaks off and is rolled back on the way
    "rollback": {"optimizer": "sgd", "lr": 300.0, "on_nonfinite": "rollback", "rollbacks": 30},
}


def net() -> nn.Module:
    with seeded(5):
        return nn.Sequential(nn.Linear(1, 6), nn.BatchNorm1d(6), nn.ReLU(), nn.Dropout(0.3), nn.Linear(6, 1))


def outcome(name: str, folder: str | None) -> dict[str, Any]:
    run: dict[str, Any] = {} if folder is None else {"run": folder, "resume": True, "every": "2 updates"}
    module = net()
    epochs = 4
    held = (X[::4], Y[::4])
    history = train(module, X, Y, batch=7, epochs=epochs, seed=9, held_out=held, **SETTINGS[name], **run)
    snapshots = {f"{s.epoch}/{k}": v for s in history.snapshots for k, v in s.weights.items()}
    return {
        "weights": digest(module.state_dict()),
        "snapshots": digest(snapshots),
        "losses": [x.hex() for x in (*history.losses, *history.held_losses, *history.watched, *history.rates)],
        "final": history.final.hex(),
        "rollbacks": [e.text for e in history.events if e.kind == "rollback"],
        "epochs": history.epochs,
        "updates": history.updates,
    }


def die_at(call: int) -> None:
    """Have this process killed at its `call`-th step of writing a file: before it, so that the file is in any state."""
    count = [0]

    def counted(function: Any) -> Any:
        def called(*args: Any, **kwargs: Any) -> Any:
            count[0] += 1
            if count[0] == call:
                os.kill(os.getpid(), signal.SIGKILL)
            return function(*args, **kwargs)

        return called

    def half_written(tensors: Any, path: Any, metadata: Any) -> None:
        """As `save_file`, with a chance to die in the middle of the file."""
        save(tensors, path, metadata)
        whole = Path(path).read_bytes()
        Path(path).write_bytes(whole[: len(whole) // 2])
        counted(lambda: None)()
        Path(path).write_bytes(whole)

    save = files.save_file
    files.save_file = half_written  # type: ignore[assignment]
    os.fsync = counted(os.fsync)
    os.replace = counted(os.replace)
    Path.replace = counted(Path.replace)  # type: ignore[method-assign]
    Path.unlink = counted(Path.unlink)  # type: ignore[method-assign]


def attempt(name: str, folder: Path, kill_after: float | None, call: int | None) -> dict[str, Any] | None:
    """One sitting in a process of its own; its outcome if it came to its end."""
    result = folder.parent / f"{folder.name}.json"
    result.unlink(missing_ok=True)
    child = os.fork()
    if child == 0:
        try:
            if call is not None:
                die_at(call)
            result.write_text(json.dumps(outcome(name, str(folder))))
            os._exit(0)
        except BaseException as error:
            print(f"{type(error).__name__}: {error}", file=sys.stderr, flush=True)
            os._exit(1)
    if kill_after is not None:
        time.sleep(kill_after)
        os.kill(child, signal.SIGKILL)
    status = os.waitpid(child, 0)[1]
    if os.WIFSIGNALED(status):
        return None
    assert os.WEXITSTATUS(status) == 0, "a sitting failed"
    return json.loads(result.read_text())


def main(folder: Path, kills: int, seed: int) -> None:
    torch.set_num_threads(1)
    draw = random.Random(seed)
    killed = 0
    began = time.monotonic()
    alone = {name: outcome(name, None) for name in SETTINGS}
    done: dict[str, int] = dict.fromkeys(SETTINGS, 0)
    while killed < kills or not all(done.values()):
        for name in SETTINGS:
            call, after = (draw.randint(1, 40), None) if draw.random() < 0.5 else (None, draw.uniform(0.0, 0.15))
            if killed >= kills:
                call = after = None  # this one is left to come to its end
                if done[name]:
                    continue
            found = attempt(name, folder / f"{name}-{done[name]}", after, call)
            if found is None:
                killed += 1
                continue
            assert found == alone[name], f"{name}: {found} is not {alone[name]}"
            done[name] += 1
    assert any(alone["rollback"]["rollbacks"]), "the third training is there to be rolled back"
    print(json.dumps({"killed": killed, "done": done, "seconds": time.monotonic() - began}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
