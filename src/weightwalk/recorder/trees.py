"""Nested containers of tensors, as programs pass them around."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import torch

from weightwalk.recorder.keys import Key

PLAIN = frozenset({type(None), bool, int, float, complex, str})
"""Types that are written down as they are."""


def aliases(tree: Any) -> Any:
    """`tree` with another tensor on the same memory for each tensor."""
    if isinstance(tree, torch.Tensor):
        return tree.detach()
    if isinstance(tree, (list, tuple)):
        return [aliases(item) for item in tree]
    return tree


def leaves(tree: Any) -> Iterator[Any]:
    """What is in nested lists, tuples and dicts."""
    if isinstance(tree, (list, tuple)):
        for item in tree:
            yield from leaves(item)
    elif isinstance(tree, dict):
        yield from leaves(list(tree.values()))
    else:
        yield tree


def exchange(tree: Any, old: torch.Tensor, new: torch.Tensor) -> Any:
    """`tree` with `new` wherever `old` itself stood."""
    if tree is old:
        return new
    if type(tree) in (list, tuple):
        return type(tree)(exchange(item, old, new) for item in tree)
    if type(tree) is dict:
        return {key: exchange(item, old, new) for key, item in tree.items()}
    return tree


def tensors_by_path(tree: Any, prefix: str = "") -> list[tuple[str, torch.Tensor]]:
    """The tensors inside nested containers (lists, tuples, mappings, dataclasses), each with its dotted path."""
    if isinstance(tree, torch.Tensor):
        return [(prefix, tree)]
    if type(tree) in PLAIN:
        return []
    if isinstance(tree, (list, tuple)):
        names = getattr(tree, "_fields", None) or range(len(tree))
        items: Any = zip(names, tree, strict=False)
    elif isinstance(tree, dict) or (hasattr(tree, "items") and hasattr(tree, "keys")):
        items = tree.items()
    elif hasattr(tree, "__dataclass_fields__"):
        items = ((n, getattr(tree, n)) for n in tree.__dataclass_fields__)
    else:
        return []
    found = []
    for name, item in items:
        if type(item) not in PLAIN:
            found += tensors_by_path(item, f"{prefix}.{name}" if prefix else str(name))
    return found


def as_it_is(tree: Any) -> Any:
    """`tree`, read now where the program may still change it: lists, dicts, the output objects of `transformers`."""
    if tree is None or isinstance(tree, torch.Tensor):
        return tree
    if type(tree) is tuple and all(x is None or isinstance(x, torch.Tensor) for x in tree):
        return tree
    return dict(tensors_by_path(tree))


def numbers(trees: Iterable[Any], into: list[int | float]) -> None:
    """Collect the Python numbers in nested arguments."""
    for tree in trees:
        kind = type(tree)
        if kind is int or kind is float:
            into.append(tree)
        elif kind is list or kind is tuple:
            numbers(tree, into)


def flat(tree: Any) -> list[Any]:
    """The leaves of the nested results of an op; a key is a leaf."""
    if isinstance(tree, (list, tuple)) and not isinstance(tree, Key):
        return [leaf for item in tree for leaf in flat(item)]
    return [tree]
