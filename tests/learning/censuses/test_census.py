"""The census, held to the same trainings done one by one and to recounts from the per-seed numbers."""

from __future__ import annotations

import math
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from learning.censuses.looped import looped
from torch import nn

import weightwalk as ww
from weightwalk.errors import UsageError
from weightwalk.learning.censuses.alone import alone
from weightwalk.learning.censuses.census import census, measures_of, rows_of
from weightwalk.learning.censuses.engine import trained_cell
from weightwalk.learning.censuses.facts import spread_of
from weightwalk.learning.censuses.outcomes import also_for, rules_for
from weightwalk.learning.censuses.points import points_of
from weightwalk.learning.censuses.settings import applied
from weightwalk.learning.censuses.wilson import newcombe, wilson
from weightwalk.learning.tasks import Data, Task, task_of


@pytest.mark.parametrize(
    ("name", "settings"),
    [("hello6", {"epochs": 60}), ("sqrt", {"epochs": 30, "width": 2, "depth": 2}), ("xor", {"epochs": 60}),
     ("hello6", {"epochs": 10, "batch": 2, "optimizer": "momentum", "lr": 0.05})],
)  # fmt: skip
def test_what_is_counted_is_what_single_trainings_give(name: str, settings: dict[str, Any]) -> None:
    """Every field that outcomes are made of; 12 seeds, few epochs, so that rounding has no time to grow."""
    task, recipe = applied(task_of(name), settings)
    slow = looped(task, range(12), recipe)
    fast = trained_cell(task, range(12), recipe, curve=True)
    assert slow.curve is not None and fast.curve is not None
    for one, two in ((slow.first, fast.first), (slow.final, fast.final), (slow.gradient, fast.gradient)):
        np.testing.assert_allclose(two, one, rtol=2e-3, atol=2e-4)
    np.testing.assert_allclose(fast.outputs, slow.outputs, rtol=2e-3, atol=2e-3)
    np.testing.assert_allclose(fast.curve, slow.curve, rtol=2e-3, atol=2e-4)
    for field in ("dead_start", "dead_end", "layers_start", "layers_end", "nonfinite"):
        assert getattr(fast, field).tolist() == getattr(slow, field).tolist(), field


@pytest.fixture(scope="module")
def grid() -> Any:
    vary = {"width": [2, 4], "optimizer+lr": [("sgd", 0.1), ("adam", 0.01)]}
    return census("hello6", seeds=60, vary=vary, measures=["loop[dog→dog]", "ends[hello]"])


def test_shares_add_up_and_are_recounted_from_the_frame(grid: Any) -> None:
    frame = grid.frame()
    assert len(frame) == 4 * 60 and list(frame.columns[:5]) == ["width", "optimizer", "lr", "seed", "outcome"]
    for cell in grid.cells:
        assert sum(s.count for s in cell.outcomes.values()) == 60
        part = frame[(frame.width == str(cell.settings["width"])) & (frame.optimizer == cell.settings["optimizer"])]
        for name, share in cell.outcomes.items():
            assert share == wilson(int((part.outcome == name).sum()), 60)
            assert cell.seeds_with(name).tolist() == part.seed[part.outcome == name].tolist()
        assert cell.also["from hello never to '!'"].count == int((part["ends[hello]"] == 0).sum())
        loops = cell.loops["dog→dog"].count if "dog→dog" in cell.loops else 0
        assert loops == int(part["loop[dog→dog]"].sum())
        assert sum(s.count for s in cell.right.values()) == 60
        assert cell.right["6"] == cell.outcomes["solved"]
        dead, failed = part.dead_start > 0, part.outcome != "solved"
        table = cell.dead[0]
        assert (table.with_dead.count, table.with_dead.total) == (int((dead & failed).sum()), int(dead.sum()))
        assert (table.without.count, table.without.total) == (int((~dead & failed).sum()), int((~dead).sum()))
        assert table.gap == newcombe(table.without, table.with_dead)
        assert cell.spreads["first_loss"].median == pytest.approx(float(np.median(part.first_loss)))
    by_cell = grid.frame(by="cell")
    assert by_cell["solved"].tolist() == [c.outcomes["solved"].count for c in grid.cells]
    assert by_cell["parameters"].tolist() == [47, 47, 103, 103]


