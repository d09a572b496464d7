"""What a person types after `weightwalk formula`, made into what the rooms below take."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from weightwalk.errors import UsageError

if TYPE_CHECKING:
    import numpy as np

WRITTEN = (".py", ".tex", ".json")
DRAWN = (".svg", ".png", ".pdf")


class Data(NamedTuple):
    """Inputs (N, n), targets (N, outputs) where there are some, and names where there are some."""

    x: np.ndarray
    y: np.ndarray | None
    names: tuple[str, ...] = ()


def numbers(text: str, what: str) -> np.ndarray:
    """``"0.5, -1"``, ``"0.5 -1"`` or ``"@file.npy"`` as float64; a file keeps its shape.

    Raises:
        UsageError: Something in it is no number.
    """
    import numpy as np

    if text.strip().startswith("@"):
        from weightwalk.nets.files import read_file

        found = read_file(text.strip()[1:])
        if isinstance(found, str):
            return numbers(found, what)
        if isinstance(found, Mapping):
            raise UsageError(f"{what} {text!r} holds several arrays; one input is wanted.")
        try:
            return np.asarray(found, np.float64)
        except (TypeError, ValueError):
            raise UsageError(f"{what} {text!r} is not one array of numbers.") from None
    words = re.findall(r"[^,;\s]+", text)
    if not words:
        raise UsageError(f"{what} is empty; it takes the numbers of one input, such as 0.5,-1, or @file.npy.")
    return np.array([_number(word, f"{what} {text!r}") for word in words], np.float64)


def _number(word: str, where: str) -> float:
    try:
        found = float(word) if "_" not in word else None
    except ValueError:
        found = None
    if found is None:
        raise UsageError(f"{where}: {word!r} is not a number; numbers look like 2.0 or 0.5,-1, or give @file.npy.")
    if math.isinf(found) and "inf" not in word.lower():
        raise UsageError(f"{where}: {word} is too large for a float64.")
    return found


def plane(text: str) -> tuple[Any, ...]:
    """``"0,1"`` or ``"rho,theta"`` as two inputs; ``"O; U; V"`` as an origin and two vectors.

    Raises:
        UsageError: Neither.
    """
    parts = [p.strip() for p in text.split(";")]
    if len(parts) == 3:
        names = ("the origin of --plane", "U of --plane", "V of --plane")
        return tuple(numbers(p, n) for p, n in zip(parts, names, strict=True))
    axes = [a.strip() for a in re.split(r",(?![^\[]*\])", text)]
    if len(parts) == 1 and len(axes) == 2 and all(axes):
        return tuple(axes)
    raise UsageError(
        f"--plane {text!r} is neither two inputs, such as 0,1 or rho,theta, nor an origin and two vectors parted by "
        f"semicolons, such as '0,0,0; 1,0,0; 0,1,0'."
    )


def box(text: str) -> str | list[tuple[float, float]] | tuple[float, float]:
    """``"-1..1"`` for every coordinate, ``"-1..1, 0..10"`` one each, ``"all"`` for no bounds.

    Raises:
        UsageError: None of these.
    """
    if text.strip() == "all":
        return "all"
    sides = [s.strip() for s in re.split(r"[,;]", text) if s.strip()]
    pairs = [re.fullmatch(r"(\S+?)\s*\.\.\s*(\S+)", s) for s in sides]
    if not pairs or not all(pairs):
        raise UsageError(
            f"--box {text!r} is not a range such as -1..1 (for every coordinate) or -1..1,0..10 (one each), nor all."
        )
    found = [(_number(p[1], f"--box {text!r}"), _number(p[2], f"--box {text!r}")) for p in pairs if p]
    return found[0] if len(found) == 1 else found


def memory(text: str) -> int:
    """``"2G"``, ``"512M"`` or a count of bytes.

    Raises:
        UsageError: Not a size above 0.
    """
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([kmgt]?)(?:i?b)?", text.strip().lower())
    size = float(match[1]) * 1024 ** " kmgt".index(match[2] or " ") if match else 0
    if size < 1:
        raise UsageError(f"--memory {text!r} is not a size such as 2G, 512M or a number of bytes.")
    return int(size)


def rows(text: str) -> list[int]:
    """``"0,2"`` as numbers of outputs.

    Raises:
        UsageError: Something else.
    """
    try:
        return [int(word) for word in re.findall(r"[^,\s]+", text)] or _none(text)
    except ValueError:
        return _none(text)


def _none(text: str) -> list[int]:
    raise UsageError(f"--select {text!r} is not a list of outputs by number, such as 0 or 0,2.")


def data(name: str, inputs: int, outputs: int) -> Data:
    """Inputs and targets from a file: columns of a .csv or .npy in that order, or x and y of a .npz.

    Raises:
        UsageError: No such file, one that is not numbers, or one that does not fit the net.
    """
    import numpy as np

    path = Path(name).expanduser()
    if path.suffix.lower() not in (".csv", ".npy", ".npz"):
        raise UsageError(f"--data {name!r} must end in .csv, .npy or .npz.")
    if not path.is_file():
        raise UsageError(f"--data: there is no file {name!r}.")
    try:
        x, y = _npz(path) if path.suffix.lower() == ".npz" else (_table(path), None)
    except OSError as error:
        raise UsageError(f"--data {name!r} cannot be read: {error.strerror or error}.") from error
    x = x.reshape(len(x), -1)
    if y is None and x.shape[1] == inputs + outputs:
        x, y = x[:, :inputs], x[:, inputs:]
    if x.shape[1] != inputs:
        raise UsageError(
            f"--data {name!r} has {x.shape[1]} columns; the net takes {inputs} numbers and gives {outputs}, so "
            f"{inputs} (inputs) or {inputs + outputs} (inputs, then targets) are expected."
        )
    if y is not None:
        y = y.reshape(len(y), -1)
        if y.shape != (len(x), outputs):
            raise UsageError(
                f"--data {name!r} has targets of shape {y.shape}; expected ({len(x)}, {outputs}), a row per input."
            )
    for what, part in (("inputs", x), ("targets", y)):
        if part is not None and not np.isfinite(part).all():
            row = int(np.flatnonzero(~np.isfinite(part).all(1))[0])
            raise UsageError(f"--data {name!r}: the {what} of row {row} are not finite; leave that row out.")
    return Data(x, y)


def _table(path: Path) -> np.ndarray:
    """The numbers of a .csv (its first line may be headings) or a .npy."""
    import numpy as np

    if path.suffix.lower() == ".npy":
        from weightwalk.nets.files import read_file

        found = np.asarray(read_file(str(path)), np.float64)
        return found[:, None] if found.ndim == 1 else found
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise UsageError(f"--data {path.name!r} is not text (byte {error.start}).") from None
    cells = [(i, [c.strip() for c in re.split(r"[,;\t]", line)]) for i, line in enumerate(lines, 1) if line.strip()]
    if cells and not any(_is_number(c) for c in cells[0][1]):
        cells = cells[1:]
    if not cells:
        raise UsageError(f"--data {path.name!r} holds no rows of numbers.")
    width = len(cells[0][1])
    for line, row in cells:
        wrong = next((c for c in row if not _is_number(c)), None)
        if wrong is not None:
            raise UsageError(f"--data {path.name!r}, line {line}: {wrong!r} is not a number.")
        if len(row) != width:
            raise UsageError(f"--data {path.name!r}, line {line}: {len(row)} columns, and {width} before.")
    return np.array([[float(c) for c in row] for _, row in cells], np.float64)


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _npz(path: Path) -> tuple[np.ndarray, np.ndarray | None]:
    import zipfile

    import numpy as np

    try:
        with np.load(path, allow_pickle=False) as arrays:
            if "x" not in arrays:
                raise UsageError(
                    f"--data {path.name!r} has no array x; it has {', '.join(arrays) or 'none'}: write it with "
                    f"numpy.savez(file, x=inputs, y=targets)."
                )
            found = [np.asarray(arrays[k], np.float64) for k in ("x", "y") if k in arrays]
    except (ValueError, EOFError, zipfile.BadZipFile) as error:
        raise UsageError(f"--data {path.name!r} is not arrays of numbers that can be read safely ({error}).") from None
    if any(part.ndim == 0 for part in found):
        raise UsageError(f"--data {path.name!r} holds single numbers; x and y are arrays with a row per input.")
    return found[0], found[1] if len(found) > 1 else None


def one_of(options: Mapping[str, Any], names: Sequence[str], why: str) -> None:
    """At most one of these options.

    Raises:
        UsageError: Two or more.
    """
    given = [n for n in names if options[n] not in (None, False, ())]
    if len(given) > 1:
        raise UsageError(f"{flag(given[0])} and {flag(given[1])} do not go together: {why}.")


def needs(options: Mapping[str, Any], names: Sequence[str], present: bool, what: str) -> None:
    """These options make sense only with something else.

    Raises:
        UsageError: One is given without it.
    """
    for name in names:
        if options[name] not in (None, False, ()) and not present:
            raise UsageError(f"{flag(name)} {what}.")


def flag(name: str) -> str:
    """An option as it is typed."""
    return "--" + {"as_json": "json"}.get(name, name).replace("_", "-")
