"""Planes, affine maps and whole nets as written: the code is run, expressions are evaluated by Python itself."""

from __future__ import annotations

import re
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from formulas.written import CORNER, HALVES, random_mlp, run

from weightwalk.errors import UsageError
from weightwalk.formulas.affine import affine_map
from weightwalk.formulas.certificate import Certificate
from weightwalk.formulas.piecewise import Activation, Affine, Layer, PiecewiseNet, mlp, relu
from weightwalk.formulas.planes.plane import partition
from weightwalk.formulas.points.local import local
from weightwalk.formulas.rationals import partition_exact
from weightwalk.formulas.writing.regions import half_planes
from weightwalk.formulas.writing.written import expression, latex, python, text

# -- planes -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("outputs", [1, 2])
@pytest.mark.parametrize("box", [((-1.0, 1.0), (-1.0, 1.0)), None])
def test_code_of_a_plane_is_the_net(outputs: int, box: Any) -> None:
    net = random_mlp([2, 8, 8, outputs])
    found = partition(net, box)
    code = run(python(found))
    rng = np.random.default_rng(1)
    points = np.concatenate([rng.uniform(-1, 1, (2000, 2)), found.vertices[~found.infinite]])
    points = np.clip(points, -1, 1) if box else np.concatenate([points, 100 * points])
    y = code["f"](points)
    assert np.abs(y.reshape(len(points), -1) - net(points)).max() <= 1e-12 * np.abs(net(points)).max()
    assert code["f"](points[:6].reshape(2, 3, 2)).shape == (2, 3, *y.shape[1:])
    if box:
        with pytest.raises(ValueError, match="the formula holds from"):
            code["f"]([0.0, 1.5])


def test_code_finds_regions_by_their_edges() -> None:
    """Not by the net's weights: each fresh point gets the map of the polygon that holds it."""
    net = random_mlp([2, 6, 6, 1])
    found = partition(net)
    code = run(python(found))
    points = np.random.default_rng(2).uniform(-1, 1, (500, 2))
    pattern = np.concatenate(net.pattern(points), axis=1)
    known = {bytes(row): r for r, row in enumerate(np.concatenate(found.pattern, axis=1).astype(np.int8))}
    right = [known[bytes(row)] for row in pattern]
    expected = (found.slopes[right, 0] * points).sum(axis=1) + found.offsets[right, 0]
    assert (code["f"](points) == expected).all()


def test_code_in_fractions_and_of_degenerate_planes() -> None:
    """Concurrent lines, and a region that is cut off by a hair: an edge without a direction bounds nothing."""
    exact = partition_exact(CORNER, ((-1.0, 1.0), (-1.0, 1.0)))
    points = np.random.default_rng(2).uniform(-1, 1, (500, 2))
    assert np.abs(run(python(exact))["f"](points) - CORNER(points)[:, 0]).max() < 1e-15
    eps = 2.0**-50
    hair = mlp(
        [np.array([[1.0, 1.0], [1.0, 1.0], [1.0, -1.0]]), np.ones((1, 3))], [np.array([0, -eps, 0]), np.zeros(1)]
    )
    exact = partition_exact(hair, ((-1.0, 1.0), (-1.0, 1.0)))
    edges, start = half_planes(exact)
    assert np.isfinite(edges).all() and len(start) == exact.activation_regions == 6
    assert np.abs(run(python(exact))["f"](points) - hair(points)[:, 0]).max() < 1e-14


def test_text_and_latex_of_a_plane() -> None:
    exact = partition_exact(CORNER, ((-1.0, 1.0), (-1.0, 1.0)))
    said = text(exact)
    assert said.startswith(
        "y as a function of s and t, for -1 <= s <= 1, -1 <= t <= 1: 4 activation regions, 4 maximal affine regions.\n"
        "s is x[0], t is x[1].\nIn fractions: nothing was rounded.\n"
    )
    assert "\ny = s - 2 t + 1/8\n    on the polygon " in said and "(0, 0)" in said
    assert "s - 2 t + \\frac{1}{8} & (s, t) \\in \\operatorname{conv}\\{" in latex(exact)
    found = partition(random_mlp([2, 9, 1]))
    rest = found.activation_regions - 3
    assert f"(and {rest} more regions, not written here" in text(found, limit=3)
    assert f"\\vdots & \\text{{and {rest} more regions, not written}}" in latex(found, limit=3)
    assert "and from there without end along (" in text(partition(CORNER, None))
    assert "\\operatorname{cone}\\{" in latex(partition(CORNER, None))


def test_too_many_regions_are_not_written_as_code() -> None:
    with pytest.raises(UsageError, match=r"has 4 regions, and code is written for 3 at most; give a smaller box"):
        python(partition(CORNER), limit=3)


# -- one input, and linear nets ---------------------------------------------------------------------------------------


def test_a_linear_net() -> None:
    net = mlp([np.array([[2.0]])], [np.array([3.0])])
    found = affine_map(net, exact=True)
    assert text(found).splitlines()[-1] == "y = 2 x + 3" and "every input" in text(found)
    assert "In fractions" in text(found)
    wide = random_mlp([5, 3])
    found = affine_map(wide)
    f = run(python(found))["f"]
    x = np.random.default_rng(0).normal(size=(4, 7, 5))
    assert np.allclose(f(x), wide(x.reshape(-1, 5)).reshape(4, 7, 3), rtol=1e-13)
    assert "y[2] = " in text(found) and "(and 2 more outputs" in text(found, limit=1)
    assert "y_{0} &= " in latex(found)


