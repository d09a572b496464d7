"""Gradients held to central differences: the loss is computed a little to the left and to the right of each weight.

In float64 with ``h`` near the cube root of the unit roundoff, truncation and rounding of the difference both stay near
1e-10 of the loss. Where a weight stands within ``h`` of a kink (a ReLU at its bend) the difference is of two slopes:
it is taken again nearer by, and if that does not help, the two one-sided derivatives are reported.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from weightwalk.learning.nudges.blaming import Parameter, address_of
from weightwalk.learning.nudges.facts import Difference, GradientCheck
from weightwalk.learning.nudges.running import Losses

Progress = Callable[[int, int], None]
WORK = 200_000_000  # weights times weights checked; beyond that, a sample is
FEWEST = 16
WORST = 8


def check_gradients(
    losses: Losses,
    found: Sequence[Parameter],
    shown: Sequence[tuple[Parameter, int]],
    seed: int,
    progress: Progress | None = None,
) -> GradientCheck:
    """Every gradient, or those shown and a sample of the others, against central differences at the old weights.

    The weights must stand where the gradients were taken.
    """
    exact = losses.gradient()
    sizes = [p.before.size for p in found]
    total = sum(sizes)
    places = _sample(sizes, [(found.index(p), i) for p, i in shown], seed)
    value = losses.value()
    differences = []
    for n, (k, i) in enumerate(places):
        parameter = found[k]
        slope = _Slope(losses, losses.parameters[k], i, value, float(exact[k].reshape(-1)[i]))
        differences.append(slope.judge(address_of(parameter, i)[0], float(parameter.gradient.reshape(-1)[i])))
        if progress is not None:
            progress(n + 1, len(places))
    order = {"WRONG": 0, "kink": 1, "agrees": 2}
    worst = sorted(differences, key=lambda d: (order[d.verdict], -d.relative))[:WORST]
    counts = [sum(d.verdict == verdict for d in differences) for verdict in ("agrees", "kink", "WRONG")]
    return GradientCheck(
        len(differences), total, counts[0], counts[1], counts[2], tuple(worst), _rounding(found, exact),
        losses.precision,
    )  # fmt: skip


def _sample(sizes: list[int], shown: list[tuple[int, int]], seed: int) -> list[tuple[int, int]]:
    total = sum(sizes)
    most = max(FEWEST, WORK // max(total, 1))
    ends = np.cumsum(sizes)
    if most >= total:
        picked = list(range(total))
    else:
        starts = ends - sizes
        first = [int(starts[k]) + i for k, i in shown][: most // 2]
        drawn = np.random.default_rng(seed).integers(0, total, size=most).tolist()
        picked = sorted(dict.fromkeys([*first, *drawn][:most]))
    tensor = np.searchsorted(ends, picked, side="right")
    return [(int(k), int(i - (ends[k] - sizes[k]))) for k, i in zip(tensor, picked, strict=True)]


class _Slope:
    """The loss as a function of one weight."""

    def __init__(self, losses: Losses, parameter: Tensor, place: int, value: float, gradient: float) -> None:
        self.losses, self.parameter, self.place = losses, parameter.data.view(-1), place
        self.here, self.value, self.gradient = float(self.parameter[place]), value, gradient
        self.unit = torch.finfo(parameter.dtype).eps

    def at(self, weight: float) -> float:
        self.parameter[self.place] = weight
        try:
            return self.losses.value()
        finally:
            self.parameter[self.place] = self.here

    def judge(self, address: str, recorded: float) -> Difference:
        """Central differences with shrinking steps until one agrees; at a kink, the slopes to both sides."""
        h = self.unit ** (1 / 3) * max(1.0, abs(self.here))
        far = self.probe(h)
        if far.agrees and far.jump <= 10 * far.noise + 1e-3 * far.size:
            return self._told(address, recorded, far, "agrees")
        near = self.probe(h / 100)
        if near.jump > 10 * near.noise and near.jump >= 0.5 * far.jump:
            slack = near.noise + self.tolerance * near.size
            low, high = min(near.left, near.right) - slack, max(near.left, near.right) + slack
            verdict = "kink" if low <= self.gradient <= high else "WRONG"
            return self._told(address, recorded, near, verdict, at_kink=True)
        probes = sorted((far, self.probe(h / 10), near), key=lambda p: (not p.agrees, p.relative))
        return self._told(address, recorded, probes[0], "agrees" if probes[0].agrees else "WRONG")

    def probe(self, h: float) -> _Probe:
        """The slopes to both sides, a step of about `h` away."""
        step = float(2.0 ** np.floor(np.log2(h)))  # a power of two, so that little is lost in here + step
        up, down = self.at(self.here + step), self.at(self.here - step)
        noise = 8 * self.unit * max(abs(up), abs(down), abs(self.value)) / step
        central, right, left = (up - down) / (2 * step), (up - self.value) / step, (self.value - down) / step
        size = max(abs(central), abs(self.gradient))
        agrees = abs(central - self.gradient) <= self.tolerance * size + noise
        relative = abs(central - self.gradient) / size if size else 0.0
        return _Probe(step, central, left, right, abs(right - left), noise, size, agrees, relative)

    def _told(self, address: str, recorded: float, probe: _Probe, verdict: str, at_kink: bool = False) -> Difference:
        sides = (probe.left, probe.right) if at_kink else (None, None)
        return Difference(address, recorded, self.gradient, probe.central, probe.step, probe.relative, *sides, verdict)

    @property
    def tolerance(self) -> float:
        """Relative: what truncation may leave, and in less than float64 the gradient's own rounding."""
        return 1e-6 if self.unit < 1e-12 else 30 * self.unit ** (1 / 3)


@dataclass(frozen=True, slots=True)
class _Probe:
    """Slopes over one step."""

    step: float
    central: float
    left: float
    right: float
    jump: float
    noise: float
    size: float
    agrees: bool
    relative: float


def _rounding(found: Sequence[Parameter], exact: Sequence[Tensor]) -> float:
    """How far the recorded gradients are from those in float64, at worst."""
    worst = 0.0
    for parameter, gradient in zip(found, exact, strict=True):
        wide = gradient.detach().double().numpy()
        size = float(np.abs(wide).max(initial=0.0))
        if size:
            worst = max(worst, float(np.abs(parameter.gradient.astype(np.float64) - wide).max()) / size)
    return worst
