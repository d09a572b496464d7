"""Labels drawn by lot, and learned all the same: a low training loss is no sign of understanding.

The same nets are trained on the same kind of rows twice: once with labels that a rule decides, once with labels drawn
by lot, so that nothing about an unseen row can be known (Zhang et al. 2017, with small nets). What is left of the
training loss on rows never seen is what was learned of the rule; the rest is memory.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import torch

from weightwalk.errors import UsageError
from weightwalk.learning.censuses.wilson import wilson
from weightwalk.learning.fitting.stacks import Progress, Stack, fit_many, started
from weightwalk.learning.fitting.tables import frame

if TYPE_CHECKING:
    import pandas

UNSEEN = 500
"""Rows per seed that no net sees."""

MEMORISED = 0.01
"""Training loss in nats below which labels count as memorised."""


@dataclass(frozen=True, slots=True, eq=False)
class Labelled:
    """Nets of one width, with one kind of labels.

    Attributes:
        labels: ``"random"`` or ``"true"``.
        width: Units of the hidden layer.
        parameters: Numbers in the net.
        losses: (S,) training loss of each seed at the end, nats.
        train_accuracy: (S,) share of the training rows told right: the share of labels recalled.
        held_losses: (S,) loss on rows never seen, nats.
        hits: Rows never seen whose label was told right, over all seeds.
        trials: Rows never seen, over all seeds.
        interval: 95 % interval of hits / trials (Wilson). Each row of each seed is drawn by itself.
        gap: Mean over seeds of held-out loss minus training loss, nats: how much likelier the net finds the label of a
            row that it was trained on, as a ratio of e^gap. The memorisation score.
    """

    labels: str
    width: int
    parameters: int
    losses: np.ndarray
    train_accuracy: np.ndarray
    held_losses: np.ndarray
    hits: int
    trials: int
    interval: tuple[float, float]
    gap: float

    @property
    def memorised(self) -> int:
        """Seeds whose training loss is below `MEMORISED`."""
        return int((self.losses < MEMORISED).sum())

    @property
    def accuracy(self) -> float:
        """Share of the rows never seen that are told right."""
        return self.hits / self.trials


@dataclass(frozen=True, slots=True, eq=False)
class LabelsFit:
    """Random labels beside true ones, by width.

    Attributes:
        rows: Training rows.
        inputs: Numbers per row.
        classes: Labels.
        chance: Accuracy of guessing, 1 / classes.
        chance_loss: Loss of saying 1 / classes for each, ln(classes) nats.
        seeds: Each decides its rows, its rule, its lots and the initial weights.
        recipe: How the nets were trained.
        found: One per kind of labels and width.
        epochs: (K,) moments of the curves.
        curves: For each of `found`, (S, K, 2): training loss and loss on rows never seen.
        enough: The least width at which every seed memorised its random labels; None if no width was enough.
        too_small: The greatest width at which no seed did; None if there was none.
    """

    rows: int
    inputs: int
    classes: int
    chance: float
    chance_loss: float
    seeds: tuple[int, ...]
    recipe: str
    found: tuple[Labelled, ...]
    epochs: np.ndarray = field(repr=False)
    curves: tuple[np.ndarray, ...] = field(repr=False)
    enough: int | None
    too_small: int | None

    def frame(self) -> pandas.DataFrame:
        """One row per kind of labels, width and seed."""
        return frame(
            {
                "labels": f.labels,
                "width": f.width,
                "parameters": f.parameters,
                "seed": seed,
                "train_loss": f.losses[i],
                "train_accuracy": f.train_accuracy[i],
                "held_loss": f.held_losses[i],
                "memorised": f.losses[i] < MEMORISED,
            }
            for f in self.found
            for i, seed in enumerate(self.seeds)
        )


def fit_labels(
    *,
    widths: Sequence[int] = (2, 8, 16, 64),
    rows: int = 100,
    inputs: int = 8,
    classes: int = 4,
    seeds: Sequence[int] = range(10),
    epochs: int = 800,
    lr: float = 0.01,
    progress: Progress | None = None,
) -> LabelsFit:
    """Train nets on true labels and on labels drawn by lot.

    Rows are standard normal; the true label is the greatest of `classes` linear functions of the row, drawn anew for
    each seed. Nets have one hidden layer of ReLUs and learn by full-batch Adam, its rate falling to 0.

    Args:
        widths: Of the hidden layer.
        rows: Training rows.
        inputs: Numbers per row.
        classes: Labels.
        seeds: As many nets of each width and kind.
        epochs: Updates.
        lr: Learning rate at the start.
        progress: Called with (done, in all).

    Raises:
        UsageError: Fewer than two classes or rows, or no number at all.

    Example:
        >>> found = fit_labels(widths=(64,), rows=20, seeds=range(3), epochs=300)
        >>> lots = found.found[0]
        >>> lots.labels, lots.memorised, bool(lots.interval[0] <= found.chance <= lots.interval[1])
        ('random', 3, True)
    """
    if classes < 2 or rows < 2 or inputs < 1 or classes > rows:
        raise UsageError(
            f"Labels need 2 classes or more, at least as many rows, and 1 number per row; got {classes} classes, "
            f"{rows} rows and {inputs} numbers."
        )
    chosen = [int(s) for s in seeds]
    drawn = [_draw(seed, rows, inputs, classes) for seed in chosen]
    x, held_x = (torch.stack([d[i] for d in drawn]) for i in (0, 1))
    kinds = {"random": (2, 3), "true": (4, 5)}
    found: list[Labelled] = []
    curves: list[np.ndarray] = []
    epochs_at = np.zeros(0, np.int64)
    jobs = [(kind, width) for kind in kinds for width in sorted(widths)]
    for i, (kind, width) in enumerate(jobs):
        y, held_y = (torch.stack([d[k] for d in drawn]) for k in kinds[kind])
        tell = None if progress is None else lambda d, n, i=i: progress(i * n + d, len(jobs) * n)
        stack = fit_many(
            started((inputs, width, classes), chosen), x, y, loss="cross_entropy", lr=lr, epochs=epochs, decay=True,
            held=(held_x, held_y), every=max(1, epochs // 25), progress=tell,
        )  # fmt: skip
        found.append(_judge(kind, width, stack, x, y, held_x, held_y))
        curves.append(np.stack([stack.curve, stack.held], axis=2))
        epochs_at = stack.epochs
    lots = [f for f in found if f.labels == "random"]
    enough = next((f.width for f in lots if all(g.memorised == len(chosen) for g in lots if g.width >= f.width)), None)
    none = [f.width for f in lots if all(g.memorised == 0 for g in lots if g.width <= f.width)]
    recipe = f"adam, lr {lr:g} falling to 0, {epochs:,} full-batch updates"
    return LabelsFit(
        rows, inputs, classes, 1 / classes, math.log(classes), tuple(chosen), recipe, tuple(found), epochs_at,
        tuple(curves), enough, max(none, default=None),
    )  # fmt: skip


def _draw(seed: int, rows: int, inputs: int, classes: int) -> tuple[torch.Tensor, ...]:
    """Rows, rows never seen, and for each their lots and their true labels."""
    rng = np.random.default_rng([seed, rows, inputs, classes])
    x, held = (rng.standard_normal((n, inputs)) for n in (rows, UNSEEN))
    rule = rng.standard_normal((inputs, classes))
    lots = [rng.integers(classes, size=n) for n in (rows, UNSEEN)]
    true = [(v @ rule).argmax(axis=1) for v in (x, held)]
    floats = [torch.from_numpy(v).float() for v in (x, held)]
    return (*floats, *(torch.from_numpy(v) for v in (*lots, *true)))


def _judge(
    kind: str, width: int, stack: Stack, x: torch.Tensor, y: torch.Tensor, held_x: torch.Tensor, held_y: torch.Tensor
) -> Labelled:
    accuracy = (stack(x).argmax(axis=2) == y.numpy()).mean(axis=1)
    right = stack(held_x).argmax(axis=2) == held_y.numpy()
    hits, trials = int(right.sum()), int(right.size)
    held = stack.held[:, -1]
    gap = float(np.mean(held - stack.losses))
    share = wilson(hits, trials)
    return Labelled(
        kind, width, stack.parameters, stack.losses, accuracy, held, hits, trials, (share.low, share.high), gap
    )
