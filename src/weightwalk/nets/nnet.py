"""``.nnet`` files: ReLU networks as text, the format of the ACAS Xu collision-avoidance controllers.

After header lines that begin with ``//`` come comma-separated lines: number of layers, inputs, outputs, greatest width;
the width of each layer, inputs first; a flag that is not used; minimum, maximum, mean and range of every input, the
last two followed by those of the outputs; then per layer its weights, a row per line, and its biases, one per line.

The format's own evaluators compute in float64, so the decimals are read as float64 and no float32 stands between. They
also clip each input to its minimum and maximum, so the network here begins with the same clip: inside the box it
changes nothing, outside the network is constant along that input.

Source of the format: https://github.com/sisl/NNet.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from weightwalk.errors import UsageError
from weightwalk.nets.inputs import Expects
from weightwalk.nets.net import Net

ACASXU_INPUTS = ("rho", "theta", "psi", "v_own", "v_int")
"""Distance (ft), angle to the intruder (rad), its heading (rad), own speed and the intruder's (ft/s)."""

ACASXU_OUTPUTS = ("COC", "WL", "WR", "SL", "SR")
"""Costs of the advisories clear of conflict, weak left, weak right, strong left, strong right; the least is advised."""

Numbers = tuple[float, ...]


@dataclass(frozen=True, slots=True)
class NnetFile:
    """What a ``.nnet`` file says.

    Attributes:
        low: Minimum of each input.
        high: Maximum of each input.
        mean: Taken from each input; one more at the end, added to the outputs.
        span: What each input is then divided by (the file's "range"); one more at the end, by which the outputs are
            multiplied.
        weights: Per layer, its rows.
        biases: Per layer.
    """

    low: Numbers
    high: Numbers
    mean: Numbers
    span: Numbers
    weights: tuple[tuple[Numbers, ...], ...]
    biases: tuple[Numbers, ...]


class Clip(nn.Module):
    """Each input kept between its minimum and its maximum."""

    low: Tensor
    high: Tensor

    def __init__(self, low: Sequence[float], high: Sequence[float]) -> None:
        super().__init__()
        self.register_buffer("low", torch.tensor(low, dtype=torch.float64))
        self.register_buffer("high", torch.tensor(high, dtype=torch.float64))

    def forward(self, x: Tensor) -> Tensor:
        """(N, n) -> (N, n)."""
        return torch.clamp(x, self.low, self.high)


class Normalise(nn.Module):
    """``(x - mean) / range``."""

    mean: Tensor
    range: Tensor

    def __init__(self, mean: Sequence[float], span: Sequence[float]) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(mean, dtype=torch.float64))
        self.register_buffer("range", torch.tensor(span, dtype=torch.float64))

    def forward(self, x: Tensor) -> Tensor:
        """(N, n) -> (N, n)."""
        return (x - self.mean) / self.range


class Denormalise(Normalise):
    """``y * range + mean``."""

    def forward(self, x: Tensor) -> Tensor:
        """(N, m) -> (N, m)."""
        return x * self.range + self.mean


class NnetNet(nn.Module):
    """The network of a ``.nnet`` file: clip, normalise, fc1, relu1, fc2, ..., denormalise.

    Args:
        file: What the file says.
        clip: Keep inputs in the file's box, as the format's evaluators do.
    """

    def __init__(self, file: NnetFile, clip: bool = True) -> None:
        super().__init__()
        self.clip = Clip(file.low, file.high) if clip else nn.Identity()
        self.normalise = Normalise(file.mean[:-1], file.span[:-1])
        self.depth = len(file.weights)
        for k, (rows, bias) in enumerate(zip(file.weights, file.biases, strict=True), 1):
            linear = nn.Linear(len(rows[0]), len(rows), dtype=torch.float64, device="meta")  # no random numbers drawn
            linear.weight = nn.Parameter(torch.tensor(rows, dtype=torch.float64))
            linear.bias = nn.Parameter(torch.tensor(bias, dtype=torch.float64))
            self.add_module(f"fc{k}", linear)
            if k < self.depth:
                self.add_module(f"relu{k}", nn.ReLU())
        self.denormalise = Denormalise(file.mean[-1:], file.span[-1:])

    def forward(self, x: Tensor) -> Tensor:
        """Inputs in their own units, (N, n) -> outputs in theirs, (N, m)."""
        x = self.normalise(self.clip(x))
        for k in range(1, self.depth):
            x = self.get_submodule(f"relu{k}")(self.get_submodule(f"fc{k}")(x))
        return self.denormalise(self.get_submodule(f"fc{self.depth}")(x))


