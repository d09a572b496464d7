"""From measurements to conclusions: each by a rule, with the numbers that carry it and what would refute it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from weightwalk.learning.diagnoses.facts import Diagnosis, Finding, Layer, Others, Point, Units

SOLVED = 1e-3
"""A regression counts as solved where its loss is at most this share of the best constant answer's."""
VANISHING = 1e-3
"""Root mean square of the first layer's gradient over the last one's, below which it vanishes."""
EXPLODING = 10.0
"""Length of a layer's gradient over that of its weights, above which it explodes."""
ABOVE = 1.05
"""A loss counts as above another where it is so many times as large."""


ORDER = (
    "solved", "diverged", "cut off", "local minimum", "floor", "unfinished", "saddle", "flat", "dead units",
    "vanishing gradients", "exploding gradients", "saturated units", "starved units", "minimum", "rising", "falling",
    "plateau", "not critical", "open",
)  # fmt: skip
"""Findings from the one that says most."""


def conclude(facts: Diagnosis, constant: bool) -> Diagnosis:
    """The diagnosis with its findings and its verdict.

    Args:
        facts: The measurements.
        constant: Whether the net gives the very same answer to every row.
    """
    made = tuple(sorted(_findings(facts, constant), key=lambda f: ORDER.index(f.kind)))
    return replace(facts, findings=made, verdict=_verdict(facts, made))


def _verdict(facts: Diagnosis, findings: tuple[Finding, ...]) -> str:
    """The finding that says most; where it leaves the cause open, the next one too."""
    first = findings[0].text
    if findings[0].kind in ("solved", "cut off") or len(findings) == 1:
        return first
    more = findings[1].text
    if (
        findings[0].kind in ("local minimum", "floor", "unfinished", "saddle", "flat")
        and findings[1].kind != "dead units"
    ):
        return first
    return f"{first} {more}"


def solved(facts: Diagnosis) -> bool:
    """Every row right; or for numbers, next to no loss beside that of the best constant answer."""
    if facts.right is not None:
        return facts.right == facts.used
    return facts.baseline is not None and facts.loss <= SOLVED * facts.baseline


def _findings(facts: Diagnosis, constant: bool) -> Iterator[Finding]:
    fine = solved(facts)
    if fine:
        yield _solved(facts)
    if facts.curve is not None and facts.curve.kind == "diverged":
        yield _diverged(facts)
    if constant and not fine:
        yield _cut_off(facts)
    if facts.point is not None and not fine:
        yield from _standing(facts)
    dead = facts.dead
    if dead and not (constant and not fine):
        yield _dead_units(facts, dead)
    if not fine:
        yield from _gradients(facts)
        if not constant:
            yield from _saturated(facts)
    if facts.curve is not None and not fine:
        yield from _curve(facts)
    if facts.point is None and not fine and facts.curve is None and not constant:
        yield Finding("open", "What keeps the loss where it is was not found.", (_loss(facts),), "more measurements")


def _loss(facts: Diagnosis) -> str:
    told = f"loss {facts.loss:.4g}"
    if facts.right is not None:
        told += f", {facts.right} of {facts.used} rows right"
    if facts.baseline is not None:
        told += f"; the best answer that is the same for all rows has {facts.baseline:.4g}"
    return told


def _solved(facts: Diagnosis) -> Finding:
    if facts.right is not None:
        text = f"Nothing is wrong: {_all(facts)} are answered right, with a loss of {facts.loss:.3g}."
    else:
        assert facts.baseline is not None
        share = 100 * facts.loss / facts.baseline if facts.baseline else 0.0
        text = f"Nothing is wrong: the loss of {facts.loss:.3g} leaves {share:.2g} % of what a constant answer leaves."
    return Finding("solved", text, (_loss(facts),), "rows that were held out, answered wrong")


def _diverged(facts: Diagnosis) -> Finding:
    curve = facts.curve
    assert curve is not None
    text = (
        f"The training diverged: the loss ended at {curve.final:.4g}, above its start of {curve.first:.4g} and above "
        f"its best of {curve.best:.4g} in epoch {curve.best_epoch}."
    )
    return Finding(
        "diverged", text, (_loss(facts), *_rate(facts)), "a smaller rate from the same seed that diverges as well"
    )


