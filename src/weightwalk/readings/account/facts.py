"""What an account states: its rows, what they leave over, what was frozen, and how well every step conserved."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

KINDS = ("cut", "constant", "rule", "opaque", "rest")


@dataclass(frozen=True, slots=True)
class Row:
    """One contribution.

    Attributes:
        address: Where it comes from, such as ``"h.3.attn"``, ``"in[0, 2]"`` or ``"fc1.bias"``.
        label: The same for people: a token's text, ``"h.3.attn head 5"``.
        value: The contribution; all rows of an account and its remainder add up to the number.
        kind: ``"cut"`` for a place of the cut; ``"constant"`` for a value that does not depend on the cut (a bias, a
            position embedding); ``"rule"`` for a constant that a nonlinear op's rule leaves over (an entropy);
            ``"opaque"`` for an op that no rule can see through; ``"rest"`` for rows shown as one.
        share: ``value`` over the number, signed; None where the number is 0.
        weight: ``|value|`` over the sum of the absolute values of all rows.
    """

    address: str
    label: str
    value: float
    kind: str
    share: float | None
    weight: float


@dataclass(frozen=True, slots=True)
class Frozen:
    """Something held fixed while accounting, and in how many steps."""

    text: str
    count: int


@dataclass(frozen=True, slots=True)
class Residual:
    """Conservation at one step: ``|<cotangent, out> - sum <cotangent, in> - constants|``.

    Attributes:
        step: Index of the step.
        address: Its address.
        op: Its op.
        amount: The residual.
        scale: The sum of the absolute values of all products that enter it.
        bound: How large rounding alone can make it.
    """

    step: int
    address: str
    op: str
    amount: float
    scale: float
    bound: float

    @property
    def relative(self) -> float:
        """``amount / scale``, 0 where nothing flowed."""
        return self.amount / self.scale if self.scale else 0.0


@dataclass(frozen=True)
class Account:
    """One number as an exact sum of contributions.

    ``math.fsum([*values of rows, remainder, *tail]) == number``, to the last bit.

    Attributes:
        address: The number, as it was asked for.
        number: The number as stored in the walk (a weighted sum of stored numbers: their sum in float64).
        cut: Where the account stops, as it was asked for.
        rows: The contributions, largest first.
        remainder: What rounding left over: number minus the exact sum of the rows, as one float64.
        tail: What one float64 cannot hold of that remainder; empty save where the rows cancel almost wholly.
        split: How products of two signals were shared out.
        precision: The dtype of the sweep.
        frozen: What was held fixed, in words, each with the number of steps where it was.
        residuals: Conservation of each step passed, in the order of the sweep.
        unchecked: Steps that could not be checked because their numbers were not kept.
        cotangents: Address to the cotangent that arrived there, for each value of the cut: the local linear map from
            that value to the number (on a piecewise-linear net, the gradient).
        notes: Remarks, such as which cut stood in for one that the net does not have.
        steps: How many steps the sweep passed.
    """

    address: str
    number: float
    cut: str
    rows: tuple[Row, ...]
    remainder: float
    tail: tuple[float, ...]
    split: str
    precision: str
    frozen: tuple[Frozen, ...]
    residuals: tuple[Residual, ...] = field(repr=False)
    unchecked: int
    cotangents: Mapping[str, np.ndarray] = field(repr=False)
    notes: tuple[str, ...]
    steps: int

    @property
    def total(self) -> float:
        """The sum of the rows, correctly rounded."""
        return math.fsum(r.value for r in self.rows)

    @property
    def sum_abs(self) -> float:
        """The sum of the absolute values of the rows."""
        return math.fsum(abs(r.value) for r in self.rows)

    @property
    def scale(self) -> float:
        """The largest sum of absolute contributions at any level: over the rows, or over what one step passed on.

        Where contributions cancel before they reach the cut, the rows are small and rounding is that of what cancelled.
        """
        return max(self.sum_abs, max((r.scale / 2 for r in self.residuals), default=0.0))

    @property
    def relative_residual(self) -> float:
        """``|remainder|`` over `scale`; 0 for an account of nothing."""
        scale = self.scale
        return abs(self.remainder) / scale if scale else abs(self.remainder)

    @property
    def worst(self) -> Residual | None:
        """The step that conserved worst, relative to what flowed through it."""
        return max(self.residuals, key=lambda r: r.relative, default=None)

    @property
    def bound(self) -> float:
        """How large the remainder may be by the rounding of the record and of the sweep alone."""
        return math.fsum(r.bound for r in self.residuals)

    @property
    def opaque(self) -> tuple[Row, ...]:
        """The rows of ops that no rule can see through."""
        return tuple(r for r in self.rows if r.kind == "opaque")

    def top(self, n: int) -> tuple[Row, ...]:
        """The `n` largest rows and, if there are more, one row for the rest, so that what is shown adds up."""
        if n >= len(self.rows):
            return self.rows
        rest = self.rows[n:]
        value = math.fsum(r.value for r in rest)
        share = value / self.number if self.number else None
        weight = math.fsum(r.weight for r in rest)
        label = f"{len(rest):,} more"
        return (*self.rows[:n], Row("", label, value, "rest", share, weight))

    def __iter__(self):
        return iter(self.rows)

    def __len__(self) -> int:
        return len(self.rows)

    def __str__(self) -> str:
        from weightwalk.show.terminal import plain  # an account that is printed reads like the command's output

        return plain(self)
