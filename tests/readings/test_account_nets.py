"""Accounts of whole networks: every net of the zoo closes, and the parts of a residual stream are what they claim."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from zoo import ZOO
from zoo.measure import largest, record, record_float64

import weightwalk as ww
from weightwalk.readings.account import Account
from weightwalk.walks.walk import Walk


def walk_of(name: str, double: bool = True) -> Walk:
    return record_float64(ZOO[name]) if double else record(ZOO[name], train=False)


def check(a: Account, double: bool = True) -> None:
    assert math.fsum([*(r.value for r in a.rows), a.remainder, *a.tail]) == a.number
    assert abs(a.remainder) <= a.bound or a.remainder == 0
    assert all(r.amount <= r.bound for r in a.residuals)
    if double:
        assert a.relative_residual < 1e-12
        assert abs(a.remainder) < 1e-12 * a.sum_abs or a.remainder == 0
        assert a.worst is None or a.worst.relative < 1e-12


@pytest.mark.parametrize("name", [n for n, case in ZOO.items() if case.float64])
def test_every_net_of_the_zoo_closes_in_float64(name: str) -> None:
    walk = walk_of(name)
    for cut in ("inputs", "heads+neurons"):
        a = walk.account(largest(walk), cut=cut)
        check(a)
        assert not a.opaque
        assert any(r.kind == "cut" and r.value for r in a.rows)


KERNELS = [
    "cnn_eval",
    "lstm_inference",
    "gpt2_sdpa",
    "llama",
    "llama_bfloat16",
    "bert",
    "t5",
    "vit",
    "encoder_fast_path",
]


@pytest.mark.parametrize("name", [*KERNELS, "mixtral", *(n for n, case in ZOO.items() if not case.float64)])
def test_in_its_own_precision_rounding_explains_the_remainder(name: str) -> None:
    walk = walk_of(name, double=False)
    for cut in ("tokens", "parameters"):
        a = walk.account(largest(walk), cut=cut)
        check(a, double=False)
        assert not a.opaque


def test_what_cannot_be_seen_is_named() -> None:
    """Nested tensors are recorded without numbers: there the account ends, says so, and closes all the same."""
    a = (walk := walk_of("encoder_padding_mask", double=False)).account(largest(walk), cut="inputs")
    check(a, double=False)
    assert [r.label.split(":")[0] for r in a.opaque] == ["numbers not kept"]


# The residual stream ------------------------------------------------------------------------------------------------


STREAMS = dict.fromkeys("gpt2 gpt2_sdpa llama bert vit gpt_neox opt bloom gemma2".split(), 4) | {"t5": 6}  # noqa: SIM905
"""Net: how many modules write into the stream that ends at its output."""


@pytest.mark.parametrize("name", STREAMS)
def test_writes_heads_and_neurons_are_found_from_the_data_flow(name: str) -> None:
    config: Any = ZOO[name].build().model.config
    walk = walk_of(name)
    target = largest(walk)
    modules = walk.account(target, cut="modules")
    writes = [r for r in modules.rows if r.kind == "cut"]
    assert len(writes) == STREAMS[name] + 1  # and the embedding
    assert not modules.notes
    cuts = {cut: walk.account(target, cut=cut) for cut in ("heads", "neurons", "heads+neurons")}
    heads = {cut: [r for r in a.rows if " head " in r.label] for cut, a in cuts.items()}
    neurons = {cut: [r for r in a.rows if " neuron " in r.label] for cut, a in cuts.items()}
    attentions = STREAMS[name] * 2 // 3 if name == "t5" else STREAMS[name] // 2
    assert len(heads["heads"]) == len(heads["heads+neurons"]) == attentions * config.num_attention_heads
    assert len(neurons["neurons"]) == len(neurons["heads+neurons"]) > 0
    assert not heads["neurons"]
    assert not neurons["heads"]
    # the heads, with the biases of the output projections, are what the attentions write
    known = {r.address for r in modules.rows}
    inside = [r.value for r in cuts["heads"].rows if r.address not in known]
    kept = {r.address for r in cuts["heads"].rows}
    attention = [r.value for r in writes if r.address not in kept]
    assert len(attention) == attentions
    assert math.fsum(inside) == pytest.approx(math.fsum(attention), rel=1e-6, abs=1e-12)


def gpt() -> tuple[Walk, nn.Module, torch.Tensor]:
    from transformers import GPT2Config, GPT2LMHeadModel

    torch.manual_seed(3)
    config = GPT2Config(vocab_size=11, n_positions=8, n_embd=12, n_layer=2, n_head=3, bos_token_id=0, eos_token_id=0)
    config._attn_implementation = "eager"
    model = GPT2LMHeadModel(config).eval().double()
    for p in model.parameters():
        nn.init.normal_(p, std=0.3)
    ids = torch.tensor([[3, 1, 4, 1, 5]])
    with torch.no_grad():
        return ww.walk(model, input_ids=ids, use_cache=False), model, ids


def test_a_logit_by_modules_is_direct_logit_attribution() -> None:
    """The oracle: each write, centred and scaled by the last norm's own deviation, times the unembedding."""
    walk, model, _ = gpt()
    h = walk.values[walk.names["transformer.ln_f.in"]].numpy()[0, -1]
    weight = model.get_parameter("transformer.ln_f.weight").detach().numpy()
    out = model.get_parameter("lm_head.weight").detach().numpy()[7]
    r = 1 / np.sqrt(h.var() + 1e-5)
    a = walk.account("logits[-1, 7]", cut="modules")
    found = {row.address: row.value for row in a.rows}
    for name in ("wte", "wpe", "h.0.attn", "h.0.mlp", "h.1.attn", "h.1.mlp"):
        address = f"transformer.{name}"
        key = next(k for k in found if k.startswith(address))
        x = walk[key].numpy()[0, -1]
        assert found.pop(key) == pytest.approx(((x - x.mean()) * r * weight * out).sum(), abs=1e-12)
    bias = model.get_parameter("transformer.ln_f.bias").detach().numpy()
    assert found == {"transformer.ln_f.bias": pytest.approx((bias * out).sum())}


