"""``weightwalk account``: one number as an exact sum of contributions."""

from __future__ import annotations

from typing import Any

import click

from weightwalk.cli import common
from weightwalk.errors import UsageError

EPILOG = """\b
Examples:
  weightwalk account gpt "The cat" "logits[-1, ' is']" --cut tokens
  weightwalk account gpt "The cat" "logits[-1, ' is'] - logits[-1, ' was']" --cut heads+neurons --top 20
  weightwalk account sqrt 2.0 out --cut inputs
  weightwalk account saved.walk "fc2[0]" --cut "fc1*"

\b
CUT says where to stop: inputs, tokens, modules, heads, neurons, heads+neurons, parameters, or addresses and globs
(--cut may be repeated). The rows shown, the rest and the remainder add up to the number, to the last bit."""


@click.command("account", cls=common.NumbersWelcome, epilog=EPILOG)
@click.argument("words", metavar="FILE|NET [INPUT] ADDRESS", nargs=-1, required=True)
@click.option("--cut", multiple=True, default=("modules",), show_default=True, help="Where the account stops.")
@click.option(
    "--top", type=click.IntRange(1), metavar="N", default=12, show_default=True, help="Rows to show before the rest."
)
@click.option(
    "--split",
    metavar="HOW",
    default=None,
    help="How a product of two signals is shared out: even (default), left, right, gradient, activation, weight, or "
    "the left factor's share, 0 to 1.",
)
@common.fresh_option
@common.seed_option
@common.dtype_option
@common.json_option
def command(
    words: tuple[str, ...], cut: tuple[str, ...], top: int, split: str | None, as_json: bool, **options: Any
) -> int:
    """Account for the number at ADDRESS: a table of contributions that adds up to it exactly."""
    source, given, address = _words(words)
    common.needs_torch("to account for a number")
    walk = common.walk_of(source, given, **options)
    chosen = cut[0] if len(cut) == 1 else list(cut)
    extra = {} if split is None else {"split": _split(split)}
    with common.working("accounting"):
        account = walk.account(address, chosen, **extra)
    if as_json:
        common.emit(account)
    else:
        from weightwalk.show.accounts import account_lines
        from weightwalk.show.terminal import console, put

        target = console()
        put(account_lines(account, target.width, top), target)
    return 0


def _split(text: str) -> str | float:
    try:
        return float(text)
    except ValueError:
        return text


def _words(words: tuple[str, ...]) -> tuple[str, str | None, str]:
    if common.is_walk_file(words[0]):
        if len(words) != 2:
            raise UsageError(
                f"a walk file takes one ADDRESS after it: weightwalk account {words[0]} 'out[0]' --cut inputs."
            )
        return words[0], None, words[1]
    if len(words) != 3:
        raise UsageError(
            f"a net takes an INPUT and an ADDRESS after it: weightwalk account {common.example_of(words[0])} 'out[0]' "
            f"--cut inputs; {len(words)} word{'s' * (len(words) != 1)} given."
        )
    return words[0], words[1], words[2]
