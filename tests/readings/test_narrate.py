"""The story of a small net, re-added from its printed text with exact decimals, as a reader with a calculator would."""

from __future__ import annotations

import re
from decimal import Decimal

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from readings.paper import check_on_paper
from torch import nn

import weightwalk as ww
from weightwalk.errors import AddressError, UsageError
from weightwalk.nets.modules import HelloNet, LinearNet, ReluNet
from weightwalk.readings.narrate import Story, Sum, Table, Text, narrate
from weightwalk.show.terminal import plain

TOKENS = ["hello", "world", "cat", "dog", "!"]
LABELS = {"vocab": TOKENS, "tokens": ["hello"], "logits": {-1: TOKENS}}


def recorded(net: nn.Module, x: torch.Tensor, **options: object) -> ww.Walk:
    with torch.no_grad():
        return ww.walk(net.eval(), x, **options)


def hello_of_the_source() -> HelloNet:
    """The net of checklist rows 185 to 190: its published numbers; the weights that decide nothing are free.

    For 'hello' both units of layer 1 are off, so layer 2 gives its bias, and the logits hang on one column.
    """
    net = HelloNet()
    with torch.no_grad():
        net.embed.weight[0] = torch.tensor([1.2167829, -1.0983902])
        net.fc1.weight.copy_(torch.tensor([[-0.5, 0.25], [-0.75, 0.5]]))
        x = net.embed.weight[0].double()
        z1 = torch.tensor([-0.8196, -1.3902], dtype=torch.float64)
        net.fc1.bias.copy_(z1 - net.fc1.weight.double() @ x)
        net.fc2.bias.copy_(torch.tensor([-0.00322088, 2.0367088]))
        net.logits.weight[:, 1] = torch.tensor([-0.7, 1.9, -0.9, -1.4, 0.8])
        logits = torch.tensor([-0.9126, 5.2600, -1.6364, -3.1031, 2.5357], dtype=torch.float64)
        net.logits.bias.copy_(logits - 2.0367088 * net.logits.weight[:, 1].double())
    return net


def texts(story: Story) -> str:
    return "\n".join(line.text for line in story.lines() if isinstance(line, Text))


@pytest.mark.parametrize(
    ("net", "x", "sums"),
    [
        (LinearNet(), torch.tensor([[2.0]]), 1),
        (ReluNet(8), torch.tensor([[2.0]]), 9),
        (ReluNet(8), torch.tensor([[2.0], [-3.5], [1e-6]]), 27),
        (HelloNet(), torch.tensor([0]), 9),
        (HelloNet().double(), torch.tensor([0, 2]), 18),
        (nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2)).bfloat16(), torch.ones(1, 3).bfloat16(), 6),
        (nn.Sequential(nn.Linear(3, 4, bias=False), nn.GELU(), nn.Linear(4, 2)).half(), torch.ones(1, 3).half(), 6),
        (nn.Sequential(nn.Linear(1, 2)), torch.tensor([[123456.789]]), 2),
    ],
)
def test_a_pocket_calculator_gets_the_same_digits(net: nn.Module, x: torch.Tensor, sums: int) -> None:
    walk = recorded(net, x)
    story = narrate(walk)
    assert story.small
    assert check_on_paper(plain(story)) == sums


def test_the_printed_totals_are_the_recorded_numbers() -> None:
    walk = recorded(ReluNet(8), torch.tensor([[2.0]]))
    for line in narrate(walk).sums():
        value = np.float32(float(walk[line.label]))
        assert np.float32(float(line.total)) == value, "nine digits tell every float32 from its neighbours"


@settings(max_examples=30)
@given(
    st.lists(st.floats(-1e6, 1e6, width=32), min_size=1, max_size=4),
    st.lists(st.floats(-1e6, 1e6, width=32), min_size=1, max_size=4),
    st.floats(-1e6, 1e6, width=32),
    st.integers(2, 17),
)
def test_every_sum_closes_whatever_the_numbers(w: list[float], x: list[float], bias: float, digits: int) -> None:
    size = min(len(w), len(x))
    net = nn.Linear(size, 1)
    with torch.no_grad():
        net.weight.copy_(torch.tensor([w[:size]]))
        net.bias.fill_(bias)
    walk = recorded(net, torch.tensor([x[:size]]))
    (line,) = narrate(walk, digits=digits).sums()
    assert sum(t.value for t in line.terms) == line.total
    exact = sum(Decimal(a) * Decimal(b) for a, b in zip(w[:size], x[:size], strict=True)) + Decimal(bias)
    shown = sum(t.value for t in line.terms if t.kind != "rounding")
    largest = max([abs(Decimal(a) * Decimal(b)) for a, b in zip(w, x, strict=False)] + [abs(Decimal(bias))])
    # Two factors printed to `digits` digits, and float32's own shortest digits: relative errors well under this.
    assert abs(shown - exact) <= 4 * size * largest * (Decimal(10) ** (1 - digits) + Decimal(2) ** -24)


