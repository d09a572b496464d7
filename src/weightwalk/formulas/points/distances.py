"""The lengths of the rows of a pattern's polytope, in the memory and the time that are allowed.

The distance from x to the kink of a unit is slack / ||row||, so that the rows are needed only for their lengths. There
are three ways, and `plan` says beforehand which is taken and what it costs:

- *stored*: all rows, as the matrix G of the polytope;
- *streamed*: all rows, a few columns (or a few rows) at a time, of which only the lengths are kept;
- *sketched*: where even that is too much work. For a Gaussian direction w, (row w)^2 has mean ||row||^2; the mean over
  64 directions is ||row||^2 chi^2_64 / 64. One forward pass serves all rows. The lengths are then known to about 9 %,
  and the nearest kink is found exactly among the rows that the sketch cannot rule out.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.special import gammaincinv

from weightwalk.formulas.points.frozen import Frozen, Rows
from weightwalk.formulas.points.matrices import cost, term_sizes

Progress = Callable[[int, int], None]

RATE = 5_000_000_000
"""Multiplications (see `operators.cost`) to a second of budget. Counted, not clocked: the same call does the same."""

SKETCH = 64
"""Directions of a sketch."""

MISS = 1e-9
"""Probability that a sketch rules out the nearest kink."""

_ZERO = 1e-13
_CHUNK = 256 << 20


@dataclass(frozen=True, slots=True)
class Plan:
    """How the rows are gone through.

    Attributes:
        method: ``"stored"``, ``"streamed"`` or ``"sketched"``.
        reverse: Whether rows are swept backwards (few units, many inputs) or columns forwards.
        step: Rows or columns at a time.
        work: Multiplications, in all.
        size: Bytes that the whole of G takes or would take.
        note: Why G is not stored, or why lengths are estimates; ``""`` where all is exact and stored.
    """

    method: str
    reverse: bool
    step: int
    work: int
    size: int
    note: str


def plan(frozen: Frozen, rows: Rows, polytope: bool, memory: int, budget: float) -> Plan:
    """The way that fits `memory` (bytes) and `budget` (seconds, at `RATE`)."""
    net = frozen.net
    size = 8 * len(rows) * net.n
    done = np.cumsum([sum(cost(m) for _, m in la.affine.terms) for la in net.layers])
    backwards = int(sum(la.size * float(w) for la, w in zip(net.layers, done, strict=True)))
    forwards = net.n * frozen.work
    work = min(forwards, backwards)
    held = size if polytope and size <= memory else 0
    room = min(_CHUNK, max(memory - held, memory // 8))
    step = max(1, room // (16 * frozen.width))
    if work > RATE * budget:
        note = (
            f"The lengths of {len(rows):,} rows would take about {work / RATE:,.0f} s (budget {budget:g} s), so they "
            f"are estimated from {SKETCH} random directions; the nearest kink is found with its exact distance, and "
            f"missed with probability {MISS:g}."
        )
        return Plan("sketched", False, min(step, SKETCH), SKETCH * frozen.work, size, note)
    method = "stored" if polytope and size <= memory else "streamed"
    note = ""
    if polytope and method == "streamed":
        note = (
            f"The polytope is left out: {len(rows):,} rows of {net.n:,} numbers take {_bytes(size)}, "
            f"more than the memory allowed, {_bytes(memory)}."
        )
    return Plan(method, backwards < forwards, step, work, size, note)


@dataclass(frozen=True, eq=False)
class Lengths:
    """What going through the rows found.

    Attributes:
        G: (m, n), or None where it is not stored.
        norms: Per layer (n_k,), ||row|| of every unit; 0 where a row is zero up to rounding.
        spread: Standard error of the norms, relative: 0 but for a sketch.
    """

    G: np.ndarray | None
    norms: list[np.ndarray]
    spread: float


def lengths(frozen: Frozen, rows: Rows, plan: Plan, seed: int | None, progress: Progress | None) -> Lengths:
    """Go through the rows as planned."""
    if plan.method == "sketched":
        norms = _sketch(frozen, plan, seed, progress)
        clear_zeros(frozen, norms)
        return Lengths(None, norms, (2 * SKETCH) ** -0.5)
    G = np.empty((len(rows), frozen.net.n)) if plan.method == "stored" else None
    walk = _by_rows if plan.reverse else _by_columns
    norms = [np.sqrt(s) for s in walk(frozen, rows, G, plan.step, progress)]
    if G is not None:
        G *= rows.sign[:, None]
    for k, zero in enumerate(clear_zeros(frozen, norms)):
        if G is not None and len(zero):
            here = rows.here(k)
            G[here][np.isin(rows.index[here], zero)] = 0.0
    return Lengths(G, norms, 0.0)


def _by_columns(
    frozen: Frozen, rows: Rows, G: np.ndarray | None, step: int, progress: Progress | None
) -> list[np.ndarray]:
    """Squared lengths from forward passes of a few inputs at a time."""
    n, layers = frozen.net.n, frozen.net.layers
    squares = [np.zeros(la.size) for la in layers]
    for low in range(0, n, step):
        high = min(low + step, n)
        for k, part in zip(range(len(layers)), frozen.columns(low, high), strict=False):
            squares[k] += np.einsum("ij,ij->i", part, part)
            if G is not None:
                here = rows.here(k)
                whole = here.stop - here.start == layers[k].size and layers[k].activation.count == 1
                G[here, low:high] = part if whole else part[rows.index[here]]
        if progress is not None:
            progress(high, n)
    return squares


def _by_rows(
    frozen: Frozen, rows: Rows, G: np.ndarray | None, step: int, progress: Progress | None
) -> list[np.ndarray]:
    """Squared lengths from reverse sweeps of a few units at a time."""
    layers, squares, done = frozen.net.layers, [], 0
    total = sum(la.size for la in layers)
    for k, layer in enumerate(layers):
        found = np.empty(layer.size)
        here = rows.here(k)
        index = rows.index[here]
        for low in range(0, layer.size, step):
            units = np.arange(low, min(low + step, layer.size))
            part = frozen.rows(k, units)
            found[units] = np.einsum("ij,ij->i", part, part)
            if G is not None:
                mine = np.flatnonzero((index >= low) & (index <= units[-1]))
                G[here.start + mine] = part[index[mine] - low]
            done += len(units)
            if progress is not None:
                progress(done, total)
        squares.append(found)
    return squares


def _sketch(frozen: Frozen, plan: Plan, seed: int | None, progress: Progress | None) -> list[np.ndarray]:
    """Estimated lengths of every unit's row."""
    rng = np.random.default_rng(seed)
    squares = [np.zeros(la.size) for la in frozen.net.layers]
    for low in range(0, SKETCH, plan.step):
        count = min(plan.step, SKETCH - low)
        for total, z in zip(squares, frozen.run(rng.standard_normal((count, frozen.net.n)), 0.0)[1], strict=True):
            total += np.einsum("ij,ij->j", z, z)
        if progress is not None:
            progress(low + count, SKETCH)
    return [np.sqrt(s / SKETCH) for s in squares]


