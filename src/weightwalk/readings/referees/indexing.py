"""Rules that pick numbers by index, put them back, or add them up where they land."""

from __future__ import annotations

from typing import Any

import numpy as np

from weightwalk.readings.referees.base import Context, Expected, rule
from weightwalk.readings.referees.rounded import Rounded


@rule("index.Tensor", "_unsafe_index.Tensor")
def index(c: Context, self: Any, indices: Any) -> Any:
    return self[_key(indices)]


def _key(indices: Any) -> tuple[Any, ...]:
    """PyTorch's list of index tensors (None for a whole axis) as a NumPy key: the two agree on what it means."""
    return tuple(slice(None) if i is None else np.asarray(i) for i in indices)


@rule("index_select.default")
def index_select(c: Context, self: Any, dim: int, index: Any) -> Any:
    return np.take(self, index.reshape(-1), axis=dim)


@rule("gather.default")
def gather(c: Context, self: Any, dim: int, index: Any, sparse_grad: bool = False) -> Any:
    if not self.ndim:
        return np.broadcast_to(self, index.shape)
    return self[_places(index, dim)]


def _places(index: np.ndarray, dim: int) -> tuple[np.ndarray, ...]:
    """For each element of `index`, its full position: its own, with `index` along `dim`."""
    grid = list(np.ogrid[tuple(slice(0, n) for n in index.shape)])
    grid[dim] = index
    return tuple(grid)


@rule("scatter.src")
def scatter(c: Context, self: Any, dim: int, index: Any, src: Any) -> Any:
    out = np.array(self)
    if isinstance(src, np.ndarray):
        src = src[tuple(slice(0, n) for n in index.shape)]
    out[_places(index, dim)] = src
    return out


rule("scatter.value")(lambda c, self, dim, index, value: scatter(c, self, dim, index, value))


def add_at(c: Context, base: Rounded, places: Any, terms: Rounded) -> Rounded:
    """`base` with `terms` added at `places`, in any order: ``gamma_n`` of the absolute sum, n terms at that place."""
    v = np.array(base.v)
    np.add.at(v, places, terms.v)
    if not c.bounds:
        return Rounded(v, None, c)
    size, n = np.abs(base.v), np.zeros(base.shape)
    e = np.array(np.broadcast_to(base.error, base.shape), dtype=np.float64)
    np.add.at(size, places, np.abs(terms.v))
    np.add.at(n, places, 1.0)
    if terms.e is not None:
        np.add.at(e, places, np.broadcast_to(terms.e, np.shape(terms.v)))
    nu = (n + 1.0) * c.u * (1.0 + 2.0**-10)
    # Half types may be rounded after every addition, when the kernel adds straight into its output.
    own = nu * size if not c.half else np.where(n > 1, (n + 1.0), 1.0) * c.half_unit * size
    return Rounded(v, e + own + np.where(n > 0, c.smallest, 0.0), c)


@rule("scatter_add.default")
def scatter_add(c: Context, self: Any, dim: int, index: Any, src: Any) -> Any:
    src = src[tuple(slice(0, n) for n in index.shape)]
    if c.exact():
        out = np.array(self)
        np.add.at(out, _places(index, dim), src)
        return out
    return add_at(c, c.take(self), _places(index, dim), c.take(src))


@rule("index_add.default")
def index_add(c: Context, self: Any, dim: int, index: Any, source: Any, alpha: Any = 1) -> Any:
    place = (slice(None),) * (dim % self.ndim) + (index.reshape(-1),)
    if c.exact():
        out = np.array(self)
        np.add.at(out, place, source * alpha)
        return out
    terms = c.take(source)
    return add_at(c, c.take(self), place, terms if alpha == 1 else terms * alpha)


@rule("index_put.default", "_index_put_impl.default", "_unsafe_index_put.default")
def index_put(c: Context, self: Any, indices: Any, values: Any, accumulate: bool = False, unsafe: bool = False) -> Any:
    key = _key(indices)
    if not accumulate:
        out = np.array(self)
        out[key] = values
        return out
    shape = np.broadcast_to(False, self.shape)[key].shape
    values = np.broadcast_to(values, shape)
    if c.exact():
        out = np.array(self)
        np.add.at(out, key, values)
        return out
    return add_at(c, c.take(self), key, c.take(values))


@rule("index_copy.default")
def index_copy(c: Context, self: Any, dim: int, index: Any, source: Any) -> Any:
    out = np.array(self)
    out[(slice(None),) * (dim % self.ndim) + (index.reshape(-1),)] = source
    return out


@rule("index_fill.int_Scalar", "index_fill.int_Tensor")
def index_fill(c: Context, self: Any, dim: int, index: Any, value: Any) -> Any:
    out = np.array(self)
    out[(slice(None),) * (dim % self.ndim) + (index.reshape(-1),)] = np.asarray(value).astype(self.dtype)
    return out


