"""The Hessian of a loss: its product with a vector, its spectrum, and what that says of a point.

The Hessian is the matrix of second derivatives ``H[i, j] = d²L / dw_i dw_j`` over all weights that can be trained,
laid end to end in the order of ``module.parameters()``. It is never formed unless it is small: its product with a
vector costs about two backward passes (Pearlmutter 1994), and Lanczos' method needs no more than that.

A net of ReLUs is piecewise smooth. What is computed is the Hessian of the piece that the weights lie in, which is the
Hessian almost everywhere; on a kink itself (a unit whose sum is exactly 0) it is that of the side where the unit is
off.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from torch import Tensor, nn

from weightwalk.learning.curvature import SMALL, Curvature
from weightwalk.learning.losses import Loss
from weightwalk.learning.threads import pinned

Matvec = Callable[[np.ndarray], np.ndarray]
"""``v -> H v``, float64, shape (n,)."""

MEMORY = 2**30
"""Bytes that the vectors of a run without restarts may take."""
FLAT = 1e-6
"""An eigenvalue below this fraction of the largest in size counts as zero where the Hessian was formed in float64."""


@dataclass(frozen=True, eq=False)
class Spectrum:
    """Eigenvalues of a Hessian, all of them or those at the two ends.

    Attributes:
        n: Number of weights: of eigenvalues in all.
        largest: The largest ones found, falling.
        smallest: The smallest ones found, rising: the most negative first. None where none was found in time.
        negative: How many eigenvalues lie below ``-tolerance``: their exact number where `negative_is_exact`, else how
            many were found. What was found is a lower bound for certain: as many orthogonal directions with negative
            curvature were at hand, and a matrix has at least as many negative eigenvalues (Courant and Fischer).
        negative_is_exact: Whether all eigenvalues were computed.
        flat: How many lie within ``±tolerance``; None where not all were computed.
        gradient_norm: Length of the gradient there: 0 at a critical point, the only kind that a Hessian can classify.
        method: ``"full"`` for the whole matrix, ``"lanczos"`` for SciPy's ``eigsh`` on products.
        tolerance: What counts as zero, in the units of an eigenvalue.
        note: What else a reader must know: what did not converge, which precision, what a kink does.
        loss: The loss there.
        products: Products of the Hessian with a vector that it took.
        all: Every eigenvalue, rising; None unless the method is ``"full"``.
        residuals: For each of `largest` and then of `smallest`, the length of ``H v - λ v``: an eigenvalue lies that
            near for certain.
        steepest: The direction of the largest eigenvalue, length 1, shape (n,).
        lowest: The direction of the smallest eigenvalue; None where none was found.
    """

    n: int
    largest: np.ndarray
    smallest: np.ndarray | None
    negative: int
    negative_is_exact: bool
    flat: int | None
    gradient_norm: float
    method: str
    tolerance: float
    note: str
    loss: float = math.nan
    products: int = 0
    all: np.ndarray | None = field(default=None, repr=False)
    residuals: np.ndarray = field(default_factory=lambda: np.zeros(0), repr=False)
    steepest: np.ndarray | None = field(default=None, repr=False)
    lowest: np.ndarray | None = field(default=None, repr=False)

    @property
    def positive(self) -> int | None:
        """How many eigenvalues lie above ``tolerance``; None where not all were computed."""
        return None if self.flat is None else self.n - self.flat - self.negative


def hessian_product(module: nn.Module, inputs: Tensor, targets: Tensor, loss: str | Loss) -> tuple[int, Matvec]:
    """The Hessian of the mean loss over the data as a linear map.

    Exact: no differences are taken. The examples are taken in chunks where all at once would need much memory. The
    module is neither moved nor changed: the products are of copies of its weights as they are now, in float64 up to a
    million weights and float32 beyond, in eval mode (no dropout; running statistics in batch norm).

    Args:
        module: The net.
        inputs: One row per example.
        targets: One row per example.
        loss: A name in `LOSSES`, or a function ``(outputs, targets) -> scalar``, a mean over rows.

    Returns:
        The number of weights ``n``, and the function ``v -> H v`` on float64 arrays of shape (n,), in the order of
        ``module.parameters()`` that require a gradient.

    Raises:
        UsageError: Nothing to train; inputs and targets that do not fit; weights or a loss that are not finite.

    Example:
        The Hessian of a mean squared error of ``y = w x`` is ``2 mean(x²)``:

        >>> import torch
        >>> x = torch.tensor([[1.0], [2.0]])
        >>> n, product = hessian_product(nn.Linear(1, 1, bias=False), x, x, "mse")
        >>> n, product(np.ones(1)).tolist()
        (1, [5.0])
    """
    curvature = Curvature(module, inputs, targets, loss)
    return curvature.n, curvature.product


def spectrum(
    module: nn.Module,
    inputs: Tensor,
    targets: Tensor,
    *,
    loss: str | Loss,
    top: int = 5,
    full_up_to: int = 2000,
    seconds: float = 10.0,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> Spectrum:
    """Eigenvalues of the Hessian of the mean loss: all of them for a small net, both ends for a large one.

    Args:
        module: The net; left as found.
        inputs: One row per example.
        targets: One row per example.
        loss: A name in `LOSSES`, or a function ``(outputs, targets) -> scalar``, a mean over rows.
        top: How many at each end.
        full_up_to: Form the whole matrix up to so many weights.
        seconds: About how long Lanczos' method may take, for both ends together; 12 products are made in any case.
            What has not converged by then is left out, or given with how far off it may be; the note says which.
        seed: Of the vector that Lanczos' method starts from.
        progress: Told of products done, and of how many there may be at most.

    Raises:
        UsageError: As for `hessian_product`.

    Example:
        >>> import torch
        >>> x = torch.tensor([[1.0], [2.0]])
        >>> found = spectrum(nn.Linear(1, 1, bias=False), x, x, loss="mse")
        >>> found.largest.tolist(), found.negative, found.method
        ([5.0], 0, 'full')
    """
    curvature = Curvature(module, inputs, targets, loss)
    with pinned(1 if curvature.n <= SMALL else None):
        matrix = curvature.matrix(progress) if curvature.n <= max(full_up_to, 3) else None
        return spectrum_of(curvature, matrix, top=top, seconds=seconds, seed=seed, progress=progress)


def spectrum_of(
    curvature: Curvature,
    matrix: np.ndarray | None,
    *,
    top: int,
    seconds: float,
    seed: int,
    progress: Callable[[int, int], None] | None = None,
) -> Spectrum:
    """As `spectrum`, where derivatives and perhaps the whole matrix are at hand."""
    if matrix is None:
        return _ends(curvature, top, seconds, seed, progress)
    return _whole(curvature, matrix, top)


def _whole(curvature: Curvature, matrix: np.ndarray, top: int) -> Spectrum:
    """Every eigenvalue, from the matrix itself."""
    lopsided = float(np.abs(matrix - matrix.T).max())
    values, vectors = np.linalg.eigh((matrix + matrix.T) / 2)
    size = float(np.abs(values).max())
    tolerance = max(FLAT if curvature.double else 1e-4, 10 * lopsided / size if size else 0.0) * size
    ends = [*range(len(values) - 1, max(len(values) - 1 - top, -1), -1), *range(min(top, len(values)))]
    residuals = np.linalg.norm(matrix @ vectors[:, ends] - vectors[:, ends] * values[ends], axis=0)
    return Spectrum(
        curvature.n,
        values[::-1][:top].copy(),
        values[:top].copy(),
        int((values < -tolerance).sum()),
        True,
        int((np.abs(values) <= tolerance).sum()),
        curvature.gradient_norm,
        "full",
        tolerance,
        " ".join(curvature.remarks(lopsided > 1e-6 * size)),
        curvature.loss,
        curvature.products,
        values,
        residuals,
        vectors[:, -1].copy(),
        vectors[:, 0].copy(),
    )


def _ends(
    curvature: Curvature, top: int, seconds: float, seed: int, progress: Callable[[int, int], None] | None
) -> Spectrum:
    """Both ends by Lanczos' method, as far as the time allows."""
    n, rng = curvature.n, np.random.default_rng(seed)
    start, other = rng.standard_normal(n), rng.standard_normal(n)
    began = time.perf_counter()
    image = curvature.product(start)
    one = time.perf_counter() - began
    lopsided = abs(float(other @ image - start @ curvature.product(other)))
    skew = lopsided > 1e-4 * float(np.linalg.norm(image) * np.linalg.norm(other))
    top = min(top, n - 2)
    basis = min(n - 1, max(2 * top + 1, 20))
    afford = seconds / 2 / max(one, 1e-6)  # products for each end
    if afford < 2 * basis:
        return _one_run(curvature, top, seconds, one, start, skew, progress)
    rounds = max(1, int((afford - basis) / max(basis - top, 1)))
    most = 2 * (basis + rounds * (basis - top))

    def product(v: np.ndarray) -> np.ndarray:
        if progress is not None:
            progress(min(curvature.products, most), most)
        return curvature.product(v)

    highest, up, missing_up = _lanczos(product, n, top, basis, rounds, start, None)
    # The smallest ones lie in a cluster around 0, where a tolerance relative to the eigenvalue never is met; seen from
    # the largest one they are the farthest, and the tolerance becomes one relative to that.
    shift = float(highest[0]) if len(highest) else float(np.linalg.norm(image) / np.linalg.norm(start))
    lowest, down, missing_down = _lanczos(product, n, top, basis, rounds, start, shift)
    size = max([abs(float(v)) for v in (*highest[:1], *lowest[:1])], default=0.0)
    tolerance = (FLAT if curvature.double else 1e-4) * size
    pairs = [*zip(highest, up, strict=True), *zip(lowest, down, strict=True)]
    residuals = np.array([np.linalg.norm(product(v) - value * v) for value, v in pairs])
    remarks = curvature.remarks(skew)
    for missing, where in ((missing_up, "largest"), (missing_down, "smallest")):
        if missing:
            remarks.append(
                f"Of the {top} {where} eigenvalues {missing} did not converge within {seconds:g} s and are left out."
            )
    return Spectrum(
        n,
        highest,
        lowest if len(lowest) else None,
        int((lowest < -tolerance).sum()),
        False,
        None,
        curvature.gradient_norm,
        "lanczos",
        tolerance,
        " ".join(remarks),
        curvature.loss,
        curvature.products,
        None,
        residuals,
        up[0] if len(up) else None,
        down[0] if len(down) else None,
    )


