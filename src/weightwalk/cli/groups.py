"""Commands of several: each imported when it is named, and what is no command answered with what is near it."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from importlib import import_module
from typing import Any

import click


class Lazily(click.Group):
    """Subcommands that are imported when named.

    Attributes:
        about: One line for each name.
        rooms: Where the module of a name lies, ``{}`` standing for it; its ``command`` is taken.
        what: What they are called.
    """

    about: Mapping[str, str]
    rooms: str
    what: str

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.about)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in self.about:
            return None
        return import_module(self.rooms.format(cmd_name)).command

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        if args and args[0] not in self.about and not args[0].startswith("-"):
            near = difflib.get_close_matches(args[0], self.about, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(self.about)}."
            ctx.fail(f"there is no {self.what} {args[0]!r}; {hint}")
        return super().resolve_command(ctx, args)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Without a name, the help is the answer, and the code that of misuse (click's own changed in 8.2)."""
        if not args:
            click.echo(ctx.get_help())
            ctx.exit(2)
        return super().parse_args(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section(f"{self.what.capitalize()}s"):
            formatter.write_dl(list(self.about.items()))
