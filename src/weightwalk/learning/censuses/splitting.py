"""Blocks of seeds: how many are trained together, so that they fit a budget of memory and, better still, the cache."""

from __future__ import annotations

from weightwalk.errors import UsageError
from weightwalk.learning.censuses.jobs import Job

CACHE = 1 << 20
"""Bytes that one block should touch in a step: about what one core has for itself (L2)."""


def block_size(per_seed: int, memory: int, workers: int, *, least: int = 16, most: int = 1024) -> int:
    """Seeds per block.

    Args:
        per_seed: Bytes that one seed needs while it is trained.
        memory: Bytes that all workers together may use.
        workers: Blocks that are trained at a time.
        least: Below this, the calls cost more than the arithmetic; taken only where the budget asks for it.
        most: Above this, nothing is gained.

    Raises:
        UsageError: Not even one seed fits.
    """
    fits = memory // (workers * per_seed)
    if fits < 1:
        raise UsageError(
            f"One training of this net needs about {per_seed / 1e6:.1f} MB for each of {workers} worker(s); "
            f"the memory budget is {memory / 1e6:.1f} MB: allow more, or fewer threads."
        )
    wanted = max(64, min(most, CACHE // per_seed))
    size = min(wanted, fits)
    return size // least * least if size >= least else size


def bytes_per_seed(job: Job) -> int:
    """Bytes that the training of one seed takes: weights, gradients, the optimizer's averages, activations, results."""
    return 20_000  # TODO
