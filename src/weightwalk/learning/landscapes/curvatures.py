"""Curvature along many random directions: what a picture of random directions could ever have shown.

The curvature per unit of length along d is the Rayleigh quotient ``d'Hd / d'd``, an average of the eigenvalues of the
Hessian weighted by how far d points along each. Random directions point along all of them a little, so their quotients
crowd around the mean eigenvalue, and the few negative ones of a saddle are outvoted each time.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor, nn

from weightwalk.errors import UsageError
from weightwalk.learning.curvature import Curvature
from weightwalk.learning.landscapes.centre import flat
from weightwalk.learning.landscapes.chains import Leaf, leaves_of
from weightwalk.learning.landscapes.directions import Weights, dot, movable, random_direction
from weightwalk.learning.landscapes.evaluate import MEMORY, Progress
from weightwalk.learning.landscapes.quiet import SMALL, judging
from weightwalk.learning.losses import Loss, loss_of
from weightwalk.learning.threads import pinned


@dataclass(frozen=True, eq=False)
class Curvatures:
    """Rayleigh quotients ``d'Hd / d'd`` of random directions.

    Attributes:
        directions: How many were measured.
        asked: How many were asked for; more than `directions` where the time ran out.
        negative: Along how many of them the loss curves down (below ``-1e-9`` of the largest quotient in size).
        mean: Their mean; for directions without normalisation it tends to the mean eigenvalue, ``tr H / n``.
        minimum: The least.
        maximum: The greatest.
        deviation: Their standard deviation.
        normalise: As for `random_direction`.
        seed: Of the directions.
        method: ``chain``, ``matrix`` or ``products``.
        seconds: Wall time.
        quotients: All of them, in the order in which they were drawn.
    """

    directions: int
    asked: int
    negative: int
    mean: float
    minimum: float
    maximum: float
    deviation: float
    normalise: str
    seed: int
    method: str
    seconds: float
    quotients: np.ndarray = field(repr=False)


def random_curvatures(
    module: nn.Module,
    inputs: Tensor,
    targets: Tensor,
    *,
    loss: str | Loss = "mse",
    directions: int = 2000,
    seed: int = 0,
    normalise: str = "filter",
    seconds: float = 20.0,
    memory: int | None = None,
    progress: Progress | None = None,
) -> Curvatures:
    """The curvature of the loss at the net along random directions, exactly, in float64 up to a million weights.

    For a chain of layers a direction costs two forward passes: with ``a`` an activation, ``a'`` and ``a''`` its
    derivatives along ``W + t d`` at t = 0, a layer gives ``z' = W a' + d a`` and ``z'' = W a'' + 2 d a'``, and an
    activation ``a' = s'(z) z'`` and ``a'' = s'(z) z'' + s''(z) z'²``. Any other net: a Hessian product for each
    direction, or the whole Hessian where that takes fewer products. At a kink of a ReLU the second derivative is taken
    to be 0, as everywhere else on its two sides.

    Args:
        module: The net; left as found.
        inputs: One row per example.
        targets: As many.
        loss: As for `surface`.
        directions: How many.
        seed: Decides them.
        normalise: As for `random_direction`.
        seconds: After so long no new direction is begun (two are measured at least); `directions` says how many were.
        memory: Bytes to be used; 500 MB by default.
        progress: Called with (directions done, directions asked for).

    Raises:
        UsageError: No directions, or a net whose loss has no second derivatives.

    Example:
        >>> x = torch.tensor([[1.0], [2.0]])
        >>> found = random_curvatures(nn.Linear(1, 1, bias=False), x, x, directions=3)
        >>> found.quotients.round(9).tolist(), found.negative     # there is one direction only: 2 mean(x²)
        ([5.0, 5.0, 5.0], 0)
    """
    if directions < 1:
        raise UsageError(f"At least one direction is needed; got {directions}.")
    started, criterion = time.perf_counter(), loss_of(loss)
    weights = {n: p.detach() for n, p in movable(module).items()}
    n = sum(w.numel() for w in weights.values())
    generator = torch.Generator().manual_seed(seed)
    drawn = (random_direction(weights, generator, normalise) for _ in range(directions))
    found: list[float] = []
    with pinned(1 if n <= SMALL else None):
        method, quotient = _ways(module, weights, inputs, targets, criterion, directions, memory or MEMORY)
        for d in drawn:
            if len(found) > 1 and time.perf_counter() - started > seconds:
                break
            found.append(quotient(d) / dot(d, d))
            if progress is not None:
                progress(len(found), directions)
    q = np.array(found)
    size = float(np.abs(q).max())
    return Curvatures(
        len(q), directions, int((q < -1e-9 * size).sum()), float(q.mean()), float(q.min()), float(q.max()),
        float(q.std()), normalise, seed, method, time.perf_counter() - started, q,
    )  # fmt: skip


Quotient = Callable[[Weights], float]


def _ways(
    module: nn.Module,
    weights: Weights,
    inputs: Tensor,
    targets: Tensor,
    loss: Loss,
    directions: int,
    memory: int,
) -> tuple[str, Quotient]:
    """The cheapest exact way to ``d'Hd``."""
    about = Curvature(module, inputs, targets, loss)
    few = min(64, len(inputs))
    with judging(module):
        leaves, width = leaves_of(module, inputs[:few])
    if leaves is not None and about.double and 32 * width * len(inputs) // few < memory:
        chain = _Second(leaves, module, inputs, targets, loss)
        first = {n: torch.ones_like(w) for n, w in weights.items()}  # a direction that moves everything, as a test
        ones = flat(weights, first)
        true = float(ones @ about.product(ones))
        if math.isclose(chain(first), true, rel_tol=1e-6, abs_tol=1e-9 * len(ones)):
            return "chain", chain
    if about.n <= directions:
        matrix = about.matrix()

        def by_matrix(d: Weights) -> float:
            v = flat(weights, d)
            return float(v @ matrix @ v)

        return "matrix", by_matrix

    def by_product(d: Weights) -> float:
        v = flat(weights, d)
        return float(v @ about.product(v))

    return "products", by_product


