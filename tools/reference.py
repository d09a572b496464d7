"""Write what is made from the code: the reference pages, the pictures of the README, its table of measurements.

``python -m tools.reference`` writes them, ``--check`` tells which are stale.
"""

from __future__ import annotations

import argparse
import importlib
import inspect
import re
import sys
import tempfile
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

ROOT = Path(__file__).resolve().parent.parent
REFERENCE = ROOT / "docs" / "reference"
IMAGES = ROOT / "docs" / "images"
PICTURES = {
    "walk.svg": ("walk", "hello", "hello"),
    "plane.svg": ("formula", "hello", "hello", "--plane", "0,1", "--box", "-3..3", "--decide", "max"),
}
"""Pictures of the README, with the commands that draw them."""
WIDTH = 100

# Heading -> what stands under it, as module:name. Methods and attributes are told with their class.
API = {
    "Recording": ("weightwalk:walk", "weightwalk:recording"),
    "The walk": (
        "weightwalk:Walk", "weightwalk.walks.model:Step", "weightwalk.walks.model:Value", "weightwalk.walks.model:Call",
        "weightwalk.walks.model:Completeness", "weightwalk.walks.address:Selection", "weightwalk.walks.address:Term",
    ),
    "Files": ("weightwalk.walks.files:save", "weightwalk:load"),
    "Verifying": (
        "weightwalk.readings.verify:verify", "weightwalk.readings.verify:Report", "weightwalk.readings.verify:Verdict",
        "weightwalk.readings.replay:Drift",
    ),
    "Accounting": (
        "weightwalk.readings.account:account", "weightwalk.readings.account:Account",
        "weightwalk.readings.account:Row", "weightwalk.readings.account:Frozen",
        "weightwalk.readings.account:Residual",
    ),
    "Narrating": (
        "weightwalk.readings.narrate:narrate", "weightwalk.readings.narrate_facts:Story",
        "weightwalk.readings.narrate_facts:Section", "weightwalk.readings.narrate_facts:Sum",
        "weightwalk.readings.narrate_facts:Term", "weightwalk.readings.narrate_facts:Table",
        "weightwalk.readings.narrate_facts:Text",
    ),
    "Learning": (
        "weightwalk:train", "weightwalk.learning.train:History", "weightwalk.learning.train:Snapshot",
        "weightwalk.learning.history:Event", "weightwalk.learning.history:BadNumber",
        "weightwalk.learning.history:NotFiniteError", "weightwalk.learning.runs.schedules:schedule_of",
        "weightwalk.learning.runs.folder:run_weights", "weightwalk.learning.plateaus:plateau",
        "weightwalk.learning.tasks:Task", "weightwalk.learning.tasks:Data", "weightwalk.learning.tasks:task_of",
    ),
    "Diagnosing": (
        "weightwalk:diagnose", "weightwalk.learning.diagnoses.facts:Diagnosis",
        "weightwalk.learning.diagnoses.facts:Finding", "weightwalk.learning.diagnoses.facts:Units",
        "weightwalk.learning.diagnoses.facts:Death", "weightwalk.learning.diagnoses.facts:Layer",
        "weightwalk.learning.diagnoses.facts:Curve", "weightwalk.learning.diagnoses.facts:Point",
        "weightwalk.learning.diagnoses.facts:Settled", "weightwalk.learning.diagnoses.facts:Others",
        "weightwalk.learning.hessians:spectrum", "weightwalk.learning.hessians:Spectrum",
        "weightwalk.learning.hessians:hessian_product",
    ),
    "Fitting": (
        "weightwalk.learning.fitting.points:fit_points",
        "weightwalk.learning.fitting.polynomials:fit_polynomial",
        "weightwalk.learning.fitting.labels:fit_labels",
        "weightwalk.learning.fitting.capacity:fit_capacity",
        "weightwalk.learning.fitting.data:fit_data",
        "weightwalk.learning.fitting.beyond:fit_beyond",
        "weightwalk.learning.fitting.beyond:newton_trace",
        "weightwalk.learning.fitting.epochs:fit_epochs",
        "weightwalk.learning.fitting.regions:fit_regions",
    ),
    "Comparing": (
        "weightwalk:compare", "weightwalk.readings.compare:Comparison", "weightwalk.readings.compare:Difference",
    ),
    "Zooming": ("weightwalk.readings.zoom:zoom",),
    "Formulas": (
        "weightwalk:formula", "weightwalk.formulas.formula:Formula", "weightwalk.formulas.affine:AffineMap",
        "weightwalk.formulas.lines.line:Line", "weightwalk.formulas.lines.line:Piece",
        "weightwalk.formulas.planes.partition:Partition",
        "weightwalk.formulas.points.facts:Local", "weightwalk.formulas.points.facts:Nearest",
        "weightwalk.formulas.points.facts:Along", "weightwalk.formulas.rationals.line:ExactLine",
        "weightwalk.formulas.rationals.plane:ExactPartition", "weightwalk.formulas.certificate:Certificate",
        "weightwalk.formulas.certificate:Check", "weightwalk.formulas.piecewise:PiecewiseNet",
    ),
    "From formulas": (
        "weightwalk.formulas.integrals.summary:summary", "weightwalk.formulas.integrals.summary:Summary",
        "weightwalk.formulas.planes.decisions:decisions", "weightwalk.formulas.planes.decisions:Decisions",
        "weightwalk.formulas.lookup:lookup", "weightwalk.formulas.lookup:Lookup",
        "weightwalk.formulas.losses.parameters:loss_along_parameter", "weightwalk.formulas.losses.slices:LossLine",
    ),
    "In place of any net": (
        "weightwalk.formulas.functions:function_of", "weightwalk.formulas.fits.surrogates:surrogate",
        "weightwalk.formulas.fits.surrogates:Surrogate", "weightwalk.formulas.fits.scores:Score",
        "weightwalk.formulas.fits.rank:sensitivity", "weightwalk.formulas.fits.rank:Sensitivity",
        "weightwalk.formulas.fits.rankings:Ranking",
    ),
    "Landscapes": (
        "weightwalk:landscape", "weightwalk.learning.landscapes.landscape:Landscape",
        "weightwalk.learning.landscapes.surface:surface", "weightwalk.learning.landscapes.surface:Surface",
        "weightwalk.learning.landscapes.surface:losses_at", "weightwalk.learning.landscapes.directions:Plane",
        "weightwalk.learning.landscapes.directions:random_plane",
        "weightwalk.learning.landscapes.directions:weights_plane",
        "weightwalk.learning.landscapes.lines:plane_through", "weightwalk.learning.landscapes.lines:line_between",
        "weightwalk.learning.landscapes.lines:Line", "weightwalk.learning.landscapes.centre:Centre",
        "weightwalk.learning.landscapes.curvatures:random_curvatures",
        "weightwalk.learning.landscapes.curvatures:Curvatures",
    ),
    "One training step": (
        "weightwalk:nudge", "weightwalk.learning.nudges.facts:Nudge", "weightwalk.learning.nudges.facts:Compared",
        "weightwalk.learning.nudges.facts:Error", "weightwalk.learning.nudges.facts:Blame",
        "weightwalk.learning.nudges.facts:Tensor", "weightwalk.learning.nudges.facts:Arithmetic",
        "weightwalk.learning.nudges.facts:Check", "weightwalk.learning.nudges.facts:Quotient",
        "weightwalk.learning.nudges.facts:Movement", "weightwalk.learning.nudges.facts:Promise",
        "weightwalk.learning.nudges.facts:GradientCheck", "weightwalk.learning.nudges.facts:Difference",
        "weightwalk.learning.nudges.facts:Rival",
    ),
    "One neuron": (
        "weightwalk.learning.neurons.logistic:logistic_neuron",
        "weightwalk.learning.neurons.logistic:LogisticNeuron", "weightwalk.learning.neurons.logistic:Moment",
        "weightwalk.learning.neurons.units:linear_neuron", "weightwalk.learning.neurons.units:LinearNeuron",
        "weightwalk.learning.neurons.units:threshold_unit", "weightwalk.learning.neurons.units:ThresholdUnit",
        "weightwalk.learning.neurons.units:corrected", "weightwalk.learning.neurons.units:Corrections",
        "weightwalk.learning.neurons.curves:cross_entropies", "weightwalk.learning.neurons.curves:CrossEntropy",
        "weightwalk.learning.neurons.curves:bowl", "weightwalk.learning.neurons.curves:Bowl",
    ),
    "Networks": ("weightwalk:load_net", "weightwalk.nets:Net", "weightwalk.nets.inputs:Inputs"),
    "Census": (
        "weightwalk:census", "weightwalk.learning.censuses.facts:Census", "weightwalk.learning.censuses.facts:Cell",
        "weightwalk.learning.censuses.facts:Contrast", "weightwalk.learning.censuses.facts:DeadTable",
        "weightwalk.learning.censuses.wilson:Share", "weightwalk.learning.censuses.wilson:Gap",
        "weightwalk.learning.censuses.rules:Rule",
    ),
    "Errors": (
        "weightwalk.errors:WeightwalkError", "weightwalk.errors:UsageError", "weightwalk.errors:AddressError",
        "weightwalk.errors:NotKeptError", "weightwalk.errors:OverwrittenError", "weightwalk.errors:RecordError",
        "weightwalk.errors:DamagedError",
    ),
}  # fmt: skip

