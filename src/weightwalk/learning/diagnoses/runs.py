"""What a run's folder knows: the weights now and along the way, the loss curve, and how it was trained."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from weightwalk.errors import RecordError, UsageError
from weightwalk.learning.diagnoses.observing import with_weights
from weightwalk.learning.runs.files import read_tensors
from weightwalk.learning.runs.folder import described
from weightwalk.learning.runs.packing import WEIGHTS, under


@dataclass(frozen=True, slots=True, eq=False)
class Run:
    """A run's folder, read without its lock: the training may be going on.

    Attributes:
        weights: The trained net's, or those of the newest whole checkpoint.
        epochs: Epochs completed then.
        losses: The loss curve so far.
        snapshots: Epochs with their weights, from the snapshots and from checkpoints between epochs.
        settings: How it is trained.
        note: What it was called with on the command line; empty where it was begun from Python.
    """

    weights: Mapping[str, Tensor]
    epochs: int
    losses: tuple[float, ...]
    snapshots: tuple[tuple[int, Mapping[str, Tensor]], ...]
    settings: Mapping[str, Any]
    note: Mapping[str, Any]


def read_run(path: Path | str) -> Run:
    """Read a run's folder.

    Raises:
        UsageError: It is none, or holds no whole checkpoint.
    """
    folder = Path(path).expanduser()
    facts = described(folder)
    if facts is None:
        raise UsageError(
            f"{str(folder)!r} is no folder of a run: it has no run.json (`weightwalk train NET --run DIR`)."
        )
    snapshots: dict[int, Mapping[str, Tensor]] = {}
    for file in sorted((folder / "snapshots").glob("*.safetensors")):
        if file.stem.isdigit():
            with contextlib.suppress(RecordError):
                snapshots[int(file.stem)] = read_tensors(file)[0]
    newest: tuple[int, Mapping[str, Tensor], tuple[float, ...]] | None = None
    for file in sorted(folder.glob("checkpoint-*.safetensors")):
        with contextlib.suppress(RecordError):
            tensors, told = read_tensors(file)
            weights, place = under(tensors, WEIGHTS), told["place"]
            curve = under(tensors, "history/").get("losses")
            if place["part"] == 0:
                snapshots.setdefault(place["epoch"], weights)
            newest = place["epoch"], weights, () if curve is None else tuple(curve.tolist())
    if newest is None:
        raise UsageError(f"{str(folder)!r} holds no whole checkpoint of a run.")
    epochs, weights, losses = newest
    with contextlib.suppress(RecordError):
        weights = {**weights, **read_tensors(folder / "weights.safetensors")[0]}
    plan = {k: v for k, v in facts["plan"].items() if v not in (None, {}, "constant") and k not in ("epochs",)}
    told = {**plan, "epochs": epochs}
    return Run(weights, epochs, losses, tuple(sorted(snapshots.items())), told, facts.get("note") or {})


def net_of(run: Run, module: nn.Module) -> nn.Module:
    """A copy of the module with the run's weights.

    Raises:
        UsageError: They are those of another net.
    """
    own = {**dict(module.named_parameters()), **dict(module.named_buffers())}
    for name, tensor in own.items():
        found = run.weights.get(name)
        if found is None or found.shape != tensor.shape:
            what = "does not have it" if found is None else f"has the shape {tuple(found.shape)}"
            raise UsageError(
                f"The run is of another net: {name} of shape {tuple(tensor.shape)} is expected, and the run {what}."
            )
    return with_weights(module, run.weights)
