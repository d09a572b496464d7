"""The losses of `weightwalk.learning.losses` for many seeds at once, each with its gradient in the outputs."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

Score = Callable[[Tensor, Tensor, bool, Tensor, Tensor], Tensor]
"""``(outputs (n, out, S), targets, own, grad, spare) -> loss (S,)``; `grad` is written, `spare` may be."""


def squared(z: Tensor, targets: Tensor, own: bool, grad: Tensor, spare: Tensor) -> Tensor:
    """Mean of d² with d = output - target; gradient 2 d / count."""
    count = z.shape[0] * z.shape[1]
    torch.sub(z, targets, out=grad)
    torch.mul(grad, grad, out=spare)
    loss = _sum(spare, (0, 1)).div_(count)
    grad.mul_(2 / count)
    return loss


def absolute(z: Tensor, targets: Tensor, own: bool, grad: Tensor, spare: Tensor) -> Tensor:
    """Mean of |d| with d = output - target; gradient sign(d) / count."""
    count = z.shape[0] * z.shape[1]
    torch.sub(z, targets, out=grad)
    torch.abs(grad, out=spare)
    loss = _sum(spare, (0, 1)).div_(count)
    grad.sign_().div_(count)
    return loss


def logistic(z: Tensor, targets: Tensor, own: bool, grad: Tensor, spare: Tensor) -> Tensor:
    """Mean of max(z, 0) - t z + ln(1 + exp(-|z|)); gradient (1 / (1 + exp(-z)) - t) / count."""
    count = z.shape[0] * z.shape[1]
    torch.abs(z, out=spare)
    spare.neg_().exp_().log1p_()
    torch.clamp(z, min=0, out=grad)
    spare.add_(grad)
    torch.mul(z, targets, out=grad)
    spare.sub_(grad)
    loss = _sum(spare, (0, 1)).div_(count)
    torch.sigmoid(z, out=grad)
    grad.sub_(targets).div_(count)
    return loss


def cross_entropy(z: Tensor, targets: Tensor, own: bool, grad: Tensor, spare: Tensor) -> Tensor:
    """Mean of ln sum exp(z - m) - (z_t - m), m the largest of z; gradient (softmax(z) - one-hot(t)) / count."""
    rows, classes, _ = z.shape
    torch.sub(z, z.amax(dim=1, keepdim=True), out=grad)
    index = targets[:, None] if own else targets + classes * torch.arange(rows)
    lines = grad if own else grad.flatten(0, 1)
    picked = grad.gather(1, index)[:, 0] if own else lines[index]
    grad.exp_()
    total = _sum(grad, 1)
    loss = _sum(total.log().sub_(picked), 0).div_(rows)
    grad.div_(total[:, None])
    if own:
        grad.scatter_(1, index, grad.gather(1, index).sub_(1))
    else:
        lines[index] -= 1
    grad.div_(rows)
    return loss


def _sum(numbers: Tensor, axes: int | tuple[int, ...]) -> Tensor:
    """The sum, always in the order of the rows: torch's own depends, in its last bits, on the number of seeds."""
    return torch.from_numpy(np.add.reduce(numbers.numpy(), axis=axes))


SCORES: dict[str, Score] = {
    "mse": squared,
    "mae": absolute,
    "bce": logistic,
    "cross_entropy": cross_entropy,
}
