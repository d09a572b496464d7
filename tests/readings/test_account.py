"""Accounts: closed forms small enough to do by hand, what always holds, and what is refused."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

import weightwalk as ww
from weightwalk.errors import AddressError, NotKeptError, UsageError
from weightwalk.readings.account import Account, account
from weightwalk.readings.account.account import remainders
from weightwalk.readings.account.rules.base import RULES, Entry


def closes(a: Account) -> bool:
    """Terms + remainder = the stored number, to the last bit."""
    return math.fsum([*(r.value for r in a.rows), a.remainder, *a.tail]) == a.number


def values(a: Account) -> dict[str, float]:
    return {r.address: r.value for r in a.rows}


def two_neurons() -> nn.Sequential:
    """y = 3 relu(2 x0 - x1 + 1) - 4 relu(-x0 + x1 - 2) + 5."""
    net = nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 1)).double()
    with torch.no_grad():
        net[0].weight.copy_(torch.tensor([[2.0, -1.0], [-1.0, 1.0]]))
        net[0].bias.copy_(torch.tensor([1.0, -2.0]))
        net[2].weight.copy_(torch.tensor([[3.0, -4.0]]))
        net[2].bias.fill_(5.0)
    return net


# By hand -------------------------------------------------------------------------------------------------------------


def test_two_neurons_by_hand() -> None:
    w = ww.walk(two_neurons(), torch.tensor([[7.0, 4.0]], dtype=torch.float64))  # 3 * 11 + 0 + 5 = 38: one unit is on
    a = w.account("out[0, 0]", cut="inputs")
    assert a.number == 38.0
    assert values(a) == {"in[0, 0]": 42.0, "in[0, 1]": -12.0, "0.bias": 3.0, "2.bias": 5.0}
    assert (a.remainder, a.tail) == (0.0, ())
    np.testing.assert_array_equal(a.cotangents["in"], [[6.0, -3.0]])
    assert [f.text for f in a.frozen] == ["which units are on (ReLU masks)"]


def test_rows_shares_and_the_rest() -> None:
    a = ww.walk(two_neurons(), torch.tensor([[7.0, 4.0]], dtype=torch.float64)).account("out[0, 0]", cut="inputs")
    assert [r.value for r in a.rows] == [42.0, -12.0, 5.0, 3.0]
    assert a.rows[0].share == 42 / 38
    assert a.rows[0].weight == 42 / 62
    shown = a.top(2)
    assert [r.value for r in shown] == [42.0, -12.0, 8.0]
    assert (shown[-1].kind, shown[-1].label) == ("rest", "2 more")
    assert sum(r.value for r in shown) == a.number
    assert a.top(99) == a.rows
    assert (a.total, a.sum_abs, a.relative_residual, len(a)) == (38.0, 62.0, 0.0, 4)


def test_neurons_of_a_cut_by_address() -> None:
    w = ww.walk(two_neurons(), torch.tensor([[1.0, 4.0]], dtype=torch.float64))  # -1 -> off, 1 -> on: -4 + 5 = 1
    a = w.account("out[0, 0]", cut="1")
    assert values(a) == {"1": -4.0, "2.bias": 5.0}
    a = w.account("out[0, 0]", cut=["1[0, 1]"])
    assert values(a) == {"1[0, 1]": -4.0, "2.bias": 5.0, "0": 0.0}  # the rest of the value, which is 0
    assert closes(a)


def test_parts_of_one_value_are_rows_of_their_own() -> None:
    net = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 1)).double()
    w = ww.walk(net, torch.tensor([[1.0, 4.0]], dtype=torch.float64))
    whole = values(w.account("out[0, 0]", cut="0"))
    hidden, weight = w["0"].numpy()[0], net[1].weight.detach().numpy()[0]
    for cut in (["0[0, 0]", "0[0, 1]", "0[0, 2]"], ["0[0, 0]", "0[0, 1]", "0"], ["0[0, 0]", "0[0, :2]", "0[0, 2]"]):
        a = w.account("out[0, 0]", cut=cut)
        assert [values(a)[c] for c in cut] == pytest.approx(list(hidden * weight))
        assert closes(a)
    assert whole["0"] == pytest.approx(hidden @ weight)


def test_a_dead_layer_leaves_the_next_bias_alone() -> None:
    """CHECKLIST 186: with every unit of layer 1 off, the output is what layer 2's bias makes, whatever the input."""
    net = nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 3)).double()
    with torch.no_grad():
        net[0].weight.fill_(-1.0)
        net[0].bias.fill_(-0.5)
        net[2].bias.copy_(torch.tensor([-0.25, 2.0]))
    w = ww.walk(net, torch.tensor([[1.2, 3.4]], dtype=torch.float64))
    a = w.account("out[0, 1]", cut="inputs")
    found = values(a)
    assert found["2.bias"] == 2.0 * net[4].weight[1, 1].item()
    assert found["4.bias"] == net[4].bias[1].item()
    assert [found[k] for k in ("in[0, 0]", "in[0, 1]", "0.bias")] == [0.0, 0.0, 0.0]
    assert closes(a)


