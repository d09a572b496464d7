"""``.walk`` files: one safetensors file, its index in the header, a SHA-256 for every tensor and for the whole.

The safetensors metadata hold ``format``, ``version``, ``index`` (see `weightwalk.walks.index`) and ``sha256``, the
digest of the index. The index holds the digest of every tensor, so the one digest covers the whole file.
"""

from __future__ import annotations

import hashlib
import json
import os
import struct
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from weightwalk.errors import DamagedError, NotKeptError, RecordError, UsageError
from weightwalk.walks import index as walk_index
from weightwalk.walks.dtypes import SAFETENSORS, numpy_dtype
from weightwalk.walks.model import Value
from weightwalk.walks.walk import Walk

FORMAT, VERSION = "weightwalk", "1"
_LARGEST_HEADER = 100_000_000  # what the safetensors library accepts


# Saving ------------------------------------------------------------------------------------------------------------


def span(value: Value) -> tuple[int, int]:
    """First byte, and byte after the last, that `value` covers of its buffer."""
    if value.size == 0:
        return 0, 0
    size = numpy_dtype(value.dtype).itemsize
    last = value.offset + sum((n - 1) * s for n, s in zip(value.shape, value.strides, strict=True))
    return value.offset * size, (last + 1) * size


def _buffers(walk: Walk) -> dict[int, dict[str, Any]]:
    """Each buffer of which something was kept: the span that its values cover, in bytes, and their dtype if one."""
    found: dict[int, dict[str, Any]] = {}
    for value in walk.values:
        if value.dtype not in SAFETENSORS or not value.kept:
            continue
        start, stop = span(value)
        b = found.setdefault(value.buffer, {"start": start, "stop": stop, "dtype": value.dtype, "external": False})
        if stop > start:
            b["start"], b["stop"] = (
                (start, stop) if b["stop"] == b["start"] else (min(b["start"], start), max(b["stop"], stop))
            )
        if b["dtype"] != value.dtype:
            b["dtype"] = "uint8"
        # every other value on a parameter's buffer is a view of the parameter
        b["external"] |= value.producer is None and value.kind in ("parameter", "buffer")
    names = {walk.values[vid].buffer: name for name, vid in reversed(list(walk.given.items()))}
    for i, b in found.items():
        b["name"] = names.get(i, "")
        size = numpy_dtype(b["dtype"]).itemsize
        if (b["stop"] - b["start"]) % size or b["start"] % size:
            b["dtype"] = "uint8"
    return found


