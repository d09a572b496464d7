"""The formula at one input, held to torch, to fractions, to dense rays, and to accounts of the same net."""

from __future__ import annotations

import itertools
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
import torch
from formulas.local_nets import forms, random_net, value
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

import weightwalk as ww
from weightwalk.errors import UsageError
from weightwalk.formulas.lifts.lift import lift
from weightwalk.formulas.piecewise import PiecewiseNet, mlp
from weightwalk.formulas.points.checks import certify
from weightwalk.formulas.points.local import first_order, local


def mlp_of(module: nn.Sequential) -> PiecewiseNet:
    layers = [m for m in module if isinstance(m, nn.Linear)]
    return mlp([m.weight.detach().numpy() for m in layers], [m.bias.detach().numpy() for m in layers])


def torch_mlp(*sizes: int, seed: int = 0) -> nn.Sequential:
    torch.manual_seed(seed)
    parts: list[nn.Module] = []
    for a, b in itertools.pairwise(sizes):
        parts += [nn.Linear(a, b), nn.ReLU()]
    return nn.Sequential(*parts[:-1]).double()


def numpy_mlp(*sizes: int, seed: int = 0) -> PiecewiseNet:
    rng = np.random.default_rng(seed)
    pairs = list(itertools.pairwise(sizes))
    weights = [rng.normal(size=(b, a)) * np.sqrt(2 / a) for a, b in pairs]
    return mlp(weights, [rng.normal(size=b) * 0.3 for _, b in pairs])


# -- the affine map ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sizes", [(3, 8, 2), (10, 32, 32, 3), (2, 16, 40)])
def test_map_is_torchs_jacobian(sizes: tuple[int, ...]) -> None:
    module = torch_mlp(*sizes)
    x = torch.randn(sizes[0], dtype=torch.float64)
    found = local(mlp_of(module), x.numpy())
    jacobian = torch.autograd.functional.jacobian(module, x).numpy()
    with torch.no_grad():
        y = module(x).numpy()
    np.testing.assert_allclose(found.A, jacobian, rtol=0, atol=1e-14 * np.abs(jacobian).max())
    np.testing.assert_allclose(found.b, y - jacobian @ x.numpy(), rtol=0, atol=1e-13)
    np.testing.assert_allclose(found.y, y, rtol=0, atol=1e-14)
    assert found.certificate.ok, str(found.certificate)


def test_finite_perturbation_inside_the_region_is_the_jacobian_exactly_and_ranks_the_same() -> None:
    """No step size to choose: the difference quotient is the slope for every step that stays inside."""
    found = local(numpy_mlp(6, 20, 20, 2), np.linspace(-1, 1, 6))
    step = 0.9 * found.nearest.distance
    for j in range(6):
        moved = np.zeros(6)
        moved[j] = step
        quotient = (found.net((found.x + moved)[None])[0] - found.y) / step
        np.testing.assert_allclose(quotient, found.A[:, j], rtol=1e-9, atol=1e-12)
    rank = np.argsort(-np.abs(found.A[0]))
    quotients = [found.net((found.x + step * e)[None])[0, 0] - found.y[0] for e in np.eye(6)]
    assert list(np.argsort(-np.abs(quotients))) == list(rank)


def test_account_with_the_cut_at_the_inputs_is_the_same_formula() -> None:
    module = torch_mlp(4, 12, 9, 2, seed=3)
    x = torch.tensor([[0.3, -1.2, 0.8, 2.0]], dtype=torch.float64)
    found = local(mlp_of(module), x.numpy()[0])
    walk = ww.walk(module, x)
    lifted = local(lift(walk).net, x.numpy()[0])
    np.testing.assert_array_equal(lifted.A, found.A)
    for i in range(2):
        account = walk.account(f"out[0, {i}]", cut="inputs")
        by_address = {row.address: row.value for row in account.rows if row.kind == "cut"}
        parts = [by_address[f"in[0, {j}]"] for j in range(4)]
        constants = sum(row.value for row in account.rows if row.kind != "cut")
        np.testing.assert_allclose(parts, found.A[i] * found.x, rtol=0, atol=1e-14)
        assert constants == pytest.approx(found.b[i], abs=1e-14)


# -- the polytope, against fractions -----------------------------------------------------------------------------------


