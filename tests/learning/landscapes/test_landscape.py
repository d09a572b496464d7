"""The verb; and what loss-landscapes 3.0.6 gets wrong, as properties of our grids (PEERS, section 5.2)."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from learning.landscapes.slow import case, mlp
from scipy import stats
from torch import Tensor, nn

import weightwalk as ww
from weightwalk.errors import UsageError
from weightwalk.learning.landscapes.asked import grid
from weightwalk.learning.landscapes.directions import random_plane
from weightwalk.learning.landscapes.landscape import agreement_of, landscape
from weightwalk.learning.landscapes.surface import surface
from weightwalk.learning.tasks import Task, task_of
from weightwalk.learning.train import train
from weightwalk.show.json import jsonable


def test_a_task_is_trained_and_stands_at_the_centre() -> None:
    found = landscape("hello", points=5, seed=2, directions=10)
    history = train("hello", seed=2)
    assert {s.centre_loss for s in found.surfaces} == {history.final}
    assert found.spectrum is not None and found.curvatures is not None and found.curvatures.directions == 10
    assert ww.landscape is landscape


def test_several_seeds_share_a_scale_and_are_compared() -> None:
    net, x, y, loss = case("mlp")
    found = landscape(net, x, y, loss=loss, seeds=(0, 1, 2), points=7)
    every = np.stack([s.losses for s in found.surfaces])
    assert (found.low, found.high) == (every.min(), every.max())
    assert len({s.centre_loss for s in found.surfaces}) == 1
    assert [(i, j) for i, j, _ in found.agreement] == [(0, 1), (0, 2), (1, 2)]
    for i, j, rho in found.agreement:
        true = stats.spearmanr(every[i].ravel(), every[j].ravel())[0]
        assert rho == pytest.approx(true) and rho < 0.99
    assert "3 pairs of random directions through the same net give 3 pictures" in found.notes[0]
    same = landscape(net, x, y, loss=loss, seeds=(1, 1), points=7, hessian=False)
    assert same.agreement[0][2] == pytest.approx(1) and same.spectrum is None


def test_a_surface_without_heights_agrees_with_nothing() -> None:
    net, x, y, loss = case("mlp")
    with torch.no_grad():
        net.get_parameter("0.bias").fill_(-100)  # the first layer is off everywhere: the other weights of it do nothing
    found = landscape(net, x, y, loss=loss, weights=("0.weight[0, 0]", "0.weight[1, 0]"), points=5)
    assert np.ptp(found.surfaces[0].losses) < 1e-15
    assert np.isnan(agreement_of([found.surfaces[0]] * 2)[0][2])


def test_curvature_notes_hold_the_numbers() -> None:
    net, x, y, loss = case("mlp")
    found = landscape(net, x, y, loss=loss, points=5, directions=30)
    assert found.curvatures is not None and found.spectrum is not None
    note = found.notes[-1]
    assert f"negative along {found.curvatures.negative} of them" in note
    assert f"of the 89 eigenvalues of the Hessian {found.spectrum.negative} are negative" in note
    assert any(f"{found.spectrum.negative} of 89 are negative" in n for n in found.surfaces[0].notes)


def test_a_module_that_somebody_trained_is_not_trained_again() -> None:
    net, x, y, loss = case("mlp")
    before = [p.detach().clone() for p in net.parameters()]
    data = task_of("linear").data
    task = Task("mine", "a net of mine", lambda: net, type(data)(x, y), loss, remade=False)
    found = landscape(task, points=3, hessian=False)
    assert found.module is net and all(torch.equal(p, q) for p, q in zip(net.parameters(), before, strict=True))


def test_facts_become_json() -> None:
    net, x, y, loss = case("mlp")
    found = jsonable(landscape(net, x, y, loss=loss, points=5))
    assert found["is"] == "Landscape" and found["surfaces"][0]["losses"]["shape"] == [5, 5]
    assert found["surfaces"][0]["at_centre"]["gradient_norm"] > 0 and "module" not in found


def test_progress_tells_what_is_being_done() -> None:
    told: list[tuple[str, int, int]] = []
    landscape("hello", points=5, directions=3, progress=lambda *a: told.append(a))
    assert {what for what, _, _ in told} == {"training", "Hessian", "directions", "grid"}
    assert ("grid", 25, 25) in told and all(0 <= done <= total for _, done, total in told)


def test_what_does_not_fit_is_refused() -> None:
    net, x, y, loss = case("mlp")
    for keywords, said in (
        ({"points": 40}, "got 40: take 41"),
        ({"seeds": ()}, "At least one seed"),
        ({"weights": ("0.bias[0]",)}, "A plane has two weights; got 1"),
        ({"span": 0.0}, "both sides of 0"),
        ({"span": float("nan")}, "both sides of 0"),
        ({"loss": "mes"}, "There is no loss 'mes'"),
    ):
        with pytest.raises(UsageError, match=said):
            landscape(net, x, y, **{"loss": loss, **keywords})
    with pytest.raises(UsageError, match="needs data to be judged on"):
        landscape(net)
    with pytest.raises(UsageError, match="brings its own data"):
        landscape("linear", x, y)
    with pytest.raises(UsageError, match="no task 'lineer'; did you mean linear"):
        landscape("lineer")


# The four defects of loss-landscapes 3.0.6 ---------------------------------------------------------------------------


def quadratic() -> tuple[nn.Module, Tensor, Tensor]:
    """A linear net: its loss is a quadratic, which a shift of a row by a step cannot leave alike."""
    torch.manual_seed(4)
    x = torch.randn(50, 4, dtype=torch.float64)
    net = nn.Linear(4, 1, dtype=torch.float64)
    return net, x, x @ torch.randn(4, 1, dtype=torch.float64)


def test_defect_1_no_row_is_shifted() -> None:
    """Each row's lowest point lies where the quadratic has it: on a straight line, not on a zig-zag."""
    net, x, y = quadratic()
    found = surface(net, x, y, random_plane(net, 0, "none"), alphas=grid(9))
    uu, vv, uv = found.at_centre.curvature
    _, slope = found.at_centre.slope
    for i, a in enumerate(found.alphas):
        square, linear, _ = np.polyfit(found.betas, found.losses[i], 2)
        assert -linear / 2 / square == pytest.approx(-(slope + uv * a) / vv, abs=1e-9)
    assert np.ptp([-(slope + uv * a) / vv for a in found.alphas]) > 0.01 and uu > 0


def test_defect_2_the_trained_weights_are_on_the_grid() -> None:
    for name in ("mlp", "functional", "conv", "gpt"):
        net, x, y, loss = case(name)
        found = surface(net, x, y, random_plane(net), loss=loss, alphas=grid(5))
        assert found.losses[found.centre] == found.centre_loss and found.centre == (2, 2)


# Defect 3, uniform directions: test_directions.py, test_directions_are_gaussian_and_not_all_positive.


def test_defect_4_the_net_is_not_moved() -> None:
    net = mlp(3, 8, 2)
    before = copy.deepcopy(net.state_dict())
    landscape(net, torch.randn(9, 3), torch.randn(9, 2), seeds=(0, 1), points=5, directions=5)
    assert all(torch.equal(t, before[n]) for n, t in net.state_dict().items())
    assert all(p.grad is None for p in net.parameters())
