"""How many threads torch computes on, for a while."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def pinned(threads: int | None = 1) -> Iterator[None]:
    """Torch on so many threads, and afterwards on as many as before; None leaves it alone.

    One is right for small nets: to hand a small product to a second thread takes longer than to compute it.
    """
    before = torch.get_num_threads()
    if threads is None or threads == before:
        yield
        return
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)
