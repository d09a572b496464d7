"""One moment of a training, with all that is needed to go on from it: weights, optimizer, random state, place."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn


@dataclass(slots=True)
class Place:
    """How far a training has come.

    Attributes:
        epoch: Epochs completed.
        part: Updates made in the epoch under way.
        total: Sum over these updates of loss times rows.
        update: Updates made in all.
        scale: What rollbacks have left of the learning rate: 1, 0.5 ...
        rollbacks: How many there were.
        recent: Sum of the losses since `since`, to tell whether the training still goes well.
        since: Update at which that sum was begun.
        least: The least mean loss of such a stretch; None before the first.
        best: With early stopping, the epoch with the least watched loss.
        best_loss: That loss.
    """

    epoch: int = 0
    part: int = 0
    total: float = 0.0
    update: int = 0
    scale: float = 1.0
    rollbacks: int = 0
    recent: float = 0.0
    since: int = 0
    least: float | None = None
    best: int | None = None
    best_loss: float | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Moment:
    """All that decides how a training goes on.

    Attributes:
        place: How far it has come.
        weights: Parameters and buffers by name.
        optimizer: Its ``state_dict()``.
        random: Random state of the CPU, and of each accelerator in use (``"cuda:0"``).
        best: With early stopping, the best weights so far.
    """

    place: Place
    weights: Mapping[str, Tensor]
    optimizer: Mapping[str, Any]
    random: Mapping[str, Tensor] = field(repr=False)
    best: dict[str, Tensor] | None = None


def tensors_of(module: nn.Module) -> dict[str, Tensor]:
    """Parameters and buffers by name, each once, buffers that are not saved in a ``state_dict`` included."""
    return {**dict(module.named_parameters()), **dict(module.named_buffers())}


def accelerators(module: nn.Module) -> tuple[torch.device, ...]:
    """CUDA devices that hold something of the module."""
    return tuple(sorted({t.device for t in tensors_of(module).values() if t.device.type == "cuda"}, key=str))


def random_state(devices: tuple[torch.device, ...]) -> dict[str, Tensor]:
    """Random state of the CPU and of these devices."""
    return {"cpu": torch.get_rng_state(), **{str(d): torch.cuda.get_rng_state(d) for d in devices}}


def capture(
    module: nn.Module,
    engine: torch.optim.Optimizer,
    place: Place,
    devices: tuple[torch.device, ...] = (),
    best: dict[str, Tensor] | None = None,
) -> Moment:
    """Copies of everything, as it is now; `best` is never written to, and kept as it is."""
    weights = {name: t.detach().clone() for name, t in tensors_of(module).items()}
    return Moment(replace(place), weights, copied(engine.state_dict()), random_state(devices), best)


def restore(module: nn.Module, engine: torch.optim.Optimizer, moment: Moment) -> Place:
    """Put everything back as it was at `moment`, which stays as it is; returns a copy of its place."""
    put_weights(module, moment.weights)
    engine.zero_grad(set_to_none=True)
    engine.load_state_dict(copied(moment.optimizer))  # torch would go on writing to the tensors that it is given
    torch.set_rng_state(moment.random["cpu"])
    for name, state in moment.random.items():
        if name != "cpu":
            torch.cuda.set_rng_state(state, torch.device(name))
    return replace(moment.place)


def put_weights(module: nn.Module, weights: Mapping[str, Tensor]) -> None:
    """Copy these numbers into the module's own tensors."""
    with torch.no_grad():
        for name, tensor in tensors_of(module).items():
            tensor.copy_(weights[name])


def copied(tree: Any) -> Any:
    """Nested dicts and lists with each tensor cloned."""
    if isinstance(tree, Tensor):
        return tree.detach().clone()
    if isinstance(tree, dict):
        return {key: copied(value) for key, value in tree.items()}
    if isinstance(tree, list):
        return [copied(value) for value in tree]
    return tree


def all_finite(tensors: Sequence[Tensor]) -> bool:
    """Whether every number is: one pass over a sum of squares, and a closer look only where that overflows."""
    dense = [t._values() if t.is_sparse else t for t in tensors]
    floats = [t for t in dense if t.is_floating_point() and t.numel()]
    if not floats:
        return True
    with torch.no_grad():
        return bool(torch.isfinite(nn.utils.get_total_norm(floats))) or all(
            bool(torch.isfinite(t).all()) for t in floats
        )
