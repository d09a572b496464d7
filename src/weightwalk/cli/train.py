"""``weightwalk train``: a training that can be trusted, and what came of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from weightwalk.cli import common, outputs
from weightwalk.cli.tasks import OPTIMIZERS, task_options
from weightwalk.errors import UsageError

EPILOG = """\b
Examples:
  weightwalk train hello                        four pairs of words, by the task's own recipe
  weightwalk train hello6 --set width=4 --seed 3 --figure curve.png
  weightwalk train sqrt --batch 16 --optimizer adam --lr 0.01 --schedule cosine --epochs 100
  weightwalk train nearest --held-out 0.2 --patience 20
  weightwalk train sqrt --lr 0.02,0.2,2 --epochs 100 --figure rates.png      three rates in one picture
  weightwalk train xor --run xor-run            checkpoints, so that nothing is lost
  weightwalk train --resume xor-run             goes on where it was killed, to the same bits
  weightwalk train mynets:make --data table.csv --save weights.safetensors

\b
NET is a task (linear, sqrt, hello, hello6, xor, nearest, regions) or package.module:task; with --data FILE it is
package.module:object, a gallery net or a checkpoint directory. A --set that is not the task's is the optimizer's,
such as --set momentum=0.95. Schedules: constant; step:every=100,gamma=0.1;
cosine:warmup=0.1,floor=0; linear:warmup=0.1,floor=0.

\b
Exit codes: 0 done, 1 a number was not finite or the end could not be saved, 2 the request cannot be served,
130 interrupted (with --run, a checkpoint was written first)."""

GROUPS = {
    "What": ("data", "target_columns", "held_out", "settings"),
    "How": ("loss", "optimizer", "lr", "epochs", "batch", "shuffle", "schedule", "clip", "patience", "seed"),
    "Nothing lost": ("run", "resume", "every", "keep", "snapshots", "on_nonfinite", "rollbacks"),
    "What comes out": ("save", "figure", "frame", "as_json"),
}


class Grouped(click.Command):
    """A command whose options stand under headings."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The options under the headings of `GROUPS`, the others last."""
        options = [p for p in self.get_params(ctx) if isinstance(p, click.Option)]
        heading = {name: title for title, names in GROUPS.items() for name in names}
        for title in (*GROUPS, "Other options"):
            records = [o.get_help_record(ctx) for o in options if heading.get(o.name or "", "Other options") == title]
            with formatter.section(title):
                formatter.write_dl([r for r in records if r is not None])


@click.command("train", cls=Grouped, epilog=EPILOG)
@click.argument("net", required=False)
@task_options
@click.option(
    "--target-columns", metavar="A,B", help="Columns of a .csv that are targets; the last where none is named."
)
@click.option("--held-out", type=float, metavar="X", help="Hold out this share of the examples, such as 0.2.")
@click.option("--optimizer", type=click.Choice(OPTIMIZERS), metavar="NAME", help=f"{', '.join(OPTIMIZERS)}.")
@click.option("--lr", metavar="X[,X]", help="Learning rate; several train once with each.")
@click.option("--epochs", type=click.IntRange(0), metavar="N", help="Passes over the data.")
@click.option("--batch", type=click.IntRange(1), metavar="N", help="Examples per update; all unless the task says.")
@click.option("--shuffle/--no-shuffle", default=None, help="A new order each epoch; so it is with mini-batches.")
@click.option("--schedule", metavar="NAME[:..]", help="What becomes of the rate: constant, step, cosine, linear.")
@click.option("--clip", type=float, metavar="X", help="Greatest norm of the gradient.")
@click.option("--patience", type=click.IntRange(1), metavar="N", help="Stop after N epochs without improvement.")
@click.option("--seed", type=int, metavar="N", help="Of weights, order and random layers; 0 unless said.")
@click.option("--run", metavar="DIR", help="Write checkpoints to this folder.")
@click.option("--resume", metavar="DIR", help="Go on with the run in this folder; NET and settings are the run's.")
@click.option("--every", metavar="N", help="When: 5 (epochs), '200 updates', '30 s'; every 10 s unless said.")
@click.option(
    "--keep", type=click.IntRange(1), metavar="N", default=2, show_default=True, help="Newest checkpoints to keep."
)
@click.option(
    "--snapshots", type=click.IntRange(1), metavar="N", help="Keep the weights of every N-th epoch in the run's folder."
)
@click.option(
    "--on-nonfinite",
    type=click.Choice(["stop", "rollback"]),
    metavar="stop|rollback",
    help="A number that is not finite: stop, or go back and halve the rate.",
)
@click.option("--rollbacks", type=click.IntRange(0), metavar="N", help="How often at most; 5 unless said.")
@click.option("--save", metavar="FILE", help="Write the trained weights: .safetensors.")
@click.option("--figure", metavar="FILE", help="Draw the loss curve: .svg, .png or .pdf.")
@click.option("--frame", metavar="FILE.csv", help="Write the loss of each epoch as a table.")
@common.json_option
def command(net: str | None, **options: Any) -> int:
    """Train NET, and say what came of it: the loss curve, its verdict, what the net answers to each example.

    The same command gives the same weights, bit for bit, also when it was killed on the way and resumed.
    """
    paths = outputs.targets(options, save=(".safetensors",))
    common.needs_torch("to train a net")
    from weightwalk.cli.train_jobs import several, single

    rates = _rates(options.pop("lr"))
    if len(rates) > 1:
        facts, code = several(net, rates, options)
    else:
        facts, code = single(net, rates[0] if rates else None, options)
    if facts is not None:
        _tell(facts, options["as_json"])
        _write(facts, paths)
    return code


def _rates(text: str | None) -> list[float]:
    if text is None:
        return []
    try:
        return [float(part) for part in text.split(",")]
    except ValueError:
        raise UsageError(f"--lr {text!r} is not a number such as 0.1, or several such as 0.02,0.2,2.") from None


def _tell(facts: Any, as_json: bool) -> None:
    if as_json:
        common.emit(facts)
        return
    from weightwalk.show.terminal import show

    show(facts)


def _write(facts: Any, paths: dict[str, Path]) -> None:
    if "save" in paths:
        from weightwalk.cli.train_jobs import save_weights

        save_weights(facts.history.module, paths["save"])
        common.note(f"saved {paths['save']}")
    if "frame" in paths:
        outputs.write_table(paths["frame"], facts.frame())
    if "figure" in paths:
        from weightwalk.show.training_figures import draw

        outputs.write_figure(paths["figure"], draw, facts)
