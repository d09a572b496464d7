"""Random nets of every kind that the form allows, and the slowest clear referee: affine maps as lists of fractions."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import scipy.sparse
from scipy.sparse.linalg import LinearOperator, aslinearoperator

from weightwalk.formulas.piecewise import Activation, Affine, Layer, PiecewiseNet, identity, relu

KINDS = ("relu", "leaky", "hardtanh", "abs", "none")


def activation(kind: str, n: int) -> Activation:
    if kind == "relu":
        return relu(n)
    if kind == "none":
        return identity(n)
    if kind == "hardtanh":
        return Activation(kind, np.tile([-1.0, 1.0], (n, 1)), np.tile([0.0, 1.0, 0.0], (n, 1)),
                          np.tile([-1.0, 0.0, 1.0], (n, 1)))  # fmt: skip
    low = -1.0 if kind == "abs" else 0.25
    return Activation(kind, np.zeros((n, 1)), np.tile([low, 1.0], (n, 1)), np.zeros((n, 2)))


def random_net(seed: int, *, integers: bool, most: int = 5, inputs: int | None = None) -> PiecewiseNet:
    """Two or three layers with skips; with `integers`, weights from -2 to 2 with repeated and zero rows."""
    rng = np.random.default_rng(seed)
    n = inputs or int(rng.integers(1, 4))

    def matrix(rows: int, columns: int) -> np.ndarray:
        if not integers:
            return rng.normal(size=(rows, columns)) / np.sqrt(columns)
        made = rng.integers(-2, 3, (rows, columns)).astype(float)
        made[rng.integers(rows)] = made[rng.integers(rows)]
        if rng.integers(2):
            made[rng.integers(rows)] = 0.0
        return made

    def bias(rows: int) -> np.ndarray:
        return rng.integers(-2, 3, rows) / 2.0 if integers else rng.normal(size=rows) / 2

    def affine(rows: int, sizes: list[int]) -> Affine:
        last = len(sizes) - 1
        terms = {last: matrix(rows, sizes[last])}
        if last and rng.integers(2):
            j = int(rng.integers(last))
            terms[j] = matrix(rows, sizes[j])
        kind = rng.integers(4)
        wrap = (np.asarray, scipy.sparse.csr_array, scipy.sparse.coo_array, aslinearoperator)[kind]
        return Affine(tuple((j, wrap(m)) for j, m in sorted(terms.items())), bias(rows))

    sizes, layers = [n], []
    for k in range(int(rng.integers(1, 4))):
        size = int(rng.integers(1, most + 1))
        kind = KINDS[rng.integers(len(KINDS))]
        layers.append(Layer(f"z{k + 1}", (size,), affine(size, sizes), activation(kind, size)))
        sizes.append(size)
    outputs = int(rng.integers(1, 3))
    return PiecewiseNet(
        tuple(f"x[{i}]" for i in range(n)),
        tuple(layers),
        affine(outputs, sizes),
        tuple(f"y[{i}]" for i in range(outputs)),
    )


def dense(matrix: object) -> np.ndarray:
    if isinstance(matrix, np.ndarray):
        return matrix
    if isinstance(matrix, LinearOperator):
        return matrix @ np.eye(matrix.shape[1])
    return matrix.toarray()  # type: ignore[attr-defined]


Form = list[Fraction]
"""An affine function of the inputs: slopes, then the constant."""


def forms(net: PiecewiseNet, pieces: list[np.ndarray]) -> tuple[list[list[Form]], list[Form]]:
    """z of every unit, and y, as affine functions under given pieces, in rational arithmetic, one number at a time."""
    n = net.n
    sources: list[list[Form]] = [[[Fraction(int(i == j)) for j in range(n + 1)] for i in range(n)]]
    all_z = []

    def combine(affine: Affine) -> list[Form]:
        out = []
        matrices = [(j, dense(m)) for j, m in affine.terms]
        for i in range(affine.size):
            form = [Fraction(0)] * n + [Fraction(float(affine.bias[i]))]
            for j, m in matrices:
                for h, source in enumerate(sources[j]):
                    form = [a + Fraction(float(m[i, h])) * b for a, b in zip(form, source, strict=True)]
            out.append(form)
        return out

    for layer, piece in zip(net.layers, pieces, strict=True):
        z = combine(layer.affine)
        all_z.append(z)
        h = []
        for i, form in enumerate(z):
            slope = Fraction(float(layer.activation.slopes[i, piece[i]]))
            offset = Fraction(float(layer.activation.offsets[i, piece[i]]))
            h.append([slope * a for a in form[:-1]] + [slope * form[-1] + offset])
        sources.append(h)
    return all_z, combine(net.output)


def value(form: Form, x: np.ndarray) -> Fraction:
    return sum((a * Fraction(float(v)) for a, v in zip(form, x, strict=False)), form[-1])