def clear_zeros(frozen: Frozen, norms: list[np.ndarray]) -> list[np.ndarray]:
    """Set to 0 the lengths that are rounding noise, and say which those are.

    The difference of two equal rows is 0 or a few 1e-17 of them. A row is held to be zero if its length is at most
    1e-13 of the lengths of the terms that it sums, where terms that are noise themselves count with their noise.

    Returns:
        Per layer, the units whose row is zero.
    """
    noise: list[np.ndarray | None] = [np.full((1, frozen.net.n), _ZERO)]
    tops, found = [1.0], []
    for layer, slopes, norm in zip(frozen.net.layers, frozen.slopes, norms, strict=True):
        top = max([float(norm.max(initial=0.0)), *(tops[j] for j in layer.affine.reads())])
        small = np.flatnonzero(norm <= 1e-6 * top)
        floor = term_sizes(layer.affine, small, noise)[0]
        is_zero = norm[small] <= floor
        zero = small[is_zero]
        level = _ZERO * norm
        level[zero] = floor[is_zero]
        norm[zero] = 0.0
        noise.append((np.abs(slopes) * level)[None])
        tops.append(top)
        found.append(zero)
    return found


def nearest_by_sketch(frozen: Frozen, rows: Rows, slack: np.ndarray, norms: np.ndarray, step: int) -> np.ndarray:
    """Distances where the sketch could not rule out that the row is the nearest: exact there, as estimated elsewhere.

    Args:
        frozen: The net with its pattern.
        rows: Its half-spaces.
        slack: (m,).
        norms: (m,) from the sketch, 0 for zero rows.
        step: Rows of a sweep.

    Returns:
        (m,) distances, and a mask of those that are exact, stacked: (2, m).
    """
    guess = np.divide(slack, norms, out=np.full(len(slack), np.inf), where=norms > 0)
    exact = np.zeros(len(slack), bool)
    worst = np.sqrt(SKETCH / (2 * gammaincinv(SKETCH / 2, MISS / max(1, len(slack)))))
    order, best, place = np.argsort(guess, kind="stable"), np.inf, 0
    distance = guess.copy()
    while place < len(order) and guess[order[place]] / worst < best:
        some = order[place : place + step]
        some = some[np.isfinite(guess[some])]
        place += step
        for k in np.unique(rows.layer[some]):
            mine = some[rows.layer[some] == k]
            part = frozen.rows(int(k), rows.index[mine])
            distance[mine] = slack[mine] / np.sqrt(np.einsum("ij,ij->i", part, part))
            exact[mine] = True
        best = min(best, float(distance[some].min(initial=np.inf)))
    return np.stack([distance, exact])


def _bytes(size: int) -> str:
    for unit, name in ((1 << 40, "TB"), (1 << 30, "GB"), (1 << 20, "MB")):
        if size >= unit:
            return f"{size / unit:.3g} {name}"
    return f"{size:,} bytes"