def _rate(facts: Diagnosis) -> tuple[str, ...]:
    """Plain gradient descent's rate beside the largest at which it can stay near this point."""
    lr, found = facts.settings.get("lr"), facts.point.spectrum if facts.point else None
    if facts.settings.get("optimizer") != "sgd" or not isinstance(lr, float) or found is None or not len(found.largest):
        return ()
    top = float(found.largest[0])
    if not top > 0:
        return ()
    side = "above" if lr * top > 2 else "below"
    return (f"rate {lr:g} is {side} 2/λmax = {2 / top:.3g}, beyond which gradient descent leaves a minimum with λmax",)


def _cut_off(facts: Diagnosis) -> Finding:
    whole = [u for u in facts.units if u.count and len(u.dead) == u.count]
    base = "" if facts.baseline is None else f" No gradient can bring its loss below {facts.baseline:.4g}."
    because = [f"the net's outputs are the same for {_all(facts)}, to the bit", _loss(facts)]
    if not whole:
        text = "Every row gets the same answer, though no layer is dead as a whole."
        return Finding("cut off", text, tuple(because), "two rows with different outputs")
    layer = whole[-1]
    before = [y.name for y in facts.layers if y.gradient == 0]
    text = (
        f"The net is cut off: all {layer.count} units of {layer.name} are off on {_all(facts)}, so the answer "
        f"does not depend on the input.{base}"
    )
    if before:
        because.append(f"no gradient reaches {_listed(before)}: exactly 0")
    because += _when(facts, layer)
    return Finding("cut off", text, tuple(because), f"one row on which a unit of {layer.name} is on")


def _when(facts: Diagnosis, layer: Units | None = None) -> list[str]:
    told = []
    for death in facts.deaths:
        if layer is not None and not death.unit.startswith(f"{layer.name}["):
            continue
        if not death.known:
            continue
        if death.before is None:
            told.append(f"{death.unit} was dead before training began")
        else:
            since = f"epoch {death.after}"
            if death.after is not None and death.after - death.before > 1:
                since = f"between epochs {death.before} and {death.after}"
            told.append(f"{death.unit} died in {since}" if " and " not in since else f"{death.unit} died {since}")
    return told


def _dead_units(facts: Diagnosis, dead: tuple[str, ...]) -> Finding:
    total = sum(u.count for u in facts.units)
    verb = "is" if len(dead) == 1 else "are"
    text = f"{len(dead)} of {total} units {verb} dead on {_all(facts)}: {_listed(dead)}."
    if facts.used < facts.rows:
        text += " Rows that were not drawn may wake some."
    because = ["off on every row, output constant, gradient into it exactly 0", *_when(facts)[:6]]
    return Finding("dead units", text, tuple(because), "one training row on which such a unit is on")


def _saturated(facts: Diagnosis) -> Iterator[Finding]:
    stuck = [f"{u.name}[{i}]" for u in facts.units for i in u.saturated]
    if stuck:
        yield Finding(
            "saturated units",
            f"{_units(stuck)} saturated on {_all(facts)}: {_listed(stuck)}; hardly any gradient passes.",
            ("slope below 0.5 % of the function's steepest, on every row",),
            "one row on which such a unit has a slope",
        )
    starved = [f"{u.name}[{i}]" for u in facts.units for i in u.starved]
    if starved:
        yield Finding(
            "starved units",
            f"{_units(starved)} on and without gradient: {_listed(starved)}; what comes after is dead or has weights "
            "of 0.",
            ("gradient of every row's loss with respect to the unit's sum: exactly 0",),
            "a row with a gradient there",
        )


def _all(facts: Diagnosis) -> str:
    return "the only row" if facts.used == 1 else f"all {facts.used} rows"


def _units(names: list[str]) -> str:
    return "1 unit is" if len(names) == 1 else f"{len(names)} units are"


def _gradients(facts: Diagnosis) -> Iterator[Finding]:
    first = facts.moments[0] if facts.moments else None
    if len(facts.layers) > 1:
        rms = first.rms if first is not None else tuple(y.rms for y in facts.layers)
        when = f"at epoch {first.epoch}" if first is not None else "at these weights"
        if 0 < rms[0] < VANISHING * rms[-1]:
            yield Finding(
                "vanishing gradients",
                f"The gradient vanishes on its way back: {when} that of {facts.layers[0].name} is "
                f"{rms[0] / rms[-1]:.2g} times that of {facts.layers[-1].name}.",
                (f"root mean squares {rms[0]:.3g} and {rms[-1]:.3g}; the threshold is {VANISHING:g}",),
                f"a ratio above {VANISHING:g}",
            )
    large = [y for y in facts.layers if y.ratio > EXPLODING and y.size > 0]
    if large:
        worst: Layer = max(large, key=lambda y: y.ratio)
        yield Finding(
            "exploding gradients",
            f"The gradient of {worst.name} is {worst.ratio:.3g} times as long as its weights.",
            (f"lengths {worst.gradient:.4g} and {worst.size:.4g}; the threshold is {EXPLODING:g}", *_rate(facts)),
            f"a ratio below {EXPLODING:g}",
        )


