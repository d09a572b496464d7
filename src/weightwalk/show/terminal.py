"""Facts to the terminal: colours where there are eyes for them, plain text of a stable width where it is piped."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Iterator
from typing import IO, Any

from rich.console import Console
from rich.text import Text

WIDTH = 100  # of piped text, and at most of a wide terminal's lines for reading
WIDEST = 120


class Pipe(Console):
    """A console that lets a broken pipe through: what it means for the exit code is the command's business."""

    def on_broken_pipe(self) -> None:
        raise BrokenPipeError(32, "Broken pipe")


def console(file: IO[str] | None = None) -> Console:
    """A console on `file` (standard output): the terminal's own width up to 120, and 100 where it is no terminal."""
    out = file if file is not None else sys.stdout
    columns = os.environ.get("COLUMNS", "")
    made = Pipe(file=out, highlight=False, soft_wrap=True, emoji=False, markup=False)
    wish = int(columns) if columns.isdigit() and int(columns) > 0 else (made.width if made.is_terminal else WIDTH)
    made.width = max(40, min(wish, WIDEST))
    return made


def lines(facts: Any, width: int = WIDTH, **options: Any) -> Iterator[Text]:
    """`facts` (a story, a report, an account, a comparison ...) as styled lines; options are those of its kind."""
    kind = type(facts).__name__
    if kind not in _KINDS:
        raise TypeError(f"nothing is known about showing a {kind}")
    yield from _room(kind)(facts, width, **options)


def show(facts: Any, to: Console | None = None) -> None:
    """Print `facts`."""
    target = console() if to is None else to
    put(lines(facts, target.width), target)


def put(texts: Iterable[Text], to: Console) -> None:
    """Print lines as they are, without wrapping them again."""
    for line in texts:
        to.print(line, soft_wrap=True)


def plain(facts: Any, width: int = WIDTH) -> str:
    """`facts` as plain text."""
    return "\n".join(line.plain for line in lines(facts, width))


# Class name of the facts -> where the lines are made. Looked up by name, so that no reading is imported to be shown.
_KINDS: dict[str, tuple[str, str]] = {
    "Training": ("weightwalk.show.trainings", "training_lines"),
    "Trainings": ("weightwalk.show.trainings", "trainings_lines"),
    "History": ("weightwalk.show.trainings", "history_lines"),
    "Story": ("weightwalk.show.stories", "story_lines"),
    "Report": ("weightwalk.show.reports", "report_lines"),
    "Account": ("weightwalk.show.accounts", "account_lines"),
    "Comparison": ("weightwalk.show.comparisons", "comparison_lines"),
    "Walk": ("weightwalk.show.summaries", "walk_lines"),
    "NetList": ("weightwalk.show.summaries", "net_lines"),
    "Formula": ("weightwalk.show.formulas", "formula_lines"),
    "Lookup": ("weightwalk.show.lookups", "lookup_lines"),
    "Decisions": ("weightwalk.show.decisions", "decision_lines"),
    "Surrogate": ("weightwalk.show.formulas", "surrogate_lines"),
    "Sensitivity": ("weightwalk.show.formulas", "sensitivity_lines"),
    "Summary": ("weightwalk.show.formulas", "summary_lines"),
    "Indices": ("weightwalk.show.formulas", "indices_lines"),
    "LossLine": ("weightwalk.show.formulas", "loss_lines"),
    "Diagnosis": ("weightwalk.show.diagnoses", "diagnosis_lines"),
    "LossPlane": ("weightwalk.show.formulas", "loss_lines"),
    "Picture": ("weightwalk.show.landscapes", "picture_lines"),
    "Landscape": ("weightwalk.show.landscapes", "picture_lines"),
    "Neuron": ("weightwalk.show.landscapes_neuron", "neuron_lines"),
    "Line": ("weightwalk.show.landscapes_lines", "between_lines"),
    "Slide": ("weightwalk.show.landscapes_lines", "slide_lines"),
    "Nudge": ("weightwalk.show.nudges", "nudge_lines"),
    "Census": ("weightwalk.show.censuses", "census_lines"),
    "PointsFit": ("weightwalk.show.fittings", "points_lines"),
    "LabelsFit": ("weightwalk.show.fittings_labels", "labels_lines"),
    "CapacityFit": ("weightwalk.show.fittings_capacity", "capacity_lines"),
    "DataFit": ("weightwalk.show.fittings_data", "data_lines"),
    "BeyondFit": ("weightwalk.show.fittings_beyond", "beyond_lines"),
    "EpochsFit": ("weightwalk.show.fittings_epochs", "epochs_lines"),
    "RegionsFit": ("weightwalk.show.fittings_regions", "regions_lines"),
}


def _room(kind: str) -> Callable[..., Iterator[Text]]:
    from importlib import import_module

    module, name = _KINDS[kind]
    return getattr(import_module(module), name)
