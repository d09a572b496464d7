"""One neuron's loss against slow loops and closed forms; the bowl whose descent diverges above 0.960."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from weightwalk.errors import UsageError
from weightwalk.learning.landscapes.bowls import SIBLING, Bowl, descent, driven, slide
from weightwalk.learning.landscapes.deep import deep_slice
from weightwalk.learning.landscapes.hidden import hidden_neuron
from weightwalk.learning.landscapes.neuron import (
    Neuron,
    example_data,
    neuron,
    neuron_bowl,
    optimizer_paths,
    rate_paths,
    shape_of,
    start_of,
)


@pytest.fixture(scope="module")
def found() -> Neuron:
    return neuron(grid=9)


def slow_loss(x: np.ndarray, y: np.ndarray, bias: np.ndarray, w1: float, w2: float) -> float:
    """By hand, sample by sample."""
    total = 0.0
    for (x1, x2), target, b in zip(x, y, bias, strict=True):
        total += (w1 * x1 + w2 * x2 + b - target) ** 2
    return total / len(y)


def test_the_hand_value() -> None:
    """w = (2, -1), b = 0.5, x = (3, 4) -> 2.5."""
    made = neuron(np.array([[3.0, 4.0]]), np.array([0.0]), bias=0.5)
    assert made.outputs(np.array([2.0, -1.0])).tolist() == [2.5]
    assert float(made.every.bowl(np.array([2.0, -1.0]))) == pytest.approx(6.25)  # the height is the loss


def test_every_height_is_the_loss_there(found: Neuron) -> None:
    for view, rows in ((found.one, slice(found.row, found.row + 1)), (found.every, slice(None))):
        for i, w1 in enumerate(found.first):
            for j, w2 in enumerate(found.second):
                wanted = slow_loss(found.inputs[rows], found.targets[rows], found.bias[rows], w1, w2)
                assert view.losses[i, j] == pytest.approx(wanted, rel=1e-12)
                assert float(view.bowl(np.array([w1, w2]))) == pytest.approx(wanted, rel=1e-9, abs=1e-9)
        assert view.formula_gap < 1e-14


def test_the_mean_of_the_samples_is_the_data_set(found: Neuron) -> None:
    places = np.random.default_rng(0).normal(size=(20, 2))
    parts = [neuron_bowl(found.inputs[i : i + 1], found.targets[i : i + 1], found.bias[i : i + 1]) for i in range(40)]
    np.testing.assert_allclose(np.mean([p(places) for p in parts], axis=0), found.every.bowl(places), rtol=1e-12)


def test_one_sample_is_a_trough_and_all_are_a_bowl(found: Neuron) -> None:
    trough, bowl = found.one.bowl, found.every.bowl
    assert trough.rank == 1 and trough.eigenvalues.tolist() == pytest.approx([2 * (3**2 + 4**2), 0])
    along = trough.trough()
    assert along is not None
    np.testing.assert_allclose(along, [0.8, -0.6])
    np.testing.assert_allclose(trough(trough.minimum + np.outer([-7, 0, 3], along)), trough.floor, atol=1e-24)
    assert bowl.rank == 2 and bowl.trough() is None and (bowl.eigenvalues > 0).all()
    h = torch.autograd.functional.hessian(
        lambda w: ((torch.from_numpy(found.inputs) @ w + 0.5 - torch.from_numpy(found.targets)) ** 2).mean(),
        torch.zeros(2, dtype=torch.float64),
    )
    np.testing.assert_allclose(bowl.eigenvalues[::-1], np.linalg.eigvalsh(np.asarray(h)))


def test_the_grids_least_place_is_the_least_squares_answer(found: Neuron) -> None:
    design = np.column_stack([found.inputs, np.full(40, 0.5)])  # the bias as a third weight held at 1
    normal = np.linalg.solve(design[:, :2].T @ design[:, :2], design[:, :2].T @ (found.targets - 0.5))
    np.testing.assert_allclose(found.every.grid_minimum, normal, atol=1e-12)
    assert found.every.grid_loss == pytest.approx(found.every.bowl.floor)
    assert found.every.shape.dips == 1 and not found.every.shape.hills


def test_another_bias_is_another_picture() -> None:
    """One sample's valley is the line 3 w1 + 4 w2 = 2.5 - b."""
    floors = []
    for bias in (-1.0, 0.5, 2.0):
        made = neuron(bias=bias, grid=3)
        assert made.one.bowl.minimum @ [3, 4] == pytest.approx(2.5 - bias)
        floors.append(made.every.bowl.floor)
    assert floors[1] < min(floors[0], floors[2])  # the data were made with 0.5


