"""A gradient as the sum of its paths: from each output of each example, back to one weight."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from weightwalk.errors import UsageError
from weightwalk.learning.nudges.comparing import gradient_of_output
from weightwalk.readings.account import Account
from weightwalk.walks.address import axis_labels
from weightwalk.walks.walk import Walk

MOST = 2000  # outputs that get a row each; of more, the cut is the whole tensor


def account_of(walk: Walk, weight: str, cut: Any, shape: tuple[int, ...], names: Sequence[str]) -> Account:
    """Account for ``∂loss/∂weight``.

    Backpropagation is linear in what arrives at the output, so that ``∂loss/∂w = Σ ∂loss/∂output · ∂output/∂w`` over
    all outputs of all examples: each row of the account is one term, the sum over all paths from that output to the
    weight.

    Args:
        walk: The recorded step.
        weight: ``"fc1.weight[0, 1]"``.
        cut: ``"outputs"``, or what `Walk.account` takes.
        shape: Shape of the net's output.
        names: Of the examples.

    Raises:
        UsageError: There is no such weight, or it has no gradient.
    """
    name, bracket, index = weight.partition("[")
    name = name.strip().removesuffix(".grad")
    if f"{name}.grad" not in walk.given:
        known = [n.removesuffix(".grad") for n in walk.given if n.endswith(".grad")]
        raise UsageError(f"There is no weight {name!r} with a gradient; there are {', '.join(known[:8])}.")
    if not bracket and walk.values[walk.given[name]].size != 1:
        raise UsageError(f"{name!r} holds many weights; name one of them, such as {name}[0].")
    address = f"{name}.grad{bracket}{index}"
    if cut != "outputs":
        return walk.account(address, cut)
    value = gradient_of_output(walk, shape)
    if value is None:
        return walk.account(address, "inputs")
    if value.size > MOST:
        return walk.account(address, [value.address])
    places = [tuple(int(i) for i in at) for at in np.ndindex(*shape)]
    sites = {f"{value.address}[{', '.join(map(str, at))}]": at for at in places}
    account = walk.account(address, list(sites) if shape else [value.address])
    output = next(walk.values[v] for c in walk.calls if c.path == "" for v in c.outputs.values()
                  if walk.values[v].shape == shape)  # fmt: skip
    classes = axis_labels(walk, output, len(shape) - 1) if len(shape) > 1 else None
    rows = []
    for row in account.rows:
        at = sites.get(row.address)
        rows.append(row if at is None else replace(row, label=f"∂loss/∂output, {_place(at, names, classes, shape)}"))
    return replace(account, rows=tuple(rows), cut="∂loss/∂output")


def _place(at: tuple[int, ...], names: Sequence[str], classes: Sequence[str] | None, shape: tuple[int, ...]) -> str:
    one_text = len(shape) == 3 and shape[0] == 1 and len(names) == shape[1]
    row = at[1] if one_text else at[0]
    inside = at[2:] if one_text else at[1:]
    name = names[row] if row < len(names) else f"example {row}"
    if not inside or (len(inside) == 1 and shape[-1] == 1):
        return name
    last = repr(classes[inside[-1]]) if classes is not None else str(inside[-1])
    return f"{name}[{', '.join([*map(str, inside[:-1]), last])}]"
