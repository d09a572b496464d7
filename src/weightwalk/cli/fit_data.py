"""``weightwalk fit data``: held-out loss by the number of examples."""

from __future__ import annotations

from typing import Any

import click

from weightwalk.cli import fit_common

EPILOG = """\b
Examples:
  weightwalk fit data
  weightwalk fit data --widths 16 --noise 0 --sizes 16,64,256,1024
  weightwalk fit data --figure data.png

\b
More data, lower held-out loss: as a power law, until something else sets the limit, such as the size of the net. The
training loss rises meanwhile: few examples are soon known by heart."""


@click.command("data", epilog=EPILOG)
@click.option(
    "--sizes",
    metavar="N,N",
    default="8,16,32,64,128,256,512,1024,2048",
    show_default=True,
    help="Of the training data.",
)
@click.option("--widths", metavar="N,N", default="8,64", show_default=True, help="Units of each of two layers.")
@click.option("--noise", type=click.FloatRange(0, 1e6), metavar="X", default=0.1, show_default=True, help="Deviation.")
@click.option("--updates", type=click.IntRange(1), metavar="N", default=600, show_default=True, help="Of each net.")
@fit_common.shared(5, "Nets for each size and width")
def command(**options: Any) -> int:
    """Train nets on more and more examples of sin(4a) cos(4b): the power law of the held-out loss, and its end."""
    fit_common.ready(options)
    from weightwalk.learning.fitting.data import fit_data
    from weightwalk.learning.fitting.tables import numbers

    with fit_common.running("learning curves") as progress:
        found = fit_data(
            sizes=numbers(options["sizes"], "--sizes", 1, 1_000_000),
            widths=numbers(options["widths"], "--widths", 1, 4096),
            noise=options["noise"],
            seeds=fit_common.seeds_of(options),
            updates=options["updates"],
            progress=progress,
        )
    return fit_common.deliver(found, options)
