"""The rules for choosing a token, against `transformers` and against the figures of the checklist."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from weightwalk.errors import UsageError
from weightwalk.language.choosing import Sampler, Stage, draw, softmax

HELLO = np.array([-0.9126, 5.2600, -1.6364, -3.1031, 2.5357])
"""Logits of a walked text net after "hello" (CHECKLIST 185)."""


def test_softmax_of_the_walked_logits() -> None:
    """CHECKLIST 190 and 100."""
    p = softmax(HELLO)
    assert p == pytest.approx([0.00195, 0.93552, 0.00095, 0.00022, 0.06136], abs=1e-5)
    assert p.sum() == pytest.approx(1, abs=1e-12)
    assert softmax(HELLO + 1e4) == pytest.approx(p, rel=1e-9)


@pytest.mark.parametrize(
    ("temperature", "world"), [(0.5, 0.9957), (0.7, 0.9798), (1, 0.9355), (1.5, 0.8383), (2, 0.7414), (10, 0.3090)]
)
def test_temperature(temperature: float, world: float) -> None:
    """CHECKLIST 200 and 57: dividing logits is raising probabilities to 1/T."""
    p = Sampler(temperature=temperature).probabilities(HELLO)
    assert p[1] == pytest.approx(world, abs=5e-5)
    raised = softmax(HELLO) ** (1 / temperature)
    assert p == pytest.approx(raised / raised.sum(), abs=1e-12)
    assert np.array_equal(np.argsort(p), np.argsort(HELLO)), "CHECKLIST 202: the order never changes"


def test_entropy_rises_with_temperature_and_none_is_left_at_zero() -> None:
    """CHECKLIST 200 and 201: .028 nats at T = .5, 1.56 at 10; T = 0 is the limit, without a division."""
    entropies = [Sampler(temperature=t).stages(HELLO)[-1].entropy for t in (0, 1e-6, 0.5, 1.5, 10)]
    assert entropies == sorted(entropies)
    assert entropies[0] == 0 and entropies[2] == pytest.approx(0.028, abs=1e-3)
    assert entropies[4] == pytest.approx(1.56, abs=5e-3)
    assert Sampler(temperature=0).probabilities(HELLO).tolist() == [0, 1, 0, 0, 0]


def test_top_p_keeps_the_smallest_set() -> None:
    """CHECKLIST 206."""
    assert np.flatnonzero(Sampler(top_p=0.9).probabilities(HELLO)).tolist() == [1]
    assert np.flatnonzero(Sampler(top_p=0.95).probabilities(HELLO)).tolist() == [1, 4]
    stage = Sampler(top_p=0.9).stages(HELLO)[-1]
    assert (stage.rule, stage.setting, stage.removed) == ("top-p", 0.9, 4)
    assert stage.lost == pytest.approx(1 - 0.93552, abs=1e-5)


settings = st.fixed_dictionaries(
    {
        "temperature": st.sampled_from([0.3, 1.0, 2.5]),
        "top_k": st.sampled_from([0, 1, 3, 50]),
        "top_p": st.sampled_from([0.25, 0.8, 1.0]),
        "min_p": st.sampled_from([0.0, 0.05, 0.5]),
        "repetition_penalty": st.sampled_from([0.8, 1.0, 1.3]),
    }
)


@given(settings, st.integers(0, 2**32 - 1))
def test_it_is_what_transformers_does(setting: dict[str, Any], seed: int) -> None:
    torch = pytest.importorskip("torch")
    from transformers import generation as hf

    rng = np.random.default_rng(seed)
    logits, seen = rng.normal(scale=3, size=12), rng.integers(0, 12, size=4)
    rules: list[Any] = []
    if setting["repetition_penalty"] != 1:
        rules.append(hf.RepetitionPenaltyLogitsProcessor(setting["repetition_penalty"]))
    rules.append(hf.TemperatureLogitsWarper(setting["temperature"]))
    if setting["top_k"]:
        rules.append(hf.TopKLogitsWarper(setting["top_k"]))
    if setting["top_p"] < 1:
        rules.append(hf.TopPLogitsWarper(setting["top_p"]))
    if setting["min_p"]:
        rules.append(hf.MinPLogitsWarper(setting["min_p"]))
    ids, theirs = torch.tensor(seen)[None], torch.tensor(logits)[None]
    for rule in rules:
        theirs = rule(ids, theirs)
    expected = theirs.softmax(-1)[0].numpy()
    assert Sampler(**setting).probabilities(logits, seen.tolist()) == pytest.approx(expected, abs=1e-12)


def test_each_stage_is_told_and_adds_up() -> None:
    sampler = Sampler(temperature=1.5, top_k=4, top_p=0.95, min_p=0.01, repetition_penalty=1.2)
    stages = sampler.stages(HELLO, [1, 1, 3])
    assert [s.rule for s in stages] == ["logits", "repetition penalty", "temperature", "top-k", "top-p", "min-p"]
    assert stages[1].logits[[1, 3]] == pytest.approx([5.26 / 1.2, -3.1031 * 1.2])
    for before, after in pairwise(stages):
        assert after.probabilities.sum() == pytest.approx(1, abs=1e-12)
        assert after.removed == np.isneginf(after.logits).sum() - np.isneginf(before.logits).sum()
    assert [s.rule for s in Sampler().stages(HELLO, [1])] == ["logits"], "what changes nothing is no stage"
    assert isinstance(stages[0], Stage)


def test_ties_at_the_edge_of_top_k_stay() -> None:
    assert np.flatnonzero(Sampler(top_k=2).probabilities(np.array([1.0, 0.0, 1.0, 1.0]))).tolist() == [0, 2, 3]


@pytest.mark.parametrize(("temperature", "other"), [(0.6, 0.011), (0.7, 0.020), (1.2, 0.102), (1.5, 0.162)])
def test_drawn_tokens_have_their_odds(temperature: float, other: float) -> None:
    """CHECKLIST 203 and 204: the rate of anything but "world" in 20,000 seeded draws, within four standard errors."""
    p, rng = Sampler(temperature=temperature).probabilities(HELLO), np.random.default_rng(0)
    assert 1 - p[1] == pytest.approx(other, abs=6e-4)
    drawn = np.bincount([draw(p, rng) for _ in range(20_000)], minlength=5) / 20_000
    assert abs(drawn[1] - p[1]) < 4 * np.sqrt(p[1] * (1 - p[1]) / 20_000)  # 1 in 16,000 by chance; the seed is fixed


def test_what_was_ruled_out_is_never_drawn() -> None:
    p, rng = np.array([0.0, 0.3, 0.7, 0.0]), np.random.default_rng(1)
    assert {draw(p, rng) for _ in range(2000)} == {1, 2}


@pytest.mark.parametrize(
    ("act", "message"),
    [
        (lambda: Sampler(temperature=-1), "The temperature is 0 (the largest logit for certain) or more; got -1."),
        (lambda: Sampler(temperature=float("nan")), "got nan."),
        (lambda: Sampler(top_k=-1), "top-k keeps so many tokens, from 1; 0 keeps all; got -1."),
        (lambda: Sampler(top_p=0), "top-p is a share of probability, above 0 and at most 1; got 0."),
        (lambda: Sampler(min_p=2), "min-p is a share of the likeliest token's probability, 0 to 1; got 2."),
        (lambda: Sampler(repetition_penalty=0), "A repetition penalty is a number above 0 (1 for none); got 0."),
        (lambda: Sampler().stages(np.array([np.nan, 1])), "The logits hold NaN or infinity"),
        (lambda: Sampler().stages(np.array([])), "The logits are one number per token; got an array of shape (0,)."),
    ],
)
def test_what_cannot_be_done_is_said(act: Any, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        act()
    assert message in str(caught.value)
