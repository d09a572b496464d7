"""The numbers of a walk as torch tensors, and sparse cotangents."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from weightwalk.walks.model import Value
from weightwalk.walks.walk import Walk


def is_float(value: Value) -> bool:
    """Whether a value holds real floating-point numbers."""
    return value.dtype.startswith(("float", "bfloat"))


def is_number(value: Value) -> bool:
    """Whether a value holds floating-point numbers, real or complex: what can carry contributions."""
    return value.dtype.startswith(("float", "bfloat", "complex"))


def tensor_of(walk: Walk, value: Value) -> Tensor:
    """The recorded numbers of `value`, from memory or from a file, in the recorded dtype; not to be written to."""
    direct = getattr(walk.store, "tensor", None)
    if direct is not None:
        return direct(value).detach()
    array = value.numpy()
    if value.dtype.startswith(("bfloat", "float8")):
        bits = torch.from_numpy(array.view("int16" if array.itemsize == 2 else "uint8").copy())
        return bits.view(getattr(torch, value.dtype))
    return torch.from_numpy(array.copy())


@dataclass(frozen=True, slots=True)
class Picked:
    """A cotangent with few entries that are not zero: `flat` positions (row-major, distinct) and their `values`."""

    flat: Tensor
    values: Tensor
    shape: tuple[int, ...]

    def dense(self) -> Tensor:
        """The whole cotangent."""
        out = self.values.new_zeros(self.shape)
        out.view(-1)[self.flat] = self.values
        return out


Cotangent = Tensor | Picked


def products(cot: Tensor, value: Tensor) -> Tensor:
    """``cot * value`` elementwise, of complex numbers the real part of ``conj(cot) value``; 0 times infinity is 0."""
    product = (cot.conj() * value).real if cot.is_complex() or value.is_complex() else cot * value
    if product.isfinite().all():
        return product
    return torch.where(cot == 0, torch.zeros((), dtype=product.dtype), product)


def inner(cot: Tensor, value: Tensor) -> tuple[float, float]:
    """``<cot, value>`` and ``sum |cot * value|``, summed in float64."""
    product = (cot.conj() * value).real if cot.is_complex() or value.is_complex() else cot * value
    total = float(product.sum(dtype=torch.float64))
    if not math.isfinite(total):
        product = products(cot, value)
        total = float(product.sum(dtype=torch.float64))
    return total, float(product.abs_().sum(dtype=torch.float64))


def fold(cot: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Sum out what broadcasting repeated, so that `cot` has `shape`."""
    if tuple(cot.shape) == shape:
        return cot
    return cot.sum_to_size(shape) if shape else cot.sum()
