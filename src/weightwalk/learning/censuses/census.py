"""The census: train thousands of nets, each from a seed of its own, and count what became of them."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from weightwalk.errors import UsageError
from weightwalk.learning.censuses import engine as engines
from weightwalk.learning.censuses.contrasts import contrasts_of, dead_tables
from weightwalk.learning.censuses.facts import Cell, Census, Located, Rows, spread_of
from weightwalk.learning.censuses.measures import (
    Measures,
    catalog,
    checked,
    kind_of,
    line_error,
    needs_curve,
    one_number,
)
from weightwalk.learning.censuses.outcomes import also_for, rules_for, spreads_for
from weightwalk.learning.censuses.rules import OTHER, Rule, Test, rules_of, sorted_by
from weightwalk.learning.censuses.settings import applied, axes_of, product, seeds_of
from weightwalk.learning.censuses.trained import Trained, array
from weightwalk.learning.censuses.wilson import Share, deviate, wilson
from weightwalk.learning.tasks import Task, task_of

Progress = Callable[[int, int], None]
"""Called with (updates done, updates in all), counted over seeds, epochs and cells."""

KEPT = 16 * 2**20
"""Bytes of answers that a cell keeps, to be compared with another cell's."""

FEW = 12
"""Rows up to which it is told how many seeds answer how many of them right."""

LOOPS = 8
"""Loops that are named, the most frequent first."""


def census(
    task: Task | str,
    *,
    seeds: int | Iterable[int] = 1000,
    vary: Mapping[str, Any] | None = None,
    rules: Iterable[str | Rule] | Mapping[str, str | Test] | None = None,
    measures: Sequence[str] = (),
    locate: Mapping[str, float] | None = None,
    confidence: float = 0.95,
    memory: int | None = None,
    engine: str = "local",
    progress: Progress | None = None,
) -> Census:
    """Train a task from many seeds under every combination of settings, and count the outcomes.

    Seed k of a census starts from the same weights as ``ww.train(task, seed=k)`` and is trained by the same arithmetic,
    so that any seed can be trained again alone, and walked.

    Args:
        task: A task, or the name of one (``"hello6"``).
        seeds: How many, counted from 0; or a range or list of seeds.
        vary: Setting -> values: what the task's shape has (width, depth, activation, target ...) and the recipe's
            optimizer, lr, epochs, batch, shuffle, loss. ``{"optimizer+lr": [("sgd", 0.1), ("adam", 0.01)]}`` changes
            two together.
        rules: Outcomes, the first that holds wins: ``"solved: right == all"`` (for the language see
            `weightwalk.learning.censuses.rules`); or a mapping from outcome to a condition or to a function of the
            measures. None for those of the task.
        measures: Further measures to keep and to tell, such as ``"epochs_to[0.01]"``; `measures_of` lists them.
        locate: Measure -> value whose place among the seeds is told, such as ``{"first_loss": 1.3034}``.
        confidence: Of the intervals (Wilson's, and Newcombe's for differences).
        memory: Bytes that the training may take; smaller parts are slower and give the same numbers.
        engine: ``"local"``, or ``"ray"`` for a Ray cluster.
        progress: Told how far it is.

    Returns:
        The counts, cell by cell; ``.frame()`` has every seed.

    Raises:
        UsageError: A task, setting, seed, rule or measure that makes no sense; nothing has been trained then.

    Example:
        >>> found = census("hello", seeds=40, vary={"width": [2, 8]})
        >>> [(c.name, c.outcomes["solved"].count) for c in found.cells]  # doctest: +SKIP
        [('width 2', 12), ('width 8', 40)]
        >>> sum(share.count for share in found.cells[0].outcomes.values())
        40
    """
    task = task_of(task)
    deviate(confidence)
    if not task.remade:
        raise UsageError(
            f"{task.name!r} is one net with the weights that it has; a census needs fresh weights for each seed: "
            "name a function or class that makes the net."
        )
    if memory is not None and memory <= 0:
        raise UsageError(f"The memory is a number of bytes above 0; got {memory}.")
    chosen, axes, all_seeds = seeds_of(seeds), axes_of(task, vary), None
    all_seeds = np.array(chosen)
    plans = [(cell, *applied(task, cell)) for cell in product(axes)]
    own = None if rules is None else rules_of(rules)
    ruled = [own or rules_for(shaped, recipe["loss"]) for _, shaped, recipe in plans]
    if any([r.name for r in each] != [r.name for r in ruled[0]] for each in ruled):
        raise UsageError("The cells have different outcomes by default; give rules that hold for all of them.")
    wanted = [*measures, *(locate or {})]
    for (_, shaped, recipe), each in zip(plans, ruled, strict=True):
        checked([*wanted, *(m for r in each for m in r.measures)], shaped, recipe["loss"])
        shaped.module(chosen[0])  # a net that cannot be made is refused here, not after an hour
    started = time.perf_counter()
    updates = [max(1, recipe["epochs"]) * len(chosen) for _, _, recipe in plans]
    cells: list[Cell] = []
    for k, ((settings, shaped, recipe), each) in enumerate(zip(plans, ruled, strict=True)):
        curve = needs_curve([*wanted, *(m for r in each for m in r.measures)])
        tell = _within(progress, sum(updates[:k]), updates[k], sum(updates))
        trained = engines.trained_cell(shaped, chosen, recipe, curve=curve, memory=memory, engine=engine, progress=tell)
        cells.append(_cell(settings, shaped, recipe, trained, each, all_seeds, wanted, locate or {}, confidence))
    varied = [a for a in axes if len(a.values) > 1]
    shared = {n: v for n, v in _shared(task, plans).items() if n not in {x for a in varied for x in a.names}}
    rules_told, learned = ruled[0], dict.fromkeys(shaped.description for _, shaped, _ in plans)
    unmatched = [r.name for r in rules_told if not any(c.outcomes[r.name].count for c in cells)]
    return Census(
        task.name, "; ".join(learned), shared, len(chosen), min(chosen), max(chosen), confidence, rules_told,
        tuple(varied), _rows_of_all(plans), tuple(cells),
        contrasts_of(cells, varied, rules_told), tuple(unmatched), task, time.perf_counter() - started,
    )  # fmt: skip


