"""One neuron: fixtures of the checklist, closed forms, and torch as a second opinion."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
import torch

from weightwalk.errors import UsageError
from weightwalk.learning.neurons.curves import bowl, cross_entropies
from weightwalk.learning.neurons.logistic import cross_entropy, logistic_neuron, probability
from weightwalk.learning.neurons.units import GATES, ROWS, corrected, linear_neuron, threshold_unit

# The logistic neuron --------------------------------------------------------------------------------------------------


def test_the_trace_from_zero() -> None:
    neuron = logistic_neuron()
    assert neuron.p[[0, 1, 10, 100]] == pytest.approx([0.5, 0.5281, 0.7081, 0.9540], abs=5e-5)
    assert neuron.moments[0].loss == pytest.approx(math.log(2), rel=1e-15)
    assert neuron.moments[0].p == 0.5 and neuron.moments[0].weights == (0.0, 0.0)


@pytest.mark.parametrize(
    ("start", "steps"), [("zero", (45, 92, 455)), ([0.5], (29, 76, 438)), ([-0.5], (54, 101, 463))]
)
def test_steps_to_each_level(start: str | list[float], steps: tuple[int, int, int]) -> None:
    assert tuple(logistic_neuron(start=start).reached.values()) == steps


def test_invariants_of_every_step() -> None:
    neuron = logistic_neuron(start="random", seed=11, steps=5)
    for now, then in zip(neuron.moments[:5], neuron.moments[1:], strict=False):
        assert then.z - now.z == pytest.approx(0.225 * (1 - now.p), rel=1e-12) == pytest.approx(now.dz)
        first, second = (b - a for a, b in zip(now.weights, then.weights, strict=True))
        assert first == pytest.approx(2 * second, rel=1e-12)
        assert now.gradient == pytest.approx((now.p - 1, (now.p - 1) / 2, now.p - 1), rel=1e-12)


@pytest.mark.parametrize(("inputs", "target"), [((1.0, 0.5), 1.0), ((-2.0, 0.3, 1.0), 0.0), ((0.7,), 0.25)])
def test_torch_takes_the_same_steps(inputs: tuple[float, ...], target: float) -> None:
    neuron = logistic_neuron(inputs, target, lr=0.3, steps=20)
    net = torch.nn.Linear(len(inputs), 1).double()
    torch.nn.init.zeros_(net.weight)
    torch.nn.init.zeros_(net.bias)
    engine = torch.optim.SGD(net.parameters(), lr=0.3)
    for _ in range(20):
        engine.zero_grad()
        z = net(torch.tensor([inputs], dtype=torch.float64))
        wanted = torch.full((1, 1), target, dtype=torch.float64)
        torch.nn.functional.binary_cross_entropy_with_logits(z, wanted).backward()
        engine.step()
    last = neuron.moments[-1]
    assert last.weights == pytest.approx(net.weight[0].tolist(), rel=1e-12, abs=1e-15)
    assert last.bias == pytest.approx(net.bias.item(), rel=1e-12)


def test_weights_grow_like_the_logarithm_of_the_steps() -> None:
    neuron = logistic_neuron(steps=100_000)
    t = np.array([1_000, 10_000, 100_000])
    grown = np.diff(neuron.norms[t])
    per_decade = math.log(10) * math.sqrt(1.25) / 2.25  # w moves along x, z = (‖x‖² + 1) times as fast
    assert grown == pytest.approx([per_decade] * 2, rel=0.01)
    last = neuron.moments[-1]
    assert last.flow == pytest.approx(last.z, abs=1e-4)
    assert last.flow is not None and last.flow + math.exp(last.flow) == pytest.approx(0.225 * 100_000 + 1, rel=1e-12)
    assert 0 < last.loss < 1e-4
    assert dict(neuron.elsewhere)[0.0, 0.0] > 0.9  # no negative class was learned


def test_a_start_far_out_and_probabilities_at_both_ends() -> None:
    assert probability(-800) < 1e-300 and probability(800) == 1
    assert cross_entropy(-800.0, 1.0) == 800.0
    far = logistic_neuron(start=[-900.0, 0.0, 0.0], steps=3)
    assert far.moments[0].loss == 900 and far.moments[1].z == pytest.approx(-900 + 0.225)
    assert all(math.isfinite(m.flow or 0) for m in logistic_neuron(start=[60.0], steps=10).moments)


def test_the_flow_from_far_on_is_no_straight_line() -> None:
    """From z = 31 with steps so long that e^z is passed at once."""
    neuron = logistic_neuron([1e7], start=[0.0, 31.0], lr=1.0, steps=1)
    flow = neuron.moments[1].flow
    assert flow is not None and flow + math.exp(flow) == pytest.approx(31 + math.exp(31) + neuron.factor, rel=1e-12)


@pytest.mark.parametrize(
    "wrong",
    [{"target": 2.0}, {"inputs": ()}, {"inputs": (math.nan,)}, {"lr": -1}, {"steps": -1}, {"start": "big"},
     {"start": [1.0, 2.0]}, {"start": [math.inf]}],
)  # fmt: skip
def test_what_is_no_neuron_is_refused(wrong: dict) -> None:
    with pytest.raises(UsageError):
        logistic_neuron(**wrong)


# Linear and threshold units -------------------------------------------------------------------------------------------


def test_the_linear_neuron_by_hand() -> None:
    neuron = linear_neuron()
    assert float(neuron.sum.total) == 2 * 3 - 1 * 4 + 0.5 == 2.5
    assert [float(t.value) for t in neuron.sum.terms] == [6, -4, 0.5]
    assert (neuron.connections, neuron.parameters) == (2, 3)
    here = neuron.here
    assert (here.residual, here.absolute, here.squared, here.slope) == (-1.5, 1.5, 2.25, -3)
    assert neuron.gradient == (-9, -12, -3)
    low, high = neuron.mirrored
    assert low.squared == high.squared and low.slope == -high.slope
    assert min(s.squared for s in neuron.outputs) == 0 and min(s.residual for s in neuron.outputs) == -1e4
    with pytest.raises(UsageError, match="one weight per input"):
        linear_neuron((1.0,), 0.0, (1.0, 2.0))


@pytest.mark.parametrize("gate", ["and", "or", "nand", "nor"])
def test_truth_tables(gate: str) -> None:
    unit = threshold_unit(gate)
    assert unit.right and unit.computes == gate
    truth = {"and": lambda a, b: a & b, "or": lambda a, b: a | b, "nand": lambda a, b: 1 - (a & b),
             "nor": lambda a, b: 1 - (a | b)}[gate]  # fmt: skip
    assert [row[3] for row in unit.table] == [truth(a, b) for a in (0, 1) for b in (0, 1)]


def test_units_by_weights_and_gates_that_none_computes() -> None:
    assert threshold_unit([1, 1, -0.5]).computes == "or"
    assert threshold_unit([0, 0, 1]).computes == "" and threshold_unit([0, 0, 1]).right is None
    for gate in ("xor", "xnor", "maybe"):
        with pytest.raises(UsageError):
            threshold_unit(gate)
    with pytest.raises(UsageError):
        threshold_unit([1.0, 2.0])
    # no unit on a fine grid computes xor, either
    grid = np.linspace(-2, 2, 17)
    w1, w2, b = np.meshgrid(grid, grid, grid)
    said = np.stack([w1 * x1 + w2 * x2 + b > 0 for x1, x2 in ROWS])
    assert not (said == np.array(GATES["xor"])[:, None, None, None]).all(axis=0).any()


@pytest.mark.parametrize("rule", ["perceptron", "delta"])
@pytest.mark.parametrize("gate", list(GATES))
def test_the_update_is_the_error_times_the_input(gate: str, rule: str) -> None:
    found = corrected(gate, rule, lr=0.25, epochs=20)
    before = (0.0, 0.0, 0.0)
    for m in found.met:
        assert m.error == m.target - m.output
        assert m.update == (0.25 * m.error * m.inputs[0], 0.25 * m.error * m.inputs[1], 0.25 * m.error)
        assert m.weights == pytest.approx([a + b for a, b in zip(before, m.update, strict=True)])
        if m.error == 0:
            assert m.update == (0, 0, 0) and m.weights == before
        before = m.weights
    assert rule == "delta" or sum(m.error == 0 for m in found.met) > 0


def test_the_perceptron_learns_what_a_line_can_part_and_no_more() -> None:
    for gate in GATES:
        found = corrected(gate)
        if gate in ("xor", "xnor"):
            assert found.learned is None and found.circles is not None and found.right < 4
        else:
            assert found.learned is not None and found.right == 4


def test_the_delta_rule_goes_towards_least_squares() -> None:
    found = corrected("or", "delta", lr=0.01, epochs=3000)
    a = np.array([[x1, x2, 1] for x1, x2 in ROWS], dtype=float)
    wanted = np.linalg.lstsq(a, np.array(GATES["or"], dtype=float), rcond=None)[0]
    assert found.met[-1].weights == pytest.approx(wanted, abs=0.02)


# Curves ---------------------------------------------------------------------------------------------------------------


def test_the_cost_of_a_probability() -> None:
    rows = {r.p: r for r in cross_entropies().rows}
    for p, loss in ((0.01, 4.605170), (0.02, 3.912023), (0.10, 2.302585), (0.5, 0.693147), (0.9, 0.105361),
                    (0.99, 0.010050), (0.7, 0.356675)):  # fmt: skip
        assert rows[p].loss == pytest.approx(loss, abs=5e-7)
        assert rows[p].slope == -1 / p
    assert rows[0.7].at_logit == pytest.approx(-0.3)
    assert rows[1.0].loss == 0 and math.copysign(1, rows[1.0].loss) == 1
    assert [rows[p].band for p in (0.1, 0.2, 0.5, 0.9)] == ["below 0.2", "0.2 to 0.5", "0.5 to 0.9", "0.9 and up"]
    for p in (0.0, -0.1, 1.1, math.nan):
        with pytest.raises(UsageError):
            cross_entropies((p,))


def test_the_bowl_diverges_above_two_over_the_greatest_eigenvalue() -> None:
    found = bowl()
    high = 1.5 + math.sqrt(0.25 + 0.09)  # the roots of λ² - 3 λ + 1.91
    assert found.eigenvalues[1] == pytest.approx(high, rel=1e-14)
    assert found.limit == pytest.approx(2 / high) and round(found.limit, 3) == 0.960
    assert {d.lr: d.outcome for d in found.descents}[0.97] == "diverges"
    for d in found.descents:
        assert d.falls == (d.lr < found.limit) == (d.outcome == "converges")
        assert (d.heights[-1] < d.heights[0]) == d.falls


def test_the_bowls_path_in_fractions() -> None:
    x, y, lr = Fraction(2), Fraction(2), Fraction(1, 10)
    for point in bowl((0.1,), steps=12).descents[0].path:
        assert point == pytest.approx([float(x), float(y)], rel=1e-12)
        x, y = x - lr * (x + Fraction(3, 10) * y), y - lr * (2 * y + Fraction(3, 10) * x)


@pytest.mark.parametrize("wrong", [{"rates": ()}, {"rates": (-1.0,)}, {"steps": 0}, {"start": (math.nan, 0.0)}])
def test_what_is_no_descent_is_refused(wrong: dict) -> None:
    with pytest.raises(UsageError):
        bowl(**wrong)


def test_frames() -> None:
    pytest.importorskip("pandas")
    assert list(logistic_neuron(steps=2).frame()["p"]) == pytest.approx([0.5, 0.528095, 0.554453], abs=1e-6)
    assert len(corrected("and").frame()) == 24
    assert bowl((0.1, 0.5)).frame().shape == (101, 2)
    assert list(cross_entropies((0.1,)).frame()["loss"]) == pytest.approx([2.302585], abs=1e-6)
