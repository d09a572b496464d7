"""The outcomes that a census counts unless one says otherwise, by the kind of task."""

from __future__ import annotations

from weightwalk.learning.censuses.measures import catalog, kind_of, line_error
from weightwalk.learning.censuses.rules import Rule, rule
from weightwalk.learning.tasks import Task

DIVERGED = "diverged: diverged"
DEAD = "dead: dead_layer_end > 0"


def rules_for(task: Task, loss: str | None = None) -> tuple[Rule, ...]:
    """The first of them is what is called a success.

    - a text net of one token: ``solved`` (every pair right), ``dead`` (a layer off for every input, so that it says one
      thing to all), ``loop`` (its own answers lead some token round in a loop);
    - classes: ``solved`` (every row right), or where there are held-out rows ``fits`` (95 % of them right);
    - one number to one number: ``fits`` (held-out error below half the regression line's), ``dead``, ``line`` (the
      regression line and no more: nearer to it than a tenth of its own error). Of 300 nets each for seven functions
      hardly any lay near these two limits;
    - other numbers: ``fits`` (it explains 95 % of the targets' variance), ``dead``.

    ``diverged`` (infinite or NaN) comes with every task, and ``other`` takes the rest.
    """
    kind = kind_of(task, loss)
    known = {m.name for m in catalog(task, loss)}
    if kind == "tokens":
        texts = ["solved: right == all", DEAD, "loop: loops > 0"]
    elif kind in {"classes", "bits"}:
        texts = ["fits: held_accuracy > 0.95" if "held_accuracy" in known else "solved: right == all", DEAD]
    elif "line_rmse" in known and _bent(task):
        error = "held_rmse" if "held_rmse" in known else "rmse"
        texts = [f"fits: {error} < 0.5 * line_rmse", DEAD, "line: from_line < 0.1 * line_rmse"]
    else:
        texts = ["fits: unexplained < 0.05" if task.name != "linear" else "fits: rmse < 0.01", DEAD]
    return tuple(rule(text) for text in [*texts, DIVERGED])


def _bent(task: Task) -> bool:
    """Whether the data are no straight line themselves."""
    greatest = float(task.data.targets.abs().max()) or 1.0
    return line_error(task) > 1e-5 * greatest


def also_for(task: Task, loss: str | None = None) -> tuple[Rule, ...]:
    """Yes or no, told beside the outcomes and not exclusive: a solved net can have dead units."""
    out = [
        Rule("a unit dead at the start", "dead_start > 0", ("dead_start",), rule("x: dead_start > 0").test),
        Rule("a unit dead at the end", "dead_end > 0", ("dead_end",), rule("x: dead_end > 0").test),
    ]
    if kind_of(task, loss) == "tokens":
        first, last = start_of(task), end_of(task)
        reach = rule(f"x: not ends[{first}]")
        out.append(Rule(f"from {first} never to {last}", reach.text, reach.measures, reach.test))
        out.append(Rule("some loop", "loops > 0", ("loops",), rule("x: loops > 0").test))
    return tuple(out)


def start_of(task: Task) -> str:
    """The token of the first row."""
    return task.data.classes[int(task.data.inputs[0])]


def end_of(task: Task) -> str:
    """The tokens that nothing was trained to follow, as words."""
    begun = {int(i) for i in task.data.inputs}
    ends = [name for i, name in enumerate(task.data.classes) if i not in begun]
    return " or ".join(repr(e) if not e.isalnum() else e for e in ends) or "an end"


def spreads_for(task: Task, loss: str | None = None) -> tuple[str, ...]:
    """Measures whose least, median and greatest value are told."""
    known = [m.name for m in catalog(task, loss)]
    error = "held_rmse" if "held_rmse" in known else "rmse"
    wanted = (error, "kinks") if kind_of(task, loss) == "numbers" else ("first_loss", "loss", "held_accuracy")
    return tuple(n for n in wanted if n in known)
