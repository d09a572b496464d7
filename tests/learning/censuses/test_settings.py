"""What is varied and from which seeds: read, converted, multiplied out, or refused in a sentence."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from weightwalk.errors import UsageError
from weightwalk.learning.censuses.settings import applied, axes_of, product, seeds_of
from weightwalk.learning.tasks import task_of


def test_every_combination_comes_once_the_last_axis_fastest() -> None:
    axes = axes_of(task_of("hello6"), {"width": ["2", 4], "optimizer+lr": ["sgd:0.1", ("adam", 0.01)]})
    assert [a.label for a in axes] == ["width", "optimizer+lr"]
    assert product(axes) == [
        {"width": 2, "optimizer": "sgd", "lr": 0.1},
        {"width": 2, "optimizer": "adam", "lr": 0.01},
        {"width": 4, "optimizer": "sgd", "lr": 0.1},
        {"width": 4, "optimizer": "adam", "lr": 0.01},
    ]
    assert product(()) == [{}]


def test_values_are_made_into_what_the_setting_takes() -> None:
    vary = {
        "batch": ["all", "2"],
        "shuffle": ["yes", False],
        "lr": ["1e-2"],
        "activation": ["tanh"],
        "momentum": ["0.5"],
    }
    cell = product(axes_of(task_of("sqrt"), vary))[0]
    assert cell == {"batch": None, "shuffle": True, "lr": 0.01, "activation": "tanh", "momentum": 0.5}
    assert axes_of(task_of("sqrt"), {"width": 4})[0].values == ((4,),)
    assert axes_of(task_of("sqrt"), {"width": np.array([2, 4])})[0].values == ((2,), (4,))


def test_settings_go_where_they_belong() -> None:
    task, recipe = applied(task_of("hello6"), {"width": 4, "epochs": 7, "momentum": 0.5})
    assert task.shape["width"] == 4 and task.module(0).get_parameter("fc1.weight").shape == (4, 4)
    assert recipe == {"loss": "cross_entropy", "optimizer": "sgd", "lr": 0.1, "epochs": 7, "batch": None,
                      "shuffle": None, "settings": {"momentum": 0.5}}  # fmt: skip


@pytest.mark.parametrize(
    ("vary", "said"),
    [
        ({"widht": [2]}, "Nothing called 'widht' can be set for hello6; did you mean width?"),
        ({"target": ["sin"]}, "Nothing called 'target' can be set for hello6"),
        ({"width": []}, "'width' has no values"),
        ({"width": [2, 2]}, "has the value 2 twice"),
        ({"width": [2], "width+lr": ["4:0.1"]}, "'width' is varied twice"),
        ({"width": ["two"]}, "width takes a whole number; got 'two'"),
        ({"width": [2.5]}, "width takes a whole number"),
        ({"width": [True]}, "width takes a whole number"),
        ({"lr": ["fast"]}, "lr takes a number"),
        ({"lr": [0]}, "A learning rate is a positive number"),
        ({"lr": ["nan"]}, "A learning rate is a positive number"),
        ({"lr": ["inf"]}, "A learning rate is a positive number"),
        ({"epochs": [-1]}, "epochs is a count, 0 or more"),
        ({"batch": [0]}, "batch is a count, 1 or more"),
        ({"shuffle": ["perhaps"]}, "shuffle takes true or false"),
        ({"optimizer": ["adma"]}, "There is no optimizer 'adma'; did you mean 'adam'?"),
        ({"loss": ["entropy"]}, "There is no loss 'entropy'"),
        ({"optimizer+lr": ["sgd"]}, "'optimizer+lr' needs 2 values at each step"),
        ({"optimizer+lr": [("sgd", 0.1, 3)]}, "needs 2 values"),
    ],
)
def test_what_makes_no_sense_is_refused(vary: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError) as error:
        axes_of(task_of("hello6"), vary)
    assert said in str(error.value)


@pytest.mark.parametrize(
    ("seeds", "numbers"),
    [
        (3, (0, 1, 2)),
        (range(5, 8), (5, 6, 7)),
        ([9, 2], (9, 2)),
        (np.array([1, 4]), (1, 4)),
        ((s for s in (1, 2)), (1, 2)),
    ],
)
def test_seeds(seeds: Any, numbers: tuple[int, ...]) -> None:
    assert seeds_of(seeds) == numbers


@pytest.mark.parametrize(
    ("seeds", "said"),
    [
        (0, "needs one seed at least; got 0"),
        (-3, "needs one seed at least"),
        ([], "the list is empty"),
        ([1, 1], "Seed 1 is listed twice"),
        ([-1], "whole number from 0"),
        ([1.5], "whole number from 0"),
        ([True], "whole number from 0"),
        ([2**32], "whole number from 0"),
        (True, "Seeds are a number of them"),
        (1.5, "Seeds are a number of them"),
        ("12", "Seeds are a number of them"),
    ],
)
def test_what_are_no_seeds_is_refused(seeds: Any, said: str) -> None:
    with pytest.raises(UsageError) as error:
        seeds_of(seeds)
    assert said in str(error.value)
