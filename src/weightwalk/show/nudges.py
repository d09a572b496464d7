"""One training step on the terminal: the loss, the blame, the nudge, and whether it helped."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from decimal import Decimal
from typing import Any

from rich.text import Text

from weightwalk.readings.narrate_decimals import decimal
from weightwalk.show.layout import columns, number, shown, wrapped
from weightwalk.show.nudges_checks import account_section, check_lines, rival_lines
from weightwalk.show.nudges_sheet import sheet_lines
from weightwalk.show.stories import sum_lines

WORKED = 2  # weights whose arithmetic is written out
RAISED = Decimal("0.01")
FORMULAS = {
    "sgd": ("w' = w - lr × gradient",),
    "momentum": ("b = μ × b + gradient", "w' = w - lr × b"),
    "nesterov": ("b = μ × b + gradient", "look-ahead = gradient + μ × b", "w' = w - lr × look-ahead"),
    "adam": (
        "m = β1 × m + (1-β1) × gradient",
        "v = β2 × v + (1-β2) × gradient²",
        "w' = w - lr × m̂ / (√v̂ + ε), where m̂ = m / (1 - β1^t) and v̂ = v / (1 - β2^t) undo their start at 0",
    ),
    "adamw": (
        "m = β1 × m + (1-β1) × gradient",
        "v = β2 × v + (1-β2) × gradient²",
        "w' = w - lr × decay × w - lr × m̂ / (√v̂ + ε): the decay does not pass through the averages",
    ),
}


def nudge_lines(nudge: Any, width: int, worked: int = WORKED) -> Iterator[Text]:
    """The whole step."""
    size = f"{nudge.movement.weights:,} weights and biases"
    examples = _examples(nudge)
    yield Text(f"nudge of {shown(nudge.net)}: one training step, the {_nth(nudge.step)} · {size}", style="bold")
    phases = ", ".join(f"{name} {count}" for name, count in nudge.phases.items())
    yield from wrapped(f"loss {nudge.loss} over {examples}; recorded ops in their order: {phases}", width, "", "dim")
    yield from _heading("1 forward and loss", "what the net said, and how far off it was")
    yield from _loss(nudge.compared, width)
    yield from _heading("2 backpropagation", "the blame: ∂loss/∂w of every weight; none moves yet")
    yield from _blame(nudge, width)
    if nudge.gradients is not None:
        yield from check_lines(nudge.gradients, width)
    for account in nudge.accounts:
        yield from account_section(account, width)
    yield from _heading(f"3 optimizer · {nudge.optimizer}", "the nudge: what is done with these gradients")
    yield from _optimizer(nudge, width, worked)
    if nudge.rivals:
        yield from rival_lines(nudge, width)
    yield from _heading("4 did it help?", "what the gradient promised of the loss, and what the loss did")
    yield from _promise(nudge.promise, width)
    yield Text("")
    yield from _proof(nudge, width)


def _heading(title: str, rest: str) -> Iterator[Text]:
    yield Text("")
    line = Text(title, style="bold cyan")
    line.append(f" · {rest}", style="dim")
    yield line


def figure(value: float | None, digits: int = 6) -> Decimal | None:
    """A number rounded for a table."""
    return None if value is None else decimal(value, digits)


def _nth(step: int) -> str:
    ending = "th" if step % 100 in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(step % 10, "th")
    return f"{step:,}{ending}"


def _examples(nudge: Any) -> str:
    if nudge.batch == nudge.examples:
        said = len(nudge.compared.errors) + nudge.compared.omitted
        many = f" with {said:,} outputs to judge" if said > 1 else ""
        return f"1 example{many}" if nudge.examples == 1 else f"all {nudge.examples:,} examples"
    return f"{nudge.batch:,} of {nudge.examples:,} examples: {', '.join(map(shown, nudge.rows[:6]))}" + (
        ", ..." if nudge.batch > 6 else ""
    )


# 1 Loss --------------------------------------------------------------------------------------------------------------

SAID = {"numbers": "output", "classes": "p(target)", "bits": "p"}
COST = {"classes": "-ln p", "bits": "cross-entropy"}


def _loss(compared: Any, width: int) -> Iterator[Text]:
    loss = number(figure(compared.loss, 9) or Decimal(0))
    if compared.kind == "unknown":
        yield from wrapped(f"loss = {loss}, by a function of outputs and targets that cannot be paired.", width)
        return
    entropy = compared.kind != "numbers"
    names = ["residual", "absolute", "squared", *(["cross_entropy"] if entropy else [])]
    target = compared.kind != "classes"  # of a class the target is always 1
    heads = ["example", SAID[compared.kind], *(["target"] if target else []), "residual", "|residual|", "residual²",
             *([COST[compared.kind]] if entropy else []), "∂loss/∂output"]  # fmt: skip
    rows: list[list[object]] = [
        [e.row, figure(e.said), *([figure(e.wanted)] if target else []), *(figure(getattr(e, n)) for n in names),
         figure(e.slope)]
        for e in compared.errors
    ]  # fmt: skip
    rows.append(["mean", *([None] * (1 + target)), *(figure(compared.mean[n]) for n in names), None])
    last = None if any(e.slope is not None for e in compared.errors) else -1
    yield from columns(heads[:last], [row[:last] for row in rows], width, total="mean")
    if compared.omitted:
        yield from wrapped(f"not shown: {compared.omitted:,} more outputs; the means count them", width, style="dim")
    what = f"the mean of {_column(compared)}" if compared.trained else "by the function that was given"
    line = Text("  ")
    line.append(f"loss = {loss}", style="bold")
    line.append(f", {what}", style="")
    yield line
    yield from wrapped(_kept_apart(compared), width, "  ", "dim")


def _column(compared: Any) -> str:
    return {"squared": "residual²", "absolute": "|residual|"}.get(compared.trained) or COST[compared.kind]


def _kept_apart(compared: Any) -> str:
    text = "The residual (said minus wanted) has a sign and no minimum, so it is no loss"
    if compared.trained == "squared":
        return f"{text}; its square is. The square forgets the sign, its slope ∂loss/∂output keeps it."
    if compared.trained == "absolute":
        return f"{text}; its size is. The slope ∂loss/∂output keeps the sign, and nothing else."
    if compared.kind == "classes":
        return f"{text}. The slope at the target's logit is (p - 1) / N over N rows: the surer the net, the smaller."
    if compared.kind == "bits":
        return f"{text}. The slope at the logit is (p - target) / N over N rows: the residual of p."
    return f"{text}."


# 2 Blame -------------------------------------------------------------------------------------------------------------


def _blame(nudge: Any, width: int) -> Iterator[Text]:
    if not nudge.blames or nudge.blames[0].gradient == 0:
        text = (
            "Every gradient is exactly 0 here, and gradient descent stands still: a flat place, or a kink whose flat "
        )
        yield from wrapped(f"{text}side was taken (--check-gradients tells them apart).", width, style="yellow")
        return
    rows = [(b.label, figure(b.value), figure(b.gradient), figure(float(RAISED) * b.gradient, 3), _asks(b.gradient))
            for b in nudge.blames]  # fmt: skip
    yield from columns(("weight", "value", "∂loss/∂w", "loss, if w + 0.01", "so"), rows, width)
    movement = nudge.movement
    others = movement.weights - len(nudge.blames)
    told = f"{len(nudge.blames)} of {movement.weights:,}, ranked by size; they hold {100 * nudge.share:.1f} % of "
    told += "Σ|∂loss/∂w|"
    if others:
        zero = movement.without_gradient
        told += f"; the other {others:,} "
        if zero >= others:
            told += "have a gradient of exactly 0"
        else:
            told += f"together have a gradient of norm {nudge.rest:.3g}" + (f", {zero:,} of them 0" if zero else "")
    yield from wrapped(f"{told}.", width, "  ", "dim")
    if len(nudge.tensors) > 1:
        yield Text("")
        yield from _tensors(nudge, width)
    if nudge.unused:
        yield from wrapped(f"Nothing read {_some(nudge.unused)}.", width, style="yellow")


def _some(names: Sequence[str], most: int = 6) -> str:
    return ", ".join(names[:most]) + " ..." * (len(names) > most)


def _asks(gradient: float) -> str:
    return "lower it" if gradient > 0 else "raise it" if gradient < 0 else "nothing"


def _tensors(nudge: Any, width: int, most: int = 16) -> Iterator[Text]:
    """Norms per parameter tensor: those of the largest share, in the order of the net."""
    chosen = sorted(nudge.tensors, key=lambda t: -t.share)[:most]
    rows: list[Sequence[object]] = []
    for t in nudge.tensors:
        if t in chosen:
            shape = "×".join(map(str, t.shape)) or "1"
            share = "" if t.gradient is None else f"{100 * t.share:.1f} %"
            rows.append(
                (t.name, shape, share, figure(t.norm, 4), figure(t.gradient, 4), figure(t.nudge, 4), t.zeros or None)
            )
    heads = ("tensor", "shape", "share", "norm", "gradient", "nudge", "zeros")
    said = "per tensor: its share of Σ|∂loss/∂w|, Euclidean norms, and how many gradients are exactly 0"
    yield from wrapped(said, width, "  ", "italic")
    yield from columns(heads, rows, width)
    if len(nudge.tensors) > most:
        left = 1 - sum(t.share for t in chosen)
        yield from wrapped(f"not shown: {len(nudge.tensors) - most:,} tensors, which share {100 * left:.1f} %", width,
                           style="dim")  # fmt: skip
    unreached = [t.name for t in nudge.tensors if t.gradient is None]
    if unreached:
        yield from wrapped(f"No gradient reached {_some(unreached)}.", width)


# 3 Nudge -------------------------------------------------------------------------------------------------------------


def _optimizer(nudge: Any, width: int, worked: int) -> Iterator[Text]:
    for formula in FORMULAS[nudge.optimizer]:
        yield from wrapped(formula, width, "  ", "italic")
    yield from wrapped(_settings(nudge), width, "  ", "dim")
    for sheet in nudge.arithmetic[:worked]:
        yield Text("")
        yield from sheet_lines(sheet, _label(nudge, sheet.address), width)
    yield Text("")
    rows = [
        (b.label, figure(b.gradient), figure(b.nudge), figure(b.value, 9), figure(b.after, 9)) for b in nudge.blames
    ]
    yield from columns(("weight", "∂loss/∂w", "nudge", "before", "after"), rows, width)
    checks = [c for sheet in nudge.arithmetic for c in sheet.checks]
    if checks:
        bad = [c for c in checks if not c.ok]
        worst = max((c.deviation / c.bound for c in checks if c.bound), default=0.0)
        text = (
            f"{len(checks)} lines of arithmetic for these {len(nudge.arithmetic)} weights, in float64, agree with the "
        )
        text += f"record; worst {worst:.2g} of what rounding may leave."
        if bad:
            text = f"{len(bad)} of {len(checks)} lines do NOT agree with the record, first {bad[0].name}: "
            text += f"{bad[0].value:.9g} by the formula, {bad[0].recorded:.9g} recorded."
        yield from wrapped(text, width, "  ", "bold red" if bad else "green")
    yield from wrapped(moved(nudge.movement), width)


def _label(nudge: Any, address: str) -> str:
    return next((b.label for b in nudge.blames if b.address == address), address)


def _settings(nudge: Any) -> str:
    names = {"sgd": (), "momentum": ("momentum", "dampening"), "nesterov": ("momentum",), "adam": ("betas", "eps"),
             "adamw": ("betas", "eps")}[nudge.optimizer]  # fmt: skip
    said = [f"lr = {nudge.lr:g}"]
    for name in names:
        value = nudge.settings.get(name)
        if name == "betas" and value is not None:
            said += [f"β1 = {value[0]:g}", f"β2 = {value[1]:g}"]
        elif value is not None and (name != "dampening" or value):
            said.append(f"{ {'momentum': 'μ', 'eps': 'ε'}.get(name, name) } = {value:g}")
    decay = nudge.settings.get("weight_decay")
    if decay:
        said.append(f"decay = {decay:g}")
    if nudge.optimizer in ("adam", "adamw"):
        said.append(f"t = {nudge.step}")
    return ", ".join(said)


def moved(movement: Any) -> str:
    """How many weights moved, in a sentence."""
    m = movement
    if not m.moved:
        return f"None of the {m.weights:,} weights moved."
    text = f"{m.moved:,} of {m.weights:,} weights moved at once, {m.raised:,} up and {m.lowered:,} down"
    if m.distinct is not None:
        text += f", by {m.distinct:,} different amounts"
    still = m.weights - m.moved
    reasons = []
    if m.resting:
        reasons.append(f"{m.resting:,} have a gradient of exactly 0")
    if m.swallowed:
        reasons.append(f"in {m.swallowed:,} the nudge was too small for the float that holds the weight")
    return text + (f"; {still:,} stayed: {' and '.join(reasons)}" if still and reasons else "") + "."


# 4 Outcome -----------------------------------------------------------------------------------------------------------


def _promise(promise: Any, width: int) -> Iterator[Text]:
    yield Text("    promised = ∂loss/∂w × nudge  of", style="dim")
    yield from sum_lines(promise.told, width, "  ")
    yield Text("")
    rows: list[tuple[str, Decimal | None, str]] = [
        ("loss before", figure(promise.before, 9), "on these examples"),
        ("loss after", figure(promise.after, 9), "computed again with the new weights"),
        ("really changed", figure(promise.changed, 6), "after - before"),
        ("first order promised", figure(promise.first, 6), "Σ ∂loss/∂w × nudge"),
    ]
    if promise.second is not None:
        rows.append(("curvature adds", figure(promise.second, 6), "½ Δwᵀ H Δw, by one Hessian-vector product"))
        rows.append(("left unexplained", figure(promise.beyond, 3), "higher orders, and kinks that were crossed"))
    else:
        rows.append(("gap", figure(promise.gap, 3), "what the first order did not foresee"))
    yield from columns(("", "", ""), rows, width)
    yield from wrapped(verdict(promise), width, "  ", "green" if promise.changed < 0 else "yellow")
    yield from wrapped(f"losses in {promise.precision}. {promise.note}".strip(), width, "  ", "dim")


def verdict(promise: Any) -> str:
    """The outcome in a sentence."""
    if not math.isfinite(promise.changed):
        return "The loss is no longer a finite number: the step was far too long."
    if promise.changed == 0:
        return "The loss did not change."
    if promise.first == 0:
        return f"The gradient promised no change, and the loss {'fell' if promise.changed < 0 else 'rose'}."
    share = promise.changed / promise.first
    if promise.changed < 0:
        if promise.first > 0:
            return "The loss fell, though the gradient promised a rise: the step was not along it."
        return f"The loss fell by {100 * share:.1f} % of what the gradient promised."
    if promise.first < 0:
        return "The loss ROSE, though the gradient promised a fall: the step was too long for a straight line to hold."
    return "The loss rose, as the gradient said that this step would: it does not lead down."


def _proof(nudge: Any, width: int) -> Iterator[Text]:
    if nudge.verified:
        style = "green" if nudge.ok else "bold red"
        yield from wrapped(nudge.verified, width, "", style)
    else:
        yield from wrapped("not verified (--no-verify)", width, "", "dim")
