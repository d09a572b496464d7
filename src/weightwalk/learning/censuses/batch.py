"""Thousands of trainings of one net at once, each as it would have been alone.

One batched net holds the weights of all seeds, and one step trains them all. Seed ``k`` starts with the same bits as
``train(task, seed=k)``, sees the same rows in the same order and is moved by the same optimizer; only the order of
additions within a step differs, so the two agree to rounding (which a chaotic training amplifies like any other
disturbance; in float64 the difference stays small for longer).
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import nn

from weightwalk.errors import UsageError
from weightwalk.learning.censuses.jobs import Arrays, Job, Recipe, Record, Results
from weightwalk.learning.censuses.local import Progress, cores, run_here
from weightwalk.learning.censuses.preparing import job_of
from weightwalk.learning.censuses.splitting import planned
from weightwalk.learning.losses import Loss
from weightwalk.learning.tasks import Task, task_of

MEMORY = 1 << 30
"""Bytes that a census may take unless one says otherwise."""


@dataclass(frozen=True, eq=False)
class Batch:
    """What became of each seed.

    Attributes:
        task: What was learned.
        seeds: Shape (S,); row ``i`` of everything else belongs to ``seeds[i]``.
        first_losses: Loss of the untrained net over all the training data, (S,).
        final_losses: Loss over all the training data after the last update, (S,).
        held_losses: The same on the held-out data; None without any.
        gradient_norms: Euclidean length of the gradient of the final loss, (S,).
        nonfinite_at: Epoch in which the loss was no finite number, after which the seed was trained no further (its
            weights are those that gave that loss); -1 where it never happened, (S,).
        outputs: What the trained nets say on the training inputs, (S, N, ...); None if not recorded.
        held_outputs: And on the held-out inputs, if recorded.
        weights: Final weights, name -> (S, ...); empty if not recorded.
        start_weights: Initial weights, if recorded.
        dead_units_at_start: ReLU layer -> (S, units), True for a unit that is 0 on every training input.
        dead_units_at_end: The same after training.
        losses: Loss met in epochs 0, k, 2k, ... if recorded, (S, ...), as in ``History.losses``.
        losses_every: That k; 0 if not recorded.
        settings: The recipe: loss, optimizer, lr, epochs, batch, shuffle and the optimizer's own settings.
        how: ``chain`` where the arithmetic was written out by hand, ``stacked`` where `torch.func` did it.
        seconds: What it took.
    """

    task: Task = field(repr=False)
    seeds: np.ndarray
    first_losses: np.ndarray
    final_losses: np.ndarray
    held_losses: np.ndarray | None
    gradient_norms: np.ndarray
    nonfinite_at: np.ndarray
    outputs: np.ndarray | None = field(repr=False)
    held_outputs: np.ndarray | None = field(repr=False)
    weights: Mapping[str, np.ndarray] = field(repr=False)
    start_weights: Mapping[str, np.ndarray] = field(repr=False)
    dead_units_at_start: Mapping[str, np.ndarray] = field(repr=False)
    dead_units_at_end: Mapping[str, np.ndarray] = field(repr=False)
    losses: np.ndarray | None = field(repr=False)
    losses_every: int
    settings: Mapping[str, Any]
    how: str
    seconds: float
    dtype: torch.dtype | None = field(default=None, repr=False)

    def __len__(self) -> int:
        return len(self.seeds)

    @property
    def dead_at_start(self) -> np.ndarray:
        """ReLU units that were off on all training inputs before training, (S,)."""
        return _counted(self.dead_units_at_start, len(self))

    @property
    def dead_at_end(self) -> np.ndarray:
        """ReLU units that were off on all training inputs after training, (S,)."""
        return _counted(self.dead_units_at_end, len(self))

    def module(self, seed: int) -> nn.Module:
        """The trained net of that seed.

        Raises:
            UsageError: The seed was not trained, or the weights were not recorded.
        """
        rows = np.flatnonzero(self.seeds == seed)
        if not len(rows):
            raise UsageError(f"Seed {seed} is not among the {len(self):,} seeds of this census.")
        if not self.weights:
            raise UsageError(
                f"The weights were not recorded; train seed {seed} alone: weightwalk.train(task, seed={seed})."
            )
        module = self.task.module(seed)
        if self.dtype is not None:
            module = module.to(self.dtype)
        with torch.no_grad():
            for name, p in module.named_parameters():
                if name in self.weights:
                    p.copy_(torch.from_numpy(self.weights[name][rows[0]].copy()))
        return module


def train_many(
    task: Task | str,
    seeds: Sequence[int] | Iterable[int],
    *,
    loss: str | Loss | None = None,
    optimizer: str | None = None,
    lr: float | None = None,
    epochs: int | None = None,
    batch: int | None = None,
    shuffle: bool | None = None,
    settings: Mapping[str, Any] | None = None,
    dtype: torch.dtype | None = None,
    memory: int | None = None,
    threads: int | None = None,
    engine: str = "local",
    record: Mapping[str, Any] | Iterable[str] | Record | None = None,
    progress: Progress | None = None,
) -> Batch:
    """Train the net of `task` once for each seed, all at once.

    Args:
        task: What is learned, or the name of a task.
        seeds: One training each; a seed decides the initial weights and the order of rows.
        loss: As for `weightwalk.learning.train.train`; None for what the task says, here and below.
        optimizer: Name of the optimizer.
        lr: Learning rate.
        epochs: Passes over the data.
        batch: Rows per update.
        shuffle: Visit the rows in a new order each epoch; None for: where there are mini-batches.
        settings: More of torch's keywords for the optimizer.
        dtype: Compute in ``torch.float64`` (or float32), whatever the net is made of.
        memory: Bytes that results and trainings under way may take together, 1 GiB unless one says otherwise. Final
            weights that do not fit are left out (unless `record` asks for ``end``); the results do not depend on it.
        threads: Blocks of seeds that are trained at a time; None for one per core.
        engine: ``local``, or ``ray`` for a cluster (extra ``weightwalk[cluster]``), with the same results.
        record: What to keep, see `Record`: ``("start", "held_outputs")`` or ``{"losses": 10, "outputs": False}``.
        progress: Called with (epochs done, epochs in all), summed over seeds.

    Raises:
        UsageError: A setting that makes no sense, or a net that cannot be trained in a batch as it would be alone.

    Example:
        >>> trained = train_many("hello6", range(100), epochs=501)
        >>> int((trained.outputs.argmax(axis=2) == trained.task.data.targets.numpy()).all(axis=1).sum())
        21
    """
    started = time.perf_counter()
    task = task_of(task)
    numbers = _seeds(seeds)
    visits = task.batch if batch is None else batch
    recipe = Recipe(
        loss or task.loss,
        optimizer or task.optimizer,
        task.lr if lr is None else lr,
        task.epochs if epochs is None else epochs,
        visits,
        bool(visits is not None and visits < len(task.data.inputs)) if shuffle is None else shuffle,
        dict(settings or {}),
    )
    workers = cores() if threads is None else threads
    budget = MEMORY if memory is None else memory
    if workers < 1 or budget < 1 or engine not in {"local", "ray"}:
        raise UsageError(
            f"A census needs threads of 1 or more, memory of 1 byte or more and the engine local or ray; "
            f"got threads={workers}, memory={budget}, engine={engine!r}."
        )
    job = job_of(task, recipe, Record.of(record), dtype, numbers)
    plan = planned(job, numbers, budget, workers, weights=isinstance(record, Mapping) and bool(record.get("end")))
    results = Results(plan.blocks)
    if engine == "ray":
        from weightwalk.learning.censuses.cluster import run_on_ray

        run_on_ray(plan.job, plan.blocks, plan.workers, results.keep, progress)
    else:
        run_here(plan.job, plan.blocks, plan.workers, results.keep, progress)
    return _batch(plan.job, numbers, results.found, time.perf_counter() - started)


def _batch(job: Job, seeds: list[int], found: Arrays, seconds: float) -> Batch:
    recipe = job.recipe
    loss = recipe.loss if isinstance(recipe.loss, str) else getattr(recipe.loss, "__name__", repr(recipe.loss))
    under = lambda prefix: {n.removeprefix(prefix): v for n, v in found.items() if n.startswith(prefix)}  # noqa: E731
    return Batch(
        task=job.task,
        seeds=np.array(seeds, dtype=np.int64),
        first_losses=found["first_losses"],
        final_losses=found["final_losses"],
        held_losses=found.get("held_losses"),
        gradient_norms=found["gradient_norms"],
        nonfinite_at=found["nonfinite_at"],
        outputs=found.get("outputs"),
        held_outputs=found.get("held_outputs"),
        weights=under("end/"),
        start_weights=under("start/"),
        dead_units_at_start=under("dead_at_start/"),
        dead_units_at_end=under("dead_at_end/"),
        losses=found.get("losses"),
        losses_every=job.record.losses,
        settings={
            "loss": loss,
            "optimizer": recipe.optimizer,
            "lr": recipe.lr,
            "epochs": recipe.epochs,
            "batch": recipe.batch,
            "shuffle": recipe.shuffle,
            **recipe.settings,
        },
        how="chain" if job.chain is not None else "stacked",
        seconds=seconds,
        dtype=job.dtype,
    )


def _seeds(seeds: Iterable[int]) -> list[int]:
    numbers = [int(seed) for seed in seeds]
    if not numbers:
        raise UsageError("A census needs at least one seed.")
    if any(not -(2**63) <= seed < 2**63 for seed in numbers):
        raise UsageError("A seed is an integer of 64 bits, from -2**63 to 2**63 - 1.")
    return numbers


def _counted(masks: Mapping[str, np.ndarray], count: int) -> np.ndarray:
    total = np.zeros(count, dtype=np.int64)
    for mask in masks.values():
        total += mask.reshape(count, -1).sum(axis=1)
    return total
