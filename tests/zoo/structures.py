"""Shapes of program rather than of net: reuse, aliases, in-place writes, nested results, Python control flow."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo.entry import Net, Room

CASES = room = Room()


class Twice(nn.Module):
    """One module, called twice, and its result used twice."""

    def __init__(self) -> None:
        super().__init__()
        self.block, self.out = nn.Linear(6, 6), nn.Linear(6, 2)

    def forward(self, x: Tensor) -> Tensor:
        h = torch.tanh(self.block(x))
        h = torch.tanh(self.block(h)) + h
        return self.out(h)


@room("structure")
def called_twice() -> Net:
    return Net(Twice(), (torch.randn(3, 6),), loss=lambda y: y.square().sum())


class Shared(nn.Module):
    """Two modules, one parameter: an embedding that is also the output matrix."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.mix, self.head = nn.Embedding(9, 6), nn.Linear(6, 6), nn.Linear(6, 9, bias=False)
        self.head.weight = self.embed.weight

    def forward(self, ids: Tensor) -> Tensor:
        return self.head(F.gelu(self.mix(self.embed(ids))))


@room("structure")
def shared_parameter() -> Net:
    ids = torch.tensor([[1, 2, 3]])
    return Net(Shared(), (ids,), loss=lambda y: F.cross_entropy(y[0], torch.tensor([2, 3, 4])))


@dataclass
class Out:
    main: Tensor
    rest: dict[str, list[Tensor]]


class Nested(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(4, 3), nn.Linear(4, 2)

    def forward(self, batch: dict[str, Tensor], *, scale: float = 1.0) -> Out:
        y = self.a(batch["x"]) * scale
        return Out(y, {"parts": [self.b(batch["x"]), batch["x"]], "views": list(y.unbind(0))})


@room("structure")
def nested_output() -> Net:
    return Net(Nested(), ({"x": torch.randn(2, 4), "unused": torch.ones(1)},), {"scale": 0.5}, lambda y: y.main.sum())


class InPlace(nn.Module):
    """Writes through views: a value must stay what it was when it was recorded."""

    def __init__(self) -> None:
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(4, 6), nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        h = self.fc1(x)
        F.relu_(h)
        first = h[:, 0]
        h[:, 1:3].mul_(2.0)
        h[:, 5] = first
        h.clamp_(max=1.5)
        return self.fc2(h).add_(1.0)


@room("structure", grad=False)
def in_place() -> Net:
    return Net(InPlace(), (torch.randn(3, 4),))


class InPlaceRelu(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(4, 6), nn.ReLU(inplace=True), nn.Linear(6, 6), nn.SiLU(inplace=True))

    def forward(self, x: Tensor) -> Tensor:
        h = self.body(x)
        h = h.clone()
        h[..., 0] += 1.0
        return h


@room("structure")
def in_place_relu() -> Net:
    return Net(InPlaceRelu(), (torch.randn(3, 4),), loss=lambda y: y.square().sum())


class Counter(nn.Module):
    """Buffers that change, one of them an integer; control flow on a number that left the tensors."""

    count: Tensor
    running: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(4, 4)
        self.register_buffer("count", torch.zeros((), dtype=torch.int64))
        self.register_buffer("running", torch.zeros(4))

    def forward(self, x: Tensor) -> Tensor:
        self.count += 1
        self.running.lerp_(x.detach().mean(0), 0.1)
        while float(x.detach().norm()) > 2.0:
            x = self.fc(x).tanh() / 2
        return x - self.running


@room("structure")
def buffers_and_loop() -> Net:
    return Net(Counter(), (torch.randn(5, 4) * 3,))


class GraphConv(nn.Module):
    """Message passing by gather and index_add: no sparse tensors."""

    def __init__(self) -> None:
        super().__init__()
        self.message, self.update = nn.Linear(4, 4), nn.Linear(8, 3)

    def forward(self, x: Tensor, edges: Tensor) -> Tensor:
        source, target = edges
        messages = F.relu(self.message(x[source]))
        total = torch.zeros_like(x).index_add(0, target, messages)
        degree = torch.bincount(target, minlength=len(x)).clamp(min=1).unsqueeze(1)
        return self.update(torch.cat([x, total / degree], dim=1))


@room("graph")
def graph_convolution() -> Net:
    edges = torch.tensor([[0, 1, 2, 3, 3, 4], [1, 2, 0, 4, 1, 3]])
    return Net(GraphConv(), (torch.randn(5, 4), edges), loss=lambda y: y.square().mean())


class Fourier(nn.Module):
    """Complex numbers in the middle of a real net."""

    def __init__(self) -> None:
        super().__init__()
        self.filter = nn.Parameter(torch.randn(5, dtype=torch.complex64))

    def forward(self, x: Tensor) -> Tensor:
        return torch.fft.irfft(torch.fft.rfft(x) * self.filter, n=8)


@room("structure")
def fourier() -> Net:
    return Net(Fourier(), (torch.randn(2, 8),), loss=lambda y: y.square().sum())


class Topk(nn.Module):
    """Sorting, gathering, scattering, and a data-dependent shape."""

    def __init__(self) -> None:
        super().__init__()
        self.score, self.out = nn.Linear(4, 1), nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        score = self.score(x).squeeze(-1)
        best, where = score.topk(3, dim=0)
        picked = x.gather(0, where[:, None].expand(-1, 4)) * best.sigmoid()[:, None]
        spread = torch.zeros_like(x).scatter(0, where[:, None].expand(-1, 4), picked)
        return self.out(spread[score > score.median()]).sum(0)


@room("structure")
def sort_and_scatter() -> Net:
    return Net(Topk(), (torch.randn(6, 4),), loss=lambda y: y.sum())


class Wavenet(nn.Module):
    """Gated, dilated, causal convolutions with skip connections."""

    def __init__(self) -> None:
        super().__init__()
        self.start = nn.Conv1d(1, 4, 1)
        self.filters = nn.ModuleList(nn.Conv1d(4, 4, 2, dilation=d) for d in (1, 2, 4))
        self.gates = nn.ModuleList(nn.Conv1d(4, 4, 2, dilation=d) for d in (1, 2, 4))
        self.end = nn.Conv1d(4, 3, 1)

    def forward(self, x: Tensor) -> Tensor:
        h, skip = self.start(x), torch.zeros(())
        for f, g, d in zip(self.filters, self.gates, (1, 2, 4), strict=True):
            padded = F.pad(h, (d, 0))
            z = torch.tanh(f(padded)) * torch.sigmoid(g(padded))
            h, skip = h + z, skip + z
        return self.end(F.relu(skip)).log_softmax(1)


@room("cnn")
def wavenet() -> Net:
    return Net(Wavenet(), (torch.randn(1, 1, 12),), loss=lambda y: F.nll_loss(y, torch.arange(12)[None] % 3))