def save(walk: Walk, path: str | Path, *, weights: str = "included") -> Path:
    """Write `walk` to one file, whole or not at all.

    The file is a safetensors file with the index of the walk in its header and a SHA-256 for every buffer, so that one
    digest, that of the index, stands for the whole. The format is specified in ``docs/reference/file-format.md``.

    Args:
        walk: The walk.
        path: Where to; the usual ending is ``.walk``.
        weights: ``"included"``, or ``"external"`` to leave parameters out and refer to them by SHA-256: `load` then
            takes them from what it is given.

    Returns:
        The path.

    Raises:
        UsageError: The file cannot be written, or its numbers were changed since they were recorded; nothing is left
            behind.

    Example:
        >>> import tempfile, torch, weightwalk as ww
        >>> w = ww.walk(torch.nn.Linear(2, 1), torch.ones(1, 2))
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     again = ww.load(w.save(f"{folder}/one.walk"))
        ...     bool(again["out"].numpy() == w["out"].numpy())
        True
    """
    if weights not in ("included", "external"):
        raise UsageError(f"weights={weights!r} is not known; use 'included' or 'external'.")
    path = Path(path)
    buffers = _buffers(walk)
    header: dict[str, Any] = {}
    stored, at = [], 0
    for i, b in buffers.items():
        data = walk.store.data(i, b["start"], b["stop"])
        b["sha256"] = hashlib.sha256(data.data).hexdigest()
        external = b.pop("external") and weights == "external"
        b["stored"] = not external
        if not external:
            length = b["stop"] - b["start"]
            header[f"buffer.{i}"] = {
                "dtype": SAFETENSORS[b["dtype"]],
                "shape": [length // numpy_dtype(b["dtype"]).itemsize],
                "data_offsets": [at, at + length],
            }
            stored.append(i)
            at += length
    index = walk_index.encode(walk, buffers)
    digest = hashlib.sha256(index.encode()).hexdigest()
    header["__metadata__"] = {"format": FORMAT, "version": VERSION, "index": index, "sha256": digest}
    raw = json.dumps(header, separators=(",", ":")).encode()
    raw += b" " * (-len(raw) % 8)
    if len(raw) > _LARGEST_HEADER:
        raise UsageError(
            f"the index of this walk takes {len(raw):,} bytes, more than the {_LARGEST_HEADER:,} that a safetensors "
            f"header may have; record fewer steps in one walk."
        )
    chunks = (walk.store.data(i, buffers[i]["start"], buffers[i]["stop"]) for i in stored)
    _write_whole(path, [struct.pack("<Q", len(raw)), raw], chunks)
    return path


def _write_whole(path: Path, head: Iterable[bytes], chunks: Iterable[np.ndarray]) -> None:
    """Write to a neighbour, flush, rename: a reader sees the old file or the new one, never a part."""
    temporary = None
    try:
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part")
        with os.fdopen(handle, "wb") as f:
            _write(f, head, chunks)
        umask = os.umask(0)
        os.umask(umask)
        Path(temporary).chmod(0o666 & ~umask)
        Path(temporary).replace(path)
        temporary = None
    except OSError as error:
        raise UsageError(
            f"{path} could not be written ({error.strerror or error}); nothing was left behind. "
            f"Check that the folder exists, is writable and has room."
        ) from error
    finally:
        if temporary is not None:
            Path(temporary).unlink(missing_ok=True)


def _write(f: BinaryIO, head: Iterable[bytes], chunks: Iterable[np.ndarray]) -> None:
    for part in head:
        f.write(part)
    for chunk in chunks:
        f.write(np.ascontiguousarray(chunk).data)
    f.flush()
    os.fsync(f.fileno())


# Loading -----------------------------------------------------------------------------------------------------------


class FileStore:
    """Store of a walk in a file: bytes are mapped when first asked for, and then held to their digest."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.table: dict[int, dict[str, Any]] = {}
        self.offsets: dict[int, int] = {}
        self._data: dict[int, np.ndarray] = {}

    def kept(self, value: Value) -> bool:
        """Whether the numbers of `value` are in the file (or in the weights that were given)."""
        b = self.table.get(value.buffer)
        return b is not None and (b["stored"] or value.buffer in self._data)

    def _buffer(self, index: int) -> np.ndarray:
        """The checked bytes of one buffer, from its `start`."""
        if index not in self._data:
            b = self.table[index]
            length = b["stop"] - b["start"]
            if length:
                data = np.memmap(self.path, np.uint8, "r", offset=self.offsets[index], shape=(length,))
            else:
                data = np.zeros(0, np.uint8)
            if hashlib.sha256(data.data).hexdigest() != b["sha256"]:
                raise DamagedError(
                    f"{self.path} is damaged: the numbers of {b['name'] or f'buffer {index}'} do not match their "
                    f"SHA-256; a bit was changed after the walk was saved."
                )
            self._data[index] = data
        return self._data[index]

    def array(self, value: Value) -> np.ndarray:
        """The numbers of `value`, read-only."""
        b = self.table.get(value.buffer)
        if b is None:
            raise NotKeptError(
                f"the numbers of {value.address} are not in {self.path.name}: they were not kept when it was recorded; "
                f"record again with keep= naming it."
            )
        if not self.kept(value):
            raise NotKeptError(
                f"the numbers of {value.address} are not in {self.path.name}: it was saved with weights='external'; "
                f"load it with weights= the model, its state_dict or its .safetensors file."
            )
        dtype = numpy_dtype(value.dtype)
        if value.size == 0:
            return np.zeros(value.shape, dtype)
        data, first = self._buffer(value.buffer), value.offset * dtype.itemsize - b["start"]
        array = np.ndarray(value.shape, dtype, data, first, tuple(s * dtype.itemsize for s in value.strides))
        array.flags.writeable = False
        return array

    def data(self, buffer: int, start: int, stop: int) -> np.ndarray:
        """Bytes `start` to `stop` of one buffer."""
        first = self.table[buffer]["start"]
        return self._buffer(buffer)[start - first : stop - first]

    def check(self) -> int:
        """Hold every stored buffer to its digest; the number checked.

        Raises:
            DamagedError: One does not match.
        """
        stored = [i for i, b in self.table.items() if b["stored"]]
        for i in stored:
            self._buffer(i)
        return len(stored)

    def supply(self, weights: Mapping[str, np.ndarray]) -> None:
        """Fill buffers that were left out from `weights` (name to flat bytes), found by SHA-256."""
        wanted: dict[str, list[int]] = {}  # several parameters may hold the same numbers, as norms that start at 1
        for i, b in self.table.items():
            if not b["stored"]:
                wanted.setdefault(b["sha256"], []).append(i)
        for data in weights.values():
            for index in wanted.get(hashlib.sha256(data.data).hexdigest(), ()):
                self._data[index] = data
        missing = [b["name"] for i, b in self.table.items() if not b["stored"] and i not in self._data]
        if missing:
            some = ", ".join(missing[:3])
            raise RecordError(
                f"the weights given to {self.path.name} are not those of the recording: {len(missing)} of "
                f"{sum(not b['stored'] for b in self.table.values())} parameters have another SHA-256 ({some})."
            )


def _header(path: Path) -> tuple[dict[str, Any], int]:
    """The safetensors header, checked by the safetensors library, and where the data begin."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(str(path), framework="numpy") as f:
            f.keys()
        with path.open("rb") as f:
            (length,) = struct.unpack("<Q", f.read(8))
            return json.loads(f.read(length)), 8 + length
    except FileNotFoundError:
        raise UsageError(f"{path} does not exist; expected a .walk file.") from None
    except IsADirectoryError:
        raise UsageError(f"{path} is a folder; expected a .walk file.") from None
    except (SafetensorError, OSError, ValueError, struct.error) as error:
        if path.is_dir():
            raise UsageError(f"{path} is a folder; expected a .walk file.") from None
        raise RecordError(
            f"{path} is no walk, or a damaged or truncated one: it does not read as a safetensors file ({error})."
        ) from None


def load(path: str | Path, *, weights: Any = None) -> Walk:
    """Read a ``.walk`` file. Needs no torch; runs no code; unpickles nothing.

    The index is read and held to its digest at once; numbers are mapped into memory, and held to theirs, when they are
    first asked for.

    Args:
        path: The file.
        weights: For a walk saved with ``weights="external"``: the model, its ``state_dict()``, or the path of a
            ``.safetensors`` file; matched by SHA-256, whatever the names.

    Raises:
        UsageError: There is no such file.
        RecordError: It is damaged, truncated, foreign, or of a newer version; or `weights` are not those of the run.

    Example:
        >>> import tempfile, torch, weightwalk as ww
        >>> net = torch.nn.Linear(2, 1)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = ww.walk(net, torch.ones(1, 2)).save(f"{folder}/light.walk", weights="external")
        ...     ww.load(path)["weight"].kept, ww.load(path, weights=net)["weight"].kept
        (False, True)
    """
    path = Path(path)
    header, start = _header(path)
    meta = header.pop("__metadata__", None)
    if not isinstance(meta, dict) or meta.get("format") != FORMAT or "index" not in meta:
        raise RecordError(f"{path} is a safetensors file but no walk: its header has no weightwalk index.")
    if meta.get("version") != VERSION:
        raise RecordError(
            f"{path} has format version {meta.get('version')!r}; this Weightwalk reads version {VERSION}. "
            f"Upgrade weightwalk."
        )
    if hashlib.sha256(meta["index"].encode()).hexdigest() != meta.get("sha256"):
        raise DamagedError(f"{path} is damaged: its index does not match its SHA-256.")
    store = FileStore(path)
    try:
        walk, store.table = walk_index.decode(meta["index"], store)
        _place(store, header, start)
        for value in walk.values:
            _inside(value, store.table.get(value.buffer))
    except (ValueError, KeyError, TypeError, IndexError, AttributeError) as error:
        raise DamagedError(f"{path} is damaged: its index contradicts itself ({error}).") from None
    if weights is not None:
        store.supply(_flat_weights(weights))
    return walk


def _place(store: FileStore, header: Mapping[str, Any], start: int) -> None:
    """Where each stored buffer lies; the tensor table must say the same as the index."""
    stored = {f"buffer.{i}": (i, b) for i, b in store.table.items() if b["stored"]}
    if set(stored) != set(header):
        raise ValueError("its tensors are not those that the index lists")
    for name, entry in header.items():
        i, b = stored[name]
        first, last = entry["data_offsets"]
        size = numpy_dtype(b["dtype"]).itemsize
        if (
            last - first != b["stop"] - b["start"]
            or entry["dtype"] != SAFETENSORS[b["dtype"]]
            or entry["shape"] != [(last - first) // size]
        ):
            raise ValueError(f"tensor {name} has another size or dtype than the index says")
        store.offsets[i] = start + first


def _inside(value: Value, buffer: Mapping[str, Any] | None) -> None:
    """A value must lie within its buffer: nothing outside the file's own bytes may ever be read."""
    if buffer is None or value.size == 0:
        return
    start, stop = span(value)
    if start < buffer["start"] or stop > buffer["stop"]:
        raise ValueError(f"value {value.id} reaches outside its buffer")


def _flat_weights(weights: Any) -> dict[str, np.ndarray]:
    """Name to flat bytes, from a model, a state dict, or a .safetensors file."""
    if isinstance(weights, (str, Path)):
        header, start = _header(Path(weights))
        header.pop("__metadata__", None)
        data = np.memmap(weights, np.uint8, "r", offset=start) if header else np.zeros(0, np.uint8)
        return {name: data[slice(*e["data_offsets"])] for name, e in header.items()}
    if hasattr(weights, "state_dict"):
        weights = weights.state_dict()
    if not isinstance(weights, Mapping):
        raise UsageError(
            f"weights= was given {type(weights).__name__}; expected a model, its state_dict or the path of a "
            f".safetensors file."
        )
    return {name: _bytes(array) for name, array in weights.items()}


def _bytes(array: Any) -> np.ndarray:
    if isinstance(array, np.ndarray):
        return np.ascontiguousarray(array).reshape(-1).view(np.uint8)
    import torch  # the caller's tensors are torch's, so torch is there

    return array.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy()
