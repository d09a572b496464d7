"""Finding the residual stream of a net, and what writes into it, from the data flow alone.

A residual add is ``x + f(x)``: an addition of two signals of the result's shape, one of which (the skip) is an ancestor
of the other (the write), with a matrix product or a convolution between. Nothing is asked of module names or classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from weightwalk.readings.account.graph import ATTENTION, MATRIX, MOVES, NORMS, POINTWISE, STATISTICS, Graph
from weightwalk.walks.model import Ref, Step


@dataclass(frozen=True, slots=True)
class Heads:
    """Where the heads of one attention lie: along `axis` of value `vid`, every `heads` places (a folded batch)."""

    write: int
    vid: int
    heads: int
    axis: int


@dataclass(frozen=True, slots=True)
class Neurons:
    """Where the hidden units of one feed-forward block lie: value `vid` has one unit per index of `axis`."""

    write: int
    vid: int
    axis: int


def _operands(graph: Graph, step: Step, signal: Sequence[int]) -> tuple[int, int] | None:
    """The two signals of an addition, if it is one of two signals of the result's shape."""
    if graph.bases[step.index] not in ("add",) or len(step.args) < 2:
        return None
    a, b = step.args[0], step.args[1]
    if not (isinstance(a, Ref) and isinstance(b, Ref)):
        return None
    results = graph.results(step)
    if len(results) != 1 or not (signal[a.value] and signal[b.value]):
        return None
    shape = graph.value(results[0]).shape
    if not shape or any(graph.value(v).shape != shape for v in (a.value, b.value)):
        return None
    return a.value, b.value


