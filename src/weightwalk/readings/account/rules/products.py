"""Products: matrix products, convolutions, elementwise products and ratios.

A product with a weight is linear in the activation. A product of two signals is shared out by
:mod:`weightwalk.readings.account.products`, which also says what that freezes.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from weightwalk.readings.account.products import share_of_left
from weightwalk.readings.account.rules.base import Flow, Key, Op, Opaque, rule
from weightwalk.readings.account.rules.generic import call, vjp
from weightwalk.readings.account.tensors import Picked

DENSE = 0.7  # a matrix product is restricted to its live rows or columns where these are fewer than this part


def shares(op: Op, left: Key, right: Key) -> tuple[float, float]:
    """The shares of both factors; both 0 where neither carries signal (then the product is a constant of its own)."""
    if not op.signal(left) and not op.signal(right):
        return 0.0, 0.0
    s = share_of_left(op, left, right)
    return s, 1.0 - s


def _plain(op: Op, left: Key, right: Key) -> tuple[float, float]:
    """As `shares`; a product in which nothing flows goes to its right factor (a weight, as a rule)."""
    s, t = shares(op, left, right)
    return (s, t) if s or t else (0.0, 1.0)


def _live(cot: Tensor, axis: int) -> Tensor | None:
    """Indices along the other axis of a matrix where anything is not zero, if they are few."""
    live = cot.ne(0).any(axis).nonzero().reshape(-1)
    return live if live.numel() < DENSE * cot.shape[1 - axis] else None


def matrix(op: Op, left: Key, right: Key, share: tuple[float, float]) -> Flow:
    """Cotangents of ``a @ b``: ``cot b^T`` and ``a^T cot``, restricted to the rows and columns that are alive."""
    cot = op.cot
    rows, columns = _live(cot, 1), _live(cot, 0)
    small = cot if rows is None else cot[rows]
    small = small if columns is None else small[:, columns]

    def a() -> Tensor:
        return op[left] if rows is None else op[left][rows]

    def b() -> Tensor:
        return op[right] if columns is None else op[right][:, columns]

    flow: Flow = {}
    if share[0]:
        part = small @ b().t()
        whole = part if rows is None else cot.new_zeros(op.shape(left)).index_copy_(0, rows, part)
        flow[left] = whole if share[0] == 1 else whole * share[0]
    if share[1]:
        part = a().t() @ small
        whole = part if columns is None else cot.new_zeros(op.shape(right)).index_copy_(1, columns, part)
        flow[right] = whole if share[1] == 1 else whole * share[1]
    n = op.shape(left)[1] + max(small.shape[1] if share[0] else 0, small.shape[0] if share[1] else 0)
    op.size(lambda: (small.abs() @ b().abs().t()) * a().abs(), n * (share[0] + share[1]))
    return flow


def matrix_picked(op: Op, cot: Picked, left: Key, right: Key, share: tuple[float, float]) -> Flow:
    """The same for a cotangent with few entries, without ever making it dense."""
    row, column = cot.flat // cot.shape[1], cot.flat % cot.shape[1]
    flow: Flow = {}
    if share[0]:
        part = op[right][:, column].t() * (cot.values * share[0])[:, None]
        flow[left] = cot.values.new_zeros(op.shape(left)).index_add_(0, row, part)
    if share[1]:
        part = op[left][row].t() * (cot.values * share[1])
        flow[right] = cot.values.new_zeros(op.shape(right)).index_add_(1, column, part)
    n = op.shape(left)[1] + len(row)
    op.size(
        lambda: (op[left][row].abs() * op[right][:, column].t().abs()).sum(1) * cot.values.abs(),
        n * (share[0] + share[1]),
    )
    return flow


def _mm(op: Op, left: Key, right: Key, factor: float = 1.0) -> Flow:
    share = _plain(op, left, right)
    share = (share[0] * factor, share[1] * factor) if factor != 1 else share
    if op.picked is not None:
        return matrix_picked(op, op.picked, left, right, share)
    return matrix(op, left, right, share)


def number(op: Op, name: str) -> float:
    """A scalar argument that is 1 unless said otherwise."""
    found = op.args.get(name)
    return 1.0 if found is None else float(found)


@rule("aten.mm")
def mm(op: Op) -> Flow:
    """``A B``: ``cot B^T`` to A."""
    return _mm(op, "self", "mat2")


@rule("aten.addmm")
def addmm(op: Op) -> Flow:
    """``beta c + alpha A B``: the bias is a term of its own."""
    beta = number(op, "beta")
    flow = _mm(op, "mat1", "mat2", number(op, "alpha"))
    if beta:
        cot = op.picked
        if cot is not None and op.shape("self") == (cot.shape[1],):
            bias = cot.values.new_zeros(cot.shape[1]).index_add_(0, cot.flat % cot.shape[1], cot.values)
        else:
            bias = op.cot
        flow["self"] = bias if beta == 1 else bias * beta
    return flow


def _batched(op: Op, left: Key, right: Key, factor: float = 1.0) -> Flow:
    share = _plain(op, left, right)
    flow: Flow = {}
    if share[0]:
        flow[left] = (op.cot @ op[right].transpose(-1, -2)) * (share[0] * factor)
    if share[1]:
        flow[right] = (op[left].transpose(-1, -2) @ op.cot) * (share[1] * factor)
    (rows, inner), columns = op.shape(left)[-2:], op.shape(right)[-1]
    n = inner + max(columns if share[0] else 0, rows if share[1] else 0)
    op.size(lambda: (op.cot.abs() @ op[right].abs().transpose(-1, -2)) * op[left].abs(), n * abs(factor))
    return flow


@rule("aten.bmm")
def bmm(op: Op) -> Flow:
    """Batched ``A B``."""
    return _batched(op, "self", "mat2")


@rule("aten.baddbmm")
def baddbmm(op: Op) -> Flow:
    """``beta c + alpha A B``, batched."""
    flow = _batched(op, "batch1", "batch2", number(op, "alpha"))
    if (beta := number(op, "beta")) != 0:
        flow["self"] = op.cot * beta
    return flow


@rule("aten.mv", "aten.dot", "aten.vdot", "aten.linear", "aten.convolution", "aten.mkldnn_convolution", "aten.addmv",
      "aten.addbmm", "aten.addr", "aten.matmul", "aten.einsum", "aten.conv1d", "aten.conv2d", "aten.conv3d",
      "aten._trilinear", "aten.bilinear", "aten.ger", "aten.outer")  # fmt: skip
def product(op: Op) -> Flow:
    """Any other product of two tensors plus a bias: its own transpose in each factor, times that factor's share."""
    names = [k for k in op.tensors() if k != "bias" and not (k == "self" and "beta" in op.args)]
    if len(names) != 2:
        raise Opaque
    share = _plain(op, names[0], names[1])
    kept = [k for k, s in zip(names, share, strict=True) if s]
    others = [k for k in op.tensors() if k not in names]
    flow = vjp(op, kept + others)
    inner = max(torch.Size(op.shape(k)).numel() // max(op.shape(k)[0] if op.shape(k) else 1, 1) for k in names)
    op.size(lambda: op.cot.abs() * call(op, {k: op[k].abs() for k in op.tensors()}, [0])[0].abs(), 2 * inner + 1)
    return {k: c * share[names.index(k)] if k in kept and share[names.index(k)] != 1 else c for k, c in flow.items()}


@rule("aten._grouped_mm")
def grouped(op: Op) -> Flow:
    """One matrix product per group of rows (the experts of a mixture): ``A[offs[g-1]:offs[g]] B_g``."""
    a, b, cot = op["self"], op["mat2"], op.cot
    if a.dim() != 2 or b.dim() != 3 or not isinstance(op["offs"], Tensor):
        raise Opaque
    share = _plain(op, "self", "mat2")
    to_a, to_b, size, start = torch.zeros_like(a), torch.zeros_like(b), 0.0, 0
    for g, end in enumerate(op["offs"].tolist()):
        here = slice(start, end)
        to_a[here], to_b[g] = cot[here] @ b[g].t() * share[0], a[here].t() @ cot[here] * share[1]
        size += float(((cot[here].abs() @ b[g].abs().t()) * a[here].abs()).sum())
        start = end
    op.size(size, a.shape[1] + max(cot.shape))
    flow: Flow = {k: c for k, c, s in (("self", to_a, share[0]), ("mat2", to_b, share[1])) if s}
    return {**flow, **({"bias": cot} if op.given("bias") else {})}


@rule("aten.mul")
def mul(op: Op) -> Flow:
    """``a b``, elementwise."""
    if not op.given("other") or not op.given("self"):
        key: Key = "self" if op.given("self") else "other"
        by: Any = op["other" if key == "self" else "self"]
        return {key: op.cot * (by.conj() if isinstance(by, Tensor) else by.conjugate())}
    flow: Flow = {}
    for key, other, s in zip(("self", "other"), ("other", "self"), _plain(op, "self", "other"), strict=True):
        if s:
            cot = op.cot * (op[other].conj() if op[other].is_complex() else op[other])
            flow[key] = cot if s == 1 else cot * s
    return flow


@rule("aten.div", "aten.true_divide")
def div(op: Op) -> Flow:
    """``a / b``: linear in a; b is frozen. Where only b carries signal, ``c / b = (c / b^2) b``."""
    if op.args.get("rounding_mode"):
        raise Opaque
    other = op["other"]
    if not op.signal("other") or op.signal("self"):
        if op.signal("other"):
            op.freeze("denominators")
        if op.given("self"):
            return {"self": op.cot / other}
    return {"other": op.cot * op.out / other}


@rule("aten.addcmul")
def addcmul(op: Op) -> Flow:
    """``self + value t1 t2``."""
    value = number(op, "value")
    s, t = _plain(op, "tensor1", "tensor2")
    flow: Flow = {"self": op.cot}
    if s:
        flow["tensor1"] = op.cot * op["tensor2"] * (s * value)
    if t:
        flow["tensor2"] = op.cot * op["tensor1"] * (t * value)
    if op.value_id("tensor1") == op.value_id("tensor2"):
        op.freeze("one factor of a square")
    return flow


@rule("aten.addcdiv", freezes="denominators")
def addcdiv(op: Op) -> Flow:
    """``self + value t1 / t2``: linear in t1."""
    return {"self": op.cot, "tensor1": op.cot / op["tensor2"] * number(op, "value")}


@rule("aten.lerp")
def lerp(op: Op) -> Flow:
    """``self + w (end - self)``."""
    weight = op["weight"]
    return {"self": op.cot * (1 - weight), "end": op.cot * weight}


@rule("aten.cumprod", "aten.prod")
def opaque_product(op: Op) -> Flow:
    """Products of many signals: an even split of degree n, by their own derivative over n."""
    dim = op.args.get("dim")
    shape = op.shape("self")
    if op.step.op.startswith("aten.cumprod") or not shape:
        raise Opaque
    n = shape[dim] if isinstance(dim, int) else torch.Size(shape).numel()
    op.freeze("nothing in products of n signals: an n-th to each")
    return {k: c / n for k, c in vjp(op, ["self"]).items()}
