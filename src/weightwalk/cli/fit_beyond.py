"""``weightwalk fit beyond``: a net of the square root outside its examples, beside Newton's iteration."""

from __future__ import annotations

from typing import Any

import click

from weightwalk.cli import fit_common
from weightwalk.errors import UsageError

EPILOG = """\b
Examples:
  weightwalk fit beyond
  weightwalk fit beyond --trace 2 --start 1
  weightwalk fit beyond --at 0.5,9,11,1000 --rates 0.01,0.1
  weightwalk fit beyond --figure beyond.png

\b
The nets have seen the roots of 101 numbers from 0 to 10. Beyond its last kink each is one straight line, which is read
off its exact formula. Newton's iteration has seen no example, and has no range."""


@click.command("beyond", epilog=EPILOG)
@click.argument("target", default="sqrt")
@click.option(
    "--at", metavar="X,X", default="2,5.05,8,20,100,10000", show_default=True, help="Numbers to take roots of."
)
@click.option("--trace", "traced", metavar="X", type=float, default=8.0, show_default=True, help="Of Newton's trace.")
@click.option("--start", metavar="X", type=float, default=4.0, show_default=True, help="Its first guess.")
@click.option("--rates", metavar="R,R", default="0.001,0.01,0.03,0.1,0.3", show_default=True, help="Of plain descent.")
@click.option("--steps", type=click.IntRange(1, 100_000), metavar="N", default=300, show_default=True, help="Of each.")
@click.option("--epochs", type=click.IntRange(1), metavar="N", help="Of the trained nets; the task's own unless said.")
@fit_common.shared(10)
def command(target: str, **options: Any) -> int:
    """Ask nets of the square root inside and far outside their examples, beside Newton's iteration, digit by digit."""
    if target != "sqrt":
        raise UsageError(f"Newton's iteration of this experiment is that of the square root: sqrt, not {target!r}.")
    numbers, rates = _floats(options["at"], "--at"), _floats(options["rates"], "--rates")
    fit_common.ready(options)
    from weightwalk.learning.fitting.beyond import fit_beyond

    with fit_common.running("training") as progress:
        found = fit_beyond(
            numbers=numbers,
            traced=options["traced"],
            start=options["start"],
            seeds=fit_common.seeds_of(options),
            rates=rates,
            steps=options["steps"],
            epochs=options["epochs"],
            progress=progress,
        )
    return fit_common.deliver(found, options)


def _floats(text: str, what: str) -> tuple[float, ...]:
    try:
        return tuple(float(word) for word in text.split(",") if word.strip())
    except ValueError:
        raise UsageError(f"{what} takes numbers, such as 0.5,8,100; received {text!r}.") from None