def test_contrasts_hold_all_else_the_same(grid: Any) -> None:
    told = [(c.axis, dict(c.held), c.first, c.second) for c in grid.contrasts]
    assert told == [
        ("width", {"optimizer": "sgd", "lr": 0.1}, "2", "4"),
        ("width", {"optimizer": "adam", "lr": 0.01}, "2", "4"),
        ("optimizer+lr", {"width": 2}, "sgd 0.1", "adam 0.01"),
        ("optimizer+lr", {"width": 4}, "sgd 0.1", "adam 0.01"),
    ]
    first, second = grid.cell(width=2, optimizer="sgd"), grid.cell(width=2, optimizer="adam")
    contrast = grid.contrasts[2]
    solved = [set(c.seeds_with("solved").tolist()) for c in (first, second)]
    assert (contrast.gained, contrast.lost) == (len(solved[1] - solved[0]), len(solved[0] - solved[1]))
    assert contrast.gap == newcombe(first.outcomes["solved"], second.outcomes["solved"])
    far = np.abs(first.outputs - second.outputs).max(axis=(1, 2))
    assert contrast.apart == pytest.approx(float(far.max())) and contrast.typical == pytest.approx(
        float(np.median(far))
    )


def test_shuffling_a_full_batch_changes_rounding_alone() -> None:
    found = census("hello6", seeds=30, vary={"shuffle": [False, True], "epochs": [40]})
    contrast = found.contrasts[0]
    assert contrast.gained == contrast.lost == 0 and contrast.apart is not None and 0 < contrast.apart < 1e-3
    assert [a.label for a in found.axes] == ["shuffle"] and found.settings["epochs"] == 40


def test_results_do_not_depend_on_memory_and_seeds_not_on_each_other(grid: Any) -> None:
    few = census("hello6", seeds=[59, 3], vary={"width": [2], "optimizer+lr": ["sgd:0.1"]}, memory=3_000_000)
    whole = grid.cell(width=2, optimizer="sgd")
    for name in ("loss", "first_loss", "right", "dead_end"):
        assert few.cells[0].measures[name] == pytest.approx(whole.measures[name][[59, 3]], rel=1e-4)
    assert few.cells[0].outcome.tolist() == whole.outcome[[59, 3]].tolist()


def test_rules_of_ones_own_and_measures_told() -> None:
    rules = {"low": "loss < 1", "mine": lambda m: m["first_loss"] > 2}
    found = census("hello6", seeds=40, vary={"epochs": [100]}, rules=rules, measures=["epochs_to[1.5]", "loss_at[50]"])
    cell, loss = found.cells[0], found.cells[0].measures["loss"]
    assert [r.text for r in found.rules] == ["loss < 1", "a function"]
    assert cell.outcomes["low"].count == int((loss < 1).sum())
    assert cell.outcomes["mine"].count == int(((loss >= 1) & (cell.measures["first_loss"] > 2)).sum())
    assert {"epochs_to[1.5]", "loss_at[50]"} <= set(cell.spreads)
    never = census("hello6", seeds=5, vary={"epochs": [1]}, rules=["never: loss < 0"])
    assert never.unmatched == ("never",) and never.cells[0].outcomes["other"].count == 5


def test_a_value_is_located_among_the_seeds() -> None:
    found = census("hello", seeds=50, vary={"epochs": [0]}, locate={"first_loss": 1.6}).cells[0]
    at, losses = found.located[0], found.measures["first_loss"]
    assert (at.below.count, at.below.total) == (int((np.round(losses, 1) < 1.6).sum()), 50)
    assert at.equal == int((np.round(losses, 1) == 1.6).sum()) > 0
    assert np.array_equal(losses, found.measures["loss"]), "no epochs, no change"


