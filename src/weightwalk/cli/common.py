"""What several commands share: getting a walk from a file or a net, JSON, progress."""

from __future__ import annotations

import contextlib
import difflib
import os
import re
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from weightwalk.errors import UsageError, WeightwalkError

if TYPE_CHECKING:
    from weightwalk.nets import Net
    from weightwalk.walks.walk import Walk

DTYPES = ("float64", "float32", "bfloat16", "float16")

json_option = click.option("--json", "as_json", is_flag=True, help="The same facts as JSON on standard output.")
seed_option = click.option(
    "--seed", type=click.IntRange(0), metavar="N", default=None, help="Seed of everything random; recorded in the walk."
)
fresh_option = click.option("--fresh", is_flag=True, help="Train gallery nets anew, whatever is remembered.")
dtype_option = click.option(
    "--dtype",
    type=click.Choice(DTYPES),
    metavar="DTYPE",
    default=None,
    help="Convert the net first: float64, float32, bfloat16, float16.",
)


class NumbersWelcome(click.Command):
    """A command whose INPUT may be a negative number, which click would take for an option."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.context_settings = {**self.context_settings, "ignore_unknown_options": True}

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Refuse unknown options here, as they are no longer refused by the parser."""
        known = [o for p in self.get_params(ctx) if isinstance(p, click.Option) for o in (*p.opts, *p.secondary_opts)]
        for arg in args[: args.index("--")] if "--" in args else args:
            name = arg.partition("=")[0]
            if not re.match(r"--?[A-Za-z]", name) or name in known or re.match(r"-(inf|nan)\b", name):
                continue
            if name.startswith("--") or name[:2] not in known:
                near = difflib.get_close_matches(name, known, n=2)
                raise click.NoSuchOption(name, possibilities=near, ctx=ctx)
        return super().parse_args(ctx, args)


def is_walk_file(source: str) -> bool:
    """Whether `source` names a ``.walk`` file rather than a net."""
    return source.endswith(".walk")


def walk_of(source: str, given: str | None, *, fresh: bool, seed: int | None, dtype: str | None = None) -> Walk:
    """The walk in a file, or of a net on an input.

    Raises:
        UsageError: An input for a file, or none for a net.
    """
    if is_walk_file(source):
        if given is not None:
            raise UsageError(f"{source} is a walk already, so it takes no input; {given!r} was given as one.")
        from weightwalk.walks.files import load

        return load(source)
    if given is None:
        raise UsageError(
            f"{source!r} is a net, which needs an input, as in `{example_of(source)}`; a recorded walk ends in .walk."
        )
    return record(source, given, fresh=fresh, seed=seed, dtype=dtype)


def example_of(source: str) -> str:
    """A net with an input to try."""
    from weightwalk.nets import GALLERY, NAMES

    return f"{source} {quoted(GALLERY[NAMES[source]].example)}" if source in NAMES else f"{source} INPUT"


def quoted(text: str) -> str:
    """As one word of a shell command."""
    import shlex

    return shlex.quote(text)


def net_of(source: str, *, fresh: bool, seed: int | None) -> Net:
    """The net, trained first where that is needed, with a progress bar."""
    needs_torch("to run a net")
    from weightwalk.nets import load_net

    with training_progress() as progress:
        return load_net(source, fresh=fresh, seed=seed, progress=progress)


def needs_torch(why: str) -> None:
    """A clear sentence where torch is not installed.

    Raises:
        UsageError: It is not.
    """
    from importlib.util import find_spec

    if find_spec("torch") is None:
        raise UsageError(f'PyTorch is needed {why}, and is not installed: pip install "weightwalk[torch]".')


def record(
    source: str,
    given: str,
    *,
    fresh: bool = False,
    seed: int | None = None,
    dtype: str | None = None,
    **options: Any,
) -> Walk:
    """Walk a net on an input; options are those of ``ww.walk``.

    Raises:
        UsageError: The net cannot be run on it.
    """
    net = net_of(source, fresh=fresh, seed=seed)
    return record_net(net, given, seed=seed, dtype=dtype, **options)


