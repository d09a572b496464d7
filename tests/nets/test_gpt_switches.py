"""Every switch of the GPT against a slow telling of the same net, one token and one head at a time."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import weightwalk as ww
from weightwalk.errors import UsageError
from weightwalk.learning.seeds import seeded
from weightwalk.nets.gpt import CHOICES, GPT, GPTConfig
from weightwalk.nets.gpt_parts import alibi, sinusoids, slopes

BASE = GPTConfig(vocab_size=13, n_positions=12, n_embd=12, n_layer=2, n_head=3, n_inner=20)
SWITCHES: list[dict[str, Any]] = [
    {},
    *({name: choice} for name, choices in CHOICES.items() for choice in choices),
    *({name: False} for name in ("residual", "scale", "tied", "bias", "causal")),
    {"norm": "rms", "norm_at": "post", "position": "rotary", "activation": "swiglu", "bias": False},
    {"norm_at": "none", "position": "alibi", "causal": False, "tied": False},
]
IDS = torch.tensor([[3, 1, 4, 1, 5, 9, 2], [6, 5, 3, 5, 8, 9, 7]])


def net(**switches: Any) -> GPT:
    """A net in float64 with weights large enough that nothing is nearly linear."""
    with seeded(0):
        made = GPT(replace(BASE, **switches)).double().eval()
        with torch.no_grad():
            for p in made.parameters():
                p.normal_(std=0.5)
    return made


def slowly(model: GPT, ids: list[int]) -> np.ndarray:
    """Logits of one text, with loops over tokens, heads and layers; nothing is shared with the net but its weights."""
    c, w = model.config, {n: p.detach().numpy() for n, p in model.named_parameters()}
    width = c.n_embd // c.n_head

    def linear(name: str, x: np.ndarray) -> np.ndarray:
        return x @ w[f"{name}.weight"] + w.get(f"{name}.bias", 0.0)

    def norm(name: str, x: np.ndarray) -> np.ndarray:
        if c.norm == "rms":
            return x / math.sqrt((x**2).mean() + c.layer_norm_epsilon) * w[f"{name}.weight"]
        spread = math.sqrt(((x - x.mean()) ** 2).mean() + c.layer_norm_epsilon)
        return (x - x.mean()) / spread * w[f"{name}.weight"] + w.get(f"{name}.bias", 0.0)

    def act(x: np.ndarray) -> np.ndarray:
        if c.activation == "relu":
            return np.maximum(x, 0)
        if c.activation == "gelu":
            return np.array([v * 0.5 * (1 + math.erf(v / math.sqrt(2))) for v in x])
        return np.array([0.5 * v * (1 + math.tanh(math.sqrt(2 / math.pi) * (v + 0.044715 * v**3))) for v in x])

    def turn(x: np.ndarray, place: int) -> np.ndarray:
        out = x.copy()
        for i in range(width // 2):
            angle = place / 10000 ** (2 * i / width)
            a, b = x[i], x[i + width // 2]
            out[i] = a * math.cos(angle) - b * math.sin(angle)
            out[i + width // 2] = a * math.sin(angle) + b * math.cos(angle)
        return out

    def attention(layer: int, xs: list[np.ndarray]) -> list[np.ndarray]:
        name = f"transformer.h.{layer}.attn"
        parts = [np.split(linear(f"{name}.c_attn", x), 3) for x in xs]
        outs = []
        for t in range(len(xs)):
            heads = []
            for h in range(c.n_head):
                rows = slice(h * width, (h + 1) * width)
                scores = {}
                for s in range(len(xs) if not c.causal else t + 1):
                    q, k = parts[t][0][rows], parts[s][1][rows]
                    if c.position == "rotary":
                        q, k = turn(q, t), turn(k, s)
                    scores[s] = float(q @ k) / (math.sqrt(width) if c.scale else 1)
                    if c.position == "alibi":
                        scores[s] -= slopes(c.n_head)[h] * abs(t - s)
                top = max(scores.values())
                total = sum(math.exp(v - top) for v in scores.values())
                heads.append(sum(math.exp(v - top) / total * parts[s][2][rows] for s, v in scores.items()))
            outs.append(linear(f"{name}.c_proj", np.concatenate(heads)))
        return outs

    def mlp(layer: int, x: np.ndarray) -> np.ndarray:
        name = f"transformer.h.{layer}.mlp"
        if c.activation == "swiglu":
            gate = linear(f"{name}.gate", x)
            return linear(f"{name}.c_proj", gate / (1 + np.exp(-gate)) * linear(f"{name}.c_fc", x))
        return linear(f"{name}.c_proj", act(linear(f"{name}.c_fc", x)))

    xs = [w["transformer.wte.weight"][i].copy() for i in ids]
    for place, x in enumerate(xs):
        if c.position == "learned":
            x += w["transformer.wpe.weight"][place]
        if c.position == "sinusoidal":
            for i in range(c.n_embd):
                angle = place / 10000 ** (2 * (i // 2) / c.n_embd)
                x[i] += math.sin(angle) if i % 2 == 0 else math.cos(angle)
    for layer in range(c.n_layer):
        ln = [f"transformer.h.{layer}.ln_{i}" for i in (1, 2)]
        read = [norm(ln[0], x) for x in xs] if c.norm_at == "pre" else xs
        xs = [x * c.residual + y for x, y in zip(xs, attention(layer, read), strict=True)]
        xs = [norm(ln[0], x) for x in xs] if c.norm_at == "post" else xs
        read = [norm(ln[1], x) for x in xs] if c.norm_at == "pre" else xs
        xs = [x * c.residual + mlp(layer, y) for x, y in zip(xs, read, strict=True)]
        xs = [norm(ln[1], x) for x in xs] if c.norm_at == "post" else xs
    if c.norm_at == "pre":
        xs = [norm("transformer.ln_f", x) for x in xs]
    head = w["transformer.wte.weight" if c.tied else "lm_head.weight"]
    return np.array([head @ x for x in xs])


def name_of(switches: dict[str, Any]) -> str:
    return ",".join(f"{k}={v}" for k, v in switches.items()) or "gpt2"


@pytest.mark.parametrize("switches", SWITCHES, ids=name_of)
def test_logits_are_those_of_the_slow_telling(switches: dict[str, Any]) -> None:
    model = net(**switches)
    with torch.no_grad():
        logits = model(IDS).numpy()
    for row, ids in zip(logits, IDS.tolist(), strict=True):
        assert row == pytest.approx(slowly(model, ids), rel=1e-9, abs=1e-9)


@pytest.mark.parametrize("switches", SWITCHES, ids=name_of)
def test_the_fused_kernel_says_the_same(switches: dict[str, Any]) -> None:
    with torch.no_grad():
        torch.testing.assert_close(net(**switches, fused=True)(IDS), net(**switches)(IDS), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("fused", [False, True])
@pytest.mark.parametrize("switches", [s for s in SWITCHES if s.get("causal", True)], ids=name_of)
@pytest.mark.parametrize("parts", [[1] * 7, [3, 1, 3], [7]], ids=str)
def test_with_a_cache_it_says_the_same(switches: dict[str, Any], parts: list[int], fused: bool) -> None:
    model = net(**switches, fused=fused)
    cache = model.cache(batch=2)
    with torch.no_grad():
        bits = [model(ids, cache) for ids in IDS.split(parts, dim=1)]
        torch.testing.assert_close(torch.cat(bits, dim=1), model(IDS), rtol=1e-10, atol=1e-10)
    assert cache.length == 7


@pytest.mark.parametrize("switches", SWITCHES, ids=name_of)
def test_every_switch_can_be_walked_and_verified(switches: dict[str, Any]) -> None:
    report = ww.walk(net(**switches).float(), IDS[:1]).verify()
    assert report.ok and not report.unproven, report


def test_only_a_causal_net_is_blind_to_what_comes() -> None:
    other = IDS.clone()
    other[:, 5] = 0
    for causal in (True, False):
        with torch.no_grad():
            one, two = net(causal=causal)(IDS), net(causal=causal)(other)
        assert torch.equal(one[:, :5], two[:, :5]) == causal


def test_without_positions_and_mask_order_is_lost() -> None:
    """CHECKLIST 106: permuted tokens give permuted outputs; a causal mask alone tells the order."""
    mixed = [4, 2, 6, 0, 5, 1, 3]
    with torch.no_grad():
        for causal in (False, True):
            model = net(position="none", causal=causal)
            same = torch.allclose(model(IDS)[:, mixed], model(IDS[:, mixed]), atol=1e-9)
            assert same != causal


def test_rotary_scores_depend_on_distance_alone() -> None:
    model = net(position="rotary")
    first = torch.zeros(1, 5, dtype=torch.long)  # the same token at every place: scores differ by place only
    walk = ww.walk(model, first)
    scores = torch.tensor(walk["transformer.h.0.attn/div#2"].numpy())[0]
    for head in scores:
        for t, s in itertools.product(range(4), range(4)):
            assert float(head[t, s]) == pytest.approx(float(head[t + 1, s + 1]), abs=1e-12)
    assert not torch.allclose(scores[:, 0, 1], scores[:, 0, 2])


def test_a_shift_of_sinusoids_is_one_rotation() -> None:
    """CHECKLIST 107: PE(p + k) = R(k) PE(p), the same R for every p, to 1e-12."""
    code, k, width = sinusoids(0, 40, 16, torch.zeros(1, dtype=torch.float64)), 7, 16
    turn = torch.zeros(width, width, dtype=torch.float64)
    for i in range(0, width, 2):
        a = k / 10000 ** (i / width)
        block = [[math.cos(a), math.sin(a)], [-math.sin(a), math.cos(a)]]
        turn[i : i + 2, i : i + 2] = torch.tensor(block, dtype=torch.float64)
    assert torch.allclose(code[k:], code[:-k] @ turn.T, rtol=0, atol=1e-12)


def test_alibi_is_the_published_example() -> None:
    """Press et al. 2022: eight heads have slopes 1/2, 1/4, ... 1/256."""
    assert slopes(8) == [2.0**-i for i in range(1, 9)]
    assert alibi(0, 3, 8, torch.zeros(1))[1].tolist() == [[0, -0.25, -0.5], [-0.25, 0, -0.25], [-0.5, -0.25, 0]]


def test_parameters_are_counted_by_the_switches() -> None:
    def count(**switches: Any) -> int:
        return sum(p.numel() for p in GPT(replace(BASE, **switches)).parameters())

    c, v, t, layers, inner = 12, 13, 12, 2, 20
    norms = (2 * layers + 1) * 2 * c
    blocks = layers * (3 * c * c + 3 * c + c * c + c + c * inner + inner + inner * c + c)
    assert count() == v * c + t * c + blocks + norms
    assert count(position="none") == count(position="rotary") == count(position="alibi") == count() - t * c
    assert count(tied=False) == count() + v * c
    assert count(norm="rms") == count() - norms // 2
    assert count(norm_at="none") == count() - norms
    assert count(norm_at="post") == count() - 2 * c
    assert count(bias=False) == count() - layers * (3 * c + c + inner + c) - norms // 2
    assert count(activation="swiglu") == count() + layers * (c * inner + inner)


@pytest.mark.parametrize(
    ("act", "message"),
    [
        (lambda: replace(BASE, position="sine"), "There is no position='sine'; there are learned, sinusoidal, rotary"),
        (lambda: replace(BASE, norm="batch"), "There is no norm='batch'; there are layer, rms"),
        (lambda: replace(BASE, n_head=4, position="rotary"), "a head of width 3 cannot be divided into pairs"),
        (lambda: replace(BASE, n_positions=0), "A GPT's sizes are whole numbers above 0"),
        (lambda: net()(torch.zeros(1, 13, dtype=torch.long)), "has 13 tokens, and this net has positions for 12"),
        (lambda: net(causal=False)(IDS, net().cache(2)), "A net that sees what comes later has no use for a cache"),
    ],
)
def test_what_cannot_be_done_is_said(act: Any, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        act()
    assert message in str(caught.value)


def test_an_identity_block_is_an_identity() -> None:
    """CHECKLIST 111: with parts that write zeros, the residual stream passes unchanged; post-norm rows have mean 0."""
    model = net()
    with torch.no_grad():
        for block in model.transformer.h:
            for part in (block.attn.c_proj, block.mlp.c_proj):  # type: ignore[union-attr]
                nn.init.zeros_(part.weight)
                nn.init.zeros_(part.bias)
        stream: Tensor = torch.randn(1, 4, 12, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
        assert torch.equal(model.transformer.h[0](stream), stream)
        post = net(norm_at="post").transformer.h[0]
        nn.init.ones_(post.ln_2.weight)  # type: ignore[union-attr, arg-type]
        nn.init.zeros_(post.ln_2.bias)  # type: ignore[union-attr, arg-type]
        rows = post(stream)
    assert rows.mean(-1).abs().max() < 1e-12
    assert (rows.var(-1, unbiased=False) - 1).abs().max() < 1e-4
