"""Moves, sums and selections: linear in all their tensors, passed by their own transpose.

What is here is here for speed, or because the recorded call carries something (a dtype, a window) that must be read
differently when the op is run backwards; every other linear op is found by :mod:`generic`.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from weightwalk.readings.account.graph import positions
from weightwalk.readings.account.rules.base import Flow, Key, Op, Opaque, rule
from weightwalk.readings.account.rules.generic import call, vjp
from weightwalk.readings.account.tensors import Cotangent, Picked

# One tensor in, the same numbers out ---------------------------------------------------------------------------------


@rule("aten.view", "aten._unsafe_view", "aten.reshape", "aten._reshape_alias", "aten.squeeze", "aten.unsqueeze")
def reshape(op: Op) -> Flow:
    """Same numbers in the same order."""
    key = next(op.tensors())
    shape = op.shape(key)
    cot: Cotangent | None = op.cots[0]
    if isinstance(cot, Picked):
        return {key: Picked(cot.flat, cot.values, shape)}
    return {key: op.cot.reshape(shape)}


@rule(
    "aten.detach", "aten.alias", "aten.clone", "aten.contiguous", "aten._to_copy", "aten.lift_fresh", "aten.lift",
    "aten.to", "aten.resolve_conj", "aten.resolve_neg",
)  # fmt: skip
def same(op: Op) -> Flow:
    """Same numbers; a cast rounds, which shows in the step's residual."""
    return dict.fromkeys(op.tensors(), op.cots[0])


@rule("aten._conj", "aten._conj_physical", "aten.conj_physical")
def conjugate(op: Op) -> Flow:
    """``Re(conj(c) conj(z)) = Re(conj(conj(c)) z)``."""
    return {"self": op.cot.conj()}


@rule("aten.expand")
def expand(op: Op) -> Flow:
    """Repetition: cotangents of the copies add up."""
    return {"self": op.cot.sum_to_size(op.shape("self")) if op.shape("self") else op.cot.sum()}


@rule("aten.t", "aten.t_")
def t(op: Op) -> Flow:
    """Transpose."""
    return {"self": op.cot.t()}


@rule("aten.transpose.int", "aten.transpose_")
def transpose(op: Op) -> Flow:
    """Transpose."""
    return {"self": op.cot.transpose(op["dim0"], op["dim1"])}


@rule("aten.permute")
def permute(op: Op) -> Flow:
    """The inverse permutation."""
    dims = [d % op.cot.dim() for d in op["dims"]]
    return {"self": op.cot.permute([dims.index(i) for i in range(len(dims))])}


@rule("aten.split", "aten.unsafe_split", "aten.split_with_sizes", "aten.chunk", "aten.unsafe_split_with_sizes")
def split(op: Op) -> Flow:
    """Parts: their cotangents side by side."""
    dim = op.args.get("dim") or 0
    parts = [op.cot_of(i) for i in range(len(op.step.outputs))]
    return {"self": torch.cat(parts, dim)}


@rule("aten.unbind")
def unbind(op: Op) -> Flow:
    """Slices along one axis: their cotangents stacked."""
    return {"self": torch.stack([op.cot_of(i) for i in range(len(op.step.outputs))], op.args.get("dim") or 0)}


@rule("aten.select.int", "aten.slice.Tensor", "aten.narrow")
def pick(op: Op) -> Flow:
    """A part: its cotangent in its place, 0 elsewhere."""
    whole = op.cot.new_zeros(op.shape("self"))
    (part,) = call(op, {"self": whole}, [0])  # a view of it
    part.copy_(op.cot)
    return {"self": whole}


@rule("aten.cat")
def cat(op: Op) -> Flow:
    """Parts side by side: each gets its own part of the cotangent."""
    dim = op.args.get("dim") or 0
    parts = op["tensors"]
    whole = [p for p in parts if not (p.dim() == 1 and p.numel() == 0 and op.cot.dim() > 1)]  # torch skips such
    sizes = [p.shape[dim] for p in whole]
    pieces = iter(op.cot.split(sizes, dim))
    flow: Flow = {}
    for i, p in enumerate(parts):
        piece = next(pieces) if any(p is w for w in whole) else None
        if op.given(("tensors", i)) and piece is not None:
            flow["tensors", i] = piece
    return flow


