"""The networks that are measured: a GPT-2 of 124M parameters with random weights, and a net of five ops."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

SMALL = "five-op net"


@dataclass(frozen=True)
class Subject:
    """What is run: a network by name, and how it is run."""

    net: str  # "gpt2" or "five"
    tokens: int = 128
    attention: str = "eager"
    device: str = "cpu"

    @property
    def title(self) -> str:
        """As the tables call it."""
        if self.net == "five":
            return SMALL
        place = "" if self.device == "cpu" else f", {self.device}"
        return f"GPT-2 124M, {self.attention} attention, {self.tokens} tokens{place}"

    @property
    def key(self) -> str:
        """As the results call it."""
        return self.net if self.net == "five" else f"gpt2-{self.attention}-{self.tokens}-{self.device}"

    def model(self) -> Any:
        """The network, the same weights each time it is called."""
        import torch

        torch.manual_seed(0)
        return (_gpt2(self.attention) if self.net == "gpt2" else _five()).eval().to(self.device)

    def inputs(self) -> Any:
        """What it is run on."""
        import torch

        generator = torch.Generator().manual_seed(1)
        if self.net == "five":
            return torch.randn(1, 8, generator=generator)
        return torch.randint(0, 50257, (1, self.tokens), generator=generator).to(self.device)


def _five() -> Any:
    from torch import nn

    return nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 16), nn.Tanh(), nn.Linear(16, 4))


def _gpt2(attention: str) -> Any:
    from transformers import GPT2Config, GPT2LMHeadModel

    model = GPT2LMHeadModel(GPT2Config(attn_implementation=attention))
    model.config.use_cache = False
    return model
