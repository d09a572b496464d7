"""What people call the operations that are refused."""

from __future__ import annotations

from weightwalk.walks.model import Step

NAMES = {
    "gelu": "GELU", "silu": "SiLU", "tanh": "tanh", "sigmoid": "the sigmoid", "softplus": "softplus", "elu": "ELU",
    "softmax": "softmax", "log_softmax": "log-softmax", "native_layer_norm": "layer norm", "mish": "Mish",
    "native_group_norm": "group norm", "hardswish": "hardswish", "exp": "exp", "log": "log", "pow": "a power",
    "sqrt": "a square root", "rsqrt": "a square root", "sin": "sin", "cos": "cos", "celu": "CELU",
    "log_sigmoid_forward": "log-sigmoid", "native_dropout": "dropout in training mode (call net.eval())",
    "bernoulli": "a random draw (call net.eval())",
}  # fmt: skip
JUMPS = {"gt", "ge", "lt", "le", "eq", "ne", "sign", "round", "floor", "ceil", "trunc", "argmax", "argmin", "topk",
         "heaviside", "bucketize", "nonzero", "sort"}  # fmt: skip


def known_as(step: Step) -> str:
    """What people call an op that is refused."""
    name = step.name.rstrip("_")
    if name in JUMPS:
        return f"{name}, which jumps,"
    if "scaled_dot_product" in name:
        return "attention"
    return NAMES.get(name, name)
