"""The regions of a plane, as facts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from weightwalk.formulas.certificate import Certificate
from weightwalk.formulas.piecewise import PiecewiseNet

Box = tuple[tuple[float, float], tuple[float, float]]
"""((least s, greatest s), (least t, greatest t))."""


@dataclass(frozen=True, eq=False)
class Partition:
    """Every activation region of a net of two numbers (s, t), with its affine map.

    Region r is the polygon ``vertices[ring[start[r]:start[r + 1]]]``, counterclockwise. Neighbours share vertices, so
    that what is computed at a vertex is the same for all regions around it.

    Attributes:
        net: The net of (s, t).
        box: The rectangle that is divided; None for the whole plane.
        vertices: (V, 2). Of the whole plane, a vertex at infinity stands as a unit direction, see `infinite`.
        infinite: (V,) bool: whether the vertex is a direction, not a point.
        ring: (E,) vertex numbers.
        start: (R + 1,) where each region's ring starts.
        edge: (E,) the unit on whose kink the edge from ``ring[i]`` to the next vertex of that ring lies, counted
            through all layers; -1 for a side of the box, or at infinity.
        pattern: Per layer (R, n_k) int8, the piece of every unit; see `weightwalk.formulas.piecewise`.
        slopes: (R, outputs, 2), A of ``y = A (s, t) + b``.
        offsets: (R, outputs), b.
        values: (V, outputs), y at the vertices, carried along with the subdivision (not computed from A and b); at a
            vertex at infinity the rate of y along that direction.
        affine: (R,) the maximal affine region to which each region belongs, 0 to `affine_regions` - 1.
        tolerance: A unit whose pre-activation is nearer to its kink than this fraction of its greatest size in the box
            is held to be at it.
        snapped: Vertices that were held to be at a kink without having been made as one.
        certificate: What the formula was held to.
    """

    net: PiecewiseNet
    box: Box | None
    vertices: np.ndarray
    infinite: np.ndarray
    ring: np.ndarray
    start: np.ndarray
    edge: np.ndarray
    pattern: Sequence[np.ndarray]
    slopes: np.ndarray
    offsets: np.ndarray
    values: np.ndarray
    affine: np.ndarray
    tolerance: float
    snapped: int
    certificate: Certificate

    @property
    def activation_regions(self) -> int:
        """Regions of one activation pattern each."""
        return len(self.start) - 1

    @cached_property
    def affine_regions(self) -> int:
        """Maximal connected sets on which the net is one affine map: neighbours with equal maps are one."""
        return int(self.affine.max(initial=-1)) + 1

    @cached_property
    def region(self) -> np.ndarray:
        """(E,) the region to which each ring entry belongs."""
        return np.repeat(np.arange(self.activation_regions), np.diff(self.start))

    @cached_property
    def following(self) -> np.ndarray:
        """(E,) for each ring entry, the place of the next one in its ring."""
        after = np.arange(1, len(self.ring) + 1)
        after[self.start[1:] - 1] = self.start[:-1]
        return after

    @cached_property
    def areas(self) -> np.ndarray:
        """(R,) area of each region, from its first vertex (shoelace); nan for one that reaches infinity."""
        x, y = self.vertices[self.ring].T
        x0, y0 = self.vertices[self.ring[self.start[:-1]]][self.region].T
        n = self.following
        cross = (x - x0) * (y[n] - y0) - (x[n] - x0) * (y - y0)
        out = np.add.reduceat(cross, self.start[:-1]) / 2 if len(cross) else np.zeros(0)
        if self.infinite.any():
            out[np.unique(self.region[self.infinite[self.ring]])] = np.nan
        return out

    @cached_property
    def affine_areas(self) -> np.ndarray:
        """(affine_regions,) area of each maximal affine region; nan for one that reaches infinity."""
        return np.bincount(self.affine, self.areas, self.affine_regions)

    def unit(self, number: int) -> str:
        """Address of a unit counted through all layers, as in `edge`."""
        for layer in self.net.layers:
            if number < layer.size:
                return layer.unit(number)
            number -= layer.size
        raise IndexError(number)

    def polygon(self, region: int) -> np.ndarray:
        """(k, 2) vertices of one region, counterclockwise."""
        return self.vertices[self.ring[self.start[region] : self.start[region + 1]]]