# The story of the source ---------------------------------------------------------------------------------------------


def test_the_source_s_walk_of_hello() -> None:
    walk = recorded(hello_of_the_source(), torch.tensor([0]), axis_labels=LABELS)
    page = plain(narrate(walk))
    assert check_on_paper(page) == 9
    assert "1.2167829" in page
    assert "-1.0983902" in page
    z1, a1 = walk["fc1"].numpy(), walk["relu1"].numpy()
    np.testing.assert_allclose(z1, [[-0.8196, -1.3902]], atol=1e-6)
    assert not a1.any()
    np.testing.assert_array_equal(walk["fc2"].numpy()[0], walk["fc2.bias"].numpy())  # z2 = b2, to the bit
    np.testing.assert_allclose(walk["logits"].numpy(), [[-0.9126, 5.2600, -1.6364, -3.1031, 2.5357]], atol=1e-6)
    assert "'hello' → 'world'" in page


def test_a_dead_layer_is_said_to_hang_on_the_bias() -> None:
    story = narrate(recorded(hello_of_the_source(), torch.tensor([0]), axis_labels=LABELS))
    assert "This layer is dead for 'hello': every unit is off." in texts(story)
    assert "the weights do not matter: the result is the bias alone" in texts(story)
    assert "fc1[0], at -0.8196" in texts(story), "the unit nearest to opening is named"


def test_a_layer_that_lives_is_not_called_dead() -> None:
    net = ReluNet(2)
    with torch.no_grad():
        net.fc1.bias.fill_(5.0)
    assert "dead" not in texts(narrate(recorded(net, torch.tensor([[0.5]]))))


def test_softmax_of_the_source_s_logits() -> None:
    story = narrate(recorded(hello_of_the_source(), torch.tensor([0]), axis_labels=LABELS))
    table = next(t for t in story.lines() if isinstance(t, Table) and "probability" in t.columns)
    p = [row[3] for row in table.rows if row[0] != "sum"]
    np.testing.assert_allclose([float(x) for x in p], [0.00195, 0.93552, 0.00095, 0.00022, 0.06136], atol=1e-5)
    assert [row[4] for row in table.rows].index("largest") == 1
    assert sum(x for x in p if isinstance(x, Decimal)) == table.rows[-1][3]


def test_gates_say_whether_they_are_open() -> None:
    net = ReluNet(3)
    with torch.no_grad():
        net.fc1.weight.copy_(torch.tensor([[1.0], [-1.0], [0.0]]))
        net.fc1.bias.zero_()
    story = narrate(recorded(net, torch.tensor([[2.0]])))
    table = next(t for t in story.lines() if isinstance(t, Table) and "gate" in t.columns)
    assert [row[3] for row in table.rows] == ["on", "off", "off (at 0)"]


def test_a_tie_has_no_single_winner() -> None:
    net = HelloNet()
    with torch.no_grad():
        for p in net.parameters():
            p.zero_()
    assert "a tie between 'hello' and 'world'" in texts(narrate(recorded(net, torch.tensor([0]), axis_labels=LABELS)))


# What is not finite --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("x", "word"), [(float("nan"), "NaN"), (float("inf"), "infinite"), (3e38, "infinite")])
def test_what_is_not_finite_is_told_as_such(x: float, word: str) -> None:
    net = LinearNet()
    with torch.no_grad():
        net.fc.weight.fill_(2.0)
    story = narrate(recorded(net, torch.tensor([[x]])))
    assert f"This is no usable result: 1 of 1 is {word}." in texts(story)
    assert any("there is nothing to add up" in note for note in story.notes)
    assert word[:3].lower() in plain(story).lower()


def test_nan_has_no_winner() -> None:
    net = HelloNet()
    with torch.no_grad():
        net.logits.bias[2] = float("nan")
    page = texts(narrate(recorded(net, torch.tensor([0]), axis_labels=LABELS)))
    assert "no winner, because 1 of the 5 scores are NaN or infinite" in page


def test_numbers_that_were_not_kept_are_said_to_be_missing() -> None:
    walk = recorded(ReluNet(3), torch.tensor([[2.0]]), keep=["fc2"])
    assert "its numbers were not kept (see keep=)" in texts(narrate(walk))


