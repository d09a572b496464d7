"""Properties over random small nets and inputs: recorded bits, exact round trips, verification, accounts that close."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from torch import nn

import weightwalk as ww

quick = settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])

ACTIVATIONS = (nn.ReLU, nn.LeakyReLU, nn.Tanh, nn.Sigmoid, nn.GELU, nn.SiLU, nn.Softplus, nn.ELU, nn.Hardtanh)
SPECIAL = (0.0, -0.0, 1e-45, -1e-40, 1.1754944e-38, 1e30, -3e38, float("inf"), float("-inf"), float("nan"), 1.0, -2.5)


@st.composite
def nets(draw: st.DrawFn) -> tuple[nn.Sequential, int]:
    """A few layers of random kinds and widths, seeded; and the input width."""
    torch.manual_seed(draw(st.integers(0, 2**31)))
    first = width = draw(st.integers(1, 6))
    layers: list[nn.Module] = []
    for kind in draw(st.lists(st.sampled_from(["linear", "activation", "norm", "softmax"]), min_size=1, max_size=6)):
        if kind == "linear":
            out = draw(st.integers(1, 6))
            layers.append(nn.Linear(width, out, bias=draw(st.booleans())))
            width = out
        elif kind == "activation":
            layers.append(draw(st.sampled_from(ACTIVATIONS))())
        elif kind == "norm":
            layers.append(draw(st.sampled_from((nn.LayerNorm, nn.RMSNorm)))(width))
        else:
            layers.append(draw(st.sampled_from((nn.Softmax, nn.LogSoftmax)))(dim=-1))
    return nn.Sequential(*layers), first


def inputs(width: int, dtype: torch.dtype, special: bool) -> st.SearchStrategy[torch.Tensor]:
    numbers = st.floats(-10, 10, width=32)
    if special:
        numbers = numbers | st.sampled_from(SPECIAL)
    rows = st.integers(0, 4)
    return rows.flatmap(
        lambda n: st.lists(numbers, min_size=n * width, max_size=n * width).map(
            lambda v: torch.tensor(v, dtype=torch.float32).reshape(n, width).to(dtype)
        )
    )


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
@quick
@given(data=st.data())
def test_recorded_bits_saved_and_verified(tmp_path: Path, dtype: torch.dtype, data: st.DataObject) -> None:
    net, width = data.draw(nets())
    net = net.to(dtype)
    x = data.draw(inputs(width, dtype, special=True))
    with torch.no_grad():
        bare = net(x)
        walk = ww.walk(net, x)
    assert np.array_equal(walk["out"].numpy().astype(float), bare.double().numpy(), equal_nan=True)
    assert walk.completeness.executed == walk.completeness.recorded
    assert walk.completeness.unexplained == 0
    report = walk.verify()
    assert report.ok, str(report)
    back = ww.load(walk.save(tmp_path / "a.walk"))
    assert [v.numpy().tobytes() for v in back.values] == [v.numpy().tobytes() for v in walk.values]
    assert back.verify(referee="numpy").ok


@quick
@given(data=st.data(), made=st.sampled_from([float("nan"), float("inf"), float("-inf")]))
def test_a_number_that_is_not_finite_is_never_verified_by_accident(data: st.DataObject, made: float) -> None:
    net, width = data.draw(nets())
    x = data.draw(inputs(width, torch.float32, special=False))
    with torch.no_grad():
        walk = ww.walk(net, x)
    out = walk["out"]
    assume(out.size and out.producer is not None and np.isfinite(out.numpy()).all())
    held = walk.store.held[walk.store.buffers[out.buffer][0]]  # type: ignore[attr-defined]
    held.tensor = held.tensor.clone()
    held.tensor.view(-1)[data.draw(st.integers(0, out.size - 1))] = made
    held.counter = None
    report = walk.verify()
    assert not report.ok
    assert walk.steps[out.producer].address in str([*report.failures, *report.structure])


@quick
@given(data=st.data())
def test_accounts_close_in_float64(data: st.DataObject) -> None:
    net, width = data.draw(nets())
    net = net.double()
    x = data.draw(inputs(width, torch.float64, special=False))
    with torch.no_grad():
        walk = ww.walk(net, x)
    out = walk["out"]
    assume(out.size and out.producer is not None and np.isfinite(out.numpy()).all())
    index = ", ".join(str(data.draw(st.integers(0, n - 1))) for n in out.shape)
    for cut in ("inputs", "parameters"):
        account = walk.account(f"out[{index}]", cut=cut)
        assert account.relative_residual < 1e-12
        parts = [r.value for r in account.rows]
        assert math.fsum([*parts, account.remainder, *account.tail]) == float(walk[f"out[{index}]"])


@given(value=st.sampled_from(SPECIAL), op=st.sampled_from(["exp", "log", "sqrt", "tanh", "relu", "neg", "sigmoid"]))
def test_numbers_without_axes(value: float, op: str) -> None:
    walk = ww.walk(getattr(torch, op), torch.tensor(value))
    assert walk["out"].shape == ()
    assert walk.verify().ok
