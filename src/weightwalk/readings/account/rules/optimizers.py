"""Optimizer ops that act on lists of tensors; those on single tensors are products, sums and ratios like any other."""

from __future__ import annotations

from weightwalk.readings.account.rules.base import Flow, Op, Opaque, rule


def _lists(op: Op) -> range:
    return range(len(op.args["self"]))


@rule("aten._foreach_add", "aten._foreach_sub")
def foreach_add(op: Op) -> Flow:
    """``self_i + alpha other_i``."""
    sign = -1 if "sub" in op.step.op else 1
    alpha = op.args.get("alpha")
    factor = sign * (1 if alpha is None else alpha)
    flow: Flow = {}
    for i in _lists(op):
        if op.cots[i] is None:
            continue
        cot = op.cot_of(i)
        flow["self", i] = cot
        other = op.args.get("other", op.args.get("scalars", op.args.get("scalar")))
        if isinstance(other, list) and "scalars" not in op.args:
            flow["other", i] = cot * factor
        elif isinstance(other, (int, float)):
            op.constant(cot * (other * factor), "constant")
        elif isinstance(other, list):
            op.constant(cot * (other[i] * factor), "constant")
        else:
            raise Opaque
    return flow


@rule("aten._foreach_mul", "aten._foreach_div")
def foreach_scale(op: Op) -> Flow:
    """``self_i s_i``, or ``self_i / s_i`` with the denominator frozen."""
    flow: Flow = {}
    name = next(n for n in ("other", "scalars", "scalar") if n in op.args)
    by = op[name]
    for i in _lists(op):
        if op.cots[i] is None:
            continue
        factor = by[i] if isinstance(by, list) else by
        flow["self", i] = op.cot_of(i) / factor if "div" in op.step.op else op.cot_of(i) * factor
    if op.signal((name, 0)) if isinstance(by, list) else op.signal(name):
        op.freeze("denominators" if "div" in op.step.op else "right factors in lists of products")
    return flow


@rule("aten._foreach_lerp")
def foreach_lerp(op: Op) -> Flow:
    """``self_i + w (end_i - self_i)``."""
    weight = op.args.get("weight", op.args.get("weights"))
    weight = op["weight"] if "weight" in op.args else op["weights"]
    flow: Flow = {}
    for i in _lists(op):
        if op.cots[i] is not None:
            w = weight[i] if isinstance(weight, list) else weight
            flow["self", i], flow["tensors1", i] = op.cot_of(i) * (1 - w), op.cot_of(i) * w
    return flow


@rule("aten._foreach_addcmul", "aten._foreach_addcdiv", freezes="denominators and second factors in lists")
def foreach_fused(op: Op) -> Flow:
    """``self_i + v t1_i t2_i`` or ``self_i + v t1_i / t2_i``: linear in t1."""
    flow: Flow = {}
    for i in _lists(op):
        if op.cots[i] is None:
            continue
        value = op.args.get("value")
        if "scalars" in op.args:
            value = op["scalars"][i]
        cot, second = op.cot_of(i) * (1 if value is None else value), op["tensor2", i]
        flow["self", i] = op.cot_of(i)
        flow["tensor1", i] = cot / second if "addcdiv" in op.step.op else cot * second
    return flow
