"""A decoder-only transformer of the GPT-2 architecture, short enough to read, with GPT-2's own names.

The state dict has the keys and shapes of Hugging Face's ``GPT2LMHeadModel`` (``transformer.h.0.attn.c_attn.weight``),
so weights move between the two unchanged. Attention is written out (q k^T / sqrt(d), mask, softmax, times v) instead of
calling the fused kernel, so that a walk through it shows each of these.

Sizes in the comments: B batch, T tokens, C model width, H heads, D = C / H.

Source: Radford et al., "Language Models are Unsupervised Multitask Learners" (2019).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from weightwalk.errors import UsageError


@dataclass(frozen=True, slots=True)
class GPTConfig:
    """The sizes of a GPT, under the names that GPT-2's configuration uses.

    `n_positions`, how many tokens the net can see, and `n_embd`, how wide it is, have nothing to do with each other.
    """

    vocab_size: int
    n_positions: int = 64
    n_embd: int = 32
    n_layer: int = 2
    n_head: int = 4
    layer_norm_epsilon: float = 1e-5

    def __post_init__(self) -> None:
        if self.n_embd % self.n_head:
            raise UsageError(f"The width {self.n_embd} cannot be shared out evenly among {self.n_head} heads.")

    @classmethod
    def small(cls) -> GPTConfig:
        """GPT-2 small: 12 layers, 12 heads, width 768; 124,439,808 parameters."""
        return cls(vocab_size=50257, n_positions=1024, n_embd=768, n_layer=12, n_head=12)


class Conv1D(nn.Module):
    """A linear layer whose weight is stored (in, out), as GPT-2's is: ``y = x W + b``."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(inputs, outputs, dtype=torch.float32))
        self.bias = nn.Parameter(torch.zeros(outputs, dtype=torch.float32))

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, in) -> (B, T, out)."""
        rows = torch.addmm(self.bias, x.reshape(-1, x.shape[-1]), self.weight)
        return rows.view(*x.shape[:-1], -1)


class Attention(nn.Module):
    """Causal self-attention: each token takes a weighted mean of the values of itself and of earlier tokens."""

    def __init__(self, config: GPTConfig) -> None:
        super().__init__()
        self.heads = config.n_head
        self.c_attn = Conv1D(config.n_embd, 3 * config.n_embd)
        self.c_proj = Conv1D(config.n_embd, config.n_embd)

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, C) -> (B, T, C)."""
        b, t, c = x.shape
        q, k, v = self.c_attn(x).split(c, dim=-1)  # each (B, T, C)
        q, k, v = (part.view(b, t, self.heads, c // self.heads).transpose(1, 2) for part in (q, k, v))  # (B, H, T, D)
        scores = q @ k.transpose(-2, -1) / math.sqrt(c // self.heads)  # (B, H, T, T)
        past = torch.ones(t, t, dtype=torch.bool, device=x.device).tril()
        # The lowest finite number, as in GPT-2 itself: its exponential is exactly 0, and 0 times it is not NaN.
        scores = torch.where(past, scores, torch.finfo(scores.dtype).min)
        pattern = scores.softmax(dim=-1)
        mixed = (pattern @ v).transpose(1, 2).reshape(b, t, c)
        return self.c_proj(mixed)


class FeedForward(nn.Module):
    """Two layers with GELU between, four times as wide as the model, applied to each token alone."""

    def __init__(self, config: GPTConfig) -> None:
        super().__init__()
        self.c_fc = Conv1D(config.n_embd, 4 * config.n_embd)
        self.act = nn.GELU(approximate="tanh")
        self.c_proj = Conv1D(4 * config.n_embd, config.n_embd)

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, C) -> (B, T, C)."""
        return self.c_proj(self.act(self.c_fc(x)))


class Block(nn.Module):
    """One layer: attention, then feed-forward, each added to the residual stream after reading it through a norm."""

    def __init__(self, config: GPTConfig) -> None:
        super().__init__()
        self.ln_1 = nn.LayerNorm(config.n_embd, eps=config.layer_norm_epsilon, dtype=torch.float32)
        self.attn = Attention(config)
        self.ln_2 = nn.LayerNorm(config.n_embd, eps=config.layer_norm_epsilon, dtype=torch.float32)
        self.mlp = FeedForward(config)

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, C) -> (B, T, C)."""
        x = x + self.attn(self.ln_1(x))
        return x + self.mlp(self.ln_2(x))


class Transformer(nn.Module):
    """Embeddings of tokens and of positions, the layers, and the last norm."""

    def __init__(self, config: GPTConfig) -> None:
        super().__init__()
        self.wte = nn.Embedding(config.vocab_size, config.n_embd, dtype=torch.float32)
        self.wpe = nn.Embedding(config.n_positions, config.n_embd, dtype=torch.float32)
        self.h = nn.ModuleList(Block(config) for _ in range(config.n_layer))
        self.ln_f = nn.LayerNorm(config.n_embd, eps=config.layer_norm_epsilon, dtype=torch.float32)

    def forward(self, input_ids: Tensor) -> Tensor:
        """(B, T) -> (B, T, C)."""
        x = self.wte(input_ids) + self.wpe(torch.arange(input_ids.shape[-1], device=input_ids.device))
        for block in self.h:
            x = block(x)
        return self.ln_f(x)


class GPT(nn.Module):
    """GPT-2 with its language-model head, whose weight is the token embedding itself (tied).

    Initialised as GPT-2 was: normal with standard deviation 0.02, zero biases, and the two projections that write into
    the residual stream scaled down by sqrt(2 n_layer). Deterministic given torch's random state.
    """

    def __init__(self, config: GPTConfig) -> None:
        super().__init__()
        self.config = config
        self.transformer = Transformer(config)
        self.lm_head = nn.Linear(config.n_embd, config.vocab_size, bias=False, dtype=torch.float32)
        self.lm_head.weight = self.transformer.wte.weight
        for name, parameter in self.named_parameters():
            if parameter.dim() == 2:
                residual = math.sqrt(2 * config.n_layer) if name.endswith("c_proj.weight") else 1.0
                nn.init.normal_(parameter, std=0.02 / residual)

    def forward(self, input_ids: Tensor) -> Tensor:
        """Token ids (B, T) -> logits (B, T, vocab).

        Raises:
            UsageError: More tokens than the net has positions.
        """
        if input_ids.shape[-1] > self.config.n_positions:
            raise UsageError(
                f"The text has {input_ids.shape[-1]} tokens, and this net has positions for {self.config.n_positions}: "
                "shorten the text."
            )
        return self.lm_head(self.transformer(input_ids))
