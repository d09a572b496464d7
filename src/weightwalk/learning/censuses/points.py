"""Where failures stopped: still on a slope, on a saddle, in a minimum? Counted, with the numbers behind it.

"Stuck in a local minimum" is two claims: that the gradient is gone, and that no direction leads down. Each failure's
gradient and all eigenvalues of its Hessian are computed (in float64), and the failures are counted by what these say.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
import torch

from weightwalk.learning.censuses import engine as engines
from weightwalk.learning.censuses.facts import Cell, Census, Spread, spread_of
from weightwalk.learning.censuses.settings import applied
from weightwalk.learning.censuses.wilson import Share, wilson
from weightwalk.learning.diagnoses.points import CRITICAL, point


@dataclass(frozen=True)
class Points:
    """Where the failures of a cell stopped.

    Attributes:
        cell: Its name.
        looked: Failures looked at.
        failures: Failures in all.
        kinds: Kind of point (see `weightwalk.learning.diagnoses.facts.Point`) -> share of those looked at, the most
            frequent first.
        gradient: Euclidean norm of the gradient.
        relative: That norm times the weights' norm over the loss: the part of the loss that moving by the weights' own
            length would change, to first order.
        negative: Negative eigenvalues of the Hessian.
        weights: Eigenvalues in all.
        falls: Among the failures looked at, those with a negative eigenvalue, whatever the gradient.
        critical: The value of `relative` below which the gradient counts as gone.
        seeds: Which were looked at.
        kind: Kind of each.
    """

    cell: str
    looked: int
    failures: int
    kinds: Mapping[str, Share]
    gradient: Spread
    relative: Spread
    negative: Spread
    weights: int
    falls: Share
    critical: float
    seeds: np.ndarray = field(repr=False)
    kind: tuple[str, ...] = field(repr=False)


def points_of(
    census: Census, cell: Cell, *, most: int = 100, progress: Callable[[int, int], None] | None = None
) -> Points:
    """Judge the points at which failures (all but the first outcome, and what diverged) stopped.

    Args:
        census: The census.
        cell: One of its cells.
        most: Failures to look at, the first by seed.
        progress: Told how many are done.
    """
    names = list(cell.outcomes)
    failed = (cell.outcome != 0) & (cell.outcome != (names.index("diverged") if "diverged" in names else -1))
    seeds = cell.seeds[failed][:most]
    task, recipe = applied(census.source, cell.settings)
    module, data = task.module(0).double(), task.data
    total = sum(p.numel() for p in module.parameters())
    weights = engines.trained_cell(task, [int(s) for s in seeds], recipe).weights if len(seeds) else {}
    x = data.inputs.double() if data.inputs.is_floating_point() else data.inputs
    y = data.targets.double() if data.targets.is_floating_point() else data.targets
    kinds: list[str] = []
    rows: list[tuple[float, float, int]] = []
    for k in range(len(seeds)):
        with torch.no_grad():
            for name, p in module.named_parameters():
                p.copy_(weights[name][k])
        found = point(module, x, y, recipe["loss"])
        rows.append((found.spectrum.gradient_norm, found.relative_gradient, found.spectrum.negative))
        kinds.append(found.kind)
        if progress is not None:
            progress(k + 1, len(seeds))
    table = np.array(rows, float).reshape(-1, 3)
    counts = Counter(kinds)
    return Points(
        cell.name, len(seeds), int(np.count_nonzero(failed)),
        {k: wilson(n, len(seeds), census.confidence) for k, n in counts.most_common()},
        spread_of(table[:, 0]), spread_of(table[:, 1]), spread_of(table[:, 2]), total,
        wilson(int(np.count_nonzero(table[:, 2])), len(seeds), census.confidence), CRITICAL, seeds, tuple(kinds),
    )  # fmt: skip
