"""Kinks of many nets at once, held to the exact formula of each and to closed forms."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import nn

import weightwalk as ww
from weightwalk.learning.censuses.kinks import kinks_inside


def stacked(nets: list[nn.Sequential]) -> list[tuple[np.ndarray, np.ndarray]]:
    layers = [[m for m in net if isinstance(m, nn.Linear)] for net in nets]
    return [
        (
            np.stack([n[k].weight.detach().numpy() for n in layers]),
            np.stack([n[k].bias.detach().numpy() for n in layers]),
        )
        for k in range(len(layers[0]))
    ]


@pytest.mark.parametrize("sizes", [(1, 4, 1), (1, 2, 2, 1), (1, 5, 4, 3, 2)])
def test_as_many_as_the_exact_formula_has(sizes: tuple[int, ...]) -> None:
    nets = []
    for seed in range(12):
        torch.manual_seed(seed)
        parts: list[nn.Module] = []
        for a, b in pairwise(sizes):
            parts += [nn.Linear(a, b), nn.ReLU()]
        nets.append(nn.Sequential(*parts[:-1]).double())
    counted = kinks_inside(stacked(nets), -1.5, 2.0)
    for net, ours in zip(nets, counted, strict=True):
        line = ww.formula(net, line=(torch.tensor([-1.5]).double(), torch.tensor([2.0]).double())).facts
        # the formula's line goes on beyond its two points
        inside = (line.kinks > 1e-9) & (line.kinks < 1 - 1e-9) & line.bends
        assert ours == np.count_nonzero(inside)
    assert counted.max() > 1


def test_kinks_at_the_ends_outside_doubled_and_without_effect() -> None:
    def net(kinks: list[float], out: list[float]) -> list[tuple[np.ndarray, np.ndarray]]:
        width = len(kinks)
        return [(np.ones((1, width, 1)), -np.array([kinks])), (np.array([[out]]), np.zeros((1, 1)))]

    assert kinks_inside(net([0.0, 1.0, 2.0], [1, 1, 1]), 0, 2)[0] == 1
    assert kinks_inside(net([0.5, 0.5], [1, 1]), 0, 1)[0] == 1
    assert kinks_inside(net([0.5, 0.5], [1, -1]), 0, 1)[0] == 0
    assert kinks_inside(net([0.3, 0.6], [1, 0]), 0, 1)[0] == 1
    assert kinks_inside(net([-5, 5], [1, 1]), 0, 1)[0] == 0
