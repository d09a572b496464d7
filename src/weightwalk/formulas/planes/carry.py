"""Polygons carried through all layers within a given memory: at once, or tile by tile."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from weightwalk.errors import UsageError
from weightwalk.formulas.piecewise import PiecewiseNet
from weightwalk.formulas.planes.layerwise import Stage, TooLargeError, estimate, finish, through
from weightwalk.formulas.planes.tiles import between, bounds, join, look_ahead, seam, split

SEAMS = 200
"""Seams that are drawn at most, to have polygons small enough."""

LEAST = 32
"""Vertices for which there must be room, for seams to be of use."""


@dataclass
class Job:
    """One net, and what limits the search.

    Attributes:
        net: Of two inputs.
        tolerance: See `weightwalk.formulas.planes.partition.Partition`.
        max_regions: Refused above.
        memory: Bytes for one layer of one tile, and for the result.
        progress: Called with the units done and their number.
        found: Regions in the tiles that are finished.
        seams: Drawn so far.
        held: Bytes of the polygons of which a tile is worked on.
    """

    net: PiecewiseNet
    tolerance: float
    max_regions: int
    memory: int
    progress: Callable[[int, int], None] | None = None
    found: int = 0
    seams: int = 0
    held: int = 0

    @property
    def room(self) -> int:
        """Bytes that one layer of one tile may need; at least half of all, however much is held."""
        return max(self.memory - self.held, self.memory // 2)

    def carry(self, k: int, stage: Stage, inside: bool = False, share: tuple[float, float] = (0.0, 1.0)) -> Stage:
        """The polygons after all layers from k (counted from 1) on.

        Args:
            k: The first.
            stage: The polygons before it.
            inside: Whether they are a tile, which no seam may cut: its neighbours would not know.
            share: From where to where this brings the whole.
        """
        sizes = [layer.size for layer in self.net.layers]
        total, mine = sum(sizes), sum(sizes[k - 1 :])
        for j in range(k, len(sizes) + 1):
            too_large = None
            try:
                stage = through(self.net, j, stage, self.tolerance, self.room, self._told)
            except TooLargeError as error:
                too_large = error.with_traceback(None)  # which would keep all arrays of the attempt
            if too_large is not None:
                done = share[0] + (share[1] - share[0]) * sum(sizes[k - 1 : j - 1]) / mine
                return self._smaller(too_large, inside, (done, share[1]))
            if self.progress is not None:
                done = share[0] + (share[1] - share[0]) * sum(sizes[k - 1 : j]) / mine
                self.progress(round(done * total), total)
        return finish(self.net, stage)

    def _smaller(self, error: TooLargeError, inside: bool, share: tuple[float, float]) -> Stage:
        """The same in tiles, after seams through what is too large for one."""
        stage, k, weight = error.stage, error.layer, error.weight
        held = stage.bytes
        self.held += held
        heaviest = int(weight.argmax())
        if weight[heaviest] > self.room:
            hopeless = estimate(self.net, k, stage, LEAST) > self.room
            if inside or hopeless or self.seams >= SEAMS:
                raise self._no_room(k, int(weight[heaviest]))
            self.seams += 1
            self.held -= held
            return self.carry(k, seam(stage, self.seams, heaviest), share=share)
        stage = look_ahead(self.net, k, stage)
        begins = bounds(weight, self.room)
        ends = [*begins[1:], stage.cells.count]
        edges = between(stage, begins)
        parts: list[tuple[Stage, np.ndarray]] = []
        kept = self.found
        for i, (low, high) in enumerate(zip(begins, ends, strict=True)):
            part, vertices = split(stage, low, high, edges)
            step = (share[1] - share[0]) / len(ends)
            part = self.carry(k, part, True, (share[0] + i * step, share[0] + (i + 1) * step))
            self.found += part.cells.count
            parts.append((part, vertices))
        self.found = kept
        self.held -= held
        return join(stage, parts)

    def _told(self, k: int, count: int) -> None:
        """Refuse more regions than are allowed, or than the result would have room for.

        Seams add pieces that are made one again later, so after a seam twice as many are let pass.
        """
        self.check(k, (self.found + count) // (2 if self.seams else 1))

    def check(self, k: int, regions: int) -> None:
        """Refuse so many regions after layer k, if need be."""
        net = self.net
        if not net.layers:
            return
        where = f"at layer {net.layers[k - 1].name} ({k} of {len(net.layers)})"
        if regions > self.max_regions:
            raise UsageError(
                f"there are more than {self.max_regions:,} regions: at least {regions:,} {where}; "
                "choose a smaller box, or allow more with --max-regions."
            )
        needed = regions * result_bytes(net)
        if needed > self.memory:
            raise UsageError(
                f"there are at least {regions:,} regions {where}, and to keep them takes {needed / 2**20:,.1f} MiB, "
                f"more than the {self.memory / 2**20:,.1f} MiB allowed; choose a smaller box, or allow more with "
                "--memory."
            )

    def _no_room(self, k: int, needed: int) -> UsageError:
        return UsageError(
            f"a single polygon may need {needed / 2**20:,.1f} MiB at layer {self.net.layers[k - 1].name} "
            f"({k} of {len(self.net.layers)}), more than the {self.memory / 2**20:,.1f} MiB allowed; "
            "choose a smaller box, or allow more with --memory."
        )


def result_bytes(net: PiecewiseNet) -> int:
    """Bytes of the result per region: pattern, map, and about one vertex and four ring entries each."""
    outputs = net.output.size
    return sum(layer.size for layer in net.layers) * 9 // 8 + 24 * outputs + 16 + 8 * outputs + 4 * 24 + 16
