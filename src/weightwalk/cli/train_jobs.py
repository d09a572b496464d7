"""What ``weightwalk train`` does: from the options to a task, from a task to a training and its facts."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from weightwalk.cli import common
from weightwalk.cli.tasks import chosen_task, shape_of
from weightwalk.errors import UsageError
from weightwalk.learning.history import NotFiniteError, TrainingInterrupted
from weightwalk.learning.runs.folder import described
from weightwalk.learning.splits import split
from weightwalk.learning.tasks import Task
from weightwalk.learning.train import train
from weightwalk.learning.trainings import Training, Trainings, told

if TYPE_CHECKING:
    from torch import nn

KEYWORDS = ("optimizer", "epochs", "batch", "shuffle", "schedule", "clip", "patience", "seed", "snapshots",
            "on_nonfinite", "rollbacks")  # fmt: skip
WHAT = ("net", "data", "loss", "settings", "target_columns", "held_out", "seed")


def single(net: str | None, lr: float | None, options: dict[str, Any]) -> tuple[Training | None, int]:
    """One training; its facts and the exit code."""
    what = _what(net, options)
    _refuse_second(options["run"])
    task, optimizer_settings = _task(what)
    keywords: dict[str, Any] = {name: options[name] for name in KEYWORDS} | {"lr": lr}
    keywords["settings"] = optimizer_settings or None
    folder = options["resume"] or options["run"]
    if folder is None:
        _refuse_without_run(options)
    else:
        keywords |= {"run": folder, "resume": options["resume"] is not None, "every": options["every"]}
        keywords |= {"keep": options["keep"], "note": what}
    try:
        with training_bar(task.name) as bar:
            history = train(task, each_update=bar, **keywords)
    except NotFiniteError as error:
        common.note(f"Error: {error}")
        if folder is not None:
            common.note(f"{folder} holds the checkpoints from before.")
        return None, 1
    except TrainingInterrupted as stopped:
        _tell_interrupted(stopped, folder)
        raise
    if sys.stderr.isatty():  # it differs from time to time, so it is for the person only
        speed = f"{history.updates_per_second:,.0f} per second"
        common.note(f"{history.updates:,} updates in {history.seconds:.1f} s, {speed}")
    facts = told(task.name, task.description, history, task.data, dict(task.shape))
    if folder is not None and not (Path(folder) / "weights.safetensors").is_file():
        common.note(f"Error: {folder} does not hold the end of this training: it could not be written.")
        return facts, 1
    return facts, 0


def several(net: str | None, rates: Sequence[float], options: dict[str, Any]) -> tuple[Trainings, int]:
    """The same training at several rates. One that breaks off is a result, too."""
    for name in ("run", "resume", "save"):
        if options[name] is not None:
            raise UsageError(f"--{name} is for one training; give one --lr with it.")
    _refuse_without_run(options)
    task, optimizer_settings = _task(_what(net, options))
    keywords: dict[str, Any] = {name: options[name] for name in KEYWORDS} | {"settings": optimizer_settings or None}
    runs: list[Training] = []
    broke: list[str] = []
    for rate in rates:
        try:
            with training_bar(f"{task.name} at {rate:g}") as bar:
                history, why = train(task, lr=rate, each_update=bar, **keywords), ""
        except NotFiniteError as error:
            history, why = error.history, str(error.bad)
        runs.append(told(task.name, task.description, history, task.data, dict(task.shape), whole=not why))
        broke.append(why)
    return Trainings(tuple(runs), tuple(rates), tuple(broke)), 0


def _refuse_second(folder: str | None) -> None:
    if folder is not None and described(folder) is not None:
        again = f"`weightwalk train --resume {common.quoted(folder)}`"
        raise UsageError(f"{folder!r} holds a run already: go on with it by {again}, or choose another folder.")


def _what(net: str | None, options: Mapping[str, Any]) -> dict[str, Any]:
    """What is trained: as the options say, or as the run that is gone on with says."""
    folder = options["resume"]
    if folder is None:
        if net is None:
            raise UsageError("Say what to train, as in `weightwalk train hello`; or --resume DIR to go on with a run.")
        data = None if options["data"] is None else str(Path(options["data"]).expanduser().absolute())
        columns = [c.strip() for c in (options["target_columns"] or "").split(",") if c.strip()]
        return {"net": net, "data": data, "loss": options["loss"], "settings": shape_of(options["settings"]),
                "target_columns": columns, "held_out": options["held_out"], "seed": options["seed"] or 0}  # fmt: skip
    given = [f"--{n.replace('_', '-')}" for n in ("data", "loss", "target_columns", "held_out", "run") if options[n]]
    given += ["--set"] if options["settings"] else []
    if net is not None or given:
        raise UsageError(
            f"--resume goes on with what the run trains; leave out {', '.join([*([net] if net else []), *given])}."
        )
    found = described(folder)
    if found is None:
        raise UsageError(
            f"{folder!r} holds no run: begin one with `weightwalk train NET --run {common.quoted(folder)}`."
        )
    what = found.get("note", {})
    if any(name not in what for name in WHAT):
        raise UsageError(
            f"The run in {folder!r} was begun from Python: go on with it by train(..., run=..., resume=True)."
        )
    return {name: what[name] for name in WHAT}


def _task(what: Mapping[str, Any]) -> tuple[Task, dict[str, Any]]:
    """The task, and what of ``--set`` is the optimizer's."""
    task = chosen_task(what["net"], what["data"], None, {}, target_columns=what["target_columns"])
    shape = {n: v for n, v in what["settings"].items() if n in task.shape}
    rest = {n: tuple(v) if isinstance(v, list) else v for n, v in what["settings"].items() if n not in task.shape}
    task = chosen_task(what["net"], what["data"], what["loss"], shape, target_columns=what["target_columns"])
    if what["held_out"] is not None:
        task = replace(task, data=split(task.data, what["held_out"], what["seed"]))
    return task, rest


