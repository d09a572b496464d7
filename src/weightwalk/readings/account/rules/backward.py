"""Backward ops in which the gradient carries nothing of the cut, so that the forward value must.

Every backward op is linear in the gradient that it is given, and is passed by :mod:`generic` while that gradient
depends on the cut. At the loss it does not (it starts from 1): there the forward value flows.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from weightwalk.readings.account.rules.attention import ENTROPY, pattern
from weightwalk.readings.account.rules.base import Flow, Key, Op, Opaque, rule
from weightwalk.readings.account.rules.generic import call, linear


@rule("aten._log_softmax_backward_data")
def log_softmax_backward(op: Op) -> Flow:
    """``g - exp(y) sum(g)`` with y the log-softmax: linear in g; else the probability ``p = exp(y)`` flows into y
    by the secant of exp from the uniform distribution, ``p = 1/n + s (y + log n)``: what the gradient would be for a
    uniform prediction is a constant.
    """
    if op.signal("grad_output"):
        return _linear_in_gradient(op)
    g, y, cot, dim = op["grad_output"], op["output"], op.cot, op["dim"]
    op.freeze("softmax as the secant from the uniform distribution")
    flow = -cot * g.sum(dim, keepdim=True)
    n = y.shape[dim]
    rise = y + math.log(n)
    near = rise.abs() < op.sweep.unit**0.5
    one = torch.ones((), dtype=y.dtype)
    slope = torch.where(near, one / n, (y.exp() - 1 / n) / torch.where(near, one, rise))
    slope = torch.where(y.isinf(), torch.zeros_like(slope), slope)
    op.constant(cot * g + flow / n, "gradient of a uniform prediction")
    softmax = op.sweep.values[op.value_id("output") or 0].address  # where log n meets the entropy of y's own rule
    op.constant(flow * torch.where(y.isinf(), one * (-1 / n), slope * math.log(n)), ENTROPY, softmax)
    return {"output": flow * slope}


def _linear_in_gradient(op: Op) -> Flow:
    op.freeze("backward pass: activations and weights, the gradient flows")
    g, y, cot, dim = op["grad_output"], op["output"], op.cot, op["dim"]
    del g
    p = y.exp()
    return {"grad_output": cot - (cot * p).sum(dim, keepdim=True)}


@rule("aten._softmax_backward_data")
def softmax_backward(op: Op) -> Flow:
    """``p (g - sum(g p))``: linear in g."""
    if not op.signal("grad_output"):
        return linear(op)
    op.freeze("backward pass: activations and weights, the gradient flows")
    p, cot, dim = op["output"], op.cot, op["dim"]
    return {"grad_output": p * (cot - (cot * p).sum(dim, keepdim=True))}


@rule("aten.mse_loss_backward")
def mse_backward(op: Op) -> Flow:
    """``g 2 (x - t) / n``: linear in g; else in x and t."""
    x, t, cot = op["self"], op["target"], op.cot
    factor = 2.0 / (x.numel() if op["reduction"] == 1 else 1)
    if op.signal("grad_output"):
        op.freeze("backward pass: activations and weights, the gradient flows")
        return {"grad_output": cot * factor * (x - t)}
    flow = cot * op["grad_output"] * factor
    return {"self": flow, "target": -flow}


@rule("aten.threshold_backward")
def threshold_backward(op: Op) -> Flow:
    """The gradient where the unit was on."""
    op.freeze("which units are on (ReLU masks)")
    on = op["self"] > op["threshold"]
    return {"grad_output": torch.where(on, op.cot, torch.zeros((), dtype=op.cot.dtype))}


@rule("aten.tanh_backward")
def tanh_backward(op: Op) -> Flow:
    """``g (1 - y^2)``."""
    return {"grad_output": op.cot * (1 - op["output"].square())}


@rule("aten.sigmoid_backward")
def sigmoid_backward(op: Op) -> Flow:
    """``g y (1 - y)``."""
    return {"grad_output": op.cot * op["output"] * (1 - op["output"])}


@rule("aten.embedding_dense_backward")
def embedding_backward(op: Op) -> Flow:
    """Each row of the table collects the gradients of its places; padding rows collect none."""
    ids = op["indices"]
    cot = op.cot[ids]
    padding = op["padding_idx"]
    if padding >= 0:
        cot = torch.where((ids == padding).unsqueeze(-1), torch.zeros((), dtype=cot.dtype), cot)
    if op["scale_grad_by_freq"]:
        counts = torch.bincount(ids.reshape(-1))[ids]
        cot = cot / counts.unsqueeze(-1).clamp(min=1)
    return {"grad_output": cot}


@rule("aten.silu_backward", "aten.gelu_backward", "aten.hardsigmoid_backward", "aten.hardswish_backward",
      "aten.elu_backward", "aten.leaky_relu_backward", "aten.softplus_backward", "aten.mish_backward",
      "aten.log_sigmoid_backward", "aten.hardtanh_backward")  # fmt: skip
def gate_backward(op: Op) -> Flow:
    """``g f'(x)``: the slope is what the op returns for a gradient of ones."""
    if not op.signal("grad_output"):
        raise Opaque
    op.freeze("backward pass: activations and weights, the gradient flows")
    (slope,) = call(op, {"grad_output": torch.ones_like(op["grad_output"])}, [0])
    return {"grad_output": op.cot * slope}


def transposed(op: Op, key: Key, fn: Callable[[Tensor], tuple[Tensor | None, ...]]) -> Flow:
    """The flow into `key` of an op that is the linear function `fn` of it."""
    if not op.signal(key):
        raise Opaque
    op.freeze("backward pass: activations and weights, the gradient flows")
    with torch.enable_grad():
        g = op[key].detach().clone().requires_grad_()
        pairs = [(y, op.cot_of(i)) for i, y in enumerate(fn(g)) if y is not None and op.cots[i] is not None]
        (flow,) = torch.autograd.grad([y for y, _ in pairs], [g], [c.reshape(y.shape) for y, c in pairs])
    return {key: flow}


@rule(
    "aten._scaled_dot_product_flash_attention_for_cpu_backward", "aten._scaled_dot_product_flash_attention_backward",
    "aten._scaled_dot_product_efficient_attention_backward",
)  # fmt: skip
def attention_backward(op: Op) -> Flow:
    """``dV = P^T g``, ``dS = P (g V^T - rowsum(g V^T P))``, ``dQ = dS K s``, ``dK = dS^T Q s``: linear in g."""
    key = "grad_out_" if "grad_out_" in op.args else "grad_out"
    q, k, v = op["query"], op["key"], op["value"]
    if op.args.get("dropout_p"):
        raise Opaque
    groups = q.shape[-3] // k.shape[-3]  # heads that share a key and a value
    k, v = k.repeat_interleave(groups, -3), v.repeat_interleave(groups, -3)
    scale = op.args.get("scale")
    s = scale if scale is not None else 1 / math.sqrt(q.shape[-1])
    p = pattern(op)

    def backward(g: Tensor) -> tuple[Tensor | None, ...]:
        gp = g @ v.transpose(-1, -2)
        ds = p * (gp - (gp * p).sum(-1, keepdim=True)) * s
        dk, dv = ds.transpose(-1, -2) @ q, p.transpose(-1, -2) @ g
        return ds @ k, *(x.unflatten(-3, (-1, groups)).sum(-3) for x in (dk, dv))

    return transposed(op, key, backward)
