"""Nets without time or space: linear maps, multilayer perceptrons, autoencoders, mixtures."""

from __future__ import annotations

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo.entry import Net, Room

CASES = room = Room()


def mlp(*sizes: int, act: type[nn.Module] = nn.ReLU, **kwargs: object) -> nn.Sequential:
    layers: list[nn.Module] = []
    for i, (a, b) in enumerate(pairwise(sizes)):
        layers += [nn.Linear(a, b)] + ([act(**kwargs)] if i < len(sizes) - 2 else [])
    return nn.Sequential(*layers)


@room("linear")
def linear() -> Net:
    return Net(nn.Linear(1, 1), (torch.tensor([[2.0]]),), loss=lambda y: F.mse_loss(y, torch.tensor([[7.0]])))


@room("mlp")
def mlp_relu() -> Net:
    target = torch.tensor([0, 2, 1, 1])
    return Net(mlp(5, 16, 8, 3), (torch.randn(4, 5),), loss=lambda y: F.cross_entropy(y, target))


@room("mlp")
def mlp_gelu() -> Net:
    return Net(mlp(5, 16, 8, 3, act=nn.GELU), (torch.randn(4, 5),), loss=lambda y: y.square().mean())


@room("mlp")
def mlp_gelu_tanh() -> Net:
    return Net(mlp(5, 16, 3, act=nn.GELU, approximate="tanh"), (torch.randn(4, 5),), loss=lambda y: y.abs().mean())


@room("mlp")
def mlp_tanh() -> Net:
    return Net(mlp(5, 16, 8, 3, act=nn.Tanh), (torch.randn(4, 5),), loss=lambda y: y.square().mean())


@room("mlp")
def mlp_deep_float64() -> Net:
    return Net(mlp(4, *[12] * 9, 2).double(), (torch.randn(3, 4, dtype=torch.float64),), loss=lambda y: y.sum())


@room("mlp")
def mlp_bfloat16() -> Net:
    return Net(mlp(5, 16, 3).bfloat16(), (torch.randn(4, 5, dtype=torch.bfloat16),), loss=lambda y: y.float().sum())


@room("mlp")
def mlp_float16() -> Net:
    return Net(mlp(5, 16, 3, act=nn.SiLU).half(), (torch.randn(4, 5, dtype=torch.float16),))


@room("mlp")
def mlp_activations() -> Net:
    """One of each pointwise activation that people use."""
    acts = [nn.LeakyReLU(0.1), nn.ELU(), nn.SELU(), nn.CELU(), nn.SiLU(), nn.Mish(), nn.Softplus(), nn.Softsign()]
    acts += [nn.Hardtanh(), nn.Hardswish(), nn.Hardsigmoid(), nn.ReLU6(), nn.PReLU(), nn.LogSigmoid(), nn.Sigmoid()]
    layers = [layer for act in acts for layer in (nn.Linear(6, 6), act)]
    return Net(nn.Sequential(*layers), (torch.randn(3, 6),), loss=lambda y: y.sum())


class SwiGLU(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.RMSNorm(6)
        self.gate, self.up, self.down = nn.Linear(6, 16), nn.Linear(6, 16), nn.Linear(16, 6)

    def forward(self, x: Tensor) -> Tensor:
        h = self.norm(x)
        return x + self.down(F.silu(self.gate(h)) * self.up(h))


@room("mlp")
def swiglu() -> Net:
    return Net(SwiGLU(), (torch.randn(4, 6),), loss=lambda y: y.square().sum())


class Norms(nn.Module):
    """Layer, group, instance and RMS norm in one net."""

    def __init__(self) -> None:
        super().__init__()
        self.group, self.instance = nn.GroupNorm(2, 6), nn.InstanceNorm1d(6, affine=True)
        self.layer, self.rms, self.local = nn.LayerNorm(5), nn.RMSNorm(5), nn.LocalResponseNorm(2)

    def forward(self, x: Tensor) -> Tensor:
        return self.local(self.rms(self.layer(self.instance(self.group(x)))))


@room("norms")
def norms() -> Net:
    return Net(Norms(), (torch.randn(2, 6, 5),), loss=lambda y: y.square().mean())


class TiedAutoencoder(nn.Module):
    """The decoder is the encoder's matrix, transposed: one parameter, two uses."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(4, 10) / 3)
        self.code_bias, self.bias = nn.Parameter(torch.zeros(4)), nn.Parameter(torch.zeros(10))

    def forward(self, x: Tensor) -> Tensor:
        code = torch.sigmoid(F.linear(x, self.weight, self.code_bias))
        return F.linear(code, self.weight.t(), self.bias)


@room("autoencoder")
def tied_autoencoder() -> Net:
    x = torch.rand(3, 10)
    return Net(TiedAutoencoder(), (x,), loss=lambda y: F.mse_loss(y, x))


class VAE(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.encoder, self.mean, self.logvar = nn.Linear(10, 8), nn.Linear(8, 3), nn.Linear(8, 3)
        self.decoder = mlp(3, 8, 10)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        h = F.relu(self.encoder(x))
        mean, logvar = self.mean(h), self.logvar(h)
        z = mean + torch.exp(logvar / 2) * torch.randn_like(mean)
        kl = -0.5 * (1 + logvar - mean.square() - logvar.exp()).sum(-1).mean()
        return {"image": torch.sigmoid(self.decoder(z)), "kl": kl}


@room("autoencoder")
def vae() -> Net:
    x = torch.rand(3, 10)
    return Net(VAE(), (x,), loss=lambda y: F.binary_cross_entropy(y["image"], x) + y["kl"])


class Mixture(nn.Module):
    """Top-1 experts, chosen by Python control flow."""

    def __init__(self) -> None:
        super().__init__()
        self.router, self.experts = nn.Linear(6, 3), nn.ModuleList(mlp(6, 8, 6) for _ in range(3))

    def forward(self, x: Tensor) -> Tensor:
        scores = self.router(x).softmax(-1)
        rows = []
        for row, score in zip(x, scores, strict=True):
            best = int(score.argmax())
            rows.append(self.experts[best](row) * score[best])
        return torch.stack(rows)


@room("mixture of experts")
def mixture_of_experts() -> Net:
    return Net(Mixture(), (torch.randn(5, 6),), loss=lambda y: y.square().sum())


class Bag(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.bag, self.out = nn.EmbeddingBag(20, 6, mode="mean"), nn.Linear(6, 3)

    def forward(self, ids: Tensor, offsets: Tensor) -> Tensor:
        return self.out(self.bag(ids, offsets))


@room("embedding")
def embedding_bag() -> Net:
    return Net(Bag(), (torch.tensor([1, 5, 7, 2, 2, 9]), torch.tensor([0, 3])))


class Dropouts(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc1, self.drop, self.fc2 = nn.Linear(6, 12), nn.Dropout(0.3), nn.Linear(12, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(self.drop(F.relu(self.fc1(x))))


@room("mlp")
def dropout_train() -> Net:
    return Net(Dropouts().train(), (torch.randn(4, 6),), loss=lambda y: y.square().mean())
