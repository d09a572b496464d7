"""What is recorded is what ran: values, versions, links, phases, names."""

from __future__ import annotations

import gc
import warnings
import weakref

import numpy as np
import pytest
import torch
from torch import nn

import weightwalk as ww
from weightwalk.errors import NotKeptError, OverwrittenError, UsageError


class Small(nn.Module):
    def __init__(self, inplace: bool = False) -> None:
        super().__init__()
        self.fc1 = nn.Linear(3, 4)
        self.act = nn.ReLU(inplace=inplace)
        self.fc2 = nn.Linear(4, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.fc2(self.act(self.fc1(x)))


def test_an_in_place_op_does_not_reach_into_the_past() -> None:
    net, x = Small(inplace=True), torch.randn(5, 3)
    walk = ww.walk(net, x)
    before = nn.functional.linear(x, net.fc1.weight, net.fc1.bias).detach().numpy()
    assert (before < 0).any()  # or the test would see nothing
    np.testing.assert_array_equal(walk["fc1"].numpy(), before)
    np.testing.assert_array_equal(walk["act"].numpy(), np.maximum(before, 0))


def test_writes_through_views_are_replayed_on_their_base() -> None:
    def fn(x: torch.Tensor) -> torch.Tensor:
        y = x * 1.0
        y[0, 1] = 7.0  # a write through a view
        z = y + 0.0
        y.t()[2].zero_()
        return z + y

    x = torch.arange(6.0).reshape(2, 3)
    walk = ww.walk(fn, x)
    after_first = np.array([[0, 7, 2], [3, 4, 5]], dtype=np.float32)
    after_second = np.array([[0, 7, 0], [3, 4, 0]], dtype=np.float32)
    np.testing.assert_array_equal(walk["/mul"].numpy(), x.numpy())
    np.testing.assert_array_equal(walk["out"].numpy(), after_first + after_second)
    rebased = [s for s in walk if s.op == "weightwalk.overwrite.default"]
    np.testing.assert_array_equal(next(rebased[0].results()).numpy(), after_first)
    np.testing.assert_array_equal(next(rebased[-1].results()).numpy(), after_second)
    assert walk.completeness.unexplained == 0


def test_a_long_loop_of_writes_builds_without_recursion_and_keeps_every_moment() -> None:
    def fn(x: torch.Tensor) -> torch.Tensor:
        out = torch.zeros(1500)
        for i in range(1500):
            out[i] = x[0] + i
        return out * 1

    walk = ww.walk(fn, torch.ones(1))
    np.testing.assert_array_equal(walk["out"].numpy(), np.arange(1500, dtype=np.float32) + 1)


def test_views_share_their_buffer_and_parameters_are_not_cloned() -> None:
    net, x = Small(), torch.randn(5, 3)
    walk = ww.walk(net, x, snapshot=False)
    weight, transposed = walk["fc1.weight"], walk["fc1/t"]
    assert weight.buffer == transposed.buffer
    assert weight.numpy().ctypes.data == net.fc1.weight.data_ptr()
    np.testing.assert_array_equal(transposed.numpy(), net.fc1.weight.detach().t().numpy())


def test_links_lead_from_the_output_back_to_input_and_parameters() -> None:
    walk = ww.walk(Small(), torch.randn(5, 3))
    seen: set[int] = set()
    todo = [walk["out"].id]
    while todo:
        vid = todo.pop()
        if vid in seen:
            continue
        seen.add(vid)
        step = walk.values[vid].step
        todo += [v.id for v in step.inputs()] if step else []
    names = {"in", "fc1.weight", "fc1.bias", "fc2.weight", "fc2.bias"}
    assert {walk.address_of(i) for i in seen} >= names


def test_every_step_knows_its_module_line_and_phase() -> None:
    walk = ww.walk(Small(), torch.randn(5, 3))
    step = walk["fc1"].step
    assert (step.module, step.phase, step.address) == ("fc1", "forward", "fc1/addmm")
    assert step.source.startswith("test_record.py:") and step.source.endswith("in forward")


def test_a_training_step_is_one_walk_with_four_phases() -> None:
    net, x, target = Small(), torch.randn(5, 3), torch.tensor([0, 1, 0, 1, 1])
    twin = Small()
    twin.load_state_dict(net.state_dict())
    old = net.fc1.weight.detach().clone()
    optimizer = torch.optim.AdamW(net.parameters(), lr=0.1)
    with ww.recording(net) as walk:
        loss = nn.functional.cross_entropy(net(x), target)
        loss.backward()
        optimizer.step()
    order = [s.phase for s in walk]
    assert [p for i, p in enumerate(order) if i == 0 or order[i - 1] != p] == ["forward", "loss", "backward", "update"]
    np.testing.assert_array_equal(walk["fc1.weight"].numpy(), old.numpy())
    np.testing.assert_array_equal(walk["fc1.weight.updated"].numpy(), net.fc1.weight.detach().numpy())
    np.testing.assert_array_equal(walk["fc1.weight.grad"].numpy(), net.fc1.weight.grad.numpy())
    np.testing.assert_array_equal(
        walk["fc1.weight.exp_avg"].numpy(), optimizer.state[net.fc1.weight]["exp_avg"].numpy()
    )
    backward = walk["fc1.weight.grad"].step
    assert backward.phase == "backward"
    relu = [s for s in walk if s.op == "aten.threshold_backward.default"]
    assert [walk.steps[s.forward].op for s in relu] == ["aten.relu.default"]
    assert relu[0].module == "act"
    # the same arithmetic without a recorder gives the same bits
    other = torch.optim.AdamW(twin.parameters(), lr=0.1)
    nn.functional.cross_entropy(twin(x), target).backward()
    other.step()
    for a, b in zip(net.parameters(), twin.parameters(), strict=True):
        assert torch.equal(a, b) and torch.equal(a.grad, b.grad)


def test_an_update_written_by_hand_is_the_update_phase() -> None:
    net = nn.Linear(2, 1)
    with ww.recording(net) as walk:
        loss = net(torch.ones(1, 2)).square().sum()
        loss.backward()
        with torch.no_grad():
            net.weight -= 0.1 * net.weight.grad
    assert {s.op for s in walk if s.phase == "update"} >= {"aten.mul.Tensor", "aten.sub_.Tensor"}
    np.testing.assert_array_equal(walk["weight.updated"].numpy(), net.weight.detach().numpy())


def test_tied_weights_are_one_value_with_two_names() -> None:
    net = nn.Module()
    net.embed, net.head = nn.Embedding(5, 3), nn.Linear(3, 5, bias=False)
    net.head.weight = net.embed.weight
    net.forward = lambda ids: net.head(net.embed(ids))  # type: ignore[method-assign]
    walk = ww.walk(net, torch.tensor([1, 2]))
    assert walk["embed.weight"].id == walk["head.weight"].id


def test_a_module_called_twice_has_two_addresses() -> None:
    fc = nn.Linear(3, 3)
    net = nn.Sequential(fc, fc)
    x = torch.randn(2, 3)
    walk = ww.walk(net, x)
    np.testing.assert_array_equal(walk["0"].numpy(), fc(x).detach().numpy())
    np.testing.assert_array_equal(walk["0#2"].numpy(), fc(fc(x)).detach().numpy())
    assert walk["0#2/addmm"].id == walk["0#2"].id


def test_nested_outputs_are_found_by_their_path() -> None:
    class Nested(nn.Module):
        def forward(self, x: torch.Tensor) -> dict[str, object]:
            return {"a": x + 1, "b": [x + 2, (x + 3,)]}

    walk = ww.walk(Nested(), torch.zeros(2))
    assert float(walk["out.a[0]"]) == 1
    assert float(walk["out.b.1.0[1]"]) == 3


def test_numbers_that_escape_into_python_keep_their_edge() -> None:
    def fn(x: torch.Tensor) -> torch.Tensor:
        scale = x.max().item()
        return x / scale

    walk = ww.walk(fn, torch.tensor([1.0, 4.0]))
    escape = next(s for s in walk if s.op == "aten._local_scalar_dense.default")
    division = next(s for s in walk if s.op == "aten.div.Tensor")
    assert escape.outputs == (4.0,)
    assert division.python == (escape.index,)
    assert walk.completeness.escaped == 1


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode, torch.enable_grad])
def test_same_bits_in_every_dtype_and_mode(dtype: torch.dtype, mode: type) -> None:
    net, x = Small().to(dtype), torch.randn(5, 3, dtype=dtype)
    with mode():
        bare = net(x)
        walk = ww.walk(net, x)
    assert walk["out"].dtype == str(dtype).removeprefix("torch.")
    np.testing.assert_array_equal(walk["out"].numpy().astype(np.float64), bare.detach().double().numpy())


