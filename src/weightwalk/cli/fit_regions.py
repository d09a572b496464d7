"""``weightwalk fit regions``: which of three points is nearest, by nets of growing size."""

from __future__ import annotations

from typing import Any

import click

from weightwalk.cli import fit_common

EPILOG = """\b
Examples:
  weightwalk fit regions
  weightwalk fit regions --widths 2,16 --rows 100
  weightwalk fit regions --figure regions.png

\b
The three regions have straight borders, which are known exactly: on each point of a grid of 200 x 200 a net is right
or wrong. The widest nets are asked where they are wrong, how sure they are there, and what is left if they abstain."""


@click.command("regions", epilog=EPILOG)
@click.option("--widths", metavar="N,N", default="1,2,4,8,32", show_default=True, help="Units of the hidden layer.")
@click.option("--rows", type=click.IntRange(1, 20_000), metavar="N", default=300, show_default=True, help="Examples.")
@click.option("--epochs", type=click.IntRange(1), metavar="N", help="Of each net; the task's own unless said.")
@fit_common.shared(10, "Nets of each width")
def command(**options: Any) -> int:
    """Train nets to say which of three points is nearest: accuracy by width, at the border, and with abstaining."""
    fit_common.ready(options)
    from weightwalk.learning.fitting.regions import fit_regions
    from weightwalk.learning.fitting.tables import numbers

    with fit_common.running("regions") as progress:
        found = fit_regions(
            widths=numbers(options["widths"], "--widths", 1, 4096),
            rows=options["rows"],
            seeds=fit_common.seeds_of(options),
            epochs=options["epochs"],
            progress=progress,
        )
    return fit_common.deliver(found, options)
