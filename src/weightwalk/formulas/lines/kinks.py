"""Kinks of a net of one number, carried from layer to layer.

Between two kinks of all earlier layers every pre-activation is a line ``z = a t + b``, so that a new kink is where such
a line meets a kink of its unit. What is carried is a and b of every unit on every piece, never a value on a grid.

What makes it right on weights that are not generic is the sign of z at the ends of a piece, which has three values:
a unit whose |z| is lost in the size of the terms of which z is the sum is *at* its kink there. It then makes no second
kink beside the one that is there, and a unit that is zero on a whole piece makes none at all. For the same reason
crossings of several units that cannot be told apart become one kink.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from weightwalk.errors import UsageError
from weightwalk.formulas.lines.stretches import Repeat, Stretch, kept, parted
from weightwalk.formulas.piecewise import Activation, Affine, Matrix, PiecewiseNet

Progress = Callable[[int, int], None]
"""Called after each layer of each stretch with (layers done there, pieces so far)."""

NUMBERS = 2**20
"""A stretch of the line is cut in two when one layer of it has more numbers than this: 8 MiB stay in the cache."""

WIDEST = 2**23
"""More numbers than this are not made at once: a stretch is cut before one layer makes so many of it."""

CANCELLED = 1e-3
"""A number is taken to be as large as this fraction of the terms of which it is the sum: its rounding errors are."""


@dataclass(frozen=True, eq=False)
class Crossings:
    """Where units pass one of their kinks inside a piece.

    Attributes:
        above: (n, N) whether a unit is beyond the kink on a piece; where it crosses, whether it is after that.
        unit: Of each crossing, the unit,
        piece: the piece,
        t: the place,
        doubt: and how far the place is uncertain.
    """

    above: np.ndarray
    unit: np.ndarray
    piece: np.ndarray
    t: np.ndarray
    doubt: np.ndarray


def propagate(
    net: PiecewiseNet,
    start: float,
    end: float,
    tolerance: float,
    max_pieces: int,
    progress: Progress | None = None,
    memory: int = 2 << 30,
) -> tuple[list[Stretch], list[np.ndarray], list[np.ndarray]]:
    """All pieces from `start` to `end`: stretches in order, y of each (outputs, 2, N), and the size of the terms of y.

    Raises:
        UsageError: There are more than `max_pieces` pieces, or their patterns alone would take more than `memory`.
    """
    bounds = [_Bound(affine) for affine in (*(layer.affine for layer in net.layers), net.output)]
    most = max(NUMBERS // (2 * max([1, *(layer.size for layer in net.layers)])), 64)
    line = Stretch(np.array([start, end]), (np.array([[[1.0], [0.0]]]),), (np.array([[[1.0], [0.0]]]),), ())
    waiting, done, ys, sizes = [line], [], [], []
    pieces = 1
    while waiting:
        now = waiting.pop()
        while len(now.patterns) < len(net.layers) and now.pieces <= most:
            k = len(now.patterns)
            pieces -= now.pieces
            parts = _step(net, k, now, bounds[k], tolerance)
            now = parts[0]
            waiting.extend(parts[1:])
            pieces += sum(p.pieces for p in parts)
            _check_memory(pieces, net.units, memory)
            if pieces > max_pieces:
                raise UsageError(
                    f"The line has more than {max_pieces:,} pieces ({pieces:,} at layer {k + 1} of "
                    f"{len(net.layers)}); give a shorter line, or allow more with --max-regions."
                )
            if progress is not None:
                progress(len(now.patterns), pieces)
        if len(now.patterns) < len(net.layers):
            waiting.extend(reversed(now.cut(now.pieces // 2)))
            continue
        y, size = _columns(net.output, now), bounds[-1](now)
        done.append(replace(now, sources=(), sizes=()))
        ys.append(y)
        sizes.append(size)
    return done, ys, sizes


def _check_memory(pieces: int, units: int, memory: int) -> None:
    if pieces * units > memory:
        raise UsageError(
            f"The patterns of {pieces:,} pieces of {units:,} units would take {pieces * units / 2**30:.1f} GiB of the "
            f"{memory / 2**30:.1f} allowed; give a shorter line, or more with --memory."
        )


def _step(net: PiecewiseNet, k: int, now: Stretch, bound: _Bound, tolerance: float) -> tuple[Stretch, ...]:
    """One layer further: its kinks cut the pieces, its function is applied on each.

    Where so many new pieces would not fit, the stretch in two parts instead, cut at a kink in the middle.
    """
    layer = net.layers[k]
    act = layer.activation
    z = _columns(layer.affine, now)
    terms = bound(now)
    found, snapped = [], 0
    for p in range(act.count):
        signs, held = _signs(now.t, z, terms, act.kinks[:, p], tolerance)
        found.append(_crossings(now.t, z, terms, act.kinks[:, p], signs, tolerance))
        snapped += held
    spread = np.zeros(now.pieces, np.intp)
    pieces = np.zeros((layer.size, now.pieces), np.int8)
    t = now.t
    if found:
        where, leader, places = _merge(found)
        if len(places) > 1 and (now.pieces + len(places)) * layer.size > WIDEST:
            return parted(now, where, leader, places)
        snapped += len(where) - len(places)
        piece = np.zeros(len(places), np.intp)
        piece[leader] = where
        np.add.at(spread, piece, 1)
        t = np.insert(now.t, piece + 1, places)
        right = piece + 1 + np.arange(len(places))  # the new piece that begins at each place
        pieces = _pieces(found, right[leader], spread)
    repeat = Repeat(spread)
    z, terms = repeat(z), repeat(terms)
    size = np.abs(z)
    lost = size <= tolerance * terms  # what is nothing but rounding stays so, however many layers pass it on
    size += CANCELLED * terms
    np.copyto(size, terms, where=lost)
    alive = [net.last_read[j] > k + 1 for j in range(len(now.sources))]
    after = Stretch(
        t,
        (*kept(now.sources, alive, repeat), _apply(act, z, pieces)),
        (*kept(now.sizes, alive, repeat), _apply(_unsigned(act), size, pieces)),
        (*(repeat(p) for p in now.patterns), pieces),
        now.snapped + snapped,
    )
    return (after,)


# -- signs and crossings ----------------------------------------------------------------------------------------------


def _signs(
    t: np.ndarray, z: np.ndarray, terms: np.ndarray, kink: np.ndarray, tolerance: float
) -> tuple[np.ndarray, int]:
    """(n, N + 1) sign of z - kink at every end of a piece, 0 where it is lost in the size of its terms; and how often.

    An end between two pieces is judged from the piece whose terms are smaller there. At infinity the sign is that of
    the slope, or of the constant where the slope is none.
    """
    a, b = z[:, 0], z[:, 1] - kink[:, None]
    left, right = t[:-1].copy(), t[1:].copy()
    left[0] = left[0] if np.isfinite(left[0]) else 0.0
    right[-1] = right[-1] if np.isfinite(right[-1]) else 0.0
    still = terms[:, 1] + np.abs(kink)[:, None]
    d = np.empty((len(z), len(t)))
    size = np.empty_like(d)
    d[:, 0] = a[:, 0] * left[0] + b[:, 0]
    size[:, 0] = terms[:, 0, 0] * abs(left[0]) + still[:, 0]
    d[:, 1:] = a * right + b
    size[:, 1:] = terms[:, 0] * np.abs(right) + still
    inner = terms[:, 0, 1:] * np.abs(left[1:]) + still[:, 1:]
    np.copyto(d[:, 1:-1], a[:, 1:] * left[1:] + b[:, 1:], where=inner < size[:, 1:-1])
    np.minimum(size[:, 1:-1], inner, out=size[:, 1:-1])
    for end, piece, way in ((0, 0, -1.0), (-1, -1, 1.0)):
        if not np.isfinite(t[end]):
            flat = np.abs(a[:, piece]) <= tolerance * terms[:, 0, piece]
            d[:, end] = np.where(flat, b[:, piece], way * a[:, piece])
            size[:, end] = np.where(flat, still[:, piece], 0.0)
    zero = np.abs(d) <= tolerance * size
    held = np.count_nonzero(zero[:, 1:-1] & (d[:, 1:-1] != 0.0))
    signs = np.sign(d).astype(np.int8)
    signs[zero] = 0
    return signs, int(held)


def _crossings(
    t: np.ndarray, z: np.ndarray, terms: np.ndarray, kink: np.ndarray, signs: np.ndarray, tolerance: float
) -> Crossings:
    """Every change of sign inside a piece; one whose place turns out to be an end of the piece is none."""
    before, after = signs[:, :-1], signs[:, 1:]
    above = (before > 0) | (after > 0)
    unit, piece = np.nonzero(before * after < 0)
    a, b, c = z[unit, 0, piece], z[unit, 1, piece], kink[unit]
    with np.errstate(all="ignore"):
        place = (c - b) / a
        doubt = tolerance * (terms[unit, 0, piece] * np.abs(place) + terms[unit, 1, piece] + np.abs(c)) / np.abs(a)
    late = ~(place < t[piece + 1])
    above[unit, piece] = np.where(late, before[unit, piece], after[unit, piece]) > 0
    inside = ~late & (place > t[piece]) & np.isfinite(place)
    return Crossings(above, unit[inside], piece[inside], place[inside], doubt[inside])


def _merge(found: Sequence[Crossings]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of all crossings: their pieces, the number of the place to which each belongs, and the places, ascending.

    Two crossings are one place where their distance is below the smaller doubt. An uncertain one then joins the
    nearer neighbour that is more certain, if that is within its doubt; so two certain places never become one because
    an uncertain one lies between them.
    """
    piece = np.concatenate([f.piece for f in found])
    t = np.concatenate([f.t for f in found])
    doubt = np.concatenate([f.doubt for f in found])
    order = np.argsort(t, kind="stable")
    piece_of, t, doubt = piece[order], t[order], doubt[order]
    new = np.ones(len(t), bool)
    new[1:] = (piece_of[1:] != piece_of[:-1]) | (np.diff(t) > np.minimum(doubt[1:], doubt[:-1]))
    group = np.cumsum(new) - 1
    while True:
        best = np.lexsort((doubt, group))
        best = best[np.unique(group[best], return_index=True)[1]]  # the most certain of each
        places, sure, where = t[best], doubt[best], piece_of[best]
        join = _joins(places, sure, where)
        if not (join != np.arange(len(join))).any():
            break
        group = np.unique(join[group], return_inverse=True)[1]
    out = np.empty(len(t), np.intp)
    out[order] = group
    return piece, out, places


