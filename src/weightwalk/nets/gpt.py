"""A decoder-only transformer of the GPT-2 architecture, short enough to read, with GPT-2's own names and a switch on
every part that is said to matter.

With the switches as they are, the state dict has the keys and shapes of Hugging Face's ``GPT2LMHeadModel``
(``transformer.h.0.attn.c_attn.weight``), so weights move between the two unchanged. Attention is written out (q k^T /
sqrt(d), mask, softmax, times v) instead of calling the fused kernel, so that a walk through it shows each of these;
``fused=True`` calls the kernel, for speed.

Sizes in the comments: B batch, T tokens, P tokens in the cache, C model width, H heads, D = C / H.

Source: Radford et al., "Language Models are Unsupervised Multitask Learners" (2019).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from weightwalk.errors import UsageError
from weightwalk.nets.gpt_parts import (
    ACTIVATIONS,
    Cache,
    Conv1D,
    RMSNorm,
    alibi,
    angles,
    rotated,
    sinusoids,
)

CHOICES = {
    "position": ("learned", "sinusoidal", "rotary", "alibi", "none"),
    "norm": ("layer", "rms"),
    "norm_at": ("pre", "post", "none"),
    "activation": (*ACTIVATIONS, "swiglu"),
}
"""What the switches with a name can be set to."""


@dataclass(frozen=True, slots=True)
class GPTConfig:
    """The sizes of a GPT, under the names that GPT-2's configuration uses, and its switches, set as in GPT-2.

    `n_positions`, how many tokens the net can see, and `n_embd`, how wide it is, have nothing to do with each other.

    Attributes:
        vocab_size: Tokens in the vocabulary.
        n_positions: Longest text.
        n_embd: Model width C, the size of the residual stream.
        n_layer: Blocks.
        n_head: Heads per block; each is C / H wide.
        n_inner: Hidden size of the feed-forward part; 0 for 4 C.
        layer_norm_epsilon: Added to the variance under the root.
        position: How order is told: ``"learned"`` or ``"sinusoidal"`` vectors added to the tokens' (Vaswani et al.
            2017, section 3.5), ``"rotary"`` angles by which queries and keys are turned (Su et al. 2021), ``"alibi"``
            penalties on distance (Press et al. 2022), or ``"none"``.
        norm: ``"layer"`` (Ba et al. 2016) or ``"rms"`` (Zhang and Sennrich 2019).
        norm_at: ``"pre"``: before each part, and once at the end (GPT-2); ``"post"``: after each sum (Vaswani et al.
            2017); ``"none"``.
        residual: Whether each part is added to what it read; else it takes its place.
        scale: Whether scores are divided by the root of the head's width D.
        activation: ``"gelu_new"`` (tanh form, GPT-2's), ``"gelu"``, ``"relu"``, or ``"swiglu"`` (Shazeer 2020).
        tied: Whether the head's weight is the token embedding.
        bias: Whether linear layers and norms have biases (an RMS norm never does).
        causal: Whether a token sees only itself and those before it.
        fused: Whether attention is one fused kernel; the same to rounding, faster, and one step in a walk.
    """

    vocab_size: int
    n_positions: int = 64
    n_embd: int = 32
    n_layer: int = 2
    n_head: int = 4
    n_inner: int = 0
    layer_norm_epsilon: float = 1e-5
    position: str = "learned"
    norm: str = "layer"
    norm_at: str = "pre"
    residual: bool = True
    scale: bool = True
    activation: str = "gelu_new"
    tied: bool = True
    bias: bool = True
    causal: bool = True
    fused: bool = False

    def __post_init__(self) -> None:
        if min(self.vocab_size, self.n_positions, self.n_embd, self.n_head) < 1 or min(self.n_layer, self.n_inner) < 0:
            raise UsageError(f"A GPT's sizes are whole numbers above 0; got {self}.")
        if self.n_embd % self.n_head:
            raise UsageError(f"The width {self.n_embd} cannot be shared out evenly among {self.n_head} heads.")
        for name, choices in CHOICES.items():
            if getattr(self, name) not in choices:
                raise UsageError(f"There is no {name}={getattr(self, name)!r}; there are {', '.join(choices)}.")
        if self.position == "rotary" and self.head_size % 2:
            raise UsageError(
                f"Rotary positions turn pairs of numbers, and a head of width {self.head_size} cannot be divided into "
                "pairs: give an even width per head."
            )

    @property
    def head_size(self) -> int:
        """D = C / H."""
        return self.n_embd // self.n_head

    @property
    def hidden(self) -> int:
        """Hidden size of the feed-forward part."""
        return self.n_inner or 4 * self.n_embd

    @classmethod
    def small(cls) -> GPTConfig:
        """GPT-2 small: 12 layers, 12 heads, width 768; 124,439,808 parameters."""
        return cls(vocab_size=50257, n_positions=1024, n_embd=768, n_layer=12, n_head=12)


class Attention(nn.Module):
    """Self-attention: each token takes a weighted mean of the values of the tokens that it sees."""

    def __init__(self, config: GPTConfig) -> None:
        super().__init__()
        self.config = config
        self.c_attn = Conv1D(config.n_embd, 3 * config.n_embd, config.bias)
        self.c_proj = Conv1D(config.n_embd, config.n_embd, config.bias)

    def forward(self, x: Tensor, cache: Cache | None = None, layer: int = 0) -> Tensor:
        """(B, T, C) -> (B, T, C)."""
        b, t, c = x.shape
        config = self.config
        q, k, v = self.c_attn(x).split(c, dim=-1)  # each (B, T, C)
        q, k, v = (
            part.view(b, t, config.n_head, config.head_size).transpose(1, 2) for part in (q, k, v)
        )  # (B, H, T, D)
        past = 0 if cache is None else cache.length
        if config.position == "rotary":
            turn = angles(past, t, config.head_size, x)
            q, k = rotated(q, turn), rotated(k, turn)
        if cache is not None:
            k, v = cache.put(layer, k, v)  # (B, H, P + T, D)
        mixed = self.fused(q, k, v, past) if config.fused else self.written(q, k, v, past)
        return self.c_proj(mixed.transpose(1, 2).reshape(b, t, c))

    def written(self, q: Tensor, k: Tensor, v: Tensor, past: int) -> Tensor:
        """Scores, mask, softmax, weighted mean, one after another; (B, H, T, D)."""
        scores = q @ k.transpose(-2, -1)  # (B, H, T, P + T)
        if self.config.scale:
            scores = scores / math.sqrt(q.shape[-1])
        if self.config.position == "alibi":
            scores = scores + alibi(past, q.shape[-2], self.config.n_head, scores)
        if self.config.causal:
            seen = torch.ones(q.shape[-2], k.shape[-2], dtype=torch.bool, device=q.device).tril(past)
            # The lowest finite number, as in GPT-2 itself: its exponential is exactly 0, and 0 times it is not NaN.
            scores = torch.where(seen, scores, torch.finfo(scores.dtype).min)
        return scores.softmax(dim=-1) @ v

    def fused(self, q: Tensor, k: Tensor, v: Tensor, past: int) -> Tensor:
        """The same by torch's kernel; (B, H, T, D)."""
        config, t = self.config, q.shape[-2]
        scale = None if config.scale else 1.0
        mask: Tensor | None = None
        if config.position == "alibi":
            mask = alibi(past, t, config.n_head, q)
        if config.causal and (past or mask is not None) and t > 1:
            seen = torch.ones(t, k.shape[-2], dtype=torch.bool, device=q.device).tril(past)
            mask = seen if mask is None else mask.masked_fill(~seen, -math.inf)
        alone = config.causal and mask is None and not past
        return nn.functional.scaled_dot_product_attention(
            q, k, v, attn_mask=mask, is_causal=alone and t > 1, scale=scale
        )


class FeedForward(nn.Module):
    """Two layers with an activation between, applied to each token alone; with SwiGLU the hidden layer is gated."""

    def __init__(self, config: GPTConfig) -> None:
        super().__init__()
        self.c_fc = Conv1D(config.n_embd, config.hidden, config.bias)
        self.gate = Conv1D(config.n_embd, config.hidden, config.bias) if config.activation == "swiglu" else None
        self.act = nn.SiLU() if config.activation == "swiglu" else ACTIVATIONS[config.activation]()
        self.c_proj = Conv1D(config.hidden, config.n_embd, config.bias)

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, C) -> (B, T, C)."""
        if self.gate is not None:
            return self.c_proj(self.act(self.gate(x)) * self.c_fc(x))
        return self.c_proj(self.act(self.c_fc(x)))


def _norm(config: GPTConfig) -> nn.Module:
    if config.norm_at == "none":
        return nn.Identity()
    if config.norm == "rms":
        return RMSNorm(config.n_embd, config.layer_norm_epsilon)
    return nn.LayerNorm(config.n_embd, eps=config.layer_norm_epsilon, bias=config.bias, dtype=torch.float32)


class Block(nn.Module):
    """One layer: attention, then feed-forward, each added to the residual stream."""

    def __init__(self, config: GPTConfig) -> None:
        super().__init__()
        self.config = config
        self.ln_1 = _norm(config)
        self.attn = Attention(config)
        self.ln_2 = _norm(config)
        self.mlp = FeedForward(config)

    def forward(self, x: Tensor, cache: Cache | None = None, layer: int = 0) -> Tensor:
        """(B, T, C) -> (B, T, C)."""
        if self.config.norm_at == "post":
            x = self.ln_1(self.summed(x, self.attn(x, cache, layer)))
            return self.ln_2(self.summed(x, self.mlp(x)))
        x = self.summed(x, self.attn(self.ln_1(x), cache, layer))
        return self.summed(x, self.mlp(self.ln_2(x)))

    def summed(self, x: Tensor, part: Tensor) -> Tensor:
        """What a part wrote, on top of what it read."""
        return x + part if self.config.residual else part


class Transformer(nn.Module):
    """Embeddings of tokens and of positions, the layers, and the last norm."""

    def __init__(self, config: GPTConfig) -> None:
        super().__init__()
        self.config = config
        self.wte = nn.Embedding(config.vocab_size, config.n_embd, dtype=torch.float32)
        if config.position == "learned":
            self.wpe = nn.Embedding(config.n_positions, config.n_embd, dtype=torch.float32)
        self.h = nn.ModuleList(Block(config) for _ in range(config.n_layer))
        self.ln_f = _norm(config) if config.norm_at == "pre" else nn.Identity()

    def forward(self, input_ids: Tensor, cache: Cache | None = None) -> Tensor:
        """(B, T) -> (B, T, C)."""
        past, t = 0 if cache is None else cache.length, input_ids.shape[-1]
        x = self.wte(input_ids)
        if self.config.position == "learned":
            x = x + self.wpe(torch.arange(past, past + t, device=input_ids.device))
        elif self.config.position == "sinusoidal":
            x = x + sinusoids(past, t, self.config.n_embd, x)
        for layer, block in enumerate(self.h):
            x = block(x) if cache is None else block(x, cache, layer)
        if cache is not None:
            cache.length += t
        return self.ln_f(x)


class GPT(nn.Module):
    """A GPT with its language-model head, whose weight is the token embedding itself where `tied`.

    Initialised as GPT-2 was: normal with standard deviation 0.02, zero biases, and the two projections that write into
    the residual stream scaled down by sqrt(2 n_layer). Deterministic given torch's random state.
    """

    def __init__(self, config: GPTConfig) -> None:
        super().__init__()
        self.config = config
        self.transformer = Transformer(config)
        self.lm_head = nn.Linear(config.n_embd, config.vocab_size, bias=False, dtype=torch.float32)
        if config.tied:
            self.lm_head.weight = self.transformer.wte.weight
        for name, parameter in self.named_parameters():
            if parameter.dim() == 2:
                residual = math.sqrt(2 * config.n_layer) if name.endswith("c_proj.weight") else 1.0
                nn.init.normal_(parameter, std=0.02 / residual)

    def forward(self, input_ids: Tensor, cache: Cache | None = None) -> Tensor:
        """Token ids (B, T) -> logits (B, T, vocab).

        Args:
            input_ids: The tokens; with a cache, those that come after the ones it holds.
            cache: Keys and values of earlier tokens, from `cache`; it is added to.

        Raises:
            UsageError: More tokens than the net has positions, or a cache for a net that is not causal.
        """
        past = 0 if cache is None else cache.length
        if past + input_ids.shape[-1] > self.config.n_positions:
            raise UsageError(
                f"The text has {past + input_ids.shape[-1]} tokens, and this net has positions for "
                f"{self.config.n_positions}: shorten the text."
            )
        if cache is not None and not self.config.causal:
            raise UsageError(
                "A net that sees what comes later has no use for a cache: each new token changes the others."
            )
        return self.lm_head(self.transformer(input_ids) if cache is None else self.transformer(input_ids, cache))

    def cache(self, batch: int = 1, length: int | None = None) -> Cache:
        """Room for the keys and values of `length` tokens (all that the net can see), in `batch` texts."""
        weight = self.lm_head.weight
        shape = (batch, self.config.n_head, length or self.config.n_positions, self.config.head_size)
        return Cache(self.config.n_layer, shape, weight.dtype, weight.device)
