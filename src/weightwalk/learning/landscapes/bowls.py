"""The one loss surface that is known in full: a quadratic of two numbers, and the paths that optimizers take on it.

``L(w) = floor + (w - w*)ᵀ H (w - w*) / 2``. Gradient descent multiplies the distance to the minimum along each
eigenvector of H by ``1 - rate * eigenvalue`` at every step; so it converges when the rate is below
``2 / lambda_max``, and not above.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from weightwalk.errors import UsageError
from weightwalk.learning.frames import needs_pandas
from weightwalk.learning.optimizers import optimizer_of

FAR = 1e6
"""A path whose loss is this many times that of its start has diverged, and is followed no further."""


@dataclass(frozen=True, eq=False)
class Bowl:
    """A quadratic loss of two numbers.

    Attributes:
        hessian: H, shape (2, 2), symmetric without negative eigenvalue.
        minimum: w*, where the loss is least; of a trough, its point nearest to (0, 0).
        floor: The loss there.
        names: What the two numbers are called.
        eigenvalues: Of H, the greater first. Two positive ones: a bowl; one: a straight trough, level along its bottom.
        rank: How many of them are not 0 to rounding.
        critical_rate: ``2 / lambda_max``, where gradient descent stops converging; infinite if the loss is level.
    """

    hessian: np.ndarray
    minimum: np.ndarray
    floor: float
    names: tuple[str, str] = ("w1", "w2")
    eigenvalues: np.ndarray = field(init=False)
    rank: int = field(init=False)
    critical_rate: float = field(init=False)

    def __post_init__(self) -> None:
        values = np.linalg.eigvalsh(self.hessian)[::-1].clip(min=0)
        rank = int(np.count_nonzero(values > 1e-12 * values[0])) if values[0] > 0 else 0
        values[rank:] = 0.0
        object.__setattr__(self, "eigenvalues", values)
        object.__setattr__(self, "rank", rank)
        object.__setattr__(self, "critical_rate", 2 / float(values[0]) if rank else float("inf"))

    def __call__(self, points: np.ndarray) -> np.ndarray:
        """The loss at points of shape (..., 2)."""
        away = np.asarray(points, float) - self.minimum
        return self.floor + np.einsum("...i,ij,...j->...", away, self.hessian, away) / 2

    def gradient(self, points: np.ndarray) -> np.ndarray:
        """``H (w - w*)``, shape (..., 2)."""
        return (np.asarray(points, float) - self.minimum) @ self.hessian

    def trough(self) -> np.ndarray | None:
        """The direction, of length 1, along which the loss does not change; None for a bowl."""
        if self.rank != 1:
            return None
        direction = np.linalg.eigh(self.hessian)[1][:, 0]
        return direction * (1.0 if direction[np.abs(direction).argmax()] > 0 else -1.0)


SIBLING = Bowl(np.array([[1.0, 0.3], [0.3, 2.0]]), np.zeros(2), 0.0, ("x", "y"))
"""``0.5 x² + 0.3 x y + y²``: gradient descent diverges on it for rates above 0.960."""


@dataclass(frozen=True, eq=False)
class Path:
    """Where an optimizer went.

    Attributes:
        name: What was done.
        points: Coordinates on the picture's two axes, shape (T, 2); the first is the start.
        losses: The true loss at each, shape (T,): of the whole net, not of the picture under it.
        rate: Learning rate.
        relative_rate: The rate over ``2 / lambda_max``; None where that is not known.
        diverged: Whether the loss became infinite or rose beyond a million times that of the start.
        fell: Whether the loss fell at every single step.
        shown: Share of the path's variance (around its mean) that lies in the two directions of the picture.
        off: Distance of each point from the plane of the picture, shape (T,).
        note: What else is to be known of it.
    """

    name: str
    points: np.ndarray
    losses: np.ndarray
    rate: float
    relative_rate: float | None = None
    diverged: bool = False
    fell: bool = False
    shown: float = 1.0
    off: np.ndarray = field(default_factory=lambda: np.zeros(0))
    note: str = ""

    @property
    def final(self) -> float:
        """The loss where it ended."""
        return float(self.losses[-1])


def path_of(name: str, points: np.ndarray, losses: np.ndarray, rate: float, **more: Any) -> Path:
    """A path with what follows from its losses: whether it fell all along, whether it diverged."""
    bad = ~np.isfinite(losses) | (losses > FAR * max(abs(float(losses[0])), 1e-300))
    end = int(bad.argmax()) + 1 if bad.any() else len(losses)
    points, losses = points[:end], losses[:end]
    fell = bool(len(losses) > 1 and (np.diff(losses) < 0).all())
    return Path(name, points, losses, rate, diverged=bool(bad.any()), fell=fell, **more)


def descent(bowl: Bowl, start: np.ndarray, rate: float, steps: int, name: str = "") -> Path:
    """Gradient descent on a bowl, ``w <- w - rate * H (w - w*)``, by its recursion in float64.

    >>> for rate in (0.95, 0.97):
    ...     print(rate, descent(SIBLING, np.array([1.0, 1.0]), rate, 1000).diverged)
    0.95 False
    0.97 True
    """
    check_steps(rate, steps)
    points = [np.asarray(start, float)]
    with np.errstate(over="ignore", invalid="ignore"):
        for _ in range(steps):
            points.append(points[-1] - rate * bowl.gradient(points[-1]))
        made = np.array(points)
        relative = rate / bowl.critical_rate
        return path_of(
            name or f"rate {rate:.4g} = {relative:.3g} x 2/λmax", made, bowl(made), rate, relative_rate=relative
        )


def driven(
    loss: Callable[[torch.Tensor, int], torch.Tensor],
    judge: Callable[[np.ndarray], np.ndarray],
    start: np.ndarray,
    optimizer: str,
    rate: float,
    steps: int,
    *,
    name: str,
    schedule: Callable[[int], float] | None = None,
    back: np.ndarray | None = None,
) -> Path:
    """The path of one of torch's optimizers over two numbers.

    Args:
        loss: What the optimizer is given at a step: (the two numbers, the step) to a scalar.
        judge: The true loss at points, shape (T, 2) to (T,).
        start: Where it begins, in the coordinates of the picture.
        optimizer: A name in `weightwalk.learning.optimizers.OPTIMIZERS`.
        rate: Learning rate.
        steps: Number of updates.
        name: What the path is called.
        schedule: What the rate is multiplied by at a step; None for 1.
        back: The optimizer moves ``start / back`` instead, elementwise; the path is told in the picture's coordinates.
    """
    check_steps(rate, steps)
    scale = np.ones(2) if back is None else np.asarray(back, float)
    factor = torch.from_numpy(scale)
    weights = torch.nn.Parameter(torch.tensor(np.asarray(start, float) / scale, dtype=torch.float64))
    engine = optimizer_of(optimizer, [weights], rate)
    points = [np.asarray(start, float)]
    with torch.inference_mode(False), torch.enable_grad():
        for step in range(steps):
            for group in engine.param_groups:
                group["lr"] = rate * (1.0 if schedule is None else schedule(step))
            engine.zero_grad(set_to_none=True)
            loss(weights * factor, step).backward()
            engine.step()
            points.append(weights.detach().numpy().copy() * scale)
    made = np.array(points)
    with np.errstate(over="ignore", invalid="ignore"):
        return path_of(name, made, judge(made), rate)


def check_steps(rate: float, steps: int) -> None:
    """Refuse what is no learning rate or no number of steps.

    Raises:
        UsageError: It is not.
    """
    if not (rate > 0 and np.isfinite(rate)):
        raise UsageError(f"A learning rate must be a positive number; got {rate}.")
    if steps < 1:
        raise UsageError(f"A path needs at least one step; got {steps}.")


@dataclass(frozen=True, eq=False)
class Slide:
    """Numbers that slide down a bowl: the bowl on a grid, and paths on it.

    Attributes:
        bowl: The loss.
        first: Values of the first number.
        second: Of the second.
        losses: On the grid.
        paths: Gradient descent from one start, at rates below and above ``2 / lambda_max``.
    """

    bowl: Bowl
    first: np.ndarray = field(repr=False)
    second: np.ndarray = field(repr=False)
    losses: np.ndarray = field(repr=False)
    paths: tuple[Path, ...]

    def frame(self) -> Any:
        """A row for each step of each path, as a pandas data frame."""
        pd = needs_pandas()

        x, y = self.bowl.names
        return pd.concat(
            [
                pd.DataFrame({"path": p.name, "step": range(len(p.points)), x: p.points[:, 0], y: p.points[:, 1],
                              "loss": p.losses})
                for p in self.paths
            ],
            ignore_index=True,
        )  # fmt: skip


def slide(bowl: Bowl, paths: tuple[Path, ...], grid: int = 41, span: float | None = None) -> Slide:
    """A bowl on a grid around its minimum, with paths.

    Args:
        bowl: The loss.
        paths: What runs over it.
        grid: Places each way, odd.
        span: From the middle to each side; None for 2.

    Raises:
        UsageError: An even grid.
    """
    if grid < 3 or grid % 2 == 0:
        raise UsageError(f"A grid needs an odd number of places, 3 or more, so that one is its middle; got {grid}.")
    away = (np.arange(grid) - grid // 2) / (grid // 2) * (2.0 if span is None else span)
    axes = bowl.minimum[0] + away, bowl.minimum[1] + away
    return Slide(bowl, *axes, bowl(np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1)), paths)
