"""Narrating: a walk told in words and numbers. Reads the record; never runs the network, and needs no torch."""

from __future__ import annotations

from typing import TYPE_CHECKING

from weightwalk.errors import UsageError
from weightwalk.readings.narrate_decimals import DIGITS
from weightwalk.readings.narrate_facts import Section, Story, Sum, Table, Term, Text
from weightwalk.readings.narrate_names import Names
from weightwalk.readings.narrate_ops import Teller
from weightwalk.readings.narrate_small import is_small, moves_note, outcome, tell_steps
from weightwalk.readings.narrate_training import parameters, training

if TYPE_CHECKING:
    from weightwalk.walks.walk import Walk

__all__ = ["Section", "Story", "Sum", "Table", "Term", "Text", "narrate"]


def narrate(
    walk: Walk, *, depth: int | None = None, focus: str | None = None, top: int = 5, digits: int = DIGITS
) -> Story:
    """Tell a walk: every multiplication of a small net, one line per module of a large one.

    In every sum of the story the terms as printed, the rounding included, add up to the recorded number as printed,
    exactly: a product is the product of the two printed factors, correctly rounded, so a pocket calculator gives the
    same digits.

    Args:
        walk: The record.
        depth: How many levels of the module tree to unfold in a large net; None unfolds it down to its blocks.
        focus: An address to unfold instead of the whole: a module (``"h.3.attn"``), an op (``"h.3.attn/softmax"``) or a
            number (``'logits[-1, " Paris"]'``).
        top: How many terms of a long sum, or rows of a long table, are shown; the others become one term.
        digits: Significant digits.

    Raises:
        UsageError: A number that makes no sense.
        AddressError: `focus` names nothing.

    Example:
        >>> import torch, weightwalk as ww
        >>> net = torch.nn.Linear(2, 1)
        >>> with torch.no_grad():
        ...     _ = net.weight.copy_(torch.tensor([[2.0, -1.0]])), net.bias.fill_(0.5)
        ...     story = narrate(ww.walk(net, torch.tensor([[3.0, 4.0]])))
        >>> total = next(story.sums())
        >>> [(str(t.value), t.label) for t in total.terms], str(total.total)
        ([('6.00000000', 'in[0]'), ('-4.00000000', 'in[1]'), ('0.5', 'bias')], '2.5')
    """
    if depth is not None and depth < 0:
        raise UsageError(f"depth is the number of module levels to unfold, 0 or more; got {depth}.")
    if top < 1:
        raise UsageError(f"top is the number of terms to show, 1 or more; got {top}.")
    if not 2 <= digits <= 17:
        raise UsageError(f"digits is the number of significant digits, from 2 to 17; got {digits}.")
    names = Names(walk)
    small = is_small(walk) and depth is None
    if focus is not None:
        from weightwalk.readings.narrate_focus import tell_focus

        sections, notes = tell_focus(Teller(names, digits, top), walk, focus, depth)
    elif small:
        sections, notes = _small(Teller(names, digits), walk)
    else:
        from weightwalk.readings.narrate_focus import tell_modules

        sections, notes = tell_modules(Teller(names, digits, top), walk, depth)
    return Story(_title(walk), small, tuple(sections), tuple(n for n in notes if n))


def _small(teller: Teller, walk: Walk) -> tuple[list[Section], list[str]]:
    sections = list(tell_steps(teller, walk, "forward"))
    end = outcome(teller, walk)
    sections += [end] if end is not None else []
    sections += tell_steps(teller, walk, "loss")
    step = training(teller, walk, small=True)
    sections += [step] if step is not None else []
    return sections, [moves_note(walk), _rounding_note(walk, sections, teller.digits)]


def _rounding_note(walk: Walk, sections: list[Section], digits: int) -> str:
    told = [line for s in sections for line in s.all_lines() if isinstance(line, Sum)]
    if not told:
        return ""
    off = sum(any(t.kind == "rounding" for t in s.terms) for s in told)
    open_ = [s.label for s in told if not s.total.is_finite() or any(not t.value.is_finite() for t in s.terms)]
    if open_:
        which = ", ".join(open_[:3]) + (" and others" if len(open_) > 3 else "")
        rest = "; the others close as printed" if len(open_) < len(told) else ""
        return f"{len(open_)} of {len(told)} sums hold NaN or infinity, so there is nothing to add up ({which}){rest}."
    all_ = "The sum closes" if len(told) == 1 else f"All {len(told)} sums close"
    if not off:
        return f"{all_} as printed, to the last digit."
    dtypes = sorted({v.dtype for v in walk.values if v.dtype.startswith(("float", "bfloat")) and v.kind == "op"})
    which = "with a rounding term" if len(told) == 1 else f"{off} of them with a rounding term"
    return f"{all_} as printed, {which}: what {' and '.join(dtypes)} arithmetic and the {digits} digits shown leave."


def _title(walk: Walk) -> str:
    count = sum(value.size for _, value, *_ in parameters(walk))
    read = str(walk.meta.get("input") or "")
    given = f" on {read if len(read) <= 60 else read[:57] + '...'}" if read else ""
    return f"{walk.meta.get('net', 'computation')}{given}: {count:,} parameters, {len(walk.steps):,} steps"
