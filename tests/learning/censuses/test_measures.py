"""Measures, held to slow recounts from single trainings."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from learning.censuses.looped import looped
from torch import nn

from weightwalk.errors import UsageError
from weightwalk.learning.censuses.measures import Measures, catalog, checked, kind_of, needs_curve, relu_layers
from weightwalk.learning.censuses.settings import applied
from weightwalk.learning.censuses.trained import answers
from weightwalk.learning.tasks import Data, Task, task_of
from weightwalk.learning.train import train

SEEDS = range(4)


def measured(name: str, **settings: Any) -> tuple[Measures, Task, Any]:
    task, recipe = applied(task_of(name), settings)
    trained = looped(task, SEEDS, recipe)
    return Measures(task, trained, recipe["loss"]), task, trained


def test_a_text_net() -> None:
    values, task, trained = measured("hello6", epochs=200)
    names = task.data.classes
    for k in range(len(SEEDS)):
        says = trained.outputs[k].argmax(axis=1)
        right = [int(a) == int(b) for a, b in zip(says, task.data.targets, strict=True)]
        assert values["right"][k] == sum(right) and values["accuracy"][k] == pytest.approx(sum(right) / 6)
        assert values["right[cat]"][k] == values["right[cat→dog]"][k] == values["right[1]"][k] == right[1]
        assert values["predicted[dog]"][k] == sum(names[i] == "dog" for i in says)
        then = dict(zip(task.data.inputs.tolist(), says.tolist(), strict=True))
        token, seen = 0, []
        while token in then and token not in seen:
            seen.append(token)
            token = then[token]
        assert values["ends[hello]"][k] == (token not in then)
        assert values["loop[dog->dog]"][k] == (then[names.index("dog")] == names.index("dog"))
    assert values["ends[!]"].all() and values["all"].tolist() == [6.0] * 4
    assert values["loop[dog -> cat -> dog]"].tolist() == values["loop[cat→dog→cat]"].tolist()
    assert values["first_loss"] == pytest.approx(trained.curve[:, 0])
    assert values["loss_at[100]"].tolist() == trained.curve[:, 100].tolist()
    for k in range(len(SEEDS)):
        first = next((e for e, loss in enumerate(trained.curve[k]) if loss < 1.5), math.nan)
        assert values["epochs_to[1.5]"][k] == pytest.approx(first, nan_ok=True)
    assert np.isnan(values["epochs_to[0]"]).all()
    assert values["spread"][0] == pytest.approx(np.ptp(trained.outputs[0], axis=0).max())


def test_a_net_of_one_number() -> None:
    values, task, _ = measured("sqrt", width=2, epochs=50)
    x, y = (t.numpy()[:, 0].astype(float) for t in (task.data.inputs, task.data.targets))
    slope, intercept = np.polyfit(x, y, 1)
    assert task.data.held_inputs is not None and task.data.held_targets is not None
    held = task.data.held_inputs.numpy()[:, 0]
    error = np.sqrt(np.mean((slope * held + intercept - task.data.held_targets.numpy()[:, 0]) ** 2))
    assert values["line_rmse"] == pytest.approx([error] * 4) and error == pytest.approx(0.149, abs=0.001)
    for k, seed in enumerate(SEEDS):
        module = train(task, seed=seed, epochs=50).module
        assert module is not None
        with torch.no_grad():
            out, far = module(task.data.inputs), module(task.data.held_inputs)
        assert values["rmse"][k] == pytest.approx(float((out - task.data.targets).square().mean().sqrt()), rel=1e-5)
        wanted = float((far - task.data.held_targets).square().mean())
        assert values["held_rmse"][k] ** 2 == pytest.approx(wanted, rel=1e-4)
        assert values["held_loss"][k] == pytest.approx(wanted, rel=1e-4)
        apart = out[:, 0].numpy() - (slope * x + intercept)
        assert values["from_line"][k] == pytest.approx(np.sqrt(np.mean(apart**2)), rel=1e-4)
        assert values["unexplained"][k] == pytest.approx(values["rmse"][k] ** 2 / np.var(y), rel=1e-5)
        w, b, v = (getattr(module, n) for n in ("fc1", "fc1", "fc2"))
        bends = (-b.bias / w.weight[:, 0])[v.weight[0] != 0]
        assert values["kinks"][k] == int(((bends > 0) & (bends < 10)).sum())


def test_bits_and_classes_with_held_out_rows() -> None:
    values, task, trained = measured("xor", epochs=100)
    wanted = ((trained.outputs > 0) == (task.data.targets.numpy() > 0.5))[..., 0].sum(axis=1)
    assert values["right"].tolist() == wanted.tolist() and values["all"][0] == 4
    assert values["predicted[1]"].tolist() == (trained.outputs > 0)[..., 0].sum(axis=1).tolist()
    assert values["right[01]"].tolist() == (trained.outputs[:, 1, 0] > 0).tolist()
    values, task, trained = measured("nearest", epochs=20, points=50)
    module = train(task, seed=2, epochs=20).module
    assert module is not None and task.data.held_inputs is not None and task.data.held_targets is not None
    share = (module(task.data.held_inputs).argmax(dim=1) == task.data.held_targets).double().mean()
    assert values["held_accuracy"][2] == pytest.approx(float(share), abs=1e-4)


def test_what_diverged_is_not_measured() -> None:
    _, task, trained = measured("sqrt", width=2, epochs=5)
    outputs = trained.outputs.copy()
    outputs[1] = math.inf
    bad = type(trained)(**{**vars(trained), "outputs": outputs, "nonfinite": np.array([-1, 4, -1, 2])})
    values = Measures(task, bad)
    assert values["diverged"].tolist() == [0, 1, 0, 1]
    assert np.isnan(values["rmse"]).tolist() == np.isnan(values["loss"]).tolist() == [False, True, False, True]
    assert not np.isnan(values["first_loss"]).any()


def test_answers_do_not_depend_on_the_budget_and_leave_the_module_as_found() -> None:
    net = nn.Sequential(nn.Linear(2, 3), nn.Dropout(0.5), nn.Linear(3, 1)).train()
    before = {n: p.clone() for n, p in net.state_dict().items()}
    weights = {n: torch.randn(7, *p.shape) for n, p in net.named_parameters()}
    x = torch.randn(5, 2)
    out = answers(net, weights, x)
    assert np.array_equal(out, answers(net, weights, x, budget=1))
    for k in range(7):
        hidden = x @ weights["0.weight"][k].T + weights["0.bias"][k]
        wanted = hidden @ weights["2.weight"][k].T + weights["2.bias"][k]
        np.testing.assert_allclose(out[k], wanted.numpy(), atol=1e-6)
    assert net.training and net[1].training
    assert all(torch.equal(before[n], t) for n, t in net.state_dict().items())


def test_kinds() -> None:
    assert [kind_of(task_of(n)) for n in ("hello", "nearest", "xor", "sqrt")] == [
        "tokens",
        "classes",
        "bits",
        "numbers",
    ]
    data = Data(torch.randn(4, 2), torch.tensor([0, 1, 1, 0]))
    assert kind_of(Task("t", "", lambda: nn.Linear(2, 2), data, loss="cross_entropy")) == "classes"
    assert relu_layers(task_of("sqrt").of(depth=2).module(0)) == ("fc1", "fc2", "fc3")
    assert relu_layers(task_of("sqrt").of(activation="tanh").module(0)) is None
    assert "kinks" not in [m.name for m in catalog(task_of("sqrt").of(activation="tanh"))]


def test_every_measure_of_the_catalog_can_be_had() -> None:
    filled = {"loss_at[E]": "loss_at[3]", "epochs_to[T]": "epochs_to[0.5]", "right[ROW]": "right[0]",
              "predicted[CLASS]": "predicted[{c}]", "loop[CYCLE]": "loop[{c}→{c}]",
              "ends[TOKEN]": "ends[{c}]"}  # fmt: skip
    for name in ("hello", "sqrt", "xor", "linear"):
        values, task, _ = measured(name, epochs=5)
        c = task.data.classes[0] if task.data.classes else "0"
        for m in catalog(task):
            assert values[filled.get(m.name, m.name).format(c=c)].shape == (4,), m.name
        assert set(values) == {m.name for m in catalog(task) if "[" not in m.name} and len(values) == len(list(values))


@pytest.mark.parametrize(
    ("task", "name", "said"),
    [
        ("hello6", "rigth", "There is no measure 'rigth' of hello6; did you mean right"),
        ("sqrt", "right", "There is no measure 'right' of sqrt"),
        ("sqrt", "held_rsme", "did you mean held_rmse"),
        ("hello6", "ends[helo]", "did you mean hello"),
        ("hello6", "ends", "needs something in brackets: ends[TOKEN]"),
        ("hello6", "loss[3]", "takes nothing in brackets"),
        ("hello6", "loop[dog]", "is no loop: it ends where it begins"),
        ("hello6", "loop[dog→cat]", "is no loop"),
        ("hello6", "right[9]", "There is no measure '9' of right[...]"),
        ("hello6", "loss_at[x]", "needs an epoch"),
        ("hello6", "loss_at[1.5]", "needs an epoch"),
        ("hello6", "epochs_to[-1]", "needs a loss"),
        ("hello6", "2 loss", "is no measure's name"),
        ("hello6", "", "is no measure's name"),
        ("linear", "held_accuracy", "There is no measure"),
    ],
)
def test_names_that_do_not_fit_are_refused(task: str, name: str, said: str) -> None:
    with pytest.raises(UsageError) as error:
        checked([name], task_of(task))
    assert said in str(error.value)


def test_curves_are_asked_for_only_where_they_are_needed() -> None:
    assert (
        needs_curve(["loss", "loss_at[3]"]) and needs_curve(["epochs_to[1]"]) and not needs_curve(["loss", "right[0]"])
    )
    values, _, trained = measured("linear", epochs=3)
    without = Measures(values.task, type(trained)(**{**vars(trained), "curve": None}))
    with pytest.raises(UsageError, match="were not recorded"):
        without["loss_at[1]"]
    with pytest.raises(UsageError, match="epochs 0 to 2"):
        values["loss_at[3]"]
