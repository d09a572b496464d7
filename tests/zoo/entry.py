"""What an entry of the zoo is."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, fields, is_dataclass, replace
from typing import Any

import torch
from torch.overrides import TorchFunctionMode


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
    another path); those that are not have no loss. `float64` says whether all of its kernels exist in float64.
    """

    name: str
    family: str
    make: Callable[[], Net]
    grad: bool = True
    float64: bool = True

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

    def __call__(
        self, family: str, *, grad: bool = True, float64: bool = True
    ) -> Callable[[Callable[[], Net]], Callable[[], Net]]:
        def add(make: Callable[[], Net]) -> Callable[[], Net]:
            self.append(Case(make.__name__.strip("_"), family, make, grad, float64))
            return make

        return add


class Float64(TorchFunctionMode):
    """Run a net wholly in float64: where its code asks for another float, as many norms do, it gets float64 too."""

    FLOATS = (torch.float32, torch.float16, torch.bfloat16)

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is torch.Tensor.float:
            func = torch.Tensor.double
        args = tuple(self._wide(x) for x in args)
        return func(*args, **{key: self._wide(x) for key, x in (kwargs or {}).items()})

    def _wide(self, x: Any) -> Any:
        return torch.float64 if isinstance(x, torch.dtype) and x in self.FLOATS else x

    def __enter__(self) -> Any:
        self.default = torch.get_default_dtype()
        torch.set_default_dtype(torch.float64)
        return super().__enter__()

    def __exit__(self, *error: object) -> None:
        torch.set_default_dtype(self.default)
        super().__exit__(*error)


def widen(net: Net) -> Net:
    """`net` with its parameters and inputs in float64; run it inside `Float64`."""

    def cast(x: Any) -> Any:
        if isinstance(x, torch.Tensor):
            return x.double() if x.is_floating_point() else x.to(torch.complex128) if x.is_complex() else x
        if isinstance(x, (tuple, list)):
            return type(x)(cast(item) for item in x)
        return {key: cast(item) for key, item in x.items()} if isinstance(x, dict) else x

    return Net(net.model.double(), cast(net.args), cast(net.kwargs))


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
