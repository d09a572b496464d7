"""Addresses: how a person names a number of a walk.

::

    address  = sum | glob
    sum      = term (("+" | "-") term)*
    term     = [number "*"] name ["[" index ("," index)* "]"]
    index    = integer | start:stop:step | "label" | ":"

Names are those of ``Walk.names``. A name that is not found as it stands is sought as the end of one (``h.3.attn`` finds
``transformer.h.3.attn``), and must then be unique. An index with fewer entries than axes skips leading axes of size 1,
so ``logits[-1, " Paris"]`` reads a batch of one.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from weightwalk.errors import AddressError
from weightwalk.walks.model import Value

if TYPE_CHECKING:
    from weightwalk.walks.walk import Walk

Index = tuple[int | slice, ...]


@dataclass(frozen=True, slots=True)
class Term:
    """`coefficient` times the elements `index` of `value`."""

    coefficient: float
    value: Value
    index: Index

    def numpy(self) -> np.ndarray:
        """The selected elements, without the coefficient."""
        return self.value.numpy()[self.index]


@dataclass(frozen=True, slots=True)
class Selection:
    """A weighted sum of elements of values: what an address with an index, a sum or a difference names.

    ``float(selection)`` is the number, if it is one; ``numpy(selection)`` the elements.

    Attributes:
        address: As it was asked for.
        terms: What is added up.

    Example:
        >>> import torch, weightwalk as ww
        >>> walk = ww.walk(torch.nn.ReLU(), torch.tensor([-1.0, 2.0, 3.0]))
        >>> float(walk["out[2] - 0.5 * out[1]"])
        2.0
    """

    address: str
    terms: tuple[Term, ...]

    def numpy(self) -> np.ndarray:
        """The elements, in the recorded dtype for a single plain term, else their weighted sum in float64."""
        if len(self.terms) == 1 and self.terms[0].coefficient == 1:
            return self.terms[0].numpy()
        parts = [t.coefficient * t.numpy().astype(np.float64) for t in self.terms]
        total = parts[0]
        for part in parts[1:]:
            total = total + part
        return total

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the selected elements."""
        return self.numpy().shape

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.array(self.numpy(), dtype=dtype, copy=True if copy is None else copy)

    def __float__(self) -> float:
        array = self.numpy()
        if array.size != 1:
            raise AddressError(
                f"{self.address} names {array.size} numbers, one is needed; "
                f"index it down to one, for example {self.address}[{', '.join(['0'] * max(array.ndim, 1))}]."
            )
        return float(array.reshape(()))


# Parsing -----------------------------------------------------------------------------------------------------------

_STRING = r'"(?:[^"\\]|\\.)*"' + r"|'(?:[^'\\]|\\.)*'"
_NUMBER = re.compile(r"\s*(\d+(?:\.\d*)?(?:[eE][+-]?\d+)?)\s*\*\s*")
_NAME = re.compile(r"\s*([^\s\[\]\"']+)")
_BRACKET = re.compile(r"\[((?:" + _STRING + r"|[^\]\"'])*)\]")
_ITEM = re.compile(r"\s*(" + _STRING + r"|[^,\"']*)\s*(?:,|$)")
_SIGN = re.compile(r"\s*([+-])\s+|\s*([+-])")


def _parse(text: str) -> list[tuple[float, str, list[str] | None]]:
    """`text` as (coefficient, name, index items or None) per term."""
    terms = []
    at, sign = 0, 1.0
    if (m := re.match(r"\s*([+-])", text)) is not None:
        sign, at = (-1.0 if m[1] == "-" else 1.0), m.end()
    while True:
        coefficient = sign
        if (m := _NUMBER.match(text, at)) is not None:
            coefficient, at = sign * float(m[1]), m.end()
        if (m := _NAME.match(text, at)) is None:
            raise AddressError(f"{text!r} is not an address: a name is missing at character {at + 1}.")
        name, at, items = m[1], m.end(), None
        if at < len(text) and text[at] == "[":
            if (m := _BRACKET.match(text, at)) is None:
                raise AddressError(f"{text!r} has an index that is not closed: write it as name[0, 3].")
            items, at = _items(m[1], text), m.end()
        terms.append((coefficient, name, items))
        if not text[at:].strip():
            return terms
        if (m := _SIGN.match(text, at)) is None:
            raise AddressError(f"{text!r} is not an address: '+' or '-' was expected before {text[at:].strip()!r}.")
        sign, at = (-1.0 if (m[1] or m[2]) == "-" else 1.0), m.end()


def _items(inside: str, text: str) -> list[str]:
    items, at = [], 0
    while at < len(inside):
        m = _ITEM.match(inside, at)
        if m is None or not m[1].strip():
            raise AddressError(f"{text!r} has an empty place in its index: write a number, a label or ':'.")
        items.append(m[1] if m[1][0] in "\"'" else m[1].strip())
        at = m.end()
    return items


# Finding -----------------------------------------------------------------------------------------------------------


def is_glob(address: str) -> bool:
    """Whether `address` asks for several values by pattern."""
    return any(c in re.sub(r"\[.*", "", re.sub(r"^\s*[\d.]+\s*\*", "", address)) for c in "*?")


def glob_regex(pattern: str) -> re.Pattern[str]:
    """``*`` and ``?`` stay within one dotted part and one side of ``/``; ``**`` crosses dots; ``/`` must be written."""
    out = []
    for piece in re.split(r"(\*\*|\*|\?)", pattern):
        out.append({"**": "[^/]*", "*": r"[^./]*", "?": r"[^./]"}.get(piece, re.escape(piece)))
    return re.compile(r"(?:.*\.)?" + "".join(out))


