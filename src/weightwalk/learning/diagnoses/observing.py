"""Units and gradients of a net on data, taken in chunks: one forward and one backward pass over every row."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor, nn

from weightwalk.errors import UsageError
from weightwalk.learning.curvature import differentiating, refuse_bad
from weightwalk.learning.diagnoses.facts import Death, Layer, Silence, Units
from weightwalk.learning.diagnoses.watching import PIECEWISE, Call, names_of, off_of, per_unit, watching
from weightwalk.learning.losses import Loss, loss_of, one_number, tensor_of

SHOWN = 400
"""Rows up to which the map of units by inputs is kept."""
CHUNK = 512
"""Rows taken at once; fewer of a large net."""
LISTED = 12
"""Names given of rows on which a layer is silent."""


@dataclass(frozen=True, slots=True)
class Observation:
    """What one pass over the data showed.

    Attributes:
        loss: Mean loss.
        units: Per activation.
        layers: Gradients.
        silenced: Layers off as a whole.
        outputs: What the net answered, when all of it is small.
        names: Of the rows in the units' maps.
    """

    loss: float
    units: tuple[Units, ...]
    layers: tuple[Layer, ...]
    silenced: tuple[Silence, ...]
    outputs: Tensor | None = field(default=None, repr=False)
    names: tuple[str, ...] = ()


class _Sums:
    """Running sums over chunks of what one activation's units did."""

    def __init__(self, call: Call) -> None:
        self.call = call
        self.numbers = 0
        self.parts: list[np.ndarray] = []
        self.silent: list[np.ndarray] = []
        self.total = self.squares = self.off = self.low = self.high = self.gradient = np.zeros(0)

    def add(self, call: Call, rows: int) -> None:
        """Take in one chunk."""
        out = per_unit(call.output.double(), call.axis).cpu().numpy()
        flat = per_unit(off_of(call), call.axis).cpu().numpy()
        if call.gradient is None:
            slope = np.full(out.shape[-1], np.nan)
        else:
            slope = rows * per_unit(call.gradient.double(), call.axis).abs().amax((0, 1)).cpu().numpy()
        low, high = out.min((0, 1)), out.max((0, 1))
        if not self.numbers:
            self.total, self.squares, self.off = (np.zeros(out.shape[-1]) for _ in range(3))
            self.low, self.high, self.gradient = low, high, slope
        self.numbers += out.shape[0] * out.shape[1]
        self.total = self.total + out.sum((0, 1))
        self.squares = self.squares + (out**2).sum((0, 1))
        self.off = self.off + flat.sum((0, 1))
        self.low, self.high = np.minimum(self.low, low), np.maximum(self.high, high)
        self.gradient = np.maximum(self.gradient, slope)
        self.parts.append(1 - flat.mean(1))
        if call.function in PIECEWISE:
            self.silent.append(flat.all((1, 2)) & (out == 0).all((1, 2)))

    def units(self, shown: bool) -> Units:
        """The sums as facts."""
        mean = self.total / self.numbers
        spread = np.sqrt(np.maximum(self.squares / self.numbers - mean**2, 0))
        return Units(
            self.call.name,
            self.call.function,
            len(mean),
            self.off / self.numbers,
            mean,
            np.where(self.low == self.high, 0.0, spread),
            self.gradient,
            self.low == self.high,
            np.concatenate(self.parts) if shown else np.zeros((0, len(mean))),
        )


