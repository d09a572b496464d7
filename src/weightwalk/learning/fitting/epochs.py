"""Trained too long: a small text net on few lines, and n-grams and nets by what lines never seen cost them.

The lines are dealt into three parts: some to learn from, some to choose the epoch by, some to judge by. What one
chooses by flatters what is chosen, so that the last part is touched by no choice.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from weightwalk.errors import UsageError
from weightwalk.learning.fitting.lines import LINES
from weightwalk.learning.fitting.ngrams import NGrams
from weightwalk.learning.fitting.stacks import Progress
from weightwalk.learning.fitting.tables import frame
from weightwalk.learning.seeds import seeded
from weightwalk.learning.threads import pinned
from weightwalk.learning.train import train

if TYPE_CHECKING:
    import pandas

PROMPT = 16
"""Characters that a net is given of a line, to see whether it goes on with the rest of it to the letter."""

LONGEST = 100_000
"""Characters of a text, at most."""

DRAWS = 400
"""Draws of lines, with repetition, that the intervals are made from."""


@dataclass(frozen=True, slots=True, eq=False)
class Model:
    """One way to foresee the next character, judged on lines that were never seen.

    Attributes:
        name: ``"uniform"``, ``"unigram"``, ``"bigram"``, ``"3-gram"`` ..., ``"net"``.
        numbers: Counts that are kept; parameters of the net.
        train_bits: Bits per character on the lines that it learned from.
        bits: Bits per character on the lines that judge; of nets, the mean over seeds.
        interval: 95 % of that, over draws of the lines with repetition.
        gain: Bits saved against the model before it.
        gain_interval: 95 % of that, on the same draws; NaN for the first.
    """

    name: str
    numbers: int
    train_bits: float
    bits: float
    interval: tuple[float, float]
    gain: float
    gain_interval: tuple[float, float]


@dataclass(frozen=True, slots=True, eq=False)
class Moment:
    """The nets at one epoch.

    Attributes:
        name: ``"chosen"`` (least loss on the lines to choose by) or ``"last"``.
        epochs: (S,) of each seed.
        train: Loss on the lines that were learned, nats per character, mean over seeds.
        judged: Loss on the lines that judge.
        gap: judged - train: the memorisation score.
        recalled: Lines learned that the nets, given the first 16 characters, go on with to the letter; over all seeds.
        recalled_of: Lines learned that are long enough to be asked for, over all seeds.
        recalled_unseen: The same of lines never seen.
        recalled_unseen_of: Of so many.
    """

    name: str
    epochs: np.ndarray
    train: float
    judged: float
    gap: float
    recalled: int
    recalled_of: int
    recalled_unseen: int
    recalled_unseen_of: int


@dataclass(frozen=True, slots=True, eq=False)
class EpochsFit:
    """Training on few lines, epoch by epoch.

    Attributes:
        source: Where the text is from.
        lines: Numbers of lines: learned, to choose by, to judge by.
        tokens: Characters of the lines learned, each line's end included.
        pairs: (prefix, next character) pairs made of them: one less than its tokens for each line. No label is needed.
        vocabulary: Different characters, the end included.
        context: Characters that the net sees.
        parameters: Numbers in the net.
        seeds: Of the nets.
        recipe: How they were trained.
        train: (S, E + 1) loss on the lines learned after each epoch, nats per character.
        choosing: (S, E + 1) loss on the lines to choose by.
        judging: (S, E + 1) loss on the lines to judge by.
        least: (S,) epoch of the least loss on the lines to choose by.
        stopped: (S,) epoch at which one would have stopped that waits `patience` epochs for a new least.
        patience: That.
        rise: (S,) how much above its least the loss on the lines to choose by is at the end.
        models: From uniform to the net at its chosen epoch.
        drops: Whether each model needs fewer bits than the one before.
        moments: The chosen epoch, and the last.
        flops: Of one training: 6 x parameters x pairs x epochs.
    """

    source: str
    lines: tuple[int, int, int]
    tokens: int
    pairs: int
    vocabulary: int
    context: int
    parameters: int
    seeds: tuple[int, ...]
    recipe: str
    train: np.ndarray
    choosing: np.ndarray
    judging: np.ndarray
    least: np.ndarray
    stopped: np.ndarray
    patience: int
    rise: np.ndarray
    models: tuple[Model, ...]
    drops: bool
    moments: tuple[Moment, ...]
    flops: float
    recipe_ngrams: str = field(default="")

    def frame(self) -> pandas.DataFrame:
        """One row per seed and epoch."""
        return frame(
            {
                "seed": seed,
                "epoch": e,
                "train_loss": self.train[i, e],
                "choosing_loss": self.choosing[i, e],
                "judging_loss": self.judging[i, e],
            }
            for i, seed in enumerate(self.seeds)
            for e in range(self.train.shape[1])
        )


def fit_epochs(
    lines: Sequence[str] | None = None,
    *,
    source: str = "",
    orders: Sequence[int] = (1, 2, 3, 4, 5),
    context: int = 12,
    width: int = 64,
    embedding: int = 12,
    seeds: Sequence[int] = range(3),
    epochs: int = 40,
    batch: int = 32,
    lr: float = 0.005,
    patience: int = 5,
    progress: Progress | None = None,
) -> EpochsFit:
    """Train a small text net for too long, and judge it beside n-grams.

    The net sees the last `context` characters: an embedding of each, one hidden layer of ReLUs, a logit per character.
    Of every five lines, three are learned, one is to choose the epoch by and one to judge by.

    Args:
        lines: The text, a document per line; our own sixty lines unless given.
        source: Where it is from.
        orders: Of the n-grams.
        context: Characters that the net sees.
        width: Units of its hidden layer.
        embedding: Numbers per character.
        seeds: As many nets.
        epochs: Passes over the lines learned.
        batch: Pairs per update.
        lr: Learning rate of Adam.
        patience: Epochs without a new least before one would stop.
        progress: Called with (done, in all).

    Raises:
        UsageError: Too few lines, or too long a text.

    Example:
        >>> found = fit_epochs(seeds=(0,), epochs=3, width=16)
        >>> found.tokens - found.pairs == found.lines[0]
        True
        >>> [model.name for model in found.models][:4]
        ['uniform', 'unigram', 'bigram', '3-gram']
    """
    texts = list(LINES if lines is None else lines)
    kept = [t.strip() for t in texts if len(t.strip()) > 1]
    if len(kept) < 10:
        raise UsageError(f"Ten lines of two characters or more are needed; there are {len(kept)}.")
    if sum(map(len, kept)) > LONGEST:
        raise UsageError(f"The text has more than {LONGEST:,} characters; few lines are the point: give a part of it.")
    if (
        context < 1
        or width < 1
        or embedding < 1
        or epochs < 1
        or min(orders, default=1) < 1
        or max(orders, default=1) > 20
    ):
        raise UsageError("context, width, embedding and epochs are 1 or more, and orders 1 to 20.")
    characters = sorted({c for t in kept for c in t})
    ids = {c: i for i, c in enumerate(characters)}
    end, vocabulary = len(characters), len(characters) + 1
    documents = [[ids[c] for c in t] + [end] for t in kept]
    parts = [[d for i, d in enumerate(documents) if i % 5 in some] for some in ((0, 1, 3), (2,), (4,))]
    tables = [pairs_of(p, context, vocabulary) for p in parts]
    chosen = [int(s) for s in seeds]
    runs = [
        _run(s, i, len(chosen), tables, vocabulary, context, embedding, width, epochs, batch, lr, progress)
        for i, s in enumerate(chosen)
    ]
    curves = np.stack([r.curves for r in runs])  # (S, 3, E + 1)
    least = curves[:, 1].argmin(axis=1)
    stopped = np.array([_stop(c, patience) for c in curves[:, 1]])
    models = _models(parts, tables, orders, vocabulary, runs, least, documents)
    moments = tuple(
        _moment(name, at, runs, curves, parts, context, end) for name, at in
        (("chosen", least), ("last", np.full(len(chosen), epochs)))
    )  # fmt: skip
    parameters, pairs = sum(p.numel() for p in runs[0].net.parameters()), len(tables[0][0])
    recipe = f"adam, lr {lr:g}, {epochs:,} epochs in batches of {batch}"
    rise = curves[:, 1, -1] - curves[:, 1].min(axis=1)
    return EpochsFit(
        source or "our own lines about a village", (len(parts[0]), len(parts[1]), len(parts[2])),
        sum(map(len, parts[0])), pairs, vocabulary, context, parameters, tuple(chosen), recipe, curves[:, 0],
        curves[:, 1], curves[:, 2], least, stopped, patience, rise, models,
        all(m.gain > 0 for m in models[1:]), moments, 6.0 * parameters * pairs * epochs,
        f"counts blended with those of the next shorter context, which is worth {NGrams([], 0, 1).strength:g} counts",
    )  # fmt: skip


def pairs_of(documents: Sequence[Sequence[int]], context: int, vocabulary: int) -> tuple[Tensor, Tensor]:
    """Every (prefix, next token) pair: tokens - 1 of each document.

    Args:
        documents: Token numbers.
        context: Tokens of the prefix that are kept; in front of a shorter one stands the number `vocabulary`.
        vocabulary: Different tokens.

    Returns:
        Prefixes (pairs, context) and next tokens (pairs,).

    >>> pairs_of([[2, 0, 1]], context=2, vocabulary=3)
    (tensor([[3, 2],
            [2, 0]]), tensor([0, 1]))
    """
    rows, nexts = [], []
    for tokens in documents:
        padded = [vocabulary] * context + list(tokens)
        for i in range(1, len(tokens)):
            rows.append(padded[i : i + context])
            nexts.append(tokens[i])
    return torch.tensor(rows, dtype=torch.long).reshape(-1, context), torch.tensor(nexts, dtype=torch.long)


@dataclass(frozen=True, slots=True, eq=False)
class _Run:
    net: nn.Module
    weights: tuple[dict[str, Tensor], ...]  # after each epoch
    curves: np.ndarray  # (3, E + 1)


def _run(
    seed: int, i: int, runs: int, tables: list[tuple[Tensor, Tensor]], vocabulary: int, context: int, embedding: int,
    width: int, epochs: int, batch: int, lr: float, progress: Progress | None,
) -> _Run:  # fmt: skip
    """One training, and its losses on the three parts after every epoch."""
    with seeded(seed), torch.device("cpu"):
        net = nn.Sequential(
            nn.Embedding(vocabulary + 1, embedding, dtype=torch.float32), nn.Flatten(),
            nn.Linear(context * embedding, width, dtype=torch.float32), nn.ReLU(),
            nn.Linear(width, vocabulary, dtype=torch.float32),
        )  # fmt: skip
    tell = None if progress is None else lambda d, n, _: progress(i * n + d, runs * n)
    with pinned():
        history = train(
            net, *tables[0], loss="cross_entropy", optimizer="adam", lr=lr, epochs=epochs, batch=batch, seed=seed,
            snapshots=1, progress=tell,
        )  # fmt: skip
        weights = tuple(dict(s.weights) for s in history.snapshots)
        curves = np.array([[_losses(net, w, table).mean() for w in weights] for table in tables])
    return _Run(net, weights, curves)


def _losses(net: nn.Module, weights: dict[str, Tensor], table: tuple[Tensor, Tensor]) -> np.ndarray:
    """-ln p of each pair's next token."""
    with torch.no_grad():
        logits = torch.func.functional_call(net, weights, (table[0],))
        return nn.functional.cross_entropy(logits.double(), table[1], reduction="none").numpy()


