"""From a task and a recipe to a job: checks what a training alone would check, and chooses the path."""

from __future__ import annotations

import math
from dataclasses import replace

import torch
from torch import Tensor, nn

from weightwalk.errors import UsageError
from weightwalk.learning.censuses.chains import Chain, chain_of
from weightwalk.learning.censuses.jobs import Job, Recipe, Record
from weightwalk.learning.censuses.stacked import refuse_alone
from weightwalk.learning.censuses.starting import starts_of
from weightwalk.learning.losses import loss_of, tensor_of
from weightwalk.learning.optimizers import optimizer_of
from weightwalk.learning.tasks import Data, Task

_NAMED = {"mse", "mae", "cross_entropy", "bce"}


def job_of(task: Task, recipe: Recipe, record: Record, dtype: torch.dtype | None, seeds: list[int]) -> Job:
    """What is to be done for each seed.

    Raises:
        UsageError: The recipe makes no sense, or the net cannot be trained in a batch.
    """
    _check(task.data, recipe, dtype)
    data = _data(task.data, dtype)
    job = Job(task, data, recipe, record, dtype)
    module = job.module(seeds[0])
    if not any(p.requires_grad for p in module.parameters()):
        raise UsageError("The net has no parameter that can be trained (none requires a gradient).")
    optimizer_of(recipe.optimizer, [nn.Parameter(torch.zeros(1))], recipe.lr, recipe.settings)
    chain = chain_of(module, data.inputs)
    if chain is not None and _simple(data, recipe, chain, module):
        probes = [seeds[0], seeds[len(seeds) // 2], seeds[-1]]
        starts = starts_of(task, probes)
        return replace(job, chain=chain, starts=starts)
    refuse_alone(module, data.inputs)
    return job


def _simple(data: Data, recipe: Recipe, chain: Chain, module: nn.Module) -> bool:
    """Whether loss and targets are such as `steps` knows; the loss is tried, and refused as a training alone would."""
    with torch.no_grad():
        out = tensor_of(module(data.inputs))
        loss_of(recipe.loss)(out, data.targets)
    if not isinstance(recipe.loss, str) or recipe.loss not in _NAMED:
        return False
    return all(_fits(recipe.loss, y, out, chain) for y in (data.targets, data.held_targets) if y is not None)


def _fits(loss: str, targets: Tensor, out: Tensor, chain: Chain) -> bool:
    if loss == "cross_entropy":
        known = targets.dtype == torch.int64 and targets.dim() == 1
        return known and bool(((targets >= 0) & (targets < chain.outputs)).all())
    return targets.dtype == out.dtype and targets.shape[1:] == out.shape[1:]


def _data(data: Data, dtype: torch.dtype | None) -> Data:
    def cast(tensor: Tensor | None) -> Tensor | None:
        if tensor is None:
            return None
        tensor = tensor.detach().to("cpu")
        return tensor.to(dtype) if dtype is not None and tensor.is_floating_point() else tensor.clone()

    inputs, targets = cast(data.inputs), cast(data.targets)
    assert inputs is not None and targets is not None
    held = cast(data.held_inputs), cast(data.held_targets)
    return replace(data, inputs=inputs, targets=targets, held_inputs=held[0], held_targets=held[1])


def _check(data: Data, recipe: Recipe, dtype: torch.dtype | None) -> None:
    inputs, targets = data.inputs, data.targets
    if inputs.dim() == 0 or targets.dim() == 0 or len(inputs) != len(targets) or len(inputs) == 0:
        raise UsageError(
            f"Training needs as many inputs as targets, one row each and at least one; "
            f"got shapes {tuple(inputs.shape)} and {tuple(targets.shape)}."
        )
    if not (recipe.lr > 0 and math.isfinite(recipe.lr)):
        raise UsageError(f"The learning rate must be a positive number; got {recipe.lr}.")
    if recipe.epochs < 0 or (recipe.batch is not None and recipe.batch < 1):
        raise UsageError(
            f"epochs must be 0 or more and batch 1 or more; got epochs={recipe.epochs}, batch={recipe.batch}."
        )
    if dtype not in (None, torch.float32, torch.float64):
        raise UsageError(f"A census computes in torch.float32 or torch.float64; got {dtype}.")
    loss_of(recipe.loss)
