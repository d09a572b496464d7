"""Ops without a rule of their own: passed by their own vector-Jacobian product where they are linear in what flows.

An op is linear in its signals x if ``f(2x) = 2 f(x)`` (then, by Euler, ``<J^T cot, x> = <cot, f(x)>``: maxima, medians
and norms are covered too), and affine if ``f(2x) - f(x) = f(x) - f(0)``, with ``f(0)`` a constant. Both are tested on
the recorded numbers, in float64 where torch can; an op that passes neither test is opaque.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from weightwalk.readings.account.rules.base import Flow, Key, Op, Opaque, overload
from weightwalk.walks.model import Ref

TOLERANCE = 1e3  # units in the last place within which two evaluations of one linear function agree


def linear(op: Op) -> Flow:
    """The flow of an op that is linear or affine in its signals.

    Raises:
        Opaque: It is neither, or torch has no derivative of it.
    """
    keys = [k for k in op.tensors() if op.signal(k)]
    if op.step.phase == "backward":
        keys = gradients(op, keys)
    if not keys:
        raise Opaque
    xs = [op[k] for k in keys]
    wanted = [i for i, c in enumerate(op.cots) if c is not None]
    ys = call(op, dict(zip(keys, xs, strict=True)), wanted)
    twice = call(op, {k: 2 * x for k, x in zip(keys, xs, strict=True)}, wanted)
    offset: list[Tensor] | None = None
    if not _close(twice, [2 * y for y in ys]):
        offset = call(op, {k: torch.zeros_like(x) for k, x in zip(keys, xs, strict=True)}, wanted)
        if not _close([t + o for t, o in zip(twice, offset, strict=True)], [2 * y for y in ys]):
            raise Opaque
    flow = vjp(op, keys)
    many = sum(x.numel() for x in xs) / max(sum(y.numel() for y in ys), 1)
    sizes = call(op, {k: x.abs().to(x.dtype) for k, x in zip(keys, xs, strict=True)}, wanted)
    for i, size in zip(wanted, sizes, strict=True):
        op.size((op.cot_of(i) * size).abs(), 2 * many + 64)
    if offset is not None:
        for i, o in zip(wanted, offset, strict=True):
            op.constant(op.cot_of(i) * o, f"constant part of {op.step.name}")
    return flow


def gradients(op: Op, keys: list[Key]) -> list[Key]:
    """Of a backward op's signals, those that came out of the backward pass; all if none did."""
    walk = op.sweep.walk
    late = []
    for key in keys:
        vid = op.value_id(key)
        producer = walk.values[vid].producer if vid is not None else None
        if producer is not None and walk.steps[producer].phase == "backward":
            late.append(key)
    if late and len(late) < len(keys):
        op.freeze("backward pass: activations and weights, the gradient flows")
    return late or keys


def call(op: Op, replace: dict[Key, Tensor], wanted: list[int]) -> list[Tensor]:
    """Run the op again with some arguments replaced; the outputs at positions `wanted`.

    Raises:
        Opaque: torch cannot run it in this dtype.
    """
    fn = overload(op.step.op)
    if fn is None:
        raise Opaque
    if op.step.written:  # it would write to the record: give it copies
        replace = {k: (replace[k] if k in replace else op[k]).clone() for k in op.tensors()}
    args, kwargs = op.arguments(replace)
    try:
        out = fn(*args, **kwargs)
    except (RuntimeError, NotImplementedError, TypeError, ValueError) as error:
        raise Opaque from error
    flat: list[Any] = []
    for leaf in out if isinstance(out, (list, tuple)) else [out]:
        flat.extend(leaf if isinstance(leaf, (list, tuple)) else [leaf])
    if any(i >= len(flat) or not isinstance(flat[i], Tensor) for i in wanted):
        raise Opaque
    return [flat[i] for i in wanted]


def vjp(op: Op, keys: list[Key]) -> Flow:
    """The op's own vector-Jacobian product with respect to the arguments `keys`.

    Raises:
        Opaque: torch has no derivative of it.
    """
    wanted = [i for i, c in enumerate(op.cots) if c is not None and isinstance(op.step.outputs[i], Ref)]
    with torch.enable_grad():
        xs = [op[k].detach().clone().requires_grad_() for k in keys]
        # an in-place op must not write to a leaf
        fed = [x * 1 if op.step.written else x for x in xs]
        ys = call(op, dict(zip(keys, fed, strict=True)), wanted)
        if not all(y.requires_grad for y in ys):
            raise Opaque
        try:
            grads = torch.autograd.grad(ys, xs, [op.cot_of(i) for i in wanted], allow_unused=True)
        except (RuntimeError, NotImplementedError) as error:
            raise Opaque from error
    return {k: g for k, g in zip(keys, grads, strict=True) if g is not None}


def _close(a: list[Tensor], b: list[Tensor]) -> bool:
    for x, y in zip(a, b, strict=True):
        if x.shape != y.shape:
            return False
        if not (y.is_floating_point() or y.is_complex()):
            return False
        finite = y[y.isfinite()].abs()
        scale = finite.max() if finite.numel() else 0.0
        if not bool(((x == y) | ((x - y).abs() <= TOLERANCE * torch.finfo(y.dtype).eps * scale)).all()):
            return False
    return True
