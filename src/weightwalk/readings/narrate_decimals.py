"""Decimal numbers that a reader can check with a pocket calculator.

A number is printed with the fewest digits that tell it apart from its neighbours in its own dtype, and at most `digits`
of them. All further arithmetic of the narration is done on what is printed: a product is the product of the printed
factors, correctly rounded; whatever is then missing to the recorded total is its own term, the rounding.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from decimal import ROUND_HALF_UP, Context, Decimal

import numpy as np

from weightwalk.readings.narrate_facts import Sum, Term

DIGITS = 9  # the display of a pocket calculator; enough to tell every float32 from its neighbours

# Wide enough to add any two float64 numbers exactly; NaN and infinities pass through instead of raising.
EXACT = Context(prec=2000, Emax=10_000, Emin=-10_000, rounding=ROUND_HALF_UP, traps=[])
ZERO = Decimal(0)


def decimal(number: object, digits: int = DIGITS) -> Decimal:
    """A number as it is printed.

    >>> decimal(np.float32(0.1)), decimal(0.1 + 0.2), decimal(1 / 3, digits=4)
    (Decimal('0.1'), Decimal('0.3'), Decimal('0.3333'))
    >>> decimal(float("nan")), decimal(-np.inf), decimal(True)
    (Decimal('NaN'), Decimal('-Infinity'), Decimal('1'))
    """
    if isinstance(number, (bool, np.bool_, int, np.integer)):
        return Decimal(int(number))
    value = float(number)  # type: ignore[arg-type]
    if not math.isfinite(value):
        return Decimal("NaN") if math.isnan(value) else Decimal("Infinity" if value > 0 else "-Infinity")
    if value == 0:
        return ZERO
    # Every 16- and 8-bit float is a float32: told as such, so that its product is that of the number itself.
    single = isinstance(number, np.generic) and number.dtype != np.float64
    text = np.format_float_scientific(np.float32(value) if single else np.float64(value), unique=True, trim="-")
    return significant(Decimal(text), digits)


def significant(number: Decimal, digits: int) -> Decimal:
    """`number` rounded to so many significant digits."""
    if not number.is_finite() or number == 0:
        return number
    return Context(prec=digits, rounding=ROUND_HALF_UP, traps=[]).create_decimal(number).normalize(EXACT)


def decimals(array: np.ndarray, digits: int = DIGITS) -> list[Decimal]:
    """The elements of an array, flattened, as they are printed."""
    return [decimal(x, digits) for x in array.reshape(-1)]


def quantum(numbers: Iterable[Decimal], digits: int = DIGITS) -> Decimal:
    """The last place shown in a sum: that of the `digits`-th digit of its largest number."""
    places = [x.adjusted() for x in numbers if x.is_finite() and x != 0]
    return Decimal(1).scaleb(max(places, default=0) - digits + 1)


def rounded(number: Decimal, last: Decimal) -> Decimal:
    """`number` to the place of `last`; not finite ones as they are; no negative zero."""
    if not number.is_finite():
        return number
    if number == 0:
        return ZERO
    out = EXACT.quantize(number, last)
    return abs(out) if out == 0 else out


def share(number: float, places: int = DIGITS) -> Decimal:
    """A share between 0 and 1 to a fixed number of decimal places; what would vanish there keeps three digits.

    >>> str(share(1 / 3, 6)), str(share(1.5e-9, 6))
    ('0.333333', '1.5E-9')
    """
    exact = decimal(np.float64(number), 17)
    out = rounded(exact, Decimal(1).scaleb(-places))
    return decimal(np.float64(number), 3) if out == 0 and exact != 0 else out


def total(numbers: Iterable[Decimal]) -> Decimal:
    """The exact sum."""
    out = ZERO
    for number in numbers:
        out = EXACT.add(out, number)
    return out


def product(factors: Sequence[Decimal]) -> Decimal:
    """The exact product; zero times infinity is NaN, as in IEEE 754."""
    out = Decimal(1)
    for factor in factors:
        out = EXACT.multiply(out, factor)
    return out


def closed(
    label: str, terms: Sequence[Term], recorded: Decimal, *, digits: int = DIGITS, note: str = "", finer: int = 0
) -> Sum:
    """A sum whose printed terms add up to the recorded number: each product rounded to one place, and the rest named.

    Args:
        label: What the number is.
        terms: With exact values; those of kind ``"bias"`` and ``"value"`` are printed as they are.
        recorded: The total, as printed.
        digits: Significant digits of the largest term.
        note: A remark.
        finer: Further decimal places.
    """
    last = quantum([*(t.value for t in terms), recorded], digits + finer)
    out = [
        Term(t.label, t.value if t.kind in ("bias", "value") else rounded(t.value, last), t.factors, t.kind, t.count)
        for t in terms
    ]
    shown = total(t.value for t in out)
    if recorded.is_finite() and shown.is_finite() and recorded != shown:
        out.append(Term("rounding", EXACT.subtract(recorded, shown).normalize(EXACT), kind="rounding"))
    return Sum(label, tuple(out), recorded, note)
