"""Initial weights for many seeds against modules that were made one by one."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn

from weightwalk.learning.censuses.starting import Starts, starts_of
from weightwalk.learning.tasks import Data, Task, task_of

SEEDS = [3, 1, 4, -15, 2**40, 0]


def bits(starts: Starts, task: Task) -> bool:
    made = torch.stack([torch.cat([p.detach().flatten() for p in task.module(s).parameters()]) for s in SEEDS])
    return torch.equal(starts.fill(SEEDS).view(torch.int32), made.view(torch.int32))


@pytest.mark.parametrize("name", ["linear", "sqrt", "hello", "hello6", "xor", "nearest", "regions"])
def test_the_gallery_is_started_without_making_modules(name: str) -> None:
    for shape in ({}, {"width": 1}, {"width": 17}):
        task = task_of(name).of(**shape)
        starts = starts_of(task, [0, 1])
        assert starts.replayed
        assert bits(starts, task)


def made_of(build: Callable[[], nn.Module]) -> Task:
    return Task("mine", "", build, Data(torch.zeros(1, 3), torch.zeros(1, 3)))


def orthogonal() -> nn.Module:
    net = nn.Linear(3, 3)
    nn.init.orthogonal_(net.weight)
    return net


def scaled() -> nn.Module:
    net = nn.Linear(3, 3)
    with torch.no_grad():
        net.weight.copy_(0.1 * torch.randn(3, 3))
    return net


def shuffled() -> nn.Module:
    """The numbers that it draws first decide how many are drawn after them."""
    for _ in range(int(torch.randint(5, ()))):
        torch.rand(7)
    return nn.Linear(3, 3)


def normal() -> nn.Module:
    net = nn.Sequential(nn.Linear(3, 20), nn.Linear(20, 3))
    for name, p in net.named_parameters():
        if name.endswith("weight"):
            nn.init.normal_(p, std=0.3)
        else:
            nn.init.constant_(p, 0.25)
    return net


@pytest.mark.parametrize(
    ("build", "replayed"), [(orthogonal, False), (scaled, False), (shuffled, False), (normal, True)]
)
def test_what_cannot_be_repeated_is_made(build: Callable[[], nn.Module], replayed: bool) -> None:
    task = made_of(build)
    starts = starts_of(task, SEEDS[:3])
    assert starts.replayed is replayed
    assert bits(starts, task)


def test_drawing_leaves_the_generator_where_it_was() -> None:
    state = torch.get_rng_state()
    starts_of(task_of("hello6"), [0, 1]).fill(SEEDS)
    assert torch.equal(torch.get_rng_state(), state)
