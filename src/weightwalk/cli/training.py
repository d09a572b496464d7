"""One training step as a walk: forward, loss, backward, and plain gradient descent's nudge."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from weightwalk.errors import UsageError

if TYPE_CHECKING:
    from torch import Tensor

    from weightwalk.nets import Net
    from weightwalk.walks.walk import Walk


def training_step(net: Net, module: Any, inputs: tuple[Any, Any, Any], target: str, lr: float, options: Any) -> Walk:
    """Record forward, loss against `target`, backward and one SGD update.

    A net with a vocabulary is asked for tokens (cross-entropy, over the last positions); any other for numbers (mean
    squared error).

    Raises:
        UsageError: The net has nothing to train, or the target does not fit its output.
    """
    import torch
    from torch import nn

    from weightwalk.learning.losses import LOSSES, tensor_of
    from weightwalk.recorder import recording

    args, kwargs, labels = inputs
    if options.pop("open_fused", False):
        raise UsageError("--open-fused walks a forward pass; a training step runs as it is.")
    if not isinstance(module, nn.Module) or not any(p.requires_grad for p in module.parameters()):
        raise UsageError(f"{net.name!r} has no parameter to train, so --target makes no sense for it.")
    with torch.no_grad():
        like = tensor_of(module(*args, **kwargs))
    aim = _aim(net, target, like)
    optimizer = torch.optim.SGD([p for p in module.parameters() if p.requires_grad], lr=lr)
    with recording(module, axis_labels=labels, **options) as walk:
        out = tensor_of(module(*args, **kwargs))
        if aim.is_floating_point():
            loss = LOSSES["mse"](out, aim)
        else:
            loss = LOSSES["cross_entropy"](out.reshape(-1, out.shape[-1])[-len(aim) :], aim)
        loss.backward()
        optimizer.step()
    return walk


def _aim(net: Net, target: str, like: Tensor) -> Tensor:
    """The target as a tensor: token ids for a text net, numbers of the output's shape for any other."""
    import torch

    if net.tokenizer is not None:
        ids = net.tokenizer.encode(target)
        places = like.numel() // like.shape[-1]
        if len(ids) > places:
            raise UsageError(f"--target {target!r} has {len(ids)} tokens, and the input only {places}.")
        return torch.tensor(ids)
    return numbers_like(target, like)


def numbers_like(target: str, like: Tensor) -> Tensor:
    """A ``--target`` of numbers as a tensor of the output's shape and dtype.

    Raises:
        UsageError: Something in it is no number, or there are more or fewer than the net returns.
    """
    import torch

    try:
        numbers = [float(word) for word in target.replace(",", " ").replace(";", " ").split()]
    except ValueError:
        raise UsageError(f"--target {target!r} is not numbers, such as 1.5 or 1,2,3.") from None
    if len(numbers) != like.numel():
        raise UsageError(f"--target {target!r} has {len(numbers)} numbers; the net returns {like.numel()}.")
    return torch.tensor(numbers, dtype=like.dtype).reshape(like.shape)
