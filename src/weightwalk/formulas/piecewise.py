"""The one form into which every piecewise-affine network is brought.

A network is a list of layers, each an affine map of the input and of earlier layers, and one scalar function per unit::

    h_0 = x,    z_k = c_k + sum_j W_kj h_j,    h_k = phi_k(z_k),    y = c + sum_j W_j h_j

where each phi is continuous and piecewise linear: ReLU has one kink and two slopes, hardtanh two kinks and three
slopes, and a stage without a nonlinear function has none. Residual sums and concatenations are sums over j. A maximum
is ``max(a, b) = b + relu(a - b)``. Nothing is folded that would have to be rounded, so that the same layers serve
float64 and rational arithmetic.

Here a *unit* is one phi, its *piece* is the index of the slope in force, and the *pattern* of an input is the piece of
every unit. Inputs with one pattern form a convex polytope, an *activation region*.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np

Matrix = Any
"""What stands for W: a float64 array, a SciPy sparse array, or a SciPy ``LinearOperator``, of shape (rows, columns)."""

NUMBERS = 1 << 23
"""Numbers of the widest layer that are computed at a time."""


@dataclass(frozen=True, eq=False)
class Affine:
    """``z = bias + sum_j W_j h_j``.

    Attributes:
        terms: (j, W_j) for each source that is read: 0 is the input, k the output of layer k (counted from 1).
        bias: (n,) float64.
    """

    terms: tuple[tuple[int, Matrix], ...]
    bias: np.ndarray

    @property
    def size(self) -> int:
        """Number of rows, n."""
        return len(self.bias)

    def __call__(self, sources: Sequence[np.ndarray | None], scale: np.ndarray | float = 1.0) -> np.ndarray:
        """Values of z, (N, n), from source values (N, n_j); the bias is multiplied by `scale`, (N, 1) or a number.

        A scale other than 1 is for homogeneous coordinates: a point (s, t, w) with w = 0 is a direction.
        """
        out: np.ndarray | None = None
        for j, matrix in self.terms:
            part = times(matrix, sources[j])
            out = part if out is None else np.add(out, part, out=out)
        if out is None:
            rows = next(len(s) for s in sources if s is not None)
            out = np.zeros((rows, self.size))
        out += self.bias if isinstance(scale, float) and scale == 1.0 else self.bias * scale
        return out

    def columns(self, sources: Sequence[np.ndarray | None]) -> np.ndarray:
        """The same for affine maps instead of numbers: sources (n_j, R, c), whose last column is the constant."""
        some = next(s for s in sources if s is not None)
        out = np.zeros((self.size, *some.shape[1:]))
        for j, matrix in self.terms:
            source = sources[j]
            assert source is not None
            out += np.asarray(matrix @ source.reshape(len(source), -1)).reshape(out.shape)
        out[..., -1] += self.bias[:, None]
        return out

    def reads(self) -> set[int]:
        """The sources that are read."""
        return {j for j, _ in self.terms}

    def select(self, rows: Sequence[int]) -> Affine:
        """Some rows of it."""
        rows = list(rows)
        return Affine(tuple((j, some_rows(m, rows)) for j, m in self.terms), self.bias[rows])


@dataclass(frozen=True, eq=False)
class Activation:
    """One continuous piecewise-linear function per unit: ``phi_i(z) = slopes[i, p] z + offsets[i, p]``.

    Piece p is in force between kinks p - 1 and p. At a kink both neighbours give the same number.

    Attributes:
        name: ``"relu"``, ``"leaky_relu"``, ``"hardtanh"`` ...; ``""`` for the identity.
        kinks: (n, m), ascending along each row.
        slopes: (n, m + 1).
        offsets: (n, m + 1).
    """

    name: str
    kinks: np.ndarray
    slopes: np.ndarray
    offsets: np.ndarray

    @cached_property
    def is_relu(self) -> bool:
        """Whether every unit is max(0, z)."""
        plain = self.kinks.shape[1] == 1 and not self.kinks.any() and not self.offsets.any()
        return bool(plain and (self.slopes == (0.0, 1.0)).all())

    @property
    def count(self) -> int:
        """Kinks per unit, m."""
        return self.kinks.shape[1]

    def __call__(self, z: np.ndarray, scale: np.ndarray | float = 1.0) -> np.ndarray:
        """phi of z, (N, n); kinks and offsets are multiplied by `scale`, see `Affine.__call__`."""
        if self.is_relu:
            return np.maximum(z, 0.0)
        if not self.count:
            return z * self.slopes[:, 0] + self.offsets[:, 0] * scale
        return self.at(z, self.pieces(z, scale), scale)

    def pieces(self, z: np.ndarray, scale: np.ndarray | float = 1.0) -> np.ndarray:
        """The piece of each unit, (N, n) int8; a unit exactly at a kink takes the piece before it."""
        found = np.zeros(z.shape, np.int8)
        for p in range(self.count):
            found += z > self.kinks[:, p] * scale
        return found

    def at(self, z: np.ndarray, pieces: np.ndarray, scale: np.ndarray | float = 1.0) -> np.ndarray:
        """``slopes z + offsets`` with the slopes of given pieces, (N, n)."""
        slopes, offsets = self.of(pieces)
        return z * slopes + offsets * scale

    def of(self, pieces: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Slopes and offsets of given pieces, each (N, n)."""
        units = np.arange(len(self.slopes))
        return self.slopes[units, pieces], self.offsets[units, pieces]


