"""The blame of every weight as matrices to be drawn, with a threshold that the data set."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from weightwalk.errors import UsageError
from weightwalk.learning.nudges.blaming import parameters, ranked
from weightwalk.learning.nudges.facts import Nudge
from weightwalk.walks.address import axis_labels

CELLS = 64  # rows and columns of one matrix; of a larger one, blocks are drawn
PANELS = 12


@dataclass(frozen=True, slots=True)
class Panel:
    """One parameter tensor as a matrix.

    Attributes:
        name: The tensor.
        shape: Its shape.
        gradient: ``∂loss/∂w``, shape (rows, columns); of a large tensor the entry of greatest size in each block.
        guilty: Which of these are, or hold, one of the weights told of.
        block: How many weights one cell stands for, (rows, columns).
        rows: Names of the rows, where they have any.
    """

    name: str
    shape: tuple[int, ...]
    gradient: np.ndarray = field(repr=False)
    guilty: np.ndarray = field(repr=False)
    block: tuple[int, int]
    rows: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Picture:
    """What the figure shows.

    Attributes:
        title: The net and the loss.
        panels: The tensors drawn.
        omitted: How many tensors are not drawn.
        top: How many weights are marked.
        threshold: The smallest ``|∂loss/∂w|`` among them.
        share: Their share of the sum of ``|∂loss/∂w|``.
        weights: How many weights the net has.
        largest: The greatest ``|∂loss/∂w|``.
    """

    title: str
    panels: tuple[Panel, ...]
    omitted: int
    top: int
    threshold: float
    share: float
    weights: int
    largest: float


def picture(nudge: Nudge) -> Picture:
    """The gradients of a step as matrices.

    Raises:
        UsageError: The facts came without their walk.
    """
    if nudge.walk is None:
        raise UsageError("These facts have lost their walk, which holds the gradients to draw.")
    found = list(parameters(nudge.walk, [t.name for t in nudge.tensors]))
    best = ranked(found, len(nudge.blames))
    marked = {(p.name, i) for p, i in best}
    share = {t.name: t.share for t in nudge.tensors}
    chosen = sorted(found, key=lambda p: -share[p.name])[:PANELS]
    panels = []
    for p in found:
        if all(p is not c for c in chosen):
            continue
        matrix = p.gradient.astype(np.float64).reshape(p.gradient.shape[0] if p.gradient.ndim > 1 else 1, -1)
        mask = np.zeros(matrix.size, dtype=bool)
        mask[[i for name, i in marked if name == p.name]] = True
        small, guilty, block = _blocks(matrix, mask.reshape(matrix.shape))
        labels = axis_labels(p.value.walk, p.value, 0) if p.gradient.ndim > 1 and block[0] == 1 else None
        panels.append(Panel(p.name, p.before.shape, small, guilty, block, tuple(labels or ())))
    sizes = [abs(b.gradient) for b in nudge.blames]
    title = (
        f"{nudge.net}: blame of every weight for the loss ({nudge.loss} {nudge.compared.loss:.6g}), step {nudge.step}"
    )
    return Picture(title, tuple(panels), len(found) - len(panels), len(best), min(sizes, default=0.0), nudge.share,
                   nudge.movement.weights, max(sizes, default=0.0))  # fmt: skip


def _blocks(matrix: np.ndarray, mask: np.ndarray) -> tuple[np.ndarray, np.ndarray, tuple[int, int]]:
    """At most `CELLS` rows and columns: of each block the entry of greatest size, with its sign."""
    high, wide = (max(1, -(-n // CELLS)) for n in matrix.shape)
    if high == wide == 1:
        return matrix, mask, (1, 1)
    rows, cols = (-(-n // b) for n, b in zip(matrix.shape, (high, wide), strict=True))
    pad = ((0, rows * high - matrix.shape[0]), (0, cols * wide - matrix.shape[1]))
    blocks = np.pad(matrix, pad).reshape(rows, high, cols, wide).transpose(0, 2, 1, 3).reshape(rows, cols, -1)
    held = np.pad(mask, pad).reshape(rows, high, cols, wide).max(axis=3).max(axis=1)
    at = np.abs(blocks).argmax(axis=-1)
    return np.take_along_axis(blocks, at[..., None], axis=-1)[..., 0], held, (high, wide)
