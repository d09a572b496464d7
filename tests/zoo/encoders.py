"""Small random-weight models of `transformers`: text encoders, and encoder–decoders."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
import transformers as hf

from zoo.decoders import VOCAB, stir
from zoo.entry import Net, Room

CASES = room = Room()

IDS = torch.tensor([[3, 17, 8, 30, 2, 11], [4, 9, 25, 2, 0, 0]])
MASK = torch.tensor([[1, 1, 1, 1, 1, 1], [1, 1, 1, 1, 0, 0]])
BERT = {
    "vocab_size": VOCAB,
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 24,
    "max_position_embeddings": 40,
    "pad_token_id": 0,
}


def masked(out: Any) -> torch.Tensor:
    return F.cross_entropy(out.logits.flatten(0, 1), IDS.flatten())


def encoder(name: str, kind: str = "ForMaskedLM", attention: str = "eager", **sizes: Any) -> Net:
    config = getattr(hf, f"{name}Config")(**sizes)
    model = getattr(hf, f"{name}{kind}")._from_config(config, attn_implementation=attention)
    return Net(stir(model).eval(), (IDS,), {"attention_mask": MASK}, masked if kind == "ForMaskedLM" else None)


@room("transformer encoder")
def bert() -> Net:
    return encoder("Bert", **BERT)


@room("transformer encoder")
def bert_sdpa() -> Net:
    return encoder("Bert", attention="sdpa", **BERT)


@room("transformer encoder")
def bert_classifier() -> Net:
    net = encoder("Bert", "ForSequenceClassification", **BERT)
    net.loss = lambda out: F.cross_entropy(out.logits, torch.tensor([0, 1]))
    return net


@room("transformer encoder")
def roberta() -> Net:
    return encoder("Roberta", **BERT)


@room("transformer encoder")
def distilbert() -> Net:
    return encoder(
        "DistilBert", vocab_size=VOCAB, dim=16, n_layers=2, n_heads=2, hidden_dim=24, max_position_embeddings=40
    )


@room("transformer encoder")
def albert() -> Net:
    """One layer's parameters, used by all layers."""
    return encoder("Albert", embedding_size=8, **BERT)


@room("transformer encoder")
def electra() -> Net:
    return encoder("Electra", embedding_size=8, **BERT)


@room("transformer encoder")
def deberta() -> Net:
    return encoder("Deberta", relative_attention=True, pos_att_type=["c2p", "p2c"], **BERT)


@room("transformer encoder")
def deberta_v2() -> Net:
    sizes = {
        "relative_attention": True,
        "pos_att_type": ["c2p", "p2c"],
        "position_buckets": 8,
        "norm_rel_ebd": "layer_norm",
    }
    return encoder("DebertaV2", share_att_key=True, **sizes, **BERT)


@room("transformer encoder")
def mpnet() -> Net:
    return encoder("MPNet", **BERT)


@room("transformer encoder")
def modernbert() -> Net:
    return encoder("ModernBert", global_attn_every_n_layers=2, local_attention=4, **BERT)


@room("transformer encoder")
def xlnet() -> Net:
    return encoder("XLNet", "LMHeadModel", vocab_size=VOCAB, d_model=16, n_layer=2, n_head=2, d_inner=24)


@room("transformer encoder")
def longformer() -> Net:
    return encoder("Longformer", attention_window=[4, 4], **BERT)


@room("transformer encoder")
def squeezebert() -> Net:
    return encoder(
        "SqueezeBert", embedding_size=16, q_groups=1, k_groups=1, v_groups=1, post_attention_groups=1, **BERT
    )


@room("Fourier encoder")
def fnet() -> Net:
    net = encoder("FNet", type_vocab_size=2, **{k: v for k, v in BERT.items() if k != "num_attention_heads"})
    net.kwargs = {}
    return net


def encoder_decoder(name: str, **sizes: Any) -> Net:
    config = getattr(hf, f"{name}Config")(**sizes)
    kind = "MTModel" if name == "Marian" else "ForConditionalGeneration"
    model = getattr(hf, f"{name}{kind}")._from_config(config, attn_implementation="eager")
    targets = torch.tensor([[1, 7, 12, 5], [1, 30, 2, 0]])
    kwargs = {"attention_mask": MASK, "decoder_input_ids": targets}
    return Net(
        stir(model).eval(), (IDS,), kwargs, lambda out: F.cross_entropy(out.logits.flatten(0, 1), targets.flatten())
    )


@room("encoder–decoder")
def t5() -> Net:
    sizes = {"vocab_size": VOCAB, "d_model": 16, "d_kv": 8, "d_ff": 24, "num_layers": 2, "num_heads": 2}
    return encoder_decoder("T5", feed_forward_proj="gated-gelu", pad_token_id=0, decoder_start_token_id=0, **sizes)


BART = {
    "vocab_size": VOCAB,
    "d_model": 16,
    "encoder_layers": 1,
    "decoder_layers": 1,
    "encoder_attention_heads": 2,
    "decoder_attention_heads": 2,
    "encoder_ffn_dim": 24,
    "decoder_ffn_dim": 24,
    "max_position_embeddings": 32,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "decoder_start_token_id": 1,
    "forced_eos_token_id": None,
}


@room("encoder–decoder")
def bart() -> Net:
    return encoder_decoder("Bart", **BART)


@room("encoder–decoder")
def pegasus() -> Net:
    return encoder_decoder("Pegasus", **BART)


@room("encoder–decoder")
def marian() -> Net:
    return encoder_decoder("Marian", **BART)