def test_target_sums_and_differences_are_linear() -> None:
    w = ww.walk(nn.Linear(3, 2).double(), torch.randn(1, 3, dtype=torch.float64))
    a = w.account("2*out[0, 0] - out[0, 1]", cut="inputs")
    parts = [values(w.account(f"out[0, {i}]", cut="inputs")) for i in range(2)]
    for address, value in values(a).items():
        assert value == pytest.approx(2 * parts[0][address] - parts[1][address], abs=1e-15)
    assert closes(a)


def test_a_number_that_the_cut_cannot_reach_is_one_constant() -> None:
    net = nn.Linear(2, 1)
    w = ww.walk(net, torch.ones(1, 2))
    a = w.account("bias[0]", cut="inputs")
    assert values(a) == {"bias": pytest.approx(net.bias[0].item())}
    assert a.rows[0].kind == "constant"
    assert closes(a)


def test_zero_dimensions_and_zeros() -> None:
    w = ww.walk(lambda x: (x * 2).sum() * 0, torch.zeros(3))
    a = w.account("/mul#2", cut="inputs")
    assert a.number == 0.0
    assert [r.share for r in a.rows] == [None] * 3
    assert (a.relative_residual, a.sum_abs) == (0.0, 0.0)
    scalar = ww.walk(lambda x: x * 3, torch.tensor(2.0)).account("/mul", cut="inputs")
    assert [(r.address, r.value) for r in scalar.rows] == [("in", 6.0)]


def test_denormal_and_huge_numbers() -> None:
    x = torch.tensor([5e-324, 1e300, -1e300, 1.0], dtype=torch.float64)
    a = ww.walk(lambda x: x.sum(), x).account("/sum", cut="inputs")
    assert closes(a)
    assert sorted(r.value for r in a.rows) == [-1e300, 5e-324, 1.0, 1e300]


@pytest.mark.parametrize(
    ("split", "shares"),
    [
        ("even", {"2.weight": 16.5, "0.weight": 15.0, "0.bias": 1.5, "2.bias": 5.0}),  # half at each product
        ("weight", {"2.weight": 33.0, "2.bias": 5.0}),
        ("activation", {"0.weight": 30.0, "0.bias": 3.0, "2.bias": 5.0}),
    ],
)
def test_parameters_share_their_products_as_the_caller_says(split: str, shares: dict[str, float]) -> None:
    """3 * (2 * 7 - 4 + 1) + 5: the input is no parameter, so what reaches the first layer is its weight's."""
    w = ww.walk(two_neurons(), torch.tensor([[7.0, 4.0]], dtype=torch.float64))
    a = w.account("out[0, 0]", cut="parameters", split=split)
    assert values(a) == shares
    assert closes(a)


def test_an_unnamed_constant_says_who_reads_it() -> None:
    t = torch.tensor([1.0, 2.0])
    a = ww.walk(lambda x: (x - t).sum(), torch.tensor([4.0, 6.0])).account("/sum", cut="inputs")
    assert [(r.label, r.value) for r in a.rows] == [("in[1]", 6.0), ("in[0]", 4.0), ("constant read by /sub", -3.0)]


# What always holds ---------------------------------------------------------------------------------------------------


@given(
    seed=st.integers(0, 2**31),
    depth=st.integers(1, 4),
    width=st.integers(1, 7),
    activation=st.sampled_from([nn.ReLU, nn.LeakyReLU, nn.Identity, nn.Hardtanh, nn.ReLU6, nn.Softshrink]),
)
def test_piecewise_linear_nets_give_their_local_affine_map(seed: int, depth: int, width: int, activation: type) -> None:
    """The cotangent at the inputs is autograd's Jacobian row, and the constants are the intercept."""
    torch.manual_seed(seed)
    layers: list[nn.Module] = []
    for i in range(depth):
        layers += [nn.Linear(3 if i == 0 else width, width), activation()]
    net = nn.Sequential(*layers, nn.Linear(width, 2)).double()
    x = torch.randn(1, 3, dtype=torch.float64)
    a = ww.walk(net, x).account("out[0, 1]", cut="inputs")
    assert closes(a)
    assert a.relative_residual < 1e-12
    jacobian = torch.autograd.functional.jacobian(lambda v: net(v)[0, 1], x)
    np.testing.assert_allclose(
        a.cotangents["in"], jacobian.numpy(), rtol=0, atol=1e-14 * (1 + jacobian.abs().max().item())
    )
    intercept = math.fsum(r.value for r in a.rows if r.kind != "cut")
    assert intercept == pytest.approx((net(x)[0, 1] - (jacobian * x).sum()).item(), abs=1e-12)


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False, width=64), max_size=12), st.floats(-1e300, 1e300))
def test_terms_and_remainder_are_the_number_to_the_last_bit(terms: list[float], number: float) -> None:
    if sum(abs(t) for t in terms) > 1e307:
        return
    first, tail = remainders(number, terms)
    assert math.fsum([*terms, first, *tail]) == number
    exact = Fraction(number) - sum(map(Fraction, terms))
    assert first == float(exact)


