"""Optimizer ops that act on lists of tensors; those on single tensors are products, sums and ratios like any other.

All overwrite their lists in place and return nothing: an output is found by what it overwrote. Denominators (square
roots of second moments) are frozen, numerators (gradients, first moments, weights) flow.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from weightwalk.readings.account.rules.base import Flow, Op, Opaque, rule
from weightwalk.walks.model import Ref

DENOMINATORS = "denominators"


def output(op: Op, name: str, i: int) -> int | None:
    """The position among the outputs of the new value of list argument ``name[i]``."""
    old = op.value_id((name, i))
    new = next((n for o, n in op.step.written if o == old), None)
    for k, out in enumerate(op.step.outputs):
        if isinstance(out, Ref) and (out.value == new or (not op.step.written and k == i)):
            return k
    return None


def cot(op: Op, name: str, i: int) -> Tensor | None:
    """The cotangent of the new value of ``name[i]``, or None where nothing arrived."""
    if not op.step.written:
        return op.cot_of(i) if i < len(op.cots) and op.cots[i] is not None else None
    k = output(op, name, i)
    return None if k is None or op.cots[k] is None else op.cot_of(k)


def lists(op: Op) -> Iterator[tuple[int, Tensor]]:
    """(index, cotangent) of each list entry that something flowed into."""
    for i in range(len(op.args["self"])):
        c = cot(op, "self", i)
        if c is not None:
            yield i, c


def _other(op: Op, i: int, *names: str) -> Any:
    name = next(n for n in names if op.args.get(n) is not None)
    found = op[name]
    return found[i] if isinstance(found, list) else found


@rule("aten._foreach_add", "aten._foreach_sub")
def foreach_add(op: Op) -> Flow:
    """``self_i + alpha other_i``."""
    alpha = op.args.get("alpha")
    factor = (-1 if "sub" in op.step.op else 1) * (1 if alpha is None else alpha)
    flow: Flow = {}
    for i, c in lists(op):
        flow["self", i] = c
        if isinstance(op.args.get("other"), list):
            flow["other", i] = c * factor
        else:
            op.constant(c * _other(op, i, "other", "scalars", "scalar") * factor, "constant")
    return flow


@rule("aten._foreach_mul", "aten._foreach_div")
def foreach_scale(op: Op) -> Flow:
    """``self_i s_i`` or ``self_i / s_i``."""
    flow: Flow = {}
    divides = "div" in op.step.op
    for i, c in lists(op):
        by = _other(op, i, "other", "scalars", "scalar", "tensor")
        flow["self", i] = c / by if divides else c * by
        if isinstance(by, Tensor):
            op.freeze(DENOMINATORS if divides else "second factors in lists of products")
    return flow


@rule("aten._foreach_sqrt", "aten._foreach_neg", "aten._foreach_reciprocal")
def foreach_root(op: Op) -> Flow:
    """``y = (y / x) x``; where x is 0 so is its root."""
    flow: Flow = {}
    for i, c in lists(op):
        x = op["self", i]
        y = x.neg() if "neg" in op.step.op else x.sqrt() if "sqrt" in op.step.op else x.reciprocal()
        one = torch.ones((), dtype=x.dtype)
        flow["self", i] = c * torch.where(x == 0, 0 * x, y / torch.where(x == 0, one, x))
    return flow


@rule("aten._foreach_lerp")
def foreach_lerp(op: Op) -> Flow:
    """``self_i + w (end_i - self_i)``."""
    flow: Flow = {}
    for i, c in lists(op):
        w = _other(op, i, "weight", "weights")
        flow["self", i], flow["tensors1", i] = c * (1 - w), c * w
    return flow


@rule("aten._foreach_addcmul", "aten._foreach_addcdiv")
def foreach_fused(op: Op) -> Flow:
    """``self_i + v t1_i t2_i`` or ``self_i + v t1_i / t2_i``: linear in t1."""
    divides = "addcdiv" in op.step.op
    op.freeze(DENOMINATORS if divides else "one factor of a square")
    flow: Flow = {}
    for i, c in lists(op):
        value = (
            1 if op.args.get("value") is None and op.args.get("scalars") is None else _other(op, i, "value", "scalars")
        )
        second = op["tensor2", i]
        flow["self", i] = c
        flow["tensor1", i] = c * value / second if divides else c * value * second
    return flow


@rule("aten._fused_adam", "aten._fused_adamw", freezes=DENOMINATORS)
def fused_adam(op: Op) -> Flow:
    """``m' = b1 m + (1 - b1) g``, ``v' = b2 v + (1 - b2) g^2``, and
    ``p' = p (1 - lr wd) - lr / c1 m' / (sqrt(v' / c2) + eps)``
    with ``c = 1 - b^t``; in plain Adam the decay joins g instead.
    """
    if op["amsgrad"] or op.args.get("grad_scale") is not None:
        raise Opaque
    lr, b1, b2 = float(op["lr"]), op["beta1"], op["beta2"]
    decay, decoupled = op["weight_decay"], "adamw" in op.step.op
    sign = -1.0 if op["maximize"] else 1.0
    flow: Flow = {}
    for i in range(len(op.args["self"])):
        to_p, to_m, to_v = (cot(op, n, i) for n in ("self", "exp_avgs", "exp_avg_sqs"))
        if to_p is None and to_m is None and to_v is None:
            continue
        p, g, t = op["self", i], op["grads", i] * sign, float(op["state_steps", i])
        g = g if decoupled else g + decay * p
        zero = torch.zeros_like(p)
        to_p, to_m, to_v = (zero if c is None else c for c in (to_p, to_m, to_v))
        v = b2 * op["exp_avg_sqs", i] + (1 - b2) * g.square()
        denominator = (v / (1 - b2**t)).sqrt() + op["eps"]
        to_m = to_m - to_p * lr / (1 - b1**t) / denominator
        to_g = to_m * (1 - b1) + to_v * (1 - b2) * g
        flow["exp_avgs", i], flow["exp_avg_sqs", i], flow["grads", i] = to_m * b1, to_v * b2, to_g * sign
        flow["self", i] = to_p * (1 - lr * decay) if decoupled else to_p + to_g * decay
        _untouched(op, flow, "grads", i)
    return flow


def _untouched(op: Op, flow: Flow, name: str, i: int) -> None:
    """Gradients count as overwritten though they stay as they are: what arrived there passes."""
    c = cot(op, name, i)
    if c is not None:
        flow[name, i] = flow[name, i] + c


@rule("aten._fused_sgd")
def fused_sgd(op: Op) -> Flow:
    """``b' = mu b + (1 - d) g`` (g on the first step), ``p' = p - lr b'``, or ``p - lr (g + mu b')`` for Nesterov."""
    if op.args.get("grad_scale") is not None:
        raise Opaque
    lr, mu, decay = float(op["lr"]), op["momentum"], op["weight_decay"]
    sign = -1.0 if op["maximize"] else 1.0
    flow: Flow = {}
    for i in range(len(op.args["self"])):
        to_p = cot(op, "self", i)
        to_b = cot(op, "momentum_buffer_list", i) if mu else None
        if to_p is None and to_b is None:
            continue
        zero = torch.zeros_like(op["self", i])
        to_p, to_b = zero if to_p is None else to_p, zero if to_b is None else to_b
        to_g = -lr * to_p
        if mu:
            to_b = to_b + (to_g * mu if op["nesterov"] else to_g)
            to_g = (to_g if op["nesterov"] else zero) + to_b * (1.0 if op["is_first_step"] else 1 - op["dampening"])
            if not op["is_first_step"]:
                flow["momentum_buffer_list", i] = to_b * mu
        flow["self", i] = to_p + decay * to_g
        flow["grads", i] = to_g * sign
        _untouched(op, flow, "grads", i)
    return flow