def test_divergence_is_an_outcome() -> None:
    found = census("linear", seeds=6, vary={"lr": [0.1, 50.0], "epochs": [400]})
    assert found.cell(lr=50.0).outcomes["diverged"].count == 6
    assert found.cell(lr=0.1).outcomes["fits"].count == 6
    assert found.cell(lr=50.0).spreads["held_rmse"].known == 0


def test_rules_of_the_tasks() -> None:
    names = {
        n: [r.name for r in rules_for(task_of(n))] for n in ("hello6", "sqrt", "xor", "nearest", "regions", "linear")
    }
    assert names == {
        "hello6": ["solved", "dead", "loop", "diverged"], "sqrt": ["fits", "dead", "line", "diverged"],
        "xor": ["solved", "dead", "diverged"], "nearest": ["fits", "dead", "diverged"],
        "regions": ["fits", "dead", "diverged"], "linear": ["fits", "dead", "diverged"],
    }  # fmt: skip
    assert "from hello never to '!'" in [r.name for r in also_for(task_of("hello"))]


def test_the_data_are_looked_at() -> None:
    six = rows_of(task_of("hello6"))
    assert (six.rows, six.duplicates, six.contradictions, six.guess) == (6, 0, 0, 2)
    assert six.targets == {"dog": 2, "!": 2, "world": 1, "cat": 1}
    x = torch.tensor([[0.0], [0.0], [0.0], [1.0], [1.0]])
    data = Data(x, torch.tensor([0, 0, 1, 1, 1]))
    found = rows_of(Task("mine", "", lambda: nn.Linear(1, 2), data, loss="cross_entropy"))
    assert (found.duplicates, found.contradictions, found.targets) == (2, 1, {"1": 3, "0": 2})
    assert rows_of(task_of("sqrt")).line == pytest.approx(0.149, abs=0.001)


def test_what_is_said_of_the_task_is_true_of_every_cell() -> None:
    widths = census("hello6", seeds=2, vary={"width": [2, 4], "epochs": [1]})
    assert widths.description == "6 pairs among 7 tokens: given the one, say the other"
    functions = census("sqrt", seeds=2, vary={"target": ["sqrt", "sin"], "epochs": [1]})
    assert functions.description == (
        "√x on [0, 10], learned from 101 points; sin x on [-3, 3], learned from 101 points"
    )
    assert functions.rows.line is None  # each has its own
    alone = census("sqrt", seeds=2, vary={"width": [2, 4], "epochs": [1]})
    assert alone.rows.line == pytest.approx(0.148, abs=0.001)


def test_a_task_of_ones_own() -> None:
    x = torch.linspace(-1, 1, 9)[:, None]
    task = Task("abs", "|x|", lambda: nn.Sequential(nn.Linear(1, 3), nn.Tanh(), nn.Linear(3, 1)), Data(x, x.abs()),
                epochs=20)  # fmt: skip
    found = census(task, seeds=8)
    assert found.cells[0].dead == () and not any("dead" in n for n in found.cells[0].also)
    assert sum(s.count for s in found.cells[0].outcomes.values()) == 8
    assert str(found).startswith("census of abs: |x|")


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_nets_of_other_precision(dtype: torch.dtype) -> None:
    x = torch.linspace(-1, 1, 9)[:, None].to(dtype)
    data = Data(x, x.abs(), x + 0.1, (x + 0.1).abs())
    make = lambda: nn.Sequential(nn.Linear(1, 3), nn.ReLU(), nn.Linear(3, 1)).to(dtype)  # noqa: E731
    found = census(Task("abs", "|x|", make, data, epochs=20), seeds=6)
    one = alone(found, found.cells[0], 4)
    assert found.cells[0].spreads["held_rmse"].known == 6 and one.final == pytest.approx(one.counted, rel=0.02)
    assert sum(s.count for s in points_of(found, found.cells[0], most=1).kinds.values()) <= 1


