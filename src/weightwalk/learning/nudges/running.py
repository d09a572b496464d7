"""Running the step: a copy of the net, its warm-up, the recorded update, and losses at any weights."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from weightwalk.errors import UsageError
from weightwalk.learning.losses import Loss, one_number, tensor_of
from weightwalk.learning.optimizers import optimizer_of
from weightwalk.learning.sampling import orders
from weightwalk.learning.seeds import seeded
from weightwalk.recorder import recording
from weightwalk.walks.walk import Walk


@dataclass(eq=False)
class Problem:
    """All that decides a step.

    Attributes:
        name: Of the net, for people.
        module: The net; it is copied before anything is done with it.
        inputs: All examples.
        targets: Their targets.
        criterion: The loss.
        optimizer: Name of the optimizer.
        lr: Learning rate.
        settings: More of the optimizer's settings.
        batch: Rows per update; None for all.
        rows: The rows of the recorded step, where they were chosen by hand.
        steps: Which update is recorded, 1 for the first.
        seed: Of the order of rows and of random layers.
        names: Names of the examples; may be empty.
        labels: Names on axes, for the walk.
        call: How the net is called.
    """

    name: str
    module: nn.Module
    inputs: Tensor
    targets: Tensor
    criterion: Loss
    optimizer: str
    lr: float
    settings: Mapping[str, Any]
    batch: int | None
    rows: Sequence[int] | None
    steps: int
    seed: int
    names: Sequence[str] = ()
    labels: Mapping[str, Any] = field(default_factory=dict)
    call: Callable[[nn.Module, Tensor], Any] = lambda module, x: module(x)


@dataclass(eq=False)
class Ran:
    """What came of running it.

    Attributes:
        walk: The recorded step.
        module: The copy, now at the new weights; its ``.grad`` is the recorded gradient.
        group: The optimizer's settings as it ran.
        x: Inputs of the recorded step.
        y: Its targets.
        rows: Which rows these are.
        output: What the net returned.
        loss: The loss, recorded.
        shadows: Other optimizers that were given the same gradients.
        random: Whether the net draws random numbers as it runs.
    """

    walk: Walk
    module: nn.Module
    group: dict[str, Any]
    x: Tensor
    y: Tensor
    rows: list[int]
    output: Tensor
    loss: float
    shadows: list[Shadow]
    random: bool


class Shadow:
    """An optimizer that is shown every gradient of somebody else's training, always at the other's weights."""

    def __init__(self, name: str, parameters: Sequence[nn.Parameter], lr: float, settings: Mapping[str, Any]) -> None:
        self.name = name
        self.theirs = parameters
        self.ours = [nn.Parameter(p.detach().clone()) for p in parameters]
        self.engine = optimizer_of(name, self.ours, lr, settings)

    def watch(self) -> None:
        """Take the step that this optimizer would take where the other stands now."""
        with torch.no_grad():
            for mine, other in zip(self.ours, self.theirs, strict=True):
                mine.copy_(other)
                mine.grad = None if other.grad is None else other.grad.detach().clone()
        _update(self.engine)


def _update(engine: torch.optim.Optimizer) -> None:
    """One step of an optimizer; what it cannot compute is told in a sentence."""
    try:
        engine.step()
    except (RuntimeError, OverflowError) as error:
        if isinstance(error, torch.OutOfMemoryError):
            raise
        first, lr = str(error).splitlines()[0], engine.param_groups[0]["lr"]
        raise UsageError(f"The optimizer cannot take this step with lr = {lr:g}: {first}.") from error


def run(problem: Problem, rivals: Sequence[str] = ()) -> Ran:
    """Copy the net, train it for the steps before, and record the one that was asked for.

    Raises:
        UsageError: The net does not run, has nothing to train, or its loss is not one finite number.
    """
    module = copied(problem.module)
    parameters = [p for p in module.parameters() if p.requires_grad]
    if not parameters:
        raise UsageError("The net has no parameter that can be trained (none requires a gradient).")
    engine = optimizer_of(problem.optimizer, parameters, problem.lr, problem.settings)
    fits = engine.param_groups[0]
    shadows = [Shadow(r, parameters, problem.lr, _common(r, problem, fits)) for r in rivals]
    with torch.inference_mode(False), torch.enable_grad():
        with seeded(problem.seed):
            for step in range(problem.steps - 1):
                x, y, _ = batch_of(problem, step)
                _finite(_gradient(problem, module, x, y)[1], step + 1)
                for shadow in shadows:
                    shadow.watch()
                _update(engine)
                engine.zero_grad(set_to_none=True)
        x, y, rows = batch_of(problem, problem.steps - 1, recorded=True)
        start = [p.detach().clone() for p in parameters] if shadows else []
        with seeded(problem.seed):
            before = torch.default_generator.get_state()
            with recording(module, axis_labels=problem.labels) as walk:
                out, loss = _gradient(problem, module, x, y)
                _update(engine)
            random = not torch.equal(before, torch.default_generator.get_state())
        number = _finite(loss, problem.steps)
        for shadow in shadows:
            shadow.theirs = [_with_gradient(s, p) for s, p in zip(start, parameters, strict=True)]
            shadow.watch()
    walk.meta = {**walk.meta, "net": problem.name, "optimizer": problem.optimizer, "lr": problem.lr,
                 "step": problem.steps, "seed": problem.seed}  # fmt: skip
    group = {k: v for k, v in engine.param_groups[0].items() if k != "params"}
    return Ran(walk, module, group, x, y, rows, out.detach(), number, shadows, random)


def copied(module: nn.Module) -> nn.Module:
    """A copy that shares nothing with the original, without its gradients.

    Raises:
        UsageError: It cannot be copied.
    """
    try:
        made = copy.deepcopy(module)
    except Exception as error:
        raise UsageError(
            f"The net cannot be copied ({type(error).__name__}: {str(error)[:90]}), and a step is walked on a copy: "
            "does it hold tensors that were computed with gradients? Make them parameters or buffers."
        ) from error
    for parameter in made.parameters():
        parameter.grad = None
    return made


def batch_of(problem: Problem, step: int, *, recorded: bool = False) -> tuple[Tensor, Tensor, list[int]]:
    """The rows of one update: those chosen, all, or the next of this epoch's order."""
    count = len(problem.inputs)
    if recorded and problem.rows is not None:
        rows = list(problem.rows)
    elif problem.batch is None or problem.batch >= count:
        return problem.inputs, problem.targets, list(range(count))
    else:
        per_epoch = math.ceil(count / problem.batch)
        order = orders([problem.seed], step // per_epoch, count)[0]
        start = step % per_epoch * problem.batch
        rows = order[start : start + problem.batch].tolist()
    return problem.inputs[rows], problem.targets[rows], rows


def _gradient(problem: Problem, module: nn.Module, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Forward, loss, backward; what the net returned, and the loss."""
    out, loss = _judged(problem, module, x, y)
    if not loss.requires_grad:
        raise UsageError("The loss does not depend on any parameter that can be trained, so there is no gradient.")
    loss.backward()
    return out, loss


def _finite(loss: Tensor, step: int) -> float:
    number = float(loss.detach())
    if not math.isfinite(number):
        raise UsageError(
            f"The loss is {number} in step {step}, so it has no gradient worth a step: look for values in the data or "
            "the weights that are not finite, or lower the learning rate."
        )
    return number


def _judged(problem: Problem, module: nn.Module, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    try:
        out = tensor_of(problem.call(module, x))
        return out, one_number(problem.criterion(out, y))
    except (UsageError, MemoryError):
        raise
    except Exception as error:
        first = (str(error).strip().splitlines() or [""])[0]
        raise UsageError(
            f"The net and its loss do not run on inputs of shape {tuple(x.shape)} ({x.dtype}) and targets of shape "
            f"{tuple(y.shape)} ({y.dtype}): {type(error).__name__}: {first}"
        ) from error


class Losses:
    """The loss on the recorded examples, at any weights, in float64 where the net runs in it.

    A net that draws random numbers is asked in its own precision, so that it draws the same ones.
    """

    def __init__(self, problem: Problem, ran: Ran) -> None:
        self.criterion, self.call, self.seed = problem.criterion, problem.call, problem.seed
        self.names = [n for n, p in ran.module.named_parameters() if p.requires_grad and n in ran.walk.given]
        own = next(p.dtype for p in ran.module.parameters() if p.requires_grad)
        self.module, self.x, self.y = ran.module, ran.x, ran.y
        self.dtype = own
        if own != torch.float64 and not ran.random:
            self._widen(ran)
        if self.module is ran.module:
            self.module = copied(ran.module)
        named = dict(self.module.named_parameters())
        self.parameters = [named[n] for n in self.names]

    def _widen(self, ran: Ran) -> None:
        wide = copied(ran.module).double()
        x, y = (t.double() if t.is_floating_point() else t for t in (ran.x, ran.y))
        try:
            with torch.no_grad():
                loss = self.criterion(tensor_of(self.call(wide, x)), y)
        except Exception:  # a net that makes tensors of its own dtype does not run in another
            return
        if loss.dtype == torch.float64:
            self.module, self.x, self.y, self.dtype = wide, x, y, torch.float64

    @property
    def precision(self) -> str:
        """Name of the dtype."""
        return str(self.dtype).removeprefix("torch.")

    def set(self, weights: Sequence[Tensor]) -> None:
        """Put weights into place, in the order of the parameters."""
        with torch.no_grad():
            for parameter, weight in zip(self.parameters, weights, strict=True):
                parameter.copy_(weight)

    def value(self) -> float:
        """The loss where the weights are now."""
        with torch.no_grad():
            return float(self.tensor())

    def tensor(self) -> Tensor:
        """The same, to be differentiated."""
        with torch.inference_mode(False), seeded(self.seed):
            return self.criterion(tensor_of(self.call(self.module, self.x)), self.y)

    def gradient(self) -> list[Tensor]:
        """Backpropagation here, in this precision; zeros where nothing flows."""
        with torch.inference_mode(False), torch.enable_grad():
            found = torch.autograd.grad(self.tensor(), self.parameters, allow_unused=True)
        return [torch.zeros_like(p) if g is None else g for g, p in zip(found, self.parameters, strict=True)]


def _with_gradient(weights: Tensor, parameter: nn.Parameter) -> nn.Parameter:
    made = nn.Parameter(weights)
    made.grad = parameter.grad
    return made


def _common(rival: str, problem: Problem, group: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of the walked optimizer that a rival has too: those of one name mean the same."""
    if rival == problem.optimizer:
        return dict(problem.settings)
    shared = {"adam": {"betas", "eps", "amsgrad"}, "adamw": {"betas", "eps", "amsgrad"},
              "momentum": {"momentum", "dampening"}, "nesterov": {"momentum"}}.get(rival, set())  # fmt: skip
    kin = {"adam", "adamw"} if rival in {"adam", "adamw"} else {"momentum", "nesterov"}
    return {k: v for k, v in problem.settings.items() if k in shared and k in group and problem.optimizer in kin}
