"""The 6 x 50 ReLU controller ACAS Xu 1,1, end to end: file, walk, lift, exact line and plane, advisory regions.

The controller advises what costs least. Judges: NumPy on the text file (own parser), dense sampling, the ONNX form.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch

from weightwalk.formulas.formula import Formula, formula
from weightwalk.formulas.planes.decisions import decisions
from weightwalk.nets import load_net
from weightwalk.nets.nnet import read_nnet

DATA = Path(__file__).resolve().parents[2].parent / "shared" / "data" / "acasxu"
NNET, ONNX = DATA / "ACASXU_1_1.nnet", DATA / "ACASXU_1_1.onnx"
pytestmark = pytest.mark.skipif(not NNET.is_file(), reason=f"the ACAS Xu controller is not at {DATA}")


def evaluated(x: np.ndarray) -> np.ndarray:
    """The format's evaluation of inputs (N, 5), in NumPy on the file's numbers."""
    file = read_nnet(NNET)
    h = (np.clip(x, file.low, file.high) - file.mean[:-1]) / np.array(file.span[:-1])
    for k, (w, b) in enumerate(zip(file.weights, file.biases, strict=True)):
        h = h @ np.array(w).T + np.array(b)
        h = np.maximum(h, 0.0) if k < len(file.weights) - 1 else h
    return h * file.span[-1] + file.mean[-1]


MIDDLE = np.array([0.0, 0.0, 0.0, 650.0, 600.0])
"""psi 0 (flying the same way), speeds in the middle of their ranges."""


@cache
def rho_theta() -> Formula:
    """The plane of distance (0 to 60,760 ft) and angle (-pi to pi)."""
    u, v = np.eye(5)[:2]
    net = load_net(str(NNET))
    return formula(net, plane=(MIDDLE.tolist(), u.tolist(), v.tolist()), box=net.expects.box[:2])


def test_a_line_through_all_five_inputs() -> None:
    net = load_net(str(NNET))
    low, high = np.array(net.expects.box).T
    found = formula(net, line=(low.tolist(), high.tolist()))
    assert found.certified, str(found.certificate)
    line = found.facts
    assert len(line.kinks) == 255
    t = np.sort(np.concatenate([np.random.default_rng(0).random(5000), line.kinks]))
    wanted = evaluated(low + t[:, None] * (high - low))
    assert np.abs(line(t) - wanted).max() <= 1e-12 * np.abs(wanted).max() * 10  # the evaluation itself rounds
    slopes = np.diff(evaluated(low + np.linspace(0, 1, 100_001)[:, None] * (high - low)), axis=0)
    bends = np.abs(np.diff(slopes, axis=0)).max(1) > 1e-9
    at = (np.flatnonzero(bends) + 1) / 100_000
    assert np.abs(at[:, None] - line.kinks).min(1).max() < 2e-5, "a dense grid sees no kink that the line has not"


def test_a_plane_of_distance_and_angle() -> None:
    found = rho_theta()
    assert found.certified, str(found.certificate)
    assert found.facts.activation_regions == pytest.approx(42_633, abs=5)  # a tiny cell may go the other way elsewhere
    assert found.facts.affine_regions <= 42_633
    assert found.certificate["Euler"].found == 1
    rng = np.random.default_rng(1)
    points = rng.uniform([0, -3.14], [60760, 3.14], (3000, 2))
    x = MIDDLE + np.concatenate([points, np.zeros((3000, 3))], 1)
    pattern = [tuple(row) for row in np.concatenate(found.facts.net.pattern(points), 1)]
    known = {tuple(row): r for r, row in enumerate(np.concatenate(list(found.facts.pattern), 1))}
    region = np.array([known[p] for p in pattern])
    y = np.einsum("roi,ri->ro", found.facts.slopes[region], points) + found.facts.offsets[region]
    wanted = evaluated(x)
    assert np.abs(y - wanted).max() <= 1e-11 * np.abs(wanted).max()


def test_the_advisory_regions() -> None:
    """Their shares of the box against a million samples, and each polygon's advisory against its own centre."""
    advisory = decisions(rho_theta().facts, least=True)
    assert advisory.shares.sum() == pytest.approx(1.0, abs=1e-12)
    centres = np.array([advisory.polygon(r).mean(0) for r in range(0, len(advisory.winner), 7)])
    big = advisory.areas[::7] > 1e-3
    x = MIDDLE + np.concatenate([centres, np.zeros((len(centres), 3))], 1)
    assert np.array_equal(evaluated(x).argmin(1)[big], advisory.winner[::7][big])
    ticks = [(np.arange(n) + 0.5) / n for n in (500, 500)]
    grid = np.stack(np.meshgrid(ticks[0] * 60760, (2 * ticks[1] - 1) * 3.141593), -1).reshape(-1, 2)
    x = MIDDLE + np.concatenate([grid, np.zeros((len(grid), 3))], 1)
    sampled = np.bincount(evaluated(x).argmin(1), minlength=5) / len(grid)
    assert np.abs(sampled - advisory.shares).max() < 1e-3
    assert advisory.shares[0] > 0.8, "mostly clear of conflict"
    assert (advisory.shares > 0).sum() >= 4


def test_the_onnx_form_has_the_same_plane() -> None:
    """In normalised inputs, weights rounded to float32: the same advisory almost everywhere, other small cells."""
    pytest.importorskip("onnx")
    text = load_net(str(NNET))
    scale = text.module.normalise
    low = (torch.tensor([[0.0, -3.141593, 0.0, 650.0, 600.0]]).double() - scale.mean) / scale.range
    span = torch.tensor([60760.0, 2 * 3.141593]).double() / scale.range[:2]
    u, v = np.zeros(5), np.zeros(5)
    u[0], v[1] = span.tolist()
    found = formula(load_net(str(ONNX)), plane=(low[0].tolist(), u.tolist(), v.tolist()), box=((0, 1), (0, 1)))
    assert found.certified, str(found.certificate)
    assert found.facts.activation_regions == pytest.approx(42_633, rel=0.01)
    shares = decisions(found.facts, least=True).shares
    assert np.abs(shares - decisions(rho_theta().facts, least=True).shares).max() < 1e-4


def test_outside_the_box_the_clip_makes_the_controller_constant() -> None:
    """Along rho from inside to far beyond its maximum: one kink of the clip at 60,760 ft, flat after it."""
    net = load_net(str(NNET))
    start, end = MIDDLE.copy(), MIDDLE.copy()
    start[0], end[0] = 50_000.0, 100_000.0
    found = formula(net, line=(start.tolist(), end.tolist()))
    assert found.certified
    assert found.facts.kinks[-1] == pytest.approx((60_760 - 50_000) / 50_000, rel=1e-12)
    assert not found.facts.slopes[-1].any()