NOTE = "Written by `make docs` from the {source}; edit those, not this page.\n"


# The command line ----------------------------------------------------------------------------------------------------


def cli_page() -> str:
    """The help of every command."""
    from weightwalk.cli import main
    from weightwalk.cli.app import COMMANDS

    note = NOTE.format(source="help of the commands")
    parts = ["# Command line", "", note, "## weightwalk", "", _help(main, "weightwalk")]
    context = click.Context(main, info_name="weightwalk", help_option_names=["-h", "--help"])
    for name in COMMANDS:
        command = main.get_command(context, name)
        assert command is not None
        parts += ["", f"## weightwalk {name}", "", _help(command, name, context)]
        if isinstance(command, click.Group):
            inside = click.Context(command, info_name=name, parent=context, help_option_names=["-h", "--help"])
            for one in command.list_commands(inside):
                found = command.get_command(inside, one)
                assert found is not None
                parts += ["", f"### weightwalk {name} {one}", "", _help(found, one, inside)]
    return "\n".join(parts) + "\n"


def _help(command: click.Command, name: str, parent: click.Context | None = None) -> str:
    # click remembers a command's help option from the first context that asks: ask for the one that main() has
    options: Any = {"terminal_width": WIDTH, "max_content_width": WIDTH, "help_option_names": ["-h", "--help"]}
    context = click.Context(command, info_name=name, parent=parent, **options)
    lines = (line.rstrip() for line in command.get_help(context).splitlines())
    return "```text\n" + "\n".join(lines).rstrip() + "\n```"


