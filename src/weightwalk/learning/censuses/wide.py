"""The same step for wider nets, with the seeds in the first axis: many products of matrices that are worth the name.

Weights are (seeds, in + 1, out), the biases in the last row, to meet a feature that is always 1. Of the small products,
those that take the matrices as they lie go to NumPy, the one with turned weights to torch: measured at 6 rows and 16 by
16, forward 74 ns against 145 per seed, the gradient of the weights 69 against 140, that of the inputs 218 against 151.
(Where OpenBLAS has no kernels for small matrices, as on AVX2 alone, the first two take about as long as torch's.)
"""

from __future__ import annotations

import numpy as np
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


SMALL = 1 << 17
"""Products that NumPy is given: above, its library may use threads of its own, which would wait for each other."""


class WideSpace:
    """Buffers for so many rows, (S, n, features); before a linear layer with a last feature that is always 1."""

    def __init__(self, chain: Chain, rows: int, seeds: int, dtype: torch.dtype) -> None:
        widths = widths_of(chain)
        last = max(i for i, layer in enumerate(chain.layers) if layer.shape)
        self.full: list[Tensor] = []
        self.grads: list[Tensor] = []
        for i, (layer, width) in enumerate(zip(chain.layers, widths, strict=True)):
            same = layer.kind in IN_PLACE
            self.full.append(self.full[-1] if same else torch.ones(seeds, rows, width + (i < last), dtype=dtype))
            self.grads.append(torch.empty(seeds, rows, width, dtype=dtype) if layer.shape else self.grads[-1])
        self.held = [full[..., :width] for full, width in zip(self.full, widths, strict=True)]
        self.out = [held.movedim(0, -1) for held in self.held]
        # The loss is computed with the seeds last: its sums over a few classes are slow otherwise.
        self.z, self.grad, self.spare = (torch.empty(rows, widths[-1], seeds, dtype=dtype) for _ in range(3))


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
        self._dense: dict[int, Tensor] = {}
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
            if layer.kind == "embedding":
                space.held[i].copy_(_taken(self.w[i], rows))
            elif layer.kind == "linear":
                _product(self._before(rows, space, i), self.w[i], space.held[i])
            else:
                same = layer.kind in IN_PLACE  # the feature that is 1 stays so
                activate(layer, space.held[i - 1], space.full[i] if same else space.held[i])
        return space.out[-1]

    def _before(self, rows: Rows, space: WideSpace, i: int) -> Tensor:
        """What linear layer `i` meets, (S, n, in + 1); without the ones if it has no biases."""
        many = self.w[i].shape[1]
        if i:
            return space.full[i - 1][..., :many]
        if rows.own:
            return rows.inputs[:, :many].movedim(-1, 0)
        return rows.inputs[:, :many].expand(self.seeds, -1, -1)

    def judge(self, rows: Rows) -> Array:
        """Loss of each seed after `forward`, (S,); its gradient in the outputs stays where `backward` begins."""
        space = self.space(len(rows))
        space.z.copy_(space.out[-1])
        loss = self.score(space.z, rows.targets, rows.own, space.grad, space.spare)
        space.grads[-1].copy_(space.grad.movedim(-1, 0))
        return loss.numpy()

    def backward(self, rows: Rows) -> None:
        """Gradient of the weights, after `judge`."""
        space = self.space(len(rows))
        for i in range(len(self.chain.layers) - 1, -1, -1):
            layer, grad = self.chain.layers[i], space.grads[i]
            if layer.kind == "embedding":
                _spread(self.g[i], rows, grad)
            elif layer.kind == "linear":
                self._slopes(i, self._before(rows, space, i), grad)
                if i:
                    torch.bmm(grad, self.w[i][:, : layer.shape[1]].mT, out=space.grads[i - 1])
            else:
                deactivate(layer, space.held[i - 1], space.held[i], grad)

    def _slopes(self, i: int, before: Tensor, grad: Tensor) -> None:
        """The gradient of the weights of layer `i`."""
        if _small(before, grad):
            _product(before.mT, grad, self.g[i])
            return
        # Torch's products take ten times as long if written straight to places that do not lie densely.
        if i not in self._dense:
            self._dense[i] = torch.empty(self.g[i].shape, dtype=self.dtype)
        self.g[i].copy_(torch.bmm(before.mT, grad, out=self._dense[i]))


def _small(before: Tensor, after: Tensor) -> bool:
    return before.shape[1] * before.shape[2] * after.shape[2] <= SMALL


def _product(a: Tensor, b: Tensor, out: Tensor) -> None:
    """``a @ b`` of each seed."""
    if _small(a, b):
        np.matmul(a.numpy(), b.numpy(), out=out.numpy())
    else:
        out.copy_(torch.bmm(a, b))


def _parts(flat: Tensor, layer: Layer) -> Tensor:
    """Weights (S, in + 1, out), the biases in the last row, or a table (S, tokens, width)."""
    if not layer.shape:
        return flat
    return flat.unflatten(1, (-1, layer.shape[1] if layer.kind == "embedding" else layer.shape[0]))


def _taken(table: Tensor, rows: Rows) -> Tensor:
    """Each row's embedding, (S, n, width)."""
    if rows.own:
        return table.gather(1, rows.inputs.T[:, :, None].expand(-1, -1, table.shape[2]))
    return table.index_select(1, rows.inputs)


def _spread(table: Tensor, rows: Rows, grad: Tensor) -> None:
    """The gradient of a row goes to the embedding of its token; tokens that stand twice get both."""
    table.zero_()
    if rows.own:
        table.scatter_add_(1, rows.inputs.T[:, :, None].expand(-1, -1, table.shape[2]), grad)
    else:
        table.index_add_(1, rows.inputs, grad)
