"""Training of one block of seeds of a chain, from initial weights to outcome."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

from weightwalk.learning.censuses.jobs import Arrays, Job, Stopped, Tick
from weightwalk.learning.censuses.splitting import LANES, ROWS
from weightwalk.learning.censuses.steps import Array, Engine, Rows, layout
from weightwalk.learning.censuses.wide import WideEngine, is_wide
from weightwalk.learning.optimizers import optimizer_of
from weightwalk.learning.sampling import orders

_CHOSEN = {"foreach", "fused", "capturable", "differentiable"}


def train_chain(job: Job, seeds: list[int], tick: Tick) -> Arrays:
    """Train these seeds at once.

    Raises:
        Stopped: `tick` said so.
    """
    block = _Block(job, seeds)
    with np.errstate(all="ignore"):  # a seed that diverges is marked, and warns nobody
        return block.run(tick)


class _Block:
    def __init__(self, job: Job, seeds: list[int]) -> None:
        assert job.chain is not None and job.starts is not None
        self.job, self.chain, self.starts = job, job.chain, job.starts
        self.seeds = seeds
        self.count = len(seeds)
        engine = WideEngine if is_wide(self.chain) else Engine
        self.slices, order = layout(self.chain, job.starts.offsets)
        self.back = np.argsort(order)
        dtype, loss = job.dtype or job.starts.dtype, job.recipe.loss
        assert isinstance(loss, str)
        self.start = job.starts.fill(seeds).to(dtype).numpy()
        lanes = -(-self.count // LANES) * LANES
        self.engine = engine(self.chain, self.slices, lanes, dtype, loss)
        self.flat = self.engine.flat
        self.flat[:, : self.count] = self.start.T[order]
        self.flat[:, self.count :] = self.flat[:, :1]
        self.x, self.y = _plain(job.data.inputs), _goal(job.data.targets, loss)
        held = job.data.held_out
        self.held = None if held is None else (_plain(held[0]), _goal(held[1], loss))

    def run(self, tick: Tick) -> Arrays:
        job, found = self.job, {}
        if job.record.start:
            found |= self._named("start", self.start)
        first, dead = self._judged(self.x, self.y, dead=True)
        found["first_losses"] = first
        found |= {f"dead_at_start/{name}": mask for name, mask in dead.items()}
        found["nonfinite_at"], curve = self._train(tick)
        if job.record.losses:
            found["losses"] = curve
        outputs = [] if job.record.outputs else None
        final, dead = self._judged(self.x, self.y, outputs, dead=True, slopes=True)
        found["final_losses"] = final
        found["gradient_norms"] = np.sqrt(np.einsum("ps,ps->s", self.total, self.total))[: self.count]
        found |= {f"dead_at_end/{name}": mask for name, mask in dead.items()}
        bad = (found["nonfinite_at"] < 0) & ~np.isfinite(final)
        found["nonfinite_at"][bad] = job.recipe.epochs
        if outputs is not None:
            found["outputs"] = np.concatenate(outputs, axis=1)
        if self.held is not None:
            held = [] if job.record.held_outputs else None
            found["held_losses"], _ = self._judged(*self.held, held)
            if held is not None:
                found["held_outputs"] = np.concatenate(held, axis=1)
        if job.record.end:
            found |= self._named("end", self.flat[self.back, : self.count].T)
        return found

    def _train(self, tick: Tick) -> tuple[Array, Array]:
        """All epochs; the epoch in which each seed's loss left the numbers (-1: none), and losses along the way."""
        recipe, every = self.job.recipe, self.job.record.losses
        step = self._step()
        bad_at = np.full(self.flat.shape[1], -1)
        kept: dict[int, Array] = {}
        curve = []
        shared = None if recipe.shuffle else self._shared()
        for epoch in range(recipe.epochs):
            total = np.zeros(self.flat.shape[1], self.flat.dtype)
            for rows in shared if shared is not None else self._own(epoch):
                self.engine.forward(rows)
                loss = self.engine.judge(rows)
                finite = np.isfinite(loss)
                if not finite.all():
                    for s in np.flatnonzero(~finite & (bad_at < 0)).tolist():
                        bad_at[s], kept[s] = epoch, self.flat[:, s].copy()
                total = total + loss * len(rows)
                self.engine.backward(rows)
                step()
            if every and epoch % every == 0:
                curve.append((total / len(self.x))[: self.count])
            if not tick(self.count):
                raise Stopped
        for s, column in kept.items():
            self.flat[:, s] = column
        losses = np.stack(curve, axis=1) if curve else np.empty((self.count, 0), self.flat.dtype)
        return bad_at[: self.count], losses

    def _step(self) -> Callable[[], object]:
        """What moves the weights by their gradient."""
        recipe, engine = self.job.recipe, self.engine
        if recipe.optimizer == "sgd" and not recipe.settings:
            # What torch's does, without the 45 µs that it spends around it.
            return lambda: engine.weights.add_(engine.slopes, alpha=-recipe.lr)
        weights = nn.Parameter(engine.weights)
        weights.grad = engine.slopes
        settings = dict(recipe.settings)
        if not _CHOSEN & set(settings):
            settings["fused"] = True
        return optimizer_of(recipe.optimizer, [weights], recipe.lr, settings).step

    def _shared(self) -> list[Rows]:
        size = self.job.recipe.visits(len(self.x))
        return [Rows(self.x[i : i + size], self.y[i : i + size], own=False) for i in range(0, len(self.x), size)]

    def _own(self, epoch: int) -> list[Rows]:
        """Rows in the order of each seed."""
        order = orders(self.seeds, epoch, len(self.x)).T  # (n, S)
        order = torch.from_numpy(np.pad(order, ((0, 0), (0, self.flat.shape[1] - self.count)), mode="edge"))
        size = self.job.recipe.visits(len(self.x))
        parts = [order[i : i + size] for i in range(0, len(order), size)]
        return [Rows(_picked(self.x, part), _picked(self.y, part), own=True) for part in parts]

    def _judged(
        self, x: Tensor, y: Tensor, outputs: list[Array] | None = None, *, dead: bool = False, slopes: bool = False
    ) -> tuple[Array, dict[str, Array]]:
        """Loss over these rows, units that are off on all of them; on request outputs and the gradient (`total`)."""
        total = np.zeros(self.flat.shape[1], self.flat.dtype)
        off: dict[str, Array] = {}
        if slopes:
            self.total = np.zeros_like(self.engine.flat_slopes)
        for i in range(0, len(x), ROWS):
            rows = Rows(x[i : i + ROWS], y[i : i + ROWS], own=False)
            z = self.engine.forward(rows)
            if outputs is not None:
                outputs.append(z[..., : self.count].movedim(-1, 0).numpy().copy())
            if dead:
                for layer, out in zip(self.chain.layers, self.engine.space(len(rows)).out, strict=True):
                    if layer.kind == "relu":
                        mask = (out[..., : self.count] > 0).any(dim=0).logical_not().T.numpy()
                        off[layer.name] = off[layer.name] & mask if layer.name in off else mask
            loss = self.engine.judge(rows)
            total += loss * self.flat.dtype.type(len(rows) / len(x))
            if slopes:
                self.engine.backward(rows)
                self.total += self.engine.flat_slopes * self.flat.dtype.type(len(rows) / len(x))
        return total[: self.count], off

    def _named(self, when: str, rows: Array) -> Arrays:
        found, starts = {}, self.starts.offsets
        for name, shape in zip(self.starts.names, self.starts.shapes, strict=True):
            size = int(np.prod(shape))
            found[f"{when}/{name}"] = np.ascontiguousarray(rows[:, starts[name] : starts[name] + size]).reshape(
                len(rows), *shape
            )
        return found


def _plain(inputs: Tensor) -> Tensor:
    """Token ids as they are; numbers with a feature that is always 1, which the biases meet."""
    return inputs if inputs.dim() == 1 else torch.hstack([inputs, inputs.new_ones(len(inputs), 1)])


def _goal(targets: Tensor, loss: str) -> Tensor:
    return targets if loss == "cross_entropy" else targets[:, :, None]


def _picked(rows: Tensor, order: Tensor) -> Tensor:
    """Rows of each seed's own: (n, ...) by (b, S) -> (b, ..., S)."""
    found = rows[order]
    return found if found.dim() == 2 else found.flatten(2).movedim(1, 2).contiguous()
