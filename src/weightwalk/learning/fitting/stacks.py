"""Many small fully connected nets trained at once, each on rows of its own.

A question about fitting is asked of many nets: of every seed, with every row left out, on every draw of noise. Nets of
one shape are stacked along a leading axis, and one step of the optimizer moves them all; the optimizers at hand compute
each number from that number alone, so that a net of a stack learns what it would learn by itself, to rounding.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from weightwalk.errors import UsageError
from weightwalk.learning.optimizers import optimizer_of
from weightwalk.learning.sampling import orders
from weightwalk.learning.seeds import seeded
from weightwalk.learning.threads import pinned

Progress = Callable[[int, int], None]
"""Called with (done, in all)."""

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": torch.relu,
    "tanh": torch.tanh,
    "identity": lambda a: a,
}


@dataclass(frozen=True, slots=True, eq=False)
class Stack:
    """S nets of one shape, after training.

    Attributes:
        weights: One tensor (S, in, out) per layer.
        biases: One tensor (S, 1, out) per layer.
        activation: Between the layers.
        losses: (S,) of the training rows at the end; not finite for a net that diverged.
        curve: (S, K) losses of the training rows before the updates of the epochs `epochs`; K may be 0.
        held: (S, K) losses of the held-out rows there; K is 0 without any.
        epochs: (K,) epochs completed at those moments.
    """

    weights: tuple[Tensor, ...]
    biases: tuple[Tensor, ...]
    activation: str
    losses: np.ndarray
    curve: np.ndarray
    held: np.ndarray
    epochs: np.ndarray

    def __call__(self, inputs: np.ndarray | Tensor) -> np.ndarray:
        """What each net returns.

        Args:
            inputs: (M, in) for all nets alike, or (S, M, in).

        Returns:
            (S, M, out), float64.
        """
        x = torch.as_tensor(inputs, dtype=self.weights[0].dtype)
        with torch.no_grad():
            return _forward(x, self.weights, self.biases, self.activation).double().numpy()

    @property
    def parameters(self) -> int:
        """Numbers in one net."""
        return sum(t[0].numel() for t in (*self.weights, *self.biases))


def layered(sizes: Sequence[int], activation: str = "relu") -> nn.Sequential:
    """A fully connected net with torch's own initial weights, drawn in the order of its layers."""
    makers: dict[str, Callable[[], nn.Module]] = {"relu": nn.ReLU, "tanh": nn.Tanh, "identity": nn.Identity}
    if activation not in makers:
        raise UsageError(f"There is no activation {activation!r} here; there are {', '.join(makers)}.")
    parts: list[nn.Module] = []
    for before, after in pairwise(sizes):
        parts += [nn.Linear(before, after, dtype=torch.float32), makers[activation]()]
    return nn.Sequential(*parts[:-1])


def started(sizes: Sequence[int], seeds: Sequence[int], activation: str = "relu") -> list[nn.Module]:
    """A fresh net per seed."""
    nets: list[nn.Module] = []
    for seed in seeds:
        with seeded(int(seed)), torch.device("cpu"):
            nets.append(layered(sizes, activation))
    return nets


