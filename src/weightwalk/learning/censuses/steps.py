"""The arithmetic of one training step of a chain, for many seeds at once, without a tape.

Every array has the seeds in its last axis, so that the innermost loop of each operation runs over seeds, however narrow
the net: activations are (rows, features, seeds), the weights of a linear layer (in + 1, out, seeds) with the biases as
the last row, to meet a feature that is always 1. All buffers are made once and written over. `wide` does the same with
the seeds first.

Sums of products are NumPy's einsum, whose inner loop over seeds has next to no overhead; where all seeds share the
input rows they are one product of matrices; everything else is torch's elementwise arithmetic, in place.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from weightwalk.learning.censuses.chains import Chain, Layer
from weightwalk.learning.censuses.scores import SCORES

Array = np.ndarray

MANY = 16
"""Rows from which a product of matrices beats einsum."""


def layout(chain: Chain, starts: dict[str, int]) -> tuple[list[slice], Array]:
    """Where each layer's weights lie among all of them, and which number of the module each is.

    Args:
        chain: The layers.
        starts: Where each parameter starts among the module's parameters laid end to end.

    Returns:
        A slice per layer, and ``order`` such that ``flat = module[order]``: the weights of a linear layer as (in, out),
        which is not as torch has them, then its biases.
    """
    order: list[Array] = []
    slices, start = [], 0
    for layer in chain.layers:
        size = 0
        if layer.shape:
            places = [starts[name] + np.arange(int(np.prod(shape))).reshape(shape) for name, shape in layer.parameters]
            if layer.kind == "linear":
                places[0] = places[0].T
            order += [place.ravel() for place in places]
            size = sum(place.size for place in places)
        slices.append(slice(start, start + size))
        start += size
    return slices, np.concatenate(order)


@dataclass
class Rows:
    """What one step looks at: the same rows for all seeds, or rows of each seed's own.

    Attributes:
        inputs: Shared: (n, in + 1) with ones in the last feature, or token ids (n,). Own: (n, in + 1, S) or (n, S).
        targets: Shared: (n, out, 1), or classes (n,). Own: (n, out, S), or classes (n, S).
        own: Whether each seed has its own.
    """

    inputs: Tensor
    targets: Tensor
    own: bool

    def __len__(self) -> int:
        return len(self.inputs)


class Workspace:
    """Buffers for so many rows: what each layer returns, (n, features, S), and the gradient of it."""

    def __init__(self, chain: Chain, rows: int, seeds: int, dtype: torch.dtype) -> None:
        widths = widths_of(chain)
        self.full: list[Tensor] = []
        self.grads: list[Tensor] = []
        for layer, width in zip(chain.layers, widths, strict=True):
            same = layer.kind in IN_PLACE
            self.full.append(self.full[-1] if same else torch.ones(rows, width + 1, seeds, dtype=dtype))
            # An activation turns the gradient of its output into that of its input where it stands.
            self.grads.append(torch.empty(rows, width, seeds, dtype=dtype) if layer.shape else self.grads[-1])
        self.out = [full[:, :-1] for full in self.full]
        # As matrices with a line per row: the features of a row, without the ones, lie in one piece.
        self.lines = [full.flatten(1)[:, : w * seeds] for full, w in zip(self.full, widths, strict=True)]
        self.full_np = [full.numpy() for full in self.full]
        self.out_np = [out.numpy() for out in self.out]
        self.grads_np = [grad.numpy() for grad in self.grads]
        self.spare = torch.empty_like(self.grads[-1])


IN_PLACE = {"relu", "identity"}
"""Activations whose slope can be told from their output, so that it may take the place of their input."""


def widths_of(chain: Chain) -> list[int]:
    """Numbers per row that each layer returns."""
    widths: list[int] = []
    for layer in chain.layers:
        widths.append((layer.shape[1] if layer.kind == "embedding" else layer.shape[0]) if layer.shape else widths[-1])
    return widths


class Engine:
    """Forward and backward of one chain on a block of seeds.

    Attributes:
        weights: All of them, (numbers, S), in the order of `layout`: what an optimizer moves.
        slopes: Their gradient, as the last `backward` left it.
        flat: `weights` as an array (numbers, S).
        flat_slopes: `slopes` likewise.
    """

    def __init__(self, chain: Chain, slices: list[slice], seeds: int, dtype: torch.dtype, loss: str) -> None:
        self.chain, self.seeds, self.dtype = chain, seeds, dtype
        self.score = SCORES[loss]
        self.weights = torch.zeros(slices[-1].stop, seeds, dtype=dtype)
        self.slopes = torch.zeros_like(self.weights)
        self.flat, self.flat_slopes = self.weights.numpy(), self.slopes.numpy()
        self.w = [self._shaped(self.weights, layer, part) for layer, part in zip(chain.layers, slices, strict=True)]
        self.g = [self._shaped(self.slopes, layer, part) for layer, part in zip(chain.layers, slices, strict=True)]
        self.w_np, self.g_np = [w.numpy() for w in self.w], [g.numpy() for g in self.g]
        self._spaces: dict[int, Workspace] = {}
        self._each = torch.arange(seeds)

    @staticmethod
    def _shaped(flat: Tensor, layer: Layer, part: slice) -> Tensor:
        out = (layer.shape[1] if layer.kind == "embedding" else layer.shape[0]) if layer.shape else 1
        return flat[part].unflatten(0, (-1, out)) if layer.shape else flat[:0]

    def space(self, rows: int) -> Workspace:
        """Buffers for that many rows."""
        if rows not in self._spaces:
            self._spaces[rows] = Workspace(self.chain, rows, self.seeds, self.dtype)
        return self._spaces[rows]

    def forward(self, rows: Rows) -> Tensor:
        """Outputs, (n, out, S): a buffer that the next call writes over."""
        space = self.space(len(rows))
        for i, layer in enumerate(self.chain.layers):
            if layer.kind == "embedding":
                self._look_up(rows, self.w[i], space.out[i])
            elif layer.kind == "linear":
                self._linear(rows, space, i)
            else:
                activate(layer, space.lines[i - 1], space.lines[i])
        return space.out[-1]

    def _look_up(self, rows: Rows, table: Tensor, out: Tensor) -> None:
        if rows.own:
            out.copy_(table[rows.inputs[:, None], torch.arange(table.shape[1])[:, None], self._each])
        else:
            out.copy_(table[rows.inputs])

    def _linear(self, rows: Rows, space: Workspace, i: int) -> None:
        weights = self.w_np[i]
        many = len(weights)
        if i or rows.own:
            before = space.full_np[i - 1] if i else rows.inputs.numpy()
            np.einsum("ijs,nis->njs", weights, before[:, :many], out=space.out_np[i])
        elif len(rows) < MANY:
            np.einsum("ijs,ni->njs", weights, rows.inputs.numpy()[:, :many], out=space.out_np[i])
        else:
            torch.mm(rows.inputs[:, :many], self.w[i].flatten(1), out=space.lines[i])

    def judge(self, rows: Rows) -> Array:
        """Loss of each seed after `forward`, (S,); its gradient in the outputs stays where `backward` begins."""
        space = self.space(len(rows))
        return self.score(space.out[-1], rows.targets, rows.own, space.grads[-1], space.spare).numpy()

    def backward(self, rows: Rows) -> None:
        """Gradient of the weights, after `judge`."""
        space = self.space(len(rows))
        for i in range(len(self.chain.layers) - 1, -1, -1):
            layer = self.chain.layers[i]
            if layer.kind == "embedding":
                self._spread(rows, space.grads[i], self.g[i])
            elif layer.kind == "linear":
                self._linear_back(rows, space, i)
            else:
                deactivate(layer, space.out[i - 1], space.out[i], space.grads[i])

    def _linear_back(self, rows: Rows, space: Workspace, i: int) -> None:
        slopes, grad = self.g_np[i], space.grads_np[i]
        many, out, _ = slopes.shape
        if i or rows.own:
            before = space.full_np[i - 1] if i else rows.inputs.numpy()
            np.einsum("njs,nis->ijs", grad, before[:, :many], out=slopes)
        elif len(rows) < MANY:
            np.einsum("njs,ni->ijs", grad, rows.inputs.numpy()[:, :many], out=slopes)
        else:
            torch.mm(rows.inputs[:, :many].T, space.grads[i].flatten(1), out=self.g[i].flatten(1))
        if not i:
            return
        width = self.chain.layers[i].shape[1]
        if out == 1:
            torch.mul(space.grads[i], self.w[i][:width, 0], out=space.grads[i - 1])
        else:
            np.einsum("njs,ijs->nis", grad, self.w_np[i][:width], out=space.grads_np[i - 1])

    def _spread(self, rows: Rows, grad: Tensor, table: Tensor) -> None:
        """The gradient of a row goes to the embedding of its token; tokens that stand twice get both."""
        table.zero_()
        features = torch.arange(table.shape[1])[:, None]
        for n, ids in enumerate(rows.inputs):
            if rows.own:
                table[ids[None], features, self._each] += grad[n]
            else:
                table[ids] += grad[n]


def activate(layer: Layer, x: Tensor, out: Tensor) -> None:
    """Write the activation of `x` to `out`; the two are the same where `IN_PLACE` says so."""
    if layer.kind == "relu":
        out.relu_()
    elif layer.kind != "identity":
        FORWARD[layer.kind](layer, x, out)


def deactivate(layer: Layer, x: Tensor, out: Tensor, grad: Tensor) -> None:
    """Turn the gradient of the output into that of the input, in place."""
    if layer.kind != "identity":
        BACKWARD[layer.kind](layer, x, out, grad)


_aten = torch.ops.aten
_gelu: dict[bool, str] = {True: "tanh", False: "none"}

FORWARD: dict[str, Callable[[Layer, Tensor, Tensor], object]] = {
    "leaky_relu": lambda layer, x, out: _aten.leaky_relu.out(x, layer.slope, out=out),
    "tanh": lambda layer, x, out: torch.tanh(x, out=out),
    "sigmoid": lambda layer, x, out: torch.sigmoid(x, out=out),
    "silu": lambda layer, x, out: _aten.silu.out(x, out=out),
    "gelu": lambda layer, x, out: _aten.gelu.out(x, approximate=_gelu[layer.rounded], out=out),
}
BACKWARD: dict[str, Callable[[Layer, Tensor, Tensor, Tensor], object]] = {
    "relu": lambda layer, x, out, g: _aten.threshold_backward.grad_input(g, out, 0, grad_input=g),
    "leaky_relu": lambda layer, x, out, g: _aten.leaky_relu_backward.grad_input(g, x, layer.slope, False, grad_input=g),
    "tanh": lambda layer, x, out, g: _aten.tanh_backward.grad_input(g, out, grad_input=g),
    "sigmoid": lambda layer, x, out, g: _aten.sigmoid_backward.grad_input(g, out, grad_input=g),
    "silu": lambda layer, x, out, g: _aten.silu_backward.grad_input(g, x, grad_input=g),
    "gelu": lambda layer, x, out, g: _aten.gelu_backward.grad_input(
        g, x, approximate=_gelu[layer.rounded], grad_input=g
    ),
}
