"""Small random-weight language models of `transformers`: decoders and state-space models."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
import transformers as hf

from zoo.entry import Net, Room

CASES = room = Room()

hf.logging.set_verbosity_error()  # it would tell us that our vocabularies are too small to be true

IDS = torch.tensor([[3, 17, 8, 30, 2, 11]])
VOCAB = 40

# The names of the same four sizes differ from family to family.
LLAMA = {
    "vocab_size": VOCAB,
    "hidden_size": 16,
    "intermediate_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 4,
    "max_position_embeddings": 32,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
GPT2 = {
    "vocab_size": VOCAB,
    "n_embd": 16,
    "n_layer": 2,
    "n_head": 2,
    "n_positions": 32,
    "bos_token_id": 1,
    "eos_token_id": 2,
}


def next_token(out: Any) -> torch.Tensor:
    return F.cross_entropy(out.logits[0, :-1].float(), IDS[0, 1:])


def decoder(
    name: str, attention: str = "eager", dtype: torch.dtype = torch.float32, experts: str = "eager", **sizes: Any
) -> Net:
    """The causal language model `name` at these sizes, in eval mode; randomly initialised norms and biases too."""
    config = getattr(hf, f"{name}Config")(**sizes)
    config._experts_implementation = experts
    model = getattr(hf, f"{name}ForCausalLM")._from_config(config, attn_implementation=attention)
    return Net(stir(model).eval().to(dtype), (IDS,), loss=next_token)


def stir(model: torch.nn.Module) -> torch.nn.Module:
    """Move every parameter off its initial value: fresh biases are 0 and fresh norms 1, which hides mistakes."""
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.05)
    return model


def gpt2_like(attention: str, dtype: torch.dtype = torch.float32) -> Net:
    model = hf.GPT2LMHeadModel._from_config(hf.GPT2Config(**GPT2), attn_implementation=attention)
    return Net(stir(model).eval().to(dtype), (IDS,), loss=next_token)


@room("transformer decoder")
def gpt2() -> Net:
    return gpt2_like("eager")


@room("transformer decoder")
def gpt2_sdpa() -> Net:
    return gpt2_like("sdpa")


@room("transformer decoder")
def gpt2_float64() -> Net:
    return gpt2_like("eager", torch.float64)


@room("transformer decoder", grad=False)
def gpt2_bfloat16() -> Net:
    return gpt2_like("sdpa", torch.bfloat16)


@room("transformer decoder")
def gpt2_train() -> Net:
    """Dropout on: the masks are drawn while recording."""
    net = gpt2_like("eager")
    net.model.train()
    return net


@room("transformer decoder")
def gpt_neo() -> Net:
    sizes = {"vocab_size": VOCAB, "hidden_size": 16, "num_layers": 2, "num_heads": 2, "max_position_embeddings": 32}
    return decoder("GPTNeo", attention_types=[[["global", "local"], 1]], window_size=4, **sizes)


@room("transformer decoder")
def gpt_neox() -> Net:
    sizes = {"vocab_size": VOCAB, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}
    return decoder("GPTNeoX", intermediate_size=32, max_position_embeddings=32, **sizes)


@room("transformer decoder")
def gptj() -> Net:
    return decoder("GPTJ", rotary_dim=4, **GPT2)


@room("transformer decoder")
def gpt_bigcode() -> Net:
    """Multi-query attention: one key and value head for all."""
    return decoder("GPTBigCode", **GPT2)


@room("transformer decoder")
def llama() -> Net:
    return decoder("Llama", **LLAMA)


@room("transformer decoder")
def llama_sdpa() -> Net:
    return decoder("Llama", "sdpa", **LLAMA)


@room("transformer decoder", grad=False)
def llama_bfloat16() -> Net:
    return decoder("Llama", "sdpa", torch.bfloat16, **LLAMA)


@room("transformer decoder")
def mistral() -> Net:
    return decoder("Mistral", sliding_window=4, **LLAMA)


@room("mixture of experts")
def mixtral() -> Net:
    return decoder("Mixtral", num_local_experts=3, num_experts_per_tok=2, **LLAMA)


@room("mixture of experts", float64=False)
def mixtral_grouped() -> Net:
    """All experts in one grouped matrix product, a kernel that has no float64."""
    return decoder("Mixtral", experts="grouped_mm", num_local_experts=3, num_experts_per_tok=2, **LLAMA)


@room("mixture of experts")
def qwen2_moe() -> Net:
    sizes = {"moe_intermediate_size": 12, "shared_expert_intermediate_size": 12, "num_experts": 3}
    return decoder("Qwen2Moe", num_experts_per_tok=2, **sizes, **{k: v for k, v in LLAMA.items() if k != "head_dim"})


@room("transformer decoder")
def qwen2() -> Net:
    return decoder("Qwen2", **LLAMA)


@room("transformer decoder")
def qwen3() -> Net:
    return decoder("Qwen3", **LLAMA)


@room("transformer decoder")
def gemma() -> Net:
    return decoder("Gemma", **LLAMA)


@room("transformer decoder")
def gemma2() -> Net:
    return decoder("Gemma2", sliding_window=4, query_pre_attn_scalar=4, **LLAMA)


@room("transformer decoder")
def phi() -> Net:
    return decoder("Phi", **LLAMA)


@room("transformer decoder")
def phi3() -> Net:
    return decoder("Phi3", **LLAMA)


@room("transformer decoder")
def olmo() -> Net:
    return decoder("Olmo", **LLAMA)


@room("transformer decoder")
def olmo2() -> Net:
    return decoder("Olmo2", **LLAMA)


@room("transformer decoder")
def stablelm() -> Net:
    return decoder("StableLm", **LLAMA)


@room("transformer decoder")
def granite() -> Net:
    return decoder("Granite", embedding_multiplier=2.0, residual_multiplier=0.5, **LLAMA)


@room("transformer decoder")
def starcoder2() -> Net:
    return decoder("Starcoder2", **LLAMA)


@room("transformer decoder")
def opt() -> Net:
    sizes = {"vocab_size": VOCAB, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "ffn_dim": 24}
    return decoder("OPT", max_position_embeddings=32, word_embed_proj_dim=16, pad_token_id=0, **sizes)


@room("transformer decoder")
def bloom() -> Net:
    return decoder("Bloom", vocab_size=VOCAB, hidden_size=16, n_layer=2, n_head=2)


@room("transformer decoder")
def falcon() -> Net:
    return decoder("Falcon", vocab_size=VOCAB, hidden_size=16, num_hidden_layers=2, num_attention_heads=2, alibi=False)


@room("transformer decoder")
def mpt() -> Net:
    return decoder("Mpt", vocab_size=VOCAB, d_model=16, n_layers=2, n_heads=2, max_seq_len=32)


@room("state space")
def mamba() -> Net:
    sizes = {"vocab_size": VOCAB, "hidden_size": 16, "state_size": 4, "num_hidden_layers": 2, "time_step_rank": 3}
    return decoder("Mamba", pad_token_id=0, bos_token_id=1, eos_token_id=2, **sizes)


@room("state space")
def mamba2() -> Net:
    sizes = {"vocab_size": VOCAB, "hidden_size": 16, "state_size": 4, "num_hidden_layers": 2, "num_heads": 4}
    return decoder(
        "Mamba2", head_dim=8, n_groups=2, chunk_size=4, pad_token_id=0, bos_token_id=1, eos_token_id=2, **sizes
    )


@room("recurrent", grad=False)
def rwkv() -> Net:
    """Under no_grad: in eval mode its state is written in place, which autograd would refuse."""
    return decoder("Rwkv", vocab_size=VOCAB, hidden_size=16, num_hidden_layers=2, attention_hidden_size=16)


@room("recurrent")
def recurrent_gemma() -> Net:
    sizes = {k: v for k, v in LLAMA.items() if k not in ("head_dim", "max_position_embeddings")}
    return decoder(
        "RecurrentGemma", attention_window_size=8, lru_width=16, block_types=["recurrent", "attention"], **sizes
    )
