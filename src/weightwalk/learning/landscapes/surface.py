"""The loss over a plane of weight space, with the net itself at the centre, and what the picture of it cannot show."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from weightwalk.errors import UsageError
from weightwalk.learning.frames import needs_pandas
from weightwalk.learning.landscapes.asked import belongs, data_of, grid, steps_of
from weightwalk.learning.landscapes.centre import Centre, centre_of
from weightwalk.learning.landscapes.directions import Plane, movable
from weightwalk.learning.landscapes.evaluate import (
    MEMORY,
    Answer,
    Progress,
    Question,
    evaluate,
    mean_loss,
    own_loss,
    rows_at_once,
)
from weightwalk.learning.landscapes.quiet import SMALL, judging
from weightwalk.learning.losses import Loss, loss_of
from weightwalk.learning.threads import pinned

if TYPE_CHECKING:
    import pandas as pd

    from weightwalk.learning.hessians import Spectrum


@dataclass(frozen=True, eq=False)
class Surface:
    """Losses on a grid of weights ``origin + a u + b v``.

    Attributes:
        alphas: (A,) steps along u; one of them is 0.
        betas: (B,) steps along v, one of them 0; ``[0]`` where there is no v.
        losses: (A, B) float64. Where the net's loss is not finite it stands as it came, inf or NaN.
        kind: What plane it is; see `Plane.kind`.
        labels: The axes.
        held: What does not move, in words.
        points: Named places of the plane, (name, a, b).
        norms: Lengths of u and v in weight space.
        cosine: Between u and v.
        n_parameters: Dimensions of weight space.
        shown: How many of them the picture shows.
        loss: Name of the loss.
        rows: How many examples it is the mean over.
        data: Which examples these are, in words.
        centre: Where in `losses` the net itself stands.
        centre_loss: Its loss, by a call of the untouched module; `losses` holds this very number at `centre`.
        centre_gap: What the grid's own arithmetic gives there, minus `centre_loss`: rounding.
        lowest: The least finite loss of the grid.
        lowest_at: Where, as (a, b).
        not_finite: How many points have no finite loss.
        at_centre: Slope and curvature along u and v.
        spectrum: What the Hessian says of all dimensions, where it was asked for.
        method: How the points were evaluated: ``chain``, ``vmap`` or ``loop``.
        dtype: Of the weights.
        seconds: Wall time.
        notes: What the picture leaves out, a sentence each.
        samples: (A, B, N) the loss of each example alone, where asked for; their mean over N is `losses`.
    """

    alphas: np.ndarray
    betas: np.ndarray
    losses: np.ndarray
    kind: str
    labels: tuple[str, str]
    held: str
    points: tuple[tuple[str, float, float], ...]
    norms: tuple[float, float]
    cosine: float
    n_parameters: int
    shown: int
    loss: str
    rows: int
    data: str
    centre: tuple[int, int]
    centre_loss: float
    centre_gap: float
    lowest: float
    lowest_at: tuple[float, float]
    not_finite: int
    at_centre: Centre
    spectrum: Spectrum | None
    method: str
    dtype: str
    seconds: float
    notes: tuple[str, ...]
    samples: np.ndarray | None = field(default=None, repr=False)

    @property
    def share(self) -> float:
        """Share of the dimensions of weight space that the picture shows."""
        return self.shown / self.n_parameters

    def frame(self) -> pd.DataFrame:
        """A row for each point: alpha, beta, loss."""
        pandas = needs_pandas()

        a, b = np.meshgrid(self.alphas, self.betas, indexing="ij")
        return pandas.DataFrame({"alpha": a.ravel(), "beta": b.ravel(), "loss": self.losses.ravel()})


def surface(
    module: nn.Module,
    inputs: Tensor,
    targets: Tensor,
    plane: Plane,
    *,
    loss: str | Loss = "mse",
    alphas: np.ndarray | None = None,
    betas: np.ndarray | None = None,
    memory: int | None = None,
    threads: int | None = None,
    rows: Sequence[int] | int | None = None,
    per_sample: bool = False,
    spectrum: Spectrum | None = None,
    curvature: bool = True,
    progress: Progress | None = None,
) -> Surface:
    """The loss on a grid over a plane (or a line) of weight space.

    The module is called, never changed: moved weights are put in its place for one call at a time, in eval mode, and
    modes, buffers, gradients, random state and thread count are left as found, on Ctrl-C too.

    Args:
        module: The net at the plane's origin.
        inputs: One row per example, shape ``(N, ...)``.
        targets: As many rows.
        plane: From `random_plane`, `weights_plane`, `plane_through` or `line`.
        loss: A name in ``LOSSES``, or a function ``(outputs, targets) -> scalar``, a mean over examples.
        alphas: Steps along u, 0 among them; ``grid(41)`` by default.
        betas: Steps along v; as `alphas` by default.
        memory: Bytes that the evaluation may take; 500 MB by default.
        threads: How many to use; None for as many as torch has. In a chain of layers each takes a part of the points,
            which changes no bit; any other small net is evaluated on one unless told otherwise: more make it slower.
        rows: Judge the net on these examples only; a number for a single one.
        per_sample: Keep the surface of each example, too.
        spectrum: What the Hessian says of all dimensions, to be shown beside.
        curvature: Compute slope and curvature at the centre (two Hessian products).
        progress: Called with (points done, points in all).

    Raises:
        UsageError: 0 is not among the steps, the plane belongs to other weights, or data and net do not fit.

    Example:
        >>> from weightwalk.learning.landscapes.directions import weights_plane
        >>> net = nn.Linear(1, 1, dtype=torch.float64)
        >>> _ = nn.init.constant_(net.weight, 2.0), nn.init.constant_(net.bias, 1.0)
        >>> x = torch.tensor([[-1.0], [1.0]], dtype=torch.float64)
        >>> plane = weights_plane(net, "weight[0, 0]", "bias[0]")
        >>> found = surface(net, x, 2 * x + 1, plane, alphas=grid(3), betas=grid(3))
        >>> found.losses                       # a² + b²: the bowl of least squares
        array([[2., 1., 2.],
               [1., 0., 1.],
               [2., 1., 2.]])
    """
    criterion, started = loss_of(loss), time.perf_counter()
    x, y, which = data_of(inputs, targets, rows)
    belongs(plane, module)
    a = steps_of(grid() if alphas is None else alphas, "alphas")
    b = np.zeros(1) if plane.v is None else steps_of(a if betas is None else betas, "betas")
    q = Question(module, x, y, criterion, memory or MEMORY, per_sample, threads or torch.get_num_threads())
    if threads is None and plane.n <= SMALL:
        threads = 1
    points = [(float(i), float(j)) for i in a for j in b]
    with judging(module):
        own = own_loss(q)
        with pinned(threads):
            answer = evaluate(q, plane, points, progress)
    with pinned(threads):
        at_centre = centre_of(q, plane) if curvature else Centre()
    losses = answer.losses.reshape(len(a), len(b))
    middle = (int(np.flatnonzero(a == 0)[0]), int(np.flatnonzero(b == 0)[0]))
    with np.errstate(invalid="ignore"):
        gap = float(losses[middle] - own)
    losses[middle] = own
    samples = None if answer.samples is None else answer.samples.reshape(*losses.shape, -1)
    finite = np.isfinite(losses)
    least = np.unravel_index(int(np.argmin(np.where(finite, losses, np.inf))), losses.shape)
    facts: dict[str, Any] = {
        "loss": loss if isinstance(loss, str) else getattr(loss, "__name__", "a function"),
        "rows": len(x), "data": which, "centre": middle, "centre_loss": own, "centre_gap": gap,
        "lowest": float(losses[least]), "lowest_at": (float(a[least[0]]), float(b[least[1]])),
        "not_finite": int((~finite).sum()), "at_centre": at_centre, "spectrum": spectrum,
    }  # fmt: skip
    return Surface(
        a, b, losses, plane.kind, plane.labels, plane.held, plane.points, plane.norms, plane.cosine, plane.n,
        plane.shown,
        method=answer.method, dtype=str(next(iter(plane.origin.values())).dtype).removeprefix("torch."),
        seconds=time.perf_counter() - started, samples=samples, notes=_notes(plane, answer, facts), **facts,
    )  # fmt: skip


def losses_at(
    module: nn.Module,
    inputs: Tensor,
    targets: Tensor,
    loss: str | Loss,
    points: np.ndarray | Sequence[Mapping[str, Tensor]],
    *,
    plane: Plane | None = None,
    memory: int | None = None,
    threads: int | None = None,
    progress: Progress | None = None,
) -> np.ndarray:
    """The true loss at any points of weight space.

    Args:
        module: The net.
        inputs: One row per example.
        targets: As many rows.
        loss: As for `surface`.
        points: With `plane`, places in it: (P, 2) steps along u and v, or (P,) along u. Without, whole points of weight
            space: (P, n) in the order of ``module.parameters()`` that require a gradient, or P state dicts (their
            buffers are used).
        plane: The plane.
        memory: Bytes that the evaluation may take.
        threads: As for `surface`.
        progress: Called with (points done, points in all).

    Returns:
        (P,) float64.

    Raises:
        UsageError: Points of another shape than the net has weights, or data that do not fit.

    Example:
        >>> net = nn.Linear(1, 1, bias=False).double()
        >>> x = torch.ones(2, 1, dtype=torch.float64)
        >>> losses_at(net, x, 3 * x, "mse", np.array([[3.0], [1.0]])).tolist()  # w = 3, and w = 1
        [0.0, 4.0]
    """
    x, y, _ = data_of(inputs, targets, None)
    q = Question(module, x, y, loss_of(loss), memory or MEMORY)
    weights = movable(module)
    n = sum(p.numel() for p in weights.values())
    with judging(module), pinned(1 if threads is None and n <= SMALL else threads):
        if plane is not None:
            places = np.asarray(points, dtype=np.float64).reshape(len(points), -1)
            if places.shape[1] > plane.shown:
                raise UsageError(f"The plane has {plane.shown} axes; the points have {places.shape[1]} numbers.")
            pairs = [(float(p[0]), float(p[1]) if len(p) > 1 else 0.0) for p in places]
            return evaluate(q, plane, pairs, progress).losses
        found, at_once = [], rows_at_once(q)
        for k, point in enumerate(points):
            state = point if isinstance(point, Mapping) else _unflattened(point, weights, n)
            known = {i: t for i, t in state.items() if i in weights or _is_buffer(module, i)}
            buffers = {i: t.clone() for i, t in module.named_buffers()}
            found.append(mean_loss(q, {**buffers, **known}, at_once))
            if progress is not None:
                progress(k + 1, len(points))
        return np.array(found)


def _is_buffer(module: nn.Module, name: str) -> bool:
    return any(name == n for n, _ in module.named_buffers())


def _unflattened(point: np.ndarray, weights: Mapping[str, nn.Parameter], n: int) -> dict[str, Tensor]:
    numbers = np.asarray(point)
    if numbers.shape != (n,):
        raise UsageError(f"A point of weight space has {n:,} numbers; got shape {numbers.shape}.")
    parts = torch.from_numpy(numbers.copy()).split([p.numel() for p in weights.values()])
    return {k: t.view(p.shape).to(p.device, p.dtype) for t, (k, p) in zip(parts, weights.items(), strict=True)}


def _notes(plane: Plane, answer: Answer, facts: Mapping[str, Any]) -> tuple[str, ...]:
    """What a reader must know before believing the picture."""
    n, own = plane.n, facts["centre_loss"]
    said = [f"{plane.shown} of {n:,} dimensions are shown; held fixed: {plane.held}."]
    said.append(
        f"The centre is the net itself, in eval mode, judged by {facts['data']}: {facts['loss']} {own:.6g}, "
        f"from a call of the untouched net; the grid's own arithmetic gives "
        f"{'the same' if facts['centre_gap'] == 0 else 'it to ' + format(abs(facts['centre_gap']), '.1e')}."
    )
    if plane.v is not None and plane.kind == "random":
        said.append(
            f"The two directions have cosine {plane.cosine:+.3f}; such directions have ±{plane.chance:.3f} by chance."
        )
    if facts["lowest"] < own:
        at = ", ".join(f"{x:.3g}" for x in facts["lowest_at"][: plane.shown])
        said.append(f"The net is not the lowest point: {facts['lowest']:.6g} at ({at}).")
    if facts["not_finite"]:
        said.append(f"{facts['not_finite']:,} of {len(answer.losses):,} points have no finite loss.")
    about, found = facts["at_centre"], facts["spectrum"]
    if about.why:
        said.append(f"No slope and curvature at the centre: {about.why}")
    if found is not None:
        some = "" if found.negative_is_exact else "at least "
        along = " and ".join(f"{x:.4g}" for x in about.rayleigh[: plane.shown])
        said.append(
            f"The Hessian's largest eigenvalues are {', '.join(f'{x:.4g}' for x in found.largest[:3])}; "
            f"{some}{found.negative:,} of {n:,} are negative. Along the axes of this picture the curvature is {along}"
            + (": weighted means of all eigenvalues." if plane.kind == "random" else ".")
        )
    if answer.draws:
        said.append("The net draws random numbers even in eval mode: the same ones at every point.")
    if str(next(iter(plane.origin.values())).dtype) in {"torch.bfloat16", "torch.float16"}:
        said.append("The weights have half precision: moves below about 0.4 % of a weight are lost to rounding.")
    return tuple(said)
