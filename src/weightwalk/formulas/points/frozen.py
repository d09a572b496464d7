"""A net with the piece of every unit held fixed: one affine map, forwards and backwards.

With slopes s and offsets o of the pieces, ``h_k = s_k z_k + o_k``. Forwards it takes points to outputs and directions
to slopes (a direction is a point without constants); backwards it takes rows at an output, or at a unit, to rows at the
input. Neither stores a matrix that the net does not store already.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from weightwalk.formulas.piecewise import Affine, PiecewiseNet
from weightwalk.formulas.points.matrices import after, before, cost, some_columns, some_rows


@dataclass(frozen=True, eq=False)
class Frozen:
    """The affine map of one pattern.

    Attributes:
        net: The net.
        pieces: Per layer (n_k,) int8, the piece of every unit.
    """

    net: PiecewiseNet
    pieces: tuple[np.ndarray, ...]

    @cached_property
    def slopes(self) -> tuple[np.ndarray, ...]:
        """Per layer (n_k,), s."""
        return tuple(la.activation.of(p)[0] for la, p in zip(self.net.layers, self.pieces, strict=True))

    @cached_property
    def offsets(self) -> tuple[np.ndarray, ...]:
        """Per layer (n_k,), o."""
        return tuple(la.activation.of(p)[1] for la, p in zip(self.net.layers, self.pieces, strict=True))

    @cached_property
    def work(self) -> int:
        """Multiplications of one pass, see `operators.cost`."""
        return sum(
            cost(m) for affine in (*(la.affine for la in self.net.layers), self.net.output) for _, m in affine.terms
        )

    @cached_property
    def width(self) -> int:
        """The most numbers that are alive at once in a pass of one point."""
        sizes, most = [self.net.n], 0
        for k, layer in enumerate(self.net.layers, 1):
            alive = sum(s for j, s in enumerate(sizes) if self.net.last_read[j] >= k)
            most = max(most, alive + 2 * layer.size)
            sizes.append(layer.size)
        return max(most, self.net.n + self.net.output.size)

    def run(self, points: np.ndarray, scale: float = 1.0) -> tuple[np.ndarray, list[np.ndarray]]:
        """y, (N, outputs), and every z, (N, n_k), at points (N, n); with scale 0 the points are directions."""
        sources: list[np.ndarray | None] = [points]
        kept: list[np.ndarray] = []
        for k, layer in enumerate(self.net.layers, 1):
            z = layer.affine(sources, scale)
            kept.append(z)
            h = z * self.slopes[k - 1]
            if scale:
                h += self.offsets[k - 1]
            sources.append(h)
            self._forget(sources, k)
        return self.net.output(sources, scale), kept

    def columns(self, low: int, high: int) -> Iterator[np.ndarray]:
        """The slopes of every z in inputs `low` to `high` - 1, (n_k, high - low), layer by layer; last those of y."""
        sources: list[np.ndarray | None] = [None]
        for k, layer in enumerate(self.net.layers, 1):
            z = _columns(layer.affine, sources, low, high)
            yield z
            sources.append(z * self.slopes[k - 1][:, None] if self.net.last_read[k] else None)
            self._forget(sources, k)
        yield _columns(self.net.output, sources, low, high)

    def rows(self, layer: int, units: np.ndarray) -> np.ndarray:
        """The slopes of some z of one layer (0 counts the first) in all inputs, (len(units), n), by a reverse sweep."""
        return self._back(self.net.layers[layer].affine, units, layer)

    def output_rows(self, outputs: np.ndarray) -> np.ndarray:
        """The slopes of some outputs in all inputs, (len(outputs), n), by a reverse sweep."""
        return self._back(self.net.output, outputs, len(self.net.layers))

    def _back(self, affine: Affine, units: np.ndarray, layers: int) -> np.ndarray:
        flow: dict[int, np.ndarray] = {}
        for j, matrix in affine.terms:
            _add(flow, j, some_rows(matrix, units))
        for k in range(layers, 0, -1):
            if (rows := flow.pop(k, None)) is None:
                continue
            rows = rows * self.slopes[k - 1]
            for j, matrix in self.net.layers[k - 1].affine.terms:
                _add(flow, j, before(rows, matrix))
        return flow.get(0, np.zeros((len(units), self.net.n)))

    def _forget(self, sources: list[np.ndarray | None], k: int) -> None:
        for j in range(k):
            if self.net.last_read[j] <= k:
                sources[j] = None


def _add(flow: dict[int, np.ndarray], j: int, rows: np.ndarray) -> None:
    flow[j] = flow[j] + rows if j in flow else rows


def _columns(affine: Affine, sources: Sequence[np.ndarray | None], low: int, high: int) -> np.ndarray:
    """Slopes of z; source 0 is the input itself."""
    out: np.ndarray | None = None
    for j, matrix in affine.terms:
        if j:
            source = sources[j]
            assert source is not None
            part = after(matrix, source)
        else:
            part = some_columns(matrix, low, high)
        out = part if out is None else out + part
    return np.zeros((affine.size, high - low)) if out is None else out


@dataclass(frozen=True, eq=False)
class Rows:
    """The half-spaces of a pattern: ``sign (z - kink) <= 0`` for each unit and each kink beside its piece.

    A ReLU has one row: z <= 0 in its first piece, -z <= 0 in its second. A hardtanh unit in its middle piece has two.

    Attributes:
        unit: (m,) number of the unit through all layers.
        layer: (m,) its layer, 0 for the first.
        index: (m,) its number in that layer.
        kink: (m,) which kink of the unit.
        sign: (m,) 1.0 where the kink lies above the piece, -1.0 where it lies below.
        level: (m,) z at the kink.
        start: Per layer and one more, where its rows start.
    """

    unit: np.ndarray
    layer: np.ndarray
    index: np.ndarray
    kink: np.ndarray
    sign: np.ndarray
    level: np.ndarray
    start: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.unit)

    def of(self, values: Sequence[np.ndarray]) -> np.ndarray:
        """``sign z`` per row, (N, m), from per-layer values (N, n_k)."""
        parts = [v[:, self.index[self.here(k)]] for k, v in enumerate(values)]
        out = np.concatenate(parts, axis=1) if parts else np.zeros((1, 0))
        out *= self.sign
        return out

    def here(self, layer: int) -> slice:
        """The rows of one layer."""
        return slice(self.start[layer], self.start[layer + 1])


def half_spaces(frozen: Frozen) -> Rows:
    """The rows of a pattern, by layer, by unit, the kink below before the kink above."""
    net, parts, start, first = frozen.net, [], [0], 0
    for k, (part, pieces) in enumerate(zip(net.layers, frozen.pieces, strict=True)):
        count = part.activation.count
        index = np.arange(part.size)
        index, kink = np.repeat(index, 2), np.stack([pieces - 1, pieces], axis=1).ravel().astype(np.int64)
        inside = (kink >= 0) & (kink < count)
        index, kink = index[inside], kink[inside]
        level = part.activation.kinks[index, kink] if count else np.zeros(0)
        finite = np.isfinite(level)
        index, kink, level = index[finite], kink[finite], level[finite]
        sign = np.where(kink == pieces[index], 1.0, -1.0)
        parts.append((first + index, np.full(len(index), k), index, kink, sign, level))
        start.append(start[-1] + len(index))
        first += part.size
    if not parts:
        whole, numbers = np.zeros(0, np.int64), np.zeros(0)
        return Rows(whole, whole, whole, whole, numbers, numbers, (0,))
    unit, layer, index, kink, sign, level = (np.concatenate(p) for p in zip(*parts, strict=True))
    return Rows(unit, layer, index, kink, sign, level, tuple(start))
