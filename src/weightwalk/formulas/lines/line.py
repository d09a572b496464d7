"""The exact formula of a piecewise-affine net of one number: every kink, and slope and intercept between them.

The kinks come from `weightwalk.formulas.lines.kinks`; here they become facts, and the facts are held against the net.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from weightwalk.errors import UsageError
from weightwalk.formulas.certificate import LIMIT, Certificate, Check, agreement
from weightwalk.formulas.lines.kinks import Progress, propagate
from weightwalk.formulas.lines.stretches import joined
from weightwalk.formulas.piecewise import PiecewiseNet

Oracle = Callable[[np.ndarray], np.ndarray]
"""The net by other means: (N, 1) coordinates to (N, outputs)."""

FRESH = 1000
"""Random points at which a formula is compared with the net, at least."""

SAME = 1e-13
"""Two slopes that differ by less than this fraction of the size of their terms are the same slope, rounded twice."""

REACH = 3.0
"""Rays are tried to this many times the distance of the outermost kink."""


@dataclass(frozen=True, eq=False)
class Piece:
    """A largest stretch on which the net is one affine map: ``y = slope t + intercept`` from `start` to `end`.

    Attributes:
        start: May be -inf.
        end: May be inf.
        slope: (outputs,).
        intercept: (outputs,).
    """

    start: float
    end: float
    slope: np.ndarray
    intercept: np.ndarray


@dataclass(frozen=True, eq=False)
class Line:
    """A net of one number t, as ``y = slopes[i] t + intercepts[i]`` between kinks i - 1 and i.

    Attributes:
        net: The net of t.
        start: Where the formula begins; may be -inf.
        end: Where it ends; may be inf.
        kinks: (K,) ascending: where any unit changes its piece.
        switches: (S, 3) kink, layer (from 0) and unit of each such change, in order.
        bends: (K,) whether a slope of y changes there, beyond rounding (`SAME`). A unit may switch without effect.
        slopes: (K + 1, outputs).
        intercepts: (K + 1, outputs).
        values: (K, outputs) y at the kinks, from the piece before each.
        pattern: Per layer (K + 1, n_k) int8, the piece of every unit; see `weightwalk.formulas.piecewise`.
        tolerance: A unit whose |pre-activation| is below this fraction of the size of its terms is held to be at its
            kink.
        snapped: How often that was decided against the number's own sign, plus crossings that joined another.
        certificate: What the formula was held to.
    """

    net: PiecewiseNet
    start: float
    end: float
    kinks: np.ndarray
    switches: np.ndarray
    bends: np.ndarray
    slopes: np.ndarray
    intercepts: np.ndarray
    values: np.ndarray
    pattern: Sequence[np.ndarray]
    tolerance: float
    snapped: int
    certificate: Certificate

    def __call__(self, t: np.ndarray | float) -> np.ndarray:
        """y by the formula, (..., outputs) for t (...), from `pieces`; at a kink the piece before it is used.

        Raises:
            UsageError: A t outside of the interval, for which the formula says nothing.
        """
        t = np.asarray(t, np.float64)
        outside = ~((t >= self.start) & (t <= self.end))
        if outside.any():
            raise UsageError(
                f"The formula holds from {self.start!r} to {self.end!r}, not at {float(t[outside].flat[0])!r}; "
                "ask for a longer line."
            )
        first, ends = self.merged
        i = first[np.searchsorted(ends, t)]
        return self.slopes[i] * t[..., None] + self.intercepts[i]

    @cached_property
    def units(self) -> tuple[tuple[str, ...], ...]:
        """Per kink the addresses of the units that switch there: ``(("fc1[3]",), ("fc1[0]", "fc2[7]"))``."""
        names: list[list[str]] = [[] for _ in self.kinks]
        for kink, layer, unit in self.switches.tolist():
            names[kink].append(self.net.layers[layer].unit(unit))
        return tuple(tuple(some) for some in names)

    @cached_property
    def pieces(self) -> tuple[Piece, ...]:
        """The largest stretches of one affine map: neighbours without a bend between them are one."""
        first, bends = self.merged
        ends = [self.start, *bends.tolist(), self.end]
        return tuple(Piece(ends[i], ends[i + 1], self.slopes[row], self.intercepts[row]) for i, row in enumerate(first))

    @cached_property
    def merged(self) -> tuple[np.ndarray, np.ndarray]:
        """The row of `slopes` that holds on each of `pieces`, and the kinks between these."""
        bends = np.flatnonzero(self.bends)
        return np.concatenate([[0], bends + 1]), self.kinks[bends]

    @cached_property
    def extremes(self) -> tuple[np.ndarray, np.ndarray]:
        """Every place where y can be extreme, ascending, and y there, (places, outputs); both infinite on a ray."""
        ends = []
        for end, row, way in ((self.start, 0, -1.0), (self.end, self.merged[0][-1], 1.0)):
            slope, there = self.slopes[row], self.intercepts[row]
            if math.isfinite(end):
                ends.append(slope * end + there)
            else:
                ends.append(np.where(slope == 0.0, there, np.copysign(np.inf, way * slope)))
        at = np.array([self.start, *self.kinks, self.end])
        return at, np.concatenate([ends[0][None], self.values, ends[1][None]])

    def range(self) -> tuple[np.ndarray, np.ndarray]:
        """Least and greatest y, each (outputs,): exact, since y has its extremes at kinks and ends."""
        y = self.extremes[1]
        return y.min(axis=0), y.max(axis=0)

    def argmin(self, output: int = 0) -> float:
        """The first t at which an output is least; -inf or inf where it has no least value, or only far out."""
        at, y = self.extremes
        return float(at[y[:, output].argmin()])

    def argmax(self, output: int = 0) -> float:
        """The first t at which an output is greatest; -inf or inf where it has no greatest value, or only far out."""
        at, y = self.extremes
        return float(at[y[:, output].argmax()])


def line(
    net: PiecewiseNet,
    start: float = -math.inf,
    end: float = math.inf,
    *,
    tolerance: float = 1e-12,
    max_pieces: int = 2_000_000,
    memory: int = 2 << 30,
    seed: int = 0,
    oracle: Oracle | None = None,
    progress: Progress | None = None,
) -> Line:
    """The exact formula of a net of one number from `start` to `end`.

    Every kink is found, since kinks are carried through the layers and nothing is sampled: on a piece between kinks of
    the layers before, each pre-activation is a line, and a new kink is where that line meets a kink of its unit.

    Args:
        net: A net with one input; see `PiecewiseNet.restrict` for a line through the inputs of another.
        start: Where to begin; -inf for no beginning.
        end: Where to end; inf for no end.
        tolerance: See `Line`.
        max_pieces: More pieces than this are refused.
        memory: Bytes that the patterns of all pieces may take.
        seed: Of the fresh points of the certificate.
        oracle: The net by other means in float64, against which the formula is held; without it the net itself.
        progress: Told of every layer.

    Raises:
        UsageError: The net has not one input, or weights that are not finite; the ends are equal, reversed or NaN;
            there are too many pieces.

    Example:
        >>> import numpy as np
        >>> from weightwalk.formulas.piecewise import mlp
        >>> size = line(mlp([np.array([[1.0], [-1.0]]), np.array([[1.0, 1.0]])], [np.zeros(2), np.zeros(1)]))
        >>> size.kinks.tolist(), size.slopes.tolist(), size.units
        ([0.0], [[-1.0], [1.0]], (('fc1[0]', 'fc1[1]'),))
    """
    start, end = _ends(start, end)
    _check_net(net)
    stretches, ys, sizes = propagate(net, start, end, tolerance, max_pieces, progress, memory)
    t, pattern = joined(stretches)
    y = np.concatenate(ys, axis=2)
    size = np.concatenate([s[:, 0] for s in sizes], axis=1)
    slopes, intercepts = (np.ascontiguousarray(y[:, i].T) for i in range(2))
    change = np.abs(np.diff(y[:, 0], axis=1)) > SAME * np.maximum(size[:, 1:], size[:, :-1])
    bends = np.asarray(change.any(axis=0))
    first = np.concatenate([[0], np.flatnonzero(bends) + 1])
    row = first[np.cumsum(np.concatenate([[0], bends]))[:-1]]
    kinks = t[1:-1]
    found = Line(
        net=net,
        start=start,
        end=end,
        kinks=kinks,
        switches=_switches(pattern),
        bends=bends,
        slopes=slopes,
        intercepts=intercepts,
        values=slopes[row] * kinks[:, None] + intercepts[row],
        pattern=pattern,
        tolerance=tolerance,
        snapped=sum(s.snapped for s in stretches),
        certificate=Certificate((), seed),
    )
    return replace(found, certificate=_certificate(found, oracle or net, seed))


def _ends(start: float, end: float) -> tuple[float, float]:
    start, end = float(start), float(end)
    if math.isnan(start) or math.isnan(end):
        raise UsageError(f"A line from {start!r} to {end!r} has no place: give two numbers, or -inf and inf.")
    if start == end:
        raise UsageError(f"A line from {start!r} to {end!r} has no length; give two different ends.")
    if start > end:
        raise UsageError(f"The line runs backwards, from {start!r} to {end!r}; give the smaller end first.")
    return start, end


def _check_net(net: PiecewiseNet) -> None:
    if net.n != 1:
        raise UsageError(
            f"A line needs a net of one number, and this one has {net.n} inputs; choose a line through them "
            "(`restrict`), or ask for a plane or for the formula at one input."
        )
    for affine, name in (*((la.affine, la.name) for la in net.layers), (net.output, "the output")):
        dense = [m if isinstance(m, np.ndarray) else getattr(m, "data", None) for _, m in affine.terms]
        for array in (affine.bias, *dense):
            if isinstance(array, np.ndarray) and not np.isfinite(array).all():
                raise UsageError(
                    f"The weights of {name} are not all finite numbers: a net that diverged has no formula."
                )


def _switches(pattern: Sequence[np.ndarray]) -> np.ndarray:
    """(S, 3) kink, layer, unit of every change of a piece."""
    rows = [np.zeros((0, 3), np.intp)]
    for k, pieces in enumerate(pattern):
        kink, unit = np.nonzero(pieces[1:] != pieces[:-1])
        rows.append(np.stack([kink, np.full(len(kink), k), unit], axis=1))
    found = np.concatenate(rows)
    return found[np.argsort(found[:, 0], kind="stable")]


# -- the certificate --------------------------------------------------------------------------------------------------


def _certificate(found: Line, oracle: Oracle, seed: int) -> Certificate:
    fresh = fresh_points(found, seed)
    error, size = difference(found(fresh), oracle(fresh[:, None]))
    checks = [agreement(f"{len(fresh):,} fresh points", error, size)]
    if len(found.kinks):
        first, kinks = found.merged
        after = found.values.copy()
        after[found.bends] = found.slopes[first[1:]] * kinks[:, None] + found.intercepts[first[1:]]
        there = oracle(found.kinks[:, None])
        error, at_kinks = difference(np.stack([found.values, after]), np.stack([there, there]))
        size = max(size, at_kinks)
        checks.append(agreement(f"the {len(found.kinks):,} kinks, from both sides", error, size))
        jump = float(np.abs(after - found.values).max())
        checks.append(Check("greatest jump at a kink", jump, f"<= {LIMIT:g} x {size:.3g}", jump <= LIMIT * size))
        ends = [found.start, *found.kinks, found.end]
        shortest = float(np.diff(ends).min())
        checks.append(Check("shortest piece", shortest, "> 0", shortest > 0.0))
    checks.append(Check("pieces of one pattern", len(found.slopes)))
    checks.append(Check("largest affine pieces", int(found.bends.sum()) + 1))
    checks.append(Check(f"units held to be at a kink, within {found.tolerance:g} of their terms", found.snapped))
    return Certificate(tuple(checks), seed)


def difference(formula: np.ndarray, net: np.ndarray) -> tuple[float, float]:
    """Greatest |formula - net| and greatest |net|; nan counts as infinite."""
    net = np.asarray(net, np.float64).reshape(formula.shape)
    error = np.abs(formula - net).max(initial=0.0)
    return float(np.inf if np.isnan(error) else error), float(np.abs(net).max(initial=0.0))


def fresh_points(found: Line, seed: int, count: int = FRESH) -> np.ndarray:
    """Random t: half evenly over the whole, half within pieces drawn at random, so that short ones are tried too.

    A ray is tried as far beyond its kink as `REACH` times the place of the outermost one.
    """
    rng = np.random.default_rng(seed)
    known = np.array([found.start, *found.kinks, found.end])
    known = known[np.isfinite(known)]
    span = float(np.abs(known).max(initial=0.0)) or 1.0
    low = found.start if math.isfinite(found.start) else float(known.min(initial=0.0)) - REACH * span
    high = found.end if math.isfinite(found.end) else float(known.max(initial=0.0)) + REACH * span
    half = max(count // 2, 1)
    evenly = low + (high - low) * rng.random(half)
    t = np.concatenate([[low], found.kinks, [high]])
    piece = rng.integers(0, len(t) - 1, count - half)
    within = t[piece] + (t[piece + 1] - t[piece]) * rng.random(count - half)
    return np.clip(np.concatenate([evenly, within]), low, high)
