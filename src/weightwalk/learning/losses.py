"""Losses by name, each as the mean of one number per example; and the tensor of a net's output that they judge.

A loss is a score of the error that is never negative. The error itself, prediction minus target, is the *residual*: it
has a sign, no minimum, and is no loss.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from weightwalk.errors import UsageError

Loss = Callable[[Tensor, Tensor], Tensor]
"""``(outputs, targets) -> scalar``, a mean over examples."""


def squared(outputs: Tensor, targets: Tensor) -> Tensor:
    """Mean of ``(output - target)²`` over all numbers."""
    return nn.functional.mse_loss(outputs, _same(outputs, targets))


def absolute(outputs: Tensor, targets: Tensor) -> Tensor:
    """Mean of ``|output - target|`` over all numbers."""
    return nn.functional.l1_loss(outputs, _same(outputs, targets))


def cross_entropy(outputs: Tensor, targets: Tensor) -> Tensor:
    """Mean of ``-ln p(target)``, p the softmax of the logits in the last axis; targets are class numbers.

    Any axes may stand before the classes, as (batch, position, token) of a language model.
    """
    if outputs.dim() > 2:
        outputs, targets = outputs.flatten(0, -2), targets.flatten()
    return nn.functional.cross_entropy(outputs, targets)


def logistic(outputs: Tensor, targets: Tensor) -> Tensor:
    """Mean of ``-t ln p - (1 - t) ln(1 - p)``, p the logistic function of the output; targets are 0 to 1."""
    return nn.functional.binary_cross_entropy_with_logits(outputs, _same(outputs, targets))


LOSSES: dict[str, Loss] = {"mse": squared, "mae": absolute, "cross_entropy": cross_entropy, "bce": logistic}


def loss_of(loss: str | Loss) -> Loss:
    """The function of a named loss, or `loss` itself.

    Raises:
        UsageError: No loss has that name.
    """
    if not isinstance(loss, str):
        return loss
    if loss in {"residual", "difference"}:
        raise UsageError(
            "The residual (prediction minus target) is no loss: it has no minimum and falls to minus infinity; "
            "use mae (its size) or mse (its square)."
        )
    if loss not in LOSSES:
        raise UsageError(f"There is no loss {loss!r}; there are {', '.join(sorted(LOSSES))}, or pass a function.")
    return LOSSES[loss]


def tensor_of(out: Any) -> Tensor:
    """The tensor to judge: the logits of a model's output, or the first tensor in it.

    Raises:
        UsageError: There is none.
    """
    for candidate in (getattr(out, "logits", None), out, *(out if isinstance(out, (tuple, list)) else ())):
        if isinstance(candidate, Tensor):
            return candidate
    raise UsageError(f"the net returns {type(out).__name__}, in which there is no tensor to compare with a target.")


def one_number(loss: Any) -> Tensor:
    """What a loss function of the user's returned, if it is a tensor with one number.

    Raises:
        UsageError: It is not.
    """
    if not isinstance(loss, Tensor):
        raise UsageError(
            f"The loss must be a tensor with one number; the loss function returned {type(loss).__name__}."
        )
    if loss.numel() != 1:
        raise UsageError(f"The loss must be one number; its shape is {tuple(loss.shape)}: take its mean or its sum.")
    return loss


def _same(outputs: Tensor, targets: Tensor) -> Tensor:
    """The targets, refused where torch would stretch them: (N,) against (N, 1) would compare each with each."""
    if outputs.shape != targets.shape:
        one = outputs.dim() > 1 and targets.numel() == outputs[..., 0].numel() < outputs.numel()
        raise UsageError(
            f"The net returns numbers of shape {tuple(outputs.shape)} and the targets have {tuple(targets.shape)}: "
            f"give targets of the output's shape{', or class numbers and the loss cross_entropy' if one else ''}."
        )
    return targets if targets.dtype == outputs.dtype else targets.to(torch.promote_types(outputs.dtype, targets.dtype))
