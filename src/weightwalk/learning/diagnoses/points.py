"""What kind of point the weights are at: minimum, saddle, flat, or no critical point at all."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from weightwalk.learning.curvature import SMALL, Curvature
from weightwalk.learning.diagnoses.facts import Point
from weightwalk.learning.hessians import Spectrum, spectrum_of
from weightwalk.learning.losses import Loss
from weightwalk.learning.threads import pinned

CRITICAL = 1e-3
"""``|g| |w| / L`` up to which the gradient counts as zero: changing the weights by 1 % changes the loss by 0.001 %."""
SAME = 1e-5
"""A direction changes no answer where it moves the outputs by less than this share of what the steepest one does."""
PINNED = 1e-6
"""Distance of a probability from 0 at which it counts as pinned there."""
STEPS = np.concatenate([s * 10.0 ** np.arange(-4, 0.6, 0.25) for s in (1, -1)])
"""How far is gone along the most negative direction, both ways, as a share of the weights' length."""


def point(
    module: nn.Module,
    inputs: Tensor,
    targets: Tensor,
    loss: str | Loss,
    *,
    seconds: float = 10.0,
    seed: int = 0,
    full_up_to: int = 2000,
    progress: Callable[[int, int], None] | None = None,
) -> Point:
    """Gradient and Hessian at the net's weights, and what kind of point that makes it.

    Args:
        module: The net, left as found.
        inputs: Rows.
        targets: Rows.
        loss: Which.
        seconds: For Lanczos' method, on large nets.
        seed: Of its first vector.
        full_up_to: Weights up to which the whole matrix is formed.
        progress: Told of products with the Hessian.
    """
    curvature = Curvature(module, inputs, targets, loss)
    with pinned(1 if curvature.n <= SMALL else None):
        matrix = curvature.matrix(progress) if curvature.n <= full_up_to else None
        found = spectrum_of(curvature, matrix, top=5, seconds=seconds, seed=seed, progress=progress)
        length = float(np.linalg.norm(curvature.weights()))
        relative = found.gradient_norm * length / abs(found.loss) if found.loss else 0.0
        escape = _escape(curvature, found, length)
        kind = _kind(found, relative, escape)
        idle = unchanged = kicked = None
        certain = _pinned(curvature, loss)
        if matrix is not None:
            still = np.abs(matrix).max(axis=1) <= found.tolerance
            idle = int((still & (np.abs(curvature.gradient) <= 1e-12 * found.gradient_norm)).sum())
            if kind in ("minimum", "flat minimum"):
                values, vectors = np.linalg.eigh((matrix + matrix.T) / 2)
                flat = vectors[:, np.abs(values) <= found.tolerance]
                unchanged = _unchanged(curvature, flat, vectors[:, -1], loss)
                kicked = _kicked(curvature, flat, length, seed)
                kind = "endless" if certain and unchanged != flat.shape[1] else kind
                slack = 1e-3 * relative * abs(found.loss) + 1e-12 * abs(found.loss)
                kind = "refuted minimum" if kicked < found.loss - slack and kind != "endless" else kind
    return Point(kind, relative, CRITICAL, found, idle, unchanged, *escape, certain, kicked, len(inputs))


@dataclass(frozen=True, slots=True, eq=False)
class Downhill:
    """Where going on downhill ended.

    Attributes:
        weights: There, by name, in the precision of the computation.
        loss: There.
        steps: Made.
        arrived: Whether the gradient vanished: `CRITICAL` over 1000.
        distance: From the start, as a share of the weights' length.
    """

    weights: dict[str, Tensor]
    loss: float
    steps: int
    arrived: bool
    distance: float