def fit_many(
    nets: Sequence[nn.Module],
    inputs: np.ndarray | Tensor,
    targets: np.ndarray | Tensor,
    *,
    activation: str = "relu",
    loss: str = "mse",
    optimizer: str = "adam",
    lr: float = 0.01,
    epochs: int = 1000,
    batch: int | None = None,
    seeds: Sequence[int] | None = None,
    decay: bool = False,
    held: tuple[np.ndarray | Tensor, np.ndarray | Tensor] | None = None,
    every: int = 0,
    progress: Progress | None = None,
) -> Stack:
    """Train nets of one shape side by side.

    Args:
        nets: Modules whose linear layers, in order, with `activation` between them, are the net; left as they are.
        inputs: (S, N, in), or (N, in) for all alike.
        targets: (S, N, out) or (N, out); for ``"cross_entropy"`` class numbers (S, N) or (N,).
        activation: A name in `ACTIVATIONS`.
        loss: ``"mse"`` or ``"cross_entropy"``, a mean over the rows of each net.
        optimizer: A name in `weightwalk.learning.optimizers.OPTIMIZERS`.
        lr: Learning rate.
        epochs: Passes over the rows.
        batch: Rows per update; None for all. Each net visits its rows in the order that its seed decides.
        seeds: For that; 0, 1, ... unless said.
        decay: Let the rate fall to 0 along half a cosine.
        held: Rows to be judged on, shaped as inputs and targets are.
        every: Note the losses every so many epochs, and at the end; 0 for never.
        progress: Called now and then.

    Raises:
        UsageError: There is no net, or no row.
    """
    layers = [[m for m in net.modules() if isinstance(m, nn.Linear)] for net in nets]
    if not layers or not layers[0]:
        raise UsageError("There is no net to be trained.")
    with torch.inference_mode(False), torch.enable_grad(), pinned():
        depth = range(len(layers[0]))
        weights = [torch.stack([ls[i].weight.detach().T for ls in layers]).clone().requires_grad_() for i in depth]
        biases = [torch.stack([ls[i].bias.detach()[None] for ls in layers]).clone().requires_grad_() for i in depth]
        x, y = _tensor(inputs, weights[0].dtype), _tensor(targets, weights[0].dtype, loss)
        rows = y.shape[-2] if loss == "mse" else y.shape[-1]
        if rows == 0:
            raise UsageError("There is no row to be learned from.")
        judged = None if held is None else (_tensor(held[0], x.dtype), _tensor(held[1], x.dtype, loss))
        engine = optimizer_of(optimizer, cast(Any, [*weights, *biases]), lr)
        plan = _batches(len(nets), rows, batch, seeds)
        notes: list[tuple[int, np.ndarray, np.ndarray]] = []

        def score(a: Tensor, b: Tensor) -> Tensor:
            return per_net(_forward(a, weights, biases, activation), b, loss)

        def note(epoch: int) -> None:
            with torch.no_grad():
                held_loss = np.zeros(0) if judged is None else score(*judged).double().numpy()
                notes.append((epoch, score(x, y).double().numpy(), held_loss))

        for epoch in range(epochs):
            if every and epoch % every == 0:
                note(epoch)
            if decay:
                for group in engine.param_groups:
                    group["lr"] = lr * (1 + math.cos(math.pi * epoch / epochs)) / 2
            for part in plan(epoch):
                engine.zero_grad(set_to_none=True)
                score(*((x, y) if part is None else (_pick(x, part), _pick(y, part)))).sum().backward()
                engine.step()
            if progress is not None and (epoch % 20 == 19 or epoch + 1 == epochs):
                progress(epoch + 1, epochs)
        if every:
            note(epochs)
        with torch.no_grad():
            final = score(x, y).double().numpy()
    curve = np.stack([n[1] for n in notes], axis=1) if notes else np.zeros((len(nets), 0))
    kept = np.stack([n[2] for n in notes], axis=1) if notes and judged is not None else np.zeros((len(nets), 0))
    at = np.array([n[0] for n in notes], dtype=np.int64)
    return Stack(
        tuple(w.detach() for w in weights), tuple(b.detach() for b in biases), activation, final, curve, kept, at
    )


def per_net(outputs: Tensor, targets: Tensor, loss: str) -> Tensor:
    """The loss of each net: (S, N, out) and targets -> (S,)."""
    if loss == "mse":
        return (outputs - targets).square().mean(dim=(1, 2))
    several, rows = outputs.shape[:2]
    wanted = targets.expand(several, rows)
    return nn.functional.cross_entropy(outputs.flatten(0, 1), wanted.flatten(), reduction="none").view(
        several, rows
    ).mean(dim=1)  # fmt: skip


def _forward(x: Tensor, weights: Sequence[Tensor], biases: Sequence[Tensor], activation: str) -> Tensor:
    a = x.expand(len(weights[0]), *x.shape[-2:])
    for i, (w, b) in enumerate(zip(weights, biases, strict=True)):
        a = torch.baddbmm(b, a, w)
        if i + 1 < len(weights):
            a = ACTIVATIONS[activation](a)
    return a


def _tensor(values: np.ndarray | Tensor, dtype: torch.dtype, loss: str = "mse") -> Tensor:
    made = torch.as_tensor(values)
    return made.long() if loss == "cross_entropy" else made.to(dtype)


def _pick(rows: Tensor, part: Tensor) -> Tensor:
    """The rows that each net visits: (S, N, ...) or (N, ...), and numbers (S, B) -> (S, B, ...)."""
    several = len(part)
    shared = (rows.dim() == 2 and rows.is_floating_point()) or rows.dim() == 1
    full = rows.expand(several, *rows.shape) if shared else rows
    return full[torch.arange(several)[:, None], part]


def _batches(
    several: int, rows: int, batch: int | None, seeds: Sequence[int] | None
) -> Callable[[int], Sequence[Tensor | None]]:
    if batch is None or batch >= rows:
        return lambda epoch: (None,)
    used = list(range(several)) if seeds is None else list(seeds)
    return lambda epoch: torch.from_numpy(orders(used, epoch, rows)).split(batch, dim=1)