@rule("aten.stack")
def stack(op: Op) -> Flow:
    """Slices along a new axis."""
    pieces = op.cot.unbind(op.args.get("dim") or 0)
    return {("tensors", i): p for i, p in enumerate(pieces) if op.given(("tensors", i))}


# Sums ----------------------------------------------------------------------------------------------------------------


def _scaled(cot: Tensor, by: Any) -> Tensor:
    return cot if by == 1 else cot * by


@rule("aten.add", "aten.sub", "aten.rsub")
def add(op: Op) -> Flow:
    """``self + alpha other``; a number among the two is a constant."""
    name, cot = op.step.op.split(".")[1].strip("_"), op.cot
    alpha = op.args.get("alpha")
    alpha = 1 if alpha is None else alpha
    factors = {"add": (1, alpha), "sub": (1, -alpha), "rsub": (-alpha, 1)}[name]
    flow: Flow = {}
    for key, factor in zip(("self", "other"), factors, strict=True):
        argument = op.raw(key)
        if op.given(key):
            flow[key] = _scaled(cot, factor)
        else:
            number = op[key]
            what = number.to(cot.dtype) if isinstance(number, Tensor) else number
            op.constant((cot * what).sum() * factor if isinstance(what, Tensor) else cot.sum() * (what * factor),
                        f"constant {argument}" if isinstance(argument, (int, float)) else "integers")  # fmt: skip
    return flow


@rule("aten.sum.dim_IntList", "aten.mean.dim", "aten.sum.default", "aten.mean.default")
def total(op: Op) -> Flow:
    """A sum or a mean: each summand gets the whole cotangent, or its n-th part."""
    shape, cot = op.shape("self"), op.cot
    dims = op.args.get("dim")
    axes = sorted(d % max(len(shape), 1) for d in ([dims] if isinstance(dims, int) else dims or range(len(shape))))
    count = 1
    for d in axes:
        count *= shape[d] if shape else 1
    if not op.args.get("keepdim"):
        for d in axes:
            cot = cot.unsqueeze(d) if shape else cot
    cot = cot.expand(shape)
    op.size(lambda: (cot * op["self"]).abs(), 1 if "mean" in op.step.op else count)  # a mean: n terms of 1/n each
    return {"self": cot / count if "mean" in op.step.op else cot}


# Masks ---------------------------------------------------------------------------------------------------------------


@rule("aten.where.self", "aten.where.ScalarOther", "aten.where.ScalarSelf", "aten.where.Scalar")
def where(op: Op) -> Flow:
    """Each element comes from one of the two."""
    condition, cot = op["condition"], op.cot
    zero = torch.zeros((), dtype=cot.dtype)
    flow: Flow = {}
    for key, chosen in (("self", condition), ("other", ~condition)):
        part = torch.where(chosen, cot, zero)
        if op.given(key):
            flow[key] = part
        elif part.any():
            op.constant(_held(part, op[key]), "constant")
    return flow


def _held(part: Tensor, what: Any) -> Tensor:
    """``<part, what>`` for a constant that may be infinite where `part` is 0."""
    reached = part[part != 0]
    if isinstance(what, Tensor) and what.dim():
        return (reached * what.expand(part.shape)[part != 0]).sum()
    return (reached * what).sum()


@rule("aten.masked_fill")
def masked_fill(op: Op) -> Flow:
    """``self`` where the mask is off, the fill value where it is on."""
    cot, mask = op.cot, op["mask"]
    zero = torch.zeros((), dtype=cot.dtype)
    filled = torch.where(mask, cot, zero)
    flow: Flow = {"self": torch.where(mask, zero, cot)}
    if op.given("value"):
        flow["value"] = filled
    elif filled.any():
        op.constant(_held(filled, op["value"]), "fill value")
    return flow


