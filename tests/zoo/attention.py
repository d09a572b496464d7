"""Attention from torch itself, fused and by hand."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo.entry import Net, Room

CASES = room = Room()


class SelfAttention(nn.Module):
    """The equation as in the paper, in plain matrix products, with a causal mask."""

    def __init__(self) -> None:
        super().__init__()
        self.q, self.k, self.v, self.o = (nn.Linear(8, 8) for _ in range(4))

    def forward(self, x: Tensor) -> Tensor:
        b, t, c = x.shape
        q, k, v = (f(x).view(b, t, 2, c // 2).transpose(1, 2) for f in (self.q, self.k, self.v))
        scores = q @ k.transpose(-2, -1) / math.sqrt(c // 2)
        mask = torch.ones(t, t, dtype=torch.bool).tril()
        pattern = scores.masked_fill(~mask, -torch.inf).softmax(-1)
        return self.o((pattern @ v).transpose(1, 2).reshape(b, t, c))


@room("attention")
def attention_by_hand() -> Net:
    return Net(SelfAttention(), (torch.randn(2, 5, 8),), loss=lambda y: y.square().sum())


class Sdpa(SelfAttention):
    def forward(self, x: Tensor) -> Tensor:
        b, t, c = x.shape
        q, k, v = (f(x).view(b, t, 2, c // 2).transpose(1, 2) for f in (self.q, self.k, self.v))
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        return self.o(y.transpose(1, 2).reshape(b, t, c))


@room("attention")
def attention_fused() -> Net:
    return Net(Sdpa(), (torch.randn(2, 5, 8),), loss=lambda y: y.square().sum())


class Einsum(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.qkv, self.o = nn.Parameter(torch.randn(3, 2, 8, 4) / 3), nn.Parameter(torch.randn(2, 4, 8) / 3)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = torch.einsum("btc,ahcd->abhtd", x, self.qkv).unbind(0)
        pattern = torch.einsum("bhqd,bhkd->bhqk", q, k).div(2).softmax(-1)
        return torch.einsum("bhqk,bhkd,hdc->bqc", pattern, v, self.o)


@room("attention")
def attention_einsum() -> Net:
    return Net(Einsum(), (torch.randn(2, 5, 8),), loss=lambda y: y.sum())


@room("attention")
def multihead_attention() -> Net:
    x = torch.randn(2, 5, 8)
    return Net(nn.MultiheadAttention(8, 2, batch_first=True), (x, x, x), loss=lambda y: y[0].square().sum())


@room("attention", grad=False)
def multihead_attention_fast() -> Net:
    """Under no_grad in eval mode torch runs one native op."""
    x = torch.randn(2, 5, 8)
    return Net(nn.MultiheadAttention(8, 2, batch_first=True).eval(), (x, x, x), {"need_weights": False})


def layer() -> nn.TransformerEncoderLayer:
    return nn.TransformerEncoderLayer(8, 2, dim_feedforward=16, dropout=0.1, batch_first=True)


@room("transformer")
def encoder_train() -> Net:
    return Net(nn.TransformerEncoder(layer(), 2).train(), (torch.randn(2, 5, 8),), loss=lambda y: y.square().sum())


@room("transformer", grad=False)
def encoder_fast_path() -> Net:
    """The whole layer is one native op, and it reads the parameters itself."""
    return Net(nn.TransformerEncoder(layer(), 2).eval(), (torch.randn(2, 5, 8),))


@room("transformer", grad=False)
def encoder_padding_mask() -> Net:
    """With a padding mask the fast path goes through nested tensors."""
    mask = torch.tensor([[False, False, False, True, True], [False] * 5])
    return Net(nn.TransformerEncoder(layer(), 1).eval(), (torch.randn(2, 5, 8),), {"src_key_padding_mask": mask})


@room("transformer")
def encoder_decoder() -> Net:
    model = nn.Transformer(8, 2, 1, 1, 16, dropout=0.0, activation="gelu", batch_first=True)
    tgt_mask = nn.Transformer.generate_square_subsequent_mask(4)
    return Net(model, (torch.randn(2, 5, 8), torch.randn(2, 4, 8)), {"tgt_mask": tgt_mask}, lambda y: y.square().sum())