def measures_of(task: Task | str) -> dict[str, str]:
    """Every measure of a task with what it counts, for rules.

    Raises:
        UsageError: There is no such task.

    >>> measures_of("hello")["right"]
    'training rows answered right'
    """
    return {m.name: m.what for m in catalog(task_of(task))}


def _within(progress: Progress | None, before: int, part: int, total: int) -> Progress | None:
    """Progress of one cell as progress over all."""
    if progress is None:
        return None
    return lambda done, of: progress(before + round(part * done / max(1, of)), total)


def _shared(task: Task, plans: Sequence[tuple[Any, Task, dict[str, Any]]]) -> dict[str, Any]:
    """Settings of the first cell, which all share but for what is varied."""
    _, shaped, recipe = plans[0]
    extra = recipe["settings"]
    return {**dict(shaped.shape), **{n: v for n, v in recipe.items() if n != "settings"}, **extra}


def _cell(
    settings: Mapping[str, Any],
    task: Task,
    recipe: Mapping[str, Any],
    trained: Trained,
    rules: tuple[Rule, ...],
    seeds: np.ndarray,
    wanted: Sequence[str],
    locate: Mapping[str, float],
    confidence: float,
) -> Cell:
    """Count one cell."""
    values = Measures(task, trained, recipe["loss"])
    outcome = sorted_by(rules, values, len(seeds))
    names = [*(r.name for r in rules), OTHER]
    share = lambda holds: wilson(int(np.count_nonzero(holds)), len(seeds), confidence)  # noqa: E731
    also = [r for r in also_for(task, recipe["loss"]) if _has_relu(task) or "dead" not in r.text]
    told = list(dict.fromkeys([*wanted, *spreads_for(task, recipe["loss"])]))
    kept = dict.fromkeys(
        [*told, *(m for r in rules for m in r.measures), "first_loss", "loss", "dead_start", "dead_end"]
    )
    loops: dict[str, Share] = {}
    if kind_of(task, recipe["loss"]) == "tokens":
        counts = Counter({n: int(values.followed.in_loop(n).sum()) for n in values.followed.names})
        loops = {n: wilson(c, len(seeds), confidence) for n, c in counts.most_common(LOOPS)}
    right: dict[str, Share] = {}
    if "right" in values and len(task.data.inputs) <= FEW:
        right = {str(k): share(values["right"] == k) for k in range(len(task.data.inputs) + 1)}
    module = task.module(0)
    return Cell(
        dict(settings),
        sum(p.numel() for p in module.parameters() if p.requires_grad),
        {n: share(outcome == k) for k, n in enumerate(names)},
        {r.name: share(r.test(values)) for r in also},
        loops,
        right,
        {n: spread_of(values[n]) for n in told},
        dead_tables(values, outcome != 0, confidence) if _has_relu(task) else (),
        tuple(_located(n, v, values[n], confidence) for n, v in locate.items()),
        seeds,
        outcome,
        {n: values[n] for n in kept},
        trained.outputs if trained.outputs.nbytes <= KEPT else None,
    )


