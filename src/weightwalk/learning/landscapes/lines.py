"""The loss along the straight line between two nets, and the plane through three."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from weightwalk.errors import UsageError
from weightwalk.learning.frames import needs_pandas
from weightwalk.learning.landscapes.asked import data_of
from weightwalk.learning.landscapes.directions import Plane, dot, movable, origin_of, others
from weightwalk.learning.landscapes.evaluate import MEMORY, Progress, Question, mean_loss, own_loss, rows_at_once
from weightwalk.learning.landscapes.quiet import SMALL, judging
from weightwalk.learning.losses import Loss, loss_of
from weightwalk.learning.threads import pinned

if TYPE_CHECKING:
    import pandas as pd

    from weightwalk.learning.hessians import Spectrum


@dataclass(frozen=True, eq=False)
class Line:
    """Losses of the nets ``(1 - t) A + t B``.

    Attributes:
        ts: (T,), 0 and 1 among them.
        losses: (T,) float64; at t = 0 and t = 1 by the two nets themselves, each called as it stands.
        held_losses: (T,) on the held-out examples; None without them.
        ends: The losses of A and B.
        barrier: The most by which the loss on the way (0 <= t <= 1) exceeds the straight interpolation of the two ends'
            losses (Frankle et al. 2020); 0 where it never does.
        barrier_at: The t of it.
        peak: The greatest loss on the way minus the greater of the ends' losses; 0 where there is no hill between.
        course: ``falls`` or ``rises`` where the losses do so from A to B at each step, ``level``, or ``neither``.
        rises: How many of the steps from A to B go up.
        steps: How many steps there are from A to B.
        distance: ``|B - A|`` over the parameters.
        relative: That distance over the mean of ``|A|`` and ``|B|``.
        n_parameters: Dimensions of weight space, of which the picture shows one.
        shown: 1.
        loss: Name of the loss.
        rows: How many examples it is the mean over.
        data: Which, in words.
        labels: Names of A and B.
        not_finite: How many points have no finite loss.
        seconds: Wall time.
        notes: What the picture leaves out.
        spectra: What the Hessian says at A and at B; empty where it was not asked for.
    """

    ts: np.ndarray
    losses: np.ndarray
    held_losses: np.ndarray | None
    ends: tuple[float, float]
    barrier: float
    barrier_at: float
    peak: float
    course: str
    rises: int
    steps: int
    distance: float
    relative: float
    n_parameters: int
    shown: int
    loss: str
    rows: int
    data: str
    labels: tuple[str, str]
    not_finite: int
    seconds: float
    notes: tuple[str, ...]
    spectra: tuple[Spectrum, ...] = ()

    def frame(self) -> pd.DataFrame:
        """A row for each point: t, loss, and held_loss where there is one."""
        pandas = needs_pandas()

        held = {} if self.held_losses is None else {"held_loss": self.held_losses}
        return pandas.DataFrame({"t": self.ts, "loss": self.losses, **held})


def line_between(
    module_a: nn.Module,
    module_b: nn.Module,
    inputs: Tensor,
    targets: Tensor,
    *,
    loss: str | Loss = "mse",
    points: int = 41,
    beyond: float = 0.0,
    held_out: tuple[Tensor, Tensor] | None = None,
    labels: tuple[str, str] = ("A", "B"),
    memory: int | None = None,
    threads: int | None = None,
    progress: Progress | None = None,
) -> Line:
    """The loss along ``(1 - t) A + t B``: every parameter, and every running statistic, on the straight way.

    Args:
        module_a: A net; left as found.
        module_b: A net of the same architecture; left as found.
        inputs: One row per example.
        targets: As many.
        loss: As for `surface`.
        points: From A to B, the ends included.
        beyond: How far to go on past both ends, in units of the distance.
        held_out: Inputs and targets to judge the nets by as well.
        labels: Names of the two.
        memory: Bytes that the evaluation may take.
        threads: As for `surface`.
        progress: Called with (points done, points in all).

    Raises:
        UsageError: The nets do not have the same parameters, or too few points.

    Example:
        >>> import torch
        >>> a, b = nn.Linear(1, 1, bias=False), nn.Linear(1, 1, bias=False)
        >>> _ = nn.init.constant_(a.weight, 1.0), nn.init.constant_(b.weight, -1.0)
        >>> found = line_between(a, b, torch.ones(1, 1), torch.zeros(1, 1), points=5)
        >>> found.losses, found.barrier, found.course         # w²: both ends at 1, the way leads through 0
        (array([1.  , 0.25, 0.  , 0.25, 1.  ]), 0.0, 'neither')
    """
    started, criterion = time.perf_counter(), loss_of(loss)
    x, y, which = data_of(inputs, targets, None)
    a, b = movable(module_a), movable(module_b)
    states = _state(module_a), _state(module_b)
    remark = _same(*states)
    if points < 2 or not (math.isfinite(beyond) and beyond >= 0):
        raise UsageError(f"A line needs 2 points or more, and goes on by 0 or more; got {points} and {beyond}.")
    ts = _steps(points, beyond)
    n = sum(p.numel() for p in a.values())
    sets = [(x, y), *([held_out] if held_out is not None else [])]
    found = np.empty((len(sets), len(ts)))
    questions = [[Question(m, *s, criterion, memory or MEMORY) for s in sets] for m in (module_a, module_b)]
    with judging(module_a), judging(module_b):
        own = [[own_loss(q) for q in of_net] for of_net in questions]
        with pinned(1 if threads is None and n <= SMALL else threads):
            rows = [rows_at_once(q) for q in questions[0]]
            for k, t in enumerate(ts):
                moved = _between(*states, float(t))
                for i in range(len(sets)):
                    if t in (0.0, 1.0):
                        found[i, k] = own[int(t)][i]
                        continue
                    found[i, k] = mean_loss(questions[0][i], moved, rows[i])
                if progress is not None:
                    progress(k + 1, len(ts))
    losses, inside = found[0], (ts >= 0) & (ts <= 1)
    way, at = losses[inside], ts[inside]
    with np.errstate(invalid="ignore"):
        change = np.diff(way)
    sizes = [math.sqrt(dot(w, w)) for w in (a, b)]
    distance = math.sqrt(math.fsum(float((a[k] - b[k]).detach().double().square().sum()) for k in a))
    return Line(
        ts, losses, found[1] if len(sets) > 1 else None, (own[0][0], own[1][0]),
        *_hill(way, at), _course(change), int((change > 0).sum()), len(change), distance,
        distance / max(1e-300, sum(sizes) / 2), n, 1,
        loss if isinstance(loss, str) else getattr(loss, "__name__", "a function"), len(x), which, labels,
        int((~np.isfinite(losses)).sum()), time.perf_counter() - started, _notes(n, remark, distance),
    )  # fmt: skip


def plane_through(
    module_a: nn.Module, module_b: nn.Module, module_c: nn.Module, labels: tuple[str, str, str] = ("A", "B", "C")
) -> Plane:
    """The plane that three nets of one architecture lie in; A is its origin, B stands at (1, 0).

    u is ``B - A``; v is the part of ``C - A`` at right angles to it, made as long as u: distances in the picture are
    distances in weight space, in units of ``|B - A|``.

    Args:
        module_a: The net at (0, 0).
        module_b: The net at (1, 0).
        module_c: The third.
        labels: What they are called.

    Raises:
        UsageError: The nets do not have the same parameters, or they lie on one line.

    Example:
        >>> from weightwalk.learning.seeds import seeded
        >>> with seeded(0):
        ...     plane = plane_through(nn.Linear(2, 1), nn.Linear(2, 1), nn.Linear(2, 1))
        >>> abs(plane.cosine) < 1e-6
        True
    """
    _same(_state(module_a), _state(module_b))
    _same(_state(module_a), _state(module_c))
    origin, b, c = origin_of(module_a), movable(module_b), movable(module_c)
    if list(b) != list(origin) or list(c) != list(origin):
        raise UsageError("The three nets have not the same parameters that require a gradient.")
    u = {n: (b[n].detach() - w) for n, w in origin.items()}
    to_c = {n: (c[n].detach() - w) for n, w in origin.items()}
    uu, uc = dot(u, u), dot(u, to_c)
    share = uc / uu if uu else 0.0
    v = {n: d - share * u[n] for n, d in to_c.items()}
    vv = dot(v, v)
    if uu == 0 or vv <= 1e-12 * dot(to_c, to_c):
        raise UsageError("The three nets lie on one line of weight space (or two are the same): they span no plane.")
    scale = math.sqrt(uu / vv)
    points = ((labels[0], 0.0, 0.0), (labels[1], 1.0, 0.0), (labels[2], share, 1 / scale))
    n = sum(w.numel() for w in origin.values())
    axes = (f"from {labels[0]} to {labels[1]}", f"at right angles, towards {labels[2]} (same unit)")
    return Plane(origin, u, {k: d * scale for k, d in v.items()}, axes, "three nets", others(n, 2), points)


def _state(module: nn.Module) -> dict[str, Tensor]:
    """All that a net computes with."""
    both = [*module.named_parameters(), *module.named_buffers()]
    return {n: t.detach() for n, t in both}


def _same(a: Mapping[str, Tensor], b: Mapping[str, Tensor]) -> str:
    """What cannot be interpolated, in words.

    Raises:
        UsageError: The nets have different parameters.
    """
    for name in a:
        if name not in b:
            raise UsageError(f"The nets are not of one architecture: {name} is in one and not in the other.")
        if a[name].shape != b[name].shape or a[name].dtype != b[name].dtype:
            raise UsageError(
                f"The nets are not of one architecture: {name} has {tuple(a[name].shape)} {a[name].dtype} in one and "
                f"{tuple(b[name].shape)} {b[name].dtype} in the other."
            )
    if len(b) != len(a):
        extra = next(name for name in b if name not in a)
        raise UsageError(f"The nets are not of one architecture: {extra} is in one and not in the other.")
    fixed = [n for n, t in a.items() if not t.is_floating_point() and not torch.equal(t, b[n])]
    return f"whole numbers that differ ({', '.join(fixed[:3])}) are those of the first net" if fixed else ""


def _between(a: Mapping[str, Tensor], b: Mapping[str, Tensor], t: float) -> dict[str, Tensor]:
    return {n: (1 - t) * w + t * b[n] if w.is_floating_point() else w.clone() for n, w in a.items()}


def _steps(points: int, beyond: float) -> np.ndarray:
    """0 and 1 are among them exactly."""
    step = 1 / (points - 1)
    more = math.floor(beyond / step + 1e-9)
    return np.arange(-more, points + more) / (points - 1)


def _hill(way: np.ndarray, at: np.ndarray) -> tuple[float, float, float]:
    """Barrier, where, and peak; NaN where an end has no finite loss to measure from."""
    if not np.isfinite(way[[0, -1]]).all():
        return math.nan, math.nan, math.nan
    above = way - ((1 - at) * way[0] + at * way[-1])
    worst = int(np.nanargmax(above))
    return max(0.0, float(above[worst])), float(at[worst]), max(0.0, float(np.nanmax(way) - max(way[0], way[-1])))


def _course(change: np.ndarray) -> str:
    if not np.isfinite(change).all():
        return "neither"
    if not change.any():
        return "level"
    return "falls" if (change <= 0).all() else "rises" if (change >= 0).all() else "neither"


def _notes(n: int, remark: str, distance: float) -> tuple[str, ...]:
    said = [
        f"Shown: 1 of {n:,} dimension{'s' * (n > 1)} ({100 / n:.3g} %); held fixed: the other {n - 1:,}. A hill on the "
        "straight line is no wall: a curve may go around it, so the barrier is an upper bound.",
        "The order of a layer's hidden units means nothing, and yet the line depends on it: exchange two units of "
        "one net with all their weights, and the same net has another line.",
    ]
    if remark:
        said.append(f"On the way, {remark}.")
    if distance == 0:
        said.append("Both nets have the same weights.")
    return tuple(said)
