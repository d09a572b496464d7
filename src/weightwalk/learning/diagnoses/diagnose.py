"""``ww.diagnose``: measure units, gradients, curve and curvature, and say what follows."""

from __future__ import annotations

import copy
import math
import os
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from weightwalk.errors import UsageError
from weightwalk.learning.diagnoses.cases import Case, Progress, case_of
from weightwalk.learning.diagnoses.curves import curve
from weightwalk.learning.diagnoses.facts import Diagnosis, Moment, Others, Point, Settled
from weightwalk.learning.diagnoses.findings import conclude
from weightwalk.learning.diagnoses.observing import deaths_of, observe, with_weights
from weightwalk.learning.diagnoses.others import others_of
from weightwalk.learning.diagnoses.points import point, settle_down
from weightwalk.learning.diagnoses.scores import baseline_of, right_of
from weightwalk.learning.losses import Loss
from weightwalk.learning.tasks import Task
from weightwalk.learning.train import History

PASS, MATRIX, PRODUCTS = 5e10, 5e9, 1e8
"""Weights times rows (times weights, for a matrix) that a pass, a whole Hessian, Lanczos' products may cost."""
MOMENTS = 60
"""Epochs at which gradients are measured along the way."""


def diagnose(
    net: nn.Module | History | Task | str,
    inputs: Tensor | None = None,
    targets: Tensor | None = None,
    *,
    loss: str | Loss | None = None,
    seed: int = 0,
    optimizer: str | None = None,
    lr: float | None = None,
    epochs: int | None = None,
    batch: int | None = None,
    seeds: int = 0,
    settle: bool = False,
    seconds: float = 10.0,
    names: Sequence[str] = (),
    run: str | os.PathLike[str] | None = None,
    progress: Progress | None = None,
) -> Diagnosis:
    """Find out why a training is where it is: measured, each conclusion with what carries it and what would refute it.

    Measured are: every unit behind an activation function, on all the rows (dead, saturated, starved of gradient, and
    since which epoch); the gradient of each layer, now and along the way; the loss curve; gradient and Hessian at the
    weights (minimum, saddle, flat, or no critical point at all); and, on request, what other seeds reach.

    "Stuck in a local minimum" is said only where the gradient is zero, no eigenvalue of the Hessian is negative, every
    zero one is accounted for, and another seed reached less.

    Args:
        net: A task or its name (``"hello6"``), which is trained from `seed` first; or a `History` or a module as it is,
            with its data.
        inputs: One row per example, for a module or a history.
        targets: One row per example.
        loss: The loss that it was trained by; the task's or run's own, or ``"mse"``.
        seed: Of the training, of rows drawn from large data, and of Lanczos' first vector.
        optimizer: As for `train`, where a task is trained.
        lr: As for `train`.
        epochs: As for `train`.
        batch: As for `train`.
        seeds: Train the task from so many other seeds too, to know what can be reached.
        settle: Go on downhill from the weights until the gradient is zero, and judge the point that is reached too.
        seconds: About how long the eigenvalues of a large net may take.
        names: A name for each row.
        run: Folder of a run (``train(..., run=...)``) of that module or task: its weights are diagnosed, with what it
            kept along the way.
        progress: Told of what is done.

    Raises:
        UsageError: No data for a module, weights or a loss that are not finite (the message names the first), or
            what `train` refuses.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> net = nn.Sequential(nn.Linear(1, 2), nn.ReLU(), nn.Linear(2, 1))
        >>> _ = nn.init.constant_(net[0].bias, -9.0)
        >>> x = torch.linspace(-1, 1, 9)[:, None]
        >>> found = diagnose(net, x, x)
        >>> found.dead, found.findings[0].kind
        (('1[0]', '1[1]'), 'cut off')
    """
    case = case_of(net, inputs, targets, loss, seed, optimizer, lr, epochs, batch, tuple(names), run, progress)
    with torch.inference_mode(False):
        used = _sample(case, seed, hessian=False)
        x, y, rows = _rows_of(case, used)
        seen = observe(case.module, x, y, case.loss, rows)
        moments = _moments(case, x, y, progress)
        dead = [f"{u.name}[{i}]" for u in seen.units for i in u.dead]
        fewer = _sample(case, seed, hessian=True)
        facts = Diagnosis(
            case.name,
            "",
            (),
            seen.loss,
            case.loss if isinstance(case.loss, str) else getattr(case.loss, "__name__", "a function"),
            baseline_of(y, case.loss),
            right_of(seen.outputs, y, case.loss),
            len(case.inputs),
            len(x),
            seen.names,
            seen.units,
            deaths_of(dead, case.module, x, case.snapshots),
            seen.silenced,
            seen.layers,
            moments,
            curve(case.losses) if case.losses else None,
            _point(case, fewer, seconds, seed, progress),
            _settled(case, fewer, seconds, seed) if settle else None,
            _others(case, seed, seeds, progress),
            case.settings,
            tuple(case.notes),
        )
        differ = bool((x != x[:1]).any())
        constant = differ and seen.outputs is not None and bool((seen.outputs == seen.outputs[:1]).all())
        return conclude(facts, constant)