def observe(
    module: nn.Module, inputs: Tensor, targets: Tensor, loss: str | Loss, rows: Sequence[str] = ()
) -> Observation:
    """One pass over all the rows given, in eval mode; the module is left as found.

    Raises:
        UsageError: Weights or loss that are not finite, or a net that does not run on these inputs.
    """
    for name, tensor in module.state_dict().items():
        refuse_bad(name, tensor)
    criterion = loss_of(loss)
    trained = {name: p for name, p in module.named_parameters() if p.requires_grad}
    if not trained:
        raise UsageError("The net has no parameter that can be trained (none requires a gradient).")
    size = sum(p.numel() for p in trained.values())
    many = CHUNK if size < 200_000 else 16
    count = len(inputs)
    total, answers = 0.0, []
    slopes = {name: torch.zeros_like(p, dtype=torch.float64) for name, p in trained.items()}
    sums: list[_Sums] = []
    with differentiating(module):
        if inputs.is_inference():
            inputs, targets = inputs.clone(), targets.clone()
        for at in range(0, count, many):
            x, y = inputs[at : at + many], targets[at : at + many]
            with watching(module) as watch:
                out = _run(module, x)
            value = _judged(criterion, out, y)
            if value.numel() != 1 or not torch.isfinite(value):
                raise UsageError(_unfit(value, at))
            found = torch.autograd.grad(value, list(trained.values()), allow_unused=True)
            share = len(x) / count
            total += share * float(value.detach())
            for name, slope in zip(trained, found, strict=True):
                if slope is not None:
                    slopes[name] += share * slope.double()
            if not sums:
                sums = [_Sums(c) for c in watch.calls]
            elif names_of([s.call for s in sums]) != names_of(watch.calls):
                raise UsageError("The net runs other functions on other inputs, so that its units cannot be compared.")
            for one, call in zip(sums, watch.calls, strict=True):
                one.add(call, len(x))
            if out.numel() * -(-count // many) <= 2_000_000:
                answers.append(out.detach())
    shown = count <= SHOWN
    every: tuple[str, ...] = tuple(rows) or tuple(f"row {i}" for i in range(count))
    silenced = [_silence(s, every) for s in sums]
    return Observation(
        total,
        tuple(s.units(shown and len(s.parts[0]) == min(count, many)) for s in sums),
        layers_of(trained, slopes),
        tuple(s for s in silenced if s is not None),
        torch.cat(answers) if answers and sum(map(len, answers)) == count else None,
        tuple(every[:count]) if shown else (),
    )


def _run(module: nn.Module, x: Tensor) -> Tensor:
    """The net's output; what torch has to say of unfit inputs, as a sentence."""
    try:
        return tensor_of(module(x))
    except (RuntimeError, TypeError, ValueError, IndexError) as error:
        first, kind = (str(error).strip().splitlines() or [""])[0], str(x.dtype).removeprefix("torch.")
        raise UsageError(
            f"The net cannot be run on rows of shape {tuple(x.shape[1:])} and type {kind}: "
            f"{type(error).__name__}: {first}"
        ) from error


def _judged(criterion: Loss, out: Tensor, y: Tensor) -> Tensor:
    """The loss; what torch has to say of unfit targets, as a sentence."""
    try:
        return one_number(criterion(out, y))
    except (RuntimeError, TypeError, ValueError, IndexError) as error:
        first = (str(error).strip().splitlines() or [""])[0]
        raise UsageError(
            f"The targets of shape {tuple(y.shape)} do not fit outputs of shape {tuple(out.shape)} and this loss: "
            f"{type(error).__name__}: {first}"
        ) from error


def _unfit(value: Tensor, at: int) -> str:
    return (
        f"The loss is {float(value.detach())} on the rows from {at}: look at the data, or take an earlier checkpoint."
    )


def _silence(sums: _Sums, names: tuple[str, ...]) -> Silence | None:
    """On which rows the layer is off as a whole."""
    if not sums.silent:
        return None
    rows = np.flatnonzero(np.concatenate(sums.silent))
    if not len(rows) or max(rows) >= len(names):
        return None
    return Silence(sums.call.name, len(rows), tuple(names[i] for i in rows[:LISTED]))


def layers_of(trained: Mapping[str, nn.Parameter], slopes: Mapping[str, Tensor]) -> tuple[Layer, ...]:
    """Gradients by module, in the order of the parameters."""
    groups: dict[str, list[str]] = {}
    for name in trained:
        groups.setdefault(name.rpartition(".")[0] or name, []).append(name)
    made = []
    for path, names in groups.items():
        weights = sum(trained[n].numel() for n in names)
        gradient = float(sum(float(slopes[n].square().sum()) for n in names)) ** 0.5
        size = float(sum(float(trained[n].detach().double().square().sum()) for n in names)) ** 0.5
        made.append(Layer(path, weights, gradient, size, gradient / weights**0.5 if weights else 0.0))
    return tuple(made)


def dead_now(module: nn.Module, inputs: Tensor) -> frozenset[str]:
    """Names of units that are off on all inputs with a constant output: forward passes only."""
    dead: list[tuple[str, np.ndarray, np.ndarray, np.ndarray]] = []
    with differentiating(module), torch.no_grad():
        for at in range(0, len(inputs), CHUNK):
            with watching(module, slopes=False) as watch:
                module(inputs[at : at + CHUNK])
            for k, call in enumerate(watch.calls):
                out = per_unit(call.output.double(), call.axis).cpu().numpy()
                off = per_unit(off_of(call), call.axis).all(1).all(0).cpu().numpy()
                low, high = out.min((0, 1)), out.max((0, 1))
                if at == 0:
                    dead.append((call.name, off, low, high))
                else:
                    name, was, least, most = dead[k]
                    dead[k] = (name, was & off, np.minimum(least, low), np.maximum(most, high))
    return frozenset(f"{n}[{i}]" for n, off, low, high in dead for i in np.flatnonzero(off & (low == high)))


def with_weights(module: nn.Module, weights: Mapping[str, Tensor]) -> nn.Module:
    """A copy of the module with other weights; buffers that are not given stay."""
    twin = copy.deepcopy(module)
    own = {**dict(twin.named_parameters()), **dict(twin.named_buffers())}
    with torch.no_grad():
        for name, tensor in own.items():
            if name in weights:
                tensor.copy_(weights[name])
    return twin


def deaths_of(
    dead: Sequence[str],
    module: nn.Module,
    inputs: Tensor,
    snapshots: Sequence[tuple[int, Mapping[str, Tensor]]],
    looks: int = 60,
) -> tuple[Death, ...]:
    """When each of these units died, as closely as the snapshots tell.

    Evenly spaced snapshots are looked at, then those between the last at which the unit lived and the first after it.
    """
    if not snapshots:
        return tuple(Death(unit, None, None, False) for unit in dead)
    known: dict[int, frozenset[str]] = {}

    def at(index: int) -> frozenset[str]:
        if index not in known:
            known[index] = dead_now(with_weights(module, snapshots[index][1]), inputs)
        return known[index]

    last = len(snapshots) - 1
    coarse = sorted({round(i * last / max(min(looks, last), 1)) for i in range(min(looks, last) + 1)})
    made = []
    for unit in dead:
        alive = [i for i in coarse if unit not in at(i)]
        if not alive:
            made.append(Death(unit, snapshots[0][0], None, True))
            continue
        low = max(alive)
        high = next((i for i in coarse if i > low), last)
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (low, middle) if unit in at(middle) else (middle, high)
        made.append(Death(unit, snapshots[high][0], snapshots[low][0], True))
    return tuple(made)
