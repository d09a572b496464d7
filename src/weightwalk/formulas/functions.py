"""A network as a plain function of points, in float64, for what only evaluates it: surrogates and sensitivities."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from weightwalk.errors import UsageError
from weightwalk.formulas.asking import rows_among
from weightwalk.formulas.piecewise import element

CHUNK = 4096
"""Points that are run at once."""


@dataclass(frozen=True, eq=False)
class NetFunction:
    """f of a network, any network of numbers.

    Attributes:
        inputs: Names of its n inputs.
        outputs: Names of its outputs.
        box: (least, greatest) of each input, where the net says so.
    """

    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    box: tuple[tuple[float, float], ...] | None
    run: Callable[[Tensor], Tensor] = field(repr=False)

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """(N, n) to (N, outputs), float64."""
        if not len(x):
            return np.zeros((0, len(self.outputs)))
        with torch.no_grad():
            parts = [self.run(_rows(x[i : i + CHUNK])) for i in range(0, len(x), CHUNK)]
        return torch.cat(parts).numpy()

    def gradient(self, x: np.ndarray) -> np.ndarray:
        """(outputs, n) the derivatives at one point (n,), by torch in float64."""
        point = _rows(np.asarray(x)[None]).requires_grad_(True)
        out = self.run(point)[0]
        rows = [torch.autograd.grad(y, point, retain_graph=True, allow_unused=True)[0] for y in out]
        return np.stack([np.zeros(len(x)) if r is None else r[0].numpy() for r in rows])

    def select(self, rows: list[int]) -> NetFunction:
        """Some of the outputs.

        Raises:
            UsageError: There is no such output.
        """
        some = rows_among(rows, len(self.outputs))
        return NetFunction(
            self.inputs, tuple(self.outputs[r] for r in some), self.box, lambda points: self.run(points)[:, some]
        )


def function_of(net: Any) -> NetFunction:
    """A net as a function of points, run by torch in float64 on a copy of it.

    Args:
        net: From `weightwalk.load_net`; it takes one tensor of numbers.

    Raises:
        UsageError: It reads token ids, its input's size is not known, or it cannot be run in float64.

    Example:
        >>> import weightwalk as ww
        >>> f = function_of(ww.load_net("linear", seed=0))
        >>> f.inputs, f(np.array([[0.0], [1.0]])).round(3).tolist()
        (('in[0, 0]',), [[3.0], [5.0]])
    """
    expects = net.expects
    if expects.ids:
        raise UsageError(f"{net.name} reads token ids, and a polynomial needs inputs that are numbers.")
    if expects.size is None or expects.dims is not None:
        raise UsageError(f"{net.name} does not tell how many numbers it takes, so no box of inputs can be laid out.")
    n = expects.size
    module, dtype = net.module, torch.float64
    if isinstance(module, nn.Module):
        module = copy.deepcopy(module).to(dtype)
    batched = isinstance(net.module, nn.Module)

    def run(points: Tensor, at_once: bool = True) -> Tensor:
        call = (lambda row: module(**{expects.key: row}, **expects.extra)) if expects.key else module
        if batched and at_once:
            return _tensor(call(points)).reshape(len(points), -1)
        return torch.stack([_tensor(call(row[None] if batched else row)).reshape(-1) for row in points])

    probe = torch.linspace(-0.7, 0.9, 3 * n, dtype=dtype).reshape(3, n)
    try:
        with torch.no_grad():
            together, apart = run(probe), run(probe, at_once=False)
    except UsageError:
        raise
    except Exception as error:  # anybody's code runs here, and may raise anything
        first_line = (str(error).strip().splitlines() or [""])[0]
        raise UsageError(f"{net.name} cannot be run in float64: {type(error).__name__}: {first_line}") from error
    if together.shape != apart.shape or not torch.allclose(together, apart, rtol=1e-9, atol=1e-12, equal_nan=True):
        raise UsageError(f"{net.name} does not keep the points of a batch apart, so it is no function of one input.")
    count = apart.shape[1]
    names = expects.names or tuple(element("in", (1, n) if batched else (n,), i) for i in range(n))
    labels = [axes.get(-1) for address, axes in net.labels.items() if isinstance(axes, dict) and address != "in"]
    outputs = next((tuple(found) for found in labels[::-1] if found and len(found) == count), None)
    if outputs is None:
        outputs = tuple(element("out", (1, count), i) for i in range(count))
    return NetFunction(tuple(names), outputs, expects.box or None, run)


def _rows(x: np.ndarray) -> Tensor:
    return torch.from_numpy(np.array(x, np.float64))


def _tensor(out: Any) -> Tensor:
    """The real tensor of whatever a net returned."""
    for found in (getattr(out, "logits", None), out, *(out if isinstance(out, (tuple, list)) else ())):
        if isinstance(found, Tensor) and found.is_floating_point():
            return found.to(torch.float64)
    raise UsageError(f"The net returns {type(out).__name__}, in which there is no tensor of real numbers.")
