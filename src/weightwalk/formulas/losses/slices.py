"""The exact loss along one weight of a piecewise-affine net.

Along one weight w every sample's outputs are piecewise linear, so the mean squared loss is piecewise quadratic. Its
kinks are those of all samples together. Each piece is written about a place c of its own::

    loss(w) = value + slope (w - c) + curvature (w - c)^2

namely about its end that is nearest to the weight as it is, and the piece of that weight about it: so no digits are
lost where pieces are short, or far out.

The loss is ``torch.nn.functional.mse_loss``: the mean over samples and outputs of (y - target)^2.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np

from weightwalk.errors import UsageError
from weightwalk.formulas.certificate import LIMIT, Certificate, Check
from weightwalk.formulas.losses.moving import TOLERANCE, Motion, Weight, motion, segments
from weightwalk.formulas.losses.totals import joined, losses, summed
from weightwalk.formulas.piecewise import PiecewiseNet

LossOracle = Callable[[np.ndarray], np.ndarray]
"""The loss at values of the weight, (M,) -> (M,), by other means."""

NOISE = 1e-13
"""A slope of the loss below this fraction of its terms is rounding."""

NUMBERS = 2**21
"""Numbers in one array of a bundle of samples: 16 MiB."""

FRESH = 200
WORK = 2**20
"""Samples times fresh values of the weight at which the formula is held against the net, about."""


@dataclass(frozen=True, slots=True)
class Minimum:
    """A place from which the loss rises to both sides, or a flat floor of such.

    Attributes:
        at: The weight; on a flat floor, the point nearest to the weight as it is.
        loss: There.
        low: Where the floor begins.
        high: Where it ends; equal to `low` for a point.
    """

    at: float
    loss: float
    low: float
    high: float


@dataclass(frozen=True, eq=False)
class LossLine:
    """The mean squared loss as a function of one weight, w.

    Piece i lies between kinks i - 1 and i. Places are kept as u = w - `at`, the distance from the weight as it is,
    because kinks can be closer to each other than to 0.

    Attributes:
        name: Of the weight.
        at: The weight as it is.
        start: Least w; may be -inf.
        end: Greatest w; may be inf.
        samples: Number of samples.
        steps: (K,) u of the kinks, ascending.
        switches: (X, 4) kink, sample, layer (from 0) and unit of every change of a piece, in order of the kinks.
        centres: (K + 1,) u about which each piece is written.
        coefficients: (K + 1, 3) a, b, c of ``a d^2 + b d + c`` with d = u - centre.
        noise: (K + 1,) slopes below this are rounding.
        minima: All local minima, in order of w.
        derivative: (from the left, from the right) of the loss at the weight as it is.
        certificate: What it was held to.
    """

    name: str
    at: float
    start: float
    end: float
    samples: int
    steps: np.ndarray
    switches: np.ndarray
    centres: np.ndarray
    coefficients: np.ndarray
    noise: np.ndarray
    minima: tuple[Minimum, ...] = ()
    derivative: tuple[float, float] = (math.nan, math.nan)
    certificate: Certificate = field(default_factory=lambda: Certificate((), 0))

    def __str__(self) -> str:
        from weightwalk.show.terminal import plain

        return plain(self)

    @property
    def kinks(self) -> np.ndarray:
        """(K,) the kinks as values of the weight."""
        return self.at + self.steps

    @property
    def pieces(self) -> int:
        """K + 1."""
        return len(self.steps) + 1

    @property
    def minimum(self) -> Minimum:
        """The least loss along the weight; of equal ones the nearest to the weight as it is."""
        return min(self.minima, key=lambda m: (m.loss, abs(m.at - self.at)))

    @property
    def loss(self) -> float:
        """With the weight as it is."""
        return float(self(self.at))

    def __call__(self, w: np.ndarray | float) -> np.ndarray:
        """The loss by the formula, (...), at values of the weight (...).

        Raises:
            UsageError: A value outside of the span.
        """
        w = np.asarray(w, np.float64)
        outside = ~((w >= self.start) & (w <= self.end))
        if outside.any():
            raise UsageError(
                f"The formula holds from {self.start!r} to {self.end!r}, not at {float(w[outside].flat[0])!r}; "
                "ask for a wider span."
            )
        u = w - self.at
        return self.on(np.searchsorted(self.steps, u), u)

    def on(self, piece: np.ndarray, u: np.ndarray) -> np.ndarray:
        """The quadratic of some pieces at some u."""
        a, b, c = self.coefficients[piece].T
        d = u - self.centres[piece]
        return (a * d + b) * d + c

    def ends(self) -> tuple[np.ndarray, np.ndarray]:
        """(K + 1,) u where each piece begins, and where it ends."""
        return (
            np.concatenate([[self.start - self.at], self.steps]),
            np.concatenate([self.steps, [self.end - self.at]]),
        )

    def rise(self, piece: np.ndarray, u: np.ndarray) -> np.ndarray:
        """The derivative of some pieces at some u; at an infinite u its sign there."""
        a, b, _ = self.coefficients[piece].T
        flat = np.abs(a) <= 1e-300
        with np.errstate(invalid="ignore"):
            there = 2 * a * (u - self.centres[piece]) + b
        return np.where(np.isfinite(u), there, np.where(flat, b, np.sign(u) * np.abs(a)))


def loss_along(
    net: PiecewiseNet,
    weight: Weight,
    data: tuple[np.ndarray, np.ndarray],
    span: tuple[float, float] | None = None,
    *,
    loss: str = "mse",
    oracle: LossOracle | None = None,
    gradient: float | None = None,
    tolerance: float = TOLERANCE,
    max_pieces: int = 5_000_000,
    seed: int = 0,
) -> LossLine:
    """The exact mean squared loss along one weight of a net, and where it is least.

    Args:
        net: The net, with the weight as it is.
        weight: Which, from `weightwalk.formulas.losses.moving.entry` or `weightwalk.formulas.losses.parameters.locate`.
        data: Inputs (N, n) and targets (N, outputs).
        span: Least and greatest value of the weight; None for the whole line.
        loss: ``"mse"``, the only loss that is piecewise quadratic.
        oracle: The loss by other means in float64; without it, the net itself with the weight changed.
        gradient: d loss / d weight by other means, for the certificate.
        tolerance: A pre-activation below this fraction of its terms is held to be at its kink.
        max_pieces: More stretches than this over all samples are refused.
        seed: Of the fresh values of the weight in the certificate.

    Raises:
        UsageError: Another loss, data that do not fit or are not finite, an empty span, a weight used by several
            layers one after the other, or too many pieces.

    Example:
        >>> import numpy as np
        >>> from weightwalk.formulas.losses.moving import entry
        >>> from weightwalk.formulas.piecewise import mlp
        >>> net = mlp([np.array([[0.5]]), np.array([[1.0]])], [np.zeros(1), np.zeros(1)])  # relu(w x), w = 0.5
        >>> found = loss_along(net, entry(net, 0, 0, 0), (np.array([[1.0]]), np.array([[2.0]])))
        >>> found.kinks.tolist(), found.loss, found.minimum.at, found.certificate.ok
        ([0.0], 2.25, 2.0, True)
    """
    if loss != "mse":
        raise UsageError(
            f"Along a weight only the mean squared error is piecewise quadratic, and {loss!r} is not that: "
            "use loss='mse'."
        )
    x, y = check_data(net, data)
    start, end = _check_span(span, weight)
    moves = motion(net, [weight], x)
    parts, switches, places = [], [], []
    done, size, width = 0, 16, max([1, net.output.size, *(la.size for la in net.layers[weight.first :])])
    pieces = 0
    while done < len(x):
        some = slice(done, min(done + size, len(x)))
        found = segments(moves.rows(some), start - weight.value, end - weight.value, tolerance, max_pieces, pieces)
        parts.append(losses(found, y[some], done, y.size))
        switches.append(found.switches + np.array([done, 0, 0]))
        places.append(found.places)
        pieces += len(found.sample)
        done = some.stop
        size = max(1, min(4 * size, int(NUMBERS * (some.stop - some.start) / (2 * width * len(found.sample)))))
    kinks, centres, total = summed(joined(parts))
    where = np.concatenate(places)
    order = np.argsort(where, kind="stable")
    rows = np.column_stack([np.searchsorted(kinks, where), np.concatenate(switches)])[order]
    noise = NOISE * total[:, 3]
    coefficients = np.ascontiguousarray(total[:, 2::-1])
    line = LossLine(weight.name, weight.value, start, end, len(x), kinks, rows, centres, coefficients, noise)
    line = replace(line, minima=_minima(line), derivative=_derivative(line))
    judge = oracle or (lambda w: _by_net(moves, y, w - weight.value))
    return replace(line, certificate=_certificate(line, moves, y, judge, gradient, seed))


def check_data(net: PiecewiseNet, data: tuple[np.ndarray, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Inputs and targets as float64 arrays of two axes.

    Raises:
        UsageError: Their shapes do not fit the net or each other, or a number is not finite.
    """
    x, y = (np.asarray(a, np.float64) for a in data)
    x, y = (a.reshape(len(a), math.prod(a.shape[1:])) if a.ndim else a.reshape(1, 1) for a in (x, y))
    if not len(x) or len(x) != len(y) or x.shape[1] != net.n or y.shape[1] != net.output.size:
        raise UsageError(
            f"The data are inputs of shape {x.shape} and targets of shape {y.shape}; this net takes (N, {net.n}) and "
            f"gives (N, {net.output.size}), with N at least 1."
        )
    for what, array in (("inputs", x), ("targets", y)):
        if not np.isfinite(array).all():
            raise UsageError(f"The {what} hold numbers that are not finite; a loss needs finite data.")
    return x, y


