"""Who gets the contribution of a product of two signals.

``a * b`` is linear in each factor while the other is held. Whatever share `s` goes to `a`, ::

    <cot, a b> = s <cot b, a> + (1 - s) <cot a, b>

so every share conserves; which one tells the truth that a reader wants is a convention. Ours, in this order:

1. what the caller says for this step (`split={"h.3.attn/bmm": "left"}`);
2. in the backward pass, whose ops are linear in the gradient, the gradient takes all;
3. a factor that is a softmax, a sigmoid or a reciprocal norm is a pattern, a gate, a statistic: it is frozen;
4. a factor computed from the other (``x * rsqrt(mean(x^2))``, ``x * (1 + tanh(x))``) is a gate of the other: frozen;
5. `split`: ``"even"`` halves it (SwiGLU, attention scores).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from weightwalk.errors import UsageError
from weightwalk.readings.account.graph import GATES, STATISTICS

if TYPE_CHECKING:
    from weightwalk.readings.account.rules.base import Key, Op

NAMED = ("even", "left", "right", "gradient", "activation", "weight")
Split = str | float | Mapping[str, str | float]


def check_split(split: Split) -> None:
    """Refuse a `split` that means nothing.

    Raises:
        UsageError: It is neither a name, nor a share of the left factor, nor a mapping of addresses to these.
    """
    entries = split.values() if isinstance(split, Mapping) else [split]
    for entry in entries:
        share = isinstance(entry, (int, float)) and not isinstance(entry, bool) and 0 <= entry <= 1
        if not share and entry not in NAMED:
            raise UsageError(
                f"split= says how a product of two signals is shared out; {entry!r} is no way to: expected one of "
                f"{', '.join(NAMED)}, the left factor's share from 0 to 1, or a mapping of step addresses to these."
            )


def share_of_left(op: Op, left: Key, right: Key) -> float:
    """The share of the left factor in a product; what is frozen is noted on `op`."""
    a, b = op.value_id(left), op.value_id(right)
    if not op.signal(left) or not op.signal(right) or a is None or b is None:
        return 1.0 if op.signal(left) else 0.0
    said = _said(op)
    if said is not None:
        return _named(op, said, a, b)
    graph, signal = op.sweep.graph, op.sweep.signal
    values, steps = op.sweep.values, op.sweep.steps
    if op.step.phase == "backward" and op.sweep.split != "activation":
        late = [steps[p].phase == "backward" if (p := values[v].producer) is not None else False for v in (a, b)]
        if late[0] != late[1]:
            op.freeze("backward pass: activations and weights, the gradient flows")
            return 1.0 if late[0] else 0.0
    kinds = [graph.made_by(graph.root(v, signal, parts=True)) for v in (a, b)]
    for frozen, text in ((GATES, "softmax patterns and sigmoid gates"), (STATISTICS, "norms (reciprocal factors)")):
        if (kinds[0] in frozen) != (kinds[1] in frozen):
            op.freeze(text)
            return 0.0 if kinds[0] in frozen else 1.0
    gate = _gate(op, a, b)
    if gate is not None:
        op.freeze("factors computed from the other factor (gates and norms)")
        return gate
    return _named(op, op.sweep.split if not isinstance(op.sweep.split, Mapping) else "even", a, b)


def _gate(op: Op, a: int, b: int) -> float | None:
    """Share of `a` if one factor is a function of the other, else None."""
    graph, signal = op.sweep.graph, op.sweep.signal
    if graph.root(a, signal) == graph.root(b, signal):
        return 0.5  # a square up to a factor
    (root_a, linear_a), (root_b, linear_b) = graph.pointwise_root(a, signal), graph.pointwise_root(b, signal)
    if root_a == root_b and linear_a != linear_b:
        return 1.0 if linear_a else 0.0
    ends = graph.root(a, signal), graph.root(b, signal)
    free = [op.sweep.values[v].kind != "parameter" for v in ends]  # a weight tied to an earlier one is no gate
    if free[0] and graph.depends(b, ends[0]):
        return 1.0
    if free[1] and graph.depends(a, ends[1]):
        return 0.0
    return None


def _said(op: Op) -> str | float | None:
    """What the caller said for this very step."""
    if not isinstance(op.sweep.split, Mapping):
        return None
    address = op.step.address
    return next((share for regex, share in op.sweep.split_patterns if regex.fullmatch(address)), None)


def _named(op: Op, split: str | float, a: int, b: int) -> float:
    if isinstance(split, (int, float)):
        op.freeze(f"nothing in products of two signals: {split:g} to the left factor, the rest to the right")
        return float(split)
    if split in ("left", "right"):
        op.freeze(f"the {'right' if split == 'left' else 'left'} factor of products of two signals")
        return 1.0 if split == "left" else 0.0
    if split in ("weight", "activation"):
        walk, graph = op.sweep.walk, op.sweep.graph
        weights = [walk.values[graph.root(v, op.sweep.signal)].kind == "parameter" for v in (a, b)]
        if weights[0] != weights[1]:
            op.freeze(f"the {'activation' if split == 'weight' else 'weight'} in products of weight and activation")
            return 1.0 if weights[0] == (split == "weight") else 0.0
    op.freeze("nothing in products of two signals: half to each")
    return 0.5
