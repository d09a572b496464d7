"""A net of several layers on a neuron's own data, sliced over two weights: there the hills are."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from weightwalk.learning.landscapes.asked import grid
from weightwalk.learning.landscapes.directions import weights_plane
from weightwalk.learning.landscapes.neuron import Neuron, Shape, shape_of
from weightwalk.learning.landscapes.surface import Surface, surface
from weightwalk.learning.seeds import seeded
from weightwalk.learning.train import train

WIDTH, EPOCHS = 8, 200


@dataclass(frozen=True, eq=False)
class Deep:
    """A slice of a 2-8-8-1 net with tanh.

    Attributes:
        surface: The loss over the two weights of one neuron of its first layer.
        shape: Its dips and hills.
        unit: Which neuron: of the eight, the one whose slice has most hills, and of equals most dips.
        hills: Of the slices of all eight.
        sizes: Of its layers.
    """

    surface: Surface
    shape: Shape
    unit: int
    hills: tuple[int, ...]
    sizes: tuple[int, ...] = (2, WIDTH, WIDTH, 1)


def deep_slice(found: Neuron, seed: int = 0) -> Deep:
    """Train such a net on the data of a neuron, in float64, and slice its loss; the grid is as fine and as wide."""
    x, y = torch.from_numpy(found.inputs.copy()), torch.from_numpy(found.targets.copy())[:, None]
    with seeded(seed), torch.inference_mode(False):
        net = nn.Sequential(
            nn.Linear(2, WIDTH), nn.Tanh(), nn.Linear(WIDTH, WIDTH), nn.Tanh(), nn.Linear(WIDTH, 1)
        ).double()  # fmt: skip
    train(net, x, y, optimizer="adam", lr=0.02, epochs=EPOCHS, seed=seed)
    away = grid(len(found.first)) * float(found.first[-1] - found.first[0]) / 2
    slices = [
        surface(net, x, y, weights_plane(net, f"0.weight[{k}, 0]", f"0.weight[{k}, 1]"), alphas=away, curvature=False)
        for k in range(WIDTH)
    ]
    shapes = [shape_of(s.losses) for s in slices]
    unit = int(np.lexsort(([-s.dips for s in shapes], [-s.hills for s in shapes]))[0])
    return Deep(slices[unit], shapes[unit], unit, tuple(s.hills for s in shapes))
