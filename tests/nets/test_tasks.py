"""The tasks that come along: the first of each family is the gallery's net, and a shape changes what it says."""

from __future__ import annotations

import pytest
import torch

from weightwalk.errors import UsageError
from weightwalk.learning.tasks import task_of
from weightwalk.learning.train import train
from weightwalk.nets import GALLERY, load_net
from weightwalk.nets.tasks import CORNERS, FUNCTIONS, TASKS, nearest


@pytest.mark.parametrize("name", [n for n in TASKS if n in GALLERY])
def test_the_first_of_a_family_is_the_gallery_net(name: str) -> None:
    task, entry = task_of(name), GALLERY[name]
    assert entry.data is not None and entry.recipe is not None
    for ours, theirs in zip((task.data.inputs, task.data.targets), entry.data(), strict=False):
        assert torch.equal(ours, theirs)
    assert (task.loss, task.optimizer, task.lr, task.epochs) == (
        entry.recipe.loss,
        entry.recipe.optimizer,
        entry.recipe.lr,
        entry.recipe.epochs,
    )
    net = load_net(name, seed=3)
    history = train(task, seed=3)
    assert history.module is not None
    weights = history.module.state_dict()
    assert list(weights) == list(net.module.state_dict())
    assert all(torch.equal(weights[k], v) for k, v in net.module.state_dict().items())


@pytest.mark.parametrize("name", list(TASKS))
def test_every_shape_can_be_made_and_trained(name: str) -> None:
    task = task_of(name)
    for shape in ({}, {"width": 3}, {"depth": 2}, {"activation": "tanh"}):
        other = task.of(**shape)
        assert {k: other.shape[k] for k in shape} == shape
        assert train(other, epochs=1).epochs == 1
    for target in FUNCTIONS if "target" in task.shape else ():
        assert train(task.of(target=target), epochs=1).epochs == 1


def test_the_six_pair_net_counts_as_the_checklist_says() -> None:
    """CHECKLIST 235 and 244: 14 + 6 + 6 + 21 = 47 parameters, six pairs, no duplicate."""
    task = task_of("hello6")
    assert [p.numel() for p in task.module().parameters()] == [14, 4, 2, 4, 2, 14, 7]
    assert len(set(task.data.rows)) == len(task.data.rows) == 6


def test_nearest_is_the_nearest() -> None:
    grid = task_of("nearest").data
    assert grid.held_inputs is not None and grid.held_targets is not None
    for (x, y), label in zip(grid.held_inputs[::997].tolist(), grid.held_targets[::997].tolist(), strict=True):
        distances = [(x - a) ** 2 + (y - b) ** 2 for a, b in CORNERS]
        assert distances[label] == min(distances)
    assert nearest(torch.tensor(CORNERS)).tolist() == [0, 1, 2]


@pytest.mark.parametrize(
    ("act", "message"),
    [
        (lambda: task_of("helo6"), "There is no task 'helo6'; did you mean hello6"),
        (lambda: task_of("hello").of(colour="red"), "has no colour to vary; it has width, depth, activation"),
        (lambda: task_of("sqrt").of(target="gamma"), "There is no function 'gamma' to learn; there are sqrt, square"),
        (lambda: task_of("xor").of(init="he").module(), "There is no initialisation 'he'; there are torch, xavier."),
        (lambda: task_of("xor").of(activation="step").module(), "There is no activation 'step'; there are relu"),
        (lambda: task_of("xor").of(width=0).module(), "width must be a whole number, 1 or more; got 0."),
        (lambda: task_of("math:pi"), "'math:pi' is a float, not a Task"),
        (lambda: task_of(3), "A task is needed, or the name of one; got int."),  # type: ignore[arg-type]
    ],
)
def test_what_cannot_be_done_is_said(act: object, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        act()  # type: ignore[operator]
    assert message in str(caught.value)


@pytest.mark.parametrize("name", TASKS)
def test_a_task_of_another_shape_is_not_called_the_gallery_net(name: str) -> None:
    task = task_of(name)
    wider = task.of(width=5)
    assert wider.description == task.description
    for word in ("ReLU", "units", "parameters", "-"):
        assert word not in task.description.replace("[-1, 1]", "")
