"""From the name of one number of a module's parameters to what moves with it in the lifted net.

The module is lifted three times, in float64: as it is, and with that number moved by two different steps. What of the
lifted net differs is what moves; the third lift proves that it moves in proportion. So every parameter will do that
acts in proportion: of linear layers, convolutions, embeddings, the scale of a batch norm, or a bare ``nn.Parameter``.
"""

from __future__ import annotations

import copy
import difflib
import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from torch import nn

from weightwalk.errors import UsageError
from weightwalk.formulas.lifts.lift import Lifted, lift
from weightwalk.formulas.losses.moving import Weight, rate_of
from weightwalk.formulas.losses.planes import LossPlane, PlaneOracle, loss_plane
from weightwalk.formulas.losses.slices import LossLine, check_data, loss_along
from weightwalk.formulas.oracle import module_oracle
from weightwalk.formulas.piecewise import Affine, Matrix, PiecewiseNet
from weightwalk.formulas.planes.partition import Box

SAME = 1e-9
"""Two rates of change that differ by less than this fraction are one: they are differences of rounded numbers."""


@dataclass(frozen=True, eq=False)
class Located:
    """One number of a module's parameters, found again in its lifted net.

    Attributes:
        weight: What moves with it.
        lifted: The module in piecewise-affine form.
        module: A copy of the module in float64.
        parameter: The parameter of that copy.
        index: Of the number in it.
        args: What the module is called with; only the shape matters.
    """

    weight: Weight
    lifted: Lifted = field(repr=False)
    module: nn.Module = field(repr=False)
    parameter: nn.Parameter = field(repr=False)
    index: tuple[int, ...]
    args: tuple[Any, ...] = field(repr=False)

    @property
    def net(self) -> PiecewiseNet:
        """The net with the weight as it is."""
        return self.lifted.net

    def put(self, value: float) -> None:
        """Set the number in the copy."""
        with torch.no_grad():
            self.parameter[self.index] = value

    def outputs(self, value: float, x: np.ndarray) -> np.ndarray | None:
        """The module's outputs, (N, outputs), with the number set; None where it cannot be run in float64."""
        self.put(value)
        try:
            oracle = module_oracle(self.lifted, self.module, self.args, {}, torch.float64)
            return None if oracle is None else oracle(x)
        finally:
            self.put(self.weight.value)

    def gradient(self, x: np.ndarray, y: np.ndarray) -> float | None:
        """d loss / d weight by autograd; None where the module takes no batch."""
        shape = tuple(self.args[0].shape)
        rows = torch.from_numpy(np.ascontiguousarray(x)).reshape(-1, *shape[1:])
        try:
            with torch.enable_grad():
                out = self.module(rows, *self.args[1:]).reshape(len(x), -1)
                loss = nn.functional.mse_loss(out, torch.from_numpy(np.ascontiguousarray(y)))
                (found,) = torch.autograd.grad(loss, self.parameter, allow_unused=True)
        except (RuntimeError, TypeError, ValueError, AttributeError):
            return None
        return 0.0 if found is None else float(found[self.index])


def locate(module: Any, args: Sequence[Any], name: str) -> Located:
    """Find one number of a module's parameters in its lifted net.

    Args:
        module: An ``nn.Module``; it is copied, not touched.
        args: One input to call it with.
        name: Such as ``"fc2.weight[0,1]"`` or ``"fc2.bias[3]"``.

    Raises:
        UsageError: There is no such parameter or index, or the net's layers do not move in proportion to it.

    Example:
        >>> import torch
        >>> net = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.ReLU(), torch.nn.Linear(3, 1))
        >>> found = locate(net, (torch.zeros(1, 2),), "2.weight[0, 1]")
        >>> found.weight.name, [layer for layer, _ in found.weight.changes]  # layer 1 is the output
        ('2.weight[0, 1]', [1])
    """
    if not isinstance(module, nn.Module):
        raise UsageError(f"A weight is looked for in an nn.Module; this net is a {type(module).__name__}.")
    path, index = _named(module, name)
    double = copy.deepcopy(module).to(torch.float64).eval().requires_grad_(True)
    args = tuple(a.to(torch.float64) if isinstance(a, torch.Tensor) and a.is_floating_point() else a for a in args)
    parameter = dict(double.named_parameters(remove_duplicate=False))[path]
    value = float(parameter.detach()[index])
    if not np.isfinite(value):
        raise UsageError(f"{name} is {value}: a formula needs finite weights.")
    title = path + (f"[{', '.join(map(str, index))}]" if index else "")
    found = Located(Weight(title, value, ()), _lifted(double, args), double, parameter, index, args)
    step = float(2.0 ** np.floor(np.log2(abs(value)))) if value else 1.0
    rates = _rates(found, value + step)
    if not _same(rates, _rates(found, value - 3 * step)):
        raise UsageError(
            f"The layers of the net do not move in proportion to {title}, so its loss has no such formula."
        )
    if not rates:  # nothing depends on it
        rates = {len(found.net.layers): Affine((), np.zeros(found.net.output.size))}
    return Located(Weight(title, value, tuple(sorted(rates.items()))), found.lifted, double, parameter, index, args)


