"""What ``weightwalk nudge`` was asked: a task, a net with a text or numbers, or a net with data."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from weightwalk.cli import common
from weightwalk.cli.tasks import OPTIMIZERS, chosen_task, shape_of
from weightwalk.cli.training import numbers_like
from weightwalk.errors import UsageError

if TYPE_CHECKING:
    from torch import Tensor, nn

    from weightwalk.learning.nudges.facts import Nudge
    from weightwalk.nets import Net

OF_OPTIMIZERS = ("momentum", "dampening", "nesterov", "weight_decay", "betas", "eps", "amsgrad", "maximize")


def step_of(net: str, given: str | None, options: Mapping[str, Any]) -> Nudge:
    """The step that was asked for.

    Raises:
        UsageError: The words do not fit together.
    """
    from weightwalk.learning.nudges.nudge import nudge
    from weightwalk.nets.gallery import GALLERY, NAMES
    from weightwalk.nets.tasks import TASKS

    settings = shape_of(options["settings"])
    shape = {k: v for k, v in settings.items() if k not in OF_OPTIMIZERS}
    asked = _asked(options, {k: v for k, v in settings.items() if k in OF_OPTIMIZERS})
    if given is None:
        if options["target"] is not None:
            raise UsageError("--target is for an INPUT: weightwalk nudge linear 2.0 --target 8.")
        if net in NAMES and net not in TASKS and options["data"] is None:
            example = common.quoted(GALLERY[NAMES[net]].example)
            raise UsageError(
                f"{net!r} brings no examples along: give an input, as in `weightwalk nudge {net} {example}`, or --data."
            )
        task = chosen_task(net, options["data"], options["loss"], shape)
        with _showing(options) as progress:
            return nudge(task, progress=progress, **asked)
    if options["data"] is not None:
        raise UsageError("An INPUT and --data are two sources of examples; give one of them.")
    if shape:
        raise UsageError(f"A net with an INPUT has no {', '.join(shape)} to set; that is for tasks.")
    loaded = common.net_of(net, fresh=options["fresh"], seed=options["seed"])
    module, x, y, extra = _example(loaded, given, options["target"])
    with _showing(options) as progress:
        return nudge(module, x, y, loss=options["loss"], name=loaded.name, progress=progress, **extra, **asked)


@contextlib.contextmanager
def _showing(options: Mapping[str, Any]) -> Iterator[Callable[[int, int], None] | None]:
    """A bar where gradients are checked one by one, else a spinner."""
    if options["check_gradients"]:
        with common.counting("checking gradients") as progress:
            yield progress
        return
    with common.working("walking the step"):
        yield None


def _asked(options: Mapping[str, Any], settings: dict[str, Any]) -> dict[str, Any]:
    """The arguments of `nudge` that are the same for every kind of net."""
    compare: list[str] = []
    if options["compare"]:
        compare = [name.strip() for name in options["compare"].split(",")]
        compare = list(OPTIMIZERS) if compare == ["all"] else compare
    names = ("optimizer", "lr", "batch", "steps", "seed", "top", "check_gradients", "account", "cut")
    return {**{n: options[n] for n in names}, "settings": settings, "compare": compare, "rows": _rows(options["rows"]),
            "verify": not options["no_verify"]}  # fmt: skip


def _rows(text: str | None) -> list[int] | None:
    if text is None:
        return None
    try:
        return [int(word) for word in text.split(",")]
    except ValueError:
        raise UsageError(f"--rows {text!r} is not row numbers, such as 0,3.") from None


def _example(net: Net, given: str, target: str | None) -> tuple[nn.Module, Tensor, Tensor, dict[str, Any]]:
    """Module, inputs, targets, and what else `nudge` is to know of them."""
    from torch import nn

    inputs = net.inputs(given)
    module = net.module
    if not isinstance(module, nn.Module):
        raise UsageError(f"{net.name!r} is a function without weights: there is nothing to nudge.")
    key = net.expects.key
    x = inputs.kwargs[key] if key in inputs.kwargs else (inputs.args[0] if inputs.args else None)
    if x is None:
        raise UsageError(f"{net.name!r} takes inputs that --data cannot hold in one array; use ww.nudge from Python.")
    rest = {k: v for k, v in inputs.kwargs.items() if k != key}
    extra: dict[str, Any] = {"axis_labels": dict(inputs.labels)}
    if rest or key in inputs.kwargs:
        extra["call"] = _caller(key if key in inputs.kwargs else None, rest)
    if net.tokenizer is None:
        return module, *_numbers(net, module, x, target, extra)
    x, y, names = _text(net, x, target)
    extra["names"] = names
    if "tokens" in extra["axis_labels"]:
        extra["axis_labels"]["tokens"] = list(extra["axis_labels"]["tokens"])[: x.shape[-1]]
    return module, x, y, extra


def _caller(key: str | None, rest: dict[str, Any]) -> Callable[[Any, Any], Any]:
    return lambda module, x: module(x, **rest) if key is None else module(**{key: x}, **rest)


def _text(net: Net, ids: Tensor, target: str | None) -> tuple[Tensor, Tensor, list[str]]:
    """Each token is to predict the next; or the last ones the target's."""
    import torch

    assert net.tokenizer is not None
    count = ids.shape[-1]
    if target is None:
        if count < 2:
            raise UsageError(
                "A text of one token has no next token to learn; give a longer text, or a --target to follow it."
            )
        x, y = ids[..., :-1], ids[..., 1:]
    else:
        wanted = net.tokenizer.encode(target)
        if not wanted or len(wanted) > count:
            raise UsageError(f"--target {target!r} has {len(wanted)} tokens, and the input {count}.")
        x, y = ids, torch.full_like(ids, -100)
        y[..., -len(wanted) :] = torch.tensor(wanted)
    said = [[net.tokenizer.decode([int(i)]) for i in row] for row in (x.reshape(-1), y.reshape(-1).clamp(min=0))]
    names = [f"…{a}→{b}" if i else f"{a}→{b}" for i, (a, b) in enumerate(zip(*said, strict=True))]
    return x, y, names


def _numbers(net: Net, module: Any, x: Tensor, target: str | None, extra: Mapping[str, Any]) -> tuple[Any, Any, Any]:
    """Numbers in, and numbers of the output's shape to aim at."""
    import torch

    from weightwalk.learning.losses import tensor_of

    if target is None:
        raise UsageError(f"What should {net.name!r} say? Give it with --target, such as --target 1.5.")
    x = x.reshape(1, -1) if x.dim() < 2 else x
    call = extra.get("call") or (lambda module, x: module(x))
    with torch.no_grad():
        like = tensor_of(call(module, x))
    return x, numbers_like(target, like), dict(extra)
