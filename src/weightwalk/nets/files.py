"""Input files: .npy, .json, .txt and .safetensors. Nothing here can run code: no pickled arrays, no pickles."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from weightwalk.errors import UsageError

KINDS = ".npy, .json, .txt, .safetensors"


def read_file(name: str) -> Any:
    """The contents of an input file: an array, a tensor, nested lists, text, or a mapping of these.

    Raises:
        UsageError: No such file, a kind that is not read, or contents that are not what the kind promises.
    """
    path = Path(name).expanduser()
    readers = {".npy": _npy, ".json": _json, ".txt": _txt, ".safetensors": _safetensors}
    if path.suffix.lower() not in readers:
        raise UsageError(f"Input files are {KINDS}; {name!r} is none of them.")
    if not path.is_file():
        raise UsageError(f"There is no input file {name!r}.")
    try:
        return readers[path.suffix.lower()](path)
    except OSError as error:
        raise UsageError(f"The input file {name!r} cannot be read: {error.strerror or error}.") from error


def _npy(path: Path) -> np.ndarray:
    try:
        array = np.load(path, allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise UsageError(
            f"{path.name!r} is not an array of numbers that can be read safely ({error}); "
            "write it with numpy.save from a numeric array."
        ) from None
    if not isinstance(array, np.ndarray):
        raise UsageError(f"{path.name!r} holds several arrays (.npz); write one with numpy.save, or use .safetensors.")
    if array.dtype.kind not in "biuf":
        raise UsageError(f"{path.name!r} holds {array.dtype}, not numbers.")
    return array


def _json(path: Path) -> Any:
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UsageError(f"{path.name!r} is not valid JSON: {error}.") from None
    if not isinstance(data, (int, float, str, list, dict)) or isinstance(data, bool):
        raise UsageError(f"{path.name!r} holds {json.dumps(data)}; expected numbers, lists of them, or a mapping.")
    return data


def _txt(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8").removesuffix("\n")
    except UnicodeDecodeError as error:
        raise UsageError(f"{path.name!r} is not UTF-8 text (byte {error.start}).") from None


def _safetensors(path: Path) -> Any:
    from safetensors import SafetensorError
    from safetensors.torch import load

    try:
        tensors = load(path.read_bytes())
    except SafetensorError as error:
        raise UsageError(f"{path.name!r} is not a whole safetensors file: {error}.") from None
    if not tensors:
        raise UsageError(f"{path.name!r} holds no tensor.")
    return next(iter(tensors.values())) if len(tensors) == 1 else tensors
