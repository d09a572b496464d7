"""Accounts: any number of a walk as an exact sum of contributions.

::

    walk.account('logits[-1, " Paris"] - logits[-1, " London"]', cut="heads").top(10)

One reverse sweep (:mod:`engine`) with one small rule per kind of op (:mod:`rules`) down to a cut (:mod:`cuts`).
"""

from weightwalk.readings.account.account import account
from weightwalk.readings.account.facts import Account, Frozen, Residual, Row

__all__ = ["Account", "Frozen", "Residual", "Row", "account"]
