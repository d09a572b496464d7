"""``weightwalk nets``: what can be walked out of the box."""

from __future__ import annotations

import click

from weightwalk.cli import common


@click.command("nets")
@common.json_option
def command(as_json: bool) -> None:
    """List the networks of the gallery, each with an input to try."""
    from weightwalk.nets.gallery import GALLERY

    if as_json:
        common.emit(
            [
                {"name": e.name, "aliases": list(e.aliases), "description": e.description, "example": e.example,
                 "trained": e.recipe is not None, "recipe": e.settings()}
                for e in GALLERY.values()
            ]
        )  # fmt: skip
        return
    from weightwalk.show.summaries import NetList
    from weightwalk.show.terminal import show

    show(
        NetList(
            tuple(
                (e.name, e.description, f"weightwalk walk {e.name} {common.quoted(e.example)}")
                for e in GALLERY.values()
            )
        )
    )
