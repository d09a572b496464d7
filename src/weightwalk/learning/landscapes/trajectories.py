"""A training seen on the plane of its own principal components, and how much of it that plane shows.

The plane passes through the trained net, which is its centre, and holds as much as a plane through that point can of
the differences ``w_t - w_end`` (principal components that are not centred, as in Li et al. 2018). For each checkpoint
stand side by side the loss it had and the loss that the picture draws under it, and how far it is from the plane. The
shares of variance stand beside those of a random walk, of which most of the variance lies in a plane, too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from weightwalk.errors import UsageError
from weightwalk.learning.frames import needs_pandas
from weightwalk.learning.landscapes.directions import Plane, Weights, origin_of
from weightwalk.learning.landscapes.nulls import TOP, limit_shares, shares_of_steps, simulated_shares, walk_shares
from weightwalk.learning.landscapes.places import Told, away, inner, losses_of, on_plane, place_on
from weightwalk.learning.losses import Loss
from weightwalk.learning.train import Snapshot

WALKS = 200
"""Random walks that are simulated."""


@dataclass(frozen=True, eq=False)
class Shares:
    """Shares of variance of the first five components: of the training, and of paths that no loss has shaped.

    Attributes:
        path: Of the checkpoints.
        limit: Of a random walk of infinitely many steps in infinitely many dimensions.
        walk: Of one of as many steps, of equal length, in infinitely many dimensions: exact.
        steps: Of one with the training's own step lengths in random directions: exact, in infinitely many dimensions.
        simulated: Mean of `walks` simulated walks with these step lengths and as many dimensions as the net.
        low: Of the first two components together, what 5 % of the simulated walks fall short of.
        high: What 5 % of them exceed.
        above: Fraction of the simulated walks whose first two components hold as much as the training's, or more.
        walks: How many were simulated.
    """

    path: np.ndarray
    limit: np.ndarray
    walk: np.ndarray
    steps: np.ndarray
    simulated: np.ndarray
    low: float
    high: float
    above: float
    walks: int


@dataclass(frozen=True, eq=False)
class Trajectory:
    """A training on the plane of its principal components.

    Attributes:
        epochs: Of each checkpoint, shape (T,).
        coordinates: Nearest point of the plane to each, shape (T, 2), in units of distance in weight space.
        true: The loss of each checkpoint, shape (T,), of all the data, in eval mode.
        drawn: The loss at its nearest point of the plane, computed there and not read off a grid.
        off: Distance of each from the plane.
        to_end: Distance of each from the trained net.
        centred: Shares around the mean of the checkpoints.
        anchored: Shares around the trained net: what the plane was chosen by.
        n_parameters: Dimensions of weight space.
        plane: The plane.
        snapshots: The checkpoints.
        note: What else is to be known.
    """

    epochs: np.ndarray
    coordinates: np.ndarray
    true: np.ndarray
    drawn: np.ndarray
    off: np.ndarray
    to_end: np.ndarray
    centred: Shares
    anchored: Shares
    n_parameters: int
    plane: Plane
    snapshots: tuple[Snapshot, ...] = field(repr=False)
    note: str = ""

    @property
    def worst(self) -> int:
        """The checkpoint whose drawn loss is farthest from its true one; the ratio decides where both are positive."""
        with np.errstate(all="ignore"):
            gap = np.abs(np.log(self.drawn) - np.log(self.true))
        gap = np.where(np.isfinite(gap), gap, np.abs(self.drawn - self.true))
        return int(np.nanargmax(gap)) if np.isfinite(gap).any() else 0

    @property
    def relative_off(self) -> np.ndarray:
        """Distance from the plane over distance from the end; 0 at the end itself."""
        return np.divide(self.off, self.to_end, out=np.zeros_like(self.off), where=self.to_end > 0)

    def frame(self) -> Any:
        """A row for each checkpoint, as a pandas data frame."""
        pd = needs_pandas()

        return pd.DataFrame(
            {
                "epoch": self.epochs,
                "first": self.coordinates[:, 0],
                "second": self.coordinates[:, 1],
                "true_loss": self.true,
                "drawn_loss": self.drawn,
                "distance_from_plane": self.off,
                "distance_from_end": self.to_end,
            }
        )


def trajectory(
    module: nn.Module,
    snapshots: Sequence[Snapshot],
    inputs: Tensor,
    targets: Tensor,
    *,
    loss: str | Loss = "mse",
    walks: int = WALKS,
    seed: int = 0,
    progress: Told | None = None,
) -> Trajectory:
    """Principal components of a training, its checkpoints on their plane, and what the plane leaves out.

    Args:
        module: The trained net: the centre of the plane. It is not touched.
        snapshots: As ``train(..., snapshots=n)`` keeps them. The last is the trained net.
        inputs: The data of the losses.
        targets: Theirs.
        loss: A name in `weightwalk.learning.losses.LOSSES`, or a function.
        walks: Random walks to simulate for comparison.
        seed: Of these walks.
        progress: Told as losses are computed.

    Raises:
        UsageError: Fewer than three checkpoints, of another net, or weights that did not move or are not finite.
    """
    names = tuple(origin_of(module))
    kept = tuple(snapshots)
    if len(kept) < 3:
        raise UsageError(
            f"A trajectory needs three checkpoints or more, and there are {len(kept)}: keep more (--checkpoints)."
        )
    missing = [n for n in names if any(n not in s.weights for s in kept)]
    if missing:
        raise UsageError(f"The checkpoints have no {missing[0]!r}: they are of another net.")
    origin = {n: kept[-1].weights[n].detach().clone() for n in names}
    gram = _gram(origin, [s.weights for s in kept])
    if not np.isfinite(gram).all():
        raise UsageError("A checkpoint holds a weight that is not finite, so the path has no principal components.")
    if not gram.any():
        raise UsageError("The weights did not move between the checkpoints, so there is no path to draw.")
    plane = _plane(origin, kept, gram)
    coordinates, off = on_plane(plane, [s.weights for s in kept])
    coordinates[-1], off[-1] = 0.0, 0.0  # the last checkpoint is the centre
    places = [*(s.weights for s in kept), *(place_on(plane, a, b) for a, b in coordinates)]
    found = losses_of(module, inputs, targets, loss, places, progress=progress, total=len(places))
    steps = np.sqrt(_steps(gram).diagonal().clip(min=0))
    size = sum(w.numel() for w in origin.values())
    return Trajectory(
        np.array([s.epoch for s in kept]),
        coordinates,
        found[: len(kept)],
        found[len(kept) :],
        off,
        np.sqrt(gram.diagonal().clip(min=0)),
        _shares(gram, steps, size, walks, seed, anchored=False),
        _shares(gram, steps, size, walks, seed, anchored=True),
        size,
        plane,
        kept,
        _note(module, names),
    )


def principal_plane(origin: Weights, places: Sequence[Weights]) -> Plane:
    """The plane through `origin` that holds most of the places: their first two principal components, not centred.

    Raises:
        UsageError: All places are the origin.
    """
    gram = _gram(origin, places)
    if not gram.any():
        raise UsageError("The weights did not move, so there is no path to draw.")
    return _plane(origin, [Snapshot(0, p) for p in places], gram)


def _gram(origin: Weights, places: Sequence[Weights]) -> np.ndarray:
    """Inner products of ``w_t - origin``, in float64, a tensor at a time: no array of T x n numbers is made."""
    gram = np.zeros((len(places), len(places)))
    for name, w in origin.items():
        base = w.detach().cpu().double().reshape(-1)
        for part in range(0, len(base), 1 << 20):
            rows = torch.stack(
                [p[name].detach().cpu().reshape(-1)[part : part + (1 << 20)].double() for p in places]
            ) - base[part : part + (1 << 20)]  # fmt: skip
            gram += (rows @ rows.T).numpy()
    return (gram + gram.T) / 2


def _steps(gram: np.ndarray) -> np.ndarray:
    """Inner products of the steps, from those of the points."""
    return gram[1:, 1:] - gram[1:, :-1] - gram[:-1, 1:] + gram[:-1, :-1]


def _plane(origin: Weights, kept: Sequence[Snapshot], gram: np.ndarray) -> Plane:
    values, vectors = np.linalg.eigh(gram)
    values, vectors = values[::-1], vectors[:, ::-1]
    ways: list[dict[str, np.ndarray]] = []
    for k in range(min(2, len(values))):
        if values[k] <= 1e-12 * values[0]:
            break
        way = {n: np.zeros(tuple(w.shape)) for n, w in origin.items()}
        for weight, snapshot in zip(vectors[:, k], kept, strict=True):
            for name, moved in away(origin, snapshot.weights).items():
                way[name] += weight * moved
        for other in ways:  # the Gram matrix knows the second only to half the digits
            amount = inner(way, other)
            way = {n: way[n] - amount * other[n] for n in way}
        length = np.sqrt(inner(way, way))
        start = inner(away(origin, kept[0].weights), way)
        length = -length if start > 0 else length  # the training begins on the left, and below
        ways.append({n: d / length for n, d in way.items()})
    made = [{n: torch.from_numpy(d).to(origin[n].dtype).to(origin[n].device) for n, d in way.items()} for way in ways]
    n = sum(w.numel() for w in origin.values())
    shown = len(made)
    return Plane(
        {n: w.detach() for n, w in origin.items()},
        made[0],
        made[1] if shown > 1 else None,
        ("first principal direction of the path", "second principal direction" if shown > 1 else ""),
        "trajectory",
        f"{n - shown:,} of the {n:,} dimensions of weight space, at the trained net" if n > shown else "nothing",
    )


def _shares(gram: np.ndarray, steps: np.ndarray, n: int, walks: int, seed: int, *, anchored: bool) -> Shares:
    points = len(gram)
    centre = np.eye(points) if anchored else np.eye(points) - 1 / points
    values = np.linalg.eigvalsh(centre @ gram @ centre)[::-1].clip(min=0)
    path = np.zeros(TOP)
    path[: min(TOP, points)] = values[:TOP] / values.sum()
    drawn = simulated_shares(points, n, lengths=steps, seed=seed, repeats=walks, anchored=anchored)
    two = drawn[:, :2].sum(axis=1)
    limit = 8 / (np.pi * (2 * np.arange(1, TOP + 1) - 1)) ** 2 if anchored else limit_shares()
    return Shares(
        path,
        limit,
        walk_shares(points, anchored=anchored),
        shares_of_steps(steps, anchored=anchored),
        drawn.mean(axis=0),
        float(np.quantile(two, 0.05)),
        float(np.quantile(two, 0.95)),
        float(np.mean(two >= path[:2].sum())),
        walks,
    )


def _note(module: nn.Module, names: tuple[str, ...]) -> str:
    buffers = [n for n, b in module.named_buffers() if b.is_floating_point()]
    parts = []
    if buffers:
        parts.append(
            f"true losses are with each checkpoint's own buffers ({buffers[0]} ...), "
            "drawn ones with those of the trained net"
        )
    frozen = sum(p.numel() for n, p in module.named_parameters() if n not in names)
    if frozen:
        parts.append(f"{frozen:,} frozen numbers are no part of the path")
    return "; ".join(parts)
