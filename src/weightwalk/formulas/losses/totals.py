"""The losses of many samples along one weight, summed piece by piece of their common subdivision.

Each sample's loss is a quadratic on each of its stretches. The sum changes at every kink of every sample. Going outward
from u = 0, the weight as it is, it is carried from kink to kink by adding what the samples that switch there
contribute, and every so often it is summed anew from all samples, so that rounding errors do not pile up. Outward,
because far out the loss is large: carried inward, the rounding errors of large numbers would drown the small ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from itertools import pairwise

import numpy as np

from weightwalk.formulas.losses.moving import Segments

WORK = 2**24
"""Samples that are summed anew, in all, about."""


@dataclass(frozen=True, eq=False)
class Losses:
    """The loss of each stretch of each sample about a place of its own: ``value + slope d + curvature d^2``.

    Attributes:
        sample: (S,).
        start: (S,) where it begins.
        centre: (S,) its place: the u of the stretch that is nearest to 0.
        terms: (S, 4) value, slope and curvature there, as shares of the mean, and the size of the terms of the slope.
        slopes: (S, 2) slope at its two ends, where they are finite.
    """

    sample: np.ndarray
    start: np.ndarray
    centre: np.ndarray
    terms: np.ndarray
    slopes: np.ndarray

    def about(self, rows: np.ndarray, u: float) -> np.ndarray:
        """(4,) the sum of some stretches about u."""
        d = u - self.centre[rows]
        value, slope, curvature, size = self.terms[rows].T
        sums = (value + (slope + curvature * d) * d, slope + 2 * curvature * d, curvature, size)
        return np.array([part.sum() for part in sums])


def losses(found: Segments, target: np.ndarray, first: int, count: int) -> Losses:
    """Squared errors of the outputs, as quadratics.

    Args:
        found: Outputs of some samples.
        target: (N, outputs) of these samples.
        first: Number of the first of these samples.
        count: Over how many numbers the mean is taken.
    """
    slope, target = found.slope, target[found.sample]
    inner = np.clip(0.0, found.start, found.end)

    def rest(u: np.ndarray) -> np.ndarray:
        return slope * np.where(np.isfinite(u), u, inner)[:, None] + found.constant - target

    here = rest(inner)
    size = np.abs(slope) * (np.abs(slope * inner[:, None]) + np.abs(found.constant) + np.abs(target))
    terms = ((here**2).sum(1), 2 * (slope * here).sum(1), (slope**2).sum(1), 2 * size.sum(1))
    slopes = [2 * (slope * rest(u)).sum(1) for u in (found.start, found.end)]
    sample = found.sample + first
    return Losses(sample, found.start, inner, np.stack(terms, 1) / count, np.stack(slopes, 1) / count)


def joined(parts: Sequence[Losses]) -> Losses:
    """Bundles of samples, one after the other."""
    return Losses(*(np.concatenate([getattr(p, f.name) for p in parts]) for f in fields(Losses)))


def summed(of: Losses) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The sum over samples: kinks (K,), centres (K + 1,), and value, slope, curvature and size of slope (K + 1, 4).

    A piece is written about its u nearest to 0.
    """
    opens = np.ones(len(of.sample), bool)
    opens[1:] = of.sample[1:] != of.sample[:-1]
    later = np.flatnonzero(~opens)
    later = later[np.argsort(of.start[later], kind="stable")]
    kinks, begin = np.unique(of.start[later], return_index=True)
    begin = np.append(begin, len(later))
    jump = np.stack([of.slopes[later, 0] - of.slopes[later - 1, 1], of.terms[later, 2] - of.terms[later - 1, 2]], 1)
    jumps = np.add.reduceat(jump, begin[:-1], axis=0) if len(kinks) else np.zeros((0, 2))
    here = np.flatnonzero(opens | (of.start < 0.0))
    current = np.empty(int(opens.sum()), np.intp)
    current[of.sample[here]] = here  # the last one counts: the stretch in which u = 0 is
    middle = int(np.searchsorted(kinks, 0.0))
    cut = begin[middle]
    right = _Side(of, 1, kinks[middle:], jumps[middle:], begin[middle:] - cut, later[cut:])
    # To the left everything is mirrored: kinks are met from the other side, and curvatures jump the other way.
    left = _Side(of, -1, kinks[:middle][::-1], jumps[:middle][::-1] * [1, -1],
                 (cut - begin[: middle + 1])[::-1], later[:cut][::-1] - 1)  # fmt: skip
    total = np.concatenate([left.rows(current)[::-1], of.about(current, 0.0)[None], right.rows(current)])
    return kinks, np.concatenate([kinks[:middle], [0.0], kinks[middle:]]), total


@dataclass(frozen=True, eq=False)
class _Side:
    """The kinks to one side of u = 0, outward.

    Attributes:
        of: The losses.
        sign: 1 to the right, -1 to the left.
        kinks: (k,)
        jumps: (k, 2) of slope and curvature, outward.
        begin: (k + 1,) where the events of each kink begin.
        then: (events,) the stretch in which the sample of an event is beyond it.
    """

    of: Losses
    sign: int
    kinks: np.ndarray
    jumps: np.ndarray
    begin: np.ndarray
    then: np.ndarray

    def rows(self, current: np.ndarray) -> np.ndarray:
        """(k, 4) the sums beyond each kink, about it; `current` is the stretch of each sample at u = 0."""
        current, mirror = current.copy(), np.array([1, self.sign, 1, 1])
        rows = np.empty((len(self.kinks), 4))
        fresh = np.append(self._fresh(len(current)), len(self.kinks))
        for first, last in pairwise(fresh.tolist()):
            self._pass(current, first, first + 1)
            anchor = self.of.about(current, float(self.kinks[first])) * mirror
            jumps = self.jumps[first:last].copy()
            jumps[0] = 0.0
            rows[first:last] = _carried(anchor, self.sign * self.kinks[first:last], jumps)
            self._pass(current, first + 1, last)
        return rows * mirror

    def _pass(self, current: np.ndarray, first: int, last: int) -> None:
        then = self.then[self.begin[first] : self.begin[last]]
        current[self.of.sample[then]] = then

    def _fresh(self, samples: int) -> np.ndarray:
        """The kinks beyond which the sum is formed anew: some of many, and where u doubles or a piece is as long as u.

        On a piece of length d a slope that is wrong by e makes a loss that is wrong by d e.
        """
        count, far = len(self.kinks), np.abs(self.kinks)
        fresh = np.arange(count) % max(8, count * samples // WORK) == 0
        with np.errstate(divide="ignore"):
            octave = np.floor(np.log2(far))
        fresh[1:] |= octave[1:] != octave[:-1]
        fresh[:-1] |= np.diff(far) > far[:-1]
        fresh[-1:] = True
        return np.flatnonzero(fresh)


def _carried(anchor: np.ndarray, kinks: np.ndarray, jumps: np.ndarray) -> np.ndarray:
    """(k, 4) the sums beyond each of k kinks, about it, from those at the first and the jumps at each."""
    width = np.append(np.diff(kinks), 0.0)
    curvature = anchor[2] + np.cumsum(jumps[:, 1])
    gain = 2 * curvature * width
    slope = anchor[1] + np.cumsum(jumps[:, 0]) + np.concatenate([[0.0], np.cumsum(gain[:-1])])
    rise = (slope + curvature * width) * width
    value = anchor[0] + np.concatenate([[0.0], np.cumsum(rise[:-1])])
    return np.column_stack([value, slope, curvature, np.full(len(kinks), anchor[3])])