def _joins(places: np.ndarray, doubt: np.ndarray, piece: np.ndarray) -> np.ndarray:
    """For each place the one that it joins: itself, or a neighbour that is more certain and near enough."""
    join = np.arange(len(places))
    if len(places) < 2:
        return join
    gap = np.where(piece[1:] == piece[:-1], np.diff(places), np.inf)
    down, up = np.full(len(places), np.inf), np.full(len(places), np.inf)
    down[1:] = np.where(doubt[1:] > doubt[:-1], gap, np.inf)
    up[:-1] = np.where(doubt[:-1] > doubt[1:], gap, np.inf)
    near = np.minimum(down, up) <= doubt
    join[near & (down <= up)] -= 1
    join[near & (down > up)] += 1
    return join


def _pieces(found: Sequence[Crossings], right: np.ndarray, spread: np.ndarray) -> np.ndarray:
    """The piece in force of every unit on every new piece, (n, N') int8; a unit that is zero throughout is below."""
    first = np.arange(len(spread)) + np.cumsum(spread) - spread
    repeat = Repeat(spread)
    pieces = np.zeros((len(found[0].above), len(spread) + int(spread.sum())), np.int8)
    begin = 0
    for cross in found:
        here = right[begin : begin + len(cross.unit)]
        begin += len(cross.unit)
        above = repeat(cross.above)
        length = here - first[cross.piece]  # new pieces before the crossing
        where = np.repeat(first[cross.piece] - np.cumsum(length) + length, length) + np.arange(length.sum())
        unit = np.repeat(cross.unit, length)
        above[unit, where] = ~above[unit, where]
        pieces += above
    return pieces


