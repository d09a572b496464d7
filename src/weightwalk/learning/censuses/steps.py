"""The arithmetic of one training step of a chain, for many seeds at once, without a tape.

Every array has the seeds in its last axis, so that the innermost loop of each operation runs over seeds, however narrow
the net: activations are (rows, features, seeds), the weights of a linear layer (in + 1, out, seeds) with the biases as
the last row, to meet a feature that is always 1. All buffers are made once and written over.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from weightwalk.learning.censuses.chains import Chain, Layer

Array = np.ndarray


def layout(chain: Chain, names: dict[str, int]) -> tuple[list[slice], Array]:
    """Where each layer's weights lie in the flat array, and which number of the module each of its rows is.

    Args:
        chain: The layers.
        names: Where each parameter starts among the module's parameters laid end to end.

    Returns:
        A slice per layer, and ``order`` such that ``flat = module[order]``.
    """
    order: list[Array] = []
    slices, start = [], 0
    for layer in chain.layers:
        size = 0
        if layer.shape:
            places = [names[name] + np.arange(int(np.prod(shape))).reshape(shape) for name, shape in layer.parameters]
            rows = places[0] if layer.kind == "embedding" else np.vstack([places[0].T, *(p[None] for p in places[1:])])
            order.append(rows.ravel())
            size = rows.size
        slices.append(slice(start, start + size))
        start += size
    return slices, np.concatenate(order)


@dataclass
class Rows:
    """What one step looks at: the same rows for all seeds, or rows of each seed's own.

    Attributes:
        inputs: Shared: (n, in) or token ids (n,). Own: (n, in + 1, S) with ones in the last feature, or ids (n, S).
        targets: Shared: (n, out, 1), or classes (n,). Own: (n, out, S), or classes (n, S).
        own: Whether each seed has its own.
    """

    inputs: Array
    targets: Array
    own: bool

    def __len__(self) -> int:
        return len(self.inputs)


class Workspace:
    """Buffers for `rows` rows of `seeds` seeds: what each layer returns and the gradient of it."""

    def __init__(self, chain: Chain, rows: int, seeds: int, dtype: np.dtype) -> None:
        self.full: list[Array] = []
        widths = []
        for layer in chain.layers:
            width = (layer.shape[1] if layer.kind == "embedding" else layer.shape[0]) if layer.shape else widths[-1]
            widths.append(width)
            full = self.full[-1] if layer.kind in {"relu", "identity"} else np.ones((rows, width + 1, seeds), dtype)
            self.full.append(full)
        self.out = [full[:, :-1] for full in self.full]
        self.grads = [np.empty((rows, width, seeds), dtype) for width in widths]
        self.exp = np.empty((rows, widths[-1], seeds), dtype)


class Engine:
    """Forward and backward of one chain on a block of seeds.

    Args:
        chain: The layers.
        flat: Weights, (numbers, S); the rows as `layout` says.
        grads: The gradient is written here, same shape.
        slices: As `layout` says.
        loss: ``mse``, ``mae``, ``cross_entropy`` or ``bce``.
    """

    def __init__(self, chain: Chain, flat: Array, grads: Array, slices: list[slice], loss: str) -> None:
        self.chain, self.loss = chain, loss
        self.flat, self.grads = flat, grads
        self.weights = [self._shaped(flat, layer, part) for layer, part in zip(chain.layers, slices, strict=True)]
        self.slopes = [self._shaped(grads, layer, part) for layer, part in zip(chain.layers, slices, strict=True)]
        self._spaces: dict[int, Workspace] = {}
        self._seeds = np.arange(flat.shape[1])

    @staticmethod
    def _shaped(flat: Array, layer: Layer, part: slice) -> Array:
        if not layer.shape:
            return flat[:0]
        out = layer.shape[1] if layer.kind == "embedding" else layer.shape[0]
        return flat[part].reshape(-1, out, flat.shape[1])

    def space(self, rows: int) -> Workspace:
        """Buffers for that many rows."""
        if rows not in self._spaces:
            self._spaces[rows] = Workspace(self.chain, rows, self.flat.shape[1], self.flat.dtype)
        return self._spaces[rows]

    def forward(self, rows: Rows) -> Array:
        """Outputs, (n, out, S): a buffer that the next call writes over."""
        space = self.space(len(rows))
        for i, layer in enumerate(self.chain.layers):
            out = space.out[i]
            if layer.kind == "embedding":
                self._looked_up(rows, self.weights[i], out)
            elif layer.kind == "linear":
                self._linear(rows, space, i, layer)
            else:
                _activate(layer, space.out[i - 1], out)
        return space.out[-1]

    def _looked_up(self, rows: Rows, table: Array, out: Array) -> None:
        if rows.own:
            out[...] = table[rows.inputs[:, None], np.arange(table.shape[1])[:, None], self._seeds]
        else:
            out[...] = table[rows.inputs]

    def _linear(self, rows: Rows, space: Workspace, i: int, layer: Layer) -> None:
        weights, out = self.weights[i], space.out[i]
        if i == 0 and not rows.own:
            np.einsum("ijs,ni->njs", weights, _widened(rows.inputs, layer.bias), out=out)
            return
        before = space.full[i - 1] if i else rows.inputs
        np.einsum("ijs,nis->njs", weights, before[:, : len(weights)], out=out)

    def backward(self, rows: Rows, top: Array) -> None:
        """Gradient of the weights from the gradient of the outputs, which is written over."""
        space, grad = self.space(len(rows)), top
        for i in range(len(self.chain.layers) - 1, -1, -1):
            layer = self.chain.layers[i]
            if layer.kind == "embedding":
                self._spread(rows, grad, self.slopes[i])
            elif layer.kind == "linear":
                slopes = self.slopes[i]
                if i == 0 and not rows.own:
                    np.einsum("njs,ni->ijs", grad, _widened(rows.inputs, layer.bias), out=slopes)
                    return
                before = space.full[i - 1] if i else rows.inputs
                np.einsum("njs,nis->ijs", grad, before[:, : len(slopes)], out=slopes)
                if i:
                    width = layer.shape[1]
                    grad = np.einsum("njs,ijs->nis", grad, self.weights[i][:width], out=space.grads[i - 1])
            else:
                _deactivate(layer, space.out[i - 1], space.out[i], grad)

    def _spread(self, rows: Rows, grad: Array, table: Array) -> None:
        """The gradient of a row goes to the embedding of its token; tokens that stand twice get both."""
        table[...] = 0
        features = np.arange(table.shape[1])[:, None]
        for n, ids in enumerate(rows.inputs):
            if rows.own:
                table[ids[None], features, self._seeds] += grad[n]
            else:
                table[ids] += grad[n]

    def judge(self, rows: Rows, outputs: Array) -> tuple[Array, Array]:
        """Loss per seed, (S,), and its gradient in the outputs, (n, out, S), a buffer."""
        space = self.space(len(rows))
        return LOSSES[self.loss](outputs, rows, space.grads[-1], space.exp)


def _widened(inputs: Array, bias: bool) -> Array:
    return inputs if bias else inputs[:, :-1]


def _activate(layer: Layer, x: Array, out: Array) -> None:
    kind = layer.kind
    if kind == "identity":
        return  # it has the buffer of the layer before
    if kind == "relu":
        np.maximum(x, 0, out=out)
    else:
        source, into = torch.from_numpy(x), torch.from_numpy(out)
        FORWARD[kind](layer, source, into)


def _deactivate(layer: Layer, x: Array, out: Array, grad: Array) -> None:
    if layer.kind != "identity":
        g = torch.from_numpy(grad)
        BACKWARD[layer.kind](layer, torch.from_numpy(x), torch.from_numpy(out), g)


_aten = torch.ops.aten


FORWARD: dict[str, Callable[[Layer, Tensor, Tensor], object]] = {
    "leaky_relu": lambda layer, x, out: _aten.leaky_relu.out(x, layer.slope, out=out),
    "tanh": lambda layer, x, out: torch.tanh(x, out=out),
    "sigmoid": lambda layer, x, out: torch.sigmoid(x, out=out),
    "silu": lambda layer, x, out: _aten.silu.out(x, out=out),
    "gelu": lambda layer, x, out: _aten.gelu.out(x, approximate="tanh" if layer.rounded else "none", out=out),
}
BACKWARD: dict[str, Callable[[Layer, Tensor, Tensor, Tensor], object]] = {
    "relu": lambda layer, x, out, g: _aten.threshold_backward.grad_input(g, out, 0, grad_input=g),
    "leaky_relu": lambda layer, x, out, g: _aten.leaky_relu_backward.grad_input(g, x, layer.slope, False, grad_input=g),
    "tanh": lambda layer, x, out, g: _aten.tanh_backward.grad_input(g, out, grad_input=g),
    "sigmoid": lambda layer, x, out, g: _aten.sigmoid_backward.grad_input(g, out, grad_input=g),
    "silu": lambda layer, x, out, g: _aten.silu_backward.grad_input(g, x, grad_input=g),
    "gelu": lambda layer, x, out, g: _aten.gelu_backward.grad_input(
        g, x, approximate="tanh" if layer.rounded else "none", grad_input=g
    ),
}


def _mse(z: Array, rows: Rows, grad: Array, spare: Array) -> tuple[Array, Array]:
    np.subtract(z, rows.targets, out=grad)
    count = z.shape[0] * z.shape[1]
    loss = np.einsum("nos,nos->s", grad, grad) / z.dtype.type(count)
    grad *= z.dtype.type(2 / count)
    return loss, grad


def _mae(z: Array, rows: Rows, grad: Array, spare: Array) -> tuple[Array, Array]:
    np.subtract(z, rows.targets, out=grad)
    count = z.shape[0] * z.shape[1]
    loss = np.abs(grad, out=spare).sum(axis=(0, 1)) / z.dtype.type(count)
    np.sign(grad, out=grad)
    grad *= z.dtype.type(1 / count)
    return loss, grad


def _bce(z: Array, rows: Rows, grad: Array, spare: Array) -> tuple[Array, Array]:
    """``max(z, 0) - t z + ln(1 + exp(-|z|))``, and ``1 / (1 + exp(-z)) - t``."""
    count = z.dtype.type(z.shape[0] * z.shape[1])
    np.abs(z, out=spare)
    np.negative(spare, out=spare)
    np.exp(spare, out=spare)
    np.log1p(spare, out=spare)
    np.maximum(z, 0, out=grad)
    spare += grad
    np.multiply(z, rows.targets, out=grad)
    spare -= grad
    loss = spare.sum(axis=(0, 1)) / count
    torch.sigmoid(torch.from_numpy(z), out=torch.from_numpy(grad))
    grad -= rows.targets
    grad /= count
    return loss, grad


def _cross_entropy(z: Array, rows: Rows, grad: Array, spare: Array) -> tuple[Array, Array]:
    """``ln sum exp(z - m) - (z_t - m)`` with m the largest; the gradient is softmax minus one-hot."""
    count = z.dtype.type(len(z))
    np.subtract(z, z.max(axis=1, keepdims=True), out=grad)
    own = rows.targets[:, None]  # (n, 1, S), where each seed has its own
    shared = np.arange(len(z)), rows.targets
    picked = np.take_along_axis(grad, own, axis=1)[:, 0] if rows.own else grad[shared]
    np.exp(grad, out=grad)
    total = grad.sum(axis=1)
    loss = (np.log(total) - picked).sum(axis=0) / count
    grad /= total[:, None]
    if rows.own:
        np.put_along_axis(grad, own, np.take_along_axis(grad, own, axis=1) - 1, axis=1)
    else:
        grad[shared] -= 1
    grad /= count
    return loss, grad


LOSSES: dict[str, Callable[[Array, Rows, Array, Array], tuple[Array, Array]]] = {
    "mse": _mse,
    "mae": _mae,
    "bce": _bce,
    "cross_entropy": _cross_entropy,
}
