"""Nets that are a chain of layers, evaluated at many weights without a call of the net.

A grid asks for one small net at thousands of weights. Three things make that cheap for a chain:

* The layers before the first one that moves are computed once.
* That first one is affine in the two coordinates: ``z(a, b) = z_0 + a z_u + b z_v`` with three products in all,
  where the net would do one for each point.
* From there on a point at a time goes through buffers that are written over and over and stay in the processor's
  cache, units in rows and examples in columns. Stacking points into batched products was measured to be slower: their
  intermediate results leave the cache (see benchmarks/landscapes.py). The losses are then taken of many points at once.
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
    whole = whole and (inputs.dim() > 1 or not inputs.is_floating_point())
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
        # A bias is one more column of its matrix, which meets a row of ones: then a layer is one product and no more.
        self.flat = [self._flat(w) for w in (self.at, self.u, self.v)]
        self.row, self.buffer = (torch.empty_like(self.flat[0]) for _ in range(2))
        self.widths = [self.at[self.first.weight].shape[0 if type(self.first.module) is nn.Linear else 1]]
        self.stages: list[tuple[nn.Module, Tensor | None]] = []
        k = 0
        for leaf in self.rest:
            w = None
            if not leaf.pointwise:
                rows, columns = self.at[leaf.weight].shape
                w = self.buffer[k : k + rows * (columns + 1)].view(rows, columns + 1)
                k += w.numel()
                self.widths.append(rows)
            self.stages.append((leaf.module, w))

    def _flat(self, weights: Weights) -> Tensor:
        """The matrices of the layers after the first one that moves, end to end; zeros where they do not move."""
        parts = []
        for leaf in self.rest:
            if leaf.pointwise:
                continue
            like = self.at[leaf.weight]
            w, b = weights.get(leaf.weight), weights.get(leaf.bias)
            w = torch.zeros_like(like) if w is None else w
            b = like.new_zeros(len(like)) if b is None else b
            parts.append(torch.cat([w, b[:, None]], dim=1).flatten())
        return torch.cat(parts) if parts else next(iter(self.at.values())).new_empty(0)

    def rows_at_once(self, columns_per_row: int) -> int:
        """How many examples fit the cache; or, in a wide net, are worth the making of its weights."""
        size = self.flat[0].element_size() * 3 * max(self.widths) * columns_per_row
        return max(1, CACHE // size, LEAST // columns_per_row)

    def outputs(self, inputs: Tensor, points: Sequence[tuple[float, float]], many: int = 64) -> Iterator[Tensor]:
        """The net's outputs at some points at a time, shape ``(points, *net's own)``; the next ones overwrite them."""
        h = inputs
        for leaf in self.still:
            h = leaf.module.forward(h) if leaf.pointwise else self._plain(leaf, h)
        lead = h.shape if type(self.first.module) is nn.Embedding else h.shape[:-1]
        z0, zu, zv = (self._affine(w, h) for w in (self.at, self.u, self.v))
        columns, end = z0.shape[1], len(self.widths) - 1
        held = [torch.ones(width + 1, columns, dtype=z0.dtype) for width in self.widths[:-1]]
        many = max(1, min(many, len(points), CACHE // (columns * self.widths[-1] * z0.element_size())))
        outs, row, last = z0.new_empty(many, self.widths[-1], columns), torch.empty_like(z0), None
        for start in range(0, len(points), many):
            part = points[start : start + many]
            for made, (a, b) in zip(outs, part, strict=False):
                if a != last:
                    torch.add(z0, zu, alpha=a, out=row)
                    torch.add(self.flat[0], self.flat[1], alpha=a, out=self.row)
                    last = a
                torch.add(self.row, self.flat[2], alpha=b, out=self.buffer)
                self._through(torch.add(row, zv, alpha=b, out=held[0][:-1] if end else made), held, made)
            yield outs[: len(part)].transpose(1, 2).reshape(len(part), *lead, self.widths[-1])

    def _through(self, z: Tensor, held: Sequence[Tensor], made: Tensor) -> None:
        """The layers after the first one that moves, in place: `z` lies in the first buffer, the result in `made`."""
        k = 0
        for m, w in self.stages:
            if w is not None:
                k += 1
                z = torch.mm(w, held[k - 1], out=held[k][:-1] if k < len(held) else made)
            elif type(m) is nn.ReLU:
                z.relu_()
            elif type(m) not in (nn.Identity, nn.Dropout):
                z.copy_(m.forward(z))

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
    for (a, b), (out,) in zip(points, chain.outputs(inputs, points, 1), strict=True):
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