@given(st.integers(0, 10**6), st.booleans(), st.booleans())
def test_rows_slack_and_sides_are_those_of_rational_arithmetic(seed: int, integers: bool, on_grid: bool) -> None:
    """Nets with repeated units, zero rows, skips, two-kink units; x on a grid of halves, so often exactly on kinks."""
    net = random_net(seed, integers=integers)
    rng = np.random.default_rng(seed)
    x = rng.integers(-4, 5, net.n) / 2.0 if on_grid else rng.normal(size=net.n)
    found = local(net, x, seed=seed % 7)
    assert found.certificate.ok, str(found.certificate)
    z, y = forms(net, list(found.frozen.pieces))
    np.testing.assert_allclose(found.A, [[float(a) for a in form[:-1]] for form in y], rtol=0, atol=1e-12)
    np.testing.assert_allclose(found.b, [float(form[-1]) for form in y], rtol=0, atol=1e-12)
    row = 0
    at_kink, still, number = [], [], 0
    for layer, units, pieces in zip(net.layers, z, found.frozen.pieces, strict=True):
        for i, form in enumerate(units):
            kinks = [Fraction(float(k)) for k in layer.activation.kinks[i]]
            here = value(form, x)
            constant = not any(abs(float(a)) > 1e-13 for a in form[:-1])
            if any(abs(float(here - k)) < 1e-13 for k in kinks):
                (still if constant else at_kink).append(number)
            for k, kink in enumerate(kinks):
                if k not in (pieces[i] - 1, pieces[i]):
                    continue
                sign = 1 if k == pieces[i] else -1
                assert found.unit(row) == f"{layer.name}[{i}]"
                np.testing.assert_allclose(found.G[row], [sign * float(a) for a in form[:-1]], rtol=0, atol=1e-12)
                slack = float(sign * (kink - here))
                assert found.slack[row] == pytest.approx(slack, abs=1e-12)
                assert slack >= -1e-13
                length = float(np.sqrt(sum(float(a) ** 2 for a in form[:-1])))
                expected = np.inf if constant else max(slack, 0.0) / length
                assert found.distance[row] == pytest.approx(expected, rel=1e-9, abs=1e-11)
                inside = float(sign * (kink - value(form, found.inside)))
                assert constant or inside > 0  # a full-dimensional region, also where x is on kinks
                row += 1
            number += 1
    assert row == len(found.rows)
    assert list(found.at_kink) == at_kink
    assert list(found.still) == still


def test_on_a_kink_a_side_is_taken_not_the_point() -> None:
    """|x| as relu(x) + relu(-x): torch's own derivative at 0 is 0, which is the slope on neither side."""
    net = mlp([np.array([[1.0], [-1.0]]), np.array([[1.0, 1.0]])], [np.zeros(2), np.zeros(1)])
    for sign in (1.0, -1.0):
        found = local(net, [0.0], direction=[sign])
        assert found.A.tolist() == [[sign]]
        assert found.at_kink.tolist() == [0, 1]
        assert np.sign(found.inside[0]) == sign
        assert found.nearest.distance == 0
        assert found.along[-1].t == np.inf  # the formula holds all the way on that side
        assert found.certificate["units whose kink x is on"].found == 2


def test_a_direction_along_the_kink_leaves_the_side_to_chance_but_full_dimensional() -> None:
    net = mlp([np.array([[0.0, 1.0], [0.0, -1.0]]), np.array([[1.0, 1.0]])], [np.zeros(2), np.zeros(1)])
    found = local(net, [0.3, 0.0], direction=[1.0, 0.0])
    assert abs(found.A[0, 1]) == 1.0
    assert found.inside[1] != 0.0
    assert found.certificate.ok


def test_black_image_without_biases_is_on_every_kink() -> None:
    rng = np.random.default_rng(0)
    net = mlp([rng.normal(size=(30, 20)), rng.normal(size=(30, 30)), rng.normal(size=(2, 30))],
              [np.zeros(30), np.zeros(30), np.zeros(2)])  # fmt: skip
    found = local(net, np.zeros(20), facets=True, rays=256)
    assert len(found.at_kink) == 60
    assert found.certificate.ok, str(found.certificate)
    assert found.facets.any()


