"""Small random-weight models of `transformers` that see or hear."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
import transformers as hf

from zoo.decoders import VOCAB, stir
from zoo.entry import Net, Room

CASES = room = Room()

VIT = {
    "image_size": 16,
    "patch_size": 8,
    "num_channels": 3,
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 24,
}


def classify(out: Any) -> torch.Tensor:
    return F.cross_entropy(out.logits, torch.tensor([1]))


def vision(name: str, attention: str | None = "eager", size: int = 16, **sizes: Any) -> Net:
    config = getattr(hf, f"{name}Config")(num_labels=3, **sizes)
    extra = {} if attention is None else {"attn_implementation": attention}
    model = getattr(hf, f"{name}ForImageClassification")._from_config(config, **extra)
    return Net(stir(model).eval(), (torch.randn(1, 3, size, size),), loss=classify)


@room("vision transformer")
def vit() -> Net:
    return vision("ViT", **VIT)


@room("vision transformer")
def vit_sdpa() -> Net:
    return vision("ViT", "sdpa", **VIT)


@room("vision transformer")
def deit() -> Net:
    return vision("DeiT", **VIT)


@room("vision transformer")
def dinov2() -> Net:
    return vision("Dinov2", **{k: v for k, v in VIT.items() if k != "intermediate_size"}, mlp_ratio=2)


@room("vision transformer")
def swin() -> Net:
    sizes = {"image_size": 16, "patch_size": 2, "embed_dim": 8, "depths": [2, 1], "num_heads": [2, 2], "window_size": 4}
    return vision("Swin", **sizes)


@room("vision transformer")
def segformer() -> Net:
    sizes = {"depths": [1, 1], "hidden_sizes": [8, 16], "num_attention_heads": [1, 2], "sr_ratios": [4, 2]}
    rest = {"patch_sizes": [3, 3], "strides": [2, 2], "mlp_ratios": [2, 2], "decoder_hidden_size": 8}
    return vision("Segformer", None, num_encoder_blocks=2, **sizes, **rest)


@room("cnn")
def convnext() -> Net:
    return vision("ConvNext", None, patch_size=2, hidden_sizes=[6, 8], depths=[1, 1], num_stages=2)


@room("cnn")
def resnet_hf() -> Net:
    sizes = {"embedding_size": 6, "hidden_sizes": [6, 8], "depths": [1, 1], "layer_type": "basic"}
    return vision("ResNet", None, **sizes)


@room("cnn")
def mobilenet_v2() -> Net:
    return vision("MobileNetV2", None, 32, depth_multiplier=0.1, image_size=32, min_depth=4, depth_divisible_by=2)


@room("vision and language")
def clip() -> Net:
    text = {
        "vocab_size": VOCAB,
        "hidden_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "intermediate_size": 24,
        "max_position_embeddings": 16,
        "eos_token_id": 2,
        "bos_token_id": 1,
        "pad_token_id": 0,
    }
    seen = {**VIT, "num_hidden_layers": 1}
    config = hf.CLIPConfig(text_config=text, vision_config=seen, projection_dim=8)
    model = hf.CLIPModel._from_config(config, attn_implementation="eager")
    ids = torch.tensor([[1, 5, 9, 2], [1, 7, 2, 0]])
    kwargs = {"input_ids": ids, "pixel_values": torch.randn(2, 3, 16, 16)}
    return Net(stir(model).eval(), (), kwargs, lambda out: F.cross_entropy(out.logits_per_image, torch.arange(2)))


@room("speech")
def whisper() -> Net:
    sizes = {
        "vocab_size": VOCAB,
        "d_model": 16,
        "encoder_layers": 1,
        "decoder_layers": 1,
        "encoder_attention_heads": 2,
        "decoder_attention_heads": 2,
        "encoder_ffn_dim": 24,
        "decoder_ffn_dim": 24,
        "num_mel_bins": 8,
        "max_source_positions": 10,
        "max_target_positions": 16,
        "pad_token_id": 0,
        "bos_token_id": 1,
        "eos_token_id": 2,
        "decoder_start_token_id": 1,
    }
    config = hf.WhisperConfig(**sizes, suppress_tokens=None, begin_suppress_tokens=None)
    model = hf.WhisperForConditionalGeneration._from_config(config, attn_implementation="eager")
    ids = torch.tensor([[1, 4, 9]])
    return Net(
        stir(model).eval(), (torch.randn(1, 8, 20),), {"decoder_input_ids": ids}, lambda out: out.logits.square().mean()
    )


@room("speech")
def wav2vec2() -> Net:
    sizes = {"conv_dim": [6, 6], "conv_kernel": [4, 3], "conv_stride": [3, 2], "num_feat_extract_layers": 2}
    rest = {"num_conv_pos_embeddings": 4, "num_conv_pos_embedding_groups": 2, "vocab_size": VOCAB}
    body = {k: VIT[k] for k in ("hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size")}
    config = hf.Wav2Vec2Config(**sizes, **rest, **body)
    model = hf.Wav2Vec2ForCTC._from_config(config, attn_implementation="eager")
    return Net(stir(model).eval(), (torch.randn(1, 60),), loss=lambda out: out.logits.square().mean())
