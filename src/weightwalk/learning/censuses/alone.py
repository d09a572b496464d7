"""One seed of a census trained alone, by `train` as everything else is, and held against the census."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import nn

from weightwalk.errors import UsageError
from weightwalk.learning.censuses.facts import Cell, Census
from weightwalk.learning.censuses.measures import kind_of
from weightwalk.learning.censuses.settings import applied
from weightwalk.learning.censuses.trained import array
from weightwalk.learning.losses import tensor_of
from weightwalk.learning.tasks import Task
from weightwalk.learning.train import train


@dataclass(frozen=True)
class Alone:
    """A seed by itself.

    Attributes:
        seed: Which.
        outcome: What the census called it.
        settings: How it was trained.
        first: Loss before training.
        final: Loss after it.
        counted: The same as the census has it.
        apart: Greatest difference between an answer alone and in the census; None where the census kept no answers.
        right: Rows answered right; None for numbers.
        rows: Rows in all.
        wrong: Numbers of the rows answered wrong.
        answers: For rows with names: what is said to each.
    """

    seed: int
    outcome: str
    settings: Mapping[str, Any]
    first: float
    final: float
    counted: float
    apart: float | None
    right: int | None
    rows: int
    wrong: tuple[int, ...]
    answers: Mapping[str, str]
    module: nn.Module = field(repr=False, compare=False)
    task: Task = field(repr=False, compare=False)


def alone(census: Census, cell: Cell, seed: int) -> Alone:
    """Train a seed of a cell again, alone.

    Raises:
        UsageError: The census has no such seed, or its training does not stay finite.
    """
    places = np.flatnonzero(cell.seeds == seed)
    if not len(places):
        raise UsageError(f"The census has no seed {seed}; its seeds go from {census.first_seed} to {census.last_seed}.")
    at = int(places[0])
    task, recipe = applied(census.source, cell.settings)
    own = recipe.pop("settings")
    history = train(task, seed=seed, **recipe, **({"settings": own} if own else {}))
    module = history.module
    assert module is not None
    with torch.no_grad():
        out = array(tensor_of(module(task.data.inputs)))
    apart = None if cell.outputs is None else float(np.abs(out - cell.outputs[at]).max())
    right, wrong, answers = None, (), {}
    kind = kind_of(task, recipe["loss"])
    if kind != "numbers":
        says = out > 0 if kind == "bits" else out.argmax(axis=-1)
        aim = array(task.data.targets) > 0.5 if kind == "bits" else array(task.data.targets)
        hits = (says == aim).reshape(len(aim), -1).all(axis=1)
        right, wrong = int(hits.sum()), tuple(int(k) for k in np.flatnonzero(~hits))
        if task.data.rows and says.size == len(aim):
            names = task.data.classes or ("0", "1")
            said = [names[int(k)] for k in says.reshape(-1)]
            answers = {row.partition("→")[0]: each for row, each in zip(task.data.rows, said, strict=True)}
    first = history.losses[0] if history.losses else history.final
    return Alone(
        seed, list(cell.outcomes)[int(cell.outcome[at])], {**recipe, **own, **dict(task.shape)}, first, history.final,
        float(cell.measures["loss"][at]), apart, right, len(task.data.inputs), wrong, answers, module, task,
    )  # fmt: skip
