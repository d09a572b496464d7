"""The exact formula of a net around one input: y = A x + b, and the polytope on which it holds.

    walk over the layers at x         ->  the piece of every unit
    reverse sweep from the outputs    ->  A;  one forward pass at 0 with these pieces  ->  b
    z of unit i, kink k, row of G     ->  slack / ||row|| is the distance of x to that kink

Nothing of this is approximated, and nothing of it enumerates regions: it costs a few passes, and, for the rows of the
polytope, as many passes as there are inputs (or units, if these are fewer). See
`weightwalk.formulas.points.distances` for what is done when that is too much.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from weightwalk.errors import UsageError
from weightwalk.formulas.certificate import Certificate
from weightwalk.formulas.piecewise import PiecewiseNet
from weightwalk.formulas.points.checks import certify
from weightwalk.formulas.points.distances import RATE, Progress, lengths, nearest_by_sketch, plan
from weightwalk.formulas.points.facets import TIE, Region, coincident, on_one_plane, overstep, shoot
from weightwalk.formulas.points.facts import Along, FirstOrder, Local, Nearest
from weightwalk.formulas.points.frozen import Frozen, Rows, half_spaces
from weightwalk.formulas.points.minimal import minimal_rows
from weightwalk.formulas.points.settle import Settled, settle

Oracle = Callable[[np.ndarray], np.ndarray]

__all__ = ["Along", "FirstOrder", "Local", "Nearest", "first_order", "local"]


def local(
    net: PiecewiseNet,
    x: np.ndarray,
    *,
    direction: np.ndarray | None = None,
    box: np.ndarray | None = None,
    polytope: bool = True,
    facets: bool = False,
    minimal: bool = False,
    budget: float = 10.0,
    memory: int = 2 << 30,
    rays: int = 4096,
    seed: int | None = 0,
    oracle: Oracle | None = None,
    progress: Progress | None = None,
) -> Local:
    """The affine map of a net at x and the polytope on which it holds.

    Args:
        net: The net.
        x: (n,) the input.
        direction: (n,) along which the distance to the first kink is wanted. Where x is on a kink it also says which
            side is meant; without it a random direction does.
        box: (2, n), or two numbers for all inputs: least and greatest inputs. Rays and the Chebyshev ball end there.
        polytope: Store G. It is left out where it takes more than `memory`.
        facets: Find facets by shooting `rays` rays.
        minimal: Decide the other rows by linear programs (HiGHS) within `budget`; find the Chebyshev ball.
        budget: Seconds: of the linear programs, and (counted in multiplications, see `.distances`)
            of the rows' lengths.
        memory: Bytes.
        rays: Random rays to shoot, fewer if `budget` is too small; some at each row are shot besides.
        seed: Of rays and fresh points.
        oracle: The net itself, (N, n) -> (N, outputs), to which the formula is held; the `net` if None.
        progress: Called with (done, in all) while the rows are gone through.

    Raises:
        UsageError: x has not n finite numbers or lies outside the box, the direction is zero, the budget is not
            positive, or A alone exceeds the memory.

    Example:
        >>> from weightwalk.formulas.piecewise import mlp
        >>> net = mlp([np.array([[1.0], [-1.0]]), np.array([[1.0, 1.0]])], [np.zeros(2), np.zeros(1)])  # |x|
        >>> here = local(net, np.array([-3.0]))
        >>> here.A.tolist(), here.b.tolist(), here.nearest.unit, here.nearest.distance
        ([[-1.0]], [0.0], 'fc1[0]', 3.0)
    """
    x, direction, sides = _read(net, x, direction, box, budget, memory, rays)
    settled = settle(net, x, direction, seed)
    frozen = settled.frozen
    rows = half_spaces(frozen)
    A = _slopes(frozen, memory)
    b, at_zero = frozen.run(np.zeros((1, net.n)))
    slack = _slack(rows, settled)
    ways = plan(frozen, rows, polytope or minimal, max(memory - A.nbytes, 0), budget)
    if minimal and ways.method != "stored":
        raise UsageError(f"The minimal description needs the polytope in memory. {ways.note}")
    found = lengths(frozen, rows, ways, seed, progress)
    norms = np.concatenate([np.zeros(0), *(v[rows.index[rows.here(k)]] for k, v in enumerate(found.norms))])
    g = np.where(norms > 0, rows.sign * rows.level - rows.of(at_zero)[0], slack)
    exact = np.ones(len(rows), bool)
    distance = np.divide(slack, norms, out=np.full(len(rows), np.inf), where=norms > 0)
    if found.spread:
        distance, mask = nearest_by_sketch(frozen, rows, slack, norms, ways.step)
        exact = mask.astype(bool)
    region = Region(frozen, rows, norms, found.G, g, sides)
    along, left = _along(region, A, slack, direction, ways.step, budget)
    base = Local(
        net=net, x=x, y=settled.y, A=A, b=b[0], region=region, slack=slack, distance=distance, spread=found.spread,
        exact=exact, nearest=_nearest(region, x, slack, distance, exact), along=along,
        at_kink=settled.at_kink, still=settled.still, inward=settled.inward,
        inside=_inside(region, x, slack, settled, seed), facets=None, rays=None, minimal=None,
        note=" ".join(s for s in (ways.note, left) if s), certificate=Certificate((), seed or 0),
    )  # fmt: skip
    if facets or minimal:
        base = _with_facets(base, rays, budget, minimal, seed)
    return replace(base, certificate=certify(base, oracle or net, seed))


def first_order(local: Local, point: np.ndarray) -> FirstOrder:
    """The first-order expansion ``f(x) + A (point - x)``, and whether it is the net's own value there.

    Inside the region it is, exactly; outside it is an approximation, and the result says how far outside.

    Args:
        local: The formula at x.
        point: (n,) where it is wanted.

    Raises:
        UsageError: The point has not n finite numbers.
    """
    point = _vector(point, local.net.n, "The point")
    step = point - local.x
    excess = -local.region.slack(point[None])[0]
    region = local.region
    sizes = np.maximum(np.abs(local.slack), np.abs(excess + local.slack))
    out = (region.norms > 0) & (excess > 1e-12 * sizes)
    far = np.where(out, excess / np.where(region.norms > 0, region.norms, 1.0), 0.0)
    row = int(far.argmax()) if out.any() else None
    t = 1.0
    if row is not None:
        t = float(min(1.0, region.times(local.slack, step[None]).min(initial=np.inf)))
    value = local.y + local.A @ step
    truth = local.net(point[None])[0]
    return FirstOrder(point, value, truth, row is None, 0.0 if row is None else float(far[row]), row,
                      "" if row is None else local.unit(row), t)  # fmt: skip


def _read(
    net: PiecewiseNet, x: Any, direction: Any, box: Any, budget: float, memory: int, rays: int
) -> tuple[np.ndarray, np.ndarray | None, np.ndarray | None]:
    """x, direction and box as arrays, or a sentence on what is wrong with them."""
    x = _vector(x, net.n, "x")
    if direction is not None:
        direction = _vector(direction, net.n, "The direction")
        if not direction.any():
            raise UsageError("The direction is zero: no kink lies along it. Give one with at least one other number.")
    if not budget > 0:
        raise UsageError(f"The budget is {budget:g} s, but linear programs need some time: give a number above 0.")
    if rays < 1:
        raise UsageError(f"{rays} rays meet no facet: shoot at least one.")
    if 8 * net.output.size * net.n > memory:
        raise UsageError(
            f"A of {net.output.size:,} outputs x {net.n:,} inputs takes {8 * net.output.size * net.n:,} bytes, more "
            f"than the memory allowed, {memory:,}: select fewer outputs, or allow more."
        )
    return x, direction, None if box is None else _box(box, x)


def _vector(values: Any, n: int, what: str) -> np.ndarray:
    try:
        vector = np.asarray(values, np.float64).reshape(-1)
    except (TypeError, ValueError):
        raise UsageError(f"{what} is not a list of numbers; the net has {n:,} inputs.") from None
    if len(vector) != n:
        raise UsageError(f"{what} has {len(vector):,} numbers, but the net has {n:,} inputs.")
    if not np.isfinite(vector).all():
        place = int(np.flatnonzero(~np.isfinite(vector))[0])
        raise UsageError(f"{what} has {vector[place]} at place {place}: only finite numbers will do.")
    return vector


def _box(box: Any, x: np.ndarray) -> np.ndarray:
    """(2, n) from n pairs, or from one pair for all inputs."""
    sides = np.asarray(box, np.float64)
    if sides.shape == (2,):
        sides = np.tile(sides, (len(x), 1))
    if sides.shape != (len(x), 2) or np.isnan(sides).any() or not (sides[:, 0] < sides[:, 1]).all():
        raise UsageError(f"The box must be (least, greatest) for each of the {len(x):,} inputs, least below greatest.")
    sides = np.ascontiguousarray(sides.T)
    out = np.flatnonzero((x < sides[0]) | (x > sides[1]))
    if len(out):
        i = int(out[0])
        raise UsageError(
            f"x lies outside the box: input {i} is {x[i]:g}, the box goes from {sides[0, i]:g} to {sides[1, i]:g}."
        )
    return sides


def _slopes(frozen: Frozen, memory: int) -> np.ndarray:
    """A, by reverse sweeps of a few outputs, or by forward passes of a few inputs if these are fewer."""
    n, outputs = frozen.net.n, frozen.net.output.size
    step = max(1, min(memory, 256 << 20) // (16 * frozen.width))
    A = np.empty((outputs, n))
    if outputs <= n:
        for low in range(0, outputs, step):
            some = np.arange(low, min(low + step, outputs))
            A[some] = frozen.output_rows(some)
        return A
    for low in range(0, n, step):
        for part in frozen.columns(low, min(low + step, n)):
            last = part
        A[:, low : low + step] = last
    return A


def _slack(rows: Rows, settled: Settled) -> np.ndarray:
    """Slack of every row at x; exactly 0 at a kink."""
    return rows.sign * rows.level - rows.of([z[None] for z in settled.z])[0]


def _inside(region: Region, x: np.ndarray, slack: np.ndarray, settled: Settled, seed: int | None) -> np.ndarray:
    """A point strictly inside the region, half-way out along the direction that decided the side; x if on no kink."""
    if settled.inward is None:
        return x
    touching = (slack == 0) & (region.norms > 0)
    aside = np.random.default_rng(seed).standard_normal(region.n)
    aside /= np.linalg.norm(aside)
    tries = settled.inward + np.array([0.0, *10.0 ** -np.arange(1, 9)])[:, None] * aside
    rise = region.rise(tries)
    good = (rise[:, touching] < -1e-12 * region.norms[touching]).all(axis=1)
    direction = tries[int(good.argmax())]
    reach = region.times(np.where(touching, np.inf, slack), direction[None]).min(initial=np.inf)
    reach = min(reach, 1 + np.linalg.norm(x), float(region.leaves_box(x, direction[None])[0]))
    return x + 0.5 * reach * direction


def _along(
    region: Region, A: np.ndarray, slack: np.ndarray, direction: np.ndarray | None, step: int, budget: float
) -> tuple[tuple[Along, ...], str]:
    """The ways along each output's gradient and along the direction; and what was left out to keep the budget."""
    names = region.frozen.net.outputs
    most = int(max(1, min(RATE * budget // max(1, region.frozen.work), (256 << 20) // (16 * max(1, region.n)))))
    norms = np.sqrt(np.einsum("ij,ij->i", A, A))[:most]
    unit = A[:most] / np.where(norms > 0, norms, 1.0)[:, None]
    found: list[Along] = []
    step = max(1, min(step, region.step()))
    for low in range(0, len(unit), step):
        part = unit[low : low + step]
        rise = region.rise(part)
        both = zip(_first(region, slack, rise, part), _first(region, slack, -rise, part), strict=True)
        for i, (up, down) in enumerate(both, low):
            found += [_way(region, f"up {names[i]}", unit[i], up), _way(region, f"down {names[i]}", -unit[i], down)]
    if direction is not None:
        ahead = _first(region, slack, region.rise(direction[None]), direction[None])[0]
        found.append(_way(region, "direction", direction, ahead))
    left = (
        ""
        if most >= len(A)
        else f"Gradients of {most:,} of {len(A):,} outputs were followed, within budget and memory."
    )
    return tuple(found), left


def _first(region: Region, slack: np.ndarray, rise: np.ndarray, directions: np.ndarray) -> list[tuple[float, int]]:
    """(t, row) of the first kink of each ray."""
    if not rise.shape[1]:
        return [(np.inf, -1)] * len(rise)
    met = region.met(slack, rise, directions)
    which = met.argmin(axis=1)
    return [(float(met[i, r]), int(r)) for i, r in enumerate(which)]


def _way(region: Region, name: str, direction: np.ndarray, first: tuple[float, int]) -> Along:
    t, row = first
    if not np.isfinite(t):
        return Along(name, direction, np.inf, None, "")
    layer = region.frozen.net.layers[region.rows.layer[row]]
    return Along(name, direction, t, row, layer.unit(int(region.rows.index[row])))


def _nearest(
    region: Region, x: np.ndarray, slack: np.ndarray, distance: np.ndarray, exact: np.ndarray
) -> Nearest | None:
    """The nearest kink, and what changes there."""
    reach = np.where(exact, distance, np.inf)
    if not len(reach) or not np.isfinite(far := float(reach.min())):
        return None
    net, row = region.frozen.net, int(reach.argmin())
    normal = region.normals(np.array([row]))[0]
    normal = normal / np.linalg.norm(normal)
    met = region.times(slack, normal[None])[0]
    close = np.append(on_one_plane(region, row, np.setdiff1d(np.flatnonzero(met <= far * (1 + TIE)), [row])), row)
    row, shared = int(close.min()), np.sort(close[close != close.min()])
    point = x + far * normal
    same = np.arange(len(met))
    same[shared] = row
    over = overstep(region, same, np.array([row]), point[None], np.array([far]))[0] if far > 0 else 0.0
    beyond = point + over * normal if over > 0 else None
    pieces = region.frozen.pieces if beyond is None else [p[0] for p in net.pattern(beyond[None])]
    if beyond is None:
        pieces = settle(net, point, normal, 0).frozen.pieces
    here, there = (f.run(normal[None], 0.0)[0][0] for f in (region.frozen, Frozen(net, tuple(pieces))))
    layer, index = int(region.rows.layer[row]), int(region.rows.index[row])
    slopes, piece = net.layers[layer].activation.slopes[index], int(region.frozen.pieces[layer][index])
    after = piece + (1 if region.rows.sign[row] > 0 else -1)
    return Nearest(row, shared, net.layers[layer].unit(index), far, point, normal,
                   (float(slopes[piece]), float(slopes[after])), there - here, beyond)  # fmt: skip


def _with_facets(base: Local, rays: int, budget: float, programs: bool, seed: int | None) -> Local:
    """The same with facets, and with what the linear programs decided where they are wanted."""
    region = base.region
    same = coincident(region, region.slack(base.inside[None])[0])
    most = int(max(1, RATE * budget // (4 * max(1, region.frozen.work))))
    found = shoot(region, base.inside, same, base.still, min(rays, most), seed)
    if most < rays:
        base = replace(base, note=f"{base.note} {most:,} of {rays:,} rays were shot, within the budget.".strip())
    if not programs:
        return replace(base, facets=found.found, rays=found)
    decided = minimal_rows(region, base.inside, found, base.still, budget, seed)
    return replace(base, facets=decided.facets, rays=found, minimal=decided)