def settle_down(module: nn.Module, inputs: Tensor, targets: Tensor, loss: str | Loss, steps: int = 2000) -> Downhill:
    """Go on downhill by L-BFGS, in float64 and with all the rows, until the gradient is as good as zero.

    Every step lowers the loss, so that no hill is crossed knowingly; a step may be long, though, and leave the valley
    that plain gradient descent would follow.
    """
    from scipy.optimize import minimize

    curvature = Curvature(module, inputs, targets, loss)
    start = curvature.weights()
    with pinned(1 if curvature.n <= SMALL else None):
        found = minimize(
            curvature.slope_at,
            np.zeros(curvature.n),
            jac=True,
            method="L-BFGS-B",
            options={"maxiter": steps, "maxfun": 2 * steps, "ftol": 0.0, "gtol": 1e-10, "maxcor": 30},
        )
        low, slope = curvature.slope_at(found.x)
    there = start + found.x
    relative = float(np.linalg.norm(slope) * np.linalg.norm(there)) / abs(low) if low else 0.0
    weights = {name: torch.tensor(there[at], dtype=curvature.dtype) for name, at in curvature.places().items()}
    share = float(np.linalg.norm(found.x) / (np.linalg.norm(start) or 1.0))
    return Downhill(weights, low, int(found.nit), relative <= CRITICAL / 1000, share)


def _kind(found: Spectrum, relative: float, escape: tuple[float | None, ...]) -> str:
    if relative > CRITICAL:
        return "not critical"
    if found.negative:
        lower = escape[0] is not None and escape[0] < found.loss
        return "saddle" if lower else "unconfirmed saddle"
    if not found.negative_is_exact:
        return "open"
    return "flat minimum" if found.flat else "minimum"


def _escape(curvature: Curvature, found: Spectrum, length: float) -> tuple[float | None, float | None, float | None]:
    """The lowest loss along the most negative direction, how far along, and what was predicted there."""
    if not found.negative or found.lowest is None or found.smallest is None:
        return None, None, None
    steps = STEPS * (length or 1.0)
    losses = np.array([curvature.loss_at(t * found.lowest) for t in steps])
    if not np.isfinite(losses).any():
        return None, None, None
    best = int(np.nanargmin(losses))
    t = float(steps[best])
    predicted = t * float(curvature.gradient @ found.lowest) + 0.5 * t * t * float(found.smallest[0])
    return float(losses[best]), t, predicted


def _pinned(curvature: Curvature, loss: str | Loss) -> int:
    """How many probabilities lie within `PINNED` of 0 (or of 1, for yes and no), where a softmax hardly answers."""
    if loss not in ("cross_entropy", "bce"):
        return 0
    out = curvature.outputs().double()
    if loss == "cross_entropy":
        return int((out.softmax(dim=-1) < PINNED).sum())
    return int(((out.sigmoid() - 0.5).abs() > 0.5 - PINNED).sum())


def _unchanged(curvature: Curvature, flat: np.ndarray, steepest: np.ndarray, loss: str | Loss) -> int | None:
    """How many of the flat directions change no answer on any row, to first order.

    Weights of dead units, embeddings of tokens that never occur, scaling the weights into a ReLU up and those out of it
    down, trading a bias for another behind a unit that is always on, adding one number to all logits: all of these, and
    nothing has to be known of the net. The rank is that of the outputs' derivatives along the flat directions.
    """
    if not flat.shape[1]:
        return 0
    moves = curvature.pushed(np.concatenate([steepest[:, None], flat], axis=1), centred=loss == "cross_entropy")
    if moves is None:
        return None
    reference = float(np.linalg.norm(moves[:, 0])) or 1.0
    sizes = np.linalg.svd(moves[:, 1:], compute_uv=False)
    return flat.shape[1] - int((sizes > SAME * reference).sum())


def _kicked(curvature: Curvature, flat: np.ndarray, length: float, seed: int) -> float:
    """The lowest loss at 60 random places nearby, half of them along flat directions: a minimum has nothing lower."""
    rng = np.random.default_rng(seed)
    lowest = np.inf
    for size in (1e-4, 1e-3, 1e-2):
        for k in range(20):
            inside = k % 2 and flat.shape[1]
            step = flat @ rng.standard_normal(flat.shape[1]) if inside else rng.standard_normal(curvature.n)
            far = size * (length or 1.0) / float(np.linalg.norm(step))
            lowest = min(lowest, curvature.loss_at(far * step))
    return lowest
