"""``weightwalk fit``: what fits and what generalises, one experiment per subcommand."""

from __future__ import annotations

import click

from weightwalk.cli.groups import Lazily

EXPERIMENTS = {
    "points": "polynomials and nets through six points (or yours): error at the points, and at points left out",
    "labels": "labels drawn by lot, memorised: training loss 0, held-out accuracy that of guessing",
    "capacity": "error by width and degree on noisy data: too small, right, too large; what width can do, and does",
    "data": "held-out loss by number of examples: its power law, and where that ends",
    "beyond": "a net of the square root far outside its examples, beside Newton's iteration",
    "epochs": "a small text net trained too long; n-grams and nets in held-out bits per character",
    "regions": "which of three points is nearest: accuracy by width, at the border, and when unsure nets may abstain",
}

EPILOG = """\b
Examples:
  weightwalk fit points
  weightwalk fit labels --figure labels.svg
  weightwalk fit beyond --json

\b
Each is run anew with the seeds that it prints, and takes --json, --frame FILE.csv and --figure FILE.
Exit codes: 0 done, 2 the request cannot be served."""


class Experiments(Lazily):
    """The experiments, each a subcommand."""

    about, rooms, what = EXPERIMENTS, "weightwalk.cli.fit_{}", "experiment"


@click.command("fit", cls=Experiments, epilog=EPILOG)
def command() -> None:
    """Fitting and generalising, computed: memorised or learned, too small or too large, inside or outside the data."""