def _curve(facts: Diagnosis) -> Iterator[Finding]:
    curve = facts.curve
    assert curve is not None
    rule = (
        f"over the last {curve.window} epochs the loss changed by {100 * curve.change:.2g} % "
        f"(least squares; under {100 * curve.epsilon:g} % counts as flat)"
    )
    if curve.kind == "plateau":
        text = f"The loss lies on a plateau at {curve.level:.4g} since epoch {curve.since}."
        yield Finding("plateau", text, (rule,), "a longer training in which the loss falls again")
    elif curve.kind == "falling":
        text = f"The loss is still falling: {-100 * curve.change:.2g} % over the last {curve.window} epochs."
        yield Finding("falling", text, (rule,), "a longer training that stops falling at once")
    elif curve.kind == "rising":
        text = f"The loss is rising at the end; its best was {curve.best:.4g} in epoch {curve.best_epoch}."
        yield Finding("rising", text, (rule, *_rate(facts)), "a longer training in which it falls below that")


# The point ----------------------------------------------------------------------------------------------------------


def _standing(facts: Diagnosis) -> Iterator[Finding]:
    point, settled = facts.point, facts.settled
    assert point is not None
    if settled is None or point.kind != "not critical":
        kind, text, because = _judged(facts, point, facts.loss)
        yield Finding(kind, text, because, _refutation(kind))
        return
    ends = (
        f"Going on downhill from here ends at a loss of {settled.loss:.4g} after {settled.steps} steps"
        if settled.arrived
        else f"Going on downhill for {settled.steps} steps reaches a loss of {settled.loss:.4g}, and has not ended"
    )
    where = f"{settled.distance:.2g} times the weights' length away"
    scale = facts.baseline if facts.baseline else max(facts.loss, facts.curve.first if facts.curve else 0.0)
    if settled.loss <= SOLVED * scale:
        text = f"{ends}, {where}. Nothing is in the way: it has not been trained for long enough."
        because = (f"loss {facts.loss:.4g} here; the gradient points down all the way", *_gradient(point))
        yield Finding("unfinished", text, because, "a longer training that stays here")
        return
    kind, text, because = _judged(facts, settled.point, settled.loss)
    yield Finding(kind, f"{ends}, {where}. {text}", because, _refutation(kind))


def _judged(facts: Diagnosis, point: Point, loss: float) -> tuple[str, str, tuple[str, ...]]:
    found = point.spectrum
    because = [*_gradient(point), eigenvalues(point)]
    if point.kind == "not critical":
        text = "This is no critical point: the gradient is not zero, so it is neither a minimum nor a saddle."
        if found.negative:
            least = "" if found.negative_is_exact else "At least "
            what = "1 direction curves" if found.negative == 1 else f"{found.negative} directions curve"
            text += f" {least}{what} downwards."
        return "not critical", text, tuple(because)
    if point.kind in ("saddle", "unconfirmed saddle"):
        assert point.escape is not None
        lower = loss - point.escape
        if point.kind == "unconfirmed saddle":
            because.append("no step along the most negative direction lowered the loss: a kink may be nearer")
            return "open", "Some eigenvalues are negative, but no lower loss was found along them.", tuple(because)
        text = (
            f"A saddle, not a minimum: along the most negative direction the loss falls from {loss:.6g} to "
            f"{point.escape:.6g}."
        )
        because.append(f"the step was taken, {abs(point.escape_step or 0):.3g} long: the loss fell by {lower:.3g}")
        return "saddle", text, tuple(because)
    if point.kind == "open":
        text = "The gradient is zero and no negative eigenvalue was found; not all were looked for, so this is open."
        return "open", text, tuple(because)
    if point.kind == "endless":
        return _endless(facts, point, loss, because)
    if point.kind == "flat minimum" and point.unexplained is None:
        return "open", "No eigenvalue is negative; of the zero ones nothing more could be found out.", tuple(because)
    if point.kind == "flat minimum" and point.unexplained:
        because.append(_zeros(point))
        text = (
            f"Flat: no eigenvalue is negative, but {point.unexplained} directions that do change answers have none "
            "above zero either, so that second derivatives cannot tell a minimum from a saddle."
        )
        return "flat", text, tuple(because)
    if point.kind == "refuted minimum":
        because.append(f"at 60 random places nearby the lowest loss was {point.kicked:.9g}, below {loss:.9g}")
        return "open", "Its curvature is that of a minimum, and yet the loss is lower nearby: a kink.", tuple(because)
    return _minimum(facts, point, loss, because)


