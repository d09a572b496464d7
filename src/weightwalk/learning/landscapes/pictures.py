"""All that is known of one picture of a net's loss: what it shows, what runs over it, and what it leaves out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from weightwalk.learning.frames import needs_pandas
from weightwalk.learning.landscapes.bowls import Path
from weightwalk.learning.landscapes.neuron import Shape, shape_of
from weightwalk.learning.landscapes.surface import Surface
from weightwalk.learning.landscapes.trajectories import Trajectory

if TYPE_CHECKING:
    from weightwalk.learning.hessians import Spectrum
    from weightwalk.learning.landscapes.paths import Checks


@dataclass(frozen=True, eq=False)
class Picture:
    """One or more surfaces of one net, with one scale of colours, and what belongs to them.

    Attributes:
        net: What it is called.
        kind: ``random``, ``weights``, ``trajectory``, ``rates``, ``between`` ...
        settings: Seed, loss, optimizer, rate, epochs: what decided the outcome.
        surfaces: In the order they are drawn.
        names: Of each surface, such as ``"seed 0"``.
        shapes: Dips and hills of each.
        scale: Least and greatest finite loss of all of them: the ends of the one scale of colours.
        spectrum: What the Hessian at the net says of all dimensions; None where it was not asked for.
        curvatures: Curvature along random directions, beside the spectrum; None where it was not asked for.
        paths: What runs over the first surface.
        trajectory: The training on the plane of its principal components, where the picture is that.
        checks: What the picture of a hill gets right, tried.
        between: What the line between nets says: barrier, whether the loss falls all along.
        notes: Sentences on what none of the surfaces can show.
        seconds: Wall time, training included.
    """

    net: str
    kind: str
    settings: Mapping[str, Any]
    surfaces: tuple[Surface, ...]
    names: tuple[str, ...]
    shapes: tuple[Shape, ...]
    scale: tuple[float, float]
    spectrum: Spectrum | None = None
    curvatures: Any = None
    paths: tuple[Path, ...] = ()
    trajectory: Trajectory | None = None
    checks: Checks | None = None
    between: Any = None
    notes: tuple[str, ...] = ()
    seconds: float = field(default=0.0, repr=False)

    def frame(self) -> Any:
        """A row for each place of each surface, as a pandas data frame; of a trajectory, a row for each checkpoint."""
        if self.trajectory is not None:
            return self.trajectory.frame()
        pd = needs_pandas()

        parts = [s.frame().assign(surface=n) for s, n in zip(self.surfaces, self.names, strict=True)]
        return pd.concat(parts, ignore_index=True)


def picture(net: str, kind: str, surfaces: tuple[Surface, ...], names: tuple[str, ...], **more: Any) -> Picture:
    """A picture with what follows from its surfaces: one scale for all, and their dips and hills."""
    finite = np.concatenate([s.losses[np.isfinite(s.losses)] for s in surfaces])
    ends = (float(finite.min()), float(finite.max())) if len(finite) else (0.0, 0.0)
    settings = more.pop("settings", {})
    shapes = tuple(shape_of(s.losses) for s in surfaces)
    return Picture(net, kind, settings, surfaces, names, shapes, ends, **more)
