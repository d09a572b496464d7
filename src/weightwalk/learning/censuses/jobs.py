"""What is to be trained and how: all that decides the outcome of a census apart from the seeds."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import nn

from weightwalk.errors import UsageError
from weightwalk.learning.censuses.chains import Chain
from weightwalk.learning.censuses.starting import Starts
from weightwalk.learning.losses import Loss, loss_of
from weightwalk.learning.tasks import Data, Task

Tick = Callable[[int], bool]
"""Called with the number of seeds after each epoch of a block; returns whether to go on."""

Arrays = dict[str, np.ndarray]
"""Results of a block of seeds by name, seeds first."""


class Stopped(Exception):
    """A block that was told to stop between two steps."""


@dataclass(frozen=True, slots=True)
class Record:
    """What to keep besides the outcome.

    Attributes:
        losses: Keep the loss of every so many epochs; 0 for none.
        start: Keep the initial weights.
        end: Keep the final weights.
        outputs: Keep what the trained nets say on the training inputs.
        held_outputs: And on the held-out inputs.
    """

    losses: int = 0
    start: bool = False
    end: bool = True
    outputs: bool = True
    held_outputs: bool = False

    @staticmethod
    def of(wanted: Mapping[str, Any] | Iterable[str] | Record | None) -> Record:
        """From names, or names with values: ``("start",)``, ``{"losses": 10}``.

        Raises:
            UsageError: Nothing of that name can be kept.
        """
        if isinstance(wanted, Record):
            return wanted
        if isinstance(wanted, str):
            wanted = (wanted,)
        given = dict(wanted) if isinstance(wanted, Mapping) else dict.fromkeys(wanted or (), 1)
        unknown = [str(name) for name in given if name not in Record.__dataclass_fields__]
        if unknown:
            raise UsageError(
                f"A census cannot record {', '.join(unknown)}; it can record {', '.join(Record.__dataclass_fields__)}."
            )
        every = int(given.pop("losses", 0))
        if every < 0:
            raise UsageError(f"losses are recorded every so many epochs, 1 or more; got {every}.")
        return Record(losses=every, **{name: bool(value) for name, value in given.items()})


@dataclass(frozen=True, slots=True)
class Recipe:
    """How each net is trained; `weightwalk.learning.train.train` says what each word means."""

    loss: str | Loss
    optimizer: str
    lr: float
    epochs: int
    batch: int | None
    shuffle: bool
    settings: Mapping[str, Any] = field(default_factory=dict)

    def visits(self, rows: int) -> int:
        """Rows per step."""
        return rows if self.batch is None else min(self.batch, rows)


@dataclass(frozen=True, slots=True)
class Job:
    """A census but for its seeds."""

    task: Task
    data: Data
    recipe: Recipe
    record: Record
    dtype: torch.dtype | None
    chain: Chain | None = None
    starts: Starts | None = None

    def module(self, seed: int) -> nn.Module:
        """The untrained net of that seed, in the numbers that the census computes with."""
        module = self.task.module(seed)
        return module if self.dtype is None else module.to(self.dtype)

    def criterion(self) -> Loss:
        """The loss as a function."""
        return loss_of(self.recipe.loss)


class Results:
    """The results of all seeds, into which those of a block are written as it comes, in whatever order."""

    def __init__(self, blocks: Sequence[Sequence[int]]) -> None:
        ends = np.cumsum([len(block) for block in blocks])
        self._places = [slice(int(end) - len(block), int(end)) for end, block in zip(ends, blocks, strict=True)]
        self._count = int(ends[-1])
        self.found: Arrays = {}

    def keep(self, block: int, arrays: Arrays) -> None:
        """Write those of one block."""
        for name, array in arrays.items():
            if name not in self.found:
                self.found[name] = np.empty((self._count, *array.shape[1:]), array.dtype)
            self.found[name][self._places[block]] = array
