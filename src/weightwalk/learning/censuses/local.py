"""Blocks of seeds on this machine, one thread for each core."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait

import torch

from weightwalk.learning.censuses.blocks import train_chain
from weightwalk.learning.censuses.jobs import Arrays, Job, Tick
from weightwalk.learning.censuses.stacked import train_stacked
from weightwalk.learning.threads import pinned

Progress = Callable[[int, int], None]
"""Called with (epochs done, epochs in all), summed over seeds."""


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def train_block(job: Job, seeds: list[int], tick: Tick) -> Arrays:
    """Train the seeds of one block, in this thread."""
    torch.set_num_threads(1)
    with torch.inference_mode(False), torch.enable_grad(), torch.device("cpu"):
        return (train_stacked if job.chain is None else train_chain)(job, seeds, tick)


def run_here(
    job: Job, blocks: Sequence[list[int]], threads: int, keep: Callable[[int, Arrays], None], progress: Progress | None
) -> None:
    """Train all blocks; Ctrl-C ends it between two epochs.

    Args:
        job: What to do.
        blocks: The seeds of each block.
        threads: Blocks that are trained at a time.
        keep: Called with the number of a block and its results.
        progress: Told how far it is, a few times a second, in this thread.
    """
    stop, lock, done = threading.Event(), threading.Lock(), [0]
    total = job.recipe.epochs * sum(map(len, blocks))

    def tick(count: int) -> bool:
        with lock:
            done[0] += count
        return not stop.is_set()

    with pinned(), ThreadPoolExecutor(threads, thread_name_prefix="census") as pool:
        waiting = {pool.submit(train_block, job, seeds, tick): number for number, seeds in enumerate(blocks)}
        try:
            while waiting:
                ready, _ = wait(waiting, timeout=0.05, return_when=FIRST_COMPLETED)
                for future in ready:
                    keep(waiting.pop(future), future.result())
                if progress is not None:
                    progress(done[0], total)
        except BaseException:
            stop.set()
            for future in waiting:
                future.cancel()
            raise