def _check_span(span: tuple[float, float] | None, weight: Weight) -> tuple[float, float]:
    start, end = (-math.inf, math.inf) if span is None else (float(span[0]), float(span[1]))
    if not start < end:
        raise UsageError(f"The span from {start!r} to {end!r} is empty; give the smaller end first.")
    if not start <= weight.value <= end:
        raise UsageError(f"{weight.name} is {weight.value!r}, outside of the span from {start!r} to {end!r}.")
    return start, end


# -- minima and derivative --------------------------------------------------------------------------------------------


def _minima(line: LossLine) -> tuple[Minimum, ...]:
    """Where the sign of the derivative goes from - over 0, if at all, to +; an end of the span counts as a wall."""
    low, high = line.ends()
    piece = np.arange(line.pieces)
    rises = np.stack([line.rise(piece, low), line.rise(piece, high)], 1)
    signs = np.where(np.abs(rises) <= line.noise[:, None], 0.0, np.sign(rises)).reshape(-1)
    place = np.stack([low, high], 1).reshape(-1)
    told = np.flatnonzero(signs)
    falls = np.concatenate([[-1.0], signs[told], [1.0]])
    index = np.concatenate([[-1], told, [2 * line.pieces]])
    turn = np.flatnonzero((falls[:-1] < 0) & (falls[1:] > 0))
    found = []
    for left, right in zip(index[turn], index[turn + 1], strict=True):
        if right == left + 1 and left % 2 == 0:  # within one piece: the vertex of its parabola
            a, b, _ = line.coefficients[left // 2]
            vertex = float(np.clip(line.centres[left // 2] - b / (2 * a), low[left // 2], high[left // 2]))
            ends, inside = (vertex, vertex), left // 2
        else:
            # A piece that falls to 0 at its right end, or rises from 0 at its left, is not of the floor between.
            first, last = left + (left % 2 == 0), right - (right % 2)
            ends = (float(place[max(first, 0)]), float(place[min(last, len(place) - 1)]))
            inside = min((left + 1) // 2 if left >= 0 else 0, line.pieces - 1)
        u = float(np.clip(0.0, *ends))
        inside = inside if ends[0] == ends[1] else int(np.searchsorted(line.steps, u))
        value = float(line.on(np.array(inside), np.array(u)))
        found.append(Minimum(line.at + u, value, line.at + ends[0], line.at + ends[1]))
    return tuple(found)


def _derivative(line: LossLine) -> tuple[float, float]:
    left, right = (np.searchsorted(line.steps, 0.0, side=side) for side in ("left", "right"))
    return tuple(float(line.rise(np.array(i), np.array(0.0))) for i in (left, right))  # type: ignore[return-value]


# -- the certificate --------------------------------------------------------------------------------------------------


def _certificate(
    line: LossLine, moves: Motion, target: np.ndarray, judge: LossOracle, gradient: float | None, seed: int
) -> Certificate:
    w = _fresh(line, seed)
    outputs = np.stack([_outputs(moves, u) for u in w - line.at])
    size = ((np.abs(outputs) + np.abs(target)) ** 2).mean(axis=(1, 2))
    error = _worst(np.abs(line(w) - judge(w)) / np.maximum(size, 1e-300))
    limit = f"<= {LIMIT:g} of mean (|y| + |target|)^2 there"
    checks = [Check(f"greatest |formula - net| at {len(w)} fresh weights", error, limit, error <= LIMIT)]
    own = float(judge(np.array([line.at]))[0])
    scale = max(own, float(((np.abs(_outputs(moves, 0.0)) + np.abs(target)) ** 2).mean()), 1e-300)
    error = abs(line.loss - own) / scale
    checks.append(Check("|formula - loss of the net| with the weight as it is", error, limit, error <= LIMIT))
    if gradient is not None:
        checks.append(_slope_check(line, gradient))
    if len(line.steps):
        i = np.arange(len(line.steps))
        before, after = line.on(i, line.steps), line.on(i + 1, line.steps)
        gap = _worst(np.abs(before - after) / np.maximum(np.maximum(np.abs(before), np.abs(after)), scale))
        checks.append(Check("greatest jump at a kink", gap, f"<= {LIMIT:g} of the loss", gap <= LIMIT))
    checks += [Check("pieces", line.pieces), Check("local minima", len(line.minima)), Check("samples", line.samples)]
    return Certificate(tuple(checks), seed)


def _slope_check(line: LossLine, gradient: float) -> Check:
    """Between the derivatives from the left and from the right, which are one where no kink is."""
    low, high = sorted(line.derivative)
    away = max(low - gradient, gradient - high, 0.0)
    noise = line.noise[np.searchsorted(line.steps, 0.0)] / NOISE
    limit = LIMIT * max(abs(low), abs(high), noise)
    return Check("|derivative - autograd's| with the weight as it is", away, f"<= {limit:.3g}", away <= limit)


def _fresh(line: LossLine, seed: int) -> np.ndarray:
    """Random values of the weight: half evenly over the span, half within pieces drawn at random."""
    rng = np.random.default_rng(seed)
    count = int(np.clip(WORK // line.samples, 8, FRESH))
    ends = [end - line.at for end in (line.start, line.end) if math.isfinite(end)]
    known = np.sort(np.concatenate([ends, line.steps, [0.0]]))
    reach = max(float(np.abs(known).max()), abs(line.at), 1.0)
    low = line.start - line.at if math.isfinite(line.start) else known[0] - reach
    high = line.end - line.at if math.isfinite(line.end) else known[-1] + reach
    marks = np.concatenate([[low], line.steps, [high]])
    piece = rng.integers(0, line.pieces, count - count // 2)
    within = marks[piece] + (marks[piece + 1] - marks[piece]) * rng.random(len(piece))
    u = np.concatenate([low + (high - low) * rng.random(count // 2), within])
    return np.clip(line.at + u, line.start, line.end)


def _outputs(moves: Motion, u: float) -> np.ndarray:
    """y of all samples with the weight moved by u."""
    sources: dict[int, np.ndarray] = {}
    for i in range(len(moves.still)):
        if i < len(moves.still) - 1 and moves.first + i + 1 not in moves.moving:
            continue
        z = moves.still[i]
        rates = moves.rates[i]
        z = z if rates is None else z + u * rates[0]
        affine = moves.affine(moves.first + i)
        for j, matrix in affine.terms:
            if j in moves.moving:
                z = z + np.asarray(matrix @ sources[j].T).T
        if i == len(moves.still) - 1:
            return z
        sources[moves.first + i + 1] = moves.net.layers[moves.first + i].activation(z)
    raise AssertionError("a motion ends with the output")


def _by_net(moves: Motion, target: np.ndarray, u: np.ndarray) -> np.ndarray:
    return np.array([((_outputs(moves, step) - target) ** 2).mean() for step in u])


def _worst(errors: np.ndarray) -> float:
    worst = float(np.max(errors, initial=0.0))
    return math.inf if math.isnan(worst) else worst
