"""The referee in fractions, against closed forms and against itself in other words: areas, sampling, refusals."""

from __future__ import annotations

import itertools
from dataclasses import replace
from fractions import Fraction as F

import numpy as np
import pytest
from scipy import sparse
from scipy.sparse.linalg import aslinearoperator

from weightwalk.errors import UsageError
from weightwalk.formulas.lines.line import line
from weightwalk.formulas.piecewise import Activation, Affine, Layer, PiecewiseNet, mlp, relu
from weightwalk.formulas.rationals import check, line_exact, partition_exact
from weightwalk.formulas.rationals import net as rational_net

SQUARE = ((-1.0, 1.0), (-1.0, 1.0))


def one_layer(normals: np.ndarray, offsets: np.ndarray) -> PiecewiseNet:
    return mlp([normals, np.ones((1, len(normals)))], [offsets, np.zeros(1)])


def test_a_kink_is_a_fraction() -> None:
    net = mlp([np.array([[3.0], [-1.0]]), np.array([[1.0, 2.0]])], [np.array([-1.0, 0.75]), np.array([0.5])])
    found = line_exact(net)
    assert found.kinks == (F(1, 3), F(3, 4)) and found.units == (("fc1[0]",), ("fc1[1]",))
    assert found.slopes == ((F(-2),), (F(1),), (F(3),))
    assert found.intercepts == ((F(2),), (F(1),), (F(-1, 2),))
    assert found(F(1, 3)) == (F(4, 3),) and found(2.0) == (F(11, 2),)


def test_one_tenth_is_what_float64_makes_of_it() -> None:
    """0.1 is not a tenth in a computer, and the exact kink says so."""
    found = line_exact(mlp([np.array([[0.1]]), np.ones((1, 1))], [np.array([-1.0]), np.zeros(1)]))
    assert found.kinks == (1 / F(0.1),) and found.kinks[0] != 10


def test_the_tent_map_in_fractions() -> None:
    weights = [np.ones((2, 1)), *([np.array([[2.0, -4.0]] * 2)] * 5), np.array([[2.0, -4.0]])]
    found = line_exact(mlp(weights, [*([np.array([0.0, -0.5])] * 6), np.zeros(1)]), 0, 1)
    assert found.kinks == tuple(F(i, 64) for i in range(1, 64)) and all(found.bends)


@pytest.mark.parametrize("wrap", [np.asarray, sparse.csr_array, aslinearoperator])
def test_every_kind_of_matrix_and_activation(wrap) -> None:
    """leaky relu by 1/4, then hardtanh to [-1, 3/2] of that and of the input: worked out by hand."""
    leaky = Activation("leaky_relu", np.zeros((1, 1)), np.array([[0.25, 1.0]]), np.zeros((1, 2)))
    clip = Activation("clamp", np.array([[-1.0, 1.5]]), np.array([[0.0, 1.0, 0.0]]), np.array([[-1.0, 0.0, 1.5]]))
    one = Layer("a", (1,), Affine(((0, wrap(np.array([[1.0]]))),), np.zeros(1)), leaky)
    two = Layer("b", (1,), Affine(((0, wrap(np.eye(1))), (1, wrap(np.eye(1)))), np.array([0.5])), clip)
    net = PiecewiseNet(("t",), (one, two), Affine(((2, wrap(np.array([[2.0]]))),), np.zeros(1)), ("y",))
    found = line_exact(net)  # b = t + leaky(t) + 1/2
    assert found.kinks == (F(-6, 5), F(0), F(1, 2)) and found.units == (("b[0]",), ("a[0]",), ("b[0]",))
    assert found.slopes == ((F(0),), (F(5, 2),), (F(4),), (F(0),))
    assert found.intercepts == ((F(-2),), (F(1),), (F(1),), (F(3),))
    assert all(c.ok for c in check(line(net), found))