def test_the_map_at_one_input() -> None:
    net = random_mlp([3, 6, 6, 2])
    x = np.array([0.3, -0.2, 0.1])
    found = local(net, x)
    code = run(python(found))
    rng = np.random.default_rng(0)
    near = x + rng.normal(size=(4000, 3))
    holds = code["holds"](near)
    same = (np.concatenate(net.pattern(near), axis=1) == np.concatenate(net.pattern(x[None]), axis=1)).all(axis=1)
    assert (holds == same).all() and 10 < same.sum() < 3990
    assert np.abs(code["f"](near[same]) - net(near[same])).max() < 1e-12
    with pytest.raises(ValueError, match="outside of the region"):
        code["f"](near[~same])
    said = text(found)
    assert "y = A x + b around x = (0.3, -0.2, 0.1)." in said and "It holds where all of 12 half-spaces do." in said
    assert re.search(r"\n    -?[\d.e-]+ x\[0\] .* <= -?[\d.e-]+    \(fc[12]\[\d\]\)\n", said)
    assert "(and 9 more half-spaces, not written here" in text(found, limit=3)
    assert "&\\le" in latex(found) and "fc1" in latex(found)


def test_a_region_that_was_not_stored_is_a_ball() -> None:
    net = random_mlp([2, 3, 1])
    fields = {"net": net, "x": np.zeros(2), "A": np.ones((1, 2)), "b": np.zeros(1), "G": None, "g": np.zeros(0)}
    found = SimpleNamespace(
        **fields, nearest=SimpleNamespace(distance=0.5), note="Too large.", certificate=Certificate((), 0)
    )
    code = run(python(found))
    assert code["holds"](np.array([[0.3, 0.3], [0.5, 0.5]])).tolist() == [True, False]
    assert "It holds at least within 0.5 of that x. Too large." in text(found)


# -- a net as one formula ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(4))
def test_an_expression_evaluates_to_the_net(seed: int) -> None:
    """Skip connections, identity stages and every kind of activation, evaluated by Python itself."""
    rng = np.random.default_rng(seed)
    kinds = {
        "leaky": ([0.0], [0.1, 1.0], [0.0, 0.0]),
        "abs": ([0.0], [-1.0, 1.0], [0.0, 0.0]),
        "clamp": ([-0.5, 2.0], [0.0, 1.0, 0.0], [-0.5, 0.0, 2.0]),
        "odd": ([-1.0, 0.5], [0.25, -1.0, 2.0], [1.25, 0.0, -1.5]),
        "identity": ([], [1.0], [0.0]),
        "doubled": ([], [2.0], [-0.5]),
    }
    sizes, layers = [2], []
    for k, name in enumerate(rng.permutation(list(kinds))[:3], 1):
        act = Activation(name, *(np.tile(np.array(v).reshape(1, -1), (3, 1)) for v in kinds[name]))
        terms = tuple((j, np.round(rng.normal(size=(3, sizes[j])), 2)) for j in sorted({0, k - 1}))
        layers.append(Layer(f"a{k}", (3,), Affine(terms, rng.normal(size=3)), act))
        sizes.append(3)
    net = PiecewiseNet(("s", "t"), tuple(layers), Affine(((3, np.ones((2, 3))),), np.zeros(2)), ("y[0]", "y[1]"))
    for x in rng.normal(size=(20, 2)):
        for k in range(2):
            said = expression(net, k, style="python")
            y = eval(said, {"s": x[0], "t": x[1], "max": max, "min": min, "abs": abs})  # noqa: S307
            assert y == pytest.approx(net(x[None])[0, k], rel=1e-12, abs=1e-13)


def test_an_expression_names_the_embedding() -> None:
    """CHECKLIST 193: the logits of an embedding net, in terms of the two numbers that stand for the token."""
    net = replace(random_mlp([2, 3, 2]), inputs=("embed[0, 0]", "embed[0, 1]"))
    said = expression(net, 1)
    assert said.count("relu(") == 3 and said.count("embed[0, 0]") == 3
    table = np.array([[0.25, -1.5]])
    y = eval(expression(net, 1, style="python"), {"embed": table, "max": max})  # noqa: S307
    assert y == pytest.approx(net(table)[0, 1], rel=1e-15)
    assert "\\mathrm{embed}_{0,1}" in expression(net, style="latex") and "\\max(0, " in expression(net, style="latex")


def test_long_expressions_are_refused_before_they_are_written() -> None:
    net = random_mlp([1, 64, 64, 64, 1])
    with pytest.raises(
        UsageError, match=r"Written out, y\[0\] has 528,448 nested terms, more than fit into 20,000 char"
    ):
        expression(net)
    with pytest.raises(UsageError, match="has more than 300 characters; round it"):
        expression(random_mlp([1, 6, 1]), limit=300)
    assert len(expression(random_mlp([1, 6, 1]), digits=2, limit=300)) <= 300
    with pytest.raises(UsageError, match="There is no output number 1: the net has 1, counted from 0"):
        expression(HALVES, 1)


def test_an_identity_stage_is_a_bracket() -> None:
    one = Layer(
        "a",
        (1,),
        Affine(((0, np.array([[2.0]])),), np.ones(1)),
        Activation("", np.zeros((1, 0)), np.ones((1, 1)), np.zeros((1, 1))),
    )
    two = Layer("b", (1,), Affine(((1, np.array([[-3.0]])),), np.zeros(1)), relu(1))
    net = PiecewiseNet(("x",), (one, two), Affine(((2, np.ones((1, 1))),), np.ones(1)), ("y",))
    assert expression(net) == "relu(-3 (2 x + 1)) + 1"
