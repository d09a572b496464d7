"""What the experiments of ``weightwalk fit`` share: their options, and how facts are printed, drawn and written."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from weightwalk.cli import common, outputs
from weightwalk.errors import UsageError

Command = Callable[..., Any]


def shared(seeds: int, what: str = "Nets of each kind") -> Callable[[Command], Command]:
    """The options of every experiment; `seeds` is how many nets of each kind there are unless said."""
    options = (
        click.option("--seeds", type=click.IntRange(1, 1000), metavar="N", default=seeds, show_default=True,
                     help=f"{what}, each with a seed of its own."),
        click.option("--seed", type=click.IntRange(0), metavar="N", default=0, show_default=True,
                     help="The first of these seeds."),
        common.json_option,
        click.option("--frame", metavar="FILE", help="Write the table as comma-separated values: .csv."),
        click.option("--figure", metavar="FILE", help="Draw it: .svg, .png or .pdf."),
    )  # fmt: skip

    def decorate(command: Command) -> Command:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


def seeds_of(options: dict[str, Any]) -> range:
    """The seeds that were asked for."""
    return range(options["seed"], options["seed"] + options["seeds"])


def ready(options: dict[str, Any]) -> None:
    """Refuse what could not be written or computed before any time is spent.

    Raises:
        UsageError: A package or a folder that is not there.
    """
    common.needs_torch("to train nets")
    from importlib.util import find_spec

    if find_spec("scipy") is None:
        raise UsageError('The intervals need SciPy, which is not installed: pip install "weightwalk[learning]".')
    outputs.targets(options)


def deliver(facts: Any, options: dict[str, Any]) -> int:
    """Print the facts, then write what was asked for; the exit code."""
    if options["as_json"]:
        common.emit(facts)
    else:
        from weightwalk.show.terminal import show

        show(facts)
    if options["frame"] is not None:
        outputs.write_table(Path(options["frame"]), facts.frame())
    if options["figure"] is not None:
        from weightwalk.show.fitting_figures import fitting_figure

        outputs.write_figure(Path(options["figure"]), fitting_figure, facts)
    return 0


@contextmanager
def running(what: str) -> Iterator[Callable[[int, int], None] | None]:
    """A bar that counts percents: one experiment is many trainings, whose updates say nothing to a reader."""
    with common.counting(what) as tell:
        yield None if tell is None else lambda done, total: tell(round(100 * done / max(total, 1)), 100)


def xy_file(path: str) -> Any:
    """Points (N, 2) from a file of two columns, or an .npz with x and y.

    Raises:
        UsageError: There is no such file, or it holds something else.
    """
    import numpy as np

    from weightwalk.cli.formula_options import data

    found = data(path, 1, 1)
    if found.y is None:
        raise UsageError(f"--data {path!r} has x only; it needs two columns, x and y.")
    return np.column_stack([found.x, found.y])
