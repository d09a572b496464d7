"""Landscapes on the terminal: a small map in shades, and beside it what the map leaves out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
from rich.cells import cell_len
from rich.text import Text

from weightwalk.show.formula_layout import count, digits_of, told
from weightwalk.show.formulas_line import curve_lines
from weightwalk.show.formulas_plane import SHADES
from weightwalk.show.landscapes_words import (
    hidden_sentences,
    scale_words,
    settings_words,
    spectrum_sentences,
    title,
)
from weightwalk.show.layout import columns, wrapped

CELLS = 21
"""Places of a map, each way; odd, so that the net itself is one of them."""

ROWS = 12
"""Rows of a long table."""


def picture_lines(found: Any, width: int, top: int = ROWS) -> Iterator[Text]:
    """Map by map, then the tables and the sentences."""
    found = as_picture(found)
    yield from wrapped(title(found), width, "", "bold")
    first = found.surfaces[0]
    low, high = found.scale
    steep = logarithmic(low, high)
    if found.settings:
        yield from wrapped(settings_words(found), width, "  ", "dim")
    yield Text("")
    if first.shown == 1:
        yield from line_map(first, width)
    else:
        many = len(found.surfaces)
        blocks = [
            (name if many > 1 else "", list(surface_map(surface, found.scale, steep, marks, cells_for(many))))
            for surface, name in zip(found.surfaces, found.names, strict=True)
            for marks in [path_marks(found) if surface is first else {}]
        ]
        yield from beside(blocks, width)
    if first.shown == 2:
        yield from wrapped(map_words(found, steep), width, "  ", "dim")
    yield Text("")
    if len(found.surfaces) > 1 and found.shapes:
        yield from surfaces_table(found, width)
        yield Text("")
    if found.trajectory is not None:
        yield from trajectory_lines(found.trajectory, width, top)
        yield Text("")
    if found.paths:
        yield from paths_table(found.paths, first.n_parameters, width)
        yield Text("")
    if found.checks is not None:
        yield from checks_lines(found.checks, width)
        yield Text("")
    yield Text("what this picture leaves out", style="bold")
    for sentence in hidden_sentences(found):
        yield from wrapped(sentence, width, "  ")


def as_picture(found: Any) -> Any:
    """What `ww.landscape` gives has the same parts under other names."""
    if hasattr(found, "scale"):
        return found
    many = range(1, len(found.surfaces) + 1)
    return SimpleNamespace(
        net="the net", kind=found.surfaces[0].kind, settings={}, surfaces=found.surfaces, scale=(found.low, found.high),
        names=tuple(f"picture {k}" for k in many), shapes=(), spectrum=found.spectrum, curvatures=found.curvatures,
        notes=found.notes, paths=(), trajectory=None, checks=None,
    )  # fmt: skip


def logarithmic(low: float, high: float) -> bool:
    """Whether the shades are even steps of the logarithm: where the losses span more than a factor of ten."""
    return low > 0 and high > 10 * low


# Maps ---------------------------------------------------------------------------------------------------------------


def cells_for(many: int) -> int:
    """Places of each of so many maps."""
    return CELLS if many < 3 else 13


def beside(blocks: Sequence[tuple[str, Sequence[Text]]], width: int) -> Iterator[Text]:
    """Named blocks of lines next to each other, as many as fit; the others under them."""
    row: list[list[Text]] = []
    taken = 0
    for name, lines in blocks:
        block = [Text(f"  {name}", style="bold cyan"), *lines] if name else list(lines)
        wide = max(cell_len(line.plain) for line in block) + 2
        if row and taken + wide > width + 2:
            yield from _joined(row)
            yield Text("")
            row, taken = [], 0
        row.append([*(line for line in block)])
        taken += wide
    yield from _joined(row)


def _joined(row: Sequence[Sequence[Text]]) -> Iterator[Text]:
    wide = [max(cell_len(line.plain) for line in block) + 2 for block in row]
    for i in range(max(map(len, row))):
        made = Text()
        for block, room in zip(row, wide, strict=True):
            line = block[i] if i < len(block) else Text("")
            made.append_text(line).append(" " * (room - cell_len(line.plain)))
        made.rstrip()
        yield made


def thinned(length: int, centre: int, most: int = CELLS) -> np.ndarray:
    """Indices at an even stride that keep the centre; all where there are few.

    >>> thinned(41, 20).tolist()[:3], len(thinned(41, 20)), thinned(5, 2).tolist()
    ([0, 2, 4], 21, [0, 1, 2, 3, 4])
    """
    stride = max(1, -(-(length - 1) // (most - 1)))
    return np.arange(centre % stride, length, stride)


def surface_map(
    surface: Any, scale: tuple[float, float], steep: bool, marks: dict[str, np.ndarray], cells: int = CELLS
) -> Iterator[Text]:
    """The losses of a grid in five shades, the lowest blank, with marks on top.

    Args:
        surface: A `Surface`.
        scale: The losses of the ends of the shades.
        steep: Whether they are even steps of the logarithm.
        marks: A character, and the places (a, b) where it stands, shape (N, 2).
        cells: Places each way, at most.
    """
    across = thinned(len(surface.alphas), surface.centre[0], cells)
    up = thinned(len(surface.betas), surface.centre[1], cells)
    a, b = surface.alphas[across], surface.betas[up]
    yield from shaded(surface.losses[np.ix_(across, up)], a, b, scale, steep, {"+": np.zeros((1, 2)), **marks})


def shaded(
    losses: np.ndarray, a: np.ndarray, b: np.ndarray, scale: tuple[float, float], steep: bool,
    marks: dict[str, np.ndarray],
) -> Iterator[Text]:  # fmt: skip
    """Losses (across, up) in shades, two cells each; what is not finite is ``!!``; marks as `surface_map` has them."""
    low, high = scale
    with np.errstate(all="ignore"):
        part = np.log(losses / low) / np.log(high / low) if steep else (losses - low) / (high - low or 1.0)
        level = np.nan_to_num(part * len(SHADES), nan=0, posinf=0, neginf=0).clip(0, len(SHADES) - 1).astype(int)
    cells = [[SHADES[v] * 2 for v in row] for row in level.tolist()]
    for i, j in np.argwhere(~np.isfinite(losses)).tolist():
        cells[i][j] = "!!"
    for mark, places in reversed(marks.items()):  # the first mark is on top
        for x, y in places.tolist():
            i, j = int(np.abs(a - x).argmin()), int(np.abs(b - y).argmin())
            if a[0] <= x <= a[-1] and b[0] <= y <= b[-1]:
                cells[i][j] = f"{mark} "
    top, bottom = told(float(b[-1]), 3), told(float(b[0]), 3)
    margin = max(len(top), len(bottom)) + 3
    for j in range(len(b) - 1, -1, -1):
        label = top if j == len(b) - 1 else bottom if j == 0 else ""
        line = Text(f"{label:>{margin}} ", style="dim")
        yield line.append("".join(cells[i][j] for i in range(len(a))).rstrip(), style="not dim")
    left, right = told(float(a[0]), 3), told(float(a[-1]), 3)
    yield Text(f"{' ' * margin} {left}{' ' * max(1, 2 * len(a) - len(left) - len(right))}{right}", style="dim")


def line_map(surface: Any, width: int) -> Iterator[Text]:
    """The losses along a line as a graph; the net itself is marked."""
    a, y = surface.alphas, surface.losses[:, 0]
    finite = np.isfinite(y)
    if not finite.all():
        yield from wrapped(
            f"no graph: {count(int((~finite).sum()), 'loss')} on the line not finite", width, "  ", "dim"
        )
        return
    ends = [at for _, at, _ in surface.points] or [0.0]
    yield from curve_lines(lambda t: np.interp(t, a, y), (float(a[0]), float(a[-1])), width, {"┴": np.array(ends)})
    marked = ", ".join(f"{name} at {told(at, 4)}" for name, at, _ in surface.points) or "the net itself at 0"
    text = f"{surface.loss} along {surface.labels[0]}, at {count(len(a), 'place')}, joined; ┴ marks {marked}"
    yield from wrapped(text, width, "  ", "dim")


def path_marks(found: Any) -> dict[str, np.ndarray]:
    """What stands on the map: the start, and the way; of several paths, each by a letter."""
    if found.trajectory is not None and not found.paths:
        at = found.trajectory.coordinates
        return {"S": at[:1], "o": at[1:-1]}
    return {chr(ord("a") + i): path.points for i, path in enumerate(found.paths[:26])}


def map_words(found: Any, steep: bool) -> str:
    """What the map shows and how it is to be read."""
    first = found.surfaces[0]
    marks = "+ is the net itself"
    if found.paths:
        marks += "; the letters are the paths of the table"
    elif found.trajectory is not None:
        marks += "; S is where training began, o are its checkpoints, each at the nearest point of the plane"
    bad = any(s.not_finite for s in found.surfaces)
    grid = f"{len(first.alphas)} x {len(first.betas)}"
    text = f"{first.labels[0]} (across) and {first.labels[1]} (up); {scale_words(found.scale, steep)}; {marks}"
    text += "; !! has no finite loss" if bad else ""
    drawn = len(thinned(len(first.alphas), first.centre[0], cells_for(len(found.surfaces))))
    return text + (f"; of {grid} places, {drawn} x {drawn} are drawn" if drawn < len(first.alphas) else "")


# Tables -------------------------------------------------------------------------------------------------------------


def surfaces_table(found: Any, width: int) -> Iterator[Text]:
    """The surfaces side by side: their centres agree, the rest need not."""
    rows = [
        (name, digits_of(s.centre_loss, 6), digits_of(s.lowest, 6), digits_of(_greatest(s.losses), 4),
         *(digits_of(c, 4) for c in s.at_centre.rayleigh), shape.dips, f"{100 * shape.bent:.0f} %")
        for s, name, shape in zip(found.surfaces, found.names, found.shapes, strict=True)
    ]  # fmt: skip
    heads = ("", "centre", "least", "greatest", "curvature across", "and up", "dips", "arched")
    yield from columns(heads, rows, width)
    text = "curvature: per unit of length, at the centre; dips: places lower than their eight neighbours; "
    text += "arched: places above the middle of two opposite neighbours, as a bowl never has"
    yield from wrapped(text, width, "  ", "dim")


def _greatest(losses: np.ndarray) -> float:
    finite = losses[np.isfinite(losses)]
    return float(finite.max()) if len(finite) else float("nan")


def trajectory_lines(found: Any, width: int, top: int) -> Iterator[Text]:
    """Each checkpoint's true loss beside the loss drawn under it; the shares beside those of random walks."""
    yield Text("  each checkpoint: the loss that it has, and the loss that the picture draws under it", style="bold")
    with np.errstate(all="ignore"):
        ratio = found.drawn / found.true
    rows = [
        (int(found.epochs[i]), digits_of(found.true[i], 4), digits_of(found.drawn[i], 4), digits_of(ratio[i], 3),
         digits_of(found.off[i], 3), digits_of(found.relative_off[i], 2), "<- worst" if i == found.worst else "")
        for i in chosen(found, top)
    ]  # fmt: skip
    heads = ("epoch", "true loss", "drawn loss", "drawn/true", "off the plane", "/ way to the end", "")
    yield from columns(heads, rows, width)
    if len(rows) < len(found.epochs):
        rest = len(found.epochs) - len(rows)
        yield from wrapped(
            f"not shown: {count(rest, 'checkpoint')} more (--json and --frame have all)", width, "  ", "dim"
        )
    yield Text("")
    yield from shares_table(found, width)


