"""A data frame without pandas is refused in a sentence, and with it has a row per fact."""

from __future__ import annotations

import sys

import pytest
import torch
from torch import nn

from weightwalk.errors import UsageError
from weightwalk.learning.train import train


def test_a_frame_needs_pandas(monkeypatch: pytest.MonkeyPatch) -> None:
    x = torch.ones(2, 1)
    history = train(nn.Linear(1, 1), x, x, epochs=3)
    assert len(history.frame()) == 4  # the net before each epoch, and after the last
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(UsageError, match=r'A data frame needs pandas: pip install "weightwalk\[learning\]"'):
        history.frame()
