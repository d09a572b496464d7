"""The identity of a tensor: its storage, and its window onto it."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch

_new = tuple.__new__  # what `Key(...)` calls in the end, without a call of Python's own on the way


class Key(NamedTuple):
    """Storage (address of its ``StorageImpl``, unique while anything refers to it) and window, in elements."""

    storage: int
    dtype: torch.dtype
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    offset: int


def place_of(tensor: Any) -> int:
    """Where in memory the numbers of `tensor` begin; 0 for what has no memory of its own, or is no tensor."""
    try:
        return tensor.data_ptr()
    except (AttributeError, NotImplementedError, RuntimeError):
        return 0


def key_of(tensor: torch.Tensor) -> Key:
    """The identity of `tensor`.

    Sparse, nested and other storage-less tensors go by their Python object; so do views that are conjugated or
    negated when read, for their bytes are not their numbers.
    """
    if tensor.is_neg() or tensor.is_conj():
        return Key(-id(tensor), tensor.dtype, tuple(tensor.shape), tensor.stride(), 0)
    try:
        storage = tensor.untyped_storage()._cdata
        return _new(Key, (storage, tensor.dtype, tuple(tensor.shape), tensor.stride(), int(tensor.storage_offset())))
    except (NotImplementedError, RuntimeError):
        try:
            shape = tuple(int(s) for s in tensor.shape)
        except RuntimeError:  # a nested tensor has no rectangular shape
            shape = ()
        return Key(-id(tensor), tensor.dtype, shape, (), 0)


def lost_key(tensor: torch.Tensor) -> Key:
    """The identity of a tensor object whose memory cannot be told: that of the Python object."""
    return key_of(tensor)._replace(storage=-id(tensor))