def _gradient(point: Point) -> tuple[str, ...]:
    """The gradient, and what it amounts to."""
    return (
        f"gradient: |g| = {point.spectrum.gradient_norm:.3g}; 1 % of the weights' length along it changes the loss by "
        f"{point.relative_gradient:.2g} %",
    )


def _minimum(facts: Diagnosis, point: Point, loss: float, because: list[str]) -> tuple[str, str, tuple[str, ...]]:
    """A minimum, up to zero eigenvalues that are accounted for: a local one only if something lower was reached."""
    if point.kind == "flat minimum":
        because.append(_zeros(point))
    because.append(f"at 60 random places nearby the loss is nowhere lower (lowest {point.kicked:.9g})")
    flat = " (a flat one: see its zero eigenvalues)" if point.kind == "flat minimum" else ""
    others = facts.others
    if others is not None and loss > ABOVE * others.best:
        because.append(_reached(others, loss))
        text = f"Stuck in a local minimum{flat}: the loss is {loss:.4g}, and {others.best:.4g} can be reached."
        return "local minimum", text, tuple(because)
    if others is None:
        text = f"A minimum{flat} with loss {loss:.4g}. Whether a lower one exists was not asked: other seeds say."
    else:
        text = f"A minimum{flat} with loss {loss:.4g}, and none of {len(others.losses)} other seeds ends much lower."
    return "minimum", text, tuple(because)


def _endless(facts: Diagnosis, point: Point, loss: float, because: list[str]) -> tuple[str, str, tuple[str, ...]]:
    """A floor that is neared as the weights grow: no minimum, though others may end below it."""
    because.append(f"{point.pinned} of the probabilities that the net gives lie within a millionth of 0 or 1")
    text = (
        f"No minimum: the gradient is small because probabilities are pinned to 0, and the loss only nears a floor of "
        f"{loss:.4g} as the weights grow."
    )
    others = facts.others
    if others is not None and loss > ABOVE * others.best:
        because.append(_reached(others, loss))
        text += f" That floor is above what other seeds reach ({others.best:.4g})."
    return "floor", text, tuple(because)


def _reached(others: Others, loss: float) -> str:
    better = sum(loss > ABOVE * v for v in others.losses)
    return f"{better} of {len(others.losses)} other seeds end lower than {loss:.4g}, the best at {others.best:.4g}"


def eigenvalues(point: Point) -> str:
    """What is known of the spectrum, in a line."""
    s = point.spectrum
    top = f"{s.largest[0]:.4g}" if len(s.largest) else "not found"
    low = f"{s.smallest[0]:.3g}" if s.smallest is not None else "not found"
    if s.flat is not None:
        return (
            f"all {s.n} eigenvalues of the Hessian, {low} to {top}: {s.negative} negative, {s.flat} zero (within "
            f"±{s.tolerance:.1g}), {s.positive} positive"
        )
    least = f"at least {s.negative} negative" if s.negative else "no negative one found"
    return f"eigenvalues of the Hessian at both ends, of {s.n:,}: smallest {low}, largest {top}; {least}"


def _zeros(point: Point) -> str:
    """What is known of the zero eigenvalues."""
    alone = ""
    if point.idle is not None and point.unchanged is not None and 0 < point.idle <= point.unchanged:
        alone = f" ({point.idle} are single weights that nothing depends on)"
    return (
        f"of {point.spectrum.flat} directions with zero curvature, {point.unchanged} change no answer on any row{alone}"
    )


def _refutation(kind: str) -> str:
    return {
        "local minimum": "a path from here along which the loss never rises and ends lower",
        "floor": "weights of finite size from which no step lowers the loss",
        "minimum": "a small step that lowers the loss",
        "saddle": "the step repeated in higher precision, and no lower loss",
        "not critical": "a longer training that stays here",
        "flat": "a third derivative, or a small step that lowers the loss",
        "open": "all eigenvalues",
    }[kind]


def _listed(names: list[str] | tuple[str, ...], most: int = 8) -> str:
    more = len(names) - most
    return ", ".join(names[:most]) + (f" and {more} more" if more > 0 else "")
