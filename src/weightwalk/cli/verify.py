"""``weightwalk verify``: recompute every step and hold it to its bound."""

from __future__ import annotations

import click

from weightwalk.cli import common
from weightwalk.errors import DamagedError

EPILOG = """\b
Examples:
  weightwalk verify hello.walk                    a file that somebody sent
  weightwalk verify hello.walk --referee numpy    without torch
  weightwalk verify gpt "The capital of France is"

\b
Exit code 0: no step is wrong. 1: at least one is, or the digests do not match. 2: no such file, or no walk."""


@click.command("verify", cls=common.NumbersWelcome, epilog=EPILOG)
@click.argument("source", metavar="FILE|NET")
@click.argument("given", metavar="[INPUT]", required=False)
@click.option(
    "--referee",
    type=click.Choice(["auto", "numpy", "torch"]),
    default="auto",
    show_default=True,
    help="Who recomputes: NumPy alone, torch in float64, or NumPy first and torch where it does not reach.",
)
@common.fresh_option
@common.seed_option
@common.dtype_option
@common.json_option
def command(
    source: str, given: str | None, referee: str, fresh: bool, seed: int | None, dtype: str | None, as_json: bool
) -> int:
    """Recompute every step of a walk in float64, independently, and hold each to its rounding-error bound."""
    if referee == "torch" or not common.is_walk_file(source):
        common.needs_torch("for the torch referee" if common.is_walk_file(source) else "to run a net")
    try:
        walk = common.walk_of(source, given, fresh=fresh, seed=seed, dtype=dtype)
        with common.counting("recomputing step") as progress:
            report = walk.verify(referee, progress=progress)
    except DamagedError as error:  # the check has failed before the first step
        click.echo(f"FAILED: {error}", err=True)
        return 1
    if as_json:
        common.emit(report)
    else:
        from weightwalk.show.terminal import show

        show(report)
    return 0 if report.ok else 1
