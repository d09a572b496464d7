"""Examples to learn from, read from a file; nothing in it can run code.

====================  ==================================================================================================
``.npz``              arrays ``x`` and ``y``, a row per example; ``held_x`` and ``held_y`` where some are to be held out
``.safetensors``      tensors of these names
``.csv``              headings, then a row per example; the last column is the target unless others are named. A target
                      column of words becomes class numbers
====================  ==================================================================================================
"""

from __future__ import annotations

import csv
import io
import math
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from weightwalk.errors import UsageError
from weightwalk.learning.tasks import Data

KINDS = ".npz, .csv or .safetensors"
ARRAYS = ("x", "y", "held_x", "held_y")


def read_data(path: str | Path, *, target_columns: Sequence[str] = ()) -> Data:
    """Inputs and targets from a file, in the precision of the file (float64 for a ``.csv``).

    Args:
        path: A ``.npz``, ``.csv`` or ``.safetensors``; see the module's table.
        target_columns: Headings of the target columns of a ``.csv``; the last column where none is named.

    Raises:
        UsageError: No such file, or not numbers with a row per example; the message says which row or array.
    """
    file = Path(path).expanduser()
    kind = file.suffix.lower()
    if kind not in (".npz", ".csv", ".safetensors"):
        raise UsageError(f"Data are read from {KINDS}; {str(path)!r} is none of them.")
    if not file.is_file():
        raise UsageError(f"There is no data file {str(path)!r}.")
    if target_columns and kind != ".csv":
        raise UsageError(f"Only a .csv has columns to name; in {file.name!r} the targets are the array y.")
    try:
        if kind == ".csv":
            return _csv(file, tuple(target_columns))
        arrays = _npz(file) if kind == ".npz" else _safetensors(file)
    except OSError as error:
        raise UsageError(f"The data file {str(path)!r} cannot be read: {error.strerror or error}.") from error
    return _paired(arrays, file.name)


# Arrays ---------------------------------------------------------------------------------------------------------------


def _npz(path: Path) -> dict[str, Tensor]:
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            found = {name: arrays[name] for name in arrays if name in ARRAYS}
            others = list(arrays)
    except (ValueError, EOFError, zipfile.BadZipFile, TypeError) as error:
        raise UsageError(f"{path.name!r} is not arrays of numbers that can be read safely ({error}).") from None
    _need(found, others, path.name, "numpy.savez(file, x=inputs, y=targets)")
    for name, array in found.items():
        if array.dtype.kind not in "biuf":
            raise UsageError(f"The array {name} of {path.name!r} holds {array.dtype}, not numbers.")
    return {name: torch.from_numpy(np.ascontiguousarray(_native(array))) for name, array in found.items()}


def _native(array: np.ndarray) -> np.ndarray:
    """In a type that torch has: the machine's byte order, no unsigned integers, no long double."""
    kinds = {"u": np.int64, "b": np.int64}
    if array.dtype.kind in kinds:
        return array.astype(kinds[array.dtype.kind])
    return array.astype(np.float64 if array.dtype.itemsize > 8 else array.dtype.newbyteorder("="))


def _safetensors(path: Path) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load

    try:
        tensors = load(path.read_bytes())
    except SafetensorError as error:
        raise UsageError(f"{path.name!r} is not a whole safetensors file: {error}.") from None
    found = {name: tensor for name, tensor in tensors.items() if name in ARRAYS}
    _need(found, list(tensors), path.name, "safetensors.torch.save_file({'x': inputs, 'y': targets}, file)")
    return found


def _need(found: Mapping[str, object], names: Sequence[str], file: str, cure: str) -> None:
    missing = [n for n in ("x", "y") if n not in found]
    if missing or ("held_x" in found) != ("held_y" in found):
        what = " and no ".join(missing) or ("held_y" if "held_x" in found else "held_x")
        raise UsageError(f"{file!r} has no {what}; it has {', '.join(names) or 'nothing'}: write it with {cure}.")


def _paired(arrays: Mapping[str, Tensor], file: str) -> Data:
    """Inputs with as many targets, all finite."""
    for left, right in (ARRAYS[:2], ARRAYS[2:]):
        if left not in arrays:
            continue
        x, y = arrays[left], arrays[right]
        if x.dim() == 0 or y.dim() == 0 or len(x) != len(y) or len(x) == 0:
            raise UsageError(
                f"{left} and {right} of {file!r} must have a row per example, as many of each and at least one; "
                f"their shapes are {tuple(x.shape)} and {tuple(y.shape)}."
            )
        for name, tensor in ((left, x), (right, y)):
            bad = ~torch.isfinite(tensor).flatten(1).all(1) if tensor.dim() > 1 else ~torch.isfinite(tensor)
            if bool(bad.any()):
                raise UsageError(
                    f"{name} of {file!r} is not finite in row {int(bad.nonzero()[0])}; leave that row out."
                )
    return Data(arrays["x"], arrays["y"], arrays.get("held_x"), arrays.get("held_y"))


# Tables ---------------------------------------------------------------------------------------------------------------


def _csv(path: Path, targets: tuple[str, ...]) -> Data:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise UsageError(f"{path.name!r} is not UTF-8 text (byte {error.start}).") from None
    first = text.partition("\n")[0]
    mark = max(",;\t", key=first.count)
    reader = csv.reader(io.StringIO(text), delimiter=mark)
    rows = [(reader.line_num, [c.strip() for c in row]) for row in reader if any(c.strip() for c in row)]
    if len(rows) < 2:
        raise UsageError(f"{path.name!r} needs a line of headings and at least one row of numbers.")
    heads = rows[0][1]
    if all(_number(c) is not None for c in heads):
        raise UsageError(f"{path.name!r} begins with numbers; give its columns headings, such as x1,x2,y.")
    if len(heads) < 2 and not targets:
        raise UsageError(f"{path.name!r} has one column ({heads[0]}); inputs and a target are expected.")
    for line, row in rows[1:]:
        if len(row) != len(heads):
            raise UsageError(f"{path.name!r}, line {line}: {len(row)} columns, and {len(heads)} headings.")
    unknown = [name for name in targets if name not in heads]
    if unknown:
        raise UsageError(f"{path.name!r} has no column {unknown[0]!r}; it has {', '.join(heads)}.")
    wanted = [heads.index(name) for name in targets] or [len(heads) - 1]
    rest = [i for i in range(len(heads)) if i not in wanted]
    if not rest:
        raise UsageError(f"{path.name!r}: every column is a target, so that no input is left.")
    inputs = torch.tensor(
        [[_cell(path, line, row[i], heads[i]) for i in rest] for line, row in rows[1:]], dtype=torch.float64
    )
    if len(wanted) == 1 and all(_number(row[wanted[0]]) is None and row[wanted[0]] for _, row in rows[1:]):
        words = [row[wanted[0]] for _, row in rows[1:]]
        classes = tuple(sorted(set(words)))
        return Data(inputs, torch.tensor([classes.index(w) for w in words]), classes=classes)
    numbers = [[_cell(path, line, row[i], heads[i]) for i in wanted] for line, row in rows[1:]]
    return Data(inputs, torch.tensor(numbers, dtype=torch.float64))


def _number(cell: str) -> float | None:
    try:
        return float(cell)
    except ValueError:
        return None


def _cell(path: Path, line: int, cell: str, head: str) -> float:
    number = _number(cell)
    if number is None or not math.isfinite(number):
        what = f"{cell!r} is not a finite number" if cell else "there is no number"
        raise UsageError(f"{path.name!r}, line {line}, column {head}: {what}.")
    return number
