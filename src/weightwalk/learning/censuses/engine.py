"""From the batched trainings of a cell to what the census judges."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch

from weightwalk.learning.censuses.batch import train_many
from weightwalk.learning.censuses.trained import Trained
from weightwalk.learning.tasks import Task


def trained_cell(
    task: Task,
    seeds: Sequence[int],
    recipe: Mapping[str, Any],
    *,
    curve: bool = False,
    memory: int | None = None,
    engine: str = "local",
    progress: Callable[[int, int], None] | None = None,
) -> Trained:
    """Train every seed under one recipe.

    Args:
        task: The net and its data.
        seeds: The seeds.
        recipe: loss, optimizer, lr, epochs, batch, shuffle, and the optimizer's own settings under ``"settings"``.
        curve: Keep the loss of every epoch.
        memory: Bytes that it may take.
        engine: ``"local"`` or ``"ray"``.
        progress: Told how far it is.
    """
    batch = train_many(
        task, seeds, **recipe, memory=memory, engine=engine, record={"losses": 1} if curve else None, progress=progress
    )
    assert batch.outputs is not None
    return Trained(
        seeds=np.asarray(batch.seeds),
        first=batch.first_losses,
        final=batch.final_losses,
        outputs=batch.outputs,
        weights={n: torch.from_numpy(np.ascontiguousarray(w)) for n, w in batch.weights.items()},
        dead_start=batch.dead_at_start,
        dead_end=batch.dead_at_end,
        layers_start=_layers(batch.dead_units_at_start, len(seeds)),
        layers_end=_layers(batch.dead_units_at_end, len(seeds)),
        nonfinite=batch.nonfinite_at,
        gradient=batch.gradient_norms,
        curve=batch.losses if curve else None,
        seconds=batch.seconds,
    )


def _layers(masks: Mapping[str, np.ndarray], seeds: int) -> np.ndarray:
    """Layers without a living unit."""
    count = np.zeros(seeds, int)
    for mask in masks.values():
        count += mask.reshape(seeds, -1).all(axis=1)
    return count
