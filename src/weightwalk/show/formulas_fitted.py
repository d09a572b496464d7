"""What is found beside a formula, on the terminal: surrogates and their scores, sensitivities, integrals."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
from rich.text import Text

from weightwalk.show.formula_layout import (
    affine_terms,
    certificate_lines,
    count,
    digits_of,
    equation_lines,
    listed,
    place,
    refusal_lines,
    short,
    told,
)
from weightwalk.show.layout import columns, shown, wrapped

POOR = 0.95
"""An R^2 below this is warned of."""

OUTPUTS = 4

FEW = 4
"""Checks up to which all are told in a sentence."""


def box_text(box: Any, names: Any) -> str:
    """``x from 0 to 10``, for each coordinate."""
    some = [f"{n} from {told(a)} to {told(b)}" for (a, b), n in zip(box, names, strict=True)]
    return listed(some, 4)


def power(exponents: Any, names: Any) -> str:
    """``x[0]^2 x[1]``; ``""`` for the constant.

    >>> power([2, 0, 1], ["x", "y", "z"])
    'x^2 z'
    """
    parts = [n if e == 1 else f"{n}^{e}" for n, e in zip(names, exponents, strict=True) if e]
    return " ".join(parts)


# Surrogates ---------------------------------------------------------------------------------------------------------


def surrogate_table(surrogate: Any, width: int, top: int | None) -> Iterator[Text]:
    """The polynomial, its scores, and what they warn of."""
    names = ("x",) if len(surrogate.inputs) == 1 else surrogate.inputs
    yield from refusal_lines(surrogate.certificate, width)
    kind = f"total degree {surrogate.degree}" if surrogate.kind == "total" else f"degree {surrogate.degree} per input"
    title = f"surrogate: a polynomial of {kind}, {count(surrogate.terms, 'term')}, fitted by least squares"
    yield from wrapped(title, width, "", "bold")
    where = f"on {box_text(surrogate.box, names)}; points: {surrogate.points}"
    where += f"; x = {surrogate.inputs[0]}" if len(surrogate.inputs) == 1 else ""
    yield from wrapped(where, width, "  ", "dim")
    yield from wrapped("an approximation, not what the net computes: the scores say how good", width, "  ", "dim")
    yield Text("")
    yield from _polynomials(surrogate, names, width, top)
    yield Text("")
    yield from score_lines(surrogate.scores, surrogate.outputs, width, "the polynomial")
    if surrogate.net_scores:
        yield from score_lines(surrogate.net_scores, surrogate.outputs, width, "for comparison, the net itself")
    yield from _score_warnings(surrogate, width)
    yield Text("")
    yield from certificate_lines_of_fit(surrogate.certificate, width)


def _polynomials(surrogate: Any, names: Any, width: int, top: int | None) -> Iterator[Text]:
    powers = [power(e, names) for e in surrogate.exponents]
    for o, output in enumerate(surrogate.outputs[:OUTPUTS]):
        values = surrogate.coefficients[:, o]
        if top is None or len(powers) <= top:
            terms = affine_terms(values, powers, 0.0, 9)
            yield from equation_lines(output, terms, width, style="bold green")
            continue
        yield Text(f"  {shown(output)}", style="bold cyan")
        order = np.argsort(-np.abs(values), kind="stable")[:top]
        rows = [(powers[i] or "constant", digits_of(values[i], 9)) for i in order]
        yield from columns(("term", "coefficient"), rows, width)
        left = told(float(np.abs(values[order[-1]])), 4)
        yield from wrapped(f"not shown: {len(powers) - top:,} terms more, none greater than {left}", width, "  ", "dim")
    if len(surrogate.outputs) > OUTPUTS:
        rest = surrogate.outputs[OUTPUTS:]
        yield from wrapped(f"not shown: {count(len(rest), 'output')} more ({listed(rest)})", width, "  ", "dim")
    yield from wrapped("coefficients to 9 digits; as JSON every digit is there", width, "  ", "dim")


def score_lines(scores: Any, outputs: Any, width: int, who: str) -> Iterator[Text]:
    """R^2, RMSE and the worst error, against the net and the data, inside and outside the fitted box."""
    rows: list[tuple[object, ...]] = []
    for score in scores:
        for o, output in enumerate(outputs[:OUTPUTS]):
            head = (f"the {score.against}, {score.where}",) if o == 0 else ("",)
            which = (output,) if len(outputs) > 1 else ()
            if not score.points and not np.isfinite(score.rmse[o]):
                rows.append((*head, *which, "no points there", "", "", score.how if o == 0 else ""))
                continue
            worst = short(score.worst[o])
            if score.bound is not None:
                worst += f", proven <= {short(score.bound[o])}"
            numbers = (_r2(score.r2[o]), short(score.rmse[o]), worst)
            rows.append((*head, *which, *numbers, score.how if o == 0 else ""))
    which = ("output",) if len(outputs) > 1 else ()
    yield from wrapped(f"{who} against", width, "  ", "italic")
    yield from columns(("", *which, "R²", "RMSE", "worst error", "measured at"), rows, width)
    for score in scores:
        if score.undefined:
            text = f"left out: {score.undefined:,} points where the net is not finite ({score.where})"
            yield from wrapped(text, width, "  ", "yellow")


def _r2(value: float) -> str:
    """To four digits, and never rounded up to 1."""
    if math.isnan(value):
        return "undefined: it is constant there"
    text = f"{value:.6g}"
    return f"1 - {short(1 - value)}" if text == "1" and value != 1 else text


def _score_warnings(surrogate: Any, width: int) -> Iterator[Text]:
    for score in surrogate.scores:
        poor = [i for i, r2 in enumerate(score.r2) if r2 < POOR and np.isfinite(r2)]
        if not poor:
            continue
        worst = min(float(score.r2[i]) for i in poor)
        said = f"R² {short(worst)} against the {score.against} {score.where} the box"
        if score.where == "inside":
            text = f"WARNING: {said}: this polynomial does not describe it; its coefficients mean nothing."
        else:
            text = f"WARNING: {said}: do not use it beyond the box."
        yield from wrapped(text, width, "  ", "bold yellow")


def certificate_lines_of_fit(certificate: Any, width: int, what: str = "the fit") -> Iterator[Text]:
    """What the fit was held to; a fit is never called exact."""
    checks = certificate.checks
    if len(checks) > FEW:
        judged = [c for c in checks if c.limit]
        text = f"{count(sum(c.ok for c in judged), 'check')} of {len(judged):,} passed; as JSON each is listed"
    else:
        text = "; ".join(f"{c.name}: {short(c.found)}{' (' + c.limit + ')' if c.limit else ''}" for c in checks)
    if text:
        yield from wrapped(f"{what}: {text}", width, "", "dim")


# Integrals ----------------------------------------------------------------------------------------------------------


def summary_table(summary: Any, width: int, top: int | None) -> Iterator[Text]:
    """Range, mean, variance, steepness and sensitivities over the box."""
    yield from refusal_lines(summary.certificate, width)
    what = count(summary.pieces, "piece") if len(summary.inputs) == 1 else count(summary.pieces, "region")
    title = f"over {box_text(summary.box, summary.inputs)}, every x equally likely: integrals of {what}"
    yield from wrapped(title, width, "", "bold")
    most = len(summary.outputs) if top is None else min(top, len(summary.outputs))
    for o in range(most):
        yield from _summary_of(summary, o, width)
    if len(summary.outputs) > most:
        rest = summary.outputs[most:]
        yield from wrapped(f"not shown: {count(len(rest), 'output')} more ({listed(rest)})", width, "  ", "dim")
    yield from certificate_lines(summary.certificate, width)


def _summary_of(summary: Any, o: int, width: int) -> Iterator[Text]:
    yield Text(f"  {shown(summary.outputs[o])}", style="bold cyan")
    steep = place_of_piece(summary, int(summary.lipschitz_piece[o]))
    rows = [
        ("least", digits_of(summary.least[o], 9), f"at {place(summary.least_at[o], summary.inputs)}"),
        ("greatest", digits_of(summary.greatest[o], 9), f"at {place(summary.greatest_at[o], summary.inputs)}"),
        ("mean", digits_of(summary.mean[o], 9), ""),
        ("variance", digits_of(summary.variance[o], 9), f"standard deviation {short(summary.deviation[o], 6)}"),
        ("Lipschitz constant", digits_of(summary.lipschitz[o], 9), f"length of the steepest slope, in {steep}"),
    ]
    yield from columns(("", "", ""), rows, width, "    ")
    bounds = summary.total_bounds[o]
    rows = [
        (name, *(digits_of(v, 6) for v in (summary.slope_mean[o, i], summary.slope_size[o, i], summary.steepest[o, i])),
         digits_of(summary.slope_square[o, i], 6), digits_of(bounds[i], 4))
        for i, name in enumerate(summary.inputs)
    ]  # fmt: skip
    heads = ("input", "mean slope", "mean |slope|", "greatest", "DGSM", "Sobol' <=")
    yield from columns(heads, rows, width, "    ")
    text = (
        "greatest: |slope|. DGSM: mean of the squared slope; beside it, what the total Sobol' index is at most because "
    )
    text += "of it (above 1 this says nothing)."
    yield from wrapped(text, width, "    ", "dim")


def place_of_piece(summary: Any, piece: int) -> str:
    """A piece by its number, and its share of the box."""
    share = f", {100 * summary.shares[piece]:.2g} % of the box" if piece < len(summary.shares) else ""
    return f"{'piece' if len(summary.inputs) == 1 else 'region'} {piece:,}{share}"


def indices_table(indices: Any, width: int, top: int | None) -> Iterator[Text]:
    """How the variance is shared between two inputs, exactly."""
    yield from refusal_lines(indices.certificate, width)
    yield from wrapped("Sobol' indices: shares of the variance, exactly, without sampling", width, "", "bold")
    most = len(indices.outputs) if top is None else min(top, len(indices.outputs))
    for o in range(most):
        yield Text(f"  {shown(indices.outputs[o])}", style="bold cyan")
        rows: list[tuple[object, ...]] = [
            (name, digits_of(indices.first[o, i], 6), digits_of(indices.total[o, i], 6))
            for i, name in enumerate(indices.inputs)
        ]
        rows.append(("both together", digits_of(indices.interaction[o], 6), ""))
        yield from columns(("input", "alone", "total"), rows, width, "    ")
    if len(indices.outputs) > most:
        yield from wrapped(f"not shown: {count(len(indices.outputs) - most, 'output')} more", width, "  ", "dim")
    text = "alone: first order. total: what would be left if only this input were unknown."
    yield from wrapped(text, width, "    ", "dim")


# Sensitivities ------------------------------------------------------------------------------------------------------


def sensitivity_table(s: Any, width: int, top: int | None) -> Iterator[Text]:
    """One table for each measure, greatest first, with its baselines as rows of the same table."""
    yield from refusal_lines(s.certificate, width)
    title = f"sensitivity of output {s.output} to its {count(len(s.inputs), 'input')}, {len(s.rankings)} ways"
    yield from wrapped(title, width, "", "bold")
    where = f"over {box_text(s.box, s.inputs)}; at {place(s.point, s.inputs)}, where the output is {told(s.value, 9)}; "
    yield from wrapped(f"{where}{s.evaluations:,} runs, seed {s.seed}", width, "  ", "dim")
    for ranking in s.rankings:
        yield Text("")
        yield from ranking_lines(ranking, s.inputs, width, top)
    yield Text("")
    yield from _sensitivity_notes(s, width)


def ranking_lines(ranking: Any, names: Any, width: int, top: int | None) -> Iterator[Text]:
    """Inputs by size; a rule; what chance and an input that is not read would give."""
    yield from wrapped(f"{ranking.measure}: {ranking.how}", width, "  ", "bold cyan")
    most = len(ranking.order) if top is None else min(top, len(ranking.order))
    sampled, signed = ranking.confidence is not None, bool((ranking.values != ranking.sizes).any())
    rows: list[tuple[object, ...]] = []
    for i in ranking.order[:most]:
        spread = (f"± {short(float(ranking.confidence[i]))}",) if sampled else ()
        value = (digits_of(float(ranking.values[i]), 6),) if signed else ()
        verdict = "above chance" if ranking.above[i] else "not above chance"
        rows.append((names[i], digits_of(float(ranking.sizes[i]), 6), *value, *spread, verdict))
    blank = ("",) * (signed + sampled)
    for base in ranking.baselines:
        text = f"baseline: {base.how}; 95 % of {count(base.repeats, 'repeat')} stay below {short(base.quantile)}"
        rows.append((base.name, digits_of(base.mean, 6), *(None if b == "" else b for b in blank), text))
    heads = ("input", "size", *(("value",) if signed else ()), *(("95 %",) if sampled else ()), "")
    yield from columns(heads, rows, width)
    if len(ranking.order) > most:
        yield from wrapped(f"not shown: {count(len(ranking.order) - most, 'input')} more", width, "  ", "dim")
    if ranking.again is not None:
        same = "the same order" if ranking.stable else "another order: do not read much into it"
        agreement = "" if math.isnan(ranking.agreement) else f" (rank correlation {short(ranking.agreement)})"
        text = f"a second seed gives {same}{agreement}"
        yield from wrapped(text, width, "  ", "dim" if ranking.stable else "yellow")


def _sensitivity_notes(s: Any, width: int) -> Iterator[Text]:
    if s.kinks:
        names = listed([s.inputs[i] for i in s.kinks], 4)
        text = (
            f"the point lies on a kink along {names}: there is no gradient there, and its ranking is that of one side"
        )
        yield from wrapped(text, width, "  ", "yellow")
    if not math.isnan(s.disagreement):
        text = f"exact gradient against central differences: {short(s.disagreement)} of the greatest slope apart"
        yield from wrapped(text, width, "  ", "dim")
    if len(s.inputs) > 1:
        text = f"two rankings of {len(s.inputs)} inputs that have nothing in common are equal with probability "
        text += f"{short(s.same_by_chance)}, and 5 % of them correlate above {short(s.agreement_by_chance)}"
        yield from wrapped(text, width, "  ", "dim")
    yield from certificate_lines_of_fit(s.certificate, width, "checks")
