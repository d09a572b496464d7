"""The formula of a net of one number in fractions: the referee of `weightwalk.formulas.lines.line`."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise

from weightwalk.errors import UsageError
from weightwalk.formulas.certificate import Check
from weightwalk.formulas.lines.line import Line
from weightwalk.formulas.piecewise import PiecewiseNet
from weightwalk.formulas.rationals.net import Columns, WholeLayer, WholeNet, fraction, whole_net

End = Fraction | None
"""An end of a piece; None at infinity."""

_Pattern = tuple[tuple[int, ...], ...]


@dataclass(frozen=True)
class ExactLine:
    """A net of one number t, as ``y = slopes[i] t + intercepts[i]`` between kinks i - 1 and i, nothing rounded.

    Attributes:
        net: The net of t.
        start: Where the formula begins; None for -inf.
        end: Where it ends; None for inf.
        kinks: Ascending: where any unit changes its piece.
        units: Per kink the addresses of the units that do.
        bends: Per kink whether a slope of y changes.
        slopes: Per piece, one per output.
        intercepts: Per piece, one per output.
        pattern: Per piece and layer, the piece of every unit.
    """

    net: PiecewiseNet
    start: End
    end: End
    kinks: tuple[Fraction, ...]
    units: tuple[tuple[str, ...], ...]
    bends: tuple[bool, ...]
    slopes: tuple[tuple[Fraction, ...], ...]
    intercepts: tuple[tuple[Fraction, ...], ...]
    pattern: tuple[_Pattern, ...]

    def __call__(self, t: Fraction | float) -> tuple[Fraction, ...]:
        """y, exactly; at a kink both neighbours give the same."""
        t = fraction(t)
        i = sum(kink < t for kink in self.kinks)
        return tuple(a * t + b for a, b in zip(self.slopes[i], self.intercepts[i], strict=True))


@dataclass(frozen=True)
class _Part:
    """A piece of the line after some layers."""

    start: End
    end: End
    sources: tuple[Columns, ...]
    pattern: _Pattern


def line_exact(net: PiecewiseNet, start: float | End = None, end: float | End = None) -> ExactLine:
    """The formula of a small net of one number, in fractions.

    Args:
        net: A net with one input, whose entries are those of the original net.
        start: Where to begin; None or -inf for no beginning.
        end: Where to end; None or inf for no end.

    Raises:
        UsageError: The net has not one input, is not exact, or is too large; the line has no length.

    Example:
        >>> import numpy as np
        >>> from weightwalk.formulas.piecewise import mlp
        >>> net = mlp([np.array([[3.0]]), np.array([[0.5]])], [np.array([-1.0]), np.array([0.25])])
        >>> line_exact(net).kinks
        (Fraction(1, 3),)
    """
    if net.n != 1:
        raise UsageError(f"A line needs a net of one number, and this one has {net.n} inputs.")
    low, high = _end(start), _end(end)
    if low is not None and high is not None and low >= high:
        raise UsageError(f"A line from {low} to {high} has no length; give the smaller end first.")
    whole = whole_net(net)
    parts = [_Part(low, high, (([1], [0]),), ())]
    for k, layer in enumerate(whole.layers):
        whole.spend(len(parts), k, "pieces")
        parts = [cut for part in parts for cut in _cut(part, layer)]
    whole.spend(len(parts), len(whole.layers), "pieces")
    return _facts(net, low, high, parts, whole)


def _end(at: float | End) -> End:
    return None if at is None or (isinstance(at, float) and math.isinf(at)) else fraction(at)


def _cut(part: _Part, layer: WholeLayer) -> list[_Part]:
    """The part, cut at every kink of every unit that lies inside it."""
    z = layer.affine(part.sources)
    roots = {Fraction(kink - b, a) for a, b, kinks in zip(*z, layer.kinks, strict=True) if a for kink in kinks}
    inside = sorted(t for t in roots if (part.start is None or t > part.start) and (part.end is None or t < part.end))
    ends = [part.start, *inside, part.end]
    parts = []
    for start, end in pairwise(ends):
        p, q = _between(start, end).as_integer_ratio()
        pieces = tuple(
            sum(a * p + (b - kink) * q > 0 for kink in kinks) for a, b, kinks in zip(*z, layer.kinks, strict=True)
        )
        parts.append(_Part(start, end, (*part.sources, layer.apply(z, pieces)), (*part.pattern, pieces)))
    return parts


def _between(start: End, end: End) -> Fraction:
    """Any point inside."""
    if start is None:
        return Fraction(0) if end is None else end - 1
    return start + 1 if end is None else (start + end) / 2


def _facts(net: PiecewiseNet, start: End, end: End, parts: Sequence[_Part], whole: WholeNet) -> ExactLine:
    maps = [whole.output(part.sources) for part in parts]
    slopes, intercepts = (
        tuple(tuple(Fraction(x, whole.output.scale) for x in found[i]) for found in maps) for i in range(2)
    )
    units = tuple(_switched(net, before.pattern, after.pattern) for before, after in pairwise(parts))
    return ExactLine(
        net=net,
        start=start,
        end=end,
        kinks=tuple(part.end for part in parts[:-1] if part.end is not None),
        units=units,
        bends=tuple(a != b for a, b in pairwise(slopes)),
        slopes=slopes,
        intercepts=intercepts,
        pattern=tuple(part.pattern for part in parts),
    )


def _switched(net: PiecewiseNet, old: _Pattern, new: _Pattern) -> tuple[str, ...]:
    """Addresses of the units whose piece differs."""
    layers = zip(net.layers, old, new, strict=True)
    return tuple(layer.unit(u) for layer, p, q in layers for u in range(layer.size) if p[u] != q[u])


def check(line: Line, exact: ExactLine, limit: float = 1e-12) -> tuple[Check, ...]:
    """A line in float64 against the same in fractions: counts, kinks, units, slopes, intercepts.

    The distance of a kink is relative to the greatest kink or end, that of a coefficient to the greatest of its kind.
    Kinks in fractions that are nearer to each other, or to an end, than float64 can hold apart may count as one, those
    of units with a slope of 1e-17 may be missed, far out, and bends so faint may be; how many there are is told.
    Weights such as 0.1 are not tenths, so that kinks which were meant to coincide lie 1e-17 apart.
    """
    known = [fraction(abs(x)) for x in (line.start, *line.kinks.tolist(), line.end) if math.isfinite(x)]
    size = max([Fraction(0), *known])
    alike = len(line.kinks) == len(exact.kinks)
    rows = list(range(len(exact.slopes))) if alike else _lasting(exact, fraction(limit) * size, size / fraction(limit))
    kinks = [exact.kinks[row - 1] for row in rows[1:]]  # at which each piece begins
    counts = _count("kinks, against fractions", len(line.kinks), len(kinks))
    fused = len(exact.kinks) - len(kinks)
    if not counts.ok:
        return (counts,)
    steep = max(abs(x) for row in exact.slopes for x in row)
    bends, faint = 1, 0
    for (a, b), seen in zip(pairwise(rows), line.bends.tolist(), strict=True):
        change = max(abs(x - y) for x, y in zip(exact.slopes[a], exact.slopes[b], strict=True))
        undecided = 0 < change <= fraction(limit) * steep
        faint += undecided
        bends += seen if undecided else change > 0
    units = [_switched(exact.net, exact.pattern[a], exact.pattern[b]) for a, b in pairwise(rows)]
    other = sum(a != b for a, b in zip(line.units, units, strict=True))
    checks = [
        counts,
        _count("largest affine pieces, against fractions", int(line.bends.sum()) + 1, bends),
        _count("kinks with other units than in fractions", other, 0),
        _distance("kinks", line.kinks.tolist(), kinks, size, limit),
    ]
    for name in ("slopes", "intercepts"):
        flat = [x for row in rows for x in getattr(exact, name)[row]]
        checks.append(_distance(name, getattr(line, name).ravel().tolist(), flat, Fraction(0), limit))
    if fused or faint:
        checks.append(Check("kinks and bends in fractions that are too fine for float64", fused + faint))
    return tuple(checks)


def _lasting(exact: ExactLine, least: Fraction, far: Fraction) -> list[int]:
    """The pieces that are longer than `least`, and do not begin or end beyond `far`."""
    ends = [exact.start, *exact.kinks, exact.end]
    far = far or max((abs(kink) for kink in exact.kinks), default=Fraction(0)) + 1
    return [
        i
        for i, (a, b) in enumerate(pairwise(ends))
        if (a is None or b is None or b - a > least) and (a is None or a < far) and (b is None or b > -far)
    ]


def _count(name: str, found: int, exact: int) -> Check:
    return Check(name, found, f"= {exact}", found == exact)


def _distance(name: str, found: Sequence[float], exact: Sequence[Fraction], least: Fraction, limit: float) -> Check:
    error = max((abs(fraction(a) - b) for a, b in zip(found, exact, strict=True)), default=Fraction(0))
    size = max([least, *(abs(b) for b in exact)])
    ok = error <= fraction(limit) * size
    return Check(
        f"greatest distance of {name} from the fractions", float(error), f"<= {limit:g} x {float(size):.3g}", ok
    )
