"""A formula on the terminal: what it is and where it holds, its pieces, and what it was held to."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from rich.text import Text

from weightwalk.show.formula_layout import (
    affine_terms,
    certificate_lines,
    count,
    digits_of,
    equation_lines,
    fitted,
    is_exact,
    listed,
    refusal_lines,
    told,
)
from weightwalk.show.formulas_line import flat_words, line_lines, line_title
from weightwalk.show.layout import columns, wrapped

EQUATIONS = 8
"""Inputs, and outputs, up to which a map is written as equations; beyond, its coefficients are a table."""


def formula_lines(
    found: Any, width: int = 100, top: int | None = 12, certificate: bool = False, picture: str = ""
) -> list[Text]:
    """The whole formula: what failed, if anything did; heading; pieces; certificate.

    Args:
        found: A `Formula`.
        width: Cells per line.
        top: Rows of a table before the rest is counted; None for all.
        certificate: Every check, not only the verdict.
        picture: Of a plane: ``"colours"`` for a terminal that has them, ``"shades"`` for one that has none, ``""`` for
            no picture. ``"none"`` leaves out the graph of a line, too.
    """
    return list(_lines(found, width, top, certificate, picture))


def _lines(found: Any, width: int, top: int | None, every: bool, picture: str) -> Iterator[Text]:
    yield from refusal_lines(found.certificate, width)
    word = "" if is_exact(found.certificate) else "approximate "
    title, where = _heading(found)
    yield from wrapped(f"{word}formula of {found.name}: {title}", width, "", "bold")
    if found.lifted.others:
        which = (
            f"of the first of {len(found.lifted.others) + 1} values that the net returns; --output asks for another: "
        )
        where.append(which + listed(found.lifted.others))
    for text in where:
        yield from wrapped(text, width, "  ", "dim")
    yield Text("")
    yield from _BODIES[found.kind](found, width, top, picture)
    yield Text("")
    yield from certificate_lines(found.certificate, width, every)


def _heading(found: Any) -> tuple[str, list[str]]:
    """(title, where it holds)."""
    where = [flat_words(found.flat, found.lifted.net.inputs)] if found.flat is not None else []
    if found.kind == "affine":
        layers = len(found.lifted.net.layers)
        return "one affine map, for every input", [f"{count(layers + 1, 'layer')} collapsed into one"] if layers else []
    if found.kind == "line":
        name = coordinate(found)
        if found.flat is None:
            where.append(f"{name} = {found.inputs[0]}, y = {', '.join(found.outputs[:4])}")
        return line_title(found.facts, name), where
    if found.kind == "plane":
        from weightwalk.show.formulas_plane import plane_title

        return plane_title(found.facts), where
    return "the affine map at one input, and the region on which it holds", where


def coordinate(found: Any) -> str:
    """What the coordinate of a line is called in a table."""
    return "x" if found.flat is None else found.flat.names[0]


# Affine -------------------------------------------------------------------------------------------------------------


def _affine(found: Any, width: int, top: int | None, picture: str) -> Iterator[Text]:
    facts = found.facts
    yield from map_lines(facts.A, facts.b, found.inputs, found.outputs, width, top)
    if facts.fractions is not None:
        A, b = facts.fractions
        yield Text("")
        yield from wrapped("the same in fractions, nothing rounded", width, "  ", "italic")
        cells = [(o, i, str(A[r][c])) for r, o in enumerate(found.outputs) for c, i in enumerate(found.inputs)]
        cells += [(o, "constant", str(b[r])) for r, o in enumerate(found.outputs)]
        most = len(cells) if top is None else top
        yield from columns(("output", "input", "coefficient"), cells[:most], width)
        if len(cells) > most:
            yield from wrapped(f"not shown: {len(cells) - most:,} more", width, "  ", "dim")


def map_lines(A: Any, b: Any, inputs: Any, outputs: Any, width: int, top: int | None) -> Iterator[Text]:
    """``y = A x + b``: as equations where they are short, else the greatest coefficients, and how many there are."""
    A, b = np.asarray(A), np.asarray(b)
    if A.size == 1:
        yield from equation_lines("y", affine_terms(A[0], ("x",), b[0]), width, style="bold green")
        yield from wrapped(f"with x = {inputs[0]} and y = {outputs[0]}", width, "  ", "dim")
    elif len(inputs) <= EQUATIONS and len(outputs) <= EQUATIONS:
        for row, constant, output in zip(A, b, outputs, strict=True):
            yield from equation_lines(output, affine_terms(row, inputs, constant), width, style="bold green")
    else:
        yield from coefficient_lines(A, inputs, outputs, width, top)
        yield from _constants(b, outputs, width, top)


def coefficient_lines(A: np.ndarray, inputs: Any, outputs: Any, width: int, top: int | None) -> Iterator[Text]:
    """The greatest coefficients, then the rest counted."""
    order = np.argsort(-np.abs(A), axis=None, kind="stable")
    most = A.size if top is None else min(top, A.size)
    rows, places = np.unravel_index(order[:most], A.shape)

    def table(digits: int) -> list[tuple[object, ...]]:
        return [(outputs[r], inputs[c], digits_of(float(A[r, c]), digits)) for r, c in zip(rows, places, strict=True)]

    yield from fitted(("output", "input", "coefficient"), table, width)
    if A.size > most:
        largest = told(abs(float(A.flat[order[most]])), 4)
        zeros = int(np.count_nonzero(A == 0))
        text = f"not shown: {count(A.size - most, 'more coefficient')}, none greater in size than {largest}"
        text += f" ({zeros:,} of all {A.size:,} are 0)" if zeros else ""
        yield from wrapped(text, width, "  ", "dim")


def _constants(b: np.ndarray, outputs: Any, width: int, top: int | None) -> Iterator[Text]:
    most = len(b) if top is None else min(top, len(b))
    order = np.argsort(-np.abs(b), kind="stable")[:most]
    yield Text("")
    yield from fitted(("output", "constant"), lambda d: [(outputs[r], digits_of(float(b[r]), d)) for r in order], width)
    if len(b) > most:
        yield from wrapped(f"not shown: {count(len(b) - most, 'more constant')}", width, "  ", "dim")


# Line, plane, point -------------------------------------------------------------------------------------------------


def _line(found: Any, width: int, top: int | None, picture: str) -> Iterator[Text]:
    yield from line_lines(found.facts, coordinate(found), width, top, found.exact, graph=picture != "none")


def _plane(found: Any, width: int, top: int | None, picture: str) -> Iterator[Text]:
    from weightwalk.show.formulas_plane import plane_lines

    yield from plane_lines(found.facts, width, top, found.exact, picture)


def _point(found: Any, width: int, top: int | None, picture: str) -> Iterator[Text]:
    from weightwalk.show.formulas_point import point_lines

    yield from point_lines(found.facts, width, top)


_BODIES: dict[str, Callable[[Any, int, int | None, str], Iterator[Text]]] = {
    "affine": _affine,
    "line": _line,
    "plane": _plane,
    "point": _point,
}


# What is found beside a formula -------------------------------------------------------------------------------------


def surrogate_lines(surrogate: Any, width: int = 100, top: int | None = 12) -> list[Text]:
    """A polynomial in place of the net: coefficients, scores, and a warning where they are poor."""
    from weightwalk.show.formulas_fitted import surrogate_table

    return list(surrogate_table(surrogate, width, top))


def sensitivity_lines(s: Any, width: int = 100, top: int | None = 12) -> list[Text]:
    """How much each input matters, by several measures, each beside its baseline."""
    from weightwalk.show.formulas_fitted import sensitivity_table

    return list(sensitivity_table(s, width, top))


def summary_lines(summary: Any, width: int = 100, top: int | None = 12) -> list[Text]:
    """Range, mean, variance and slopes of a formula over its box."""
    from weightwalk.show.formulas_fitted import summary_table

    return list(summary_table(summary, width, top))


def indices_lines(indices: Any, width: int = 100, top: int | None = 12) -> list[Text]:
    """Sobol' indices of two inputs."""
    from weightwalk.show.formulas_fitted import indices_table

    return list(indices_table(indices, width, top))


def loss_lines(loss: Any, width: int = 100, top: int | None = 12, certificate: bool = False) -> list[Text]:
    """The loss along one weight: pieces, kinks, its minimum, and where the net stands; or over two weights."""
    if hasattr(loss, "partitions"):
        from weightwalk.show.formulas_loss_plane import loss_plane_table

        return list(loss_plane_table(loss, width, certificate))
    from weightwalk.show.formulas_loss import loss_table

    return list(loss_table(loss, width, top, certificate))
