"""Directions: Gaussian, as long as the net's own filters, and of exactly the weights that were named."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from learning.landscapes.slow import Conv, case, mlp
from scipy import stats
from torch import nn

from weightwalk.errors import UsageError
from weightwalk.learning.landscapes.directions import Plane, dot, random_direction, random_plane, weights_plane
from weightwalk.learning.landscapes.lines import plane_through
from weightwalk.nets.gpt import GPT, GPTConfig


def _flat(plane: Plane) -> tuple[np.ndarray, np.ndarray]:
    assert plane.v is not None
    u, v = (torch.cat([t.flatten().double() for t in d.values()]).numpy() for d in (plane.u, plane.v))
    return u, v


@pytest.mark.parametrize("make", [lambda: mlp(10, 32, 16, 1), Conv])
def test_every_filter_is_as_long_as_the_nets_own(make: type[nn.Module]) -> None:
    """Li et al. 2018, section 4, restated with a loop over filters."""
    net = make()
    plane = random_plane(net, 5)
    for name, w in net.named_parameters():
        if w.dim() < 2:
            assert name not in plane.u
            continue
        for filter_w, filter_d in zip(w.detach(), plane.u[name], strict=True):
            assert float(filter_d.norm()) == pytest.approx(float(filter_w.norm()), rel=1e-6)
    by_layer = random_plane(net, 5, "layer")
    for name, d in by_layer.u.items():
        assert float(d.norm()) == pytest.approx(float(net.get_parameter(name).detach().norm()), rel=1e-6)
    assert set(random_plane(net, 5, "none").u) == {n for n, _ in net.named_parameters()}
    assert f"{sum(p.numel() for p in net.parameters() if p.dim() < 2)} numbers in tensors of one axis" in plane.held


def test_directions_are_gaussian_and_not_all_positive() -> None:
    """Defect 3 of loss-landscapes: uniform on [0, 1), at 0.28 from the vector of ones. False alarm below 1e-6."""
    u, v = _flat(random_plane(mlp(40, 100, 20), 0, "none"))
    n = len(u)
    assert abs(u.sum()) / np.linalg.norm(u) / np.sqrt(n) < 5 / np.sqrt(n)
    assert abs(u @ v) / np.linalg.norm(u) / np.linalg.norm(v) < 5 / np.sqrt(n)
    assert stats.kstest(u, "norm").pvalue > 1e-6 and stats.kstest(v, "norm").pvalue > 1e-6
    assert stats.kstest(np.random.default_rng(0).random(n), "norm").pvalue < 1e-6  # the test can tell


def test_the_cosine_is_stated_with_what_chance_makes_of_it() -> None:
    """Over 300 seeds the standard deviation is known to 1/sqrt(600) = 4 %; five of these are allowed."""
    net = mlp(6, 12, 5)
    with torch.no_grad():
        net.get_parameter("0.weight")[0] *= 10  # one filter far longer than the rest
    for normalise in ("filter", "layer", "none"):
        planes = [random_plane(net, s, normalise) for s in range(300)]
        cosines = [p.cosine for p in planes]
        u, v = _flat(planes[0])
        assert cosines[0] == pytest.approx(u @ v / np.linalg.norm(u) / np.linalg.norm(v), rel=1e-6)
        assert np.std(cosines) == pytest.approx(planes[0].chance, rel=0.2)
        assert planes[0].norms == pytest.approx((np.linalg.norm(u), np.linalg.norm(v)), rel=1e-6)


def test_seeds_decide_and_leave_the_generator_alone() -> None:
    net = mlp(3, 4, 1)
    state = torch.get_rng_state()
    one, same, other = random_plane(net, 7), random_plane(net, 7), random_plane(net, 8)
    assert torch.equal(state, torch.get_rng_state())
    assert all(torch.equal(one.u[n], same.u[n]) for n in one.u)
    assert not torch.equal(one.u["0.weight"], other.u["0.weight"])


def test_a_dead_filter_does_not_move_and_a_dead_net_cannot() -> None:
    net = mlp(3, 4, 1)
    with torch.no_grad():
        net.get_parameter("0.weight")[2] = 0
    assert not random_plane(net).u["0.weight"][2].any()
    with torch.no_grad():
        for p in net.parameters():
            p.zero_()
    with pytest.raises(UsageError, match="all of these are 0; use 'none'"):
        random_plane(net)
    assert dot(random_plane(net, 0, "none").u, random_plane(net, 0, "none").u) > 0


def test_what_cannot_move_is_refused() -> None:
    with pytest.raises(UsageError, match="only tensors with two axes or more move, and the net has none"):
        random_plane(nn.LayerNorm(4))
    with pytest.raises(UsageError, match="There is no normalisation 'filters'; there are filter, layer, none"):
        random_plane(mlp(2, 1), 0, "filters")
    with pytest.raises(UsageError, match="requires a gradient"):
        random_plane(nn.ReLU())
    net = mlp(2, 1)
    with torch.no_grad():
        net.get_parameter("0.bias")[0] = float("nan")
    with pytest.raises(UsageError, match=r"0\.bias holds a number that is not finite"):
        random_plane(net)
    net.bfloat16()
    with torch.no_grad():
        net.get_parameter("0.bias")[0] = 0
    made = random_direction(dict(net.named_parameters()), torch.Generator())
    assert made["0.weight"].dtype == torch.bfloat16


def test_two_directions_on_one_line_are_no_plane() -> None:
    """A picture of them would be a trough that the loss does not have."""
    for normalise, net in (
        ("filter", nn.Linear(1, 1)),
        ("layer", nn.Linear(1, 1)),
        ("none", nn.Linear(1, 1, bias=False)),
    ):
        with pytest.raises(UsageError, match="lie on one line"):
            random_plane(net, 0, normalise)
    assert abs(random_plane(nn.Linear(1, 1), 0, "none").cosine) < 0.999
    assert "; 1 number in a tensor of one axis" in random_plane(nn.Linear(1, 1), 0, line=True).held


def test_chosen_weights_move_by_one_and_nothing_else_does() -> None:
    net = mlp(3, 4, 2)
    plane = weights_plane(net, "0.weight[2, -1]", "2.bias[1]")
    assert plane.v is not None
    assert plane.u["0.weight"][2, 2] == 1 and plane.u["0.weight"].sum() == 1 and set(plane.u) == {"0.weight"}
    assert plane.v["2.bias"].tolist() == [0, 1] and set(plane.v) == {"2.bias"}
    assert plane.cosine == 0 and plane.norms == (1, 1) and plane.shown == 2 and plane.n == 26
    trained = float(net.get_parameter("0.weight")[2, 2].detach())
    assert plane.labels[0] == f"change of 0.weight[2, 2] (trained: {trained:.4g})" and "24 weights" in plane.held
    line = weights_plane(net, " 0.bias[0] ")
    assert line.v is None and line.shown == 1 and line.norms == (1, 0)


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("0.wieght[0, 0]", r"no parameter '0\.wieght'; did you mean 0\.weight"),
        ("zzz", r"no parameter 'zzz'; it has 0\.weight, 0\.bias"),
        ("0.weight", r"does not name one number: 0\.weight has shape \(4, 3\); write it as 0\.weight\[0, 0\]"),
        ("0.weight[1]", "does not name one number"),
        ("0.weight[4, 0]", "index 4 lies outside an axis of size 4"),
        ("0.weight[0, -4]", "index -4 lies outside an axis of size 3"),
        ("0.weight[0, 1", "is no address of a weight"),
        ("", "is no address of a weight"),
        ("0.weight[0 1, 2]", "an index that is no integer"),
        ("0.bias[0]", "are the same number"),
        ("0.bias[-4]", "are the same number"),
        ("2.bias[0]", "is frozen"),
    ],
)
def test_an_address_that_names_no_weight_is_refused(address: str, said: str) -> None:
    net = mlp(3, 4, 2)
    net.get_parameter("2.bias").requires_grad_(False)
    with pytest.raises(UsageError, match=said):
        weights_plane(net, "0.bias[0]", address)


def test_one_number_alone_and_tied_weights_go_by_either_name() -> None:
    class Scale(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.s = nn.Parameter(torch.tensor(2.0))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x * self.s

    assert weights_plane(Scale(), "s").u["s"] == 1
    net = GPT(GPTConfig(vocab_size=5, n_positions=4, n_embd=4, n_layer=1, n_head=1))
    names = [n for n, p in net.named_parameters(remove_duplicate=False) if p.shape == (5, 4)]
    assert len(names) == 2
    first, second = (weights_plane(net, f"{n}[1, 2]").u for n in names)
    assert list(first) == list(second)


def test_three_nets_span_a_plane_and_stand_in_it() -> None:
    nets = [case("mlp")[0] for _ in range(3)]
    with torch.no_grad():
        for k, net in enumerate(nets):
            for p in net.parameters():
                p += 0.1 * k * torch.randn_like(p)
    plane = plane_through(nets[0], nets[1], nets[2], ("one", "two", "three"))
    assert plane.v is not None and abs(plane.cosine) < 1e-12
    assert plane.norms[0] == pytest.approx(plane.norms[1])
    for (label, a, b), net in zip(plane.points, nets, strict=True):
        for name, p in net.named_parameters():
            at = plane.origin[name] + a * plane.u[name] + b * plane.v[name]
            assert torch.allclose(at, p.detach(), rtol=0, atol=1e-12), label
    with pytest.raises(UsageError, match="lie on one line"):
        plane_through(nets[0], nets[1], nets[1])
    with pytest.raises(UsageError, match="lie on one line"):
        plane_through(nets[0], nets[0], nets[1])
    with pytest.raises(UsageError, match="not of one architecture"):
        plane_through(nets[0], nets[1], mlp(3, 8, 2).double())
