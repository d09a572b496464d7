"""The closed form of a text net on the terminal: its table of embeddings, and each logit as a formula."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from rich.text import Text

from weightwalk.show.formula_layout import certificate_lines, digits_of, fitted, is_exact, refusal_lines
from weightwalk.show.layout import columns, shown, wrapped

DIGITS = 6
"""Of the numbers in an expression, which has dozens."""


def lookup_lines(found: Any, width: int = 100, top: int | None = 12, certificate: bool = False) -> Iterator[Text]:
    """The table, the expressions, and what comes out for the token that was given."""
    yield from refusal_lines(found.certificate, width)
    word = "" if is_exact(found.certificate) else "approximate "
    heading = f"{word}formula of {found.name}: a table of embeddings, and each output as a formula of them"
    yield from wrapped(heading, width, "", "bold")
    names = ", ".join(found.inputs)
    note = f"a token chooses its row of the table, {names} = E[token]; the rest is arithmetic"
    yield from wrapped(note, width, "  ", "dim")
    yield Text("")
    most = len(found.tokens) if top is None else min(top, len(found.tokens))
    rows = sorted(range(len(found.tokens)), key=lambda i: (i != found.token, i))[:most]
    rows.sort()
    heads = ("token", *found.inputs, "greatest output")
    said = found.said

    def table(digits: int) -> list[tuple[object, ...]]:
        return [
            (found.tokens[i], *(digits_of(v, digits) for v in found.table[i]), found.outputs[said[i]]) for i in rows
        ]

    yield from fitted(heads, table, width)
    if len(found.tokens) > most:
        yield from wrapped(f"not shown: {len(found.tokens) - most:,} tokens more", width, "  ", "dim")
    yield Text("")
    outputs = range(len(found.outputs) if top is None else min(top, len(found.outputs)))
    for k, text in zip(outputs, found.expressions(DIGITS), strict=False):
        for i, line in enumerate(wrapped(f"{found.outputs[k]} = {text}", width - 4, "", "green")):
            yield Text("      " if i else "  ").append_text(line)
    note = (
        f"relu(z) = max(0, z); rounded to {DIGITS} digits so as to be read: as Python and as LaTeX every digit is there"
    )
    yield from wrapped(note, width, "  ", "dim")
    if len(found.outputs) > len(outputs):
        yield from wrapped(f"not shown: {len(found.outputs) - len(outputs):,} outputs more", width, "  ", "dim")
    yield Text("")
    here = ", ".join(
        f"{name} = {digits_of(v, 9)}" for name, v in zip(found.inputs, found.table[found.token], strict=True)
    )
    yield from wrapped(f"after {shown(repr(found.tokens[found.token]))}, where {here}:", width, "  ")
    order = sorted(range(len(found.outputs)), key=lambda k: -found.values[found.token, k])[: len(outputs)]
    values = [(found.outputs[k], digits_of(found.values[found.token, k], 9)) for k in order]
    yield from columns(("output", "value"), values, width, "    ")
    yield Text("")
    yield from certificate_lines(found.certificate, width, certificate)
