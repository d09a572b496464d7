"""From logits to the next token: what temperature, top-k, top-p, min-p and a repetition penalty do, in their order.

The order is that of the field's common implementation: penalty, temperature, top-k, top-p, min-p. It matters: top-p
after a high temperature keeps more than before it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from weightwalk.errors import UsageError


@dataclass(frozen=True, eq=False)
class Stage:
    """The logits after one rule.

    Attributes:
        rule: ``"logits"`` (as the net gave them), ``"repetition penalty"``, ``"temperature"``, ``"top-k"``,
            ``"top-p"``, ``"min-p"``.
        setting: Its setting, or None for the net's own.
        logits: float64, shape (vocabulary,); minus infinity for tokens that were ruled out.
        probabilities: Their softmax.
        removed: How many tokens this rule ruled out.
        lost: The probability that those had just before.
    """

    rule: str
    setting: float | None
    logits: np.ndarray = field(repr=False)
    probabilities: np.ndarray = field(repr=False)
    removed: int = 0
    lost: float = 0.0

    @property
    def entropy(self) -> float:
        """``-sum p ln p`` in nats: ln of the number of equally likely tokens that would be as uncertain."""
        p = self.probabilities[self.probabilities > 0]
        return float(-(p * np.log(p)).sum())


@dataclass(frozen=True, slots=True)
class Sampler:
    """How the next token is chosen.

    Attributes:
        temperature: Logits are divided by it: below 1 sharper, above 1 flatter, 0 the largest logit for certain.
        top_k: Only so many of the largest logits stay; 0 for all.
        top_p: The fewest tokens stay whose probabilities add up to at least this; 1 for all.
        min_p: Tokens stay that are at least this times as likely as the likeliest; 0 for all.
        repetition_penalty: Positive logits of tokens that were there before are divided by it, negative ones multiplied
            (Keskar et al. 2019); 1 for none.

    Raises:
        UsageError: A setting out of its range.

    Example:
        >>> logits = np.array([-0.9126, 5.2600, -1.6364, -3.1031, 2.5357])
        >>> Sampler(temperature=0.7).probabilities(logits).round(4)[1]
        np.float64(0.9798)
        >>> Sampler(top_p=0.9).probabilities(logits).tolist()
        [0.0, 1.0, 0.0, 0.0, 0.0]
    """

    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0
    min_p: float = 0.0
    repetition_penalty: float = 1.0

    def __post_init__(self) -> None:
        if not (self.temperature >= 0 and math.isfinite(self.temperature)):
            raise UsageError(f"The temperature is 0 (the largest logit for certain) or more; got {self.temperature}.")
        if self.top_k < 0:
            raise UsageError(f"top-k keeps so many tokens, from 1; 0 keeps all; got {self.top_k}.")
        if not 0 < self.top_p <= 1:
            raise UsageError(f"top-p is a share of probability, above 0 and at most 1; got {self.top_p}.")
        if not 0 <= self.min_p <= 1:
            raise UsageError(f"min-p is a share of the likeliest token's probability, 0 to 1; got {self.min_p}.")
        if not (self.repetition_penalty > 0 and math.isfinite(self.repetition_penalty)):
            raise UsageError(f"A repetition penalty is a number above 0 (1 for none); got {self.repetition_penalty}.")

    def stages(self, logits: np.ndarray, seen: Sequence[int] = ()) -> tuple[Stage, ...]:
        """Every rule that is switched on, in order, with what it left.

        Args:
            logits: One number per token of the vocabulary.
            seen: Tokens that were there before, for the repetition penalty.

        Raises:
            UsageError: A logit that is NaN or plus infinity, or no token that is possible.
        """
        now = np.asarray(logits, dtype=np.float64)
        if now.ndim != 1 or now.size == 0:
            raise UsageError(f"The logits are one number per token; got an array of shape {now.shape}.")
        if np.isnan(now).any() or np.isposinf(now).any() or np.isneginf(now).all():
            raise UsageError(
                "The logits hold NaN or infinity, so that no probabilities follow; the net's weights or its dtype are "
                "the likely cause."
            )
        out = [Stage("logits", None, now, softmax(now))]
        if self.repetition_penalty != 1 and len(seen):
            now = now.copy()
            ids = np.unique(np.asarray(seen, dtype=np.int64))
            now[ids] = np.where(now[ids] > 0, now[ids] / self.repetition_penalty, now[ids] * self.repetition_penalty)
            out.append(_stage("repetition penalty", self.repetition_penalty, now, out[-1]))
        if self.temperature != 1:
            now = _only(now, np.array([now.argmax()])) if self.temperature == 0 else now / self.temperature
            out.append(_stage("temperature", self.temperature, now, out[-1]))
        if 0 < self.top_k < now.size:
            # Ties with the k-th stay, so that the outcome does not depend on how a sort breaks them.
            least = np.partition(now, -self.top_k)[-self.top_k]
            now = np.where(now >= least, now, -np.inf)
            out.append(_stage("top-k", self.top_k, now, out[-1]))
        if self.top_p < 1:
            now = _only(now, nucleus(out[-1].probabilities, self.top_p))
            out.append(_stage("top-p", self.top_p, now, out[-1]))
        if self.min_p > 0:
            p = out[-1].probabilities
            now = np.where(p >= self.min_p * p.max(), now, -np.inf)
            out.append(_stage("min-p", self.min_p, now, out[-1]))
        return tuple(out)

    def probabilities(self, logits: np.ndarray, seen: Sequence[int] = ()) -> np.ndarray:
        """What is drawn from, float64, shape (vocabulary,), adding up to 1."""
        return self.stages(logits, seen)[-1].probabilities


def softmax(logits: np.ndarray) -> np.ndarray:
    """``exp(l) / sum exp(l)`` along the last axis; the largest is taken off first, so that nothing overflows.

    >>> softmax(np.array([10000.0, 10000.0, -np.inf])).tolist()
    [0.5, 0.5, 0.0]
    """
    raised = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return raised / raised.sum(axis=-1, keepdims=True)


def nucleus(p: np.ndarray, share: float) -> np.ndarray:
    """The fewest tokens whose probabilities add up to at least `share`, the likeliest first (Holtzman et al. 2019).

    >>> nucleus(np.array([0.1, 0.5, 0.4]), 0.9).tolist()
    [1, 2]
    """
    order = np.argsort(-p, kind="stable")
    mass = np.cumsum(p[order])
    return order[: int(np.searchsorted(mass, share * (1 - 1e-12))) + 1]


def draw(p: np.ndarray, generator: np.random.Generator) -> int:
    """A token by its probability."""
    mass = np.cumsum(p)
    place = int(np.searchsorted(mass, generator.random() * mass[-1], side="right"))
    return min(place, int(np.flatnonzero(p)[-1]))


def _only(logits: np.ndarray, keep: np.ndarray) -> np.ndarray:
    out = np.full_like(logits, -np.inf)
    out[keep] = logits[keep]
    return out


def _stage(rule: str, setting: float, logits: np.ndarray, before: Stage) -> Stage:
    gone = np.isneginf(logits) & ~np.isneginf(before.logits)
    lost = float(before.probabilities[gone].sum())
    return Stage(rule, setting, logits, softmax(logits), int(gone.sum()), lost)
