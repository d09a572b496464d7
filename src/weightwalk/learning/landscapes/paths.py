"""Where optimizers really go, beside where a picture of two directions would have a ball roll.

A training moves in all dimensions of weight space; a picture has two. So each path says how much of it the picture
shows, how far from the picture it runs, and the loss that it really has.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from weightwalk.errors import UsageError
from weightwalk.learning.hessians import hessian_product
from weightwalk.learning.landscapes.bowls import FAR, Path, check_steps, path_of
from weightwalk.learning.landscapes.directions import Plane, Weights, origin_of
from weightwalk.learning.landscapes.places import losses_of, on_plane, place_on, share_shown
from weightwalk.learning.landscapes.quiet import judging
from weightwalk.learning.losses import Loss, loss_of, tensor_of
from weightwalk.learning.optimizers import optimizer_of
from weightwalk.learning.seeds import seeded
from weightwalk.learning.tasks import Task
from weightwalk.learning.train import Snapshot, train

POINTS = 60
"""Points of a path that are kept, at most."""

Said = Callable[[str, int, int], None]
"""Called with (what is being done, done, in all)."""


def path_on(
    plane: Plane,
    places: Sequence[Weights],
    module: nn.Module,
    inputs: Tensor,
    targets: Tensor,
    loss: str | Loss,
    *,
    name: str,
    rate: float,
    relative_rate: float | None = None,
    note: str = "",
) -> Path:
    """The places of a path on a plane, with their true losses, their distance from it and the share that it shows."""
    coordinates, off = on_plane(plane, places)
    losses = losses_of(module, inputs, targets, loss, places)
    return path_of(
        name, coordinates, losses, rate,
        relative_rate=relative_rate, shown=share_shown(plane, places), off=off[: len(losses)], note=note,
    )  # fmt: skip


# Each switch by itself ----------------------------------------------------------------------------------------------


def switches(task: Task, rows: int) -> list[tuple[str, dict[str, object]]]:
    """What `train` is told for each way of training the task: its own recipe, and one thing changed at a time."""
    usual = {"optimizer": task.optimizer, "lr": task.lr}
    adaptive = task.optimizer in ("adam", "adamw")
    plain = 0.1 if adaptive else task.lr
    ways: list[tuple[str, dict[str, object]]] = [(f"as the task says ({task.optimizer}, rate {task.lr:g})", usual)]
    others = [
        ("sgd", plain), ("momentum", plain / 10), ("nesterov", plain / 10),
        ("adam", task.lr if adaptive else 0.01), ("adamw", task.lr if adaptive else 0.01),
    ]  # fmt: skip
    ways += [(f"{name}, rate {lr:g}", {"optimizer": name, "lr": lr}) for name, lr in others if name != task.optimizer]
    if rows >= 4:
        part = max(1, rows // 4)
        ways.append((f"{task.optimizer}, batches of {part}", {**usual, "batch": part}))
    return ways


def optimizer_runs(
    task: Task, *, epochs: int | None = None, seed: int = 0, say: Said | None = None
) -> list[tuple[str, float, list[Snapshot], nn.Module]]:
    """The task trained in several ways from the same weights: name, rate, checkpoints, trained net of each.

    A way that ends in a loss that is not finite is told with the checkpoints it got to: none but its start.
    """
    length = task.epochs if epochs is None else epochs
    every = max(1, length // POINTS)
    made = []
    for name, settings in switches(task, len(task.data.inputs)):
        module = task.module(seed)
        start = Snapshot(0, {n: t.detach().clone() for n, t in module.state_dict().items()})
        try:
            history = train(
                module, task.data.inputs, task.data.targets, loss=task.loss, epochs=length, seed=seed,
                snapshots=every, progress=_heard(say, name),
                **{"batch": task.batch, **settings},  # type: ignore[arg-type]
            )  # fmt: skip
            kept = list(history.snapshots)
        except UsageError:
            kept = [start]
        made.append((name, float(settings["lr"]), kept, module))  # type: ignore[arg-type]
    return made


def _heard(say: Said | None, name: str) -> Callable[[int, int, float], None] | None:
    return None if say is None else lambda done, total, _: say(name, done, total)


# Above and below 2/lambda_max ---------------------------------------------------------------------------------------


def steepest_plane(
    module: nn.Module, inputs: Tensor, targets: Tensor, *, loss: str | Loss = "mse", seed: int = 0
) -> tuple[Plane, np.ndarray]:
    """The plane through the net along the two eigenvectors of its Hessian with the greatest eigenvalues, and these.

    It is where a learning rate that is too large shows: gradient descent diverges along the first, above
    ``2 / lambda_max``.

    Raises:
        UsageError: The Hessian is 0 (a net without curvature), or not finite.
    """
    origin = origin_of(module)
    n, product = hessian_product(module, inputs, targets, loss)
    values, vectors = _greatest(n, product, seed)
    if not (np.isfinite(values).all() and values[0] > 0):
        raise UsageError(
            f"The greatest eigenvalue of the Hessian is {values[0]:.3g}: no learning rate is too large here."
        )
    ways = [_unflat(origin, vectors[:, k]) for k in range(len(values))]
    labels = [f"eigenvector {k + 1} of the Hessian, λ = {values[k]:.4g}" for k in range(len(values))]
    shown = len(ways)
    plane = Plane(
        origin, ways[0], ways[1] if shown > 1 else None, (labels[0], labels[1] if shown > 1 else ""), "eigenvectors",
        f"{n - shown:,} of the {n:,} dimensions of weight space" if n > shown else "nothing",
    )  # fmt: skip
    return plane, values


def _greatest(n: int, product: Callable[[np.ndarray], np.ndarray], seed: int) -> tuple[np.ndarray, np.ndarray]:
    """The two greatest eigenvalues and their vectors; the full matrix where it is small."""
    if n <= 64:
        full = np.stack([product(row) for row in np.eye(n)])
        values, vectors = np.linalg.eigh((full + full.T) / 2)
        return values[::-1][:2], vectors[:, ::-1][:, :2]
    from scipy.sparse.linalg import LinearOperator, eigsh

    start = np.random.default_rng(seed).standard_normal(n)
    made: Any = LinearOperator  # SciPy's own types know neither `matvec` nor a tolerance that is no integer
    settings: dict[str, Any] = {"which": "LA", "tol": 1e-6}
    operator = made((n, n), matvec=lambda x: product(x.ravel()), dtype=np.float64)
    values, vectors = eigsh(operator, k=2, v0=start, **settings)
    order = np.argsort(values)[::-1]
    return values[order], vectors[:, order]


def _unflat(origin: Weights, vector: np.ndarray) -> dict[str, Tensor]:
    made, at = {}, 0
    sign = 1.0 if vector[np.abs(vector).argmax()] > 0 else -1.0
    for name, w in origin.items():
        part = torch.from_numpy(np.ascontiguousarray(vector[at : at + w.numel()] * sign))
        made[name] = part.reshape(w.shape).to(w.device, w.dtype)
        at += w.numel()
    return made


def net_rate_paths(
    module: nn.Module,
    inputs: Tensor,
    targets: Tensor,
    plane: Plane,
    top: float,
    multiples: Sequence[float],
    *,
    loss: str | Loss = "mse",
    start: float = 0.01,
    steps: int = 60,
) -> tuple[Path, ...]:
    """Gradient descent on the whole net from beside where it stands, at multiples of ``2 / lambda_max``.

    The start is the net moved along the first direction of the plane, by `start` of the length of all weights. On a
    quadratic a rate above ``2 / lambda_max`` diverges; a net may instead be thrown to a place with less curvature and
    go on from there, which the losses tell. Paths are followed on a copy in float64, so that rounding decides nothing.

    Args:
        module: The net; it is not touched.
        inputs: The data.
        targets: Theirs.
        plane: What the paths are drawn on, as of `steepest_plane`.
        top: lambda_max.
        multiples: Of ``2 / lambda_max``.
        loss: A name or a function.
        start: How far from the net to begin, over the length of its weights.
        steps: Updates of each path.
    """
    criterion = loss_of(loss)
    size = float(np.sqrt(sum(float(w.double().square().sum()) for w in plane.origin.values())))
    begin = place_on(plane, (start * size if size else start) / (plane.norms[0] or 1.0))
    x, y = (t.double() if t.is_floating_point() else t for t in (inputs, targets))
    made = []
    for multiple in multiples:
        rate = multiple * 2 / top
        check_steps(rate, steps)
        copy = deepcopy(module).double()
        parameters = dict(copy.named_parameters())
        with torch.no_grad():
            for name, w in begin.items():
                parameters[name].copy_(w)
        places = _descended(copy, tuple(plane.origin), x, y, criterion, "sgd", rate, steps)
        double = Plane(
            {n: w.double() for n, w in plane.origin.items()},
            {n: w.double() for n, w in plane.u.items()},
            None if plane.v is None else {n: w.double() for n, w in plane.v.items()},
            plane.labels, plane.kind, plane.held,
        )  # fmt: skip
        made.append(
            path_on(double, places, copy, x, y, loss, name=f"rate {rate:.4g} = {multiple:g} x 2/λmax", rate=rate,
                    relative_rate=multiple, note=_ended(copy, x, y, loss, rate))
        )  # fmt: skip
    return tuple(made)


def _ended(module: nn.Module, x: Tensor, y: Tensor, loss: str | Loss, rate: float) -> str:
    """The greatest eigenvalue where a path ended, and whether its rate is below the critical one there."""
    try:
        top = float(_greatest(*hessian_product(module, x, y, loss), 0)[0][0])
    except (UsageError, ArithmeticError, RuntimeError):
        return ""  # it ended where there is no Hessian
    if not (np.isfinite(top) and top > 0):
        return ""
    return f"where it ended λmax is {top:.4g}, and its rate {rate * top / 2:.3g} x 2/λmax"


def _descended(
    module: nn.Module, names: tuple[str, ...], x: Tensor, y: Tensor, criterion: Loss, kind: str, rate: float, steps: int
) -> list[dict[str, Tensor]]:
    """Train this very module, in eval mode, and keep the weights of each step; stops where the loss has run away."""
    parameters = {n: p for n, p in module.named_parameters() if n in names}
    engine = optimizer_of(kind, parameters.values(), rate)
    places = [{n: p.detach().clone() for n, p in parameters.items()}]
    first = None
    with seeded(0), torch.inference_mode(False), torch.enable_grad():
        module.eval()
        for _ in range(steps):
            engine.zero_grad(set_to_none=True)
            found = criterion(tensor_of(module(x)), y)
            number = float(found.detach())
            first = number if first is None else first
            if not np.isfinite(number) or number > FAR * max(first, 1e-300):
                break
            found.backward()
            engine.step()
            places.append({n: p.detach().clone() for n, p in parameters.items()})
    return places


# The ball of the picture --------------------------------------------------------------------------------------------


def rolled(
    module: nn.Module,
    inputs: Tensor,
    targets: Tensor,
    plane: Plane,
    start: tuple[float, float],
    *,
    loss: str | Loss = "mse",
    rate: float = 0.1,
    steps: int = 200,
) -> Path:
    """A ball that can only roll in the picture: gradient descent on the two coordinates of the plane alone.

    It is what the drawing suggests, and no training does it: a training follows the gradient in all dimensions. The
    rate is per unit of distance in weight space, so that it is comparable with that of a training.
    """
    check_steps(rate, steps)
    criterion = loss_of(loss)
    lengths = [max(length, 1e-300) for length in plane.norms]
    sizes = torch.tensor([1 / lengths[0], 1 / lengths[1] if plane.v is not None else 0.0], dtype=torch.float64)
    at = torch.tensor([start[0] * lengths[0], start[1] * lengths[1] if plane.v is not None else 0.0],
                      dtype=torch.float64)  # fmt: skip
    points, losses = [], []
    with judging(module), torch.enable_grad():
        for _ in range(steps + 1):
            place = at.clone().requires_grad_(True)
            a, b = place * sizes
            weights = {
                n: (w.detach() + (a.to(w.dtype) * plane.u[n] if n in plane.u else 0)
                    + (b.to(w.dtype) * plane.v[n] if plane.v is not None and n in plane.v else 0))
                for n, w in plane.origin.items()
            }  # fmt: skip
            found = criterion(tensor_of(torch.func.functional_call(module, weights, (inputs,))), targets)
            points.append((at * sizes).tolist())
            losses.append(float(found.detach()))
            if not np.isfinite(losses[-1]) or losses[-1] > FAR * max(losses[0], 1e-300):
                break
            (gradient,) = torch.autograd.grad(found, place)
            at = at - rate * gradient
    return path_of(
        "a ball that rolls in the picture", np.array(points), np.array(losses), rate, off=np.zeros(len(points)),
        note="gradient descent on the two coordinates alone",
    )  # fmt: skip


# What the picture gets right ----------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Checks:
    """Four things that the picture of a hill gets right, each tried on this net.

    Attributes:
        objective: The loss of the weights, computed twice: one number.
        again: The second time.
        worse: Loss of the weights before training (or of moved ones), which are another setting.
        better: Loss of the trained weights.
        small_steps: Losses along a few steps of gradient descent with a small rate, from the worse weights.
        sizes: Lengths of steps against the gradient, each a tenth of the one before.
        promise: For each, the fall of the loss that was found over the one that the gradient promises; tends to 1.
    """

    objective: float
    again: float
    worse: float
    better: float
    small_steps: np.ndarray
    sizes: np.ndarray
    promise: np.ndarray

    @property
    def passed(self) -> dict[str, bool]:
        """The four, by name."""
        return {
            "there is an objective: the same weights have the same loss": self.objective == self.again,
            "some settings are better than others": self.better < self.worse,
            "gradient descent with a small rate lowers the loss at every step": bool(
                (np.diff(self.small_steps) < 0).all()
            ),
            "against the gradient the loss falls as it promises, to first order": bool(
                abs(self.promise[-1] - 1) < 0.05
            ),
        }


def checks(
    module: nn.Module, inputs: Tensor, targets: Tensor, before: Weights, *, loss: str | Loss = "mse", steps: int = 5
) -> Checks:
    """Try the four on a net: `before` are its weights before training. On a copy in float64."""
    criterion = loss_of(loss)
    x, y = (t.double() if t.is_floating_point() else t for t in (inputs, targets))
    copy = deepcopy(module).double()
    names = tuple(origin_of(copy))
    trained, again = losses_of(copy, x, y, loss, [{}, {}])
    parameters = dict(copy.named_parameters())
    with torch.no_grad():
        for name in names:
            parameters[name].copy_(before[name])
    start = {n: parameters[n].detach().clone() for n in names}
    with seeded(0), torch.inference_mode(False), torch.enable_grad():
        copy.eval()
        found = criterion(tensor_of(copy(x)), y)
        slopes = torch.autograd.grad(found, [parameters[n] for n in names], allow_unused=True)
    slope = {n: torch.zeros_like(start[n]) if g is None else g for n, g in zip(names, slopes, strict=True)}
    squared = sum(float(g.square().sum()) for g in slope.values())
    worse = float(found.detach())
    rates = worse / max(squared, 1e-300) * np.array([1e-2, 1e-3, 1e-4, 1e-5])
    after = losses_of(copy, x, y, loss, ({n: start[n] - r * slope[n] for n in names} for r in rates))
    promise = np.divide(worse - after, rates * squared, out=np.zeros(len(rates)), where=rates * squared > 0)
    walked = _descended(copy, names, x, y, criterion, "sgd", float(rates[1]) if squared else 1.0, steps)
    small = losses_of(copy, x, y, loss, walked)
    return Checks(float(trained), float(again), worse, float(trained), small, rates * np.sqrt(squared), promise)
