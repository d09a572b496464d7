"""The cut itself: sets of bits, rings that rounding has spoiled, kinks through one point."""

from __future__ import annotations

import numpy as np
import pytest

from weightwalk.formulas.planes.rings import Rings, lowest, members, pack, ranges, single, unpack
from weightwalk.formulas.planes.subdivide import Divided, Table, _main_run, divide, snapped

SQUARE = np.array([[-1.0, -1.0], [1.0, -1.0], [1.0, 1.0], [-1.0, 1.0]])


def cut(lines: np.ndarray, limit: float = 1e-12) -> tuple[Table, Divided]:
    """The square cut along ``a s + b t + c = 0`` for each row (a, b, c)."""
    rows = np.concatenate([SQUARE, SQUARE @ lines[:, :2].T + lines[:, 2]], axis=1)
    table = Table(rows, len(lines), np.full(len(lines), limit))
    return table, divide(table, Rings(np.arange(4), np.arange(4), np.array([4])), np.full(4, -1), np.arange(len(lines)))


def euler(table: Table, found: Divided) -> int:
    return table.count - len(np.unique(found.cells.edge)) + found.cells.count


@pytest.mark.parametrize("width", [1, 63, 64, 65, 130])
def test_sets_of_bits(width: int) -> None:
    flags = np.random.default_rng(0).random((20, width)) < 0.3
    flags[:, 0] |= ~flags.any(axis=1)
    words = pack(flags)
    assert words.shape == (20, -(-width // 64))
    assert (unpack(words, width) == flags).all()
    assert [x.tolist() for x in members(words)] == [x.tolist() for x in np.nonzero(flags)]
    assert lowest(words).tolist() == flags.argmax(axis=1).tolist()
    columns = np.arange(20) % width
    assert (unpack(single(columns, words.shape[1]), width) == (np.arange(width) == columns[:, None])).all()


def test_ranges() -> None:
    assert ranges(np.array([5, 0, 9]), np.array([2, 0, 3])).tolist() == [5, 6, 9, 10, 11]


@pytest.mark.parametrize("seed", range(5))
def test_lines_in_general_position(seed: int) -> None:
    """1 + lines that meet the square + crossings inside it, counted pair by pair."""
    lines = np.random.default_rng(seed).normal(size=(30, 3))
    table, found = cut(lines)
    ends = SQUARE @ lines[:, :2].T + lines[:, 2]
    met = int(((ends.max(axis=0) > 0) & (ends.min(axis=0) < 0)).sum())
    crossings = 0
    for i in range(30):
        for j in range(i):
            x = np.linalg.solve(lines[[i, j], :2], -lines[[i, j], 2])
            crossings += bool((np.abs(x) < 1).all())
    assert found.cells.count == 1 + met + crossings
    assert euler(table, found) == 1 and found.repaired == 0 and snapped(table) == 0
    sides = unpack(found.after, 30)
    assert len(np.unique(sides, axis=0)) == found.cells.count


@pytest.mark.parametrize("n", [2, 5, 12, 70])
def test_lines_through_one_point_share_a_vertex(n: int) -> None:
    """In floats, n lines through one point near (0.1, 0.2) meet in n (n - 1) / 2 points an ulp apart."""
    angles = np.pi * (np.arange(n) + 0.5) / n
    normal = np.stack([np.cos(angles), np.sin(angles)], axis=1) / 3
    lines = np.concatenate([normal, -normal @ [[0.1], [0.2]]], axis=1)
    table, found = cut(lines)
    assert found.cells.count == 2 * n
    assert table.count == 4 + 2 * n + 1
    assert euler(table, found) == 1


def test_one_line_many_times_cuts_once() -> None:
    lines = np.outer([1.0, -2.0, 1 / 3, 0.1], [0.3, 0.7, 0.11])
    table, found = cut(lines)
    assert (found.cells.count, table.count, euler(table, found)) == (2, 6, 1)


def test_a_line_along_a_side_or_through_corners() -> None:
    lines = np.array([[1.0, 0.0, 1.0], [1.0, -1.0, 0.0], [1.0, 1.0, 0.0], [0.0, 1.0, -2.0]])
    table, found = cut(lines)
    assert (found.cells.count, table.count) == (4, 5)


def test_values_that_no_affine_function_has_break_nothing() -> None:
    """Random numbers at the corners: signs change four times around, and the pieces still tile the square."""
    rng = np.random.default_rng(0)
    repaired = 0
    for _ in range(300):
        rows = np.concatenate([SQUARE, rng.choice([-1.0, 1.0, 1e-13, 1e-3, -1e-3], (4, 5))], axis=1)
        table = Table(rows, 5, np.full(5, 1e-12))
        found = divide(table, Rings(np.arange(4), np.arange(4), np.array([4])), np.full(4, -1), np.arange(5))
        repaired += found.repaired
        x, y = table.rows[found.cells.ring, :2].T
        after_x, after_y = found.cells.following(x), found.cells.following(y)
        assert (x * after_y - y * after_x).sum() / 2 == pytest.approx(4, abs=1e-12)
        assert euler(table, found) == 1
        pairs = np.bincount(found.cells.edge)
        assert pairs.max() <= 2 and found.cells.size.min() >= 3
    assert repaired > 20


def test_the_run_that_is_cut_off() -> None:
    def run(*values: float) -> tuple[int, int, bool]:
        return _main_run(np.sign(values).astype(int), np.abs(values))

    assert run(0, 2, 0, -1) == (0, 2, True)
    assert run(0, 1, 0, 2, 0, -3, -4) == (4, 0, False)  # the one run below, not half of what lies above
    assert run(0, 1, 0, -3, 0, 2, 0, -1) == (2, 4, False)  # the greatest of four
    assert run(1, 2, -1) == (-1, -1, True)  # nothing would be left


def test_what_is_held_to_be_zero_is_counted() -> None:
    rows = np.concatenate([SQUARE, [[0.0], [1e-14], [1.0], [1.0]]], axis=1)
    assert snapped(Table(rows, 1, np.array([1e-12]))) == 1