def _one_run(
    curvature: Curvature,
    top: int,
    seconds: float,
    one: float,
    start: np.ndarray,
    skew: bool,
    progress: Callable[[int, int], None] | None,
) -> Spectrum:
    """Both ends from one run of Lanczos' method without restarts, where products are too dear for more.

    Its values lie within the spectrum, so that the largest is a lower bound of the largest eigenvalue; as many of them
    as are negative, so many eigenvalues at least are (Cauchy's interlacing).
    """
    n = curvature.n
    kind = np.float64 if curvature.double else np.float32
    room = MEMORY // (n * np.dtype(kind).itemsize)
    steps = int(max(2, min(n, room, max(12, min(60, seconds / max(one, 1e-6))))))
    basis = np.zeros((steps, n), dtype=kind)
    basis[0] = start / np.linalg.norm(start)
    small = np.zeros((steps, steps))
    left = 0.0
    for k in range(steps):
        image = curvature.product(basis[k].astype(np.float64))
        for _ in range(2):  # twice is enough (Kahan and Parlett)
            along = (basis[: k + 1] @ image.astype(kind)).astype(np.float64)
            small[k, : k + 1] += along
            image -= along.astype(kind) @ basis[: k + 1]
        left = float(np.linalg.norm(image))
        if progress is not None:
            progress(k + 1, steps)
        if k + 1 == steps or left <= 1e-10 * np.abs(small).max():
            steps = k + 1
            break
        basis[k + 1] = image / left
    small = np.tril(small[:steps, :steps])
    values, vectors = np.linalg.eigh(small)  # of the lower triangle
    bounds = np.abs(left * vectors[-1])
    size = float(np.abs(values).max())
    tolerance = (FLAT if curvature.double else 1e-4) * size
    few = min(top, steps)
    up, down = np.arange(steps)[::-1][:few], np.arange(steps)[:few]
    good = lambda at: at[bounds[at] <= 0.05 * np.abs(values[at])]  # noqa: E731
    highest, lowest = good(up), good(down)
    highest, lowest = (highest if len(highest) else up[:1]), (lowest if len(lowest) else down[:1])
    far = max(float(bounds[highest].max()), float(bounds[lowest].max()))
    remarks = curvature.remarks(skew)
    remarks.append(
        f"{steps} products with the Hessian were afforded: an eigenvalue lies within {far:.2g} of each value given, "
        "and the true ends may lie farther out."
    )
    return Spectrum(
        n, values[highest], values[lowest], int((values < -tolerance).sum()), False, None, curvature.gradient_norm,
        "lanczos", tolerance, " ".join(remarks), curvature.loss, curvature.products, None,
        bounds[np.concatenate([highest, lowest])],
        _lifted(basis[:steps], vectors[:, -1]), _lifted(basis[:steps], vectors[:, 0]),
    )  # fmt: skip