@rule("select_backward.default")
def select_backward(c: Context, grad_output: Any, input_sizes: Any, dim: int, index: int) -> Any:
    out = np.zeros(tuple(input_sizes), dtype=grad_output.dtype)
    out[(slice(None),) * (dim % out.ndim) + (index,)] = grad_output
    return out


@rule("slice_backward.default")
def slice_backward(c: Context, grad_output: Any, input_sizes: Any, dim: int, start: int, end: int, step: int) -> Any:
    out = np.zeros(tuple(input_sizes), dtype=grad_output.dtype)
    out[(slice(None),) * (dim % out.ndim) + (slice(start, end, step),)] = grad_output
    return out


@rule("select_scatter.default")
def select_scatter(c: Context, self: Any, src: Any, dim: int, index: int) -> Any:
    out = np.array(self)
    out[(slice(None),) * (dim % out.ndim) + (index,)] = src
    return out


@rule("slice_scatter.default")
def slice_scatter(
    c: Context, self: Any, src: Any, dim: int = 0, start: Any = None, end: Any = None, step: int = 1
) -> Any:
    out = np.array(self)
    out[(slice(None),) * (dim % out.ndim) + (slice(start, end, step),)] = src
    return out


@rule("diagonal_backward.default")
def diagonal_backward(c: Context, grad_output: Any, input_sizes: Any, offset: int, dim1: int, dim2: int) -> Any:
    out = np.zeros(tuple(input_sizes), dtype=grad_output.dtype)
    view = np.diagonal(out, offset, dim1, dim2)
    view.flags.writeable = True
    view[...] = grad_output
    return out


@rule("embedding.default")
def embedding(
    c: Context, weight: Any, indices: Any, padding_idx: int = -1, scale_grad_by_freq: bool = False,
    sparse: bool = False,
) -> Any:  # fmt: skip
    """Row ``indices[i]`` of the table, for each i."""
    if indices.size and (indices.min() < 0 or indices.max() >= weight.shape[0]):
        raise IndexError(f"row {int(indices.max())} of a table of {weight.shape[0]} rows")
    return weight[indices]


@rule("embedding_dense_backward.default")
def embedding_dense_backward(
    c: Context, grad_output: Any, indices: Any, num_weights: int, padding_idx: int, scale_grad_by_freq: bool
) -> Any:
    """Row r of the gradient is the sum of ``grad[i]`` over the i with ``indices[i] = r``."""
    keep = indices.reshape(-1) != padding_idx
    rows = indices.reshape(-1)[keep]
    grad = c.take(grad_output.reshape(rows.size if keep.all() else keep.size, -1)[keep])
    if scale_grad_by_freq:
        grad = grad / c.const(np.bincount(rows, minlength=num_weights)[rows][:, None])
    zero = c.const(np.zeros((num_weights, grad_output.shape[-1])))
    return add_at(c, zero, (rows,), grad)


@rule("_embedding_bag.default", "_embedding_bag_forward_only.default")
def embedding_bag(
    c: Context, weight: Any, indices: Any, offsets: Any, scale_grad_by_freq: bool = False, mode: int = 0,
    sparse: bool = False, per_sample_weights: Any = None, include_last_offset: bool = False, padding_idx: int = -1,
) -> Any:  # fmt: skip
    """Sum (mode 0) or mean (mode 1) of the rows of each bag; the index outputs are bookkeeping, left unjudged."""
    if mode == 2 or padding_idx != -1:
        return None
    c.stepwise()
    ends = [*offsets[1:], len(indices)] if not include_last_offset else list(offsets[1:])
    rows = c.take(weight)[indices]
    if per_sample_weights is not None:
        rows = rows * c.take(per_sample_weights)[:, None]
    bags = [rows[int(a) : int(b)] for a, b in zip(offsets, ends, strict=False)]
    sums = [bag.sum(axis=0) if mode == 0 or not len(bag.v) else bag.mean(axis=0) for bag in bags]
    error = np.stack([np.broadcast_to(s.error, s.shape) for s in sums]) if c.bounds else None
    out = Rounded(np.stack([s.v for s in sums]), error, c)
    return [out, *(Expected(np.zeros(0, d), None, "bookkeeping for the derivative") for d in c.dtypes[1:])]


@rule("_embedding_bag_backward.default", "_embedding_bag_dense_backward.default")
def embedding_bag_backward(
    c: Context, grad: Any, indices: Any, offsets: Any, offset2bag: Any, bag_size: Any, maximum_indices: Any,
    num_weights: int, scale_grad_by_freq: bool, mode: int, *rest: Any,
) -> Any:  # fmt: skip
    """Each row of the table receives the gradients of the bags that it is in, over the bag's size for a mean."""
    if mode == 2 or scale_grad_by_freq or any(isinstance(x, np.ndarray) for x in rest) or rest[-1] != -1:
        return None
    bags = np.searchsorted(offsets, np.arange(indices.size), side="right") - 1
    g = c.take(grad[bags])
    if mode == 1:
        g = g / c.const(np.bincount(bags)[bags][:, None])
    return add_at(c, c.const(np.zeros((num_weights, grad.shape[-1]))), (indices,), g)
