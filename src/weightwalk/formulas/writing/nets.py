"""A small net as one nested formula: ``y = 0.5 relu(2 x + 1) - relu(x) + 3``."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from weightwalk.errors import UsageError
from weightwalk.formulas.piecewise import Activation, Affine, Layer, Matrix, PiecewiseNet
from weightwalk.formulas.writing.words import Number, Style, number, symbol, total

LENGTH = 20_000
"""Characters of one formula, beyond which nobody reads it."""

SHORTEST = 8
"""Characters that a term takes at least, ``relu(x)`` and a sign."""


def expression(
    net: PiecewiseNet,
    output: int = 0,
    *,
    digits: int | None = None,
    style: Style = "text",
    names: Sequence[str] | None = None,
    limit: int = LENGTH,
) -> str:
    """One output as a nested formula of the inputs.

    Each unit is written where it is read, so that a unit of an early layer is written many times. Factors of zero are
    left out. In Python style the formula can be evaluated with the inputs' names, and ``max`` and ``min``, alone.

    Args:
        net: The net.
        output: Which output.
        digits: To round to; None writes every number such that it reads back as the same float64.
        style: ``"text"``, ``"latex"`` or ``"python"``.
        names: Of the inputs, instead of the net's.
        limit: Characters; a longer formula is refused.

    Raises:
        UsageError: It would be longer; or the net has other functions than can be written in Python.

    Example:
        >>> from weightwalk.formulas.piecewise import mlp
        >>> net = mlp([np.array([[2.0], [-1.0]]), np.array([[0.5, -1.0]])], [np.array([1.0, 0.0]), np.array([3.0])])
        >>> expression(net, names=["x"])
        '0.5 relu(2 x + 1) - relu(-x) + 3'
        >>> expression(net, names=["x"], style="python")
        '0.5 * max(0.0, 2.0 * x + 1.0) - max(0.0, -x) + 3.0'
    """
    if not 0 <= output < net.output.size:
        raise UsageError(f"There is no output number {output}: the net has {net.output.size}, counted from 0.")
    count = units_written(net, output)
    if count * SHORTEST > limit:
        raise UsageError(
            f"Written out, {net.outputs[output]} has {count:,} nested terms, more than fit into {limit:,} "
            "characters (limit=); ask for the pieces instead (the formula along a line, on a plane or at one input)."
        )
    names = list(names if names is not None else net.inputs)
    writer = _Writer(net, [symbol(n, style) for n in names], digits, style, limit)
    return writer.affine(net.output, output)


def units_written(net: PiecewiseNet, output: int) -> int:
    """How many inputs and units are written in one output's formula, each as often as it is read."""
    times = [np.zeros(net.n), *(np.zeros(layer.size) for layer in net.layers)]

    def read(affine: Affine, weight: np.ndarray) -> None:
        for j, matrix in affine.terms:
            times[j] += weight @ (dense(matrix) != 0)

    unit = np.zeros(net.output.size)
    unit[output] = 1.0
    read(net.output, unit)
    for k in range(len(net.layers), 0, -1):
        read(net.layers[k - 1].affine, times[k])
    return int(min(sum(t.sum() for t in times), 1e18))


def dense(matrix: Matrix) -> np.ndarray:
    """The entries of a matrix of any kind."""
    if isinstance(matrix, np.ndarray):
        return matrix
    return matrix.toarray() if hasattr(matrix, "toarray") else np.asarray(matrix @ np.eye(matrix.shape[1]))