def nnet_net(path: Path, *, clip: bool = True) -> Net:
    """The network in a ``.nnet`` file, in float64, with its input box (``net.expects.box``).

    Five inputs and five outputs are taken for ACAS Xu's and get their names.

    Args:
        path: The file.
        clip: Keep inputs in the file's box, as the format's evaluators do.

    Raises:
        UsageError: No such file, or one that is not whole; the message names the line.
    """
    file = read_nnet(path)
    n, m = len(file.low), len(file.biases[-1])
    acasxu = (n, m) == (len(ACASXU_INPUTS), len(ACASXU_OUTPUTS))
    names = ACASXU_INPUTS if acasxu else ()
    labels = {"in": {-1: list(names)}, "denormalise": {-1: list(ACASXU_OUTPUTS)}} if acasxu else {}
    box = tuple(zip(file.low, file.high, strict=True))
    widths = "-".join(str(w) for w in (n, *(len(b) for b in file.biases)))
    return Net(
        path.name,
        NnetNet(file, clip).eval(),
        f"{widths} ReLU network from a .nnet file, float64" + ("" if clip else ", inputs not clipped"),
        Expects(torch.float64, size=n, sure=True, names=names, box=box),
        labels,
        provenance={"kind": "nnet", "source": str(path), "clip": clip, "torch": torch.__version__},
    )


def read_nnet(path: Path) -> NnetFile:
    """Read a ``.nnet`` file.

    Raises:
        UsageError: No such file, or one that is not whole; the message names the line.
    """
    if not path.is_file():
        raise UsageError(f"There is no file {str(path)!r}.")
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise UsageError(f"{str(path)!r} is not a .nnet file: it is not text (byte {error.start}).") from None
    except OSError as error:
        raise UsageError(f"{str(path)!r} cannot be read: {error.strerror or error}.") from error
    lines = _Lines(str(path), text)
    layers, inputs, outputs, _ = lines.whole(4, "number of layers, inputs and outputs, and the greatest width")
    sizes = lines.whole(layers + 1, f"the inputs and the width of each of {layers} layers")
    if (sizes[0], sizes[-1]) != (inputs, outputs):
        raise lines.wrong(f"the widths go from {sizes[0]} to {sizes[-1]}, but {inputs} inputs and {outputs} outputs")
    lines.take(None, "a flag that is not used")
    low = lines.take(inputs, "the minimum of each input")
    high = lines.take(inputs, "the maximum of each input")
    if any(a > b for a, b in zip(low, high, strict=True)):
        raise lines.wrong("a maximum is below its minimum")
    mean = lines.take(inputs + 1, "the mean of each input and of the outputs")
    span = lines.take(inputs + 1, "the range of each input and of the outputs")
    if 0.0 in span:
        raise lines.wrong("a range is 0, and inputs are divided by it")
    weights, biases = [], []
    for k in range(1, layers + 1):
        rows = range(sizes[k])
        weights.append(tuple(lines.take(sizes[k - 1], f"weights of layer {k}, row {i + 1}") for i in rows))
        biases.append(tuple(lines.take(1, f"bias {i + 1} of layer {k}")[0] for i in rows))
    lines.end()
    return NnetFile(low, high, mean, span, tuple(weights), tuple(biases))


class _Lines:
    """The lines that are neither header nor empty, one after the other, with their numbers."""

    def __init__(self, name: str, text: str) -> None:
        self._name = name
        self._number = 0
        numbered = enumerate(text.splitlines(), 1)
        self._rest = iter([(i, line) for i, line in numbered if line.strip() and not line.lstrip().startswith("//")])

    def wrong(self, what: str) -> UsageError:
        return UsageError(f"{self._name!r} is not a whole .nnet file: line {self._number}: {what}.")

    def take(self, count: int | None, what: str) -> Numbers:
        """The numbers of the next line, `count` of them; a comma at its end is the format's habit."""
        asked = f"expected {'numbers' if count is None else f'{count:,} number' + 's' * (count != 1)} ({what})"
        found = next(self._rest, None)
        if found is None:
            self._number += 1
            raise self.wrong(f"{asked}, but the file ends here")
        self._number, line = found
        words = line.strip().removesuffix(",").split(",")
        if count is not None and len(words) != count:
            raise self.wrong(f"{asked}, found {len(words):,}")
        return tuple(self._number_in(word.strip(), asked) for word in words)

    def whole(self, count: int, what: str) -> tuple[int, ...]:
        """The same for whole numbers above 0."""
        numbers = self.take(count, what)
        for number in numbers:
            if number != int(number) or number < 1:
                raise self.wrong(f"{number:g} is not a whole number above 0 ({what})")
        return tuple(int(number) for number in numbers)

    def end(self) -> None:
        """There must be no more lines."""
        found = next(self._rest, None)
        if found is not None:
            self._number = found[0]
            raise self.wrong("the network is complete before this line; is the number of layers or a width too small?")

    def _number_in(self, word: str, asked: str) -> float:
        try:
            number = float(word) if "_" not in word else math.nan
        except ValueError:
            raise self.wrong(f"{asked}, found {word[:20]!r}") from None
        if not math.isfinite(number):
            raise self.wrong(f"{asked}, found {word[:20]!r}, which is not finite")
        return number
