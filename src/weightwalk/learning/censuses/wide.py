"""The same step for wider nets, with the seeds in the first axis: many products of matrices that are worth the name.

Weights are (seeds, out, in), as torch has them: of the ways to lay them out, the one whose three products (forward, and
backward to weights and to inputs) are all fast.
"""

from __future__ import annotations

import torch
from torch import Tensor

from weightwalk.learning.censuses.chains import Chain, Layer
from weightwalk.learning.censuses.scores import SCORES
from weightwalk.learning.censuses.steps import IN_PLACE, Array, Rows, activate, deactivate, widths_of

WIDTH = 16
"""Inputs and outputs that a layer must have for a product per seed to be faster than a loop over seeds."""


def is_wide(chain: Chain) -> bool:
    """Whether most of the arithmetic is in layers of at least `WIDTH` inputs and outputs."""
    sizes = [layer.shape for layer in chain.layers if layer.kind == "linear"]
    wide = sum(a * b for a, b in sizes if min(a, b) >= WIDTH)
    return 2 * wide > sum(a * b for a, b in sizes)


class WideSpace:
    """Buffers for so many rows, (S, n, features)."""

    def __init__(self, chain: Chain, rows: int, seeds: int, dtype: torch.dtype) -> None:
        self.held: list[Tensor] = []
        self.grads: list[Tensor] = []
        for layer, width in zip(chain.layers, widths_of(chain), strict=True):
            self.held.append(self.held[-1] if layer.kind in IN_PLACE else torch.empty(seeds, rows, width, dtype=dtype))
            self.grads.append(torch.empty(seeds, rows, width, dtype=dtype) if layer.shape else self.grads[-1])
        # Products go here first: written straight into the weights' places, which do not lie densely, they take ten
        # times as long.
        self.dense = [torch.empty(seeds, *layer.shape, dtype=dtype) for layer in chain.layers]
        self.out = [held.movedim(0, -1) for held in self.held]
        self.spare = torch.empty_like(self.grads[-1])


class WideEngine:
    """Forward and backward of one chain on a block of seeds; see `steps.Engine`."""

    def __init__(self, chain: Chain, slices: list[slice], seeds: int, dtype: torch.dtype, loss: str) -> None:
        self.chain, self.seeds, self.dtype = chain, seeds, dtype
        self.score = SCORES[loss]
        self.weights = torch.zeros(seeds, slices[-1].stop, dtype=dtype)
        self.slopes = torch.zeros_like(self.weights)
        self.flat, self.flat_slopes = self.weights.numpy().T, self.slopes.numpy().T
        self.w = [_parts(self.weights[:, part], layer) for layer, part in zip(chain.layers, slices, strict=True)]
        self.g = [_parts(self.slopes[:, part], layer) for layer, part in zip(chain.layers, slices, strict=True)]
        self._spaces: dict[int, WideSpace] = {}

    def space(self, rows: int) -> WideSpace:
        """Buffers for that many rows."""
        if rows not in self._spaces:
            self._spaces[rows] = WideSpace(self.chain, rows, self.seeds, self.dtype)
        return self._spaces[rows]

    def forward(self, rows: Rows) -> Tensor:
        """Outputs, (n, out, S): a view of a buffer that the next call writes over."""
        space = self.space(len(rows))
        for i, layer in enumerate(self.chain.layers):
            weights, bias = self.w[i]
            if layer.kind == "embedding":
                space.held[i].copy_(_taken(weights, rows))
            elif layer.kind == "linear":
                before = space.held[i - 1] if i else self._first(rows, layer)
                if bias is None:
                    torch.bmm(before, weights.mT, out=space.held[i])
                else:
                    torch.baddbmm(bias, before, weights.mT, out=space.held[i])
            else:
                activate(layer, space.held[i - 1], space.held[i])
        return space.out[-1]

    def _first(self, rows: Rows, layer: Layer) -> Tensor:
        """Inputs as (S, n, in), without the feature that is always 1."""
        width = layer.shape[1]
        if rows.own:
            return rows.inputs[:, :width].movedim(-1, 0)
        return rows.inputs[:, :width].expand(self.seeds, -1, -1)

    def judge(self, rows: Rows) -> Array:
        """Loss of each seed after `forward`, (S,); its gradient in the outputs stays where `backward` begins."""
        space = self.space(len(rows))
        grad, spare = space.grads[-1].movedim(0, -1), space.spare.movedim(0, -1)
        return self.score(space.out[-1], rows.targets, rows.own, grad, spare).numpy()

    def backward(self, rows: Rows) -> None:
        """Gradient of the weights, after `judge`."""
        space = self.space(len(rows))
        for i in range(len(self.chain.layers) - 1, -1, -1):
            layer, grad = self.chain.layers[i], space.grads[i]
            slopes, bias = self.g[i]
            if layer.kind == "embedding":
                _spread(slopes, rows, grad)
            elif layer.kind == "linear":
                before = space.held[i - 1] if i else self._first(rows, layer)
                slopes.copy_(torch.bmm(grad.mT, before, out=space.dense[i]))
                if bias is not None:
                    torch.sum(grad, dim=1, keepdim=True, out=bias)
                if i:
                    torch.bmm(grad, self.w[i][0], out=space.grads[i - 1])
            else:
                deactivate(layer, space.held[i - 1], space.held[i], grad)


def _parts(flat: Tensor, layer: Layer) -> tuple[Tensor, Tensor | None]:
    """Weights (S, out, in) and biases (S, 1, out), or a table (S, tokens, width)."""
    if not layer.shape:
        return flat, None
    if layer.kind == "embedding":
        return flat.unflatten(1, layer.shape), None
    out, width = layer.shape
    weights = flat[:, : out * width].unflatten(1, layer.shape)
    return weights, flat[:, out * width :].unflatten(1, (1, out)) if layer.bias else None


def _taken(table: Tensor, rows: Rows) -> Tensor:
    """Each row's embedding, (S, n, width)."""
    if rows.own:
        return table.gather(1, rows.inputs.T[:, :, None].expand(-1, -1, table.shape[2]))
    return table[:, rows.inputs]


def _spread(table: Tensor, rows: Rows, grad: Tensor) -> None:
    """The gradient of a row goes to the embedding of its token; tokens that stand twice get both."""
    table.zero_()
    for n, ids in enumerate(rows.inputs):
        if rows.own:
            index = ids[:, None, None].expand(-1, 1, table.shape[2])
            table.scatter_add_(1, index, grad[:, n, None])
        else:
            table[:, ids] += grad[:, n]