def _lifted(basis: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """A combination of the basis' vectors, length 1, in float64."""
    made = (weights.astype(basis.dtype) @ basis).astype(np.float64)
    return made / np.linalg.norm(made)


def _lanczos(
    product: Matvec, n: int, top: int, basis: int, rounds: int, start: np.ndarray, shift: float | None
) -> tuple[np.ndarray, np.ndarray, int]:
    """The `top` largest eigenvalues (falling), or with a shift the smallest (rising); their vectors as rows; how many
    are missing.
    """
    from scipy.sparse.linalg import ArpackNoConvergence, LinearOperator, eigsh

    image = product(start)
    for value in (0.0, shift or 0.0):  # as good as certain: a multiple of the identity
        if np.linalg.norm(image - value * start) <= 1e-12 * abs(value) * np.linalg.norm(start):
            return np.full(top, value), np.eye(top, n), 0
    made: Any = LinearOperator  # SciPy's own types know neither `matvec` nor a tolerance that is no integer
    operator = made((n, n), matvec=lambda v: product(v.ravel()) - (shift or 0.0) * v.ravel(), dtype=np.float64)
    settings: dict[str, Any] = {"which": "LA", "tol": 1e-6} if shift is None else {"which": "SA", "tol": 1e-5}
    try:
        values, vectors = eigsh(operator, k=top, ncv=basis, maxiter=rounds, v0=start, **settings)
    except ArpackNoConvergence as stopped:
        values, vectors = stopped.eigenvalues, stopped.eigenvectors
    values = np.asarray(values, dtype=np.float64) + (shift or 0.0)
    order = np.argsort(-values) if shift is None else np.argsort(values)
    return values[order], np.asarray(vectors, dtype=np.float64).T.reshape(-1, n)[order], top - len(values)
