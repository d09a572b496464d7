"""``weightwalk diagnose``: why a training is where it is."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from weightwalk.cli import common, outputs
from weightwalk.cli.tasks import OPTIMIZERS, chosen_task, shape_of, task_options
from weightwalk.errors import UsageError

if TYPE_CHECKING:
    from weightwalk.learning.diagnoses.facts import Diagnosis
    from weightwalk.learning.tasks import Task

EPILOG = """\b
Examples:
  weightwalk diagnose hello6 --seed 2              a net whose second layer is dead from the start
  weightwalk diagnose hello6 --seed 0 --settle     go on downhill to the end, and judge the point that is reached
  weightwalk diagnose sqrt --set width=2 --seed 9  a local minimum: stated only because nothing refuted it
  weightwalk diagnose hello6 --seed 1              nothing is wrong
  weightwalk diagnose xor --seed 3 --figure xor.png
  weightwalk diagnose RUN                          a folder made by `weightwalk train NET --run RUN`
  weightwalk diagnose mynets:trained --data table.csv      a net of your own, as it is

\b
A conclusion is printed with the measurements that carry it and with what would refute it. "Stuck in a local
minimum" needs four: a gradient of zero, no negative eigenvalue of the Hessian, every zero eigenvalue accounted for,
and other seeds that end lower. A net of your own is not trained here, unless --epochs says so.

