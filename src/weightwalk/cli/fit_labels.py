"""``weightwalk fit labels``: labels drawn by lot, memorised; beside labels that a rule decides."""

from __future__ import annotations

from typing import Any

import click

from weightwalk.cli import fit_common

EPILOG = """\b
Examples:
  weightwalk fit labels
  weightwalk fit labels --widths 4,64 --rows 50 --seeds 5
  weightwalk fit labels --figure labels.png

\b
A net that has memorised labels drawn by lot has a training loss near 0 and tells nothing about any other row. The same
nets with labels that follow a rule reach the same training loss; only rows never seen tell the two apart."""


@click.command("labels", epilog=EPILOG)
@click.option("--widths", metavar="N,N", default="2,8,16,64", show_default=True, help="Units of the hidden layer.")
@click.option(
    "--rows", type=click.IntRange(2, 20_000), metavar="N", default=100, show_default=True, help="To train on."
)
@click.option(
    "--inputs", type=click.IntRange(1, 1000), metavar="N", default=8, show_default=True, help="Numbers per row."
)
@click.option("--classes", type=click.IntRange(2, 1000), metavar="N", default=4, show_default=True, help="Labels.")
@click.option("--epochs", type=click.IntRange(1), metavar="N", default=800, show_default=True, help="Of each net.")
@fit_common.shared(10, "Nets of each width and kind")
def command(**options: Any) -> int:
    """Train nets on labels drawn by lot and on labels that follow a rule, and judge both on rows never seen."""
    fit_common.ready(options)
    from weightwalk.learning.fitting.labels import fit_labels
    from weightwalk.learning.fitting.tables import numbers

    with fit_common.running("memorising") as progress:
        found = fit_labels(
            widths=numbers(options["widths"], "--widths", 1, 4096),
            rows=options["rows"],
            inputs=options["inputs"],
            classes=options["classes"],
            seeds=fit_common.seeds_of(options),
            epochs=options["epochs"],
            progress=progress,
        )
    return fit_common.deliver(found, options)
