"""A training on its principal plane against an SVD of all its weights; paths, balls and rates against slow loops."""

from __future__ import annotations

from copy import deepcopy

import numpy as np
import pytest
import torch
from torch import nn

from weightwalk.errors import UsageError
from weightwalk.learning.landscapes.directions import Plane, origin_of, random_plane, weights_plane
from weightwalk.learning.landscapes.paths import (
    checks,
    net_rate_paths,
    optimizer_runs,
    path_on,
    rolled,
    steepest_plane,
    switches,
)
from weightwalk.learning.landscapes.places import losses_of, on_plane, place_on, share_shown
from weightwalk.learning.landscapes.trajectories import Trajectory, principal_plane, trajectory
from weightwalk.learning.seeds import seeded
from weightwalk.learning.tasks import task_of
from weightwalk.learning.train import History, Snapshot, train

X = torch.linspace(-2, 2, 24, dtype=torch.float64)[:, None]
Y = torch.sin(2 * X)


def net(seed: int = 0) -> nn.Module:
    with seeded(seed):
        return nn.Sequential(nn.Linear(1, 8), nn.Tanh(), nn.Linear(8, 1)).double()


@pytest.fixture(scope="module")
def history() -> History:
    return train(net(), X, Y, optimizer="adam", lr=0.05, epochs=120, snapshots=10)


@pytest.fixture(scope="module")
def found(history: History) -> Trajectory:
    assert history.module is not None
    return trajectory(history.module, history.snapshots, X, Y)


def flat(weights) -> np.ndarray:
    return np.concatenate([w.detach().double().numpy().ravel() for w in weights.values()])


def points(history: History) -> np.ndarray:
    return np.array([flat(s.weights) for s in history.snapshots])


def test_shares_are_those_of_the_svd(found: Trajectory, history: History) -> None:
    all_points = points(history)
    for facts, around in ((found.centred, all_points.mean(axis=0)), (found.anchored, all_points[-1])):
        values = np.linalg.svd(all_points - around, compute_uv=False) ** 2
        np.testing.assert_allclose(facts.path, (values / values.sum())[:5], atol=1e-10)


def test_the_plane_is_the_best_through_the_trained_net(found: Trajectory, history: History) -> None:
    away = points(history) - points(history)[-1]
    _, _, vectors = np.linalg.svd(away)
    plane = np.stack([flat(found.plane.u), flat(found.plane.v)])  # type: ignore[arg-type]
    np.testing.assert_allclose(plane @ plane.T, np.eye(2), atol=1e-12)
    np.testing.assert_allclose(np.abs(plane @ vectors[:2].T), np.eye(2), atol=1e-6)
    np.testing.assert_allclose(found.coordinates, away @ plane.T, atol=1e-10)
    left = away - found.coordinates @ plane
    np.testing.assert_allclose(found.off, np.linalg.norm(left, axis=1), atol=1e-10)
    np.testing.assert_allclose(found.to_end, np.linalg.norm(away, axis=1), atol=1e-10)
    assert found.coordinates[0, 0] < 0 and not found.coordinates[-1].any()


def test_a_path_that_is_nearly_straight_has_a_second_direction_at_right_angles() -> None:
    generator = torch.Generator().manual_seed(2)
    way, bend = (torch.randn(500, generator=generator, dtype=torch.float64) for _ in range(2))
    places = [{"w": t * way + 3e-5 * t * (1 - t) * bend} for t in torch.linspace(0, 1, 12, dtype=torch.float64)]
    plane = principal_plane(places[-1], places)
    assert plane.v is not None
    assert abs(float(plane.u["w"] @ plane.v["w"])) < 1e-12
    coordinates, off = on_plane(plane, places)
    np.testing.assert_allclose(off, 0, atol=1e-9)
    assert np.abs(coordinates[:, 1]).max() > 1e-5


