"""A net of which one weight moves: for each of many samples, its outputs as a chain of lines in that weight.

Let u be how far the weight has moved. Everything before its layer stays as it is, so there ``z = z_0 + u v`` with one
v per sample; from there on every sample has pieces of its own, cut where a unit passes a kink. All samples are carried
through a layer together, as rows of one array, so that a layer is one matrix product.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import sparse

from weightwalk.errors import UsageError
from weightwalk.formulas.piecewise import Activation, Affine, Matrix, PiecewiseNet, times
from weightwalk.formulas.points.matrices import row_norms

TOLERANCE = 1e-13
"""A number below this fraction of the terms of which it is the sum is held to be 0: rounding decides its sign."""

CANCELLED = 1e-3
"""A layer is taken to be at least as large as this fraction of its terms, for its rounding errors are theirs."""


@dataclass(frozen=True, eq=False)
class Weight:
    """One weight of a net, and what of the net moves with it.

    Attributes:
        name: ``"fc2.weight[0, 1]"``.
        value: Its number.
        changes: (layer from 0, or the number of layers for the output; how fast that layer's affine map changes).
    """

    name: str
    value: float
    changes: tuple[tuple[int, Affine], ...]

    @property
    def first(self) -> int:
        """The first layer that moves."""
        return self.changes[0][0]


@dataclass(frozen=True, eq=False)
class Motion:
    """N samples before the weight moves, from its layer on; each tuple has an entry per layer, the output last.

    Attributes:
        net: The net.
        first: The layer that moves, from 0.
        moving: The sources that move: k + 1 for layer k.
        still: (N, n) what does not move: bias, and the other sources.
        sizes: (N, n) the size of the terms of which that is the sum.
        norms: By source that moves, the length of each row of its matrix.
        rates: (d, N, n) how fast z moves with each of d weights, where a layer reads one of them; else None.
    """

    net: PiecewiseNet
    first: int
    moving: frozenset[int]
    still: tuple[np.ndarray, ...]
    sizes: tuple[np.ndarray, ...]
    norms: tuple[dict[int, np.ndarray], ...]
    rates: tuple[np.ndarray | None, ...]

    def affine(self, k: int) -> Affine:
        """The affine map of a layer, or of the output."""
        return self.net.output if k == len(self.net.layers) else self.net.layers[k].affine

    def rows(self, some: slice) -> Motion:
        """Some of the samples."""
        return Motion(
            self.net,
            self.first,
            self.moving,
            tuple(a[some] for a in self.still),
            tuple(a[some] for a in self.sizes),
            self.norms,
            tuple(None if a is None else a[:, some] for a in self.rates),
        )


@dataclass(frozen=True, eq=False)
class Segments:
    """S stretches of u, in order of sample and then of u, with the outputs as lines on each.

    Attributes:
        sample: (S,).
        start: (S,); may be -inf.
        end: (S,); may be inf.
        slope: (S, outputs).
        constant: (S, outputs): ``y = slope u + constant``.
        switches: (X, 3) sample, layer and unit of every change of a piece.
        places: (X,) u of each.
    """

    sample: np.ndarray
    start: np.ndarray
    end: np.ndarray
    slope: np.ndarray
    constant: np.ndarray
    switches: np.ndarray
    places: np.ndarray


def entry(net: PiecewiseNet, layer: int, unit: int, column: int | None, source: int | None = None) -> Weight:
    """One number of a layer's matrix, or of its bias.

    Args:
        net: The net.
        layer: Number of the layer, from 0; the number of layers stands for the output.
        unit: The row.
        column: The column; None for the bias.
        source: Of which matrix, where the layer reads several sources: 0 is the input, k layer k counted from 1.

    Raises:
        UsageError: There is no such layer, unit, source or column.
    """
    if not 0 <= layer <= len(net.layers):
        raise UsageError(f"There is no layer {layer}: the net has {len(net.layers)}, from 0, and then its output.")
    affine = net.output if layer == len(net.layers) else net.layers[layer].affine
    name = "output" if layer == len(net.layers) else net.layers[layer].name
    if not 0 <= unit < affine.size:
        raise UsageError(f"There is no unit {unit} in {name}: it has {affine.size}, counted from 0.")
    mark = np.zeros(affine.size)
    if column is None:
        mark[unit] = 1.0
        return Weight(f"{name}.bias[{unit}]", float(affine.bias[unit]), ((layer, Affine((), mark)),))
    read = [j for j, _ in affine.terms]
    chosen = read[-1] if source is None and read else source
    if chosen not in read:
        raise UsageError(f"{name} does not read source {source}; it reads {', '.join(map(str, read)) or 'none'}.")
    matrix = dict(affine.terms)[chosen]
    if not 0 <= column < matrix.shape[1]:
        raise UsageError(f"There is no column {column} in {name}: it has {matrix.shape[1]}, counted from 0.")
    one = sparse.csr_array(([1.0], ([unit], [column])), shape=matrix.shape)
    cell = np.zeros(matrix.shape[1])
    cell[column] = 1.0
    value = float(np.asarray(matrix @ cell)[unit])
    return Weight(f"{name}.weight[{unit}, {column}]", value, ((layer, Affine(((chosen, one),), 0.0 * mark)),))


def motion(net: PiecewiseNet, weights: Sequence[Weight], x: np.ndarray) -> Motion:
    """What stays and what moves when some weights of one layer move, for samples x (N, n).

    Raises:
        UsageError: A weight multiplies what another, or itself, has moved: the outputs are then no lines in it.
    """
    first = min(weight.first for weight in weights)
    moving = _moving(net, weights)
    bad = [(w, k) for w in weights for k, affine in w.changes if affine.reads() & moving]
    if bad:
        name, layer = bad[0][0].name, bad[0][1]
        others = ", ".join(w.name for w in weights)
        raise UsageError(
            f"{name} acts on numbers that {others} has already moved (in layer {layer}), so the outputs hold their "
            "product and are not piecewise affine: choose weights of one layer."
            if len(weights) > 1
            else f"{name} is used by more than one layer, one after the other, so the outputs hold powers of it and "
            "are not piecewise affine: its loss along the weight is not piecewise quadratic."
        )
    sources: list[np.ndarray | None] = [np.asarray(x, np.float64)]
    for k, layer in enumerate(net.layers, 1):
        sources.append(None if k in moving else layer.activation(layer.affine(sources)))
    lengths = [None if source is None else np.linalg.norm(source, axis=1) for source in sources]
    still, sizes, norms, rates = [], [], [], []
    for k in range(first, len(net.layers) + 1):
        affine = net.output if k == len(net.layers) else net.layers[k].affine
        before = Affine(tuple((j, m) for j, m in affine.terms if j not in moving), affine.bias)
        still.append(before(sources))
        size = np.tile(np.abs(affine.bias), (len(x), 1))
        for j, matrix in before.terms:
            length = lengths[j]
            assert length is not None
            size += length[:, None] * row_norms(matrix)
        sizes.append(size)
        norms.append({j: row_norms(matrix) for j, matrix in affine.terms if j in moving})
        parts = [dict(weight.changes).get(k) for weight in weights]
        some = [p(sources) if p is not None else np.zeros((len(x), affine.size)) for p in parts]
        rates.append(None if all(p is None for p in parts) else np.stack(some))
    return Motion(net, first, moving, tuple(still), tuple(sizes), tuple(norms), tuple(rates))


def _moving(net: PiecewiseNet, weights: Sequence[Weight]) -> frozenset[int]:
    """The sources that move with some weights."""
    changed = {k for weight in weights for k, _ in weight.changes}
    moving: set[int] = set()
    for k, layer in enumerate(net.layers):
        if k in changed or layer.affine.reads() & moving:
            moving.add(k + 1)
    return frozenset(moving)


def segments(motion: Motion, start: float, end: float, tolerance: float, most: int, before: int = 0) -> Segments:
    """Carry all samples of a motion with one weight from layer to layer.

    Raises:
        UsageError: There are more than `most` stretches, `before` of other samples included.
    """
    count = len(motion.still[0])
    now = _Bundle(np.arange(count), np.full(count, start), np.full(count, end), {}, {})
    switches, places = [np.zeros((0, 3), np.intp)], [np.zeros(0)]
    for i, k in enumerate(range(motion.first, len(motion.net.layers))):
        if k + 1 not in motion.moving:
            continue
        z, sizes = _lines(motion, i, now)
        act = motion.net.layers[k].activation
        # What cancels is noise of the size of its terms, and layers further on must take it for that.
        noise = CANCELLED * np.abs(act.slopes).max(initial=0.0)
        now.lengths[k + 1] = noise * np.sqrt(np.einsum("scn,scn->sc", sizes, sizes))
        found = [_crossings(now, z, sizes, act.kinks[:, p], tolerance) for p in range(act.count)]
        if found:
            now, z, marks, where = _cut(now, z, [np.concatenate(parts) for parts in zip(*found, strict=True)])
            switches.append(np.stack([marks[0], np.full(len(where), k), marks[1]], axis=1))
            places.append(where)
            if before + len(now.sample) > most:
                raise UsageError(
                    f"The loss along this weight has more than {most:,} pieces over all samples; give a "
                    "shorter --box or fewer samples."
                )
        now.sources[k + 1] = _apply(act, z, now.middle())
        length = np.sqrt(np.einsum("scn,scn->sc", now.sources[k + 1], now.sources[k + 1]))
        now.lengths[k + 1] = np.maximum(now.lengths[k + 1], length)
    y, _ = _lines(motion, len(motion.still) - 1, now)
    return Segments(now.sample, now.start, now.end, y[:, 0], y[:, 1], np.concatenate(switches), np.concatenate(places))


@dataclass(frozen=True, eq=False)
class _Bundle:
    """The stretches after some layers: outputs of the layers that moved, (S, 2, n), and their lengths, (S, 2)."""

    sample: np.ndarray
    start: np.ndarray
    end: np.ndarray
    sources: dict[int, np.ndarray]
    lengths: dict[int, np.ndarray]

    def take(self, parent: np.ndarray, start: np.ndarray, end: np.ndarray) -> _Bundle:
        return _Bundle(
            self.sample[parent],
            start,
            end,
            {j: s[parent] for j, s in self.sources.items()},
            {j: s[parent] for j, s in self.lengths.items()},
        )

    def middle(self) -> np.ndarray:
        """(S,) a number inside each stretch."""
        left, right = np.isfinite(self.start), np.isfinite(self.end)
        a, b = np.where(left, self.start, 0.0), np.where(right, self.end, 0.0)
        beyond = np.where(left, a + np.maximum(1.0, np.abs(a)), np.where(right, b - np.maximum(1.0, np.abs(b)), 0.0))
        return np.where(left & right, a + (b - a) / 2, beyond)


def _lines(motion: Motion, i: int, now: _Bundle) -> tuple[np.ndarray, np.ndarray]:
    """z of the i-th affine map that moves, as slope and constant (S, 2, n), and the sizes of their terms."""
    affine = motion.affine(motion.first + i)
    z = np.zeros((len(now.sample), 2, affine.size))
    sizes = np.zeros_like(z)
    rates = motion.rates[i]
    if rates is not None:
        z[:, 0] = rates[0][now.sample]
        sizes[:, 0] = np.abs(z[:, 0])
    z[:, 1] = motion.still[i][now.sample]
    sizes[:, 1] = motion.sizes[i][now.sample]
    for j, matrix in affine.terms:
        if j in motion.moving:
            source = now.sources[j]
            z += times(matrix, source.reshape(-1, source.shape[2])).reshape(z.shape)
            sizes += now.lengths[j][:, :, None] * motion.norms[i][j]
    return z, sizes


Crossing = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]
"""Stretch, unit, place and doubt of each."""


def _crossings(now: _Bundle, z: np.ndarray, sizes: np.ndarray, kink: np.ndarray, tolerance: float) -> Crossing:
    """Where z meets a kink of its unit inside a stretch; not where it cannot be told from an end of the stretch."""
    with np.errstate(all="ignore"):
        place = (kink - z[:, 1]) / z[:, 0]
        inside = (place > now.start[:, None]) & (place < now.end[:, None]) & np.isfinite(place)
    inside &= np.abs(z[:, 0]) > tolerance * sizes[:, 0]
    stretch, unit = np.nonzero(inside)
    t = place[stretch, unit]
    size = sizes[stretch, 0, unit] * np.abs(t) + sizes[stretch, 1, unit] + np.abs(kink[unit])
    doubt = tolerance * size / np.abs(z[stretch, 0, unit])
    clear = (t - now.start[stretch] > doubt) & (now.end[stretch] - t > doubt)
    return stretch[clear], unit[clear], t[clear], doubt[clear]


def _cut(
    now: _Bundle, z: np.ndarray, found: Sequence[np.ndarray]
) -> tuple[_Bundle, np.ndarray, tuple[np.ndarray, np.ndarray], np.ndarray]:
    """The stretches cut at all crossings; crossings of one stretch that cannot be told apart are one place."""
    stretch, unit, t, doubt = found
    order = np.lexsort((t, stretch))
    stretch, unit, t, doubt = stretch[order], unit[order], t[order], doubt[order]
    new = np.ones(len(t), bool)
    new[1:] = (stretch[1:] != stretch[:-1]) | (np.diff(t) > np.minimum(doubt[1:], doubt[:-1]))
    at, where = stretch[new], t[new]
    parent = np.repeat(np.arange(len(now.sample)), 1 + np.bincount(at, minlength=len(now.sample)))
    start, end = now.start[parent], now.end[parent]
    begins = at + np.arange(len(at)) + 1
    start[begins], end[begins - 1] = where, where
    marks = now.sample[stretch], unit
    return now.take(parent, start, end), z[parent], marks, where[np.cumsum(new) - 1]


def _apply(act: Activation, z: np.ndarray, middle: np.ndarray) -> np.ndarray:
    """phi of z on stretches without a kink inside, (S, 2, n)."""
    if not act.count and (act.slopes == 1.0).all() and not act.offsets.any():
        return z
    here = z[:, 0] * middle[:, None] + z[:, 1]
    if act.is_relu:
        return z * (here > 0.0)[:, None]
    slopes, offsets = act.of(act.pieces(here))
    h = z * slopes[:, None]
    h[:, 1] += offsets
    return h


def rate_of(new: Affine, old: Affine, step: float) -> Affine | None:
    """How fast an affine map changes, from two of them `step` apart; None where it does not.

    Raises:
        ValueError: The two do not read the same sources.
    """
    if [j for j, _ in new.terms] != [j for j, _ in old.terms] or new.size != old.size:
        raise ValueError("the two maps differ in what they read")
    terms: list[tuple[int, Matrix]] = []
    for (j, a), (_, b) in zip(new.terms, old.terms, strict=True):
        if a is b:
            continue
        if isinstance(a, np.ndarray) and isinstance(b, np.ndarray):
            change = sparse.csr_array((a - b) / step)
        elif sparse.issparse(a) and sparse.issparse(b):
            change = sparse.csr_array((a - b) / step)
            change.eliminate_zeros()
        else:
            operator = sparse.linalg.aslinearoperator
            terms.append((j, (operator(a) - operator(b)) * (1.0 / step)))
            continue
        if change.nnz:
            terms.append((j, change))
    bias = (new.bias - old.bias) / step
    return Affine(tuple(terms), bias) if terms or bias.any() else None
