"""Points whose kind is known by hand: minima, saddles, flats, slopes, kinks."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from weightwalk.learning.diagnoses.points import point, settle_down


class Surface(nn.Module):
    """A net whose mean output is a function of its weights; the data do nothing."""

    def __init__(self, function: Callable[[Tensor], Tensor], at: list[float]) -> None:
        super().__init__()
        self.function = function
        self.w = nn.Parameter(torch.tensor(at, dtype=torch.float64))

    def forward(self, x: Tensor) -> Tensor:
        return self.function(self.w).expand(len(x), 1)


def mean(outputs: Tensor, targets: Tensor) -> Tensor:
    return outputs.mean()


ONE = torch.zeros(1, 1, dtype=torch.float64)

SURFACES: dict[str, tuple[Callable[[Tensor], Tensor], list[float], str]] = {
    "bowl": (lambda w: 1 + w[0] ** 2 + 3 * w[1] ** 2, [0.0, 0.0], "minimum"),
    "saddle": (lambda w: 1 + (w[0] - 1) ** 2 - w[1] ** 2, [1.0, 0.0], "saddle"),
    "monkey saddle": (lambda w: 1 + (w[0] - 1) ** 3 - 3 * (w[0] - 1) * w[1] ** 2 + w[2] ** 2, [1.0, 0.0, 0.0],
                      "refuted minimum"),
    "trough": (lambda w: 1 + (w[0] - 1) ** 2 + 0 * w[1], [1.0, 0.5], "flat minimum"),
    "slope": (lambda w: 1 + w[0] ** 2 + w[1], [0.0, 1.0], "not critical"),
    "hill": (lambda w: 2 - (w[0] - 1) ** 2 - w[1] ** 2, [1.0, 0.0], "saddle"),
    "notch": (lambda w: 1 + w[0] ** 2 - (w[1] - 1e-3).relu() + w[1] ** 2, [0.0, 0.0], "refuted minimum"),
}  # fmt: skip


@pytest.mark.parametrize("name", SURFACES)
def test_the_kind_of_a_known_point(name: str) -> None:
    function, at, kind = SURFACES[name]
    found = point(Surface(function, at), ONE, ONE, mean)
    assert found.kind == kind, found


def test_a_saddle_is_left_downhill() -> None:
    function, at, _ = SURFACES["saddle"]
    found = point(Surface(function, at), ONE, ONE, mean)
    assert found.escape is not None and found.escape_step is not None and found.predicted is not None
    assert found.escape == pytest.approx(1 - found.escape_step**2)
    assert found.predicted == pytest.approx(found.escape - 1)
    assert found.spectrum.negative == 1


def test_a_direction_that_changes_answers_but_not_the_loss_is_unexplained() -> None:
    """``L = mean((a x)^4)`` at a = 0 has no curvature, yet the answers change along a."""

    def quartic(outputs: Tensor, targets: Tensor) -> Tensor:
        return 1 + (outputs[:, 0] ** 4).mean() + (outputs[:, 1] - 1).square().mean()

    net = nn.Linear(1, 2, bias=False, dtype=torch.float64)
    with torch.no_grad():
        net.weight.copy_(torch.tensor([[0.0], [1.0]]))
    found = point(net, torch.ones(3, 1, dtype=torch.float64), torch.zeros(3, 2), quartic)
    assert (found.kind, found.spectrum.flat, found.unchanged, found.unexplained) == ("flat minimum", 1, 0, 1)


def test_zero_eigenvalues_are_accounted_for_by_directions_that_change_nothing() -> None:
    """Two units that are always on are one line: 7 weights, of which the answers know only slope and intercept."""
    net: Any = nn.Sequential(nn.Linear(1, 2), nn.ReLU(), nn.Linear(2, 1)).double()
    x = torch.linspace(0, 10, 21, dtype=torch.float64)[:, None]
    with torch.no_grad():
        net[0].weight.copy_(torch.tensor([[0.5], [1.0]]))
        net[0].bias.fill_(2.0)
        design = torch.cat([x, torch.ones_like(x)], dim=1)
        slope, intercept = torch.linalg.lstsq(design, x.sqrt()).solution.flatten().tolist()
        net[2].weight.copy_(torch.tensor([[slope, slope / 2]]))
        net[2].bias.fill_(intercept - 3 * slope)
    found = point(net, x, x.sqrt(), "mse")
    assert found.kind == "flat minimum"
    assert (found.spectrum.n, found.spectrum.positive, found.spectrum.flat, found.unexplained) == (7, 2, 5, 0)
    residual = (design @ torch.tensor([[slope], [intercept]], dtype=torch.float64) - x.sqrt()).square().mean()
    assert found.spectrum.loss == pytest.approx(float(residual))
    assert found.kicked is not None and found.kicked >= found.spectrum.loss - 1e-9


def test_a_unit_that_is_dead_makes_its_weights_idle() -> None:
    net: Any = nn.Sequential(nn.Linear(1, 2), nn.ReLU(), nn.Linear(2, 1)).double()
    x = torch.linspace(0, 1, 5, dtype=torch.float64)[:, None]
    with torch.no_grad():
        net[0].weight.copy_(torch.tensor([[1.0], [-1.0]]))
        net[0].bias.copy_(torch.tensor([1.0, -1.0]))
        net[2].weight.copy_(torch.tensor([[3.0, 2.0]]))
        net[2].bias.fill_(0.0)
    found = point(net, x, 3 * x + 3.5, "mse")  # a slope of 3 is right; the level is not
    assert found.idle == 3 and found.kind == "not critical"


def test_a_softmax_that_is_pinned_is_no_minimum() -> None:
    net = nn.Linear(1, 3, bias=True, dtype=torch.float64)
    x, y = torch.tensor([[-1.0], [1.0], [1.0], [1.0]], dtype=torch.float64), torch.tensor([0, 1, 1, 2])
    down = settle_down(net, x, y, "cross_entropy")
    floor = -(2 * math.log(2 / 3) + math.log(1 / 3)) / 4  # rows alike with different targets
    assert down.loss == pytest.approx(floor, rel=1e-5)
    with torch.no_grad():
        for name, p in net.named_parameters():
            p.copy_(down.weights[name])
    found = point(net, x, y, "cross_entropy")
    assert found.kind in ("endless", "not critical") and found.pinned > 0


def test_going_downhill_ends_at_the_least_squares_solution() -> None:
    rng = torch.Generator().manual_seed(0)
    x = torch.randn(30, 3, generator=rng, dtype=torch.float64)
    y = torch.randn(30, 1, generator=rng, dtype=torch.float64)
    net = nn.Linear(3, 1, dtype=torch.float64)
    before = [p.detach().clone() for p in net.parameters()]
    down = settle_down(net, x, y, "mse")
    book = torch.linalg.lstsq(torch.cat([x, torch.ones(30, 1, dtype=torch.float64)], dim=1), y)
    assert down.arrived
    got = torch.cat([down.weights["weight"].flatten(), down.weights["bias"]])
    assert torch.allclose(got, book.solution.flatten(), atol=1e-8)
    assert all(torch.equal(p, q) for p, q in zip(net.parameters(), before, strict=True))


def test_a_large_net_is_open_unless_a_negative_eigenvalue_is_found() -> None:
    bowl = Surface(lambda w: 1 + (w**2).sum(), [0.0] * 40)
    assert point(bowl, ONE, ONE, mean, full_up_to=10).kind == "open"
    hill = Surface(lambda w: 1 + (w[1:] ** 2).sum() - w[0] ** 2, [0.0] * 40)
    found = point(hill, ONE, ONE, mean, full_up_to=10)
    assert found.kind == "saddle" and found.idle is None and not found.spectrum.negative_is_exact


def test_the_gradient_is_judged_by_what_it_could_change() -> None:
    found = point(Surface(lambda w: 3 + (w * torch.tensor([3.0, 4.0])).sum(), [1.0, 2.0]), ONE, ONE, mean)
    assert found.relative_gradient == pytest.approx(5 * math.sqrt(5) / 14)
    assert np.isclose(found.spectrum.gradient_norm, 5)
