"""``weightwalk show``: what a .walk file holds."""

from __future__ import annotations

import click

from weightwalk.cli import common
from weightwalk.errors import UsageError

EPILOG = """\b
Examples:
  weightwalk show hello.walk
  weightwalk show hello.walk --story
  weightwalk show gpt.walk --addresses "h.*.attn"
  weightwalk show gpt.walk --focus "logits[-1, ' is']" """


@click.command("show", epilog=EPILOG)
@click.argument("file", metavar="FILE.walk")
@click.option(
    "--addresses", metavar="GLOB", help="List the values whose address matches: * within one part, ** across."
)
@click.option("--story", is_flag=True, help="Tell the walk, as `weightwalk walk` does.")
@click.option("--depth", type=click.IntRange(0), metavar="N", help="With the story: levels of modules to unfold.")
@click.option("--focus", metavar="ADDRESS", help="Tell this module, op or number only.")
@click.option("--html", metavar="FILE.html", help="Write a page that shows the walk.")
@common.json_option
def command(
    file: str,
    addresses: str | None,
    story: bool,
    depth: int | None,
    focus: str | None,
    html: str | None,
    as_json: bool,
) -> None:
    """Show what FILE.walk holds. Needs neither torch nor the model."""
    if not common.is_walk_file(file):
        raise UsageError(
            f"{file!r} does not end in .walk; a net is told by `weightwalk walk {common.example_of(file)}`."
        )
    page = common.writable(html, (".html", ".htm")) if html else None
    walk = common.walk_of(file, None, fresh=False, seed=None)
    if addresses is not None:
        _list(walk, addresses, as_json)
    elif story or focus is not None or depth is not None:
        told = walk.narrate(depth=depth, focus=focus)
        common.emit(told) if as_json else _print(told)
    elif as_json:
        from weightwalk.show.json import walk_summary

        common.emit(walk_summary(walk))
    else:
        _print(walk)
    if page is not None:
        from weightwalk.show.html import write_page

        write_page(walk, page)
        common.note(f"wrote {page}")


def _print(facts: object) -> None:
    from weightwalk.show.terminal import show

    show(facts)


def _list(walk: object, pattern: str, as_json: bool) -> None:
    from weightwalk.walks.address import find_all

    found = find_all(walk, pattern)  # type: ignore[arg-type]
    if not found:
        raise UsageError(
            f"no address matches {pattern!r}; --addresses '**' lists those of modules, '**/*' those of ops."
        )
    rows = [
        (name, "×".join(map(str, v.shape)) or "1", v.dtype, v.kind, "" if v.kept else "not kept")
        for name, v in found.items()
    ]
    if as_json:
        keys = ("address", "shape", "dtype", "kind", "kept")
        common.emit([dict(zip(keys, (n, v.shape, v.dtype, v.kind, v.kept), strict=True)) for n, v in found.items()])
        return
    from weightwalk.show.layout import columns
    from weightwalk.show.terminal import console, put

    target = console()
    put(columns(("address", "shape", "dtype", "kind", ""), rows, target.width, ""), target)
