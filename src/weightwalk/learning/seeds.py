"""Seeds: a block that draws its own random numbers and leaves the caller's where they were."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import torch

_GENERATOR = threading.RLock()


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Run the block with torch's CPU generator seeded; afterwards the generator is where it was.

    Only the default CPU generator is touched: `torch.manual_seed` would also reset those of accelerators. All threads
    share it, so one such block waits for another thread's to end.
    """
    with _GENERATOR:
        generator = torch.default_generator
        state = generator.get_state()
        generator.manual_seed(seed)
        try:
            yield
        finally:
            generator.set_state(state)
