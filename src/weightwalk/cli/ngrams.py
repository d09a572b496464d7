"""``weightwalk ngrams``: count a text, and see how far counting goes."""

from __future__ import annotations

from typing import Any

import click

from weightwalk.cli import common, outputs
from weightwalk.errors import UsageError

EPILOG = """\b
Examples:
  weightwalk ngrams tinyworld                        letters of our own world, and models of order 1 to 6
  weightwalk ngrams tinyworld --unit words --order 4 --next "The cute"
  weightwalk ngrams python-docs --figure pairs.svg   which letter follows which
  weightwalk ngrams novel.txt --order 8 --smoothing witten-bell --json
  weightwalk ngrams folder-of-texts --held-out 0.05 --sample 400 --seed 3

\b
TEXT is a UTF-8 file, a folder of them, python-docs (the help topics of this Python), or tinyworld (tinyworld:50000 for
so many sentences), whose true entropy is known and shown. Each model is held to the last part of the text, which it
never saw: a longer memory helps until most of what it meets is new to it."""


@click.command("ngrams", epilog=EPILOG)
@click.argument("text")
@click.option("--order", type=click.IntRange(1, 20), default=6, show_default=True, metavar="N", help="Longest runs.")
@click.option(
    "--unit", type=click.Choice(["chars", "words"]), default="chars", show_default=True, help="What is counted."
)
@click.option(
    "--smoothing",
    type=click.Choice(["kneser-ney", "witten-bell", "backoff", "add"]),
    default="kneser-ney",
    show_default=True,
    help="What is done about runs that were never seen.",
)
@click.option("--discount", type=float, metavar="D", help="Taken off each count, 0 to 1; estimated unless given.")
@click.option("--add", type=float, metavar="K", help="Added to each count, for add; 0.1 unless said.")
@click.option(
    "--held-out", type=float, metavar="SHARE", default=0.1, show_default=True, help="The last part, not learned."
)
@click.option("--next", "prefix", metavar="PREFIX", help="Rank what comes next after this.")
@click.option("--top", type=click.IntRange(1), default=8, show_default=True, metavar="N", help="Rows of a ranking.")
@click.option(
    "--sample",
    type=click.IntRange(0),
    default=60,
    show_default=True,
    metavar="N",
    help="Tokens that each model writes.",
)
@click.option("--figure", metavar="FILE", help="Draw pairs and orders: .svg, .png or .pdf.")
@click.option("--frame", metavar="FILE.csv", help="One row per order, as a table.")
@common.seed_option
@common.json_option
def command(text: str, **options: Any) -> int:
    """Count TEXT: which letter or word follows which, and how well models of each order predict what they never saw."""
    _fitting(options)
    files = outputs.targets(options)
    from weightwalk.language.corpora import corpus
    from weightwalk.language.ngrams.facts import counting

    seed = options["seed"] or 0
    given = corpus(text, seed=seed)
    with common.counting("counting") as progress:
        facts = counting(
            given,
            order=options["order"],
            unit=options["unit"],
            smoothing=options["smoothing"],
            discount=options["discount"],
            add=0.1 if options["add"] is None else options["add"],
            held=options["held_out"],
            sample=options["sample"],
            seed=seed,
            progress=progress,
        )
    ranked = None if options["prefix"] is None else facts.next(options["prefix"])
    if options["as_json"]:
        facts_of = {"counting": facts, "best": facts.best, "commonest": facts.commonest, "skipped": given.skipped}
        common.emit(facts_of if ranked is None else {**facts_of, "next": ranked})
    else:
        _tell(facts, given, options)
    if "figure" in files:
        from weightwalk.show.counting_figures import draw

        outputs.write_figure(files["figure"], draw, facts)
    if "frame" in files:
        outputs.write_table(files["frame"], facts.frame())
    return 0


def _fitting(options: dict[str, Any]) -> None:
    """Refuse a number that this smoothing would not use."""
    how = options["smoothing"]
    if options["add"] is not None and how != "add":
        raise UsageError(f"--add belongs to --smoothing add, not to {how}.")
    if options["discount"] is not None and how not in ("kneser-ney", "backoff"):
        raise UsageError(f"--discount belongs to --smoothing kneser-ney or backoff, not to {how}.")


def _tell(facts: Any, given: Any, options: dict[str, Any]) -> None:
    from weightwalk.show.countings import counting_lines, next_lines
    from weightwalk.show.terminal import console, put

    out = console()
    put(counting_lines(facts, out.width, options["top"]), out)
    if given.name.startswith("tinyworld"):
        from weightwalk.language.tinyworld import tinyworld

        world = tinyworld()
        words = f"  the truth, known here: {world.entropy():.3f} bits per word"
        letters = "" if options["unit"] == "words" else f", {world.entropy_per_character():.3f} per character"
        click.echo(words + letters)
    if options["prefix"] is not None:
        put(next_lines(facts, options["prefix"], out.width, options["top"]), out)
    if given.skipped:
        more = f" and {len(given.skipped) - 3} more" if len(given.skipped) > 3 else ""
        common.note(f"not text in UTF-8, left out: {', '.join(given.skipped[:3])}{more}")
