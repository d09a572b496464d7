"""What is learned: a net that can be made afresh, the data, and how it is trained unless one says otherwise."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from weightwalk.errors import UsageError
from weightwalk.learning.seeds import seeded


@dataclass(frozen=True, eq=False)
class Data:
    """Examples to learn from, and others to be judged on.

    Attributes:
        inputs: Shape ``(N, ...)``; token ids (integers) for a text net.
        targets: Shape ``(N, ...)``; class numbers for cross-entropy.
        held_inputs: Examples that training never sees; None where there are none.
        held_targets: Their targets.
        rows: A name for each example, such as ``"hello→world"``; empty for numbers without names.
        classes: A name for each output, such as the tokens; empty for outputs without names.
    """

    inputs: Tensor
    targets: Tensor
    held_inputs: Tensor | None = None
    held_targets: Tensor | None = None
    rows: tuple[str, ...] = ()
    classes: tuple[str, ...] = ()

    @property
    def held_out(self) -> tuple[Tensor, Tensor] | None:
        """Held-out inputs and targets, if there are any."""
        if self.held_inputs is None or self.held_targets is None:
            return None
        return self.held_inputs, self.held_targets


@dataclass(frozen=True, eq=False)
class Task:
    """A net, its data and its recipe.

    Attributes:
        name: As in ``weightwalk train NAME``.
        description: One line.
        build: Makes the module with fresh weights, from torch's random state.
        data: What it learns.
        loss: Name of the loss (`weightwalk.learning.losses.LOSSES`).
        optimizer: Name of the optimizer.
        lr: Learning rate.
        epochs: Passes over the data.
        batch: Rows per update; None for all.
        shape: What can be varied about net and data, with this task's values: ``{"width": 2, "activation": "relu"}``.
        family: Makes the task of another shape, ``family(width=4)``; None where nothing can be varied.
        remade: Whether `build` makes new weights each time; False for a module that the user handed over as it is.
    """

    name: str
    description: str
    build: Callable[[], nn.Module]
    data: Data
    loss: str = "mse"
    optimizer: str = "sgd"
    lr: float = 0.1
    epochs: int = 1000
    batch: int | None = None
    shape: Mapping[str, Any] = field(default_factory=dict)
    family: Callable[..., Task] | None = field(default=None, repr=False)
    remade: bool = True

    def module(self, seed: int = 0) -> nn.Module:
        """The net with the fresh weights that `seed` decides; whatever defaults the caller has set for torch.

        Raises:
            UsageError: It does not fit into memory, or the seed is longer than 64 bits.
        """
        try:
            with seeded(seed), torch.device("cpu"), torch.inference_mode(False):
                return self.build()
        except RuntimeError as error:
            if "allocate memory" not in str(error):
                raise
            raise UsageError(f"There is no memory for the net of {self.name!r} with {dict(self.shape)}.") from error

    def of(self, **shape: Any) -> Task:
        """The task of another shape.

        Raises:
            UsageError: Something that cannot be varied.
        """
        if not shape:
            return self
        unknown = [name for name in shape if name not in self.shape]
        if unknown or self.family is None:
            can = f"it has {', '.join(self.shape)}" if self.shape else "nothing about it can be varied"
            raise UsageError(f"The task {self.name!r} has no {' and no '.join(unknown or list(shape))} to vary; {can}.")
        return self.family(**{**self.shape, **shape})


def rows_of(inputs: Any, targets: Any) -> tuple[Tensor, Tensor]:
    """The user's examples as tensors into which no gradient flows back, made in inference mode or not.

    Raises:
        UsageError: They are no tensors.
    """
    for name, value in (("inputs", inputs), ("targets", targets)):
        if not isinstance(value, Tensor):
            raise UsageError(
                f"The {name} must be one tensor with a row per example; got {type(value).__name__}. A net that "
                "takes more can be wrapped in a module that takes one tensor."
            )
    with torch.inference_mode(False):
        x, y = (t.clone() if t.is_inference() else t.detach() for t in (inputs, targets))
    return x, y


def task_of(what: Task | str) -> Task:
    """The task of that name.

    Args:
        what: A name (linear, sqrt, hello, hello6, xor, nearest, regions), ``package.module:object`` for a task of your
            own, or a task, which is handed back.

    Raises:
        UsageError: There is none.

    Example:
        >>> task = task_of("hello6")
        >>> task.data.rows
        ('hello→world', 'cat→dog', 'dog→!', 'silly→dog', 'cute→cat', 'world→!')
        >>> [sum(p.numel() for p in task.of(width=w).module().parameters()) for w in (2, 4, 8)]
        [47, 103, 263]
    """
    if isinstance(what, Task):
        return what
    if isinstance(what, str):
        from weightwalk.nets.tasks import named_task  # a door upstairs, see tests/test_house.py

        return named_task(what)
    raise UsageError(f"A task is needed, or the name of one; got {type(what).__name__}.")