def test_scalars_empty_tensors_and_nan_are_values_like_any_other() -> None:
    walk = ww.walk(lambda x, e: (x.log(), e.sum(), e * 2), torch.tensor(-1.0), torch.zeros(0, 3))
    assert walk["out.0"].shape == () and np.isnan(walk["out.0"].numpy())
    assert float(walk["out.1"]) == 0
    assert walk["out.2"].numpy().shape == (0, 3)


def test_a_change_after_the_recording_is_refused_not_shown() -> None:
    net = Small()
    walk = ww.walk(net, torch.randn(5, 3), snapshot=False)
    with torch.no_grad():
        net.fc1.weight.add_(1)
    with pytest.raises(
        OverwrittenError, match=r"fc1\.weight was changed in place outside the recording.*snapshot=True"
    ):
        walk["fc1.weight"].numpy()


def test_small_parameters_are_copied_so_that_later_training_cannot_reach_the_walk() -> None:
    net = Small()
    walk = ww.walk(net, torch.randn(5, 3))
    old = net.fc1.weight.detach().clone()
    with torch.no_grad():
        net.fc1.weight.add_(1)
    np.testing.assert_array_equal(walk["fc1.weight"].numpy(), old.numpy())


def test_a_write_that_no_step_explains_is_counted() -> None:
    net = Small()

    def fn(x: torch.Tensor) -> torch.Tensor:
        torch._C._autograd._unsafe_set_version_counter((net.fc1.weight,), (net.fc1.weight._version + 1,))
        return net(x)

    session_net = ww.recording(net)
    with session_net as walk:
        fn(torch.randn(2, 3))
    assert walk.completeness.unexplained == 1


