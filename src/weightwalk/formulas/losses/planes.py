"""The exact loss over two weights of one layer: per sample, every region of the plane of the two.

Over two weights of one layer the outputs of a sample are piecewise affine, so its squared error is one quadratic per
region of its own `Partition`. The loss is their mean; its pieces are those of all partitions laid over each other,
which are not listed here: there can be as many as all pairs of lines cross. Two weights of different layers multiply
each other, and then nothing is piecewise affine.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np

from weightwalk.errors import UsageError
from weightwalk.formulas.certificate import LIMIT, Certificate, Check
from weightwalk.formulas.losses.moving import Motion, Weight, motion
from weightwalk.formulas.losses.slices import check_data
from weightwalk.formulas.piecewise import Affine, PiecewiseNet
from weightwalk.formulas.planes.partition import Box, Partition
from weightwalk.formulas.planes.plane import partition

PlaneOracle = Callable[[np.ndarray], np.ndarray]
"""The loss at pairs of weights, (M, 2) -> (M,), by other means."""

FRESH = 64


@dataclass(frozen=True, eq=False)
class LossPlane:
    """The mean squared loss as a function of two weights.

    Places are kept as (u, v), the distances from the weights as they are; `box` and the partitions are in these.

    Attributes:
        names: Of the two weights.
        at: The two weights as they are.
        box: ((least u, greatest u), (least v, greatest v)).
        targets: (N, outputs).
        partitions: Per sample, the regions on each of which its outputs are affine in (u, v).
        certificate: What it was held to.
    """

    names: tuple[str, str]
    at: tuple[float, float]
    box: Box
    targets: np.ndarray = field(repr=False)
    partitions: tuple[Partition, ...] = field(repr=False)
    certificate: Certificate = field(default_factory=lambda: Certificate((), 0))

    def __str__(self) -> str:
        from weightwalk.show.terminal import plain

        return plain(self)

    @property
    def samples(self) -> int:
        """N."""
        return len(self.partitions)

    @property
    def counts(self) -> np.ndarray:
        """(N,) regions of each sample, each with one quadratic."""
        return np.array([p.activation_regions for p in self.partitions])

    def __call__(self, weights: np.ndarray) -> np.ndarray:
        """The loss by the formula, (...), at pairs of weights (..., 2).

        Raises:
            UsageError: A pair outside of the box.
        """
        weights = np.asarray(weights, np.float64)
        places = (weights - self.at).reshape(-1, 2)
        (a, b), (c, d) = self.box
        inside = (places >= (a, c)) & (places <= (b, d))
        if not inside.all():
            wrong = weights.reshape(-1, 2)[~inside.all(1)][0].tolist()
            raise UsageError(
                f"The formula holds in a box around {self.at}, not at {tuple(wrong)}; ask for a wider one."
            )
        total = np.zeros(len(places))
        for found, target in zip(self.partitions, self.targets, strict=True):
            total += ((outputs_at(found, places) - target) ** 2).sum(1)
        return (total / self.targets.size).reshape(weights.shape[:-1])

    def grid(self, count: int = 41) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Values of the two weights, (count,) each, and the loss, (count, count) with the first weight along axis 0.

        With an odd count and a box that is even on both sides, the middle of the grid is the net as it is.
        """
        axes = [np.linspace(low, high, count) for low, high in self.box]
        first, second = (axis + at for axis, at in zip(axes, self.at, strict=True))
        low, high = np.array(self.box).T + self.at
        pairs = np.stack(np.meshgrid(first, second, indexing="ij"), -1)
        return first, second, self(np.clip(pairs, low, high))


