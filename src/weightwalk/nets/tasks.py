"""The tasks that come along: families of nets and data, each with the settings that it is trained by.

The first of each family is the gallery's net of that name. ``task.of(width=4)`` is the same task with another net, so
that a census can ask what the width changes.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from weightwalk.errors import UsageError
from weightwalk.learning.tasks import Data, Task
from weightwalk.nets.gallery import GALLERY, HELLO6_PAIRS, HELLO6_TOKENS, HELLO_PAIRS, HELLO_TOKENS
from weightwalk.nets.modules import HelloNet, LayeredNet, LinearNet, PlaneNet, ReluNet


@dataclass(frozen=True, slots=True)
class Target:
    """A function of one number to be learned on an interval.

    Attributes:
        formula: As a person writes it.
        function: On tensors, elementwise.
        low: Left end of the interval.
        high: Right end.
    """

    formula: str
    function: Callable[[Tensor], Tensor]
    low: float
    high: float


FUNCTIONS: dict[str, Target] = {
    "sqrt": Target("√x", torch.sqrt, 0.0, 10.0),
    "square": Target("x²", torch.square, -1.0, 1.0),
    "log": Target("ln x", torch.log, 0.1, 10.0),
    "exp": Target("exp x", torch.exp, -2.0, 2.0),
    "sin": Target("sin x", torch.sin, -3.0, 3.0),
    "tan": Target("tan x", torch.tan, -1.2, 1.2),  # an interval without its poles at ±π/2
    "abs": Target("|x|", torch.abs, -1.0, 1.0),
}

CORNERS = ((0.2, 0.3), (0.8, 0.35), (0.45, 0.85))
"""The three points of the task ``nearest``: which of them is nearest divides the square into three regions."""


LEAST = {"width": 1, "depth": 0, "points": 2}


def _counted(**settings: int) -> None:
    """Refuse a net or data of no size."""
    for name, value in settings.items():
        if not isinstance(value, int) or value < LEAST[name]:
            raise UsageError(f"{name} must be a whole number, {LEAST[name]} or more; got {value!r}.")


def _pairs(name: str, tokens: tuple[str, ...], pairs: tuple[tuple[str, str], ...], **shape: Any) -> Task:
    """A text net of one token: embedding, hidden layers, one logit per token."""
    width, depth, activation = shape["width"], shape["depth"], shape["activation"]
    _counted(width=width, depth=depth)
    rows = tuple(f"{first}→{then}" for first, then in pairs)
    inputs = torch.tensor([tokens.index(first) for first, _ in pairs])
    targets = torch.tensor([tokens.index(then) for _, then in pairs])
    net = partial(HelloNet, len(tokens), width, depth, activation)
    what = f"{len(pairs)} pairs among {len(tokens)} tokens: given the one, say the other"
    data = Data(inputs, targets, rows=rows, classes=tokens)
    return _like_gallery(name, what, net, data, shape, partial(_pairs, name, tokens, pairs))


def _hello(width: int = 2, depth: int = 2, activation: str = "relu") -> Task:
    return _pairs("hello", HELLO_TOKENS, HELLO_PAIRS, width=width, depth=depth, activation=activation)


def _hello6(width: int = 2, depth: int = 2, activation: str = "relu") -> Task:
    return _pairs("hello6", HELLO6_TOKENS, HELLO6_PAIRS, width=width, depth=depth, activation=activation)


def _sqrt(width: int = 8, depth: int = 1, activation: str = "relu", target: str = "sqrt", points: int = 101) -> Task:
    """One number to one number; depth 0 is the straight line."""
    _counted(width=width, depth=depth, points=points)
    if target not in FUNCTIONS:
        raise UsageError(f"There is no function {target!r} to learn; there are {', '.join(FUNCTIONS)}.")
    goal = FUNCTIONS[target]
    x = torch.linspace(goal.low, goal.high, points)[:, None]
    held = (x[1:] + x[:-1]) / 2
    shape = {"width": width, "depth": depth, "activation": activation, "target": target, "points": points}
    usual = depth == 1 and activation == "relu"
    net = partial(ReluNet, width) if usual else partial(LayeredNet, (1, *[width] * depth, 1), activation)
    what = f"{goal.formula} on [{goal.low:g}, {goal.high:g}], learned from {points} points"
    return _like_gallery("sqrt", what, net, Data(x, goal.function(x), held, goal.function(held)), shape, _sqrt)


def _linear(width: int = 1, depth: int = 0, activation: str = "relu") -> Task:
    """y = 2x + 3; with hidden layers, to see whether they help."""
    _counted(width=width, depth=depth)
    x = torch.linspace(-2, 2, 41)[:, None]
    held = (x[1:] + x[:-1]) / 2
    net = LinearNet if depth == 0 else partial(LayeredNet, (1, *[width] * depth, 1), activation)
    shape = {"width": width, "depth": depth, "activation": activation}
    what = "y = 2x + 3, learned from 41 points"
    return _like_gallery("linear", what, net, Data(x, 2 * x + 3, held, 2 * held + 3), shape, _linear)


def _regions(width: int = 16, depth: int = 2, activation: str = "relu") -> Task:
    _counted(width=width, depth=depth)
    entry = GALLERY["regions"]
    assert entry.data is not None
    usual = depth == 2 and activation == "relu"
    net = partial(PlaneNet, width) if usual else partial(LayeredNet, (2, *[width] * depth, 1), activation)
    shape = {"width": width, "depth": depth, "activation": activation}
    what = "sin(4x) cos(4y) on the square [-1, 1]², learned from 33 × 33 points"
    return _like_gallery("regions", what, net, Data(*entry.data()), shape, _regions)


def _xor(width: int = 2, depth: int = 1, activation: str = "relu", init: str = "xavier") -> Task:
    """The exclusive or of two bits; one logit, positive for 1."""
    _counted(width=width, depth=depth)
    inputs = torch.tensor([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
    targets = torch.tensor([[0.0], [1.0], [1.0], [0.0]])
    shape = {"width": width, "depth": depth, "activation": activation, "init": init}
    return Task(
        "xor",
        "the exclusive or of two bits",
        partial(_started, LayeredNet, (2, *[width] * depth, 1), activation, init),
        Data(inputs, targets, rows=("00→0", "01→1", "10→1", "11→0")),
        "bce",
        "adam",
        0.05,
        3000,
        shape=shape,
        family=_xor,
    )


def _started(make: Callable[..., nn.Module], sizes: tuple[int, ...], activation: str, init: str) -> nn.Module:
    """A net with torch's own initial weights, or Xavier's with zero biases."""
    if init not in {"torch", "xavier"}:
        raise UsageError(f"There is no initialisation {init!r}; there are torch, xavier.")
    net = make(sizes, activation)
    if init == "xavier":
        for layer in net.modules():
            if isinstance(layer, nn.Linear):
                nn.init.xavier_uniform_(layer.weight)
                nn.init.zeros_(layer.bias)
    return net


def nearest(points: Tensor) -> Tensor:
    """Which of `CORNERS` is nearest to each point, exactly; shape (N, 2) -> (N,). Of equally near ones, the first."""
    corners = torch.tensor(CORNERS, dtype=torch.float64)
    return (points.double()[:, None] - corners).square().sum(dim=-1).argmin(dim=1)


def _nearest(width: int = 8, depth: int = 1, activation: str = "relu", points: int = 300) -> Task:
    """Points of the unit square, each with the number of the nearest of three."""
    _counted(width=width, depth=depth, points=points)
    generator = torch.Generator().manual_seed(0)
    inputs = torch.rand(points, 2, generator=generator)
    ticks = (torch.arange(200) + 0.5) / 200
    grid = torch.cartesian_prod(ticks, ticks)
    return Task(
        "nearest",
        f"which of three points is nearest, on the unit square, learned from {points} points",
        partial(LayeredNet, (2, *[width] * depth, 3), activation),
        Data(inputs, nearest(inputs), grid, nearest(grid), classes=("A", "B", "C")),
        "cross_entropy",
        "adam",
        0.02,
        500,
        shape={"width": width, "depth": depth, "activation": activation, "points": points},
        family=_nearest,
    )


def _like_gallery(
    name: str, what: str, build: Callable[[], nn.Module], data: Data, shape: dict[str, Any], family: Callable[..., Task]
) -> Task:
    """A task trained by the recipe of the gallery's net of that name; `what` it learns holds for every shape."""
    entry = GALLERY[name]
    recipe = entry.recipe
    assert recipe is not None
    return Task(
        name,
        what,
        build,
        data,
        recipe.loss,
        recipe.optimizer,
        recipe.lr,
        recipe.epochs,
        shape=shape,
        family=family,
    )


TASKS: dict[str, Callable[..., Task]] = {
    "linear": _linear,
    "sqrt": _sqrt,
    "hello": _hello,
    "hello6": _hello6,
    "xor": _xor,
    "nearest": _nearest,
    "regions": _regions,
}


def named_task(name: str) -> Task:
    """A task by its name; or ``package.module:object``, a `Task` or a function without arguments that makes one.

    Raises:
        UsageError: There is none.
    """
    if name in TASKS:
        return TASKS[name]()
    if re.fullmatch(r"[A-Za-z_][\w.]*:[A-Za-z_][\w.]*", name):
        from weightwalk.nets.named import named_object

        found = named_object(name)
        made = found() if callable(found) and not isinstance(found, (Task, nn.Module)) else found
        if isinstance(made, Task):
            return made
        raise UsageError(f"{name!r} is a {type(made).__name__}, not a Task; to train a module, give its data as well.")
    near = difflib.get_close_matches(name.lower(), TASKS, n=2, cutoff=0.5)
    hint = f"did you mean {' or '.join(near)}?" if near else f"there are {', '.join(TASKS)}, or package.module:object."
    raise UsageError(f"There is no task {name!r}; {hint}")
