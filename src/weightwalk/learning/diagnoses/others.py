"""What the same training reaches from other seeds: all at once where the net can be batched, else one by one."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import torch

from weightwalk.errors import UsageError
from weightwalk.learning.diagnoses.facts import Others
from weightwalk.learning.diagnoses.observing import dead_now, observe
from weightwalk.learning.diagnoses.scores import right_of
from weightwalk.learning.tasks import Task
from weightwalk.learning.train import train

Progress = Callable[[int, int], None]


def others_of(task: Task, seed: int, seeds: int, recipe: Mapping[str, Any], progress: Progress | None = None) -> Others:
    """Train from the first `seeds` seeds that are not `seed`."""
    tried = tuple(s for s in range(seeds + 1) if s != seed)[:seeds]
    try:
        return _together(task, tried, recipe, progress)
    except UsageError:  # a net that cannot be batched
        return _one_by_one(task, tried, recipe, progress)


def _together(task: Task, tried: tuple[int, ...], recipe: Mapping[str, Any], progress: Progress | None) -> Others:
    from weightwalk.learning.censuses.batch import train_many

    def told(done: int, of: int) -> None:
        if progress is not None:
            progress(done * len(tried) // max(of, 1), len(tried))

    made = train_many(task, tried, progress=told, **recipe)
    y, loss = task.data.targets, task.loss
    finals = [float(v) if bad < 0 else math.inf for v, bad in zip(made.final_losses, made.nonfinite_at, strict=True)]
    right: list[int | None] = [None]
    if made.outputs is not None:
        right = [right_of(torch.from_numpy(o), y, loss) for o in made.outputs]
    return Others(
        tried,
        tuple(finals),
        tuple(int(n) for n in made.dead_at_start),
        tuple(int(n) for n in made.dead_at_end),
        tuple(r for r in right if r is not None),
    )


def _one_by_one(task: Task, tried: tuple[int, ...], recipe: Mapping[str, Any], progress: Progress | None) -> Others:
    x, y = task.data.inputs, task.data.targets
    losses, start, end, right = [], [], [], []
    for done, other in enumerate(tried, start=1):
        start.append(len(dead_now(task.module(other), x)))
        try:
            found = train(task, seed=other, **recipe)
        except UsageError:  # not finite: an outcome, and no reason to stop
            losses.append(math.inf)
            end.append(start[-1])
            right.append(0)
            continue
        assert found.module is not None
        losses.append(found.final)
        end.append(len(dead_now(found.module, x)))
        right.append(right_of(observe(found.module, x, y, task.loss).outputs, y, task.loss))
        if progress is not None:
            progress(done, len(tried))
    return Others(tried, tuple(losses), tuple(start), tuple(end), tuple(right) if None not in right else ())
