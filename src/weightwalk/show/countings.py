"""A counted text in the terminal: its commonest letters, and each order of model beside what it writes."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from typing import Any

from rich.text import Text

from weightwalk.show.layout import columns, shown, wrapped


def counting_lines(facts: Any, width: int, top: int = 8) -> Iterator[Text]:
    """Lines for a `weightwalk.language.ngrams.facts.Counting`."""
    one = facts.unit.removesuffix("s")
    yield Text(
        f"{facts.name}: {facts.tokens:,} {facts.unit}, {len(facts.vocabulary):,} different; the last "
        f"{facts.held:,} held out",
        style="bold",
    )
    if facts.unknown:
        yield from wrapped(f"a share of {facts.unknown:.2g} of these has no token of its own: <unk>", width)
    yield Text()
    most = [(_token(t), _share(p)) for t, p in facts.commonest[:top]]
    yield from columns([one, "share in %"], most, width)
    yield from wrapped(f"one {one} by these shares: {facts.entropy:.3f} bits", width)
    yield Text()
    rows = [
        [s.order, s.runs, _bits(s.learned), _bits(s.held), "least" if s is facts.best else "", repr(s.sample)[1:-1]]
        for s in facts.scores
    ]
    yield from columns(["order", "runs", "bits, learned", "bits, held out", "", "what it writes"], rows, width)
    yield from wrapped(_smoothed(facts), width)


def next_lines(facts: Any, prefix: str, width: int, top: int = 8) -> Iterator[Text]:
    """What comes after `prefix` by the longest model."""
    ranked = facts.next(prefix)
    yield Text()
    yield Text(f"after {shown(prefix)!r}, by order {facts.model.order}", style="bold")
    yield from columns(
        [facts.unit.removesuffix("s"), "probability"], [(_token(t), _odds(p)) for t, p in ranked[:top]], width
    )
    rest = sum(p for _, p in ranked[top:])
    if rest > 0:
        yield from wrapped(f"{len(ranked) - top:,} others share {rest:.4f}", width)


def _smoothed(facts: Any) -> str:
    taken = ""
    if facts.discount:
        taken = "; taken off each count, by order: " + ", ".join(f"{d:.3f}" for d in facts.discount)
    return f"bits per {facts.unit.removesuffix('s')}; smoothing: {facts.smoothing}{taken}; samples of seed {facts.seed}"


def _token(token: str) -> str:
    return repr(token)


def _share(p: float) -> Decimal:
    return Decimal(f"{100 * p:.2f}")


def _bits(x: float) -> Decimal:
    return Decimal(f"{x:.3f}")


def _odds(p: float) -> Decimal:
    return Decimal(f"{p:.4f}")