# Python --------------------------------------------------------------------------------------------------------------


def api_page() -> str:
    """The docstrings of the public names."""
    parts = ["# Python", "", NOTE.format(source="docstrings"), "```python", "import weightwalk as ww", "```"]
    for heading, names in API.items():
        parts += ["", f"## {heading}"]
        for name in names:
            module, _, attribute = name.partition(":")
            parts += ["", *_entry(getattr(importlib.import_module(module), attribute), module, attribute)]
    return re.sub(r"\n{3,}", "\n\n", "\n".join(parts)) + "\n"


def _entry(thing: Any, module: str, name: str) -> Iterator[str]:
    short = f"ww.{name}" if module == "weightwalk" else f"{module}.{name}" if inspect.isfunction(thing) else name
    yield f"### `{short}`"
    yield ""
    if inspect.isfunction(thing):
        yield from ("```python", _signature(thing, name), "```", "")
    yield from _docstring(thing)
    if inspect.isclass(thing) and not issubclass(thing, Exception):
        for member, what in _members(thing):
            yield ""
            shown = member if isinstance(what, property) else _signature(what, member, True)
            yield f"#### `{name}.{shown}`"
            yield ""
            yield from _docstring(what.fget if isinstance(what, property) else what)


def _members(cls: type) -> Iterator[tuple[str, Any]]:
    """The documented public methods and properties that a class defines itself."""
    for name, what in vars(cls).items():
        found = what
        if hasattr(what, "func") and not inspect.isfunction(what):  # a cached property
            found = property(what.func)
        if name.startswith("_") and name != "__getitem__":
            continue
        document = found.fget if isinstance(found, property) else found
        if (isinstance(found, property) or inspect.isfunction(found)) and document is not None and document.__doc__:
            yield name, found


