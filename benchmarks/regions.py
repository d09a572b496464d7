"""Regions of a net of two inputs, by ours and by others, in fresh processes: ``python -m benchmarks.regions SPEC``.

The nets are trained on sin(4 s) cos(4 t) over the square. CPU time counts child processes too. A contender that cannot
find all regions in its budget says how many it found, so that regions per CPU second can be compared.
"""

from __future__ import annotations

import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

from benchmarks.memory import _peak, _reset_peak, _status, _trim
from benchmarks.rounds import ROOT, environment

NETS = ((2, 16, 16, 1), (2, 64, 64, 64, 1))
OURS, GRID, RELUCENT = "weightwalk, regions and maps", "grid of 1,000 x 1,000 points", "relucent"
HOLDS = {
    OURS: "every polygon, its pattern, its affine map, its neighbours",
    GRID: "the patterns that the points met",
    RELUCENT: "pattern, half-spaces and neighbours of each region that meets the square",
}
SLOWER = {(2, 16, 16, 1): 400, (2, 64, 64, 64, 1): 200}
"""Regions that relucent may find: it would take very long for all of them."""


def train(widths: tuple[int, ...], steps: int) -> list[Any]:
    """Weights and biases in turn, after `steps` of Adam."""
    import torch

    torch.manual_seed(0)
    layers: list[torch.nn.Module] = []
    for a, b in pairwise(widths):
        layers += [torch.nn.Linear(a, b), torch.nn.ReLU()]
    model = torch.nn.Sequential(*layers[:-1])
    adam = torch.optim.Adam(model.parameters(), lr=3e-3)
    for _ in range(steps):
        x = torch.rand(512, 2) * 2 - 1
        loss = ((model(x) - torch.sin(4 * x[:, :1]) * torch.cos(4 * x[:, 1:])) ** 2).mean()
        adam.zero_grad()
        loss.backward()
        adam.step()
    return [p.detach().double().numpy() for p in model.parameters()]


def ours(weights: list[Any], most: int) -> Callable[[], dict[str, Any]]:
    """Geometry and maps; what the certificate takes is told beside it."""
    from weightwalk.formulas.piecewise import mlp
    from weightwalk.formulas.planes import plane

    net, spent = mlp(weights[0::2], weights[1::2]), [0.0]
    certify = plane.certify

    def timed(*args: Any) -> Any:
        start = time.process_time()
        found = certify(*args)
        spent[0] += time.process_time() - start
        return found

    plane.certify = timed

    def run() -> dict[str, Any]:
        found = plane.partition(net)
        assert found.certificate.ok, str(found.certificate)
        return {"regions": found.activation_regions, "certificate": spent[0], "held": found}

    return run


def grid(weights: list[Any], most: int) -> Callable[[], dict[str, Any]]:
    """The distinct patterns of a million points."""
    import numpy as np

    def run() -> dict[str, Any]:
        side = np.linspace(-1, 1, 1_000)
        seen: set[bytes] = set()
        for t in side:
            h = np.stack([side, np.full(len(side), t)], axis=1)
            rows = []
            for w, b in zip(weights[:-2:2], weights[1:-2:2], strict=True):
                z = h @ w.T + b
                rows.append(np.packbits(z > 0, axis=1))
                h = np.maximum(z, 0)
            seen.update(map(bytes, np.concatenate(rows, axis=1)))
        return {"regions": len(seen), "held": seen}

    return run


def relucent(weights: list[Any], most: int) -> Callable[[], dict[str, Any]]:
    """Its breadth-first search, among the regions that meet the square, in one process."""
    import torch
    from relucent import Complex

    layers: list[torch.nn.Module] = []
    for w, b in zip(weights[0::2], weights[1::2], strict=True):
        linear = torch.nn.Linear(w.shape[1], w.shape[0]).double()
        with torch.no_grad():
            linear.weight.copy_(torch.from_numpy(w))
            linear.bias.copy_(torch.from_numpy(b))
        layers += [linear, torch.nn.ReLU()]
    model = torch.nn.Sequential(*layers[:-1])

    def run() -> dict[str, Any]:
        found = Complex(model)
        found.bfs(max_polys=most, nworkers=1, cube_radius=1.0, cube_mode="intersect", verify=False, verbose=0)
        return {"regions": len(found), "held": found}

    return run


CONTENDERS = {OURS: ours, GRID: grid, RELUCENT: relucent}


def cpu() -> float:
    """CPU seconds of this process and of those that it started and that have ended."""
    both = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(used.ru_utime + used.ru_stime for used in both)


def child(spec: dict[str, Any]) -> dict[str, Any]:
    """Measure one contender in this process, once."""
    import numpy as np

    with np.load(spec["path"]) as held:
        weights = [held[name] for name in held.files]
    run = CONTENDERS[spec["name"]](weights, spec["most"])
    _trim()
    before, _ = _status("VmRSS") or _peak(), _reset_peak()
    start = cpu()
    found = run()
    spent = cpu() - start
    peak = _peak() - before
    return {"cpu": spent, "peak": peak, "regions": found["regions"], "certificate": found.get("certificate", 0.0)}


def measure(rounds: int, peers: bool, quick: bool, say: Callable[[str], None]) -> dict[str, Any]:
    """Every contender once per round, each time in a fresh process; the figures are medians."""
    return {"-".join(map(str, widths)): _net(widths, rounds, peers, quick, say) for widths in NETS}


def _net(widths: tuple[int, ...], rounds: int, peers: bool, quick: bool, say: Callable[[str], None]) -> dict[str, Any]:
    import numpy as np

    title = "-".join(map(str, widths))
    say(f"regions: training {title}")
    rows: dict[str, Any] = {}
    absent: dict[str, str] = {}
    names = [name for name in CONTENDERS if peers or name != RELUCENT]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "net.npz"
        np.savez(path, *train(widths, 2_000))
        for i in range(rounds):
            for name in names:
                if name in absent or (name == RELUCENT and i >= 3):
                    continue
                say(f"regions: {title}: {name}, round {i + 1} of {rounds}")
                most = SLOWER[widths] // (5 if quick else 1)
                answer = _run({"name": name, "path": str(path), "most": most})
                if "died" in answer:
                    absent[name] = answer["died"]
                else:
                    rows.setdefault(name, []).append(answer)
    rows = {name: found for name, found in rows.items() if name not in absent}
    keys = ("cpu", "peak", "regions", "certificate")
    return {
        "title": f"Regions of a {title} net over a square",
        "rows": {n: {k: statistics.median(f[k] for f in found) for k in keys} for n, found in rows.items()},
        "absent": absent,
    }


def _run(spec: dict[str, Any]) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.regions", json.dumps(spec)],
        capture_output=True, text=True, cwd=ROOT, env=environment(1), check=False,
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
