"""The verb: one training step in one verified walk, and what there is to say about it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from weightwalk.errors import UsageError
from weightwalk.learning.losses import Loss, loss_of
from weightwalk.learning.nudges import blaming
from weightwalk.learning.nudges.accounting import account_of
from weightwalk.learning.nudges.arithmetic import arithmetic
from weightwalk.learning.nudges.checking import check_gradients as central_differences
from weightwalk.learning.nudges.comparing import compare as compared_with_targets
from weightwalk.learning.nudges.facts import Nudge, Rival
from weightwalk.learning.nudges.promising import promise, weights
from weightwalk.learning.nudges.running import Losses, Problem, Ran, run
from weightwalk.learning.optimizers import OPTIMIZERS
from weightwalk.learning.tasks import Data, Task, rows_of, task_of

SHOWN = 12
WORKED = 2  # weights whose arithmetic is written out
TELLING = ("momentum", "dampening", "nesterov", "betas", "eps", "weight_decay", "decoupled_weight_decay", "amsgrad",
           "maximize")  # fmt: skip


def nudge(
    net: nn.Module | Task | str,
    inputs: Tensor | None = None,
    targets: Tensor | None = None,
    *,
    loss: str | Loss | None = None,
    optimizer: str | None = None,
    lr: float | None = None,
    settings: Mapping[str, Any] | None = None,
    batch: int | None = None,
    rows: Sequence[int] | None = None,
    steps: int = 1,
    seed: int = 0,
    top: int = SHOWN,
    check_gradients: bool = False,
    compare: Sequence[str] = (),
    account: Sequence[str] = (),
    cut: Any = "outputs",
    verify: bool = True,
    name: str | None = None,
    names: Sequence[str] = (),
    axis_labels: Mapping[str, Any] | None = None,
    call: Callable[[nn.Module, Tensor], Any] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Nudge:
    """Walk one training step: forward, loss, backward, update; and say what happened to every weight, and why.

    Backpropagation finds the gradient, ``∂loss/∂w`` for every weight: how the loss would change if that weight alone
    were raised a little. What is done with it is the optimizer's business: plain gradient descent takes
    ``w - lr * ∂loss/∂w``, the others keep averages. The facts are read out of the walk of the very ops that ran.

    The step is taken by a copy. The module that was given, its gradients, its mode and torch's random state stay as
    they are; the module runs in the mode that it is in.

    Args:
        net: A module; or a task, or the name of one (``"hello"``), which brings data and recipe along: a fresh net is
            made from `seed`.
        inputs: One row per example, shape ``(N, ...)``; None for a task.
        targets: Shape ``(N, ...)``; class numbers for ``"cross_entropy"``; None for a task.
        loss: A name in `LOSSES`, or a function ``(outputs, targets) -> scalar``; for a module ``"cross_entropy"`` where
            the targets are class numbers, else ``"mse"``.
        optimizer: A name in `OPTIMIZERS`; ``"sgd"`` unless the task says.
        lr: Learning rate; 0.1 unless the task says.
        settings: More of the optimizer's keywords: ``{"momentum": 0.95}``, ``{"betas": (0.9, 0.99)}``.
        batch: Rows per update; None for all (or what the task says).
        rows: The very rows of the recorded step, counted from 0.
        steps: Which update to walk: with 5, four are taken before it, so that averages are not empty.
        seed: Of the initial weights of a task, the order of rows, random layers, and samples.
        top: How many weights to tell of one by one.
        check_gradients: Hold the gradients to central differences.
        compare: Other optimizers to give the same gradients to.
        account: Weights whose gradient is to be accounted for: ``"fc1.weight[0, 1]"``.
        cut: Where these accounts stop: ``"outputs"``, one row for ``∂loss/∂output`` of each output of each example, or
            what `Walk.account` takes.
        verify: Verify the walk.
        name: What to call the net.
        names: What to call the examples.
        axis_labels: Names on axes, as for `weightwalk.walk`.
        call: How the module is called, ``call(module, inputs)``, where ``module(inputs)`` will not do.
        progress: Told of the gradients checked: (how many, of how many).

    Raises:
        UsageError: What was given does not fit together, or the loss is not one finite number.

    Example:
        >>> facts = nudge("linear", optimizer="sgd", lr=0.1)
        >>> [b.address for b in facts.blames], facts.ok
        (['fc.weight[0, 0]', 'fc.bias[0]'], True)
        >>> b = facts.blames[0]
        >>> round(b.value - 0.1 * b.gradient, 5) == round(b.after, 5)
        True
        >>> facts.promise.first < 0 and facts.promise.changed < 0
        True
    """
    problem, called = _problem(
        net, inputs, targets, loss, optimizer, lr, settings, batch, rows, steps, seed, name, names, axis_labels
    )
    problem.call = call or problem.call
    for rival in compare:
        if rival not in OPTIMIZERS:
            raise UsageError(f"There is no optimizer {rival!r} to compare; there are {', '.join(sorted(OPTIMIZERS))}.")
    if top < 1:
        raise UsageError(f"At least one weight must be told of; got top={top}.")
    if compare:
        compare = list(dict.fromkeys([problem.optimizer, *compare]))
    with (
        torch.inference_mode(False),
        np.errstate(over="ignore", invalid="ignore"),
    ):  # a step may be so long that squares of it are infinite
        ran = run(problem, compare)
        return _told(problem, called, ran, top, check_gradients, account, cut, verify, progress)


def _told(
    problem: Problem,
    called: str,
    ran: Ran,
    top: int,
    check_gradients: bool,
    account: Sequence[str],
    cut: Any,
    verify: bool,
    progress: Callable[[int, int], None] | None,
) -> Nudge:
    """The facts of a step that ran."""
    walk, seed = ran.walk, problem.seed
    names = [n for n, p in ran.module.named_parameters() if p.requires_grad]
    found = list(blaming.parameters(walk, names))
    unused = tuple(n for n in names if n not in walk.given)
    best = blaming.ranked(found, top)
    blames = tuple(blaming.blame(p, i) for p, i in best)
    share, rest = blaming.share_of(found, blames)
    sheets = tuple(arithmetic(walk, p, i, problem.optimizer, ran.group) for p, i in best)
    said = _names_of(problem, ran.rows)
    compared = compared_with_targets(walk, _numpy(ran.output), _numpy(ran.y), called, ran.loss, said)
    accounts = tuple(account_of(walk, w, cut, ran.output.shape, said) for w in account)
    report = walk.verify(drift=False) if verify else None
    losses = Losses(problem, ran)
    outcome = promise(losses, found, blames, ran.random)  # leaves the weights where the gradient was taken
    checked = central_differences(losses, found, best, seed, progress) if check_gradients else None
    rivals = tuple(_rivals(ran, losses, found, best, outcome.before))
    ok = (report is None or report.ok) and all(c.ok for s in sheets for c in s.checks) and (not checked or checked.ok)
    return Nudge(
        problem.name, called, problem.optimizer, problem.lr, {k: ran.group[k] for k in TELLING if k in ran.group},
        problem.steps, seed, tuple(said[:SHOWN]), len(ran.rows), len(problem.inputs), compared, blames, share, rest,
        blaming.tensors(found), sheets, blaming.movement(found), outcome, "" if report is None else _verified(report),
        ok, checked, rivals, accounts, dict(Counter(s.phase for s in walk.steps)), unused, walk,
    )  # fmt: skip


# What is asked -------------------------------------------------------------------------------------------------------


def _problem(
    net: nn.Module | Task | str,
    inputs: Tensor | None,
    targets: Tensor | None,
    loss: str | Loss | None,
    optimizer: str | None,
    lr: float | None,
    settings: Mapping[str, Any] | None,
    batch: int | None,
    rows: Sequence[int] | None,
    steps: int,
    seed: int,
    name: str | None,
    names: Sequence[str],
    labels: Mapping[str, Any] | None,
) -> tuple[Problem, str]:
    """Everything that decides the step, checked, and the name of the loss."""
    if not isinstance(net, nn.Module):
        task = task_of(net)
        if inputs is not None or targets is not None:
            raise UsageError(f"The task {task.name!r} brings its own data; for data of your own, pass a module.")
        module, inputs, targets = task.module(seed), task.data.inputs, task.data.targets
        loss, optimizer, lr = loss or task.loss, optimizer or task.optimizer, task.lr if lr is None else lr
        batch, name, names = batch or task.batch, name or task.name, names or task.data.rows
        labels = labels or _labels(module, task.data)
    else:
        module = net
    if inputs is None or targets is None:
        raise UsageError("A module needs data to learn from: inputs and targets, a row for each example.")
    inputs, targets = rows_of(inputs, targets)
    loss = loss or ("mse" if targets.is_floating_point() else "cross_entropy")
    lr = 0.1 if lr is None else lr
    _check(inputs, targets, lr, batch, rows, steps)
    problem = Problem(name or type(module).__name__, module, inputs, targets, loss_of(loss), optimizer or "sgd", lr,
                      dict(settings or {}), batch, rows, steps, seed, names, labels or {})  # fmt: skip
    return problem, loss if isinstance(loss, str) else getattr(loss, "__name__", type(loss).__name__)


def _check(
    inputs: Tensor, targets: Tensor, lr: float, batch: int | None, rows: Sequence[int] | None, steps: int
) -> None:
    if inputs.dim() == 0 or targets.dim() == 0 or len(inputs) != len(targets) or len(inputs) == 0:
        raise UsageError(
            f"A step needs as many inputs as targets, one row each and at least one; "
            f"got shapes {tuple(inputs.shape)} and {tuple(targets.shape)}."
        )
    if not (lr > 0 and np.isfinite(lr)):
        raise UsageError(f"The learning rate must be a positive number; got {lr}.")
    if steps < 1 or (batch is not None and batch < 1):
        raise UsageError(f"steps and batch are 1 or more; got steps={steps}, batch={batch}.")
    if rows is not None:
        wrong = [r for r in rows if not 0 <= r < len(inputs)]
        if wrong or not len(rows):
            said = f"there is no row {wrong[0]}" if wrong else "no row was named"
            raise UsageError(f"Rows are counted from 0 to {len(inputs) - 1}; {said}.")


def _labels(module: nn.Module, data: Data) -> dict[str, Any]:
    """The names of classes, on the axes of the parameters that belong to them."""
    labels: dict[str, Any] = {}
    count, last = len(data.classes), ""
    for name, layer in module.named_modules():
        if count and isinstance(layer, nn.Embedding) and layer.num_embeddings == count:
            labels[f"{name}.weight"] = {0: list(data.classes)}
        if isinstance(layer, nn.Linear):
            last = name
    if count and last and module.get_submodule(last).out_features == count:
        labels |= {f"{last}.weight": {0: list(data.classes)}, f"{last}.bias": {0: list(data.classes)}}
    gradients = {f"{k}.{part}": v for k, v in labels.items() for part in ("grad", "updated")}
    return {**labels, **gradients, **({last: {-1: list(data.classes)}} if f"{last}.weight" in labels else {})}


def _names_of(problem: Problem, rows: Sequence[int]) -> list[str]:
    """The names of the examples in the batch; of a batch of one text, those of its positions."""
    names = problem.names
    if len(problem.inputs) == 1 and len(names) > 1:
        return list(names)
    return [names[r] if r < len(names) else f"example {r}" for r in rows]


# What is found -------------------------------------------------------------------------------------------------------


def _numpy(tensor: Tensor) -> np.ndarray:
    tensor = tensor.detach().cpu()
    return (tensor.float() if tensor.dtype in (torch.bfloat16, torch.float16) else tensor).numpy()


def _verified(report: Any) -> str:
    """One sentence of the report."""
    return str(report).splitlines()[0]


def _rivals(
    ran: Ran, losses: Losses, found: Sequence[blaming.Parameter], best: Sequence[tuple[blaming.Parameter, int]],
    before: float,
) -> list[Rival]:  # fmt: skip
    """The steps of the other optimizers, told like the one that was walked."""
    old = weights(found, "before")
    out = []
    gradients = [p.gradient.reshape(-1).astype(np.float64) for p in found]
    long = float(np.sqrt(sum(g @ g for g in gradients)))
    at = {id(p): k for k, p in enumerate(found)}
    trained = [n for n, p in ran.module.named_parameters() if p.requires_grad]
    for shadow in ran.shadows:
        new = [p.detach() for n, p in zip(trained, shadow.ours, strict=True) if n in losses.names]
        losses.set(new)
        after = losses.value()
        steps = [(n.double() - o.double()).reshape(-1).numpy() for n, o in zip(new, old, strict=True)]
        norm = float(np.sqrt(sum(s @ s for s in steps)))
        first = float(sum(g @ s for g, s in zip(gradients, steps, strict=True)))
        cosine = -first / (norm * long) if norm and long else 0.0
        shown = tuple(float(steps[at[id(p)]][i]) for p, i in best)
        out.append(Rival(shadow.name, shown, norm, cosine, first, after, after - before))
    losses.set(old)
    return out