def loss_along_parameter(
    module: Any,
    args: Sequence[Any],
    name: str,
    data: tuple[np.ndarray, np.ndarray],
    span: tuple[float, float] | None = None,
    **options: Any,
) -> LossLine:
    """The exact mean squared loss along one number of a module's parameters, held against the module itself.

    Args:
        module: An ``nn.Module``; it is copied, not touched.
        args: One input to call it with.
        name: Such as ``"fc2.weight[0,1]"``.
        data: Inputs (N, ...) and targets (N, ...).
        span: Least and greatest value of the weight; None for the whole line.
        **options: For `weightwalk.formulas.losses.slices.loss_along`.

    Raises:
        UsageError: See `locate` and `weightwalk.formulas.losses.slices.loss_along`.

    Example:
        >>> import torch
        >>> net = torch.nn.Sequential(torch.nn.Linear(1, 2), torch.nn.ReLU(), torch.nn.Linear(2, 1))
        >>> x = torch.linspace(-1, 1, 9)[:, None]
        >>> found = loss_along_parameter(net, (x[:1],), "0.weight[1, 0]", (x.numpy(), x.abs().numpy()))
        >>> found.certificate.ok, found.minimum.loss <= found.loss
        (True, True)
    """
    found = locate(module, args, name)
    x, y = check_data(found.net, data)
    oracle = None
    if found.outputs(found.weight.value, x[:1]) is not None:
        oracle = lambda w: np.array([_mse(found.outputs(float(v), x), y) for v in w])  # noqa: E731
    gradient = found.gradient(x, y) if oracle is not None else None
    return loss_along(found.net, found.weight, (x, y), span, oracle=oracle, gradient=gradient, **options)


def loss_over_parameters(
    module: Any,
    args: Sequence[Any],
    names: tuple[str, str],
    data: tuple[np.ndarray, np.ndarray],
    box: Box | None = None,
    **options: Any,
) -> LossPlane:
    """The exact mean squared loss over two numbers of one layer's parameters, held against the module itself.

    Args:
        module: An ``nn.Module``; it is copied, not touched.
        args: One input to call it with.
        names: Such as ``("fc2.weight[0,1]", "fc2.weight[0,2]")``.
        data: Inputs (N, ...) and targets (N, ...).
        box: Least and greatest value of each; None for 1 to both sides of each as it is.
        **options: For `weightwalk.formulas.losses.planes.loss_plane`.

    Raises:
        UsageError: See `locate` and `weightwalk.formulas.losses.planes.loss_plane`.

    Example:
        >>> import torch
        >>> net = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.ReLU(), torch.nn.Linear(3, 1))
        >>> x = torch.tensor([[0.5, -0.5], [1.0, 2.0]])
        >>> data = x.numpy(), x.sum(1, keepdim=True).numpy()
        >>> loss_over_parameters(net, (x[:1],), ("0.weight[0,0]", "0.weight[1,1]"), data).certificate.ok
        True
    """
    first, second = (locate(module, args, name) for name in names)
    x, y = check_data(first.net, data)
    oracle = None
    if first.outputs(first.weight.value, x[:1]) is not None:
        other = replace(second, module=first.module, parameter=_parameter(first.module, second))
        oracle = _over(first, other, x, y)
    a, b = first.weight.value, second.weight.value
    box = ((a - 1.0, a + 1.0), (b - 1.0, b + 1.0)) if box is None else box
    return loss_plane(first.net, (first.weight, second.weight), (x, y), box, oracle=oracle, **options)


