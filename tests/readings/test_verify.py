"""Verifying whole walks: what is proven, what is listed as unproven, what the report says, the drift, the referees."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from zoo import ZOO

import weightwalk as ww
from weightwalk.errors import DamagedError, UsageError
from weightwalk.readings.verify import Report, verify
from weightwalk.walks.walk import Walk


def trained(name: str) -> Walk:
    """A net of the zoo, walked through forward, loss, backward and an AdamW step."""
    case = ZOO[name]
    net = case.build()
    with ww.recording(net.model) as found:
        out = case.run(net)
        assert net.loss is not None
        net.loss(out).backward()
        torch.optim.AdamW(net.model.parameters(), lr=1e-3).step()
    return found if isinstance(found, Walk) else found.walk


SOME = ["linear", "mlp_activations", "cnn_train", "lstm", "gru", "encoder_train", "gpt2_train", "llama", "bert", "vit",
        "t5", "mamba", "mlp_bfloat16", "gpt2_float64", "unet"]  # fmt: skip


@pytest.mark.parametrize("name", SOME)
def test_forward_loss_backward_and_update_are_proven_by_numpy_alone(name: str) -> None:
    report = verify(trained(name), "numpy", drift=False)
    assert report.ok, str(report)
    judged = len(report.verdicts) - report.counts["drawn"]
    assert report.proven == judged, report.unproven
    assert set(report.referees) <= {"numpy", "record"}
    assert report.worst is not None
    assert 0.0 < report.worst.fraction <= 1.0


def test_an_inference_walk_with_numbers_drawn_says_which() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(3, 4), nn.Dropout(0.5))
    report = verify(ww.walk(net, torch.ones(2, 3)))
    assert report.ok
    drawn = [v for v in report.verdicts if v.status == "drawn"]
    assert [v.message for v in drawn] == ["memory that was never set", "drawn at random"]


def test_writes_through_views_are_followed() -> None:
    def f(x: torch.Tensor) -> torch.Tensor:
        y = x.clone()
        y[0].add_(1)
        z = y * 2
        y.view(-1).mul_(3)
        return z + y + x.t().reshape(2, 3).as_strided((2, 3), (3, 1))

    report = verify(ww.walk(f, torch.randn(2, 3)))
    assert report.ok, str(report)
    assert report.proven == len(report.verdicts)
    assert report.drift is not None
    assert report.drift.relative < 1e-6


def test_ops_without_a_bound_are_listed_and_never_counted_as_proven() -> None:
    report = verify(ww.walk(lambda x: torch.fft.fft(x).real + 1, torch.randn(8)))
    assert report.ok
    assert report.unproven == {"aten._fft_r2c.default": 1} or report.counts["no bound"] >= 1
    assert report.proven + report.counts["no bound"] == len(report.verdicts)
    assert "no bound" in str(report)
    judged = [v for v in report.verdicts if v.status == "no bound"]
    assert judged[0].referee == "torch"
    assert 0 < judged[0].deviation < 1e-5


def test_the_torch_referee_agrees() -> None:
    walk = trained("gpt2_train")
    report = verify(walk, "torch", drift=False)
    assert report.ok, str(report)
    assert report.referees["torch"] > report.referees.get("numpy", 0)
    assert report.proven == verify(walk, "numpy", drift=False).proven


def test_an_unknown_referee_is_refused() -> None:
    with pytest.raises(UsageError, match="no referee is called 'jax'; there are 'auto', 'numpy', 'torch'"):
        verify(ww.walk(nn.Linear(2, 1), torch.ones(1, 2)), "jax")


def test_what_was_not_kept_is_said_to_be_so() -> None:
    net = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))
    report = verify(ww.walk(net, torch.ones(2, 3), keep=["2"]))
    assert report.ok
    assert report.counts["not kept"] > 0
    assert all("not kept" in v.message for v in report.verdicts if v.status == "not kept")


def test_drift_is_zero_in_float64_and_small_in_float32_and_grows_in_bfloat16() -> None:
    torch.manual_seed(3)
    net = nn.Sequential(*(nn.Linear(16, 16) for _ in range(6)))
    x = torch.randn(4, 16)
    drifts = {}
    for dtype in (torch.float64, torch.float32, torch.bfloat16):
        walk = ww.walk(net.to(dtype), x.to(dtype))
        found = verify(walk).drift
        assert found is not None
        assert found.address == walk["out"].address
        drifts[dtype] = found.relative
    assert drifts[torch.float64] < 1e-14 < drifts[torch.float32] < 1e-5 < drifts[torch.bfloat16] < 0.1


def test_drift_is_that_of_a_run_in_float64() -> None:
    torch.manual_seed(4)
    net = nn.Sequential(nn.Linear(8, 32), nn.GELU(), nn.LayerNorm(32), nn.Linear(32, 4))
    x = torch.randn(5, 8)
    report = verify(ww.walk(net, x))
    with torch.no_grad():
        truth = net.double()(x.double()).numpy()
        low = net.float()(x).numpy()
    assert report.drift is not None
    assert report.drift.greatest == pytest.approx(float(np.abs(low - truth).max()), rel=1e-6)


def test_progress_is_reported_step_by_step() -> None:
    seen: list[tuple[int, int]] = []
    walk = ww.walk(nn.Linear(2, 1), torch.ones(1, 2))
    verify(walk, progress=lambda done, total: seen.append((done, total)))
    assert seen == [(i + 1, len(walk.steps)) for i in range(len(walk.steps))]


def test_the_report_in_one_line() -> None:
    report = ww.walk(nn.Linear(2, 1), torch.ones(1, 2)).verify()
    assert str(report).startswith(f"verified: {len(report.verdicts)} of {len(report.verdicts)} steps proven")


def test_a_saved_walk_is_verified_without_torch(tmp_path: Path) -> None:
    path = trained("mlp_relu").save(tmp_path / "mlp.walk")
    program = (
        "import sys, json, weightwalk as ww; r = ww.load(sys.argv[1]).verify('numpy'); "
        "print(json.dumps([r.ok, r.proven, len(r.verdicts), 'torch' in sys.modules]))"
    )
    done = subprocess.run([sys.executable, "-c", program, str(path)], capture_output=True, text=True, check=True)
    ok, proven, total, torch_loaded = json.loads(done.stdout)
    assert ok and proven == total and total > 20 and not torch_loaded


def test_nan_is_carried_through_and_infinities_too() -> None:
    x: Any = torch.tensor([[float("nan"), 1.0, float("inf")], [1.0, -float("inf"), 2.0]])
    report: Report = verify(ww.walk(nn.Sequential(nn.Linear(3, 2), nn.ReLU(), nn.Softmax(-1)), x))
    assert report.ok, str(report)


def test_the_quick_bound_is_no_looser_than_the_whole() -> None:
    """A bound from a quarter of the terms may only be smaller; what it refuses is judged again by the whole."""
    torch.manual_seed(0)
    net = torch.nn.Linear(1024, 40)
    with torch.no_grad():
        walk = ww.walk(net, torch.randn(3, 1024))
    quick, whole = walk.verify("torch", drift=False), walk.verify("numpy", drift=False)
    at = walk["out"].producer
    assert quick.ok and whole.ok
    assert whole.verdicts[at].fraction <= quick.verdicts[at].fraction <= 1
    # all that matters stands in the last three quarters: the quick bound is 0 there, and the whole one decides
    x = torch.randn(3, 1024)
    x[:, :512] = 0
    with torch.no_grad():
        late = ww.walk(net, x)
    again = late.verify("torch", drift=False).verdicts[late["out"].producer]
    assert again.status == "proven"
    assert again.fraction == pytest.approx(late.verify("numpy", drift=False).verdicts[at].fraction)


def test_a_flipped_bit_that_no_step_reads_is_seen(tmp_path: Path) -> None:
    def fn(x: torch.Tensor) -> torch.Tensor:
        x.detach()  # a step whose value nothing reads
        unused = x * 3
        del unused
        return x + 1

    path = ww.walk(fn, torch.ones(3)).save(tmp_path / "a.walk")
    raw = bytearray(path.read_bytes())
    at = raw.rindex(np.full(3, 3, np.float32).tobytes())
    raw[at] ^= 1
    path.write_bytes(raw)
    with pytest.raises(DamagedError, match="do not match their SHA-256"):
        ww.load(path).verify()
