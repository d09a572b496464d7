"""Who leads where, against the net itself at random points of every polygon."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from weightwalk.errors import UsageError
from weightwalk.formulas.piecewise import PiecewiseNet, mlp
from weightwalk.formulas.planes.decisions import Decisions, decisions, outlines
from weightwalk.formulas.planes.plane import partition

SQUARE = ((-1.0, 1.0), (-1.0, 1.0))


def random_net(widths: list[int], seed: int, whole: bool) -> PiecewiseNet:
    rng = np.random.default_rng(seed)
    if whole:  # ties all over the place
        weights = [rng.integers(-2, 3, (b, a)).astype(float) for a, b in pairwise(widths)]
        return mlp(weights, [rng.integers(-4, 5, b) / 2 for b in widths[1:]])
    weights = [rng.normal(size=(b, a)) / np.sqrt(a) for a, b in pairwise(widths)]
    return mlp(weights, [rng.normal(size=b) for b in widths[1:]])


def check(found: Decisions) -> None:
    """Tiles the box, one polygon per region and winner, and the winner wins at random points inside."""
    net, rng = found.partition.net, np.random.default_rng(0)
    count, sign = len(found.winner), -1 if found.least else 1
    owner = np.repeat(np.arange(count), np.diff(found.start))
    assert len({*zip(found.region.tolist(), found.winner.tolist(), strict=True)}) == count
    following = np.concatenate([np.roll(found.ring[a:b], -1) for a, b in pairwise(found.start)])
    edges = {frozenset(e) for e in zip(found.ring.tolist(), following.tolist(), strict=True)}
    assert len(found.vertices) - len(edges) + count == 1
    if found.box is None:
        return
    assert found.areas.sum() == pytest.approx(4, abs=1e-12)
    assert found.shares.sum() == pytest.approx(1, abs=1e-12)
    assert np.abs(found.values - net(found.vertices)).max() <= 1e-12 * np.abs(found.values).max()
    for _ in range(10):
        weight = rng.exponential(size=len(owner))
        weight /= np.bincount(owner, weight)[owner]
        x = np.stack([np.bincount(owner, weight * c) for c in found.vertices[found.ring].T], axis=1)
        y = sign * net(x)
        assert (y.max(axis=1) - y[np.arange(count), found.winner]).max() <= 1e-11 * np.abs(y).max()
    tie = np.flatnonzero(found.edge <= -3)
    pair = found.pairs[-3 - found.edge[tie]]
    y = found.values[found.ring[tie]]
    rows = np.arange(len(tie))
    assert np.abs(y[rows, pair[:, 0]] - y[rows, pair[:, 1]]).max(initial=0) <= 1e-11 * np.abs(found.values).max()


@pytest.mark.parametrize("box", [SQUARE, None])
@pytest.mark.parametrize("least", [False, True])
@pytest.mark.parametrize("whole", [False, True])
def test_winners(box: object, least: bool, whole: bool) -> None:
    for seed in range(15):
        net = random_net([2, 5, 6, 4], seed, whole)
        check(decisions(partition(net, box), least))  # pyright: ignore[reportArgumentType]


def test_an_output_may_lead_where_it_leads_at_no_corner() -> None:
    """max(s, -s, 1/2) on a square: between the two planes lies a strip of the third, at whose ends both others lead."""
    net = mlp([np.array([[1.0, 0.0], [-1.0, 0.0], [0.0, 0.0]])], [np.array([0.0, 0.0, 0.5])])
    found = decisions(partition(net))
    assert sorted(zip(found.winner.tolist(), found.areas.tolist(), strict=True)) == [(0, 1.0), (1, 1.0), (2, 2.0)]
    assert found.shares.tolist() == [0.25, 0.25, 0.5]
    lines = outlines(found, found.winner)
    assert sorted(map(sorted, lines.sides.tolist())) == [[0, 2], [1, 2]]
    assert sorted(set(found.vertices[lines.ends][:, :, 0].ravel())) == [-0.5, 0.5]


def test_outlines_are_closed_and_have_their_labels_on_the_right_sides() -> None:
    found = decisions(partition(random_net([2, 8, 8, 3], 1, False)))
    lines = outlines(found, found.winner, sides=True)
    degree = np.bincount(lines.ends.ravel())
    assert (degree[degree > 0] >= 2).all()
    a, b = found.vertices[lines.ends[:, 0]], found.vertices[lines.ends[:, 1]]
    along = (b - a) / np.linalg.norm(b - a, axis=1)[:, None]
    left = (a + b) / 2 + 1e-7 * np.stack([-along[:, 1], along[:, 0]], axis=1)
    inner = lines.sides[:, 0] >= 0
    assert (found.partition.net(left[inner]).argmax(axis=1) == lines.sides[inner, 0]).mean() > 0.98  # but at corners
    assert not outlines(found, np.zeros(len(found.winner), int)).ends.size
    assert len(outlines(found.partition, found.partition.affine).ends) > 0


def test_what_is_refused() -> None:
    found = partition(random_net([2, 4, 1], 0, False))
    with pytest.raises(UsageError, match=r"a decision is between outputs, and this net has 1"):
        decisions(found)
    found = partition(random_net([2, 8, 8, 5], 0, False))
    with pytest.raises(UsageError, match=r"differences of 5 outputs at \d+ vertices take 0 MiB.*--memory"):
        decisions(found, memory=100)
    with pytest.raises(UsageError, match=r"3 labels were given for \d+ polygons"):
        outlines(found, np.zeros(3, int))
