"""The census' trainings done one after the other by `train`, the slow way: what the fast way is held to."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import nn

from weightwalk.learning.censuses.trained import Trained
from weightwalk.learning.losses import loss_of
from weightwalk.learning.tasks import Task
from weightwalk.learning.train import train


def looped(task: Task, seeds: Sequence[int], recipe: dict[str, Any], **_: Any) -> Trained:
    data, criterion = task.data, loss_of(recipe["loss"])
    plain = {n: v for n, v in recipe.items() if n != "settings"}
    found: list[dict[str, Any]] = []
    for seed in seeds:
        fresh = task.module(seed)
        with torch.no_grad():
            first = float(criterion(fresh(data.inputs), data.targets))
        start, layers_start = dead(fresh, data.inputs)
        history = train(task, seed=seed, **plain)
        module = history.module
        assert module is not None
        module.zero_grad()
        criterion(module(data.inputs), data.targets).backward()
        gradient = torch.cat([p.grad.flatten() for p in module.parameters() if p.grad is not None]).norm().item()
        end, layers_end = dead(module, data.inputs)
        found.append({
            "first": first, "final": history.final, "outputs": module(data.inputs).detach().numpy(),
            "dead_start": start, "dead_end": end, "layers_start": layers_start, "layers_end": layers_end,
            "nonfinite": -1, "gradient": gradient, "curve": np.array(history.losses),
            "weights": {n: p.detach().clone() for n, p in module.named_parameters()},
        })  # fmt: skip
    weights = {n: torch.stack([f["weights"][n] for f in found]) for n in found[0]["weights"]}
    rest: dict[str, Any] = {n: np.stack([f[n] for f in found]) for n in found[0] if n != "weights"}
    return Trained(seeds=np.array(seeds), weights=weights, **rest)


def dead(module: nn.Module, inputs: torch.Tensor) -> tuple[int, int]:
    """ReLU units that are off for all inputs, and layers in which all are, seen by hooks."""
    seen: list[torch.Tensor] = []
    hooks = [
        m.register_forward_hook(lambda _, __, out: seen.append((out <= 0).all(dim=0)))
        for m in module.modules()
        if isinstance(m, nn.ReLU)
    ]
    with torch.no_grad():
        module(inputs)
    for hook in hooks:
        hook.remove()
    return int(sum(s.sum() for s in seen)), int(sum(bool(s.all()) for s in seen))
