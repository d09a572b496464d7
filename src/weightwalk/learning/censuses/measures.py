"""Measures: what is known of each training of a census as one number per seed, under a name that rules can use."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import nn

from weightwalk.errors import UsageError
from weightwalk.learning.censuses.kinks import kinks_inside
from weightwalk.learning.censuses.loops import Followed, follow
from weightwalk.learning.censuses.rules import unknown
from weightwalk.learning.censuses.trained import Trained, answers, array, root_mean_square
from weightwalk.learning.tasks import Task

PARTS = re.compile(r"([A-Za-z_]\w*)(?:\[([^\]]*)\])?")


@dataclass(frozen=True)
class Measure:
    """One thing that can be asked of a training.

    Attributes:
        name: As rules write it; ``[...]`` stands where a token, a row or a number is filled in.
        what: What it counts or measures, and its unit.
    """

    name: str
    what: str


EVERY = (
    Measure("loss", "loss on the training data after the last update"),
    Measure("first_loss", "loss of the untrained net on the training data"),
    Measure("held_loss", "loss on the held-out data after the last update"),
    Measure("gradient", "Euclidean norm of the gradient at the end"),
    Measure("dead_start", "ReLU units that are 0 for every training input before training"),
    Measure("dead_end", "ReLU units that are 0 for every training input after training"),
    Measure("dead_layer_start", "whole layers of such units before training: the net says one thing to all"),
    Measure("dead_layer_end", "whole layers of such units after training"),
    Measure("diverged", "1 where a loss or weight became infinite or NaN, else 0"),
    Measure("spread", "greatest difference between two answers to training inputs; 0: it says one thing to all"),
    Measure("loss_at[E]", "loss met in epoch E, before that epoch's update"),
    Measure("epochs_to[T]", "first epoch that met a loss below T; NaN if none did"),
)
CLASSES = (
    Measure("right", "training rows answered right"),
    Measure("all", "training rows"),
    Measure("accuracy", "share of the training rows answered right, 0 to 1"),
    Measure("held_accuracy", "share of the held-out rows answered right, 0 to 1"),
    Measure("right[ROW]", "1 where that row is answered right, such as right[dog]"),
    Measure("predicted[CLASS]", "training rows to which the answer is CLASS, such as predicted[dog]"),
)
TOKENS = (
    Measure("loops", "tokens from which the net's own answers lead into a loop, never to the end"),
    Measure("loop[CYCLE]", "1 where some token leads into that loop, such as loop[dog→dog] (or dog->dog)"),
    Measure("ends[TOKEN]", "1 where the net's own answers lead from TOKEN to the end, such as ends[hello]"),
)
NUMBERS = (
    Measure("rmse", "root of the mean squared error on the training data"),
    Measure("held_rmse", "the same on the held-out data"),
    Measure("unexplained", "mean squared error over the targets' variance: 0 perfect, 1 as good as their mean"),
)
ONE_NUMBER = (
    Measure("line_rmse", "error of the regression line of the training data, on the rows that held_rmse is of, if any"),
    Measure("from_line", "root-mean-square distance of the net's answers from that line"),
)
KINKS = (Measure("kinks", "kinks of the net's function strictly inside the range of the training inputs"),)


def kind_of(task: Task, loss: str | None = None) -> str:
    """``"tokens"``, ``"classes"``, ``"bits"`` or ``"numbers"``: how answers are judged."""
    data = task.data
    if not data.targets.is_floating_point():
        ids = data.inputs.dim() == 1 and not data.inputs.is_floating_point() and data.classes
        if ids and data.targets.dim() == 1 and int(data.inputs.max()) < len(data.classes):
            return "tokens"
        return "classes"
    return "bits" if (loss or task.loss) == "bce" else "numbers"


def one_number(task: Task) -> bool:
    """Whether the net takes one number and returns one."""
    x, y = task.data.inputs, task.data.targets
    return x.is_floating_point() and x.dim() == 2 and x.shape[1] == 1 and y.dim() == 2 and y.shape[1] == 1


def line_of(task: Task) -> Callable[[torch.Tensor], np.ndarray]:
    """The regression line of the training data (least squares): inputs (N, 1) -> (N,)."""
    x, y = (array(t)[:, 0].astype(float) for t in (task.data.inputs, task.data.targets))
    spread = np.square(x - x.mean()).sum()
    slope = ((x - x.mean()) * (y - y.mean())).sum() / spread if spread else 0.0
    return lambda at: y.mean() + slope * (array(at)[:, 0].astype(float) - x.mean())


def line_error(task: Task) -> float:
    """Its root-mean-square error on the held-out rows; on the training rows where none are held out."""
    inputs, targets = task.data.held_out or (task.data.inputs, task.data.targets)
    return float(root_mean_square((line_of(task)(inputs) - array(targets)[:, 0])[None])[0])


def catalog(task: Task, loss: str | None = None) -> tuple[Measure, ...]:
    """Every measure of a task."""
    kind = kind_of(task, loss)
    out = [m for m in EVERY if m.name != "held_loss" or task.data.held_out is not None]
    if kind != "numbers":
        out += [m for m in CLASSES if m.name != "held_accuracy" or task.data.held_out is not None]
        out += TOKENS if kind == "tokens" else ()
        return tuple(out)
    out += [m for m in NUMBERS if m.name != "held_rmse" or task.data.held_out is not None]
    if one_number(task):
        out += [*ONE_NUMBER, *(KINKS if relu_layers(task.module(0)) is not None else ())]
    return tuple(out)


def relu_layers(module: nn.Module) -> tuple[str, ...] | None:
    """Names of the linear layers of a net that is nothing but linear layers with a ReLU between each two."""
    leaves = [(n, m) for n, m in module.named_modules() if not list(m.children()) and n]
    if not leaves and isinstance(module, nn.Linear):
        return None
    kinds = [type(m) for _, m in leaves]
    wanted = [nn.Linear if k % 2 == 0 else nn.ReLU for k in range(len(kinds))]
    if kinds != wanted or len(kinds) % 2 == 0 or any(m.bias is None for _, m in leaves if isinstance(m, nn.Linear)):
        return None
    return tuple(n for n, m in leaves if isinstance(m, nn.Linear))


def parted(name: str) -> tuple[str, str | None]:
    """``"ends[hello]"`` as ``("ends", "hello")``.

    Raises:
        UsageError: That is no name of a measure.
    """
    found = PARTS.fullmatch(name.strip())
    if found is None:
        raise UsageError(f"{name!r} is no measure's name; one is a word, or a word with brackets such as ends[hello].")
    return found[1], found[2]


def checked(names: Iterable[str], task: Task, loss: str | None = None) -> None:
    """Refuse a measure that the task does not have, before anything is trained.

    Raises:
        UsageError: It does not have it; the message names the nearest.
    """
    known = catalog(task, loss)
    plain = {m.name.partition("[")[0] for m in known if "[" not in m.name}
    filled = {m.name.partition("[")[0]: m.name for m in known if "[" in m.name}
    for name in names:
        word, inside = parted(name)
        if inside is None and word in plain:
            continue
        if inside is not None and word in filled:
            _check_inside(name, word, inside.strip(), task)
            continue
        if word in filled and inside is None:
            raise UsageError(f"The measure {word!r} needs something in brackets: {filled[word]}.")
        if word in plain:
            raise UsageError(f"The measure {word!r} takes nothing in brackets; got {name!r}.")
        raise unknown(word if inside is None else name, [m.name for m in known], task.name)


def _check_inside(name: str, word: str, inside: str, task: Task) -> None:
    if word in {"loss_at", "epochs_to"}:
        try:
            number = float(inside)
        except ValueError:
            number = math.nan
        if not (number >= 0 and math.isfinite(number)) or (word == "loss_at" and number != int(number)):
            what = "an epoch, such as loss_at[100]" if word == "loss_at" else "a loss, such as epochs_to[0.01]"
            raise UsageError(f"{name!r} needs {what}.")
        return
    if word == "loop":
        tokens = arrowed(inside).split("→")
        if len(tokens) < 2 or tokens[0] != tokens[-1]:
            raise UsageError(f"{name!r} is no loop: it ends where it begins, as in loop[dog→dog] or loop[cat→dog→cat].")
        wanted, known = tokens, task.data.classes
    elif word == "right":
        known = row_names(task)
        wanted = [inside]
    else:
        wanted, known = [inside], classes_of(task)
    for each in wanted:
        if each not in known:
            raise unknown(each, known, f"{word}[...] for {task.name}")


def arrowed(text: str) -> str:
    """``dog->dog`` as ``dog→dog``."""
    return "→".join(part.strip() for part in text.replace("->", "→").split("→"))


def classes_of(task: Task) -> tuple[str, ...]:
    """Names of the classes; their numbers where they have none."""
    if task.data.classes:
        return task.data.classes
    if task.data.targets.is_floating_point():
        return ("0", "1")
    return tuple(str(k) for k in range(int(task.data.targets.max()) + 1))


def row_names(task: Task) -> dict[str, int]:
    """What a row can be called: its name, the part before the arrow, its number from 0."""
    out: dict[str, int] = {}
    for i in range(len(task.data.inputs)):
        name = task.data.rows[i] if task.data.rows else ""
        for each in (name, name.partition("→")[0], str(i)):
            out.setdefault(each, i)
    out.pop("", None)
    return out


def needs_curve(names: Iterable[str]) -> bool:
    """Whether the loss of every epoch is needed."""
    return any(parted(n)[0] in {"loss_at", "epochs_to"} for n in names)


class Measures(Mapping[str, np.ndarray]):
    """Measures of S trainings by name, each of shape (S,), computed when asked for. NaN where a training diverged."""

    def __init__(self, task: Task, trained: Trained, loss: str | None = None) -> None:
        self.task, self.trained, self.loss = task, trained, loss
        self.kind = kind_of(task, loss)
        self._known: dict[str, np.ndarray] = {}

    def __getitem__(self, name: str) -> np.ndarray:
        if name not in self._known:
            checked([name], self.task, self.loss)
            word, inside = parted(name)
            values = np.asarray(getattr(self, f"_{word}")(*([] if inside is None else [inside.strip()])), float)
            lasting = {"first_loss", "dead_start", "dead_layer_start", "diverged", "loss_at", "epochs_to", "all"}
            self._known[name] = values if word in lasting else np.where(self.trained.finite, values, math.nan)
        return self._known[name]

    def __contains__(self, name: object) -> bool:
        return name in list(self)

    def __iter__(self) -> Iterator[str]:
        return (m.name for m in catalog(self.task, self.loss) if "[" not in m.name)

    def __len__(self) -> int:
        return sum(1 for _ in self)

    # Of every task ---------------------------------------------------------------------------------------------------

    def _loss(self) -> Any:
        return self.trained.final

    def _first_loss(self) -> Any:
        return self.trained.first

    def _gradient(self) -> Any:
        return self.trained.gradient

    def _dead_start(self) -> Any:
        return self.trained.dead_start

    def _dead_end(self) -> Any:
        return self.trained.dead_end

    def _dead_layer_start(self) -> Any:
        return self.trained.layers_start

    def _dead_layer_end(self) -> Any:
        return self.trained.layers_end

    def _diverged(self) -> Any:
        return ~self.trained.finite

    def _spread(self) -> Any:
        return np.ptp(self.trained.outputs, axis=1).reshape(len(self.trained.seeds), -1).max(axis=1)

    def _curve(self) -> np.ndarray:
        if self.trained.curve is None:
            raise UsageError("The losses of the single epochs were not recorded; name the measure in the census.")
        return self.trained.curve

    def _loss_at(self, epoch: str) -> Any:
        curve, at = self._curve(), int(float(epoch))
        if at >= curve.shape[1]:
            raise UsageError(f"loss_at[{at}]: the training has epochs 0 to {curve.shape[1] - 1}.")
        return curve[:, at]

    def _epochs_to(self, limit: str) -> Any:
        below = self._curve() < float(limit)
        return np.where(below.any(axis=1), below.argmax(axis=1), math.nan)

    # Held-out data ---------------------------------------------------------------------------------------------------

    @cached_property
    def held(self) -> tuple[np.ndarray, np.ndarray]:
        """Answers to the held-out inputs, and their targets."""
        assert self.task.data.held_inputs is not None and self.task.data.held_targets is not None
        out = answers(self.task.module(0), self.trained.weights, self.task.data.held_inputs)
        return out, array(self.task.data.held_targets)

    def _held_loss(self) -> Any:
        from weightwalk.learning.losses import loss_of

        criterion = loss_of(self.loss or self.task.loss)
        out, aim = (torch.from_numpy(a) for a in self.held)
        return [float(criterion(each, aim)) for each in out]

    # Classes ---------------------------------------------------------------------------------------------------------

    def _says(self, outputs: np.ndarray) -> np.ndarray:
        return outputs > 0 if self.kind == "bits" else outputs.argmax(axis=-1)

    @cached_property
    def hits(self) -> np.ndarray:
        """(S, N): whether each row is answered right."""
        right = self._says(self.trained.outputs) == self._targets()
        return right.reshape(*right.shape[:2], -1).all(axis=2)

    def _targets(self) -> np.ndarray:
        aim = array(self.task.data.targets)
        return aim > 0.5 if self.kind == "bits" else aim

    def _right(self, row: str | None = None) -> Any:
        return self.hits.sum(axis=1) if row is None else self.hits[:, row_names(self.task)[row]]

    def _all(self) -> Any:
        return np.full(len(self.trained.seeds), len(self.task.data.inputs))

    def _accuracy(self) -> Any:
        return self.hits.mean(axis=1)

    def _held_accuracy(self) -> Any:
        out, aim = self.held
        right = self._says(out) == (aim > 0.5 if self.kind == "bits" else aim)
        return right.reshape(len(right), -1).mean(axis=1)

    def _predicted(self, name: str) -> Any:
        says = self._says(self.trained.outputs)
        return (says == classes_of(self.task).index(name)).reshape(len(says), -1).sum(axis=1)

    # Tokens ----------------------------------------------------------------------------------------------------------

    @cached_property
    def followed(self) -> Followed:
        """Where the net's own answers lead."""
        data = self.task.data
        return follow(self._says(self.trained.outputs), array(data.inputs), data.classes)

    def _loops(self) -> Any:
        return (self.followed.loop >= 0).sum(axis=1)

    def _loop(self, name: str) -> Any:
        tokens = [self.task.data.classes.index(t) for t in arrowed(name).split("→")[:-1]]
        least = tokens.index(min(tokens))
        turned = tokens[least:] + tokens[:least]
        return self.followed.in_loop("→".join(self.task.data.classes[t] for t in [*turned, turned[0]]))

    def _ends(self, token: str) -> Any:
        if token not in self.followed.starts:
            return np.ones(len(self.trained.seeds))
        return self.followed.ends[:, self.followed.starts.index(token)]

    # Numbers ---------------------------------------------------------------------------------------------------------

    def _rmse(self) -> Any:
        return root_mean_square(self.trained.outputs - array(self.task.data.targets))

    def _held_rmse(self) -> Any:
        out, aim = self.held
        return root_mean_square(out - aim)

    def _unexplained(self) -> Any:
        aim = array(self.task.data.targets).astype(float)
        variance = float(((aim - aim.mean(axis=0)) ** 2).mean())
        return self._rmse() ** 2 / variance if variance else self._rmse() * math.nan

    def _line_rmse(self) -> Any:
        return np.full(len(self.trained.seeds), line_error(self.task))

    def _from_line(self) -> Any:
        return root_mean_square(self.trained.outputs[..., 0] - line_of(self.task)(self.task.data.inputs))

    def _kinks(self) -> Any:
        names = relu_layers(self.task.module(0)) or ()
        weights = self.trained.weights
        layers = [(array(weights[f"{n}.weight"]), array(weights[f"{n}.bias"])) for n in names]
        x = self.task.data.inputs
        return kinks_inside(layers, float(x.min()), float(x.max()))
