"""Loss surfaces, by ours and by loss-landscapes, in fresh processes: ``python -m benchmarks.landscapes SPEC``.

Both evaluate the same number of grid points around the same net on the same data, in turns in one process. Beside them
stand two other ways that ours could go: one call of the net after another, and stacks of points as batched products.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from itertools import pairwise
from typing import Any

from benchmarks.rounds import ROOT, environment

SUBJECTS: dict[str, dict[str, Any]] = {
    "MLP 10-32-32-16-1": {"widths": (10, 32, 32, 16, 1), "points": 41},
    "MLP 10-90-90-1": {"widths": (10, 90, 90, 1), "points": 41},
    "GPT of 10M": {"widths": None, "points": 3},
}
OURS, LOOP, STACKED, PEER = "weightwalk", "one call after another", "batched products, 16 points", "loss-landscapes"
Run = Callable[[], Any]


def subject(name: str) -> tuple[Any, Any, Any, str]:
    """Net, inputs, targets, loss."""
    import torch

    torch.manual_seed(0)
    widths = SUBJECTS[name]["widths"]
    if widths is None:
        from weightwalk.nets.gpt import GPT, GPTConfig

        net = GPT(GPTConfig(vocab_size=2000, n_positions=64, n_embd=256, n_layer=12, n_head=4))
        tokens = torch.randint(0, 2000, (2, 65))
        return net, tokens[:, :-1], tokens[:, 1:], "cross_entropy"
    layers: list[Any] = []
    for a, b in pairwise(widths):
        layers += [torch.nn.Linear(a, b), torch.nn.ReLU()]
    x = torch.randn(1000, widths[0])
    return torch.nn.Sequential(*layers[:-1]), x, torch.sin(x.sum(dim=1, keepdim=True)), "mse"


def runs(name: str, peers: bool, threads: int) -> dict[str, Run]:
    """What takes turns."""
    from weightwalk.learning.landscapes import evaluate
    from weightwalk.learning.landscapes.asked import grid
    from weightwalk.learning.landscapes.directions import random_plane
    from weightwalk.learning.landscapes.surface import surface

    net, x, y, loss = subject(name)
    points = SUBJECTS[name]["points"]
    plane, steps = random_plane(net), grid(points)

    def ours() -> Any:
        return surface(net, x, y, random_plane(net), loss=loss, alphas=steps, threads=threads, curvature=False)

    def loop() -> Any:
        kept = evaluate.leaves_of, evaluate._VMAP_NUMBERS
        evaluate.leaves_of, evaluate._VMAP_NUMBERS = lambda *_: (None, 1), 0
        try:
            return ours()
        finally:
            evaluate.leaves_of, evaluate._VMAP_NUMBERS = kept

    found: dict[str, Run] = {OURS: ours}
    if SUBJECTS[name]["widths"] is not None and threads == 1:
        found |= {LOOP: loop, STACKED: lambda: stacked(net, x, y, plane, steps)}
    if peers:
        found[PEER] = peer(net, x, y, loss, points)
    return found


def stacked(net: Any, x: Any, y: Any, plane: Any, steps: Any, at_once: int = 16) -> Any:
    """The same surface by ``baddbmm`` over stacks of points, the first layer factored."""
    import torch

    names = [n for n, _ in net.named_parameters()]
    pairs = torch.cartesian_prod(*[torch.tensor(steps, dtype=torch.float32)] * 2)
    found = []
    with torch.inference_mode():
        w0, b0 = plane.origin[names[0]], plane.origin[names[1]]
        first = [torch.addmm(b0, x, w0.T), x @ plane.u[names[0]].T, x @ plane.v[names[0]].T]
        for part in pairs.split(at_once):
            a, b = part[:, 0, None, None], part[:, 1, None, None]
            h = first[0] + a * first[1] + b * first[2]
            for weight, bias in zip(names[2::2], names[3::2], strict=True):
                w = plane.origin[weight] + a * plane.u[weight] + b * plane.v[weight]
                h = torch.baddbmm(plane.origin[bias].expand(len(part), 1, -1), h.relu_(), w.mT)
            found.append((h - y).square().mean(dim=(1, 2)))
    return torch.cat(found)


def peer(net: Any, x: Any, y: Any, loss: str, points: int) -> Run:
    """Their random plane, on a copy of the net, as their documentation has it."""
    import loss_landscapes
    from loss_landscapes.metrics import Loss

    from weightwalk.learning.losses import LOSSES

    metric = Loss(LOSSES[loss], x, y)
    scale = "filter" if loss == "mse" else "model"  # by filter, it divides by zero at a GPT

    def run() -> Any:
        return loss_landscapes.random_plane(net, metric, 1, points, normalization=scale, deepcopy_model=True)

    return run


def visits(steps: int) -> tuple[Any, Any, Any, Any]:
    """The weights of the net, and those of each point that loss-landscapes evaluates: (n,), (rows, columns, n); the
    directions that it must have drawn; the weights of the net afterwards.
    """
    import loss_landscapes
    import numpy as np
    import torch

    net, _, _, _ = subject("MLP 10-32-32-16-1")
    seen: list[Any] = []

    def flat(tensors: Any) -> Any:
        return torch.cat([p.detach().flatten() for p in tensors]).double().numpy().copy()

    def metric(model: Any) -> float:
        seen.append(flat(model.get_module_parameters().parameters))
        return 0.0

    before = flat(net.parameters())
    torch.manual_seed(1)
    loss_landscapes.random_plane(net, metric, 1, steps, normalization="filter")
    points = np.array(seen).reshape(steps, steps, -1)
    points[1::2] = points[1::2, ::-1]  # it walks every other row backwards, and writes it down forwards
    directions = np.stack([(points[2, 0] - points[0, 0]) / 2, points[0, 1] - points[0, 0]])
    return before, points, directions, flat(net.parameters())


def defects() -> dict[str, float]:
    """Four things about loss-landscapes' planes, measured on every point that it visits."""
    import numpy as np

    before, points, (one, two), after = visits(41)
    there = (points - before).reshape(-1, len(before))
    along = (there @ np.linalg.pinv(np.stack([one, two]))).reshape(41, 41, 2)

    def cosine(a: Any, b: Any) -> float:
        return float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))

    return {
        "shift of every other row, in steps": float(np.abs(np.diff(along[:, 0, 1])).mean()),
        "distance of the net from the nearest of 41 x 41 points, in steps": float(np.linalg.norm(along, axis=2).min()),
        "cosine of a direction with the vector of ones": cosine(two, np.ones_like(two)),
        "cosine of the two directions": cosine(one, two),
        "how far the user's net was moved, in its own norm": float(
            np.linalg.norm(after - before) / np.linalg.norm(before)
        ),
    }


