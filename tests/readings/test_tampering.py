"""Thousands of forgeries, digests re-computed: each must be refused, and the report must name a step that it touches.

What cannot be told from the record is left out of the draw, by a criterion of its own: numbers drawn at random or never
set, operands whose exchange gives the very same numbers, an op whose other name gives the same numbers.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from readings.forge import Copied, forged, mapped, without
from readings.test_verify import trained

from weightwalk.readings.referees import Expected, numpy_referee
from weightwalk.readings.verify import Report, verify
from weightwalk.walks.model import Ref, Step
from weightwalk.walks.walk import Walk

NETS = ("mlp_relu", "attention_by_hand")
DEFAULT, MANY = 60, 2000


@cache
def walk_of(name: str) -> Walk:
    torch.manual_seed(0)
    return trained(name)


@cache
def report_of(name: str) -> Report:
    report = verify(walk_of(name), "numpy", drift=False)
    assert report.ok
    return report


def expected(step: Step) -> list[Expected] | None:
    def plain(tree: Any) -> Any:
        if isinstance(tree, Ref):
            return step.walk.values[tree.value].numpy()
        return [plain(x) for x in tree] if isinstance(tree, (list, tuple)) else tree

    dtypes = [v.dtype for v in step.results()]
    return numpy_referee(step.op, plain(step.args), {k: plain(v) for k, v in step.kwargs.items()}, dtypes)


def touched(walk: Walk, buffer: int) -> set[int]:
    """The steps that make or read anything in one buffer."""
    return {s.index for s in walk.steps for v in (*s.inputs(), *s.results()) if v.buffer == buffer}


def named(report: Report, steps: set[int]) -> None:
    assert not report.ok
    failing = {v.index for v in report.failures}
    assert failing & steps, (failing, steps, str(report))
    assert all(v.message and v.address for v in report.failures)


def a_number(name: str, rng: np.random.Generator) -> None:
    """One stored result, moved by three times its bound; to the next number, where it must be exact."""
    walk = walk_of(name)
    able = [v.index for v in report_of(name).verdicts if v.status in ("proven", "exact") and v.referee == "numpy"]
    step = walk.steps[int(rng.choice(able))]
    wants = expected(step)
    assert wants is not None
    results = list(step.results())
    if not results or {v.buffer for v in results} & {v.buffer for v in step.inputs()}:
        return  # a view: its maker's bound allows more than the view's
    which = int(rng.integers(len(results)))
    value, want = results[which], wants[which]
    if value.producer != step.index or value.size == 0 or want.unchecked:
        return
    store = Copied(walk)
    array = store.array(value)
    place = tuple(int(rng.integers(n)) for n in value.shape)
    bound = float(np.broadcast_to(want.bound, want.value.shape)[place])  # type: ignore[arg-type]
    if array.dtype.kind == "f" and bound:
        away = np.copysign(3.0 * bound, rng.uniform(-1, 1))
        array[place] = float(want.value[place]) + away
    elif array.dtype.kind == "f":
        array[place] = np.nextafter(array[place], np.inf, dtype=array.dtype)
    else:
        array[place] = ~array[place] if array.dtype.kind == "b" else array[place] + 1
    named(verify(forged(walk, store=store), "numpy", drift=False), touched(walk, value.buffer))


def a_weight(name: str, rng: np.random.Generator) -> None:
    """One parameter, a little different from the one that ran."""
    walk = walk_of(name)
    parameters = [v for v in walk.values if v.kind == "parameter"]
    value = parameters[int(rng.integers(len(parameters)))]
    store = Copied(walk)
    place = tuple(int(rng.integers(n)) for n in value.shape)
    store.array(value)[place] += (0.01 + abs(store.array(value)[place])) * 0.01
    named(verify(forged(walk, store=store), "numpy", drift=False), touched(walk, value.buffer))


def operands(name: str, rng: np.random.Generator) -> None:
    """Two operands of one step, exchanged."""
    walk = walk_of(name)
    step = walk.steps[int(rng.integers(len(walk.steps)))]
    refs = sorted({v.id for v in step.inputs()})
    if len(refs) < 2 or any(v.status == "drawn" for v in [report_of(name).verdicts[step.index]]):
        return
    a, b = (int(i) for i in rng.choice(refs, 2, replace=False))
    other = {a: Ref(b), b: Ref(a)}

    def swap(r: Ref) -> Ref:
        return other.get(r.value, r)

    swapped = replace(step, args=mapped(step.args, swap), kwargs={k: mapped(v, swap) for k, v in step.kwargs.items()})
    if not same_result(step, swapped):
        named(verify(replaced(walk, swapped), "numpy", drift=False), {step.index})


def replaced(walk: Walk, step: Step) -> Walk:
    return forged(walk, steps=lambda s: [step if x.index == step.index else x for x in s])


def same_result(step: Step, other: Step) -> bool:
    """Whether both give the same numbers, so that the record is not false."""
    try:
        a, b = expected(step), expected(other)
    except (ValueError, TypeError, IndexError, AttributeError, KeyError, ZeroDivisionError):
        return False
    if b is None:
        return True  # an op that no referee covers is listed, not refused
    if a is None or len(a) != len(b):
        return False
    return all(_within(x, y) for x, y in zip(a, b, strict=True))


def _within(x: Expected, y: Expected) -> bool:
    if x.unchecked or y.unchecked:
        return True
    if x.value.shape != y.value.shape or y.bound is None:
        return y.bound is None
    with np.errstate(all="ignore"):
        gap = np.abs(np.asarray(x.value, dtype=np.float64) - np.asarray(y.value, dtype=np.float64))
        slack = 0.0 if x.bound is None else np.asarray(x.bound)
        return bool(np.all(gap <= 2 * np.asarray(y.bound) + 2 * slack))


def a_step(name: str, rng: np.random.Generator) -> None:
    """A step left out and the rest renumbered."""
    walk = walk_of(name)
    makers = sorted({v.producer for v in walk.values if v.producer is not None})
    report = verify(without(walk, int(rng.choice(makers))), "numpy", drift=False)
    assert not report.ok
    assert report.structure or report.failures


def a_name(name: str, rng: np.random.Generator) -> None:
    """An op under the name of another."""
    walk = walk_of(name)
    step = walk.steps[int(rng.integers(len(walk.steps)))]
    others = sorted({s.op for s in walk.steps if s.op.startswith("aten.")} - {step.op})
    relabelled = replace(step, op=str(rng.choice(others)))
    if not list(step.results()):
        return  # its only result is a Python number
    if report_of(name).verdicts[step.index].referee == "numpy" and not same_result(step, relabelled):
        named(verify(replaced(walk, relabelled), "numpy", drift=False), {step.index})


FORGERIES = (a_number, a_weight, operands, a_step, a_name)


@pytest.mark.parametrize("name", NETS)
@pytest.mark.parametrize("forgery", FORGERIES)
def test_forgeries_are_refused_and_named(forgery: Any, name: str) -> None:
    rng = np.random.default_rng(1)
    for _ in range(DEFAULT // len(NETS)):
        forgery(name, rng)


@pytest.mark.slow
@pytest.mark.parametrize("name", NETS)
@pytest.mark.parametrize("forgery", FORGERIES)
def test_thousands_of_forgeries_are_refused_and_named(forgery: Any, name: str) -> None:
    rng = np.random.default_rng(2)
    for _ in range(MANY // len(NETS)):
        forgery(name, rng)


def test_the_forgers_copy_itself_is_true() -> None:
    """Otherwise every test above would pass for the wrong reason."""
    for name in NETS:
        assert verify(forged(walk_of(name)), "numpy").ok


def test_a_step_left_out_without_renumbering_is_said_to_be_missing() -> None:
    walk = walk_of(NETS[0])
    report = verify(forged(walk, steps=lambda s: [x for x in s if x.index != 3]), "numpy")
    assert not report.ok
    assert report.structure[0].endswith("stands at place 3: a step is missing or moved")


def test_two_steps_exchanged_are_said_to_be_out_of_order() -> None:
    walk = walk_of(NETS[0])
    reader = next(s for s in walk.steps if any(v.producer == s.index - 1 for v in s.inputs()))
    i = reader.index

    def exchange(steps: list[Step]) -> list[Step]:
        steps[i - 1], steps[i] = replace(steps[i], index=i - 1), replace(steps[i - 1], index=i)
        return steps

    report = verify(forged(walk, steps=exchange), "numpy")
    assert "which no earlier step made" in next(v for v in report.failures if v.index == i - 1).message
