"""Nonlinear functions of one number: a gate passes the cotangent through the secant from 0.

``y = f(0) + s x`` with ``s = (f(x) - f(0)) / x``. For ReLU s is 0 or 1, exactly; for GELU, SiLU, tanh it is ``y / x``;
where ``f(0)`` is not 0 (sigmoid, softplus, exp, cos) it is a constant of its own, so that s stays bounded: ``y / x``
would grow without limit near 0 and split a finite number into huge terms of opposite signs. Near 0, ``s = f'(0)``.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from weightwalk.readings.account.rules.base import RULES, Entry, Flow, Key, Op, Opaque, rule
from weightwalk.readings.account.rules.generic import vjp

GATE = "slopes of nonlinear functions (secants from 0)"

Anchor = Callable[[Op], tuple[float, float]]


def _at(value: float, slope: float) -> Anchor:
    return lambda op: (value, slope)


def _power(op: Op) -> tuple[float, float]:
    p = op["exponent"]
    if isinstance(p, Tensor):
        raise Opaque
    return (0.0, 1.0 if p == 1 else 0.0) if p > 0 else (1.0, 0.0) if p == 0 else (math.nan, math.nan)


def _family(names: str, value: float, slope: float) -> dict[str, Anchor]:
    return dict.fromkeys(names.split(), _at(value, slope))


ANCHORS: dict[str, Anchor] = {
    # f(0), f'(0)
    **_family("tanh erf sin asin sinh asinh atan atanh tan expm1 log1p elu selu softsign erfinv celu", 0, 1),
    **_family("rrelu_with_noise sqrt square tanhshrink", 0, 0),
    **_family("gelu silu hardswish", 0, 0.5),
    **_family("log_sigmoid log_sigmoid_forward", -math.log(2), 0.5),
    **_family("cos cosh", 1, 0),
    "mish": _at(0, 0.6),
    "sigmoid": _at(0.5, 0.25),
    "exp": _at(1, 1),
    "exp2": _at(1, math.log(2)),
    "erfc": _at(1, -2 / math.sqrt(math.pi)),
    "softplus": lambda op: (math.log(2) / (op.args.get("beta") or 1), 0.5),
    # no value at 0: y = (y / x) x
    **_family("log log2 log10 rsqrt reciprocal acos digamma lgamma", math.nan, math.nan),
    "pow": _power,
}


def secant(op: Op) -> Flow:
    """``cot * (f(x) - f(0)) / x``, and ``cot * f(0)`` as a constant."""
    name = op.step.op.split(".")[1].strip("_")
    key = next((k for k in ("self", "input") if op.given(k)), None)
    if key is None or (name == "pow" and not op.given("self")) or (name != "prelu" and _signals(op) > 1):
        raise Opaque
    start, slope = ANCHORS[name](op)
    x, y, cot = op[key], op.out, op.cot
    zero, one = torch.zeros((), dtype=x.dtype), torch.ones((), dtype=x.dtype)
    if math.isnan(start):
        op.freeze("slopes y / x of functions without a value at 0")
        if (x == 0).any():
            raise Opaque
        return {key: cot * (y / x)}
    op.freeze(GATE)
    beyond = x.isinf()
    if start:
        op.constant(cot * torch.where(beyond, y, one * start), f"{name}(0)")
        rise = y - start
        near = x.abs() < math.sqrt(op.sweep.unit)
    else:
        rise, near = y, x == 0
    s = torch.where(near, one * slope, rise / torch.where(near, one, x))
    if not start and bool((beyond & (y != 0)).any()):
        op.constant(torch.where(beyond, cot * y, zero), f"{name} of infinity")
    return {key: torch.where(beyond, zero, cot * s)}


def _signals(op: Op) -> int:
    return sum(op.signal(k) for k in op.tensors())


for _name in ANCHORS:
    RULES[f"aten.{_name}"] = Entry(secant, "")


@rule("aten.relu", "aten.threshold", freezes="which units are on (ReLU masks)")
def relu(op: Op) -> Flow:
    """``y = m x``: m is 0 or 1, exactly. A threshold's replacement value is a constant."""
    x = op["self"]
    limit = op.args.get("threshold") or 0
    value = op.args.get("value") or 0
    on = x > limit
    if value:
        op.constant(op.cot * ~on * value, "value below the threshold")
    return {"self": torch.where(on, op.cot, torch.zeros((), dtype=x.dtype))}


