"""A census on the terminal: outcomes with their intervals, what goes with failing, and whether anything helps."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

from rich.cells import cell_len
from rich.text import Text

from weightwalk.show.layout import columns, short, shown, wrapped

BAR = 20
"""Cells of a full bar."""

MOST = 12
"""Contrasts and cells told in full."""

OPTIMIZERS = {"sgd": "SGD", "momentum": "SGD with momentum 0.9", "nesterov": "SGD with Nesterov momentum 0.9",
              "adam": "Adam", "adamw": "AdamW"}  # fmt: skip


def percent(share: Any) -> str:
    """``31.2 %``."""
    return "-" if math.isnan(share.share) else f"{100 * share.share:.1f} %"


def interval(share: Any) -> str:
    """``28.4 to 34.1 %``."""
    return "-" if math.isnan(share.low) else f"{100 * share.low:.1f} to {100 * share.high:.1f} %"


def brief(share: Any) -> str:
    """``31.2 [28.4, 34.1]``: percent, for a table that says so."""
    if math.isnan(share.low):
        return "-"
    return f"{100 * share.share:.1f} [{100 * share.low:.1f}, {100 * share.high:.1f}]"


def bar(share: float, width: int = BAR) -> str:
    """A bar in eighths of a cell; never empty where there is something."""
    if not share > 0:
        return ""
    eighths = max(1, round(8 * width * share))
    return "█" * (eighths // 8) + ("", "▏", "▎", "▍", "▌", "▋", "▊", "▉")[eighths % 8]


def said(value: Any) -> str:
    """A setting as a person writes it."""
    if value is None:
        return "all"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:g}" if isinstance(value, float) else str(value)


def settings_words(census: Any) -> str:
    """``1,000 seeds (0 to 999), each 501 epochs of SGD at rate 0.1, full batch``."""
    s, n = census.settings, census.seeds
    seeds = f"{n:,} seeds ({census.first_seed} to {census.last_seed})" if n > 1 else f"1 seed ({census.first_seed})"
    parts = [seeds]
    if "epochs" in s:
        parts.append(f"{s['epochs']:,} epochs")
    if "optimizer" in s:
        parts.append(OPTIMIZERS.get(s["optimizer"], str(s["optimizer"])))
    if "lr" in s:
        parts.append(f"rate {s['lr']:g}")
    if "batch" in s:
        whole = s["batch"] is None or s["batch"] >= census.rows.rows
        parts.append("full batch" if whole else f"batches of {s['batch']}")
    parts += [f"{k} {said(v)}" for k, v in s.items() if k not in {"epochs", "optimizer", "lr", "batch", "shuffle"}]
    if s.get("shuffle") is not None:
        parts.append("shuffled" if s["shuffle"] else "not shuffled")
    return ", ".join(parts)


def rows_words(rows: Any) -> str:
    """The data in a sentence."""
    again = f"{rows.duplicates} duplicates" if rows.duplicates != 1 else "1 duplicate"
    text = f"data: {rows.rows:,} rows, {again}"
    if rows.contradictions:
        text += f", {rows.contradictions} that ask for another answer to the same input"
    if rows.held:
        text += f"; {rows.held:,} held out"
    if rows.targets:
        some = ", ".join(f"{shown(k)} {n}" for k, n in list(rows.targets.items())[:8])
        text += f"; targets: {some}; always guessing the most frequent gets {rows.guess} right"
    if rows.line is not None:
        text += f"; the regression line has rmse {short(rows.line)}"
    return text


def census_lines(census: Any, width: int) -> Iterator[Text]:
    """The whole census."""
    yield from wrapped(f"census of {census.task}: {census.description}", width, "", "bold")
    yield from wrapped(settings_words(census), width)
    yield from wrapped(rows_words(census.rows), width)
    rules = "; ".join(f"{r.name}: {r.text}" for r in census.rules)
    yield from wrapped(f"outcomes (the first that holds): {rules}; else other", width, "  ", "dim")
    yield Text("")
    if len(census.cells) == 1:
        yield from _one(census, census.cells[0], width)
    else:
        yield from _many(census, width)
    yield from _located(census, width)
    if census.unmatched:
        yield from wrapped(f"no seed was: {', '.join(census.unmatched)}", width, "  ", "dim")
    yield Text("")
    yield from wrapped(
        f"brackets and \"to\" are {100 * census.confidence:g} % confidence intervals (shares: Wilson, differences: "
        "Newcombe); they speak of further seeds under this very recipe, of nothing else", width, "  ", "dim",
    )  # fmt: skip


# One cell ------------------------------------------------------------------------------------------------------------


def _one(census: Any, cell: Any, width: int) -> Iterator[Text]:
    rows = [(name, share) for name, share in cell.outcomes.items() if share.count or name == census.success]
    yield from share_table("outcome", rows, width, census.confidence)
    if cell.also:
        yield Text("")
        yield from share_table("also (not exclusive)", list(cell.also.items()), width, census.confidence)
    if cell.loops:
        yield Text("")
        yield from share_table("loops that some token leads into", list(cell.loops.items()), width, census.confidence)
    if cell.right:
        yield Text("")
        rows = [(f"{k} of {census.rows.rows}", s) for k, s in cell.right.items() if s.count]
        yield from share_table("rows right", rows, width, census.confidence)
    yield from _spreads(cell, width)
    yield from _dead(census, cell, width)


def share_table(head: str, rows: Sequence[tuple[str, Any]], width: int, confidence: float) -> Iterator[Text]:
    """A row per share: count, share, interval, bar."""
    heads = (head, "seeds", "share", f"{100 * confidence:g} % interval", "")
    cells = [(n, f"{s.count:,}", percent(s), interval(s), bar(s.share)) for n, s in rows]
    yield from right_columns(heads, cells, width)


def right_columns(heads: Sequence[str], rows: Sequence[Sequence[str]], width: int) -> Iterator[Text]:
    """First column left, bars left, all else flush right."""
    first = max(cell_len(h) for h in [heads[0], *(shown(r[0]) for r in rows)])
    widths = [first, *(max(cell_len(heads[k]), *(cell_len(r[k]) for r in rows)) for k in range(1, len(heads)))]
    over = sum(widths) + 2 * len(widths) - width
    if over > 0 and not heads[-1]:
        over -= widths[-1] + 2
        heads, rows, widths = heads[:-1], [r[:-1] for r in rows], widths[:-1]
    widths[0] = min(first, max(14, first - max(over, 0)))
    for row, style in [(heads, "dim"), *((r, "") for r in rows)]:
        name = shown(row[0])
        name = name if cell_len(name) <= widths[0] else name[: widths[0] - 1] + "…"
        line = Text("  ").append(name + " " * (widths[0] - cell_len(name)), style=style or "cyan")
        for k in range(1, len(heads)):
            last = not heads[k]
            gap = " " * (widths[k] - cell_len(row[k]))
            line.append("  " + (row[k] + gap if last else gap + row[k]), style=style)
        line.rstrip()
        yield line


def _spreads(cell: Any, width: int) -> Iterator[Text]:
    if not cell.spreads:
        return
    yield Text("")
    heads = ("measure", "least", "quarter", "median", "three quarters", "greatest", "known of")
    rows = [
        (n, *(short(getattr(s, k), 4) for k in ("least", "lower", "median", "upper", "greatest")), f"{s.known:,} seeds")
        for n, s in cell.spreads.items()
    ]
    yield from right_columns(heads, rows, width)


def _dead(census: Any, cell: Any, width: int) -> Iterator[Text]:
    if not cell.dead:
        return
    yield Text("")
    yield from wrapped(
        f"do failures (all but {census.success}) go with a ReLU unit that is off for every training input?", width
    )
    heads = ("such a unit", "failed", "share", f"{100 * census.confidence:g} % interval", "")
    groups = [(f"at the {t.moment}: {w}", g) for t in cell.dead for w, g in (("yes", t.with_dead), ("no", t.without))]
    rows = [(n, f"{g.count:,} of {g.total:,}", percent(g), interval(g), bar(g.share)) for n, g in groups]
    yield from right_columns(heads, rows, width)
    odds = [
        f"{short(t.odds.ratio)} [{short(t.odds.low)}, {short(t.odds.high)}] by the {t.moment}"
        for t in cell.dead
        if t.with_dead.total and t.without.total and 0 < t.with_dead.count + t.without.count < census.seeds
    ]
    if odds:
        yield from wrapped(f"odds of failing, with over without: {'; '.join(odds)}", width)


# Many cells ----------------------------------------------------------------------------------------------------------


def _many(census: Any, width: int) -> Iterator[Text]:
    names = [n for a in census.axes for n in a.names]
    met = [n for n in census.cells[0].outcomes if any(c.outcomes[n].count for c in census.cells) or n == census.success]
    full, size = [*met], True
    while True:
        heads = (*names, *(["numbers"] if size else []), *(f"{n} %" for n in met), "")
        rows = [
            (*(said(c.settings[n]) for n in names), *([f"{c.parameters:,}"] if size else []),
             *(brief(c.outcomes[n]) if n in full else f"{100 * c.outcomes[n].share:.1f}" for n in met),
             bar(c.outcomes[census.success].share, 10))
            for c in census.cells
        ]  # fmt: skip
        if _wide(heads, rows) <= width or not (full or size):
            break
        full, size = full[:-1], size and len(full) > 1
    yield from right_columns(heads, rows, width)
    if len(full) < len(met):
        text = f"the shares without brackets have intervals, too: --json or --table; bars: {census.success}"
        yield from wrapped(text, width, "  ", "dim")
    yield from _measured(census, names, width)
    yield from _dead_cells(census, names, width)
    yield from _helps(census, width)


def _measured(census: Any, names: Sequence[str], width: int) -> Iterator[Text]:
    """Tables of measures, as many side by side as fit."""
    left = list(dict.fromkeys(n for c in census.cells for n in c.spreads))
    settings = [tuple(said(c.settings[n]) for n in names) for c in census.cells]
    while left:
        for count in range(len(left), 0, -1):
            heads = (*names, *(f"{m}: least, median, greatest" for m in left[:count]))
            rows = [
                (*known, *(_three(c.spreads.get(m), census.seeds) for m in left[:count]))
                for known, c in zip(settings, census.cells, strict=True)
            ]
            if count == 1 or _wide(heads, rows) <= width:
                break
        yield Text("")
        yield from right_columns(heads, rows, width)
        if any(c.spreads[m].known < census.seeds for c in census.cells for m in left[:count] if m in c.spreads):
            yield from wrapped("of N: over the N seeds that have a value", width, "  ", "dim")
        left = left[count:]


def _three(spread: Any, seeds: int | None = None) -> str:
    if spread is None:
        return "-"
    three = "  ".join(f"{short(v, 3):>8}" for v in (spread.least, spread.median, spread.greatest))
    return three if seeds is None or spread.known == seeds else f"{three} of {spread.known:,}"


def _wide(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> int:
    return sum(max(cell_len(h), *(cell_len(r[k]) for r in rows)) + 2 for k, h in enumerate(heads))


def _dead_cells(census: Any, names: Sequence[str], width: int) -> Iterator[Text]:
    cells = [c for c in census.cells if c.dead]
    if not cells:
        return
    yield Text("")
    yield from wrapped(f"failed (all but {census.success}), with and without a ReLU unit dead at the start:", width)
    heads = (*names, "with %", "of", "without %", "of")
    rows = [
        (*(said(c.settings[n]) for n in names), brief(c.dead[0].with_dead), f"{c.dead[0].with_dead.total:,}",
         brief(c.dead[0].without), f"{c.dead[0].without.total:,}")
        for c in cells
    ]  # fmt: skip
    if _wide(heads, rows) > width:
        shares = [(c.dead[0].with_dead, c.dead[0].without) for c in cells]
        rows = [
            (*r[: len(names)], percent(a), r[-3], percent(b), r[-1]) for r, (a, b) in zip(rows, shares, strict=True)
        ]
    yield from right_columns(heads, rows, width)


def _helps(census: Any, width: int) -> Iterator[Text]:
    if not census.contrasts:
        return
    yield Text("")
    for contrast in census.contrasts[:MOST]:
        yield from wrapped(contrast_words(contrast, census.seeds), width)
    left = len(census.contrasts) - MOST
    if left > 0:
        yield from wrapped(f"not shown: {left} more comparisons (--json has them)", width, "  ", "dim")


def contrast_words(contrast: Any, seeds: int) -> str:
    """Does it help? In one sentence."""
    held = f" ({', '.join(f'{k} {said(v)}' for k, v in contrast.held.items())})" if contrast.held else ""
    gap = contrast.gap
    text = f"{contrast.axis} {contrast.first} -> {contrast.second}{held}: {contrast.outcome} "
    text += f"{percent(contrast.before)} -> {percent(contrast.after)}, {100 * gap.difference:+.1f} points "
    text += f"[{100 * gap.low:+.1f}, {100 * gap.high:+.1f}]"
    if gap.low > 0:
        text += ": more often, beyond chance"
    elif gap.high < 0:
        text += ": less often, beyond chance"
    else:
        text += ": no difference shown"
    if contrast.gained or contrast.lost:
        text += f"; {contrast.gained:,} seeds gained, {contrast.lost:,} lost"
    if contrast.apart is not None and not (contrast.gained or contrast.lost):
        text += "; the same seeds"
        if contrast.typical is not None:
            text += f", whose answers differ by {short(contrast.typical)} (median) to {short(contrast.apart)} (at most)"
    return text


def _located(census: Any, width: int) -> Iterator[Text]:
    if not any(c.located for c in census.cells):
        return
    yield Text("")
    for cell in census.cells:
        where = f"{cell.name}: " if len(census.cells) > 1 else ""
        for at in cell.located:
            text = f"{where}{at.measure} {at.value!r}: {at.below.count:,} of {at.below.total:,} seeds are below it, "
            text += f"{percent(at.below)} [{interval(at.below)}]"
            text += f"; {at.equal:,} equal to the digits given" if at.equal else "; none equal to the digits given"
            yield from wrapped(text, width)


def seed_list_lines(found: Any, width: int) -> Iterator[Text]:
    """Seeds of an outcome, cell by cell."""
    for name, seeds in found.items():
        yield from wrapped(f"{name}: {', '.join(map(str, seeds)) or 'none'}", width, "")


def measure_lines(measures: dict[str, str], width: int) -> Iterator[Text]:
    """What can be measured."""
    yield from columns(("measure", "what"), list(measures.items()), width)


def alone_lines(one: Any, given: str, chosen: bool, width: int) -> Iterator[Text]:
    """One seed by itself, before its walk."""
    yield Text(f"seed {one.seed} trained alone: {one.outcome} in the census", style="bold")
    text = f"loss {short(one.first, 6)} before training, {short(one.final, 6)} after; "
    text += f"in the census {short(one.counted, 6)}"
    if one.apart is not None:
        text += f"; no answer differs by more than {short(one.apart)}"
    yield from wrapped(text, width)
    if one.right is not None:
        said_rows = "; ".join(f"{shown(k)} -> {shown(v)}" for k, v in one.answers.items())
        yield from wrapped(f"{one.right} of {one.rows} rows right{': ' + said_rows if said_rows else ''}", width)
    if chosen:
        why = "the first row that it gets wrong" if one.wrong else "the first row"
        yield from wrapped(f"walked on {given}, {why} (--input for another)", width, "  ", "dim")


POINTS = {
    "not critical": "the gradient is not gone: no point at rest, whatever the Hessian says",
    "saddle": "at rest, and a direction leads down",
    "unconfirmed saddle": "at rest, a negative eigenvalue, but no lower loss was found along it",
    "flat minimum": "at rest, no negative eigenvalue, some that are 0",
    "minimum": "at rest, and every direction leads up",
    "refuted minimum": "at rest, no negative eigenvalue, and yet a lower loss nearby: a kink is near",
    "endless": "flat because probabilities are pinned to 0: the loss nears a floor only as weights grow",
    "open": "only some eigenvalues known, none of them negative",
}


def point_lines(census: Any, points: Sequence[Any], width: int) -> Iterator[Text]:
    """Where the failures stopped."""
    for each in points:
        yield Text("")
        where = f" of {each.cell}" if each.cell else ""
        text = f"where failures{where} stopped: {each.looked:,} of {each.failures:,} looked at; the gradient counts as "
        text += f"gone where |gradient| |weights| / loss is below {each.critical:g}"
        yield from wrapped(text, width)
        if not each.looked:
            continue
        yield from share_table("point", list(each.kinds.items()), width, census.confidence)
        for kind in each.kinds:
            yield from wrapped(f"{kind}: {POINTS.get(kind, '')}", width, "  ", "dim")
        text = f"|gradient| {_three(each.gradient)} (least, median, greatest); relative {_three(each.relative)}; "
        text += f"negative eigenvalues of {each.weights}: {_three(each.negative)}; at least one in "
        text += f"{each.falls.count:,} of {each.looked:,}"
        yield from wrapped(" ".join(text.split()), width)
