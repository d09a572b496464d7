"""The recorder is a guest: it leaves the user's model, process and threads as it found them, also after an error."""

from __future__ import annotations

import threading

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.modules import module as torch_module
from torch.optim import optimizer as torch_optimizer
from torch.utils import _python_dispatch

import weightwalk as ww


def state_of(net: nn.Module) -> dict[str, object]:
    return {
        "mode": [m.training for m in net.modules()],
        "grads": [None if p.grad is None else p.grad.clone() for p in net.parameters()],
        "values": [t.detach().clone() for t in net.state_dict().values()],
        "hooks": [
            [dict(getattr(m, n)) for n in ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks")]
            for m in net.modules()
        ],
        "global_hooks": [
            len(torch_module._global_forward_hooks),
            len(torch_module._global_forward_pre_hooks),
            len(torch_optimizer._global_optimizer_pre_hooks),
            len(torch_optimizer._global_optimizer_post_hooks),
        ],
        "modes": len(_python_dispatch._get_current_dispatch_mode_stack()),
        "rng": torch.get_rng_state(),
        "grad_mode": torch.is_grad_enabled(),
        "attributes": [sorted(vars(m)) for m in net.modules()],
        "fastpath": torch.backends.mha.get_fastpath_enabled(),
    }


def same(a: object, b: object) -> bool:
    if isinstance(a, torch.Tensor):
        return isinstance(b, torch.Tensor) and torch.equal(a, b)
    if isinstance(a, (list, tuple)):
        return isinstance(b, (list, tuple)) and len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, dict):
        return isinstance(b, dict) and a.keys() == b.keys() and all(same(a[k], b[k]) for k in a)
    return a == b


class Breaks(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(3, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.fc(x)
        raise RuntimeError("the model's own error")


@pytest.mark.parametrize("options", [{}, {"keep": ["*"]}, {"open_fused": True}, {"patch": {"0": 0.0}}])
def test_left_as_found(options: dict) -> None:
    net = nn.Sequential(nn.Linear(3, 3), nn.LayerNorm(3), nn.GELU())
    net[0].weight.grad = torch.ones(3, 3)
    net[1].eval()
    before = state_of(net)
    ww.walk(net, torch.ones(2, 3), **options)
    assert same(state_of(net), before)


def test_left_as_found_after_the_models_own_error() -> None:
    net = Breaks()
    before = state_of(net)
    with pytest.raises(RuntimeError, match="the model's own error"):
        ww.walk(net, torch.ones(2, 3))
    assert same(state_of(net), before)
    assert len(ww.walk(net.fc, torch.ones(2, 3))) > 0  # and recording works again


def test_batch_norm_in_training_counts_one_batch_also_when_opened() -> None:
    for options in ({}, {"open_fused": True}):
        net = nn.BatchNorm1d(3)
        x = torch.randn(8, 3)
        twin = nn.BatchNorm1d(3)
        twin(x)
        walk = ww.walk(net, x, **options)
        torch.testing.assert_close(net.running_mean, twin.running_mean)
        assert int(net.num_batches_tracked) == 1
        np.testing.assert_array_equal(walk["running_mean"].numpy(), np.zeros(3, np.float32))
        np.testing.assert_array_equal(walk["running_mean.updated"].numpy(), net.running_mean.numpy())
        assert walk.completeness.unexplained == 0


def test_dropout_draws_the_same_numbers_recorded_or_not() -> None:
    net, x = nn.Dropout(0.5), torch.ones(50)
    torch.manual_seed(3)
    bare = net(x)
    after = torch.get_rng_state()
    for options in ({}, {"open_fused": True}):
        torch.manual_seed(3)
        walk = ww.walk(net, x, **options)
        np.testing.assert_array_equal(walk["out"].numpy(), bare.numpy())
        assert torch.equal(torch.get_rng_state(), after)


def test_two_threads_record_two_models() -> None:
    nets = [nn.Sequential(*[nn.Linear(4, 4) for _ in range(n)]) for n in (20, 30)]
    x = torch.randn(2, 4)
    walks: dict[int, ww.Walk] = {}
    barrier = threading.Barrier(3)

    def record(i: int) -> None:
        barrier.wait()
        for _ in range(5):
            walks[i] = ww.walk(nets[i], x)

    def bystander() -> None:
        barrier.wait()
        for _ in range(50):
            nets[0](x)

    threads = [threading.Thread(target=record, args=(i,)) for i in (0, 1)] + [threading.Thread(target=bystander)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    for i, n in enumerate((20, 30)):
        assert len(walks[i]) == 2 * n
        np.testing.assert_array_equal(walks[i]["out"].numpy(), nets[i](x).detach().numpy())
    assert len(torch_module._global_forward_hooks) == 0


def test_what_ran_before_an_error_is_recorded() -> None:
    net, x = Breaks(), torch.ones(2, 3)
    with pytest.raises(RuntimeError, match="the model's own error"), ww.recording(net) as walk:
        net(x)
    assert [s.op for s in walk] == ["aten.t.default", "aten.addmm.default"]
    np.testing.assert_array_equal(walk["fc"].numpy(), net.fc(x).detach().numpy())
    assert walk.verify().ok