def _stop(losses: np.ndarray, patience: int) -> int:
    """The first epoch by which there was no new least for so many epochs; the last one if that never comes."""
    best = 0
    for e, loss in enumerate(losses):
        if loss < losses[best]:
            best = e
        elif e - best >= patience:
            return e
    return len(losses) - 1


def _models(
    parts: list[list[list[int]]], tables: list[tuple[Tensor, Tensor]], orders: Sequence[int], vocabulary: int,
    runs: list[_Run], least: np.ndarray, documents: list[list[int]],
) -> tuple[Model, ...]:  # fmt: skip
    """Every model on the lines that judge, in bits per character."""
    names = {0: "uniform", 1: "unigram", 2: "bigram"}
    rows: list[tuple[str, int, float, np.ndarray]] = []
    for order in (0, *sorted(set(orders))):
        model = NGrams(parts[0], order, vocabulary)
        learned, judged = model.losses(parts[0]).mean(), model.losses(parts[2])
        rows.append((names.get(order, f"{order}-gram"), model.numbers, float(learned), judged))
    learned = float(np.mean([_losses(r.net, r.weights[e], tables[0]).mean() for r, e in zip(runs, least, strict=True)]))
    judged = np.mean([_losses(r.net, r.weights[e], tables[2]) for r, e in zip(runs, least, strict=True)], axis=0)
    rows.append(("net", sum(p.numel() for p in runs[0].net.parameters()), learned, judged))
    line = np.repeat(np.arange(len(parts[2])), [len(d) - 1 for d in parts[2]])
    sums = np.array([np.bincount(line, r[3]) for r in rows]) / math.log(2)  # (models, lines) bits
    counts = np.bincount(line)
    rng = np.random.default_rng(0)
    picks = [rng.integers(len(counts), size=len(counts)) for _ in range(DRAWS)]
    draws = np.array([sums[:, p].sum(axis=1) / counts[p].sum() for p in picks])  # (draws, models)
    out: list[Model] = []
    for i, (name, numbers, learned, judged) in enumerate(rows):
        low, high = np.quantile(draws[:, i], [0.025, 0.975])
        gain, ends = math.nan, (math.nan, math.nan)
        if i:
            gain = float((rows[i - 1][3].mean() - judged.mean()) / math.log(2))
            ends = tuple(float(v) for v in np.quantile(draws[:, i - 1] - draws[:, i], [0.025, 0.975]))
        bits = float(judged.mean() / math.log(2))
        out.append(
            Model(name, numbers, learned / math.log(2), bits, (float(low), float(high)), gain, (ends[0], ends[1]))
        )
    return tuple(out)


