"""Networks to walk: the gallery, and loaders for other people's.

`GALLERY` can be read without torch; `load_net` and `Net` import it when first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from weightwalk.nets.gallery import GALLERY, NAMES, Entry, Recipe

if TYPE_CHECKING:
    from weightwalk.nets.inputs import Inputs
    from weightwalk.nets.load import load_net
    from weightwalk.nets.net import Net

__all__ = ["GALLERY", "NAMES", "Entry", "Inputs", "Net", "Recipe", "load_net"]

_HOMES = {"load_net": "weightwalk.nets.load", "Net": "weightwalk.nets.net", "Inputs": "weightwalk.nets.inputs"}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        from importlib import import_module

        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
