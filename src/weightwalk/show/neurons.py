"""One neuron on the terminal: its trace, its truth table, its losses, its bowl."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from decimal import Decimal
from typing import Any

from rich.text import Text

from weightwalk.readings.narrate_decimals import decimal
from weightwalk.show.layout import columns, number, wrapped
from weightwalk.show.stories import sum_lines


def _d(value: float | None, digits: int = 6) -> Decimal | None:
    return None if value is None else decimal(value, digits)


def _say(value: float, digits: int = 6) -> str:
    return number(decimal(value, digits))


def _list(values: Sequence[float]) -> str:
    return ", ".join(_say(v) for v in values)


# Logistic ------------------------------------------------------------------------------------------------------------


def logistic_lines(neuron: Any, width: int) -> Iterator[Text]:
    """The trace of a logistic neuron."""
    names = [f"w{i + 1}" for i in range(len(neuron.inputs))]
    title = f"one logistic neuron, one example: inputs {_list(neuron.inputs)} → target {_say(neuron.target)}"
    yield Text(title, style="bold")
    yield from wrapped(
        f"z = {' + '.join(f'{n} × {_say(x)}' for n, x in zip(names, neuron.inputs, strict=True))} + b, "
        f"p = 1 / (1 + e^-z); lr = {_say(neuron.lr)}; first weights: {neuron.start}",
        width,
        "",
        "dim",
    )
    yield Text("")
    heads = ("steps taken", "p", "loss", "∂loss/∂z", *(f"∂loss/∂{n}" for n in names), *names, "b", "Δz next")
    rows = [
        (m.step, _d(m.p), _d(m.loss), _d(m.slope), *(_d(g) for g in m.gradient[:-1]), *(_d(w) for w in m.weights),
         _d(m.bias), _d(m.dz, 4))
        for m in neuron.moments
    ]  # fmt: skip
    yield from columns(heads, rows, width)
    yield Text("")
    yield from _readings(neuron, width)


def _readings(neuron: Any, width: int) -> Iterator[Text]:
    first, last = neuron.moments[0], neuron.moments[-1]
    why = "weights of 0 are undecided, they do not say 0 %" if first.p == 0.5 else "so say its first weights"
    yield from wrapped(f"Before any step p is {100 * first.p:.2f} %: {why}.", width)
    yield from wrapped(
        f"∂loss/∂z = p - target. A weight's slope is that times its input, the bias's is that times 1; so each step "
        f"moves z by lr × (‖x‖² + 1) × (target - p) = {_say(neuron.factor)} × ({_say(neuron.target)} - p).",
        width,
    )
    if len(neuron.inputs) == 2 and neuron.inputs[1]:
        ratio = neuron.inputs[0] / neuron.inputs[1]
        yield from wrapped(f"Δw1 = {_say(ratio)} × Δw2 at every step, because the inputs stand so.", width)
    for level, step in neuron.reached.items():
        said = f"after {step:,} steps" if step is not None else f"not within {last.step:,} steps"
        yield from wrapped(f"p ≥ {level:.2f} {said}", width, "  ", "green" if step is not None else "dim")
    if neuron.target == 1 and last.step >= 100:
        yield from wrapped(
            f"‖w‖ = {_say(last.norm)} and growing like the logarithm of the steps, without end: z is {_say(last.z)}, "
            f"where infinitely small steps, for which z + e^z = {_say(neuron.factor)} × steps + const, arrive at "
            f"{_say(last.flow)}. The loss, {_say(last.loss, 3)}, nears 0 and is never 0.",
            width,
        )
    others = "; ".join(f"({_list(x)}) → {_say(p, 4)}" for x, p in neuron.elsewhere)
    yield from wrapped(
        "It was shown one example and nothing that should be refused. What it now says of inputs that it never saw: "
        f"{others}.",
        width,
    )
    yield from wrapped(
        "This is a logistic unit trained by gradient descent; Rosenblatt's perceptron has a threshold: --perceptron.",
        width, style="dim",
    )  # fmt: skip


# Linear --------------------------------------------------------------------------------------------------------------


def linear_lines(neuron: Any, width: int) -> Iterator[Text]:
    """A linear neuron with its numbers."""
    yield Text("one linear neuron: z = w · x + b", style="bold")
    yield Text("    contribution = weight × input  of", style="dim")
    yield from sum_lines(neuron.sum, width, "  ")
    n, m = neuron.connections, neuron.parameters
    yield Text("")
    yield from wrapped(
        f"{n} connections and {m} parameters: a weight belongs to a connection, and the bias, which nothing flows "
        f"into, is none. A layer from m to n units has m × n weights and n biases.",
        width,
    )
    yield Text("")
    yield Text("what is wrong with it, by quantities that are not the same", style="bold")
    yield from columns(SCORED, [_scored("this output", neuron.here)], width)
    slopes = ", ".join(_say(g) for g in neuron.gradient)
    yield from wrapped(f"∂residual²/∂(weights, bias) = {slopes}: the slope at z times each input, times 1.", width)
    yield Text("")
    yield Text("errors of one size and either sign", style="bold")
    low, high = neuron.mirrored
    yield from columns(SCORED, [_scored("too low", low), _scored("too high", high)], width)
    yield from wrapped(
        "The squares are equal: the loss forgets the sign. The slopes are opposite: the gradient keeps it.", width
    )
    yield Text("")
    yield Text("why a residual is no loss", style="bold")
    yield from columns(SCORED, [_scored("", s) for s in neuron.outputs], width)
    yield from wrapped(
        "Minimising the residual would drive the output to minus infinity; its size and its square are least, 0, at "
        "the target.", width,
    )  # fmt: skip


SCORED = ("", "output", "target", "residual", "|residual|", "residual²", "∂residual²/∂z")


def _scored(name: str, s: Any) -> tuple[object, ...]:
    return (name, *(_d(v, 9) for v in (s.output, s.target, s.residual, s.absolute, s.squared, s.slope)))


# Thresholds ----------------------------------------------------------------------------------------------------------


def threshold_lines(unit: Any, width: int) -> Iterator[Text]:
    """A truth table."""
    w1, w2 = unit.weights
    name = "threshold unit" if unit.name == "given" else f"threshold unit for {unit.name.upper()}"
    yield Text(f"{name}: 1 where {_say(w1)} x1 {_plus(w2)} x2 {_plus(unit.bias)} > 0, else 0", style="bold")
    heads = ("x1", "x2", "z", "says", *((unit.name,) if unit.right is not None else ()))
    yield from columns(heads, [row if unit.right is not None else row[:4] for row in unit.table], width)
    if unit.right is not None:
        yield from wrapped("It computes the gate." if unit.right else "It does NOT compute the gate.", width,
                           style="green" if unit.right else "red")  # fmt: skip
    else:
        yield from wrapped(
            f"That is {unit.computes.upper()}." if unit.computes else "That gate has no name here.", width
        )
    yield from wrapped(
        "A threshold has slope 0 wherever it has one, so gradient descent finds nothing to go by; --perceptron trains "
        "it by correcting errors. The likeness to a nerve cell that fires is an analogy.", width, style="dim",
    )  # fmt: skip


def _plus(value: float) -> str:
    return f"{'-' if value < 0 else '+'} {_say(abs(value))}"


def correction_lines(found: Any, width: int, most: int = 32) -> Iterator[Text]:
    """A unit trained by its errors."""
    says = "1 where z > 0, else 0" if found.rule == "perceptron" else "z itself"
    yield Text(f"{found.rule} rule on {found.gate.upper()}: update = lr × error × input", style="bold")
    text = f"error = target - output; the output is {says}; lr = {_say(found.lr)}, from zero weights"
    yield from wrapped(text, width, "", "dim")
    yield Text("")
    heads = ("pass", "x1", "x2", "target", "output", "error", "Δw1", "Δw2", "Δb", "w1", "w2", "b")
    shown = found.met if len(found.met) <= most else found.met[: most - 4] + found.met[-4:]
    rows = [
        (m.epoch, *m.inputs, m.target, *(_d(v, 4) for v in (m.output, m.error, *m.update, *m.weights))) for m in shown
    ]
    yield from columns(heads, rows, width)
    if len(shown) < len(found.met):
        yield from wrapped(
            f"not shown: {len(found.met) - len(shown):,} examples before the last four", width, style="dim"
        )
    none = sum(m.error == 0 for m in found.met)
    yield from wrapped(f"{none:,} of {len(found.met):,} examples met no error, and none of them moved a weight.", width)
    yield from wrapped(*_ending(found, width))


def _ending(found: Any, width: int) -> tuple[str, int, str, str]:
    if found.learned:
        return f"Pass {found.learned} met no error: learned.", width, "  ", "green"
    if found.circles:
        now, then = found.circles
        return (
            f"After pass {now} the weights are those after pass {then}: it goes in circles and will never learn this. "
            f"{found.right} of 4 right. One threshold unit draws one straight line, and no line parts these four.",
            width, "  ", "yellow",
        )  # fmt: skip
    return (
        f"{found.epochs:,} passes, errors remain; {found.right} of 4 on the right side of "
        f"{'0' if found.rule == 'perceptron' else 'a half'}.", width, "  ", "yellow",
    )  # fmt: skip


# Curves --------------------------------------------------------------------------------------------------------------


def surprise_lines(found: Any, width: int) -> Iterator[Text]:
    """What a probability costs."""
    yield Text("cross-entropy: -ln p, p the probability given to the right answer", style="bold")
    heads = ("p", "loss = -ln p", "in bits", "∂loss/∂p = -1/p", "∂loss/∂logit = p - 1", "band")
    rows = [(_d(r.p), _d(r.loss), _d(r.bits, 4), _d(r.slope, 5), _d(r.at_logit), r.band) for r in found.rows]
    yield from columns(heads, rows, width)
    yield from wrapped(
        "The logarithm is the natural one, so that p = 0.1 costs 2.302585 (in base 10 it would be 1). The loss grows "
        "without bound as p falls, but what reaches the logit is p - 1: never more than 1.", width,
    )  # fmt: skip


def bowl_lines(found: Any, width: int) -> Iterator[Text]:
    """Gradient descent in a bowl, by rate."""
    low, high = found.eigenvalues
    yield Text(f"gradient descent in the bowl {found.formula}", style="bold")
    yield from wrapped(
        f"from ({_list(found.start)}); eigenvalues of the Hessian {_say(low)} and {_say(high)}; it converges for "
        f"lr < 2 / {_say(high)} = {_say(found.limit)}", width, "", "dim",
    )  # fmt: skip
    at = sorted({k for k in (1, 2, 10) if k < found.steps} | {found.steps})
    heads = ("lr", "start", *(f"step {k}" for k in at), "|1 - lr λ|", "falls", "")
    rows = [
        (_d(d.lr), _d(d.heights[0], 4), *(_d(float(d.heights[k]), 3) for k in at), _d(d.worst, 4),
         "yes" if d.falls else "no", d.outcome)
        for d in found.descents
    ]  # fmt: skip
    yield from columns(heads, rows, width)
    yield from wrapped(
        "|1 - lr λ|, the larger of the two, is what a step makes of the distance in its slowest direction. A real loss "
        "is a bowl only near a minimum.", width, style="dim",
    )  # fmt: skip