\b
Exit codes: 0 done, whatever was found; 2 the request cannot be served; 130 interrupted."""


@click.command("diagnose", epilog=EPILOG)
@click.argument("net", metavar="NET|RUN")
@task_options
@click.option("--target-columns", metavar="A,B", help="Columns of a .csv that are targets; the last unless said.")
@click.option("--optimizer", type=click.Choice(OPTIMIZERS), metavar="NAME", help=f"{', '.join(OPTIMIZERS)}.")
@click.option("--lr", type=float, metavar="X", help="Learning rate; the task's own unless said.")
@click.option("--epochs", type=click.IntRange(0), metavar="N", help="Passes over the data; the task's own unless said.")
@click.option("--batch", type=click.IntRange(1), metavar="N", help="Examples per update.")
@click.option("--seed", type=int, default=0, show_default=True, metavar="N", help="Of the training, and all else.")
@click.option(
    "--seeds",
    type=click.IntRange(0, 10_000),
    metavar="N",
    help="Train so many other seeds too, to know what can be reached: 20, or fewer where each takes long; 0 for none.",
)
@click.option("--settle", is_flag=True, help="Go on downhill until the gradient is zero, and judge that point too.")
@click.option("--seconds", type=float, default=10.0, metavar="S", help="For the eigenvalues of a large net; 10.")
@click.option("--top", type=click.IntRange(1), default=12, show_default=True, metavar="N", help="Rows of a long table.")
@click.option("--figure", metavar="FILE", help="Draw it: .svg, .png or .pdf.")
@click.option("--frame", metavar="FILE.csv", help="Write a table of all units.")
@common.json_option
def command(net: str, **options: Any) -> int:
    """Find out why the training of NET is where it is, by measuring.

    Which units are dead on all training inputs, and since when; the gradient of every layer; what the loss curve does;
    and what the Hessian says of the point where it stopped: minimum, saddle, flat, or no critical point at all.
    """
    paths = outputs.targets(options)
    common.needs_torch("to diagnose a net")
    with _telling() as progress:
        facts = _diagnosis(net, options, progress)
    if options["as_json"]:
        common.emit(facts)
    else:
        from weightwalk.show.terminal import console, lines, put

        out = console()
        put(lines(facts, out.width, top=options["top"]), out)
    _write(facts, paths)
    return 0


def _diagnosis(net: str, options: dict[str, Any], progress: Any) -> Diagnosis:
    from weightwalk.learning.diagnoses.diagnose import diagnose

    common_options = {name: options[name] for name in ("seed", "settle", "seconds")}
    recipe = {name: options[name] for name in ("optimizer", "lr", "epochs", "batch")}
    columns = [c.strip() for c in (options["target_columns"] or "").split(",") if c.strip()]
    if Path(net).is_dir() and (Path(net) / "run.json").is_file():
        return _of_run(net, options, common_options, recipe, progress)
    task = chosen_task(net, options["data"], options["loss"], shape_of(options["settings"]), target_columns=columns)
    from weightwalk.nets.tasks import TASKS

    own = options["data"] is not None and net not in TASKS
    if own and recipe["epochs"] is None:
        ours = [name for name in ("optimizer", "lr", "batch") if recipe[name] is not None]
        if ours:
            raise UsageError(f"{net!r} is diagnosed as it is; to train it first, give --epochs with --{ours[0]}.")
        module, data = task.module(options["seed"]), task.data
        return diagnose(
            module, data.inputs, data.targets, loss=task.loss, names=data.rows, progress=progress, **common_options
        )  # fmt: skip
    seeds = _seeds(task, options)
    return diagnose(task, progress=progress, seeds=seeds, **common_options, **recipe)


def _seeds(task: Task, options: dict[str, Any]) -> int:
    """How many other seeds: 20, or fewer where that would take longer than about ten seconds."""
    if options["seeds"] is not None:
        return options["seeds"]
    epochs = task.epochs if options["epochs"] is None else options["epochs"]
    weights = sum(p.numel() for p in task.module(0).parameters())
    return min(20, int(2e9 / max(epochs * len(task.data.inputs) * weights, 1)) + 1) if task.remade else 0


def _of_run(
    net: str, options: dict[str, Any], common_options: dict[str, Any], recipe: dict[str, Any], progress: Any
) -> Diagnosis:
    """A run that the command line began says itself what it trains; one begun from Python needs NET's module there."""
    from weightwalk.learning.diagnoses.diagnose import diagnose
    from weightwalk.learning.diagnoses.runs import read_run

    given = [f"--{n}" for n in ("data", "loss", "target-columns") if options[n.replace("-", "_")]]
    given += ["--set"] if options["settings"] else []
    given += [f"--{name}" for name, value in recipe.items() if value is not None]
    if given:
        raise UsageError(f"The run in {net!r} says itself what it trains and how: leave out {', '.join(given)}.")
    note = read_run(net).note
    if "net" not in note:
        raise UsageError(
            f"The run in {net!r} was begun from Python: diagnose it there, weightwalk.diagnose(module, x, y, "
            f"run={net!r})."
        )
    columns = note.get("target_columns") or []
    bare = chosen_task(note["net"], note["data"], None, {}, target_columns=columns)
    shape = {n: v for n, v in note["settings"].items() if n in bare.shape}
    task = chosen_task(note["net"], note["data"], note["loss"], shape, target_columns=columns)
    if note.get("held_out") is not None:
        from dataclasses import replace

        from weightwalk.learning.splits import split

        task = replace(task, data=split(task.data, note["held_out"], note["seed"]))
    return diagnose(task, run=net, progress=progress, seeds=_seeds(task, options), **common_options)


def _write(facts: Diagnosis, paths: dict[str, Path]) -> None:
    if "frame" in paths:
        outputs.write_table(paths["frame"], facts.frame())
    if "figure" in paths:
        from weightwalk.show.diagnosis_figures import draw

        outputs.write_figure(paths["figure"], draw, facts)


class _telling:
    """A bar on standard error whose words change with the work; nothing where that is no terminal."""

    def __enter__(self) -> Callable[[str, int, int], None] | None:
        import sys

        if not sys.stderr.isatty():
            self._bar = None
            return None
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        parts = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        bar = self._bar = Progress(*parts, console=Console(stderr=True), transient=True)
        bar.start()
        works: dict[str, Any] = {}

        def tell(what: str, done: int, of: int) -> None:
            if what not in works:
                works[what] = bar.add_task(what, total=of)
            bar.update(works[what], completed=done, total=of)

        return tell

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.stop()
