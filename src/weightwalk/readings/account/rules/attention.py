"""Softmax and attention."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from weightwalk.readings.account.rules.base import Flow, Op, Opaque, rule

ENTROPY = "entropy of softmax"


def entropy(p: Tensor, dim: int) -> Tensor:
    """``-sum p log p``, 0 log 0 = 0, keeping the axis."""
    return -torch.special.xlogy(p, p).sum(dim, keepdim=True)


def _slack(op: Op, weight: Tensor, p: Tensor) -> None:
    """Rounding of a softmax of x: that of x less its maximum, of the sum of n exponentials, and of its logarithm."""
    dim = op["dim"] if isinstance(op["dim"], int) else op["dim"][0]
    x = op["self"]
    reach = torch.where(p > 0, x.abs(), torch.zeros((), dtype=x.dtype)).amax(dim, keepdim=True)
    op.size(weight.sum(dim, keepdim=True) * (1 + reach), x.shape[dim] + 32)


@rule("aten._log_softmax", "aten.log_softmax", freezes="softmax weights inside log-sum-exp")
def log_softmax(op: Op) -> Flow:
    """``y_i = x_i - lse(x)`` with ``lse(x) = sum p_j x_j + H(p)``: exact and linear once p is held; the entropy H is a
    constant.
    """
    dim, cot = op["dim"], op.cot
    p = op.out.exp()
    total = cot.sum(dim, keepdim=True)
    op.constant(-total * entropy(p, dim), ENTROPY)
    _slack(op, cot.abs(), p)
    # where p is 0 its logit may be infinite: it takes no part
    return {"self": cot - p * total}


@rule("aten.logsumexp", freezes="softmax weights inside log-sum-exp")
def logsumexp(op: Op) -> Flow:
    """``lse(x) = sum p_j x_j + H(p)``."""
    dims = op["dim"]
    dim = dims if isinstance(dims, int) else dims[0]
    if not isinstance(dims, int) and len(dims) > 1:
        raise Opaque
    cot = op.cot if op.args.get("keepdim") else op.cot.unsqueeze(dim)
    p = op["self"].softmax(dim)
    op.constant(cot * entropy(p, dim), ENTROPY)
    _slack(op, cot.abs() * p, p)
    return {"self": cot * p}


@rule(
    "aten._softmax", "aten.softmax", "aten._safe_softmax", freezes="softmax as the secant from the uniform distribution"
)
def softmax(op: Op) -> Flow:
    """``p_i = 1/n + s_i (log p_i + log n)``: the secant of exp from the uniform distribution over the n entries that
    are alive, ``s_i = (p_i - 1/n) / (log p_i + log n)``, with log p as in :func:`log_softmax`. It is bounded, does not
    change when all logits shift, and leaves ``1/n`` and the entropy as constants.
    """
    dim, cot, p = op["dim"], op.cot, op.out
    alive = p > 0
    n = alive.sum(dim, keepdim=True).to(p.dtype).clamp(min=1)
    log_p = torch.where(alive, p, torch.ones((), dtype=p.dtype)).log()
    rise = log_p + n.log()
    tiny = rise.abs() < math.sqrt(op.sweep.unit)
    slope = torch.where(tiny, p, (p - 1 / n) / torch.where(tiny, torch.ones_like(rise), rise))
    g = torch.where(alive, cot * slope, torch.zeros((), dtype=p.dtype))
    total = g.sum(dim, keepdim=True)
    flow = g - p * total
    op.constant(torch.where(alive, cot / n, torch.zeros((), dtype=p.dtype)), "1/n of softmax")
    op.constant(total * (n.log() - entropy(p, dim)), ENTROPY)
    _slack(op, g.abs(), p)
    return {"self": flow}


def pattern(op: Op) -> Tensor:
    """The attention pattern, computed again from the recorded queries and keys: (..., H, Tq, Tk)."""
    q, k = op["query"], op["key"]
    if k.shape[-3] != q.shape[-3]:  # grouped heads share a key
        k = k.repeat_interleave(q.shape[-3] // k.shape[-3], -3)
    scale = op.args.get("scale")
    scores = (q @ k.transpose(-1, -2)) * (scale if scale is not None else 1 / math.sqrt(q.shape[-1]))
    if op.args.get("is_causal"):
        keep = torch.ones(scores.shape[-2:], dtype=torch.bool).tril()
        scores = scores.masked_fill(~keep, -torch.inf)
    mask = op["attn_mask"] if "attn_mask" in op.args else op["attn_bias"]
    if isinstance(mask, Tensor):
        scores = scores.masked_fill(~mask, -torch.inf) if mask.dtype == torch.bool else scores + mask
    p = scores.softmax(-1)
    return torch.where(p.isnan(), torch.zeros((), dtype=p.dtype), p)  # a row masked whole attends to nothing


def _attention_slack(op: Op, p: Tensor) -> None:
    """Rounding of attention: sums over the keys, and the relative error of the pattern, which is that of its scores."""
    q, k, v = op["query"], op["key"], op["value"]
    groups = q.shape[-3] // v.shape[-3]
    scale = op.args.get("scale") or 1 / math.sqrt(q.shape[-1])
    reach = float((q.abs() @ k.abs().repeat_interleave(groups, -3).transpose(-1, -2)).max()) * abs(scale)
    size = op.cot.abs() * (p @ v.abs().repeat_interleave(groups, -3))
    op.size(size, k.shape[-2] + 32 + 2 * reach * (q.shape[-1] + 4))


@rule(
    "aten._scaled_dot_product_flash_attention_for_cpu", "aten._scaled_dot_product_efficient_attention",
    "aten._scaled_dot_product_flash_attention", "aten._scaled_dot_product_attention_math",
    "aten._scaled_dot_product_cudnn_attention", freezes="softmax patterns and sigmoid gates",
)  # fmt: skip
def attention(op: Op) -> Flow:
    """``softmax(q k^T / sqrt(d)) v``, linear in v once the pattern is held."""
    if op.args.get("dropout_p") or len([c for c in op.cots[1:2] if c is not None]):
        raise Opaque
    shape = op.shape("value")
    p = pattern(op)
    flow = p.transpose(-1, -2) @ op.cot
    _attention_slack(op, p)
    if p.shape[-3] != shape[-3]:  # grouped heads share a value
        flow = flow.unflatten(-3, (shape[-3], p.shape[-3] // shape[-3])).sum(-3)
    return {"value": flow}