# -- affine maps of all pieces at once --------------------------------------------------------------------------------


def _columns(affine: Affine, now: Stretch) -> np.ndarray:
    """z on every piece, (n, 2, N): slope and constant."""
    out: np.ndarray | None = None
    for j, matrix in affine.terms:
        source = now.sources[j]
        assert source is not None
        part = np.asarray(matrix @ source.reshape(len(source), -1))
        if np.may_share_memory(part, source):
            part = part.copy()
        out = part if out is None else out + part
    z = np.zeros((affine.size, 2, now.pieces)) if out is None else out.reshape(affine.size, 2, now.pieces)
    z[:, 1] += affine.bias[:, None]
    return z


def _apply(act: Activation, z: np.ndarray, pieces: np.ndarray) -> np.ndarray:
    """phi of z, (n, 2, N)."""
    if act.is_relu:
        return z * pieces[:, None]
    slopes, offsets = act.slopes, act.offsets
    if act.count:
        h = z * np.take_along_axis(slopes, pieces, 1)[:, None]
        h[:, 1] += np.take_along_axis(offsets, pieces, 1)
        return h
    if (slopes == 1.0).all() and not offsets.any():
        return z
    h = z * slopes[:, :, None]
    h[:, 1] += offsets
    return h


def _unsigned(act: Activation) -> Activation:
    """The same pieces without signs: what it makes of sizes."""
    return act if act.is_relu else Activation(act.name, act.kinks, np.abs(act.slopes), np.abs(act.offsets))


class _Bound:
    """The size of the terms of which slope and constant of z are sums: ``|bias| + sum_j |W_j| |h_j|``.

    Of an operator without entries to read: by Cauchy and Schwarz, from the norms of its rows.
    """

    def __init__(self, affine: Affine) -> None:
        self.bias = np.abs(affine.bias)
        self.terms = [(j, _magnitude(matrix)) for j, matrix in affine.terms]

    def __call__(self, now: Stretch) -> np.ndarray:
        """(n, 2, N)."""
        out = np.zeros((len(self.bias), 2, now.pieces))
        for j, matrix in self.terms:
            size = now.sizes[j]
            assert size is not None
            if matrix.ndim == 1:
                out += matrix[:, None, None] * np.sqrt(np.einsum("ucn,ucn->cn", size, size))
            else:
                out += np.asarray(matrix @ size.reshape(len(size), -1)).reshape(out.shape)
        out[:, 1] += self.bias[:, None]
        return out


def _magnitude(matrix: Matrix) -> Matrix:
    """|W|; of an operator the norms of its rows, estimated from 16 random vectors, (n,)."""
    if isinstance(matrix, np.ndarray) or hasattr(matrix, "multiply"):
        return abs(matrix)
    probe = np.random.default_rng(0).standard_normal((matrix.shape[1], 16))
    return np.sqrt((np.asarray(matrix @ probe) ** 2).mean(axis=1))