def test_true_and_drawn_losses_are_losses_of_these_very_weights(found: Trajectory, history: History) -> None:
    copy = net()
    u, v = found.plane.u, found.plane.v
    for t in (0, 3, 12):
        copy.load_state_dict(dict(history.snapshots[t].weights))
        assert found.true[t] == pytest.approx(float(nn.functional.mse_loss(copy(X), Y).detach()), rel=1e-12)
        a, b = found.coordinates[t]
        end = history.snapshots[-1].weights
        copy.load_state_dict({n: end[n] + a * u[n] + b * v[n] for n in end})  # type: ignore[index]
        assert found.drawn[t] == pytest.approx(float(nn.functional.mse_loss(copy(X), Y).detach()), rel=1e-10)
    assert found.true[-1] == found.drawn[-1] == pytest.approx(history.final, rel=1e-12)
    assert found.true[0] == pytest.approx(history.losses[0], rel=1e-12)
    gap = np.abs(np.log(found.drawn / found.true))
    assert found.worst == gap.argmax() and gap.max() > 0.05


def test_a_random_walk_is_told_as_one() -> None:
    """Weights that walk at random have the null's shares, and are not called remarkable."""
    module = nn.Sequential(nn.Linear(40, 40), nn.Linear(40, 1)).double()
    generator = torch.Generator().manual_seed(1)
    weights, snapshots = origin_of(module), []
    for epoch in range(40):
        snapshots.append(Snapshot(epoch, weights))
        step = {n: 0.01 * torch.randn(w.shape, generator=generator, dtype=w.dtype) for n, w in weights.items()}
        weights = {n: w + step[n] for n, w in weights.items()}
    made = trajectory(module, snapshots, torch.randn(4, 40).double(), torch.randn(4, 1).double())
    assert made.n_parameters == 40 * 40 + 40 + 41
    np.testing.assert_allclose(made.centred.path[:2], made.centred.walk[:2], atol=0.03)
    assert 0.02 < made.centred.above < 0.98
    assert made.centred.low <= made.centred.path[:2].sum() <= made.centred.high


def test_the_data_frame_has_a_row_for_each_checkpoint(found: Trajectory) -> None:
    frame = found.frame()
    assert len(frame) == 13 and frame["true_loss"].iloc[-1] == frame["drawn_loss"].iloc[-1]


def test_the_net_is_left_alone(history: History, found: Trajectory) -> None:
    module = history.module
    assert module is not None and found.n_parameters == 25
    before, modes = flat(dict(module.named_parameters())), [m.training for m in module.modules()]
    module.train()
    state = torch.get_rng_state()
    trajectory(module, history.snapshots, X, Y, walks=3)
    rolled(module, X, Y, found.plane, (-1.0, 0.1), steps=2)
    checks(module, X, Y, history.snapshots[0].weights)
    assert module.training and torch.equal(torch.get_rng_state(), state)
    assert (flat(dict(module.named_parameters())) == before).all()
    assert all(p.grad is None for p in module.parameters())
    for m, mode in zip(module.modules(), modes, strict=True):
        m.training = mode


def test_buffers_are_the_checkpoints_own() -> None:
    module = nn.Sequential(nn.Linear(1, 6), nn.BatchNorm1d(6), nn.Tanh(), nn.Linear(6, 1)).double()
    kept = train(module, X, Y, epochs=9, snapshots=3, lr=0.05).snapshots
    made = trajectory(module, kept, X, Y, walks=3)
    copy = deepcopy(module)
    copy.load_state_dict(dict(kept[1].weights))
    copy.eval()
    assert made.true[1] == pytest.approx(float(nn.functional.mse_loss(copy(X), Y).detach()), rel=1e-12)
    assert "own buffers" in made.note