def chosen(found: Any, top: int) -> list[int]:
    """Checkpoints to tell: the first and the last, the worst, and those where the training moved."""
    total = len(found.epochs)
    if total <= top:
        return list(range(total))
    gone = np.concatenate([[0.0], np.cumsum(np.abs(np.diff(found.to_end)))])
    even = np.searchsorted(gone, np.linspace(0, gone[-1], top - 1)).clip(0, total - 1)
    picked = {0, total - 1, found.worst, *even.tolist()}
    for i in range(total):  # where few steps hold all the way, the next ones fill up
        if len(picked) >= top:
            break
        picked.add(i)
    return sorted(picked)


def shares_table(found: Any, width: int) -> Iterator[Text]:
    """What two directions hold of this path, and of one without any loss."""
    kinds = (
        ("this training", "path"),
        ("random walks with its step lengths, simulated", "simulated"),
        ("the same, exact for infinitely many dimensions", "steps"),
        ("a random walk of equal steps, exact", "walk"),
        ("the limit of long ones", "limit"),
    )
    for facts, words in ((found.centred, "around its mean"), (found.anchored, "around the trained net, as drawn")):
        rows = [
            (name, *(f"{100 * v:.2f}" for v in getattr(facts, kind)[:3]), f"{100 * getattr(facts, kind)[:2].sum():.2f}")
            for name, kind in kinds
        ]
        yield from columns((f"variance {words}, %", "1st", "2nd", "3rd", "the plane"), rows, width)
        text = f"{100 * facts.above:.0f} % of {facts.walks:,} such walks in {found.n_parameters:,} dimensions have a "
        text += "plane that holds as much as this training's, or more; 90 % of them hold "
        yield from wrapped(f"{text}{100 * facts.low:.2f} % to {100 * facts.high:.2f} %", width, "  ", "dim")


def paths_table(paths: Sequence[Any], n: int, width: int) -> Iterator[Text]:
    """What became of each path."""
    rows = [
        (f"{chr(ord('a') + i)} {p.name}", len(p.points) - 1, digits_of(float(p.losses[0]), 4), digits_of(p.final, 4),
         "diverged" if p.diverged else "fell at every step" if p.fell else "rose at times",
         f"{100 * p.shown:.1f} %" if n > 2 else None)
        for i, p in enumerate(paths)
    ]  # fmt: skip
    heads = ("path", "points", "first loss", "last loss", "the loss", "variance in the picture" if n > 2 else "")
    yield from columns(heads, rows, width)
    for i, path in enumerate(paths):
        if path.note:
            yield from wrapped(f"{chr(ord('a') + i)}: {path.note}", width, "  ", "dim")


def checks_lines(checks: Any, width: int) -> Iterator[Text]:
    """The four things that the picture of a hill gets right."""
    yield Text("  what the picture of a hill gets right, tried on this net", style="bold")
    for name, passed in checks.passed.items():
        yield from wrapped(f"{'yes' if passed else 'NO '}  {name}", width, "  ", "" if passed else "red")


__all__ = ["picture_lines", "spectrum_sentences"]
