"""Tests run stricter than users: fixed seeds, one thread, no network, a private cache, no global state left behind."""

from __future__ import annotations

import os
from pathlib import Path

# Before anything imports torch: two workers with two OpenMP threads each would fight over two cores, and the order of
# summation (so the low bits) would depend on the machine.
for _name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ[_name] = "1"
os.environ["PYTHONPATH"] = str(Path(__file__).parent.parent / "src")  # for the interpreters that tests start
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"
os.environ["COLUMNS"] = "120"  # rich wraps at the terminal's width; a recorded text must not depend on it
os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
for _name in ("NO_COLOR", "FORCE_COLOR", "CLICOLOR_FORCE"):
    os.environ.pop(_name, None)

import random
import socket
import sys
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import settings

settings.register_profile("weightwalk", deadline=None, derandomize=True, database=None, max_examples=50)
settings.register_profile("thorough", deadline=None, database=None, max_examples=1000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "weightwalk"))

LOOPBACK = {"127.0.0.1", "::1", "localhost"}


@pytest.fixture(autouse=True)
def seeds() -> None:
    """Every test starts from the same random state, whatever ran before it."""
    random.seed(0)
    np.random.seed(0)  # noqa: NPY002 - the legacy state is what third-party code draws from
    if (torch := sys.modules.get("torch")) is not None:
        torch.manual_seed(0)


@pytest.fixture(autouse=True, scope="session")
def private_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Trained nets are remembered in a directory of this run, not in the developer's own."""
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WEIGHTWALK_CACHE", str(folder))
        patch.setenv("XDG_CACHE_HOME", str(folder))
        yield folder


@pytest.fixture(autouse=True, scope="session")
def no_network() -> Iterator[None]:
    """A test that would reach beyond this machine fails, instead of passing only where there is a network."""
    connect = socket.socket.connect

    def guarded(self: socket.socket, address: object) -> None:
        if self.family in (socket.AF_INET, socket.AF_INET6) and str(address[0]) not in LOOPBACK:  # type: ignore[index]
            raise RuntimeError(f"a test tried to connect to {address!r}; tests stay on this machine")
        connect(self, address)  # type: ignore[arg-type]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket.socket, "connect", guarded)
        yield


def torch_state() -> dict[str, object]:
    """The global switches of torch that a test, or the code under test, could leave flipped."""
    torch = sys.modules.get("torch")
    if torch is None:
        return {}
    return {
        "default dtype": torch.get_default_dtype(),
        "grad mode": torch.is_grad_enabled(),
        "inference mode": torch.is_inference_mode_enabled(),
        "dispatch modes": torch._C._len_torch_dispatch_stack(),
        "function modes": torch._C._len_torch_function_stack(),
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "anomaly mode": torch.is_anomaly_enabled(),
        "default hooks": len(torch.nn.modules.module._global_forward_pre_hooks)
        + len(torch.nn.modules.module._global_forward_hooks),
        "fast path": torch.backends.mha.get_fastpath_enabled(),
    }


@pytest.fixture(autouse=True)
def nothing_left_behind() -> Iterator[None]:
    """After each test, torch's global switches and the working directory are what they were."""
    before, folder = torch_state(), Path.cwd()
    yield
    assert Path.cwd() == folder
    after = torch_state()
    changed = {key: (before[key], after[key]) for key in before if before[key] != after[key]}
    assert not changed, f"the test left torch changed (before, after): {changed}"
