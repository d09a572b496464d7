"""Formulas as text, LaTeX and Python code: strings from facts, nothing computed but the rounding that is asked for.

A formula that is not certified says ``NOT EXACT`` and why, in every form.
"""

from __future__ import annotations

from typing import Any

from weightwalk.errors import UsageError
from weightwalk.formulas.lines.line import Line
from weightwalk.formulas.planes.partition import Partition
from weightwalk.formulas.rationals.line import ExactLine
from weightwalk.formulas.rationals.plane import ExactPartition
from weightwalk.formulas.writing import lines, maps, regions
from weightwalk.formulas.writing.nets import expression
from weightwalk.formulas.writing.words import affine, array_source, assigned, listed, number

FORMS = ("text", "latex", "python")


def text(facts: Any, **options: Any) -> str:
    """A `Line`, `ExactLine`, `Partition`, `ExactPartition`, `AffineMap` or `Local` as plain text.

    Args:
        facts: The formula.
        **options: ``digits`` to round to (None, the default, writes every number such that it reads back as the same),
            ``limit`` of rows, ``title`` for y, ``certificate`` instead of the formula's own.

    Raises:
        UsageError: An option is unknown or out of range.

    Example:
        >>> import numpy as np
        >>> from weightwalk.formulas.lines.line import line
        >>> from weightwalk.formulas.piecewise import mlp
        >>> found = line(mlp([np.array([[1.0], [-1.0]]), np.array([[1.0, 1.0]])], [np.zeros(2), np.zeros(1)]))
        >>> print(text(found))
        y as a function of x, for every x: 2 pieces.
        x is x[0].
        Certified: greatest |formula - net| at 1,000 fresh points is 0, held to ...
        <BLANKLINE>
        y = -x   for x <= 0
        y = x    for x > 0
        <BLANKLINE>
    """
    return _written(facts, "text", options)


def latex(facts: Any, **options: Any) -> str:
    """The same as LaTeX, for amsmath; see `text`."""
    return _written(facts, "latex", options)


def python(facts: Any, **options: Any) -> str:
    """The same as the source of a function that needs NumPy and nothing else; see `text`.

    Of a line, ``numpy=False`` gives one that needs nothing at all. ``name`` is what the function is called.
    """
    return _written(facts, "python", options)


def write(found: Any, form: str, **options: Any) -> str:
    """A whole `Formula` in one of `FORMS`: its fractions where it has them, else its float64.

    Args:
        found: A `Formula`.
        form: ``"text"``, ``"latex"`` or ``"python"``.
        **options: See `text`.

    Raises:
        UsageError: An option is unknown or out of range.
    """
    facts = found.exact if getattr(found, "exact", None) is not None else found.facts
    title = f"{found.name}: {'y' if len(found.outputs) == 1 else 'the outputs'}"
    said = _written(facts, form, {"title": title, "certificate": found.certificate, **options})
    return said if found.flat is None else _with_flat(said, found.flat, form)


def _with_flat(said: str, flat: Any, form: str) -> str:
    """A line or a plane through the inputs, told before the formula of its coordinates; as code, after it."""
    letters = ("A", "B - A") if len(flat.names) == 1 else ("origin", "U", "V")
    sums = " + ".join(f"{name} {v}" for name, v in zip(flat.names, letters[1:], strict=True))
    where = f"The inputs are {letters[0]} + {sums.replace('t B - A', 't (B - A)')}"
    vectors = (flat.origin, *flat.directions)
    if form != "python":
        mark = "% " if form == "latex" else ""
        lines = [f"{where}:"]
        for letter, vector in zip(letters, vectors, strict=True):
            lines.append(f"{letter} = ({', '.join(listed([number(v) for v in vector[:64].tolist()], len(vector)))})")
        return "\n".join(mark + line for line in lines) + "\n" + said
    numpy = "import numpy as np" in said
    write = array_source if numpy else assigned
    lines = [f"# {where}:", *write("ORIGIN", flat.origin, None), *write("DIRECTIONS", flat.directions, None)]
    if numpy:
        lines += [
            "",
            "",
            "def inputs(*coordinates):",
            '    """The net\'s inputs, (..., n), at coordinates (...)."""',
            "    return ORIGIN + np.stack(np.broadcast_arrays(*coordinates), axis=-1) @ DIRECTIONS",
        ]
    return said + "\n\n" + "\n".join(lines) + "\n"


def _written(facts: Any, form: str, options: dict[str, Any]) -> str:
    if form not in FORMS:
        raise UsageError(f"A formula is written as {', '.join(FORMS)}; not as {form!r}.")
    digits = options.get("digits")
    if digits is not None and not (isinstance(digits, int) and 1 <= digits <= 17):
        raise UsageError(f"digits={digits!r} is not a number of digits from 1 to 17; leave it out to round nothing.")
    if isinstance(facts, (Line, ExactLine)):
        room = lines
    elif isinstance(facts, (Partition, ExactPartition)):
        room = regions
    elif hasattr(facts, "A") and hasattr(facts, "b"):
        room = maps
    else:
        raise UsageError(f"{type(facts).__name__} is no formula: expected a line, a partition or an affine map.")
    try:
        return getattr(room, form)(facts, **options)
    except TypeError as error:
        if "unexpected keyword argument" not in str(error):
            raise
        name = str(error).rsplit("'", 2)[-2]
        raise UsageError(f"{type(facts).__name__} as {form} has no option {name!r}.") from None


__all__ = ["FORMS", "affine", "expression", "latex", "number", "python", "text", "write"]