@pytest.mark.parametrize("n", [1, 2, 4, 7])
def test_generic_lines_make_as_many_regions_as_the_formula_says(n: int) -> None:
    """In a box that holds all crossings: 1 + n + C(n, 2) regions, all with maps of their own."""
    rng = np.random.default_rng(n)
    angle = np.pi * (np.arange(n) + rng.uniform(0, 0.5, n)) / n
    net = one_layer(np.stack([np.cos(angle), np.sin(angle)], 1), rng.uniform(-1, 1, n))
    found = partition_exact(net, ((-100.0, 100.0), (-100.0, 100.0)))
    assert found.activation_regions == found.affine_regions == 1 + n + n * (n - 1) // 2
    assert sum(found.areas) == 40_000


def test_concurrent_lines_and_duplicates() -> None:
    """Five lines through the origin make ten sectors; a second copy of each, or its opposite, makes no more."""
    normals = np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0], [1.0, -1.0], [2.0, 1.0]])
    for rows in (normals, np.concatenate([normals, 3 * normals]), np.concatenate([normals, -normals])):
        found = partition_exact(one_layer(rows, np.zeros(len(rows))), SQUARE)
        assert found.activation_regions == 10 and sum(found.areas) == 4
        assert all((0, 0) in polygon for polygon in found.polygons)


def test_equal_maps_are_merged_only_through_an_edge() -> None:
    """relu(s) - relu(s - 1/2) - relu(1/2 - s) + relu(-s) + ...: flat ends that touch nowhere stay two."""
    rows = np.array([[1.0, 0.0], [1.0, 0.0]])
    net = mlp([rows, np.array([[1.0, -1.0]])], [np.array([0.5, -0.5]), np.zeros(1)])
    ramp = partition_exact(net, SQUARE)  # 0, then s + 1/2, then 1
    assert (ramp.activation_regions, ramp.affine_regions) == (3, 3)
    bump = mlp([np.array([[1.0, 0.0]] * 3), np.array([[1.0, -2.0, 1.0]])], [np.array([0.5, 0.0, -0.5]), np.zeros(1)])
    found = partition_exact(bump, SQUARE)  # 0, up, down, 0: the two zeros do not touch
    assert (found.activation_regions, found.affine_regions) == (4, 4)
    dead = mlp([np.array([[1.0, 0.0], [0.0, 1.0]]), np.array([[0.0, 1.0]])], [np.zeros(2), np.zeros(1)])
    found = partition_exact(dead, SQUARE)  # the first unit is not read
    assert (found.activation_regions, found.affine_regions) == (4, 2)


def test_corners_do_not_join_regions() -> None:
    """Equal maps in opposite quadrants touch in a point only, and stay two."""
    one = Layer("a", (2,), Affine(((0, np.eye(2)),), np.zeros(2)), relu(2))
    two = Layer("b", (1,), Affine(((1, np.array([[1.0, -1.0]])), (0, np.array([[-0.5, 0.5]]))), np.zeros(1)), relu(1))
    found = partition_exact(
        PiecewiseNet(("s", "t"), (one, two), Affine(((2, np.ones((1, 1))),), np.zeros(1)), ("y",)), SQUARE
    )
    # b = (|s| - |t|) / 2: zero above and below the diagonals, where the maps are equal and only the centre is shared
    zero = [r for r in range(found.activation_regions) if found.slopes[r] == ((0, 0),)]
    groups = {found.affine[r] for r in zero}
    assert len(groups) == 2 and found.affine_regions == 2 + 4


def test_areas_sum_to_the_box_and_points_agree() -> None:
    rng = np.random.default_rng(0)
    for _ in range(10):
        weights = [rng.normal(size=s) for s in ((5, 2), (4, 5), (2, 4))]
        net = mlp(weights, [rng.normal(size=len(w)) for w in weights])
        found = partition_exact(net, ((-1.0, 2.0), (0.0, 0.5)))
        assert sum(found.areas) == F(3, 2) and min(found.areas) > 0
        for polygon, pattern, slopes, offsets in zip(
            found.polygons, found.patterns, found.slopes, found.offsets, strict=True
        ):
            centre = np.array([[float(sum(x) / len(polygon)) for x in zip(*polygon, strict=True)]])
            assert [p[0].tolist() for p in net.pattern(centre)] == [list(p) for p in pattern]
            y = np.array(slopes, float) @ centre[0] + np.array(offsets, float)
            assert np.allclose(y, net(centre)[0], rtol=1e-12, atol=1e-14)


