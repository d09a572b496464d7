"""The regions of a small ReLU net, slowly, in rational arithmetic: an oracle that shares no code with the enumerator.

Each unit in turn cuts every polygon in two (Sutherland and Hodgman's clipping), with the affine maps carried along as
fractions. Floats are fractions already, so that nothing is rounded before the very end.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from weightwalk.formulas.certificate import Certificate
from weightwalk.formulas.piecewise import PiecewiseNet, mlp
from weightwalk.formulas.planes.partition import Partition

Point = tuple[Fraction, Fraction]
Map = tuple[Fraction, Fraction, Fraction]  # a x + b y + c


@dataclass(frozen=True)
class Piece:
    polygon: list[Point]
    maps: list[Map]  # of each output
    pattern: list[list[int]]


# |x| + |y| = relu(x) + relu(-x) + relu(y) + relu(-y)
ABSOLUTE = ([np.array([[1.0, 0], [-1, 0], [0, 1], [0, -1]]), np.ones((1, 4))], [np.zeros(4), np.zeros(1)])


def random_net(seed: int, *widths: int) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Weights and biases."""
    draw = np.random.default_rng(seed)
    sizes = list(zip(widths[1:], widths[:-1], strict=True))
    weights = [draw.normal(size=size) * math.sqrt(2 / size[1]) for size in sizes]
    return weights, [draw.normal(size=rows) * 0.3 for rows, _ in sizes]


def exact_pieces(weights: Sequence[np.ndarray], biases: Sequence[np.ndarray], box) -> list[Piece]:
    (a, b), (c, d) = [[Fraction(float(v)) for v in side] for side in box]
    zero, one = Fraction(0), Fraction(1)
    pieces = [Piece([(a, c), (b, c), (b, d), (a, d)], [(one, zero, zero), (zero, one, zero)], [])]
    for k, (weight, bias) in enumerate(zip(weights, biases, strict=True)):
        last = k == len(weights) - 1
        grown = []
        for piece in pieces:
            z = [affine(row, add, piece.maps) for row, add in zip(weight, bias, strict=True)]
            if last:
                grown.append(Piece(piece.polygon, z, piece.pattern))
                continue
            parts: list[tuple[list[Point], list[int]]] = [(piece.polygon, [])]
            for line in z:
                parts = [half for part in parts for half in halves(*part, line)]
            for polygon, signs in parts:
                maps = [line if sign else (zero, zero, zero) for line, sign in zip(z, signs, strict=True)]
                grown.append(Piece(polygon, maps, [*piece.pattern, signs]))
        pieces = grown
    return pieces


def affine(row, add, maps: Sequence[Map]) -> Map:
    start = [Fraction(0), Fraction(0), Fraction(float(add))]
    for w, one in zip(row, maps, strict=True):
        start = [s + Fraction(float(w)) * v for s, v in zip(start, one, strict=True)]
    return (start[0], start[1], start[2])


def at(line: Map, p: Point) -> Fraction:
    return line[0] * p[0] + line[1] * p[1] + line[2]


def halves(polygon: list[Point], signs: list[int], line: Map) -> list[tuple[list[Point], list[int]]]:
    found = []
    for side in (0, 1):
        kept = clip(polygon, line if side else (-line[0], -line[1], -line[2]))
        if area(kept) > 0:
            found.append((kept, [*signs, side]))
            if area(kept) == area(polygon):
                break
    return found


def clip(polygon: list[Point], line: Map) -> list[Point]:
    kept: list[Point] = []
    for p, q in zip(polygon, [*polygon[1:], polygon[0]], strict=True):
        fp, fq = at(line, p), at(line, q)
        if fp >= 0:
            kept.append(p)
        if fp * fq < 0:
            t = fp / (fp - fq)
            kept.append((p[0] + t * (q[0] - p[0]), p[1] + t * (q[1] - p[1])))
    return kept


def area(polygon: list[Point]) -> Fraction:
    pairs = zip(polygon, [*polygon[1:], *polygon[:1]], strict=True)
    return sum((p[0] * q[1] - q[0] * p[1] for p, q in pairs), Fraction(0)) / 2


def moments(polygon: list[Point]) -> dict[str, Fraction]:
    """Integrals of 1, x, y, xx, xy, yy over a polygon, by Green's theorem."""
    out = dict.fromkeys(("1", "x", "y", "xx", "xy", "yy"), Fraction(0))
    for (x, y), (u, v) in zip(polygon, [*polygon[1:], polygon[0]], strict=True):
        c = x * v - u * y
        out["1"] += c / 2
        out["x"] += (x + u) * c / 6
        out["y"] += (y + v) * c / 6
        out["xx"] += (x * x + x * u + u * u) * c / 12
        out["yy"] += (y * y + y * v + v * v) * c / 12
        out["xy"] += (x * v + 2 * x * y + 2 * u * v + u * y) * c / 24
    return out


def partition(weights, biases, box=((-1.0, 1.0), (-1.0, 1.0)), net: PiecewiseNet | None = None) -> Partition:
    """The same as a `Partition`; regions of equal maps count as one maximal affine region, wherever they lie."""
    net = net or mlp(weights, biases)
    pieces = exact_pieces(weights, biases, box)
    number: dict[Point, int] = {}
    ring = [number.setdefault(p, len(number)) for piece in pieces for p in piece.polygon]
    vertices = np.array([[float(x), float(y)] for x, y in number])
    start = np.concatenate([[0], np.cumsum([len(piece.polygon) for piece in pieces])])
    maps = np.array([[[float(v) for v in line] for line in piece.maps] for piece in pieces])
    equal: dict[tuple[Map, ...], int] = {}
    merged = [equal.setdefault(tuple(piece.maps), len(equal)) for piece in pieces]
    layers = len(weights) - 1
    return Partition(
        net=net,
        box=box,
        vertices=vertices,
        infinite=np.zeros(len(vertices), bool),
        ring=np.array(ring),
        start=start,
        edge=np.full(len(ring), -1),
        pattern=[np.array([piece.pattern[k] for piece in pieces], np.int8) for k in range(layers)],
        slopes=maps[..., :2],
        offsets=maps[..., 2],
        values=net(vertices),
        affine=np.array(merged),
        tolerance=0.0,
        snapped=0,
        certificate=Certificate((), 0),
    )