def test_a_net_of_one_number_has_a_line() -> None:
    module = nn.Linear(1, 1, bias=False).double()
    kept = train(module, X, Y, epochs=4, snapshots=1).snapshots
    made = trajectory(module, kept, X, Y, walks=3)
    assert made.plane.v is None and not made.coordinates[:, 1].any()
    np.testing.assert_allclose(made.drawn, made.true, rtol=1e-9)  # all of it is seen
    np.testing.assert_allclose(made.off, 0, atol=1e-12)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda s: s[:2], "needs three checkpoints or more, and there are 2"),
        (lambda s: [s[0]] * 4, "did not move"),
        (lambda s: [Snapshot(0, {"x": torch.ones(1)}), *s], "they are of another net"),
        (lambda s: [Snapshot(0, {n: w * float("nan") for n, w in s[0].weights.items()}), *s], "not finite"),
    ],
)
def test_paths_that_are_none_are_refused(history: History, change, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        trajectory(net(), change(list(history.snapshots)), X, Y)


# Places on any plane ------------------------------------------------------------------------------------------------


def test_places_fall_on_their_nearest_points_on_a_slanted_plane(history: History) -> None:
    module = history.module
    assert module is not None
    plane = random_plane(module, 3)  # its directions are neither of length 1 nor at right angles
    origin, u, v = flat(plane.origin), np.zeros(25), np.zeros(25)
    at = 0
    for name, w in plane.origin.items():
        if name in plane.u:
            u[at : at + w.numel()], v[at : at + w.numel()] = plane.u[name].ravel(), plane.v[name].ravel()  # type: ignore[index]
        at += w.numel()
    coordinates, off = on_plane(plane, [s.weights for s in history.snapshots])
    away = points(history) - origin
    for place, (a, b), distance in zip(away, coordinates, off, strict=True):
        best = np.linalg.lstsq(np.stack([u, v], 1), place, rcond=None)[0]
        np.testing.assert_allclose([a, b], best, atol=1e-9)
        assert distance == pytest.approx(np.linalg.norm(place - best[0] * u - best[1] * v), abs=1e-9)
    q, _ = np.linalg.qr(np.stack([u, v], 1))
    centred = away - away.mean(axis=0)
    wanted = np.square(centred @ q).sum() / np.square(centred).sum()
    assert share_shown(plane, [s.weights for s in history.snapshots]) == pytest.approx(wanted, rel=1e-9)


def test_random_directions_show_little_of_a_path_and_principal_ones_most(found: Trajectory, history: History) -> None:
    module, places = history.module, [s.weights for s in history.snapshots]
    assert module is not None
    shares = [share_shown(random_plane(module, s), places) for s in range(20)]
    assert np.mean(shares) < 0.3 < 0.85 < share_shown(found.plane, places)
    best = principal_plane(found.plane.origin, places)
    np.testing.assert_allclose(flat(best.u), flat(found.plane.u), atol=1e-9)


def test_places_of_a_plane_and_their_losses(found: Trajectory, history: History) -> None:
    module = history.module
    assert module is not None
    assert place_on(found.plane, 0.0, 0.0)["0.weight"] is found.plane.origin["0.weight"]
    told: list[tuple[int, int]] = []
    losses = losses_of(module, X, Y, "mse", [{}, place_on(found.plane, 0.5)], progress=lambda a, b: told.append((a, b)),
                       total=2)  # fmt: skip
    assert losses[0] == pytest.approx(history.final, rel=1e-12) and losses[1] > losses[0] and told == [(1, 2), (2, 2)]


# Optimizers ---------------------------------------------------------------------------------------------------------


def test_steepest_directions_are_eigenvectors(history: History) -> None:
    module = history.module
    assert module is not None
    plane, values = steepest_plane(module, X, Y)
    names = list(plane.origin)
    shapes = [plane.origin[n].shape for n in names]

    def loss(vector: torch.Tensor) -> torch.Tensor:
        parts = vector.split([s.numel() for s in shapes])
        weights = {n: p.view(s) for n, p, s in zip(names, parts, shapes, strict=True)}
        return nn.functional.mse_loss(torch.func.functional_call(module, weights, (X,)), Y)

    h = np.asarray(torch.autograd.functional.hessian(loss, torch.from_numpy(flat(plane.origin))))
    true = np.linalg.eigvalsh(h)[::-1]
    np.testing.assert_allclose(values, true[:2], rtol=1e-6)
    for way, value in zip((plane.u, plane.v), values, strict=True):
        np.testing.assert_allclose(h @ flat(way), value * flat(way), atol=1e-5 * true[0])  # type: ignore[arg-type]


def test_rates_below_and_above_the_critical_one() -> None:
    """A linear net's loss is a quadratic: there the rule is exact."""
    line = nn.Linear(1, 1).double()
    with torch.no_grad():  # the least-squares line, which is where it stands still
        slope = float((X * Y).sum() / (X * X).sum())
        line.weight.fill_(slope)
        line.bias.fill_(float(Y.mean()))
    plane, values = steepest_plane(line, X, Y)
    assert values.tolist() == pytest.approx([2 * float((X * X).mean()), 2.0], rel=1e-9)
    below, above = net_rate_paths(line, X, Y, plane, float(values[0]), (0.9, 1.1), steps=400, start=0.5)
    assert below.final == pytest.approx(float(((X * slope + Y.mean() - Y) ** 2).mean()), rel=1e-9)
    assert above.losses[-1] > above.losses[0] * 10
    growth = np.diff(np.log(above.losses[50:90] - below.final)) / 2
    np.testing.assert_allclose(growth, np.log(1.2), rtol=1e-3)  # |1 - 1.1 * 2| per step, along the steepest
    np.testing.assert_allclose(below.off, 0, atol=1e-9)


def test_a_ball_moves_in_the_picture_alone(history: History) -> None:
    module = history.module
    assert module is not None
    plane = weights_plane(module, "0.weight[0, 0]", "2.weight[0, 3]")
    ball = rolled(module, X, Y, plane, (1.0, -1.0), rate=0.01, steps=3)
    a, b = 1.0, -1.0
    for k in range(4):
        np.testing.assert_allclose(ball.points[k], [a, b], atol=1e-12)
        f = lambda i, j: float(losses_of(module, X, Y, "mse", [place_on(plane, i, j)])[0])  # noqa: E731
        assert ball.losses[k] == pytest.approx(f(a, b), rel=1e-12)
        h = 1e-5
        slope = (f(a + h, b) - f(a - h, b)) / (2 * h), (f(a, b + h) - f(a, b - h)) / (2 * h)
        a, b = a - 0.01 * slope[0], b - 0.01 * slope[1]


def test_a_path_on_a_slice_has_the_nets_losses(history: History, found: Trajectory) -> None:
    module = history.module
    assert module is not None
    plane = random_plane(module, 0)
    path = path_on(plane, [s.weights for s in history.snapshots], module, X, Y, "mse", name="adam", rate=0.05)
    np.testing.assert_allclose(path.losses, found.true, rtol=1e-12)
    assert path.shown < 0.5 and len(path.off) == 13 and path.final == pytest.approx(history.final)


def test_each_optimizer_starts_alike_and_ends_elsewhere() -> None:
    task = task_of("sqrt").of(width=3, points=11)
    runs = optimizer_runs(task, epochs=30, seed=1)
    assert len(runs) == len(switches(task, 11)) == 6
    starts = {flat(kept[0].weights).tobytes() for _, _, kept, _ in runs}
    ends = {flat(kept[-1].weights).tobytes() for _, _, kept, _ in runs}
    assert len(starts) == 1 and len(ends) == 6
    assert all(kept[-1].epoch == 30 for _, _, kept, _ in runs)


def test_what_the_picture_gets_right(history: History) -> None:
    module = history.module
    assert module is not None
    made = checks(module, X, Y, history.snapshots[0].weights)
    assert all(made.passed.values()) and len(made.passed) == 4
    assert made.worse == pytest.approx(history.losses[0], rel=1e-9)
    away = np.abs(made.promise - 1)
    assert (np.diff(away) < 0).all()  # the smaller the step, the truer the promise
    same = checks(module, X, Y, history.snapshots[-1].weights)
    assert not same.passed["some settings are better than others"]


def test_planes_of_another_precision() -> None:
    module = net().to(torch.bfloat16)
    x, y = X.bfloat16(), Y.bfloat16()
    kept = train(module, x, y, epochs=4, snapshots=1).snapshots
    made = trajectory(module, kept, x, y, walks=2)
    assert isinstance(made.plane, Plane) and np.isfinite(made.drawn).all()


def test_a_tied_weight_is_one_weight_of_the_path() -> None:
    net = nn.Sequential(nn.Linear(3, 3), nn.Tanh(), nn.Linear(3, 3))
    net[2].weight = net[0].weight
    x = torch.linspace(-1, 1, 12).reshape(4, 3)
    kept = train(net, x, x.flip(1), epochs=4, snapshots=1).snapshots  # its state dicts name the weight twice
    assert {"0.weight", "2.weight"} <= set(kept[0].weights)
    found = trajectory(net, kept, x, x.flip(1), walks=2)
    assert found.n_parameters == 9 + 3 + 3
    copy = deepcopy(net)
    for snapshot, true in zip(kept, found.true, strict=True):
        copy.load_state_dict(dict(snapshot.weights))
        assert nn.functional.mse_loss(copy(x), x.flip(1)).item() == true