@given(seed=st.integers(0, 2**31), size=st.integers(0, 5))
def test_an_account_of_every_output_of_a_batch(seed: int, size: int) -> None:
    torch.manual_seed(seed)
    net = nn.Sequential(nn.Linear(2, 3), nn.SiLU(), nn.LayerNorm(3), nn.Linear(3, 1))
    w = ww.walk(net, torch.randn(size, 2))
    for i in range(size):
        a = w.account(f"out[{i}, 0]", cut="inputs")
        assert closes(a)
        assert abs(a.remainder) <= a.bound
        assert all(r.amount <= r.bound for r in a.residuals)


def test_an_account_leaves_the_walk_as_it_was() -> None:
    """In-place ops are run again on copies: not one bit of the record may move."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(3, 4), nn.ReLU(inplace=True), nn.Linear(4, 4), nn.Sigmoid())
    x = torch.randn(2, 3)
    with ww.recording(net) as w:
        y = net(x)
        y.add_(1).mul_(y.detach()).cumsum_(0)
    before = [v.numpy().tobytes() for v in w.values]
    address = w.values[w.steps[-1].outputs[0].value].address
    a = w.account(f"{address}[1, 2]", cut="inputs")
    assert closes(a)
    assert [v.numpy().tobytes() for v in w.values] == before
    assert values(w.account(f"{address}[1, 2]", cut="inputs")) == values(a)


def test_a_saved_walk_gives_the_same_account(tmp_path) -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(3, 4), nn.GELU(), nn.Linear(4, 2)).bfloat16()
    w = ww.walk(net, torch.randn(1, 3, dtype=torch.bfloat16))
    w.save(tmp_path / "a.walk")
    here, there = (x.account("out[0, 1]", cut="inputs") for x in (w, ww.load(tmp_path / "a.walk")))
    assert values(here) == values(there)
    assert (here.remainder, here.bound) == (there.remainder, there.bound)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("precision", ["float32", "float64", None])
def test_the_remainder_stays_within_the_rounding_of_the_record(dtype: torch.dtype, precision: str | None) -> None:
    torch.manual_seed(1)
    net = nn.Sequential(nn.Linear(16, 64), nn.Tanh(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 3), nn.LogSoftmax(-1))
    w = ww.walk(net.to(dtype), torch.randn(2, 16).to(dtype))
    a = w.account("out[1, 2]", cut="inputs", precision=precision)
    assert closes(a)
    assert a.precision == (precision or "float64")
    assert 0 < abs(a.remainder) <= a.bound
    assert a.worst is not None
    assert all(r.amount <= r.bound for r in a.residuals)


def test_progress_is_told() -> None:
    told: list[tuple[int, int]] = []
    w = ww.walk(two_neurons(), torch.ones(1, 2, dtype=torch.float64))
    w.account("out[0, 0]", cut="inputs", progress=lambda done, total: told.append((done, total)))
    assert told[-1][0] <= told[-1][1]
    assert [d for d, _ in told] == sorted(d for d, _ in told)


# Ops that no rule sees through, and numbers that were not kept -------------------------------------------------------


def test_an_opaque_op_becomes_a_row_so_that_the_account_closes() -> None:
    w = ww.walk(lambda x: torch.special.bessel_j0(x) + 2 * x, torch.tensor([0.5, 1.5], dtype=torch.float64))
    a = w.account("/add[1]", cut="inputs")
    (row,) = a.opaque
    assert row.value == pytest.approx(float(torch.special.bessel_j0(torch.tensor(1.5))))
    assert row.label.startswith("opaque: special_bessel_j0 at ")
    assert closes(a)
    assert a.relative_residual < 1e-15


def test_values_that_were_not_kept() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 3), nn.Tanh(), nn.Linear(3, 1)).double()
    x = torch.randn(1, 2, dtype=torch.float64)
    full = ww.walk(net, x).account("3[0, 0]", cut="inputs")
    some = ww.walk(net, x, keep=["1", "2", "3"]).account("3[0, 0]", cut="inputs")  # linear layers need no activations
    assert some.unchecked > 0
    assert values(some) == pytest.approx(values(full))
    w = ww.walk(net, x, keep=["3"])
    a = w.account("3[0, 0]", cut="inputs")  # the tanh does: there it ends
    assert [r.label.split(":")[0] for r in a.opaque] == ["numbers not kept"]
    assert closes(a)
    with pytest.raises(NotKeptError, match="the numbers of 0 were not kept; record again with keep="):
        ww.walk(net, x, keep=["1", "2", "3"]).account("3[0, 0]", cut="0")


# Refusals ------------------------------------------------------------------------------------------------------------


def test_refusals() -> None:
    net = nn.Linear(2, 2)
    w = ww.walk(net, torch.ones(1, 2))
    with pytest.raises(UsageError, match=r"names 2 numbers and an account is of one: index it down .* out\[0, 0\]"):
        w.account("out")
    with pytest.raises(AddressError, match="did you mean 'tokens'") as caught:
        w.account("out[0, 0]", cut="token")
    assert "inputs, tokens, modules, heads, neurons, heads+neurons, parameters" in str(caught.value)
    with pytest.raises(AddressError, match=r"cut='q\.\*' matches no value"):
        w.account("out[0, 0]", cut="q.*")
    with pytest.raises(UsageError, match="cut= takes one of inputs"):
        w.account("out[0, 0]", cut=3)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="cut= takes one of inputs"):
        w.account("out[0, 0]", cut=[])
    with pytest.raises(UsageError, match="'half' is no way to: expected one of even, left, right"):
        w.account("out[0, 0]", split="half")
    with pytest.raises(UsageError, match=r"1\.5 is no way to"):
        w.account("out[0, 0]", split={"*": 1.5})
    with pytest.raises(UsageError, match="precision= is 'float64' or 'float32', not 'half'"):
        w.account("out[0, 0]", precision="half")
    with pytest.raises(AddressError):
        w.account("nothing[0]")
    whole = ww.walk(nn.Embedding(3, 2), torch.tensor([1]))
    with pytest.raises(UsageError, match="in holds int64; only real numbers"):
        whole.account("in[0]")
    with pytest.raises(UsageError, match="cut='in' holds int64"):
        whole.account("out[0, 0]", cut="in")


def test_nan_and_infinity_are_refused() -> None:
    w = ww.walk(lambda x: x / x, torch.tensor([0.0, 1.0]))
    with pytest.raises(UsageError, match=r"/div\[0\] is NaN, which is no sum .*it began at /div \(aten.div"):
        w.account("/div[0]", cut="inputs")
    assert account(w, "/div[1]", cut="inputs").number == 1.0
    w = ww.walk(lambda x: x * 2, torch.tensor([math.inf, 1.0]))
    with pytest.raises(UsageError, match=r"/mul\[0\] is infinite.*came in with the inputs"):
        w.account("/mul[0]", cut="inputs")
    with pytest.raises(UsageError, match="infinite or not a number"):
        w.account("/mul[0] - /mul[0]", cut="inputs")
    # infinite numbers on the way to a finite one
    w = ww.walk(lambda x: (x * 2).atan() + 0 * x.sum().atan(), torch.tensor([math.inf]))
    a = w.account("/add[0]", cut="inputs")
    assert closes(a)


def test_a_wrong_rule_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """Conservation is measured, not assumed: a rule that loses or invents something shows, at its step."""
    w = ww.walk(two_neurons(), torch.tensor([[7.0, 4.0]], dtype=torch.float64))
    monkeypatch.setitem(RULES, "aten.relu", Entry(lambda op: {"self": op.cot * 0.9}, ""))
    a = w.account("out[0, 0]", cut="inputs")
    assert a.worst is not None
    assert (a.worst.address, a.worst.amount) == ("1/relu", pytest.approx(14.7))
    assert a.worst.amount > a.worst.bound
    assert abs(a.remainder) > a.bound
    assert closes(a)  # the remainder owns up to it
    monkeypatch.setitem(RULES, "aten.relu", Entry(lambda op: {"self": op.cot * math.nan}, ""))
    with pytest.raises(
        UsageError, match=r"met a number that is not finite at 1/relu \(aten.relu.default\).*walk.narrate"
    ):
        w.account("out[0, 0]", cut="inputs")
