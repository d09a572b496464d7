"""Forward and loss: what the net said against what was wanted, by quantities that are kept apart."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from weightwalk.learning.nudges.facts import Compared, Error
from weightwalk.walks.model import Value
from weightwalk.walks.walk import Walk

MEANS = {"mse": "squared", "mae": "absolute", "cross_entropy": "cross_entropy", "bce": "cross_entropy"}
SHOWN = 12
IGNORED = -100  # a target that torch's cross-entropy passes over


def compare(
    walk: Walk, output: np.ndarray, targets: np.ndarray, loss: str, recorded: float, names: Sequence[str]
) -> Compared:
    """The errors of one batch.

    Args:
        walk: The recorded step.
        output: What the net returned, shape ``(N, ...)``.
        targets: As the loss took them.
        loss: Name of the loss.
        recorded: The loss that was recorded.
        names: Of the examples; may be empty.
    """
    kind = _kind(output, targets, loss)
    if kind == "unknown":
        return Compared(kind, (), 0, {}, "", recorded)
    at = gradient_of_output(walk, output.shape)
    slopes = None if at is None else np.asarray(at.numpy(), dtype=np.float64)
    said, wanted, entropy, slope = _pairs(kind, output.astype(np.float64), targets, slopes)
    places = _places(output.shape if kind != "classes" else output.shape[:-1], names)
    residual = said - wanted
    quantities = {"residual": residual, "absolute": np.abs(residual), "squared": residual**2}
    if entropy is not None:
        quantities["cross_entropy"] = entropy
    judged = np.arange(len(said))
    if kind == "classes":
        judged = np.flatnonzero(targets.reshape(-1) != IGNORED)
    errors = tuple(
        Error(
            places(i),
            float(said[i]),
            float(wanted[i]),
            float(quantities["residual"][i]),
            float(quantities["absolute"][i]),
            float(quantities["squared"][i]),
            None if entropy is None else float(entropy[i]),
            None if slope is None else float(slope[i]),
        )
        for i in judged[:SHOWN].tolist()
    )
    mean = {name: float(np.mean(numbers[judged])) for name, numbers in quantities.items()}
    return Compared(kind, errors, max(0, len(judged) - SHOWN), mean, MEANS.get(loss, ""), recorded)


def _kind(output: np.ndarray, targets: np.ndarray, loss: str) -> str:
    if loss == "bce":
        return "bits"
    whole = targets.dtype.kind in "iu"
    if whole and output.ndim == targets.ndim + 1 and output.shape[:-1] == targets.shape:
        return "classes"
    return (
        "numbers" if output.shape == targets.shape and loss in {*MEANS, ""} and output.dtype.kind == "f" else "unknown"
    )


def _pairs(
    kind: str, output: np.ndarray, targets: np.ndarray, slopes: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray, np.ndarray | None, np.ndarray | None]:
    """What was said and wanted, -ln p where there are probabilities, and the loss's slope there; all flat."""
    if kind == "classes":
        rows, wanted = output.reshape(-1, output.shape[-1]), targets.reshape(-1)
        wanted = np.where(wanted == IGNORED, 0, wanted)  # the caller leaves these out
        top = rows.max(axis=1, keepdims=True)
        entropy = np.log(np.exp(rows - top).sum(axis=1)) + top[:, 0] - rows[np.arange(len(rows)), wanted]
        at = np.arange(len(rows))
        slope = None if slopes is None else slopes.reshape(rows.shape)[at, wanted]
        return np.exp(-entropy), np.ones(len(rows)), entropy, slope
    flat, wanted = output.reshape(-1), targets.reshape(-1).astype(np.float64)
    slope = None if slopes is None else slopes.reshape(-1)
    if kind == "numbers":
        return flat, wanted, None, slope
    entropy = np.logaddexp(0.0, flat) - wanted * flat  # -t ln p - (1 - t) ln(1 - p), without overflow
    return np.exp(-np.logaddexp(0.0, -flat)), wanted, entropy, slope


def _places(shape: tuple[int, ...], names: Sequence[str]) -> Callable[[int], str]:
    """The name of the i-th of the outputs: its example, and its place in it where it has several."""
    each = int(np.prod(shape[1:])) if len(shape) > 1 else 1

    def place(i: int) -> str:
        row, inside = divmod(i, max(each, 1))
        if shape and len(names) == shape[0] * each and each > 1:
            return names[i]
        name = names[row] if row < len(names) else f"example {row}"
        if each == 1:
            return name
        return f"{name}[{', '.join(map(str, np.unravel_index(inside, shape[1:])))}]"

    return place


def gradient_of_output(walk: Walk, shape: tuple[int, ...]) -> Value | None:
    """``∂loss/∂output`` in the walk: what arrives at the backward step of the op that made the net's output."""
    output = next(
        (walk.values[vid] for call in walk.calls if call.path == "" for vid in call.outputs.values()
         if walk.values[vid].shape == tuple(shape)), None
    )  # fmt: skip
    if output is None or output.producer is None:
        return None
    for step in walk.steps:
        if step.phase != "backward" or step.forward != output.producer:
            continue
        for value in step.inputs():
            made = value.step
            if value.shape == output.shape and value.kept and made is not None and made.phase == "backward":
                return value
    return None