def test_alone_is_as_in_the_census() -> None:
    found = census("hello6", seeds=range(10, 14))
    one = alone(found, found.cells[0], 12)
    assert one.final == pytest.approx(one.counted, rel=1e-3) and one.apart is not None and one.apart < 1e-2
    assert (
        one.right is not None and one.right == found.cells[0].measures["right"][2] and len(one.wrong) == 6 - one.right
    )
    assert list(one.answers) == ["hello", "cat", "dog", "silly", "cute", "world"]
    with pytest.raises(UsageError, match="no seed 9"):
        alone(found, found.cells[0], 9)


def flat_loss(module: nn.Module, data: Data, flat: torch.Tensor) -> torch.Tensor:
    """Cross-entropy as a function of all weights laid end to end."""
    shapes = {n: p.shape for n, p in module.named_parameters()}
    parts = flat.split([math.prod(shape) for shape in shapes.values()])
    weights = {n: part.reshape(shape) for (n, shape), part in zip(shapes.items(), parts, strict=True)}
    return nn.functional.cross_entropy(torch.func.functional_call(module, weights, (data.inputs,)), data.targets)


def test_points_are_judged_by_gradient_and_hessian() -> None:
    """The eigenvalues by torch's own Hessian in float64, net by net."""
    found = census("hello6", seeds=12)
    points = points_of(found, found.cells[0], most=5)
    failures = [int(s) for s in found.cells[0].seeds[found.cells[0].outcome != 0]]
    assert points.seeds.tolist() == failures[:5] and points.failures == len(failures)
    assert sum(s.count for s in points.kinds.values()) == 5
    negative = []
    for seed in failures[:5]:
        module = alone(found, found.cells[0], seed).module.double()
        flat = torch.cat([p.detach().flatten() for p in module.parameters()])
        loss = partial(flat_loss, module, found.source.data)
        values = torch.linalg.eigvalsh(torch.autograd.functional.hessian(loss, flat))  # type: ignore[arg-type]
        negative.append(int((values < -1e-6 * values.abs().max()).sum()))
    assert points.negative.greatest == max(negative) and points.negative.least == min(negative)
    assert points.falls.count == sum(n > 0 for n in negative)


def test_spreads_leave_out_what_is_not_known() -> None:
    spread = spread_of(np.array([3.0, math.nan, 1.0, 2.0, 5.0, 4.0]))
    assert (spread.least, spread.lower, spread.median, spread.upper, spread.greatest, spread.known) == (
        1,
        2,
        3,
        4,
        5,
        5,
    )
    assert math.isnan(spread_of(np.array([math.nan])).median) and spread_of(np.zeros(0)).known == 0
    assert spread_of(np.array([1.0, math.inf])).greatest == math.inf


def test_the_callers_random_state_and_threads_are_left_alone() -> None:
    torch.manual_seed(5)
    before, threads = torch.get_rng_state(), torch.get_num_threads()
    census("hello", seeds=5, vary={"batch": [2], "epochs": [3]})
    assert torch.equal(before, torch.get_rng_state()) and torch.get_num_threads() == threads


