"""What the gradient promised of the loss, and what the loss did."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from weightwalk.learning.nudges.blaming import Parameter
from weightwalk.learning.nudges.facts import Blame, Promise
from weightwalk.learning.nudges.running import Losses
from weightwalk.readings.narrate_decimals import closed, decimal, product
from weightwalk.readings.narrate_facts import Sum, Term

NOISE = "The net draws random numbers as it runs; it drew the same ones before and after."


def promise(losses: Losses, found: Sequence[Parameter], shown: Sequence[Blame], random: bool) -> Promise:
    """The loss before and after, ``Σ g Δw``, and half of ``Δwᵀ H Δw`` by one product of the Hessian with the step."""
    old, new = weights(found, "before"), weights(found, "after")
    losses.set(new)
    after = losses.value()
    losses.set(old)
    before = losses.value()
    first = first_order(found)
    second, note = _second(losses, [torch.from_numpy(p.nudge) for p in found])
    remarks = " ".join(n for n in (NOISE * random, note) if n)
    return Promise(before, after, after - before, first, second, _told(first, shown, found), losses.precision, remarks)


def weights(found: Sequence[Parameter], when: str) -> list[Tensor]:
    """The recorded weights before or after the step."""
    return [torch.from_numpy(np.array(getattr(p, when), dtype=_numpy(p))) for p in found]


def _numpy(parameter: Parameter) -> type:
    """Half precision has no place in torch.from_numpy; float32 holds all of its numbers."""
    return np.float64 if parameter.before.dtype == np.float64 else np.float32


def first_order(found: Sequence[Parameter]) -> float:
    """``Σ ∂loss/∂w · Δw`` over all weights, in float64."""
    return float(sum(p.gradient.reshape(-1).astype(np.float64) @ p.nudge.reshape(-1) for p in found))


def _second(losses: Losses, step: list[Tensor]) -> tuple[float | None, str]:
    """Half the curvature along the step, where the weights are now."""
    from torch.nn.attention import SDPBackend, sdpa_kernel

    step = [s.to(p.dtype) for s, p in zip(step, losses.parameters, strict=True)]
    try:
        with (
            torch.inference_mode(False),
            torch.enable_grad(),
            sdpa_kernel(SDPBackend.MATH),
        ):  # fused ones bend only once
            loss = losses.tensor()
            gradient = torch.autograd.grad(loss, losses.parameters, create_graph=True, allow_unused=True)
            along = sum(
                ((g * s).sum() for g, s in zip(gradient, step, strict=True) if g is not None),
                torch.zeros((), dtype=loss.dtype),
            )
            if not along.requires_grad:
                return 0.0, ""
            product_ = torch.autograd.grad(along, losses.parameters, allow_unused=True)
    except (RuntimeError, NotImplementedError) as error:
        if isinstance(error, torch.OutOfMemoryError):
            raise
        return None, f"The curvature along the step could not be had: {str(error).splitlines()[0]}"
    bend = sum(float((h.double() * s.double()).sum()) for h, s in zip(product_, step, strict=True) if h is not None)
    return 0.5 * bend, ""


def _told(first: float, shown: Sequence[Blame], found: Sequence[Parameter]) -> Sum:
    terms = []
    for b in sorted(shown, key=lambda b: -abs(b.promised)):
        factors = (decimal(np.float64(b.gradient)), decimal(np.float64(b.nudge)))
        terms.append(Term(b.label, product(factors), factors))
    others = sum(p.before.size for p in found) - len(shown)
    if others:
        rest = first - sum(b.promised for b in shown)
        terms.append(Term(f"the other {others:,} weights", decimal(np.float64(rest), 17), kind="rest", count=others))
    return closed("promised change of the loss", terms, decimal(np.float64(first)))
