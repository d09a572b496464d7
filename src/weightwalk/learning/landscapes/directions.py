"""Directions in weight space: which weights a picture moves, and what it holds still."""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from weightwalk.errors import UsageError

Weights = Mapping[str, Tensor]
NORMALISATIONS = ("filter", "layer", "none")


@dataclass(frozen=True, eq=False)
class Plane:
    """A point of weight space and one or two directions: ``W(a, b) = origin + a u + b v``.

    Attributes:
        origin: The weights that can move, by name, as copies: the point (0, 0).
        u: The first direction. A name that is missing does not move.
        v: The second; None for a line.
        labels: What stands on the two axes.
        kind: ``weights``, ``random``, ``between``, ``three nets``, ``trajectory`` ...
        held: What does not move, in words.
        points: Named places in the plane, as (name, a, b).
        chance: How far the cosine of such directions lies from 0 by chance: its standard deviation; NaN where they are
            not random.
    """

    origin: Weights = field(repr=False)
    u: Weights = field(repr=False)
    v: Weights | None = field(repr=False)
    labels: tuple[str, str]
    kind: str
    held: str
    points: tuple[tuple[str, float, float], ...] = ()
    chance: float = math.nan

    @property
    def n(self) -> int:
        """How many dimensions weight space has: the numbers that can move."""
        return sum(t.numel() for t in self.origin.values())

    @property
    def shown(self) -> int:
        """How many of them the picture has: 2, or 1 for a line."""
        return 1 if self.v is None else 2

    @property
    def norms(self) -> tuple[float, float]:
        """Lengths of u and v; 0 for a v that is not there."""
        return math.sqrt(dot(self.u, self.u)), math.sqrt(dot(self.v, self.v)) if self.v is not None else 0.0

    @property
    def cosine(self) -> float:
        """``u·v / |u||v|``: 0 where the axes of the picture are at right angles in weight space too."""
        a, b = self.norms
        return dot(self.u, self.v) / (a * b) if self.v is not None and a and b else 0.0

    @property
    def moving(self) -> tuple[str, ...]:
        """Names of the parameters that move along u or v."""
        return tuple(n for n in self.origin if n in self.u or (self.v is not None and n in self.v))


def dot(a: Weights, b: Weights) -> float:
    """``a·b``, summed in float64 over the names that both have."""
    with torch.no_grad():
        return math.fsum(float(torch.dot(a[n].flatten().double(), b[n].flatten().double())) for n in a if n in b)


def movable(module: nn.Module) -> dict[str, nn.Parameter]:
    """The parameters that span weight space: those that require a gradient, each once, by name.

    Raises:
        UsageError: There is none, or one holds a number that is not finite.
    """
    found = {n: p for n, p in module.named_parameters() if p.requires_grad}
    if not found:
        raise UsageError(
            "The net has no parameter that requires a gradient, so there is no weight to move; "
            "frozen weights are freed by module.requires_grad_(True)."
        )
    for name, p in found.items():
        if not torch.isfinite(p).all():
            raise UsageError(f"{name} holds a number that is not finite, so the loss has no value around it.")
    return found


def origin_of(module: nn.Module) -> dict[str, Tensor]:
    """Copies of the parameters that can move."""
    return {n: p.detach().clone() for n, p in movable(module).items()}


