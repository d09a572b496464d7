"""Normalisation: statistics frozen, everything else linear.

The mean is linear in x, so only the scale ``1/std`` is frozen: ``y = (x - mean(x)) r w + b`` with r held.
"""

from __future__ import annotations

import torch
from torch import Tensor

from weightwalk.readings.account.rules.base import Flow, Op, Opaque, rule
from weightwalk.readings.account.tensors import fold


def _centred(cot: Tensor, dims: tuple[int, ...]) -> Tensor:
    """The transpose of ``x - mean(x)``, which is its own."""
    return cot - cot.mean(dims, keepdim=True)


@rule("aten.native_layer_norm", freezes="standard deviations of norms")
def layer_norm(op: Op) -> Flow:
    """``y = (x - mean(x)) r w + b`` over the last axes."""
    dims = tuple(range(-len(op["normalized_shape"]), 0))
    x, weight, cot = op["input"], op["weight"], op.cot
    mean, rstd = _stats(op, x, dims)
    op.size(
        (cot if weight is None else cot * weight).abs() * rstd * (x.abs() + mean.abs()),
        torch.Size(op["normalized_shape"]).numel() + 16,
    )
    flow: Flow = {}
    split = op.signal("weight") and op.signal("input")
    half = 0.5 if split else 1.0
    if op.signal("input") or not op.signal("weight"):
        scaled = cot if weight is None else cot * weight
        flow["input"] = _centred(scaled * rstd * half, dims)
    if op.signal("weight"):
        flow["weight"] = fold(cot * (x - mean) * rstd * half, op.shape("weight"))
    if op.given("bias"):
        flow["bias"] = fold(cot, op.shape("bias"))
    return flow


def _stats(op: Op, x: Tensor, dims: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    """Mean and reciprocal deviation, as recorded where they were kept in a shape that fits, else computed again."""
    mean = x.mean(dims, keepdim=True)
    rstd = (x.var(dims, correction=0, keepdim=True) + op["eps"]).rsqrt()
    return mean, rstd


@rule("aten._fused_rms_norm", "aten.rms_norm", freezes="root mean squares of norms")
def rms_norm(op: Op) -> Flow:
    """``y = x r w`` with ``r = 1 / sqrt(mean(x^2) + eps)`` held."""
    dims = tuple(range(-len(op["normalized_shape"]), 0))
    x, weight, eps = op["input"], op["weight"], op["eps"]
    r = (x.square().mean(dims, keepdim=True) + (torch.finfo(x.dtype).eps if eps is None else eps)).rsqrt()
    op.size((op.cot * x * r * (1 if weight is None else weight)).abs(), 2 * torch.Size(op["normalized_shape"]).numel())
    if weight is not None and op.signal("weight"):
        half = 0.5 if op.signal("input") else 1.0
        flow: Flow = {"weight": fold(op.cot * x * r * half, op.shape("weight"))}
        return {**flow, "input": op.cot * weight * r * half} if op.signal("input") else flow
    return {"input": op.cot * r if weight is None else op.cot * weight * r}


@rule("aten.native_group_norm", freezes="standard deviations of norms")
def group_norm(op: Op) -> Flow:
    """``y = (x - mean(x)) r w + b`` over each group of channels."""
    x, cot, groups = op["input"], op.cot, op["group"]
    n, c = x.shape[0], x.shape[1]
    grouped = (n, groups, -1)
    rstd = (x.reshape(grouped).var(-1, correction=0, keepdim=True) + op["eps"]).rsqrt()
    channel = (1, c) + (1,) * (x.dim() - 2)
    weight = op["weight"]
    scaled = cot if weight is None else cot * weight.reshape(channel)
    spread = x.abs().reshape(grouped)
    op.size(scaled.abs().reshape(grouped) * rstd * (spread + spread.mean(-1, keepdim=True)), spread.shape[-1] + 16)
    flow: Flow = {"input": _centred(scaled.reshape(grouped) * rstd, (-1,)).reshape(x.shape)}
    if op.given("bias"):
        flow["bias"] = cot.sum([d for d in range(x.dim()) if d != 1])
    return flow


@rule(
    "aten.native_batch_norm", "aten.cudnn_batch_norm", "aten.miopen_batch_norm", "aten._native_batch_norm_legit",
    "aten._native_batch_norm_legit_no_training", "aten.batch_norm",
)  # fmt: skip
def batch_norm(op: Op) -> Flow:
    """Evaluation: ``y = (x - m) r w + b`` with the running statistics m and r, an affine map. Training: the batch's own
    mean, linear in x, and its deviation, frozen.
    """
    x, cot = op["input"], op.cot
    channel = (1, x.shape[1]) + (1,) * (x.dim() - 2)
    dims = tuple(d for d in range(x.dim()) if d != 1)
    eps = op.args.get("eps", op.args.get("epsilon"))
    training = op.args.get("training") and "no_training" not in op.step.op
    weight = op["weight"]
    if training or not op.given("running_var"):
        op.freeze("standard deviations of norms")
        r = (x.var(dims, correction=0, keepdim=True) + eps).rsqrt()
    else:
        r = (op["running_var"] + eps).rsqrt().reshape(channel)
    scaled = cot * r if weight is None else cot * r * weight.reshape(channel)
    count = x.numel() // x.shape[1] if training else 0
    op.size(scaled.abs() * (x.abs() + x.abs().mean(dims, keepdim=True)), count + 16)
    if not training and op.given("running_mean"):
        op.size(scaled.abs() * op["running_mean"].abs().reshape(channel), 16)
    flow: Flow = {"input": _centred(scaled, dims) if training else scaled}
    if not training and op.given("running_mean"):
        flow["running_mean"] = -scaled.sum(dims)
    if op.given("bias"):
        flow["bias"] = cot.sum(dims)
    return flow


@rule("aten.var", "aten.std", "aten.var_mean", "aten.std_mean", freezes="one factor of the squares in a variance")
def variance(op: Op) -> Flow:
    """``var = sum (x - m)^2 / (n - c)``: one factor held, the other passed; ``std = var / std``. Means are linear."""
    x = op["self"]
    dims = op.args.get("dim")
    axes = tuple(range(x.dim())) if dims is None else tuple([dims] if isinstance(dims, int) else dims)
    correction = op.args.get("correction")
    if correction is None:
        correction = 0 if op.args.get("unbiased") is False else 1
    count = 1
    for a in axes:
        count *= x.shape[a]
    if count - correction <= 0:
        raise Opaque
    centred = x - x.mean(axes, keepdim=True)

    def spread(cot: Tensor) -> Tensor:
        if not op.args.get("keepdim"):
            for a in sorted(d % max(x.dim(), 1) for d in axes):
                cot = cot.unsqueeze(a)
        return cot

    flow = torch.zeros_like(x)
    if op.cots[0] is not None:
        op.size(spread(op.cot).abs() * x.abs().square() / (count - correction), 2 * count)
        weight = centred / (count - correction)
        if "std" in op.step.op:
            std = x.std(axes, correction=correction, keepdim=True)
            weight = torch.where(std > 0, weight / std, torch.zeros_like(weight))
        flow = flow + spread(op.cot) * weight
    if len(op.cots) > 1 and op.cots[1] is not None:
        flow = flow + spread(op.cot_of(1)) / count
    return {"self": flow}
