"""What was asked for, checked at the door: data, steps of a grid, the net that a plane was made of."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from weightwalk.errors import UsageError
from weightwalk.learning.landscapes.directions import Plane, movable


def grid(points: int = 41, low: float = -1.0, high: float = 1.0) -> np.ndarray:
    """Evenly spaced steps of which one is exactly 0: the place of the net itself.

    Raises:
        UsageError: The number is even, so that none would be 0; or 0 does not lie on the grid.

    Example:
        >>> grid(5)
        array([-1. , -0.5,  0. ,  0.5,  1. ])
    """
    if points < 3 or points % 2 == 0:
        raise UsageError(
            f"A grid needs an odd number of points, 3 or more, so that the net itself stands in its middle; "
            f"got {points}: take {max(3, points + 1 - points % 2)}."
        )
    if not (np.isfinite([low, high]).all() and low < 0 < high):
        raise UsageError(f"A grid reaches to both sides of 0, where the net is; got {low} to {high}.")
    step = (high - low) / (points - 1)
    zero = round(-low / step)
    if abs(zero * step + low) > 1e-9 * (high - low):
        raise UsageError(
            f"{points} points from {low} to {high} have none at 0, where the net is; "
            "choose the ends as multiples of one step, or put them symmetrically."
        )
    return step * (np.arange(points) - zero)


def data_of(inputs: Tensor, targets: Tensor, rows: Sequence[int] | int | None) -> tuple[Tensor, Tensor, str]:
    """Inputs, targets, and which examples they are, in words."""
    for name, given in (("inputs", inputs), ("targets", targets)):
        if not isinstance(given, Tensor):
            raise UsageError(f"The {name} must be a tensor; got {type(given).__name__}: torch.as_tensor makes one.")
    if inputs.dim() == 0 or targets.dim() == 0 or len(inputs) != len(targets) or len(inputs) == 0:
        raise UsageError(
            f"A loss needs as many inputs as targets, one row each and at least one; "
            f"got shapes {tuple(inputs.shape)} and {tuple(targets.shape)}."
        )
    x, y, n = inputs.detach().clone(), targets.detach(), len(inputs)  # a net may write into its input
    if rows is None:
        return x, y, f"the mean over all {n:,} examples" if n > 1 else "the only example"
    chosen = [rows] if isinstance(rows, int) else list(rows)
    if not chosen:
        raise UsageError("No row was chosen: name at least one.")
    for r in chosen:
        if not -n <= r < n:
            raise UsageError(f"There is no row {r}: the data have {n}, counted from 0.")
    at = torch.tensor([r % n for r in chosen])
    one = f"example {int(at[0])} alone, of {n:,}"
    return x[at], y[at], one if len(chosen) == 1 else f"the mean over {len(chosen):,} of {n:,} examples"


def belongs(plane: Plane, module: nn.Module) -> None:
    """Refuse a plane whose origin is not the net as it is now."""
    weights = movable(module)
    if list(weights) != list(plane.origin):
        raise UsageError("The plane was made of another net: its parameters have other names.")
    for name, p in weights.items():
        if p.shape != plane.origin[name].shape or not torch.equal(p.detach(), plane.origin[name]):
            raise UsageError(
                f"The plane was made of other weights: {name} has changed since; make the plane again, "
                "so that the net stands at its centre."
            )


def steps_of(steps: np.ndarray, name: str) -> np.ndarray:
    """Refuse steps among which the net itself has no place."""
    a = np.asarray(steps, dtype=np.float64).copy()
    if a.ndim != 1 or not len(a) or not np.isfinite(a).all():
        raise UsageError(f"{name} is a row of finite numbers; got shape {a.shape}.")
    if (a == 0).sum() != 1 or (np.diff(a) <= 0).any():
        raise UsageError(
            f"{name} rises and has 0 in it once, where the net itself is; grid(41) makes such steps "
            "(an even number of points has none at 0)."
        )
    return a