@rule(
    "aten.hardtanh", "aten.clamp", "aten.clamp_min", "aten.clamp_max", "aten.relu6", "aten.hardsigmoid",
    "aten.softshrink", "aten.hardshrink", "aten.leaky_relu", "aten.abs", freezes="pieces of piecewise linear functions",
)  # fmt: skip
def piecewise(op: Op) -> Flow:
    """``y = s x + t`` on the piece where x lies: s is the derivative, and t, if not 0, a constant."""
    key: Key = "self" if op.given("self") else "input"
    if sum(op.given(k) for k in op.tensors()) != 1:
        raise Opaque  # limits that are tensors
    x = op[key]
    if "hardsigmoid" in op.step.op:  # torch's own derivative has 1/6 in float32
        flow = torch.where(x.abs() < 3, op.cot / 6, torch.zeros((), dtype=x.dtype))
    else:
        flow = vjp(op, [key])[key]
    kept = torch.where(flow == 0, torch.zeros((), dtype=x.dtype), flow * x)
    op.constant(op.cot * op.out - kept, f"offset of {op.step.name}")
    return {key: flow}


@rule("aten._prelu_kernel", "aten.prelu", freezes="which units are on (ReLU masks)")
def prelu(op: Op) -> Flow:
    """``y = x`` or ``w x``: linear in x on its side; where only the slope w carries signal, linear in w."""
    x, w, cot = op["self"], op["weight"], op.cot
    if op.step.op == "aten.prelu.default" and w.dim() == 1 and x.dim() > 1:
        w = w.reshape(-1, *(1,) * (x.dim() - 2))
    below = x <= 0
    share = 0.5 if op.signal("self") and op.signal("weight") else 1.0
    flow: Flow = {}
    if op.signal("self") or not op.signal("weight"):
        flow["self"] = cot * torch.where(below, w * share, torch.ones((), dtype=x.dtype))
    if op.signal("weight"):
        on_weight = torch.where(below, cot * x * share, torch.zeros((), dtype=x.dtype))
        if op.shape("weight") != tuple(w.shape):
            raise Opaque
        flow["weight"] = on_weight
        if not op.signal("self"):
            op.constant(torch.where(below, torch.zeros((), dtype=x.dtype), cot * x), "positive part")
    return flow


@rule("aten.glu", freezes="softmax patterns and sigmoid gates")
def glu(op: Op) -> Flow:
    """``a sigmoid(b)``: the gate is frozen."""
    dim = op.args.get("dim")
    _, b = op["self"].chunk(2, -1 if dim is None else dim)
    return {"self": torch.cat([op.cot * b.sigmoid(), torch.zeros_like(b)], -1 if dim is None else dim)}


@rule("aten.maximum", "aten.minimum", "aten.fmax", "aten.fmin", freezes="which of two is larger")
def larger(op: Op) -> Flow:
    """The winner takes all; ties are halved."""
    a, b, cot = op["self"], op["other"], op.cot
    first = (a > b) if "max" in op.step.op else (a < b)
    share = torch.where(a == b, 0.5, first.to(cot.dtype))
    return {"self": cot * share, "other": cot * (1 - share)}


@rule(
    "aten.round", "aten.floor", "aten.ceil", "aten.trunc", "aten.sign", "aten.sgn", "aten.heaviside", "aten.remainder",
    freezes="steps (round, floor, sign): constants",
)  # fmt: skip
def steps(op: Op) -> Flow:
    """Piecewise constant: nothing flows."""
    op.constant(op.cot * op.out, op.step.name)
    return {}
