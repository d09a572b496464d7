"""What all formulas share on the terminal: numbers to the digits that fit, maps as text, and the certificate."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from decimal import Decimal
from typing import Any

import numpy as np
from rich.cells import cell_len
from rich.text import Text

from weightwalk.show.layout import aligned, columns, number, pad, short, shown, wrapped

ALL = 17
"""Significant digits that tell every float64 from its neighbours."""

FEWER = (ALL, 9, 7, 5)
"""Digits that are tried, from the most, until a table fits."""

AGREEMENT = "greatest |formula - net| at "


def digits_of(value: float, digits: int = ALL) -> Decimal | float:
    """A float as a decimal of so many digits; of all its digits, the shortest that reads back as the same float.

    >>> digits_of(1 / 3, 5), digits_of(2.0), digits_of(float("inf"))
    (Decimal('0.33333'), Decimal('2'), inf)
    """
    value = float(value)
    if not math.isfinite(value):
        return value
    if value == int(value) and abs(value) < 10**digits:
        return Decimal(int(value))
    return Decimal(repr(value) if digits >= ALL else f"{value:.{digits}g}")


def told(value: float, digits: int = ALL) -> str:
    """A number in a sentence.

    >>> told(0.1), told(-1 / 3, 3), told(5.5e-17)
    ('0.1', '-0.333', '5.5e-17')
    """
    return number(digits_of(value, digits), smallest=-5)


def compact(value: float | int) -> str:
    """A measured number: counts whole, others to three digits."""
    if isinstance(value, (int, np.integer)) or (math.isfinite(value) and value == int(value) and abs(value) < 1e15):
        return f"{int(value):,}"
    return short(value)


def fitted(
    heads: Sequence[str], rows_at: Callable[[int], Sequence[Sequence[object]]], width: int, indent: str = "  "
) -> Iterator[Text]:
    """A table with as many digits as the width allows, and a sentence where they are not all.

    Args:
        heads: Column headings.
        rows_at: The rows with their numbers to so many digits, see `digits_of`.
        width: Cells per line.
        indent: In front of every line.
    """
    made: list[Text] = []
    for digits in FEWER:
        made = list(columns(heads, rows_at(digits), width, indent))
        if max((cell_len(line.plain) for line in made), default=0) <= width:
            break
    yield from made
    if digits < ALL:
        text = f"rounded to {digits} digits so as to fit; as Python, as LaTeX and as JSON every digit is there"
        yield from wrapped(text, width, indent, "dim")


def affine_terms(slopes: Sequence[float], names: Sequence[str], constant: float, digits: int = ALL) -> list[str]:
    """The terms of an affine map that are not 0, each with its sign: ``["2 x", "+ 3"]``."""
    parts: list[tuple[float, str]] = []
    for slope, name in zip(slopes, names, strict=True):
        if slope != 0:
            size = told(abs(slope), digits)
            parts.append((slope, name if size == "1" and name else f"{size} {name}".rstrip()))
    if constant != 0 or not parts:
        parts.append((constant, told(abs(constant), digits)))
    (sign, words), *more = parts
    first = ("-" if sign < 0 else "") + words
    return [first, *(f"{'-' if value < 0 else '+'} {words}" for value, words in more)]


def equation_lines(left: str, terms: Sequence[str], width: int, indent: str = "  ", style: str = "") -> Iterator[Text]:
    """``left = term + term ...`` on lines that break between terms only."""
    left, terms = shown(left), [shown(t) for t in terms]
    line = f"{indent}{left} ="
    hang = " " * (cell_len(indent) + 4)
    for term in terms:
        if cell_len(line) + 1 + cell_len(term) > width and line.strip():
            yield Text(line, style=style)
            line = hang + term
        else:
            line += " " + term
    yield Text(line, style=style)


def count(n: int, noun: str, plural: str = "") -> str:
    """``1 kink``, ``13 kinks``."""
    return f"{n:,} {noun if n == 1 else plural or noun + 's'}"


def listed(names: Sequence[str], most: int = 6) -> str:
    """The first of some names, and how many more there are."""
    some = ", ".join(shown(n) for n in names[:most])
    return some + (f" and {len(names) - most:,} more" if len(names) > most else "")


def place(point: Any, names: Sequence[str] | None = None, most: int = 6, digits: int = 6) -> str:
    """A point in a sentence: ``(0.5, -1)``, or the first numbers of a long one and how many are left out."""
    numbers = np.asarray(point, float).reshape(-1)
    some = [told(v, digits) for v in numbers[:most]]
    if names is not None and len(numbers) == 1:
        return f"{names[0]} = {some[0]}"
    rest = f", ... {len(numbers) - most:,} more" if len(numbers) > most else ""
    return some[0] if len(numbers) == 1 else f"({', '.join(some)}{rest})"


# The certificate ----------------------------------------------------------------------------------------------------


def judged(certificate: Any) -> list[Any]:
    """The checks that something was held to, as against numbers that are only told."""
    return [check for check in certificate.checks if check.limit]


def is_exact(certificate: Any) -> bool:
    """Whether the formula may be called exact: it was held to something, and to all of it."""
    return certificate.ok and bool(judged(certificate))


def refusal_lines(certificate: Any, width: int) -> Iterator[Text]:
    """In front of a formula that failed a check, what failed; nothing in front of one that passed."""
    if certificate.ok:
        return
    failed = certificate.failures
    yield from wrapped(
        f"NOT EXACT: {count(len(failed), 'check')} of {len(judged(certificate)):,} failed, so that what follows is an "
        "approximation", width, "", "bold red",
    )  # fmt: skip
    for check in failed:
        limit = f", limit {check.limit}" if check.limit else ""
        yield from wrapped(f"{check.name}: found {compact(check.found)}{limit}", width, "  ", "red")


def certificate_lines(certificate: Any, width: int, every: bool = False) -> Iterator[Text]:
    """What the formula was held to: in one sentence, or every check with its limit."""
    checks = judged(certificate)
    if not checks:
        yield from wrapped("certificate: nothing was checked, so that nothing is claimed", width, "", "yellow")
    elif not certificate.ok:
        failed = len(certificate.failures)
        text = f"certificate: {failed:,} of {len(checks):,} checks failed, see above"
        yield from wrapped(text, width, "", "bold red")
    else:
        yield from wrapped(_passed(checks), width, "", "green")
    if every:
        rows = [
            ("told" if not c.limit else "ok" if c.ok else "FAILED", c.name, compact(c.found), c.limit)
            for c in certificate.checks
        ]
        for line, row in _check_rows(rows, width):
            line.stylize("red" if row == "FAILED" else "")
            yield line
        yield from wrapped(f"fresh points drawn with seed {certificate.seed}", width, "  ", "dim")


def _passed(checks: Sequence[Any]) -> str:
    gaps = [c for c in checks if c.name.startswith(AGREEMENT)]
    passed = f"{count(len(checks), 'check')} passed"
    if not gaps:
        return f"exact: {passed}"
    where = " and ".join(f"{compact(c.found)} at {c.name.removeprefix(AGREEMENT)}" for c in gaps)
    return f"exact: |formula - net| <= {where}; {passed}"


def _check_rows(rows: Sequence[tuple[str, str, str, str]], width: int) -> Iterator[tuple[Text, str]]:
    """Each check on as many lines as it needs, with its verdict."""
    found = aligned([r[2] for r in rows])
    wide = max((cell_len(f) for f in found), default=0)
    for (verdict, name, _, limit), value in zip(rows, found, strict=True):
        first = True
        for part in wrapped(f"{name}{' ' + limit if limit else ''}", width - wide - 12, ""):
            head = f"  {verdict if first else '':<6}  {pad(value, wide) if first else ' ' * wide}  "
            yield Text(head + part.plain, style="dim" if verdict == "told" else ""), verdict
            first = False
