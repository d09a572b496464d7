"""Weightwalk: walk a neural network, every number in it, where it came from, and proof that it adds up."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from weightwalk.nets.load import load_net
    from weightwalk.readings.compare import compare
    from weightwalk.recorder import recording, walk
    from weightwalk.walks.files import load
    from weightwalk.walks.walk import Walk

__version__ = "0.1.0"

# Verb -> the room it lives in. Rooms are imported when a verb is first used, so that `import weightwalk` stays light.
_DOORS = {
    "Walk": "weightwalk.walks.walk",
    "compare": "weightwalk.readings.compare",
    "load": "weightwalk.walks.files",
    "load_net": "weightwalk.nets.load",
    "recording": "weightwalk.recorder",
    "walk": "weightwalk.recorder",
}

__all__ = ["Walk", "__version__", "compare", "load", "load_net", "recording", "walk"]


def __getattr__(name: str) -> Any:
    if name not in _DOORS:
        raise AttributeError(f"module 'weightwalk' has no attribute {name!r}")
    try:
        value = getattr(import_module(_DOORS[name]), name)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] != "torch":
            raise
        from weightwalk.errors import UsageError

        raise UsageError(
            f"weightwalk.{name} needs torch, which is not installed; "
            f"reading walks does without: for the rest, pip install 'weightwalk[torch]'."
        ) from error
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
