"""Float formulas of nets whose weights are not generic, against fractions: nothing may be wrong.

Small integers, halves, pruned and duplicated units, lines through one point, dead units: where kinks coincide, a fast
enumerator is tempted to count twice or to miss. The referee is `weightwalk.formulas.rationals`.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from weightwalk.formulas.lines.line import line
from weightwalk.formulas.piecewise import Activation, Affine, Layer, PiecewiseNet, mlp, relu
from weightwalk.formulas.planes.plane import partition
from weightwalk.formulas.rationals import check, check_partition, line_exact, partition_exact

SQUARE = ((-1.0, 1.0), (-1.0, 1.0))
NETS = 300
QUICK = 40

KINDS = {
    "leaky": ([0.0], [0.25, 1.0], [0.0, 0.0]),
    "abs": ([0.0], [-1.0, 1.0], [0.0, 0.0]),
    "hardtanh": ([-1.0, 1.0], [0.0, 1.0, 0.0], [-1.0, 0.0, 1.0]),
    "identity": ([], [1.0], [0.0]),
}


def integers(rng: np.random.Generator, shape: list[int]) -> PiecewiseNet:
    """Integer weights from -2 to 2 and half-integer biases from -2 to 2."""
    weights = [rng.integers(-2, 3, (b, a)).astype(float) for a, b in pairwise(shape)]
    return mlp(weights, [rng.integers(-4, 5, b) / 2 for b in shape[1:]])


def spoiled(rng: np.random.Generator, net: PiecewiseNet) -> PiecewiseNet:
    """One more thing that generic nets do not have."""
    first, second = (layer.affine for layer in net.layers[:2])
    w, v = first.terms[0][1], second.terms[0][1]
    match int(rng.integers(6)):
        case 0:  # pruned
            v[rng.random(v.shape) < 0.5] = 0.0
        case 1:  # a unit twice, and one that is its opposite
            w[1], first.bias[1] = w[0], first.bias[0]
            w[-1], first.bias[-1] = -2 * w[0], -2 * first.bias[0]
        case 2:  # all kinks of the first layer through one point
            first.bias[:] = -w @ rng.integers(-1, 2, w.shape[1]) / 2
        case 3:  # dead units: one reads nothing, one is never on
            w[0] = 0.0
            v[0], second.bias[0] = -np.abs(v[0]), -1.0
        case 4 if len(net.layers) == 2:  # the second layer passes through the first one's kinks, with rounding on the
            v[:] = (
                0.1 * v
            )  # way; a third would have kinks of its own 1e-16 beside them, which float64 cannot hold apart
            second.bias[:] = 0.0
        case _:  # the same net twice, with opposite signs: the output is zero by cancellation in places
            v[-1], second.bias[-1] = v[0], second.bias[0]
            out = net.output.terms[0][1]
            out[:, -1] = -out[:, 0]
    return net


def other(rng: np.random.Generator, inputs: int) -> PiecewiseNet:
    """Three or four layers of several kinds of activations; each reads the input too."""
    sizes, layers = [inputs], []
    for k in range(1, int(rng.integers(4, 6))):
        n = int(rng.integers(2, 5))
        name = str(rng.choice([*KINDS, "relu"]))
        act = relu(n) if name == "relu" else Activation(
            name, *(np.tile(np.array(x).reshape(1, -1), (n, 1)) for x in KINDS[name])
        )  # fmt: skip
        terms = [(j, rng.integers(-2, 3, (n, sizes[j])) / 2.0) for j in sorted({0, k - 1})]
        layers.append(Layer(f"a{k}", (n,), Affine(tuple(terms), rng.integers(-2, 3, n) / 2.0), act))
        sizes.append(n)
    out = Affine(((len(layers), rng.integers(-2, 3, (1, sizes[-1])).astype(float)),), np.zeros(1))
    return PiecewiseNet(("s", "t")[:inputs], tuple(layers), out, ("y",))


def net_number(i: int, inputs: int) -> PiecewiseNet:
    """The i-th net of the collection; every second one is spoiled, every fifth has other activations."""
    rng = np.random.default_rng([i, inputs])
    if i % 5 == 4:
        return other(rng, inputs)
    net = integers(rng, [inputs, *rng.integers(2, 7, 2 + (i % 7 == 0)).tolist(), 1])
    return spoiled(rng, net) if i % 2 else net


def wrong_planes(numbers: range) -> list[str]:
    wrong = []
    for i in numbers:
        net = net_number(i, 2)
        found = partition(net, SQUARE)
        bad = [
            *found.certificate.failures,
            *(c for c in check_partition(found, partition_exact(net, SQUARE)) if not c.ok),
        ]
        wrong += [f"net {i}: {c.name}: {c.found}, but {c.limit}" for c in bad]
    return wrong


def wrong_lines(numbers: range) -> list[str]:
    wrong = []
    for i in numbers:
        net = net_number(i, 1)
        ends = ((-np.inf, np.inf), (-2.0, 2.0), (0.0, np.inf), (-np.inf, 0.5))[i % 4]
        found = line(net, *ends)
        bad = [*found.certificate.failures, *(c for c in check(found, line_exact(net, *ends)) if not c.ok)]
        wrong += [f"net {i}: {c.name}: {c.found}, but {c.limit}" for c in bad]
    return wrong


def test_no_plane_is_wrong() -> None:
    assert wrong_planes(range(QUICK)) == []


@pytest.mark.slow
def test_no_plane_of_the_rest_is_wrong() -> None:
    assert wrong_planes(range(QUICK, NETS)) == []


def test_no_line_is_wrong() -> None:
    assert wrong_lines(range(NETS)) == []


@pytest.mark.slow
def test_no_line_of_many_more_is_wrong() -> None:
    assert wrong_lines(range(NETS, 10 * NETS)) == []


def test_the_collection_is_not_generic() -> None:
    """Else it would prove little: kinks that coincide, units without effect, and units that are zero on a region."""
    lines = [line_exact(net_number(i, 1)) for i in range(100)]
    assert sum(any(len(units) > 1 for units in x.units) for x in lines) > 50
    assert sum(not all(x.bends) for x in lines) > 50
    planes = [partition_exact(net_number(i, 2), SQUARE) for i in range(QUICK)]
    assert sum(x.affine_regions < x.activation_regions for x in planes) > 15
    assert sum(len({v for p in x.polygons for v in p}) > 12 for x in planes) > 15


@pytest.mark.parametrize("shape", [[1, 24, 24, 1], [1, 12, 12, 12, 12, 2], [1, 64, 64, 64, 1]])
def test_generic_lines(shape: list[int]) -> None:
    rng = np.random.default_rng(0)
    weights = [rng.normal(size=(b, a)) / np.sqrt(a) for a, b in pairwise(shape)]
    net = mlp(weights, [rng.normal(size=b) / 3 for b in shape[1:]])
    checks = check(line(net), line_exact(net))
    assert len(checks) == 6 and [c for c in checks if not c.ok] == []


def test_generic_planes() -> None:
    rng = np.random.default_rng(0)
    for _ in range(5):
        shape = [2, *rng.integers(2, 8, 2).tolist(), 2]
        net = mlp([rng.normal(size=(b, a)) for a, b in pairwise(shape)], [rng.normal(size=b) for b in shape[1:]])
        checks = check_partition(partition(net, SQUARE), partition_exact(net, SQUARE))
        assert len(checks) == 6 and [c for c in checks if not c.ok] == []


def tenths(seed: int, shape: list[int]) -> PiecewiseNet:
    rng = np.random.default_rng(seed)
    weights = [np.round(rng.normal(size=(b, a)), 1) for a, b in pairwise(shape)]
    return mlp(weights, [np.round(rng.normal(size=b), 1) for b in shape[1:]])


def test_what_float64_cannot_hold_apart_is_told_and_not_judged() -> None:
    """Tenths are not tenths in a computer: kinks that were meant to coincide lie 1e-17 apart, in fractions."""
    told = 0
    for seed in (*range(60), 119, 166):  # the last two have a kink at 1e15, of a unit with a slope of 1e-17
        net = tenths(seed, [1, 12, 12, 1])
        checks = check(line(net), line_exact(net))
        assert [c for c in checks if not c.ok] == [], seed
        told += any(c.name.startswith("kinks and bends in fractions that are too fine") for c in checks)
    assert told >= 5
    told = 0
    for seed in range(30):
        net = tenths(seed, [2, 7, 7, 1])
        checks = check_partition(partition(net, SQUARE), partition_exact(net, SQUARE))
        assert [c for c in checks if not c.ok] == [], seed
        told += any(c.name.startswith("regions in fractions that are too fine") for c in checks)
    assert told >= 3
    net = tenths(57, [2, 4, 4, 4, 2])  # a unit that is 1e-17 on a whole region
    checks = check_partition(partition(net, SQUARE), partition_exact(net, SQUARE))
    assert all(c.ok for c in checks) and checks[-4].name.startswith("regions in fractions that are too fine")


def test_wrong_planes_are_told_from_right_ones() -> None:
    rng = np.random.default_rng(3)
    net = mlp([rng.normal(size=s) for s in ((6, 2), (6, 6), (1, 6))], [rng.normal(size=n) for n in (6, 6, 1)])
    found, exact = partition(net, SQUARE), partition_exact(net, SQUARE)
    n = found.activation_regions
    assert n > 20 and all(c.ok for c in check_partition(found, exact))

    def wrong(**change: object) -> list[str]:
        return [c.name for c in check_partition(replace(found, **change), exact) if not c.ok]

    assert wrong(slopes=found.slopes + 1e-10) == ["greatest distance of slopes from the fractions"]
    assert wrong(offsets=found.offsets + 1e-10) == ["greatest distance of offsets from the fractions"]
    assert wrong(vertices=found.vertices * (1 - 1e-11)) == ["greatest distance of areas from the fractions"]
    assert wrong(affine=np.minimum(found.affine, found.affine_regions - 2)) == [
        "maximal affine regions, against fractions"
    ]
    part = {name: getattr(found, name)[: found.start[-2]] for name in ("ring", "edge")}
    part |= {name: getattr(found, name)[: n - 1] for name in ("slopes", "offsets")}
    fewer = wrong(start=found.start[:-1], pattern=[p[: n - 1] for p in found.pattern], affine=np.arange(n - 1), **part)
    assert (
        fewer[0] == "activation regions, against fractions" and "activation patterns that only one of the" in fewer[1]
    )
    flipped = [p.copy() for p in found.pattern]
    flipped[1][0, 0] ^= 1
    assert "activation patterns that only one of the two has" in wrong(pattern=flipped, slopes=found.slopes + 1e-9)
