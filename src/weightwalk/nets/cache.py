"""Remembered trainings: a safetensors file per recipe, in the user's cache directory.

The cache is a convenience, never a condition: a directory that cannot be written is no error, and where a file is
damaged the net is trained anew. A file is written whole or not at all, so that readers and other writers never see
half of one.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import platform
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save

from weightwalk.nets.digest import weights_digest

FORMAT = 1


def cache_directory() -> Path | None:
    """``$WEIGHTWALK_CACHE``, else ``weightwalk`` in the platform's cache directory; None where there is no home."""
    if chosen := os.environ.get("WEIGHTWALK_CACHE"):
        return Path(chosen).expanduser()
    try:
        if sys.platform == "win32":
            return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local") / "weightwalk" / "cache"
        if sys.platform == "darwin":
            return Path.home() / "Library" / "Caches" / "weightwalk"
        # A relative XDG path is to be ignored, says the XDG Base Directory specification.
        base = Path(os.environ.get("XDG_CACHE_HOME", ""))
        return (base if base.is_absolute() else Path.home() / ".cache") / "weightwalk"
    except RuntimeError:
        return None


def recipe_key(recipe: Mapping[str, Any]) -> str:
    """A name for what decides the weights: the recipe, this format, torch's version, the kind of machine."""
    facts = {"recipe": recipe, "format": FORMAT, "torch": torch.__version__, "machine": _machine()}
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:32]


def recall(name: str, key: str) -> tuple[dict[str, torch.Tensor], dict[str, Any]] | None:
    """The remembered weights and facts; None if there are none, or they are damaged."""
    directory = cache_directory()
    if directory is None:
        return None
    try:
        data = (directory / f"{name}-{key}.safetensors").read_bytes()
        tensors = load(data)
        header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
        seal, text = header["__metadata__"]["weightwalk"].split(" ", 1)
        if seal != _digest(tensors, text):
            return None
        facts = json.loads(text)
    except (OSError, SafetensorError, ValueError, KeyError, TypeError):
        return None
    return tensors, facts


def remember(name: str, key: str, tensors: Mapping[str, torch.Tensor], facts: Mapping[str, Any]) -> bool:
    """Store weights and facts; False where the cache cannot be written."""
    directory = cache_directory()
    if directory is None:
        return False
    text = json.dumps(facts)
    # One key, because safetensors writes several in no fixed order, and the same net should make the same file.
    data = save(dict(tensors), metadata={"weightwalk": f"{_digest(tensors, text)} {text}"})
    try:
        directory.mkdir(parents=True, exist_ok=True)
        _write_whole(directory / f"{name}-{key}.safetensors", data)
    except OSError:
        return False
    return True


def _write_whole(path: Path, data: bytes) -> None:
    """Write beside, flush to disk, rename over: the path holds the old contents or the new, never a part."""
    handle, name = tempfile.mkstemp(prefix=path.name + ".", suffix=".part", dir=path.parent)
    beside = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            beside.unlink()
        raise


def _digest(tensors: Mapping[str, torch.Tensor], facts: str) -> str:
    return hashlib.sha256((weights_digest(tensors) + facts).encode()).hexdigest()


def _machine() -> str:
    return f"{platform.system()} {platform.machine()} {torch.backends.cpu.get_cpu_capability()}"
