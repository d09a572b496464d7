"""``weightwalk fit points``: curves through a few points, and what they would have said of a point left out."""

from __future__ import annotations

import re
from typing import Any

import click

from weightwalk.cli import fit_common
from weightwalk.errors import UsageError

EPILOG = """\b
Examples:
  weightwalk fit points                                    six points of a web page
  weightwalk fit points --degrees 1,4,5 --widths none      polynomials alone, at once
  weightwalk fit points --points "0,0; 1,1; 2,4; 3,9; 4,16"
  weightwalk fit points --figure points.png --frame points.csv

\b
The error at the points says how well a curve remembers; the leave-one-out error, how well it would have foreseen each
point from the others. A curve through every point may be the best by the first and the worst by the second."""


@click.command("points", epilog=EPILOG)
@click.option("--points", metavar="P", help='Pairs "x,y; x,y; ..." instead of the six.')
@click.option("--data", metavar="FILE", help="Points from a file of two columns (.csv, .npy), or .npz with x and y.")
@click.option("--degrees", metavar="N,N-N", help="Of the polynomials: 0-5, as far as the points allow; or none.")
@click.option(
    "--widths", metavar="N,N", default="1,4,16,64", show_default=True, help="ReLU units of the nets; or none."
)
@click.option("--epochs", type=click.IntRange(1), metavar="N", default=1500, show_default=True, help="Of each net.")
@fit_common.shared(5, "Nets of each width")
def command(**options: Any) -> int:
    """Fit polynomials and nets to a few points: the error at the points beside the error at a point left out."""
    points = _points(options["points"], options["data"])
    fit_common.ready(options)
    from weightwalk.learning.fitting.points import SIX, fit_points
    from weightwalk.learning.fitting.tables import numbers

    degrees, widths = options["degrees"], options["widths"]
    with fit_common.running("fitting") as progress:
        found = fit_points(
            SIX if points is None else points,
            degrees=None if degrees is None else () if degrees == "none" else numbers(degrees, "--degrees", 0, 100),
            widths=() if widths == "none" else numbers(widths, "--widths", 1, 4096),
            seeds=fit_common.seeds_of(options),
            epochs=options["epochs"],
            progress=progress,
        )
    return fit_common.deliver(found, options)


def _points(text: str | None, path: str | None) -> Any:
    if text is not None and path is not None:
        raise UsageError("--points and --data both name the points; give one of them.")
    if path is not None:
        return fit_common.xy_file(path)
    if text is None:
        return None
    pairs = [re.split(r"[,\s]+", pair.strip()) for pair in text.split(";") if pair.strip()]
    try:
        return [(float(a), float(b)) for a, b in pairs]
    except ValueError:
        raise UsageError(f'--points takes pairs of numbers, such as "0,1; 1,3; 2,2"; received {text!r}.') from None
