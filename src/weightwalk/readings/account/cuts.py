"""Where an account stops: the values of a cut, and the rows that each of them becomes."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from weightwalk.errors import AddressError, UsageError
from weightwalk.readings.account.graph import MOVES, Graph
from weightwalk.readings.account.streams import Heads, Neurons, Stream
from weightwalk.readings.account.tensors import is_float
from weightwalk.walks.address import find_all, is_glob
from weightwalk.walks.model import Value

NAMED = ("inputs", "tokens", "modules", "heads", "neurons", "heads+neurons", "parameters")
Cut = str | Sequence[str]
Terms = list[tuple[str, str, float]]  # address, label, contribution


@dataclass(slots=True)
class Site:
    """One value of a cut: which elements of it are cut (None: all), and how its product becomes rows."""

    value: Value
    rows: Callable[[Tensor], Terms]
    mask: Tensor | None = None


@dataclass(slots=True)
class Plan:
    """The sites of a cut by value id, and remarks on how it was found."""

    sites: dict[int, Site] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def add(self, site: Site) -> None:
        """Cut at a site; of a value that is cut already, at the elements that are not."""
        before = self.sites.setdefault(site.value.id, site)
        if before is site or before.mask is None:
            return
        first, mask = before.mask, None if site.mask is None else before.mask | site.mask
        none = torch.zeros(())

        def rows(product: Tensor) -> Terms:
            zero = none.to(product.dtype)
            return before.rows(torch.where(first, product, zero)) + site.rows(torch.where(first, zero, product))

        self.sites[site.value.id] = Site(site.value, rows, mask)


# Rows ----------------------------------------------------------------------------------------------------------------


def whole(value: Value, address: str | None = None, label: str | None = None) -> Site:
    """One row for the whole value."""
    address = address or name_of(value)

    def rows(product: Tensor) -> Terms:
        return [(address, label or address, float(product.sum(dtype=torch.float64)))]

    return Site(value, rows)


def elements(value: Value) -> Site:
    """One row per element."""

    def rows(product: Tensor) -> Terms:
        name = name_of(value)
        if product.dim() == 0:
            return [(name, name, float(product))]
        axes: list[Sequence[str] | None] = [value.walk.axis_labels(value, a) for a in range(product.dim())]
        out = []
        index = torch.cartesian_prod(*(torch.arange(n) for n in product.shape)).reshape(-1, product.dim())
        for at, amount in zip(index.tolist(), product.reshape(-1).tolist(), strict=True):
            where = f"{name}[{', '.join(map(str, at))}]"
            said: list[str] = [str(labels[i]) for labels, i in zip(axes, at, strict=True) if labels is not None]
            out.append((where, " ".join([where, *said]), amount))
        return out

    return Site(value, rows)


def along(value: Value, axis: int, label: Callable[[int], str], groups: int | None = None) -> Site:
    """One row per index along one axis, summed over the others.

    With `groups`, index i stands for every place ``i, i + groups, i + 2 groups ...`` (heads in a folded batch).
    """
    at = axis % len(value.shape)
    after = ", :" * (len(value.shape) - at - 1)

    def rows(product: Tensor) -> Terms:
        sums = product.transpose(0, at).reshape(product.shape[at], -1).sum(1, dtype=torch.float64)
        step = ""
        if groups is not None and groups != len(sums):
            sums, step = sums.reshape(-1, groups).sum(0), f"::{groups}"
        name = name_of(value)
        return [(f"{name}[{':, ' * at}{i}{step}{after}]", label(i), amount) for i, amount in enumerate(sums.tolist())]

    return Site(value, rows)


def positions(value: Value, ids: Value | None) -> Site:
    """One row per position of a (batch, position, width) value; batch rows that nothing reached are left out."""

    def rows(product: Tensor) -> Terms:
        name = name_of(value)
        lead = product.shape[:-1] if product.dim() > 1 else product.shape
        sums = product.reshape(*lead, -1).sum(-1, dtype=torch.float64)
        after = ", :" * (len(product.shape) - len(lead))
        out = []
        index = torch.cartesian_prod(*(torch.arange(n) for n in lead)).reshape(-1, len(lead))
        alive = product.reshape(lead[0], -1).ne(0).any(1).tolist() if len(lead) > 1 else []
        for at, amount in zip(index.tolist(), sums.reshape(-1).tolist(), strict=True):
            if len(lead) > 1 and lead[0] > 1 and not alive[at[0]]:
                continue
            out.append((f"{name}[{', '.join(map(str, at))}{after}]", token(value, ids, at), amount))
        return out

    return Site(value, rows)


def token(value: Value, ids: Value | None, at: list[int]) -> str:
    """What stands at a position: its token's text, else its id, else its number."""
    walk = value.walk
    labels = walk.labels.get("tokens")
    if isinstance(labels, (list, tuple)) and labels and at[-1] < len(labels) and value.shape[-2] == len(labels):
        return f"{at[-1]} {labels[at[-1]]!r}"
    if ids is not None and ids.kept:
        numbers = ids.numpy().reshape(-1)
        flat = 0
        for i, n in zip(at, value.shape[:-1], strict=True):
            flat = flat * n + i
        if flat < numbers.size:
            vocab = walk.labels.get("vocab")
            number = int(numbers[flat])
            if isinstance(vocab, (list, tuple)) and number < len(vocab):
                return f"{at[-1]} {vocab[number]!r}"
            return f"{at[-1]} (token {number})"
    return f"position {', '.join(map(str, at))}"


