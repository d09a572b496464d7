"""The folder of a run: who may write to it, what is kept in it, and where to go on from.

==============================  ========================================================================================
``run.json``                    what is trained: settings, digests of net and data, where the net came from
``checkpoint-000012.safetensors``  everything that is needed to go on; the newest, the one before, and the best
``snapshots/000100.safetensors``   weights after so many epochs, where they were asked for
``weights.safetensors``         the trained net, once the training has come to its end
``lock``                        held by the process that trains
==============================  ========================================================================================
"""

from __future__ import annotations

import contextlib
import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from weightwalk.errors import RecordError, UsageError
from weightwalk.learning.runs.files import TEMPORARY, read_facts, read_tensors, write_json, write_tensors

FORMAT = "weightwalk run 1"
NAME = re.compile(r"checkpoint-(\d{6,})\.safetensors")


class RunFolder:
    """A folder that this process alone writes to, until it is closed.

    Args:
        path: Made where it is missing.
        keep: How many of the newest checkpoints stay.

    Raises:
        UsageError: It cannot be made or written, or another process trains in it.
    """

    def __init__(self, path: Path | str, keep: int = 2) -> None:
        self.path, self.keep = Path(path).expanduser(), keep
        self._lock: int | None = None
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            self._take()
            for left in (*self.path.glob(f".*{TEMPORARY}"), *self.path.glob(f"snapshots/.*{TEMPORARY}")):
                left.unlink(missing_ok=True)
        except OSError as error:
            self.close()
            raise self._refusal(error) from error
        self._scores = {n: read_facts(self._file(n)).get("score") for n in self.numbers()}

    def _refusal(self, error: OSError) -> UsageError:
        return UsageError(
            f"The run's folder {str(self.path)!r} cannot be written ({error.strerror or error}); "
            "choose one that is writable and has room."
        )

    def _take(self) -> None:
        """The lock is the kernel's, so it goes with the process that held it, however that ended."""
        handle = os.open(self.path / "lock", os.O_RDWR | os.O_CREAT, 0o644)
        try:
            import fcntl

            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except ImportError:  # no such locks on this system
            pass
        except BlockingIOError:
            owner = os.read(handle, 32).decode(errors="replace").strip() or "unknown"
            os.close(handle)
            raise UsageError(
                f"Another process (pid {owner}) is training in {str(self.path)!r}; wait for it, or "
                "choose another folder."
            ) from None
        os.truncate(handle, 0)
        os.write(handle, str(os.getpid()).encode())
        self._lock = handle

    def close(self) -> None:
        """Let others write to the folder."""
        if self._lock is not None:
            with contextlib.suppress(OSError):
                os.truncate(self._lock, 0)
            os.close(self._lock)
            self._lock = None

    # What it holds --------------------------------------------------------------------------------------------------

    def numbers(self) -> list[int]:
        """Numbers of the checkpoints, oldest first."""
        return sorted(int(m[1]) for p in self.path.iterdir() if (m := NAME.fullmatch(p.name)))

    def _file(self, number: int) -> Path:
        return self.path / f"checkpoint-{number:06d}.safetensors"

    def describe(self, facts: Mapping[str, Any]) -> None:
        """Write down what is trained.

        Raises:
            UsageError: It cannot be written.
        """
        whole = json.loads(json.dumps({"format": FORMAT, **facts}))
        if described(self.path) == whole:
            return  # a full disk must not keep a run from going on
        try:
            write_json(self.path / "run.json", whole)
        except OSError as error:
            raise self._refusal(error) from error

    def latest(self) -> tuple[dict[str, Tensor], dict[str, Any], list[str]] | None:
        """The newest whole checkpoint, and a sentence for each newer one that is not whole; None where there is none.

        A damaged file is set aside under the ending ``.damaged``.

        Raises:
            UsageError: There are checkpoints, but none is whole.
        """
        told: list[str] = []
        for number in reversed(self.numbers()):
            file = self._file(number)
            try:
                tensors, facts = read_tensors(file)
            except RecordError as error:
                told.append(f"{error} Went back to the one before.")
                self._scores.pop(number, None)
                with contextlib.suppress(OSError):
                    file.replace(file.with_suffix(".damaged"))
                continue
            return tensors, facts, told
        if told:
            raise UsageError(
                f"No checkpoint in {str(self.path)!r} is whole: {' '.join(told)} Train anew in another folder."
            )
        return None

    def save(self, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> Path:
        """Write the next checkpoint, then let go of those that are no longer wanted.

        Raises:
            OSError: It could not be written; the earlier ones are as they were.
        """
        number = max([0, *self.numbers()]) + 1
        write_tensors(self._file(number), tensors, facts)
        self._scores[number] = facts.get("score")
        _, best = min([(s, n) for n, s in self._scores.items() if s is not None], default=(None, None))
        for old in self.numbers()[: -self.keep]:
            if old != best:
                self._file(old).unlink(missing_ok=True)
                self._scores.pop(old, None)
        return self._file(number)

    def save_snapshot(self, epoch: int, weights: Mapping[str, Tensor]) -> None:
        """Keep the weights of an epoch.

        Raises:
            OSError: They could not be written.
        """
        (self.path / "snapshots").mkdir(exist_ok=True)
        write_tensors(self.path / "snapshots" / f"{epoch:06d}.safetensors", weights, {"epoch": epoch})

    def snapshots(self, up_to: int) -> dict[int, dict[str, Tensor]]:
        """The snapshots of these epochs that are whole."""
        found: dict[int, dict[str, Tensor]] = {}
        for file in sorted((self.path / "snapshots").glob("*.safetensors")):
            if file.stem.isdigit() and int(file.stem) <= up_to:
                with contextlib.suppress(RecordError):
                    found[int(file.stem)] = read_tensors(file)[0]
        return found


def described(path: Path | str) -> dict[str, Any] | None:
    """What a run's folder says is trained in it; None where it says nothing.

    Raises:
        UsageError: It says something that is no run's description.
    """
    file = Path(path).expanduser() / "run.json"
    if not file.is_file():
        return None
    try:
        facts = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UsageError(f"{str(file)!r} cannot be read: {error}.") from error
    whole = isinstance(facts, dict) and all(name in facts for name in ("plan", "data", "module"))
    if not whole or facts.get("format") != FORMAT:
        raise UsageError(f"{str(file)!r} is not the description of a run ({FORMAT}).")
    return facts


def run_weights(path: Path | str) -> dict[str, Tensor]:
    """Weights and buffers at the newest whole checkpoint of a run; the run may still be going on.

    Unlike resuming, this takes no lock and sets nothing aside.

    Args:
        path: Folder of the run.

    Raises:
        UsageError: There is no whole checkpoint.

    Example:
        >>> import tempfile
        >>> from weightwalk.learning.train import train
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     _ = train("linear", epochs=3, run=f"{folder}/run")
        ...     sorted(run_weights(f"{folder}/run"))
        ['fc.bias', 'fc.weight']
    """
    from weightwalk.learning.runs.packing import WEIGHTS, under

    folder = Path(path).expanduser()
    files = sorted((p for p in folder.glob("checkpoint-*.safetensors") if NAME.fullmatch(p.name)), reverse=True)
    for file in files:
        with contextlib.suppress(RecordError):
            return under(read_tensors(file)[0], WEIGHTS)
    raise UsageError(f"{str(folder)!r} holds no whole checkpoint of a run.")
