"""Seeds: a block that draws its own random numbers and leaves the caller's where they were."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from weightwalk.errors import UsageError

_GENERATOR = threading.RLock()


def check_seed(seed: int) -> None:
    """Refuse a seed that torch does not take.

    Raises:
        UsageError: It is no whole number of at most 64 bits.
    """
    if not isinstance(seed, int) or not -(2**63) <= seed < 2**64:
        raise UsageError(f"The seed must be a whole number of at most 64 bits; got {seed}.")


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Run the block with torch's CPU generator seeded; afterwards the generator is where it was.

    Only the default CPU generator is touched: `torch.manual_seed` would also reset those of accelerators. All threads
    share it, so one such block waits for another thread's to end.

    Raises:
        UsageError: The seed is no whole number of at most 64 bits.
    """
    check_seed(seed)
    with _GENERATOR:
        generator = torch.default_generator
        state = generator.get_state()
        generator.manual_seed(seed)
        try:
            yield
        finally:
            generator.set_state(state)
