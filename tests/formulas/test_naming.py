"""Names and boxes that a net brings along: in its formula, in its planes, at one input."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

import weightwalk as ww
from weightwalk.errors import UsageError
from weightwalk.formulas.formula import formula
from weightwalk.formulas.naming import box_on, own_box
from weightwalk.formulas.places import flat_plane
from weightwalk.nets.inputs import Expects
from weightwalk.nets.net import Net

SIDES = ((0.0, 4.0), (-2.0, 0.0), (10.0, 20.0))


@pytest.fixture
def net() -> Net:
    torch.manual_seed(3)
    module = nn.Sequential(nn.Linear(3, 6), nn.ReLU(), nn.Linear(6, 2)).double()
    expects = Expects(torch.float64, size=3, names=("rho", "theta", "psi"), box=SIDES)
    return Net("tiny", module, "", expects, labels={"1": {-1: ["a", "b", "c"]}, "2": {-1: ["stay", "go"]}})


def test_a_net_names_its_numbers(net: Net) -> None:
    found = formula(net, at=[1.0, -1.0, 15.0])
    assert found.inputs == ("rho", "theta", "psi")
    assert found.outputs == ("stay", "go")


def test_labels_that_are_no_names_are_quoted(net: Net) -> None:
    odd = replace(net, labels={"2": {-1: ["hello", "!"]}})
    assert formula(odd, at=[1.0, -1.0, 15.0]).outputs == ("2['hello']", "2['!']")
    short = replace(net, labels={"2": {-1: ["hello"]}})
    assert formula(short, at=[1.0, -1.0, 15.0]).outputs == ("2[0, 0]", "2[0, 1]")


def test_a_recorded_walk_keeps_its_labels(net: Net) -> None:
    with torch.no_grad():
        walk = ww.walk(net.module, torch.zeros(1, 3, dtype=torch.float64), axis_labels=dict(net.labels))
    assert formula(walk).outputs == ("stay", "go")


def test_a_plane_of_two_inputs_takes_the_nets_box_and_its_middle(net: Net) -> None:
    found = formula(net, plane=("psi", "rho"))
    assert found.facts.box == (SIDES[2], SIDES[0])
    assert found.flat is not None
    np.testing.assert_array_equal(found.flat.at(np.array([[11.0, 3.0]])), [[3.0, -1.0, 11.0]])
    elsewhere = formula(net, plane=(0, 1), at=[0.0, 0.0, 12.0], box=(0, 1))
    assert elsewhere.facts.box == ((0.0, 1.0), (0.0, 1.0))
    assert elsewhere.flat is not None and elsewhere.flat.origin[2] == 12.0


def test_only_axes_have_sides_of_the_nets_box() -> None:
    origin = np.zeros(3)
    names = ("a", "b", "c")
    assert box_on(flat_plane((0, 2), names, origin), SIDES) == (SIDES[0], SIDES[2])
    assert box_on(flat_plane((origin, [1, 1, 0], [0, 0, 1]), names, origin), SIDES) is None
    assert box_on(flat_plane((origin, [2, 0, 0], [0, 0, 1]), names, origin), SIDES) is None
    assert box_on(flat_plane((0, 2), names, origin), None) is None


def test_an_infinite_box_is_no_box(net: Net) -> None:
    assert own_box(net, 3) == SIDES
    assert own_box(net, 2) is None
    endless = replace(net, expects=replace(net.expects, box=((0.0, float("inf")), *SIDES[1:])))
    assert own_box(endless, 3) is None


def test_the_box_around_one_input_has_a_pair_for_each(net: Net) -> None:
    """Of two inputs, pairs and (lows, highs) have one shape: the order is told by what is refused."""
    flat = Net("flat", nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 1)), "", Expects(size=2))
    found = formula(flat, at=[0.5, 12.0], box=((0.0, 1.0), (10.0, 20.0)))
    np.testing.assert_array_equal(found.facts.box, [[0.0, 10.0], [1.0, 20.0]])
    with pytest.raises(UsageError, match="outside the box"):
        formula(flat, at=[12.0, 0.5], box=((0.0, 1.0), (10.0, 20.0)))


def test_a_net_of_two_inputs_is_divided_over_its_own_box(net: Net) -> None:
    flat = Net("flat", nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 1)), "", Expects(size=2, box=SIDES[:2]))
    assert formula(flat).facts.box == SIDES[:2]
    assert formula(flat, box="all").facts.box is None
