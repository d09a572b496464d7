"""The one run of a net that its formula is read off: on which input, and without a trace left in the net."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import nn

from weightwalk.errors import UsageError, WeightwalkError
from weightwalk.walks.walk import Walk


def recorded(name: str, module: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> Walk:
    """The walk of one run.

    Raises:
        UsageError: The net cannot be run so.
    """
    from weightwalk.recorder import walk

    try:
        with torch.no_grad(), as_found(module):
            return walk(module, *args, **kwargs)
    except (WeightwalkError, MemoryError):
        raise
    except Exception as error:
        first = (str(error).strip().splitlines() or [""])[0].rstrip(".")
        shapes = ", ".join(str(tuple(a.shape)) for a in (*args, *kwargs.values()) if isinstance(a, torch.Tensor))
        cure = "call net.eval() first" if "training" in first else "give a fitting input, or a walk of the net"
        raise UsageError(
            f"{name} could not be run on an input of shape {shapes}: {type(error).__name__}: {first}; {cure}."
        ) from error


@contextmanager
def as_found(module: Any) -> Iterator[None]:
    """Put back what a run in training mode changes: batch norm's averages, and torch's random numbers."""
    buffers = [(b, b.clone()) for b in module.buffers()] if isinstance(module, nn.Module) else []
    with torch.random.fork_rng(devices=range(torch.cuda.device_count()) if torch.cuda.is_initialized() else []):
        try:
            yield
        finally:
            with torch.no_grad():
                for buffer, before in buffers:
                    if not torch.equal(buffer, before):
                        buffer.copy_(before)


def call_of(source: Any, module: Any, example: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """What to call the net with: an example input, of which only the shape matters to an exact formula."""
    if hasattr(source, "inputs") and hasattr(source, "expects"):
        if example is None:
            example = _zeros(source)
        given = source.inputs(example if not isinstance(example, np.ndarray) else example.tolist())
        return given.args, given.kwargs
    dtype = next((p.dtype for p in module.parameters() if p.is_floating_point()), torch.float32) if isinstance(
        module, nn.Module
    ) else torch.float32  # fmt: skip
    if example is None:
        example = _first_layer(module)
    if isinstance(example, torch.Tensor):
        tensor = example
    else:
        try:
            tensor = torch.as_tensor(np.asarray(example, np.float64), dtype=dtype)
        except (TypeError, ValueError) as error:
            raise UsageError(f"An input is a tensor, or numbers; received {example!r}.") from error
    if tensor.dim() == 0:
        tensor = tensor.reshape(1, 1)
    elif tensor.dim() == 1 and isinstance(module, nn.Module):
        tensor = tensor[None]
    return (tensor.to(dtype) if tensor.is_floating_point() else tensor,), {}


def _zeros(source: Any) -> list[float]:
    """An input of zeros, where the net tells how many numbers it takes."""
    expects = source.expects
    if expects.ids:
        raise UsageError(f"{source.name} reads token ids or text: give one input with --at, such as --at hello.")
    if expects.size is None or expects.dims is not None:
        raise UsageError(
            f"{source.name} does not tell the shape of its input: give one with --at, such as --at @input.npy."
        )
    return [0.0] * expects.size


def _first_layer(module: Any) -> list[float]:
    if isinstance(module, nn.Module):
        for layer in module.modules():
            if isinstance(layer, nn.Linear):
                return [0.0] * layer.in_features
            if next(layer.parameters(recurse=False), None) is not None:
                break
    raise UsageError(
        "The shape of the net's input cannot be read off its first layer: give an input with at=, or a walk of the net."
    )
