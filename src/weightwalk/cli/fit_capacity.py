"""``weightwalk fit capacity``: too small, right and too large, told by numbers."""

from __future__ import annotations

from typing import Any

import click

from weightwalk.cli import fit_common

EPILOG = """\b
Examples:
  weightwalk fit capacity
  weightwalk fit capacity sin --rows 40 --noise 0.3
  weightwalk fit capacity --functions                      also x², ln x, exp x, sin x, tan x and |x|
  weightwalk fit capacity --figure capacity.png

\b
Three questions. On noisy rows: does the held-out error fall and then rise again with the size, as it must for "neither
too small nor too large" to mean anything? Without noise: how small an error can a net of a width have, and how small a
one does training find? And without activations: what is left?"""


@click.command("capacity", epilog=EPILOG)
@click.argument("target", default="sqrt")
@click.option("--widths", metavar="N,N", default="0,1,2,4,16,64", show_default=True, help="ReLU units; 0 is the line.")
@click.option("--degrees", metavar="N,N", default="0,1,2,3,4,6,8,10,12", show_default=True, help="Of polynomials.")
@click.option("--rows", type=click.IntRange(3, 2001), metavar="N", default=25, show_default=True, help="Noisy rows.")
@click.option("--noise", type=click.FloatRange(0, 1e6), metavar="X", help="Its deviation; else a quarter of y's own.")
@click.option("--epochs", type=click.IntRange(1), metavar="N", default=1000, show_default=True, help="Of each net.")
@click.option("--functions", is_flag=True, help="Learn the other functions, too, with nets of 8 units.")
@fit_common.shared(10, "Draws of rows and noise, with nets of each width")
def command(target: str, **options: Any) -> int:
    """Sweep the size of polynomials and nets on rows of TARGET: sqrt, square, log, exp, sin, tan or abs."""
    fit_common.ready(options)
    from weightwalk.learning.fitting.capacity import fit_capacity
    from weightwalk.learning.fitting.tables import numbers

    with fit_common.running("sizes") as progress:
        found = fit_capacity(
            target,
            widths=numbers(options["widths"], "--widths", 0, 4096),
            degrees=numbers(options["degrees"], "--degrees", 0, 100),
            rows=options["rows"],
            noise=options["noise"],
            seeds=fit_common.seeds_of(options),
            epochs=options["epochs"],
            functions=options["functions"],
            progress=progress,
        )
    return fit_common.deliver(found, options)
