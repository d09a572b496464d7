"""Nets over time."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo.entry import Net, Room

CASES = room = Room()


class Tagger(nn.Module):
    """Embed, run a recurrent layer, read out each state."""

    def __init__(self, core: nn.Module, width: int) -> None:
        super().__init__()
        self.embed, self.core, self.out = nn.Embedding(12, 5), core, nn.Linear(width, 4)

    def forward(self, ids: Tensor) -> Tensor:
        states, _ = self.core(self.embed(ids))
        return self.out(states)


IDS = torch.tensor([[1, 4, 2, 7], [3, 3, 0, 11]])


def tagging(y: Tensor) -> Tensor:
    return F.cross_entropy(y.flatten(0, 1), torch.arange(8) % 4)


@room("recurrent")
def rnn_tanh() -> Net:
    return Net(Tagger(nn.RNN(5, 6, batch_first=True), 6), (IDS,), loss=tagging)


@room("recurrent")
def rnn_relu() -> Net:
    return Net(Tagger(nn.RNN(5, 6, nonlinearity="relu", batch_first=True), 6), (IDS,), loss=tagging)


@room("recurrent")
def lstm() -> Net:
    return Net(Tagger(nn.LSTM(5, 6, batch_first=True), 6), (IDS,), loss=tagging)


@room("recurrent", grad=False)
def lstm_inference() -> Net:
    return Net(Tagger(nn.LSTM(5, 6, num_layers=2, batch_first=True), 6).eval(), (IDS,))


@room("recurrent")
def lstm_bidirectional() -> Net:
    return Net(Tagger(nn.LSTM(5, 3, bidirectional=True, batch_first=True), 6), (IDS,), loss=tagging)


@room("recurrent")
def gru() -> Net:
    return Net(Tagger(nn.GRU(5, 6, batch_first=True), 6), (IDS,), loss=tagging)


class Cells(nn.Module):
    """A loop in Python over an LSTM cell, then a GRU cell."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm, self.gru = nn.LSTMCell(3, 4), nn.GRUCell(4, 5)

    def forward(self, xs: Tensor) -> Tensor:
        state, h = (xs.new_zeros(2, 4), xs.new_zeros(2, 4)), xs.new_zeros(2, 5)
        for x in xs:
            state = self.lstm(x, state)
            h = self.gru(state[0], h)
        return h


@room("recurrent")
def cells() -> Net:
    return Net(Cells(), (torch.randn(3, 2, 3),), loss=lambda y: y.square().sum())


class Linear(nn.Module):
    """A diagonal linear recurrence by cumulative sums, in the manner of a state-space model."""

    def __init__(self) -> None:
        super().__init__()
        self.inp, self.out, self.decay = nn.Linear(4, 6), nn.Linear(6, 4), nn.Parameter(torch.rand(6))

    def forward(self, x: Tensor) -> Tensor:
        steps = torch.arange(x.shape[1], dtype=x.dtype)
        kernel = torch.exp(-self.decay * steps[:, None])
        return self.out(torch.cumsum(self.inp(x) / kernel, dim=1) * kernel)


@room("recurrent")
def linear_recurrence() -> Net:
    return Net(Linear(), (torch.randn(2, 5, 4),), loss=lambda y: y.square().mean())
