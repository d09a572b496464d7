"""Blocks of seeds as tasks of Ray: the same blocks with the same results, on as many machines as the cluster has.

What travels are a job (a task, plain arrays and settings) and the arrays that come back; code travels by its name, so
the same Weightwalk must be installed on every machine. Ray packs and unpacks them in its own way, which is its affair:
a cluster runs whatever its members send each other, and one joins only a cluster that one trusts.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Sequence
from typing import Any

from weightwalk.errors import UsageError
from weightwalk.learning.censuses.jobs import Arrays, Job
from weightwalk.learning.censuses.local import Progress, train_block

RETRIES = 5
"""How often a block is given to another worker when the one that had it is gone."""


def run_on_ray(
    job: Job, blocks: Sequence[list[int]], workers: int, keep: Callable[[int, Arrays], None], progress: Progress | None
) -> None:
    """Train all blocks; a block whose worker dies is trained again by another.

    Joins the cluster that the environment names (RAY_ADDRESS) or that the program has joined already; else starts one
    on this machine, for this call, that listens on the loopback only.

    Args:
        job: What to do.
        blocks: The seeds of each block.
        workers: Workers of a cluster that is started here.
        keep: Called with the number of a block and its results.
        progress: Called with (epochs done, epochs in all), summed over seeds.

    Raises:
        UsageError: Ray is not installed, or the cluster loses one worker after another.
    """
    try:
        import ray
    except ImportError:
        raise UsageError("The engine ray needs the extra: pip install 'weightwalk[cluster]'.") from None
    ours = not ray.is_initialized()
    if ours:
        logger = logging.getLogger("ray")
        level = logger.level
        logger.setLevel(logging.ERROR)  # it speaks of tokens and of what else is new, which is nothing to the census
        try:
            _joined(ray, workers)
        finally:
            logger.setLevel(level)
    try:
        _run(ray, job, blocks, keep, progress)
    finally:
        if ours:
            ray.shutdown()


def _joined(ray: Any, workers: int) -> None:
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR, "configure_logging": False}
    address = os.environ.get("RAY_ADDRESS")
    if address:
        ray.init(address=address, **quiet)
        return
    ray.init(
        address="local",
        num_cpus=workers,
        include_dashboard=False,
        _node_ip_address="127.0.0.1",
        object_store_memory=128 << 20,
        **quiet,
    )


def _run(
    ray: Any, job: Job, blocks: Sequence[list[int]], keep: Callable[[int, Arrays], None], progress: Progress | None
) -> None:
    train = ray.remote(max_retries=RETRIES, num_cpus=1)(_train)
    held, left, running = ray.put(job), list(enumerate(blocks))[::-1], {}
    done, total = 0, job.recipe.epochs * sum(map(len, blocks))
    most = max(2, 2 * int(ray.cluster_resources().get("CPU", 1)))
    try:
        while left or running:
            while left and len(running) < most:
                number, seeds = left.pop()
                running[train.remote(held, seeds)] = number
            ready, _ = ray.wait(list(running), num_returns=1, timeout=0.1)
            for reference in ready:
                number = running.pop(reference)
                keep(number, ray.get(reference))
                done += job.recipe.epochs * len(blocks[number])
            if progress is not None:
                progress(done, total)
    except ray.exceptions.RayTaskError as error:
        cause = error.cause
        raise cause if isinstance(cause, UsageError) else error from None
    except ray.exceptions.WorkerCrashedError:
        raise UsageError(
            f"The cluster lost the worker of a block {RETRIES + 1} times in a row, most often for lack of memory: "
            "give the census a smaller memory budget."
        ) from None
    finally:
        for reference in running:
            ray.cancel(reference, force=True)


def _train(job: Job, seeds: list[int]) -> Arrays:
    """One block, in a worker's own process."""
    return train_block(job, seeds, lambda count: True)