class Stream:
    """The residual stream of a walk: `writes` into it and the terms of its `base`, in the order of the walk."""

    def __init__(self, graph: Graph, signal: Sequence[int]) -> None:
        self.graph = graph
        self.signal = signal
        self.adds: dict[int, tuple[int, int]] = {}  # value of a residual add -> (skip, write)
        for step in graph.steps:
            if step.phase in ("forward", "loss"):
                self._look_at(step)
        self.writes: list[int] = []
        self.bases: list[int] = []
        for skip, write in self.adds.values():
            self._expand(write, self.writes)
            self._base(skip)

    def _look_at(self, step: Step) -> None:
        pair = _operands(self.graph, step, self.signal)
        if pair is None:
            return
        values = self.graph.values
        early, late = sorted(pair, key=lambda v: -1 if values[v].producer is None else int(values[v].producer or 0))
        if early == late:
            return
        chain = list(self.graph.through(early, self.signal, parts=False))
        if all(len(self.graph.consumers(v)) < 2 for v in chain):
            return  # nothing branches off the skip: it is none
        if self.graph.between(late, chain[-1]) & (MATRIX | ATTENTION):
            self.adds[self.graph.results(step)[0]] = (early, late)

    def _terms(self, vid: int) -> tuple[int, int] | None:
        """The operands of a plain addition behind `vid`, seen through moves."""
        step = self.graph.producer(self.graph.root(vid, self.signal))
        if step is None or self.graph.results(step)[0] in self.adds:
            return None
        return _operands(self.graph, step, self.signal)

    def _expand(self, vid: int, into: list[int]) -> None:
        """`vid`, or the terms of which it is a plain sum (parallel blocks)."""
        terms = self._terms(vid)
        if terms is None:
            if vid not in into:
                into.append(vid)
            return
        for term in terms:
            self._expand(term, into)

    def _base(self, vid: int) -> None:
        """Where a stream starts: follow the skip back through moves, norms and gates to sums, and take their terms."""
        at, seen = vid, 0
        while seen < 1000:
            seen += 1
            at = self.graph.root(at, self.signal)
            if at in self.adds:
                return  # the stream goes on below
            step = self.graph.producer(at)
            name = "" if step is None else self.graph.bases[step.index]
            if step is None or name not in NORMS | POINTWISE | {"add", "cat", "mul", "div", "sub"}:
                break
            carried = [v for v in dict.fromkeys(self.graph.flows_in(step)) if self.signal[v]]
            if len(carried) != 1:
                carrier = self._carrier(step, carried)
                if carrier is None and name in ("add", "cat"):
                    for v in carried:
                        self._base(v)
                    return
                if carrier is None:
                    break
                carried = [carrier]
            vid = at = carried[0]
        if vid not in self.bases:
            self.bases.append(vid)

    def _carrier(self, step: Step, carried: list[int]) -> int | None:
        """In a norm written out, what is normalised: ``x`` in ``x * rsqrt(...)``, ``x / std``, ``x - mean``."""
        if len(carried) != 2:
            return None
        name, made = (
            self.graph.bases[step.index],
            [self.graph.made_by(self.graph.root(v, self.signal)) for v in carried],
        )
        if name == "mul" and (made[0] in STATISTICS) != (made[1] in STATISTICS):
            return carried[1] if made[0] in STATISTICS else carried[0]
        if name == "div" and made[1] in ("sqrt", "std", "linalg_vector_norm", "clamp_min", "add"):
            return carried[0]
        if name == "sub" and made[1] == "mean":
            return carried[0]
        return None

    # Inside the writes ---------------------------------------------------------------------------------------------

    def _linear_behind(self, write: int) -> tuple[Step, int] | None:
        """The linear step whose output is `write` (through moves, norms, biases), and its activation."""
        at = write
        for _ in range(20):
            at = self.graph.root(at, self.signal)
            step = self.graph.producer(at)
            if step is None:
                return None
            carried = [v for v in dict.fromkeys(self.graph.flows_in(step)) if self.signal[v]]
            if self.graph.bases[step.index] in MATRIX:
                return (step, carried[0]) if len(carried) == 1 else None
            if self.graph.bases[step.index] not in NORMS | {"add", "mul", "div", "sub"}:
                return None
            carrier = carried[0] if len(carried) == 1 else self._carrier(step, carried)
            if carrier is None:
                return None
            at = carrier
        return None

    def inside(self, write: int) -> Heads | Neurons | None:
        """The heads or the neurons from which a write is made by its last linear map, if it has such."""
        found = self._linear_behind(write)
        if found is None:
            return None
        step, activation = found
        chain = list(self.graph.through(activation, self.signal))
        source = self.graph.producer(chain[-1])
        if source is None:
            return None
        name = self.graph.bases[source.index]
        if name in ATTENTION or (name in ("bmm", "matmul", "baddbmm") and self._pattern(source)):
            return self._heads(write, activation, chain)
        carried = [v for v in self.graph.flows_in(source) if self.signal[v]]
        if name in POINTWISE or (name == "mul" and len(carried) == 2):
            axis = 1 if "convolution" in self.graph.bases[step.index] else -1
            return Neurons(write, activation, axis)
        return None

    def _pattern(self, step: Step) -> bool:
        """Whether a product has a softmax among its factors."""
        return any(
            self.graph.made_by(v) in ("softmax", "safe_softmax")
            for factor in self.graph.flows_in(step)
            for v in self._through_moves(factor)
        )

    def _through_moves(self, vid: int):
        for _ in range(20):
            yield vid
            step = self.graph.producer(vid)
            if step is None or self.graph.bases[step.index] not in MOVES | {"mul", "div"}:
                return
            vid = self.graph.flows_in(step)[0]

    def _heads(self, write: int, activation: int, chain: list[int]) -> Heads | None:
        width, source = self.graph.value(activation).shape[-1], self.graph.value(chain[-1])
        size = source.shape[-1]
        if width % size or source.size != self.graph.value(activation).size:
            return None
        heads = width // size
        for vid in reversed(chain):
            shape = self.graph.value(vid).shape
            if len(shape) == 4 and shape[-1] == size:
                for axis in (1, 2):
                    if shape[axis] == heads:
                        return Heads(write, vid, heads, axis)
        if len(source.shape) == 3 and source.shape[0] % heads == 0:
            return Heads(write, chain[-1], heads, 0)
        return None
