"""Holding examples out of a training, so that it can be judged on what it has never seen."""

from __future__ import annotations

import math
from dataclasses import replace

import torch

from weightwalk.errors import UsageError
from weightwalk.learning.sampling import orders
from weightwalk.learning.tasks import Data

APART = 2**62
"""An epoch that no training comes to: the order of its rows decides which are held out."""


def split(data: Data, share: float, seed: int = 0) -> Data:
    """The same examples with a share of them held out; each part in the order that it had.

    Args:
        data: The examples; what it holds out already is let go.
        share: Above 0 and below 1; rounded up to whole rows.
        seed: Decides which.

    Raises:
        UsageError: A share that leaves nothing on one side.

    Example:
        >>> data = Data(torch.arange(10), torch.arange(10))
        >>> split(data, 0.2).held_inputs, split(data, 0.2, seed=1).held_inputs
        (tensor([7, 8]), tensor([0, 2]))
    """
    rows = len(data.inputs)
    out = math.ceil(share * rows) if 0 < share < 1 else 0
    if not 0 < out < rows:
        raise UsageError(
            f"The share to hold out is above 0 and below 1, and leaves rows on both sides; got {share} of {rows} rows."
        )
    order = torch.from_numpy(orders([seed], APART, rows)[0])
    held, kept = order[:out].sort().values, order[out:].sort().values
    names = tuple(data.rows[i] for i in kept.tolist()) if data.rows else ()
    return replace(
        data,
        inputs=data.inputs[kept],
        targets=data.targets[kept],
        held_inputs=data.inputs[held],
        held_targets=data.targets[held],
        rows=names,
    )