def child(spec: dict[str, Any]) -> dict[str, Any]:
    """Rounds of one subject, in turns; CPU and wall seconds of each."""
    import torch

    torch.set_num_threads(spec["threads"])
    if spec["subject"] == "defects":
        return defects()
    turns = runs(spec["subject"], spec["peers"], spec["threads"])
    times: dict[str, list[list[float]]] = {name: [] for name in turns}
    for run in turns.values():
        run()  # once to warm up
    names = list(turns)
    for i in range(spec["rounds"]):
        for name in names[i % len(names) :] + names[: i % len(names)]:
            start = time.process_time(), time.perf_counter()
            turns[name]()
            times[name].append([time.process_time() - start[0], time.perf_counter() - start[1]])
    parameters = sum(p.numel() for p in subject(spec["subject"])[0].parameters())
    return {"times": times, "parameters": parameters, "points": SUBJECTS[spec["subject"]]["points"] ** 2}


def measure(rounds: int, peers: bool, quick: bool, say: Callable[[str], None]) -> dict[str, Any]:
    """Every subject in a process of its own, on one thread: on two, small nets go slower, the peer's many times."""
    found: dict[str, Any] = {}
    for name in SUBJECTS:
        say(f"landscapes: {name}")
        spec = {"subject": name, "rounds": 2 if quick else rounds, "peers": peers, "threads": 1}
        answer, absent = _run(spec), {}
        if "died" in answer and peers:
            absent = {PEER: answer["died"]}
            answer = _run({**spec, "peers": False})
        found[name] = {"title": f"Loss over a plane: {name}", "threads": 1, "absent": absent, **answer}
    if peers:
        say("landscapes: the points that loss-landscapes visits")
        found["defects"] = _run({"subject": "defects", "threads": 1})
    return found


def seconds(section: Mapping[str, Any], name: str) -> list[float]:
    """CPU time on one thread; on two, wall time, for which they are there."""
    return [turn[0 if section["threads"] == 1 else 1] for turn in section["times"][name]]


def faster(section: Mapping[str, Any], name: str) -> float:
    """How many times as long as ours another takes: the median over the rounds."""
    pairs = zip(seconds(section, OURS), seconds(section, name), strict=True)
    return statistics.median(theirs / ours for ours, theirs in pairs)


def _run(spec: dict[str, Any]) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.landscapes", json.dumps(spec)],
        capture_output=True, text=True, cwd=ROOT, env=environment(spec["threads"]), check=False,
    )  # fmt: skip
    if done.returncode:
        return {"died": (done.stderr.strip().splitlines() or ["no word"])[-1][:200]}
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    """The child's side."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # a library that prints must not spoil the answer
    print(json.dumps(child(json.loads(sys.argv[1]))), file=answers, flush=True)


if __name__ == "__main__":
    main()
