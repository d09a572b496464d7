"""A recorded value as an affine map of the outputs of earlier layers: what the lift computes with.

Moving numbers about picks rows of the map, and adding values adds maps: both without rounding. As soon as a row would
have to be multiplied by a second weight, the value becomes a layer of its own (see `weightwalk.formulas.lifts.lift`),
so the entries of every map are integers or weights as they stand in the net.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy import sparse

from weightwalk.formulas.piecewise import Affine, Matrix


@dataclass(frozen=True, eq=False)
class Form:
    """``value = bias + sum_j M_j h_j``, elements in C order.

    Attributes:
        shape: Of the value.
        terms: M_j by source j; SciPy sparse arrays of small integers, or matrices of weights.
        bias: (elements,) float64.
        weighted: Whether the matrices hold weights.
    """

    shape: tuple[int, ...]
    terms: dict[int, Matrix]
    bias: np.ndarray
    weighted: bool = False

    @property
    def size(self) -> int:
        """Number of elements."""
        return len(self.bias)

    @property
    def constant(self) -> bool:
        """Whether it depends on no source."""
        return not self.terms

    def affine(self) -> Affine:
        """The same as part of a layer."""
        return Affine(tuple(sorted(self.terms.items(), key=lambda t: t[0])), self.bias)

    def source(self) -> int | None:
        """The source that it hands on unchanged, or None."""
        if len(self.terms) != 1 or self.weighted or self.bias.any():
            return None
        ((j, matrix),) = self.terms.items()
        return j if _is_identity(matrix) else None


def identity_form(shape: Sequence[int], source: int) -> Form:
    """A source itself, as a value."""
    size = int(np.prod(shape, dtype=np.int64))
    return Form(tuple(shape), {source: sparse.eye_array(size, format="csr")}, np.zeros(size))


def constant_form(array: np.ndarray) -> Form:
    """A value that does not depend on the input."""
    array = np.asarray(array, np.float64)
    return Form(array.shape, {}, np.ascontiguousarray(array).reshape(-1))


def gather(forms: Sequence[Form], index: np.ndarray) -> Form:
    """Elements picked from several values laid end to end.

    Args:
        forms: The values.
        index: Per element of the result, its place counted from 1; 0 stands for the number 0.
    """
    flat = index.reshape(-1).astype(np.int64) - 1
    if len(forms) == 1 and len(flat) == forms[0].size and np.array_equal(flat, np.arange(len(flat))):
        return replace(forms[0], shape=index.shape)
    starts = np.cumsum([0, *(f.size for f in forms)])
    bias = np.concatenate([*(f.bias for f in forms), [0.0]])[flat]  # -1 is the last: zero
    terms: dict[int, Matrix] = {}
    for j in sorted({j for f in forms for j in f.terms}):
        parts = []
        for form, start, stop in zip(forms, starts, starts[1:], strict=False):
            if j in form.terms:
                wanted = np.flatnonzero((flat >= start) & (flat < stop))
                parts.append((wanted, form.terms[j], flat[wanted] - start))
        terms[j] = _assembled(len(flat), parts)
    return Form(index.shape, {j: m for j, m in terms.items() if m is not None}, bias, any(f.weighted for f in forms))


def _assembled(rows: int, parts: list[tuple[np.ndarray, Matrix, np.ndarray]]) -> Matrix | None:
    """A matrix of which some rows are given rows of others, and the rest 0."""
    parts = [part for part in parts if len(part[0])]
    if not parts:
        return None
    if len(parts) == 1 and len(parts[0][0]) == rows:
        return parts[0][1][parts[0][2]]
    total = None
    for wanted, matrix, chosen in parts:
        picked = matrix[chosen]
        place = sparse.csr_array((np.ones(len(wanted)), (wanted, np.arange(len(wanted)))), shape=(rows, len(wanted)))
        laid = place @ picked
        total = laid if total is None else total + laid
    return total


def added(a: Form, b: Form, factor_a: float, factor_b: float, shape: tuple[int, ...]) -> Form:
    """``factor_a a + factor_b b`` of values of one shape; factors are 1 or -1, so nothing is rounded but the bias."""
    terms: dict[int, Matrix] = {}
    for form, factor in ((a, factor_a), (b, factor_b)):
        for j, matrix in form.terms.items():
            signed = matrix if factor == 1 else -matrix
            terms[j] = terms[j] + signed if j in terms else signed
    return Form(shape, terms, factor_a * a.bias + factor_b * b.bias, a.weighted or b.weighted)


def exact_sum(a: Form, b: Form) -> bool:
    """Whether ``a + b`` needs no rounding: no weight meets a weight, no bias a bias."""
    apart = not (a.terms.keys() & b.terms.keys()) or not (a.weighted or b.weighted)
    return apart and not bool(((a.bias != 0) & (b.bias != 0)).any())


def selects(form: Form) -> bool:
    """Whether each element is one number of one source, or 0: then a matrix of weights times it is not rounded."""
    if form.weighted or form.bias.any():
        return False
    counts = np.zeros(form.size, np.int64)
    for matrix in form.terms.values():
        if not sparse.issparse(matrix) or (matrix.data != 1).any():
            return False
        counts += np.diff(matrix.tocsr().indptr)
    if (counts > 1).any():
        return False
    used = [np.bincount(m.tocsr().indices, minlength=1).max(initial=0) for m in form.terms.values()]
    return max(used, default=0) <= 1


def spread(form: Form, shape: Sequence[int]) -> Form:
    """Broadcast to a shape."""
    if form.shape == tuple(shape):
        return form
    index = np.arange(1, form.size + 1).reshape(form.shape)
    return gather([form], np.broadcast_to(index, tuple(shape)))


def _is_identity(matrix: Matrix) -> bool:
    if not sparse.issparse(matrix) or matrix.shape[0] != matrix.shape[1]:
        return False
    csr = matrix.tocsr()
    n = csr.shape[0]
    return csr.nnz == n and bool((csr.data == 1).all()) and np.array_equal(csr.indices, np.arange(n))
