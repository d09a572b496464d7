"""Error by the size of a model, on the terminal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from rich.text import Text

from weightwalk.show.fittings import figure, percent, sentence, table, title

NAMES = {"sqrt": "√x", "square": "x²", "log": "ln x", "exp": "exp x", "sin": "sin x", "tan": "tan x", "abs": "|x|"}


def middle(values: Any) -> str:
    """The median, and the quartiles: ``0.12 (0.10 to 0.15)``."""
    low, half, high = np.quantile(values, [0.25, 0.5, 0.75], method="inverted_cdf")
    return f"{figure(float(half), 3)} ({figure(float(low), 3)} to {figure(float(high), 3)})"


def capacity_lines(found: Any, width: int) -> Iterator[Text]:
    """Noisy rows by size; without noise by width; without activations."""
    name = NAMES.get(found.target, found.target)
    yield title(f"capacity: {name} for {found.low:g} <= x <= {found.high:g}")
    yield Text("")
    yield Text(
        f"  {found.rows} rows with noise of deviation {found.noise:.3g}: errors of models by size", style="italic"
    )
    rows: list[Sequence[object]] = []
    for sweep in (found.polynomials, found.nets):
        for s in sweep.sizes:
            mark = "least" if s.size == sweep.best else ""
            rows.append((size_name(sweep.family, s.size), s.parameters, middle(s.train), middle(s.held), mark))
    yield from table(("model", "numbers", "at the noisy rows", "against the truth", ""), rows, width)
    yield Text("")
    for sweep in (found.polynomials, found.nets):
        yield from sentence(_shape(sweep, len(found.seeds)), width, "green" if sweep.u_shaped else "yellow")
    yield from sentence(
        "p: of so many seeds or more by chance (sign test). The same seeds choose the best size, which favours it.",
        width, "dim",
    )  # fmt: skip
    if found.reach:
        yield Text("")
        yield from _reach(found, width)
    yield Text("")
    yield from sentence(
        f"Without activations, a net of layers {' - '.join(map(str, found.linear_sizes))} ends at an error of "
        f"{figure(float(np.median(found.linear)), 4)}: it is a straight line, and the best of those has "
        f"{figure(found.line, 4)}.",
        width,
    )
    if found.functions:
        yield Text("")
        yield from _functions(found, width)
    yield Text("")
    yield from sentence(
        f"Errors are root mean squares, medians and quartiles over seeds ({len(found.seeds)}); each draws its "
        f"rows, its noise and its initial weights. Nets: one hidden layer of ReLUs, {found.recipe}. Truth is the "
        "function between the rows; nothing is said of x outside the interval.", width, "dim"
    )  # fmt: skip


def size_name(family: str, size: int) -> str:
    """``degree 3``, ``net, 16 units``, ``net, no hidden layer``."""
    if family == "polynomial":
        return f"degree {size}"
    return f"net, {size} unit{'s' * (size != 1)}" if size else "net, no hidden layer"


def _shape(sweep: Any, n: int) -> str:
    first, last = sweep.sizes[0].size, sweep.sizes[-1].size
    what = "Polynomials" if sweep.family == "polynomial" else "Nets"
    best = size_name(sweep.family, sweep.best)
    if sweep.best == last:
        return f"{what}: the largest of them, {best}, has the least error; no rise is seen up to there."
    if sweep.best == first:
        return f"{what}: the smallest of them, {best}, has the least error."
    counts = (
        f"the smallest is worse than {best} for {sweep.worse_below} of {n} seeds (p = {sweep.p_below:.2g}), the "
        f"largest for {sweep.worse_above} (p = {sweep.p_above:.2g})"
    )
    if sweep.u_shaped:
        return f"{what}: U-shaped. Against the truth {counts}."
    return f"{what}: not shown to be U-shaped. Against the truth {counts}."


def _reach(found: Any, width: int) -> Iterator[Text]:
    yield Text("  201 rows without noise: what nets of a width can do, and what training finds", style="italic")
    rows = [
        (
            r.width,
            r.parameters,
            f"{r.exists:.2e}",
            f"{r.trained.min():.2e}",
            f"{np.median(r.trained):.2e}",
            f"{r.trained.max():.2e}",
            figure(float(np.median(r.trained)) / r.exists if r.exists else float("inf"), 2),
        )
        for r in found.reach
    ]
    heads = ("units", "numbers", "exists", "trained: best", "median", "worst", "median / exists")
    yield from table(heads, rows, width)
    if np.isfinite(found.slope):
        text = (
            f"exists: weights with no more error than this are known. It falls as width to the power "
            f"{found.slope:.2f}: a net can come as near as one likes, on this closed interval. What training finds "
            "falls behind: that weights exist does not mean that they are found."
        )
        yield from sentence(text, width, "green")


def _functions(found: Any, width: int) -> Iterator[Text]:
    yield Text("  any function? nets of 8 units on 201 rows without noise, each on its interval", style="italic")
    rows = [
        (
            NAMES.get(f.target, f.target),
            f"{f.low:g} to {f.high:g}",
            figure(f.spread, 3),
            figure(f.line, 3),
            figure(float(f.trained.min()), 3),
            figure(float(np.median(f.trained)), 3),
            figure(float(f.trained.max()), 3),
            figure(float(np.median(f.trained / f.train)), 3),
            percent(float(np.mean(f.trained > 0.95 * f.line))),
        )
        for f in found.functions
    ]
    heads = ("y", "x", "constant", "line", "best", "median", "worst", "held / train", "no better than a line")
    yield from table(heads, rows, width)
    yield from sentence(
        "held / train: the error between the rows over that at the rows. tan is learned between its poles only: no net "
        "follows it through one.", width, "dim"
    )  # fmt: skip
