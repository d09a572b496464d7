"""The loss at many points of weight space: by the layers of a chain, by ``torch.func.vmap``, or one call after another.

Which of the three is decided by what the net is, never by the clock: the same question gives the same bits.
"""

from __future__ import annotations

import math
import threading
import warnings
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call

from weightwalk.errors import UsageError
from weightwalk.learning.landscapes.chains import Chain, Leaf, agrees, leaves_of
from weightwalk.learning.landscapes.directions import Plane
from weightwalk.learning.landscapes.quiet import again
from weightwalk.learning.landscapes.samples import losses_of, per_row
from weightwalk.learning.losses import Loss, tensor_of
from weightwalk.learning.threads import pinned

Points = Sequence[tuple[float, float]]
"""Steps along u and v."""

Progress = Callable[[int, int], None]
"""Called with (points done, points in all)."""

MEMORY = 500_000_000
"""Bytes that an evaluation may take unless told otherwise."""

_VMAP_NUMBERS = 50_000  # parameters; above that a stack of nets leaves the cache and gains nothing
_VMAP_POINTS = 16  # measured: 16 to 64 alike, a whole grid at once three times slower


@dataclass(frozen=True, eq=False)
class Question:
    """A net, the data that judge it, and how much memory there is.

    Attributes:
        module: In eval mode.
        inputs: One row per example.
        targets: As many.
        loss: A mean over examples.
        memory: Bytes.
        per_sample: Whether the loss of each example alone is wanted.
        threads: How many threads may each take a part of the points of a chain; the losses do not depend on it.
    """

    module: nn.Module
    inputs: Tensor
    targets: Tensor
    loss: Loss
    memory: int = MEMORY
    per_sample: bool = False
    threads: int = 1

    @property
    def rows(self) -> int:
        """How many examples."""
        return len(self.inputs)


@dataclass(frozen=True, eq=False)
class Answer:
    """Losses, in the order of the points.

    Attributes:
        losses: (P,) float64.
        samples: (P, N) the loss of each example alone, where wanted.
        method: ``chain``, ``vmap`` or ``loop``.
        rows: Examples at once.
        points: Points at once.
        draws: Whether the net draws random numbers when it is called: then it draws the same ones at every point.
    """

    losses: np.ndarray
    samples: np.ndarray | None
    method: str
    rows: int
    points: int
    draws: bool = False


