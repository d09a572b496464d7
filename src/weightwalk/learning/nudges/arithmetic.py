"""The optimizer's arithmetic for one weight, line by line, with the numbers of the record and held to it.

What goes in is recorded: the weight, its gradient, and the averages as they stood before. Each line is computed in
float64 and compared with the number that the record has for it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from weightwalk.learning.nudges.blaming import Parameter, address_of
from weightwalk.learning.nudges.facts import Arithmetic, Check, Quotient
from weightwalk.readings.narrate_decimals import closed, decimal, product
from weightwalk.readings.narrate_facts import Sum, Term
from weightwalk.walks.model import Value
from weightwalk.walks.walk import Walk

UNIT = {"float64": 2.0**-53, "float32": 2.0**-24, "float16": 2.0**-11, "bfloat16": 2.0**-8}
SMALLEST = {"float64": 2.0**-1074, "float32": 2.0**-149, "float16": 2.0**-24, "bfloat16": 2.0**-133}
OPS = 12  # rounded operations in the longest line; each errs by at most half a unit of the last place, relatively


@dataclass(frozen=True, slots=True)
class Part:
    """One term of a line: ``factor * number``, or a number alone; rounded relatively to `size`, or to itself."""

    label: str
    factor: float | None
    number: float
    size: float | None = None


class Sheet:
    """A sheet of arithmetic for one weight."""

    def __init__(self, walk: Walk, parameter: Parameter, place: int) -> None:
        self.walk, self.parameter, self.place = walk, parameter, place
        self.address = address_of(parameter, place)[0]
        self.lines: list[Sum | Quotient] = []
        self.checks: list[Check] = []
        self.dtype = parameter.value.dtype
        self.size = 0.0  # of the last line: its number; where the record has none, of what was added up, and rounded

    def state(self, name: str) -> tuple[float, float] | None:
        """An average of this weight before the step and after it, as recorded; None where there is none."""
        vid = self.walk.given.get(f"{self.parameter.name}.{name}")
        if vid is None:
            return None
        value = self.walk.values[vid]
        return self._at(before(self.walk, value)), self._at(value) or 0.0

    def _at(self, value: Value | None) -> float:
        if value is None:
            return 0.0
        numbers = value.numpy().reshape(-1)
        return float(numbers[self.place if numbers.size > 1 else 0])

    def add(self, name: str, parts: list[Part], recorded: float | None, note: str = "") -> float:
        """A sum of parts; its value is the recorded one where there is one, as the next line reads that."""
        exact = float(sum(p.number if p.factor is None else p.factor * p.number for p in parts))
        size = sum(
            (1.0 if p.factor is None else abs(p.factor)) * (abs(p.number) if p.size is None else p.size) for p in parts
        )
        if recorded is not None:
            self.check(name, exact, recorded, size)
        self.size = size if recorded is None else abs(recorded)
        terms = [self._term(p) for p in parts]
        total = self._said(exact if recorded is None else recorded)
        self.lines.append(closed(name, terms, total, note=note))
        return exact if recorded is None else recorded

    def _said(self, number: float) -> Any:
        """A number of the record as it is printed: with the digits that its dtype needs."""
        with np.errstate(over="ignore"):
            narrow = np.float32(number)
        return decimal(narrow if float(narrow) == number else np.float64(number))

    def _term(self, part: Part) -> Term:
        number = self._said(part.number)
        if part.factor is None:
            return Term(part.label, number, kind="value")
        factors = (decimal(np.float64(part.factor), 12), number)
        return Term(part.label, product(factors), factors)

    def divide(self, name: str, formula: str, top: float, bottom: float, numbers: str) -> float:
        """A quotient."""
        value = top / bottom
        self.lines.append(Quotient(name, formula, numbers, value))
        return value

    def check(self, name: str, exact: float, recorded: float, size: float) -> None:
        """Hold a line to the record: rounding is relative to the sizes that were added up."""
        unit = UNIT.get(self.dtype, 2.0**-24)
        bound = OPS * (unit * (size + abs(recorded)) + SMALLEST.get(self.dtype, 2.0**-149))
        deviation = abs(exact - recorded)
        self.checks.append(Check(name, exact, recorded, deviation, bound, bool(deviation <= bound)))

    def done(self) -> Arithmetic:
        """The sheet as facts."""
        return Arithmetic(self.address, tuple(self.lines), tuple(self.checks))


def before(walk: Walk, value: Value) -> Value | None:
    """What stood in the place of a value before this step's in-place ops; None where the step made it."""
    while value.step is not None:
        value_id = next((old for old, new in value.step.written if new == value.id), None)
        if value_id is None:
            return None
        value = walk.values[value_id]
    return value