def test_a_hardtanh_unit_has_a_row_on_either_side_and_a_kink_free_layer_none() -> None:
    net = random_net(0, integers=False)
    from formulas.local_nets import activation

    layers = (
        replace(net.layers[0], activation=activation("hardtanh", net.layers[0].size)),
        *net.layers[1:],
    )
    net = replace(net, layers=layers)
    found = local(net, np.zeros(net.n))
    rows = found.rows
    first = rows.unit < layers[0].size
    middle = found.frozen.pieces[0] == 1
    assert first.sum() == (1 + middle).sum()
    for unit in np.flatnonzero(middle):
        assert rows.sign[rows.unit == unit].tolist() == [-1.0, 1.0]
        assert [found.side(r) for r in np.flatnonzero(rows.unit == unit)] == [f"z1[{unit}] >= -1", f"z1[{unit}] <= 1"]


# -- distances ---------------------------------------------------------------------------------------------------------


def first_change(net: PiecewiseNet, x: np.ndarray, directions: np.ndarray, far: float) -> np.ndarray:
    """Bisection: how far along each direction the pattern stays that of x (regions are convex)."""
    low, high = np.zeros(len(directions)), np.full(len(directions), far)
    start = np.concatenate(net.pattern(x[None]), axis=1)
    for _ in range(60):
        middle = (low + high) / 2
        same = (np.concatenate(net.pattern(x + middle[:, None] * directions), axis=1) == start).all(axis=1)
        low, high = np.where(same, middle, low), np.where(same, high, middle)
    return low


@pytest.mark.parametrize("seed", range(4))
def test_nearest_kink_against_dense_rays(seed: int) -> None:
    net = numpy_mlp(2, 12, 12, 1, seed=seed)
    x = np.random.default_rng(seed).normal(size=2)
    found = local(net, x)
    angles = np.linspace(0, 2 * np.pi, 3000, endpoint=False)
    brute = first_change(net, x, np.stack([np.cos(angles), np.sin(angles)], axis=1), 10.0)
    assert found.nearest.distance <= brute.min() * (1 + 1e-9)
    assert found.nearest.distance >= brute.min() * np.cos(np.pi / 3000) * (1 - 1e-6)
    assert np.linalg.norm(found.nearest.point - x) == pytest.approx(found.nearest.distance, rel=1e-12)


def test_along_gradients_and_a_direction_against_bisection() -> None:
    net = numpy_mlp(5, 20, 20, 3, seed=5)
    x = np.random.default_rng(5).normal(size=5)
    found = local(net, x, direction=np.arange(1.0, 6.0))
    assert [a.name for a in found.along] == [f"{w} y[{i}]" for i in range(3) for w in ("up", "down")] + ["direction"]
    for way in found.along[:-1]:
        assert np.linalg.norm(way.direction) == pytest.approx(1.0)
    up = found.along[0].direction
    np.testing.assert_allclose(up, found.A[0] / np.linalg.norm(found.A[0]), rtol=1e-14)
    brute = first_change(net, x, np.stack([w.direction for w in found.along]), 50.0)
    np.testing.assert_allclose([w.t for w in found.along], brute, rtol=1e-9)
    last = found.along[-1]
    assert last.distance == pytest.approx(last.t * np.sqrt(55.0))
    before, after = (
        np.concatenate(net.pattern((x + last.t * s * last.direction)[None]), axis=1)[0] for s in (1 - 1e-9, 1 + 1e-9)
    )
    assert np.flatnonzero(before != after).tolist() == [int(found.rows.unit[last.row])]


def test_a_direction_within_the_kink_never_meets_it() -> None:
    """Up to rounding: w d is a few 1e-17 of either sign, and the slack is 0."""
    rng = np.random.default_rng(0)
    for _ in range(20):
        w = rng.normal(size=(1, 5))
        d = rng.normal(size=5)
        d -= w[0] * (w[0] @ d) / (w[0] @ w[0])
        net = mlp([w, np.ones((1, 1))], [np.zeros(1), np.zeros(1)])
        for sign in (1.0, -1.0):
            found = local(net, np.zeros(5), direction=sign * d)
            assert found.at_kink.tolist() == [0]
            assert found.along[-1].t == np.inf


@pytest.mark.parametrize("exponent", range(2, 18))
def test_however_near_a_kink_the_certificate_holds(exponent: int) -> None:
    """From plainly inside over what rounding can just tell to on the kink, on both sides of it."""
    net = numpy_mlp(6, 30, 30, 2, seed=3)
    start = local(net, np.random.default_rng(3).normal(size=6)).nearest
    for side in (1, -1):
        x = start.point + side * 10.0**-exponent * start.normal
        found = local(net, x, facets=True, rays=64, box=(-30.0, 30.0))
        assert found.certificate.ok, str(found.certificate)
        assert found.nearest.unit == start.unit or exponent == 2
        assert found.nearest.distance == pytest.approx(10.0**-exponent, rel=1e-2, abs=1e-12) or exponent == 2


