"""Looking at someone's net without leaving a trace: modes and random state as they were found."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

from weightwalk.learning.seeds import seeded

SMALL = 200_000
"""Up to so many parameters a net is evaluated on one thread: more threads make small products slower."""


@contextmanager
def judging(module: nn.Module) -> Iterator[None]:
    """The module in eval mode, outside of autograd, with random layers drawing from seed 0; restored afterwards.

    ``no_grad`` and not ``inference_mode``: a module that keeps a tensor of its forward pass for later must find one
    that it can train with.
    """
    modes = [(m, m.training) for m in module.modules()]
    try:
        for m, _ in modes:
            m.training = False
        with seeded(0), torch.inference_mode(False), torch.no_grad():
            yield
    finally:
        for m, mode in modes:
            m.training = mode


def again() -> None:
    """Within `judging`: a net that draws random numbers will draw the same ones as before."""
    torch.default_generator.manual_seed(0)