def find_all(walk: Walk, pattern: str) -> dict[str, Value]:
    """Every value whose address matches a glob, by address, in the order of the walk."""
    regex = glob_regex(pattern)
    return {name: walk.values[vid] for name, vid in walk.names.items() if regex.fullmatch(name)}


def _find(walk: Walk, name: str) -> Value:
    names = walk.names
    for candidate in (name, name.removesuffix(".out")):
        if candidate in names:
            return walk.values[names[candidate]]
    ends = {v for n, v in names.items() if n.endswith(("." + name, "/" + name.lstrip("/")))}
    if len(ends) == 1:
        return walk.values[ends.pop()]
    if len(ends) > 1:
        some = [n for n in names if n.endswith(("." + name, "/" + name.lstrip("/")))][:4]
        raise AddressError(f"{name!r} is the end of {len(ends)} addresses: {', '.join(some)} ...; write more of it.")
    near = difflib.get_close_matches(name, list(names), n=3, cutoff=0.4)
    hint = f"did you mean {' or '.join(near)}?" if near else "walk.addresses() lists them."
    raise AddressError(f"no value has the address {name!r}; {hint}")


def axis_labels(walk: Walk, value: Value, axis: int) -> Sequence[str] | None:
    """The labels of one axis: those given for the value's own names, else vocabulary or tokens where sizes fit."""
    axis %= max(len(value.shape), 1)
    size = value.shape[axis] if value.shape else 0
    for name, axes in walk.labels.items():
        if isinstance(axes, dict) and walk.names.get(name) == value.id:
            for key, labels in axes.items():
                if int(key) % max(len(value.shape), 1) == axis and len(labels) == size:
                    return labels
    vocab, tokens = walk.labels.get("vocab"), walk.labels.get("tokens")
    if vocab and axis == len(value.shape) - 1 and size == len(vocab):
        return vocab
    if tokens and size == len(tokens) and axis in (0, 1, len(value.shape) - 2) and axis < 3:
        return tokens
    return None


def _one_index(walk: Walk, value: Value, axis: int, item: str, address: str) -> int | slice:
    size = value.shape[axis]
    if item[0] in "\"'":
        label = item[1:-1].replace('\\"', '"').replace("\\'", "'")
        labels = axis_labels(walk, value, axis)
        if labels is None:
            raise AddressError(
                f"{address}: axis {axis} (size {size}) has no labels, so {label!r} cannot be looked up there."
            )
        hits = [i for i, x in enumerate(labels) if x == label]
        if len(hits) == 1:
            return hits[0]
        if hits:
            raise AddressError(
                f"{address}: {label!r} labels {len(hits)} places of axis {axis}, {hits[:5]}; use the number."
            )
        near = difflib.get_close_matches(label, list(labels), n=3, cutoff=0.5)
        near += [x for x in labels if x.strip() == label.strip() and x not in near]
        hint = f"; did you mean {' or '.join(repr(x) for x in near[:3])}?" if near else "."
        raise AddressError(f"{address}: axis {axis} has no label {label!r}{hint}")
    try:
        if ":" in item:
            return slice(*(int(p) if p.strip() else None for p in item.split(":")))
        at = int(item)
    except (ValueError, TypeError):
        raise AddressError(
            f"{address}: {item!r} is no index; expected an integer, start:stop or a quoted label."
        ) from None
    if not -size <= at < size:
        raise AddressError(f"{address}: index {at} is outside axis {axis}, which has size {size}.")
    return at


def _index(walk: Walk, value: Value, items: list[str], address: str) -> Index:
    ndim = len(value.shape)
    if len(items) > ndim:
        raise AddressError(f"{address} has {len(items)} indices, but the value has shape {value.shape}.")
    skip = 0
    while ndim - skip > len(items) and skip < ndim and value.shape[skip] == 1:
        skip += 1
    axes = range(skip, skip + len(items))
    return (0,) * skip + tuple(_one_index(walk, value, a, i, address) for a, i in zip(axes, items, strict=True))


def _merge_names(terms: Iterable[tuple[float, str, list[str] | None]], walk: Walk, text: str) -> list[Term]:
    out = []
    for coefficient, name, items in terms:
        value = _find(walk, name)
        index = _index(walk, value, items, text) if items is not None else ()
        out.append(Term(coefficient, value, index))
    return out


def select(walk: Walk, address: str) -> Selection:
    """`address` (no glob) as a weighted sum of elements.

    Raises:
        AddressError: It does not parse, names nothing, or indexes outside the value.
    """
    if not isinstance(address, str) or not address.strip():
        raise AddressError(f"an address is a non-empty text such as 'fc1[0, 3]', not {address!r}.")
    if address.strip() in walk.names:  # names may contain signs, such as "layer-1"
        return Selection(address, (Term(1.0, walk.values[walk.names[address.strip()]], ()),))
    return Selection(address, tuple(_merge_names(_parse(address), walk, address)))


def look_up(walk: Walk, address: str) -> Value | Selection | dict[str, Value]:
    """What ``walk[address]`` gives: a value, a selection, or a dict for a glob."""
    if isinstance(address, str) and is_glob(address):
        found = find_all(walk, address)
        if not found:
            raise AddressError(f"no address matches {address!r}; walk.addresses() lists them.")
        return found
    selection = select(walk, address)
    if len(selection.terms) == 1 and selection.terms[0].coefficient == 1 and not selection.terms[0].index:
        return selection.terms[0].value
    return selection
