"""``weightwalk census``: train from thousands of seeds at once and count what became of them."""

from __future__ import annotations

from typing import Any

import click

from weightwalk.cli import common
from weightwalk.cli.tasks import LOSSES, OPTIMIZERS, task_options

EPILOG = """\b
Examples:
  weightwalk census hello6                                        how often six pairs are learned
  weightwalk census hello6 --vary width=2,4,8,16                  does a wider net help?
  weightwalk census hello6 --vary optimizer+lr=sgd:0.1,adam:0.01
  weightwalk census sqrt --set width=2 --set depth=2 --seeds 300
  weightwalk census xor --vary activation=relu,tanh --vary width=2,3,4 --epochs 1000 --seeds 200
  weightwalk census hello --locate first_loss=1.3034              where a printed number lies among the seeds
  weightwalk census hello6 --rule "solved: right == all" --rule "stuck: gradient < 0.01 and dead_end > 0"
  weightwalk census hello6 --measures                             what rules can be made of
  weightwalk census hello6 --seeds 100 --list solved              the seeds of an outcome
  weightwalk census hello6 --walk-seed 137 --save seed137.walk    train that seed alone, walk it, verify it
  weightwalk census hello6 --figure shares.svg --table shares.csv --frame seeds.csv

\b
TASK is linear, sqrt, hello, hello6, xor, nearest or regions; package.module:object for a task, or with --data for a
net, of your own. What can be varied: the task's shape (width, depth, activation, target ...), optimizer, lr, epochs,
batch (a number or all), shuffle, loss, momentum, weight_decay. A rule compares measures with numbers or with each
other: < <= > >= == != and or not ( ); the first rule that holds wins, and the first rule is what counts as success.

\b
Exit codes: 0 done, 2 the request cannot be served."""


@click.command("census", epilog=EPILOG)
@click.argument("task")
@click.option("--seeds", metavar="N", default="1000", show_default=True, help="How many; or 100-199; or 3,7,12.")
@click.option("--seed", type=click.IntRange(0), metavar="N", default=0, show_default=True, help="The first of N seeds.")
@click.option("--vary", metavar="NAME=V,V", multiple=True, help="Every value of a setting; again for a grid.")
@task_options
@click.option("--optimizer", type=click.Choice(OPTIMIZERS), metavar="NAME", help=f"{', '.join(OPTIMIZERS)}.")
@click.option("--lr", metavar="X", help="Learning rate.")
@click.option("--epochs", metavar="N", help="Passes over the data.")
@click.option("--batch", metavar="N", help="Rows per update; all for all at once.")
@click.option("--shuffle/--no-shuffle", default=None, help="New order of rows each epoch; as a rule with --batch.")
@click.option("--rule", "rules", metavar='"NAME: COND"', multiple=True, help="An outcome; again for more.")
@click.option("--measure", "measures", metavar="NAME", multiple=True, help="Tell this of all seeds, too.")
@click.option("--locate", metavar="NAME=X", multiple=True, help="Where a value lies among the seeds.")
@click.option("--measures", "list_measures", is_flag=True, help="List what can be measured, and stop.")
@click.option("--confidence", type=float, metavar="P", default=95, show_default=True, help="Of intervals, in percent.")
@click.option("--list", "outcome", metavar="OUTCOME", help="List the seeds of an outcome.")
@click.option("--points", type=click.IntRange(1), metavar="N", help="Minimum or saddle? Judge the first N failures.")
@click.option("--walk-seed", type=click.IntRange(0), metavar="N", help="Train this seed alone, and walk it.")
@click.option("--input", "given", metavar="X", help="With --walk-seed: on this; else on the first row it gets wrong.")
@click.option("--save", metavar="FILE.walk", help="With --walk-seed: keep the walk.")
@click.option("--figure", metavar="FILE", help="Draw the shares: .svg, .png or .pdf.")
@click.option("--frame", metavar="FILE.csv", help="A row per seed: settings, outcome, measures.")
@click.option("--table", metavar="FILE.csv", help="A row per combination: shares and intervals.")
@click.option("--memory", metavar="SIZE", help="What training may take: 512M, 2G.")
@click.option(
    "--engine", type=click.Choice(["local", "ray"]), metavar="E", default="local", show_default=True,
    help="local, or ray for a cluster (weightwalk[cluster]).",
)  # fmt: skip
@common.json_option
def command(task: str, **options: Any) -> int:
    """Train TASK from many seeds under every combination of settings, and count the outcomes.

    Shares come with Wilson intervals, differences with Newcombe's. Seed k starts from the same weights as `weightwalk
    train TASK --seed k`, so that any seed can be pulled out and walked.
    """
    from weightwalk.cli.census_jobs import run

    assert set(LOSSES)
    return run(task, options)
