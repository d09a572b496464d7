"""Nets that are a chain of layers, evaluated at many weights without a call of the net.

A grid asks for one small net at thousands of weights. Three things make that cheap for a chain:

* The layers before the first one that moves are computed once.
* That first one is affine in the two coordinates: ``z(a, b) = z_0 + a z_u + b z_v`` with three products in all,
  where the net would do one for each point.
* From there on a point at a time goes through buffers that are written over and over and stay in the processor's
  cache, units in rows and examples in columns. Stacking points into batched products was measured to be slower: their
  intermediate results leave the cache (see benchmarks/landscapes.py).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from weightwalk.errors import UsageError
from weightwalk.learning.landscapes.directions import Plane, Weights
from weightwalk.learning.losses import tensor_of

POINTWISE = (
    nn.ReLU, nn.LeakyReLU, nn.Tanh, nn.Sigmoid, nn.GELU, nn.SiLU, nn.ELU, nn.Softplus, nn.Identity, nn.Hardtanh,
    nn.ReLU6, nn.Dropout,
)  # fmt: skip
"""Activations that look at each number alone; dropout is the identity, for nets are judged in eval mode."""

CACHE = 1 << 20
"""Bytes that three layers' worth of numbers may take, so that they stay in a core's cache."""

LEAST = 512
"""Columns that a product has at least where there are as many: below that, to add up the weights costs as much."""


@dataclass(frozen=True, eq=False)
class Leaf:
    """A layer: its module and the name that its parameters begin with."""

    name: str
    module: nn.Module

    @property
    def weight(self) -> str:
        """Name of its weight."""
        return f"{self.name}.weight" if self.name else "weight"

    @property
    def bias(self) -> str:
        """Name of its bias."""
        return f"{self.name}.bias" if self.name else "bias"

    @property
    def pointwise(self) -> bool:
        """Whether it has no weights and looks at each number alone."""
        return type(self.module) in POINTWISE


def leaves_of(module: nn.Module, inputs: Tensor) -> tuple[tuple[Leaf, ...] | None, int]:
    """Run the net on `inputs`, and see whether its layers follow each other like links.

    Returns:
        (The layers in order, or None where the net is no chain: each layer's output must be the very object that the
        next one reads; how many numbers all layers put out.)
    """
    seen: list[tuple[str, nn.Module, object, object]] = []
    hooks: list[torch.utils.hooks.RemovableHandle] = []
    numbers = 0

    def watch(name: str) -> Callable[..., None]:
        def hook(m: nn.Module, args: tuple[object, ...], out: object) -> None:
            nonlocal numbers
            numbers += out.numel() if isinstance(out, Tensor) else 0
            seen.append((name, m, args[0] if len(args) == 1 else None, out))

        return hook

    leaves = [(n, m) for n, m in module.named_modules() if not any(m.children())]
    plain = not any(m._forward_hooks or m._forward_pre_hooks or "forward" in vars(m) for m in module.modules())
    try:
        for name, m in leaves:
            hooks.append(m.register_forward_hook(watch(name)))
        out = module(inputs)
    finally:
        for hook in hooks:
            hook.remove()
    at: object = inputs
    for name, m, given, made in seen:
        first = at is inputs and name == seen[0][0]
        known = type(m) is nn.Linear or type(m) in POINTWISE or (first and _looks_up(m))
        if given is not at or not known or not isinstance(made, Tensor):
            return None, numbers
        at = made
    ours = {id(p) for _, m, _, _ in seen for p in m.parameters(recurse=False)}
    parameters = list(module.parameters())
    once = len({id(m) for _, m, _, _ in seen if not _free(m)}) == sum(not _free(m) for _, m, _, _ in seen)
    whole = plain and once and len(ours) == sum(len(list(m.parameters(recurse=False))) for _, m, _, _ in seen)
    whole = whole and all(id(p) in ours for p in parameters)
    precise = all(p.dtype in (torch.float32, torch.float64) for p in parameters)
    if not (seen and whole and precise and len({p.dtype for p in parameters}) == 1 and tensor_of(out) is at):
        return None, numbers
    return tuple(Leaf(name, m) for name, m, _, _ in seen), numbers


def _free(m: nn.Module) -> bool:
    return type(m) in POINTWISE


def _looks_up(m: nn.Module) -> bool:
    return type(m) is nn.Embedding and m.max_norm is None


class Chain:
    """A chain along a plane.

    Args:
        leaves: From `leaves_of`.
        plane: Where its weights go.
    """

    def __init__(self, leaves: Sequence[Leaf], plane: Plane, module: nn.Module) -> None:
        state = {n: p.detach() for n, p in module.named_parameters()}
        self.at: dict[str, Tensor] = {**state, **plane.origin}
        self.u, self.v = plane.u, plane.v or {}
        moving = set(plane.moving)
        first = next(i for i, leaf in enumerate(leaves) if leaf.weight in moving or leaf.bias in moving)
        self.still, self.first, self.rest = leaves[:first], leaves[first], leaves[first + 1 :]
        later = [n for leaf in self.rest for n in (leaf.weight, leaf.bias) if n in moving]
        self.flat = [self._flat(w, later) for w in (self.at, self.u, self.v)]
        self.buffer = torch.empty_like(self.flat[0])
        self.row = torch.empty_like(self.flat[0])
        views: dict[str, Tensor] = {}
        k = 0
        for name in later:
            size = self.at[name].numel()
            views[name] = self.buffer[k : k + size].view(self.at[name].shape)
            k += size
        self.stages: list[tuple[nn.Module, Tensor | None, Tensor | None]] = []
        self.widths = [self.at[self.first.weight].shape[0 if type(self.first.module) is nn.Linear else 1]]
        for leaf in self.rest:
            w = b = None
            if not leaf.pointwise:
                w = views.get(leaf.weight, self.at[leaf.weight])
                b = views.get(leaf.bias, self.at.get(leaf.bias))
                b = b[:, None] if b is not None else None
                self.widths.append(w.shape[0])
            self.stages.append((leaf.module, w, b))

    def _flat(self, weights: Weights, names: Sequence[str]) -> Tensor:
        parts = [
            weights[n].flatten()
            if n in weights
            else torch.zeros_like(self.at[n]).flatten()  # it does not move this way
            for n in names
        ]
        return torch.cat(parts) if parts else next(iter(self.at.values())).new_empty(0)

    def rows_at_once(self, columns_per_row: int) -> int:
        """How many examples fit the cache; or, in a wide net, are worth the making of its weights."""
        size = self.flat[0].element_size() * 3 * max(self.widths) * columns_per_row
        return max(1, CACHE // size, LEAST // columns_per_row)

    def outputs(self, inputs: Tensor, points: Sequence[tuple[float, float]]) -> Iterator[Tensor]:
        """The net's output at each point, shape as the net's own; the next one overwrites it."""
        h, lead = inputs, inputs.shape if not inputs.is_floating_point() else inputs.shape[:-1]
        for leaf in self.still:
            h = leaf.module.forward(h) if leaf.pointwise else self._plain(leaf, h)
        lead = h.shape if type(self.first.module) is nn.Embedding else h.shape[:-1]
        z0, zu, zv = (self._affine(w, h) for w in (self.at, self.u, self.v))
        held = [torch.empty(width, z0.shape[1], dtype=z0.dtype) for width in self.widths]
        row, last = torch.empty_like(z0), None
        for a, b in points:
            if a != last:
                torch.add(z0, zu, alpha=a, out=row)
                torch.add(self.flat[0], self.flat[1], alpha=a, out=self.row)
                last = a
            torch.add(self.row, self.flat[2], alpha=b, out=self.buffer)
            h, k = torch.add(row, zv, alpha=b, out=held[0]), 0
            for m, w, bias in self.stages:
                if w is None:
                    h = h.relu_() if type(m) is nn.ReLU else m.forward(h)
                    continue
                k += 1
                h = torch.mm(w, h, out=held[k]) if bias is None else torch.addmm(bias, w, h, out=held[k])
            yield h.t().reshape(*lead, h.shape[0])

    def _plain(self, leaf: Leaf, h: Tensor) -> Tensor:
        w, b = self.at[leaf.weight], self.at.get(leaf.bias)
        return w[h] if type(leaf.module) is nn.Embedding else nn.functional.linear(h, w, b)

    def _affine(self, weights: Weights, h: Tensor) -> Tensor:
        """The first moving layer with these weights, (units, examples); a part that does not move adds nothing."""
        w, b = weights.get(self.first.weight), weights.get(self.first.bias)
        like = self.at[self.first.weight]
        if type(self.first.module) is nn.Embedding:
            return (torch.zeros_like(like) if w is None else w)[h.flatten()].t().contiguous()
        h = h.reshape(-1, h.shape[-1]).t()
        z = like.new_zeros(like.shape[0], h.shape[1]) if w is None else w @ h
        return z if b is None else z.add_(b[:, None])


def agrees(chain: Chain, module: nn.Module, inputs: Tensor, points: Sequence[tuple[float, float]]) -> bool:
    """Whether the chain gives what the net gives, to rounding, at a few points: not all of a net can be seen."""
    for (a, b), out in zip(points, chain.outputs(inputs, points), strict=True):
        moved = {n: chain.at[n] + a * chain.u.get(n, 0) + b * chain.v.get(n, 0) for n in {*chain.u, *chain.v}}
        try:
            true = tensor_of(torch.func.functional_call(module, moved, (inputs,)))
        except UsageError:
            return False
        eps = 1e3 * torch.finfo(true.dtype).eps
        size = float(true.abs().nan_to_num(0, 0, 0).max()) if true.numel() else 0.0
        if out.shape != true.shape or not torch.allclose(out, true, rtol=eps, atol=eps * size, equal_nan=True):
            return False
    return True
