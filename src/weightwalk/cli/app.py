"""The command group, and the one place where what went wrong becomes a sentence and an exit code.

Exit codes: 0 done, 1 a check failed, 2 the request cannot be served, 130 interrupted, 141 the reader of a pipe left.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Iterator
from typing import Any

import click

from weightwalk import __version__
from weightwalk.cli.groups import Lazily
from weightwalk.errors import WeightwalkError

COMMANDS = {
    "demo": "the tour: train tiny nets, walk them, account for a GPT's top logit, read off two formulas",
    "walk": "run a net on an input and tell every step of it",
    "verify": "recompute every step independently and hold it to its rounding bound",
    "account": "one number as an exact sum of contributions",
    "formula": "the exact function that a piecewise-linear net computes, with its certificate",
    "fit": "what fits and what generalises, computed: memorising, capacity, extrapolation",
    "train": "a training to the bit: curve, verdict, answers; killed at any moment, it goes on",
    "diagnose": "why a training is where it is: dead units, gradients, and what the Hessian says",
    "neuron": "one neuron with every number: how it learns, what its losses are, what a threshold can do",
    "nudge": "one training step, walked: the loss, every weight's blame, the optimizer's arithmetic",
    "census": "train from thousands of seeds at once, and count what became of them",
    "landscape": "the loss as a function of the weights, and what a picture of it leaves out",
    "ngrams": "count a text, and see how well counting predicts what comes next",
    "compare": "where two walks of one model part",
    "show": "what a .walk file holds",
    "nets": "the networks that come along",
}

EPILOG = """\b
Examples:
  weightwalk demo
  weightwalk walk hello hello
  weightwalk walk sqrt 2.0 --save sqrt.walk
  weightwalk verify sqrt.walk
  weightwalk account gpt "The capital of France is" "logits[-1, ' Paris']" --cut tokens
  weightwalk formula sqrt

\b
Exit codes: 0 done, 1 a check failed, 2 the request cannot be served."""


class Commands(Lazily):
    """All commands; errors are told in a sentence."""

    about, rooms, what = COMMANDS, "weightwalk.cli.{}", "command"

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; click itself would leave with 1 where the reader of a pipe left."""
        try:
            return super().invoke(ctx)
        except BrokenPipeError:
            return _pipe_closed()

    def main(self, *args: Any, **kwargs: Any) -> Any:
        """Run, and leave with the right exit code."""
        if not kwargs.pop("standalone_mode", True):
            return super().main(*args, **kwargs, standalone_mode=False)
        _speakable()
        with _listening() as heard:
            sys.exit(_guarded(lambda: super(Commands, self).main(*args, **kwargs, standalone_mode=False), heard))


@contextlib.contextmanager
def _listening() -> Iterator[list[int]]:
    """Remember an interrupt: one that falls into an import comes out as some error of a half-made module."""
    heard: list[int] = []
    ours = sys.stdout is sys.__stdout__ and threading.current_thread() is threading.main_thread()
    if not ours or signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        yield heard
        return

    def hear(number: int, frame: Any) -> None:
        heard.append(number)
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGINT, hear)
    try:
        yield heard
    finally:
        signal.signal(signal.SIGINT, before)


def _interrupted() -> int:
    """Say so and leave with 130.

    Python ends the process by the signal itself (-2 to the caller), whatever was caught since, if the interrupt fell
    into code that a C extension had started; so a real process leaves here and now.
    """
    click.echo("interrupted", err=True)
    if sys.stdout is sys.__stdout__:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(130)
    return 130


def _guarded(run: Any, heard: list[int]) -> int:
    try:
        code = run()
        sys.stdout.flush()
        return code if isinstance(code, int) else 0
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except WeightwalkError as error:
        click.echo(f"Error: {error}", err=True)
        return 2
    except (click.Abort, KeyboardInterrupt):
        return _interrupted()
    except BrokenPipeError:
        return _pipe_closed()
    except MemoryError as error:
        click.echo(
            f"Error: out of memory ({str(error) or 'no detail'}); keep less (--keep) or give a shorter input.", err=True
        )
        return 2
    except OSError as error:
        click.echo(f"Error: {error.strerror or error}{f': {error.filename}' if error.filename else ''}.", err=True)
        return 2
    except Exception:
        if heard:
            return _interrupted()
        raise


def _pipe_closed() -> int:
    """Nobody reads any more: say nothing, and keep the interpreter from complaining when it flushes at exit."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 141


def _speakable() -> None:
    """A terminal that cannot print × or √ gets a replacement, never a traceback."""
    for stream in (sys.stdout, sys.stderr):
        encoding = (getattr(stream, "encoding", "") or "").lower().replace("-", "")
        if encoding != "utf8" and hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")  # type: ignore[union-attr]


@click.command(
    cls=Commands, epilog=EPILOG, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100}
)
@click.version_option(__version__, "-V", "--version", prog_name="weightwalk", message="%(prog)s %(version)s")
def main() -> None:
    """Walk a neural network: every number in it, where it came from, and proof that it adds up."""