class _Writer:
    """Writes units on demand, each once; where it is read again its text is used again."""

    def __init__(self, net: PiecewiseNet, names: Sequence[str], digits: int | None, style: Style, limit: int) -> None:
        self.net, self.names, self.digits, self.limit = net, names, digits, limit
        self.style: Style = style
        self.known: dict[tuple[int, int], str] = {}
        self.matrices: dict[int, np.ndarray] = {}

    def affine(self, affine: Affine, row: int) -> str:
        """``w_1 h_1 + w_2 h_2 + b``."""
        terms: list[tuple[Number, str]] = []
        for j, matrix in affine.terms:
            weights = self.matrices.setdefault(id(matrix), dense(matrix))[row]
            terms += [(weights[i].item(), self.source(j, int(i))) for i in np.flatnonzero(weights)]
        if affine.bias[row] != 0 or not terms:
            terms.append((affine.bias[row].item(), ""))
        said = total(terms, self.digits, self.style)
        if len(said) > self.limit:
            raise UsageError(
                f"Written out, the formula has more than {self.limit:,} characters; round it (digits=), allow more "
                "(limit=), or ask for the pieces instead (the formula along a line, on a plane or at one input)."
            )
        return said

    def source(self, layer: int, unit: int) -> str:
        """What one number of a source is called: an input by its name, a unit by its formula."""
        if layer == 0:
            return self.names[unit]
        key = (layer, unit)
        if key not in self.known:
            self.known[key] = self.phi(self.net.layers[layer - 1], unit)
        return self.known[key]

    def phi(self, layer: Layer, unit: int) -> str:
        """One unit."""
        z = self.affine(layer.affine, unit)
        act = layer.activation
        kinks, slopes, offsets = (a[unit].tolist() for a in (act.kinks, act.slopes, act.offsets))
        say = _SAID[self.style]
        number_of = lambda x: number(x, self.digits, self.style)  # noqa: E731
        if not kinks:
            return self.scaled(slopes[0], z, offsets[0])
        if (kinks, slopes, offsets) == ([0.0], [0.0, 1.0], [0.0, 0.0]):
            return say["relu"].format(z)
        if (kinks, slopes, offsets) == ([0.0], [-1.0, 1.0], [0.0, 0.0]):
            return say["abs"].format(z)
        if slopes == [0.0, 1.0, 0.0] and offsets == [kinks[0], 0.0, kinks[1]]:
            return say["clamp"].format(z, number_of(kinks[0]), number_of(kinks[1]))
        if len(kinks) == 1 and kinks == [0.0] and offsets == [0.0, 0.0] and slopes[1] == 1.0 and slopes[0] <= 1.0:
            return say["leaky"].format(z, number_of(slopes[0]))
        return self.bends(act, unit, z)

    def scaled(self, slope: float, z: str, offset: float) -> str:
        """``slope (z) + offset`` in brackets."""
        if (slope, offset) == (1.0, 0.0):
            return f"({z})"
        terms: list[tuple[Number, str]] = [(slope, f"({z})")]
        if offset:
            terms.append((offset, ""))
        return f"({total(terms, self.digits, self.style)})"

    def bends(self, act: Activation, unit: int, z: str) -> str:
        """Any other function, as its first line and a relu for each kink: the slopes' differences are rounded once."""
        slopes, kinks = act.slopes[unit], act.kinks[unit].tolist()
        terms: list[tuple[Number, str]] = [(slopes[0].item(), f"({z})")] if slopes[0] else []
        for kink, change in zip(kinks, np.diff(slopes).tolist(), strict=True):
            if change:
                shifted = total([(1.0, f"({z})"), (-kink, "")], self.digits, self.style) if kink else z
                terms.append((change, _SAID[self.style]["relu"].format(shifted)))
        if act.offsets[unit, 0]:
            terms.append((act.offsets[unit, 0].item(), ""))
        return f"({total(terms, self.digits, self.style)})"


_SAID: dict[Style, dict[str, str]] = {
    "text": {"relu": "relu({})", "abs": "|{}|", "clamp": "clamp({}, {}, {})", "leaky": "leaky_relu({}, {})"},
    "latex": {
        "relu": "\\max(0, {})",
        "abs": "\\left|{}\\right|",
        "clamp": "\\min(\\max({0}, {1}), {2})",
        "leaky": "\\max({0}, {1} ({0}))",
    },
    "python": {
        "relu": "max(0.0, {})",
        "abs": "abs({})",
        "clamp": "min(max({}, {}), {})",
        "leaky": "max({0}, {1} * ({0}))",
    },
}
