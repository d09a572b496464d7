"""The line between two nets: its ends are the nets, and a hill on it is measured."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from learning.landscapes.slow import Functional, case, mlp
from torch import Tensor, nn

from weightwalk.errors import UsageError
from weightwalk.learning.landscapes.lines import line_between
from weightwalk.learning.losses import loss_of, tensor_of
from weightwalk.learning.seeds import seeded
from weightwalk.learning.train import train


def pair(name: str) -> tuple[nn.Module, nn.Module, Tensor, Tensor, str]:
    a, x, y, loss = case(name)
    b = copy.deepcopy(a)
    with seeded(9), torch.no_grad():
        for p in b.parameters():
            p += 0.3 * torch.randn_like(p)
        for t in b.buffers():
            if t.is_floating_point():
                t += 0.2 * torch.rand_like(t)
    return a, b, x, y, loss


def own(net: nn.Module, x: Tensor, y: Tensor, loss: str) -> float:
    with torch.no_grad():
        return float(loss_of(loss)(tensor_of(copy.deepcopy(net).eval()(x)), y))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", ["mlp", "functional", "conv", "gpt", "words"])
def test_both_ends_are_the_nets_to_the_bit(name: str, dtype: torch.dtype) -> None:
    a, b, x, y, loss = pair(name)
    a, b, x, y = a.to(dtype), b.to(dtype), *(t.to(dtype) if t.is_floating_point() else t for t in (x, y))
    found = line_between(a, b, x, y, loss=loss, points=5, beyond=0.5)
    assert found.ts.tolist() == [-0.5, -0.25, 0, 0.25, 0.5, 0.75, 1, 1.25, 1.5]
    assert found.ends == (own(a, x, y, loss), own(b, x, y, loss)) == (found.losses[2], found.losses[6])
    assert found.ends[0] != found.ends[1]


@pytest.mark.parametrize("name", ["mlp", "functional", "gpt"])
def test_between_them_stand_the_mixed_nets(name: str) -> None:
    """Parameters and running statistics, mixed by hand in a copy."""
    a, b, x, y, loss = pair(name)
    found = line_between(a, b, x, y, loss=loss, points=4)
    for t, drawn in zip(found.ts, found.losses, strict=True):
        mixed = copy.deepcopy(a)
        state = {
            n: (1 - t) * w + t * b.state_dict()[n] if w.is_floating_point() else w for n, w in a.state_dict().items()
        }
        mixed.load_state_dict(state)
        assert drawn == pytest.approx(own(mixed, x, y, loss), rel=1e-12)
    flat = [torch.cat([p.detach().flatten() for p in m.parameters()]) for m in (a, b)]
    assert found.distance == pytest.approx(float((flat[1] - flat[0]).norm()), rel=1e-12)
    assert found.relative == pytest.approx(found.distance / float((flat[0].norm() + flat[1].norm()) / 2), rel=1e-12)
    assert found.n_parameters == len(flat[0]) and found.shown == 1


def one(w: float) -> nn.Linear:
    net = nn.Linear(1, 1, bias=False, dtype=torch.float64)
    nn.init.constant_(net.weight, w)
    return net


ONE, ZERO = torch.ones(1, 1, dtype=torch.float64), torch.zeros(1, 1, dtype=torch.float64)


def double_well(out: Tensor, _: Tensor) -> Tensor:
    """``(w² - 1)²``: two minima with a hill of height 1 between."""
    return (out.square() - 1).square().mean()


def test_the_barrier_is_the_height_of_the_hill() -> None:
    found = line_between(one(-1), one(1), ONE, ZERO, loss=double_well, points=41)
    assert (found.barrier, found.barrier_at, found.peak, found.course) == (1, 0.5, 1, "neither")
    assert found.rises == 20 and found.steps == 40
    tilted = line_between(one(-1), one(2), ONE, ZERO, loss=double_well, points=31)  # ends at 0 and 9
    t = tilted.ts
    height = ((3 * t - 1) ** 2 - 1) ** 2 - 9 * t
    assert tilted.barrier == pytest.approx(max(0, height.max())) and tilted.peak == 0


def test_the_course_is_told() -> None:
    for ends, course in (((3, 1), "falls"), ((1, 3), "rises"), ((1, 1), "level"), ((2, -1), "neither")):
        found = line_between(one(ends[0]), one(ends[1]), ONE, ZERO, points=7)
        assert found.course == course and found.barrier == 0  # w² is convex: no hill, whatever the ends
    assert any("same weights" in n for n in line_between(one(1), one(1), ONE, ZERO).notes)


def test_two_trained_nets_have_a_hill_that_goes_when_units_are_put_in_order() -> None:
    """One net and itself with two hidden units exchanged compute the same; the straight line between them does not."""
    with seeded(1):
        net = mlp(1, 6, 1).double()
    x = torch.linspace(-1, 1, 21, dtype=torch.float64)[:, None]
    y = x.square()
    train(net, x, y, optimizer="adam", lr=0.02, epochs=200)
    twin, order = copy.deepcopy(net), [1, 2, 3, 4, 5, 0]
    with torch.no_grad():
        for name in ("0.weight", "0.bias"):
            twin.get_parameter(name).copy_(net.get_parameter(name)[order])
        twin.get_parameter("2.weight").copy_(net.get_parameter("2.weight")[:, order])
    found = line_between(net, twin, x, y)
    assert found.ends[0] == pytest.approx(found.ends[1], rel=1e-12)
    assert found.barrier > 10 * found.ends[0]
    assert any("order of a layer's hidden units means nothing" in n for n in found.notes)
    assert line_between(net, copy.deepcopy(net), x, y).barrier == pytest.approx(0, abs=1e-15)


def test_held_out_examples_and_the_frame() -> None:
    a, b, x, y, loss = pair("mlp")
    found = line_between(a, b, x[:10], y[:10], loss=loss, points=5, held_out=(x[10:], y[10:]), labels=("early", "late"))
    assert found.held_losses is not None and found.rows == 10
    assert (found.held_losses[0], found.held_losses[-1]) == (own(a, x[10:], y[10:], loss), own(b, x[10:], y[10:], loss))
    frame = found.frame()
    assert list(frame.columns) == ["t", "loss", "held_loss"] and len(frame) == 5


def test_both_nets_are_left_as_found() -> None:
    a, b, x, y, loss = pair("functional")
    a.train()
    before = [[t.clone() for t in m.state_dict().values()] for m in (a, b)]
    state, threads = torch.get_rng_state(), torch.get_num_threads()

    def stop(done: int, total: int) -> None:
        raise KeyboardInterrupt

    line_between(a, b, x, y, loss=loss, points=3)
    with pytest.raises(KeyboardInterrupt):
        line_between(a, b, x, y, loss=loss, points=3, progress=stop, threads=2)
    for m, kept in zip((a, b), before, strict=True):
        assert m.training and all(torch.equal(t, k) for t, k in zip(m.state_dict().values(), kept, strict=True))
    assert torch.equal(state, torch.get_rng_state()) and threads == torch.get_num_threads()


def test_losses_that_are_not_finite_are_counted() -> None:
    found = line_between(one(1e200), one(1), ONE, ZERO, points=5)
    assert np.isnan(found.barrier) and found.not_finite == 4 and found.course == "neither" and np.isinf(found.losses[0])


def test_nets_that_differ_are_refused() -> None:
    a, b, x, y, loss = pair("mlp")
    for other, said in (
        (mlp(3, 8, 2).double(), r"2\.weight has \(5, 8\).*\(2, 8\)|is in one and not in the other"),
        (mlp(3, 8, 5, 2), "torch.float64 in one .* torch.float32 in the other"),
        (Functional().double(), "not of one architecture"),
        (mlp(3, 8, 5, 2, 2).double(), "is in one and not in the other"),
    ):
        with pytest.raises(UsageError, match=said):
            line_between(a, other, x, y, loss=loss)
    with pytest.raises(UsageError, match="2 points or more, and goes on by 0 or more; got 1 and 0"):
        line_between(a, b, x, y, points=1)
    with pytest.raises(UsageError, match="got 3 and -1"):
        line_between(a, b, x, y, points=3, beyond=-1)
    with pytest.raises(UsageError, match="as many inputs as targets"):
        line_between(a, b, x, y[:2])
