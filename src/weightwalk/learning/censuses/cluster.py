"""Blocks of seeds on a Ray cluster."""

from __future__ import annotations

from collections.abc import Sequence

from weightwalk.errors import UsageError
from weightwalk.learning.censuses.jobs import Arrays, Job
from weightwalk.learning.censuses.local import Progress


def run_on_ray(job: Job, blocks: Sequence[list[int]], workers: int | None, progress: Progress | None) -> list[Arrays]:
    """Train all blocks as tasks of Ray.

    Raises:
        UsageError: Ray is not installed.
    """
    raise UsageError("The engine ray needs the extra: pip install 'weightwalk[cluster]'.")
