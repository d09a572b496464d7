"""What a diagnosis holds: measurements, and findings that follow from them by rules that are stated."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from weightwalk.learning.frames import needs_pandas
from weightwalk.learning.hessians import Spectrum

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, slots=True, eq=False)
class Units:
    """The units behind one activation function, over all the inputs that were looked at.

    A *unit* is one number of a layer: a column of a linear layer's output, a channel of a convolution's. It is *off* on
    an input where its slope is 0 (ReLU and the like), or below 0.5 % of the function's steepest slope (sigmoid, tanh,
    GELU ...: it is saturated). A channel is off on an input where it is off at every position.

    Attributes:
        name: Module path of the activation, or of the module that calls the function and its name.
        function: ``"relu"``, ``"tanh"`` ...
        count: Number of units.
        off: Share of inputs (and positions) on which each unit is off, shape (count,).
        mean: Mean of each unit's output.
        std: Standard deviation of each unit's output.
        gradient: The largest gradient that reached each unit's sum on any input: ``max |∂(loss of that input)/∂z|``;
            NaN where nothing before it can be trained.
        constant: Whether each unit's output is the same number on all inputs.
        map: Share of positions at which each unit is on, by input, shape (inputs shown, count); empty where there are
            many inputs.
    """

    name: str
    function: str
    count: int
    off: np.ndarray
    mean: np.ndarray
    std: np.ndarray
    gradient: np.ndarray
    constant: np.ndarray
    map: np.ndarray = field(repr=False)

    @property
    def dead(self) -> tuple[int, ...]:
        """Off on all inputs, its output the same on all, and no gradient into it: it cannot come back by itself."""
        return tuple(np.flatnonzero((self.off == 1) & self.constant & ~(self.gradient > 0)).tolist())

    @property
    def silent(self) -> tuple[int, ...]:
        """Off on all inputs, though a gradient reaches its sum by another way, so that it may come back."""
        return tuple(np.flatnonzero((self.off == 1) & self.constant & (self.gradient > 0)).tolist())

    @property
    def saturated(self) -> tuple[int, ...]:
        """Off on all inputs, with an output that still depends on them: the flat ends of sigmoid or tanh."""
        return tuple(np.flatnonzero((self.off == 1) & ~self.constant).tolist())

    @property
    def starved(self) -> tuple[int, ...]:
        """On for some input, and yet no gradient arrives: what comes after it is dead."""
        return tuple(np.flatnonzero((self.off < 1) & (self.gradient == 0)).tolist())

    @property
    def always_on(self) -> tuple[int, ...]:
        """Never off: a ReLU that is but a linear map on these data."""
        return tuple(np.flatnonzero(self.off == 0).tolist())


@dataclass(frozen=True, slots=True)
class Silence:
    """A layer that is off as a whole on some inputs, and so hands on nothing but what the next one's biases make of it.

    Attributes:
        layer: Name of the activation.
        count: On how many inputs.
        rows: Names of the first of them.
    """

    layer: str
    count: int
    rows: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Death:
    """A unit that is dead at the end, and when it died.

    Attributes:
        unit: ``"relu1[0]"``.
        after: Dead at every moment looked at from this epoch on; 0 for dead at the start.
        before: The last epoch looked at when it was alive; None for dead at the start.
        known: Whether earlier moments were there to look at.
    """

    unit: str
    after: int | None
    before: int | None
    known: bool


@dataclass(frozen=True, slots=True)
class Layer:
    """Weights of one module, and the gradient of the mean loss with respect to them.

    Attributes:
        name: Module path.
        weights: How many.
        gradient: Length of the gradient.
        size: Length of the weights.
        rms: Root of the gradient's mean square, which compares layers of different sizes.
    """

    name: str
    weights: int
    gradient: float
    size: float
    rms: float

    @property
    def ratio(self) -> float:
        """Length of the gradient over that of the weights."""
        return self.gradient / self.size if self.size else float("inf") if self.gradient else 0.0


@dataclass(frozen=True, slots=True, eq=False)
class Moment:
    """Gradients and units at one epoch.

    Attributes:
        epoch: Epochs completed then.
        loss: Mean loss over the inputs looked at.
        gradients: Length of each layer's gradient, in the order of `Diagnosis.layers`.
        rms: Root mean square of each layer's gradient.
        dead: Number of dead units in each of `Diagnosis.units`.
    """

    epoch: int
    loss: float
    gradients: tuple[float, ...]
    rms: tuple[float, ...]
    dead: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Curve:
    """What a loss curve does at its end, by the rule that :func:`~weightwalk.learning.diagnoses.curves.curve` states.

    Attributes:
        kind: ``"plateau"``, ``"falling"``, ``"rising"``, ``"diverged"``, ``"none"`` (too short to say).
        first: First loss.
        final: Last loss.
        best: Least loss.
        best_epoch: Where that was.
        since: First epoch of the last plateau; None where the curve does not end on one.
        level: Mean loss of the last window.
        change: Change over the last window as a share of that level, by least squares; negative for falling.
        window: Epochs in the window.
        epsilon: Change over one window below which it is flat.
        plateaus: Every flat stretch, (first epoch, last epoch, level).
        losses: The curve.
    """

    kind: str
    first: float
    final: float
    best: float
    best_epoch: int
    since: int | None
    level: float
    change: float
    window: int
    epsilon: float
    plateaus: tuple[tuple[int, int, float], ...] = ()
    losses: tuple[float, ...] = field(default=(), repr=False)


@dataclass(frozen=True, slots=True, eq=False)
class Point:
    """What gradient and Hessian say of the weights.

    Attributes:
        kind: ``"not critical"``, ``"saddle"``, ``"minimum"``, ``"flat minimum"`` (no negative eigenvalue, some zero),
            ``"endless"`` (flat because probabilities are pinned to 0: the loss only nears a floor as weights grow),
            ``"refuted minimum"`` (no negative eigenvalue, and yet a lower loss nearby: a kink is near),
            ``"unconfirmed saddle"`` (the step below does not lower the loss) or ``"open"`` (only some eigenvalues
            known, none of them negative).
        relative_gradient: ``|g| |w| / L``: by how many percent the loss can change, to first order, when the weights
            change by one percent. Below `critical` the point counts as critical.
        critical: That threshold.
        spectrum: Eigenvalues of the Hessian.
        idle: Weights that the loss does not depend on near here: their gradient and their row of the Hessian are zero
            (weights into and out of dead units, embeddings of tokens that never occur). None where not all is known.
        unchanged: How many of the zero eigenvalues' directions change no answer on any row, to first order: idle
            weights, and others such as scaling the weights into a ReLU up and those out of it down. None where it was
            not asked.
        escape: The lowest loss found along the direction of the most negative eigenvalue; None without one.
        escape_step: How far along it that was.
        predicted: The change of loss that gradient and curvature predict there.
        pinned: Of a loss on probabilities, how many of them lie within a millionth of 0 (or of 1, for yes and no).
        kicked: The lowest loss at 60 random places nearby (up to 1 % of the weights' length away), to test a minimum.
        rows: Examples that it was computed on.
    """

    kind: str
    relative_gradient: float
    critical: float
    spectrum: Spectrum
    idle: int | None
    unchanged: int | None
    escape: float | None
    escape_step: float | None
    predicted: float | None
    pinned: int
    kicked: float | None
    rows: int

    @property
    def unexplained(self) -> int | None:
        """Zero eigenvalues whose directions do change answers; second derivatives say nothing of these."""
        if self.spectrum.flat is None or self.unchanged is None:
            return None
        return self.spectrum.flat - self.unchanged


@dataclass(frozen=True, slots=True, eq=False)
class Settled:
    """Where one ends who goes on downhill from the weights, with all the data at once and in float64, until it is flat.

    Attributes:
        loss: The loss there.
        steps: Steps of L-BFGS that it took.
        arrived: Whether the gradient vanished there; else the steps ran out, as they do where the loss falls for ever.
        distance: How far from the weights, as a share of their length.
        point: What gradient and Hessian say there.
    """

    loss: float
    steps: int
    arrived: bool
    distance: float
    point: Point


@dataclass(frozen=True, slots=True)
class Others:
    """What the same training reaches from other seeds.

    Attributes:
        seeds: Which.
        losses: The final loss of each.
        dead_at_start: Units dead on all inputs before training, of each.
        dead_at_end: The same after it.
        right: Rows answered right, of each; empty for numbers.
    """

    seeds: tuple[int, ...]
    losses: tuple[float, ...]
    dead_at_start: tuple[int, ...] = ()
    dead_at_end: tuple[int, ...] = ()
    right: tuple[int, ...] = ()

    @property
    def best(self) -> float:
        """The least of the losses."""
        return min(self.losses)

    def failures(self, rows: int) -> dict[str, tuple[int, int]]:
        """Of seeds by when units died, how many fail to answer all `rows` right, and how many there are."""
        made = {"none": [0, 0], "died in training": [0, 0], "dead at the start": [0, 0]}
        for right, start, end in zip(self.right, self.dead_at_start, self.dead_at_end, strict=True):
            kind = "dead at the start" if start else "died in training" if end else "none"
            made[kind][0] += right < rows
            made[kind][1] += 1
        return {kind: (failed, seeds) for kind, (failed, seeds) in made.items()}


@dataclass(frozen=True, slots=True)
class Finding:
    """One conclusion.

    Attributes:
        kind: ``"dead units"``, ``"saddle"`` ...
        text: The conclusion in words.
        because: The measurements that carry it.
        refuted_by: What measurement would overturn it.
    """

    kind: str
    text: str
    because: tuple[str, ...]
    refuted_by: str


@dataclass(frozen=True, slots=True, eq=False)
class Diagnosis:
    """What was measured of a net and its training, and what follows.

    Attributes:
        net: Its name.
        verdict: The conclusion in a sentence or two.
        findings: What carries it, the most important first.
        loss: Mean loss over the data.
        loss_name: Which loss.
        baseline: Loss of the best constant answer, which a net reaches that ignores its input; None if not known.
        right: Rows answered right, of classes and yes-or-no answers; None for numbers.
        rows: Rows in all.
        used: Rows that units and gradients were measured on.
        names: A name for each row that a unit's map shows.
        units: One entry per activation function, in the order they run.
        deaths: When each dead unit died.
        silenced: Layers that are off as a whole on some inputs.
        layers: Gradients per layer.
        moments: The same along the way.
        curve: What the loss curve does; None without one.
        point: What gradient and Hessian say; None where they could not be computed.
        settled: Where going on downhill ends; None where it was not asked for.
        others: What other seeds reach; None where they were not asked.
        settings: How it was trained, where it was.
        notes: What was sampled, skipped or not seen.
    """

    net: str
    verdict: str
    findings: tuple[Finding, ...]
    loss: float
    loss_name: str
    baseline: float | None
    right: int | None
    rows: int
    used: int
    names: tuple[str, ...]
    units: tuple[Units, ...]
    deaths: tuple[Death, ...]
    silenced: tuple[Silence, ...]
    layers: tuple[Layer, ...]
    moments: tuple[Moment, ...]
    curve: Curve | None
    point: Point | None
    settled: Settled | None
    others: Others | None
    settings: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def dead(self) -> tuple[str, ...]:
        """Names of all dead units."""
        return tuple(f"{u.name}[{i}]" for u in self.units for i in u.dead)

    def frame(self) -> pd.DataFrame:
        """One row per unit: layer, unit, status, share of inputs off, mean, standard deviation, gradient."""
        pd = needs_pandas()

        rows = [
            {
                "layer": u.name,
                "unit": i,
                "status": status(u, i),
                "off": float(u.off[i]),
                "mean": float(u.mean[i]),
                "std": float(u.std[i]),
                "gradient": float(u.gradient[i]),
            }
            for u in self.units
            for i in range(u.count)
        ]
        return pd.DataFrame(rows, columns=["layer", "unit", "status", "off", "mean", "std", "gradient"])

    def __str__(self) -> str:
        from weightwalk.show.terminal import plain

        return plain(self)


def status(units: Units, unit: int) -> str:
    """A unit's state in a word."""
    for name in ("dead", "silent", "saturated", "starved", "always_on"):
        if unit in getattr(units, name):
            return name.replace("_", " ")
    return "alive"
