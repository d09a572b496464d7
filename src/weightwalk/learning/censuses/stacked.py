"""Training of one block of seeds of any net that `torch.func` can run with stacked weights: the general path."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call, grad_and_value, vmap  # pyright: ignore[reportPrivateImportUsage]

from weightwalk.errors import UsageError
from weightwalk.learning.censuses.jobs import Arrays, Job, Stopped, Tick
from weightwalk.learning.censuses.splitting import ROWS
from weightwalk.learning.losses import tensor_of
from weightwalk.learning.optimizers import optimizer_of
from weightwalk.learning.sampling import orders


def refuse_alone(module: nn.Module, inputs: Tensor) -> None:
    """Refuse layers that a census cannot train as each seed would be trained alone.

    Raises:
        UsageError: It has such a layer; the message names it.
    """
    cure = "train its seeds one by one with weightwalk.train"
    for name, layer in module.named_modules():
        kind = type(layer).__name__
        if isinstance(layer, nn.modules.dropout._DropoutNd) and layer.p > 0:
            raise UsageError(
                f"The layer {name} ({kind}) draws random numbers in every step; in a stack of nets they would not be "
                f"those of each seed alone; {cure}, or set its p to 0."
            )
        if isinstance(layer, nn.modules.batchnorm._NormBase) and layer.track_running_stats:
            raise UsageError(
                f"The layer {name} ({kind}) changes its running statistics in every step, which a stack of nets cannot "
                f"do; {cure}, or give it track_running_stats=False."
            )
    before = {name: b.clone() for name, b in module.named_buffers()}
    modes = [(m, m.training) for m in module.modules()]
    try:
        module.train()
        with torch.no_grad():
            module(inputs)
    finally:
        for m, mode in modes:
            m.training = mode
    changed = [name for name, b in module.named_buffers() if not torch.equal(b, before.get(name, b))]
    if changed:
        raise UsageError(
            f"The net changes its buffer {changed[0]} in every step, which stacked nets cannot do; {cure}."
        )


def train_stacked(job: Job, seeds: list[int], tick: Tick) -> Arrays:
    """Train these seeds at once.

    Raises:
        Stopped: `tick` said so.
        UsageError: The net does something that cannot be stacked.
    """
    try:
        return _Stack(job, seeds).run(tick)
    except (RuntimeError, NotImplementedError) as error:
        first = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
        raise UsageError(
            f"The net {job.task.name} cannot be trained as a stack of nets (torch.func says: {first}); "
            "train its seeds one by one with weightwalk.train."
        ) from error


class _Stack:
    def __init__(self, job: Job, seeds: list[int]) -> None:
        self.job, self.seeds = job, seeds
        modules = [job.module(seed) for seed in seeds]
        self.module = modules[0]
        trained = [name for name, p in self.module.named_parameters() if p.requires_grad]
        states = [dict(m.named_parameters()) | dict(m.named_buffers()) for m in modules]
        stacked = {name: torch.stack([s[name].detach() for s in states]) for name in states[0]}
        self.weights = {name: nn.Parameter(stacked.pop(name)) for name in trained}
        self.rest = stacked
        self.criterion = job.criterion()
        self.relus = [(name, m) for name, m in self.module.named_modules() if type(m) is nn.ReLU]
        data = job.data
        self.x, self.y = data.inputs, data.targets
        self.held = data.held_out
        # Where a row's answer depends on the rows beside it, all are judged at once, as in a training alone.
        together = any(isinstance(m, nn.modules.batchnorm._NormBase) for m in self.module.modules())
        self.rows = max(len(self.x), 0 if self.held is None else len(self.held[0])) if together else ROWS

    def _loss(self, weights: dict[str, Tensor], rest: dict[str, Tensor], x: Tensor, y: Tensor) -> tuple[Tensor, Any]:
        off: dict[str, Tensor] = {}

        def hook(name: str) -> Callable[..., None]:
            def look(layer: nn.Module, args: Any, out: Tensor) -> None:
                off[name] = ~(out > 0).any(dim=0)

            return look

        hooks = [m.register_forward_hook(hook(name)) for name, m in self.relus]
        try:
            out = tensor_of(functional_call(self.module, (weights, rest), (x,)))
        finally:
            for h in hooks:
                h.remove()
        return self.criterion(out, y), (out, off)

    def run(self, tick: Tick) -> Arrays:
        job, found = self.job, {}
        if job.record.start:
            found |= self._named("start")
        first, dead, _, _ = self._judged(self.x, self.y)
        found["first_losses"] = first
        found |= {f"dead_at_start/{name}": mask for name, mask in dead.items()}
        found["nonfinite_at"], curve = self._train(tick)
        if job.record.losses:
            found["losses"] = curve
        final, dead, outputs, slopes = self._judged(self.x, self.y, slopes=True)
        found["final_losses"], found["gradient_norms"] = final, slopes
        found |= {f"dead_at_end/{name}": mask for name, mask in dead.items()}
        found["nonfinite_at"][(found["nonfinite_at"] < 0) & ~np.isfinite(final)] = job.recipe.epochs
        if job.record.outputs:
            found["outputs"] = outputs
        if self.held is not None:
            found["held_losses"], _, answers, _ = self._judged(*self.held)
            if job.record.held_outputs:
                found["held_outputs"] = answers
        if job.record.end:
            found |= self._named("end")
        return found

    def _train(self, tick: Tick) -> tuple[np.ndarray, np.ndarray]:
        recipe, every = self.job.recipe, self.job.record.losses
        optimizer = optimizer_of(recipe.optimizer, self.weights.values(), recipe.lr, recipe.settings)
        slope = grad_and_value(self._loss, has_aux=True)
        over_shared = vmap(slope, in_dims=(0, 0, None, None))
        over_own = vmap(slope, in_dims=(0, 0, 0, 0))
        count = len(self.seeds)
        bad_at = torch.full((count,), -1)
        kept: dict[int, dict[str, Tensor]] = {}
        curve: list[Tensor] = []
        size = recipe.visits(len(self.x))
        self.module.train()
        for epoch in range(recipe.epochs):
            total = torch.zeros(count)
            order = torch.from_numpy(orders(self.seeds, epoch, len(self.x))) if recipe.shuffle else None
            for i in range(0, len(self.x), size):
                if order is None:
                    x, y = self.x[i : i + size], self.y[i : i + size]
                else:
                    x, y = self.x[order[:, i : i + size]], self.y[order[:, i : i + size]]
                held = {name: p.detach() for name, p in self.weights.items()}
                grads, (losses, _) = (over_shared if order is None else over_own)(held, self.rest, x, y)
                for s in torch.nonzero(~torch.isfinite(losses.detach()) & (bad_at < 0)).flatten().tolist():
                    bad_at[s], kept[s] = epoch, {name: p[s].clone() for name, p in held.items()}
                total = total + losses.detach() * min(size, len(self.x) - i)
                for name, p in self.weights.items():
                    p.grad = grads[name].detach()
                optimizer.step()
            if every and epoch % every == 0:
                curve.append(total / len(self.x))
            if not tick(count):
                raise Stopped
        with torch.no_grad():
            for s, columns in kept.items():
                for name, value in columns.items():
                    self.weights[name][s] = value
        losses = torch.stack(curve, dim=1) if curve else torch.empty(count, 0)
        return bad_at.numpy(), _array(losses)

    def _judged(self, x: Tensor, y: Tensor, *, slopes: bool = False) -> tuple[np.ndarray, Any, Any, Any]:
        """Loss, units off on all rows, outputs, and on request the length of the gradient."""
        self.module.eval()
        held = {name: p.detach() for name, p in self.weights.items()}
        total, outputs, off = torch.zeros(len(self.seeds)), [], {}
        sums = {name: torch.zeros_like(p) for name, p in held.items()}
        for i in range(0, len(x), self.rows):
            share = min(self.rows, len(x) - i) / len(x)
            a, b = x[i : i + self.rows], y[i : i + self.rows]
            if slopes:
                call = vmap(grad_and_value(self._loss, has_aux=True), in_dims=(0, 0, None, None))
                grads, (loss, (out, dead)) = call(held, self.rest, a, b)
                for name, grad in grads.items():
                    sums[name] += grad.detach() * share
            else:
                with torch.no_grad():
                    loss, (out, dead) = vmap(self._loss, in_dims=(0, 0, None, None))(held, self.rest, a, b)
            total = total + loss.detach() * share
            outputs.append(_array(out))
            off = {name: mask & off[name] if name in off else mask for name, mask in dead.items()}
        norm = sum(s.double().square().flatten(1).sum(dim=1) for s in sums.values()) if slopes else torch.zeros(0)
        masks = {name: mask.numpy() for name, mask in off.items()}
        return _array(total), masks, np.concatenate(outputs, axis=1), _array(torch.as_tensor(norm).sqrt())

    def _named(self, when: str) -> Arrays:
        return {f"{when}/{name}": _array(p).copy() for name, p in self.weights.items()}


def _array(tensor: Tensor) -> np.ndarray:
    tensor = tensor.detach()
    return (tensor.float() if tensor.dtype in (torch.bfloat16, torch.float16) else tensor).numpy()
