"""A diagnosis on the terminal: the verdict first, then every finding with what carries it, then the measurements."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from typing import Any

from rich.text import Text

from weightwalk.show.formula_layout import count, digits_of
from weightwalk.show.formulas_line import curve_lines
from weightwalk.show.layout import columns, short, wrapped

STYLES = {"solved": "bold green", "minimum": "bold green"}


def diagnosis_lines(facts: Any, width: int, top: int | None = 12) -> Iterator[Text]:
    """A `Diagnosis`.

    Args:
        facts: The diagnosis.
        width: Cells per line.
        top: Rows of a long table; None for all.
    """
    yield Text(f"{facts.net}: diagnosis", style="bold")
    yield from wrapped(_about(facts), width, "  ", "dim")
    yield Text("")
    yield from wrapped(facts.verdict, width, "  ", STYLES.get(facts.findings[0].kind if facts.findings else "", "bold"))
    yield Text("")
    for finding in facts.findings:
        yield from _finding(finding, width, finding.text != facts.verdict)
    if facts.curve is not None:
        yield from _curve(facts.curve, width)
    yield from _units(facts, width, top)
    yield from _silenced(facts, width, top)
    yield from _layers(facts, width, top)
    if facts.others is not None:
        yield from _others(facts, width)
    for note in facts.notes:
        yield from wrapped(f"note: {note}", width, "  ", "dim")


def _about(facts: Any) -> str:
    told = f"loss {facts.loss:.6g} ({facts.loss_name}) on {count(facts.used, 'row')}"
    if facts.right is not None:
        told += f", {facts.right} of {facts.used} right"
    settings = facts.settings
    if "optimizer" in settings:
        told += f"; trained by {settings['optimizer']} at rate {settings['lr']:g}"
        told += f" for {settings['epochs']:,} epochs" if "epochs" in settings else ""
        told += f" from seed {settings['seed']}" if "seed" in settings else ""
    return told


def _finding(finding: Any, width: int, told: bool) -> Iterator[Text]:
    yield Text(f"  {finding.kind}", style="cyan")
    if told:
        yield from wrapped(finding.text, width, "    ")
    for because in finding.because:
        yield from wrapped(f"- {because}", width, "    ", "dim")
    yield from wrapped(f"refuted by: {finding.refuted_by}", width, "    ", "dim italic")
    yield Text("")


def _curve(curve: Any, width: int) -> Iterator[Text]:
    import numpy as np

    losses = np.array(curve.losses, dtype=float)
    losses = losses[np.isfinite(losses)]
    if len(losses) < 3:
        return
    logs = bool((losses > 0).all()) and losses.max() > 20 * losses.min()
    values = np.log10(losses) if logs else losses
    name = "log10 of the loss" if logs else "loss"
    yield Text(f"  {name} by epoch", style="italic")
    yield from curve_lines(
        lambda t: np.interp(t, np.arange(len(values)), values), (0.0, float(len(values) - 1)), width, {}
    )
    if curve.plateaus:
        flat = "; ".join(f"{a:,} to {b:,} at {short(level, 4)}" for a, b, level in curve.plateaus[-4:])
        yield from wrapped(
            f"flat by epochs: {flat} (change under {100 * curve.epsilon:g} % over {curve.window} epochs)",
            width, "  ", "dim",
        )  # fmt: skip
    yield Text("")


def _units(facts: Any, width: int, top: int | None) -> Iterator[Text]:
    if not facts.units:
        yield from wrapped("no activation function was seen: this net is linear in its layers", width, "  ", "dim")
        yield Text("")
        return
    died = {d.unit: d for d in facts.deaths}
    rows: list[tuple[object, ...]] = []
    small = sum(u.count for u in facts.units) <= (top or 10**9)
    if small:
        heads = ("unit", "state", "off", "mean", "std", "largest gradient", "dead since")
        for u in facts.units:
            for i in range(u.count):
                name = f"{u.name}[{i}]"
                rows.append(
                    (name, state(u, i), _percent(u.off[i]), digits_of(u.mean[i], 4), digits_of(u.std[i], 4),
                     _gradient(u.gradient[i]), _since(died.get(name)))
                )  # fmt: skip
    else:
        heads = ("layer", "units", "dead", "silent", "saturated", "starved", "always on", "off, mean")
        shown = facts.units if top is None else facts.units[:top]
        for u in shown:
            marks = [len(getattr(u, kind)) for kind in ("dead", "silent", "saturated", "starved", "always_on")]
            rows.append((f"{u.name} ({u.function})", u.count, *marks, _percent(float(u.off.mean()))))
    yield from columns(heads, rows, width)
    if not small and len(facts.units) > len(rows):
        yield from wrapped(f"not shown: {count(len(facts.units) - len(rows), 'layer')} more", width, "  ", "dim")
    yield from wrapped(
        f"over {count(facts.used, 'row')}; off: slope 0 (ReLU and the like), or under 0.5 % of the steepest", width,
        "  ", "dim",
    )  # fmt: skip
    yield Text("")


def state(units: Any, unit: int) -> str:
    """A unit's state in a word or two."""
    for name in ("dead", "silent", "saturated", "starved", "always_on"):
        if unit in getattr(units, name):
            return name.replace("_", " ")
    return "alive"


