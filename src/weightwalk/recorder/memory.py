"""The numbers of a freshly recorded walk, held by reference, with an undo log for what was overwritten while recording.

A storage that is written in place during the recording is not copied whole: just before each write the part about to
be destroyed is saved. A value of version k of a storage is then what lies there now with
the saves of the writes k, k+1, ... laid back over it, oldest last.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch

from weightwalk.errors import NotKeptError, OverwrittenError
from weightwalk.recorder.keys import Key
from weightwalk.walks.dtypes import numpy_dtype
from weightwalk.walks.model import Value

SNAPSHOT_LIMIT = 64 * 2**20
"""Outside tensors (parameters, inputs) up to this many bytes in all are copied when a recording ends."""


_NAMES: dict[torch.dtype, str] = {}


def dtype_name(dtype: torch.dtype) -> str:
    """``"float32"`` for ``torch.float32``."""
    name = _NAMES.get(dtype)
    if name is None:
        name = _NAMES[dtype] = str(dtype).removeprefix("torch.")
    return name


@dataclass(slots=True)
class Undo:
    """What write number `version` destroyed: the old contents of one window."""

    version: int
    window: Key
    saved: torch.Tensor


@dataclass(slots=True)
class Held:
    """One storage: a tensor that keeps it alive, its version counter when the recording ended, and its undo log.

    Versions before `since` are gone: they were overwritten while nobody had asked to keep them.
    """

    tensor: torch.Tensor | None
    counter: int | None = None
    hidden_write: bool = False
    since: int = 0
    undo: list[Undo] = field(default_factory=list)


def counter_of(tensor: torch.Tensor) -> int | None:
    """torch's in-place write counter; inference tensors have none."""
    try:
        return tensor._version
    except RuntimeError:
        return None


def window(
    storage_of: torch.Tensor, dtype: torch.dtype, shape: tuple[int, ...], strides: tuple[int, ...], offset: int
) -> torch.Tensor:
    """A tensor that looks at `storage_of`'s storage through the given window (in elements of `dtype`)."""
    with torch.no_grad():
        return torch.empty(0, dtype=dtype, device=storage_of.device).set_(
            storage_of.untyped_storage(), offset, shape, strides
        )


def to_numpy(tensor: torch.Tensor) -> np.ndarray:
    """`tensor` as a NumPy array that shares its memory where it can (CPU), read-only."""
    tensor = tensor.detach().cpu()
    if tensor.dtype == torch.bfloat16:
        array = tensor.view(torch.int16).numpy().view(numpy_dtype("bfloat16"))
    elif dtype_name(tensor.dtype).startswith("float8"):
        array = tensor.view(torch.uint8).numpy().view(numpy_dtype(dtype_name(tensor.dtype)))
    else:
        array = tensor.resolve_conj().resolve_neg().numpy()
    array = array.view()
    array.flags.writeable = False
    return array


def _is_whole(undo: Undo, start: int, stop: int) -> bool:
    """Whether a save is exactly the bytes `start` to `stop`, in order."""
    size = undo.saved.element_size()
    return (
        undo.saved.is_contiguous()
        and undo.window.strides == undo.saved.stride()
        and undo.window.offset * size == start
        and undo.saved.numel() * size == stop - start
    )


class MemoryStore:
    """Store of a walk in memory. Buffers are (storage number, version) pairs."""

    def __init__(self) -> None:
        self.held: list[Held] = []
        self.buffers: list[tuple[int, int]] = []
        self._rebuilt: dict[int, torch.Tensor] = {}

    def kept(self, value: Value) -> bool:
        """Whether the storage behind `value` was kept, as it was at that moment."""
        storage, version = self.buffers[value.buffer]
        held = self.held[storage]
        return held.tensor is not None and version >= held.since

    def tensor(self, value: Value) -> torch.Tensor:
        """The numbers of `value` as a tensor on the device where they were recorded; do not write to it."""
        storage, version = self.buffers[value.buffer]
        held = self.held[storage]
        if held.tensor is None or version < held.since:
            raise NotKeptError(
                f"the numbers of {value.address} were not kept; record again with keep= naming it, "
                f"for example keep=[{value.address!r}]."
            )
        key = Key(0, getattr(torch, value.dtype), value.shape, value.strides, value.offset)
        later = [u for u in held.undo if u.version >= version]
        if later and later[0].window[1:] == key[1:]:
            return later[0].saved
        self._check(held, value)
        if not later:
            return window(held.tensor, *key[1:])
        return window(self._rebuild(value.buffer, held.tensor, later), *key[1:])

    def _check(self, held: Held, value: Value) -> None:
        assert held.tensor is not None
        now = counter_of(held.tensor)
        if held.hidden_write or (held.counter is not None and now != held.counter):
            raise OverwrittenError(
                f"{value.address} was changed in place outside the recording, and the walk holds it by reference; "
                f"record with snapshot=True, or save the walk before changing the model."
            )

    def _rebuild(self, buffer: int, holder: torch.Tensor, undo: list[Undo]) -> torch.Tensor:
        if buffer not in self._rebuilt:
            storage = holder.untyped_storage().clone()
            base = torch.empty(0, dtype=torch.uint8, device=holder.device).set_(storage)
            for u in reversed(undo):
                window(base, *u.window[1:]).copy_(u.saved)
            self._rebuilt[buffer] = base
        return self._rebuilt[buffer]

    def array(self, value: Value) -> np.ndarray:
        """The numbers of `value` as a read-only NumPy array."""
        return to_numpy(self.tensor(value))

    def data(self, buffer: int, start: int, stop: int) -> np.ndarray:
        """Bytes `start` to `stop` of one buffer; no copy where the memory is on the CPU and was not rewritten."""
        storage, version = self.buffers[buffer]
        held = self.held[storage]
        assert held.tensor is not None
        later = [u for u in held.undo if u.version >= version]
        if later and _is_whole(later[0], start, stop):
            return to_numpy(
                later[0].saved.reshape(-1).view(torch.uint8)
                if later[0].saved.dim()
                else later[0].saved.reshape(1).view(torch.uint8)
            )
        source = self._rebuild(buffer, held.tensor, later) if later else held.tensor
        return to_numpy(window(source, torch.uint8, (stop - start,), (1,), start))

    def snapshot(self, storages: list[int], always: bool) -> None:
        """Copy the given storages so that later changes outside cannot reach the walk.

        Args:
            storages: Numbers of storages that outlive the recording (parameters, inputs).
            always: Copy whatever the size; otherwise only if all together stay under ``SNAPSHOT_LIMIT``.
        """
        held = [h for h in (self.held[i] for i in storages) if h.tensor is not None]
        if (
            not always
            and sum(h.tensor.untyped_storage().nbytes() for h in held if h.tensor is not None) > SNAPSHOT_LIMIT
        ):
            return
        for h in held:
            assert h.tensor is not None
            if h.hidden_write:
                continue
            h.tensor = _copied(h.tensor)
            h.counter = None


def _copied(tensor: torch.Tensor) -> torch.Tensor:
    """A tensor on a copy of the storage of `tensor`."""
    if tensor.is_contiguous() and tensor.nbytes == tensor.untyped_storage().nbytes():
        return tensor.clone()
    storage = tensor.untyped_storage().clone()
    return torch.empty(0, dtype=torch.uint8, device=tensor.device).set_(storage)
