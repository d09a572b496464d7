"""An account as it is printed: each contribution a decimal, and a last line that closes the column."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from weightwalk.readings.narrate_decimals import DIGITS, closed, decimal
from weightwalk.readings.narrate_facts import Sum, Term

if TYPE_CHECKING:
    from weightwalk.readings.account import Account


def account_sum(account: Account, top: int | None = None, digits: int = DIGITS) -> Sum:
    """The rows of an account (the `top` largest and the rest as one) as a sum that closes as printed.

    The last term, of kind ``"rounding"``, is the account's own remainder together with what the digits shown leave.
    """
    rows = account.rows if top is None else account.top(top)
    # 17 digits here: each row is rounded once, to the place that they all share.
    terms = [Term(r.label or r.address, decimal(np.float64(r.value), 17), kind=r.kind) for r in rows]
    number = np.float64(account.number)
    narrow = np.float32(number)
    exact = decimal(narrow if np.float64(narrow) == number else number, digits)
    return closed(account.address, terms, exact, digits=digits)
