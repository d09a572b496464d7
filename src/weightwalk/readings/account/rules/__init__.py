"""One rule per kind of op. A new rule is one decorated function in one of these files."""

from weightwalk.readings.account.rules import (  # noqa: F401 - each fills the table when imported
    attention,
    backward,
    generic,
    linear,
    losses,
    norms,
    optimizers,
    pointwise,
    products,
    zoomed,
)
from weightwalk.readings.account.rules.base import RULES, Flow, Key, Op, Opaque, find_rule, rule

__all__ = ["RULES", "Flow", "Key", "Op", "Opaque", "find_rule", "generic", "rule", "zoomed"]