def _signature(function: Any, name: str, method: bool = False) -> str:
    signature = inspect.signature(function)
    parameters = list(signature.parameters.values())
    signature = signature.replace(parameters=parameters[1:] if method else parameters)
    line = re.sub(r": '([^']*)'", r": \1", f"{name}{signature}")
    line = re.sub(r"-> '([^']*)'", r"-> \1", line)
    if method or len(line) <= WIDTH:
        return line
    inner = [re.sub(r": '([^']*)'", r": \1", str(p)) for p in parameters]
    out, starred = [], False
    for p, text in zip(parameters, inner, strict=True):
        if p.kind is p.KEYWORD_ONLY and not starred and not any(q.kind is q.VAR_POSITIONAL for q in parameters):
            out.append("    *,")
        starred = starred or p.kind is p.KEYWORD_ONLY
        out.append(f"    {text},")
    returns = line.rpartition(") -> ")[2] if ") -> " in line else ""
    return "\n".join([f"{name}(", *out, f") -> {returns}" if returns else ")"])


def _docstring(thing: Any) -> Iterator[str]:
    """A Google-style docstring as Markdown."""
    text = inspect.cleandoc(thing.__doc__ or "")
    for section in re.split(r"\n(?=(?:Args|Returns|Yields|Raises|Attributes|Example|Examples):\n)", text):
        head, _, rest = section.partition("\n")
        if re.fullmatch(r"(Args|Attributes|Raises):", head):
            yield from ("", f"**{'Arguments' if head == 'Args:' else head[:-1]}**", "")
            yield from _items(textwrap.dedent(rest), code=head != "Raises:")
        elif re.fullmatch(r"(Returns|Yields):", head):
            yield from ("", f"**{head[:-1]}**: " + _inline(" ".join(textwrap.dedent(rest).split())))
        elif re.fullmatch(r"Examples?:", head):
            yield from ("", "```python", textwrap.dedent(rest).strip("\n"), "```")
        else:
            yield from _prose(section)


def _items(text: str, code: bool) -> Iterator[str]:
    for item in re.split(r"\n(?=\S)", text.strip("\n")):
        name, _, what = item.partition(":")
        said = " ".join(what.split())
        yield f"- `{name.strip()}`: {_inline(said)}" if said else f"- {_inline(name.strip())}"


def _prose(text: str) -> Iterator[str]:
    """Paragraphs; what follows ``::`` and is indented is shown as it stands."""
    shown = False
    for block in re.split(r"\n\s*\n", text.strip("\n")):
        if shown and block.startswith("    "):
            yield from ("```text", textwrap.dedent(block), "```", "")
            continue
        shown = block.rstrip().endswith("::")
        plain = block.rstrip().removesuffix("::") + (":" if shown and not block.rstrip().endswith(" ::") else "")
        yield from (_inline(plain.strip()), "")


def _inline(text: str) -> str:
    text = re.sub(r":\w+:`~?([^`]+)`", r"``\1``", text)
    text = re.sub(r"``([^`]+)``", r"`\1`", text)
    return re.sub(r"(?<!`)(\*)(?=\w)", r"\\\1", text) if "*args" in text and "`" not in text else text


