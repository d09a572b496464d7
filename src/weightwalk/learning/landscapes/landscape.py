"""The verb: a net's loss over one plane of weights or several, beside what the Hessian says of all dimensions."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from weightwalk.errors import UsageError
from weightwalk.learning.hessians import Spectrum, spectrum
from weightwalk.learning.landscapes.asked import grid
from weightwalk.learning.landscapes.curvatures import Curvatures, random_curvatures
from weightwalk.learning.landscapes.directions import random_plane, weights_plane
from weightwalk.learning.landscapes.surface import Surface, surface
from weightwalk.learning.losses import Loss
from weightwalk.learning.tasks import Task, task_of
from weightwalk.learning.train import train

Telling = Callable[[str, int, int], None]
"""Called with (what is being done, how much of it is done, how much there is)."""


@dataclass(frozen=True, eq=False)
class Landscape:
    """Pictures of one loss, to be looked at side by side.

    Attributes:
        surfaces: One for each plane, all with the same net at the centre.
        low: The least finite loss of all of them: with `high` the ends of one colour scale.
        high: The greatest.
        agreement: For each two surfaces (i, j) Spearman's rank correlation of their losses point by point: 1 where they
            go up and down together, 0 where one says nothing of the other.
        spectrum: Eigenvalues of the Hessian at the net.
        curvatures: Curvature along many random directions, where that was asked for.
        notes: What holds of all of them.
        module: The net.
    """

    surfaces: tuple[Surface, ...]
    low: float
    high: float
    agreement: tuple[tuple[int, int, float], ...]
    spectrum: Spectrum | None
    curvatures: Curvatures | None
    notes: tuple[str, ...]
    module: nn.Module | None = field(default=None, repr=False)


def landscape(
    net: nn.Module | Task | str,
    inputs: Tensor | None = None,
    targets: Tensor | None = None,
    *,
    loss: str | Loss | None = None,
    weights: tuple[str, str] | None = None,
    seeds: Sequence[int] = (0,),
    normalise: str = "filter",
    points: int = 41,
    span: float = 1.0,
    rows: Sequence[int] | int | None = None,
    per_sample: bool = False,
    hessian: bool = True,
    directions: int = 0,
    seed: int = 0,
    memory: int | None = None,
    threads: int | None = None,
    progress: Telling | None = None,
) -> Landscape:
    """The loss around a net on a grid over two chosen weights, or over pairs of random directions.

    Args:
        net: A trained module, which is left as found; or a task or its name (``"hello6"``): that is trained first.
        inputs: One row per example; None for a task.
        targets: As many; None for a task.
        loss: As for `surface`; what the task says, else ``"mse"``.
        weights: Addresses of two weights, such as ``("fc1.weight[0, 1]", "fc1.bias[0]")``; None for random directions.
        seeds: One picture for each: the seed of its two directions.
        normalise: Of random directions: ``"filter"``, ``"layer"`` or ``"none"``, see `random_direction`.
        points: Of the grid along each axis; odd, so that the net stands in the middle.
        span: How far the grid goes on each side: for filter-normalised directions in lengths of the net's own filters,
            for chosen weights in units of the weight.
        rows: Judge the net on these examples only.
        per_sample: Keep the surface of each example.
        hessian: Compute eigenvalues, too.
        directions: Measure the curvature along so many random directions, too (2,000 take seconds for a small net).
        seed: Of the training of a task, and of the directions of `curvatures`.
        memory: Bytes that the evaluation may take.
        threads: For torch; as for `surface`.
        progress: Told what is being done and how far it is.

    Raises:
        UsageError: Something does not fit; the sentence says what.

    Example:
        >>> found = landscape("hello", points=5, hessian=False)
        >>> found.surfaces[0].n_parameters, found.surfaces[0].losses.shape
        (37, (5, 5))
    """
    module, x, y, criterion = _asked(net, inputs, targets, loss, seed, progress)
    if not seeds and weights is None:
        raise UsageError("At least one seed is needed for the directions.")
    if weights is not None and len(weights) != 2:
        raise UsageError(f"A plane has two weights; got {len(weights)}.")
    steps = grid(points, -span, span)
    planes = (
        [weights_plane(module, *weights)]
        if weights is not None
        else [random_plane(module, s, normalise) for s in seeds]
    )
    whole = spectrum(module, x, y, loss=criterion, progress=_tell(progress, "Hessian")) if hessian else None
    many = None
    if directions:
        curving: dict[str, Any] = {"loss": criterion, "directions": directions, "seed": seed, "normalise": normalise}
        many = random_curvatures(module, x, y, **curving, memory=memory, progress=_tell(progress, "directions"))
    surfaces = tuple(
        surface(
            module, x, y, plane, loss=criterion, alphas=steps, betas=steps, memory=memory, threads=threads, rows=rows,
            per_sample=per_sample, spectrum=whole, progress=_tell(progress, "grid"),
        )
        for plane in planes
    )  # fmt: skip
    finite = [s.losses[np.isfinite(s.losses)] for s in surfaces]
    kept = np.concatenate(finite)
    low, high = (float(kept.min()), float(kept.max())) if len(kept) else (np.nan, np.nan)
    alike = agreement_of(surfaces)
    return Landscape(surfaces, low, high, alike, whole, many, _notes(surfaces, alike, whole, many), module)


def agreement_of(surfaces: Sequence[Surface]) -> tuple[tuple[int, int, float], ...]:
    """Spearman's rank correlation of each two surfaces of one shape, over the points where both are finite.

    NaN where a surface is level: what differs in it is rounding.
    """
    from scipy.stats import rankdata

    found = []
    for i, j in itertools.combinations(range(len(surfaces)), 2):
        a, b = surfaces[i].losses.ravel(), surfaces[j].losses.ravel()
        both = np.isfinite(a) & np.isfinite(b)
        uneven = both.sum() > 1 and all(
            np.ptp(losses[both]) > 16 * torch.finfo(getattr(torch, s.dtype)).eps * np.abs(losses[both]).max()
            for losses, s in ((a, surfaces[i]), (b, surfaces[j]))
        )
        rho = float(np.corrcoef(rankdata(a[both]), rankdata(b[both]))[0, 1]) if uneven else float("nan")
        found.append((i, j, rho))
    return tuple(found)


def _asked(
    net: nn.Module | Task | str,
    inputs: Tensor | None,
    targets: Tensor | None,
    loss: str | Loss | None,
    seed: int,
    progress: Telling | None,
) -> tuple[nn.Module, Tensor, Tensor, str | Loss]:
    """The trained net and its data."""
    if isinstance(net, nn.Module):
        if inputs is None or targets is None:
            raise UsageError("A module needs data to be judged on: inputs and targets, a row for each example.")
        return net, inputs, targets, loss or "mse"
    task = task_of(net)
    if inputs is not None or targets is not None:
        raise UsageError(f"The task {task.name!r} brings its own data; for data of your own, pass a module.")
    x, y = task.data.inputs, task.data.targets
    if not task.remade:  # a module that somebody trained: it is looked at as it is
        return task.module(seed), x, y, loss or task.loss

    def tell(done: int, total: int, at: float) -> None:
        if progress is not None:
            progress("training", done, total)

    module = train(task, loss=loss, seed=seed, progress=tell).module
    assert module is not None
    return module, x, y, loss or task.loss


def _tell(progress: Telling | None, what: str) -> Callable[[int, int], None] | None:
    return None if progress is None else lambda done, total: progress(what, done, total)


def _notes(
    surfaces: Sequence[Surface],
    alike: Sequence[tuple[int, int, float]],
    whole: Spectrum | None,
    many: Curvatures | None,
) -> tuple[str, ...]:
    said = []
    if alike:
        rhos = [r for _, _, r in alike if np.isfinite(r)]
        tops = [float(s.losses[np.isfinite(s.losses)].max()) for s in surfaces if np.isfinite(s.losses).any()]
        if rhos:
            said.append(
                f"{len(surfaces)} pairs of random directions through the same net give {len(surfaces)} pictures: their "
                f"highest losses range from {min(tops):.4g} to {max(tops):.4g}, and point by point their rank "
                + (
                    f"correlation is {rhos[0]:+.2f}."
                    if len(rhos) == 1
                    else f"correlations are {min(rhos):+.2f} to {max(rhos):+.2f}."
                )
            )
    if many is not None:
        told = f"Along {many.directions:,} random directions the curvature is {many.minimum:.3g} to {many.maximum:.3g} "
        told += f"(mean {many.mean:.3g}), negative along {many.negative:,} of them"
        if whole is not None:
            some = "" if whole.negative_is_exact else "at least "
            told += (
                f"; of the {whole.n:,} eigenvalues of the Hessian {some}{whole.negative:,} are negative, and the "
                f"largest is {whole.largest[0]:.3g}"
            )
        said.append(told + ".")
    return tuple(said)
