"""`keep=`, `patch=`, `open_fused=`, `zoom()` and `compare`."""

from __future__ import annotations

import gc
import math
import weakref

import numpy as np
import pytest
import torch
from torch import nn

import weightwalk as ww
from weightwalk.errors import AddressError, NotKeptError, UsageError


def net() -> nn.Sequential:
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(3, 4), nn.GELU(), nn.LayerNorm(4), nn.Linear(4, 2))


X = torch.tensor([[0.5, -1.0, 2.0]])


def test_what_was_not_kept_is_still_a_step_and_says_so() -> None:
    full, kept = ww.walk(net(), X), ww.walk(net(), X, keep=["1"])
    assert [s.op for s in kept] == [s.op for s in full]
    assert [s.args for s in kept] == [s.args for s in full]
    assert kept.completeness.unexplained == 0
    np.testing.assert_array_equal(kept["1"].numpy(), full["1"].numpy())
    assert not kept["0"].kept
    with pytest.raises(NotKeptError, match=r"the numbers of 0 were not kept; record again with keep= naming it"):
        kept["0"].numpy()
    np.testing.assert_array_equal(kept["0.weight"].numpy(), full["0.weight"].numpy())  # parameters stay at hand


def test_keep_takes_op_addresses() -> None:
    kept = ww.walk(net(), X, keep=["2/native_layer_norm"])
    assert kept["2/native_layer_norm"].kept and not kept["1"].kept


