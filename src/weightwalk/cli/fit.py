"""``weightwalk fit``: what fits and what generalises, one experiment per subcommand."""

from __future__ import annotations

import difflib
from importlib import import_module
from typing import Any

import click

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


class Experiments(click.Group):
    """Subcommands imported when named."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(EXPERIMENTS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in EXPERIMENTS:
            return None
        return import_module(f"weightwalk.cli.fit_{cmd_name}").command

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        if args and args[0] not in EXPERIMENTS and not args[0].startswith("-"):
            near = difflib.get_close_matches(args[0], EXPERIMENTS, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(EXPERIMENTS)}."
            ctx.fail(f"there is no experiment {args[0]!r}; {hint}")
        return super().resolve_command(ctx, args)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Without a subcommand, the help is the answer, and the code that of misuse."""
        if not args:
            click.echo(ctx.get_help())
            ctx.exit(2)
        return super().parse_args(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Experiments"):
            formatter.write_dl(list(EXPERIMENTS.items()))


@click.command("fit", cls=Experiments, epilog=EPILOG)
def command() -> None:
    """Fitting and generalising, computed: memorised or learned, too small or too large, inside or outside the data."""