def evaluate(q: Question, plane: Plane, points: Points, progress: Progress | None) -> Answer:
    """The loss at each point (a, b) of the plane; called within `judging`."""
    if q.per_sample and 8 * q.rows * len(points) > q.memory:
        raise UsageError(
            f"The losses of {q.rows:,} examples at {len(points):,} points take {8 * q.rows * len(points):,} bytes, and "
            f"{q.memory:,} are allowed: choose fewer rows or a smaller grid, or allow more memory."
        )
    before = torch.default_generator.get_state()
    leaves, numbers, probe = _probed(q)
    if not torch.equal(before, torch.default_generator.get_state()):
        return _by_loop(q, plane, points, q.rows, progress, draws=True)
    if leaves is not None:
        links = leaves
        chain = Chain(links, plane, q.module)
        some = [points[k] for k in sorted({round(k) for k in np.linspace(0, len(points) - 1, 25)})]
        if agrees(chain, q.module, probe, [(0.0, 0.0), *some]):
            return _by_chain(q, lambda: Chain(links, plane, q.module), points, progress)
    size = _bytes_a_row(q, numbers, len(probe))
    rows = _rows_that_split(q, int(max(1, min(q.rows, q.memory // 2 // size))))
    moving = sum(plane.origin[n].numel() for n in plane.moving)
    if moving <= _VMAP_NUMBERS and len(points) > 2 and size * rows * _VMAP_POINTS <= q.memory:
        done = _by_vmap(q, plane, points, rows, progress)
        if done is not None:
            return done
    return _by_loop(q, plane, points, rows, progress)


def own_loss(q: Question) -> float:
    """What the module itself says, called as it stands."""
    again()
    try:
        loss = q.loss(tensor_of(q.module(q.inputs)), q.targets)
    except (RuntimeError, IndexError) as error:
        said = str(error).strip().splitlines()[0]
        raise UsageError(f"The net and its loss could not be computed on these inputs and targets: {said}") from error
    if loss.numel() != 1:
        raise UsageError(f"The loss must be one number; its shape is {tuple(loss.shape)}: take its mean or its sum.")
    return loss.item()


def _probed(q: Question) -> tuple[tuple[Leaf, ...] | None, int, Tensor]:
    """What a few examples tell of the net; or all of them, where it does not take a few."""
    few = q.inputs[: min(q.rows, 64)]
    if len(few) < q.rows:
        try:
            return *leaves_of(q.module, few), few
        except (RuntimeError, ValueError, IndexError):
            pass  # it reads the first axis as something else than examples
    return *leaves_of(q.module, q.inputs), q.inputs


def _bytes_a_row(q: Question, numbers: int, rows: int) -> float:
    """What the layers put out for one example, twice: between two layers there may be more."""
    return max(1.0, 2 * numbers * next(q.module.parameters()).element_size() / max(1, rows))


def mean_loss(q: Question, weights: Mapping[str, Tensor], rows: int) -> float:
    """The loss with other weights in the net's place, over `rows` examples at a time."""
    again()
    parts = []
    for r in range(0, q.rows, rows):
        x, y = q.inputs[r : r + rows], q.targets[r : r + rows]
        out = tensor_of(functional_call(q.module, dict(weights), (x,)))
        parts.append(len(x) / q.rows * float(q.loss(out, y)))
    return math.fsum(parts) if len(parts) > 1 else parts[0]


def rows_at_once(q: Question) -> int:
    """How many examples the memory is enough for."""
    _, numbers, probe = _probed(q)
    return _rows_that_split(q, int(max(1, min(q.rows, q.memory // 2 // _bytes_a_row(q, numbers, len(probe))))))


def _rows_that_split(q: Question, rows: int) -> int:
    """`rows`, if the loss of all is the mean of the losses of parts (weighted by size); else all at once."""
    if rows >= q.rows:
        return q.rows
    whole, half = own_loss(q), q.rows // 2
    parts = [(half, slice(None, half)), (q.rows - half, slice(half, None))]
    mean = math.fsum(n / q.rows * float(q.loss(tensor_of(q.module(q.inputs[s])), q.targets[s])) for n, s in parts)
    return rows if math.isclose(mean, whole, rel_tol=1e-5, abs_tol=1e-12) or math.isnan(whole) else q.rows


class _Book:
    """Sums the losses of parts of the data."""

    def __init__(self, q: Question, points: int) -> None:
        self.losses = np.zeros(points)
        self.samples = np.empty((points, q.rows)) if q.per_sample else None
        self.each = per_row(q.loss) if q.per_sample else None

    def write(self, at: slice, rows: slice, share: float, losses: Tensor, samples: Tensor | None) -> None:
        self.losses[at] += share * losses.detach().double().cpu().numpy()
        if self.samples is not None and samples is not None:
            self.samples[at, rows] = samples.detach().double().cpu().numpy()


def _by_chain(q: Question, chain: Callable[[], Chain], points: Points, progress: Progress | None) -> Answer:
    columns = q.inputs[:1].numel() if not q.inputs.is_floating_point() else q.inputs[:1].numel() // q.inputs.shape[-1]
    rows = _rows_that_split(q, min(q.rows, chain().rows_at_once(columns)))
    book, blocks = _Book(q, len(points)), [slice(k, min(k + rows, q.rows)) for k in range(0, q.rows, rows)]
    share = -(-len(points) // max(1, min(q.threads, len(points))))
    parts = [(k, points[k : k + share]) for k in range(0, len(points), share)]
    done, stop = [0] * len(parts), threading.Event()

    def work(which: int) -> None:
        first, mine = parts[which]
        own = chain()  # buffers of its own
        with torch.inference_mode():
            for block in blocks:
                x, y, at = q.inputs[block], q.targets[block], first
                for outs in own.outputs(x, mine):
                    losses, alone = losses_of(q.loss, outs, y, samples=q.per_sample)
                    book.write(slice(at, at + len(outs)), block, len(x) / q.rows, losses, alone)
                    at += len(outs)
                    done[which] += len(outs)
                    if stop.is_set():
                        return
                    if progress is not None and len(parts) == 1:
                        progress(sum(done) // len(blocks), len(points))

    if len(parts) == 1:
        work(0)
        return Answer(book.losses, book.samples, "chain", rows, 1)
    with pinned(1), ThreadPoolExecutor(len(parts)) as pool:  # torch lets go of Python's lock while it computes
        running = [pool.submit(work, which) for which in range(len(parts))]
        try:
            while wait(running, timeout=0.1, return_when=FIRST_EXCEPTION).not_done:
                if any(job.done() and job.exception() for job in running):
                    break
                if progress is not None:
                    progress(sum(done) // len(blocks), len(points))
        finally:
            stop.set()
        for job in running:
            job.result()
    if progress is not None:
        progress(len(points), len(points))
    return Answer(book.losses, book.samples, "chain", rows, 1)


def _by_vmap(q: Question, plane: Plane, points: Points, rows: int, progress: Progress | None) -> Answer | None:
    """None where the net does something that vmap cannot follow."""
    book, names = _Book(q, len(points)), plane.moving
    buffers = {n: b.clone() for n, b in q.module.named_buffers()}

    def one(weights: dict[str, Tensor], x: Tensor, y: Tensor) -> tuple[Tensor, ...]:
        out = tensor_of(functional_call(q.module, {**weights, **buffers}, (x,)))
        return (q.loss(out, y),) if book.each is None else (q.loss(out, y), book.each(out, y))

    many = torch.func.vmap(one, in_dims=(0, None, None))
    try:
        for k in range(0, len(points), _VMAP_POINTS):
            part = points[k : k + _VMAP_POINTS]
            weights = {n: _stacked(plane, n, part) for n in names}
            for r in range(0, q.rows, rows):
                x, y = q.inputs[r : r + rows], q.targets[r : r + rows]
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")  # of operators without a batching rule, which are looped over
                    losses, *alone = many(weights, x, y)
                samples = alone[0] if alone else None
                book.write(slice(k, k + len(part)), slice(r, r + len(x)), len(x) / q.rows, losses, samples)
            if progress is not None:
                progress(k + len(part), len(points))
    except (RuntimeError, NotImplementedError, ValueError, TypeError, IndexError):
        return None  # the loop runs the same net without vmap, and tells what is wrong if something is
    return Answer(book.losses, book.samples, "vmap", rows, _VMAP_POINTS)


def _stacked(plane: Plane, name: str, points: Points) -> Tensor:
    w = plane.origin[name]
    shape = (-1, *[1] * w.dim())
    made = w.expand(len(points), *w.shape)
    for k, d in enumerate((plane.u, plane.v or {})):
        if name in d:
            made = made + torch.tensor([p[k] for p in points], dtype=w.dtype, device=w.device).view(shape) * d[name]
    return made


def _by_loop(
    q: Question,
    plane: Plane,
    points: Points,
    rows: int,
    progress: Progress | None,
    draws: bool = False,
) -> Answer:
    book, names, v = _Book(q, len(points)), plane.moving, plane.v or {}
    row = {n: torch.empty_like(plane.origin[n]) for n in names}
    moved = {n: torch.empty_like(plane.origin[n]) for n in names}
    buffers = {n: b.clone() for n, b in q.module.named_buffers()}
    marks = {n: b._version for n, b in buffers.items()}
    last = None
    for k, (a, b) in enumerate(points):
        for n in names:
            if a != last:
                row[n].copy_(plane.origin[n])
                if n in plane.u:
                    row[n].add_(plane.u[n], alpha=a)
            if n in v:
                torch.add(row[n], v[n], alpha=b, out=moved[n])
            else:
                moved[n].copy_(row[n])
        last = a
        again()
        for r in range(0, q.rows, rows):
            x, y = q.inputs[r : r + rows], q.targets[r : r + rows]
            out = tensor_of(functional_call(q.module, {**moved, **buffers}, (x,)))
            samples = None if book.each is None else book.each(out, y)[None]
            book.write(slice(k, k + 1), slice(r, r + len(x)), len(x) / q.rows, q.loss(out, y)[None], samples)
            for n, kept in buffers.items():
                if kept._version != marks[n]:  # a net that counts its calls: each point begins with the net's own
                    kept.copy_(q.module.get_buffer(n))
                    marks[n] = kept._version
        if progress is not None:
            progress(k + 1, len(points))
    return Answer(book.losses, book.samples, "loop", rows, 1, draws)
