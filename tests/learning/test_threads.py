"""The number of threads is the caller's: as found after every block, also one that fails."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from weightwalk.learning.threads import pinned


@pytest.fixture(autouse=True)
def three() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize(("asked", "within"), [(1, 1), (2, 2), (3, 3), (None, 3)])
def test_threads_are_as_asked_within_and_as_found_after(asked: int | None, within: int) -> None:
    def fail() -> None:
        with pinned(asked):
            assert torch.get_num_threads() == within
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert torch.get_num_threads() == 3
