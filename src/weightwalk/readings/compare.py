"""Two walks of one model side by side: where they first part, by how much, and what it does to the output."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from weightwalk.errors import UsageError
from weightwalk.walks.model import Value
from weightwalk.walks.walk import Walk


@dataclass(frozen=True, slots=True)
class Difference:
    """How far one value of two walks is apart.

    Attributes:
        address: The value.
        step: Index of the step of the first walk that made it; None for what came from outside.
        shape: Its shape in the first walk.
        greatest: Greatest absolute difference of any element; inf where only one of them is finite, nan never.
        relative: Euclidean norm of the difference over that of the first walk's value; inf when that is zero.
        changed: Share of elements that differ.
        note: ``"shapes differ"``, ``"dtype float32 against float64"`` or ``""``.
    """

    address: str
    step: int | None
    shape: tuple[int, ...]
    greatest: float
    relative: float
    changed: float
    note: str = ""


@dataclass(frozen=True, slots=True)
class Comparison:
    """What `compare` found.

    Attributes:
        compared: Number of values held side by side.
        equal: How many of them are equal, bit for bit (NaN equals NaN).
        first: The first step's value in which the walks part; None if nowhere.
        causes: What differs of that which came from outside: inputs, parameters, constants.
        differences: Every value that differs, in the order of the first walk.
        outputs: What it does to the outputs, equal ones included.
        only_a: Addresses that only the first walk has.
        only_b: Addresses that only the second has.
        unread: Addresses whose numbers one of the walks did not keep.
    """

    compared: int
    equal: int
    first: Difference | None
    causes: tuple[Difference, ...]
    differences: tuple[Difference, ...]
    outputs: tuple[Difference, ...]
    only_a: tuple[str, ...]
    only_b: tuple[str, ...]
    unread: tuple[str, ...]

    @property
    def same(self) -> bool:
        """Whether every value is equal and both walks have the same values."""
        return self.compared == self.equal and not self.only_a and not self.only_b

    def __str__(self) -> str:
        from weightwalk.show.terminal import plain  # a comparison that is printed reads like the command's output

        return plain(self)


def compare(a: Walk, b: Walk) -> Comparison:
    """Hold two walks side by side, value by value, by address.

    Two values are equal if every element is, bit for bit up to the sign of zero, and NaN equals NaN. Where they differ,
    ``greatest = max |a - b|`` and ``relative = ||a - b|| / ||a||`` (Euclidean norms over all elements).

    Args:
        a: The first walk, the point of reference.
        b: The second: another input, a patched run, another machine or dtype.

    Returns:
        Where they first part, what differs of that which came from outside, and what it does to the outputs.

    Raises:
        UsageError: The walks have no address in common.

    Example:
        >>> import torch, weightwalk as ww
        >>> net = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.ReLU())
        >>> x = torch.ones(1, 2)
        >>> found = ww.compare(ww.walk(net, x), ww.walk(net, x, patch={"0": -1.0}))
        >>> found.same, found.first.address
        (False, '0')
    """
    names_a, names_b = _pairable(a), _pairable(b)
    common = [name for name in names_a if name in names_b]
    if not common:
        raise UsageError(
            f"the two walks ({a.meta.get('net')} and {b.meta.get('net')}) have no address in common; compare() holds "
            f"two runs of one model side by side."
        )
    pairs = {name: (a.values[names_a[name]], b.values[names_b[name]]) for name in common}
    read = {n: p for n, p in pairs.items() if p[0].kept and p[1].kept}
    all_ = {name: _difference(name, *pair) for name, pair in read.items()}
    parted = [d for d in all_.values() if d.greatest > 0 or d.note]
    from_steps = sorted((d for d in parted if d.step is not None), key=lambda d: d.step or 0)
    return Comparison(
        compared=len(read),
        equal=len(read) - len(parted),
        first=from_steps[0] if from_steps else None,
        causes=tuple(d for d in parted if d.step is None),
        differences=tuple(parted),
        outputs=tuple(d for n, d in all_.items() if n in _outputs(a)),
        only_a=tuple(n for n in names_a if n not in names_b),
        only_b=tuple(n for n in names_b if n not in names_a),
        unread=tuple(n for n in common if n not in read),
    )


def _pairable(walk: Walk) -> Mapping[str, int]:
    """One address per value, the preferred one, so that nothing is counted twice."""
    return {walk.address_of(v.id): v.id for v in walk.values}


def _outputs(walk: Walk) -> set[str]:
    roots = [c for c in walk.calls if c.parent == -1]
    ids = {vid for c in roots for vid in c.outputs.values()}
    ids |= {vid for name, vid in walk.given.items() if name == "out" or name.startswith("out.")}
    return {walk.address_of(i) for i in ids}


def _difference(address: str, a: Value, b: Value) -> Difference:
    if a.shape != b.shape:
        return Difference(
            address, a.producer, a.shape, float("inf"), float("inf"), 1.0, f"shapes differ: {a.shape} against {b.shape}"
        )
    note = "" if a.dtype == b.dtype else f"dtype {a.dtype} against {b.dtype}"
    wide = np.complex128 if "complex" in a.dtype + b.dtype else np.float64
    x, y = a.numpy(), b.numpy()
    same = (x == y) | ((x != x) & (y != y))
    if same.all():
        return Difference(address, a.producer, a.shape, 0.0, 0.0, 0.0, note)
    x, y = x.astype(wide), y.astype(wide)
    with np.errstate(invalid="ignore", over="ignore"):
        gap = np.where(same, 0.0, np.abs(x - y))
    gap = np.where(np.isnan(gap), np.inf, gap)
    base = float(np.linalg.norm(x.ravel()))
    relative = float(np.linalg.norm(gap.ravel())) / base if base > 0 else float("inf")
    return Difference(address, a.producer, a.shape, float(gap.max()), relative, float(1 - same.mean()), note)
