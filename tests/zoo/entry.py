"""What an entry of the zoo is."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, fields, is_dataclass, replace
from typing import Any

import torch


@dataclass
class Net:
    """A model and what to call it with; `loss` makes one number of what it returns, for those that are trained."""

    model: torch.nn.Module
    args: tuple[Any, ...] = ()
    kwargs: dict[str, Any] = field(default_factory=dict)
    loss: Callable[[Any], torch.Tensor] | None = None

    def __call__(self) -> Any:
        return self.model(*self.args, **self.kwargs)


@dataclass(frozen=True)
class Case:
    """A named builder; `build` gives the same net, to the bit, each time.

    `grad` says whether the net is meant to be run under autograd (else under `torch.no_grad`, where PyTorch may take
    another path); those that are not have no loss.
    """

    name: str
    family: str
    make: Callable[[], Net]
    grad: bool = True

    def build(self) -> Net:
        state = torch.random.get_rng_state()
        torch.manual_seed(20260)
        try:
            net = self.make()
            return net if self.grad else replace(net, loss=None)
        finally:
            torch.random.set_rng_state(state)

    def run(self, net: Net) -> Any:
        """Call the net, under autograd or not, as the case wants it; random draws start from a fixed seed."""
        torch.manual_seed(1)
        with torch.set_grad_enabled(self.grad):
            return net()


class Room(list[Case]):
    """The entries of one file; ``@room("family")`` adds the function below it under its own name."""

    def __call__(self, family: str, *, grad: bool = True) -> Callable[[Callable[[], Net]], Callable[[], Net]]:
        def add(make: Callable[[], Net]) -> Callable[[], Net]:
            self.append(Case(make.__name__.strip("_"), family, make, grad))
            return make

        return add


def tensors(tree: Any, seen: set[int] | None = None) -> Iterator[torch.Tensor]:
    """Every tensor in what a model returned: tuples, dicts, dataclasses, and objects that hold them (caches)."""
    seen = set() if seen is None else seen
    if isinstance(tree, torch.Tensor):
        yield tree
        return
    if id(tree) in seen or tree is None or isinstance(tree, (bool, int, float, str, type, torch.nn.Module)):
        return
    seen.add(id(tree))
    if isinstance(tree, Mapping):
        children = list(tree.values())
    elif isinstance(tree, (list, tuple, set)):
        children = list(tree)
    elif is_dataclass(tree):
        children = [getattr(tree, f.name) for f in fields(tree)]
    else:
        children = list(vars(tree).values()) if hasattr(tree, "__dict__") else []
    for child in children:
        yield from tensors(child, seen)
