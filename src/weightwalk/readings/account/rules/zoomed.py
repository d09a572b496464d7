"""Fused ops without a rule: the account goes through the walk of their decomposition (see ``step.zoom()``)."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from weightwalk.errors import WeightwalkError
from weightwalk.readings.account.graph import Graph
from weightwalk.readings.account.rules.base import Flow, Key, Op, Opaque, overload
from weightwalk.readings.account.rules.generic import gradients
from weightwalk.recorder.decompositions import table


def decomposition(op: str) -> Callable[..., Any] | None:
    """How a fused op comes apart, as the recorder's zoom or torch has it."""
    found = table().get(op)
    if found is not None:
        return found
    from torch._decomp import decomposition_table

    fn = overload(op)
    return decomposition_table.get(fn) if fn is not None else None


def inside(op: Op) -> Flow:
    """The flow of a fused op: a sweep through its decomposition on its recorded inputs, down to these inputs.

    Raises:
        Opaque: It has no decomposition, or that does not run.
    """
    from weightwalk.readings.account.engine import Sweep
    from weightwalk.recorder import walk

    apart = decomposition(op.step.op)
    if apart is None or op.sweep.depth > 3:
        raise Opaque
    keys = list(op.tensors())
    fed = [op[k].clone() for k in keys]  # each argument a storage of its own, so that each is a value of its own
    args, kwargs = op.arguments(dict(zip(keys, fed, strict=True)))
    kwargs = {k: v for k, v in kwargs.items() if k not in ("device", "layout", "pin_memory")}

    def fused(*tensors: Tensor) -> Any:
        return apart(*args, **kwargs)

    try:
        with torch.no_grad():
            inner = walk(fused, *fed)
    except (WeightwalkError, RuntimeError, TypeError, NotImplementedError) as error:
        raise Opaque from error
    ids = _ids(inner, fed)
    signals = [k for k in keys if op.signal(k)]
    if op.step.phase == "backward":
        signals = gradients(op, signals)
    graph = Graph(inner)
    signal = graph.reached([i for i, k in zip(ids, keys, strict=True) if k in signals and i is not None])
    sweep = Sweep(graph, signal, {i: None for i in ids if i is not None}, op.sweep.split, op.sweep.dtype)
    sweep.depth = op.sweep.depth + 1
    for k, cot in enumerate(op.cots):
        vid = inner.given.get(f"out.{k}", inner.given.get("out") if k == 0 else None)
        if cot is None:
            continue
        if vid is None:
            raise Opaque
        sweep.seed(vid, op.cot_of(k).reshape(inner.values[vid].shape))
    sweep.run()
    return _outcome(op, sweep, keys, ids)


def _ids(inner: Any, fed: list[Tensor]) -> list[int | None]:
    """The inner value of each argument; None where the decomposition never read it."""
    names = ["in", *(f"in.tensors.{i}" for i in range(1, len(fed)))]
    return [inner.given.get(n) for n in names[: len(fed)]]


def _outcome(op: Op, sweep: Any, keys: list[Key], ids: list[int | None]) -> Flow:
    """What the inner sweep found, in the terms of the outer one."""
    for text in sweep.frozen:
        op.freeze(text)
    op.size(math.fsum(r.bound for r in sweep.residuals), 2 / sweep.unit)
    flow: Flow = {k: sweep.arrived[i] for k, i in zip(keys, ids, strict=True) if i is not None and i in sweep.arrived}
    owners = {sweep.values[i].address: k for k, i in zip(keys, ids, strict=True) if i is not None}
    for term in sweep.terms.values():
        amount = math.fsum(term.parts)
        owner = owners.get(term.address) if term.kind == "constant" else None
        if term.kind == "opaque":
            raise Opaque
        if owner is not None:
            op.credit(owner, amount)
        else:
            op.constant(amount, term.label.split(" at ")[0])
    return flow
