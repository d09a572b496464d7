"""Blocks of seeds: how many are trained together, so that they fit a budget of memory and, better still, the cache."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch

from weightwalk.errors import UsageError
from weightwalk.learning.censuses.chains import Chain
from weightwalk.learning.censuses.jobs import Job
from weightwalk.learning.censuses.steps import IN_PLACE, widths_of
from weightwalk.learning.losses import tensor_of
from weightwalk.learning.optimizers import optimizer_of

CACHE = 16 << 20
"""Bytes of a block: with more, each step waits for memory (measured: from 4 to 32 MiB, this was the fastest)."""

LEAST, MOST = 128, 1024
"""Seeds per block: with fewer, the calls cost more than the arithmetic; with more, nothing is gained."""

LANES = 64
"""Blocks are filled up to multiples of this: loops over seeds have no remainder then, which torch computes with other
instructions, and other last bits, than the rest."""

LINE = 16
"""Where memory is too short for `LANES`, blocks still begin at multiples of this: products of matrices round by where
in a line of memory (64 bytes) the numbers of a seed begin, which comes back after so many seeds."""

SLACK = 16 << 20
"""Bytes that are taken whatever the number of seeds: code that is loaded, the allocator's rest."""


@dataclass(frozen=True, slots=True)
class Plan:
    """How a census is cut up.

    Attributes:
        job: What to do, with the record that fits the budget.
        blocks: The seeds of each block.
        workers: Blocks that are trained at a time.
        working: Bytes that one seed takes while it is trained.
        kept: Bytes that the results of one seed take.
    """

    job: Job
    blocks: list[list[int]]
    workers: int
    working: int
    kept: int


def planned(job: Job, seeds: list[int], memory: int, workers: int, weights: bool) -> Plan:
    """Cut the seeds into blocks that fit into `memory` bytes together with the results of all of them.

    Args:
        job: What to do.
        seeds: All seeds.
        memory: The budget.
        workers: Blocks that can be trained at a time.
        weights: Whether final weights were asked for; if not, they are kept only where they fit.

    Raises:
        UsageError: The results do not fit, or not even one seed does.
    """
    numbers, working, per_row = _sizes(job)
    kept = _kept(job, numbers, per_row)
    if job.record.end and not weights and kept * len(seeds) > memory // 2:
        job = replace(job, record=replace(job.record, end=False))
        kept = _kept(job, numbers, per_row)
    left = memory - kept * len(seeds) - min(SLACK, memory // 4)
    if left < working + kept:
        raise UsageError(
            f"The results of {len(seeds):,} seeds take {kept * len(seeds) / 1e6:,.1f} MB and one training "
            f"{working / 1e6:,.1f} MB, which is more than the memory budget of {memory / 1e6:,.1f} MB: allow more, "
            "take fewer seeds, or record less."
        )
    workers = max(1, min(workers, left // (working + kept)))
    size = min(_cached(job, working), left // (workers * (working + kept)))
    for whole in (LANES, LINE):
        size = size // whole * whole or size
    return Plan(job, _cut(seeds, size, workers), workers, working, kept)


def _cached(job: Job, working: int) -> int:
    most = MOST if job.chain is not None else LEAST
    least = LEAST if job.chain is not None else LANES
    return max(least, min(most, CACHE // working))


def _cut(seeds: list[int], size: int, workers: int) -> list[list[int]]:
    """Blocks of equal size, at most `size`, as many as keep all workers busy."""
    count = -(-len(seeds) // size)
    count = -(-count // workers) * workers if count > workers else max(count, min(workers, len(seeds) // LEAST))
    even = -(-len(seeds) // max(1, count))
    even = min(size, -(-even // LANES) * LANES)
    return [seeds[i : i + even] for i in range(0, len(seeds), even)]


def _sizes(job: Job) -> tuple[int, int, int]:
    """Numbers in the weights; bytes that a training takes; bytes of the outputs for one row."""
    recipe, data = job.recipe, job.data
    module = job.module(0).eval()
    numbers = sum(p.numel() for p in module.parameters())
    wide = max((p.element_size() for p in module.parameters()), default=4)
    one = [torch.zeros(1, requires_grad=True)]
    one[0].grad = torch.zeros(1)
    optimizer = optimizer_of(recipe.optimizer, one, recipe.lr, recipe.settings)  # pyright: ignore[reportArgumentType]
    optimizer.step()
    averages = sum(isinstance(v, torch.Tensor) and v.dim() == 1 for s in optimizer.state.values() for v in s.values())
    rows = len(data.inputs)
    out = _out(job, module)
    if job.chain is not None:
        # weights, slopes, their sum, and three copies on the way in and out
        working = (6 + averages) * numbers * wide
        spaces = {recipe.visits(rows), rows % recipe.visits(rows), min(rows, ROWS), rows % ROWS}
        spaces |= {min(len(h), ROWS) for h in (data.held_inputs,) if h is not None}
        working += sum(spaces) * _per_row(job.chain) * wide
    else:
        working = (6 + 2 * averages) * numbers * wide + 4 * min(rows, ROWS) * _activity(job, module) * wide
    if recipe.shuffle:
        working += rows * 80 + 2 * rows * wide * (data.inputs[0].numel() + data.targets[0].numel() + 1)
    return numbers * wide, working, out * wide


ROWS = 512
"""Rows that are judged at a time."""


def _per_row(chain: Chain) -> int:
    """Numbers in the buffers of a row: outputs, gradients, and a few more of the last layer's."""
    widths = widths_of(chain)
    held = sum(w + 1 for layer, w in zip(chain.layers, widths, strict=True) if layer.kind not in IN_PLACE)
    grads = sum(w for layer, w in zip(chain.layers, widths, strict=True) if layer.shape)
    return held + grads + 4 * widths[-1]


def _activity(job: Job, module: torch.nn.Module) -> int:
    """Numbers that all layers return for one row."""
    total = [0]
    hooks = [
        m.register_forward_hook(lambda m, a, out: total.append(out.numel() if isinstance(out, torch.Tensor) else 0))
        for m in module.modules()
    ]
    with torch.no_grad():
        module(job.data.inputs)
    for hook in hooks:
        hook.remove()
    return -(-sum(total) // len(job.data.inputs)) + job.data.inputs[0].numel()


def _out(job: Job, module: torch.nn.Module) -> int:
    with torch.no_grad():
        return -(-tensor_of(module(job.data.inputs)).numel() // len(job.data.inputs))


def _kept(job: Job, weights: int, per_row: int) -> int:
    """Bytes of the results of one seed."""
    record, data = job.record, job.data
    held = len(data.held_inputs) if data.held_inputs is not None and record.held_outputs else 0
    rows = (len(data.inputs) if record.outputs else 0) + held
    curve = -(-job.recipe.epochs // record.losses) if record.losses else 0
    return (record.start + record.end) * weights + rows * per_row + 8 * curve + 64