def _over(first: Located, second: Located, x: np.ndarray, y: np.ndarray) -> PlaneOracle:
    """The loss at pairs of values of two weights of one module, by running it."""

    def judge(pairs: np.ndarray) -> np.ndarray:
        found = []
        for a, b in pairs.tolist():
            second.put(b)
            found.append(_mse(first.outputs(a, x), y))
        second.put(second.weight.value)
        return np.array(found)

    return judge


def _parameter(module: nn.Module, found: Located) -> nn.Parameter:
    path = found.weight.name.partition("[")[0]
    return dict(module.named_parameters(remove_duplicate=False))[path]


def _mse(out: np.ndarray | None, y: np.ndarray) -> float:
    assert out is not None
    return float(nn.functional.mse_loss(torch.from_numpy(out), torch.from_numpy(y)))


def _named(module: nn.Module, name: str) -> tuple[str, tuple[int, ...]]:
    """The parameter and the index in it."""
    match = re.fullmatch(r"\s*([\w.]+?)\s*(?:\[\s*(-?\d+(?:\s*,\s*-?\d+)*)\s*\])?\s*", name)
    if match is None:
        raise UsageError(f"{name!r} names no weight; one is named like fc2.weight[0,1].")
    path = match[1]
    index = tuple(int(i) for i in match[2].split(",")) if match[2] else ()
    parameters = dict(module.named_parameters(remove_duplicate=False))
    if path not in parameters:
        near = difflib.get_close_matches(path, parameters, n=3, cutoff=0.4) or list(parameters)[:3]
        hint = f"; did you mean {' or '.join(near)}?" if near else "; the net has none."
        raise UsageError(f"There is no parameter {path!r}{hint}")
    shape = tuple(parameters[path].shape)
    if len(index) != len(shape) or any(not -n <= i < n for i, n in zip(index, shape, strict=False)):
        example = f"{path}[{', '.join('0' * len(shape))}]" if shape else path
        raise UsageError(f"{name!r} is no number of {path}, whose shape is {shape}: one is {example}.")
    return path, tuple(i % n for i, n in zip(index, shape, strict=True))


def _lifted(module: nn.Module, args: Sequence[Any]) -> Lifted:
    from weightwalk.recorder import walk

    with torch.no_grad():
        return lift(walk(module, *args))


def _rates(found: Located, value: float) -> dict[int, Affine]:
    """How fast each affine map of the net changes between the weight as it is and another value."""
    found.put(value)
    try:
        other = _lifted(found.module, found.args).net
        step = float(found.parameter.detach()[found.index]) - found.weight.value
    finally:
        found.put(found.weight.value)
    net = found.net
    try:
        if len(net.layers) != len(other.layers):
            raise ValueError("another number of layers")
        for a, b in zip(net.layers, other.layers, strict=True):
            if not (np.array_equal(a.activation.slopes, b.activation.slopes)
                    and np.array_equal(a.activation.kinks, b.activation.kinks)):  # fmt: skip
                raise UsageError(
                    f"{found.weight.name} sets a slope or a kink of the activation of {a.name}, and not a weight of an "
                    "affine layer: there is no formula of the loss along it."
                )
        pairs = [*((a.affine, b.affine) for a, b in zip(net.layers, other.layers, strict=True))]
        rates = [rate_of(b, a, step) for a, b in [*pairs, (net.output, other.output)]]
    except ValueError:
        raise UsageError(
            f"The net has other layers when {found.weight.name} is {value:g}: there is no formula of the loss along it."
        ) from None
    return {k: rate for k, rate in enumerate(rates) if rate is not None}


def _same(one: dict[int, Affine], two: dict[int, Affine]) -> bool:
    return one.keys() == two.keys() and all(_alike(one[k], two[k]) for k in one)


def _alike(one: Affine, two: Affine) -> bool:
    if [j for j, _ in one.terms] != [j for j, _ in two.terms]:
        return False
    pairs = [(_probe(a), _probe(b)) for (_, a), (_, b) in zip(one.terms, two.terms, strict=True)]
    pairs.append((one.bias, two.bias))
    size = max(float(np.abs(a).max(initial=0.0)) for a, _ in pairs)
    return all(float(np.abs(a - b).max(initial=0.0)) <= SAME * size for a, b in pairs)


def _probe(matrix: Matrix) -> np.ndarray:
    return np.asarray(matrix @ np.random.default_rng(0).standard_normal((matrix.shape[1], 2)))