@dataclass(frozen=True, eq=False)
class _Stage:
    """A layer as it stands: what goes in, its weights; or the slopes of an activation."""

    leaf: Leaf
    reads: Tensor
    weight: Tensor | None = None
    first: Tensor | None = None
    second: Tensor | None = None


class _Second:
    """``d'Hd`` of a chain, by second derivatives carried forward; units in rows, examples in columns."""

    def __init__(self, leaves: Sequence[Leaf], module: nn.Module, inputs: Tensor, targets: Tensor, loss: Loss) -> None:
        with torch.inference_mode(False), torch.no_grad():
            state = {n: p.detach().double() for n, p in module.named_parameters()}
            self.targets = targets.double() if targets.is_floating_point() else targets
            self.loss = loss
            x = inputs.double() if inputs.is_floating_point() else inputs
            self.stages = list(self._run(leaves, state, x))
            self.slope, self.bend = self._at_the_end()

    def _run(self, leaves: Sequence[Leaf], state: Weights, x: Tensor) -> Iterator[_Stage]:
        lead = x.shape[:-1] if x.is_floating_point() else x.shape
        a = x.reshape(-1, x.shape[-1]).t() if x.is_floating_point() else x.flatten()
        for leaf in leaves:
            if leaf.pointwise:
                first, second, made = _slopes(leaf.module, a)
                yield _Stage(leaf, a, None, first, second)
                a = made
                continue
            w, b = state[leaf.weight], state.get(leaf.bias)
            yield _Stage(leaf, a, w)
            if type(leaf.module) is nn.Embedding:
                a = w[a].t()
            else:
                a = w @ a if b is None else torch.addmm(b[:, None], w, a)
        self.shape = (*lead, a.shape[0])
        self.out = a

    def _at_the_end(self) -> tuple[Tensor, Callable[[Tensor], Tensor | float]]:
        """Slope of the loss in the outputs, and its second derivative along a change of them."""
        with torch.enable_grad():
            out = self.out.detach().clone().requires_grad_(True)
            value = self.loss(out.t().reshape(self.shape), self.targets)
            (slope,) = torch.autograd.grad(value, out, create_graph=True)

        def bend(change: Tensor) -> Tensor | float:
            if not slope.requires_grad:
                return 0.0
            with torch.enable_grad():
                along = (slope * change).sum()
                (bent,) = torch.autograd.grad(along, out, retain_graph=True, materialize_grads=True)
            return (bent * change).sum()

        return slope.detach(), bend

    def __call__(self, d: Weights) -> float:
        one = two = None  # a' and a''; None while nothing has moved yet
        with torch.no_grad():
            for s in self.stages:
                if s.weight is None:
                    assert s.first is not None
                    if one is not None and two is not None:
                        bent = 0 if s.second is None else s.second * one.square()
                        one, two = s.first * one, s.first * two + bent
                    continue
                dw, db = d.get(s.leaf.weight), d.get(s.leaf.bias)
                one, two = self._linear(s, dw, db, one, two)
            if one is None or two is None:
                return 0.0
            return float((self.slope * two).sum()) + float(self.bend(one))

    def _linear(
        self, s: _Stage, dw: Tensor | None, db: Tensor | None, one: Tensor | None, two: Tensor | None
    ) -> tuple[Tensor | None, Tensor | None]:
        w = s.weight
        assert w is not None
        if type(s.leaf.module) is nn.Embedding:
            moved = None if dw is None else dw.double()[s.reads].t()
            return moved, None if moved is None else torch.zeros_like(moved)
        if one is None and dw is None and db is None:
            return None, None
        made = w.new_zeros(w.shape[0], s.reads.shape[1]) if one is None else w @ one
        bent = torch.zeros_like(made) if two is None else w @ two
        if dw is not None:
            dw = dw.double()
            made = made.addmm_(dw, s.reads)
            if one is not None:
                bent = bent.addmm_(dw, one, alpha=2)
        if db is not None:
            made = made.add_(db.double()[:, None])
        return made, bent


def _slopes(m: nn.Module, z: Tensor) -> tuple[Tensor, Tensor | None, Tensor]:
    """``s'(z)``, ``s''(z)`` (None where it is 0 everywhere) and ``s(z)`` of an activation."""
    with torch.enable_grad():
        at = z.detach().clone().requires_grad_(True)
        if type(m) in (nn.Identity, nn.Dropout):
            return torch.ones_like(z), None, z
        made = nn.functional.relu(at) if type(m) is nn.ReLU else type(m).forward(m, at.clone())
        (first,) = torch.autograd.grad(made.sum(), at, create_graph=True)
        second = None
        if first.requires_grad:
            (second,) = torch.autograd.grad(first.sum(), at, materialize_grads=True)
            second = second if second.any() else None
    return first.detach(), second, made.detach()