@settings(max_examples=40)
@given(st.integers(0, 10**6), st.integers(1, 6), st.floats(-2, 2))
def test_a_linear_neuron_has_no_hills_whatever_the_data(seed: int, rows: int, bias: float) -> None:
    generator = np.random.default_rng(seed)
    made = neuron(generator.normal(size=(rows, 2)), generator.normal(size=rows), bias=bias, grid=7)
    for view in (made.one, made.every):
        assert view.shape.hills == 0 and view.shape.bent == 0.0
        assert (view.bowl.eigenvalues >= 0).all()


def test_a_deep_net_on_the_same_data_has_hills() -> None:
    made = neuron(grid=21)
    deep = deep_slice(made)
    assert deep.shape.hills > 0 and deep.shape.bent > 0.3
    assert deep.surface.n_parameters == 2 * 8 + 8 + 8 * 8 + 8 + 8 + 1 and deep.surface.shown == 2


def test_dips_and_hills_are_counted() -> None:
    x = np.linspace(-3, 3, 31)
    egg = np.cos(2 * x[:, None]) + np.cos(2 * x)
    wanted = sum(
        egg[i, j] > max(egg[i + a, j + b] for a in (-1, 0, 1) for b in (-1, 0, 1) if (a, b) != (0, 0))
        for i in range(1, 30)
        for j in range(1, 30)
    )
    made = shape_of(egg)
    assert made.hills == wanted > 0 and made.bent > 0.3
    assert shape_of(-egg).dips == wanted
    assert shape_of(np.full((5, 5), np.nan)).bent == 0 and shape_of(np.zeros((2, 2))).dips == 0
    assert shape_of(np.zeros((9, 9))) == shape_of(np.add.outer(np.arange(9.0), np.arange(9.0)))  # level, and a slope


# Paths --------------------------------------------------------------------------------------------------------------


def test_descent_is_torchs_sgd_and_the_closed_form() -> None:
    start, steps = np.array([1.0, -2.0]), 30
    ours = descent(SIBLING, start, 0.4, steps)
    h = torch.from_numpy(SIBLING.hessian)
    theirs = driven(lambda w, _: w @ h @ w / 2, SIBLING, start, "sgd", 0.4, steps, name="torch")
    np.testing.assert_allclose(ours.points, theirs.points, atol=1e-14)
    power = np.linalg.matrix_power(np.eye(2) - 0.4 * SIBLING.hessian, steps)
    np.testing.assert_allclose(ours.points[-1], power @ start, atol=1e-14)
    assert ours.losses[0] == pytest.approx(0.5 * 1 + 0.3 * -2 + 4)


def test_the_siblings_bowl_diverges_above_0960() -> None:
    assert SIBLING.critical_rate == pytest.approx(4 / (3 + np.sqrt(1 + 4 * 0.09)), rel=1e-12)
    assert SIBLING.critical_rate == pytest.approx(0.960, abs=5e-4)
    below, above = rate_paths(SIBLING, (0.999, 1.001), np.array([1.0, 1.0]), steps=20000)
    assert below.final < 1e-9 and not below.diverged
    assert above.diverged and len(above.points) < 20001
    assert rate_paths(SIBLING, (0.4,), np.array([1.0, 1.0]))[0].fell


def test_each_switch_gives_another_path_and_another_end(found: Neuron) -> None:
    paths = optimizer_paths(found, steps=25)
    assert len({p.name for p in paths}) == 8
    assert len({p.points[10].tobytes() for p in paths}) == 8 and len({p.final for p in paths}) == 8
    assert all((p.points[0] == start_of(found)).all() for p in paths)
    assert paths[0].fell and all(p.losses.min() >= found.every.bowl.floor for p in paths)
    w = torch.nn.Parameter(torch.from_numpy(start_of(found).copy()))
    engine = torch.optim.Adam([w], lr=paths[3].rate)
    for _ in range(25):
        engine.zero_grad()
        ((torch.from_numpy(found.inputs) @ w + 0.5 - torch.from_numpy(found.targets)) ** 2).mean().backward()
        engine.step()
    np.testing.assert_allclose(paths[3].points[-1], w.detach().numpy(), atol=1e-12)


