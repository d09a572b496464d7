"""What a formula is held to before it is called exact."""

from __future__ import annotations

from dataclasses import dataclass

LIMIT = 1e-12
"""Greatest error of a formula, relative to the greatest output of the net where it was compared."""


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was measured.

    Attributes:
        name: What: ``"greatest |formula - net| at 1,000 fresh points"``.
        found: The number.
        limit: What it is held to, in words: ``"<= 1e-12 of the greatest |net|, 3.1"``; ``""`` for a number that is
            told and not judged.
        ok: Whether it passed (True where nothing is judged).
    """

    name: str
    found: float | int
    limit: str = ""
    ok: bool = True


@dataclass(frozen=True, slots=True)
class Certificate:
    """Every check of one formula.

    Attributes:
        checks: In the order in which they are told.
        seed: Of the fresh points.
    """

    checks: tuple[Check, ...]
    seed: int

    @property
    def ok(self) -> bool:
        """Whether all checks passed: only then is the formula called exact."""
        return all(check.ok for check in self.checks)

    @property
    def failures(self) -> tuple[Check, ...]:
        """Those that did not."""
        return tuple(check for check in self.checks if not check.ok)

    def __getitem__(self, start: str) -> Check:
        """The first check whose name starts so."""
        for check in self.checks:
            if check.name.startswith(start):
                return check
        raise KeyError(start)

    def __str__(self) -> str:
        return "\n".join(f"{'ok ' if c.ok else 'NO '} {c.name}: {c.found:.3g} {c.limit}".rstrip() for c in self.checks)


def agreement(what: str, error: float, size: float) -> Check:
    """The check of an error against the greatest |net|, `size`."""
    return Check(
        f"greatest |formula - net| at {what}",
        error,
        f"<= {LIMIT:g} x {size:.3g}, the greatest |net| there",
        bool(error <= LIMIT * max(size, 1e-300)) or error == 0.0,
    )