@rule("aten.constant_pad_nd")
def pad(op: Op) -> Flow:
    """The padding is a constant."""
    flow = vjp(op, ["self"])
    value = op.args.get("value") or 0
    if value:
        inside = torch.constant_pad_nd(torch.ones(op.shape("self")), op["pad"], 0.0)
        op.constant((op.cot * (1 - inside)).sum() * value, "padding")
    return flow


@rule("aten.native_dropout", "aten.dropout", freezes="dropout masks")
def dropout(op: Op) -> Flow:
    """``x * mask / (1 - p)``, with the recorded mask."""
    p = op["p"]
    if len(op.step.outputs) < 2:
        return {"input": op.cot}
    return {"input": op.cot * op.out_of(1) * (1 / (1 - p) if p < 1 else 0.0)}


@rule("aten.copy")
def copy(op: Op) -> Flow:
    """``copy_``: the old contents are gone."""
    return {"src": op.cot}


@rule("aten.zeros_like", "aten.ones_like", "aten.full_like", "aten.new_zeros", "aten.zero", "aten.fill")
def blank(op: Op) -> Flow:
    """What an op writes without reading: a constant."""
    op.constant((op.cot * op.out).sum(), op.step.name)
    return {}


# Tables --------------------------------------------------------------------------------------------------------------


@rule("aten.embedding", freezes="which rows of a table are looked up")
def embedding(op: Op) -> Flow:
    """``table[ids]``: the cotangents of each row add up in the table."""
    cot, ids = op.cot, op["indices"]
    table = cot.new_zeros(op.shape("weight"))
    table.index_add_(0, ids.reshape(-1), cot.reshape(-1, cot.shape[-1]))
    return {"weight": table}


@rule("aten.as_strided")
def as_strided(op: Op) -> Flow:
    """Another window onto the memory of `self`."""
    vid = op.value_id("self")
    assert vid is not None
    return {"self": _window(op, vid)}


# Our own steps: windows onto one storage ---------------------------------------------------------------------------


def _positions(op: Op, vid: int) -> Tensor:
    return torch.from_numpy(positions(op.sweep.values[vid]).reshape(-1).copy())


def _onto(at: Tensor, cot: Tensor, window: Tensor, shape: tuple[int, ...]) -> Tensor:
    """The cotangents `cot` at storage positions `at`, summed onto the elements of another window."""
    size = int(max(at.max(), window.max())) + 1 if at.numel() and window.numel() else 1
    storage = cot.new_zeros(size).index_add_(0, at, cot.reshape(-1))
    return storage[window].reshape(shape)


@rule("weightwalk.overwrite")
def overwrite(op: Op) -> Flow:
    """A window onto memory of which a part was written: that part comes from `written`, the rest from `old`."""
    vids: dict[Key, int | None] = {k: op.value_id(k) for k in ("old", "written")}
    old, written = vids["old"], vids["written"]
    if old is None or written is None or len({op.sweep.values[v].dtype for v in (old, written)}) > 1:
        raise Opaque
    here, there = _positions(op, op.result().id), _positions(op, written)
    covered = torch.isin(here, there).reshape(op.cot.shape)
    zero = torch.zeros((), dtype=op.cot.dtype)
    flow: Flow = {}
    if not covered.all():
        flow["old"] = torch.where(covered, zero, op.cot).reshape(op.shape("old"))
    if covered.any():
        flow["written"] = _onto(here, torch.where(covered, op.cot, zero), there, op.shape("written"))
    return flow


@rule("weightwalk.alias")
def alias(op: Op) -> Flow:
    """Another window onto the same memory."""
    base = op.value_id("base")
    if base is None:
        raise Opaque
    return {"base": _window(op, base)}


def _window(op: Op, base: int) -> Tensor:
    """The cotangent of the output laid onto the window of value `base`."""
    here, there = _positions(op, op.result().id), _positions(op, base)
    if not bool(torch.isin(here, there).all()):
        raise Opaque
    return _onto(here, op.cot, there, op.sweep.values[base].shape)