# The picture and the measurements ------------------------------------------------------------------------------------


def picture(name: str) -> str:
    """A picture of the README, drawn by the command that it names."""
    from weightwalk.cli import main

    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / name
        _quietly(main, [*PICTURES[name], "--figure", str(file)])
        return file.read_text(encoding="utf-8")


def _quietly(main: Any, words: list[str]) -> None:
    import contextlib
    import io

    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        try:
            main(words, prog_name="weightwalk")
        except SystemExit as done:
            if done.code:
                raise RuntimeError(f"weightwalk {' '.join(words)} ended with exit code {done.code}") from None


def readme() -> str:
    """The README with what was measured between its marks: recording beside the peers, and the sum of the coverage."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    benchmarks, coverage = ROOT / "docs" / "benchmarks.md", ROOT / "docs" / "coverage.md"
    if benchmarks.exists():
        text = _between(text, "benchmarks", f"\n{measured(benchmarks.read_text(encoding='utf-8'))}")
    if coverage.exists():
        text = _between(text, "coverage", covered(coverage.read_text(encoding="utf-8")))
    return text


def _between(text: str, mark: str, what: str) -> str:
    before, start, rest = text.partition(f"<!-- {mark}:start -->")
    _, stop, after = rest.partition(f"<!-- {mark}:end -->")
    if not (start and stop):
        raise ValueError(f"README.md has lost the marks <!-- {mark}:start --> and <!-- {mark}:end -->")
    return before + start + what + stop + after


def covered(page: str) -> str:
    """The sum below the table of docs/coverage.md."""
    found = re.search(r"^In all: (.*) Nearest to its bound", page, re.M)
    return f" {found[1]}" if found else ""


def measured(page: str) -> str:
    """One table of docs/benchmarks.md's tables of recording: a row per contender, a column per net, times bare."""
    columns: dict[str, dict[str, str]] = {}
    for section in re.split(r"^## ", page, flags=re.M)[1:]:
        title, _, body = section.partition("\n")
        if "× bare, CPU" in body and not title.endswith(": readings"):
            lines = [line.strip()[1:-1] for line in body.splitlines() if line.startswith("|")]
            rows = [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)] for line in lines]
            at = rows[0].index("× bare, CPU")
            columns[title] = {row[0]: row[at] for row in rows[2:]}
    if not columns:
        return ""
    names = dict.fromkeys(name for column in columns.values() for name in column)
    table = [["", *columns], ["---"] * (len(columns) + 1)]
    table += [[name, *(column.get(name, "") for column in columns.values())] for name in names]
    conditions = re.search(r"^- (.*\n- .*\n- .*)$", page, re.M)
    said = conditions[1].replace("\n- ", "; ") if conditions else ""
    lines = [
        "What recording costs: CPU time over that of a bare forward pass, all measured side by side in one run. The",
        "contenders do not hold the same things afterwards; [benchmarks](docs/benchmarks.md) says what each has.",
        "",
        *("| " + " | ".join(row) + " |" for row in table),
        "",
        f"{said}.",
    ]
    return "\n".join(lines) + "\n"


def everything() -> dict[Path, str]:
    """Every file that is made, and what it should hold. The pictures are drawn by :func:`picture`, on request."""
    return {REFERENCE / "cli.md": cli_page(), REFERENCE / "api.md": api_page(), ROOT / "README.md": readme()}


def stale() -> list[Path]:
    """Files that are not what the code would make of them."""
    made = everything().items()
    return [path for path, text in made if not path.exists() or path.read_text(encoding="utf-8") != text]


def main() -> int:
    """Write, or check."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--check", action="store_true", help="write nothing; tell which files are stale")
    if parser.parse_args().check:
        found = stale()
        for path in found:
            print(f"stale: {path.relative_to(ROOT)} (make docs writes it anew)")
        return 1 if found else 0
    for path, text in {**everything(), **{IMAGES / name: picture(name) for name in PICTURES}}.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        print(f"wrote {path.relative_to(ROOT)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
