"""Where a formula is wanted: points, lines, planes and boxes, as people give them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from weightwalk.errors import UsageError
from weightwalk.formulas.oracle import Oracle
from weightwalk.formulas.piecewise import PiecewiseNet

PARALLEL = 1e-12
"""Two directions whose sine is below this span no plane."""


@dataclass(frozen=True, eq=False)
class Flat:
    """A line or plane in input space: ``x = origin + sum_i u_i directions[i]``.

    Attributes:
        origin: (n,).
        directions: (d, n), d = 1 or 2.
        names: Of the coordinates u: ``("t",)``, ``("s", "t")``, or the names of two inputs.
    """

    origin: np.ndarray
    directions: np.ndarray
    names: tuple[str, ...]

    def at(self, points: np.ndarray) -> np.ndarray:
        """Inputs (N, n) at coordinates (N, d)."""
        return self.origin + np.asarray(points, np.float64) @ self.directions

    def of(self, net: PiecewiseNet, fold: bool = True) -> PiecewiseNet:
        """The net as one of the coordinates."""
        return net.restrict(self.origin, self.directions, self.names, fold=fold)

    def through(self, oracle: Oracle) -> Oracle:
        """A judge of the coordinates from one of the inputs."""
        return lambda points: oracle(self.at(points))


def point_of(given: Any, n: int, what: str) -> np.ndarray:
    """One input as n numbers.

    Raises:
        UsageError: Another count, or a number that is not finite.
    """
    try:
        array = np.asarray(given.detach().cpu().numpy() if hasattr(given, "detach") else given, np.float64).reshape(-1)
    except (TypeError, ValueError) as error:
        raise UsageError(f"{what}= takes the {n:,} numbers of one input; {given!r} is not numbers.") from error
    if len(array) != n:
        raise UsageError(f"{what} has {len(array):,} number{'s' * (len(array) != 1)}, and the net takes {n:,}.")
    if not np.isfinite(array).all():
        first = int(np.flatnonzero(~np.isfinite(array))[0])
        raise UsageError(f"{what} must be finite, and number {first} is {array[first]}.")
    return array


def flat_line(line: Any, n: int) -> Flat:
    """The line through two inputs, A at t = 0 and B at t = 1.

    Raises:
        UsageError: They are the same, or do not fit the net.
    """
    if not isinstance(line, (tuple, list)) or len(line) != 2:
        raise UsageError("A line is given by two inputs, A and B: line=(A, B).")
    a, b = point_of(line[0], n, "A"), point_of(line[1], n, "B")
    if (a == b).all():
        raise UsageError("A and B are the same point, and a line needs two: change one of them.")
    return Flat(a, (b - a)[None], ("t",))


def flat_plane(plane: Any, names: Sequence[str], point: np.ndarray) -> Flat:
    """The plane through an origin along two vectors, or through `point` along the axes of two inputs.

    Raises:
        UsageError: The vectors are parallel or zero, or do not fit the net.
    """
    n = len(names)
    if isinstance(plane, (tuple, list)) and len(plane) == 2:
        i, j = (_axis(a, names) for a in plane)
        if i == j:
            raise UsageError(f"A plane needs two different inputs; {names[i]!r} was given twice.")
        origin = point.copy()
        origin[[i, j]] = 0.0
        return Flat(origin, np.eye(n)[[i, j]] if n < 4096 else _units(n, (i, j)), (names[i], names[j]))
    if not isinstance(plane, (tuple, list)) or len(plane) != 3:
        raise UsageError("A plane is given by an origin and two vectors, plane=(origin, U, V), or by two inputs.")
    origin, u, v = (point_of(p, n, w) for p, w in zip(plane, ("the origin", "U", "V"), strict=True))
    lengths = np.linalg.norm(u), np.linalg.norm(v)
    if 0.0 in lengths:
        raise UsageError(f"{'UV'[lengths.index(0.0)]} is the zero vector, along which there is no plane.")
    across = v / lengths[1] - (u @ v) / (lengths[0] * lengths[1]) * (u / lengths[0])
    if np.linalg.norm(across) < PARALLEL:
        raise UsageError("U and V are parallel, so they span a line and no plane: use --line, or turn one of them.")
    return Flat(origin, np.stack([u, v]), ("s", "t"))


def _units(n: int, axes: tuple[int, int]) -> np.ndarray:
    out = np.zeros((2, n))
    out[[0, 1], list(axes)] = 1.0
    return out


def _axis(given: Any, names: Sequence[str]) -> int:
    if isinstance(given, str) and given in names:
        return names.index(given)
    try:
        number = int(given)
    except (TypeError, ValueError) as error:
        some = ", ".join(names[:8]) + (" ..." if len(names) > 8 else "")
        raise UsageError(f"There is no input {given!r}: the inputs are {some}, or their numbers from 0.") from error
    if not 0 <= number < len(names):
        raise UsageError(f"There is no input number {number}: the net has {len(names):,}, counted from 0.")
    return number


def intervals(box: Any, dims: int, default: Sequence[tuple[float, float]]) -> Any:
    """(least, greatest) per coordinate, from one pair for all, or one pair each.

    Raises:
        UsageError: Not such pairs, or an empty one.
    """
    if box is None:
        return tuple(default)
    try:
        array = np.asarray(box, np.float64)
    except (TypeError, ValueError) as error:
        raise UsageError(f"A box is (least, greatest) of each of the {dims} coordinates; received {box!r}.") from error
    if array.shape == (2,):
        array = np.tile(array, (dims, 1))
    if array.shape != (dims, 2):
        raise UsageError(
            f"The box has {array.size // 2} ranges, and there are {dims} coordinates: give one each, or one for all."
        )
    if np.isnan(array).any():
        raise UsageError("A side of the box is NaN; it takes two numbers, the least and the greatest.")
    for i, (low, high) in enumerate(array.tolist()):
        if low >= high:
            raise UsageError(f"The box is empty: coordinate {i} runs from {low:g} to {high:g}; the least comes first.")
    return tuple((low, high) for low, high in array.tolist())
