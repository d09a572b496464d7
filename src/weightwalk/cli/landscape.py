"""``weightwalk landscape``: the loss as a function of the weights, and what a picture of it leaves out."""

from __future__ import annotations

from typing import Any

import click

from weightwalk.cli import common
from weightwalk.cli.formula import Grouped
from weightwalk.cli.tasks import OPTIMIZERS, task_options

EPILOG = """\b
Examples:
  weightwalk landscape neuron                             one neuron, two weights: one sample beside all, exactly
  weightwalk landscape neuron --optimizers --figure neuron.png    eight ways to train it, on the same axes
  weightwalk landscape neuron --hidden sqrt               a neuron inside a net: two of its hidden inputs
  weightwalk landscape bowl --rates 0.9,1.1               gradient descent below and above 2/λmax
  weightwalk landscape sqrt                               three pairs of random directions around the trained net
  weightwalk landscape sqrt --weights "fc1.weight[0, 0]" "fc2.weight[0, 0]"     two of its weights
  weightwalk landscape sqrt --trajectory --figure path.png        the training, true loss beside drawn loss
  weightwalk landscape regions --random --path            the real path, and a ball rolling in the picture
  weightwalk landscape sqrt --optimizers                  the same start, other optimizers, on one plane
  weightwalk landscape sqrt --rates 0.5,0.9,1.1,2         the net itself, below and above 2/λmax
  weightwalk landscape regions --between 0 1              the straight line between two seeds
  weightwalk landscape sqrt --seeds 0 --surface3d --figure hill.png       as a surface in three dimensions
  weightwalk landscape my_package.nets:net --data mine.csv --frame losses.csv

\b
NET is a task (linear, sqrt, hello, hello6, xor, nearest, regions), package.module:object, or with --data any net that
weightwalk knows; `neuron` is one linear neuron, `bowl` is 0.5 x² + 0.3 x y + y². A task is trained first, from --seed.
The centre of every grid is the net itself. It is never moved.

\b
Exit codes: 0 done, 2 the request cannot be served."""

GROUPS = {
    "Which picture": ("random", "weights", "trajectory", "optimizers", "rates", "between", "third", "hidden"),
    "Of what": ("data", "loss", "settings", "sample", "seed", "epochs", "optimizer", "lr", "bias"),
    "How": (
        "seeds", "normalise", "path", "checkpoints", "grid_", "span", "directions", "hessian", "memory",
    ),
    "How it is written": ("as_json", "figure", "surface3d", "frame", "top"),
}  # fmt: skip


class Landscape(Grouped):
    """The command with its own headings."""

    groups = GROUPS

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The options under the headings of `GROUPS`, the others last."""
        options = [p for p in self.get_params(ctx) if isinstance(p, click.Option)]
        titles = {p: heading for heading, names in GROUPS.items() for p in names}
        for heading in (*GROUPS, "Other options"):
            mine = [o for o in options if titles.get(o.name or "", "Other options") == heading]
            with formatter.section(heading):
                formatter.write_dl([r for r in (o.get_help_record(ctx) for o in mine) if r is not None])


@click.command("landscape", cls=Landscape, epilog=EPILOG)
@click.argument("net", metavar="NET|neuron|bowl")
@click.option("--random", is_flag=True, help="Along two random directions (Li et al. 2018); so without any other kind.")
@click.option("--weights", metavar="A B", nargs=2, help="Over two weights, such as fc1.weight[0,1] and fc2.bias[0].")
@click.option("--trajectory", is_flag=True, help="On the plane of the training's two principal components.")
@click.option("--optimizers", is_flag=True, help="Train it in several ways from the same start, on one plane.")
@click.option("--rates", metavar="M,M", help="Gradient descent at these multiples of 2/λmax.")
@click.option("--between", metavar="A B", nargs=2, help="Along the line between two seeds, or two .safetensors files.")
@click.option("--third", metavar="C", help="With --between: the plane through three.")
@click.option("--hidden", metavar="NET", help="Of `neuron`: the last neuron of this net, over two of its inputs.")
@task_options
@click.option("--sample", type=click.IntRange(0), metavar="ROW", help="The loss of this one example, not of all.")
@click.option(
    "--seed", type=click.IntRange(0), metavar="N", default=0, show_default=True, help="Of the training; recorded."
)
@click.option("--epochs", type=click.IntRange(0), metavar="N", help="Of the training; else the task's.")
@click.option("--optimizer", type=click.Choice(OPTIMIZERS), metavar="NAME", help=f"{', '.join(OPTIMIZERS)}.")
@click.option("--lr", type=float, metavar="X", help="Learning rate; else the task's.")
@click.option("--bias", type=float, metavar="X", help="Of `neuron`: held at this; 0.5 unless said.")
@click.option("--seeds", metavar="N,N", help="Of the random directions: a picture for each; 0,1,2 unless said.")
@click.option(
    "--normalise",
    type=click.Choice(["filter", "layer", "none"]),
    default="filter",
    metavar="HOW",
    help="Length of random directions: filter (as each unit's weights), layer, none.",
)
@click.option(
    "--path", is_flag=True, help="Draw the training's real path on top, and a ball that rolls in the picture."
)
@click.option("--checkpoints", type=click.IntRange(3, 1000), metavar="N", default=61, show_default=True,
              help="Of a path, about so many.")  # fmt: skip
@click.option("--grid", "grid_", type=int, metavar="N", default=41, show_default=True, help="Places each way; odd.")
@click.option("--span", type=float, metavar="X", help="How far to go each way; 1 direction, or what a path needs.")
@click.option("--directions", type=click.IntRange(0), metavar="N", default=2000, show_default=True,
              help="Random directions whose curvature is counted.")  # fmt: skip
@click.option("--hessian/--no-hessian", default=True, help="Leave the Hessian's eigenvalues out, to be faster.")
@click.option("--memory", metavar="SIZE", default="500MB", show_default=True, help="What the evaluation may take.")
@common.json_option
@click.option("--figure", metavar="FILE", help="Draw it: .svg, .png or .pdf.")
@click.option("--surface3d", is_flag=True, help="With --figure: as a surface in three dimensions.")
@click.option("--frame", metavar="FILE", help="The table of losses as .csv.")
@click.option("--top", type=click.IntRange(1), metavar="N", default=12, show_default=True, help="Rows of a long table.")
def command(net: str, **options: Any) -> int:
    """Draw the loss of NET as a function of its weights, and say what the drawing leaves out.

    A net has as many directions as weights, and a picture has two. So each picture tells the share it shows, what it
    holds fixed, the loss at its centre (the net's own), the Hessian's eigenvalues, and how many directions bend down.
    """
    from weightwalk.cli.landscape_jobs import made
    from weightwalk.cli.landscape_request import read
    from weightwalk.cli.landscape_tell import tell

    request = read(net, options)
    common.needs_torch("to evaluate a net")
    return tell(request, made(request))
