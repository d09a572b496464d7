"""The story of a training step: what the loss asked of each parameter, and what the optimizer then did."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from weightwalk.readings.narrate_decimals import EXACT, decimal
from weightwalk.readings.narrate_facts import Cell, Line, Section, Table, Text
from weightwalk.readings.narrate_ops import Teller
from weightwalk.walks.model import Value
from weightwalk.walks.walk import Walk

NUMBERS = 128  # parameters beyond which their norms are told instead
PARTS = (".grad", ".updated")


def parameters(walk: Walk) -> Iterator[tuple[str, Value, Value | None, Value | None]]:
    """Name, value, gradient and updated value of each parameter; tied ones once."""
    seen: set[int] = set()
    for name, vid in walk.given.items():
        value = walk.values[vid]
        if name.endswith(PARTS) or value.kind != "parameter" or vid in seen:
            continue
        seen.add(vid)
        grad, new = (walk.given.get(name + part) for part in PARTS)
        yield (
            name,
            value,
            None if grad is None else walk.values[grad],
            None if new is None else walk.values[new],
        )


def training(teller: Teller, walk: Walk, small: bool) -> Section | None:
    """Gradient and nudge of each parameter; None where the walk has neither."""
    found = [row for row in parameters(walk) if row[2] is not None or row[3] is not None]
    if not found:
        return None
    updated = any(new is not None for *_, new in found)
    few = small and sum(value.size for _, value, *_ in found) <= NUMBERS
    lines = _each_number(teller, found) if few else _each_parameter(teller, found)
    untouched = [name for name, *_ in parameters(walk) if name not in {f[0] for f in found}]
    if untouched:
        lines.append(Text(f"No gradient reached {', '.join(untouched[:6])}{' ...' * (len(untouched) > 6)}.", "note"))
    phase = "update" if updated else "backward"
    title = (
        "training step · gradient and nudge of each parameter" if updated else "backward · gradient of each parameter"
    )
    return Section(title, "", "training", phase, tuple(lines))


def _each_number(teller: Teller, found: list[tuple[str, Value, Value | None, Value | None]]) -> list[Line]:
    lines: list[Line] = []
    for name, value, grad, new in found:
        rows: list[tuple[Cell, ...]] = []
        if not all(v is None or v.kept for v in (value, grad, new)):
            lines.append(Text(f"{name}: its numbers were not kept.", "note"))
            continue
        old, g, n = (None if v is None else v.numpy().reshape(-1) for v in (value, grad, new))
        assert old is not None
        for i in range(value.size):
            before = decimal(old[i], teller.digits)
            after = None if n is None else decimal(n[i], teller.digits)
            nudge = None if after is None else EXACT.subtract(after, before)
            unit = f"{name}{teller.names.unit(value, i)[len(value.address) :]}"
            rows.append((unit, before, None if g is None else decimal(g[i], teller.digits), nudge, after))
        lines.append(Table(("parameter", "before", "gradient", "nudge", "after"), tuple(rows)))
        if g is not None and not g.any():
            lines.append(Text(f"The gradient of {name} is 0 throughout: here, it does not matter to the loss.", "note"))
    return lines


def _wide(value: Value) -> np.ndarray:
    return value.numpy().astype(np.complex128 if value.dtype.startswith("complex") else np.float64)


def _norm(value: Value | None) -> float | None:
    if value is None or not value.kept:
        return None
    with np.errstate(all="ignore"):
        return float(np.sqrt(np.sum(np.abs(_wide(value)) ** 2)))


def _each_parameter(teller: Teller, found: list[tuple[str, Value, Value | None, Value | None]]) -> list[Line]:
    rows: list[tuple[Cell, ...]] = []
    for name, value, grad, new in found:
        moved = None
        if new is not None and new.kept and value.kept:
            with np.errstate(all="ignore"):
                moved = float(np.sqrt(np.sum(np.abs(_wide(new) - _wide(value)) ** 2)))
        norms = [None if x is None else decimal(x, 6) for x in (_norm(value), _norm(grad), moved)]
        rows.append((name, "×".join(map(str, value.shape)) or "1", *norms))
    columns = ("parameter", "shape", "norm", "norm of gradient", "norm of nudge")
    return [Table(columns, tuple(rows), "Euclidean norms, computed here in float64")]