def arithmetic(walk: Walk, parameter: Parameter, place: int, optimizer: str, group: Mapping[str, Any]) -> Arithmetic:
    """The lines of one weight.

    Args:
        walk: The recorded step.
        parameter: The tensor that the weight is in.
        place: Its place there, flat.
        optimizer: Name of the optimizer.
        group: Its settings as torch ran it.
    """
    sheet = Sheet(walk, parameter, place)
    group = {"decoupled_weight_decay": optimizer == "adamw", **group}  # torch before 2.7 has no word for it
    w, g, after = (float(a.reshape(-1)[place]) for a in (parameter.before, parameter.gradient, parameter.after))
    lr, decay = float(group["lr"]), float(group.get("weight_decay", 0.0))
    sheet.size = abs(g)
    if group.get("maximize") or group.get("amsgrad"):
        sheet.check("w'", w + parameter.nudge.reshape(-1)[place], after, abs(w))
        return sheet.done()
    if decay and not group.get("decoupled_weight_decay"):
        g = sheet.add("g + decay × w", [Part("gradient", None, g), Part("weight decay", decay, w)], None)
    if optimizer in {"adam", "adamw"}:
        _adam(sheet, group, w, g, after)
    else:
        direction = _momentum(sheet, group, g)
        name = "gradient" if not group["momentum"] else "look-ahead" if group["nesterov"] else "momentum buffer"
        sheet.add("w'", [Part("w", None, w), Part(f"-lr × {name}", -lr, direction, sheet.size)], after)
    return sheet.done()


def _momentum(sheet: Sheet, group: Mapping[str, Any], g: float) -> float:
    """``b = μ b + (1 - dampening) g``, on the first step ``b = g``; Nesterov looks one step ahead, ``g + μ b``."""
    mu, dampening = float(group["momentum"]), float(group["dampening"])
    found = sheet.state("momentum_buffer")
    if not mu or found is None:
        return g
    (old, new), size = found, sheet.size
    vid = sheet.walk.given[f"{sheet.parameter.name}.momentum_buffer"]
    if before(sheet.walk, sheet.walk.values[vid]) is None:
        buffer = sheet.add("b", [Part("gradient (the buffer begins as it)", None, g, size)], new)
    else:
        factor, label = (1 - dampening, "(1-dampening) × gradient") if dampening else (None, "gradient")
        fresh = Part(label, factor, g, size)
        buffer = sheet.add("b", [Part("μ × buffer before", mu, old), fresh], new)
    if not group["nesterov"]:
        return buffer
    return sheet.add("look-ahead", [Part("gradient", None, g, size), Part("μ × b", mu, buffer)], None)


def _adam(sheet: Sheet, group: Mapping[str, Any], w: float, g: float, after: float) -> None:
    """Two moving averages, corrected for having begun at 0; the step is their quotient. AdamW's decay stands apart."""
    first, second, count = (sheet.state(n) for n in ("exp_avg", "exp_avg_sq", "step"))
    if first is None or second is None or count is None:  # no gradient reached it
        sheet.add("w'", [Part("w", None, w)], after)
        return
    lr, (b1, b2), eps = float(group["lr"]), group["betas"], float(group["eps"])
    t, size = int(count[1]), sheet.size
    m = sheet.add("m", [Part("β1 × m before", b1, first[0]), Part("(1-β1) × gradient", 1 - b1, g, size)], first[1])
    square = Part("(1-β2) × gradient²", 1 - b2, g * g, size * size)
    v = sheet.add("v", [Part("β2 × v before", b2, second[0]), square], second[1])
    c1, c2 = 1 - b1**t, 1 - b2**t
    m_hat = sheet.divide("m̂", f"m / (1 - β1^{t})", m, c1, f"{m:.9g} / {c1:.9g}")
    v_hat = sheet.divide("v̂", f"v / (1 - β2^{t})", v, c2, f"{v:.9g} / {c2:.9g}")
    root = float(np.sqrt(v_hat))
    direction = sheet.divide("direction", "m̂ / (√v̂ + ε)", m_hat, root + eps, f"{m_hat:.9g} / ({root:.9g} + {eps:g})")
    parts = [Part("w", None, w), Part("-lr × direction", -lr, direction)]
    decay = float(group.get("weight_decay", 0.0))
    if decay and group.get("decoupled_weight_decay"):
        parts.insert(1, Part("-lr × decay × w (decoupled)", -lr * decay, w))
    sheet.add("w'", parts, after)
