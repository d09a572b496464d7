"""``weightwalk formula``: the exact function that a piecewise-linear net computes, with the proof that it is that."""

from __future__ import annotations

from typing import Any

import click

from weightwalk.cli import common
from weightwalk.errors import UsageError

EPILOG = """\b
Examples:
  weightwalk formula linear                        y = w x + b, read off the net
  weightwalk formula sqrt                          every kink of a net of one number, and the line between them
  weightwalk formula sqrt --exact                  the same in fractions, nothing rounded
  weightwalk formula sqrt --python > root.py       a function that needs nothing of weightwalk, or of torch
  weightwalk formula regions --figure plane.svg    every polygon of a net of two numbers
  weightwalk formula regions --summary             its range, mean, variance and steepest slope, exactly
  weightwalk formula regions --at 0.3,-0.2         around one input: y = A x + b, and how far it holds
  weightwalk formula regions --line -1,-1 1,1      along a line through many inputs
  weightwalk formula hello hello                   a text net: a table of embeddings, and each logit as an expression
  weightwalk formula sqrt --weight "fc2.weight[0, 1]" --box -1..1      the loss along one weight
  weightwalk formula ACASXU_1_1.nnet --plane rho,theta --decide min --figure advice.png
  weightwalk formula my_package.nets:gelu_net --surrogate 3 --box -1..1     a polynomial for any other net

\b
NET is a gallery name (weightwalk nets), package.module:object, a .pt2, .onnx or .nnet file, or a recorded .walk. A
formula is exact for nets of linear layers, convolutions, ReLU and the like (hardtanh, abs, max pooling, residual sums);
any other net is refused by name, and --surrogate fits a polynomial to it and says how far that may be believed.

\b
Exit codes: 0 done, 1 the formula failed a check of its certificate and is not exact, 2 the request cannot be served."""

GROUPS = {
    "Where": ("at", "line", "plane", "box", "weight", "data"),
    "What": (
        "output", "select", "decide", "exact", "summary", "legendre", "surrogate", "per_input", "sensitivity",
        "direction", "facets", "minimal", "budget",
    ),
    "How it is written": ("python", "latex", "as_json", "save", "figure", "color", "top", "certificate"),
}  # fmt: skip


DEGREE = click.IntRange(0, 100)


class Grouped(common.NumbersWelcome):
    """A command with so many options that its help needs headings."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The options under the headings of `GROUPS`, the others last."""
        options = [p for p in self.get_params(ctx) if isinstance(p, click.Option)]
        groups = {**{p: title for title, names in GROUPS.items() for p in names}}
        for title in (*GROUPS, "Other options"):
            records = [o.get_help_record(ctx) for o in options if groups.get(o.name or "", "Other options") == title]
            with formatter.section(title):
                formatter.write_dl([r for r in records if r is not None])


@click.command("formula", cls=Grouped, epilog=EPILOG)
@click.argument("source", metavar="NET|FILE.walk")
@click.argument("given", metavar="[INPUT]", required=False)
@click.option("--at", metavar="X", help="Around one input: numbers, @file.npy, or text. INPUT says the same.")
@click.option("--line", nargs=2, metavar="A B", help="Along the line from input A (t = 0) to input B (t = 1).")
@click.option(
    "--plane",
    metavar="P",
    help="On a plane: of two inputs (rho,theta or 0,1), the others as --at says; or 'O; U; V', an origin and two "
    "vectors.",
)
@click.option(
    "--box",
    metavar="B",
    help="From where to where: -1..1 for every coordinate, or -1..1,0..10 one each; all for no bounds. A "
    ".nnet file brings its own.",
)
@click.option(
    "--weight",
    metavar="W",
    multiple=True,
    help="The loss along this weight, such as fc2.weight[0,1]; twice, for two of one layer. --box is of their values.",
)
@click.option(
    "--data",
    metavar="FILE",
    help="Inputs and targets (.csv, .npy, or .npz with x and y): drawn, scored against, and what a loss is of. Gallery "
    "nets have their own.",
)
@click.option("--output", metavar="ADDRESS", help="The value to be expressed, such as fc1; else what the net returns.")
@click.option("--select", metavar="N,N", help="Only these outputs, counted from 0.")
@click.option("--decide", type=click.Choice(["min", "max"]), metavar="min|max", help="Draw which output wins where.")
@click.option("--exact", is_flag=True, help="In fractions too: weights are binary fractions, so nothing is rounded.")
@click.option("--summary", is_flag=True, help="Range, mean, variance, steepest slope and sensitivities over the box.")
@click.option("--legendre", type=DEGREE, metavar="K", help="The best polynomial of degree K, from the exact pieces.")
@click.option(
    "--surrogate", type=DEGREE, metavar="K", help="Of any net: the polynomial of degree K over --box, and its errors."
)
@click.option("--per-input", is_flag=True, help="With a polynomial: degree K in each input, not in all.")
@click.option("--sensitivity", is_flag=True, help="Of any net: which inputs matter over --box, beside random data.")
@click.option("--direction", metavar="D", help="With --at: how far to the first kink along D.")
@click.option("--facets", is_flag=True, help="With --at: which units bound the region, by shooting rays.")
@click.option("--minimal", is_flag=True, help="With --at: all of them, by linear programs; and the greatest ball.")
@click.option("--budget", type=click.FloatRange(0, min_open=True), metavar="S", help="With --at: seconds for that.")
@click.option("--python", is_flag=True, help="As Python code.")
@click.option("--latex", is_flag=True, help="As LaTeX.")
@common.json_option
@click.option("--save", metavar="FILE", help="Write it to a file: .py, .tex or .json.")
@click.option("--figure", metavar="FILE", help="Draw it: .svg, .png or .pdf.")
@click.option(
    "--color",
    type=click.Choice(["value", "slope", "decision"]),
    metavar="COLOR",
    help="Of a plane's polygons: value, slope or decision.",
)
@click.option("--top", type=click.IntRange(1), metavar="N", default=12, show_default=True, help="Rows of a long table.")
@click.option("--certificate", is_flag=True, help="Tell every check that the formula was held to.")
@click.option(
    "--seed", type=click.IntRange(0), metavar="N", help="Of everything random: a net trained now, and fresh points."
)
@common.fresh_option
@click.option(
    "--max-regions", type=click.IntRange(1), metavar="N", default=2_000_000, show_default=True, help="Refuse more."
)
@click.option("--memory", metavar="SIZE", default="2G", show_default=True, help="What it may take: 2G, 512M.")
@click.option(
    "--tolerance",
    type=click.FloatRange(0, 1),
    metavar="X",
    help="A unit nearer to its kink than this fraction of its terms is at it; 1e-12 unless said.",
)
def command(source: str, given: str | None, **options: Any) -> int:
    """Read off the exact formula of a piecewise-linear NET: every slope, every kink, every region, with a certificate.

    Without an option: the one map of a net without kinks, every piece of a net of one number, every polygon of a net
    of two numbers. A larger net is asked at one input (--at), along a line (--line) or on a plane (--plane).
    """
    from weightwalk.cli.formula_jobs import find, read
    from weightwalk.cli.formula_tell import tell

    request = read(source, given, options)
    common.needs_torch("to find a formula")
    _needs_scipy()
    return tell(request, find(request))


def _needs_scipy() -> None:
    """Formulas need SciPy, which the base install does without.

    Raises:
        UsageError: It is not there.
    """
    from importlib.util import find_spec

    if find_spec("scipy") is None:
        raise UsageError('Formulas need SciPy, which is not installed: pip install "weightwalk[formulas]".')
