"""What is learned, as the commands on training let it be named: a task, or a net with data."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from weightwalk.cli.common import needs_torch
from weightwalk.errors import UsageError

if TYPE_CHECKING:
    from weightwalk.learning.tasks import Task

LOSSES = ("mse", "mae", "cross_entropy", "bce")
OPTIMIZERS = ("sgd", "momentum", "nesterov", "adam", "adamw")


def task_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add ``--data``, ``--loss`` and ``--set``, as the parameters ``data``, ``loss`` and ``settings``."""
    options = (
        click.option(
            "--data", metavar="FILE", help="What to learn: .npz (x, y), .csv (last column the target), .safetensors."
        ),
        click.option("--loss", type=click.Choice(LOSSES), metavar="LOSS", help=f"{', '.join(LOSSES)}."),
        click.option(
            "--set",
            "settings",
            metavar="NAME=VALUE",
            multiple=True,
            help="Shape of the task, such as width=4, depth=2, activation=tanh; again for more.",
        ),
    )
    for option in reversed(options):
        command = option(command)
    return command


def chosen_task(
    net: str,
    data: str | Path | None = None,
    loss: str | None = None,
    settings: Sequence[str] | Mapping[str, Any] = (),
    *,
    target_columns: Sequence[str] = (),
) -> Task:
    """The task that these options name.

    Args:
        net: A task (linear, sqrt, hello, hello6, xor, nearest, regions), or with `data` any net that `load_net` knows.
        data: A file of examples.
        loss: Another loss than the task's.
        settings: ``NAME=VALUE`` each, or a mapping.
        target_columns: Columns of a ``.csv`` that are targets; the last where none is named.

    Raises:
        UsageError: No such task or net, or data that do not fit it.
    """
    needs_torch("to train a net")
    from weightwalk.nets.data import read_data
    from weightwalk.nets.users import user_task

    if target_columns and data is None:
        raise UsageError("--target-columns names columns of a .csv: give it with --data.")
    examples = None if data is None else read_data(data, target_columns=target_columns)
    return user_task(net, examples, loss, shape_of(settings))


def shape_of(settings: Sequence[str] | Mapping[str, Any], option: str = "--set") -> dict[str, Any]:
    """``width=4 activation=tanh`` as a mapping; whole numbers, then numbers, then words.

    >>> shape_of(("width=4", "momentum=0.95", "activation=tanh", "amsgrad=true"))
    {'width': 4, 'momentum': 0.95, 'activation': 'tanh', 'amsgrad': True}
    """
    if isinstance(settings, Mapping):
        return dict(settings)
    shape: dict[str, Any] = {}
    for text in settings:
        name, equals, value = (part.strip() for part in text.partition("="))
        if not (name and equals and value):
            raise UsageError(f"{option} {text!r} is not NAME=VALUE, such as width=4.")
        shape[name] = value_of(value)
    return shape


def value_of(text: str) -> Any:
    """A number or a truth value where the text is one; numbers with commas are a tuple; else the text."""
    if "," in text:
        return tuple(value_of(part.strip()) for part in text.split(","))
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text
