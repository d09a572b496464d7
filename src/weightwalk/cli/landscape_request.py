"""From the options of ``weightwalk landscape`` to a request that is known to make sense."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from weightwalk.cli import outputs
from weightwalk.errors import UsageError

KINDS = ("random", "weights", "trajectory", "optimizers", "rates", "between")
ALONE = ("neuron", "bowl")


@dataclass(frozen=True)
class Request:
    """What was asked for, checked as far as that goes without a net.

    Attributes:
        net: A task, a net, ``neuron`` or ``bowl``.
        kind: One of `KINDS`, or one of `ALONE`.
        options: All that was typed, by name.
        seeds: Of the random directions.
        rates: Multiples of ``2 / lambda_max``.
        memory: Bytes.
        files: Where to write the figure and the frame.
    """

    net: str
    kind: str
    options: dict[str, Any]
    seeds: tuple[int, ...]
    rates: tuple[float, ...]
    memory: int
    files: dict[str, Path]

    def __getattr__(self, name: str) -> Any:
        try:
            return self.__dict__["options"][name]
        except KeyError:
            raise AttributeError(name) from None


def read(net: str, options: dict[str, Any]) -> Request:
    """Check what was typed.

    Raises:
        UsageError: Options that do not go together, or that mean nothing.
    """
    kinds = [k for k in KINDS if options[k] not in (None, False, ())]
    alone = net in ALONE
    if not alone and len(kinds) > 1:
        raise UsageError(f"--{kinds[0]} and --{kinds[1]} are two pictures: ask for one at a time.")
    kind = net if alone else kinds[0] if kinds else "random"
    _fitting(net, kind, kinds, options)
    if not alone and (options["grid_"] < 3 or options["grid_"] % 2 == 0):
        raise UsageError(
            f"--grid {options['grid_']} has no middle for the net to stand in: take an odd number, 3 or more, such as "
            f"{max(3, options['grid_'] + 1)}."
        )
    if options["span"] is not None and not 0 < options["span"] < float("inf"):
        raise UsageError(f"--span must be a positive number; got {options['span']}.")
    files = outputs.targets(options)
    seeds = _numbers("--seeds", options["seeds"] or "0,1,2", int)
    if min(seeds) < 0 or len(set(seeds)) < len(seeds):
        raise UsageError(f"--seeds are different numbers, 0 or more, such as 0,1,2; got {options['seeds']!r}.")
    if any(re.fullmatch(r"-\d+", end) for end in (*(options["between"] or ()), options["third"] or "")):
        raise UsageError("--between takes two seeds, 0 or more, or two .safetensors files.")
    rates = _numbers("--rates", options["rates"], float) if options["rates"] else ()
    if any(not 0 < m < float("inf") for m in rates):
        raise UsageError(f"--rates are positive multiples of 2/λmax, such as 0.5,0.9,1.1; got {options['rates']!r}.")
    return Request(net, kind, options, seeds, rates, _bytes(options["memory"]), files)


def _fitting(net: str, kind: str, kinds: list[str], options: dict[str, Any]) -> None:
    """Refuse options of another picture."""
    belongs = {
        "third": kind == "between", "hidden": net == "neuron", "bias": net == "neuron",
        "surface3d": options["figure"] is not None,
    }  # fmt: skip
    needs = {
        "third": "--between", "hidden": "the net called neuron", "bias": "the net called neuron",
        "surface3d": "--figure",
    }  # fmt: skip
    for name, fits in belongs.items():
        if options[name] not in (None, False) and not fits:
            raise UsageError(f"--{name} belongs to {needs[name]}.")
    if net in ALONE:
        wrong = [k for k in kinds if k not in (("optimizers", "rates") if net == "neuron" else ("rates",))]
        wrong += [k for k in ("data", "path") if options[k]]
        if wrong:
            raise UsageError(f"{net} is a loss of two numbers, all of which is seen; --{wrong[0]} is for nets.")
    if options["seeds"] and kind != "random":
        raise UsageError("--seeds are those of random directions; --seed is the training's.")
    if options["path"] and kind not in ("random", "weights"):
        raise UsageError(
            "--path belongs to --random or --weights; --trajectory and --optimizers draw paths by themselves."
        )


def _numbers(option: str, text: str, kind: type) -> tuple[Any, ...]:
    try:
        made = tuple(kind(part) for part in text.split(",") if part.strip())
    except ValueError:
        made = ()
    if not made:
        raise UsageError(f"{option} are numbers with commas between them, such as 0,1,2; got {text!r}.")
    return made


def _bytes(text: str) -> int:
    from weightwalk.cli.formula_options import memory

    return memory(text)
