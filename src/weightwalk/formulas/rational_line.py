"""The formula of a net of one number in fractions: the referee of `weightwalk.formulas.line`."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise

from weightwalk.errors import UsageError
from weightwalk.formulas.certificate import Check
from weightwalk.formulas.line import Line
from weightwalk.formulas.piecewise import PiecewiseNet
from weightwalk.formulas.rational_net import Columns, WholeLayer, WholeNet, fraction, whole_net

End = Fraction | None
"""An end of a piece; None at infinity."""


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
    pattern: tuple[tuple[tuple[int, ...], ...], ...]

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
    pattern: tuple[tuple[int, ...], ...]


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
    units = tuple(
        tuple(
            layer.unit(u)
            for layer, old, new in zip(net.layers, before.pattern, after.pattern, strict=True)
            for u in range(layer.size)
            if old[u] != new[u]
        )
        for before, after in pairwise(parts)
    )
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


def check(line: Line, exact: ExactLine, limit: float = 1e-12) -> tuple[Check, ...]:
    """A line in float64 against the same in fractions: counts, kinks, units, slopes, intercepts.

    The distance of a kink is relative to the greatest kink or end, that of a coefficient to the greatest of its kind.
    """
    same = len(line.kinks) == len(exact.kinks)
    checks = [
        _count("kinks, against fractions", len(line.kinks), len(exact.kinks)),
        _count("largest affine pieces, against fractions", int(line.bends.sum()) + 1, sum(exact.bends) + 1),
    ]
    if not same:
        return tuple(checks)
    other = sum(a != b for a, b in zip(line.units, exact.units, strict=True))
    checks.append(_count("kinks with other units than in fractions", other, 0))
    ends = [abs(x) for x in (line.start, line.end) if math.isfinite(x)]
    checks.append(_distance("kinks", line.kinks.tolist(), exact.kinks, max(ends, default=0.0), limit))
    for name in ("slopes", "intercepts"):
        flat = [x for row in getattr(exact, name) for x in row]
        checks.append(_distance(name, getattr(line, name).ravel().tolist(), flat, 0.0, limit))
    return tuple(checks)


def _count(name: str, found: int, exact: int) -> Check:
    return Check(name, found, f"= {exact}", found == exact)


def _distance(name: str, found: Sequence[float], exact: Sequence[Fraction], least: float, limit: float) -> Check:
    error = max((abs(fraction(a) - b) for a, b in zip(found, exact, strict=True)), default=Fraction(0))
    size = max([fraction(least), *(abs(b) for b in exact)])
    ok = error <= fraction(limit) * size
    return Check(
        f"greatest distance of {name} from the fractions", float(error), f"<= {limit:g} x {float(size):.3g}", ok
    )
