"""A neuron inside a real net: its inputs are hidden values, two of which it is judged by here."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from weightwalk.errors import UsageError
from weightwalk.learning.landscapes.neuron import Neuron, neuron
from weightwalk.learning.landscapes.quiet import judging


def hidden_neuron(
    module: nn.Module,
    inputs: Any,
    targets: Tensor | None = None,
    *,
    name: str = "the net",
    pair: tuple[int, int] | None = None,
    unit: int = 0,
    row: int = 0,
    grid: int = 41,
    span: float | None = None,
) -> Neuron:
    """The last linear layer's neuron, over the weights of two of its hidden inputs.

    All its other inputs stay, with their weights, and are its bias, another number for each sample. So the loss at the
    trained weights is the net's own, if `targets` are the net's.

    Args:
        module: The net.
        inputs: What it is run on: a tensor, or a tuple of arguments.
        targets: Of that neuron, a number for each sample; None for its own outputs, so that the loss there is 0.
        name: Of the net.
        pair: Which two hidden coordinates; None for those that vary most among the samples.
        unit: Which output of the layer.
        row: The one sample.
        grid: Places along each weight.
        span: See `neuron`; None for three times the larger of the two weights.

    Raises:
        UsageError: No linear layer, no such coordinates, or targets that do not fit.
    """
    label, hidden, weight, bias = _last_linear(module, inputs)
    d = hidden.shape[1]
    if d < 2:
        raise UsageError(f"{label} of {name} has {d} hidden input; a picture of two weights needs two.")
    if not 0 <= unit < len(weight):
        raise UsageError(f"{label} has {len(weight)} outputs; there is no {unit}.")
    i, j = pair if pair is not None else sorted(np.argsort(-hidden.var(axis=0), kind="stable")[:2].tolist())
    if not (0 <= i < d and 0 <= j < d and i != j):
        raise UsageError(f"The hidden vector has {d:,} values, 0 to {d - 1}; ({i}, {j}) are no two of them.")
    w = weight[unit]
    outputs = hidden @ w + bias[unit]
    if targets is None:
        y, said = outputs, "its targets are its own outputs in the trained net"
    else:
        y = targets.detach().double().cpu().numpy().reshape(-1)
        said = "its targets are the task's"
        if len(y) != len(outputs):
            raise UsageError(f"{label} gives {len(outputs)} numbers for these inputs, and there are {len(y)} targets.")
    rest = outputs - hidden[:, i] * w[i] - hidden[:, j] * w[j]
    size = float(max(abs(w[i]), abs(w[j])))
    return neuron(
        hidden[:, [i, j]], y, bias=rest, row=row, grid=grid, span=span or 3 * size or None,
        at=(float(w[i]), float(w[j])),
        names=(f"{label}.weight[{unit}, {i}]", f"{label}.weight[{unit}, {j}]"),
        source=f"{len(y):,} samples: values {i} and {j} of the {d:,} hidden ones that {label} of {name} takes; {said}",
    )  # fmt: skip


def _last_linear(module: nn.Module, inputs: Any) -> tuple[str, np.ndarray, np.ndarray, np.ndarray]:
    """The linear layer that was called last: its name, what it took (N, d), its weight and bias, in float64."""
    seen: list[tuple[str, nn.Linear, Tensor]] = []
    handles = [
        layer.register_forward_pre_hook(lambda m, args, name=name: seen.append((name, m, args[0].detach())))  # type: ignore[misc]
        for name, layer in module.named_modules()
        if isinstance(layer, nn.Linear)
    ]
    try:
        with judging(module):
            module(*inputs) if isinstance(inputs, tuple) else module(inputs)
    finally:
        for handle in handles:
            handle.remove()
    if not seen:
        raise UsageError("The net called no linear layer (nn.Linear), so no neuron of it can be drawn.")
    name, layer, taken = seen[-1]
    bias = torch.zeros(layer.out_features) if layer.bias is None else layer.bias
    parts = (taken.reshape(-1, taken.shape[-1]), layer.weight.detach(), bias.detach())
    hidden, weight, offset = (t.double().cpu().numpy() for t in parts)
    return name or "the layer", hidden, weight, offset
