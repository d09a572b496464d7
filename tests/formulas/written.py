"""What the tests of written formulas share: small nets, a result that failed, and a place to run code."""

from __future__ import annotations

import runpy
import tempfile
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from weightwalk.formulas.certificate import Certificate, Check
from weightwalk.formulas.piecewise import PiecewiseNet, mlp

HALVES = mlp([np.array([[3.0], [-1.0]]), np.array([[0.5, 2.0]])], [np.array([-1.0, 0.75]), np.array([0.5])])
CORNER = mlp([np.eye(2), np.array([[1.0, -2.0]])], [np.zeros(2), np.array([0.125])])


def run(code: str) -> dict[str, Any]:
    """Write code to a file and run the file: what it defines."""
    assert "weightwalk" not in code and max(map(len, code.splitlines())) <= 160
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "formula.py"
        path.write_text(code)
        return runpy.run_path(str(path))


def random_mlp(shape: list[int], seed: int = 0) -> PiecewiseNet:
    rng = np.random.default_rng(seed)
    weights = [rng.normal(size=(b, a)) / np.sqrt(a) for a, b in pairwise(shape)]
    return mlp(weights, [rng.normal(size=b) for b in shape[1:]])


def failed(found: Any) -> Any:
    """The same facts with a certificate that fails."""
    limit = "<= 1e-12 x 3, the greatest |net| there"
    check = Check("greatest |formula - net| at 1,000 fresh points", 0.25, limit, False)
    return replace(found, certificate=Certificate((check,), 0))
