"""Losses."""

from __future__ import annotations

import torch

from weightwalk.readings.account.rules.base import Flow, Op, rule
from weightwalk.readings.account.rules.generic import vjp

REDUCE = {0: "none", 1: "mean", 2: "sum"}


@rule("aten.nll_loss_forward", "aten.nll_loss2d_forward", "aten.nll_loss", "aten.nll_loss2d")
def nll(op: Op) -> Flow:
    """Minus the log-probability of each target: a pick, linear."""
    return vjp(op, ["self"])


def _per_element(op: Op):
    reduction = op.args.get("reduction")
    cot = op.cot
    shape = torch.broadcast_shapes(op.shape("self"), op.shape("target"))
    n = torch.Size(shape).numel()
    return cot.expand(shape) / n if reduction in (None, 1) else cot.expand(shape)


@rule("aten.mse_loss", freezes="one factor of a square")
def mse(op: Op) -> Flow:
    """``d^2`` with ``d = x - t``: one factor held, the other passed to x and t."""
    flow = _per_element(op) * (op["self"] - op["target"])
    return {"self": flow, "target": -flow}


@rule("aten.binary_cross_entropy_with_logits", freezes="slopes of nonlinear functions (secants from 0)")
def bce_with_logits(op: Op) -> Flow:
    """``l(x) = l(0) + s x``, ``s = (l(x) - l(0)) / x``; the target is held."""
    x, t = op["self"], op["target"]
    weight = op["weight"] if op.given("weight") else None
    pos = op["pos_weight"] if op.given("pos_weight") else None

    def loss(z: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.binary_cross_entropy_with_logits(z, t, weight, reduction="none", pos_weight=pos)

    at0 = loss(torch.zeros_like(x))
    each = _per_element(op)
    op.constant(each * at0, "loss at 0")
    one = torch.ones((), dtype=x.dtype)
    return {"self": each * torch.where(x == 0, 0 * x, (loss(x) - at0) / torch.where(x == 0, one, x))}


@rule("aten.huber_loss", "aten.smooth_l1_loss", freezes="slopes of nonlinear functions (secants from 0)")
def robust(op: Op) -> Flow:
    """``l(d) = (l(d) / d) d`` with ``d = x - t``."""
    d = op["self"] - op["target"]
    name = "huber_loss" if "huber" in op.step.op else "smooth_l1_loss"
    width = op.args.get("delta", op.args.get("beta"))
    keyword = {"delta": width} if name == "huber_loss" else {"beta": width}
    each = getattr(torch.nn.functional, name)(d, torch.zeros_like(d), reduction="none", **keyword)
    one = torch.ones((), dtype=d.dtype)
    flow = _per_element(op) * torch.where(d == 0, 0 * d, each / torch.where(d == 0, one, d))
    return {"self": flow, "target": -flow}
