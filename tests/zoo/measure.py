"""What Weightwalk makes of one net of the zoo: the facts behind docs/coverage.md and the tests that guard them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

import weightwalk as ww
from weightwalk.readings.account.facts import Account
from weightwalk.readings.verify import Report
from zoo.entry import Case, Float64, Net, widen


@dataclass(frozen=True)
class Measured:
    """The facts of one architecture; see the columns of docs/coverage.md."""

    case: Case
    steps: int
    report: Report
    account: Account
    account64: Account | None


def record(case: Case, train: bool) -> ww.Walk:
    """The walk of the forward pass and, with `train`, of the loss, the backward pass and an AdamW step."""
    net = case.build()
    with ww.recording(net.model) as walk:
        out = case.run(net)
        if train and net.loss is not None:
            optimizer = torch.optim.AdamW(net.model.parameters(), lr=1e-2)
            net.loss(out).backward()
            optimizer.step()
    return walk


def record_float64(case: Case) -> ww.Walk:
    """The walk of the forward pass with every parameter, input and cast in float64."""
    net: Net = widen(case.build())
    with Float64(), ww.recording(net.model) as walk:
        case.run(net)
    return walk


def largest(walk: ww.Walk) -> str:
    """The address of the number of greatest magnitude in the first output that has fractions."""
    values = [walk.values[vid] for vid in walk.calls[0].outputs.values()]
    value = next(v for v in values if v.kept and "float" in v.dtype)
    numbers = np.asarray(value.numpy(), dtype=np.float64)
    place = np.unravel_index(np.argmax(np.abs(numbers)), numbers.shape)
    return value.address + (f"[{', '.join(map(str, place))}]" if numbers.ndim else "")


def measure(case: Case, train: bool = True, **options: Any) -> Measured:
    """Record, verify and account for `case`."""
    walk = record(case, train)
    wide = record_float64(case) if case.float64 else None
    return Measured(
        case,
        len(walk.steps),
        walk.verify(**options),
        walk.account(largest(walk), cut="inputs"),
        None if wide is None else wide.account(largest(wide), cut="inputs"),
    )