# -- refusals ---------------------------------------------------------------------------------------------------------


def test_what_fractions_cannot_say_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    net = one_layer(np.array([[1.0]]), np.zeros(1))
    with pytest.raises(UsageError, match="mean nothing here, because bn1 divides by a square root; use the formula in"):
        line_exact(replace(net, inexact="bn1 divides by a square root."))
    with pytest.raises(UsageError, match=r"A line from 1 to 1/2 has no length; give the smaller end first\."):
        line_exact(net, 1.0, F(1, 2))
    with pytest.raises(UsageError, match="one number, and this one has 2 inputs"):
        line_exact(one_layer(np.eye(2), np.zeros(2)))
    with pytest.raises(UsageError, match="two numbers, and this one has 1 inputs"):
        partition_exact(net, SQUARE)
    with pytest.raises(UsageError, match=r"The box \(\(0, 0\), \(0, 1\)\) is empty; give"):
        partition_exact(one_layer(np.eye(2), np.zeros(2)), ((0, 0), (0, 1)))
    with pytest.raises(UsageError, match="Exact fractions need a bounded box"):
        partition_exact(one_layer(np.eye(2), np.zeros(2)), None)
    net.layers[0].affine.bias[0] = np.inf
    with pytest.raises(UsageError, match="weights of fc1 are not all finite"):
        line_exact(net)
    wide = one_layer(np.ones((3000, 1500)), np.zeros(3000)).restrict(
        np.zeros(1500), np.ones((1, 1500)), "t", fold=False
    )
    with pytest.raises(UsageError, match="this one has 4,504,500 weights, and the limit is 4,000,000"):
        line_exact(wide)
    monkeypatch.setattr(rational_net, "WORK", 1000)
    rng = np.random.default_rng(0)
    big = mlp([rng.normal(size=s) for s in ((9, 1), (9, 9), (1, 9))], [rng.normal(size=n) for n in (9, 9, 1)])
    with pytest.raises(
        UsageError, match=r"small nets: 10 pieces times 81 weights at layer 2 of 3 would pass 1,000 mult"
    ):
        line_exact(big)


def test_check_tells_wrong_lines_from_right_ones() -> None:
    rng = np.random.default_rng(0)
    net = mlp([rng.normal(size=s) for s in ((9, 1), (9, 9), (1, 9))], [rng.normal(size=n) for n in (9, 9, 1)])
    found, exact = line(net), line_exact(net)
    assert all(c.ok for c in check(found, exact)) and len(check(found, exact)) == 6
    moved = replace(found, kinks=found.kinks * (1 + 1e-11))
    assert [c.name for c in check(moved, exact) if not c.ok] == ["greatest distance of kinks from the fractions"]
    steep = replace(found, slopes=found.slopes + 1e-10)
    assert [c.name for c in check(steep, exact) if not c.ok] == ["greatest distance of slopes from the fractions"]
    fewer = replace(found, kinks=found.kinks[1:])
    assert not check(fewer, exact)[0].ok and check(fewer, exact)[0].limit == f"= {len(exact.kinks)}"


def test_no_code_is_shared_with_the_float_forms() -> None:
    """A referee that ran the player's code would be no referee: only facts and errors are imported."""
    import ast
    import inspect

    from weightwalk.formulas.rationals import line as rational_line
    from weightwalk.formulas.rationals import plane as rational_plane

    for module, name in itertools.product(
        (rational_line, rational_net, rational_plane), ("lines.kinks", "planes.plane", "planes.rings")
    ):
        for node in ast.walk(ast.parse(inspect.getsource(module))):
            if isinstance(node, ast.ImportFrom):
                assert node.module != f"weightwalk.formulas.{name}"
                assert not (
                    node.module == "weightwalk.formulas.lines.line" and [a.name for a in node.names] != ["Line"]
                )