def random_direction(weights: Weights, generator: torch.Generator, normalise: str = "filter") -> dict[str, Tensor]:
    """Gaussian numbers, scaled to the weights: ``d <- d |w| / |d|`` (Li et al. 2018, "Visualizing the loss landscape").

    Args:
        weights: The point from which the direction goes.
        generator: Where the numbers come from.
        normalise: ``"filter"``: for each slice along the first axis of a tensor (a unit's row, a filter);
            ``"layer"``: for each tensor. Both leave tensors with fewer than two axes (biases, the scales of norms)
            still, as the paper does. ``"none"``: plain Gaussian numbers for all.

    Returns:
        The tensors that move. Why scale: a net with ReLU computes the same function after one layer is multiplied by
        10 and the next divided by 10, while a direction of a fixed length sees another landscape.

    Raises:
        UsageError: `normalise` is unknown, or no tensor would move.
    """
    if normalise not in NORMALISATIONS:
        raise UsageError(f"There is no normalisation {normalise!r}; there are {', '.join(NORMALISATIONS)}.")
    made: dict[str, Tensor] = {}
    for name, w in weights.items():
        d = torch.randn(w.shape, generator=generator, dtype=torch.float64)
        if normalise != "none":
            if w.dim() < 2:
                continue
            flat, size = (1, -1) if normalise == "layer" else (w.shape[0], -1), w.detach().to("cpu", torch.float64)
            length, wanted = (t.reshape(flat).norm(dim=1, keepdim=True) for t in (d, size))
            d = (d.reshape(flat) * torch.where(length > 0, wanted / length, length)).reshape(w.shape)
        made[name] = d.to(w.device, w.dtype)
    if not made:
        raise UsageError(
            f"With normalise={normalise!r} only tensors with two axes or more move, and the net has none; use 'none'."
        )
    if not any(t.any() for t in made.values()):
        raise UsageError(
            f"With normalise={normalise!r} a direction is as long as the weights, and all of these are 0; use 'none'."
        )
    return made


def random_plane(module: nn.Module, seed: int = 0, normalise: str = "filter", *, line: bool = False) -> Plane:
    """The plane through the net along two random directions; see `random_direction`.

    Gaussian directions of many dimensions are nearly at right angles: their cosine is about ``1 / sqrt(n)``, or more
    where filters differ in length. They are not made so; `Plane.cosine` says how nearly these are, and `Plane.chance`
    how nearly such directions are as a rule.

    Args:
        module: The net, which stands at the centre.
        seed: Decides the directions.
        normalise: ``"filter"``, ``"layer"`` or ``"none"``.
        line: One direction only.

    Raises:
        UsageError: No tensor would move, or both directions lie on one line, as they do where one weight moves.

    Example:
        >>> plane = random_plane(nn.Linear(3, 2), seed=1)
        >>> sorted(plane.u)  # the bias stays where it is
        ['weight']
    """
    origin = origin_of(module)
    generator = torch.Generator().manual_seed(seed)
    u = random_direction(origin, generator, normalise)
    v = None if line else random_direction(origin, generator, normalise)
    n, still = sum(t.numel() for t in origin.values()), sum(t.numel() for k, t in origin.items() if k not in u)
    held = others(n, 1 if line else 2)
    if still:
        many = "number in a tensor of one axis (bias, scale of a norm) does" if still == 1 else (
            "numbers in tensors of one axis (biases, scales of norms) do"
        )  # fmt: skip
        held += f"; {still:,} {many} not move at all"
    frozen = sum(p.numel() for p in module.parameters()) - n
    if frozen:
        held += f"; {frozen:,} frozen numbers stay as they are"
    scale = {"filter": "filter-normalised", "layer": "layer-normalised", "none": "not normalised"}[normalise]
    labels = (f"random direction 1, {scale} (seed {seed})", "" if line else f"random direction 2 (seed {seed})")
    made = Plane(origin, u, v, labels, "random", held, chance=_chance(u, normalise))
    if abs(made.cosine) > 1 - 1e-6:
        raise UsageError(
            f"The two random directions of seed {seed} lie on one line, for with normalise={normalise!r} hardly a "
            "weight of this net moves: "
            + ("it has one weight only." if n == 1 else "use 'none', or choose two weights yourself (--weights).")
        )
    return made


