"""The loss of each example alone."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

from weightwalk.learning.losses import LOSSES, Loss


def per_row(loss: Loss) -> Callable[[Tensor, Tensor], Tensor]:
    """A function like `loss` that gives one number for each row, shape (N,); their mean is the loss.

    The named losses are written out; of any other function it is the loss of a data set of one row, row by row.
    """
    if loss is LOSSES["mse"]:
        return lambda out, y: _mean((out - y).square())
    if loss is LOSSES["mae"]:
        return lambda out, y: _mean((out - y).abs())
    if loss is LOSSES["bce"]:
        return lambda out, y: _mean(functional.binary_cross_entropy_with_logits(out, y.to(out.dtype), reduction="none"))
    if loss is LOSSES["cross_entropy"]:
        return _cross_entropy
    return lambda out, y: torch.stack([loss(out[i : i + 1], y[i : i + 1]) for i in range(len(y))])


def _mean(t: Tensor) -> Tensor:
    return t.reshape(len(t), -1).mean(dim=1)


def _cross_entropy(out: Tensor, y: Tensor) -> Tensor:
    if y.is_floating_point():  # a probability for each class
        return functional.cross_entropy(out, y, reduction="none")
    each = functional.cross_entropy(out.reshape(-1, out.shape[-1]), y.flatten(), reduction="none")
    return _mean(each.reshape(y.shape))


def losses_of(loss: Loss, outs: Tensor, y: Tensor, *, samples: bool) -> tuple[Tensor, Tensor | None]:
    """The loss at several points, shape (P,), of outputs (P, N, ...); and of each example, (P, N), where wanted.

    The named losses are taken of all points at once, as if their examples were one data set.
    """
    many, n = len(outs), len(y)
    each = per_row(loss)
    unused = loss is LOSSES["cross_entropy"] and not y.is_floating_point() and bool((y < 0).any())  # rows left out
    if loss in LOSSES.values() and not unused:
        alone = each(outs.flatten(0, 1), y.expand(many, *y.shape).flatten(0, 1)).view(many, n)
        return alone.mean(dim=1), alone if samples else None
    losses = torch.stack([loss(out, y) for out in outs])
    return losses, torch.stack([each(out, y) for out in outs]) if samples else None