def test_scaled_inputs_are_descent_on_the_scaled_bowl(found: Neuron) -> None:
    path = optimizer_paths(found, steps=5)[-1]
    spread = found.inputs.std(axis=0)
    bowl = neuron_bowl(found.inputs / spread, found.targets, found.bias)
    wanted = descent(bowl, start_of(found) * spread, path.rate, 5)
    np.testing.assert_allclose(path.points, wanted.points / spread, atol=1e-10)


# Inside a net -------------------------------------------------------------------------------------------------------


def test_a_neuron_inside_a_net_has_the_nets_loss() -> None:
    first, last = nn.Linear(3, 5).double(), nn.Linear(5, 1).double()
    net = nn.Sequential(first, nn.Tanh(), last)
    x, y = torch.randn(20, 3).double(), torch.randn(20, 1).double()
    hooks = [len(m._forward_pre_hooks) for m in net.modules()]
    made = hidden_neuron(net, x, y, pair=(1, 3), grid=5)
    assert hooks == [len(m._forward_pre_hooks) for m in net.modules()] and net.training
    assert made.at_loss == pytest.approx(float(nn.functional.mse_loss(net(x), y).detach()), rel=1e-12)
    hidden = torch.tanh(first(x)).detach().numpy()
    assert hidden.shape[1] == 5 and "5 hidden ones" in made.source
    np.testing.assert_allclose(made.inputs, hidden[:, [1, 3]])
    moved = last.weight.detach().clone()
    moved[0, 1], moved[0, 3] = 0.7, -0.2
    out = torch.func.functional_call(net, {"2.weight": moved}, (x,))
    assert float(made.every.bowl(np.array([0.7, -0.2]))) == pytest.approx(
        float(((out - y) ** 2).mean().detach()), rel=1e-10
    )


def test_a_neuron_of_a_gpt_takes_values_of_its_hidden_vector() -> None:
    import weightwalk as ww

    net = ww.load_net("gpt")
    assert isinstance(net.module, nn.Module)
    made = hidden_neuron(net.module, net.inputs("The cat").args, name="gpt", grid=3)
    width = next(p for n, p in net.module.named_parameters() if n.endswith("lm_head.weight") or "wte" in n).shape[1]
    assert f"of the {width} hidden ones" in made.source and len(made.inputs) == 2
    assert made.at_loss < 1e-20


# Refusals -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: neuron(grid=4), "odd number of places"),
        (lambda: neuron(row=40), "There is no sample 40; the data have 40"),
        (lambda: neuron(span=-1), "--span must be a positive number"),
        (lambda: neuron(np.ones((3, 3)), np.ones(3)), r"takes two inputs.*\(3, 3\)"),
        (lambda: neuron(np.ones((3, 2)), np.ones(4)), "3 inputs and 4 targets"),
        (lambda: neuron(np.full((3, 2), np.nan), np.ones(3)), "not finite"),
        (lambda: descent(SIBLING, np.zeros(2), 0.0, 3), "positive number"),
        (lambda: descent(SIBLING, np.zeros(2), 0.1, 0), "at least one step"),
        (lambda: rate_paths(Bowl(np.zeros((2, 2)), np.zeros(2), 1.0), (1.0,), np.ones(2)), "level"),
        (lambda: slide(SIBLING, (), grid=8), "odd number"),
        (lambda: hidden_neuron(nn.Tanh(), torch.ones(2, 2)), "no linear layer"),
        (lambda: hidden_neuron(nn.Linear(1, 1), torch.ones(2, 1)), "1 hidden input"),
        (lambda: hidden_neuron(nn.Linear(4, 1), torch.ones(2, 4), pair=(1, 4)), "no two of them"),
        (lambda: hidden_neuron(nn.Linear(4, 1), torch.ones(2, 4), torch.ones(3)), "2 numbers for these inputs"),
        (lambda: hidden_neuron(nn.Linear(4, 1), torch.ones(2, 4), unit=1), "there is no 1"),
    ],
)
def test_what_makes_no_sense_is_refused(call, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        call()


def test_inputs_that_are_all_zero_are_level() -> None:
    made = neuron(np.zeros((2, 2)), np.ones(2), grid=3)
    assert made.every.bowl.rank == 0 and made.every.bowl.critical_rate == float("inf")
    with pytest.raises(UsageError, match="no optimizer moves"):
        optimizer_paths(made)


def test_example_data_are_what_the_page_says() -> None:
    x, y = example_data()
    assert len(x) == 40 and x[0] @ [2, -1] + 0.5 == y[0] == 2.5
    np.testing.assert_array_equal(x, example_data()[0])