def test_one_recording_per_thread() -> None:
    with ww.recording(), pytest.raises(UsageError, match="already running in this thread"):  # noqa: SIM117
        with ww.recording():
            pass


def test_a_walk_that_nobody_uses_is_freed_at_once() -> None:
    walk = ww.walk(Small(), torch.randn(5, 3))
    assert walk["fc1"].step.address == "fc1/addmm" and len(walk.names) > 5
    held = weakref.ref(walk.store)
    gc.disable()
    try:
        value = walk["fc1"]
        del walk
        assert value.address == "fc1" and value.numpy().shape == (5, 4)  # a value keeps its walk
        del value
        assert held() is None
    finally:
        gc.enable()


def test_walk_refuses_what_cannot_be_called() -> None:
    with pytest.raises(UsageError, match="was given Tensor, which cannot be called; expected a module or a function"):
        ww.walk(torch.zeros(3))


@pytest.mark.parametrize("whose", ["a result", "a parameter"])
def test_a_tensor_pointed_elsewhere_is_said_to_be_lost(whose: str) -> None:
    """``tensor.data = other`` passes by every dispatcher: nothing may be shown that no op computed."""
    net = nn.Linear(3, 3)

    class Swaps(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = net

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            y = self.net(x)
            z = y * 2
            (y if whose == "a result" else self.net.weight).data = torch.ones(3, 3)
            return z

    walk = ww.walk(Swaps(), torch.randn(3, 3))
    assert walk.completeness.unexplained == 1
    with pytest.raises(NotKeptError):
        walk["net" if whose == "a result" else "net.weight"].numpy()
    assert walk.verify().ok


def test_tensors_without_numbers_are_steps_all_the_same() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch deprecates its quantised tensors
        walk = ww.walk(lambda x: torch.quantize_per_tensor(x, 0.1, 0, torch.quint8).dequantize() + 1, torch.ones(3))
    assert [s.name for s in walk] == ["quantize_per_tensor", "dequantize", "add"]
    assert not walk["/quantize_per_tensor"].kept and walk["out"].kept
    meta = ww.walk(lambda x: x * 2, torch.ones(3, device="meta"))
    assert not meta["out"].kept and meta.verify().ok
