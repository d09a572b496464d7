"""What `weightwalk formula` found, printed and written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from weightwalk.cli import common
from weightwalk.cli.formula_jobs import Found, Request
from weightwalk.errors import UsageError

CERTIFIED = ("Formula", "Lookup", "LossLine", "LossPlane")
"""Facts whose lines can tell every check."""


def tell(request: Request, found: Found) -> int:
    """Print and write what was found; the exit code."""
    failed = found.failures
    if failed:
        for check in failed:
            common.note(f"FAILED: {check.name}: {check.found:.3g}, and it must be {check.limit}".rstrip())
        common.note("the formula is not exact" + ("; nothing is written" if request.targets else ""))
    text = None if failed or "save" not in request.targets else _text(found, request.targets["save"])
    if "figure" in request.targets:
        _picturable(found.formula)
    _print(request, found, bool(failed))
    if not failed:
        _write(request, found, text)
    return 1 if failed else 0


def _picturable(formula: Any) -> None:
    """Refuse a picture that there is not before anything is printed.

    Raises:
        UsageError: There is no picture of it.
    """
    if formula is None:
        raise UsageError(
            "There is no picture of a polynomial or a ranking: leave --figure out, or --json has all of it."
        )
    if type(formula).__name__ == "Lookup":
        raise UsageError("There is no picture of a table: draw the embeddings with --plane, such as --plane 0,1.")
    if getattr(formula, "kind", "") == "affine" and len(formula.inputs) > 2:
        raise UsageError(
            f"There is no picture of one affine map in {len(formula.inputs)} dimensions: draw it with --line or "
            "--plane."
        )
    if getattr(formula, "kind", "") == "point":
        raise UsageError("There is no picture of the formula around one input: draw it with --line or --plane.")


def _print(request: Request, found: Found, failed: bool) -> None:
    if request["as_json"]:
        common.emit(facts(found))
    elif request["python"] or request["latex"]:
        if not failed:
            click.echo(_source(found, "py" if request["python"] else "tex").rstrip("\n"))
    else:
        from weightwalk.show.terminal import console, lines, put

        target = console()
        for i, fact in enumerate(f for f in (found.formula, *found.more) if f is not None):
            if i:
                click.echo()
            extra = {"certificate": request["certificate"]} if type(fact).__name__ in CERTIFIED else {}
            put(lines(fact, target.width, top=request["top"], **extra), target)


def facts(found: Found) -> dict[str, Any]:
    """Everything, for machines."""
    from weightwalk.show.formula_json import formula_facts

    out = {} if found.formula is None else formula_facts(found.formula)
    return {**out, "more": [formula_facts(f) for f in found.more]} if found.more else out


def _source(found: Found, kind: str) -> str:
    """The formula as Python or LaTeX."""
    what = found.formula if found.formula is not None else found.more[0]
    method = getattr(what, {"py": "python", "tex": "latex"}[kind], None)
    if method is None:
        raise UsageError(f"There is no way to write {type(what).__name__} as .{kind}; --json holds all of it.")
    return method()


def _write(request: Request, found: Found, text: str | None) -> None:
    if text is not None:
        path = request.targets["save"]
        with common.whole(path) as beside:
            beside.write_text(text, encoding="utf-8")
        common.note(f"wrote {path}")
    if "figure" in request.targets:
        path = request.targets["figure"]
        with common.whole(path) as beside:
            _draw(request, found, beside)
        common.note(f"drew {path}")


def _text(found: Found, path: Path) -> str:
    kind = path.suffix.lower().lstrip(".")
    if kind == "json":
        from weightwalk.show.json import text

        return text(facts(found)) + "\n"
    return _source(found, kind).rstrip("\n") + "\n"


def _draw(request: Request, found: Found, path: Path) -> None:
    from weightwalk.show.formula_figures import formula_figure

    colour = request["color"] or "value"
    if request["decide"] or colour == "decision":
        colour = "least" if request["decide"] == "min" else "decision"
    formula_figure(found.formula, path, colour=colour, data=_overlay(found))


def _overlay(found: Found) -> Any:
    """The data in the coordinates of the picture: of a plane through more inputs, what lies on it."""
    import numpy as np

    if found.data is None:
        return None
    x, y, names = found.data
    flat = getattr(found.formula, "flat", None)
    if flat is not None:
        at, *_ = np.linalg.lstsq(flat.directions.T, (x - flat.origin).T, rcond=None)
        off = np.abs(flat.at(at.T) - x).max(1) > 1e-9 * np.maximum(np.abs(x).max(), 1.0)
        if off.any():
            what = "line" if len(at) == 1 else "plane"
            common.note(f"{int(off.sum()):,} of {len(x):,} points lie outside the {what} and are not drawn")
        x, y = at.T[~off], None if y is None else y[~off]
        names = tuple(n for n, beside in zip(names, off, strict=False) if not beside)
        if not len(x):
            return None
    if x.shape[1] == 1:
        return None if y is None else (x[:, 0], y[:, 0])
    if names:
        return x, names
    return x if y is None else (x, y[:, 0])
