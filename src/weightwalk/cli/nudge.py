"""``weightwalk nudge``: one training step, walked."""

from __future__ import annotations

from typing import Any

import click

from weightwalk.cli import common, outputs
from weightwalk.cli.tasks import OPTIMIZERS, task_options

EPILOG = """\b
Examples:
  weightwalk nudge hello                       a fresh net, its four pairs, one step
  weightwalk nudge sqrt --optimizer adam --steps 5 --batch 16
  weightwalk nudge hello --compare all         one gradient, five optimizers
  weightwalk nudge xor --check-gradients       every gradient against central differences
  weightwalk nudge hello --account "fc1.weight[0, 0]"
  weightwalk nudge gpt "The capital of France is Paris"
  weightwalk nudge linear 2.0 --target 8 --figure blame.svg
  weightwalk nudge sqrt --optimizer momentum --set momentum=0.95 --save step.walk

\b
NET alone is a task (linear, sqrt, hello, hello6, xor, nearest, regions), with fresh weights from --seed. With an
INPUT it is any net (weightwalk nets), with the weights that it has: text is learned by predicting each next token,
numbers by a --target. With --data FILE it is any net with examples of your own.
Exit codes: 0 done, 1 a check failed, 2 the request cannot be served."""


@click.command("nudge", cls=common.NumbersWelcome, epilog=EPILOG)
@click.argument("net")
@click.argument("given", metavar="[INPUT]", required=False)
@click.option("--target", metavar="T", help="With INPUT: what the net should say, numbers or text.")
@click.option("--optimizer", type=click.Choice(OPTIMIZERS), metavar="NAME", help=f"{', '.join(OPTIMIZERS)}.")
@click.option("--lr", type=float, metavar="X", help="Learning rate; the task's, or 0.1.")
@click.option("--batch", type=click.IntRange(1), metavar="N", help="Examples per update; all unless the task says.")
@click.option("--rows", metavar="N,N", help="These very examples, counted from 0.")
@click.option(
    "--steps", type=click.IntRange(1), metavar="N", default=1, show_default=True, help="Walk the N-th update."
)
@click.option(
    "--top", type=click.IntRange(1), metavar="N", default=12, show_default=True, help="Weights told of one by one."
)
@click.option(
    "--worked", type=click.IntRange(0), metavar="N", default=2, show_default=True, help="Of them, worked line by line."
)
@click.option("--check-gradients", is_flag=True, help="Hold gradients to central differences; exit code 1 if wrong.")
@click.option("--compare", metavar="NAMES", help="Give the same gradients to other optimizers: adam,sgd or all.")
@click.option("--account", metavar="WEIGHT", multiple=True, help="The paths that make up this weight's gradient.")
@click.option(
    "--cut", metavar="CUT", default="outputs", show_default=True, help="Where such an account stops (see account)."
)
@task_options
@click.option("--no-verify", is_flag=True, help="Do not verify the walk.")
@click.option("--save", metavar="FILE.walk", help="Write the walk to a file.")
@click.option("--figure", metavar="FILE", help="Draw the blame: .svg, .png or .pdf.")
@click.option("--frame", metavar="FILE.csv", help="Write the weights told of as a table.")
@common.fresh_option
@click.option("--seed", type=int, metavar="N", default=0, show_default=True, help="Of everything random.")
@common.json_option
def command(net: str, given: str | None, **options: Any) -> int:
    """Walk one training step of NET: the loss, the blame of every weight, the nudge, and whether it helped."""
    targets = outputs.targets(options, save=(".walk",))
    common.needs_torch("to take a training step")
    from weightwalk.cli.nudge_jobs import step_of

    nudge = step_of(net, given, options)
    if options["as_json"]:
        common.emit(nudge)
    else:
        from weightwalk.show.nudges import nudge_lines
        from weightwalk.show.terminal import console, put

        target = console()
        put(nudge_lines(nudge, target.width, options["worked"]), target)
    _write(nudge, targets)
    return 0 if nudge.ok else 1


def _write(nudge: Any, targets: dict[str, Any]) -> None:
    if "save" in targets:
        nudge.walk.save(targets["save"])
        common.note(f"saved {targets['save']}")
    if "frame" in targets:
        outputs.write_table(targets["frame"], nudge.frame())
    if "figure" in targets:
        from weightwalk.learning.nudges.pictures import picture
        from weightwalk.show.nudges_figures import draw

        outputs.write_figure(targets["figure"], draw, picture(nudge))