def test_progress_ends_at_the_whole() -> None:
    told: list[tuple[int, int]] = []
    census("hello", seeds=20, vary={"epochs": [30, 60]}, progress=lambda done, total: told.append((done, total)))
    assert told[-1] == (20 * 90, 20 * 90)
    assert all(a[0] <= b[0] for a, b in pairwise(told)) and {t for _, t in told} == {1800}


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"seeds": 0}, "one seed at least"),
        ({"confidence": 95}, "between 0 and 1"),
        ({"memory": -1}, "bytes above 0"),
        ({"memory": 0}, "bytes above 0"),
        ({"engine": "cloud"}, "local or ray"),
        ({"vary": {"colour": [1]}}, "Nothing called 'colour'"),
        ({"rules": ["x: rigth > 1"]}, "did you mean right"),
        ({"rules": ["x: held_rmse > 1"]}, "There is no measure 'held_rmse' of hello6"),
        ({"measures": ["ends[dgo]"]}, "did you mean dog"),
        ({"locate": {"frist_loss": 1}}, "did you mean first_loss"),
        ({"vary": {"activation": ["relu", "rleu"]}}, "There is no activation 'rleu'"),
        ({"vary": {"width": [0]}}, "at least one unit"),
    ],
)  # fmt: skip
def test_nonsense_is_refused_before_anything_is_trained(
    options: dict[str, Any], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if "engine" not in options:
        monkeypatch.setattr("weightwalk.learning.censuses.engine.train_many", lambda *_, **__: pytest.fail("trained"))
    with pytest.raises(UsageError) as error:
        census("hello6", **options)
    assert said in str(error.value)


def test_what_is_no_task_for_a_census_is_refused() -> None:
    net = nn.Linear(1, 1)
    task = Task("mine", "", lambda: net, Data(torch.zeros(2, 1), torch.zeros(2, 1)), remade=False)
    with pytest.raises(UsageError, match="fresh weights for each seed"):
        census(task)
    with pytest.raises(UsageError, match="There is no task 'helo'"):
        census("helo")
    with pytest.raises(UsageError, match="A task is needed"):
        census(net)  # type: ignore[arg-type]


def test_cells_are_named_or_refused(grid: Any) -> None:
    assert grid.cells[1].name == "width 2, optimizer adam, lr 0.01"
    for settings in ({}, {"width": 8}, {"width": 2}):
        with pytest.raises(UsageError, match="of the 4 cells"):
            grid.cell(**settings)
    with pytest.raises(UsageError, match="no outcome 'won'; there are solved, dead, loop"):
        grid.cells[0].seeds_with("won")
    with pytest.raises(UsageError, match="by seed or by cell"):
        grid.frame(by="row")


def test_the_door_and_the_list_of_measures() -> None:
    assert ww.census is census
    assert "from_line" in measures_of("sqrt") and "from_line" not in measures_of("hello")


# The measured table of XOR (500 seeds, Xavier, zero biases): within its sampling error -------------------------------

XOR = {"tanh": (0.540, 0.842, 0.978), "sigmoid": (0.578, 0.858, 0.974), "relu": (0.142, 0.388, 0.510)}


@pytest.mark.slow
def test_xor_by_width_and_activation_is_as_it_was_measured_before() -> None:
    """Two samples of 500: they differ by more than 3.5 standard errors in less than one of 2,000 cases each."""
    found = census("xor", seeds=500, vary={"activation": list(XOR), "width": [2, 3, 4]})
    for activation, shares in XOR.items():
        for width, share in zip((2, 3, 4), shares, strict=True):
            ours = found.cell(activation=activation, width=width).outcomes["solved"].share
            error = math.sqrt((share * (1 - share) + ours * (1 - ours)) / 500)
            assert abs(ours - share) <= 3.5 * error + 0.002, (activation, width, ours, share)


PAGE = [
    ("hello", {}, {"solved": 399, "dead": 264}),
    ("hello6", {}, {"solved": 206, "dead": 236, "loop": 63}),
    ("sqrt", {"width": 2, "depth": 2}, {"fits": 193, "line": 342, "dead": 383}),
]


@pytest.mark.slow
@pytest.mark.parametrize(("name", "shape", "counts"), PAGE, ids=[name for name, _, _ in PAGE])
def test_a_thousand_seeds_end_as_the_page_says(name: str, shape: dict[str, int], counts: dict[str, int]) -> None:
    """docs/how-to/count-how-often-training-fails.md; a few seeds may change sides with another machine's rounding."""
    cell = census(task_of(name).of(**shape), seeds=1000).cells[0]
    for outcome, count in counts.items():
        assert abs(cell.outcomes[outcome].count - count) <= 8, (outcome, cell.outcomes[outcome].count)
    if name == "hello6":
        assert (cell.dead[0].with_dead.total, cell.dead[0].without.total) == (688, 312)
