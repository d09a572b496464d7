"""Nothing is lost: a training that SIGKILL ended at any moment goes on to the same bits."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest


def killed(folder: Path, kills: int, seed: int) -> dict:
    program = str(Path(__file__).with_name("killed.py"))
    done = subprocess.run(
        [sys.executable, program, str(folder), str(kills), str(seed)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout)


def test_killed_25_times_and_resumed_to_the_same_bits(tmp_path: Path) -> None:
    """Half of the kills fall at a random time, half at a random step of writing a file."""
    found = killed(tmp_path, 25, seed=0)
    assert found["killed"] == 25
    assert all(found["done"].values()), "each of the three trainings came to its end, and was compared"


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2])
def test_killed_200_times(tmp_path: Path, seed: int) -> None:
    assert killed(tmp_path, 200, seed)["killed"] == 200