# Plans ---------------------------------------------------------------------------------------------------------------


def given_inputs(graph: Graph) -> list[Value]:
    """What came in from outside and is neither parameter nor buffer, if any of it is named as an input."""
    return [v for v in graph.values if v.producer is None and v.kind == "input"]


def outside(graph: Graph) -> list[Value]:
    """The inputs; where none is known by name (a recording of a block of code), what the modules were given from
    outside; where no module ran, every tensor from outside that is no parameter.
    """
    found = given_inputs(graph)
    if found:
        return found
    ids = [vid for call in graph.walk.calls if call.parent == -1 for vid in call.inputs.values()]
    found = [v for vid in dict.fromkeys(ids) if (v := graph.values[vid]).producer is None]
    return found or [v for v in graph.values if v.producer is None and v.kind == "constant"]


def name_of(value: Value) -> str:
    """The address of a value; an input's own where nothing else names it."""
    address = value.address
    if not address.startswith("value "):
        return address
    return next((name for name, vid in value.walk.names.items() if vid == value.id), address)


def author_of(value: Value) -> str:
    """The address of a value as what the outermost module that computed it returned (not one that passed it on)."""
    walk = value.walk
    for call in walk.calls:
        made = value.producer is not None and call.first <= value.producer < call.last
        for key, vid in call.outputs.items() if made and call.path else ():
            names = (call.address, f"{call.address}.out.{key}")
            found = next((n for n in names if vid == value.id and walk.names.get(n) == vid), None)
            if found is not None:
                return found
    return name_of(value)


def lookups(graph: Graph) -> list[tuple[Value, Value]]:
    """(looked-up rows, token ids) of each embedding whose ids are an input, seen through moves only."""
    inputs = {v.id for v in outside(graph) if not is_float(v)}
    same = set(inputs)
    found = []
    for step in graph.steps:
        refs = [v.id for v in step.inputs()]
        name = graph.bases[step.index]
        if name in MOVES | {"clamp"} and refs and refs[0] in same:
            same.update(v.id for v in step.results())
        if name in ("embedding", "embedding_bag") and len(refs) > 1 and refs[1] in same:
            value = next(iter(step.results()))
            found.append((value, graph.values[refs[1]]))
    return found


