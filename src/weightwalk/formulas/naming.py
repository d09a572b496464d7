"""What a net says of its own numbers: their names, and for which inputs it was made."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from weightwalk.formulas.lifts.lift import Lifted
from weightwalk.formulas.places import Flat

Box = tuple[tuple[float, float], ...]


def named(lifted: Lifted, source: Any = None) -> Lifted:
    """With the names that the net has for its inputs and outputs (of an ACAS Xu controller, the words of a text net).

    Args:
        lifted: The net, with element addresses for names.
        source: What it was made from: a net from `weightwalk.load_net`, if it was one. A walk has its own labels.
    """
    net = lifted.net
    if len(lifted.sources) == 1 and not lifted.embedded:
        own = tuple(getattr(getattr(source, "expects", None), "names", ()))
        names = own if len(own) == net.n else _labels(lifted, lifted.sources[0], source)
        net = replace(net, inputs=names or net.inputs)
    names = _labels(lifted, lifted.output, source)
    if names and all(n.isidentifier() for n in names):
        net = replace(net, outputs=names)
    elif names:
        address = lifted.walk.values[lifted.output].address
        net = replace(net, outputs=tuple(f"{address}[{n!r}]" for n in names))
    return replace(lifted, net=net)


def _labels(lifted: Lifted, vid: int, source: Any) -> tuple[str, ...]:
    """The labels of the last axis of a value, where they name each of its numbers."""
    walk = lifted.walk
    value = walk.values[vid]
    found = [walk.axis_labels(value, -1) if value.shape else None]
    for address, axes in (getattr(source, "labels", None) or {}).items():
        if isinstance(axes, Mapping) and walk.names.get(address) == vid:
            found.append(axes.get(-1))
    names: Sequence[Any] = next((n for n in found if n and not isinstance(n, str)), ())
    return tuple(str(n) for n in names) if len(names) == value.size == len(set(names)) else ()


def own_box(source: Any, n: int) -> Box | None:
    """(least, greatest) of each of n inputs, where the net says so."""
    box: Box = getattr(getattr(source, "expects", None), "box", ())
    return box if len(box) == n and all(math.isfinite(v) for side in box for v in side) else None


def box_on(flat: Flat, own: Box | None) -> Box | None:
    """The net's own box in the coordinates of a plane along the axes of two inputs; None for any other plane."""
    if own is None or any(np.count_nonzero(d) != 1 or d.sum() != 1.0 for d in flat.directions):
        return None
    return tuple(own[int(d.argmax())] for d in flat.directions)
