"""Chains: nets that hand one array from layer to layer, found by running them and watching what each layer is given.

For a chain of known layers the arithmetic of training can be written out by hand (`steps`), for all seeds at once and
without a tape. Whether a module is a chain cannot be read off its class; so it is run, and it is one only if every
leaf was called once, on the very tensor that the leaf before it returned, and nothing wrote to it in between.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

ACTIVATIONS: dict[type[nn.Module], str] = {
    nn.ReLU: "relu",
    nn.LeakyReLU: "leaky_relu",
    nn.Tanh: "tanh",
    nn.Sigmoid: "sigmoid",
    nn.SiLU: "silu",
    nn.GELU: "gelu",
    nn.Identity: "identity",
}


@dataclass(frozen=True, slots=True)
class Layer:
    """One layer of a chain.

    Attributes:
        kind: ``linear``, ``embedding``, or the name of an activation.
        name: As the module calls it.
        shape: ``(out, in)`` of a linear layer, ``(tokens, width)`` of an embedding; empty for an activation.
        bias: Whether a linear layer has one.
        slope: Of a leaky ReLU on negative numbers.
        rounded: Whether GELU is computed by its tanh approximation.
    """

    kind: str
    name: str
    shape: tuple[int, ...] = ()
    bias: bool = False
    slope: float = 0.0
    rounded: bool = False

    @property
    def parameters(self) -> tuple[tuple[str, tuple[int, ...]], ...]:
        """Names and shapes of its parameters, as in ``module.named_parameters()``."""
        if not self.shape:
            return ()
        prefix = f"{self.name}." if self.name else ""
        weight = (f"{prefix}weight", self.shape)
        return (weight, (f"{prefix}bias", self.shape[:1])) if self.bias else (weight,)


@dataclass(frozen=True, slots=True)
class Chain:
    """Layers in the order in which they run; an embedding can only be the first."""

    layers: tuple[Layer, ...]

    @property
    def outputs(self) -> int:
        """Numbers per row that come out."""
        last = next(layer for layer in reversed(self.layers) if layer.shape)
        return last.shape[1] if last.kind == "embedding" else last.shape[0]


def chain_of(module: nn.Module, inputs: Tensor) -> Chain | None:
    """The chain that `module` is on these inputs, in training and in evaluation; None if it is none that we know."""
    if not _plain(module, inputs):
        return None
    found = [_watched(module, inputs, training) for training in (True, False)]
    return found[0] if found[0] is not None and found[0] == found[1] else None


def _plain(module: nn.Module, inputs: Tensor) -> bool:
    """Whether its parts are such as a chain has: floats of one kind, all trained, none shared, no buffers, no hooks."""
    parameters = list(module.named_parameters(remove_duplicate=False))
    kinds = {p.dtype for _, p in parameters}
    if len(kinds) != 1 or not kinds <= {torch.float32, torch.float64} or any(True for _ in module.buffers()):
        return False
    if len({id(p) for _, p in parameters}) != len(parameters) or any(not p.requires_grad for _, p in parameters):
        return False
    if any(p.device.type != "cpu" or p.layout is not torch.strided for _, p in parameters):
        return False
    layers = [layer for layer in (_layer(name, m) for name, m in module.named_modules()) if layer is not None]
    owned = {name for layer in layers for name, _ in layer.parameters}
    if owned != {name for name, _ in parameters}:
        return False
    if any(_hooked(m) for m in module.modules()):
        return False
    return inputs.dim() == 1 if inputs.dtype == torch.int64 else inputs.dim() == 2 and {inputs.dtype} == kinds


def _hooked(module: nn.Module) -> bool:
    names = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks", "_parametrizations")
    return any(getattr(module, name, None) for name in names) or "forward" in vars(module)


def _layer(name: str, module: nn.Module) -> Layer | None:
    """What we know of a leaf; None for one whose arithmetic we have not written out."""
    kind = type(module)
    if kind is nn.Linear and isinstance(module, nn.Linear):
        return Layer("linear", name, (module.out_features, module.in_features), bias=module.bias is not None)
    if kind is nn.Embedding and isinstance(module, nn.Embedding):
        odd = module.padding_idx is not None or module.max_norm is not None
        odd = odd or module.scale_grad_by_freq or module.sparse
        return None if odd else Layer("embedding", name, (module.num_embeddings, module.embedding_dim))
    if kind in ACTIVATIONS:
        slope = float(getattr(module, "negative_slope", 0.0))
        return Layer(ACTIVATIONS[kind], name, slope=slope, rounded=getattr(module, "approximate", "none") == "tanh")
    return None


def _watched(module: nn.Module, inputs: Tensor, training: bool) -> Chain | None:
    """Run it once, and follow the one tensor from hand to hand."""
    layers: list[Layer | None] = []
    hands: list[tuple[Tensor, int]] = [(inputs, inputs._version)]
    whole: list[bool] = []

    def before(layer: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        held, version = hands[-1]
        whole.append(len(args) == 1 and not kwargs and args[0] is held and held._version == version)

    def after(name: str) -> Any:
        def hook(layer: nn.Module, args: Any, out: Any) -> None:
            layers.append(_layer(name, layer))
            hands.append((out, out._version) if isinstance(out, Tensor) else (inputs, -1))

        return hook

    modes = [(m, m.training) for m in module.modules()]
    hooks = []
    try:
        module.train(training)
        for name, leaf in module.named_modules():
            if not any(True for _ in leaf.children()):
                hooks.append(leaf.register_forward_pre_hook(before, with_kwargs=True))
                hooks.append(leaf.register_forward_hook(after(name)))
        with torch.no_grad():
            out = module(inputs)
    finally:
        for hook in hooks:
            hook.remove()
        for m, mode in modes:
            m.training = mode
    held, version = hands[-1]
    names = [layer.name for layer in layers if layer is not None]
    first = [layer is not None and layer.kind == "embedding" for layer in layers]
    known = len(names) == len(layers) == len(set(names)) and not any(first[1:])
    if not known or not all(whole) or out is not held or held._version != version:
        return None
    chain = tuple(layer for layer in layers if layer is not None)
    unused = {n for n, _ in module.named_parameters()} != {n for layer in chain for n, _ in layer.parameters}
    return None if unused or not chain or not chain[0].shape else Chain(chain)