def _tokens(graph: Graph, plan: Plan) -> None:
    for value, ids in lookups(graph):
        plan.add(positions(value, ids))
    for value in outside(graph):
        if is_float(value):
            plan.add(positions(value, None) if len(value.shape) == 3 else whole(value))


def _inputs(graph: Graph, plan: Plan) -> None:
    for value, ids in lookups(graph):
        plan.add(positions(value, ids))
    for value in outside(graph):
        if is_float(value):
            plan.add(elements(value))


def _writes(graph: Graph, plan: Plan, heads: bool, neurons: bool) -> None:
    sources = Plan()
    _inputs(graph, sources)
    starts = list(sources.sites) or [v.id for v in graph.values if v.producer is None and is_float(v)]
    stream = Stream(graph, graph.reached(starts))
    if not stream.writes:
        plan.notes.append("no residual stream was found (no x + f(x)): the account stops at the inputs instead")
        _inputs(graph, plan)
        return
    for write in stream.writes:
        inside = stream.inside(write) if heads or neurons else None
        name = author_of(graph.value(write))
        if isinstance(inside, Heads) and heads:
            plan.add(along(graph.value(inside.vid), inside.axis, _label(name, "head"), inside.heads))
        elif isinstance(inside, Neurons) and neurons:
            plan.add(along(graph.value(inside.vid), inside.axis, _label(name, "neuron")))
        else:
            plan.add(whole(graph.value(write), name))
    for vid in stream.bases:
        plan.add(whole(graph.value(vid), author_of(graph.value(vid))))


def _label(name: str, what: str) -> Callable[[int], str]:
    return lambda i: f"{name} {what} {i}"


def _parameters(graph: Graph, plan: Plan) -> None:
    for value in graph.values:
        if value.producer is None and value.kind == "parameter":
            plan.add(whole(value))


def _at(graph: Graph, plan: Plan, name: str) -> None:
    """Cut at an address (with an index: at those elements alone) or at every value that a glob matches."""
    walk = graph.walk
    if is_glob(name):
        found = {n: v for n, v in find_all(walk, name).items() if is_float(v)}
        if not found:
            raise AddressError(f"cut={name!r} matches no value of this walk; walk.addresses() lists them.")
        for address, value in found.items():
            plan.add(whole(value, address))
        return
    try:
        terms = walk.select(name).terms
    except AddressError as error:
        near = difflib.get_close_matches(name, NAMED, n=1)
        hint = f" (did you mean {near[0]!r}?)" if near else ""
        raise AddressError(
            f"cut={name!r} is neither one of {', '.join(NAMED)}{hint} nor an address of this walk: {error}"
        ) from error
    for term in terms:
        if not is_float(term.value):
            raise UsageError(f"cut={name!r} holds {term.value.dtype}, and only real numbers can be cut at.")
        site = whole(term.value, name)
        if term.index:
            site.mask = torch.zeros(term.value.shape, dtype=torch.bool)
            site.mask[term.index] = True
        plan.add(site)


def plan_for(graph: Graph, cut: Cut) -> Plan:
    """The values at which `cut` stops.

    Raises:
        AddressError: `cut` is neither a known name nor an address or glob of the walk.
        UsageError: `cut` is of another type, or empty.
    """
    plan = Plan()
    names = [cut] if isinstance(cut, str) else list(cut) if isinstance(cut, (list, tuple)) else None
    if not names or not all(isinstance(n, str) and n.strip() for n in names):
        raise UsageError(
            f"cut= takes one of {', '.join(NAMED)}, or an address, a glob, or a list of these; it was {cut!r}."
        )
    for name in names:
        if name == "inputs":
            _inputs(graph, plan)
        elif name == "tokens":
            _tokens(graph, plan)
        elif name == "parameters":
            _parameters(graph, plan)
        elif name in NAMED:
            _writes(graph, plan, heads="heads" in name, neurons="neurons" in name)
        else:
            _at(graph, plan, name)
    return plan


__all__ = ["NAMED", "Plan", "Site", "plan_for"]
