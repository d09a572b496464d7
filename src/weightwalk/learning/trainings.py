"""A training as facts to be shown: what was trained, how it went, what the net answers now."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from weightwalk.learning.answers import Answers, answers
from weightwalk.learning.frames import needs_pandas
from weightwalk.learning.history import History
from weightwalk.learning.plateaus import Plateau, constant_loss, plateau
from weightwalk.learning.tasks import Data

if TYPE_CHECKING:
    import pandas as pd

SHOWN_ROWS = 100_000
"""Examples beyond which answers are not asked for again."""


@dataclass(frozen=True, slots=True)
class Training:
    """One training of a net.

    Attributes:
        net: Its name.
        description: One line.
        parameters: How many numbers were trained.
        history: How it went.
        plateau: The verdict on its loss curve.
        constant: Loss of the best answer that is the same for every input; None where that has no formula.
        answers: What the net answers to its examples; None after a training that broke off, or of very many.
        held: To the held-out ones; None where there are none.
        shape: What was varied about the task.
    """

    net: str
    description: str
    parameters: int
    history: History
    plateau: Plateau
    constant: float | None
    answers: Answers | None
    held: Answers | None
    shape: dict[str, object] = field(default_factory=dict)

    def frame(self) -> pd.DataFrame:
        """See `History.frame`."""
        return self.history.frame()


@dataclass(frozen=True, slots=True)
class Trainings:
    """The same training at several learning rates.

    Attributes:
        runs: One each; one that broke off has a history until then.
        rates: Their learning rates.
        broke: For each, what went wrong; empty where nothing did.
    """

    runs: tuple[Training, ...]
    rates: tuple[float, ...]
    broke: tuple[str, ...]

    def frame(self) -> pd.DataFrame:
        """The frames of all, one below the other, with a column ``lr``."""
        pd = needs_pandas()

        return pd.concat(
            [r.frame().assign(lr=lr) for r, lr in zip(self.runs, self.rates, strict=True)], ignore_index=True
        )


def told(
    net: str, description: str, history: History, data: Data, shape: dict[str, object], whole: bool = True
) -> Training:
    """The facts of a training.

    Args:
        net: Name of the net.
        description: One line.
        history: How it went, with its module.
        data: What it was trained on.
        shape: What was varied.
        whole: Whether it came to its end.
    """
    module, loss = history.module, str(history.settings["loss"])
    assert module is not None
    held_data = data.held_out
    shown = held = None
    if whole and len(data.inputs) <= SHOWN_ROWS:
        shown = answers(module, data, loss)
        if held_data is not None and len(held_data[0]) <= SHOWN_ROWS:
            held = answers(module, Data(*held_data, classes=data.classes), loss, most=0)
    trained = sum(p.numel() for p in module.parameters() if p.requires_grad)
    verdict = plateau([*history.losses, history.final] if whole and history.best is None else history.losses)
    return Training(net, description, trained, history, verdict, constant_loss(data.targets, loss), shown, held, shape)