def test_jump_of_the_slopes_at_the_nearest_kink() -> None:
    module = torch_mlp(4, 12, 9, 2, seed=8)
    x = np.array([0.2, -0.4, 0.9, 0.1])
    found = local(mlp_of(module), x)
    near = found.nearest
    beyond = torch.tensor(x + (near.distance + 1e-7) * near.normal)
    jacobian = torch.autograd.functional.jacobian(module, beyond).numpy()
    np.testing.assert_allclose(found.A + np.outer(near.jump, near.normal), jacobian, rtol=0, atol=1e-13)
    assert set(near.slopes) == {0.0, 1.0}
    assert np.abs(near.jump).max() > 0


def test_duplicated_units_share_the_nearest_kink() -> None:
    net = mlp([np.array([[1.0, 0.0], [2.0, 0.0], [0.0, 1.0], [-1.0, 0.0]]), np.ones((1, 4))],
              [np.array([-1.0, -2.0, 5.0, 1.0]), np.zeros(1)])  # fmt: skip
    found = local(net, [0.0, 0.0], facets=True)
    assert found.nearest.distance == 1.0
    assert (found.nearest.row, found.nearest.shared.tolist()) == (0, [1, 3])
    np.testing.assert_allclose(found.nearest.jump, [1 + 2 + 1])  # -x + 1 vanishes as x - 1 and 2 x - 2 appear
    assert found.facets.tolist() == [True, False, True, False]
    assert found.certificate.ok


def test_a_linear_net_has_no_region_to_leave() -> None:
    net = mlp([np.array([[2.0, 3.0]])], [np.array([1.0])])
    found = local(net, [1.0, 1.0], direction=[1.0, 0.0], facets=True, minimal=True)
    assert (found.A.tolist(), found.b.tolist(), len(found.rows)) == ([[2.0, 3.0]], [1.0], 0)
    assert found.nearest is None
    assert all(w.t == np.inf for w in found.along)
    assert found.chebyshev.status == "unbounded: give a box"
    assert found.minimal.complete
    assert found.certificate.ok


def test_an_output_that_is_constant_here_has_no_gradient_to_follow() -> None:
    found = local(mlp([np.eye(2), np.ones((1, 2))], [np.zeros(2), np.zeros(1)]), [-1.0, -2.0])
    assert found.A.tolist() == [[0.0, 0.0]]
    assert [w.t for w in found.along] == [np.inf, np.inf]


# -- symmetries --------------------------------------------------------------------------------------------------------


def test_rotating_the_inputs_turns_the_formula_and_keeps_the_distances() -> None:
    net = numpy_mlp(6, 15, 15, 2, seed=2)
    turn = np.linalg.qr(np.random.default_rng(0).normal(size=(6, 6)))[0]
    turned = net.restrict(np.zeros(6), turn.T, [f"u{i}" for i in range(6)])
    x = np.random.default_rng(1).normal(size=6)
    a, b = local(net, x), local(turned, turn.T @ x)
    np.testing.assert_allclose(b.distance, a.distance, rtol=1e-10)
    np.testing.assert_allclose(b.A, a.A @ turn, rtol=0, atol=1e-13)
    assert a.nearest.unit == b.nearest.unit


def test_scaling_a_hidden_unit_changes_nothing_but_its_slack() -> None:
    net = numpy_mlp(4, 10, 2, seed=4)
    scale = np.exp(np.random.default_rng(2).normal(size=10))
    (j, first), (_, last) = net.layers[0].affine.terms[0], net.output.terms[0]
    scaled = mlp([first * scale[:, None], last / scale], [net.layers[0].affine.bias * scale, net.output.bias])
    x = np.random.default_rng(3).normal(size=4)
    a, b = local(net, x), local(scaled, x)
    assert j == 0
    np.testing.assert_allclose(a.distance, b.distance, rtol=1e-12)
    np.testing.assert_allclose(a.slack * scale, b.slack, rtol=1e-12)
    np.testing.assert_allclose(a.A, b.A, rtol=0, atol=1e-13)


# -- first order -------------------------------------------------------------------------------------------------------


