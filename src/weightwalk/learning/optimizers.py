"""Optimizers by name. What a gradient is, backpropagation says; what is done with it, these say."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import nn

from weightwalk.errors import UsageError

OPTIMIZERS: dict[str, tuple[type[torch.optim.Optimizer], dict[str, Any]]] = {
    "sgd": (torch.optim.SGD, {}),
    "momentum": (torch.optim.SGD, {"momentum": 0.9}),
    "nesterov": (torch.optim.SGD, {"momentum": 0.9, "nesterov": True}),
    "adam": (torch.optim.Adam, {}),
    "adamw": (torch.optim.AdamW, {}),
}
"""Name -> torch's class and the settings that make it what the name says; all else is torch's default."""


def optimizer_of(
    name: str, parameters: Iterable[nn.Parameter], lr: float, settings: Mapping[str, Any] | None = None
) -> torch.optim.Optimizer:
    """A fresh optimizer.

    Args:
        name: A name in `OPTIMIZERS`.
        parameters: What it moves.
        lr: Learning rate.
        settings: More of torch's keywords, such as ``{"momentum": 0.95}`` or ``{"betas": (0.9, 0.99)}``.

    Raises:
        UsageError: No optimizer has that name, or it does not take such a setting.
    """
    if name not in OPTIMIZERS:
        raise UsageError(f"There is no optimizer {name!r}; there are {', '.join(sorted(OPTIMIZERS))}.")
    make, defaults = OPTIMIZERS[name]
    try:
        return make(parameters, **{"lr": lr, **defaults, **(settings or {})})
    except (TypeError, ValueError) as error:
        raise UsageError(f"The optimizer {name} does not take {dict(settings or {})}: {error}.") from error
