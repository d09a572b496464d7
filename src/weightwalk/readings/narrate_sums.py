"""Numbers as sums of products: what a linear op did, for any of its outputs."""

from __future__ import annotations

import math
from dataclasses import dataclass
from decimal import Decimal

import numpy as np

from weightwalk.readings.narrate_decimals import EXACT, closed, decimal, product
from weightwalk.readings.narrate_facts import Sum, Term
from weightwalk.readings.narrate_names import Names, numbers, tensors
from weightwalk.walks.model import Step, Value


@dataclass(frozen=True, slots=True)
class Products:
    """An op as sums of products: ``out[r, j] = sum_k left[r, k] right[r?, k, j] + bias[r?, j]``.

    `left` has shape (R, K), `right` (K, J) or (R, K, J), `bias` broadcasts to (R, J).
    """

    left: np.ndarray
    right: np.ndarray
    bias: np.ndarray | None
    left_value: Value
    out_value: Value

    @property
    def size(self) -> int:
        """Number of multiplications."""
        return self.left.size * self.right.shape[-1]


def products(step: Step) -> Products | None:
    """A step as sums of products, or None where it is none."""
    name, values = step.name, tensors(step)
    out = next(iter(step.results()), None)
    scalars = numbers(step)
    if out is None or scalars.get("alpha", 1) != 1 or scalars.get("beta", 1) != 1:
        return None
    if name in ("addmm", "addmv", "baddbmm"):
        bias, left, right = values
        b = bias.numpy()
    elif name == "linear":
        left, right = values[:2]
        b = values[2].numpy() if len(values) > 2 else None
    elif name in ("mm", "mv", "dot", "bmm", "matmul"):
        (left, right), b = values, None
    else:
        return None
    x, w = left.numpy(), right.numpy()
    if name == "linear":
        x, w = x.reshape(-1, x.shape[-1]), w.T
    elif name == "bmm" or name == "baddbmm":
        batch, rows, inner = x.shape
        w = np.repeat(w, rows, axis=0)
        x = x.reshape(batch * rows, inner)
        b = None if b is None else np.broadcast_to(b, (batch, rows, w.shape[-1])).reshape(batch * rows, -1)
    elif w.ndim == 1:
        x, w = x.reshape(-1, x.shape[-1]), w[:, None]
        b = None if b is None else b.reshape(-1, 1)
    if x.ndim != 2 or w.ndim not in (2, 3):
        return None
    return Products(x, w, b, left, out)


def one_sum(names: Names, op: Products, row: int, column: int, *, top: int | None, digits: int) -> Sum:
    """One output number: its terms in order, or the `top` largest and the rest as one term."""
    result, source = names.result(op.out_value), names.source(op.left_value)
    columns, inner = op.right.shape[-1], op.left.shape[1]
    x = op.left[row]
    w = op.right[row][:, column] if op.right.ndim == 3 else op.right[:, column]
    recorded = op.out_value.numpy().reshape(-1)[row * columns + column]
    order, rest = largest_of(w, x, top)
    terms = []
    for k in order:
        factors = (decimal(w[k], digits), decimal(x[k], digits))
        terms.append(Term(names.unit(source, row * inner + k), product(factors), factors))
    if rest is not None:
        terms.append(rest)
    if op.bias is not None:
        bias = np.broadcast_to(op.bias, (op.left.shape[0], columns))[row, column]
        terms.append(Term("bias", decimal(bias, digits), kind="bias"))
    return closed(names.unit(result, row * columns + column), terms, decimal(recorded, digits), digits=digits)


def largest_of(w: np.ndarray, x: np.ndarray, top: int | None) -> tuple[np.ndarray, Term | None]:
    """The places of the `top` largest products, and the exact sum of the others as one term."""
    if top is None or len(w) <= top + 1:
        return np.arange(len(w)), None
    with np.errstate(all="ignore"):
        terms = w.astype(np.float64) * x.astype(np.float64)
    size = np.where(np.isnan(terms), np.inf, np.abs(terms))
    order = np.argsort(-size, kind="stable")
    return order[:top], rest_of(terms[order[top:]])


def rest_of(terms: np.ndarray) -> Term:
    """Many terms as one: their sum, added exactly before it is rounded."""
    return Term(f"the other {len(terms):,} terms", exact_sum(terms), kind="rest", count=len(terms))


def exact_sum(terms: np.ndarray) -> Decimal:
    """The sum of float64 numbers, exactly."""
    numbers_ = [float(t) for t in terms.reshape(-1)]
    if all(math.isfinite(t) for t in numbers_):
        return EXACT.create_decimal(math.fsum(numbers_))
    with np.errstate(all="ignore"):
        return decimal(np.float64(np.sum(np.asarray(numbers_))))