def loss_plane(
    net: PiecewiseNet,
    weights: tuple[Weight, Weight],
    data: tuple[np.ndarray, np.ndarray],
    box: Box,
    *,
    loss: str = "mse",
    oracle: PlaneOracle | None = None,
    max_regions: int = 500_000,
    memory: int = 2 << 30,
    seed: int = 0,
) -> LossPlane:
    """The exact mean squared loss over two weights of one layer.

    Args:
        net: The net, with the weights as they are.
        weights: Which two, from `.moving.entry` or `.parameters.locate`.
        data: Inputs (N, n) and targets (N, outputs).
        box: Least and greatest value of each weight; it must hold both as they are.
        loss: ``"mse"``, the only loss that is piecewise quadratic.
        oracle: The loss by other means; without it, the net itself with the weights changed.
        max_regions: More regions than this over all samples are refused.
        memory: Bytes that may be in use for one sample.
        seed: Of the fresh pairs of weights in the certificate.

    Raises:
        UsageError: Weights of two layers, one weight twice, another loss, data that do not fit, an empty box, or too
            many regions.

    Example:
        >>> import numpy as np
        >>> from weightwalk.formulas.losses.moving import entry
        >>> from weightwalk.formulas.piecewise import mlp
        >>> net = mlp([np.eye(2), np.array([[1.0, 1.0]])], [np.zeros(2), np.zeros(1)])
        >>> pair = entry(net, 0, 0, 0), entry(net, 0, 1, 1)  # relu(a x) + relu(b y)
        >>> found = loss_plane(net, pair, (np.ones((1, 2)), np.zeros((1, 1))), ((-2.0, 2.0), (-2.0, 2.0)))
        >>> found.counts.tolist(), found([[1.0, 1.0], [-1.0, -1.0], [-1.0, 2.0]]).tolist()
        ([4], [4.0, 0.0, 4.0])
    """
    if loss != "mse":
        raise UsageError(f"Over two weights only the mean squared error is piecewise quadratic, and {loss!r} is not.")
    if weights[0].name == weights[1].name:
        raise UsageError(f"{weights[0].name} is given twice; a plane needs two weights.")
    x, y = check_data(net, data)
    at = weights[0].value, weights[1].value
    for (low, high), weight in zip(box, weights, strict=True):
        if not low < high or not low <= weight.value <= high:
            raise UsageError(f"{weight.name} is {weight.value!r}, and the box goes from {low!r} to {high!r} around it.")
    moves = motion(net, weights, x)
    around = tuple((low - w, high - w) for (low, high), w in zip(box, at, strict=True))
    assert len(around) == 2
    partitions, left = [], max_regions
    for n in range(len(x)):
        if left < 1:
            raise UsageError(
                f"The first {n:,} of {len(x):,} samples have max_regions = {max_regions:,} regions already; give a "
                "smaller box, fewer samples, or a greater max_regions."
            )
        found = partition(_of_sample(moves, n), around, max_regions=left, memory=memory, seed=seed)
        partitions.append(found)
        left -= found.activation_regions
    plane = LossPlane((weights[0].name, weights[1].name), at, around, y, tuple(partitions))
    return replace(plane, certificate=_certificate(plane, oracle, seed))


def _of_sample(moves: Motion, n: int) -> PiecewiseNet:
    """The outputs of one sample as a net of (u, v): what does not move is in the biases."""
    number = {source: i for i, source in enumerate(sorted(moves.moving), 1)}

    def part(i: int) -> Affine:
        rates = moves.rates[i]
        terms = [] if rates is None else [(0, np.ascontiguousarray(rates[:, n].T))]
        terms += [(number[j], m) for j, m in moves.affine(moves.first + i).terms if j in number]
        return Affine(tuple(terms), moves.still[i][n])

    layers = tuple(replace(moves.net.layers[k - 1], affine=part(k - 1 - moves.first)) for k in number)
    return PiecewiseNet(("u", "v"), layers, part(len(moves.still) - 1), moves.net.outputs)


def outputs_at(found: Partition, places: np.ndarray) -> np.ndarray:
    """y at places (M, 2) by the affine map of the region in which each lies, found by its pattern.

    A place on an edge may have a pattern that is no region's; there the map of that pattern is used, which gives the
    same number because the net is continuous.
    """
    if not found.net.layers:
        return places @ found.slopes[0].T + found.offsets[0]
    here = np.concatenate(found.net.pattern(places), axis=1)
    both = np.concatenate([np.concatenate(list(found.pattern), axis=1), here])
    _, first, label = np.unique(both, axis=0, return_index=True, return_inverse=True)
    region = first[label.reshape(-1)[found.activation_regions :]]
    known = region < found.activation_regions
    region = np.where(known, region, 0)
    y = np.einsum("moi,mi->mo", found.slopes[region], places) + found.offsets[region]
    return y if known.all() else np.where(known[:, None], y, found.net(places))


def _certificate(plane: LossPlane, oracle: PlaneOracle | None, seed: int) -> Certificate:
    low, high = np.array(plane.box).T
    places = np.concatenate([np.zeros((1, 2)), np.random.default_rng(seed).uniform(low, high, (FRESH, 2))])
    y = np.stack([p.net(places) for p in plane.partitions], 1)
    size = ((np.abs(y) + np.abs(plane.targets)) ** 2).mean(axis=(1, 2))
    wanted = ((y - plane.targets) ** 2).mean(axis=(1, 2)) if oracle is None else oracle(places + plane.at)
    corner = np.array(plane.box).T + plane.at
    errors = np.abs(plane(np.clip(places + plane.at, *corner)) - wanted) / np.maximum(size, 1e-300)
    errors = np.where(np.isnan(errors), np.inf, errors)
    limit = f"<= {LIMIT:g} of mean (|y| + |target|)^2 there"
    failed = sum(not p.certificate.ok for p in plane.partitions)
    checks = [
        Check(f"greatest |formula - net| at {FRESH} fresh pairs of weights", *_judged(errors[1:].max(), limit)),
        Check("|formula - loss of the net| with the weights as they are", *_judged(errors[0], limit)),
        Check("samples whose regions failed a check", failed, "= 0", failed == 0),
        Check("regions over all samples", int(plane.counts.sum())),
        Check("samples", plane.samples),
    ]
    return Certificate(tuple(checks), seed)


def _judged(error: float, limit: str) -> tuple[float, str, bool]:
    return float(error), limit, bool(error <= LIMIT)
