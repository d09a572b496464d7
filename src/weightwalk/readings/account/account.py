"""The verb: from an address and a cut to an account."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from weightwalk.errors import UsageError
from weightwalk.readings.account.cuts import Cut, Plan, name_of, plan_for
from weightwalk.readings.account.engine import Progress, Sweep
from weightwalk.readings.account.facts import Account, Frozen, Row
from weightwalk.readings.account.graph import Graph
from weightwalk.readings.account.products import Split, check_split
from weightwalk.readings.account.tensors import Cotangent, Picked, is_float, products, tensor_of
from weightwalk.walks.address import Selection, Term
from weightwalk.walks.walk import Walk

SMALL = 4_000_000
"""Walks with fewer numbers than this are swept in float64 whatever their dtype."""

SPARSE = 65_536
"""Targets in values with more elements than this start as a few picked entries."""

PRECISIONS = {"float64": torch.float64, "float32": torch.float32}


def account(
    walk: Walk,
    address: str,
    cut: Cut = "modules",
    *,
    split: Split = "even",
    precision: str | None = None,
    progress: Progress | None = None,
) -> Account:
    """One number of a walk as an exact sum of contributions at a cut.

    A cotangent is carried backwards from the number. At each step ``<cot, out> = sum <cot_i, in_i> + constants``, so
    that what is collected at the cut, with the constants, adds up to the number; rounding leaves the remainder.

    Args:
        walk: The walk.
        address: One number, or a weighted sum or difference of numbers: ``'logits[-1, 3] - logits[-1, 5]'``. Numbers
            of the backward and update phases too: ``'fc1.weight.updated[0, 1] - fc1.weight[0, 1]'``.
        cut: Where to stop. ``"inputs"`` (elements), ``"tokens"`` (positions), ``"modules"`` (what writes into the
            residual stream), ``"heads"``, ``"neurons"``, ``"heads+neurons"`` (the writes taken apart),
            ``"parameters"`` (products go half to the weight, half on: see `split`); an address or glob of values; or
            a list of any of these.
        split: How a product of two signals is shared out where no convention freezes one of them: ``"even"``,
            ``"left"``, ``"right"``, ``"weight"`` or ``"activation"`` (for ``cut="parameters"``), ``"gradient"`` or
            ``"activation"`` (for the backward pass; the gradient is the default), the left factor's share as a
            number, or a mapping of step addresses (globs) to these.
        precision: dtype of the sweep, ``"float64"`` or ``"float32"``. None takes float64 for small walks and for walks
            in float64, else float32.
        progress: Called with (steps passed, steps in all).

    Returns:
        The account.

    Raises:
        UsageError: The address does not name one finite number, or an argument is not understood.
        AddressError: The address or the cut names nothing.
        NotKeptError: A number that the sweep needs was not kept.

    Example:
        >>> import torch, weightwalk as ww
        >>> net = torch.nn.Linear(2, 1)
        >>> _ = net.weight.data.copy_(torch.tensor([[2.0, -1.0]])), net.bias.data.fill_(0.5)
        >>> a = ww.walk(net, torch.tensor([[3.0, 4.0]])).account("out[0, 0]", cut="inputs")
        >>> [(r.label, r.value) for r in a.rows], a.remainder
        ([('in[0, 0]', 6.0), ('in[0, 1]', -4.0), ('bias', 0.5)], 0.0)
    """
    check_split(split)
    selection = walk.select(address)
    target, number = _target(selection)
    graph = Graph(walk)
    plan = plan_for(graph, cut)
    dtype = _dtype(walk, precision)
    targets = {t.value.id for t in selection.terms}
    signal = graph.reached([vid for vid in plan.sites if vid not in targets])
    stops = {vid: site.mask for vid, site in plan.sites.items()}
    sweep = Sweep(graph, signal, stops, split, dtype)
    _seed(sweep, target)
    sweep.run(progress)
    return _finish(address, number, cut, split, plan, sweep)


# The target ----------------------------------------------------------------------------------------------------------


def _target(selection: Selection) -> tuple[list[tuple[Term, torch.Tensor]], float]:
    """The terms with the indices of their elements, and the number that they make.

    Raises:
        UsageError: It is not one number, not a real one, or not finite.
    """
    terms, numbers = [], []
    for term in selection.terms:
        if not is_float(term.value):
            raise UsageError(
                f"{term.value.address} holds {term.value.dtype}; only real numbers (floats) can be accounted for."
            )
        index = np.arange(term.value.size, dtype=np.int64).reshape(term.value.shape)[term.index]
        if index.size != 1:
            raise UsageError(
                f"{selection.address} names {index.size:,} numbers and an account is of one: index it down to one, "
                f"such as {term.value.address}[{', '.join(['0'] * max(len(term.value.shape), 1))}], or add up several."
            )
        stored = float(tensor_of(term.value.walk, term.value)[term.index])
        numbers.append(term.coefficient * stored)
        terms.append((term, torch.from_numpy(np.ascontiguousarray(index).reshape(-1))))
    number = math.fsum(numbers) if all(map(math.isfinite, numbers)) else math.nan
    if not math.isfinite(number):
        what = "infinite or not a number" if len(numbers) > 1 else ("NaN" if numbers[0] != numbers[0] else "infinite")
        began = _origin(selection)
        where = f"it began at {began}" if began else "it came in with the inputs or the weights"
        raise UsageError(f"{selection.address} is {what}, which is no sum of contributions; {where}.")
    return terms, number


def _origin(selection: Selection) -> str:
    """The first step on the way to the target that made a number that is not finite out of finite ones."""
    walk = selection.terms[0].value.walk
    todo, seen, first = [t.value for t in selection.terms], set(), None
    while todo:
        step = todo.pop().step
        if step is None or step.index in seen:
            continue
        seen.add(step.index)
        inputs = [v for v in step.inputs() if is_float(v) and v.kept]
        todo += inputs
        whole = all(bool(tensor_of(walk, v).isfinite().all()) for v in inputs)
        broken = any(not bool(tensor_of(walk, v).isfinite().all()) for v in step.results() if is_float(v) and v.kept)
        if whole and broken and (first is None or step.index < first.index):
            first = step
    return f"{first.address} ({first.op})" if first is not None else ""


def _seed(sweep: Sweep, target: list[tuple[Term, torch.Tensor]]) -> None:
    for term, flat in target:
        value = term.value
        values = torch.full((1,), term.coefficient, dtype=sweep.dtype)
        cot: Cotangent = Picked(flat, values, value.shape)
        if value.size < SPARSE:
            cot = cot.dense()
        sweep.seed(value.id, cot)


def _dtype(walk: Walk, precision: str | None) -> torch.dtype:
    if precision is not None:
        if precision not in PRECISIONS:
            raise UsageError(f"precision= is 'float64' or 'float32', not {precision!r}.")
        return PRECISIONS[precision]
    floats = [v for v in walk.values if is_float(v)]
    if any(v.dtype == "float64" for v in floats) or sum(v.size for v in floats) < SMALL:
        return torch.float64
    return torch.float32


# The account ---------------------------------------------------------------------------------------------------------


def _finish(address: str, number: float, cut: Cut, split: Split, plan: Plan, sweep: Sweep) -> Account:
    terms: list[tuple[str, str, float, str]] = []
    cotangents: dict[str, np.ndarray] = {}
    for vid, cot in sweep.arrived.items():
        site = plan.sites[vid]
        product = products(cot, sweep.tensor(vid))
        terms += [(a, label, v, "cut") for a, label, v in site.rows(product)]
        cotangents[name_of(site.value)] = cot.numpy()
    terms += [(t.address, t.label, math.fsum(t.parts), t.kind) for t in sweep.terms.values()]
    remainder, tail = remainders(number, [t[2] for t in terms])
    scale = math.fsum(abs(t[2]) for t in terms)
    rows = [
        Row(a, label, value, kind, value / number if number else None, abs(value) / scale if scale else 0.0)
        for a, label, value, kind in terms
    ]
    rows.sort(key=lambda r: -abs(r.value))
    return Account(
        address=address,
        number=number,
        cut=cut if isinstance(cut, str) else ", ".join(cut),
        rows=tuple(rows),
        remainder=remainder,
        tail=tail,
        split=_say(split),
        precision=str(sweep.dtype).removeprefix("torch."),
        frozen=tuple(Frozen(t, n) for t, n in sorted(sweep.frozen.items(), key=lambda x: (-x[1], x[0]))),
        residuals=tuple(sweep.residuals),
        unchecked=sweep.unchecked,
        cotangents=cotangents,
        notes=tuple(plan.notes),
        steps=sweep.passed,
    )


def _say(split: Any) -> str:
    if isinstance(split, Mapping):
        return ", ".join(f"{k}: {v}" for k, v in split.items())
    return str(split)


def remainders(number: float, terms: list[float]) -> tuple[float, tuple[float, ...]]:
    """`number` minus the exact sum of `terms`, as a float and what that float cannot hold, so that all add up to
    `number` to the last bit.
    """
    parts = [math.fsum([number, *(-t for t in terms)])]
    while math.fsum([*terms, *parts]) != number:
        parts.append(math.fsum([number, *(-t for t in terms), *(-p for p in parts)]))
    return parts[0], tuple(parts[1:])