def _refuse_without_run(options: Mapping[str, Any]) -> None:
    for name in ("every", "snapshots"):
        if options[name] is not None:
            raise UsageError(f"--{name} is about what a run's folder holds: give --run DIR with it.")


def _tell_interrupted(stopped: TrainingInterrupted, folder: str | None) -> None:
    history = stopped.history
    done = f"interrupted after epoch {history.epochs}, update {history.updates:,}"
    if folder is None:
        common.note(f"{done}; nothing is saved (--run DIR keeps checkpoints)")
    elif any(e.kind == "not saved" for e in history.events[-1:]):
        common.note(f"{done}; {history.events[-1].text}")
    else:
        common.note(f"{done}; go on with: weightwalk train --resume {common.quoted(str(folder))}")


@contextlib.contextmanager
def training_bar(name: str) -> Iterator[Callable[[int, int, float], None] | None]:
    """A bar on standard error with loss, rate and remaining time; nothing where that is no terminal."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("training {task.description}"), BarColumn(), TextColumn("{task.fields[at]}"))
    with Progress(*columns, TimeRemainingColumn(), console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(name, total=None, at="")  # nothing is known before the first update
        begun: list[tuple[float, int]] = []
        shown = [0.0]

        def tell(done: int, total: int, loss: float) -> None:
            now = time.monotonic()
            if not begun:
                begun.append((now, done))
            if now - shown[0] < 0.1 and done < total:
                return
            shown[0] = now
            passed = now - begun[0][0]
            rate = (done - begun[0][1]) / passed if passed > 0 else 0.0
            at = f"loss {loss:.3g}" + (f" {rate:,.0f} updates/s" if rate else "")
            bar.update(task, completed=done, total=total, at=at)

        yield tell


def save_weights(module: nn.Module, path: Path) -> None:
    """The state of a module as a safetensors file, written whole.

    Raises:
        UsageError: It cannot be written.
    """
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    tensors = {name: t.detach().cpu().clone().contiguous() for name, t in module.state_dict().items()}
    with common.whole(path) as beside:
        try:
            save_file(tensors, beside)
        except SafetensorError as error:
            raise OSError(str(error)) from error
