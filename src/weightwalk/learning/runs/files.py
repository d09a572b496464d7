"""Checkpoint files: written whole, read only when whole.

A checkpoint is one safetensors file: tensors, and in its header one JSON document with a digest over both. safetensors
itself notices a file that is cut short, the digest any changed bit.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from weightwalk.errors import RecordError

TEMPORARY = ".part"


def digest(tensors: Mapping[str, Tensor], more: str = "") -> str:
    """SHA-256 over tensors in order of their names (name, type, shape, bytes) and a text."""
    total = hashlib.sha256(more.encode())
    for name in sorted(tensors):
        tensor = tensors[name].detach().cpu().contiguous()
        total.update(f"\0{name}\0{tensor.dtype}\0{tuple(tensor.shape)}\0".encode())
        total.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return total.hexdigest()


def write_tensors(path: Path, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> None:
    """Write a checkpoint whole.

    Raises:
        OSError: It could not be written; what was there before is as it was.
    """
    apart = {name: _own(t) for name, t in tensors.items()}
    text = json.dumps(facts)
    with _whole(path) as beside:
        try:
            save_file(apart, beside, {"weightwalk": text, "sha256": digest(apart, text)})
        except SafetensorError as error:
            raise OSError(str(error)) from error


def write_json(path: Path, facts: Mapping[str, Any]) -> None:
    """Write a JSON document whole.

    Raises:
        OSError: It could not be written; what was there before is as it was.
    """
    with _whole(path) as beside:
        beside.write_text(json.dumps(facts, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def read_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors and facts of a checkpoint.

    Raises:
        RecordError: It is cut short, changed, or no checkpoint.
    """
    try:
        with safe_open(path, framework="pt") as file:
            header = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - it is no mapping
        text, sha256 = header["weightwalk"], header["sha256"]
        facts = json.loads(text)
    except (SafetensorError, OSError, KeyError, ValueError) as error:
        raise RecordError(f"{path.name} is no whole checkpoint ({type(error).__name__}: {error}).") from error
    if digest(tensors, text) != sha256:
        raise RecordError(f"{path.name} was changed after it was written: its numbers do not match their digest.")
    return tensors, facts


def read_facts(path: Path) -> dict[str, Any]:
    """The facts of a checkpoint alone, unchecked; empty where they cannot be read."""
    try:
        with safe_open(path, framework="pt") as file:
            return json.loads((file.metadata() or {})["weightwalk"])
    except (SafetensorError, OSError, KeyError, ValueError):
        return {}


def _own(tensor: Tensor) -> Tensor:
    """On the CPU, dense, with a storage of its own."""
    found = tensor.detach().cpu().contiguous()
    same = found.untyped_storage().nbytes() == found.numel() * found.element_size()
    return found if same and found.data_ptr() != tensor.data_ptr() else found.clone()


@contextlib.contextmanager
def _whole(path: Path) -> Iterator[Path]:
    """A neighbour to write to; when all of it is on the disk it takes the file's place, and the folder is synced."""
    beside = path.with_name(f".{path.name}.{os.getpid()}{TEMPORARY}")
    try:
        yield beside
        with beside.open("rb+") as file:
            os.fsync(file.fileno())
        beside.replace(path)
        sync_folder(path.parent)
    finally:
        with contextlib.suppress(OSError):
            beside.unlink(missing_ok=True)


def sync_folder(folder: Path) -> None:
    """Have the names in a folder on the disk, too; where the system cannot do that, it is left to it."""
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
