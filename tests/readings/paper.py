"""The pocket calculator: re-adds the sums of a printed page, of which it knows nothing but the text."""

from __future__ import annotations

import re
from decimal import ROUND_HALF_UP, Decimal

NUMBER = r"[+-]?\d+(?:\.\d+)?(?:e[+-]?\d+)?"


def sums_on_paper(page: str) -> list[tuple[list[tuple[Decimal, Decimal | None]], Decimal]]:
    """Every sum of a printed page: (contribution, product of the printed factors or None) per line, and the total."""
    found, terms = [], []
    for line in page.splitlines():
        if m := re.match(rf"\s+({NUMBER})(?:\s+=\s+({NUMBER})\s+×\s+({NUMBER}))?\s\s+\S", line):
            terms.append((Decimal(m[1]), Decimal(m[2]) * Decimal(m[3]) if m[2] else None))
        elif m := re.match(rf"\s+=\s+({NUMBER})\s", line):
            found.append((terms, Decimal(m[1])))
            terms = []
        elif "─" not in line:
            terms = []
    return found


def check_on_paper(page: str) -> int:
    """Each printed product is that of its factors, each printed sum that of its terms; how many sums there are."""
    found = sums_on_paper(page)
    for terms, total in found:
        assert terms
        for value, product in terms:
            if product is not None:
                digit = Decimal(1).scaleb(int(value.as_tuple().exponent)) if value else Decimal("1e-6")
                assert abs(product.quantize(digit, ROUND_HALF_UP) if value else product) == abs(value), (value, product)
        assert sum(value for value, _ in terms) == total
    return len(found)
