"""Arithmetic that all but cancels: its rounding is that of what was added up, not of what is left."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import weightwalk as ww


@pytest.mark.parametrize("optimizer", ["sgd", "momentum", "nesterov", "adam"])
def test_a_decay_that_all_but_cancels_the_gradient_is_no_error_of_the_record(optimizer: str) -> None:
    net = nn.Linear(1, 8, bias=False)
    with torch.no_grad():
        net.weight.copy_(torch.linspace(1.1, 1.9, 8)[:, None])
    x = torch.ones(1, 1)
    # The mean over 8 of (w - y)² has the slope (w - y) / 4, which shall be -0.3 w but for its last digits.
    target = (net.weight.detach() * (1 + 4 * 0.3 * (1 + 1e-6))).T
    found = ww.nudge(net, x, target, optimizer=optimizer, lr=0.1, settings={"weight_decay": 0.3}, verify=False)
    assert all(check.ok for sheet in found.arithmetic for check in sheet.checks)
    assert found.ok
