"""Formulas in fractions, nothing rounded: the referee of `line` and `plane`, and an answer for small nets.

A float64 is a fraction, so that the kinks of a net with float64 weights are fractions too, and this finds them. It is
slow, plain, and shares no code with what it judges.
"""

from __future__ import annotations

from weightwalk.formulas.rationals.line import ExactLine, check, line_exact
from weightwalk.formulas.rationals.plane import ExactPartition, check_partition, partition_exact

__all__ = ["ExactLine", "ExactPartition", "check", "check_partition", "line_exact", "partition_exact"]
