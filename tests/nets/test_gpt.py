"""The readable GPT is GPT-2: its names, its sizes, its numbers."""

from __future__ import annotations

import pytest
import torch

from weightwalk.errors import UsageError
from weightwalk.learning.seeds import seeded
from weightwalk.nets.gpt import GPT, GPTConfig

TINY = GPTConfig(vocab_size=50, n_positions=16, n_embd=24, n_layer=3, n_head=4)


@pytest.fixture(scope="module")
def tiny() -> GPT:
    with seeded(0):
        return GPT(TINY).eval()


def test_it_agrees_with_transformers_given_the_same_weights(tiny: GPT) -> None:
    transformers = pytest.importorskip("transformers")
    sizes = {"vocab_size": 50, "n_positions": 16, "n_embd": 24, "n_layer": 3, "n_head": 4}
    theirs = transformers.GPT2LMHeadModel(transformers.GPT2Config(**sizes, bos_token_id=0, eos_token_id=0)).eval()
    with seeded(1), torch.no_grad():
        for p in theirs.parameters():  # large enough that attention and GELU are far from linear
            p.normal_(std=0.4)
    mine = GPT(TINY).eval()
    mine.load_state_dict(theirs.state_dict())
    ids = torch.randint(0, 50, (2, 16))
    with torch.no_grad():
        torch.testing.assert_close(mine.double()(ids), theirs.double()(ids).logits, rtol=0, atol=1e-12)


def test_state_dict_has_gpt2s_names(tiny: GPT) -> None:
    names = set(tiny.state_dict())
    assert {"transformer.wte.weight", "transformer.wpe.weight", "transformer.ln_f.bias", "lm_head.weight"} <= names
    assert {f"transformer.h.2.{part}.weight" for part in ("ln_1", "attn.c_attn", "attn.c_proj", "mlp.c_fc")} <= names


def test_small_has_124_439_808_parameters() -> None:
    with torch.device("meta"):
        small = GPT(GPTConfig.small())
    assert sum(p.numel() for p in small.parameters()) == 124_439_808


def test_no_token_sees_the_future(tiny: GPT) -> None:
    ids = torch.randint(0, 50, (1, 10))
    other = ids.clone()
    other[0, 6:] = (ids[0, 6:] + 1) % 50
    with torch.no_grad():
        one, two = tiny(ids)[0], tiny(other)[0]
    assert torch.equal(one[:6], two[:6])
    assert not torch.equal(one[6:], two[6:])


def test_positions_matter(tiny: GPT) -> None:
    with torch.no_grad():
        out = tiny(torch.tensor([[7, 7]]))[0]
    assert not torch.equal(out[0], out[1])


def test_width_and_length_are_two_settings() -> None:
    longer = GPT(GPTConfig(vocab_size=50, n_positions=99, n_embd=24, n_layer=3, n_head=4))
    differ = {n for n, p in longer.state_dict().items() if p.shape != GPT(TINY).state_dict()[n].shape}
    assert differ == {"transformer.wpe.weight"}


def test_head_and_embedding_are_one_tensor(tiny: GPT) -> None:
    assert tiny.lm_head.weight is tiny.transformer.wte.weight


def test_initial_weights_are_gpt2s() -> None:
    with seeded(0):
        net = GPT(GPTConfig(vocab_size=500, n_embd=256, n_layer=2))
    std = {n: p.std().item() for n, p in net.named_parameters() if p.dim() == 2}
    assert std["transformer.wte.weight"] == pytest.approx(0.02, rel=0.02)
    assert std["transformer.h.0.attn.c_attn.weight"] == pytest.approx(0.02, rel=0.02)
    assert std["transformer.h.0.mlp.c_proj.weight"] == pytest.approx(0.01, rel=0.02)  # 0.02 / sqrt(2 * 2)


def test_refusals(tiny: GPT) -> None:
    with pytest.raises(UsageError, match="The text has 17 tokens, and this net has positions for 16: shorten the text"):
        tiny(torch.zeros(1, 17, dtype=torch.int64))
    with pytest.raises(UsageError, match="The width 10 cannot be shared out evenly among 4 heads"):
        GPTConfig(vocab_size=5, n_embd=10, n_head=4)