# How much of it -----------------------------------------------------------------------------------------------------


def _sample(case: Case, seed: int, hessian: bool) -> np.ndarray | None:
    """Rows to be used, drawn where all would take too long; None for all of them."""
    weights = sum(p.numel() for p in case.module.parameters() if p.requires_grad)
    each = case.inputs[0].numel() if not case.inputs.is_floating_point() else 1
    if any(isinstance(m, (nn.Conv1d, nn.Conv2d, nn.Conv3d)) for m in case.module.modules()):
        each = max(each, math.prod(case.inputs.shape[2:]))
    cost = max(weights, 1) * each
    if not hessian:
        most = PASS // cost
    elif weights <= 2000:
        most = MATRIX // (cost * max(weights, 1))
    else:
        most = PRODUCTS // cost
    most = int(max(1 if hessian else 16, most))
    count = len(case.inputs)
    if count <= most:
        return None
    what = "Gradient and Hessian of the point are" if hessian else "Units and gradients are"
    case.notes.append(f"{what} those of {most:,} of the {count:,} rows, drawn at random: all would take too long.")
    return np.sort(np.random.default_rng(seed).choice(count, most, replace=False))


def _rows_of(case: Case, used: np.ndarray | None) -> tuple[Tensor, Tensor, tuple[str, ...]]:
    if used is None:
        return case.inputs, case.targets, case.rows
    at = torch.from_numpy(used).to(case.inputs.device)
    names = tuple(case.rows[i] for i in used) if case.rows else tuple(f"row {i}" for i in used)
    return case.inputs[at], case.targets[at], names


def _moments(case: Case, x: Tensor, y: Tensor, progress: Progress | None) -> tuple[Moment, ...]:
    """Gradients and dead units at epochs evenly spaced over the training."""
    if len(case.snapshots) < 2:
        return ()
    last = len(case.snapshots) - 1
    chosen = sorted({round(i * last / min(MOMENTS, last)) for i in range(min(MOMENTS, last) + 1)})
    made = []
    for done, index in enumerate(chosen, start=1):
        epoch, weights = case.snapshots[index]
        there = observe(with_weights(case.module, weights), x, y, case.loss)
        made.append(
            Moment(
                epoch,
                there.loss,
                tuple(layer.gradient for layer in there.layers),
                tuple(layer.rms for layer in there.layers),
                tuple(len(u.dead) for u in there.units),
            )
        )
        if progress is not None:
            progress("looking back", done, len(chosen))
    return tuple(made)


def _point(case: Case, used: np.ndarray | None, seconds: float, seed: int, progress: Progress | None) -> Point | None:
    x, y, _ = _rows_of(case, used)

    def told(done: int, of: int) -> None:
        if progress is not None:
            progress("measuring the curvature", done, of)

    try:
        return point(case.module, x, y, case.loss, seconds=seconds, seed=seed, progress=told)
    except UsageError as error:
        case.notes.append(f"No Hessian: {error}")
        return None


def _settled(case: Case, used: np.ndarray | None, seconds: float, seed: int) -> Settled | None:
    x, y, _ = _rows_of(case, used)
    try:
        down = settle_down(case.module, x, y, case.loss)
    except UsageError as error:
        case.notes.append(f"Did not go on downhill: {error}")
        return None
    exact = next(iter(down.weights.values())).dtype == torch.float64
    there = _double(case.module, down.weights) if exact else with_weights(case.module, down.weights)
    at = point(there, x, y, case.loss, seconds=seconds, seed=seed)
    return Settled(down.loss, down.steps, down.arrived, down.distance, at)


def _double(module: nn.Module, weights: Mapping[str, Tensor]) -> nn.Module:
    """A copy in float64 with these very weights, which float32 would round."""
    twin = copy.deepcopy(module).double()
    with torch.no_grad():
        for name, p in twin.named_parameters():
            if name in weights:
                p.copy_(weights[name])
    return twin


def _others(case: Case, seed: int, seeds: int, progress: Progress | None) -> Others | None:
    if not seeds:
        return None
    if case.task is None:
        case.notes.append("Other seeds were not tried: they need a task whose net can be made afresh.")
        return None

    def told(done: int, of: int) -> None:
        if progress is not None:
            progress("training other seeds", done, of)

    return others_of(case.task, seed, seeds, case.recipe, told)
