"""What a census keeps of the trainings of one cell: numbers per seed, from which all measures are made."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap  # pyright: ignore[reportPrivateImportUsage]

from weightwalk.learning.losses import tensor_of

BUDGET = 256 * 2**20
"""Bytes that answers on held-out data may take at a time."""


@dataclass(frozen=True, eq=False)
class Trained:
    """S trainings of one net under one recipe, seed after seed.

    Attributes:
        seeds: Shape (S,).
        first: Loss of the untrained net on all training rows, (S,).
        final: Loss after the last update, (S,); NaN where the training ended in numbers that are not finite.
        outputs: What the trained nets answer to the training inputs, (S, N, ...).
        weights: Name -> weights at the end, (S, ...).
        dead_start: ReLU units that are 0 for every training input before training, (S,).
        dead_end: The same after training.
        layers_start: Whole layers of such units, (S,): the net then gives one answer to all.
        layers_end: The same after training.
        nonfinite: Epoch in which a loss was no finite number; -1 for none, (S,).
        gradient: Euclidean norm of the gradient at the end, (S,).
        curve: Loss met in each epoch, (S, epochs), where it was recorded.
        seconds: What the training took.
    """

    seeds: np.ndarray
    first: np.ndarray
    final: np.ndarray
    outputs: np.ndarray = field(repr=False)
    weights: Mapping[str, Tensor] = field(repr=False)
    dead_start: np.ndarray
    dead_end: np.ndarray
    layers_start: np.ndarray
    layers_end: np.ndarray
    nonfinite: np.ndarray
    gradient: np.ndarray
    curve: np.ndarray | None = field(default=None, repr=False)
    seconds: float = 0.0

    @property
    def finite(self) -> np.ndarray:
        """Shape (S,): whether all went well."""
        return (self.nonfinite < 0) & np.isfinite(self.outputs.reshape(len(self.seeds), -1)).all(axis=1)


def array(tensor: Tensor) -> np.ndarray:
    """A tensor as NumPy has it; halves, which NumPy does without, as float32."""
    plain = tensor.detach().cpu()
    return (plain.float() if plain.dtype in (torch.bfloat16, torch.float16) else plain).numpy()


def answers(module: nn.Module, weights: Mapping[str, Tensor], inputs: Tensor, budget: int = BUDGET) -> np.ndarray:
    """What S nets with these weights answer to the same inputs: (S, N, ...), a few nets at a time.

    Args:
        module: Any net of that shape; neither its weights nor its mode are touched.
        weights: Name -> (S, ...).
        inputs: Shape (N, ...).
        budget: Bytes that one part may take, roughly.
    """
    seeds = len(next(iter(weights.values())))
    widest = max([t[0].shape[0] if t.dim() > 1 else 1 for t in weights.values()], default=1)
    part = max(1, int(budget // max(1, 8 * 4 * len(inputs) * widest)))
    buffers = dict(module.named_buffers())
    own = {name: p.dtype for name, p in module.named_parameters()}
    weights = {name: t.to(own.get(name, t.dtype)) for name, t in weights.items()}  # NumPy had no halves
    modes = [(m, m.training) for m in module.modules()]
    module.eval()

    def one(state: Mapping[str, Tensor]) -> Tensor:
        return tensor_of(functional_call(module, {**buffers, **state}, (inputs,)))

    out: list[np.ndarray] = []
    try:
        with torch.no_grad():
            for i in range(0, seeds, part):
                out.append(array(vmap(one)({n: t[i : i + part] for n, t in weights.items()})))
    finally:
        for m, mode in modes:
            m.training = mode
    return np.concatenate(out)


def root_mean_square(errors: np.ndarray) -> np.ndarray:
    """Over all but the first axis."""
    if errors.size == 0:
        return np.full(len(errors), math.nan)
    return np.sqrt(np.square(errors.astype(float)).reshape(len(errors), -1).mean(axis=1))
