"""An ONNX graph as an ``nn.Module`` that runs it node by node.

Names are the file's own: an initializer ``fc1.weight`` is the parameter ``fc1.weight``, a node ``/fc1/Gemm`` the
module ``fc1.Gemm``. What is no identifier becomes ``_``, and a name that is taken gets a ``_`` at its end.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from torch import Tensor, nn

import weightwalk.nets.onnx_windows  # noqa: F401 - enters its operators
from weightwalk.errors import UsageError
from weightwalk.nets.onnx_ops import OPERATORS, PLAIN, Spec


class Group(nn.Module):
    """A part of a name: what stands before a dot."""


class Node(nn.Module):
    """One node: `spec` run on its inputs, of which `fixed` ones are known from the file (by place)."""

    def __init__(self, spec: Spec, fixed: Mapping[int, Any]) -> None:
        super().__init__()
        self.spec = spec
        self.fixed = dict(fixed)

    def forward(self, *given: Tensor | None) -> Any:
        """Inputs in order, None for one that is left out or fixed."""
        plain = PLAIN.get(self.spec.op, frozenset())
        inputs: list[Any] = [
            self.fixed[i] if i in self.fixed else x.tolist() if i in plain and x is not None else x
            for i, x in enumerate(given)
        ]
        return OPERATORS[self.spec.op](self.spec, *inputs)


@cache
def _kind(op: str) -> type[Node]:
    """A class of that name, so that a walk says ``Gemm`` and not ``Node``."""
    return type(op, (Node,), {})


class Graph(nn.Module):
    """A graph of nodes, run in the order of the file.

    Args:
        inputs: Names of the graph's inputs.
        outputs: Names of its outputs.
        tensors: Constants by name: an ``nn.Parameter``, or a tensor that is not trained.
        nodes: (what it is, names of its inputs with ``""`` for one left out, names of its outputs, fixed inputs).
    """

    def __init__(
        self,
        inputs: Sequence[str],
        outputs: Sequence[str],
        tensors: Mapping[str, Tensor],
        nodes: Sequence[tuple[Spec, Sequence[str], Sequence[str], Mapping[int, Any]]],
    ) -> None:
        super().__init__()
        self._inputs, self._outputs = tuple(inputs), tuple(outputs)
        self._tensors = {name: self._place(name, tensor) for name, tensor in tensors.items()}
        self._nodes: list[tuple[tuple[nn.Module, str], tuple[str, ...], tuple[str, ...]]] = []
        for spec, reads, writes, fixed in nodes:
            self._nodes.append((self._place(spec.name, _kind(spec.op)(spec, fixed)), tuple(reads), tuple(writes)))
        last = {name: i for i, (_, reads, _) in enumerate(self._nodes) for name in reads}
        self._done: dict[int, list[str]] = {}
        for name, i in last.items():
            if name not in self._outputs and name not in self._tensors:
                self._done.setdefault(i, []).append(name)

    def forward(self, *given: Tensor, **named: Tensor) -> Any:
        """The graph's inputs, in its order or by name -> its output, or a tuple of them."""
        live: dict[str, Any] = {"": None, **dict(zip(self._inputs, given, strict=False)), **named}
        if len(given) + len(named) != len(self._inputs) or set(live) != {"", *self._inputs}:
            wanted, found = ", ".join(self._inputs), ", ".join([f"{len(given)} by place"] * bool(given) + list(named))
            raise UsageError(f"This ONNX graph takes {len(self._inputs)} inputs ({wanted}); got {found or 'none'}.")
        live |= {name: getattr(owner, attribute) for name, (owner, attribute) in self._tensors.items()}
        for i, ((owner, attribute), reads, writes) in enumerate(self._nodes):
            node = getattr(owner, attribute)
            made = node(*(None if place in node.fixed else live[name] for place, name in enumerate(reads)))
            live.update(zip(writes, made if isinstance(made, tuple) else (made,), strict=False))
            for name in self._done.get(i, ()):
                live.pop(name, None)
        found = tuple(live[name] for name in self._outputs)
        return found[0] if len(found) == 1 else found

    def _place(self, name: str, thing: nn.Module | Tensor) -> tuple[nn.Module, str]:
        """Enter a module, parameter or buffer under its name; where it is then found."""
        *groups, last = [re.sub(r"\W", "_", part, flags=re.ASCII) for part in re.split(r"[./]", name) if part] or ["_"]
        owner: nn.Module = self
        for group in groups:
            while not isinstance(found := getattr(owner, group, None), nn.Module):
                if found is None and not hasattr(owner, group):
                    owner.add_module(group, Group())
                else:
                    group += "_"
            owner = found
        while hasattr(owner, last):
            last += "_"
        if isinstance(thing, nn.Module):
            owner.add_module(last, thing)
        elif isinstance(thing, nn.Parameter):
            owner.register_parameter(last, thing)
        else:
            owner.register_buffer(last, thing)
        return owner, last
