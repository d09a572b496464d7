"""What is found around one input, as facts: the formula, its domain, the nearest kink, the way along directions."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from weightwalk.formulas.certificate import Certificate
from weightwalk.formulas.piecewise import PiecewiseNet
from weightwalk.formulas.points.facets import Facets, Region
from weightwalk.formulas.points.frozen import Frozen, Rows
from weightwalk.formulas.points.minimal import Chebyshev, Minimal


@dataclass(frozen=True, eq=False)
class Nearest:
    """The kink nearest to x.

    Attributes:
        row: Its row; of several rows on one hyperplane the first.
        shared: The other rows on the same hyperplane.
        unit: Address of its unit: ``"fc1[3]"``.
        distance: From x, Euclidean; 0 if x is on it.
        point: (n,) the point of the kink's hyperplane nearest to x.
        normal: (n,) unit vector from x to it.
        slopes: Of the unit's activation, here and beyond.
        jump: (outputs,) by how much the slope of each output along `normal` grows where the kink is crossed there. As
            the net is continuous, A beyond it is ``A + outer(jump, normal)``.
        beyond: (n,) a point just beyond, in the next region; None where floating-point numbers cannot tell, and at x on
            several kinks.
    """

    row: int
    shared: np.ndarray
    unit: str
    distance: float
    point: np.ndarray
    normal: np.ndarray
    slopes: tuple[float, float]
    jump: np.ndarray
    beyond: np.ndarray | None


@dataclass(frozen=True, eq=False)
class Along:
    """The first kink on a ray from x.

    Attributes:
        name: ``"up y[0]"`` and ``"down y[0]"`` along and against the gradient of an output, ``"direction"``.
        direction: (n,) d: of unit length for gradients, as given otherwise; 0 for an output that is constant here.
        t: The formula holds on x + s d for 0 <= s <= t; inf if no kink is met.
        row: The row met there, or None.
        unit: Its unit's address; ``""`` if none.
    """

    name: str
    direction: np.ndarray
    t: float
    row: int | None
    unit: str

    @property
    def distance(self) -> float:
        """The Euclidean distance to that kink."""
        return float(self.t * np.linalg.norm(self.direction)) if np.isfinite(self.t) else float("inf")


@dataclass(frozen=True, eq=False)
class Local:
    """The exact formula at one input, its domain, and how far it reaches.

    Attributes:
        net: The net.
        x: (n,) the input.
        y: (outputs,) the net there.
        A: (outputs, n) slopes: the Jacobian.
        b: (outputs,) constants: ``y = A x + b`` on the region.
        region: The polytope ``{x : G x <= g}`` of m half-spaces, for computing with it.
        slack: (m,) ``g - G x >= 0``, from the pre-activations.
        distance: (m,) from x to each kink's hyperplane, ``slack / ||row||``; inf for a unit that is constant here.
        spread: Relative standard error of `distance`: 0, but for a sketch, see `note` and `exact`.
        exact: (m,) bool, where `distance` is exact.
        nearest: The nearest kink; None if the formula holds everywhere.
        along: Distances to the first kink along the gradients and a given direction.
        at_kink: Numbers of the units whose kink x is on: several formulas meet at x, and A is that of one of them, on
            the side of `inward`.
        still: Numbers of the units that are at a kink throughout the region: they bound nothing.
        inward: (n,) the direction that decided the side; None if x is on no kink.
        inside: (n,) a point strictly inside the region; x itself unless x is on a kink.
        facets: (m,) bool, rows that are certainly facets; None if not asked for. All others are redundant if
            `minimal.complete`, and undecided otherwise.
        rays: What the rays met; None if not shot.
        minimal: What the linear programs decided; None if not asked for.
        note: What was left out or estimated, and why; ``""`` if nothing.
        certificate: What the formula was held to.
    """

    net: PiecewiseNet
    x: np.ndarray
    y: np.ndarray
    A: np.ndarray
    b: np.ndarray
    region: Region = field(repr=False)
    slack: np.ndarray
    distance: np.ndarray
    spread: float
    exact: np.ndarray
    nearest: Nearest | None
    along: tuple[Along, ...]
    at_kink: np.ndarray
    still: np.ndarray
    inward: np.ndarray | None
    inside: np.ndarray
    facets: np.ndarray | None
    rays: Facets | None
    minimal: Minimal | None
    note: str
    certificate: Certificate

    @property
    def rows(self) -> Rows:
        """For each of the m half-spaces its unit, its kink, and on which side of it the region lies."""
        return self.region.rows

    @property
    def G(self) -> np.ndarray | None:
        """(m, n), the region is ``{x : G x <= g}``; None where it was not stored, see `note`."""
        return self.region.G

    @property
    def g(self) -> np.ndarray:
        """(m,)."""
        return self.region.g

    @property
    def box(self) -> np.ndarray | None:
        """(2, n) least and greatest inputs, or None."""
        return self.region.box

    @property
    def frozen(self) -> Frozen:
        """The net with the pattern of x."""
        return self.region.frozen

    @property
    def chebyshev(self) -> Chebyshev | None:
        """The greatest ball in the region (and the box); None if not asked for."""
        return None if self.minimal is None else self.minimal.chebyshev

    def unit(self, row: int) -> str:
        """Address of a row's unit: ``"fc1[3]"``."""
        return self.net.layers[self.rows.layer[row]].unit(int(self.rows.index[row]))

    def unit_name(self, number: int) -> str:
        """Address of a unit counted through all layers, as in `at_kink`."""
        for layer in self.net.layers:
            if number < layer.size:
                return layer.unit(number)
            number -= layer.size
        raise IndexError(number)

    def side(self, row: int) -> str:
        """What a row says of its unit: ``"fc1[3] <= 0"``."""
        return f"{self.unit(row)} {'<=' if self.rows.sign[row] > 0 else '>='} {self.rows.level[row]:g}"


@dataclass(frozen=True, eq=False)
class FirstOrder:
    """The first-order expansion at another point.

    Attributes:
        point: (n,).
        value: (outputs,) ``f(x) + A (point - x)``.
        net: (outputs,) the net there.
        exact: Whether the point is in the region, so that the two are the same but for rounding.
        outside: How far the point violates the row that it violates most: its distance to the region is at least this;
            0 inside.
        row: That row; None inside.
        unit: Its unit's address; ``""`` inside.
        t: The fraction of the way from x to the point on which the expansion is exact; 1 inside.
    """

    point: np.ndarray
    value: np.ndarray
    net: np.ndarray
    exact: bool
    outside: float
    row: int | None
    unit: str
    t: float

    @property
    def error(self) -> float:
        """Greatest |expansion - net| of any output."""
        return float(np.abs(self.value - self.net).max(initial=0.0))