def record_net(
    net: Net,
    given: str,
    *,
    seed: int | None = None,
    dtype: str | None = None,
    target: str | None = None,
    lr: float = 0.1,
    **options: Any,
) -> Walk:
    """Walk a net that is at hand; with a target, through a whole training step.

    Raises:
        UsageError: The net cannot be run on it.
    """
    import torch

    from weightwalk.recorder import walk

    inputs = net.inputs(given)
    module, args, kwargs = net.module, inputs.args, inputs.kwargs
    if dtype is not None:
        if not isinstance(module, torch.nn.Module):
            raise UsageError(f"{net.name!r} is a plain function, whose dtype is that of its input; leave --dtype out.")
        wanted = getattr(torch, dtype)
        module = module.to(wanted)
        args = tuple(_cast(a, wanted) for a in args)
        kwargs = {k: _cast(v, wanted) for k, v in kwargs.items()}
    torch.manual_seed(0 if seed is None else seed)
    try:
        if target is None:
            with torch.no_grad():
                made = walk(module, *args, axis_labels=inputs.labels, **options, **kwargs)
        else:
            from weightwalk.cli.training import training_step

            made = training_step(net, module, (args, kwargs, inputs.labels), target, lr, options)
    except (WeightwalkError, MemoryError):
        raise
    except Exception as error:
        first = (str(error).strip().splitlines() or [""])[0]
        raise UsageError(f"{net.name!r} could not be run on {given!r}: {type(error).__name__}: {first}") from error
    made.meta = {**made.meta, "net": net.name, "input": given, "seed": 0 if seed is None else seed}
    made.meta["provenance"] = dict(net.provenance)
    if target is not None:
        made.meta |= {"target": target, "lr": lr}
    return made


def _cast(value: Any, dtype: Any) -> Any:
    return value.to(dtype) if getattr(value, "is_floating_point", lambda: False)() else value


def emit(facts: Any) -> None:
    """Facts as JSON on standard output."""
    from weightwalk.show.json import text

    click.echo(text(facts))


def note(text: str) -> None:
    """A remark for the person, kept out of what is piped."""
    click.echo(text, err=True)


@contextlib.contextmanager
def training_progress() -> Iterator[Callable[[str, int, int, float], None] | None]:
    """A bar on standard error while nets train; nothing where that is no terminal."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    loss = TextColumn("loss {task.fields[loss]:.3g}")
    parts = (TextColumn("training {task.description}"), BarColumn(), loss, TimeRemainingColumn())
    with Progress(*parts, console=Console(stderr=True), transient=True) as bar:
        tasks: dict[str, Any] = {}

        def tell(name: str, done: int, total: int, loss: float) -> None:
            if name not in tasks:
                tasks[name] = bar.add_task(name, total=total, loss=loss)
            bar.update(tasks[name], completed=done, loss=loss)

        yield tell


@contextlib.contextmanager
def counting(what: str) -> Iterator[Callable[[int, int], None] | None]:
    """A bar on standard error for work that counts; nothing where that is no terminal."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    with Progress(
        TextColumn(what), BarColumn(), MofNCompleteColumn(), console=Console(stderr=True), transient=True
    ) as bar:
        task = bar.add_task(what, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


@contextlib.contextmanager
def working(what: str) -> Iterator[None]:
    """A spinner on standard error for work without a count; nothing where that is no terminal."""
    if not sys.stderr.isatty():
        yield
        return
    from rich.console import Console

    with Console(stderr=True).status(what):
        yield


def writable(path: str, endings: Sequence[str]) -> Path:
    """A file to be written: of a kind that is known, in a directory that exists.

    Raises:
        UsageError: Neither.
    """
    target = Path(path)
    if target.suffix.lower() not in endings:
        raise UsageError(f"{path!r} must end in {' or '.join(endings)}, which says what kind of file is wanted.")
    if not target.parent.is_dir():
        raise UsageError(f"{path!r} cannot be written: there is no directory {str(target.parent)!r}.")
    return target


def needs_matplotlib() -> None:
    """A clear sentence where a figure is wanted and matplotlib is not installed.

    Raises:
        UsageError: It is not.
    """
    from importlib.util import find_spec

    if find_spec("matplotlib") is None:
        raise UsageError('A figure needs matplotlib, which is not installed: pip install "weightwalk[plots]".')


@contextlib.contextmanager
def whole(path: Path) -> Iterator[Path]:
    """A neighbour to write to, which takes the file's place when all is on the disk: a part is never seen.

    Raises:
        UsageError: The file cannot be written; nothing is left behind.
    """
    beside: Path | None = None
    try:
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=path.suffix)
        os.close(handle)
        beside = Path(name)
        yield beside
        with beside.open("rb+") as file:
            os.fsync(file.fileno())
        umask = os.umask(0)
        os.umask(umask)
        beside.chmod(0o666 & ~umask)
        beside.replace(path)
        beside = None
    except OSError as error:
        raise UsageError(
            f"{path} could not be written ({error.strerror or error}); nothing was left behind. "
            f"Check that the folder is writable and has room."
        ) from error
    finally:
        if beside is not None:
            beside.unlink(missing_ok=True)
