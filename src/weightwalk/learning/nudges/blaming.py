"""Backpropagation's blame and the optimizer's nudge of each weight, read out of the walk by address."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from weightwalk.learning.nudges.facts import Blame, Movement, Tensor
from weightwalk.walks.address import axis_labels
from weightwalk.walks.model import Value
from weightwalk.walks.walk import Walk

COUNTED = 5_000_000  # weights whose different nudges are counted; that needs all of them sorted


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter in the walk: its value before, its gradient and its value after, as recorded."""

    name: str
    value: Value
    before: np.ndarray
    gradient: np.ndarray
    after: np.ndarray
    reached: bool

    @property
    def nudge(self) -> np.ndarray:
        """What was added, exactly: the difference of two recorded numbers, in float64."""
        return np.asarray(self.after.astype(np.float64) - self.before.astype(np.float64))


def parameters(walk: Walk, names: Sequence[str]) -> Iterator[Parameter]:
    """The trained parameters, in the order of `names`; one that no gradient reached has gradient 0."""
    for name in names:
        if name not in walk.given:
            continue
        value = walk.values[walk.given[name]]
        before = value.numpy()
        grad, new = (walk.given.get(name + part) for part in (".grad", ".updated"))
        gradient = np.zeros_like(before) if grad is None else walk.values[grad].numpy()
        after = before if new is None else walk.values[new].numpy()
        yield Parameter(name, value, before, gradient, after, grad is not None)


def ranked(found: Sequence[Parameter], top: int) -> list[tuple[Parameter, int]]:
    """The weights of greatest ``|gradient|``: their parameter and place in it; of equal ones, the earlier.

    Those without a gradient are left out, unless none has one.
    """
    best: list[tuple[float, int, int]] = []
    for k, parameter in enumerate(found):
        sizes = np.abs(parameter.gradient.reshape(-1).astype(np.float64))
        few = min(top, sizes.size)
        if few == 0:
            continue
        least = np.partition(sizes, sizes.size - few)[sizes.size - few]
        places = np.flatnonzero(sizes >= least)
        if len(places) > 4 * few:  # many equal ones, such as zeros: the first will do
            places = np.concatenate([np.flatnonzero(sizes > least), np.flatnonzero(sizes == least)[:few]])
        best += [(-float(sizes[i]), k, int(i)) for i in places]
    best = sorted(best)[:top]
    return [(found[k], i) for size, k, i in best if size != 0 or best[0][0] == 0]


def blame(parameter: Parameter, place: int) -> Blame:
    """The facts of one weight."""
    before, gradient, after = (
        float(a.reshape(-1)[place]) for a in (parameter.before, parameter.gradient, parameter.after)
    )
    address, label = address_of(parameter, place)
    return Blame(address, label, before, gradient, after - before, after, gradient * (after - before))


def address_of(parameter: Parameter, place: int) -> tuple[str, str]:
    """Where one weight stands, by numbers and by the names of its axes."""
    shape = parameter.before.shape
    if not shape:
        return parameter.name, parameter.name
    at = [int(i) for i in np.unravel_index(place, shape)]
    names = [axis_labels(parameter.value.walk, parameter.value, axis) for axis in range(len(shape))]
    said = [repr(labels[i]) if labels is not None else str(i) for labels, i in zip(names, at, strict=True)]
    return f"{parameter.name}[{', '.join(map(str, at))}]", f"{parameter.name}[{', '.join(said)}]"


def tensors(found: Sequence[Parameter]) -> tuple[Tensor, ...]:
    """Every parameter as a whole."""
    sums = [_sum(p.gradient) for p in found]
    everything = sum(sums)
    return tuple(
        Tensor(
            p.name,
            p.before.shape,
            p.before.size,
            _norm(p.before),
            _norm(p.gradient) if p.reached else None,
            _norm(p.nudge),
            total / everything if everything else 0.0,
            int(p.gradient.size - np.count_nonzero(p.gradient)),
        )
        for p, total in zip(found, sums, strict=True)
    )


def movement(found: Sequence[Parameter]) -> Movement:
    """How many weights moved, which way, and by how many different amounts."""
    weights = sum(p.before.size for p in found)
    raised = lowered = flat = resting = swallowed = 0
    amounts = []
    for p in found:
        nudge = p.nudge
        raised += int((nudge > 0).sum())
        lowered += int((nudge < 0).sum())
        flat += int((p.gradient == 0).sum())
        resting += int(((nudge == 0) & (p.gradient == 0)).sum())
        swallowed += int(((nudge == 0) & (p.gradient != 0)).sum())
        if weights <= COUNTED:
            amounts.append(nudge[nudge != 0])
    distinct = len(np.unique(np.concatenate(amounts))) if amounts else None
    return Movement(weights, raised + lowered, raised, lowered, distinct, flat, resting, swallowed)


def share_of(found: Sequence[Parameter], shown: Sequence[Blame]) -> tuple[float, float]:
    """The share of all ``|gradient|`` that the weights shown hold, and the norm of the other gradients."""
    everything = sum(_sum(p.gradient) for p in found)
    squares = sum(_norm(p.gradient) ** 2 for p in found)
    told = sum(abs(b.gradient) for b in shown)
    rest = squares - sum(b.gradient**2 for b in shown)
    all_told = len(shown) == sum(p.before.size for p in found)
    return (told / everything if everything else 0.0), 0.0 if all_told else float(np.sqrt(max(rest, 0.0)))


def _sum(numbers: np.ndarray) -> float:
    return float(np.abs(numbers).sum(dtype=np.float64))


def _norm(numbers: np.ndarray) -> float:
    flat = numbers.reshape(-1)
    if flat.dtype != np.float64:
        flat = flat.astype(np.float64)
    return float(np.sqrt(flat @ flat))