def weights_plane(module: nn.Module, first: str, second: str | None = None) -> Plane:
    """The plane (or, with one, the line) of chosen weights, each by its address; the axes say by how much it changes.

    Args:
        module: The net.
        first: Such as ``"fc1.weight[0, 1]"`` or ``"fc2.bias[0]"``.
        second: Another.

    Raises:
        UsageError: An address names no number that can move, or both name the same.

    Example:
        >>> weights_plane(nn.Linear(2, 1), "weight[0, 1]", "bias[0]").u["weight"].tolist()
        [[0.0, 1.0]]
    """
    origin = origin_of(module)
    a = _entry(module, origin, first)
    b = _entry(module, origin, second) if second is not None else None
    if a == b:
        raise UsageError(f"{first} and {second} are the same number: a plane needs two.")
    n = sum(t.numel() for t in origin.values())
    labels = tuple(
        "" if at is None else f"change of {at[0]}{list(at[1])} (trained: {float(origin[at[0]][at[1]]):.4g})"
        for at in (a, b)
    )
    held = f"the other {n - (1 if b is None else 2):,} weights"
    return Plane(origin, _unit(origin, a), _unit(origin, b) if b else None, (labels[0], labels[1]), "weights", held)


def others(n: int, shown: int) -> str:
    """The dimensions that a picture holds still, in words."""
    return f"the other {n - shown:,} dimensions of weight space"


def _chance(u: Weights, normalise: str) -> float:
    """Standard deviation of the cosine of two such directions.

    Each slice j has length r_j in both, and the cosine of two random directions of m_j dimensions has variance 1/m_j:
    together ``sqrt(sum r_j⁴ / m_j) / sum r_j²``.
    """
    if normalise == "none":
        return 1 / math.sqrt(sum(t.numel() for t in u.values()))
    parts = [t.reshape(1 if normalise == "layer" else t.shape[0], -1).double() for t in u.values()]
    squares = [(t.square().sum(dim=1), t.shape[1]) for t in parts]
    total = math.fsum(float(s.sum()) for s, _ in squares)
    return math.sqrt(math.fsum(float(s.square().sum()) / m for s, m in squares)) / total


def _unit(origin: Weights, at: tuple[str, tuple[int, ...]]) -> dict[str, Tensor]:
    d = torch.zeros_like(origin[at[0]])
    d[at[1]] = 1
    return {at[0]: d}


def _entry(module: nn.Module, origin: Weights, address: str) -> tuple[str, tuple[int, ...]]:
    """(name, index) of one number; a tied weight goes by either of its names."""
    match = re.fullmatch(r"\s*([^\[\]\s]+)\s*(?:\[([-\d\s,]*)\])?\s*", address)
    if match is None:
        raise UsageError(f"{address!r} is no address of a weight; write it as name[row, column], as fc1.weight[0, 1].")
    names = dict(module.named_parameters(remove_duplicate=False))
    if match[1] not in names:
        near = difflib.get_close_matches(match[1], names, n=2, cutoff=0.4)
        hint = f"did you mean {' or '.join(near)}?" if near else f"it has {', '.join(list(names)[:6])}."
        raise UsageError(f"The net has no parameter {match[1]!r}; {hint}")
    p = names[match[1]]
    name = next((n for n, q in module.named_parameters() if q is p), match[1])
    if name not in origin:
        raise UsageError(f"{name} is frozen (it requires no gradient), so it does not move.")
    try:
        index = tuple(int(i) for i in (match[2] or "").split(",") if i.strip())
    except ValueError:
        raise UsageError(f"{address!r} has an index that is no integer; write it as {name}[0, 1].") from None
    if len(index) != p.dim() and not (not index and p.numel() == 1):
        raise UsageError(
            f"{address} does not name one number: {name} has shape {tuple(p.shape)}; "
            f"write it as {name}[{', '.join(['0'] * p.dim())}]."
        )
    for i, size in zip(index, p.shape, strict=False):
        if not -size <= i < size:
            raise UsageError(f"{address}: index {i} lies outside an axis of size {size}; {name} has {tuple(p.shape)}.")
    index = index or (0,) * p.dim()
    return name, tuple(i % size for i, size in zip(index, p.shape, strict=True))
