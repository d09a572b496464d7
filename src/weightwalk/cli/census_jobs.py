"""What ``weightwalk census`` does with what it was asked: read, count, tell, write."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from weightwalk.cli import common, outputs
from weightwalk.cli.tasks import chosen_task
from weightwalk.errors import UsageError

if TYPE_CHECKING:
    from weightwalk.learning.tasks import Task

RECIPE = ("optimizer", "lr", "epochs", "batch", "shuffle")
MOST_SEEDS = 1_000_000


def run(name: str, options: dict[str, Any]) -> int:
    """Serve the request.

    Raises:
        UsageError: It makes no sense.
    """
    files = outputs.targets(options, save=(".walk",))
    _check(options)
    task = chosen_task(name, options["data"], options["loss"], options["settings"])
    if options["list_measures"]:
        return _list_measures(task, options["as_json"])
    asked = _asked(options)
    if options["walk_seed"] is not None:
        from weightwalk.cli.census_walk import walk_seed

        return walk_seed(task, options, asked, files)
    from weightwalk.learning.censuses.census import census

    with _bar() as progress:
        found = census(task, progress=progress, **asked)
    points = _points(found, options["points"])
    _tell(found, points, options)
    _write(found, files)
    return 0


def _check(options: dict[str, Any]) -> None:
    if options["walk_seed"] is None and (options["save"] or options["given"]):
        which = "--save keeps the walk of one seed" if options["save"] else "--input is for the walk of one seed"
        raise UsageError(f"{which}: say which with --walk-seed.")


def _asked(options: dict[str, Any]) -> dict[str, Any]:
    """The options as what ``ww.census`` takes."""
    from weightwalk.cli.formula_options import memory

    return {
        "seeds": seeds(options["seeds"], options["seed"]),
        "vary": {**{n: [options[n]] for n in RECIPE if options[n] is not None}, **varied(options["vary"], options)},
        "rules": list(options["rules"]) or None,
        "measures": list(options["measures"]),
        "locate": located(options["locate"]),
        "confidence": _percent(options["confidence"]),
        "memory": None if options["memory"] is None else memory(options["memory"]),
        "engine": options["engine"],
    }


def _percent(confidence: float) -> float:
    if not 0 < confidence < 100:
        raise UsageError(f"--confidence is in percent, above 0 and below 100, such as 95; got {confidence:g}.")
    return confidence / 100


def seeds(text: str, first: int) -> Sequence[int]:
    """``1000``, ``100-199`` or ``3,7,12``.

    Raises:
        UsageError: None of these.
    """
    text = text.strip().replace("_", "")
    if re.fullmatch(r"\d+", text):
        count = int(text)
        if not 1 <= count <= MOST_SEEDS:
            raise UsageError(f"--seeds {count}: a census takes 1 to {MOST_SEEDS:,} seeds.")
        return range(first, first + count)
    if span := re.fullmatch(r"(\d+)\s*(?:-|\.\.)\s*(\d+)", text):
        low, high = int(span[1]), int(span[2])
        if low > high or high - low >= MOST_SEEDS:
            raise UsageError(f"--seeds {text} is no range: the first is not above the last, as in 100-199.")
        return range(low, high + 1)
    if re.fullmatch(r"\d+(\s*,\s*\d+)+,?", text):
        return [int(part) for part in text.split(",") if part.strip()]
    raise UsageError(f"--seeds {text!r} is no number of seeds (1000), range (100-199) or list (3,7,12).")


def varied(texts: Sequence[str], options: dict[str, Any]) -> dict[str, list[str]]:
    """``width=2,4`` as setting and values.

    Raises:
        UsageError: It is not that, or the setting is also given as an option.
    """
    out: dict[str, list[str]] = {}
    for text in texts:
        name, equals, values = text.partition("=")
        listed = [v.strip() for v in values.split(",") if v.strip()]
        if not equals or not name.strip() or not listed:
            raise UsageError(f"--vary {text!r} is not NAME=VALUE,VALUE, such as width=2,4,8.")
        name = name.strip()
        given = [n for n in name.split("+") if n in RECIPE and options.get(n) is not None]
        fixed = [n for n in name.split("+") if n in {s.partition("=")[0].strip() for s in options["settings"]}]
        if given or fixed or name in out:
            where = f"--{given[0]}" if given else "--set" if fixed else "another --vary"
            twice = [*given, *fixed, name][0]
            raise UsageError(f"--vary {text!r}: {twice} is set by {where} as well; say it once.")
        out[name] = listed
    return out


def located(texts: Sequence[str]) -> dict[str, float]:
    """``first_loss=1.3034`` as measure and value.

    Raises:
        UsageError: It is not that.
    """
    out: dict[str, float] = {}
    for text in texts:
        name, equals, value = text.rpartition("=")
        try:
            out[name.strip()] = float(value)
        except ValueError:
            equals = ""
        if not equals or not name.strip() or not abs(out[name.strip()]) < float("inf"):
            raise UsageError(f"--locate {text!r} is not MEASURE=NUMBER, such as first_loss=1.3034.")
    return out


def _list_measures(task: Task, as_json: bool) -> int:
    from weightwalk.learning.censuses.census import measures_of
    from weightwalk.show.censuses import measure_lines
    from weightwalk.show.terminal import console, put

    found = measures_of(task)
    if as_json:
        common.emit(found)
    else:
        to = console()
        put(measure_lines(found, to.width), to)
    return 0


@contextlib.contextmanager
def _bar() -> Iterator[Callable[[int, int], None] | None]:
    """A bar that counts percent."""
    with common.counting("training, % done") as tell:
        yield None if tell is None else (lambda done, total: tell(round(100 * done / max(1, total)), 100))


def _points(found: Any, most: int | None) -> Any:
    if most is None:
        return ()
    from weightwalk.learning.censuses.points import points_of

    with common.counting("judging where failures stopped") as tell:
        return tuple(points_of(found, cell, most=most, progress=tell) for cell in found.cells)


def _tell(found: Any, points: Any, options: dict[str, Any]) -> None:
    from weightwalk.show.censuses import point_lines, seed_list_lines
    from weightwalk.show.terminal import console, put, show

    outcome = options["outcome"]
    listed = None if outcome is None else {c.name: c.seeds_with(outcome).tolist() for c in found.cells}
    if options["as_json"]:
        extra = {
            **({"seeds_with": {outcome: listed}} if listed is not None else {}),
            **({"points": points} if points else {}),
        }
        common.emit({"census": found, **extra} if extra else found)
        return
    to = console()
    if listed is not None:
        put(seed_list_lines({f"{name}: {outcome}" if name else outcome: s for name, s in listed.items()}, to.width), to)
        return
    show(found, to)
    if points:
        put(point_lines(found, points, to.width), to)


def _write(found: Any, files: dict[str, Path]) -> None:
    for kind in ("frame", "table"):
        if kind in files:
            outputs.write_table(files[kind], found.frame() if kind == "frame" else found.frame(by="cell"))
    if "figure" in files:
        from weightwalk.show.census_figures import census_figure

        outputs.write_figure(files["figure"], census_figure, found)


def say(text: str) -> None:
    """A line of the answer."""
    click.echo(text)