def _gradient(value: float) -> object:
    return None if value != value else digits_of(value, 3)


def _percent(share: float) -> str:
    return f"{100 * share:.3g} %"


def _since(death: Any) -> str:
    if death is None:
        return ""
    if not death.known:
        return "?"
    if death.before is None:
        return "start"
    return f"epoch {death.after}" if death.after - death.before == 1 else f"epoch {death.before}-{death.after}"


def _silenced(facts: Any, width: int, top: int | None) -> Iterator[Text]:
    for silence in facts.silenced:
        names = ", ".join(silence.rows[: top or None])
        more = silence.count - len(silence.rows[: top or None])
        yield from wrapped(
            f"{silence.layer} is off as a whole on {count(silence.count, 'row')}: {names}"
            f"{f' and {more} more' if more else ''}; there the next layer sees only zeros, and answers with its biases",
            width, "  ",
        )  # fmt: skip
    if facts.silenced:
        yield Text("")


def _layers(facts: Any, width: int, top: int | None) -> Iterator[Text]:
    first = facts.moments[0] if facts.moments else None
    some = facts.layers if top is None else facts.layers[:top]
    heads = ["layer", "weights", "|gradient|", "|gradient| / |weights|", "per weight (rms)"]
    rows: list[tuple[object, ...]] = []
    for i, layer in enumerate(some):
        row: list[object] = [layer.name, layer.weights]
        row += [_digits(v) for v in (layer.gradient, layer.ratio, layer.rms)]
        if first is not None:
            row.append(_digits(first.rms[i]))
        rows.append(tuple(row))
    if first is not None:
        heads.append("rms at the start")
    yield from columns(heads, rows, width)
    if len(facts.layers) > len(some):
        yield from wrapped(f"not shown: {count(len(facts.layers) - len(some), 'layer')} more", width, "  ", "dim")
    yield Text("")


def _digits(value: float) -> Decimal | float:
    return digits_of(value, 3)


def _others(facts: Any, width: int) -> Iterator[Text]:
    others = facts.others
    told = f"{count(len(others.losses), 'other seed')}: loss {short(min(others.losses), 4)} to "
    told += f"{short(max(others.losses), 4)}; {sum(v < facts.loss for v in others.losses)} end lower than this one"
    yield from wrapped(told, width, "  ")
    if others.right:
        rows = [
            (kind, seeds, failed)
            for kind, (failed, seeds) in others.failures(facts.rows).items()
        ]  # fmt: skip
        yield from columns(("units dead on all rows", "seeds", "of which fail"), rows, width)
    yield Text("")
