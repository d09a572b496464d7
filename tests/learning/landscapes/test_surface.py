"""Surfaces against weights moved by hand; the net at their centre; and a net that is left as it was found."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from learning.landscapes.slow import CASES, Functional, Noisy, case, losses_by_hand, mlp
from torch import Tensor, nn

from weightwalk.errors import UsageError
from weightwalk.learning.landscapes import evaluate
from weightwalk.learning.landscapes.asked import grid
from weightwalk.learning.landscapes.directions import Plane, origin_of, random_plane, weights_plane
from weightwalk.learning.landscapes.surface import losses_at, surface
from weightwalk.learning.losses import loss_of, tensor_of
from weightwalk.learning.seeds import seeded
from weightwalk.learning.train import train

FIVE = grid(5)


@pytest.mark.parametrize("name", CASES)
def test_every_point_is_the_net_with_its_weights_moved(name: str) -> None:
    net, x, y, loss = case(name)
    plane = random_plane(net, 1)
    found = surface(net, x, y, plane, loss=loss, alphas=FIVE, betas=grid(7, -0.9, 0.9))
    assert found.method == CASES[name]
    true = losses_by_hand(net, x, y, plane, loss, found.alphas, found.betas)
    assert found.losses == pytest.approx(true, rel=1e-12)
    assert np.ptp(true) > 1e-3  # the surface is not flat: a grid of copies of one number would not pass


@pytest.mark.parametrize("name", CASES)
def test_the_loop_gives_the_same(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    net, x, y, loss = case(name)
    plane = random_plane(net, 2, "none")
    usual = surface(net, x, y, plane, loss=loss, alphas=FIVE, curvature=False)
    monkeypatch.setattr(evaluate, "leaves_of", lambda *_: (None, 1))
    monkeypatch.setattr(evaluate, "_VMAP_NUMBERS", 0)
    found = surface(net, x, y, plane, loss=loss, alphas=FIVE, curvature=False)
    assert found.method == "loop"
    assert found.losses == pytest.approx(usual.losses, rel=1e-12)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("name", ["mlp", "functional", "conv", "gpt"])
def test_the_centre_is_the_net_to_the_bit(name: str, dtype: torch.dtype) -> None:
    net, x, y, loss = case(name)
    net, x = net.to(dtype), x.to(dtype) if x.is_floating_point() else x
    y = y.to(dtype) if y.is_floating_point() else y
    found = surface(net, x, y, random_plane(net), loss=loss, alphas=FIVE)
    with torch.no_grad():
        own = loss_of(loss)(tensor_of(net.eval()(x)), y).item()
    assert found.centre_loss == found.losses[found.centre] == own
    assert (found.alphas[found.centre[0]], found.betas[found.centre[1]]) == (0, 0)
    assert abs(found.centre_gap) <= 8 * torch.finfo(dtype).eps * abs(own)
    assert found.dtype == str(dtype).removeprefix("torch.")
    half = [note for note in found.notes if "half precision" in note]
    assert len(half) == (dtype == torch.bfloat16)


def test_the_centre_is_the_loss_that_training_ended_with() -> None:
    net, x, y, _ = case("mlp")
    net, x, y = net.float(), x.float(), y.float()
    history = train(net, x, y, epochs=20)
    assert surface(net, x, y, random_plane(net), alphas=FIVE).centre_loss == history.final


def test_the_mean_of_the_surfaces_of_all_examples_is_the_surface_of_the_data() -> None:
    """CHECKLIST row 8."""
    for name in ("mlp", "gelu", "functional", "conv", "gpt"):
        net, x, y, loss = case(name)
        plane = random_plane(net, 4)
        found = surface(net, x, y, plane, loss=loss, alphas=FIVE, per_sample=True)
        assert found.samples is not None and found.samples.shape == (5, 5, len(x))
        assert np.abs(found.samples.mean(axis=2) - found.losses).max() < 1e-12
        for k in (0, len(x) - 1):  # and each of them is the surface of a data set of one
            alone = surface(net, x, y, plane, loss=loss, alphas=FIVE, rows=k)
            assert alone.losses == pytest.approx(found.samples[:, :, k], rel=1e-12)
            assert alone.rows == 1 and f"example {k} alone" in alone.data


def test_a_loss_of_ones_own_has_surfaces_of_examples_too() -> None:
    net, x, y, _ = case("mlp")

    def cubic(out: Tensor, target: Tensor) -> Tensor:
        return (out - target).abs().pow(3).mean()

    found = surface(net, x, y, random_plane(net), loss=cubic, alphas=FIVE, per_sample=True)
    assert found.samples is not None and found.loss == "cubic"
    assert np.abs(found.samples.mean(axis=2) - found.losses).max() < 1e-12


def test_other_directions_give_other_pictures_and_the_same_seed_the_same_bits() -> None:
    """CHECKLIST row 9."""
    net, x, y, loss = case("mlp")
    one, again, other = (surface(net, x, y, random_plane(net, s), loss=loss, alphas=FIVE) for s in (0, 0, 1))
    assert np.array_equal(one.losses, again.losses)
    assert np.abs(one.losses - other.losses).max() > 0.1
    assert one.centre_loss == other.centre_loss


@pytest.mark.parametrize("name", CASES)
def test_the_share_of_dimensions_is_counted(name: str) -> None:
    """CHECKLIST row 11; a tied weight counts once."""
    net, x, y, loss = case(name)
    found = surface(net, x, y, random_plane(net), loss=loss, alphas=grid(3))
    assert found.n_parameters == sum(p.numel() for p in net.parameters())
    assert found.shown == 2 and found.share == 2 / found.n_parameters
    assert f"2 of {found.n_parameters:,} dimensions" in found.notes[0]


def test_frozen_weights_are_held_and_said_to_be() -> None:
    net, x, y, loss = case("mlp")
    net.get_submodule("0").requires_grad_(False)
    plane = random_plane(net, 0, "none")
    found = surface(net, x, y, plane, loss=loss, alphas=FIVE)
    assert found.n_parameters == 45 + 12 and "32 frozen numbers" in found.held
    assert found.losses == pytest.approx(losses_by_hand(net, x, y, plane, loss, FIVE, FIVE), rel=1e-12)
    with pytest.raises(UsageError, match="no parameter that requires a gradient"):
        random_plane(net.requires_grad_(False))


def test_slope_and_curvature_are_those_of_the_grid() -> None:
    """Central differences of the loss along the axes."""
    for name in ("gelu", "functional"):
        net, x, y, loss = case(name)
        plane, h = random_plane(net, 5, "none"), 1e-3
        at = surface(net, x, y, plane, loss=loss, alphas=np.array([-h, 0.0, h])).losses
        found = surface(net, x, y, plane, loss=loss, alphas=FIVE).at_centre
        assert found.slope == pytest.approx(((at[2, 1] - at[0, 1]) / 2 / h, (at[1, 2] - at[1, 0]) / 2 / h), rel=1e-3)
        second = [(at[2, 1] - 2 * at[1, 1] + at[0, 1]) / h**2, (at[1, 2] - 2 * at[1, 1] + at[1, 0]) / h**2]
        mixed = (at[2, 2] - at[2, 0] - at[0, 2] + at[0, 0]) / 4 / h**2
        assert found.curvature == pytest.approx((*second, mixed), rel=1e-3, abs=1e-4)
        lengths = [n**2 for n in plane.norms]
        assert found.rayleigh == pytest.approx([c / n for c, n in zip(second, lengths, strict=True)], rel=1e-3)


def test_a_line_is_a_surface_of_one_column() -> None:
    net, x, y, loss = case("mlp")
    plane = random_plane(net, 3, line=True)
    found = surface(net, x, y, plane, loss=loss, alphas=FIVE)
    assert found.losses.shape == (5, 1) and found.shown == 1 and found.betas.tolist() == [0]
    assert found.losses == pytest.approx(losses_by_hand(net, x, y, plane, loss, FIVE, np.zeros(1)), rel=1e-12)
    assert found.notes[0].startswith("1 of")


# Memory --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", CASES)
def test_parts_of_the_data_give_the_same_losses(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    net, x, y, loss = case(name)
    plane = random_plane(net)
    whole = surface(net, x, y, plane, loss=loss, alphas=FIVE)
    monkeypatch.setattr("weightwalk.learning.landscapes.chains.CACHE", 1)
    monkeypatch.setattr("weightwalk.learning.landscapes.chains.LEAST", 3)
    seen: list[evaluate.Answer] = []
    usual = evaluate.evaluate

    def told(*args: Any) -> evaluate.Answer:
        seen.append(usual(*args))
        return seen[-1]

    monkeypatch.setattr("weightwalk.learning.landscapes.surface.evaluate", told)
    parts = surface(net, x, y, plane, loss=loss, alphas=FIVE, memory=2_000)
    assert parts.losses == pytest.approx(whole.losses, rel=1e-12)
    assert seen[0].rows < len(x)


def test_a_loss_that_is_no_mean_is_not_taken_apart() -> None:
    net, x, y, _ = case("functional")

    def largest(out: Tensor, target: Tensor) -> Tensor:
        return (out - target).abs().max()

    plane = random_plane(net)
    found = surface(net, x, y, plane, loss=largest, alphas=FIVE, memory=5_000, curvature=False)
    whole = surface(net, x, y, plane, loss=largest, alphas=FIVE, curvature=False)
    assert np.array_equal(found.losses, whole.losses)


def test_samples_that_do_not_fit_are_refused() -> None:
    net, x, y, loss = case("mlp")
    with pytest.raises(
        UsageError, match="The losses of 20 examples at 25 points take 4,000 bytes, and 1,000 are allowed"
    ):
        surface(net, x, y, random_plane(net), loss=loss, alphas=FIVE, per_sample=True, memory=1_000)


# A good guest --------------------------------------------------------------------------------------------------------


def _everything(net: nn.Module) -> list[object]:
    tensors = [t.detach().clone() for t in net.state_dict().values()]
    grads = [None if p.grad is None else p.grad.clone() for p in net.parameters()]
    hooks = [(len(m._forward_hooks), len(m._forward_pre_hooks)) for m in net.modules()]
    return [tensors, grads, [m.training for m in net.modules()], hooks, torch.get_rng_state(), torch.get_num_threads()]


def _equal(a: object, b: object) -> bool:
    if isinstance(a, Tensor) and isinstance(b, Tensor):
        return torch.equal(a, b)
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(map(_equal, a, b))
    return a == b


def _stop(error: type[BaseException]) -> Callable[[int, int], None]:
    def progress(done: int, total: int) -> None:
        raise error

    return progress


@pytest.mark.parametrize("error", [None, KeyboardInterrupt, ZeroDivisionError])
@pytest.mark.parametrize("name", ["mlp", "functional", "conv", "gpt"])
def test_the_net_is_left_as_found(name: str, error: type[BaseException] | None) -> None:
    net, x, y, loss = case(name)
    net.train()
    next(net.children()).eval()  # a mixture of modes
    next(net.parameters()).grad = torch.ones_like(next(net.parameters()))
    before, storages = _everything(net), [p.data_ptr() for p in net.parameters()]
    if error is None:
        surface(net, x, y, random_plane(net), loss=loss, alphas=FIVE, threads=2)
    else:
        with pytest.raises(error):
            surface(net, x, y, random_plane(net), loss=loss, alphas=FIVE, threads=2, progress=_stop(error))
    assert _equal(before, _everything(net))
    assert storages == [p.data_ptr() for p in net.parameters()]


def test_dropout_is_off_and_running_statistics_stay() -> None:
    net, x, y, loss = case("conv")
    first, second = (surface(net.train(), x, y, random_plane(net), loss=loss, alphas=FIVE).losses for _ in range(2))
    assert np.array_equal(first, second)


def test_a_net_that_draws_numbers_draws_the_same_ones_at_every_point() -> None:
    net, x = Noisy().double(), torch.randn(6, 2, dtype=torch.float64)
    found = surface(net, x, torch.zeros(6, 1, dtype=torch.float64), random_plane(net), alphas=FIVE, curvature=False)
    assert found.centre_gap == 0 and any("draws random numbers" in note for note in found.notes)
    w, b = (p.detach() for p in net.parameters())
    with seeded(0), torch.no_grad():
        noise = 0.1 * torch.randn(6, 1, dtype=torch.float64)
        u, v = found_plane(net)
        for i, a in enumerate(FIVE):
            for j, c in enumerate(FIVE):
                out = x @ (w + float(a) * u + float(c) * v).T + b + noise
                assert found.losses[i, j] == pytest.approx(float(out.square().mean()), rel=1e-12)


def found_plane(net: nn.Module) -> tuple[Tensor, Tensor]:
    plane = random_plane(net)
    assert plane.v is not None
    return plane.u["fc.weight"], plane.v["fc.weight"]


def test_tensors_of_inference_mode_and_without_gradients_are_taken() -> None:
    with torch.inference_mode():
        net = mlp(3, 4, 1)
        x, y = torch.randn(5, 3), torch.randn(5, 1)
        found = surface(net, x, y, random_plane(net), alphas=FIVE)
    assert np.isfinite(found.losses).all() and found.at_centre.why == ""
    with torch.no_grad():
        net = Functional()
        x, y = torch.randn(5, 3), torch.randn(5, 2)
        assert surface(net, x, y, random_plane(net), alphas=FIVE).at_centre.why == ""


# What is odd ---------------------------------------------------------------------------------------------------------


def test_losses_that_are_not_finite_are_kept_and_counted() -> None:
    net = nn.Linear(1, 1)
    x = torch.full((2, 1), 1e30)
    found = surface(net, x, torch.zeros(2, 1), weights_plane(net, "weight[0, 0]"), alphas=grid(5, -1e20, 1e20))
    assert found.not_finite >= 4 and np.isinf(found.losses).sum() + np.isnan(found.losses).sum() == found.not_finite
    assert any("have no finite loss" in note for note in found.notes)


def test_a_net_whose_own_loss_is_no_number_still_has_a_surface() -> None:
    net = nn.Linear(1, 1)
    x = torch.tensor([[1.0], [float("nan")]])
    found = surface(net, x, torch.zeros(2, 1), weights_plane(net, "weight[0, 0]"), alphas=FIVE)
    assert np.isnan(found.losses).all() and np.isnan(found.centre_loss) and found.not_finite == 5
    assert found.at_centre.why


def test_a_grid_without_its_net_is_refused() -> None:
    for wrong, said in (
        (np.linspace(-1, 1, 40), "grid\\(41\\) makes such steps"),
        (np.array([1.0, 0.0, -1.0]), "rises and has 0 in it once"),
        (np.array([0.0, np.nan]), "finite numbers"),
        (np.zeros((2, 2)), "got shape \\(2, 2\\)"),
    ):
        net, x, y, loss = case("mlp")
        with pytest.raises(UsageError, match=said):
            surface(net, x, y, random_plane(net), loss=loss, alphas=wrong)
    with pytest.raises(UsageError, match=r"odd number of points, 3 or more.* got 40: take 41"):
        grid(40)
    with pytest.raises(UsageError, match="got 1: take 3"):
        grid(1)
    with pytest.raises(UsageError, match="have none at 0"):
        grid(5, -1, 0.9)
    with pytest.raises(UsageError, match="both sides of 0"):
        grid(5, 1, 2)
    assert grid(41)[20] == 0 and grid(7, -0.5, 1).tolist() == [-0.5, -0.25, 0, 0.25, 0.5, 0.75, 1]


def test_a_plane_of_other_weights_is_refused() -> None:
    net, x, y, loss = case("mlp")
    plane = random_plane(net)
    with torch.no_grad():
        net.get_parameter("2.bias")[0] += 1
    with pytest.raises(UsageError, match=r"made of other weights: 2\.bias has changed"):
        surface(net, x, y, plane, loss=loss)
    with pytest.raises(UsageError, match="made of another net"):
        surface(nn.Linear(3, 2).double(), x, y, plane, loss=loss)


def test_data_that_do_not_fit_are_refused() -> None:
    net, x, y, loss = case("mlp")
    plane = random_plane(net)
    with pytest.raises(UsageError, match="as many inputs as targets"):
        surface(net, x[:3], y, plane, loss=loss)
    with pytest.raises(UsageError, match="There is no row 20: the data have 20"):
        surface(net, x, y, plane, loss=loss, rows=20)
    with pytest.raises(UsageError, match="No row was chosen"):
        surface(net, x, y, plane, loss=loss, rows=[])
    with pytest.raises(UsageError, match="The loss must be one number"):
        surface(net, x, y, plane, loss=lambda out, _: out)
    two = surface(net, x, y, plane, loss=loss, rows=[3, -1], alphas=FIVE)
    assert two.rows == 2 and two.centre_loss == surface(net, x[[3, 19]], y[[3, 19]], plane, alphas=FIVE).centre_loss


def test_losses_at_any_points() -> None:
    for name in ("mlp", "functional", "gpt"):
        net, x, y, loss = case(name)
        plane = random_plane(net, 8, "none")
        true = losses_by_hand(net, x, y, plane, loss, np.array([0.0, 0.3]), np.array([0.0, -0.2]))
        places = np.array([[0, 0], [0, -0.2], [0.3, 0], [0.3, -0.2]])
        assert losses_at(net, x, y, loss, places, plane=plane) == pytest.approx(true.ravel(), rel=1e-12)
        assert losses_at(net, x, y, loss, np.array([0.0, 0.3]), plane=plane) == pytest.approx(true[:, 0], rel=1e-12)
        assert plane.v is not None
        moved = {n: w + 0.3 * plane.u[n] - 0.2 * plane.v[n] for n, w in origin_of(net).items()}
        flat = torch.cat([t.flatten() for t in moved.values()]).numpy()
        assert losses_at(net, x, y, loss, flat[None]) == pytest.approx(true[1, 1:], rel=1e-12)
        twin = copy.deepcopy(net)
        twin.load_state_dict(moved, strict=False)
        assert losses_at(net, x, y, loss, [twin.state_dict()]) == pytest.approx(true[1, 1:], rel=1e-12)
    with pytest.raises(UsageError, match=r"A point of weight space has .* numbers; got shape \(3,\)"):
        losses_at(net, x, y, loss, np.zeros((1, 3)))
    with pytest.raises(UsageError, match="The plane has 2 axes; the points have 3"):
        losses_at(net, x, y, loss, np.zeros((1, 3)), plane=plane)


def test_the_frame_has_a_row_for_each_point() -> None:
    net, x, y, loss = case("mlp")
    found = surface(net, x, y, random_plane(net), loss=loss, alphas=FIVE, betas=grid(3))
    frame = found.frame()
    assert list(frame.columns) == ["alpha", "beta", "loss"] and len(frame) == 15
    assert frame["loss"].to_numpy().reshape(5, 3) == pytest.approx(found.losses)
    at = frame[(frame["alpha"] == 0.5) & (frame["beta"] == -1)]["loss"].item()
    assert at == found.losses[3, 0]


def test_planes_are_not_the_nets_own_tensors() -> None:
    net = case("mlp")[0]
    plane: Plane = random_plane(net)
    assert not {t.data_ptr() for t in plane.origin.values()} & {p.data_ptr() for p in net.parameters()}
