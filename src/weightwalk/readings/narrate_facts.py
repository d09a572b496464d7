"""What a narration is made of: plain facts, every number a decimal as it is to be read.

The numbers are decimals, not floats, because the reader adds them up: in a `Sum` the terms, as printed, give the total,
as printed, exactly. Whoever shows a story formats; it computes nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal


@dataclass(frozen=True, slots=True)
class Term:
    """One term of a sum.

    Attributes:
        label: What contributes: ``"relu1[0]"``, ``"bias"``.
        value: The signed contribution.
        factors: What was multiplied, weight first; empty where nothing was.
        kind: ``"product"``, ``"bias"``, ``"value"``, ``"rest"`` (terms not shown) or ``"rounding"``.
        count: How many terms it stands for.
    """

    label: str
    value: Decimal
    factors: tuple[Decimal, ...] = ()
    kind: str = "product"
    count: int = 1


@dataclass(frozen=True, slots=True)
class Sum:
    """A number as the sum of its terms.

    Attributes:
        label: What the number is, as an address where it has one.
        terms: In order; they add up to `total` exactly, the last one being the rounding where there is any.
        total: The recorded number.
        note: A remark that belongs to this number alone.
    """

    label: str
    terms: tuple[Term, ...]
    total: Decimal
    note: str = ""


Cell = Decimal | str | None


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of numbers.

    Attributes:
        columns: One heading per column.
        rows: One cell per column: a number, a text, or None for an empty place.
        caption: What the rows are.
        omitted: What was left out, in words; ``""`` where nothing was.
    """

    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    caption: str = ""
    omitted: str = ""


@dataclass(frozen=True, slots=True)
class Text:
    """A sentence. `tone`: ``"plain"``, ``"note"``, ``"warning"`` or ``"result"``."""

    text: str
    tone: str = "plain"


Line = Sum | Table | Text


@dataclass(frozen=True, slots=True)
class Section:
    """One stretch of the story: a module, an op, a phase.

    Attributes:
        title: For people.
        address: Where it stands in the walk; ``""`` where it stands for more than one place.
        kind: Class of the module, or the op.
        phase: ``"forward"``, ``"loss"``, ``"backward"``, ``"update"`` or ``"outcome"``.
        lines: In order.
        children: Unfolded parts.
    """

    title: str
    address: str
    kind: str
    phase: str
    lines: tuple[Line, ...]
    children: tuple[Section, ...] = ()

    def all_lines(self) -> Iterator[Line]:
        """The lines of this section and of those inside it, in order."""
        yield from self.lines
        for child in self.children:
            yield from child.all_lines()


@dataclass(frozen=True, slots=True)
class Story:
    """A walk told in words and numbers.

    Attributes:
        title: The net, and how large it is.
        small: Whether every multiplication is told.
        sections: In the order in which it happened.
        notes: What holds for the whole story: what was left out, how the numbers are rounded.
    """

    title: str
    small: bool
    sections: tuple[Section, ...]
    notes: tuple[str, ...] = ()

    def lines(self) -> Iterator[Line]:
        """Every line, in order."""
        for section in self.sections:
            yield from section.all_lines()

    def sums(self) -> Iterator[Sum]:
        """Every sum, in order."""
        return (line for line in self.lines() if isinstance(line, Sum))

    def __str__(self) -> str:
        from weightwalk.show.terminal import plain  # a story that is printed reads like the command's output

        return plain(self)
