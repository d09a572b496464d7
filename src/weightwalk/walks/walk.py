"""The walk: steps, values, module calls, the names by which they are found, and the verbs that read them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from weightwalk.walks.model import Call, Completeness, Step, Store, Value, bound_step, bound_value, short_name

if TYPE_CHECKING:
    from weightwalk.readings.account import Account
    from weightwalk.readings.compare import Comparison
    from weightwalk.readings.narrate import Story
    from weightwalk.readings.verify import Report
    from weightwalk.walks.address import Selection

Labels = Mapping[str, Any]


class Bound(Sequence[Any]):
    """The steps or values of a walk, each handed out with the walk that it belongs to.

    The walk itself keeps them without: if walk and steps referred to each other, the memory of a walk that nobody uses
    any more would wait for the cycle collector, gigabytes of it.
    """

    __slots__ = ("_bind", "_items", "_walk")

    def __init__(self, items: Sequence[Any], walk: Walk, bind: Callable[[Any, Walk], Any]) -> None:
        self._items, self._walk, self._bind = items, walk, bind

    def __len__(self) -> int:
        return len(self._items)

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return [self._bind(item, self._walk) for item in self._items[index]]
        return self._bind(self._items[index], self._walk)

    def __iter__(self) -> Iterator[Any]:
        walk, bind = self._walk, self._bind
        return (bind(item, walk) for item in self._items)


class Walk:
    """The record of one computation.

    A walk is made by :func:`weightwalk.walk`, :func:`weightwalk.recording` or :func:`weightwalk.load`. It iterates over
    its steps; ``walk[address]`` finds values; the verbs below read it.

    Attributes:
        calls: The module calls, in order of entry.
        given: Names of what came from outside or outlives the run: ``"in"``, ``"in.input_ids"``, ``"fc1.weight"``,
            ``"fc1.weight.grad"``, ``"fc1.weight.updated"``; name to value id. Tied weights have one id, several names.
        labels: ``{"tokens": [...], "vocab": [...]}`` and, per address, ``{axis: [...]}``.
        meta: Where and how it was recorded (net, versions, threads, device, time); JSON-like.
        completeness: What the recorder saw and could not explain.
        store: Where the numbers live.
    """

    def __init__(
        self,
        *,
        steps: Sequence[Step],
        values: Sequence[Value],
        calls: Sequence[Call],
        given: Mapping[str, int],
        labels: Labels,
        meta: Mapping[str, Any],
        completeness: Completeness,
        store: Store,
    ) -> None:
        self._steps, self._values = steps, values
        self.calls = calls
        self.given = given
        self.labels = labels
        self.meta = meta
        self.completeness = completeness
        self.store = store

    @property
    def steps(self) -> Sequence[Step]:
        """The operations, in the order in which they ran."""
        return Bound(self._steps, self, bound_step)

    @property
    def values(self) -> Sequence[Value]:
        """Every tensor at every moment; a value's ``id`` is its place here."""
        return Bound(self._values, self, bound_value)

    # Names ---------------------------------------------------------------------------------------------------------

    @cached_property
    def step_addresses(self) -> Sequence[str]:
        """The address of every step: ``module/op``, ``module/phase/op``, ``#2`` for the second of that name."""
        seen: dict[str, int] = {}
        out = []
        for step in self.steps:
            nth = self.calls[step.call].nth if step.call >= 0 and step.phase == "forward" else 1
            module = step.module if nth == 1 else f"{step.module}#{nth}"
            middle = "" if step.phase == "forward" else f"{step.phase}/"
            base = f"{module}/{middle}{short_name(step.op)}"
            seen[base] = seen.get(base, 0) + 1
            out.append(base if seen[base] == 1 else f"{base}#{seen[base]}")
        return out

    @cached_property
    def names(self) -> Mapping[str, int]:
        """Every address of a whole value, and its value id."""
        names: dict[str, int] = dict(self.given)
        for call in self.calls:
            for key, vid in call.outputs.items():
                names.setdefault(_output_name(call, key), vid)
            if "" not in call.outputs and call.outputs:
                names.setdefault(call.address, next(iter(call.outputs.values())))
            if call.path == "" and call.nth == 1:
                for key, vid in call.outputs.items():
                    names.setdefault(key or "logits", vid)
            self._name_inputs(call, names)
        for step, address in zip(self.steps, self.step_addresses, strict=True):
            results = list(step.results())
            for i, value in enumerate(results):
                names.setdefault(address if i == 0 else f"{address}.{i}", value.id)
        return names

    @staticmethod
    def _name_inputs(call: Call, names: dict[str, int]) -> None:
        prefix = f"{call.address}.in" if call.path else ("in" if call.nth == 1 else f"in#{call.nth}")
        for i, (key, vid) in enumerate(call.inputs.items()):
            if i == 0:
                names.setdefault(prefix, vid)
            names.setdefault(f"{prefix}.{key}", vid)

    @cached_property
    def _addresses(self) -> Mapping[int, str]:
        """The preferred address of each value: as given, else the shortest of a module's output, else its step's."""
        best: dict[int, str] = {}
        for name, vid in self.given.items():
            best.setdefault(vid, name)
        for step, address in zip(self.steps, self.step_addresses, strict=True):
            for i, value in enumerate(step.results()):
                best.setdefault(value.id, address if i == 0 else f"{address}.{i}")
        modules: dict[int, str] = {}
        for call in self.calls:
            for i, (key, vid) in enumerate(call.outputs.items()):
                name = _output_name(call, key) if i or not call.path else call.address
                if vid not in modules or len(name) < len(modules[vid]):
                    modules[vid] = name
        given = set(self.given.values())
        best.update({vid: name for vid, name in modules.items() if vid not in given or best[vid].startswith("out")})
        for name, vid in self.names.items():  # what a module of a recorded block was given has that name, if no other
            best.setdefault(vid, name)
        return best

    def address_of(self, value_id: int) -> str:
        """The preferred address of a value; ``"value 12"`` where nothing names it."""
        return self._addresses.get(value_id, f"value {value_id}")

    def addresses(self) -> list[str]:
        """Every address that names a whole value."""
        return list(self.names)

    # Reading -------------------------------------------------------------------------------------------------------

    def __getitem__(self, address: str) -> Any:
        """What `address` names.

        A plain address gives its ``Value``; one with an index, a sum or a difference gives a ``Selection``; a glob
        (``"h.*.mlp"``: ``*`` stays within one dotted part, ``**`` does not) gives a dict of address to ``Value``.

        Raises:
            AddressError: Nothing has that address; the nearest ones are offered.
        """
        from weightwalk.walks.address import look_up

        return look_up(self, address)

    def __contains__(self, address: str) -> bool:
        from weightwalk.errors import AddressError

        try:
            self[address]
        except AddressError:
            return False
        return True

    def select(self, address: str) -> Selection:
        """`address` as a weighted sum of elements, whatever its form."""
        from weightwalk.walks.address import select

        return select(self, address)

    def axis_labels(self, value: Value, axis: int) -> Sequence[str] | None:
        """The labels along one axis of a value, or None."""
        from weightwalk.walks.address import axis_labels

        return axis_labels(self, value, axis)

    def users(self, value_id: int) -> Sequence[int]:
        """The steps that read a value, by index."""
        return self._users.get(value_id, ())

    @cached_property
    def _users(self) -> Mapping[int, Sequence[int]]:
        users: dict[int, list[int]] = {}
        for step in self.steps:
            for value in step.inputs():
                users.setdefault(value.id, []).append(step.index)
        return users

    def __iter__(self) -> Iterator[Step]:
        return iter(self.steps)

    def __len__(self) -> int:
        return len(self.steps)

    def __repr__(self) -> str:
        net = self.meta.get("net", "computation")
        return f"<Walk of {net}: {len(self.steps):,} steps, {len(self.values):,} values, {self.completeness}>"

    # Verbs: each is a door into a room above, opened only when used -----------------------------------------------

    def save(self, path: str | Path, *, weights: str = "included") -> Path:
        """Write the walk to one ``.walk`` file; `weights` is ``"included"`` or ``"external"``.

        See :func:`weightwalk.walks.files.save`.
        """
        from weightwalk.walks.files import save

        return save(self, path, weights=weights)

    def verify(self, referee: str = "auto", **options: Any) -> Report:
        """Compute every step again in float64 and hold it to its rounding-error bound.

        `referee` is ``"auto"``, ``"numpy"`` or ``"torch"``; further options are ``drift=`` and ``progress=``. See
        :func:`weightwalk.readings.verify.verify`.
        """
        from weightwalk.readings.verify import verify

        return verify(self, referee=referee, **options)

    def account(self, address: str, cut: Any = "modules", **options: Any) -> Account:
        """One number as an exact sum of contributions at a cut.

        `cut` is ``"inputs"``, ``"tokens"``, ``"modules"``, ``"heads"``, ``"neurons"``, ``"heads+neurons"``,
        ``"parameters"``, or addresses and globs; further options are ``split=``, ``precision=`` and ``progress=``.
        Needs the ``[torch]`` extra. See :func:`weightwalk.readings.account.account`.
        """
        from weightwalk.readings.account import account

        return account(self, address, cut=cut, **options)

    def narrate(self, **options: Any) -> Story:
        """The walk told in words and numbers; options are ``depth=``, ``focus=``, ``top=`` and ``digits=``.

        See :func:`weightwalk.readings.narrate.narrate`.
        """
        from weightwalk.readings.narrate import narrate

        return narrate(self, **options)

    def compare(self, other: Walk, **options: Any) -> Comparison:
        """Where this walk and another of the same model first part, and by how much.

        See :func:`weightwalk.readings.compare.compare`.
        """
        from weightwalk.readings.compare import compare

        return compare(self, other, **options)

    def _repr_html_(self) -> str:
        from weightwalk.show.html import walk_html

        return walk_html(self)


def _output_name(call: Call, key: str) -> str:
    """``"fc1"``, ``"h.0.attn.out.1"``, ``"out.logits"``."""
    if not key:
        return call.address
    return f"{call.address}.{key}" if not call.path else f"{call.address}.out.{key}"
