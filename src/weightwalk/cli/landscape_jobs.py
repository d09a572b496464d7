"""From a request for a picture to its facts."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from weightwalk.cli import common
from weightwalk.errors import UsageError

if TYPE_CHECKING:
    from torch import Tensor, nn

    from weightwalk.cli.landscape_request import Request
    from weightwalk.learning.tasks import Task
    from weightwalk.learning.train import Snapshot


def made(request: Request) -> Any:
    """The facts: a `Picture`, a `Line` between nets, a `Neuron`, or a bowl's `Slide`."""
    started = time.perf_counter()
    if request.net == "neuron":
        return _neuron(request)
    if request.net == "bowl":
        return _bowl(request)
    with common.training_progress() as bar:
        work = {"random": _random, "weights": _weights, "trajectory": _trajectory, "optimizers": _optimizers,
                "rates": _rates, "between": _between}[request.kind]  # fmt: skip
        found = work(request, _Job(request, bar))
    return replace(found, seconds=time.perf_counter() - started)


NO_HESSIAN = (UsageError, RuntimeError, NotImplementedError)
"""What is raised for a net that cannot be differentiated twice."""


def _no_hessian(error: BaseException) -> str:
    return f"No Hessian: {str(error).strip().splitlines()[0]}"


class _Job:
    """The task, its trained net, and what every picture needs of them."""

    def __init__(self, request: Request, bar: Callable[[str, int, int, float], None] | None) -> None:
        from weightwalk.cli.tasks import chosen_task

        self.request, self.bar = request, bar
        task = chosen_task(request.net, request.data, request.loss, request.settings)
        changes = {"optimizer": request.optimizer, "lr": request.lr, "epochs": request.epochs}
        self.task: Task = replace(task, **{k: v for k, v in changes.items() if v is not None})
        self.rows = None if request.sample is None else int(request.sample)
        self.data  # noqa: B018 - an example that is not there is refused before anything is trained

    def say(self, what: str) -> Callable[[int, int], None] | None:
        """A bar of that name."""
        bar = self.bar
        return None if bar is None else lambda done, total: bar(what, done, total, 0.0)

    def net(self, seed: int | None = None) -> nn.Module:
        """The trained net of a seed."""
        return self.trained(seed)[0]

    def trained(self, seed: int | None = None, snapshots: bool = False) -> tuple[nn.Module, tuple[Snapshot, ...]]:
        """The net, trained where the task makes it afresh (or a path is wanted), and its checkpoints."""
        from weightwalk.learning.train import train

        task = self.task
        seed = int(self.request.seed) if seed is None else seed
        module = task.module(seed)
        if not task.remade and not snapshots:
            return module, ()
        bar = self.bar
        every = max(1, task.epochs // (self.request.checkpoints - 1)) if snapshots else None
        history = train(
            module, task.data.inputs, task.data.targets, loss=task.loss, optimizer=task.optimizer, lr=task.lr,
            epochs=task.epochs, batch=task.batch, seed=seed, snapshots=every,
            progress=None if bar is None else lambda done, total, loss: bar(f"seed {seed}", done, total, loss),
        )  # fmt: skip
        return module, history.snapshots

    @property
    def data(self) -> tuple[Tensor, Tensor]:
        """Inputs and targets that the loss is of."""
        x, y = self.task.data.inputs, self.task.data.targets
        if self.rows is None:
            return x, y
        if self.rows >= len(x):
            raise UsageError(f"There is no example {self.rows}; {self.task.name} has {len(x)}, counted from 0.")
        return x[self.rows : self.rows + 1], y[self.rows : self.rows + 1]

    def surface(self, module: nn.Module, plane: Any, spans: tuple[float, float], what: str = "surface") -> Any:
        """The grid over a plane, so far each way."""
        from weightwalk.learning.landscapes.surface import surface

        ways = (np.arange(self.request.grid_) - self.request.grid_ // 2) / (self.request.grid_ // 2)
        return surface(
            module, self.task.data.inputs, self.task.data.targets, plane, loss=self.task.loss,
            alphas=ways * spans[0], betas=ways * spans[1], rows=self.rows, memory=self.request.memory,
            progress=self.say(what),
        )  # fmt: skip

    def beside(self, module: nn.Module) -> dict[str, Any]:
        """What the Hessian says of all dimensions, and random directions of it."""
        from weightwalk.learning.landscapes.curvatures import random_curvatures

        said: dict[str, Any] = {"settings": self.settings()}
        notes = []
        x, y = self.data
        if self.request.hessian:
            try:
                said["spectrum"] = self.spectrum(module)
                if self.request.directions:
                    said["curvatures"] = random_curvatures(
                        module, x, y, loss=self.task.loss, directions=self.request.directions, seconds=5.0,
                        progress=self.say("random directions"),
                    )  # fmt: skip
            except NO_HESSIAN as error:
                notes.append(_no_hessian(error))
        said["notes"] = tuple(notes)
        return said

    def spectrum(self, module: nn.Module) -> Any:
        """Eigenvalues of the Hessian at a net."""
        from weightwalk.learning.hessians import spectrum

        x, y = self.data
        return spectrum(module, x, y, loss=self.task.loss, seconds=6.0, progress=self.say("Hessian"))

    def settings(self) -> dict[str, Any]:
        """What decided the outcome."""
        task = self.task
        trained = {} if not task.remade and self.request.kind not in ("trajectory", "optimizers") else {
            "optimizer": task.optimizer, "lr": task.lr, "epochs": task.epochs, "batch": task.batch,
        }  # fmt: skip
        return {"task": task.name, "seed": self.request.seed, "loss": task.loss, **trained, **dict(task.shape)}


def _random(request: Request, job: _Job) -> Any:
    from weightwalk.learning.landscapes.directions import random_plane
    from weightwalk.learning.landscapes.pictures import picture

    module, snapshots = job.trained(snapshots=request.path)
    planes = [random_plane(module, seed, request.normalise) for seed in request.seeds]
    span = request.span or 1.0
    found = tuple(
        job.surface(module, p, (span, span), f"directions {s}") for p, s in zip(planes, request.seeds, strict=True)
    )
    names = tuple(f"directions of seed {s}" for s in request.seeds)
    more = job.beside(module)
    more["notes"] += _agreement(found)
    if request.path:
        more |= _overlay(job, module, planes[0], snapshots)
    return picture(job.task.name, "random", found, names, **more)


def _agreement(found: tuple[Any, ...]) -> tuple[str, ...]:
    """How far pictures of one net say the same, in a sentence."""
    from weightwalk.learning.landscapes.landscape import agreement_of

    if len(found) < 2:
        return ()
    rhos = [rho for _, _, rho in agreement_of(found) if np.isfinite(rho)]
    if not rhos:
        return ()
    span = f"{min(rhos):.2f}" if len(rhos) == 1 else f"{min(rhos):.2f} to {max(rhos):.2f}"
    return (
        f"It is one net, and other directions give other pictures: their losses, place by place, have a rank "
        f"correlation of {span} (1 where two pictures go up and down together, 0 where one says nothing of the other).",
    )


def _weights(request: Request, job: _Job) -> Any:
    from weightwalk.learning.landscapes.directions import weights_plane
    from weightwalk.learning.landscapes.pictures import picture

    module, snapshots = job.trained(snapshots=request.path)
    first, second = request.weights
    plane = weights_plane(module, first, second)
    far = 0.0
    more: dict[str, Any] = {}
    if request.path:
        more = _overlay(job, module, plane, snapshots)
        far = max(float(np.abs(p.points).max()) for p in more["paths"])
    values = [float((plane.origin[n] * d).abs().sum()) for way in (plane.u, plane.v or {}) for n, d in way.items()]
    span = request.span or max(1.0, 1.5 * max(values), 1.1 * min(far, 10.0))
    found = job.surface(module, plane, (span, span))
    return picture(job.task.name, "weights", (found,), ("",), **{**job.beside(module), **more})


def _overlay(job: _Job, module: nn.Module, plane: Any, snapshots: tuple[Snapshot, ...]) -> dict[str, Any]:
    """The real path on a plane, beside the ball that the picture suggests."""
    from weightwalk.learning.landscapes.paths import checks, path_on, rolled

    x, y = job.data
    task, places = job.task, [s.weights for s in snapshots]
    if len(places) < 2:
        raise UsageError("There is no path: the net was not trained for a single epoch (--epochs).")
    name = f"the training ({task.optimizer}, rate {task.lr:g}), all dimensions"
    real = path_on(plane, places, module, x, y, task.loss, name=name, rate=task.lr)
    start = (float(real.points[0, 0]), float(real.points[0, 1]))
    ball = rolled(module, x, y, plane, start, loss=task.loss, rate=0.05, steps=200)
    return {"paths": (real, ball), "checks": checks(module, x, y, places[0], loss=task.loss)}


def _spans(request: Request, points: np.ndarray) -> tuple[float, float]:
    """What holds all points, and a little more; a plane's second axis never collapses."""
    if request.span is not None:
        return request.span, request.span
    finite = points[np.isfinite(points).all(axis=1)]
    far = np.abs(finite).max(axis=0) if len(finite) else np.ones(2)
    most = float(far.max()) or 1.0
    return 1.15 * max(float(far[0]), 0.05 * most), 1.15 * max(float(far[1]), 0.05 * most)


def _trajectory(request: Request, job: _Job) -> Any:
    from weightwalk.learning.landscapes.paths import checks
    from weightwalk.learning.landscapes.pictures import picture
    from weightwalk.learning.landscapes.trajectories import trajectory

    module, snapshots = job.trained(snapshots=True)
    x, y = job.data
    found = trajectory(module, snapshots, x, y, loss=job.task.loss, seed=request.seed, progress=job.say("checkpoints"))
    drawn = job.surface(module, found.plane, _spans(request, found.coordinates))
    tried = checks(module, x, y, snapshots[0].weights, loss=job.task.loss)
    more = job.beside(module)
    notes = (*more.pop("notes"), *([found.note + "."] if found.note else []))
    return picture(job.task.name, "trajectory", (drawn,), ("",), trajectory=found, checks=tried, notes=notes, **more)


def _optimizers(request: Request, job: _Job) -> Any:
    from weightwalk.learning.landscapes.paths import optimizer_runs, path_on
    from weightwalk.learning.landscapes.pictures import picture
    from weightwalk.learning.landscapes.trajectories import principal_plane

    bar = job.bar
    say = None if bar is None else lambda name, done, total: bar(name, done, total, 0.0)
    runs = optimizer_runs(job.task, seed=request.seed, say=say)
    module, x, y = runs[0][3], *job.data
    origin = {n: p.detach().clone() for n, p in module.named_parameters() if p.requires_grad}
    plane = principal_plane(origin, [s.weights for _, _, kept, _ in runs for s in kept])
    paths = tuple(
        path_on(plane, [s.weights for s in kept], module, x, y, job.task.loss, name=name, rate=rate)
        for name, rate, kept, _ in runs
    )
    drawn = job.surface(module, plane, _spans(request, np.concatenate([p.points for p in paths])))
    return picture(job.task.name, "optimizers", (drawn,), ("",), paths=paths, **job.beside(module))


def _rates(request: Request, job: _Job) -> Any:
    from weightwalk.learning.landscapes.paths import net_rate_paths, steepest_plane
    from weightwalk.learning.landscapes.pictures import picture

    module = job.net()
    x, y = job.data
    plane, values = steepest_plane(module, x, y, loss=job.task.loss, seed=request.seed)
    paths = net_rate_paths(module, x, y, plane, float(values[0]), request.rates, loss=job.task.loss)
    inside = np.concatenate([p.points for p in paths if not p.diverged] or [paths[0].points[:1]])
    first = 3 * float(np.abs(paths[0].points[0]).max())
    spans = _spans(request, np.concatenate([inside, np.full((1, 2), first)]))
    drawn = job.surface(module, plane, spans)
    return picture(job.task.name, "rates", (drawn,), ("",), paths=paths, **job.beside(module))


def _between(request: Request, job: _Job) -> Any:
    from weightwalk.learning.landscapes.lines import line_between, plane_through
    from weightwalk.learning.landscapes.pictures import picture

    ends = [*request.between, *([request.third] if request.third is not None else [])]
    nets = [_end(job, text) for text in ends]
    labels = tuple(f"seed {t}" if t.lstrip("-").isdigit() else Path(t).name for t in ends)
    x, y = job.data
    if len(nets) == 2:
        line = line_between(
            nets[0], nets[1], x, y, loss=job.task.loss, points=request.grid_, beyond=request.span or 0.25,
            held_out=job.task.data.held_out if job.rows is None else None, labels=(labels[0], labels[1]),
            memory=request.memory, progress=job.say("line"),
        )  # fmt: skip
        if not request.hessian:
            return line
        try:
            return replace(line, spectra=tuple(job.spectrum(net) for net in nets))
        except NO_HESSIAN as error:
            return replace(line, notes=(*line.notes, _no_hessian(error)))
    plane = plane_through(nets[0], nets[1], nets[2], (labels[0], labels[1], labels[2]))
    far = np.abs(np.array([[a, b] for _, a, b in plane.points]))
    drawn = job.surface(nets[0], plane, _spans(request, far))
    return picture(job.task.name, "three nets", (drawn,), ("",), **job.beside(nets[0]))


def _end(job: _Job, text: str) -> nn.Module:
    """The net of a seed, or with the weights of a file."""
    if text.lstrip("-").isdigit():
        if not job.task.remade:
            raise UsageError(f"{job.request.net!r} has its own weights, whatever the seed: give .safetensors files.")
        return job.net(int(text))
    path = Path(text)
    if path.suffix.lower() != ".safetensors" or not path.is_file():
        raise UsageError(f"--between takes two seeds or two .safetensors files that are there; {text!r} is neither.")
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    module = job.task.module(job.request.seed)
    try:
        module.load_state_dict(load_file(path))
    except (RuntimeError, SafetensorError, OSError) as error:
        first = " ".join(str(error).split())[:200]
        raise UsageError(f"{text} does not hold the weights of {job.task.name!r}: {first}") from error
    return module


def _neuron(request: Request) -> Any:
    from weightwalk.learning.landscapes.neuron import neuron, optimizer_paths, rate_paths, start_of

    row = request.sample or 0
    if request.hidden is not None:
        found = _hidden(request, row)
    else:
        found = neuron(
            bias=0.5 if request.bias is None else request.bias, row=row, grid=request.grid_, span=request.span
        )
    paths: tuple[Any, ...] = ()
    if request.optimizers:
        paths += optimizer_paths(found, seed=request.seed)
    if request.rates:
        paths += rate_paths(found.every.bowl, request.rates, start_of(found))
    from weightwalk.learning.landscapes.deep import deep_slice

    return replace(found, paths=paths, deep=deep_slice(found) if request.hidden is None else None)


def _hidden(request: Request, row: int) -> Any:
    """A neuron of a task's trained net, or of a gallery net on its example."""
    from weightwalk.learning.landscapes.hidden import hidden_neuron
    from weightwalk.nets.tasks import TASKS

    if request.bias is not None:
        raise UsageError("--bias is for the neuron by itself; inside a net the bias is the net's (--hidden).")
    more = {"row": row, "grid": request.grid_, "span": request.span, "name": request.hidden}
    if request.hidden not in TASKS:
        from weightwalk.nets.gallery import GALLERY, NAMES

        net = common.net_of(request.hidden, fresh=False, seed=None)
        text = GALLERY[NAMES[request.hidden]].example if request.hidden in NAMES else "1"
        return hidden_neuron(cast("nn.Module", net.module), net.inputs(text).args, None, **more)
    with common.training_progress() as bar:
        options = {**request.options, "hidden": None, "sample": None}
        job = _Job(replace(request, net=request.hidden, kind="random", options=options), bar)
        data = job.task.data
        fits = job.task.loss == "mse" and data.targets.numel() == len(data.inputs)
        return hidden_neuron(job.net(), data.inputs, data.targets if fits else None, **more)


def _bowl(request: Request) -> Any:
    from weightwalk.learning.landscapes.bowls import SIBLING, slide
    from weightwalk.learning.landscapes.neuron import rate_paths, start_of

    paths = rate_paths(SIBLING, request.rates or (0.5, 0.9, 1.1), start_of(SIBLING))
    return slide(SIBLING, paths, request.grid_, request.span)
