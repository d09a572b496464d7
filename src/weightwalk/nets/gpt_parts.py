"""What a GPT is made of beside torch's own layers: positions, norms, activations, the cache of keys and values."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn

ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "gelu_new": partial(nn.GELU, approximate="tanh"),
    "gelu": nn.GELU,
    "relu": nn.ReLU,
}


class Conv1D(nn.Module):
    """A linear layer whose weight is stored (in, out), as GPT-2's is: ``y = x W + b``."""

    def __init__(self, inputs: int, outputs: int, bias: bool = True) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(inputs, outputs, dtype=torch.float32))
        self.bias = nn.Parameter(torch.zeros(outputs, dtype=torch.float32)) if bias else None

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, in) -> (B, T, out)."""
        flat = x.reshape(-1, x.shape[-1])
        rows = flat @ self.weight if self.bias is None else torch.addmm(self.bias, flat, self.weight)
        return rows.view(*x.shape[:-1], -1)


class RMSNorm(nn.Module):
    """``x / sqrt(mean x² + ε) · w``, written out so that a walk shows it (Zhang and Sennrich 2019)."""

    def __init__(self, width: int, epsilon: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width, dtype=torch.float32))
        self.epsilon = epsilon

    def forward(self, x: Tensor) -> Tensor:
        """(..., C) -> (..., C)."""
        return x * (x.square().mean(dim=-1, keepdim=True) + self.epsilon).rsqrt() * self.weight


def sinusoids(past: int, tokens: int, width: int, like: Tensor) -> Tensor:
    """``PE[p, 2i] = sin(p / 10000^(2i/C))``, ``PE[p, 2i + 1]`` the cosine; (T, C) (Vaswani et al. 2017, section 3.5).

    >>> code = sinusoids(0, 3, 4, torch.zeros(1, dtype=torch.float64))
    >>> [round(x, 4) for x in code[2].tolist()]  # sin 2, cos 2, sin 0.02, cos 0.02
    [0.9093, -0.4161, 0.02, 0.9998]
    """
    code = torch.zeros(tokens, width, dtype=torch.float64, device=like.device)
    place = torch.arange(past, past + tokens, dtype=torch.float64, device=like.device)[:, None]
    turns = place * _frequencies(width, like)
    code[:, 0::2] = turns.sin()
    code[:, 1::2] = turns.cos()[:, : width // 2]
    return code.to(like.dtype)


def angles(past: int, tokens: int, width: int, like: Tensor) -> tuple[Tensor, Tensor]:
    """Cosines and sines of ``p / 10000^(2i/D)`` for the pairs i of a head, each (T, D / 2) (Su et al. 2021, 3.4)."""
    place = torch.arange(past, past + tokens, dtype=torch.float64, device=like.device)[:, None]
    turns = place * _frequencies(width, like)
    return turns.cos().to(like.dtype), turns.sin().to(like.dtype)


def rotated(x: Tensor, turn: tuple[Tensor, Tensor]) -> Tensor:
    """Each pair (x_i, x_(i + D/2)) turned by its angle; (B, H, T, D)."""
    cos, sin = turn
    one, two = x.chunk(2, dim=-1)
    return torch.cat([one * cos - two * sin, two * cos + one * sin], dim=-1)


def alibi(past: int, tokens: int, heads: int, like: Tensor) -> Tensor:
    """``-slope · |distance|`` for each head, query and key: (H, T, P + T) (Press et al. 2022, section 3).

    The slopes are ``2^(-8/H), 2^(-16/H), ...``; where H is no power of two, those of the next lower power, and then
    every other one of twice that many.
    """
    keys = torch.arange(past + tokens, dtype=like.dtype, device=like.device)
    queries = keys[past:, None]
    return torch.tensor(slopes(heads), dtype=like.dtype, device=like.device)[:, None, None] * -(queries - keys).abs()


def slopes(heads: int) -> list[float]:
    """One per head.

    >>> slopes(4), [round(s, 4) for s in slopes(3)]
    ([0.25, 0.0625, 0.015625, 0.00390625], [0.0625, 0.0039, 0.25])
    """
    power = 2 ** int(math.log2(heads))
    first = [2 ** (-8 * (i + 1) / power) for i in range(power)]
    more = [2 ** (-8 * (i + 1) / (2 * power)) for i in range(0, 2 * power, 2)]
    return first + more[: heads - power]


def _frequencies(width: int, like: Tensor) -> Tensor:
    """``10000^(-2i/width)`` for each pair."""
    pair = torch.arange(0, width, 2, dtype=torch.float64, device=like.device)
    return 10000.0 ** (-pair / width)


class Cache:
    """Keys and values of the tokens read so far, in memory that is set aside once.

    Attributes:
        length: Tokens read.
        keys: One tensor for all layers, (layers, B, H, room, D).
        values: The same for the values.
    """

    def __init__(self, layers: int, shape: tuple[int, int, int, int], dtype: torch.dtype, device: torch.device) -> None:
        self.length = 0
        self.keys = torch.empty(layers, *shape, dtype=dtype, device=device)
        self.values = torch.empty(layers, *shape, dtype=dtype, device=device)

    def put(self, layer: int, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Add those of new tokens (B, H, T, D) to a layer's; all that it has then, (B, H, P + T, D)."""
        end = self.length + k.shape[-2]
        self.keys[layer, :, :, self.length : end] = k
        self.values[layer, :, :, self.length : end] = v
        return self.keys[layer, :, :, :end], self.values[layer, :, :, :end]