def test_heads_and_neurons_by_their_own_weights() -> None:
    """A head is its slice of the output projection, a neuron its row of the second feed-forward matrix."""
    walk, model, _ = gpt()
    target = "transformer.h.1[-1, 2]"  # a number of the stream itself: no norm in between
    a = walk.account(target, cut="heads+neurons")
    found = {row.label: row.value for row in a.rows}
    mixed_heads = walk["transformer.h.1.attn.c_proj.in"].numpy()[0, -1]
    projection = model.get_parameter("transformer.h.1.attn.c_proj.weight").detach().numpy()[:, 2]
    for head in range(3):
        part = slice(head * 4, head * 4 + 4)
        expected = mixed_heads[part] @ projection[part]
        label = next(k for k in found if k.startswith("transformer.h.1.attn") and k.endswith(f"head {head}"))
        assert found[label] == pytest.approx(expected, abs=1e-13)
    hidden = walk["transformer.h.1.mlp.c_proj.in"].numpy()[0, -1]
    second = model.get_parameter("transformer.h.1.mlp.c_proj.weight").detach().numpy()[:, 2]
    for i in (0, 17, 47):
        label = next(k for k in found if k.startswith("transformer.h.1.mlp") and k.endswith(f"neuron {i}"))
        assert found[label] == pytest.approx(hidden[i] * second[i], abs=1e-13)
    assert found["transformer.h.1.mlp.c_proj.bias"] == pytest.approx(
        model.get_parameter("transformer.h.1.mlp.c_proj.bias")[2].item()
    )


def test_tokens_add_up_and_later_ones_contribute_nothing() -> None:
    walk, _, _ = gpt()
    a = walk.account("logits[0, 2, 7]", cut="tokens")
    rows = sorted((r for r in a.rows if r.kind == "cut"), key=lambda r: r.address)
    assert [r.label for r in rows] == ["0 (token 3)", "1 (token 1)", "2 (token 4)", "3 (token 1)", "4 (token 5)"]
    assert [r.value for r in rows[3:]] == [0.0, 0.0]
    assert all(rows[i].value for i in range(3))
    walk.labels = {"tokens": ["a", "b", "c", "d", "e"]}
    labelled = walk.account("logits[0, 2, 7]", cut="tokens")
    assert {r.label for r in labelled.rows if r.kind == "cut"} == {f"{i} {c!r}" for i, c in enumerate("abcde")}


def test_cuts_can_be_joined() -> None:
    walk, _, _ = gpt()
    a = walk.account("transformer.h.1[-1, 2]", cut=["transformer.h.1.attn", "tokens"])
    check(a)
    kinds = {r.address.split("[")[0] for r in a.rows if r.kind == "cut"}
    assert kinds == {"transformer.h.1.attn", "transformer.wte"}
    assert len([r for r in a.rows if r.kind == "cut"]) == 1 + 5


def test_an_attention_score_and_a_probability_are_numbers_like_any_other() -> None:
    walk, _, _ = gpt()
    softmax = next(s for s in walk.steps if s.name == "softmax")
    for address in (f"{softmax.address}[0, 1, 3, 2]", f"{walk.values[softmax.args[0].value].address}[0, 1, 3, 2]"):
        for split in ("even", "left", "right"):
            a = walk.account(address, cut="tokens", split=split)
            check(a)
            assert not a.opaque
    loss = ww.walk(lambda x: torch.nn.functional.cross_entropy(x @ x.T, torch.arange(3)), torch.randn(3, 4).double())
    check(loss.account(loss.steps[-1].address, cut="inputs"))


@pytest.mark.parametrize("name", ["gpt2", "gpt2_sdpa", "bert", "bloom", "cnn_eval", "swiglu", "attention_by_hand"])
def test_the_address_of_a_row_names_the_numbers_that_made_it(name: str) -> None:
    """Each row of a cut is its cotangent times the numbers at its address."""
    walk = walk_of(name)
    for cut in ("inputs", "tokens", "modules", "heads+neurons"):
        a = walk.account(largest(walk), cut=cut)
        for row in (r for r in a.rows if r.kind == "cut"):
            (term,) = walk.select(row.address).terms
            base = next(k for k in a.cotangents if row.address == k or row.address.startswith(f"{k}["))
            product = a.cotangents[base] * walk.select(base).numpy()
            assert row.value == pytest.approx(product[term.index].sum(), rel=1e-9, abs=1e-15), row.address
