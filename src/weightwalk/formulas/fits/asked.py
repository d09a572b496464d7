"""What `weightwalk.formula` gives besides: a polynomial in place of any net, and the loss along weights."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch import nn

from weightwalk.errors import UsageError
from weightwalk.formulas.fits.surrogates import Surrogate, surrogate
from weightwalk.formulas.functions import NetFunction, function_of
from weightwalk.formulas.losses.parameters import loss_along_parameter, loss_over_parameters
from weightwalk.formulas.losses.planes import LossPlane
from weightwalk.formulas.losses.slices import LossLine
from weightwalk.formulas.places import intervals

Data = tuple[Any, Any] | None
"""(inputs (N, n), targets (N, outputs)), as arrays or tensors."""


def fitted(
    source: Any,
    degree: int,
    box: Any,
    data: Data,
    select: Sequence[int] | None,
    per_input: bool,
    seed: int,
    memory: int,
) -> Surrogate:
    """The polynomial of `degree` in place of a net over `box`; see `weightwalk.formulas.fits.surrogates.surrogate`.

    Raises:
        UsageError: There is no box, or the net takes no numbers.
    """
    f = _function(source, box)
    sides = f.box if box is None else intervals(box, len(f.inputs), ())
    if sides is None:
        raise UsageError("A polynomial is fitted over a box of inputs: give one, such as box=(-1, 1).")
    pair = None if data is None else _pair(data)
    given = None if pair is None else (_array(pair[0], len(f.inputs)), _array(pair[1], len(f.outputs)))
    if select is not None:
        f = f.select(list(select))
        given = None if given is None else (given[0], given[1][:, list(select)])
    kind = "per-input" if per_input else "total"
    return surrogate(
        f, sides, degree, kind=kind, seed=seed, data=given, names=f.inputs, outputs=f.outputs, memory=memory
    )


def loss(
    source: Any, weight: str | Sequence[str], data: Data, box: Any, seed: int, max_regions: int, memory: int
) -> LossLine | LossPlane:
    """The mean squared loss along one weight, or over two of one layer; see `weightwalk.formulas.losses.parameters`.

    Raises:
        UsageError: There is no data, no such weight, or the loss has no such formula.
    """
    module = getattr(source, "module", source)
    if not isinstance(module, nn.Module):
        raise UsageError(f"The loss along a weight is of a torch module; received {type(source).__name__}.")
    if data is None:
        raise UsageError("A loss needs data: give data=(inputs, targets).")
    names = [weight] if isinstance(weight, str) else list(weight)
    inputs, targets = _pair(data)
    x, y = _array(inputs, None), _array(targets, None)
    dtype = next((p.dtype for p in module.parameters() if p.is_floating_point()), torch.float32)
    args = (torch.from_numpy(inputs[:1]).to(dtype),)
    if len(names) == 1:
        span = None if box is None else intervals(box, 1, ())[0]
        return loss_along_parameter(module, args, names[0], (x, y), span, seed=seed)
    if len(names) != 2:
        raise UsageError(f"The loss is along one weight, or over two of one layer; {len(names)} were named.")
    sides = None if box is None else intervals(box, 2, ())
    return loss_over_parameters(
        module, args, (names[0], names[1]), (x, y), sides, seed=seed, max_regions=max_regions, memory=memory
    )


def _function(source: Any, box: Any) -> NetFunction:
    if hasattr(source, "expects"):
        return function_of(source)
    if not callable(source):
        raise UsageError(f"A polynomial is fitted to a net, which can be run; received {type(source).__name__}.")
    shape = np.shape(box) if box is not None else ()
    size = shape[0] if len(shape) == 2 else None
    if isinstance(source, nn.Module) and size is None:
        size = next((m.in_features for m in source.modules() if isinstance(m, nn.Linear)), None)
    expects = SimpleNamespace(
        ids=False, size=1 if size is None and len(shape) == 1 else size, dims=None, key=None, extra={}, names=(), box=()
    )
    return function_of(SimpleNamespace(name=type(source).__name__, module=source, expects=expects, labels={}))


def _pair(data: Any) -> tuple[np.ndarray, np.ndarray]:
    """Inputs and targets in float64, in the shapes they came in."""
    if not isinstance(data, (tuple, list)) or len(data) != 2:
        raise UsageError(f"data= takes two arrays, (inputs, targets); received {type(data).__name__}.")
    try:
        x, y = (np.array(d.detach().cpu().double().numpy() if hasattr(d, "detach") else d, np.float64) for d in data)
    except (TypeError, ValueError) as error:
        raise UsageError("data= takes two arrays of numbers, (inputs, targets); there is something else.") from error
    if not x.ndim or not y.ndim or not len(x) or not len(y):
        raise UsageError(f"The data are inputs of shape {x.shape} and targets of shape {y.shape}, without a sample.")
    return x, y


def _array(array: np.ndarray, columns: int | None) -> np.ndarray:
    array = array.reshape(len(array), -1)
    if columns is not None and array.shape[1] != columns:
        raise UsageError(f"The data has {array.shape[1]} columns where the net has {columns} numbers.")
    return array