@dataclass(frozen=True, eq=False)
class Layer:
    """One affine map and one activation.

    Attributes:
        name: Address of the pre-activation in the walk: ``"fc1"``.
        shape: Its shape there; n = product of it.
        affine: z of it.
        activation: phi of it.
    """

    name: str
    shape: tuple[int, ...]
    affine: Affine
    activation: Activation

    @property
    def size(self) -> int:
        """Number of units, n."""
        return self.affine.size

    def unit(self, index: int) -> str:
        """Address of one unit's pre-activation: ``"fc1[0, 3]"``."""
        return element(self.name, self.shape, index)


@dataclass(frozen=True, eq=False)
class PiecewiseNet:
    """A network in the form above.

    Attributes:
        inputs: Name of each input number, n of them.
        layers: In order; layer k of the formulas is ``layers[k - 1]``.
        output: y.
        outputs: Name of each output number.
        inexact: Why the layers' entries are not exactly those of the net (a square root in a batch norm, say); ``""``
            where they are, so that rational arithmetic means something.
    """

    inputs: tuple[str, ...]
    layers: tuple[Layer, ...]
    output: Affine
    outputs: tuple[str, ...]
    inexact: str = field(default="", repr=False)

    @property
    def n(self) -> int:
        """Number of inputs."""
        return len(self.inputs)

    @property
    def units(self) -> int:
        """Number of units with at least one kink."""
        return sum(layer.size for layer in self.layers if layer.activation.count)

    @cached_property
    def last_read(self) -> tuple[int, ...]:
        """For each source, the last layer that reads it (number of layers + 1 for the output; 0 for never)."""
        last = [0] * (len(self.layers) + 1)
        for k, affine in enumerate((*(layer.affine for layer in self.layers), self.output), 1):
            for j in affine.reads():
                last[j] = k
        return tuple(last)

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """y in float64, (N, outputs), at inputs (N, n); some at a time, so that wide layers fit into memory."""
        x = np.asarray(x, np.float64)
        step = max(1, NUMBERS // max([1, self.n, *(layer.size for layer in self.layers)]))
        if len(x) <= step:
            return self.run(x)[0]
        return np.concatenate([self.run(x[i : i + step])[0] for i in range(0, len(x), step)])

    def run(self, x: np.ndarray, keep: bool = False) -> tuple[np.ndarray, list[np.ndarray]]:
        """y, (N, outputs), and with `keep` every pre-activation, (N, n_k) per layer."""
        sources: list[np.ndarray | None] = [np.asarray(x, np.float64)]
        kept: list[np.ndarray] = []
        for k, layer in enumerate(self.layers, 1):
            z = layer.affine(sources)
            if keep:
                kept.append(z)
            sources.append(layer.activation(z))
            for j in range(k):
                if self.last_read[j] <= k:
                    sources[j] = None
        return self.output(sources), kept

    def pattern(self, x: np.ndarray) -> list[np.ndarray]:
        """The piece of every unit at inputs (N, n): (N, n_k) int8 per layer."""
        return [la.activation.pieces(z) for la, z in zip(self.layers, self.run(x, keep=True)[1], strict=True)]

    def maps(self, pattern: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        """The affine map of each of R patterns: A (R, outputs, n) and b (R, outputs), so that y = A x + b there.

        Args:
            pattern: (R, n_k) pieces per layer.
        """
        count = len(pattern[0]) if pattern else 1
        start = np.zeros((self.n, count, self.n + 1))
        start[np.arange(self.n), :, np.arange(self.n)] = 1.0
        sources: list[np.ndarray | None] = [start]
        for k, (layer, pieces) in enumerate(zip(self.layers, pattern, strict=True), 1):
            z = layer.affine.columns(sources)
            slopes, offsets = layer.activation.of(pieces)
            z *= slopes.T[:, :, None]
            z[..., -1] += offsets.T
            sources.append(z)
            for j in range(k):
                if self.last_read[j] <= k:
                    sources[j] = None
        y = self.output.columns(sources)
        return np.ascontiguousarray(y[..., :-1].transpose(1, 0, 2)), np.ascontiguousarray(y[..., -1].T)

    def restrict(
        self, origin: np.ndarray, directions: np.ndarray, names: Sequence[str], fold: bool = True
    ) -> PiecewiseNet:
        """The net on the flat ``x = origin + sum_i u_i directions[i]``, as a net of u.

        Args:
            origin: (n,).
            directions: (d, n).
            names: Of the d new inputs.
            fold: Multiply the directions into whatever reads x (rounded); otherwise they become a first layer without
                kinks, which keeps every entry exact.
        """
        origin, directions = np.asarray(origin, np.float64), np.asarray(directions, np.float64)
        if not fold:
            moved = tuple(replace(la, affine=_shifted(la.affine)) for la in self.layers)
            onto = Layer("x", (self.n,), Affine(((0, directions.T),), origin), identity(self.n))
            return replace(self, inputs=tuple(names), layers=(onto, *moved), output=_shifted(self.output))

        def on_flat(affine: Affine) -> Affine:
            bias, terms = affine.bias, []
            for j, matrix in affine.terms:
                if j == 0:
                    bias = bias + np.asarray(matrix @ origin)
                    matrix = np.asarray(matrix @ directions.T)
                terms.append((j, matrix))
            return Affine(tuple(terms), bias)

        layers = tuple(replace(la, affine=on_flat(la.affine)) for la in self.layers)
        return replace(self, inputs=tuple(names), layers=layers, output=on_flat(self.output))

    def select(self, rows: Sequence[int]) -> PiecewiseNet:
        """The same net with some of its outputs."""
        return replace(self, output=self.output.select(rows), outputs=tuple(self.outputs[r] for r in rows))


def identity(n: int) -> Activation:
    """No kinks, slope 1."""
    return Activation("", np.zeros((n, 0)), np.ones((n, 1)), np.zeros((n, 1)))


def relu(n: int) -> Activation:
    """max(0, z) for n units."""
    return Activation("relu", np.zeros((n, 1)), np.tile([0.0, 1.0], (n, 1)), np.zeros((n, 2)))


def mlp(weights: Sequence[np.ndarray], biases: Sequence[np.ndarray]) -> PiecewiseNet:
    """A ReLU network from its weights, (n_k, n_k-1) each, and biases, (n_k,) each; the last pair is the output's.

    Example:
        >>> import numpy as np
        >>> net = mlp([np.array([[1.0], [-1.0]]), np.array([[1.0, 1.0]])], [np.zeros(2), np.zeros(1)])
        >>> net(np.array([[-3.0], [2.0]])).tolist()
        [[3.0], [2.0]]
    """
    layers = tuple(
        Layer(
            f"fc{k}", (len(b),), Affine(((k - 1, np.asarray(w, np.float64)),), np.asarray(b, np.float64)), relu(len(b))
        )
        for k, (w, b) in enumerate(zip(weights[:-1], biases[:-1], strict=True), 1)
    )
    last = Affine(((len(layers), np.asarray(weights[-1], np.float64)),), np.asarray(biases[-1], np.float64))
    return PiecewiseNet(
        tuple(f"x[{i}]" for i in range(np.shape(weights[0])[1])),
        layers,
        last,
        tuple(f"y[{i}]" for i in range(last.size)),
    )


def element(name: str, shape: Sequence[int], flat: int) -> str:
    """``"fc1[0, 3]"`` for the element of a value at a flat index; the name alone for a 0-d value."""
    if not shape:
        return name
    return f"{name}[{', '.join(str(int(i)) for i in np.unravel_index(flat, tuple(shape)))}]"


def times(matrix: Matrix, rows: np.ndarray | None) -> np.ndarray:
    """``rows @ matrix.T`` for rows (N, columns), whatever the matrix is."""
    assert rows is not None
    if isinstance(matrix, np.ndarray):
        return rows @ matrix.T
    return np.ascontiguousarray(np.asarray(matrix @ rows.T).T)


def some_rows(matrix: Matrix, rows: Sequence[int]) -> Matrix:
    """Some rows of a matrix of any kind."""
    if isinstance(matrix, np.ndarray) or hasattr(matrix, "tocsr"):
        return matrix[list(rows)]
    pick = np.zeros((matrix.shape[0], len(rows)))
    pick[list(rows), np.arange(len(rows))] = 1.0
    return np.asarray(matrix.T @ pick).T


def _shifted(affine: Affine) -> Affine:
    """The same, with sources counted one higher."""
    return Affine(tuple((j + 1, m) for j, m in affine.terms), affine.bias)