def test_what_is_not_kept_is_freed() -> None:
    seen: list[weakref.ref] = []

    class Spy(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            y = x * 2
            seen.append(weakref.ref(y))
            return y + 1

    walk = ww.walk(nn.Sequential(Spy(), nn.Identity()), torch.ones(3), keep=[])
    gc.collect()
    assert seen[0]() is None
    assert len(walk) == 2


def test_identity_survives_reused_memory() -> None:
    """Freed storages are handed out again; their values must stay apart all the same."""

    def fn(x: torch.Tensor) -> torch.Tensor:
        for _ in range(50):
            x = x * 1.01 + 0.5
        return x

    full, kept = ww.walk(fn, torch.ones(1000)), ww.walk(fn, torch.ones(1000), keep=[])
    assert [(s.args, s.outputs) for s in kept] == [(s.args, s.outputs) for s in full]


@pytest.mark.parametrize("keep", [3, [""], [None]])
def test_keep_refuses_what_is_no_address(keep: object) -> None:
    with pytest.raises(UsageError, match="keep= takes addresses or globs"):
        ww.walk(net(), X, keep=keep)


def test_patch_a_module_an_element_an_op() -> None:
    model = net()
    zero = ww.walk(model, X, patch={"1": 0})
    np.testing.assert_array_equal(zero["1"].numpy(), np.zeros((1, 4), np.float32))
    expected = model[3](model[2](torch.zeros(1, 4)))
    np.testing.assert_array_equal(zero["out"].numpy(), expected.detach().numpy())
    one = ww.walk(model, X, patch={"0[0, -1]": 2.5})
    hidden = model[0](X).detach().clone()
    hidden[0, -1] = 2.5
    np.testing.assert_array_equal(one["out"].numpy(), model[3](model[2](model[1](hidden))).detach().numpy())
    op = ww.walk(model, X, patch={"1/gelu": lambda t: t * 2})
    twice = model[3](model[2](2 * model[1](model[0](X))))
    np.testing.assert_array_equal(op["out"].numpy(), twice.detach().numpy())


def test_patching_an_in_place_op_reaches_all_who_look_at_that_memory() -> None:
    def fn(x: torch.Tensor) -> torch.Tensor:
        y = x + 0
        y.relu_()  # the result is read through y, not through what relu_ returns
        return y * 1

    walk = ww.walk(fn, torch.tensor([-1.0, 2.0]), patch={"/relu_": 5})
    np.testing.assert_array_equal(walk["out"].numpy(), np.full(2, 5, np.float32))
    assert walk.verify().ok


def test_patching_an_op_of_the_second_call_of_a_module() -> None:
    fc = nn.Linear(3, 3)
    x = torch.randn(2, 3)
    walk = ww.walk(nn.Sequential(fc, fc), x, patch={"0#2/addmm": lambda t: t + 1})
    np.testing.assert_array_equal(walk["0"].numpy(), fc(x).detach().numpy())
    np.testing.assert_array_equal(walk["out"].numpy(), (fc(fc(x)) + 1).detach().numpy())


def test_patching_with_another_runs_value_moves_its_output() -> None:
    model, other = net(), torch.tensor([[3.0, 0.0, -1.0]])
    source = ww.walk(model, other)
    patched = ww.walk(model, X, patch={"2": torch.tensor(source["2"].numpy())})
    np.testing.assert_array_equal(patched["out"].numpy(), source["out"].numpy())


def test_gradients_flow_through_module_patches() -> None:
    model = net()
    with ww.recording(model, patch={"1": lambda t: t * 3}):
        model(X).sum().backward()
    grad = model[0].weight.grad.clone()
    model.zero_grad()
    model[3](model[2](3 * model[1](model[0](X)))).sum().backward()
    torch.testing.assert_close(grad, model[0].weight.grad)


def test_patch_of_something_that_never_ran_is_refused() -> None:
    with pytest.raises(AddressError, match=r"patch= names 'nope', which never ran"):
        ww.walk(net(), X, patch={"nope": 0})
    with pytest.raises(AddressError, match=r"patch= names 'nope', which never ran"):  # noqa: SIM117
        with ww.recording(patch={"nope": 0}):
            net()(X)


@pytest.mark.parametrize(
    ("patch", "message"),
    [
        ({"1": "zero"}, "patch= for '1' was given str; expected a number, a tensor or a function"),
        ({"1[": 0}, r"patch= address '1\[' was not understood"),
        ({"1[a]": 0}, "'a' is no index"),
        ({"1": torch.zeros(7)}, r"the replacement has shape \(7,\), the value \(1, 4\)"),
        ([("1", 0)], "patch= takes a mapping"),
    ],
)
def test_patch_errors(patch: object, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        ww.walk(net(), X, patch=patch)


def test_open_fused_states_what_it_changed() -> None:
    walk = ww.walk(net(), X, open_fused=True)
    ops = {s.op for s in walk}
    assert "aten.native_layer_norm.default" not in ops and "aten.erf.default" in ops
    facts = walk.meta["open_fused"]
    gap = np.abs(walk["out"].numpy().astype(float) - net()(X).detach().double().numpy()).max()
    assert facts["greatest_difference"] == gap
    assert facts["steps_opened"] == len(walk) > facts["steps_fused"]


def test_open_fused_states_what_it_changed_in_a_plain_function() -> None:
    x = torch.randn(50, 7)
    walk = ww.walk(lambda t: t.softmax(-1), x, open_fused=True)
    gap = np.abs(walk["out"].numpy().astype(float) - x.softmax(-1).double().numpy()).max()
    assert walk.meta["open_fused"]["greatest_difference"] == gap > 0
    assert walk.meta["open_fused"]["at"] == "out"


def test_patching_inside_a_fused_op_needs_it_opened() -> None:
    attention = nn.MultiheadAttention(8, 2, batch_first=True).eval()
    q = torch.randn(1, 3, 8)
    with torch.no_grad():
        opened = ww.walk(attention, q, q, q, open_fused=True)
        name = next(s.address for s in opened if s.op == "aten.div.Tensor" and next(s.results()).shape[-2:] == (3, 3))
        uniform = ww.walk(attention, q, q, q, open_fused=True, patch={name: 1 / 3})
        w, b = attention.in_proj_weight[16:], attention.in_proj_bias[16:]
        mean = (q @ w.t() + b).mean(1, keepdim=True).expand(1, 3, 8)
        expected = attention.out_proj(mean)
    np.testing.assert_allclose(uniform["out.0"].numpy(), expected.numpy(), atol=1e-6)


def gelu(x: float) -> float:
    return 0.5 * x * (1 + math.erf(x / math.sqrt(2)))


def test_zoom_shows_the_inside_and_lands_on_the_record() -> None:
    walk = ww.walk(net(), X)
    step = walk["1"].step
    inside = step.zoom()
    facts = inside.meta["zoom"]
    assert facts["op"] == "aten.gelu.default" and 0 < facts["fraction_of_bound"] <= 1
    assert inside["out"].dtype == "float64"
    expected = [gelu(float(v)) for v in walk["0"].numpy()[0]]
    np.testing.assert_allclose(inside["out"].numpy()[0], expected, rtol=1e-15)


def test_zoom_refuses_what_is_plain() -> None:
    with pytest.raises(UsageError, match=r"0/addmm .* is a single operation"):
        ww.walk(net(), X)["0"].step.zoom()


FUSED = {
    "encoder": lambda: (nn.TransformerEncoderLayer(8, 2, 16, batch_first=True).eval(), (torch.randn(2, 5, 8),)),
    "encoder, norm first, gelu": lambda: (
        nn.TransformerEncoderLayer(8, 2, 16, batch_first=True, norm_first=True, activation="gelu").eval(),
        (torch.randn(2, 5, 8),),
    ),
    "attention": lambda: (nn.MultiheadAttention(8, 2, batch_first=True).eval(), (torch.randn(2, 5, 8),) * 3),
    "lstm": lambda: (nn.LSTM(3, 4, bidirectional=True), (torch.randn(6, 2, 3),)),
    "softmax": lambda: (nn.Softmax(-1), (torch.randn(4, 5),)),
    "log softmax": lambda: (nn.LogSoftmax(-1), (torch.randn(4, 5),)),
    "group norm": lambda: (nn.GroupNorm(2, 4), (torch.randn(2, 4, 3),)),
    "batch norm": lambda: (nn.BatchNorm1d(4), (torch.randn(6, 4),)),
}


@pytest.mark.parametrize("name", FUSED)
def test_zooms_land(name: str) -> None:
    from weightwalk.recorder.decompositions import table

    model, args = FUSED[name]()
    with torch.no_grad():
        walk = ww.walk(model, *args)
    fused = [s for s in walk if s.op in table()]
    assert fused
    for step in fused:
        facts = step.zoom().meta["zoom"]
        assert facts["deviation"] < 2e-6
        assert facts["fraction_of_bound"] is None or facts["fraction_of_bound"] <= 1


def test_zoom_does_not_land_on_a_false_record() -> None:
    from weightwalk.errors import RecordError

    walk = ww.walk(net(), X)
    value = walk["1"]
    held = walk.store.held[walk.store.buffers[value.buffer][0]]
    held.tensor = held.tensor.clone()
    held.tensor[0, 0] += 1e-3
    held.counter = None
    with pytest.raises(RecordError, match="its decomposition misses the recorded output"):
        value.step.zoom()


def test_compare_finds_where_two_walks_part() -> None:
    model = net()
    a, b = ww.walk(model, X), ww.walk(model, X, patch={"1": lambda t: t + 1})
    comparison = ww.compare(a, b)
    assert comparison.first is not None and comparison.first.address == "1"
    assert comparison.first.greatest == pytest.approx(1, abs=1e-6)
    assert (
        comparison.outputs[0].greatest == np.abs(a["out"].numpy().astype(float) - b["out"].numpy().astype(float)).max()
    )
    assert ww.compare(a, a).same and not comparison.same
    other = ww.compare(a, ww.walk(model, X + 1))
    assert [d.address for d in other.causes] == ["in"]


def test_compare_refuses_strangers() -> None:
    a = ww.walk(lambda x: x + 1, torch.ones(1))
    b = ww.walk(net(), X)
    names = set(a.names) & set(b.names)
    assert names  # "in" and "out" are common, so the comparison works ...
    assert ww.compare(a, b).compared
    a.given, a.__dict__["names"], a.__dict__["_addresses"] = {}, {}, {}
    with pytest.raises(UsageError, match="no address in common"):  # ... until they are not
        ww.compare(a, b)


def test_keep_takes_ops_of_later_calls_of_a_module() -> None:
    fc = nn.Linear(3, 3)
    walk = ww.walk(nn.Sequential(fc, fc), torch.randn(2, 3), keep=["0#2/addmm"])
    assert walk["0#2/addmm"].kept and not walk["0/addmm"].kept


def test_globs_keep_what_modules_return_and_what_they_receive_only_when_asked() -> None:
    class Shifts(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(3, 3)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.fc(x + 1)

    outputs, received = (
        ww.walk(Shifts(), torch.ones(2, 3), keep=["**"]),
        ww.walk(Shifts(), torch.ones(2, 3), keep=["*.in"]),
    )
    assert outputs["fc"].kept and not outputs["fc.in"].kept
    assert received["fc.in"].kept and not received["fc"].kept


def test_keep_of_something_that_never_ran_is_refused() -> None:
    with pytest.raises(
        AddressError, match=r"keep= names '0\.wieght', which nothing that ran .* did you mean 0\.weight"
    ):
        ww.walk(net(), X, keep=["1", "0.wieght"])
    assert ww.walk(net(), X, keep=["0.weight", "2/native_layer_norm", "in"])["2"].kept