@pytest.mark.parametrize("shape", [(0, 3), (3,), (2, 0, 3)])
def test_empty_and_flat_inputs_are_told(shape: tuple[int, ...]) -> None:
    story = narrate(recorded(nn.Linear(3, 2), torch.ones(shape)))
    assert plain(story)


def test_a_function_without_modules_is_told() -> None:
    walk = ww.walk(lambda a, b: (a * b - a).sum(), torch.tensor([1.0, 2.0]), torch.tensor([3.0, 5.0]))
    page = plain(narrate(walk))
    (line,) = narrate(walk).sums()
    assert line.total == 10
    assert "×" in page


# Training steps ------------------------------------------------------------------------------------------------------


def step_of_training(net: nn.Module, x: torch.Tensor, y: torch.Tensor) -> ww.Walk:
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    with ww.recording(net) as walk:
        loss = nn.functional.mse_loss(net(x), y)
        loss.backward()
        optimizer.step()
    return walk


def test_a_training_step_is_told_per_parameter() -> None:
    net = LinearNet()
    before = [p.detach().clone() for p in net.parameters()]
    walk = step_of_training(net, torch.tensor([[2.0]]), torch.tensor([[7.0]]))
    story = narrate(walk)
    section = story.sections[-1]
    assert section.phase == "update"
    rows = [row for line in section.lines if isinstance(line, Table) for row in line.rows]
    assert [row[0] for row in rows] == ["fc.weight", "fc.bias"]
    for row, old, p in zip(rows, before, net.parameters(), strict=True):
        _, was, gradient, nudge, now = row
        assert was + nudge == now, "the nudge is what lies between, as printed"
        np.testing.assert_allclose(float(nudge), -0.1 * float(gradient), rtol=1e-5, atol=1e-7)
        assert np.float32(float(was)) == old.item()
        assert np.float32(float(now)) == p.item()
    assert "loss = mean of the squares = " in texts(story)


def test_a_gradient_of_nothing_is_remarked() -> None:
    net = ReluNet(2)
    with torch.no_grad():
        net.fc1.weight.fill_(-1.0)
        net.fc1.bias.zero_()
    page = texts(narrate(step_of_training(net, torch.tensor([[2.0]]), torch.tensor([[1.0]]))))
    assert "The gradient of fc1.weight is 0 throughout" in page


# Options -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"depth": -1}, "depth is the number of module levels to unfold, 0 or more; got -1"),
        ({"top": 0}, "top is the number of terms to show, 1 or more; got 0"),
        ({"digits": 18}, "digits is the number of significant digits, from 2 to 17; got 18"),
    ],
)
def test_options_that_make_no_sense_are_refused(options: dict[str, int], message: str) -> None:
    with pytest.raises(UsageError, match=re.escape(message)):
        narrate(recorded(LinearNet(), torch.tensor([[1.0]])), **options)


def test_a_focus_that_names_nothing_offers_the_nearest() -> None:
    with pytest.raises(AddressError, match="did you mean fc"):
        narrate(recorded(LinearNet(), torch.tensor([[1.0]])), focus="fcc")


def test_focus_on_one_number_tells_its_largest_terms_and_the_exact_rest() -> None:
    net = nn.Linear(100, 3)
    walk = recorded(net, torch.randn(1, 100))
    story = narrate(walk, focus="out[0, 1]", top=7)
    (line,) = story.sums()
    assert [t.kind for t in line.terms].count("product") == 7
    rest = next(t for t in line.terms if t.kind == "rest")
    assert rest.count == 93
    assert sum(t.value for t in line.terms) == line.total
    products = sorted((net.weight[1].detach().double().numpy() * walk["in"].numpy()[0].astype(float)).tolist(), key=abs)
    np.testing.assert_allclose(float(rest.value), sum(products[:93]), atol=1e-7)


@pytest.mark.parametrize("focus", ["fc1", "relu/relu", "fc1.weight", "fc2[0, 0]", "in", "fc1 - relu"])
def test_focus_takes_modules_ops_parameters_numbers_and_differences(focus: str) -> None:
    assert plain(narrate(recorded(ReluNet(3), torch.tensor([[2.0]])), focus=focus))


def test_the_sum_class_is_what_the_story_says() -> None:
    story = narrate(recorded(LinearNet(), torch.tensor([[1.0]])))
    assert all(isinstance(line, Sum) for line in story.sums())
    assert str(story) == plain(story)