def test_first_order_is_exact_inside_the_region_and_says_how_far_outside() -> None:
    net = numpy_mlp(5, 20, 20, 2, seed=6)
    x = np.random.default_rng(6).normal(size=5)
    found = local(net, x)
    start = np.concatenate(net.pattern(x[None]), axis=1)
    inside = outside = 0
    for point in x + np.random.default_rng(7).normal(size=(200, 5)) * 0.05:
        step = first_order(found, point)
        same = bool((np.concatenate(net.pattern(point[None]), axis=1) == start).all())
        assert step.exact is same
        np.testing.assert_allclose(step.value, found.A @ point + found.b, rtol=0, atol=1e-13)
        if same:
            inside += 1
            assert step.error <= 1e-13 and step.outside == 0 and step.t == 1 and step.row is None
        else:
            outside += 1
            excess = (found.G @ point - found.g) / np.linalg.norm(found.G, axis=1)
            assert step.outside == pytest.approx(excess.max(), rel=1e-9)
            assert step.unit == found.unit(int(excess.argmax()))
            assert 0 < step.t < 1
            assert first_order(found, x + 0.999 * step.t * (point - x)).exact
            assert not first_order(found, x + 1.001 * step.t * (point - x)).exact
    assert inside > 10 and outside > 10
    far = first_order(found, x + 3.0)
    assert far.error > 1e-3 and not far.exact


# -- a certificate that can fail ---------------------------------------------------------------------------------------


def test_the_certificate_fails_on_a_wrong_map_a_wrong_net_and_a_wrong_unit() -> None:
    net = numpy_mlp(4, 12, 12, 2, seed=9)
    found = local(net, np.random.default_rng(9).normal(size=4), facets=True)
    assert found.certificate.ok
    assert not certify(replace(found, A=found.A * (1 + 1e-9)), net, 0).ok
    assert not certify(found, lambda p: net(p) + 1e-9, 0).ok
    order = np.argsort(found.distance)
    other = replace(found.nearest, row=int(order[1]))
    wrong = certify(replace(found, nearest=other), net, 0)
    assert [c.name[:15] for c in wrong.failures] == ["just beyond the"]
    pieces = [p.copy() for p in found.frozen.pieces]
    pieces[0][3] ^= 1
    moved = replace(found.region, frozen=replace(found.frozen, pieces=tuple(pieces)))
    assert not certify(replace(found, region=moved), net, 0).ok
    other_g = replace(found.region, g=found.g * (1 + 1e-9))
    assert not certify(replace(found, region=other_g), net, 0)["greatest |g - G x"].ok
    tighter = replace(found.region, g=found.g - 2 * found.distance.min())
    assert not certify(replace(found, region=tighter), net, 0).ok


# -- what is refused ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"x": [1.0]}, "x has 1 numbers, but the net has 2 inputs"),
        ({"x": [1.0, np.nan]}, "x has nan at place 1: only finite numbers will do"),
        ({"x": [np.inf, 0.0]}, "x has inf at place 0"),
        ({"x": ["a", "b"]}, "x is not a list of numbers"),
        ({"direction": [0.0, 0.0]}, "The direction is zero"),
        ({"direction": [1.0]}, "The direction has 1 numbers"),
        ({"budget": 0.0}, "The budget is 0 s"),
        ({"budget": -1.0}, "The budget is -1 s"),
        ({"budget": float("nan")}, "The budget is nan s"),
        ({"memory": 8}, "more than the memory allowed"),
        ({"rays": 0, "facets": True}, "0 rays meet no facet"),
        ({"box": (1.0, 2.0)}, "x lies outside the box: input 0 is 0, the box goes from 1 to 2"),
        ({"box": (2.0, -2.0)}, "The box must be (least, greatest)"),
        ({"box": [(0.0, 1.0)] * 3}, "The box must be (least, greatest)"),
        ({"minimal": True, "memory": 40}, "The minimal description needs the polytope in memory"),
    ],
)
def test_what_is_refused(options: dict[str, object], said: str) -> None:
    net = numpy_mlp(2, 3, 1)
    with pytest.raises(UsageError) as error:
        local(net, **{"x": [0.0, 0.0], **options})  # type: ignore[arg-type]
    assert said in str(error.value)
    assert "\n" not in str(error.value)


def test_first_order_wants_a_point_of_the_right_size() -> None:
    with pytest.raises(UsageError, match="The point has 3 numbers"):
        first_order(local(numpy_mlp(2, 3, 1), [0.0, 0.0]), [0.0, 0.0, 0.0])