def _moment(
    name: str,
    at: np.ndarray,
    runs: list[_Run],
    curves: np.ndarray,
    parts: list[list[list[int]]],
    context: int,
    end: int,
) -> Moment:
    pick = np.arange(len(runs))
    learned, judged = float(curves[pick, 0, at].mean()), float(curves[pick, 2, at].mean())
    counts = [0, 0, 0, 0]
    for run, epoch in zip(runs, at, strict=True):
        for k, part in enumerate((parts[0], parts[2])):
            hits, asked = _recalled(run.net, run.weights[epoch], part, context, end)
            counts[2 * k] += hits
            counts[2 * k + 1] += asked
    return Moment(name, at, learned, judged, judged - learned, *counts)


def _recalled(
    net: nn.Module, weights: dict[str, Tensor], documents: list[list[int]], context: int, end: int
) -> tuple[int, int]:  # fmt: skip
    """Documents that the net, by the likeliest token each time, goes on with to the letter; and how many it is asked.

    All are continued at once: a continuation is right as long as every token so far was, so that it is enough to look
    at what the net says after the true tokens.
    """
    asked = [d for d in documents if len(d) > PROMPT + 2]
    if not asked:
        return 0, 0
    x, y = pairs_of(asked, context, end + 1)
    with torch.no_grad():
        right = (torch.func.functional_call(net, weights, (x,)).argmax(dim=1) == y).numpy()
    hits, at = 0, 0
    for d in asked:
        hits += bool(right[at + PROMPT - 1 : at + len(d) - 1].all())
        at += len(d) - 1
    return hits, len(asked)
