"""What a trained net answers to each example, beside what it should."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from weightwalk.learning.losses import tensor_of
from weightwalk.learning.tasks import Data


@dataclass(frozen=True, slots=True)
class Answer:
    """One example.

    Attributes:
        name: As ``"hello→world"``; its number where it has no name.
        given: The class with the greatest logit, or the number, as text.
        wanted: The target.
        right: Whether they are the same class; None for numbers.
        probability: That the net gives to the target; None for numbers.
        error: Answer minus target, for a single number; None for classes.
    """

    name: str
    given: str
    wanted: str
    right: bool | None
    probability: float | None
    error: float | None = None


@dataclass(frozen=True, slots=True)
class Answers:
    """What a net answers to its examples.

    Attributes:
        rows: The first examples.
        right: How many of all are right; None for numbers.
        total: How many there are.
        rmse: Root of the mean square error over all; None for classes.
    """

    rows: tuple[Answer, ...]
    right: int | None
    total: int
    rmse: float | None


def answers(module: nn.Module, data: Data, loss: str, most: int = 12) -> Answers:
    """The answers to the examples that a net was trained on, in its eval mode.

    Args:
        module: The net; its mode is left as found.
        data: The examples.
        loss: What it was trained by: cross-entropy and bce answer with classes.
        most: Examples to be told one by one.
    """
    modes = [(m, m.training) for m in module.modules()]
    module.eval()
    try:
        with torch.no_grad():
            out = tensor_of(module(data.inputs)).float()
    finally:
        for m, mode in modes:
            m.training = mode
    if loss == "cross_entropy":
        return _classes(out, data, most)
    if loss == "bce":
        return _bits(out, data, most)
    target = data.targets.float()
    rmse = float((out - target).square().mean().sqrt())
    rows = []
    if out[0].numel() == 1:
        pairs = list(zip(out.flatten().tolist(), target.flatten().tolist(), strict=True))[:most]
        rows = [Answer(_name(data, i), f"{a:.4g}", f"{b:.4g}", None, None, a - b) for i, (a, b) in enumerate(pairs)]
    return Answers(tuple(rows) if data.rows else (), None, len(out), rmse)


def _classes(out: Tensor, data: Data, most: int) -> Answers:
    found, chances = out.argmax(-1), out.softmax(-1)
    truth = data.targets.argmax(-1) if data.targets.is_floating_point() else data.targets
    good = found == truth
    rows: list[Answer] = []
    if out.dim() == 2:
        for i in range(min(most, len(out))):
            given, wanted = int(found[i]), int(truth[i])
            chance = float(chances[i, wanted])
            rows.append(Answer(_name(data, i), _class(data, given), _class(data, wanted), bool(good[i]), chance))
    return Answers(tuple(rows), int(good.sum()), good.numel(), None)


def _bits(out: Tensor, data: Data, most: int) -> Answers:
    chances = out.sigmoid()
    good = (chances > 0.5) == (data.targets > 0.5)
    rows: list[Answer] = []
    if out[0].numel() == 1:
        for i, (chance, wanted) in enumerate(
            zip(chances.flatten().tolist(), data.targets.flatten().tolist(), strict=True)
        ):
            if i < most:
                share = chance if wanted > 0.5 else 1 - chance
                rows.append(
                    Answer(_name(data, i), str(int(chance > 0.5)), f"{wanted:g}", bool(good.flatten()[i]), share)
                )
    return Answers(tuple(rows), int(good.sum()), good.numel(), None)


def _name(data: Data, row: int) -> str:
    return data.rows[row] if data.rows else str(row)


def _class(data: Data, number: int) -> str:
    return data.classes[number] if number < len(data.classes) else str(number)
