"""Points of weight space beside a plane: where they fall on it, how far off they are, and the loss at any of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from weightwalk.learning.landscapes.directions import Plane, Weights
from weightwalk.learning.landscapes.quiet import judging
from weightwalk.learning.losses import Loss, loss_of, tensor_of

Told = Callable[[int, int], None]
"""Called with (done, in all)."""


def losses_of(
    module: nn.Module,
    inputs: Tensor,
    targets: Tensor,
    loss: str | Loss,
    places: Iterable[Weights],
    *,
    progress: Told | None = None,
    total: int = 0,
) -> np.ndarray:
    """The net's loss with other weights (and buffers, where a place has them), one place after the other, in eval mode.

    The module is not touched: `torch.func.functional_call` runs it with the substitutes.

    Args:
        module: The net.
        inputs: A row for each example.
        targets: Theirs.
        loss: Of the whole data.
        places: Weights by name; what a place does not name is the module's own.
        progress: Told after each.
        total: How many there are, for `progress`.

    Returns:
        Losses in float64, shape (places,); not finite where the net's is not.
    """
    criterion = loss_of(loss)
    made: list[float] = []
    # A state dict has a tied weight under each of its names, as copies that torch would take for a contradiction.
    names = {n for n, _ in module.named_parameters()} | {n for n, _ in module.named_buffers()}
    with judging(module):
        for place in places:
            once = {n: t for n, t in place.items() if n in names}
            out = torch.func.functional_call(module, once, (inputs,), tie_weights=True)
            made.append(float(criterion(tensor_of(out), targets)))
            if progress is not None:
                progress(len(made), total)
    return np.array(made)


def place_on(plane: Plane, a: float, b: float = 0.0) -> dict[str, Tensor]:
    """The weights ``origin + a u + b v``; at (0, 0) the very origin."""
    made: dict[str, Tensor] = {}
    for name, w in plane.origin.items():
        if a and name in plane.u:
            w = w + a * plane.u[name]
        if b and plane.v is not None and name in plane.v:
            w = w + b * plane.v[name]
        made[name] = w
    return made


def away(origin: Weights, place: Weights) -> dict[str, np.ndarray]:
    """``place - origin`` in float64, by name."""
    return {n: place[n].detach().cpu().double().numpy() - w.detach().cpu().double().numpy() for n, w in origin.items()}


def inner(a: dict[str, np.ndarray], b: dict[str, np.ndarray]) -> float:
    """The inner product over the names that both have."""
    return float(sum(float(np.vdot(a[n], b[n])) for n in a if n in b))


def on_plane(plane: Plane, places: Sequence[Weights]) -> tuple[np.ndarray, np.ndarray]:
    """The nearest point of a plane to each place, and the distance to it.

    Args:
        plane: Its directions may have any lengths and any angle; of one direction, the second coordinate is 0.
        places: Weights by name.

    Returns:
        Coordinates, shape (places, 2), and Euclidean distances in weight space, shape (places,).
    """
    ways = [{n: w.detach().cpu().double().numpy() for n, w in d.items()} for d in (plane.u, plane.v) if d is not None]
    gram = np.array([[inner(p, q) for q in ways] for p in ways])
    coordinates, distances = np.zeros((len(places), 2)), np.zeros(len(places))
    for i, place in enumerate(places):
        left = away(plane.origin, place)
        found = np.linalg.lstsq(gram, np.array([inner(left, way) for way in ways]), rcond=None)[0]
        for way, amount in zip(ways, found, strict=True):
            for name, d in way.items():
                left[name] = left[name] - amount * d
        coordinates[i, : len(found)] = found
        distances[i] = np.sqrt(inner(left, left))
    return coordinates, distances


def share_shown(plane: Plane, places: Sequence[Weights]) -> float:
    """Share of the places' variance, around their mean, that lies in the plane's directions; 1 of places that are one.

    Of a path of n dimensions, two random directions show about ``2 / n``: a picture of it along those is a picture of
    almost nothing that happened.
    """
    total = within = 0.0
    ways = [{n: w.detach().cpu().double().numpy() for n, w in d.items()} for d in (plane.u, plane.v) if d is not None]
    gram = np.array([[inner(p, q) for q in ways] for p in ways])
    moved = [away(plane.origin, place) for place in places]
    middle = {n: np.mean([m[n] for m in moved], axis=0) for n in plane.origin}
    for m in moved:
        left = {n: m[n] - middle[n] for n in m}
        parts = np.array([inner(left, way) for way in ways])
        within += float(parts @ np.linalg.lstsq(gram, parts, rcond=None)[0])
        total += inner(left, left)
    return within / total if total > 0 else 1.0