def _has_relu(task: Task) -> bool:
    from torch import nn

    return any(isinstance(m, nn.ReLU) for m in task.module(0).modules())


def _located(name: str, value: float, values: np.ndarray, confidence: float) -> Located:
    """Where a value that was printed with some digits lies: what rounds to the same digits is equal."""
    digits = len(repr(float(value)).partition(".")[2].rstrip("0"))
    rounded = np.round(values, digits)
    known = ~np.isnan(values)
    below = wilson(int(np.count_nonzero(known & (rounded < value))), int(known.sum()), confidence)
    return Located(name, float(value), below, int(np.count_nonzero(rounded == round(float(value), digits))))


def _rows_of_all(plans: Sequence[tuple[Any, Task, dict[str, Any]]]) -> Rows:
    """The data of the first cell, without the error of a line that is not every cell's."""
    rows = rows_of(plans[0][1], plans[0][2]["loss"])
    if rows.line is None or all(shaped.data.targets.equal(plans[0][1].data.targets) for _, shaped, _ in plans):
        return rows
    return replace(rows, line=None)


def rows_of(task: Task, loss: str | None = None) -> Rows:
    """The data looked at: repeated rows, contradicting rows, and how well one does without a net.

    >>> found = rows_of(task_of("hello6"))
    >>> found.rows, found.duplicates, found.targets["dog"], found.guess
    (6, 0, 2, 2)
    """
    data = task.data
    x, y = array(data.inputs), array(data.targets)
    pairs = [(a.tobytes(), b.tobytes()) for a, b in zip(x, y, strict=True)]
    first: dict[bytes, set[bytes]] = {}
    again = against = 0
    for a, b in pairs:
        known = first.setdefault(a, set())
        again += b in known
        against += bool(known) and b not in known
        known.add(b)
    targets: dict[str, int] = {}
    kind = kind_of(task, loss)
    if kind != "numbers" and y.size == len(y):
        names = data.classes or [str(k) for k in range(int(y.max()) + 1)]
        counts = Counter(int(k) for k in y.reshape(-1))
        targets = {names[k]: n for k, n in counts.most_common()}
    line = line_error(task) if kind == "numbers" and one_number(task) else None
    held = 0 if data.held_inputs is None else len(data.held_inputs)
    guess = max(targets.values()) if targets else None
    return Rows(len(x), held, again, against, targets, guess, line)
